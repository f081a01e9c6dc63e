/* reply.c - what a handler sends: whole replies in one writev, streamed ones by length, chunked or
 * until close, and the switch to another protocol. Heads are built in pool buffers, so that no
 * connection keeps one. Loop thread only. */
#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "http/conn.h"

enum { WITH_FILE = 256, BESIDE_HEAD = 2048 };

/* --- heads --- */

/* Server and Date change once a second. */
static void stamp(struct http_server *s)
{
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == s->stamp_time && s->stamp_len > 0)
        return;
    s->stamp_time = now.tv_sec;
    gmtime_r(&now.tv_sec, &tm);
    s->date_at = 0;
    if (s->cfg.server_name)
        s->date_at =
            (size_t)snprintf(s->stamp, sizeof s->stamp, "Server: %.60s\r\n", s->cfg.server_name);
    s->stamp_len = s->date_at + strftime(s->stamp + s->date_at, sizeof s->stamp - s->date_at,
                                    "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
}

static void write_number(struct smx_buf *out, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    smx_buf_append(out, digits + at, sizeof digits - at);
}

static bool bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

/* Whether the connection ends after this reply. */
static bool ends_after(const struct http_exchange *x, const struct http_reply_head *h)
{
    if (x->close || !x->request.head.keep_alive || x->conn->server->draining || x->body_failed)
        return true;
    if (x->body.done)
        return false;
    if (x->request.head.expect_continue && !x->continue_sent)
        return true; /* will the body come or not? */
    return h->flags & HTTP_HEAD_WHOLE && x->body.framing == H1_LENGTH &&
           x->body.left > SMX_HTTP_DRAIN_MAX;
}

static void write_framing(
    struct http_exchange *x, struct smx_buf *out, const struct http_reply_head *h)
{
    if (bodiless(h->status) || h->flags & HTTP_HEAD_KEEP_LENGTH)
        return;
    if (h->length != HTTP_CHUNKED) {
        smx_buf_append_str(out, "Content-Length: ");
        write_number(out, h->length);
        h1_write_end(out);
    } else if (x->request.head.minor == 1) {
        smx_buf_append_str(out, "Transfer-Encoding: chunked\r\n");
        x->chunked = true;
    } else {
        x->until_close = x->close = true;
    }
}

static void write_connection(const struct http_exchange *x, struct smx_buf *out)
{
    if (x->close)
        smx_buf_append_str(out, "Connection: close\r\n");
    else if (x->request.head.minor == 0)
        smx_buf_append_str(out, "Connection: keep-alive\r\n");
}

static void write_head(
    struct http_exchange *x, struct smx_buf *out, const struct http_reply_head *h)
{
    struct http_server *s = x->conn->server;

    stamp(s);
    h1_write_status(out, h->status);
    if (!(h->flags & HTTP_HEAD_RELAYED))
        smx_buf_append(out, s->stamp, s->stamp_len);
    if (h->content_type)
        h1_write_field(out, "Content-Type", smx_view_of(h->content_type));
    x->close = ends_after(x, h);
    write_framing(x, out, h);
    write_connection(x, out);
    if (x->extra.len > 0)
        smx_buf_append(out, x->extra.data, x->extra.len);
    if (h->fields && h->fields->len > 0)
        smx_buf_append(out, h->fields->data, h->fields->len);
    h1_write_end(out);
}

static int broke(struct http_exchange *x, int r)
{
    if (r < 0)
        x->broken = true;
    return r;
}

/* "<hex>\r\n" at the end of line; returns where it starts. */
static char *chunk_line(char line[20], size_t n)
{
    char *p = line + 20;

    *--p = '\n';
    *--p = '\r';
    do
        *--p = "0123456789abcdef"[n & 15];
    while (n >>= 4);
    return p;
}

/* The pieces of a body part as it goes out: framed as a chunk (with what follows the last one when
 * it is that) or plain. How many. */
static size_t frame(const struct http_exchange *x, struct iovec iov[3], char line[20],
    const void *data, size_t n, bool last)
{
    char *p = chunk_line(line, n);
    const char *end = last ? "\r\n0\r\n\r\n" : "\r\n";

    if (n == 0 || x->head_only)
        return 0;
    iov[0] = (struct iovec){ .iov_base = (void *)(uintptr_t)data, .iov_len = n };
    if (!x->chunked)
        return 1;
    iov[1] = iov[0];
    iov[0] = (struct iovec){ .iov_base = p, .iov_len = (size_t)(line + 20 - p) };
    iov[2] = (struct iovec){ .iov_base = (void *)(uintptr_t)end, .iov_len = strlen(end) };
    return 3;
}

static size_t iov_bytes(const struct iovec *iov, size_t count)
{
    size_t n = 0;

    while (count-- > 0)
        n += iov[count].iov_len;
    return n;
}

/* The descriptor goes with the first bytes, few enough to be sent whole or not at all. */
static int send_with_file(struct http_exchange *x, const struct smx_buf *head, int file)
{
    uint64_t ms = x->conn->server->cfg.write_timeout_ms;
    size_t n = SMX_MIN(head->len, (size_t)WITH_FILE);
    int r =
        io_send_fds(&x->conn->fd, head->data, n, &file, 1, smx_deadline_in_ms(ms), /* err= */ NULL);

    x->bytes_out += head->len;
    return r < 0 ? r : io_write(&x->conn->fd, head->data + n, head->len - n, ms, /* err= */ NULL);
}

/* Head and first part of the body in one write; what is small is copied behind the head, which
 * costs less than a vector. */
static int send_with_body(struct http_exchange *x, struct smx_buf *head, const void *body, size_t n)
{
    uint64_t ms = x->conn->server->cfg.write_timeout_ms;
    struct iovec iov[4];
    char line[20];
    size_t count = frame(x, iov + 1, line, body, n, /* last= */ false),
           more = iov_bytes(iov + 1, count);

    x->bytes_out += head->len + more;
    if (more <= BESIDE_HEAD && head->len + more < head->cap) {
        for (size_t i = 1; i <= count; i++)
            smx_buf_append(head, iov[i].iov_base, iov[i].iov_len);
        return io_write(&x->conn->fd, head->data, head->len, ms, /* err= */ NULL);
    }
    iov[0] = (struct iovec){ .iov_base = head->data, .iov_len = head->len };
    return io_writev(&x->conn->fd, iov, 1 + count, ms, /* err= */ NULL);
}

static int send_head(
    struct http_exchange *x, const struct http_reply_head *h, const void *body, size_t n)
{
    struct smx_buf out;
    int r;

    assert(x->state == HTTP_NONE);
    x->status = h->status;
    x->head_only = x->request.head.method == H1_HEAD || bodiless(h->status);
    if (http_pool_buf_init(&out, 2 * SMX_HTTP_HEAD_MAX) < 0)
        return broke(x, -SMX_E_NO_MEMORY);
    write_head(x, &out, h);
    r = smx_buf_check(&out, /* err= */ NULL);
    if (r == 0 && x->extra.failed)
        r = -SMX_E_NO_MEMORY;
    if (r == 0)
        r = h->flags & HTTP_HEAD_FILE ? send_with_file(x, &out, h->file)
                                      : send_with_body(x, &out, body, n);
    http_pool_buf_done(&out);
    smx_buf_done(&x->extra);
    return broke(x, r);
}

/* --- the handler's side --- */

void http_add_field(struct http_exchange *x, const char *name, const char *value)
{
    assert(x->state == HTTP_NONE);
    h1_write_field(&x->extra, name, smx_view_of(value));
}

int http_reply(
    struct http_exchange *x, int status, const char *content_type, const void *body, size_t n)
{
    struct http_reply_head h = {
        .status = status, .content_type = content_type, .length = n, .flags = HTTP_HEAD_WHOLE
    };
    int r = send_head(x, &h, body, n);

    x->state = HTTP_DONE;
    return r;
}

int http_reply_start(struct http_exchange *x, const struct http_reply_head *h)
{
    int r = send_head(x, h, /* body= */ NULL, 0);

    x->state = HTTP_STREAMING;
    x->left_out = h->length;
    return r;
}

int http_start(
    struct http_exchange *x, int status, const char *content_type, uint64_t content_length)
{
    struct http_reply_head h = {
        .status = status, .content_type = content_type, .length = content_length
    };

    return http_reply_start(x, &h);
}

int http_reply_interim(struct http_exchange *x, int status, const struct smx_buf *fields)
{
    struct smx_buf out;
    int r;

    assert(x->state == HTTP_NONE);
    if (http_pool_buf_init(&out, 2 * SMX_HTTP_HEAD_MAX) < 0)
        return -SMX_E_NO_MEMORY;
    h1_write_status(&out, status);
    if (fields && fields->len > 0)
        smx_buf_append(&out, fields->data, fields->len);
    h1_write_end(&out);
    x->continue_sent = x->continue_sent || status == 100;
    r = out.failed ? -SMX_E_NO_MEMORY
                   : io_write(&x->conn->fd, out.data, out.len,
                         x->conn->server->cfg.write_timeout_ms, /* err= */ NULL);
    http_pool_buf_done(&out);
    return broke(x, r);
}

static int write_part(struct http_exchange *x, const void *data, size_t n, bool last)
{
    struct iovec iov[3];
    char line[20];
    size_t count = frame(x, iov, line, data, n, last);

    x->bytes_out += iov_bytes(iov, count);
    return broke(x, io_writev(&x->conn->fd, iov, count, x->conn->server->cfg.stream_timeout_ms,
                        /* err= */ NULL));
}

/* Counts n bytes against the announced length. */
static void account(struct http_exchange *x, size_t n)
{
    assert(x->state == HTTP_STREAMING);
    if (x->left_out == HTTP_CHUNKED)
        return;
    assert(n <= x->left_out);
    x->left_out -= n;
}

int http_write(struct http_exchange *x, const void *data, size_t n)
{
    account(x, n);
    if (x->broken)
        return -SMX_E_CLOSED;
    if (n == 0 || x->head_only)
        return 0;
    return write_part(x, data, n, /* last= */ false);
}

int http_start_with(struct http_exchange *x, int status, const char *content_type,
    uint64_t content_length, const void *data, size_t n)
{
    struct http_reply_head h = {
        .status = status, .content_type = content_type, .length = content_length
    };
    int r = send_head(x, &h, data, n);

    x->state = HTTP_STREAMING;
    x->left_out = h.length;
    account(x, n);
    return r;
}

int http_finish_with(struct http_exchange *x, const void *data, size_t n)
{
    account(x, n);
    if (x->broken || !x->chunked || x->head_only || n == 0) {
        int r = x->broken || n == 0 || x->head_only ? 0 : write_part(x, data, n, /* last= */ false);

        return r < 0 ? r : http_finish(x);
    }
    x->state = HTTP_DONE;
    return write_part(x, data, n, /* last= */ true);
}

int http_write_from(struct http_exchange *x, struct io_fd *from, uint64_t n)
{
    int64_t moved;

    assert(x->state == HTTP_STREAMING && x->left_out != HTTP_CHUNKED && n <= x->left_out);
    if (x->broken)
        return -SMX_E_CLOSED;
    if (x->head_only) {
        x->left_out -= n;
        return 0;
    }
    moved = io_copy(&x->conn->fd, from, n, x->conn->server->cfg.stream_timeout_ms, /* err= */ NULL);
    if (moved < 0)
        return broke(x, (int)moved);
    x->bytes_out += (uint64_t)moved;
    x->left_out -= (uint64_t)moved;
    return (uint64_t)moved == n ? 0 : broke(x, -SMX_E_CLOSED);
}

int http_write_file(
    struct http_exchange *x, int file, uint64_t offset, uint64_t n, struct io_fd *watch)
{
    int r;

    assert(x->state == HTTP_STREAMING && x->left_out != HTTP_CHUNKED && n <= x->left_out);
    x->left_out -= n;
    if (x->broken)
        return -SMX_E_CLOSED;
    if (x->head_only)
        return 0;
    r = io_send_file(&x->conn->fd, file, offset, n, watch, x->conn->server->cfg.stream_timeout_ms,
        /* err= */ NULL);
    x->bytes_out += r == 0 ? n : 0;
    return broke(x, r);
}

bool http_wants_descriptor(const struct http_exchange *x)
{
    return x->conn->peer.unix_socket && !x->conn->fd.filter_ops && http_field(x, H1_DESCRIPTOR).p;
}

int http_reply_descriptor(struct http_exchange *x, int status, const char *content_type, int file,
    uint64_t offset, uint64_t n)
{
    struct http_reply_head h = { .status = status,
        .content_type = content_type,
        .flags = HTTP_HEAD_WHOLE | HTTP_HEAD_FILE,
        .file = file };
    struct io_wait w = { .fd = &x->conn->fd, .events = IO_READ | IO_HUP };
    char text[48];
    int r;

    snprintf(text, sizeof text, "%llu %llu", (unsigned long long)offset, (unsigned long long)n);
    http_add_field(x, H1_DESCRIPTOR, text);
    r = send_head(x, &h, /* body= */ NULL, 0);
    x->state = HTTP_DONE;
    if (r == 0)
        r = io_wait(&w, 1, SMX_FOREVER);
    return SMX_MIN(r, 0);
}

int http_finish(struct http_exchange *x)
{
    static const char last[] = "0\r\n\r\n";

    assert(x->state == HTTP_STREAMING);
    assert(x->left_out == 0 || x->left_out == HTTP_CHUNKED || x->head_only || x->broken);
    x->state = HTTP_DONE;
    if (x->broken)
        return -SMX_E_CLOSED;
    if (!x->chunked || x->head_only)
        return 0;
    x->bytes_out += sizeof last - 1;
    return broke(
        x, io_write(&x->conn->fd, last, sizeof last - 1, x->conn->server->cfg.write_timeout_ms,
               /* err= */ NULL));
}

/* A body that ends with the connection looks whole unless the connection is reset. */
void http_abort(struct http_exchange *x)
{
    struct linger reset = { .l_onoff = 1, .l_linger = 0 };

    if (x->until_close && !x->aborted)
        setsockopt(x->conn->fd.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    x->aborted = true;
    x->state = x->state == HTTP_NONE ? HTTP_NONE : HTTP_DONE;
}

bool http_started(const struct http_exchange *x)
{
    return x->state != HTTP_NONE;
}

int http_status(const struct http_exchange *x)
{
    return x->status;
}

uint64_t http_bytes_out(const struct http_exchange *x)
{
    return x->bytes_out;
}

void http_trim(struct http_exchange *x)
{
    http_in_trim(&x->conn->in);
    if (x->state != HTTP_NONE)
        smx_buf_done(&x->extra);
    io_fiber_trim();
}

int http_upgrade(struct http_exchange *x, const char *protocol, struct io_fd **ret_fd,
    struct smx_view *ret_early, struct smx_err *err)
{
    struct smx_buf out;
    int r;

    assert(x->state == HTTP_NONE);
    if (http_pool_buf_init(&out, 2 * SMX_HTTP_HEAD_MAX) < 0)
        return smx_err_oom(err);
    h1_write_status(&out, 101);
    h1_write_field(&out, "Upgrade", smx_view_of(protocol));
    smx_buf_append_str(&out, "Connection: Upgrade\r\n");
    if (x->extra.len > 0)
        smx_buf_append(&out, x->extra.data, x->extra.len);
    h1_write_end(&out);
    r = smx_buf_check(&out, err);
    if (r == 0)
        r = io_write(&x->conn->fd, out.data, out.len, x->conn->server->cfg.write_timeout_ms, err);
    x->bytes_out += out.len;
    http_pool_buf_done(&out);
    smx_buf_done(&x->extra);
    x->status = 101;
    x->state = HTTP_DONE;
    x->upgraded = x->close = true;
    if (r < 0)
        return broke(x, r);
    *ret_fd = &x->conn->fd;
    *ret_early = http_in_view(&x->conn->in);
    return 0;
}
