/* traffic.c - relays HTTP and WebSockets to a server inside a sandbox. The bytes are not looked at;
 * there is no Origin check, since the pages are the sandbox's own site. From this host everything
 * is open; from elsewhere the sandbox's token is needed. What fails before the server answered is a
 * 502 whose code says why: unknown sandbox, not running, port closed, closed without an answer. */
#include "frontends/traffic/traffic.h"

#include <stdio.h>

#include "http/client.h"
#include "json/json.h"

enum { DIAL_TIMEOUT_MS = 10000, PAGE_MAX = 8 * 1024 };

/* --- failures --------------------------------------------------------------------------------- */

static bool wants_page(const struct http_exchange *x)
{
    struct smx_view accept = http_field(x, "Accept");

    return accept.p && memmem(accept.p, accept.n, "text/html", 9);
}

static void append_escaped(struct smx_buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '<')
            smx_buf_append_str(b, "&lt;");
        else if (*s == '&')
            smx_buf_append_str(b, "&amp;");
        else
            smx_buf_append_char(b, *s);
    }
}

static void write_page(struct smx_buf *b, const struct smx_err *err)
{
    smx_buf_append_str(b, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>");
    append_escaped(b, smx_code_title(err->code));
    smx_buf_append_str(b, "</title><body style=\"font-family:sans-serif;margin:4em\"><h1>");
    append_escaped(b, smx_code_title(err->code));
    smx_buf_append_str(b, "</h1><p>");
    append_escaped(b, err->msg);
    smx_buf_append_str(b, "</p><p>");
    append_escaped(b, smx_code_hint(err->code));
    smx_buf_append_str(b, "</p><p><code>");
    append_escaped(b, smx_code_name(err->code));
    smx_buf_append_str(b, "</code></p></body></html>\n");
}

static void write_problem(
    struct smx_buf *b, const struct http_exchange *x, int status, const struct smx_err *err)
{
    struct json_writer w;
    char type[96];

    snprintf(type, sizeof type, "urn:sandmux:error:%s", smx_code_name(err->code));
    json_writer_init(&w, b);
    json_object_begin(&w);
    json_kv_string(&w, "type", type);
    json_kv_string(&w, "title", smx_code_title(err->code));
    json_kv_u64(&w, "status", (uint64_t)status);
    json_kv_string(&w, "detail", err->msg);
    json_kv_string(&w, "code", smx_code_name(err->code));
    json_kv_string(&w, "hint", smx_code_hint(err->code));
    json_kv_string(&w, "request_id", frontend_request(x)->id);
    json_object_end(&w);
}

static int status_of(enum smx_code code)
{
    if (code == SMX_E_UNAUTHORIZED)
        return 401;
    return code == SMX_E_FORBIDDEN ? 403 : 502;
}

static void fail(struct http_exchange *x, const struct smx_err *err)
{
    int status = status_of(err->code);
    struct smx_buf out;

    if (http_started(x)) {
        http_abort(x);
        return;
    }
    smx_buf_init(&out, PAGE_MAX);
    if (wants_page(x))
        write_page(&out, err);
    else
        write_problem(&out, x, status, err);
    http_add_field(x, "X-Sandmux-Error", smx_code_name(err->code));
    http_add_field(x, "Cache-Control", "no-store");
    http_reply(x, status, wants_page(x) ? "text/html; charset=utf-8" : "application/problem+json",
        out.data, out.len);
    smx_buf_done(&out);
}

/* --- tokens ----------------------------------------------------------------------------------- */

static bool token_valid(const struct sandbox *sb, struct smx_view given)
{
    char token[SANDBOX_TOKEN_SIZE];

    return given.p && smx_view_copy(token, sizeof token, given) && sandbox_token_check(sb, token);
}

/* The value of our cookie, or a NULL view. */
static struct smx_view cookie_token(const struct http_exchange *x)
{
    static const char name[] = TRAFFIC_TOKEN_QUERY "=";
    struct smx_view c = http_field(x, "Cookie");
    const char *at = c.p ? memmem(c.p, c.n, name, sizeof name - 1) : NULL, *end;
    size_t left;

    if (!at || (at > c.p && at[-1] != ' ' && at[-1] != ';'))
        return (struct smx_view){ NULL, 0 };
    at += sizeof name - 1;
    left = c.n - (size_t)(at - c.p);
    end = memchr(at, ';', left);
    return (struct smx_view){ at, end ? (size_t)(end - at) : left };
}

/* A browser that brings the token in the query gets it as a cookie and comes back without. */
static void set_cookie(struct http_exchange *x, struct smx_view token)
{
    char cookie[SANDBOX_TOKEN_SIZE + 96], path[1024];
    struct smx_view target = http_path(x);

    snprintf(cookie, sizeof cookie, "%s=%.*s; Path=/; HttpOnly; SameSite=Lax", TRAFFIC_TOKEN_QUERY,
        (int)token.n, token.p);
    if (!smx_view_copy(path, sizeof path, target) || path[0] != '/' || path[1] == '/')
        smx_strcpy(path, sizeof path, "/");
    http_add_field(x, "Set-Cookie", cookie);
    http_add_field(x, "Location", path);
    http_reply(x, 302, /* content_type= */ NULL, "", 0);
}

/* 1: go on; 0: answered; negative: refused. */
static int admit(struct http_exchange *x, const struct sandbox *sb, struct smx_err *err)
{
    const struct http_peer *peer = http_peer(x);
    struct smx_view query;

    if (peer->unix_socket || peer->loopback)
        return 1;
    if (token_valid(sb, http_field(x, TRAFFIC_TOKEN_FIELD)) || token_valid(sb, cookie_token(x)))
        return 1;
    if (h1_query_get(http_query(x), TRAFFIC_TOKEN_QUERY, 0, &query) && token_valid(sb, query)) {
        set_cookie(x, query);
        return 0;
    }
    return smx_err_set(err, SMX_E_UNAUTHORIZED,
        "this port needs the sandbox's token: field " TRAFFIC_TOKEN_FIELD
        " or parameter " TRAFFIC_TOKEN_QUERY " (GET .../preview shows it)");
}

/* --- relay ------------------------------------------------------------------------------------ */

static int relay_to(
    struct http_exchange *x, struct provider_box *box, uint16_t port, struct smx_err *err)
{
    static const char *const drop[] = { TRAFFIC_TOKEN_FIELD, NULL };
    struct http_relay opts = { .drop = drop };
    struct http_client *client = http_alloc(x, sizeof *client);
    int r = client ? provider_dial(box, port, client, smx_deadline_in_ms(DIAL_TIMEOUT_MS), err)
                   : smx_err_oom(err);

    if (r < 0)
        return r;
    r = http_relay(x, client, &opts, err);
    http_client_done(client);
    if (r == -SMX_E_CLOSED)
        r = smx_err_set(err, SMX_E_CLOSED,
            "the server on port %u closed the connection without "
            "an answer",
            (unsigned)port);
    return r;
}

static int relay(struct http_exchange *x, struct sandbox *sb, uint16_t port, struct smx_err *err)
{
    struct provider_box *box;
    int r = sandbox_use_begin(sb, &box, err);

    if (r < 0)
        return r;
    r = relay_to(x, box, port, err);
    sandbox_use_end(sb);
    return r;
}

void traffic_handle(struct frontend *fe, struct http_exchange *x, uint16_t port, const char *key)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend_request *req = frontend_request(x);
    struct smx_err err = { 0 };
    int r = core_find(fe->core, key, &sb, &err);

    req->frontend = "traffic";
    if (r == 0) {
        smx_strcpy(req->sandbox, sizeof req->sandbox, sb->id);
        r = admit(x, sb, &err);
    }
    if (r > 0)
        r = relay(x, sb, port, &err);
    if (r < 0)
        fail(x, &err);
}
