/* event.c - events and semaphores between fibers of one loop. */
#include "io/priv.h"

void io_event_init(struct io_event *e)
{
    e->set = false;
    smx_list_init(&e->waiters);
}

void io_event_set(struct io_event *e)
{
    e->set = true;
    io_waiters_wake(&e->waiters, 1);
}

void io_event_clear(struct io_event *e)
{
    e->set = false;
}

int io_event_wait(struct io_event *e, uint64_t deadline_ns)
{
    struct io_waiter w = { .fiber = io_fiber_self(), .events = 1 };
    int r = io_check_cancel();

    if (r < 0 || e->set)
        return r;
    smx_list_add(&e->waiters, &w.node);
    r = io_park(deadline_ns);
    smx_list_del(&w.node);
    return r;
}

void io_sem_init(struct io_sem *s, unsigned count)
{
    s->count = count;
    smx_list_init(&s->waiters);
}

bool io_sem_try(struct io_sem *s)
{
    if (s->count == 0)
        return false;
    s->count--;
    return true;
}

/* A unit handed over counts as acquired, also when the deadline or a cancellation came as well. */
int io_sem_acquire(struct io_sem *s, uint64_t deadline_ns)
{
    struct io_waiter w = { .fiber = io_fiber_self(), .events = 1 };
    int r = io_check_cancel();

    if (r < 0 || io_sem_try(s))
        return r;
    smx_list_add(&s->waiters, &w.node);
    r = io_park(deadline_ns);
    smx_list_del(&w.node);
    return w.fired ? 0 : r;
}

/* To the first in the queue; only without one does the count grow, so nobody overtakes. */
void io_sem_release(struct io_sem *s)
{
    struct smx_list *first = s->waiters.next;
    struct io_waiter *w = SMX_LIST_ENTRY(first, struct io_waiter, node);

    if (first == &s->waiters) {
        s->count++;
        return;
    }
    smx_list_del(first);
    w->fired = 1;
    w->fiber->woken = true;
    io_wake(w->fiber);
}
