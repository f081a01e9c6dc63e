/* exchange.c - what a handler reads of a request: head, query, body, and memory for the length of
 * one exchange. Loop thread only. */
#include <assert.h>
#include <strings.h>

#include "base/fd.h"
#include "base/mem.h"
#include "http/conn.h"

/* Chunks of http_alloc(); freed together. */
struct http_arena {
    struct http_arena *next;
    max_align_t bytes[];
};

void http_exchange_init(struct http_exchange *x, struct http_conn *c)
{
    memset(x, 0, sizeof *x);
    x->conn = c;
    smx_buf_init(&x->extra, SMX_HTTP_HEAD_MAX);
}

void http_exchange_done(struct http_exchange *x)
{
    while (x->arena) {
        struct http_arena *next = x->arena->next;

        smx_free(x->arena);
        x->arena = next;
    }
    smx_buf_done(&x->extra);
    http_message_done(&x->request);
    smx_close(http_take_descriptor(x));
}

int http_take_descriptor(struct http_exchange *x)
{
    int fd = x->passed - 1;

    x->passed = 0;
    return fd;
}

void *http_alloc(struct http_exchange *x, size_t n)
{
    struct http_arena *a = smx_alloc(sizeof *a + n);

    if (!a)
        return NULL;
    a->next = x->arena;
    x->arena = a;
    return a->bytes;
}

/* --- head --- */

const struct h1_head *http_head(const struct http_exchange *x)
{
    return &x->request.head;
}

const struct http_peer *http_peer(const struct http_exchange *x)
{
    return &x->conn->peer;
}

struct io_loop *http_loop(const struct http_exchange *x)
{
    return x->conn->server->loop;
}

void http_set_data(struct http_exchange *x, void *data)
{
    x->data = data;
}

void *http_data(const struct http_exchange *x)
{
    return x->data;
}

struct io_fd *http_fd(struct http_exchange *x)
{
    return &x->conn->fd;
}

/* Splits an absolute target: the authority, and where the path starts. */
static size_t authority_end(struct smx_view target, size_t *ret_start)
{
    const char *colon;
    size_t i;

    *ret_start = 0;
    if (target.n == 0 || target.p[0] == '/' || target.p[0] == '*')
        return 0;
    colon = memchr(target.p, ':', target.n);
    if (!colon)
        return 0;
    i = *ret_start = (size_t)(colon - target.p) + 3;
    while (i < target.n && target.p[i] != '/' && target.p[i] != '?')
        i++;
    return i;
}

struct smx_view http_path(const struct http_exchange *x)
{
    struct smx_view target = x->request.head.target;
    size_t start, skip = authority_end(target, &start);
    const char *question;

    target.p += skip;
    target.n -= skip;
    question = target.n ? memchr(target.p, '?', target.n) : NULL;
    if (question)
        target.n = (size_t)(question - target.p);
    return target.n ? target : SMX_VIEW("/");
}

struct smx_view http_query(const struct http_exchange *x)
{
    struct smx_view target = x->request.head.target;
    const char *question = target.n ? memchr(target.p, '?', target.n) : NULL;

    if (!question)
        return SMX_VIEW("");
    return (struct smx_view){ question + 1, target.n - (size_t)(question + 1 - target.p) };
}

struct smx_view http_host(const struct http_exchange *x)
{
    struct smx_view target = x->request.head.target, host = http_field(x, "host");
    size_t start, end = authority_end(target, &start);

    if (end > start)
        return (struct smx_view){ target.p + start, end - start };
    return host.p ? host : SMX_VIEW("");
}

struct smx_view http_field(const struct http_exchange *x, const char *name)
{
    return h1_get(&x->request.head, name);
}

/* --- query --- */

/* 1 and the raw value, 0 when absent, or -SMX_E_INVALID when it is there twice. */
static int query_once(
    const struct http_exchange *x, const char *name, struct smx_view *ret, struct smx_err *err)
{
    struct smx_view query = http_query(x), second;

    if (!h1_query_get(query, name, 0, ret))
        return 0;
    if (h1_query_get(query, name, 1, &second))
        return smx_err_set(err, SMX_E_INVALID, "query parameter '%s' is given twice", name);
    return 1;
}

int http_query_string(
    const struct http_exchange *x, const char *name, char **ret, struct smx_err *err)
{
    struct smx_view raw;
    struct smx_buf out;
    int r = query_once(x, name, &raw, err);

    if (r < 0)
        return r;
    if (r == 0) {
        *ret = NULL;
        return 0;
    }
    smx_buf_init(&out, raw.n + 1);
    if (!h1_percent_decode(raw, /* form= */ true, &out)) {
        bool failed = out.failed;

        smx_buf_done(&out);
        return failed
                   ? smx_err_oom(err)
                   : smx_err_set(err, SMX_E_INVALID, "query parameter '%s' is badly escaped", name);
    }
    *ret = smx_buf_steal(&out);
    return *ret ? 0 : smx_err_oom(err);
}

int http_query_u64(const struct http_exchange *x, const char *name, uint64_t min, uint64_t max,
    uint64_t *ret, struct smx_err *err)
{
    struct smx_view raw;
    uint64_t value;
    int r = query_once(x, name, &raw, err);

    if (r <= 0)
        return r;
    if (!smx_parse_u64(raw, max, &value) || value < min)
        return smx_err_set(err, SMX_E_INVALID,
            "query parameter '%s' must be an integer from %llu to %llu", name,
            (unsigned long long)min, (unsigned long long)max);
    *ret = value;
    return 1;
}

int http_query_bool(const struct http_exchange *x, const char *name, bool *ret, struct smx_err *err)
{
    struct smx_view raw;
    char text[8];
    int r = query_once(x, name, &raw, err);

    if (r <= 0)
        return r;
    if (!smx_view_copy(text, sizeof text, raw) || !smx_parse_bool(text, ret))
        return smx_err_set(err, SMX_E_INVALID, "query parameter '%s' must be true or false", name);
    return 1;
}

/* --- body --- */

/* The client waits for a word before it sends; what it sent all the same needs none. */
static int send_continue(struct http_exchange *x, struct smx_err *err)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (!x->request.head.expect_continue || x->continue_sent || x->relayed ||
        x->state != HTTP_NONE || http_in_size(&x->conn->in) > 0)
        return 0;
    x->continue_sent = true;
    return io_write(
        &x->conn->fd, text, sizeof text - 1, x->conn->server->cfg.write_timeout_ms, err);
}

/* The client's mistakes are the request's. */
static ssize_t body_failed(struct http_exchange *x, ssize_t r, struct smx_err *err)
{
    if (r == -SMX_E_TIMEOUT)
        return r; /* the caller may wait on */
    x->body_failed = true;
    if (r != -SMX_E_PROTOCOL)
        return r;
    if (err)
        err->code = SMX_E_INVALID;
    return -SMX_E_INVALID;
}

ssize_t http_body_read(
    struct http_exchange *x, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err)
{
    ssize_t r;

    if (x->body.done)
        return 0;
    if (x->body_failed)
        return smx_err_set(err, SMX_E_CLOSED, "the request body failed before");
    r = send_continue(x, err);
    if (r == 0)
        r = http_body_fetch(
            &x->body, &x->conn->in, &x->conn->fd, /* watch= */ NULL, data, n, deadline_ns, err);
    return r < 0 ? body_failed(x, r, err) : r;
}

int http_body_all(struct http_exchange *x, struct smx_buf *buf, struct smx_err *err)
{
    uint64_t deadline_ns = smx_deadline_in_ms(SMX_HTTP_BODY_TIMEOUT_MS);
    uint64_t announced = x->body.framing == H1_LENGTH ? x->body.left : 0;

    if (announced > buf->max - buf->len)
        return smx_err_set(err, SMX_E_TOO_LARGE, "the body exceeds %zu bytes", buf->max);
    while (!x->body.done) {
        size_t room = SMX_MIN(buf->max - buf->len, (size_t)HTTP_POOL_SIZE);
        char one[1];
        ssize_t n;

        if (room > 0 && smx_buf_reserve(buf, room) < 0)
            return smx_err_oom(err);
        n = http_body_read(x, room ? buf->data + buf->len : one, room ? room : 1, deadline_ns, err);
        if (n < 0)
            return (int)n;
        if (n > 0 && room == 0)
            return smx_err_set(err, SMX_E_TOO_LARGE, "the body exceeds %zu bytes", buf->max);
        buf->len += (size_t)n;
        if (buf->data)
            buf->data[buf->len] = '\0';
    }
    return 0;
}

/* What was read ahead, and chunked bodies, go through a buffer. */
static int64_t copy_by_buffer(
    struct http_exchange *x, struct io_fd *to, uint64_t idle_ms, struct smx_err *err)
{
    bool spliced = x->body.framing == H1_LENGTH;
    char *data = http_pool_get();
    int64_t moved = 0;
    ssize_t n = 0;
    int r = 0;

    if (!data)
        return smx_err_oom(err);
    while (!x->body.done && !(spliced && http_in_size(&x->conn->in) == 0)) {
        n = http_body_read(x, data, HTTP_POOL_SIZE, smx_deadline_in_ms(idle_ms), err);
        r = n > 0 ? io_write(to, data, (size_t)n, idle_ms, err) : (int)n;
        if (r < 0)
            break;
        moved += n;
    }
    http_pool_put(data);
    return r < 0 ? r : moved;
}

int64_t http_body_copy(
    struct http_exchange *x, struct io_fd *to, uint64_t idle_ms, struct smx_err *err)
{
    int64_t first = send_continue(x, err), rest;

    if (first < 0)
        return body_failed(x, first, err);
    first = copy_by_buffer(x, to, idle_ms, err);
    if (first < 0 || x->body.done)
        return first;
    rest = io_copy(to, &x->conn->fd, x->body.left, idle_ms, err);
    if (rest < 0) {
        x->body_failed = true; /* what was in flight is lost */
        return rest;
    }
    x->body.left -= (uint64_t)rest;
    x->body.done = x->body.left == 0;
    if (!x->body.done) {
        x->body_failed = true;
        return smx_err_set(err, SMX_E_CLOSED, "the connection ended within a body");
    }
    return first + rest;
}
