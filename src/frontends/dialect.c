/* dialect.c - see dialect.h. Nothing looks at a request before the guard let it in; a path that is
 * nobody's tells a caller without a key nothing either. No state; runs on the exchange's fiber. */
#include "frontends/dialect.h"

#include <string.h>

enum { REPLY_MAX = 16 * 1024 * 1024, ALLOW_MAX = 64 };

static SMX_NOINLINE void fail_memory(const struct dialect *d, struct http_exchange *x)
{
    struct smx_err err = { 0 };

    smx_err_oom(&err);
    d->fail(x, &err);
}

static SMX_NOINLINE void preflight(
    const struct dialect *d, const struct frontend *fe, struct http_exchange *x)
{
    struct smx_err err = { 0 };

    if (fe->require_keys && http_field(x, "Origin").p && guard_check(fe, x, GUARD_OPEN, &err) == 0)
        dialect_no_content(x);
    else
        d->fail_match(x, HTTP_MATCH_NO_METHOD, DIALECT_METHODS);
}

/* The row that is to answer, once the guard let the request in; NULL: it was answered. */
static SMX_NOINLINE const struct http_route *choose(const struct dialect *d, struct frontend *fe,
    struct http_exchange *x, struct http_params *params)
{
    struct frontend_request *req = frontend_request(x);
    const struct http_route *route = NULL;
    unsigned flags = GUARD_READ;
    struct smx_err err = { 0 };
    enum http_match match;
    char allow[ALLOW_MAX];

    match = http_route_find(
        d->routes, d->n, http_head(x)->method, http_path(x), &route, params, allow, sizeof allow);
    if (match == HTTP_MATCH_OK)
        flags = route->flags;
    req->quiet = flags & DIALECT_QUIET;
    if (guard_check(fe, x, (enum guard_need)(flags & (DIALECT_QUIET - 1)), &err) < 0)
        d->fail_guard(x, &err);
    else if (match != HTTP_MATCH_OK)
        d->fail_match(x, match, allow);
    else
        return req->route = route;
    return NULL;
}

void dialect_handle(const struct dialect *d, struct frontend *fe, struct http_exchange *x)
{
    struct http_params *params = http_alloc(x, http_params_bytes(http_path(x)));
    const struct http_route *route;

    frontend_request(x)->frontend = d->name;
    guard_cors(fe, x, &d->cors);
    if (!params) {
        fail_memory(d, x);
        return;
    }
    if (http_head(x)->method == H1_OPTIONS) {
        preflight(d, fe, x);
        return;
    }
    route = choose(d, fe, x, params);
    if (route)
        route->handler(x, params, fe);
}

int dialect_body(struct http_exchange *x, const struct json_table *table, size_t max, void *ret,
    struct smx_buf *raw, struct smx_err *err)
{
    struct smx_buf own, *buf = raw ? raw : &own;
    int r;

    memset(ret, 0, table->size); /* may be freed whatever happens */
    smx_buf_init(buf, max);
    r = http_body_all(x, buf, err);
    if (r == -SMX_E_TOO_LARGE)
        r = smx_err_set(err, SMX_E_TOO_LARGE, "the body is larger than %zu bytes", max);
    else if (r == 0 && buf->len == 0)
        r = json_decode(table, "{}", 2, ret, err);
    else if (r == 0)
        r = json_decode(table, buf->data, buf->len, ret, err);
    if (!raw)
        smx_buf_done(&own);
    return r;
}

void dialect_reply(const struct dialect *d, struct http_exchange *x, int status,
    const struct json_table *table, const void *value)
{
    struct smx_err err = { 0 };
    struct smx_buf out;

    smx_buf_init(&out, REPLY_MAX);
    if (json_encode_to(&out, table, value, &err) < 0)
        d->fail(x, &err);
    else
        http_reply(x, status, DIALECT_JSON, out.data, out.len);
    smx_buf_done(&out);
}

void dialect_reply_json(
    const struct dialect *d, struct http_exchange *x, int status, struct json_writer *w)
{
    struct smx_err err = { 0 };

    if (json_writer_end(w, &err) < 0)
        d->fail(x, &err);
    else
        http_reply(x, status, DIALECT_JSON, w->out->data, w->out->len);
}

void dialect_no_content(struct http_exchange *x)
{
    http_reply(x, 204, /* content_type= */ NULL, "", 0);
}

struct dialect_status dialect_status(enum smx_code code)
{
    switch (code) {
#define STATUS(symbol, native, e2b) \
    case SMX_E_##symbol:            \
        return (struct dialect_status){ native, e2b };
#include "frontends/status.def"
#undef STATUS
    case SMX_OK:
        return (struct dialect_status){ 200, 200 };
    case SMX_E_COUNT_:
        break;
    }
    return (struct dialect_status){ 500, 500 };
}
