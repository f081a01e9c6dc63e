/* socket.c - listening, accepting, connecting. TCP sockets have TCP_NODELAY: we write whole
 * messages.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "io/priv.h"

enum { BACKLOG = 4096, UNIX_RETRY_NS = 2000000, FLAGS = SOCK_CLOEXEC | SOCK_NONBLOCK };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static int parse_host(
    const char *host, uint16_t port, union address *a, socklen_t *ret_len, struct smx_err *err)
{
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
        *ret_len = sizeof a->v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(port);
        *ret_len = sizeof a->v6;
        return 0;
    }
    return smx_err_set(err, SMX_E_INVALID, "'%.64s' is not a numeric address", host);
}

static int unix_address(const char *path, union address *a, struct smx_err *err)
{
    memset(a, 0, sizeof *a);
    a->un.sun_family = AF_UNIX;
    if (!*path || !smx_strcpy(a->un.sun_path, sizeof a->un.sun_path, path))
        return smx_err_set(err, SMX_E_INVALID, "the path of a socket has 1 to %zu bytes: '%.128s'",
            sizeof a->un.sun_path - 1, path);
    return 0;
}

static int set_option(int fd, int level, int name)
{
    int on = 1;

    return setsockopt(fd, level, name, &on, sizeof on);
}

/* --- listening --- */

int io_listen_tcp(const char *host, uint16_t port, int *ret_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    union address a;
    socklen_t len;
    int r = parse_host(host, port, &a, &len, err);

    if (r < 0)
        return r;
    fd = socket(a.any.sa_family, SOCK_STREAM | FLAGS, 0);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating a socket");
    set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY); /* accepted sockets inherit it */
    if (a.any.sa_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (bind(fd, &a.any, len) < 0 || listen(fd, BACKLOG) < 0)
        return smx_err_errno(err, errno, "listening on %s port %u", host, (unsigned)port);
    *ret_fd = smx_take_fd(&fd);
    return 0;
}

/* -SMX_E_BUSY when somebody listens there, or when it is no socket; a dead socket is removed. */
static int clear_path(const char *path, const union address *a, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : smx_err_errno(err, errno, "looking at '%s'", path);
    if (!S_ISSOCK(st.st_mode))
        return smx_err_set(err, SMX_E_BUSY, "'%s' exists and is not a socket", path);
    fd = socket(AF_UNIX, SOCK_STREAM | FLAGS, 0);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating a socket");
    if (connect(fd, &a->any, sizeof a->un) == 0 || errno != ECONNREFUSED)
        return smx_err_set(err, SMX_E_BUSY, "another process listens on '%s'", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return smx_err_errno(err, errno, "removing the dead socket '%s'", path);
    return 0;
}

/* The mode is set before bind, so that there is no moment with a wider one, and after it, because
 * bind applies the umask. */
int io_listen_unix(const char *path, mode_t mode, int *ret_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    union address a;
    int r = unix_address(path, &a, err);

    if (r < 0 || (r = clear_path(path, &a, err)) < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | FLAGS, 0);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating a socket");
    if (fchmod(fd, mode) < 0 || bind(fd, &a.any, sizeof a.un) < 0)
        return smx_err_errno(err, errno, "binding '%s'", path);
    if (chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0) {
        r = smx_err_errno(err, errno, "listening on '%s'", path);
        unlink(path);
        return r;
    }
    *ret_fd = smx_take_fd(&fd);
    return 0;
}

int io_local_address(int fd, char *host, size_t size, uint16_t *ret_port, struct smx_err *err)
{
    union address a = { .any = { 0 } };
    socklen_t len = sizeof a;
    const void *raw = &a.v4.sin_addr;

    if (getsockname(fd, &a.any, &len) < 0)
        return smx_err_errno(err, errno, "asking for a socket's address");
    if (a.any.sa_family == AF_INET6)
        raw = &a.v6.sin6_addr;
    else if (a.any.sa_family != AF_INET)
        return smx_err_set(err, SMX_E_INVALID, "the socket has no numeric address");
    if (!inet_ntop(a.any.sa_family, raw, host, (socklen_t)size))
        return smx_err_errno(err, errno, "formatting a socket's address");
    *ret_port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    return 0;
}

/* Failures of one connection that was about to be accepted, not of the listener. */
static bool only_that_connection(int os_errno)
{
    switch (os_errno) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

int io_accept(struct io_fd *listener, int *ret_fd, uint64_t deadline_ns, struct smx_err *err)
{
    int wait;

    io_fair(IO_FAIR_CALL);
    wait = io_check_cancel();
    while (wait == 0) {
        int fd = accept4(listener->fd, NULL, NULL, FLAGS);

        if (fd >= 0) {
            *ret_fd = fd;
            return 0;
        }
        if (errno == EAGAIN) {
            io_read_blocked(listener);
            wait = io_fd_wait(listener, IO_READ, deadline_ns);
        } else if (!only_that_connection(errno)) {
            return smx_err_errno(err, errno, "accepting a connection");
        }
    }
    return io_wait_failed(err, wait, "accepting a connection");
}

/* --- connecting --- */

/* A unix socket whose backlog is full says EAGAIN and offers nothing to wait for. */
int io_connect_unix(const char *path, int *ret_fd, uint64_t deadline_ns, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    union address a;
    int r = unix_address(path, &a, err);

    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | FLAGS, 0);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating a socket");
    r = io_check_cancel();
    while (r == 0 && connect(fd, &a.any, sizeof a.un) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return smx_err_errno(err, errno, "connecting to '%s'", path);
        r = smx_now_ns() >= deadline_ns ? -SMX_E_TIMEOUT
                                        : io_sleep_until(smx_now_ns() + UNIX_RETRY_NS);
    }
    if (r < 0)
        return io_wait_failed(err, r, "connecting");
    *ret_fd = smx_take_fd(&fd);
    return 0;
}

/* Takes fd; gives it back in *ret_fd once the connection stands. */
static int finish_connect(int fd, int *ret_fd, uint64_t deadline_ns, struct smx_err *err)
{
    socklen_t len = sizeof(int);
    struct io_fd f;
    int r = io_fd_init(&f, fd, err), so_error = 0;

    if (r < 0)
        return r;
    r = io_fd_wait(&f, IO_WRITE, deadline_ns);
    if (r < 0)
        r = io_wait_failed(err, r, "connecting");
    else if (getsockopt(f.fd, SOL_SOCKET, SO_ERROR, &so_error, &len) < 0 || so_error != 0)
        r = smx_err_errno(err, so_error ? so_error : errno, "connecting");
    if (r == 0)
        *ret_fd = io_fd_take(&f);
    io_fd_done(&f);
    return r;
}

int io_connect_tcp(
    const char *host, uint16_t port, int *ret_fd, uint64_t deadline_ns, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    union address a;
    socklen_t len;
    int r = parse_host(host, port, &a, &len, err);

    if (r < 0)
        return r;
    fd = socket(a.any.sa_family, SOCK_STREAM | FLAGS, 0);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating a socket");
    set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    if (connect(fd, &a.any, len) < 0 && errno != EINPROGRESS && errno != EINTR)
        return smx_err_errno(err, errno, "connecting to %s port %u", host, (unsigned)port);
    return finish_connect(smx_take_fd(&fd), ret_fd, deadline_ns, err);
}
