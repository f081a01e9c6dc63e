/* wait.c - descriptors on the loop and waiting for them. A descriptor is registered once,
 * edge-triggered; io_fd.ready remembers what epoll said until a read or write gets EAGAIN. A wait
 * links a node of its own stack into the list of each thing it waits for: no allocation, no system
 * call but poll() where readiness is only suspected. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/foreign.h"
#include "io/priv.h"

enum { WATCHED = EPOLLIN | EPOLLRDHUP };

/* --- registration --- */

/* What it is: a socket, and whether a short read says that nothing is left. */
static unsigned kind_of(int fd)
{
    socklen_t size = sizeof(int);
    struct stat st;
    int type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0)
        return type == SOCK_STREAM ? IO_SOCKET | IO_STREAM : IO_SOCKET;
    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) ? IO_STREAM : 0;
}

static int add_to_epoll(struct io_fd *f)
{
    struct epoll_event ev = { .events = WATCHED | EPOLLET, .data.ptr = f };

    f->ready = IO_READ_MAYBE | IO_WRITE_MAYBE;
    if (epoll_ctl(f->loop->epfd, EPOLL_CTL_ADD, f->fd, &ev) == 0) {
        f->ready |= kind_of(f->fd);
        return 0;
    }
    if (errno != EPERM)
        return -errno;
    f->ready = IO_READ | IO_WRITE | IO_ALWAYS;
    return 0;
}

/* Mostly it is already: accept4 and socket make it so. */
static int make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
        return -errno;
    return 0;
}

int io_fd_init(struct io_fd *f, int fd, struct smx_err *err)
{
    int r;

    *f = (struct io_fd){ .fd = -1, .loop = io_loop_self() };
    smx_list_init(&f->waiters);
    assert(f->loop);
    r = make_nonblocking(fd);
    f->fd = fd;
    if (r == 0)
        r = add_to_epoll(f);
    if (r < 0) {
        f->fd = -1;
        smx_close(fd);
        return smx_err_errno(err, -r, "watching descriptor %d", fd);
    }
    f->loop->nfds++;
    return 0;
}

int io_fd_init_pipe(struct io_fd *f, int fd, struct smx_err *err)
{
    struct epoll_event ev = { .events = WATCHED | EPOLLET, .data.ptr = f };

    /* What is there already is the first thing that epoll says. */
    *f = (struct io_fd){ .fd = fd, .loop = io_loop_self(), .ready = IO_STREAM };
    smx_list_init(&f->waiters);
    assert(f->loop);
    if (epoll_ctl(f->loop->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int e = errno;

        smx_close(smx_take_fd(&f->fd));
        return smx_err_errno(err, e, "watching descriptor %d", fd);
    }
    f->loop->nfds++;
    return 0;
}

/* Also leaves the list empty: the memory of f may go now, before the waiters run. */
static void wake_gone(struct io_fd *f)
{
    SMX_LIST_FOREACH_SAFE(node, &f->waiters) {
        struct io_waiter *w = SMX_LIST_ENTRY(node, struct io_waiter, node);

        smx_list_del(node);
        w->fired = IO_GONE;
        w->fiber->woken = true;
        io_wake(w->fiber);
    }
}

int io_fd_take(struct io_fd *f)
{
    if (f->fd < 0)
        return -1;
    if (!(f->ready & IO_ALWAYS))
        epoll_ctl(f->loop->epfd, EPOLL_CTL_DEL, f->fd, NULL);
    f->loop->nfds--;
    f->ready = 0;
    f->on_hup = NULL;
    io_filter_done(f);
    wake_gone(f);
    return smx_take_fd(&f->fd);
}

void io_fd_done(struct io_fd *f)
{
    bool hostile = io_fd_distrusted(f);
    int fd = io_fd_take(f);

    if (hostile)
        smx_close_foreign_stream(fd);
    else
        smx_close(fd);
}

/* Where descriptors are a read ends, though more may follow: it is no stream in that sense. */
void io_fd_distrust(struct io_fd *f)
{
    assert(f->fd >= 0 && !f->filter_ops);
    f->ready = (f->ready & ~(unsigned)IO_STREAM) | IO_HOSTILE;
}

bool io_fd_distrusted(const struct io_fd *f)
{
    return f->fd >= 0 && f->ready & IO_HOSTILE;
}

/* --- readiness --- */

static unsigned bits_of(unsigned epoll_events)
{
    unsigned bits = 0;

    if (epoll_events & EPOLLIN)
        bits |= IO_READ;
    if (epoll_events & EPOLLOUT)
        bits |= IO_WRITE;
    if (epoll_events & EPOLLRDHUP)
        bits |= IO_READ | IO_HUP;
    if (epoll_events & (EPOLLHUP | EPOLLERR))
        bits |= IO_READ | IO_WRITE | IO_HUP | IO_BROKEN;
    return bits;
}

void io_waiters_wake(struct smx_list *waiters, unsigned bits)
{
    SMX_LIST_FOREACH(node, waiters) {
        struct io_waiter *w = SMX_LIST_ENTRY(node, struct io_waiter, node);

        if (!(w->events & bits))
            continue;
        w->fired |= w->events & bits;
        w->fiber->woken = true;
        io_wake(w->fiber);
    }
}

static void call_on_hup(struct io_fd *f)
{
    void (*fn)(void *arg) = f->on_hup;

    f->on_hup = NULL;
    if (fn)
        fn(f->on_hup_arg);
}

void io_fd_latch(struct io_fd *f, unsigned epoll_events)
{
    unsigned bits = bits_of(epoll_events);

    f->ready |= bits;
    io_waiters_wake(&f->waiters, bits);
    if (bits & IO_HUP)
        call_on_hup(f);
}

void io_fd_on_hup(struct io_fd *f, void (*fn)(void *arg), void *arg)
{
    f->on_hup = fn;
    f->on_hup_arg = arg;
    if (f->ready & IO_HUP)
        call_on_hup(f);
}

/* The events now are what poll() says; suspicion ends. */
static void verify(struct io_fd *f, unsigned suspected)
{
    struct pollfd p = { .fd = f->fd };

    if (suspected & IO_READ_MAYBE)
        p.events |= POLLIN | POLLRDHUP;
    if (suspected & IO_WRITE_MAYBE)
        p.events |= POLLOUT;
    f->ready &= ~suspected;
    if (poll(&p, 1, 0) > 0)
        f->ready |= bits_of((unsigned)p.revents);
}

/* From the first time that somebody waits for room. epoll reports the state as it is now, too. */
static void arm_out(struct io_fd *f)
{
    struct epoll_event ev = { .events = WATCHED | EPOLLOUT | EPOLLET, .data.ptr = f };

    if (f->ready & IO_OUT_ARMED)
        return;
    f->ready |= IO_OUT_ARMED;
    epoll_ctl(f->loop->epfd, EPOLL_CTL_MOD, f->fd, &ev);
}

static unsigned fd_ready(struct io_fd *f, unsigned events);

static unsigned fd_ready_filtered(struct io_fd *f, unsigned events)
{
    unsigned ready = io_filter_readable(f) ? IO_READ : 0;

    events &= ~(unsigned)IO_READ;
    return ready | (events ? fd_ready(f, events) : 0);
}

static unsigned fd_ready(struct io_fd *f, unsigned events)
{
    unsigned suspected = 0, ready;

    if (events & IO_READ && f->filter_ops)
        return fd_ready_filtered(f, events);
    if (events & IO_READ && !(f->ready & IO_READ))
        suspected |= f->ready & IO_READ_MAYBE;
    if (events & IO_WRITE && !(f->ready & IO_WRITE))
        suspected |= f->ready & IO_WRITE_MAYBE;
    if (suspected)
        verify(f, suspected);
    ready = f->ready & events;
    if (!ready && events & IO_WRITE)
        arm_out(f);
    return ready;
}

/* Who is told that it can read may read past us: next time it is a suspicion. */
static void reported(struct io_fd *f, unsigned bits)
{
    if (f->ready & (IO_ALWAYS | IO_BROKEN))
        return;
    if (bits & IO_READ && !(f->ready & IO_HUP))
        f->ready = (f->ready & ~(unsigned)IO_READ) | IO_READ_MAYBE;
    if (bits & IO_WRITE)
        f->ready = (f->ready & ~(unsigned)IO_WRITE) | IO_WRITE_MAYBE;
}

/* --- waiting --- */

static unsigned ready_now(struct io_wait *w)
{
    if (w->fd)
        return w->fd->fd < 0 ? IO_GONE : fd_ready(w->fd, w->events);
    assert(w->event);
    return w->event->set;
}

static int scan(struct io_wait *w, size_t n)
{
    int count = 0;

    for (size_t i = 0; i < n; i++) {
        w[i].ready = ready_now(&w[i]);
        if (w[i].ready & IO_GONE)
            return -SMX_E_CANCELLED;
        if (w[i].ready && w[i].fd)
            reported(w[i].fd, w[i].ready);
        count += w[i].ready != 0;
    }
    return count;
}

static void link_waiters(struct io_waiter *nodes, const struct io_wait *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        nodes[i] =
            (struct io_waiter){ .fiber = io_fiber_self(), .events = w[i].fd ? w[i].events : 1 };
        smx_list_add(w[i].fd ? &w[i].fd->waiters : &w[i].event->waiters, &nodes[i].node);
    }
}

/* What a node saw. Bytes for a filter need not be bytes for us: it says so itself. */
static unsigned fired(const struct io_waiter *node, struct io_wait *w)
{
    unsigned bits = node->fired;

    if (bits & IO_READ && !(bits & IO_GONE) && w->fd && w->fd->filter_ops &&
        !io_filter_readable(w->fd))
        bits &= ~(unsigned)IO_READ;
    return bits;
}

/* Takes the nodes out and says what fired; -SMX_E_CANCELLED when a descriptor was closed. */
static int unlink_waiters(struct io_waiter *nodes, struct io_wait *w, size_t n)
{
    int count = 0;

    for (size_t i = 0; i < n; i++) {
        smx_list_del(&nodes[i].node);
        w[i].ready = fired(&nodes[i], &w[i]);
        if (w[i].ready & IO_GONE)
            count = -SMX_E_CANCELLED;
        else if (w[i].ready && count >= 0)
            count++;
    }
    for (size_t i = 0; i < n; i++)
        if (w[i].fd && w[i].ready && !(w[i].ready & IO_GONE))
            reported(w[i].fd, w[i].ready);
    return count;
}

static int wait_with(struct io_waiter *nodes, struct io_wait *w, size_t n, uint64_t deadline_ns)
{
    int r = io_check_cancel(), count = 0;

    while (r == 0 && count == 0) {
        count = scan(w, n);
        if (count != 0)
            break;
        link_waiters(nodes, w, n);
        r = io_park(deadline_ns);
        count = unlink_waiters(nodes, w, n);
    }
    return r < 0 ? r : count;
}

int io_wait(struct io_wait *w, size_t n, uint64_t deadline_ns)
{
    struct io_waiter nodes[IO_WAIT_MAX];

    assert(n <= IO_WAIT_MAX);
    io_fair(IO_FAIR_CALL);
    return wait_with(nodes, w, n, deadline_ns);
}

int io_fd_wait2(
    struct io_fd *a, unsigned a_events, struct io_fd *b, unsigned b_events, uint64_t deadline_ns)
{
    struct io_wait w[] = { { .fd = a, .events = a_events }, { .fd = b, .events = b_events } };
    struct io_waiter nodes[2];
    int r = wait_with(nodes, w, 2, deadline_ns);

    return r < 0 ? r : 0;
}

int io_fd_wait(struct io_fd *f, unsigned events, uint64_t deadline_ns)
{
    struct io_wait w = { .fd = f, .events = events };
    struct io_waiter node;
    int r = wait_with(&node, &w, 1, deadline_ns);

    return r < 0 ? r : 0;
}

int io_wait_failed(struct smx_err *err, int r, const char *doing)
{
    if (r == -SMX_E_TIMEOUT)
        return smx_err_set(err, SMX_E_TIMEOUT, "timed out while %s", doing);
    if (r == -SMX_E_CANCELLED)
        return smx_err_set(err, SMX_E_CANCELLED, "cancelled while %s", doing);
    return smx_err_set(err, (enum smx_code) - r, "%s failed", doing);
}
