/* conn.c - one HTTP connection on a non-blocking descriptor with deadlines by poll(). A conn is
 * used by one thread at a time. The buffer holds a whole reply head, then body bytes; what
 * conn_body() hands out lives in it. */
#include "client/internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* --- where to ----------------------------------------------------------------------------------
 */

int endpoint_unix(const char *path, struct endpoint *ret, struct smx_err *err)
{
    struct endpoint e = { .unix_socket = true };

    if (!smx_strcpy(e.path, sizeof e.path, path))
        return smx_err_set(err, SMX_E_INVALID,
            "the path of a unix socket may have %zu bytes at most: %s", sizeof e.path - 1, path);
    smx_strcpy(e.field, sizeof e.field, "localhost");
    *ret = e;
    return 0;
}

static int split_host(const char *text, size_t n, struct endpoint *e)
{
    const char *colon = memrchr(text, ':', n);
    uint64_t port = e->secure ? 443 : 80;

    if (n > 1 && text[0] == '[') { /* [v6]:port */
        const char *close = memchr(text, ']', n);

        if (!close || (colon && colon < close && close + 1 != text + n))
            return -SMX_E_INVALID;
        if (colon < close)
            colon = NULL;
        if (!smx_view_copy(
                e->host, sizeof e->host, (struct smx_view){ text + 1, (size_t)(close - text) - 1 }))
            return -SMX_E_INVALID;
    } else if (!smx_view_copy(e->host, sizeof e->host,
                   (struct smx_view){ text, colon ? (size_t)(colon - text) : n })) {
        return -SMX_E_INVALID;
    }
    if (colon && !smx_parse_u64(
                     (struct smx_view){ colon + 1, n - (size_t)(colon + 1 - text) }, 65535, &port))
        return -SMX_E_INVALID;
    e->port = (uint16_t)port;
    return e->host[0] && port > 0 ? 0 : -SMX_E_INVALID;
}

static int bad_url(const char *url, struct smx_err *err)
{
    return smx_err_set(err, SMX_E_INVALID,
        "the URL must be http://host:port, https://host:port or unix:/path, not '%s'", url);
}

int endpoint_parse(const char *url, struct endpoint *ret, struct smx_err *err)
{
    struct endpoint e = { 0 };
    const char *rest;
    size_t n;

    if (smx_starts(url, "unix:"))
        return endpoint_unix(url + (smx_starts(url, "unix://") ? 7 : 5), ret, err);
    e.secure = smx_starts(url, "https://");
    if (!e.secure && !smx_starts(url, "http://"))
        return bad_url(url, err);
    rest = url + (e.secure ? 8 : 7);
    n = strcspn(rest, "/?#");
    if ((rest[n] && !smx_streq(rest + n, "/")) || split_host(rest, n, &e) < 0 ||
        !smx_view_copy(e.field, sizeof e.field, (struct smx_view){ rest, n }) ||
        !h1_value_valid(smx_view_of(e.field)))
        return bad_url(url, err);
    *ret = e;
    return 0;
}

/* --- waiting and connecting ---------------------------------------------------------------------
 */

int client_interrupted(const struct client_interrupt *i, struct smx_err *err)
{
    if (!i->fn || i->fn(i->arg) == 0)
        return 0;
    return smx_err_set(err, SMX_E_CANCELLED, "the call was cancelled");
}

int client_poll_ms(uint64_t deadline_ns, const struct client_interrupt *i)
{
    uint64_t now = smx_now_ns();
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
    uint64_t ms = left / SMX_NS_PER_MS + (left % SMX_NS_PER_MS != 0);

    if (i->fn)
        return (int)SMX_MIN(ms, CLIENT_TICK_MS);
    return deadline_ns == SMX_FOREVER ? -1 : (int)SMX_MIN(ms, 1000000);
}

int client_wait_fd(
    int fd, int events, uint64_t deadline_ns, const struct client_interrupt *i, struct smx_err *err)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = (short)events };
        int r = poll(&p, 1, client_poll_ms(deadline_ns, i));

        if (r > 0)
            return p.revents;
        if (r < 0 && errno != EINTR)
            return smx_err_errno(err, errno, "waiting for the daemon");
        if (client_interrupted(i, err) < 0)
            return -SMX_E_CANCELLED;
        if (r == 0 && deadline_ns != SMX_FOREVER && smx_now_ns() >= deadline_ns)
            return smx_err_set(err, SMX_E_TIMEOUT, "the daemon did not answer in time");
    }
}

static int connect_one(const struct sockaddr *addr, socklen_t len, uint64_t deadline_ns,
    const struct client_interrupt *i, int *ret_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep)
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failure = 0, r;
    socklen_t size = sizeof failure;

    if (fd < 0)
        return smx_err_errno(err, errno, "making a socket");
    while (connect(fd, addr, len) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN &&
            addr->sa_family == AF_UNIX) { /* its queue is full: no event for that */
            struct timespec pause = { .tv_nsec = 2000000 };

            if (smx_now_ns() >= deadline_ns)
                return smx_err_set(err, SMX_E_TIMEOUT, "connecting took too long");
            nanosleep(&pause, NULL);
            continue;
        }
        if (errno != EINPROGRESS && errno != EALREADY && errno != EISCONN)
            return smx_err_errno(err, errno, "connecting");
        r = client_wait_fd(fd, POLLOUT, deadline_ns, i, err);
        if (r < 0)
            return r;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0 || failure)
            return smx_err_errno(err, failure ? failure : errno, "connecting");
        break;
    }
    *ret_fd = smx_take_fd(&fd);
    return 0;
}

static void tune_tcp(int fd)
{
    int on = 1, idle = 60;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
}

static int connect_tcp(const struct endpoint *e, uint64_t deadline_ns,
    const struct client_interrupt *i, int *ret_fd, struct smx_err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    char port[8];
    int r;

    snprintf(port, sizeof port, "%u", e->port);
    r = getaddrinfo(e->host, port, &hints, &list);
    if (r == EAI_SYSTEM)
        return smx_err_errno(err, errno, "looking up %s", e->host);
    if (r != 0)
        return smx_err_set(err, SMX_E_UNAVAILABLE, "looking up %s: %s", e->host, gai_strerror(r));
    r = smx_err_set(err, SMX_E_UNAVAILABLE, "%s has no address", e->host);
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        r = connect_one(a->ai_addr, a->ai_addrlen, deadline_ns, i, ret_fd, err);
        if (r == 0 || r == -SMX_E_CANCELLED)
            break;
    }
    freeaddrinfo(list);
    if (r == 0)
        tune_tcp(*ret_fd);
    return r;
}

int endpoint_connect(const struct endpoint *e, uint64_t deadline_ns,
    const struct client_interrupt *i, int *ret_fd, struct smx_err *err)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (!e->unix_socket)
        return connect_tcp(e, deadline_ns, i, ret_fd, err);
    memcpy(addr.sun_path, e->path, sizeof addr.sun_path);
    return connect_one((const struct sockaddr *)&addr, sizeof addr, deadline_ns, i, ret_fd, err);
}

/* --- a connection -------------------------------------------------------------------------------
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
