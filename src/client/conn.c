/* conn.c - one HTTP connection on a non-blocking descriptor with deadlines by poll(). A conn is
 * used by one thread at a time. The buffer holds a whole reply head, then body bytes; what
 * conn_body() hands out lives in it. */
#include "client/internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- bytes ---------------------------------------------------------------------------------------
 */

int conn_new(int fd, struct conn **ret, struct smx_err *err)
{
    struct conn *c = smx_alloc(sizeof *c);
    char *in = smx_alloc(CLIENT_IN_BYTES);

    if (!c || !in) {
        smx_free(c);
        smx_free(in);
        smx_close(fd);
        return smx_err_oom(err);
    }
    c->fd = fd;
    c->in = in;
    c->pid = getpid();
    c->deadline_ns = SMX_FOREVER;
    *ret = c;
    return 0;
}

void conn_free(struct conn *c)
{
    if (!c)
        return;
    client_tls_free(c->tls, /* say_goodbye= */ c->pid == getpid());
    smx_close(c->fd);
    smx_free(c->in);
    smx_free(c);
}

bool conn_usable(const struct conn *c)
{
    char byte;

    if (c->pid != getpid() || smx_now_ns() - c->last_used_ns > CLIENT_IDLE_MS * SMX_NS_PER_MS)
        return false;
    if (c->tls)
        return client_tls_quiet(c->tls);
    /* Anything but "nothing there yet" is a close, an error, or bytes that nobody asked for. */
    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

int conn_wait(struct conn *c, int events, struct smx_err *err)
{
    uint64_t deadline = c->deadline_ns;

    if (c->idle_ms)
        deadline = SMX_MIN(deadline, smx_deadline_in_ms(c->idle_ms));
    return client_wait_fd(c->fd, events, deadline, &c->interrupt, err);
}

ssize_t link_send(int fd, struct client_tls *tls, const void *data, size_t n)
{
    return tls ? client_tls_send(tls, data, n) : send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t link_recv(int fd, struct client_tls *tls, void *data, size_t n)
{
    return tls ? client_tls_recv(tls, data, n) : recv(fd, data, n, MSG_DONTWAIT);
}

int conn_send(struct conn *c, const void *data, size_t n, bool watch_reply, struct smx_err *err)
{
    const char *p = data;

    while (n > 0) {
        ssize_t w = link_send(c->fd, c->tls, p, n);
        int r;

        if (w >= 0) {
            p += w;
            n -= (size_t)w;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno == EPIPE || errno == ECONNRESET) {
            if (watch_reply) /* what it said before it closed is still to be read */
                return 1;
            return smx_err_set(err, SMX_E_CLOSED, "the daemon closed the connection");
        }
        if (errno != EAGAIN)
            return smx_err_errno(err, errno, "sending to the daemon");
        r = conn_wait(c, watch_reply ? POLLIN | POLLOUT : POLLOUT, err);
        if (r < 0)
            return r;
        if (watch_reply && (r & POLLIN) && !(c->tls && client_tls_quiet(c->tls)))
            return 1;
    }
    return 0;
}

ssize_t conn_fill(struct conn *c, struct smx_err *err)
{
    if (c->at == c->end)
        c->at = c->end = 0;
    if (c->end == CLIENT_IN_BYTES && c->at > 0) {
        memmove(c->in, c->in + c->at, c->end - c->at);
        c->end -= c->at;
        c->at = 0;
    }
    if (c->end == CLIENT_IN_BYTES)
        return smx_err_set(err, SMX_E_TOO_LARGE, "the daemon's reply head is too long");
    for (;;) {
        ssize_t r = link_recv(c->fd, c->tls, c->in + c->end, CLIENT_IN_BYTES - c->end);

        if (r >= 0) {
            c->end += (size_t)r;
            c->answered = c->answered || r > 0;
            return r;
        }
        if (errno == EINTR)
            continue;
        if (errno == ECONNRESET || errno == EPIPE)
            return 0;
        if (errno != EAGAIN)
            return smx_err_errno(err, errno, "reading from the daemon");
        int w = conn_wait(c, POLLIN, err);
        if (w < 0)
            return w;
    }
}

/* --- replies ------------------------------------------------------------------------------------
 */

static void keep_head(struct conn *c, const struct h1_head *head)
{
    struct smx_view type = h1_get(head, "content-type");
    struct smx_view accept = h1_get(head, "sec-websocket-accept");

    c->status = head->status;
    c->framing = head->framing;
    c->left = head->framing == H1_LENGTH ? head->content_length : 0;
    c->keep = head->keep_alive && head->framing != H1_UNTIL_CLOSE && head->status != 101;
    c->finished = head->framing == H1_NO_BODY || (head->framing == H1_LENGTH && c->left == 0);
    h1_chunked_init(&c->chunked);
    smx_view_copy(c->content_type, sizeof c->content_type, type.p ? type : SMX_VIEW(""));
    smx_view_copy(c->accept, sizeof c->accept, accept.p ? accept : SMX_VIEW(""));
}

int conn_head(struct conn *c, enum h1_method method, struct smx_err *err)
{
    for (;;) {
        struct h1_head head = { .fields = c->fields, .room = SMX_HTTP_HEADERS_MAX };
        ptrdiff_t used = 0;

        if (c->end > c->at)
            used = h1_parse_reply(c->in + c->at, c->end - c->at, method, &head, err);
        if (used < 0)
            return smx_err_wrap(err, (int)used, "reply of the daemon");
        if (used > 0) {
            if (head.status >= 200 || head.status == 101) {
                keep_head(c, &head);
                c->at += (size_t)used;
                return 0;
            }
            c->at += (size_t)used; /* an interim reply */
            continue;
        }
        ssize_t r = conn_fill(c, err);
        if (r < 0)
            return (int)r;
        if (r == 0)
            return smx_err_set(err, SMX_E_CLOSED, "the daemon closed the connection");
    }
}

static ssize_t body_length(struct conn *c, const char **ret)
{
    size_t n = SMX_MIN(c->left, c->end - c->at);

    *ret = c->in + c->at;
    c->at += n;
    if (c->framing == H1_LENGTH) {
        c->left -= n;
        c->finished = c->left == 0;
    }
    return (ssize_t)n;
}

static ssize_t body_chunked(struct conn *c, const char **ret, struct smx_err *err)
{
    char *data = c->in + c->at;
    size_t used = 0;
    ptrdiff_t n = h1_chunked_read(&c->chunked, data, c->end - c->at, data, &used, err);

    if (n < 0)
        return smx_err_wrap(err, (int)n, "reply of the daemon");
    c->at += used;
    c->finished = c->chunked.done;
    *ret = data;
    return n;
}

ssize_t conn_body(struct conn *c, const char **ret, struct smx_err *err)
{
    while (!c->finished) {
        ssize_t n = 0;

        if (c->at < c->end) {
            if (c->framing == H1_UNTIL_CLOSE)
                c->left = SIZE_MAX;
            n = c->framing == H1_CHUNKED ? body_chunked(c, ret, err) : body_length(c, ret);
            if (n != 0)
                return n;
            if (c->finished)
                break;
        }
        n = conn_fill(c, err);
        if (n < 0)
            return n;
        if (n == 0 && c->framing == H1_UNTIL_CLOSE)
            c->finished = true;
        else if (n == 0)
            return smx_err_set(err, SMX_E_CLOSED, "the daemon closed the connection in a reply");
    }
    return 0;
}

int conn_body_all(struct conn *c, struct smx_buf *buf, struct smx_err *err)
{
    const char *data;
    ssize_t n;

    while ((n = conn_body(c, &data, err)) > 0)
        if (smx_buf_append(buf, data, (size_t)n) < 0)
            return smx_buf_check(buf, err);
    return (int)n;
}
