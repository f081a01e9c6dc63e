/* rw.c - reading and writing. Each call tries the system call first and waits only after EAGAIN. A
 * fiber that never has to wait yields now and then (io_fair). */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "io/priv.h"

/* Before an attempt: cancellation and fairness. */
static int begin(void)
{
    io_fair(IO_FAIR_CALL);
    return io_check_cancel();
}

static bool would_block(int os_errno)
{
    return os_errno == EAGAIN || os_errno == EWOULDBLOCK;
}

void io_read_blocked(struct io_fd *f)
{
    f->ready &= ~(unsigned)(IO_READ | IO_READ_MAYBE);
}

void io_write_blocked(struct io_fd *f)
{
    f->ready &= ~(unsigned)(IO_WRITE | IO_WRITE_MAYBE);
}

/* A stream that gave less than was asked is drained, unless its end is near: then there is an EOF
 * to read. A filter says itself when it has no more. */
void io_read_moved(struct io_fd *f, size_t moved, size_t asked)
{
    if (f->ready & (IO_HUP | IO_ALWAYS) || f->filter_ops)
        return;
    io_read_blocked(f);
    if (moved == asked || !(f->ready & IO_STREAM))
        f->ready |= IO_READ_MAYBE;
}

static ssize_t try_read(struct io_fd *f, void *data, size_t n, int *ret_fd)
{
    return ret_fd ? io_recv_hostile(f, data, n, ret_fd) : io_try_read(f, data, n);
}

ssize_t io_read_passed(
    struct io_fd *f, void *data, size_t n, int *ret_fd, uint64_t deadline_ns, struct smx_err *err)
{
    int wait = begin();

    while (wait == 0) {
        ssize_t r = -1;

        errno = EAGAIN;
        if (f->ready & (IO_READ | IO_READ_MAYBE) || io_filter_holds(f))
            r = try_read(f, data, n, ret_fd);
        if (r >= 0) {
            io_read_moved(f, ret_fd ? n : (size_t)r, n); /* it ends where descriptors are */
            io_fiber_self()->bytes += (size_t)r;
            return r;
        }
        if (would_block(errno)) {
            io_read_blocked(f);
            wait = io_fd_wait(f, IO_READ, deadline_ns);
        } else if (errno != EINTR) {
            return smx_err_errno(err, errno, "reading");
        }
    }
    return io_wait_failed(err, wait, "reading");
}

ssize_t io_read(struct io_fd *f, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err)
{
    return io_read_passed(f, data, n, /* ret_fd= */ NULL, deadline_ns, err);
}

int io_write(struct io_fd *f, const void *data, size_t n, uint64_t idle_ms, struct smx_err *err)
{
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = n };

    return io_writev(f, &iov, 1, idle_ms, err);
}

/* Drops n bytes from the front of the vector. */
static void consume(struct iovec **iov, size_t *count, size_t n)
{
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        ++*iov;
        --*count;
    }
    if (n > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

int io_writev(struct io_fd *f, struct iovec *iov, size_t n, uint64_t idle_ms, struct smx_err *err)
{
    int wait = begin();

    consume(&iov, &n, 0);
    while (n > 0 && wait == 0) {
        ssize_t r = io_try_writev(f, iov, n);

        if (r >= 0) {
            consume(&iov, &n, (size_t)r);
            io_fair((size_t)r);
            wait = n > 0 ? io_check_cancel() : 0;
        } else if (would_block(errno)) {
            io_write_blocked(f);
            wait = io_fd_wait(f, IO_WRITE, smx_deadline_in_ms(idle_ms));
        } else if (errno != EINTR) {
            return smx_err_errno(err, errno, "writing");
        }
    }
    return wait < 0 ? io_wait_failed(err, wait, "writing") : 0;
}

ssize_t io_recv_fds(struct io_fd *f, void *data, size_t n, int *fds, size_t *nfds,
    uint64_t deadline_ns, struct smx_err *err)
{
    size_t room = *nfds;
    int wait = begin();

    while (wait == 0) {
        ssize_t r;

        *nfds = room;
        r = smx_recv_fds(f->fd, data, n, fds, nfds);
        if (r >= 0) {
            io_read_moved(f, n, n); /* it ends where descriptors are: there may be more */
            io_fiber_self()->bytes += (size_t)r;
            return r;
        }
        if (!would_block((int)-r)) {
            while (*nfds > 0)
                smx_close(fds[--*nfds]);
            return smx_err_errno(err, (int)-r, "receiving a message");
        }
        io_read_blocked(f);
        wait = io_fd_wait(f, IO_READ, deadline_ns);
    }
    *nfds = 0;
    return io_wait_failed(err, wait, "receiving a message");
}

int io_send_fds(struct io_fd *f, const void *data, size_t n, const int *fds, size_t nfds,
    uint64_t deadline_ns, struct smx_err *err)
{
    int wait = begin();

    while (wait == 0) {
        ssize_t r = smx_send_fds(f->fd, data, n, fds, nfds);

        if (r >= 0)
            return 0;
        if (!would_block((int)-r))
            return smx_err_errno(err, (int)-r, "sending a message");
        io_write_blocked(f);
        wait = io_fd_wait(f, IO_WRITE, deadline_ns);
    }
    return io_wait_failed(err, wait, "sending a message");
}
