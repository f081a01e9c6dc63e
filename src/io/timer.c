/* timer.c - a binary heap of deadlines. Timers know their place in it, so that disarming is
 * logarithmic. Owned by the loop's thread. */
#include <assert.h>

#include "base/mem.h"
#include "io/priv.h"

static void put(struct io_heap *h, size_t i, struct io_heap_entry e)
{
    h->entries[i] = e;
    e.timer->heap_index = i;
}

static void sift_up(struct io_heap *h, size_t i, struct io_heap_entry e)
{
    while (i > 0 && h->entries[(i - 1) / 2].deadline_ns > e.deadline_ns) {
        put(h, i, h->entries[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(h, i, e);
}

static void sift_down(struct io_heap *h, size_t i, struct io_heap_entry e)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= h->count)
            break;
        if (child + 1 < h->count &&
            h->entries[child + 1].deadline_ns < h->entries[child].deadline_ns)
            child++;
        if (h->entries[child].deadline_ns >= e.deadline_ns)
            break;
        put(h, i, h->entries[child]);
        i = child;
    }
    put(h, i, e);
}

int io_heap_reserve(struct io_heap *h, size_t n)
{
    size_t cap = h->cap ? h->cap : 16;
    struct io_heap_entry *entries;

    if (n <= h->cap)
        return 0;
    while (cap < n)
        cap *= 2;
    entries = smx_realloc(h->entries, cap * sizeof *entries);
    if (!entries)
        return -SMX_E_NO_MEMORY;
    h->entries = entries;
    h->cap = cap;
    return 0;
}

void io_heap_add(struct io_heap *h, struct io_timer *t)
{
    assert(h->count < h->cap);
    sift_up(h, h->count++, (struct io_heap_entry){ SMX_MAX(t->deadline_ns, h->floor_ns), t });
}

void io_heap_remove(struct io_heap *h, struct io_timer *t)
{
    size_t i = t->heap_index;
    struct io_heap_entry last;

    if (i == SIZE_MAX)
        return;
    t->heap_index = SIZE_MAX;
    last = h->entries[--h->count];
    if (i == h->count)
        return;
    if (i > 0 && h->entries[(i - 1) / 2].deadline_ns > last.deadline_ns)
        sift_up(h, i, last);
    else
        sift_down(h, i, last);
}

uint64_t io_heap_next(const struct io_heap *h)
{
    return h->count > 0 ? h->entries[0].deadline_ns : SMX_FOREVER;
}

/* Each callback may arm and disarm timers. What is armed meanwhile counts as later than now, so
 * that a timer which arms itself in the past keeps neither the loop here nor the others waiting. */
void io_heap_expire(struct io_heap *h, uint64_t now_ns)
{
    h->floor_ns = now_ns + 1;
    while (io_heap_next(h) <= now_ns) {
        struct io_timer *t = h->entries[0].timer;

        if (t->loop)
            h->armed--;
        io_heap_remove(h, t);
        t->fn(t->arg);
    }
    h->floor_ns = 0;
}

void io_heap_done(struct io_heap *h)
{
    for (size_t i = 0; i < h->count; i++)
        h->entries[i].timer->heap_index = SIZE_MAX;
    smx_free(h->entries);
    *h = (struct io_heap){ .entries = NULL };
}

void io_timer_init(struct io_timer *t, io_timer_fn *fn, void *arg)
{
    *t = (struct io_timer){ .fn = fn, .arg = arg, .heap_index = SIZE_MAX };
}

int io_timer_arm(struct io_timer *t, struct io_loop *loop, uint64_t deadline_ns)
{
    io_timer_disarm(t);
    if (io_heap_reserve(&loop->heap, loop->heap.armed + 1 + loop->nfibers) < 0)
        return -SMX_E_NO_MEMORY;
    t->loop = loop;
    t->deadline_ns = deadline_ns;
    loop->heap.armed++;
    io_heap_add(&loop->heap, t);
    return 0;
}

void io_timer_disarm(struct io_timer *t)
{
    if (t->heap_index == SIZE_MAX)
        return;
    t->loop->heap.armed--;
    io_heap_remove(&t->loop->heap, t);
}
