/* call.c - the Connect protocol as a server sees it: JSON inside, and the binary codec translated
 * at the edge. What is refused, and how, follows what E2B's envd was observed to answer
 * (docs/protocols/e2b.md). Runs on the fiber of the connection. */
#include "agent/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/coding.h"
#include "agent/gunzip.h"
#include "base/limits.h"
#include "base/mem.h"
#include "wire/envd/proto.h"

enum { INFLATE_STEP = 64 * 1024, GZIP_MIN = 1024, GZIP_STEP = 64 * 1024 };

#define WEB_ACCEPTS                                          \
    ENVD_WEB_TYPE ", " ENVD_WEB_TYPE "+json, " ENVD_WEB_TYPE \
                  "+json; charset=utf-8, " ENVD_WEB_TYPE "+proto"
static const char unary_accepts[] =
    WEB_ACCEPTS ", " ENVD_UNARY_TYPE ", " ENVD_UNARY_TYPE "; charset=utf-8, " ENVD_UNARY_PROTO_TYPE;
static const char stream_accepts[] = ENVD_STREAM_TYPE
    ", " ENVD_STREAM_TYPE "; charset=utf-8, " ENVD_STREAM_PROTO_TYPE ", " WEB_ACCEPTS;

enum rpc_code call_fail(struct call *c, enum rpc_code code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(c->err.msg, sizeof c->err.msg, fmt, ap);
    va_end(ap);
    return code;
}

enum rpc_code call_error(const struct call *c)
{
    switch (c->err.code) {
    case SMX_E_INVALID:
    case SMX_E_PROTOCOL:
    case SMX_E_TOO_LARGE:
        return RPC_INVALID_ARGUMENT;
    case SMX_E_UNAUTHORIZED:
        return RPC_UNAUTHENTICATED;
    case SMX_E_FORBIDDEN:
        return RPC_PERMISSION_DENIED;
    case SMX_E_NOT_FOUND:
    case SMX_E_SANDBOX_NOT_FOUND:
    case SMX_E_FILE_NOT_FOUND:
    case SMX_E_PROCESS_NOT_FOUND:
        return RPC_NOT_FOUND;
    case SMX_E_EXISTS:
        return RPC_ALREADY_EXISTS;
    case SMX_E_STATE:
        return RPC_FAILED_PRECONDITION;
    case SMX_E_NO_MEMORY:
    case SMX_E_DISK_FULL:
    case SMX_E_QUOTA:
    case SMX_E_RATE_LIMITED:
    case SMX_E_BUSY:
        return RPC_RESOURCE_EXHAUSTED;
    case SMX_E_UNSUPPORTED:
        return RPC_UNIMPLEMENTED;
    case SMX_E_CANCELLED:
    case SMX_E_CLOSED:
        return RPC_CANCELED;
    case SMX_E_TIMEOUT:
        return RPC_DEADLINE_EXCEEDED;
    case SMX_OK:
    case SMX_E_METHOD_NOT_ALLOWED:
    case SMX_E_UNPROCESSABLE_KEY:
    case SMX_E_IN_PROGRESS:
    case SMX_E_NOT_CONFIGURED:
    case SMX_E_E2B_KEY:
    case SMX_E_DAYTONA_KEY:
    case SMX_E_TEMPLATE_NOT_FOUND:
    case SMX_E_UNAVAILABLE:
    case SMX_E_AMBIGUOUS:
    case SMX_E_PORT_CLOSED:
    case SMX_E_LOOP:
    case SMX_E_IO:
    case SMX_E_INTERNAL:
    case SMX_E_COUNT_:
        break;
    }
    return RPC_INTERNAL;
}

/* "type" or "type; charset=utf-8" */
static bool type_is(struct smx_view type, const char *want)
{
    size_t n = strlen(want);
    struct smx_view rest;

    if (type.n < n || !smx_view_ieq((struct smx_view){ type.p, n }, want))
        return false;
    rest = (struct smx_view){ type.p + n, type.n - n };
    while (rest.n > 0 && (*rest.p == ' ' || *rest.p == ';')) {
        rest.p++;
        rest.n--;
    }
    return rest.n == 0 || smx_view_ieq(rest, "charset=utf-8");
}

int call_field_u64(const struct http_exchange *x, const char *name, uint64_t max, uint64_t *ret)
{
    struct smx_view v = http_field(x, name);

    if (!v.p)
        return 0;
    return smx_parse_u64(v, max, ret) ? 1 : -SMX_E_INVALID;
}

/* The protocol's version and the encoding of the request. */
static enum rpc_code check_head(struct call *c, bool stream)
{
    struct smx_view version = http_field(c->x, "Connect-Protocol-Version");
    struct smx_view coding = http_field(c->x, c->web   ? "Grpc-Encoding"
                                              : stream ? "Connect-Content-Encoding"
                                                       : "Content-Encoding");

    if (!c->web && version.p && !smx_view_eq(version, "1"))
        return call_fail(c, RPC_INVALID_ARGUMENT,
            "Connect-Protocol-Version must be \"1\": got \"%.*s\"", (int)SMX_MIN(version.n, 40),
            version.p);
    c->gzip = coding.p && smx_view_ieq(coding, "gzip");
    if (coding.p && coding.n > 0 && !c->gzip && !smx_view_ieq(coding, "identity"))
        return call_fail(c, RPC_UNIMPLEMENTED,
            "unknown compression \"%.*s\": supported encodings are gzip",
            (int)SMX_MIN(coding.n, 40), coding.p);
    return RPC_OK;
}

static ssize_t read_view(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct smx_view *v = ctx;

    n = SMX_MIN(n, v->n);
    memcpy(data, v->p, n);
    *v = (struct smx_view){ v->p + n, v->n - n };
    return (ssize_t)n;
}

/* What it inflates to is bounded like any message, whatever it claims. */
static enum rpc_code inflate_message(struct call *c, struct smx_view packed)
{
    SMX_CLEANUP(gunzip_freep) struct gunzip *g = NULL;
    ssize_t n = gunzip_new(read_view, &packed, &g, &c->err);

    smx_buf_reset(&c->plain);
    while (n >= 0) {
        if (smx_buf_reserve(&c->plain, INFLATE_STEP) < 0)
            return call_fail(c, RPC_RESOURCE_EXHAUSTED, "a message is too large");
        n = gunzip_read(g, c->plain.data + c->plain.len, INFLATE_STEP, &c->err);
        if (n == 0)
            break;
        c->plain.len += n > 0 ? (size_t)n : 0;
        io_fair(INFLATE_STEP);
    }
    if (n == -SMX_E_NO_MEMORY)
        return RPC_RESOURCE_EXHAUSTED;
    if (n < 0)
        return call_fail(c, RPC_INVALID_ARGUMENT, "decompress: %.100s", c->err.msg);
    c->msg = (struct smx_view){ c->plain.data ? c->plain.data : "", c->plain.len };
    return RPC_OK;
}

enum rpc_code call_open(struct call *c, const struct rpc_envelope *e)
{
    c->msg = (struct smx_view){ e->data, e->n };
    if (!(e->flags & RPC_FLAG_COMPRESSED))
        return RPC_OK;
    if (!c->gzip)
        return call_fail(
            c, RPC_INTERNAL, "protocol error: sent compressed message without compression support");
    return inflate_message(c, c->msg);
}

static enum rpc_code read_body(struct call *c)
{
    if (http_body_all(c->x, &c->in, &c->err) < 0)
        return call_error(c);
    c->msg = (struct smx_view){ c->in.data ? c->in.data : "", c->in.len };
    return RPC_OK;
}

/* Exactly one envelope. */
static enum rpc_code open_envelope(struct call *c)
{
    struct rpc_envelope e;
    ptrdiff_t used;

    if (c->msg.n == 0)
        return call_fail(c, RPC_UNIMPLEMENTED, "unary request has zero messages");
    used = rpc_parse(c->msg.p, c->msg.n, &e, &c->err);
    if (used < 0)
        return RPC_INVALID_ARGUMENT;
    if (used == 0)
        return call_fail(c, RPC_INVALID_ARGUMENT,
            "protocol error: the enveloped message ends early, after %zu bytes", c->msg.n);
    if ((size_t)used < c->msg.n)
        return call_fail(c, RPC_UNIMPLEMENTED, "unary request has multiple messages");
    return call_open(c, &e);
}

static enum rpc_code read_binary(struct call *c, const struct json_table *table)
{
    int r;

    smx_buf_reset(&c->text);
    r = envd_proto_read(table, c->msg.p, c->msg.n, &c->text, &c->err);
    if (r < 0) {
        smx_err_wrap(&c->err, r, "unmarshal message");
        return call_error(c);
    }
    if (c->text.failed)
        return call_fail(c, RPC_RESOURCE_EXHAUSTED, "a message is too large");
    c->msg = (struct smx_view){ c->text.data, c->text.len };
    return RPC_OK;
}

enum rpc_code call_decode(struct call *c, const struct json_table *table, void *ret)
{
    enum rpc_code code = c->binary ? read_binary(c, table) : RPC_OK;
    int r;

    if (code != RPC_OK)
        return code;
    if (c->msg.n == 0)
        return call_fail(c, RPC_INVALID_ARGUMENT,
            "unmarshal message: zero-length payload is not a valid JSON object");
    r = json_decode(table, c->msg.p, c->msg.n, ret, &c->err);
    if (r == 0 && c->binary) { /* a stream may live long */
        smx_buf_done(&c->text);
        c->msg = (struct smx_view){ "", 0 };
    }
    if (r == 0)
        return RPC_OK;
    smx_err_wrap(&c->err, r, "unmarshal message");
    return call_error(c);
}

/* The name before the first colon, owned; "" when the field is no Basic or absent. */
static enum rpc_code user_name(struct call *c, char **ret)
{
    struct smx_view auth = http_field(c->x, "Authorization");
    bool basic = auth.n > 6 && smx_view_ieq((struct smx_view){ auth.p, 6 }, "basic ");
    char *name = smx_alloc(basic ? auth.n : 1), *colon;
    ptrdiff_t n;

    if (!name)
        return call_fail(c, RPC_RESOURCE_EXHAUSTED, "out of memory");
    *ret = name;
    if (!basic)
        return RPC_OK;
    n = smx_base64_decode(name, auth.p + 6, auth.n - 6);
    colon = n < 0 ? NULL : memchr(name, ':', (size_t)n);
    if (!colon)
        return call_fail(c, RPC_UNAUTHENTICATED, "the Authorization field cannot be read");
    *colon = '\0';
    return RPC_OK;
}

enum rpc_code call_user(struct call *c, struct agent_user *ret)
{
    SMX_CLEANUP(smx_freep) char *name = NULL;
    enum rpc_code code = user_name(c, &name);

    if (code == RPC_OK && agent_user_find(c->agent, name, ret, &c->err) < 0)
        code = call_error(c);
    return code;
}

static void reply_error(struct call *c, enum rpc_code code)
{
    struct smx_buf body;

    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    rpc_append_error(&body, code, c->err.msg);
    http_reply(c->x, rpc_code_http(code), ENVD_UNARY_TYPE, body.data, body.len);
    smx_buf_done(&body);
}

static void reply_unsupported_type(struct http_exchange *x, const char *accepts)
{
    http_add_field(x, "Accept-Post", accepts);
    http_reply(x, 415, /* content_type= */ NULL, "", 0);
}

/* Who asks for gzip and nothing else gets it where it is worth something. */
static bool reply_gzip(struct call *c, const char *type)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf packed = { 0 };
    SMX_CLEANUP(gzip_freep) struct gzip *z = NULL;
    int r = 0;

    if (c->out.len < GZIP_MIN ||
        coding_choose(http_field(c->x, "Accept-Encoding")) != CODING_GZIP ||
        gzip_new(&z, /* err= */ NULL) < 0)
        return false;
    smx_buf_init(&packed, SMX_AGENT_LIST_REPLY_MAX);
    for (size_t at = 0, n; r == 0 && at < c->out.len; at += n) {
        n = SMX_MIN(c->out.len - at, (size_t)GZIP_STEP);
        r = gzip_add(z, c->out.data + at, n, at + n == c->out.len, &packed, /* err= */ NULL);
        io_fair(GZIP_STEP);
    }
    if (r < 0)
        return false;
    http_add_field(c->x, "Content-Encoding", "gzip");
    http_reply(c->x, 200, type, packed.data, packed.len);
    return true;
}

/* "100m": eight digits at most and a unit. False when it is no such text. */
static bool web_timeout(struct smx_view v, uint64_t *ret_ms)
{
    static const struct {
        char unit;
        uint64_t us;
    } units[] = { { 'H', 3600000000 }, { 'M', 60000000 }, { 'S', 1000000 }, { 'm', 1000 },
        { 'u', 1 }, { 'n', 0 } };
    uint64_t n;

    if (v.n < 2 || v.n > 9 || !smx_parse_u64((struct smx_view){ v.p, v.n - 1 }, 99999999, &n))
        return false;
    for (size_t i = 0; i < SMX_ARRAY_LEN(units); i++) {
        if (units[i].unit != v.p[v.n - 1])
            continue;
        *ret_ms = n == 0 ? 0 : SMX_MAX(n * units[i].us / 1000, UINT64_C(1));
        return true;
    }
    return false;
}

enum rpc_code call_timeout(struct call *c, uint64_t *ret_ms)
{
    struct smx_view web = http_field(c->x, "Grpc-Timeout");

    *ret_ms = 0;
    if (c->web && web.p && !web_timeout(web, ret_ms))
        return call_fail(
            c, RPC_INVALID_ARGUMENT, "parse timeout: Grpc-Timeout must be a number and a unit");
    if (!c->web && call_field_u64(c->x, "Connect-Timeout-Ms", CALL_TIMEOUT_MAX_MS, ret_ms) < 0)
        return call_fail(c, RPC_INVALID_ARGUMENT,
            "parse timeout: Connect-Timeout-Ms must be a number of milliseconds");
    return RPC_OK;
}

static enum rpc_code read_deadline(struct call *c)
{
    uint64_t ms = 0;
    enum rpc_code code = call_timeout(c, &ms);

    c->deadline_ns = ms > 0 ? smx_deadline_in_ms(ms) : SMX_FOREVER;
    return code;
}

/* c->out from JSON to the binary form. */
static enum rpc_code make_binary(struct call *c)
{
    struct smx_buf json = c->out;
    size_t at = 0;
    int r = json.len > 0;

    smx_buf_init(&c->out, SMX_AGENT_LIST_REPLY_MAX);
    while (r > 0) {
        r = envd_proto_step(&c->out, c->reply, json.data, json.len, &at, &c->err);
        if (r > 0)
            io_yield();
    }
    smx_buf_done(&json);
    return r < 0 ? RPC_RESOURCE_EXHAUSTED : RPC_OK;
}

static void reply_message(struct call *c)
{
    const char *type = c->binary ? ENVD_UNARY_PROTO_TYPE : ENVD_UNARY_TYPE;
    const char *empty = c->binary ? "" : "{}";

    if (c->out_type)
        http_reply(c->x, 200, c->out_type, c->out.data ? c->out.data : "", c->out.len);
    else if (c->out.len == 0)
        http_reply(c->x, 200, type, empty, strlen(empty));
    else if (!reply_gzip(c, type))
        http_reply(c->x, 200, type, c->out.data, c->out.len);
}

static void run_unary(struct call *c, const struct call_route *route)
{
    enum rpc_code code;

    smx_buf_init(&c->out, SMX_AGENT_LIST_REPLY_MAX);
    code = check_head(c, /* stream= */ false);
    if (code == RPC_OK)
        code = read_deadline(c);
    if (code == RPC_OK)
        code = read_body(c);
    if (code == RPC_OK && c->gzip && c->msg.n > 0)
        code = inflate_message(c, c->msg);
    if (code == RPC_OK)
        code = route->fn(c);
    if (code == RPC_OK && smx_buf_check(&c->out, &c->err) < 0)
        code = RPC_RESOURCE_EXHAUSTED;
    smx_buf_done(&c->in);
    if (code == RPC_OK && c->binary && !c->out_type)
        code = make_binary(c);
    if (code != RPC_OK)
        reply_error(c, code);
    else
        reply_message(c);
    smx_buf_done(&c->out);
}

/* A stream that is nothing but its end. */
static void refuse_stream(struct call *c, enum rpc_code code)
{
    struct smx_buf out;

    smx_buf_init(&out, SMX_HTTP_JSON_BODY_MAX);
    rpc_append_end(&out, code, c->err.msg);
    if (call_stream_begin(c, &out) == 0)
        http_finish(c->x);
    else
        http_abort(c->x);
    smx_buf_done(&out);
}

static void run_stream(struct call *c, const struct call_route *route)
{
    enum rpc_code code = check_head(c, /* stream= */ true);

    c->deadline_ns = SMX_FOREVER;
    if (code == RPC_OK && route->client_stream)
        code = read_deadline(c);
    if (code == RPC_OK && !route->client_stream) {
        code = read_body(c);
        if (code == RPC_OK)
            code = open_envelope(c);
    }
    if (code == RPC_OK)
        code = route->fn(c);
    if (code != RPC_OK)
        refuse_stream(c, code);
    smx_buf_done(&c->in);
}

/* The only message of a stream, and its end. */
static void reply_web(struct call *c)
{
    struct smx_buf out;
    size_t start;

    smx_buf_init(&out, SMX_RPC_ENVELOPE_MAX + SMX_HTTP_JSON_BODY_MAX);
    start = rpc_begin(&out, 0);
    smx_buf_append_str(&out, c->out.len > 0 ? c->out.data : "{}");
    rpc_end(&out, start);
    rpc_append_end(&out, RPC_OK, /* message= */ NULL);
    if (call_stream_begin(c, &out) == 0)
        http_finish(c->x);
    else
        http_abort(c->x);
    smx_buf_done(&out);
}

/* gRPC-Web has one form for all calls: a message in, messages and an end out. */
static void run_web(struct call *c, const struct call_route *route)
{
    enum rpc_code code = check_head(c, /* stream= */ false);

    smx_buf_init(&c->out, SMX_RPC_ENVELOPE_MAX);
    if (code == RPC_OK)
        code = read_deadline(c);
    if (code == RPC_OK)
        code = read_body(c);
    if (code == RPC_OK)
        code = open_envelope(c);
    if (code == RPC_OK)
        code = route->fn(c);
    if (code == RPC_OK && smx_buf_check(&c->out, &c->err) < 0)
        code = RPC_RESOURCE_EXHAUSTED;
    smx_buf_done(&c->in);
    if (code == RPC_OK)
        reply_web(c);
    else
        refuse_stream(c, code);
    smx_buf_done(&c->out);
}

static bool read_type(struct call *c, bool stream)
{
    static const struct {
        const char *type;
        bool unary, stream, binary, web;
    } types[] = { { ENVD_UNARY_TYPE, .unary = true }, { ENVD_STREAM_TYPE, .stream = true },
        { ENVD_UNARY_PROTO_TYPE, .unary = true, .binary = true },
        { ENVD_STREAM_PROTO_TYPE, .stream = true, .binary = true },
        { ENVD_WEB_TYPE, .unary = true, .stream = true, .binary = true, .web = true },
        { ENVD_WEB_TYPE "+proto", .unary = true, .stream = true, .binary = true, .web = true },
        { ENVD_WEB_TYPE "+json", .unary = true, .stream = true, .web = true } };
    struct smx_view type = http_field(c->x, "Content-Type");

    for (size_t i = 0; type.p && i < SMX_ARRAY_LEN(types); i++) {
        if (!(stream ? types[i].stream : types[i].unary) ||
            !(types[i].binary ? smx_view_ieq(type, types[i].type) : type_is(type, types[i].type)))
            continue;
        c->binary = types[i].binary;
        c->web = types[i].web;
        return true;
    }
    return false;
}

void call_run(struct agent *a, struct http_exchange *x, const struct call_route *route)
{
    bool stream = route->stream || route->client_stream;
    struct call c = { .agent = a, .x = x, .reply = route->reply };

    if (!c.reply)
        c.reply = &envd_empty_table;
    if (!read_type(&c, stream)) {
        reply_unsupported_type(x, stream ? stream_accepts : unary_accepts);
        return;
    }
    smx_buf_init(&c.in, SMX_RPC_ENVELOPE_MAX + RPC_HEAD);
    smx_buf_init(&c.plain, SMX_RPC_ENVELOPE_MAX + INFLATE_STEP);
    smx_buf_init(&c.text, SMX_RPC_ENVELOPE_MAX);
    if (stream)
        run_stream(&c, route);
    else if (c.web)
        run_web(&c, route);
    else
        run_unary(&c, route);
    smx_buf_done(&c.plain);
    smx_buf_done(&c.text);
}
