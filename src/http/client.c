/* client.c - the client's side of one connection: a request out, a reply in, one after the other.
 * Any failure makes the connection unfit for another request. Loop thread only. */
#include "http/client.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

#include "base/foreign.h"
#include "http/conn.h"

enum { INTERIM_MAX = 32, WITH_FILE = 256, AT_ONCE = 8192 };

int http_client_init(struct http_client *c, int fd, struct smx_err *err)
{
    int r;

    memset(c, 0, sizeof *c);
    c->sent = c->body.done = c->keep_alive = true;
    r = io_fd_init(&c->fd, fd, err);
    if (r == 0 && !smx_refuses_rights(fd)) {
        (void)smx_pass_rights(fd, 1);
        io_fd_distrust(&c->fd);
    }
    return r;
}

void http_client_done(struct http_client *c)
{
    http_client_drop_file(c);
    http_in_done(&c->in);
    http_message_done(&c->reply);
    io_fd_done(&c->fd);
}

static int failed(struct http_client *c, int r)
{
    if (r < 0)
        c->failed = true;
    return r;
}

/* --- the request --- */

/* Does one of the raw lines have that name? */
static bool has_field(const struct smx_buf *lines, struct smx_view name)
{
    const char *line = lines && lines->len ? lines->data : NULL;
    const char *end = line ? line + lines->len : NULL;

    while (line && (size_t)(end - line) > name.n) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));

        if (line[name.n] == ':' && strncasecmp(line, name.p, name.n) == 0)
            return true;
        line = lf ? lf + 1 : NULL;
    }
    return false;
}

static bool has_host(const struct smx_buf *fields)
{
    return has_field(fields, SMX_VIEW("host"));
}

bool http_client_replaces(const struct http_client *c, struct smx_view name)
{
    return has_field(c->always, name);
}

static void write_head(
    struct smx_buf *out, const struct http_client_request *q, const struct smx_buf *always)
{
    char method[40];

    smx_view_copy(method, sizeof method, q->method);
    h1_write_request(out, method, q->target);
    if (!has_host(q->fields) && !has_host(always))
        h1_write_field(out, "Host", SMX_VIEW("localhost"));
    if (always)
        smx_buf_append(out, always->data, always->len);
    if (q->fields && q->fields->len > 0)
        smx_buf_append(out, q->fields->data, q->fields->len);
    out->failed = out->failed || (q->fields && q->fields->failed);
    if (q->length == HTTP_CHUNKED)
        h1_write_field(out, "Transfer-Encoding", SMX_VIEW("chunked"));
    else if (!q->no_body)
        smx_buf_appendf(out, "Content-Length: %llu\r\n", (unsigned long long)q->length);
    h1_write_end(out);
}

/* The descriptor goes with the first bytes, few enough to be sent whole or not at all; with all of
 * them if they are: a server that expects none may take the end of what came with it for the end of
 * what came. */
static int send_request(struct http_client *c, const struct http_client_request *q,
    struct smx_buf *head, struct smx_err *err)
{
    struct iovec iov[2] = { { .iov_base = head->data, .iov_len = head->len },
        { .iov_base = (void *)(uintptr_t)q->body, .iov_len = q->n } };
    int fd = q->passed - 1, r;
    size_t first = SMX_MIN(head->len, (size_t)WITH_FILE);

    if (fd < 0)
        return io_writev(&c->fd, iov, q->n ? 2 : 1, SMX_HTTP_STREAM_TIMEOUT_MS, err);
    if (head->len + q->n <= AT_ONCE && smx_buf_append(head, q->body, q->n) == 0) {
        first = head->len;
        iov[1].iov_len = 0;
    }
    r = io_send_fds(
        &c->fd, head->data, first, &fd, 1, smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS), err);
    iov[0] = (struct iovec){ .iov_base = head->data + first, .iov_len = head->len - first };
    return r < 0 ? r : io_writev(&c->fd, iov, 2, SMX_HTTP_STREAM_TIMEOUT_MS, err);
}

int http_client_request(
    struct http_client *c, const struct http_client_request *q, struct smx_err *err)
{
    struct smx_buf out;
    int r;

    assert(!c->reading && c->body.done);
    if (http_pool_buf_init(&out, 2 * SMX_HTTP_HEAD_MAX) < 0)
        return failed(c, smx_err_oom(err));
    write_head(&out, q, c->always);
    c->method = q->kind;
    c->left_out = q->length == HTTP_CHUNKED ? HTTP_CHUNKED : q->length - q->n;
    c->sent = c->left_out == 0;
    c->reading = true;
    r = smx_buf_check(&out, err);
    if (r == 0)
        r = send_request(c, q, &out, err);
    http_pool_buf_done(&out);
    return failed(c, r);
}

static struct http_client_request request_of(
    enum h1_method method, struct smx_view target, const struct smx_buf *fields, uint64_t length)
{
    static const char *const names[] = { [H1_GET] = "GET",
        [H1_HEAD] = "HEAD",
        [H1_POST] = "POST",
        [H1_PUT] = "PUT",
        [H1_PATCH] = "PATCH",
        [H1_DELETE] = "DELETE",
        [H1_OPTIONS] = "OPTIONS" };

    assert(method < H1_OTHER);
    return (struct http_client_request){ .method = smx_view_of(names[method]),
        .kind = method,
        .target = target,
        .fields = fields,
        .length = length,
        .no_body = length == 0 && method != H1_POST && method != H1_PUT && method != H1_PATCH };
}

int http_client_send(struct http_client *c, enum h1_method method, struct smx_view target,
    const struct smx_buf *fields, uint64_t content_length, struct smx_err *err)
{
    struct http_client_request q = request_of(method, target, fields, content_length);

    return http_client_request(c, &q, err);
}

int http_client_send_all(struct http_client *c, enum h1_method method, struct smx_view target,
    const struct smx_buf *fields, const void *body, size_t n, struct smx_err *err)
{
    struct http_client_request q = request_of(method, target, fields, n);

    q.body = body;
    q.n = n;
    return http_client_request(c, &q, err);
}

int http_client_send_with(struct http_client *c, enum h1_method method, struct smx_view target,
    const struct smx_buf *fields, const void *body, size_t n, int fd, struct smx_err *err)
{
    struct http_client_request q = request_of(method, target, fields, n);

    q.body = body;
    q.n = n;
    q.passed = fd + 1;
    return http_client_request(c, &q, err);
}

int http_client_write(struct http_client *c, const void *data, size_t n, struct smx_err *err)
{
    char line[24];
    struct iovec iov[3] = { { .iov_base = line },
        { .iov_base = (void *)(uintptr_t)data, .iov_len = n },
        { .iov_base = (char[]){ '\r', '\n' }, .iov_len = 2 } };

    assert(!c->sent);
    if (n == 0)
        return 0;
    if (c->left_out == HTTP_CHUNKED) {
        iov[0].iov_len = (size_t)snprintf(line, sizeof line, "%zx\r\n", n);
        return failed(c, io_writev(&c->fd, iov, 3, SMX_HTTP_STREAM_TIMEOUT_MS, err));
    }
    assert(n <= c->left_out);
    c->left_out -= n;
    c->sent = c->left_out == 0;
    return failed(c, io_write(&c->fd, data, n, SMX_HTTP_STREAM_TIMEOUT_MS, err));
}

int http_client_finish(struct http_client *c, struct smx_err *err)
{
    if (c->sent)
        return 0;
    assert(c->left_out == HTTP_CHUNKED);
    c->sent = true;
    return failed(c, io_write(&c->fd, "0\r\n\r\n", 5, SMX_HTTP_STREAM_TIMEOUT_MS, err));
}

/* --- the reply --- */

int http_client_any_head(
    struct http_client *c, struct h1_head *ret, uint64_t deadline_ns, struct smx_err *err)
{
    struct http_head_want want = {
        .reply = true, .method = c->method, .watch = c->watch, .deadline_ns = deadline_ns
    };
    int status, r;

    assert(c->reading);
    http_message_done(&c->reply);
    http_client_drop_file(c);
    if (c->takes_file)
        want.passed = &c->passed;
    r = http_in_head(&c->in, &c->fd, &want, &c->reply, &status, err);
    if (r == 0)
        r = smx_err_set(err, SMX_E_CLOSED, "the server closed the connection without an answer");
    if (r < 0) /* after a timeout the caller may wait on */
        return r == -SMX_E_TIMEOUT ? r : failed(c, r);
    *ret = c->reply.head;
    if (ret->status >= 200 || ret->status == 101) {
        http_body_init(&c->body, ret);
        c->reading = c->takes_file = false;
        c->keep_alive = ret->keep_alive && ret->status != 101;
    }
    return 0;
}

int http_client_head(
    struct http_client *c, struct h1_head *ret, uint64_t deadline_ns, struct smx_err *err)
{
    struct h1_head head;

    for (int i = 0; i < INTERIM_MAX; i++) {
        int r = http_client_any_head(c, &head, deadline_ns, err);

        if (r < 0)
            return r;
        if (!c->reading) {
            *ret = head;
            return 0;
        }
    }
    return failed(c, smx_err_set(err, SMX_E_PROTOCOL, "the server sends interim replies only"));
}

ssize_t http_client_read(
    struct http_client *c, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err)
{
    assert(!c->reading);
    return http_body_fetch(&c->body, &c->in, &c->fd, c->watch, data, n, deadline_ns, err);
}

int http_client_read_all(
    struct http_client *c, struct smx_buf *buf, uint64_t deadline_ns, struct smx_err *err)
{
    while (!c->body.done) {
        size_t room = SMX_MIN(buf->max - buf->len, (size_t)HTTP_POOL_SIZE);
        char one[1];
        ssize_t n;

        if (room > 0 && smx_buf_reserve(buf, room) < 0)
            return failed(c, smx_err_oom(err));
        n = http_client_read(
            c, room ? buf->data + buf->len : one, room ? room : 1, deadline_ns, err);
        if (n < 0)
            return (int)n;
        if (n > 0 && room == 0)
            return failed(
                c, smx_err_set(err, SMX_E_TOO_LARGE, "the reply exceeds %zu bytes", buf->max));
        buf->len += (size_t)n;
        if (buf->data)
            buf->data[buf->len] = '\0';
    }
    return 0;
}

bool http_client_reusable(const struct http_client *c)
{
    return c->fd.fd >= 0 && !c->failed && !c->reading && c->sent && c->body.done && c->keep_alive &&
           http_in_size(&c->in) == 0 && !(c->fd.ready & IO_HUP);
}

void http_client_trim(struct http_client *c)
{
    http_in_trim(&c->in);
    http_message_done(&c->reply);
}
