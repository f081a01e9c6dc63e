/* filter.c - one TLS connection as a filter on its descriptor. OpenSSL reads and writes the socket
 * itself, without waiting.
 *
 * The end of the stream is close_notify; a connection that ends without it was cut off, and reads
 * as an error, never as an end. The same for us: close_notify goes out when the connection is
 * closed in order, and does not when it is to be reset (SO_LINGER 0) or has failed. Only a peer
 * that asks for a new key while it takes no bytes makes a read wait for room to write; what it sent
 * after that is read once it sends more. Loop thread only. */
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "tls/priv.h"

struct tls_filter {
    SSL *ssl;
    bool failed; /* no more than closing is left */
};

static int length(size_t n)
{
    return (int)SMX_MIN(n, (size_t)INT_MAX);
}

/* errno of a call that did not do what was asked; 0 at the end of the stream. */
static int reason(struct tls_filter *t, int r, int fallback)
{
    int os_errno = errno;

    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return EAGAIN;
    case SSL_ERROR_SYSCALL:
        t->failed = true;
        return os_errno ? os_errno : fallback;
    default:
        t->failed = true;
        return fallback;
    }
}

static ssize_t filter_read(void *filter, void *data, size_t n)
{
    struct tls_filter *t = filter;
    int r, e;

    if (n == 0)
        return 0;
    ERR_clear_error();
    errno = 0;
    r = SSL_read(t->ssl, data, length(n));
    if (r > 0)
        return r;
    e = reason(t, r, ECONNRESET);
    ERR_clear_error();
    errno = e;
    return e ? -1 : 0;
}

static ssize_t filter_write(void *filter, const void *data, size_t n)
{
    struct tls_filter *t = filter;
    int r, e;

    if (n == 0)
        return 0;
    ERR_clear_error();
    errno = 0;
    r = SSL_write(t->ssl, data, length(n));
    if (r > 0)
        return r;
    e = reason(t, r, EPIPE);
    ERR_clear_error();
    errno = e ? e : EPIPE;
    return -1;
}

static void say_goodbye(struct tls_filter *t)
{
    if (t->failed || SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)
        return;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

static int filter_close_write(void *filter)
{
    struct tls_filter *t = filter;

    say_goodbye(t);
    return shutdown(SSL_get_fd(t->ssl), SHUT_WR);
}

static bool to_be_reset(int fd)
{
    struct linger l = { .l_onoff = 0 };
    socklen_t size = sizeof l;

    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &size) == 0 && l.l_onoff && l.l_linger == 0;
}

static void filter_free(void *filter)
{
    struct tls_filter *t = filter;

    if (!to_be_reset(SSL_get_fd(t->ssl)))
        say_goodbye(t);
    SSL_free(t->ssl);
    smx_free(t);
}

static const struct io_filter_ops filter_ops = {
    .read = filter_read,
    .write = filter_write,
    .close_write = filter_close_write,
    .free = filter_free,
};

/* --- the handshake --------------------------------------------------------------------------- */

static int wait_for(struct io_fd *fd, unsigned events, uint64_t deadline_ns, struct smx_err *err)
{
    struct io_wait w = { .fd = fd, .events = events };
    int r = io_wait(&w, 1, deadline_ns);

    if (r == -SMX_E_TIMEOUT)
        return smx_err_set(err, SMX_E_TIMEOUT, "the TLS handshake took too long");
    return r < 0 ? smx_err_set(err, (enum smx_code) - r, "cancelled in the TLS handshake") : 0;
}

static SMX_NOINLINE int step(SSL *ssl, unsigned *ret_events, struct smx_err *err)
{
    int r;

    ERR_clear_error();
    errno = 0;
    r = SSL_do_handshake(ssl);
    if (r == 1)
        return 1;
    switch (SSL_get_error(ssl, r)) {
    case SSL_ERROR_WANT_READ:
        *ret_events = IO_READ;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        *ret_events = IO_WRITE;
        return 0;
    case SSL_ERROR_SYSCALL:
        return smx_err_set(err, SMX_E_CLOSED, "the client left in the TLS handshake");
    default:
        return tls_failed(err, SMX_E_PROTOCOL, "TLS handshake");
    }
}

static int shake(struct io_fd *fd, SSL *ssl, uint64_t deadline_ns, struct smx_err *err)
{
    unsigned events = 0;
    int r;

    if (SSL_set_fd(ssl, fd->fd) != 1)
        return tls_failed(err, SMX_E_INTERNAL, "TLS handshake");
    while ((r = step(ssl, &events, err)) == 0) {
        r = wait_for(fd, events, deadline_ns, err);
        if (r < 0)
            break;
    }
    ERR_clear_error();
    return SMX_MIN(r, 0);
}

int tls_handshake(struct io_fd *fd, SSL *ssl, uint64_t deadline_ns, struct smx_err *err)
{
    int r = shake(fd, ssl, deadline_ns, err);
    struct tls_filter *t = r == 0 ? smx_alloc(sizeof *t) : NULL;

    if (r == 0 && !t)
        r = smx_err_oom(err);
    if (r < 0) {
        SSL_free(ssl);
        return r;
    }
    t->ssl = ssl;
    io_fd_filter(fd, &filter_ops, t);
    return 0;
}

/* A letter is the beginning of a method; TLS begins with the number 22. */
static int look_at_first_byte(struct io_fd *fd, uint64_t deadline_ns, struct smx_err *err)
{
    char first = 0;
    int r = wait_for(fd, IO_READ, deadline_ns, err);

    if (r < 0)
        return r;
    if (recv(fd->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first >= 'A' && first <= 'Z')
        return smx_err_set(err, SMX_E_INVALID, "plain HTTP was sent to a port that speaks HTTPS");
    return 0;
}

int tls_accept(struct tls_context *c, struct io_fd *fd, uint64_t deadline_ns, struct smx_err *err)
{
    int r = look_at_first_byte(fd, deadline_ns, err);
    SSL *ssl;

    if (r < 0)
        return r;
    if (!c->ssl)
        return smx_err_set(err, SMX_E_UNAVAILABLE, "there is no certificate to serve TLS with");
    ssl = SSL_new(c->ssl);
    if (!ssl)
        return tls_failed(err, SMX_E_NO_MEMORY, "TLS handshake");
    SSL_set_accept_state(ssl);
    return tls_handshake(fd, ssl, deadline_ns, err);
}
