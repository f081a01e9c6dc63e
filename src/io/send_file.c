/* send_file.c - a regular file to a socket, by sendfile. The page cache answers at memory's speed,
 * a disk does not, and there is no asking which it will be: the kernel cannot tell for overlay. So
 * the first piece, and each one that follows a slow one, is moved by a worker, the others by the
 * loop. Where sendfile does not work (a filter, most of all) bytes are read and written. */
#include <errno.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/priv.h"

enum { PIECE = SMX_FIBER_YIELD_BYTES, SLOW_NS = 1000 * 1000 };

struct sending {
    struct io_fd *to, *watch;
    int file;
    off_t at;
    uint64_t left, idle_ms;
    char *copy; /* PIECE bytes: sendfile does not work here; else NULL */
    bool slow;
    /* of one piece */
    size_t ask;
    ssize_t moved;
    int os_errno;
};

/* On the loop or on a worker: touches nothing but *arg. */
static void move_piece(void *arg)
{
    struct sending *s = arg;
    uint64_t begun = smx_now_ns();
    off_t at = s->at;

    s->moved =
        s->copy ? pread(s->file, s->copy, s->ask, at) : sendfile(s->to->fd, s->file, &at, s->ask);
    s->os_errno = s->moved < 0 ? errno : 0;
    s->slow = smx_now_ns() - begun > SLOW_NS;
}

static int wait_to(struct sending *s, struct smx_err *err)
{
    int r;

    io_write_blocked(s->to);
    r = s->watch ? io_fd_wait2(s->to, IO_WRITE, s->watch, IO_HUP, smx_deadline_in_ms(s->idle_ms))
                 : io_fd_wait(s->to, IO_WRITE, smx_deadline_in_ms(s->idle_ms));
    return r < 0 ? io_wait_failed(err, r, "waiting to send a file") : 0;
}

static int use_copy(struct sending *s, struct smx_err *err)
{
    s->copy = smx_alloc(PIECE);
    return s->copy ? 0 : smx_err_oom(err);
}

/* What a piece came to: 0 go on, or a negative code. */
static int take_result(struct sending *s, struct smx_err *err)
{
    if (s->moved == 0)
        return smx_err_set(err, SMX_E_CLOSED, "the file became shorter while it was sent");
    if (s->moved > 0) {
        int r = s->copy ? io_write(s->to, s->copy, (size_t)s->moved, s->idle_ms, err) : 0;

        s->at += s->moved;
        s->left -= (uint64_t)s->moved;
        io_fair((size_t)s->moved + IO_FAIR_CALL);
        return r;
    }
    if (s->os_errno == EINTR)
        return 0;
    if (s->os_errno == EAGAIN && !s->copy)
        return wait_to(s, err);
    if ((s->os_errno == EINVAL || s->os_errno == ENOSYS) && !s->copy)
        return use_copy(s, err);
    return smx_err_errno(err, s->os_errno, "sending a file");
}

static int send_piece(struct sending *s, struct smx_err *err)
{
    int r = io_check_cancel();

    if (r < 0)
        return io_wait_failed(err, r, "sending a file");
    if (s->watch && s->watch->ready & IO_HUP)
        return smx_err_set(err, SMX_E_CLOSED, "whom the file belongs to is gone");
    s->ask = (size_t)SMX_MIN(s->left, (uint64_t)PIECE);
    if (s->slow)
        r = io_work(move_piece, s, err);
    else
        move_piece(s);
    return r < 0 ? r : take_result(s, err);
}

int io_send_file(struct io_fd *to, int file, uint64_t offset, uint64_t n, struct io_fd *watch,
    uint64_t idle_ms, struct smx_err *err)
{
    struct sending s = { .to = to,
        .watch = watch,
        .file = file,
        .at = (off_t)offset,
        .left = n,
        .idle_ms = idle_ms,
        .slow = true };
    int r = to->filter_ops ? use_copy(&s, err) : 0;

    while (r == 0 && s.left > 0)
        r = send_piece(&s, err);
    smx_free(s.copy);
    return r;
}
