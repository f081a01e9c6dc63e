/* reply.c - replies, and the one shape of errors: {"code","message"}. Clients look at code, which
 * is the status; the newest also at Should-Retry, which says whether the same request may succeed
 * later: they repeat 429 and 502 to 504 otherwise, POST too. */
#include "frontends/e2b/internal.h"

#include <stdio.h>

enum { ERROR_MAX = 4 * 1024 };

void e2b_reply(
    struct http_exchange *x, int status, const struct json_table *table, const void *value)
{
    dialect_reply(&e2b_dialect, x, status, table, value);
}

void e2b_reply_json(struct http_exchange *x, int status, struct json_writer *w)
{
    dialect_reply_json(&e2b_dialect, x, status, w);
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
    http_reply(x, status, DIALECT_JSON, out.data, out.len);
    smx_buf_done(&out);
}

void e2b_fail_err(struct http_exchange *x, const struct smx_err *err)
{
    int status = dialect_status(err->code).e2b;
    bool again = smx_code_retryable(err->code);

    if (!http_started(x) && (status == 429 || status >= 500 || err->code == SMX_E_IN_PROGRESS)) {
        http_add_field(x, "Should-Retry", again ? "true" : "false");
        if (again)
            http_add_field(x, "Retry-After", "1");
    }
    e2b_fail(x, status, *err->msg ? err->msg : smx_code_title(err->code));
}
