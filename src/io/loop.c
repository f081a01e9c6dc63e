/* loop.c - the epoll loop. Each turn runs the ready fibers, asks epoll once (edge-triggered events
 * are latched in their io_fd and wake who waits for them; no user code runs in between, so the
 * pointers epoll gives are alive), then fires the timers that are due. With nothing to run it
 * sleeps in epoll until the next deadline. One thread owns a loop. */
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "io/priv.h"

/* Fibers run between two looks at epoll: a look costs much more than a switch. */
enum { TURN_FIBERS = 64, TURN_EVENTS = 128, TRIM_PERIOD_NS = 1000000000 };

static _Thread_local struct io_loop *running;

struct io_loop *io_loop_self(void)
{
    return running;
}

struct io_fiber *io_fiber_self(void)
{
    return running ? running->current : NULL;
}

/* A write to a closed pipe or socket is an error code here, never a signal. */
static void ignore_sigpipe(void)
{
    struct sigaction sa = { .sa_handler = SIG_IGN };

    sigaction(SIGPIPE, &sa, NULL);
}

int io_loop_new(struct io_loop **ret_loop, struct smx_err *err)
{
    SMX_CLEANUP(io_loop_freep) struct io_loop *loop = smx_alloc(sizeof *loop);

    if (!loop)
        return smx_err_oom(err);
    smx_list_init(&loop->ready);
    smx_list_init(&loop->fibers);
    smx_list_init(&loop->wake.waiters);
    loop->wake.fd = -1;
    loop->trim_period_ns = TRIM_PERIOD_NS;
    loop->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epfd < 0)
        return smx_err_errno(err, errno, "creating an epoll descriptor");
    ignore_sigpipe();
    *ret_loop = smx_take(&loop);
    return 0;
}

static void run_ready(struct io_loop *loop)
{
    for (int n = 0; n < TURN_FIBERS && !smx_list_empty(&loop->ready); n++) {
        struct smx_list *node = loop->ready.next;

        smx_list_del(node);
        io_fiber_resume(loop, SMX_LIST_ENTRY(node, struct io_fiber, ready));
    }
}

static bool has_spare(const struct io_loop *loop)
{
    return loop->stacks.nwarm + loop->stacks.ncold + loop->npipes > 0 || loop->scratch ||
           loop->heap_trim > 0;
}

/* Called when the loop is about to sleep. Once a period, and no more when nothing is left to give
 * back: then the loop sleeps for good. */
static void trim(struct io_loop *loop, uint64_t now)
{
    if (loop->trim_ns != 0 && now >= loop->trim_ns) {
        loop->trim_ns = 0;
        io_stacks_trim(&loop->stacks);
        if (!loop->copied)
            io_copy_trim(loop);
        loop->copied = false;
        if (loop->heap_trim > 0 && --loop->heap_trim == 0)
            malloc_trim(0);
    }
    if (loop->trim_ns == 0 && has_spare(loop))
        loop->trim_ns = now + loop->trim_period_ns;
}

/* Until when epoll may sleep: false for as long as it takes. */
static bool sleep_time(struct io_loop *loop, struct timespec *ret)
{
    uint64_t now = smx_now_ns(), until = io_heap_next(&loop->heap);

    trim(loop, now);
    if (loop->trim_ns != 0)
        until = SMX_MIN(until, loop->trim_ns);
    if (until == SMX_FOREVER)
        return false;
    until = until > now ? until - now : 0;
    *ret = (struct timespec){ (time_t)(until / SMX_NS_PER_S), (long)(until % SMX_NS_PER_S) };
    return true;
}

static int ask_epoll(struct io_loop *loop, struct epoll_event *events)
{
    struct timespec ts = { 0 };
    bool limited = true;

    if (smx_list_empty(&loop->ready))
        limited = sleep_time(loop, &ts);
    return epoll_pwait2(loop->epfd, events, TURN_EVENTS, limited ? &ts : NULL, NULL);
}

static int turn(struct io_loop *loop, struct smx_err *err)
{
    struct epoll_event events[TURN_EVENTS];
    int n = ask_epoll(loop, events);

    if (n < 0 && errno != EINTR)
        return smx_err_errno(err, errno, "waiting for events");
    for (int i = 0; i < n; i++)
        io_fd_latch(events[i].data.ptr, events[i].events);
    if (loop->wake.ready & IO_READ)
        io_pool_collect(loop);
    if (loop->heap.count > 0)
        io_heap_expire(&loop->heap, smx_now_ns());
    return 0;
}

static int run(struct io_loop *loop, struct smx_err *err)
{
    int r = 0;

    assert(!running);
    running = loop;
    io_context_init_self(&loop->context);
    while (r == 0 && !loop->stop) {
        run_ready(loop);
        if (loop->nfibers == 0)
            break;
        if (!loop->stop)
            r = turn(loop, err);
    }
    running = NULL;
    loop->stop = false;
    return r;
}

int io_loop_run(struct io_loop *loop, struct smx_err *err)
{
    return run(loop, err);
}

void io_loop_stop(struct io_loop *loop)
{
    loop->stop = true;
}

static void end_fibers(struct io_loop *loop)
{
    loop->closing = true;
    loop->stop = false;
    SMX_LIST_FOREACH(node, &loop->fibers)
        io_fiber_cancel(SMX_LIST_ENTRY(node, struct io_fiber, all));
    while (loop->nfibers > 0 && run(loop, /* err= */ NULL) == 0)
        ;
}

void io_loop_free(struct io_loop *loop)
{
    if (!loop)
        return;
    if (loop->nfibers > 0)
        end_fibers(loop);
    io_pool_free(loop);
    io_copy_trim(loop);
    io_stacks_done(&loop->stacks);
    io_heap_done(&loop->heap);
    smx_close(loop->epfd);
    smx_free(loop);
}

size_t io_loop_fds(const struct io_loop *loop)
{
    return loop->nfds;
}

size_t io_loop_fibers(const struct io_loop *loop)
{
    return loop->nfibers;
}
