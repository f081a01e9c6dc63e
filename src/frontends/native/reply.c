/* reply.c - replies in JSON and the two shapes of errors: {"detail"} below /api/runtime, as its
 * documented contract says, RFC 9457 problems elsewhere. */
#include "frontends/native/internal.h"

#include <stdio.h>

enum { ERROR_MAX = 8 * 1024 };

void native_reply(
    struct http_exchange *x, int status, const struct json_table *table, const void *value)
{
    dialect_reply(&native_dialect, x, status, table, value);
}

void native_reply_json(struct http_exchange *x, int status, struct json_writer *w)
{
    dialect_reply_json(&native_dialect, x, status, w);
}

void native_kv_bytes(
    struct json_writer *w, const char *key, const char *key_b64, const struct smx_buf *bytes)
{
    const char *data = bytes->data ? bytes->data : "";

    if (smx_utf8_valid(data, bytes->len) && !memchr(data, 0, bytes->len)) {
        json_key(w, key);
        json_string_n(w, data, bytes->len);
    } else {
        json_key(w, key_b64);
        json_base64(w, data, bytes->len);
    }
}

/* What an operator finds in the log is not the caller's to know, except from runtimes, whose
 * messages are written for callers. */
void native_problem_fill(
    struct http_exchange *x, const struct smx_err *err, struct native_problem *ret, char type[96])
{
    const struct frontend_request *req = frontend_request(x);
    char *strings[5] = { 0 };

    snprintf(type, 96, "%s%s", NATIVE_PROBLEM_TYPE, smx_code_name(err->code));
    memcpy(strings,
        (const char *const[5]){ smx_code_title(err->code), *err->msg ? err->msg : NULL,
            smx_code_name(err->code), smx_code_hint(err->code), req ? req->id : NULL },
        sizeof strings);
    *ret = (struct native_problem){ .type = type,
        .title = strings[0],
        .status = (uint64_t)dialect_status(err->code).native,
        .detail = strings[1] ? strings[1] : strings[0],
        .code = strings[2],
        .hint = strings[3],
        .request_id = strings[4] };
}

static bool below_runtime(const struct http_exchange *x)
{
    return smx_view_starts(http_path(x), "/api/runtime");
}

/* The text between the first two quotes of a message, such as the name of a query parameter. */
static struct smx_view quoted(const char *message)
{
    const char *begin = strchr(message, '\'');
    const char *end = begin ? strchr(begin + 1, '\'') : NULL;

    return end ? (struct smx_view){ begin + 1, (size_t)(end - begin - 1) } : SMX_VIEW("");
}

/* Where it is wrong, as the messages of our decoders begin: in the path, the query, at a byte of a
 * body that is no JSON, or in a field of the body. Returns the type. */
static const char *write_place(struct json_writer *w, const char *message)
{
    const char *colon = strstr(message, ": ");
    unsigned long long byte = 0;
    struct smx_view name = quoted(message);

    if (smx_starts(message, "path: ")) {
        json_string(w, "path");
        return "value_error";
    }
    if (smx_starts(message, "query parameter '")) {
        json_string(w, "query");
        json_string_n(w, name.p, name.n);
        return "value_error";
    }
    json_string(w, "body");
    if (sscanf(message, "invalid JSON at byte %llu", &byte) == 1) {
        json_u64(w, byte);
        return "json_invalid";
    }
    if (colon)
        json_string_n(w, message, (size_t)(colon - message));
    return colon && smx_streq(colon, ": is required") ? "missing" : "value_error";
}

/* The 422 of the documented contract is a list that names the place. */
static void write_detail_list(struct json_writer *w, const struct smx_err *err)
{
    const char *colon = strstr(err->msg, ": "), *type;

    json_array_begin(w);
    json_object_begin(w);
    json_key(w, "loc");
    json_array_begin(w);
    type = write_place(w, err->msg);
    json_array_end(w);
    json_kv_string(w, "msg", colon && !smx_streq(type, "json_invalid") ? colon + 2 : err->msg);
    json_kv_string(w, "type", type);
    json_object_end(w);
    json_array_end(w);
}

static void write_runtime_error(struct json_writer *w, const struct smx_err *err, int status)
{
    json_object_begin(w);
    json_key(w, "detail");
    if (status == 422)
        write_detail_list(w, err);
    else
        json_string(w, *err->msg ? err->msg : smx_code_title(err->code));
    if (status != 404 && status != 405 && status != 422) {
        json_kv_string(w, "code", smx_code_name(err->code));
        json_kv_string(w, "hint", smx_code_hint(err->code));
    }
    json_object_end(w);
}

void native_fail(struct http_exchange *x, const struct smx_err *err)
{
    native_fail_status(x, dialect_status(err->code).native, err);
}

void native_fail_memory(struct http_exchange *x)
{
    struct smx_err err = { 0 };

    smx_err_oom(&err);
    native_fail(x, &err);
}

void native_fail_status(struct http_exchange *x, int status, const struct smx_err *err)
{
    struct native_problem problem;
    struct json_writer w;
    struct smx_buf out;
    char type[96];

    if (http_started(x)) {
        http_abort(x);
        return;
    }
    smx_buf_init(&out, ERROR_MAX);
    json_writer_init(&w, &out);
    if (status == 429 || status == 503)
        http_add_field(x, "Retry-After", "1");
    if (below_runtime(x)) {
        write_runtime_error(&w, err, status);
        http_reply(x, status, NATIVE_JSON, out.data, out.len);
    } else {
        native_problem_fill(x, err, &problem, type);
        problem.status = (uint64_t)status;
        json_encode(&w, &native_problem_table, &problem);
        http_reply(x, status, NATIVE_PROBLEM, out.data, out.len);
    }
    smx_buf_done(&out);
}

/* The code that belongs to a status of the HTTP layer. */
static enum smx_code code_of_status(int status)
{
    switch (status) {
    case 408:
        return SMX_E_TIMEOUT;
    case 413:
    case 414:
    case 431:
        return SMX_E_TOO_LARGE;
    case 500:
        return SMX_E_INTERNAL;
    case 501:
    case 505:
        return SMX_E_UNSUPPORTED;
    case 503:
        return SMX_E_BUSY;
    default:
        return SMX_E_INVALID;
    }
}

void native_error_body(
    int status, const char *message, struct smx_buf *out, const char **ret_content_type, void *ctx)
{
    enum smx_code code = code_of_status(status);
    struct json_writer w;
    char type[96];

    snprintf(type, sizeof type, "%s%s", NATIVE_PROBLEM_TYPE, smx_code_name(code));
    json_writer_init(&w, out);
    json_object_begin(&w);
    json_kv_string(&w, "type", type);
    json_kv_string(&w, "title", smx_code_title(code));
    json_kv_u64(&w, "status", (uint64_t)status);
    json_kv_string(&w, "detail", message);
    json_kv_string(&w, "code", smx_code_name(code));
    json_kv_string(&w, "hint", smx_code_hint(code));
    json_kv_string(&w, "message", message); /* it may have been meant for E2B's door */
    json_object_end(&w);
    *ret_content_type = NATIVE_PROBLEM;
}
