/* copy.c - moving bytes between descriptors without looking at them: by splice through a pipe where
 * the kernel can, else through the loop's scratch buffer. While nothing moves neither is held: an
 * idle copy costs no pipe and no buffer. Bytes that were read and cannot be written yet stay in the
 * pipe, or in a heap copy of just them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "io/priv.h"

enum { PIPE_BYTES = SMX_FIBER_YIELD_BYTES };

struct copy {
    struct io_fd *to, *from;
    uint64_t idle_ms;
    struct smx_err *err;
    bool by_splice;
    int pipe[2];  /* -1: none */
    size_t piped; /* bytes in it */
};

/* --- pipes --- */

static int pipe_get(struct copy *c)
{
    struct io_loop *loop = io_loop_self();

    if (c->pipe[0] >= 0)
        return 0;
    loop->copied = true;
    if (loop->npipes > 0) {
        loop->npipes--;
        c->pipe[0] = loop->pipes[loop->npipes][0];
        c->pipe[1] = loop->pipes[loop->npipes][1];
        return 0;
    }
    if (pipe2(c->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    fcntl(c->pipe[1], F_SETPIPE_SZ, PIPE_BYTES); /* as it is when that is refused */
    return 0;
}

static void pipe_put(struct copy *c)
{
    struct io_loop *loop = io_loop_self();

    if (c->pipe[0] >= 0 && c->piped == 0 && loop->npipes < IO_PIPES) {
        loop->pipes[loop->npipes][0] = c->pipe[0];
        loop->pipes[loop->npipes][1] = c->pipe[1];
        loop->npipes++;
    } else {
        smx_close(c->pipe[0]);
        smx_close(c->pipe[1]);
    }
    c->pipe[0] = c->pipe[1] = -1;
}

void io_copy_trim(struct io_loop *loop)
{
    while (loop->npipes > 0) {
        loop->npipes--;
        smx_close(loop->pipes[loop->npipes][0]);
        smx_close(loop->pipes[loop->npipes][1]);
    }
    smx_free(loop->scratch);
    loop->scratch = NULL;
}

/* --- waiting --- */

/* For bytes; a receiver that is gone ends the wait, too. */
static int wait_from(struct copy *c)
{
    int r;

    pipe_put(c);
    io_read_blocked(c->from);
    r = io_fd_wait2(c->from, IO_READ, c->to, IO_BROKEN, smx_deadline_in_ms(c->idle_ms));
    if (r < 0)
        return io_wait_failed(c->err, r, "waiting for data to copy");
    if (c->to->ready & IO_BROKEN)
        return smx_err_set(c->err, SMX_E_CLOSED, "the receiver of a copy is gone");
    return 0;
}

static int wait_to(struct copy *c)
{
    int r;

    io_write_blocked(c->to);
    r = io_fd_wait(c->to, IO_WRITE, smx_deadline_in_ms(c->idle_ms));
    return r < 0 ? io_wait_failed(c->err, r, "waiting to write a copy") : 0;
}

/* --- through the scratch buffer --- */

char *io_scratch(void)
{
    struct io_loop *loop = io_loop_self();

    loop->copied = true;
    if (!loop->scratch)
        loop->scratch = smx_alloc(IO_SCRATCH);
    return loop->scratch;
}

/* Writes n bytes of scratch. What does not fit at once moves to the heap before others run. */
static int write_scratch(struct copy *c, size_t n)
{
    const char *data = io_scratch();
    SMX_CLEANUP(smx_freep) char *rest = NULL;
    ssize_t done = 1;

    while (n > 0 && done > 0) {
        done = io_try_write(c->to, data, n);
        if (done < 0 && errno != EAGAIN && errno != EINTR)
            return smx_err_errno(c->err, errno, "writing a copy");
        data += SMX_MAX(done, 0);
        n -= (size_t)SMX_MAX(done, 0);
    }
    if (n == 0)
        return 0;
    rest = smx_alloc(n);
    if (!rest)
        return smx_err_oom(c->err);
    memcpy(rest, data, n);
    return io_write(c->to, rest, n, c->idle_ms, c->err);
}

/* One piece through the buffer, out of the pipe if there is something in it: bytes moved, 0 at EOF.
 */
static ssize_t copy_piece(struct copy *c, uint64_t n)
{
    bool from_pipe = c->piped > 0;
    char *data = io_scratch();
    int r = data ? 0 : smx_err_oom(c->err);
    size_t room = (size_t)SMX_MIN(from_pipe ? c->piped : n, (uint64_t)IO_SCRATCH);

    while (r == 0) {
        ssize_t got = from_pipe ? read(c->pipe[0], data, room) : io_try_read(c->from, data, room);

        if (got >= 0) {
            if (from_pipe)
                c->piped -= (size_t)got;
            else
                io_read_moved(c->from, (size_t)got, room);
            r = got > 0 ? write_scratch(c, (size_t)got) : 0;
            return r < 0 ? r : got;
        }
        if (errno == EAGAIN)
            r = wait_from(c);
        else if (errno != EINTR)
            return smx_err_errno(c->err, errno, "reading a copy");
    }
    return r;
}

/* --- by splice --- */

/* Fills the empty pipe: bytes, 0 at EOF, or an error; -SMX_E_UNSUPPORTED when the kernel cannot. */
static ssize_t fill_pipe(struct copy *c, uint64_t n)
{
    int r = 0;

    while (r == 0) {
        ssize_t got;

        if (pipe_get(c) < 0)
            return -SMX_E_UNSUPPORTED;
        got = splice(c->from->fd, NULL, c->pipe[1], NULL, (size_t)SMX_MIN(n, (uint64_t)PIPE_BYTES),
            SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (got >= 0) {
            c->piped = (size_t)got;
            io_read_moved(c->from, /* moved= */ 1, /* asked= */ 1); /* a pipe may just be full */
            return got;
        }
        if (errno == EINVAL)
            return -SMX_E_UNSUPPORTED;
        if (errno == EAGAIN)
            r = wait_from(c);
        else if (errno != EINTR)
            return smx_err_errno(c->err, errno, "splicing in");
    }
    return r;
}

static int drain_pipe(struct copy *c)
{
    int r = 0;

    while (r == 0 && c->piped > 0) {
        ssize_t put =
            splice(c->pipe[0], NULL, c->to->fd, NULL, c->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

        if (put > 0)
            c->piped -= (size_t)put;
        else if (put == 0 || errno == EINVAL)
            return -SMX_E_UNSUPPORTED;
        else if (errno == EAGAIN)
            r = wait_to(c);
        else if (errno != EINTR)
            return smx_err_errno(c->err, errno, "splicing out");
    }
    return r;
}

static ssize_t splice_piece(struct copy *c, uint64_t n)
{
    ssize_t got = fill_pipe(c, n), left;
    int r;

    if (got <= 0)
        return got;
    r = drain_pipe(c);
    if (r != -SMX_E_UNSUPPORTED)
        return r < 0 ? r : got;
    c->by_splice = false;
    while (c->piped > 0)
        if ((left = copy_piece(c, n)) < 0)
            return left;
    return got;
}

static ssize_t piece(struct copy *c, uint64_t n)
{
    int cancelled = io_check_cancel();

    if (cancelled < 0)
        return io_wait_failed(c->err, cancelled, "copying");
    if (c->by_splice) {
        ssize_t r = splice_piece(c, n);

        if (r != -SMX_E_UNSUPPORTED)
            return r;
        c->by_splice = false;
    }
    return copy_piece(c, n);
}

int64_t io_copy(
    struct io_fd *to, struct io_fd *from, uint64_t n, uint64_t idle_ms, struct smx_err *err)
{
    struct copy c = { .to = to,
        .from = from,
        .idle_ms = idle_ms,
        .err = err,
        .by_splice = !to->filter_ops && !from->filter_ops && !io_fd_distrusted(from),
        .pipe = { -1, -1 } };
    uint64_t moved = 0;
    ssize_t r = 1;

    while (moved < n && r > 0) {
        r = piece(&c, n - moved);
        if (r > 0) {
            moved += (uint64_t)r;
            io_fair((size_t)r + IO_FAIR_CALL);
        }
    }
    pipe_put(&c);
    return r < 0 ? r : (int64_t)moved;
}
