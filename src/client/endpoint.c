/* endpoint.c - where a daemon is, from its URL, and a connected descriptor to it. */
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
