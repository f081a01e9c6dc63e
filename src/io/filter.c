/* filter.c - bytes that pass through a filter on their way to and from a descriptor, and the calls
 * that do not wait, with or without one.
 *
 * epoll knows nothing of what a filter holds, and bytes on the wire need not be bytes for us. So a
 * wait for IO_READ asks the filter itself: it reads one byte, which the next read gives first. An
 * end or an error that comes up on the way is kept, and given as often as it is asked for. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/foreign.h"
#include "base/mem.h"
#include "io/priv.h"

enum { NONE = -1, END = -1, GATHER = 16384 };

void io_fd_filter(struct io_fd *f, const struct io_filter_ops *ops, void *filter)
{
    assert(f->fd >= 0 && !f->filter_ops);
    f->filter_ops = ops;
    f->filter = filter;
    f->peeked = NONE;
    f->ended = 0;
    if (!(f->ready & IO_READ))
        f->ready |= IO_READ_MAYBE; /* the filter may hold bytes already */
}

void io_filter_done(struct io_fd *f)
{
    const struct io_filter_ops *ops = f->filter_ops;

    f->filter_ops = NULL;
    if (ops && ops->free)
        ops->free(f->filter);
    f->filter = NULL;
}

/* --- reading --- */

static ssize_t filter_read(struct io_fd *f, void *data, size_t n)
{
    ssize_t r;

    if (f->ended) {
        errno = f->ended == END ? 0 : f->ended;
        return f->ended == END ? 0 : -1;
    }
    do
        r = f->filter_ops->read(f->filter, data, n);
    while (r < 0 && errno == EINTR);
    if (r == 0 && n > 0)
        f->ended = END;
    else if (r < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        f->ended = errno;
    return r;
}

static ssize_t after_peeked(struct io_fd *f, char *data, size_t n)
{
    ssize_t r = 0;

    if (n == 0)
        return 0;
    data[0] = (char)f->peeked;
    f->peeked = NONE;
    if (n > 1)
        r = filter_read(f, data + 1, n - 1);
    return 1 + SMX_MAX(r, 0);
}

/* Like recv(2). */
ssize_t io_recv_hostile(struct io_fd *f, void *data, size_t n, int *ret_fd)
{
    ssize_t r = smx_recv_foreign(f->fd, data, n, ret_fd);

    if (r >= 0)
        return r;
    errno = (int)-r;
    return -1;
}

ssize_t io_try_read(struct io_fd *f, void *data, size_t n)
{
    if (f->ready & IO_HOSTILE && !f->filter_ops)
        return io_recv_hostile(f, data, n, /* ret_fd= */ NULL);
    if (!f->filter_ops)
        return f->ready & IO_SOCKET ? recv(f->fd, data, n, 0) : read(f->fd, data, n);
    if (f->peeked != NONE)
        return after_peeked(f, data, n);
    return filter_read(f, data, n);
}

bool io_filter_readable(struct io_fd *f)
{
    unsigned char byte;
    ssize_t r;

    if (io_filter_holds(f))
        return true;
    if (!(f->ready & (IO_READ | IO_READ_MAYBE)))
        return false;
    r = filter_read(f, &byte, 1);
    if (r > 0)
        f->peeked = byte;
    if (r >= 0 || f->ended)
        return true;
    io_read_blocked(f);
    return false;
}

/* --- writing --- */

ssize_t io_try_write(struct io_fd *f, const void *data, size_t n)
{
    if (!f->filter_ops)
        return f->ready & IO_SOCKET ? send(f->fd, data, n, MSG_NOSIGNAL) : write(f->fd, data, n);
    return f->filter_ops->write(f->filter, data, n);
}

/* Small pieces go out as one, up to what makes a TLS record: the same vector gives the same bytes
 * again after EAGAIN. Without memory the first piece goes alone. */
static ssize_t gather(struct io_fd *f, const struct iovec *iov, size_t count)
{
    char *room = io_scratch();
    size_t n = 0;

    for (size_t i = 0; room && i < count && n < GATHER; i++) {
        size_t part = SMX_MIN(iov[i].iov_len, GATHER - n);

        memcpy(room + n, iov[i].iov_base, part);
        n += part;
    }
    return room ? io_try_write(f, room, n) : io_try_write(f, iov->iov_base, iov->iov_len);
}

ssize_t io_try_writev(struct io_fd *f, const struct iovec *iov, size_t count)
{
    if (count == 1 || (f->filter_ops && iov->iov_len >= GATHER))
        return io_try_write(f, iov->iov_base, iov->iov_len);
    if (f->filter_ops)
        return gather(f, iov, count);
    return writev(f->fd, iov, (int)SMX_MIN(count, (size_t)IOV_MAX));
}

int io_close_write(struct io_fd *f)
{
    int r = 0;

    if (!f->filter_ops)
        r = shutdown(f->fd, SHUT_WR);
    else if (f->filter_ops->close_write)
        r = f->filter_ops->close_write(f->filter);
    return r < 0 ? -SMX_E_CLOSED : 0;
}
