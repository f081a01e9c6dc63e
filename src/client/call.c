/* call.c - one request and its reply: heads, streamed bodies, repeats and errors.
 *
 * A request is repeated only when the connection died before a byte of the reply and doing it twice
 * does no harm: GET, PUT and DELETE, or with an Idempotency-Key; and never once a streamed body was
 * asked of the caller, who cannot give it again. */
#include "client/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"

enum { ATTEMPTS = 3, ERROR_BODY_MAX = 256 * 1024, SOURCE_ROOM = 64 * 1024 };

/* --- paths --------------------------------------------------------------------------------------
 */

int call_path(struct smx_buf *out, const char *prefix, const char *id, const char *suffix,
    struct smx_err *err)
{
    smx_buf_append_str(out, prefix);
    if (id) {
        if (!id[0])
            return smx_err_set(err, SMX_E_INVALID, "the name of a sandbox must not be empty");
        smx_buf_append_char(out, '/');
        h1_percent_encode(out, id, strlen(id), "");
    }
    if (suffix)
        smx_buf_append_str(out, suffix);
    return smx_buf_check(out, err);
}

void call_query(struct smx_buf *out, const char *key, const char *value)
{
    if (!value)
        return;
    smx_buf_append_char(out, out->data && strchr(out->data, '?') ? '&' : '?');
    smx_buf_append_str(out, key);
    smx_buf_append_char(out, '=');
    h1_percent_encode(out, value, strlen(value), "/");
}

void call_query_u64(struct smx_buf *out, const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    call_query(out, key, text);
}

/* --- sending ------------------------------------------------------------------------------------
 */

static void add_field(struct smx_buf *out, const char *name, const char *value)
{
    if (value)
        h1_write_field(out, name, smx_view_of(value));
}

void call_head(
    const struct smx_client *c, const char *method, const char *path, struct smx_buf *out)
{
    h1_write_request(out, method, smx_view_of(path));
    add_field(out, "Host", c->at.field);
    add_field(out, "User-Agent", "libsandmux/" SMX_VERSION);
    add_field(out, "X-API-Key", c->api_key);
}

static void whole_head(const struct smx_client *c, const struct call *call, struct smx_buf *out)
{
    bool body = call->body || call->source;

    call_head(c, call->method, call->path, out);
    add_field(out, "Accept", call->accept ? call->accept : NATIVE_JSON);
    if (body)
        add_field(out, "Content-Type", call->content_type ? call->content_type : NATIVE_JSON);
    add_field(out, "Idempotency-Key", call->idempotency_key);
    add_field(out, "Range", call->range);
    if (call->source && call->source_bytes == UINT64_MAX)
        add_field(out, "Transfer-Encoding", "chunked");
    else if (call->source)
        smx_buf_appendf(out, "Content-Length: %llu\r\n", (unsigned long long)call->source_bytes);
    else if (body || !smx_streq(call->method, "GET"))
        smx_buf_appendf(out, "Content-Length: %zu\r\n", call->n);
    h1_write_end(out);
}

/* One chunk of a body of unknown length; n 0 ends it. */
static int send_piece(
    struct conn *conn, const struct call *call, const void *data, size_t n, struct smx_err *err)
{
    char line[24];
    int r;

    if (call->source_bytes != UINT64_MAX)
        return conn_send(conn, data, n, /* watch_reply= */ true, err);
    snprintf(line, sizeof line, "%zx\r\n", n);
    r = conn_send(conn, line, strlen(line), /* watch_reply= */ true, err);
    if (r == 0 && n > 0)
        r = conn_send(conn, data, n, /* watch_reply= */ true, err);
    return r == 0 ? conn_send(conn, "\r\n", 2, /* watch_reply= */ true, err) : r;
}

/* 0: all sent; 1: the daemon answered early, the connection cannot be kept. */
static int send_source(struct conn *conn, const struct call *call, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *room = smx_alloc(SOURCE_ROOM);
    uint64_t left = call->source_bytes;

    if (!room)
        return smx_err_oom(err);
    while (left > 0) {
        ssize_t n = call->source(room, (size_t)SMX_MIN(left, SOURCE_ROOM), call->source_arg);
        int r;

        if (n < 0) {
            smx_err_set(err, SMX_E_CANCELLED, "the transfer was broken off");
            return (int)n;
        }
        if (n == 0 && left != UINT64_MAX)
            return smx_err_set(
                err, SMX_E_INVALID, "the data ended before the size that was announced");
        if (n == 0)
            break;
        if (left != UINT64_MAX)
            left -= (uint64_t)n;
        r = send_piece(conn, call, room, (size_t)n, err);
        if (r != 0)
            return r;
    }
    return call->source_bytes == UINT64_MAX ? send_piece(conn, call, NULL, 0, err) : 0;
}

static int send_call(struct smx_client *c, const struct call *call, struct conn *conn,
    bool *ret_early, struct smx_err *err)
{
    struct smx_buf head;
    int r;

    smx_buf_init(&head, SMX_HTTP_HEAD_MAX + CLIENT_REPLY_MAX);
    whole_head(c, call, &head);
    if (call->body)
        smx_buf_append(&head, call->body, call->n);
    r = smx_buf_check(&head, err);
    if (r == 0)
        r = conn_send(conn, head.data, head.len, /* watch_reply= */ true, err);
    smx_buf_done(&head);
    if (r == 0 && call->source)
        r = send_source(conn, call, err);
    *ret_early = r > 0;
    return SMX_MIN(r, 0);
}

static bool may_repeat(const struct call *call, const struct conn *conn, int r)
{
    if (r != -SMX_E_CLOSED || conn->answered || call->source)
        return false;
    return !smx_streq(call->method, "POST") || call->idempotency_key;
}

static int attempt(
    struct smx_client *c, const struct call *call, struct conn *conn, struct smx_err *err)
{
    bool early;
    int r;

    conn->answered = false;
    r = send_call(c, call, conn, &early, err);
    if (r == 0)
        r = conn_head(conn, h1_method_parse(smx_view_of(call->method)), err);
    if (r == 0 && early)
        conn->keep = false;
    return r;
}

static void set_deadlines(struct smx_client *c, const struct call *call, struct conn *conn)
{
    uint64_t ms = call->timeout_ms ? call->timeout_ms : c->timeout_ms;

    conn->deadline_ns = ms == UINT64_MAX ? SMX_FOREVER : smx_deadline_in_ms(ms);
    conn->idle_ms = call->idle_ms;
    conn->interrupt = call->interrupt ? *call->interrupt : c->interrupt;
}

/* Without the query: it may hold a command. */
void call_say(const char *method, const char *path, int status, int r, uint64_t begun_ns)
{
    char text[16] = "-";

    if (smx_log_level() < SMX_LOG_DEBUG)
        return;
    if (status > 0)
        snprintf(text, sizeof text, "%d", status);
    smx_debug("call method=%s path=%.*s status=%s result=%s ms=%.1f", method,
        (int)strcspn(path, "?"), path, text, r == 0 ? "ok" : smx_code_name((enum smx_code) - r),
        (double)(smx_now_ns() - begun_ns) / 1e6);
}

int call_start(
    struct smx_client *c, const struct call *call, struct conn **ret, struct smx_err *err)
{
    uint64_t begun = smx_now_ns();
    int r = 0;

    for (unsigned i = 0; i < ATTEMPTS; i++) {
        SMX_CLEANUP(conn_freep) struct conn *conn = NULL;
        bool fresh;

        r = client_take(c, &conn, &fresh, err);
        if (r < 0)
            return r;
        set_deadlines(c, call, conn);
        r = attempt(c, call, conn, err);
        call_say(call->method, call->path, r == 0 ? conn->status : 0, r, begun);
        if (r == 0) {
            *ret = smx_take(&conn);
            return 0;
        }
        if (!may_repeat(call, conn, r))
            return r;
        if (fresh) { /* it lives but is going down or coming up */
            struct timespec pause = { .tv_nsec = 100000000 };

            nanosleep(&pause, NULL);
        }
    }
    return r;
}

/* --- errors -------------------------------------------------------------------------------------
 */

static enum smx_code code_of_status(int status)
{
    static const struct {
        int status;
        enum smx_code code;
    } known[] = {
        { 400, SMX_E_INVALID },
        { 401, SMX_E_UNAUTHORIZED },
        { 402, SMX_E_QUOTA },
        { 403, SMX_E_FORBIDDEN },
        { 404, SMX_E_NOT_FOUND },
        { 405, SMX_E_METHOD_NOT_ALLOWED },
        { 408, SMX_E_TIMEOUT },
        { 409, SMX_E_STATE },
        { 413, SMX_E_TOO_LARGE },
        { 422, SMX_E_INVALID },
        { 429, SMX_E_RATE_LIMITED },
        { 501, SMX_E_UNSUPPORTED },
        { 502, SMX_E_UNAVAILABLE },
        { 503, SMX_E_UNAVAILABLE },
        { 504, SMX_E_TIMEOUT },
        { 507, SMX_E_DISK_FULL },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(known); i++)
        if (known[i].status == status)
            return known[i].code;
    return status >= 500 ? SMX_E_INTERNAL : SMX_E_INVALID;
}

static int set_problem(
    enum smx_code code, const char *detail, const char *request_id, struct smx_err *err)
{
    int r = smx_err_set(err, code, "%s", detail && detail[0] ? detail : smx_code_title(code));

    for (char *p = err ? err->msg : NULL; p && *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    if (request_id && code == SMX_E_INTERNAL)
        r = smx_err_wrap(err, r, "request %s", request_id);
    return r;
}

int problem_error(const struct native_problem *p, struct smx_err *err)
{
    enum smx_code code = p->code ? smx_code_from_name(p->code) : code_of_status((int)p->status);

    return set_problem(code, p->detail ? p->detail : p->title, p->request_id, err);
}

/* "detail" is a text, or the list of what is wrong with each field. */
struct detail_item {
    char *msg;
};
struct detail {
    char *text;
    struct json_array items;
};
static const struct json_field item_fields[] = {
    { .name = "msg", .kind = JSON_STRING, .offset = offsetof(struct detail_item, msg) },
};
static JSON_TABLE(item, detail_item, .lax = true);
static const struct json_field text_fields[] = {
    { .name = "detail", .kind = JSON_STRING, .offset = offsetof(struct detail, text) },
};
static JSON_TABLE(text, detail);
static const struct json_field items_fields[] = {
    { .name = "detail",
        .kind = JSON_ARRAY,
        .offset = offsetof(struct detail, items),
        .table = &item },
};
static JSON_TABLE(items, detail);

/* *ret: a sentence for people, or NULL; the caller frees it. */
static void read_detail(const char *raw, char **ret)
{
    const struct json_table *table = raw && raw[0] == '[' ? &items : &text;
    struct detail d = { 0 };

    *ret = NULL;
    if (!raw || json_decode_field(table->fields, raw, strlen(raw), &d, /* err= */ NULL) < 0)
        return;
    if (d.text)
        *ret = smx_take(&d.text);
    else if (d.items.n > 0)
        *ret = smx_take(&((struct detail_item *)d.items.v)->msg);
    json_free(table, &d);
}

int call_error(int status, const char *body, size_t n, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *detail = NULL;
    struct native_error_body e;
    enum smx_code code;
    int r;

    if (json_decode(&native_error_body_table, body, n, &e, /* err= */ NULL) < 0)
        return smx_err_set(
            err, code_of_status(status), "the daemon answered %d %s", status, h1_reason(status));
    code = e.code ? smx_code_from_name(e.code) : code_of_status(status);
    read_detail(e.detail, &detail);
    if (!e.code && detail && strstr(detail, "not properly configured"))
        code = SMX_E_NOT_CONFIGURED;
    r = set_problem(code, detail ? detail : e.title, e.request_id, err);
    json_free(&native_error_body_table, &e);
    return r;
}

int call_check(struct conn *conn, struct smx_err *err)
{
    struct smx_buf body;
    int r;

    if (conn->status < 400)
        return 0;
    smx_buf_init(&body, ERROR_BODY_MAX);
    r = conn_body_all(conn, &body, err);
    if (r < 0)
        conn->keep = false;
    r = call_error(conn->status, body.data ? body.data : "", body.len, err);
    smx_buf_done(&body);
    return r;
}

int call_open(struct smx_client *c, const struct call *call, struct conn **ret, struct smx_err *err)
{
    struct conn *conn = NULL;
    int r = call_start(c, call, &conn, err);

    if (r < 0)
        return r;
    r = call_check(conn, err);
    if (r < 0) {
        client_give(c, conn);
        return r;
    }
    *ret = conn;
    return 0;
}

/* --- whole exchanges ----------------------------------------------------------------------------
 */

int call_json(struct smx_client *c, const struct call *call, const struct json_table *table,
    void *ret, char **ret_json, struct smx_err *err)
{
    struct conn *conn = NULL;
    struct smx_buf body;
    int r = call_open(c, call, &conn, err);

    if (r < 0)
        return r;
    smx_buf_init(&body, CLIENT_REPLY_MAX);
    r = conn_body_all(conn, &body, err);
    client_give(c, conn);
    if (r == 0 && table)
        r = json_decode(table, body.data ? body.data : "", body.len, ret, err);
    if (r < 0 && table)
        smx_err_wrap(err, r, "reply of the daemon");
    if (r == 0 && ret_json) {
        *ret_json = body.data ? smx_buf_steal(&body) : smx_strdup("");
        if (!*ret_json) {
            if (table)
                json_free(table, ret);
            r = smx_err_oom(err);
        }
    }
    smx_buf_done(&body);
    return r;
}

int call_lines(struct conn *conn, line_fn *fn, void *arg, struct smx_err *err)
{
    struct smx_buf line;
    const char *data;
    ssize_t n;
    int r = 0;

    smx_buf_init(&line, SMX_JSON_MAX);
    while (r == 0 && (n = conn_body(conn, &data, err)) != 0) {
        if (n < 0) {
            r = (int)n;
            break;
        }
        while (r == 0 && n > 0) {
            const char *end = memchr(data, '\n', (size_t)n);
            size_t part = end ? (size_t)(end - data) : (size_t)n;

            if (smx_buf_append(&line, data, part) < 0)
                r = smx_buf_check(&line, err);
            else if (end) {
                r = line.len > 0 ? fn(line.data, line.len, arg, err) : 0;
                smx_buf_reset(&line);
                part++;
            }
            data += part;
            n -= (ssize_t)part;
        }
    }
    if (r == 0 && line.len > 0)
        r = fn(line.data, line.len, arg, err);
    smx_buf_done(&line);
    return r;
}

int text_check(const char *what, const char *s, struct smx_err *err)
{
    if (!s || smx_utf8_valid(s, strlen(s)))
        return 0;
    return smx_err_set(err, SMX_E_INVALID, "%s: must be UTF-8 text", what);
}

int text_check_pairs(const char *what, const struct smx_pair *pairs, size_t n, struct smx_err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        r = text_check(what, pairs[i].key, err);
        if (r == 0)
            r = text_check(what, pairs[i].value, err);
    }
    return r;
}

void json_pairs(struct json_writer *w, const char *key, const struct smx_pair *pairs, size_t n)
{
    json_key(w, key);
    json_object_begin(w);
    for (size_t i = 0; i < n; i++)
        json_kv_string(w, pairs[i].key, pairs[i].value ? pairs[i].value : "");
    json_object_end(w);
}

int call_drain(struct conn *conn, int (*sink)(const void *data, size_t bytes, void *arg), void *arg,
    struct smx_err *err)
{
    const char *data;
    ssize_t n;

    while ((n = conn_body(conn, &data, err)) > 0) {
        int r = sink(data, (size_t)n, arg);

        if (r != 0) {
            smx_err_set(err, SMX_E_CANCELLED, "the transfer was broken off");
            return r;
        }
    }
    return (int)n;
}
