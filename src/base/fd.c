/* fd.c - see fd.h. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_STEP = 4096, PATH_LIMIT = 4096 };

void smx_close(int fd)
{
    int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = saved;
}

static int set_flag(int fd, int get, int set, int flag, bool on, struct smx_err *err)
{
    int flags = fcntl(fd, get);

    if (flags < 0 || fcntl(fd, set, on ? flags | flag : flags & ~flag) < 0)
        return smx_err_errno(err, errno, "changing flags of descriptor %d", fd);
    return 0;
}

int smx_fd_set_nonblock(int fd, bool on, struct smx_err *err)
{
    return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on, err);
}

int smx_fd_set_cloexec(int fd, bool on, struct smx_err *err)
{
    return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on, err);
}

ssize_t smx_read_full(int fd, void *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = read(fd, (char *)data + done, n - done);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

int smx_write_full(int fd, const void *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = write(fd, (const char *)data + done, n - done);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        done += (size_t)r;
    }
    return 0;
}

/* Reads the next piece: its length, 0 at the end, or an error. A full buffer must be at the end. */
static ssize_t read_piece(int fd, const char *path, struct smx_buf *buf, struct smx_err *err)
{
    size_t room = SMX_MIN(buf->max - buf->len, (size_t)READ_STEP);
    char probe, *dst = &probe;
    ssize_t n;

    if (room > 0 && smx_buf_reserve(buf, room) < 0)
        return smx_err_oom(err);
    if (room > 0)
        dst = buf->data + buf->len;
    do
        n = read(fd, dst, room > 0 ? room : 1);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return smx_err_errno(err, errno, "reading '%s'", path);
    if (n > 0 && room == 0)
        return smx_err_set(err, SMX_E_TOO_LARGE, "'%s' is larger than %zu bytes", path, buf->max);
    buf->len += (size_t)n;
    return n;
}

int smx_read_file_at(int dirfd, const char *path, struct smx_buf *buf, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return smx_err_errno(err, errno, "opening '%s'", path);
    do
        n = read_piece(fd, path, buf, err);
    while (n > 0);
    if (buf->data)
        buf->data[buf->len] = '\0';
    return (int)n;
}

static int sync_parent(int dirfd, const char *path)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    char dir[PATH_LIMIT];
    const char *slash = strrchr(path, '/');
    int len = slash ? (int)(slash - path) : 1;

    snprintf(dir, sizeof dir, "%.*s", len ? len : 1, slash ? path : ".");
    fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int smx_write_file_atomic_at(
    int dirfd, const char *path, const void *data, size_t n, mode_t mode, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    char tmp[PATH_LIMIT];
    int r;

    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
        return smx_err_set(err, SMX_E_INVALID, "the path of '%.64s...' is too long", path);
    fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating '%s'", tmp);
    r = smx_write_full(fd, data, n);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
        r = -errno;
    if (r == 0)
        r = sync_parent(dirfd, path);
    if (r < 0) {
        unlinkat(dirfd, tmp, 0);
        return smx_err_errno(err, -r, "writing '%s'", path);
    }
    return 0;
}

int smx_write_node_at(int dirfd, const char *path, const char *text, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
    size_t n = strlen(text);

    if (fd < 0)
        return smx_err_errno(err, errno, "opening '%s'", path);
    if (write(fd, text, n) != (ssize_t)n)
        return smx_err_errno(err, errno ? errno : EIO, "writing '%.32s' to '%s'", text, path);
    return 0;
}

union fd_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(SMX_FDS_MAX * sizeof(int))];
};

ssize_t smx_send_fds(int sock, const void *data, size_t n, const int *fds, size_t nfds)
{
    union fd_control control = { 0 };
    struct iovec iov = { .iov_base = (void *)(size_t)data, .iov_len = n };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t r;

    if (nfds > SMX_FDS_MAX)
        return -EINVAL;
    if (nfds > 0) {
        struct cmsghdr *c;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    do
        r = sendmsg(sock, &msg, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static void take_fds(struct msghdr *msg, int *fds, size_t room, size_t *nfds)
{
    *nfds = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (*nfds < room)
                fds[(*nfds)++] = fd;
            else
                smx_close(fd);
        }
    }
}

ssize_t smx_recv_fds(int sock, void *data, size_t n, int *fds, size_t *nfds)
{
    union fd_control control;
    struct iovec iov = { .iov_base = data, .iov_len = n };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes };
    size_t room = *nfds;
    ssize_t r;

    msg.msg_controllen = sizeof control.bytes;
    *nfds = 0;
    do
        r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    take_fds(&msg, fds, room, nfds);
    return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : r;
}
