/* reply.c - replies, and the one shape of errors: {"code","message"}. Clients look at code, which
 * is the status; the newest also at Should-Retry, which says whether the same request may succeed
 * later: they repeat 429 and 502 to 504 otherwise, POST too. */
#include "frontends/e2b/internal.h"

#include <stdio.h>

enum { REPLY_MAX = 16 * 1024 * 1024, ERROR_MAX = 4 * 1024 };

static int status_of(enum smx_code code)
{
    switch (code) {
    case SMX_OK:
        return 200;
    case SMX_E_INVALID:
        return 400;
    case SMX_E_UNAUTHORIZED:
        return 401;
    case SMX_E_FORBIDDEN:
        return 403;
    case SMX_E_NOT_FOUND:
    case SMX_E_SANDBOX_NOT_FOUND:
    case SMX_E_FILE_NOT_FOUND:
    case SMX_E_PROCESS_NOT_FOUND:
    case SMX_E_TEMPLATE_NOT_FOUND:
        return 404;
    case SMX_E_METHOD_NOT_ALLOWED:
        return 405;
    case SMX_E_EXISTS:
    case SMX_E_STATE:
    case SMX_E_IN_PROGRESS:
        return 409;
    case SMX_E_TOO_LARGE:
        return 413;
    case SMX_E_UNPROCESSABLE_KEY:
        return 422;
    case SMX_E_RATE_LIMITED:
    case SMX_E_QUOTA:
        return 429;
    case SMX_E_IO:
    case SMX_E_INTERNAL:
    case SMX_E_AMBIGUOUS:
    case SMX_E_LOOP:
    case SMX_E_CLOSED:
    case SMX_E_PROTOCOL:
    case SMX_E_COUNT_:
        return 500;
    case SMX_E_UNSUPPORTED:
        return 501;
    case SMX_E_NOT_CONFIGURED:
    case SMX_E_E2B_KEY:
    case SMX_E_DAYTONA_KEY:
    case SMX_E_UNAVAILABLE:
    case SMX_E_PORT_CLOSED:
    case SMX_E_CANCELLED:
    case SMX_E_BUSY:
    case SMX_E_NO_MEMORY:
        return 503;
    case SMX_E_TIMEOUT:
        return 504;
    case SMX_E_DISK_FULL:
        return 507;
    }
    return 500;
}

void e2b_reply(
    struct http_exchange *x, int status, const struct json_table *table, const void *value)
{
    struct smx_err err = { 0 };
    struct smx_buf out;

    smx_buf_init(&out, REPLY_MAX);
    if (json_encode_to(&out, table, value, &err) < 0)
        e2b_fail_err(x, &err);
    else
        http_reply(x, status, E2B_JSON, out.data, out.len);
    smx_buf_done(&out);
}

void e2b_reply_json(struct http_exchange *x, int status, struct json_writer *w)
{
    struct smx_err err = { 0 };

    if (json_writer_end(w, &err) < 0)
        e2b_fail_err(x, &err);
    else
        http_reply(x, status, E2B_JSON, w->out->data, w->out->len);
}

void e2b_no_content(struct http_exchange *x)
{
    http_reply(x, 204, /* content_type= */ NULL, "", 0);
}

void e2b_fail(struct http_exchange *x, int status, const char *message)
{
    struct json_writer w;
    struct smx_buf out;

    if (http_started(x)) {
        http_abort(x);
        return;
    }
    smx_buf_init(&out, ERROR_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_i64(&w, "code", status);
    json_kv_string(&w, "message", message);
    json_object_end(&w);
    http_reply(x, status, E2B_JSON, out.data, out.len);
    smx_buf_done(&out);
}

void e2b_fail_err(struct http_exchange *x, const struct smx_err *err)
{
    int status = status_of(err->code);
    bool again = smx_code_retryable(err->code);

    if (!http_started(x) && (status == 429 || status >= 500 || err->code == SMX_E_IN_PROGRESS)) {
        http_add_field(x, "Should-Retry", again ? "true" : "false");
        if (again)
            http_add_field(x, "Retry-After", "1");
    }
    e2b_fail(x, status, *err->msg ? err->msg : smx_code_title(err->code));
}
