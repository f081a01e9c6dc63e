/* traffic.c - relays HTTP and WebSockets to a server inside a sandbox. The bytes are not looked at;
 * there is no Origin check, since the pages are the sandbox's own site. From this host everything
 * is open; from elsewhere the sandbox's token is needed, unless the sandbox was made by a protocol
 * whose ports are public. A sandbox with private traffic wants its traffic token from everybody.
 * Our tokens and keys do not reach the server inside. */
#include "frontends/traffic/traffic.h"

#include <stdio.h>

enum { DIAL_TIMEOUT_MS = 10000, OPENING_TRIES = 4, OPENING_FIRST_MS = 20 };

/* --- tokens ----------------------------------------------------------------------------------- */

static bool token_valid(const struct sandbox *sb, struct smx_view given)
{
    char token[SANDBOX_TOKEN_SIZE];

    return given.p && smx_view_copy(token, sizeof token, given) && sandbox_token_check(sb, token);
}

/* Takes the next "name=value" off the front of a Cookie field, blanks around it left out. */
static bool next_cookie(struct smx_view *rest, struct smx_view *ret)
{
    const char *end;

    while (rest->n > 0 && (*rest->p == ' ' || *rest->p == ';' || *rest->p == '\t')) {
        rest->p++;
        rest->n--;
    }
    if (rest->n == 0)
        return false;
    end = memchr(rest->p, ';', rest->n);
    *ret = (struct smx_view){ rest->p, end ? (size_t)(end - rest->p) : rest->n };
    rest->p += ret->n;
    rest->n -= ret->n;
    return true;
}

static bool is_our_cookie(struct smx_view cookie)
{
    return smx_view_starts(cookie, PROXY_OWN_TOKEN_QUERY "=");
}

/* The value of our cookie, or a NULL view. */
static struct smx_view cookie_token(const struct http_exchange *x)
{
    struct smx_view rest = http_field(x, "Cookie"), cookie;
    size_t skip = strlen(PROXY_OWN_TOKEN_QUERY "=");

    while (next_cookie(&rest, &cookie))
        if (is_our_cookie(cookie))
            return (struct smx_view){ cookie.p + skip, cookie.n - skip };
    return (struct smx_view){ NULL, 0 };
}

static bool is_our_parameter(struct smx_view one)
{
    struct smx_view value;

    return h1_query_get(one, PROXY_OWN_TOKEN_QUERY, 0, &value);
}

/* The target without the token. */
static void write_target(const struct http_exchange *x, struct smx_buf *out)
{
    struct smx_view path = http_path(x), rest = http_query(x);
    char before = '?';

    smx_buf_append(out, path.p, path.n);
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '&', rest.n);
        struct smx_view one = { rest.p, end ? (size_t)(end - rest.p) : rest.n };
        size_t used = one.n + (end != NULL);

        rest = (struct smx_view){ rest.p + used, rest.n - used };
        if (one.n == 0 || is_our_parameter(one))
            continue;
        smx_buf_append_char(out, before);
        smx_buf_append(out, one.p, one.n);
        before = '&';
    }
}

/* One that would lead to another host is "/". */
static void write_location(const struct http_exchange *x, struct smx_buf *out)
{
    struct smx_view path = http_path(x);

    if (path.n == 0 || path.p[0] != '/' || (path.n > 1 && (path.p[1] == '/' || path.p[1] == '\\')))
        smx_buf_append_char(out, '/');
    else
        write_target(x, out);
}

/* A browser that brings the token in the query gets it as a cookie and comes back without. */
static void set_cookie(struct http_exchange *x, struct smx_view token)
{
    char cookie[SANDBOX_TOKEN_SIZE + 96];
    struct smx_buf location;

    smx_buf_init(&location, SMX_HTTP_TARGET_MAX + 1);
    write_location(x, &location);
    snprintf(cookie, sizeof cookie, "%s=%.*s; Path=/; HttpOnly; SameSite=Lax",
        PROXY_OWN_TOKEN_QUERY, (int)token.n, token.p);
    http_add_field(x, "Set-Cookie", cookie);
    http_add_field(x, "Location", location.failed ? "/" : location.data);
    http_reply(x, 302, /* content_type= */ NULL, "", 0);
    smx_buf_done(&location);
}

static bool has_traffic_token(const struct http_exchange *x, const struct sandbox *sb)
{
    struct smx_view given = http_field(x, PROXY_TRAFFIC_TOKEN_FIELD);
    char token[SANDBOX_TOKEN_SIZE];

    return given.p && smx_view_copy(token, sizeof token, given) &&
           sandbox_traffic_token_check(sb, token);
}

static bool is_open(const struct http_exchange *x, const struct sandbox *sb)
{
    const struct http_peer *peer = http_peer(x);

    if (sb->private_traffic)
        return has_traffic_token(x, sb);
    return peer->unix_socket || peer->loopback || sb->dialect;
}

static int refuse(const struct http_exchange *x, const struct sandbox *sb, struct smx_err *err)
{
    if (!sb->private_traffic)
        return smx_err_set(err, SMX_E_UNAUTHORIZED,
            "this port needs the sandbox's token: field " PROXY_OWN_TOKEN_FIELD
            " or parameter " PROXY_OWN_TOKEN_QUERY " (GET .../preview shows it)");
    return smx_err_set(err, SMX_E_FORBIDDEN,
        "the traffic of this sandbox is private: the header " PROXY_TRAFFIC_TOKEN_FIELD " is %s",
        http_field(x, PROXY_TRAFFIC_TOKEN_FIELD).p ? "not its token" : "missing");
}

/* Null when the query has no token, or somebody else's. */
static struct smx_view query_token(const struct http_exchange *x, const struct sandbox *sb)
{
    struct smx_view v;

    if (h1_query_get(http_query(x), PROXY_OWN_TOKEN_QUERY, 0, &v) && token_valid(sb, v))
        return v;
    return (struct smx_view){ NULL, 0 };
}

/* A redirection would lose a body, and is not followed by who wants to upgrade. */
static bool can_come_back(const struct http_exchange *x)
{
    const struct h1_head *head = http_head(x);

    return (head->method == H1_GET || head->method == H1_HEAD) && !head->upgrade;
}

/* 1: go on; 0: answered; negative: refused. */
static SMX_NOINLINE int admit(
    struct http_exchange *x, const struct sandbox *sb, struct smx_err *err)
{
    struct smx_view query;

    if (is_open(x, sb) || proxy_token(x, PROXY_OWN_TOKEN_FIELD, sb) ||
        proxy_token(x, PROXY_TOKEN_FIELD, sb) || token_valid(sb, cookie_token(x)))
        return 1;
    query = query_token(x, sb);
    if (query.p && can_come_back(x)) {
        set_cookie(x, query);
        return 0;
    }
    return query.p ? 1 : refuse(x, sb, err);
}

/* --- what the server inside does not see ------------------------------------------------------ */

struct cut {
    struct proxy_drop drop;
    struct smx_buf add;    /* the cookies that are not ours */
    struct smx_buf target; /* without our token, where it has one */
    struct http_client client;
};

static bool is_our_key(struct frontend *fe, struct smx_view given)
{
    struct core_key key;
    char text[CORE_KEY_SIZE];

    return given.p && (smx_view_starts(given, "e2b_") || (smx_view_copy(text, sizeof text, given) &&
                                                             core_key_check(fe->core, text, &key)));
}

static bool bearer_is_ours(struct frontend *fe, struct smx_view v)
{
    struct core_key key;
    char text[CORE_KEY_SIZE];

    return v.n > 7 && smx_view_ieq((struct smx_view){ v.p, 7 }, "bearer ") &&
           smx_view_copy(text, sizeof text, (struct smx_view){ v.p + 7, v.n - 7 }) &&
           core_key_check(fe->core, text, &key);
}

/* An app may have fields of these names of its own; who routes by E2B's fields means us. */
static SMX_NOINLINE void drop_credentials(struct frontend *fe, const struct http_exchange *x,
    const struct proxy_target *to, const struct sandbox *sb, struct proxy_drop *d)
{
    proxy_drop_ours(d);
    if (to->fields || proxy_token(x, PROXY_TOKEN_FIELD, sb))
        proxy_drop_add(d, PROXY_TOKEN_FIELD);
    if (to->fields || is_our_key(fe, http_field(x, "X-API-KEY")))
        proxy_drop_add(d, "X-API-KEY");
    if (bearer_is_ours(fe, http_field(x, "Authorization")))
        proxy_drop_add(d, "Authorization");
}

static void keep_other_cookies(struct smx_view rest, struct smx_buf *out)
{
    struct smx_view cookie;
    bool first = true;

    while (next_cookie(&rest, &cookie)) {
        if (is_our_cookie(cookie))
            continue;
        smx_buf_append_str(out, first ? "Cookie: " : "; ");
        smx_buf_append(out, cookie.p, cookie.n);
        first = false;
    }
    if (!first)
        smx_buf_append_str(out, "\r\n");
}

static SMX_NOINLINE int cut_cookie(
    const struct http_exchange *x, struct cut *cut, struct smx_err *err)
{
    const struct h1_head *head = http_head(x);

    if (!cookie_token(x).p)
        return 0;
    proxy_drop_add(&cut->drop, "Cookie");
    for (size_t i = 0; i < head->n; i++)
        if (smx_view_ieq(head->fields[i].name, "cookie"))
            keep_other_cookies(head->fields[i].value, &cut->add);
    return smx_buf_check(&cut->add, err);
}

/* --- relay ------------------------------------------------------------------------------------ */

static SMX_NOINLINE int explain(int r, uint16_t port, const struct sandbox *sb, struct smx_err *err)
{
    if (r == -SMX_E_CLOSED)
        smx_err_set(err, SMX_E_CLOSED,
            "the server on port %u closed the connection without an answer", (unsigned)port);
    return proxy_explain(r, sb, err);
}

/* A server that was just started needs a moment until it listens. */
static int dial(
    struct provider_box *box, uint16_t port, struct http_client *to, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(DIAL_TIMEOUT_MS), pause_ms = OPENING_FIRST_MS;
    int r = provider_dial(box, port, to, deadline, err);

    for (int i = 0; r == -SMX_E_PORT_CLOSED && i < OPENING_TRIES; i++, pause_ms *= 2) {
        if (io_sleep_until(smx_deadline_in_ms(pause_ms)) < 0)
            return smx_err_set(err, SMX_E_CANCELLED, "the client left");
        r = provider_dial(box, port, to, deadline, err);
    }
    return r;
}

static int relay_to(struct frontend *fe, struct http_exchange *x, struct sandbox *sb,
    struct provider_box *box, uint16_t port, struct cut *cut, struct smx_err *err)
{
    struct http_relay opts = {
        .drop = cut->drop.v, .add = &cut->add, .target = { cut->target.data, cut->target.len }
    };
    int r = dial(box, port, &cut->client, err);

    if (r < 0)
        return r;
    r = proxy_relay(fe, x, sb, &cut->client, &opts, err);
    http_client_done(&cut->client);
    return explain(r, port, sb, err);
}

static int relay(struct frontend *fe, struct http_exchange *x, struct sandbox *sb, uint16_t port,
    struct cut *cut, struct smx_err *err)
{
    struct provider_box *box;
    int r = proxy_wake(sb, err);

    if (r == 0)
        r = sandbox_use_begin(sb, &box, err);
    if (r < 0)
        return r;
    r = relay_to(fe, x, sb, box, port, cut, err);
    sandbox_use_end(sb);
    return r;
}

static int serve(struct frontend *fe, struct http_exchange *x, const struct proxy_target *to,
    struct sandbox *sb, struct smx_err *err)
{
    struct cut *cut;
    int r = proxy_usable(sb, err);

    if (r == 0)
        r = admit(x, sb, err);
    if (r <= 0)
        return r;
    cut = http_alloc(x, sizeof *cut);
    if (!cut)
        return smx_err_oom(err);
    smx_buf_init(&cut->add, SMX_HTTP_HEAD_MAX);
    smx_buf_init(&cut->target, SMX_HTTP_TARGET_MAX + 1);
    drop_credentials(fe, x, to, sb, &cut->drop);
    r = cut_cookie(x, cut, err);
    if (r == 0 && query_token(x, sb).p) {
        write_target(x, &cut->target);
        r = smx_buf_check(&cut->target, err);
    }
    if (r == 0)
        r = relay(fe, x, sb, to->port, cut, err);
    smx_buf_done(&cut->target);
    smx_buf_done(&cut->add);
    return r;
}

void traffic_handle(struct frontend *fe, struct http_exchange *x, const struct proxy_target *to)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };
    int r;

    frontend_request(x)->frontend = "traffic";
    r = proxy_find(fe, x, to, &sb, &err);
    if (r == 0)
        r = serve(fe, x, to, sb, &err);
    if (r < 0)
        proxy_fail(x, to, sb, &err);
}
