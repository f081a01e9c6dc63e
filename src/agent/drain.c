/* drain.c - the fiber that drops output. Its epoll is nested in the loop's: the loop sees one
 * descriptor that is readable when any pipe is. */
#include "agent/drain.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

enum { BATCH = 32, ROUNDS = 4 };

struct drain_entry {
    struct smx_list node;
    int fd;
    struct drain_entry **owner;
};

static char sink[16 * 1024];

/* Leaves the epoll by name: a child that is between fork and exec holds a copy of the descriptor,
 * and closing ours would leave a registration behind that points at freed memory. */
static void entry_end(struct drain *d, struct drain_entry *e)
{
    if (e->fd >= 0)
        epoll_ctl(d->epoll.fd, EPOLL_CTL_DEL, e->fd, /* event= */ NULL);
    if (e->owner)
        *e->owner = NULL;
    smx_list_del(&e->node);
    smx_close(e->fd);
    smx_free(e);
}

/* False when the pipe is at its end. */
static bool drop(struct drain_entry *e)
{
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t n = read(e->fd, sink, sizeof sink);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (n < (ssize_t)sizeof sink)
            break;
    }
    return true;
}

static void drain_fiber(void *arg)
{
    struct drain *d = arg;
    struct io_wait w = { .fd = &d->epoll, .events = IO_READ };
    struct epoll_event ready[BATCH];

    while (io_wait(&w, 1, SMX_FOREVER) >= 0) {
        int n = epoll_wait(d->epoll.fd, ready, BATCH, 0);

        if (n <= 0)
            d->epoll.ready &= ~(unsigned)IO_READ;
        for (int i = 0; i < n; i++) {
            struct drain_entry *e = ready[i].data.ptr;

            if (!drop(e))
                entry_end(d, e);
        }
        io_fair(sizeof sink);
    }
    SMX_LIST_FOREACH_SAFE(it, &d->entries)
        entry_end(d, SMX_LIST_ENTRY(it, struct drain_entry, node));
    io_fd_done(&d->epoll);
}

int drain_start(struct drain *d, struct io_loop *loop, struct smx_err *err)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    int r;

    smx_list_init(&d->entries);
    if (fd < 0)
        return smx_err_errno(err, errno, "making an epoll descriptor");
    r = io_fd_init(&d->epoll, fd, err);
    if (r < 0)
        return r;
    return io_fiber_spawn(loop, "drain", drain_fiber, d, /* ret_fiber= */ NULL, err);
}

void drain_add(struct drain *d, int fd, struct drain_entry **owner)
{
    struct drain_entry *e = smx_alloc(sizeof *e);
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = e };

    if (owner)
        *owner = e;
    if (!e) {
        smx_close(fd);
        return;
    }
    *e = (struct drain_entry){ .fd = fd, .owner = owner };
    smx_list_add(&d->entries, &e->node);
    if (epoll_ctl(d->epoll.fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        entry_end(d, e);
}

int drain_take(struct drain *d, struct drain_entry *e)
{
    int fd = smx_take_fd(&e->fd);

    epoll_ctl(d->epoll.fd, EPOLL_CTL_DEL, fd, /* event= */ NULL);
    entry_end(d, e);
    return fd;
}

void drain_forget(struct drain_entry *e)
{
    e->owner = NULL;
}
