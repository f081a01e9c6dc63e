/* tasks.c - a group of fibers that end together: what an object starts in the background and waits
 * for before its memory goes. Loop thread only. */
#include "base/mem.h"
#include "io/io.h"

struct task {
    struct smx_list link;
    struct io_fiber *fiber;
    struct io_tasks *group;
    io_fiber_fn *fn;
    void *arg;
};

void io_tasks_init(struct io_tasks *g)
{
    *g = (struct io_tasks){ .ended = false };
    smx_list_init(&g->list);
    io_event_init(&g->none);
    io_event_set(&g->none);
}

static void run_task(void *arg)
{
    SMX_CLEANUP(smx_freep) struct task *t = arg;

    t->fn(t->arg);
    smx_list_del(&t->link);
    if (smx_list_empty(&t->group->list))
        io_event_set(&t->group->none);
}

int io_tasks_start(
    struct io_tasks *g, struct io_loop *loop, const char *name, io_fiber_fn *fn, void *arg)
{
    struct task *t = g->ended ? NULL : smx_alloc(sizeof *t);
    int r;

    if (!t)
        return g->ended ? -SMX_E_CANCELLED : -SMX_E_NO_MEMORY;
    *t = (struct task){ .group = g, .fn = fn, .arg = arg };
    r = io_fiber_spawn(loop, name, run_task, t, &t->fiber, /* err= */ NULL);
    if (r < 0) {
        smx_free(t);
        return r;
    }
    smx_list_add(&g->list, &t->link);
    io_event_clear(&g->none);
    return 0;
}

void io_tasks_end(struct io_tasks *g)
{
    g->ended = true;
    SMX_LIST_FOREACH(it, &g->list)
        io_fiber_cancel(SMX_LIST_ENTRY(it, struct task, link)->fiber);
    if (!smx_list_empty(&g->list))
        io_event_wait(&g->none, SMX_FOREVER);
}
