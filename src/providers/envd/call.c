/* call.c - unary calls, errors and paths of the envd protocol. */
#include "providers/envd/internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_MAX = 1024, USER_MAX = 256, ERROR_MAX = 64 * 1024 };

int envd_fields(
    struct smx_buf *out, const char *content_type, const char *user, struct smx_err *err)
{
    if (content_type)
        h1_write_field(out, "Content-Type", smx_view_of(content_type));
    if (user) {
        char plain[USER_MAX + 2], code[512];
        int n = snprintf(plain, sizeof plain, "%s:", user);

        if (n >= (int)sizeof plain)
            return smx_err_set(err, SMX_E_INVALID, "user: must have at most %d bytes", USER_MAX);
        smx_strcpy(code, sizeof code, "Basic ");
        smx_base64_encode(code + 6, plain, (size_t)n);
        h1_write_field(
            out, "Authorization", (struct smx_view){ code, 6 + smx_base64_size((size_t)n) });
    }
    return smx_buf_check(out, err);
}

/* envd calls every refusal of the sandbox's kernel an internal error; the end of its sentence says
 * which it was, in the words of glibc or of Go. */
static enum smx_code code_of_text(const char *message, enum smx_code otherwise)
{
    static const struct {
        const char *end;
        enum smx_code code;
    } ends[] = { { "permission denied", SMX_E_FORBIDDEN },
        { "operation not permitted", SMX_E_FORBIDDEN },
        { "read-only file system", SMX_E_FORBIDDEN }, { "not a directory", SMX_E_INVALID },
        { "is a directory", SMX_E_INVALID }, { "file name too long", SMX_E_INVALID },
        { "too many levels of symbolic links", SMX_E_INVALID },
        { "no such file or directory", SMX_E_FILE_NOT_FOUND },
        { "no space left on device", SMX_E_DISK_FULL },
        { "disk quota exceeded", SMX_E_DISK_FULL } };
    size_t n = strlen(message);

    for (size_t i = 0; i < SMX_ARRAY_LEN(ends); i++) {
        size_t k = strlen(ends[i].end);

        if (n >= k && strcasecmp(message + n - k, ends[i].end) == 0)
            return ends[i].code;
    }
    return strstr(message, "path is a file") ? SMX_E_INVALID : otherwise;
}

int envd_error(enum rpc_code code, enum smx_code not_found, struct smx_err *err)
{
    enum smx_code c = rpc_code_to_smx(code);

    if (code == RPC_NOT_FOUND)
        c = not_found;
    else if (code == RPC_UNAUTHENTICATED) /* the user inside the sandbox, not our caller */
        c = SMX_E_INVALID;
    else if (code == RPC_RESOURCE_EXHAUSTED)
        c = SMX_E_QUOTA;
    else if (code == RPC_INTERNAL && err)
        c = code_of_text(err->msg, c);
    if (err)
        err->code = c;
    return -(int)c;
}

static enum smx_code code_of_status(int status)
{
    switch (status) {
    case 400:
    case 401:
    case 406:
    case 415:
    case 416:
        return SMX_E_INVALID;
    case 403:
        return SMX_E_FORBIDDEN;
    case 404:
        return SMX_E_FILE_NOT_FOUND;
    case 409:
        return SMX_E_EXISTS;
    case 413:
        return SMX_E_TOO_LARGE;
    case 429:
        return SMX_E_QUOTA;
    case 501:
        return SMX_E_UNSUPPORTED;
    case 502:
    case 503:
        return SMX_E_UNAVAILABLE;
    case 504:
        return SMX_E_TIMEOUT;
    case 507:
        return SMX_E_DISK_FULL;
    default:
        return SMX_E_PROTOCOL;
    }
}

/* The sentence of a plain HTTP error in err, and -code. */
static int http_error(struct envd_conn *c, int status, enum smx_code code,
    const struct smx_buf *body, struct smx_err *err)
{
    struct envd_http_error e = { 0 };
    struct smx_err ignored;

    if (status == 502 && c->box->missing)
        c->box->missing(c->box);
    if (json_decode(
            &envd_http_error_table, body->data ? body->data : "", body->len, &e, &ignored) == 0 &&
        e.message) {
        if (status == 500)
            code = code_of_text(e.message, code);
        smx_err_set(err, code, "%s", e.message);
    } else {
        smx_err_set(err, code, "the sandbox answered with status %d", status);
    }
    json_free(&envd_http_error_table, &e);
    return -(int)code;
}

int envd_http_error(struct envd_conn *c, int status, uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    int r;

    smx_buf_init(&body, ERROR_MAX);
    r = http_client_read_all(&c->http, &body, deadline, err);
    return r < 0 ? r : http_error(c, status, code_of_status(status), &body, err);
}

/* An error of the protocol, or one of a proxy before it, which speaks plain HTTP. */
static int call_error(struct envd_conn *c, const struct envd_call *call, int status,
    const struct smx_buf *body, struct smx_err *err)
{
    struct smx_err said = { 0 };
    enum rpc_code code = rpc_read_error(body->data ? body->data : "", body->len, &said);

    if (code == RPC_OK || said.code == SMX_E_PROTOCOL)
        return http_error(
            c, status, status == 404 ? call->not_found : code_of_status(status), body, err);
    if (err)
        *err = said;
    return envd_error(code, call->not_found, err);
}

static int read_reply(
    struct envd_conn *c, const struct envd_call *call, uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    struct h1_head head;
    int r, status;

    r = http_client_head(&c->http, &head, deadline, err);
    if (r < 0)
        return r;
    status = head.status;
    if (status == 200 && call->other_type &&
        smx_view_eq(h1_get(&head, "Content-Type"), call->other_type))
        return http_client_read_all(&c->http, call->other, deadline, err);
    smx_buf_init(&body, SMX_RPC_ENVELOPE_MAX);
    r = http_client_read_all(&c->http, &body, deadline, err);
    if (r < 0)
        return r;
    if (status != 200)
        return call_error(c, call, status, &body, err);
    if (!call->reply_table)
        return 0;
    r = json_decode(call->reply_table, body.data ? body.data : "", body.len, call->reply, err);
    return r < 0 ? smx_err_set(err, SMX_E_PROTOCOL, "the sandbox's answer to %s makes no sense",
                       call->route)
                 : 0;
}

int envd_call(
    struct envd_box *b, const struct envd_call *call, uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf fields = { 0 };
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    struct envd_conn *c = NULL;
    int r;

    smx_buf_init(&fields, FIELDS_MAX);
    smx_buf_init(&body, SMX_RPC_ENVELOPE_MAX);
    if (call->other_type)
        h1_write_field(&fields, "Accept", smx_view_of(call->other_type));
    r = envd_fields(&fields, ENVD_UNARY_TYPE, call->as_user ? envd_user(b, call->user) : NULL, err);
    if (r == 0)
        r = json_encode_to(&body, call->request_table, call->request, err);
    if (r == 0)
        r = envd_conn_get(b, &c, deadline, err);
    if (r < 0)
        return r;
    r = http_client_send_all(
        &c->http, H1_POST, smx_view_of(call->route), &fields, body.data, body.len, err);
    if (r == 0)
        r = read_reply(c, call, deadline, err);
    envd_conn_put(c);
    return r;
}

int envd_read_metrics(
    struct envd_box *b, struct envd_metrics *ret, uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    struct envd_conn *c = NULL;
    struct h1_head head;
    int r = envd_conn_get(b, &c, deadline, err);

    if (r < 0)
        return r;
    smx_buf_init(&body, ERROR_MAX);
    r = http_client_send(&c->http, H1_GET, SMX_VIEW(ENVD_METRICS), /* fields= */ NULL, 0, err);
    if (r == 0)
        r = http_client_head(&c->http, &head, deadline, err);
    if (r == 0 && head.status != 200)
        r = envd_http_error(c, head.status, deadline, err);
    else if (r == 0)
        r = http_client_read_all(&c->http, &body, deadline, err);
    envd_conn_put(c);
    if (r == 0 &&
        json_decode(&envd_metrics_table, body.data ? body.data : "", body.len, ret, err) < 0)
        r = smx_err_set(err, SMX_E_PROTOCOL, "the sandbox's figures make no sense");
    return r;
}

char *envd_path(const struct envd_box *b, const char *path)
{
    if (*path == '/' || *path == '~' || !b->base)
        return smx_strdup(path);
    return *path ? smx_asprintf("%s/%s", b->base, path) : smx_strdup(b->base);
}

int envd_setup(struct envd_box *b, const struct envd_init_request *settings, uint64_t deadline,
    struct smx_err *err)
{
    struct envd_conn *c = NULL;
    SMX_CLEANUP(smx_buf_done) struct smx_buf fields = { 0 };
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    struct h1_head head;
    int r;

    smx_buf_init(&fields, FIELDS_MAX);
    smx_buf_init(&body, SMX_JSON_MAX);
    r = envd_fields(&fields, ENVD_UNARY_TYPE, /* user= */ NULL, err);
    if (r == 0)
        r = json_encode_to(&body, &envd_init_request_table, settings, err);
    if (r == 0)
        r = envd_conn_get(b, &c, deadline, err);
    if (r < 0)
        return r;
    r = http_client_send_all(
        &c->http, H1_POST, SMX_VIEW(ENVD_INIT), &fields, body.data, body.len, err);
    if (r == 0)
        r = http_client_head(&c->http, &head, deadline, err);
    if (r == 0 && head.status != 204 && head.status != 200)
        r = envd_http_error(c, head.status, deadline, err);
    envd_conn_put(c);
    return r;
}
