/* rpc.c - framing and errors of the Connect protocol; see rpc.h. Pure: bytes in, bytes out. */
#include "rpc/rpc.h"

#include <string.h>

#include "base/limits.h"
#include "base/str.h"

struct code_row {
    const char *name;
    int http;
    enum smx_code smx;
};

/* Source: connectrpc.com, "Connect Protocol", error codes. */
static const struct code_row codes[RPC_CODE_COUNT_] = {
    [RPC_OK] = { "ok", 200, SMX_OK },
    [RPC_CANCELED] = { "canceled", 499, SMX_E_CANCELLED },
    [RPC_UNKNOWN] = { "unknown", 500, SMX_E_INTERNAL },
    [RPC_INVALID_ARGUMENT] = { "invalid_argument", 400, SMX_E_INVALID },
    [RPC_DEADLINE_EXCEEDED] = { "deadline_exceeded", 504, SMX_E_TIMEOUT },
    [RPC_NOT_FOUND] = { "not_found", 404, SMX_E_NOT_FOUND },
    [RPC_ALREADY_EXISTS] = { "already_exists", 409, SMX_E_EXISTS },
    [RPC_PERMISSION_DENIED] = { "permission_denied", 403, SMX_E_FORBIDDEN },
    [RPC_RESOURCE_EXHAUSTED] = { "resource_exhausted", 429, SMX_E_QUOTA },
    [RPC_FAILED_PRECONDITION] = { "failed_precondition", 400, SMX_E_STATE },
    [RPC_ABORTED] = { "aborted", 409, SMX_E_BUSY },
    [RPC_OUT_OF_RANGE] = { "out_of_range", 400, SMX_E_INVALID },
    [RPC_UNIMPLEMENTED] = { "unimplemented", 501, SMX_E_UNSUPPORTED },
    [RPC_INTERNAL] = { "internal", 500, SMX_E_INTERNAL },
    [RPC_UNAVAILABLE] = { "unavailable", 503, SMX_E_UNAVAILABLE },
    [RPC_DATA_LOSS] = { "data_loss", 500, SMX_E_IO },
    [RPC_UNAUTHENTICATED] = { "unauthenticated", 401, SMX_E_UNAUTHORIZED },
};

static const struct code_row *code_row(enum rpc_code c)
{
    unsigned index = (unsigned)c;

    return &codes[index < RPC_CODE_COUNT_ ? index : RPC_UNKNOWN];
}

const char *rpc_code_name(enum rpc_code c)
{
    return code_row(c)->name;
}

int rpc_code_http(enum rpc_code c)
{
    return code_row(c)->http;
}

enum smx_code rpc_code_to_smx(enum rpc_code c)
{
    return code_row(c)->smx;
}

enum rpc_code rpc_code_from_name(const char *name)
{
    for (unsigned i = RPC_CANCELED; i < RPC_CODE_COUNT_; i++)
        if (smx_streq(codes[i].name, name))
            return (enum rpc_code)i;
    return RPC_UNKNOWN;
}

ptrdiff_t rpc_parse(const char *data, size_t n, struct rpc_envelope *ret, struct smx_err *err)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t len;

    if (n > 0 && p[0] & ~(RPC_FLAG_COMPRESSED | RPC_FLAG_END))
        return smx_err_set(err, SMX_E_PROTOCOL, "an envelope has the unknown flags 0x%02x", p[0]);
    if (n < RPC_HEAD)
        return 0;
    len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (len > SMX_RPC_ENVELOPE_MAX)
        return smx_err_set(err, SMX_E_TOO_LARGE, "an envelope of %zu bytes exceeds the limit of %d",
            len, SMX_RPC_ENVELOPE_MAX);
    if (n - RPC_HEAD < len)
        return 0;
    *ret = (struct rpc_envelope){ .flags = p[0], .data = data + RPC_HEAD, .n = len };
    return (ptrdiff_t)(RPC_HEAD + len);
}

size_t rpc_begin(struct smx_buf *out, uint8_t flags)
{
    size_t start = out->len;
    char head[RPC_HEAD] = { (char)flags };

    smx_buf_append(out, head, sizeof head);
    return start;
}

void rpc_end(struct smx_buf *out, size_t start)
{
    unsigned char *p;
    size_t len;

    if (out->failed)
        return;
    p = (unsigned char *)out->data + start;
    len = out->len - start - RPC_HEAD;
    if (len > SMX_RPC_ENVELOPE_MAX) {
        out->failed = true;
        return;
    }
    p[1] = (unsigned char)(len >> 24);
    p[2] = (unsigned char)(len >> 16);
    p[3] = (unsigned char)(len >> 8);
    p[4] = (unsigned char)len;
}

static void write_error(struct json_writer *w, enum rpc_code code, const char *message)
{
    json_object_begin(w);
    json_kv_string(w, "code", rpc_code_name(code));
    if (message && message[0])
        json_kv_string(w, "message", message);
    json_object_end(w);
}

void rpc_append_error(struct smx_buf *out, enum rpc_code code, const char *message)
{
    struct json_writer w;

    json_writer_init(&w, out);
    write_error(&w, code, message);
}

void rpc_append_end(struct smx_buf *out, enum rpc_code code, const char *message)
{
    size_t start = rpc_begin(out, RPC_FLAG_END);
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    if (code != RPC_OK) {
        json_key(&w, "error");
        write_error(&w, code, message);
    }
    json_object_end(&w);
    rpc_end(out, start);
}

struct error_body {
    char *code, *message;
};
static const struct json_field error_body_fields[] = {
    { "code", JSON_STRING, offsetof(struct error_body, code), JSON_OPTIONAL },
    { "message", JSON_STRING, offsetof(struct error_body, message), JSON_OPTIONAL },
};
static JSON_TABLE(error_body, error_body, .lax = true);

struct end_body {
    struct error_body *error; /* end of a stream */
    char *code, *message;     /* unary */
};
static const struct json_field end_body_fields[] = {
    { "error", JSON_OBJECT_PTR, offsetof(struct end_body, error), JSON_OPTIONAL,
        .table = &error_body },
    { "code", JSON_STRING, offsetof(struct end_body, code), JSON_OPTIONAL },
    { "message", JSON_STRING, offsetof(struct end_body, message), JSON_OPTIONAL },
};
static JSON_TABLE(end_body, end_body, .lax = true);

/* One line for people: control characters become spaces. */
static void set_message(struct smx_err *err, enum rpc_code code, const char *message)
{
    if (!err)
        return;
    smx_err_set(
        err, rpc_code_to_smx(code), "%s", message && message[0] ? message : rpc_code_name(code));
    for (char *p = err->msg; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
}

enum rpc_code rpc_read_error(const char *data, size_t n, struct smx_err *err)
{
    struct end_body body;
    const char *code, *message;
    enum rpc_code result = RPC_OK;
    int r = json_decode(&end_body, data, n, &body, err);

    if (r < 0) {
        if (err)
            err->code = r == -SMX_E_NO_MEMORY ? SMX_E_NO_MEMORY : SMX_E_PROTOCOL;
        smx_err_wrap(err, r, "the end of a call");
        return RPC_UNKNOWN;
    }
    code = body.error ? body.error->code : body.code;
    message = body.error ? body.error->message : body.message;
    if (body.error || code || message) {
        result = rpc_code_from_name(code ? code : "");
        set_message(err, result, message);
    }
    json_free(&end_body, &body);
    return result;
}
