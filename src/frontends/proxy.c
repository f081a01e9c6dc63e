/* proxy.c - routing, tokens and answers in front of the ports of sandboxes. The two sentences for a
 * sandbox that is not there and for a closed port are E2B's word for word: its clients tell the
 * cases apart by them. Loop thread only.
 * Source: E2B's protocol as observed, see docs/protocols/e2b.md. */
#include "frontends/proxy.h"

#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>

#include "json/json.h"

enum { PAGE_MAX = 8 * 1024 };

static const char not_found[] = "The sandbox was not found";
static const char port_closed[] = "The sandbox is running but port is not open";

/* --- routing ------------------------------------------------------------------------------------
 */

static bool key_valid(struct smx_view v)
{
    if (v.n == 0 || v.n > SMX_NAME_LEN_MAX)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
            return false;
    }
    return true;
}

int proxy_by_fields(
    struct smx_view id, struct smx_view port, struct proxy_target *ret, struct smx_err *err)
{
    uint64_t number;

    if (!id.p || id.n == 0)
        return smx_err_set(err, SMX_E_INVALID, "the header " PROXY_ID_FIELD " is missing");
    if (!port.p || port.n == 0)
        return smx_err_set(err, SMX_E_INVALID, "the header " PROXY_PORT_FIELD " is missing");
    if (!smx_parse_u64(port, 65535, &number) || number == 0)
        return smx_err_set(
            err, SMX_E_INVALID, "the header " PROXY_PORT_FIELD " must be a port from 1 to 65535");
    if (!key_valid(id))
        return smx_err_set(err, SMX_E_INVALID, "the header " PROXY_ID_FIELD " is no sandbox id");
    *ret = (struct proxy_target){ .port = (uint16_t)number, .fields = true };
    smx_view_copy(ret->key, sizeof ret->key, id);
    return 0;
}

int proxy_find(struct frontend *fe, struct http_exchange *x, const struct proxy_target *to,
    struct sandbox **ret, struct smx_err *err)
{
    size_t n = strcspn(to->key, "-");
    char id[SMX_NAME_LEN_MAX + 1];
    int r = core_find(fe->core, to->key, ret, err);

    if (r == -SMX_E_SANDBOX_NOT_FOUND && n == SMX_ID_LEN && to->key[n]) {
        smx_view_copy(id, sizeof id, (struct smx_view){ to->key, n });
        r = core_find(fe->core, id, ret, err);
    }
    if (r == 0)
        smx_strcpy(frontend_request(x)->sandbox, sizeof frontend_request(x)->sandbox, (*ret)->id);
    return r;
}

int proxy_usable(const struct sandbox *sb, struct smx_err *err)
{
    switch (sb->state) {
    case SANDBOX_RUNNING:
        return 0;
    case SANDBOX_STARTING:
    case SANDBOX_PAUSING:
    case SANDBOX_PAUSED:
    case SANDBOX_STOPPING:
    case SANDBOX_STOPPED:
        if (sb->auto_resume)
            return 0;
        break;
    case SANDBOX_CREATING:
    case SANDBOX_ARCHIVING:
    case SANDBOX_ARCHIVED:
    case SANDBOX_ERROR:
    case SANDBOX_DELETING:
    case SANDBOX_DELETED:
    case SANDBOX_STATE_COUNT_:
        break;
    }
    return smx_err_set(
        err, SMX_E_STATE, "sandbox '%s' is %s", sb->id, sandbox_state_name(sb->state));
}

int proxy_wake(struct sandbox *sb, struct smx_err *err)
{
    return sb->state == SANDBOX_RUNNING ? 0 : sandbox_wake(sb, err);
}

/* --- fields -------------------------------------------------------------------------------------
 */

bool proxy_token(const struct http_exchange *x, const char *field, const struct sandbox *sb)
{
    struct smx_view given = http_field(x, field);
    char token[SANDBOX_TOKEN_SIZE];

    return given.p && smx_view_copy(token, sizeof token, given) && sandbox_token_check(sb, token);
}

void proxy_drop_add(struct proxy_drop *d, const char *field)
{
    assert(d->n < PROXY_DROP_MAX); /* a secret would go through */
    d->v[d->n++] = field;
}

void proxy_drop_ours(struct proxy_drop *d)
{
    static const char *const ours[] = { PROXY_OWN_TOKEN_FIELD, PROXY_TRAFFIC_TOKEN_FIELD,
        PROXY_ID_FIELD, PROXY_PORT_FIELD };

    for (size_t i = 0; i < SMX_ARRAY_LEN(ours); i++)
        proxy_drop_add(d, ours[i]);
}

/* --- relay --------------------------------------------------------------------------------------
 */

static bool is_endless(const struct http_exchange *x)
{
    return http_head(x)->upgrade || smx_view_eq(http_path(x), "/filesystem.Filesystem/WatchDir");
}

struct halted {
    struct sandbox_halt halt; /* first */
    struct http_client *client;
};

static void disconnect(struct sandbox_halt *h)
{
    struct http_client *c = ((struct halted *)h)->client;

    c->failed = true;
    shutdown(c->fd.fd, SHUT_RDWR);
}

int proxy_relay(struct frontend *fe, struct http_exchange *x, struct sandbox *sb,
    struct http_client *c, const struct http_relay *opts, struct smx_err *err)
{
    struct halted halted = { .halt.fn = disconnect, .client = c };
    struct frontend_endless e;
    bool endless = is_endless(x);
    int r = sandbox_halt_begin(sb, &halted.halt, err);

    if (r < 0)
        return r;
    if (endless)
        frontend_endless_begin(fe, &e);
    r = http_relay(x, c, opts, err);
    if (endless)
        frontend_endless_end(&e);
    sandbox_halt_end(&halted.halt);
    return r;
}

bool proxy_is_lost(int r)
{
    return r == -SMX_E_CLOSED || r == -SMX_E_UNAVAILABLE || r == -SMX_E_IO ||
           r == -SMX_E_PORT_CLOSED;
}

int proxy_explain(int r, const struct sandbox *sb, struct smx_err *err)
{
    if (!proxy_is_lost(r) || sb->state == SANDBOX_RUNNING)
        return r;
    return smx_err_set(
        err, SMX_E_STATE, "sandbox '%s' is %s", sb->id, sandbox_state_name(sb->state));
}

/* --- answers ------------------------------------------------------------------------------------
 */

static bool contains(struct smx_view v, const char *text)
{
    return v.p && memmem(v.p, v.n, text, strlen(text));
}

/* Who asks for a page, and, as at E2B, who looks like a browser and does not say what it wants. A
 * script in a page says that it is one. */
static bool wants_page(const struct http_exchange *x)
{
    struct smx_view accept = http_field(x, "Accept");

    if (contains(accept, "text/html"))
        return true;
    return contains(http_field(x, "User-Agent"), "Mozilla/") &&
           !http_field(x, "Sec-Fetch-Mode").p && (accept.n == 0 || smx_view_eq(accept, "*/*"));
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

struct answer {
    const struct proxy_target *to;
    const struct sandbox *sb; /* NULL: none */
    const struct smx_err *err;
    int status;
};

static int status_of(enum smx_code code, const struct sandbox *sb)
{
    bool soon = sb && (sb->state == SANDBOX_PAUSING || sb->state == SANDBOX_STARTING);

    if (code == SMX_E_STATE && soon)
        return 409;
    if (code == SMX_E_STATE && sb && sb->state == SANDBOX_RUNNING)
        return 503; /* it is being moved, or was resumed this moment: not gone in any case */
    if (code == SMX_E_UNAUTHORIZED)
        return 401;
    if (code == SMX_E_FORBIDDEN)
        return 403;
    if (code == SMX_E_CANCELLED) /* of who left, or of us at the end */
        return 503;
    if (code == SMX_E_UNSUPPORTED)
        return 501;
    return code == SMX_E_INVALID ? 400 : 502;
}

static const char *message_of(const struct answer *a)
{
    if (a->err->code == SMX_E_SANDBOX_NOT_FOUND ||
        (a->err->code == SMX_E_STATE && a->status == 502))
        return not_found;
    return a->err->code == SMX_E_PORT_CLOSED ? port_closed : a->err->msg;
}

static void write_members(struct json_writer *w, const struct answer *a)
{
    json_kv_string(w, "sandboxId", a->sb ? a->sb->id : a->to->key);
    json_kv_string(w, "message", message_of(a));
    if (a->err->code == SMX_E_PORT_CLOSED)
        json_kv_u64(w, "port", a->to->port);
}

static void write_e2b(struct smx_buf *b, const struct answer *a)
{
    struct json_writer w;

    json_writer_init(&w, b);
    json_object_begin(&w);
    write_members(&w, a);
    json_kv_u64(&w, "code", (uint64_t)a->status);
    json_object_end(&w);
}

static void write_problem(struct smx_buf *b, const struct answer *a, const char *request_id)
{
    const struct smx_err *err = a->err;
    struct json_writer w;
    char type[96];

    snprintf(type, sizeof type, "urn:sandmux:error:%s", smx_code_name(err->code));
    json_writer_init(&w, b);
    json_object_begin(&w);
    json_kv_string(&w, "type", type);
    json_kv_string(&w, "title", smx_code_title(err->code));
    json_kv_u64(&w, "status", (uint64_t)a->status);
    json_kv_string(&w, "detail", err->msg);
    json_kv_string(&w, "code", smx_code_name(err->code));
    json_kv_string(&w, "hint", smx_code_hint(err->code));
    json_kv_string(&w, "request_id", request_id);
    write_members(&w, a);
    json_object_end(&w);
}

static bool speaks_e2b(const struct answer *a)
{
    return a->to->fields || a->to->port == PROXY_ENVD_PORT || (a->sb && a->sb->dialect);
}

/* Returns the content type. */
static const char *write_body(
    struct smx_buf *b, const struct http_exchange *x, const struct answer *a)
{
    if (wants_page(x)) {
        write_page(b, a->err);
        return "text/html; charset=utf-8";
    }
    if (speaks_e2b(a)) {
        write_e2b(b, a);
        return "application/json";
    }
    write_problem(b, a, frontend_request(x)->id);
    return "application/problem+json";
}

void proxy_fail(struct http_exchange *x, const struct proxy_target *to, const struct sandbox *sb,
    const struct smx_err *err)
{
    struct answer a = { to, sb, err, status_of(err->code, sb) };
    struct smx_buf out;
    const char *type;

    if (http_started(x)) {
        http_abort(x);
        return;
    }
    smx_buf_init(&out, PAGE_MAX);
    type = write_body(&out, x, &a);
    http_add_field(x, "X-Sandmux-Error", smx_code_name(err->code));
    http_add_field(x, "Cache-Control", "no-store");
    if (a.status == 503)
        http_add_field(x, "Retry-After", "1");
    http_reply(x, a.status, type, out.data, out.len);
    smx_buf_done(&out);
}

void proxy_fail_plain(struct http_exchange *x, int status, const char *message)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, PAGE_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_u64(&w, "code", (uint64_t)status);
    json_kv_string(&w, "message", message);
    json_object_end(&w);
    http_reply(x, status, "application/json", out.data, out.len);
    smx_buf_done(&out);
}
