/* watch.c - the ends of pid 1 of every sandbox. The pidfds are in one epoll of their own, which is
 * one descriptor on the loop with one fiber: a sandbox that idles costs no fiber. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/log.h"
#include "engine/engine.h"

enum { WATCH_BATCH = 64 };

int watch_add(struct box *b, struct smx_err *err)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = b };

    if (epoll_ctl(b->e->watch.fd, EPOLL_CTL_ADD, b->pidfd, &ev) < 0 && errno != EEXIST)
        return smx_err_errno(err, errno, "watching a process");
    return 0;
}

void watch_remove(struct box *b)
{
    if (b->pidfd < 0)
        return;
    epoll_ctl(b->e->watch.fd, EPOLL_CTL_DEL, b->pidfd, NULL);
    smx_close(smx_take_fd(&b->pidfd));
}

static void reap(struct box *b)
{
    siginfo_t info = { 0 };

    if (b->ours && waitid(P_PIDFD, (id_t)b->pidfd, &info, WEXITED | WNOHANG) == 0) {
        b->exit_code = info.si_code;
        b->exit_status = info.si_status;
    }
    watch_remove(b);
    io_event_set(&b->ended);
    if (b->waits)
        ready_ended(b);
    else
        box_finish_later(b);
}

static void watch_main(void *arg)
{
    struct engine *e = arg;
    struct epoll_event ev[WATCH_BATCH];
    struct io_wait w = { .fd = &e->watch, .events = IO_READ };

    while (io_wait(&w, 1, SMX_FOREVER) >= 0) {
        int n;

        while ((n = epoll_wait(e->watch.fd, ev, WATCH_BATCH, 0)) > 0)
            for (int i = 0; i < n; i++)
                reap(ev[i].data.ptr);
    }
}

int watch_start(struct engine *e, struct smx_err *err)
{
    int fd = epoll_create1(EPOLL_CLOEXEC), r;

    if (fd < 0)
        return smx_err_errno(err, errno, "making an epoll");
    r = io_fd_init(&e->watch, fd, err);
    if (r < 0)
        return r;
    return io_fiber_spawn(e->loop, "watch", watch_main, e, NULL, err);
}
