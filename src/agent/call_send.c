/* call_send.c - envelopes on their way out: the agent writes Connect's with JSON in them, and
 * clients of the binary codec or of gRPC-Web get theirs made from these. Runs on the fiber of the
 * connection. */
#include <string.h>

#include "agent/call.h"
#include "base/limits.h"
#include "wire/envd/proto.h"

enum { WEB_FLAG_END = 0x80, SLACK = 64 * 1024 };

/* Text of a field's value, as gRPC escapes it. */
static void append_escaped(struct smx_buf *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p >= 0x20 && *p <= 0x7e && *p != '%')
            smx_buf_append_char(out, (char)*p);
        else
            smx_buf_appendf(out, "%%%02X", *p);
    }
}

/* The end of a stream is JSON in both codecs of Connect, and fields in gRPC-Web, whose numbers of
 * the codes are ours. */
static void append_end(struct call *c, const struct rpc_envelope *e, struct smx_buf *out)
{
    struct smx_err err = { 0 };
    size_t start = rpc_begin(out, c->web ? WEB_FLAG_END : e->flags);
    enum rpc_code code;

    if (c->web) {
        code = rpc_read_error(e->data, e->n, &err);
        smx_buf_appendf(out, "grpc-status: %d\r\n", (int)code);
        if (code != RPC_OK) {
            smx_buf_append_str(out, "grpc-message: ");
            append_escaped(out, err.msg);
            smx_buf_append_str(out, "\r\n");
        }
    } else {
        smx_buf_append(out, e->data, e->n);
    }
    rpc_end(out, start);
}

static int append_message(struct call *c, const struct rpc_envelope *e, struct smx_buf *out)
{
    size_t start = rpc_begin(out, e->flags);
    int r = 0;

    if (c->binary)
        r = envd_proto_append(out, c->reply, e->data, e->n, &c->err);
    else
        smx_buf_append(out, e->data, e->n);
    rpc_end(out, start);
    return r;
}

static int translate(struct call *c, const char *data, size_t n, struct smx_buf *out)
{
    struct rpc_envelope e;
    ptrdiff_t used;
    int r = 0;

    while (r == 0 && n > 0) {
        used = rpc_parse(data, n, &e, &c->err);
        if (used <= 0)
            return -SMX_E_INTERNAL;
        if (e.flags & RPC_FLAG_END)
            append_end(c, &e, out);
        else
            r = append_message(c, &e, out);
        data += used;
        n -= (size_t)used;
    }
    return r < 0 ? r : smx_buf_check(out, &c->err);
}

/* How the three parts of a stream are sent: its first, more, and its last bytes. */
typedef int(send_fn)(struct call *c, const void *data, size_t n);

static int send_first(struct call *c, const void *data, size_t n)
{
    char type[64];

    smx_view_copy(type, sizeof type, http_field(c->x, "Content-Type"));
    if (c->web)
        http_add_field(c->x, "Grpc-Accept-Encoding", "gzip");
    return http_start_with(c->x, 200, type, HTTP_CHUNKED, data, n);
}

static int send_more(struct call *c, const void *data, size_t n)
{
    return http_write(c->x, data, n);
}

static int send_last(struct call *c, const void *data, size_t n)
{
    return http_finish_with(c->x, data, n);
}

static int send_envelopes(struct call *c, send_fn *send, const char *data, size_t n)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf out = { 0 };
    int r;

    if (!c->binary && !c->web)
        return send(c, data, n);
    smx_buf_init(&out, SMX_RPC_ENVELOPE_MAX + SLACK);
    r = translate(c, data, n, &out);
    return r < 0 ? r : send(c, out.data, out.len);
}

int call_stream_begin(struct call *c, const struct smx_buf *first)
{
    return first->failed ? -SMX_E_NO_MEMORY
                         : send_envelopes(c, send_first, first->data, first->len);
}

int call_stream_write(struct call *c, const char *data, size_t n)
{
    return send_envelopes(c, send_more, data, n);
}

void call_stream_finish(
    struct call *c, struct smx_buf *out, enum rpc_code code, const char *message)
{
    rpc_append_end(out, code, message);
    if (out->failed || send_envelopes(c, send_last, out->data, out->len) < 0)
        http_abort(c->x);
}

void call_stream_end(struct call *c, enum rpc_code code, const char *message)
{
    struct smx_buf out;

    smx_buf_init(&out, SMX_HTTP_JSON_BODY_MAX);
    call_stream_finish(c, &out, code, message);
    smx_buf_done(&out);
}
