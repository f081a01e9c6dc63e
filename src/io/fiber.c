/* fiber.c - fibers and their stacks. A stack is one mapping: a guard page, the stack, and at its
 * top the struct io_fiber itself, so that an idle fiber touches one page. The loop resumes fibers;
 * a fiber switches back to the loop when it parks or ends. Owned by the loop's thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/priv.h"

#ifdef SMX_SANITIZED
enum { STACK_FACTOR = 4 }; /* instrumented frames are several times larger */
#else
enum { STACK_FACTOR = 1 };
#endif
enum { PAGE = 4096, MAPPING = SMX_FIBER_STACK * STACK_FACTOR };
enum { TRIM_KEEP = 1024 }; /* below the frame that trims: what a park needs */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13: a guard page that does not split the mapping */
#endif

const size_t io_stack_bytes = MAPPING - PAGE;

/* --- stacks --- */

static int guard(void *mapping)
{
    if (madvise(mapping, PAGE, MADV_GUARD_INSTALL) == 0)
        return 0;
    return mprotect(mapping, PAGE, PROT_NONE);
}

static void *stack_map(void)
{
    char *mapping = mmap(NULL, MAPPING, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (mapping == MAP_FAILED)
        return NULL;
    madvise(mapping, MAPPING, MADV_NOHUGEPAGE);
    if (guard(mapping) < 0) {
        munmap(mapping, MAPPING);
        return NULL;
    }
    io_context_stack_new(mapping + PAGE, io_stack_bytes);
    return mapping + PAGE;
}

static void stack_unmap(void *stack)
{
    io_context_stack_free(stack, io_stack_bytes);
    munmap((char *)stack - PAGE, MAPPING);
}

/* The link of a free stack lives in its topmost word. */
static void **stack_link(void *stack)
{
    return (void **)(void *)((char *)stack + io_stack_bytes) - 1;
}

static void *stack_pop(void **head, size_t *count)
{
    void *stack = *head;

    if (stack) {
        *head = *stack_link(stack);
        --*count;
    }
    return stack;
}

static void stack_push(void **head, size_t *count, void *stack)
{
    *stack_link(stack) = *head;
    *head = stack;
    ++*count;
}

void *io_stack_get(struct io_stacks *s)
{
    void *stack = stack_pop(&s->warm, &s->nwarm);

    if (!stack)
        stack = stack_pop(&s->cold, &s->ncold);
    s->low = SMX_MIN(s->low, s->nwarm + s->ncold);
    return stack ? stack : stack_map();
}

/* A cold stack keeps only the page of its link. */
void io_stack_put(struct io_stacks *s, void *stack)
{
    io_context_stack_forget(stack, io_stack_bytes);
    if (s->nwarm < IO_STACKS_WARM) {
        stack_push(&s->warm, &s->nwarm, stack);
    } else if (s->ncold < IO_STACKS_COLD) {
        madvise(stack, io_stack_bytes - PAGE, MADV_DONTNEED);
        stack_push(&s->cold, &s->ncold, stack);
    } else {
        stack_unmap(stack);
    }
}

/* Frees up to n stacks, cold ones first. */
static void stacks_free(struct io_stacks *s, size_t n)
{
    void *stack;

    while (n-- > 0 &&
           ((stack = stack_pop(&s->cold, &s->ncold)) || (stack = stack_pop(&s->warm, &s->nwarm))))
        stack_unmap(stack);
}

void io_stacks_trim(struct io_stacks *s)
{
    stacks_free(s, s->low);
    s->low = s->nwarm + s->ncold;
}

void io_stacks_done(struct io_stacks *s)
{
    stacks_free(s, SIZE_MAX);
}

/* --- fibers --- */

static void fiber_main(void *arg)
{
    struct io_fiber *f = arg;

    f->fn(f->arg);
    f->ended = true;
    io_context_leave(&f->context, &f->loop->context);
}

/* The usable stack ends where the fiber begins. */
static size_t stack_below_fiber(void)
{
    return (io_stack_bytes - sizeof(struct io_fiber)) / 64 * 64;
}

int io_fiber_spawn(struct io_loop *loop, const char *name, io_fiber_fn *fn, void *arg,
    struct io_fiber **ret_fiber, struct smx_err *err)
{
    size_t size = stack_below_fiber();
    struct io_fiber *f;
    void *stack;

    if (loop->closing)
        return smx_err_set(err, SMX_E_CANCELLED, "the loop is ending");
    if (io_heap_reserve(&loop->heap, loop->heap.armed + loop->nfibers + 1) < 0)
        return smx_err_oom(err);
    stack = io_stack_get(&loop->stacks);
    if (!stack)
        return smx_err_set(err, SMX_E_NO_MEMORY, "no memory for the stack of fiber '%s'", name);
    f = (struct io_fiber *)(void *)((char *)stack + size);
    *f = (struct io_fiber){ .loop = loop, .name = name, .fn = fn, .arg = arg };
    smx_list_add(&loop->fibers, &f->all);
    smx_list_init(&f->ready);
    io_context_init(&f->context, stack, size, fiber_main, f);
    loop->nfibers++;
    io_wake(f);
    if (ret_fiber)
        *ret_fiber = f;
    return 0;
}

static void fiber_free(struct io_fiber *f)
{
    struct io_loop *loop = f->loop;

    smx_list_del(&f->all);
    smx_list_del(&f->ready);
    loop->nfibers--;
    io_context_done(&f->context);
    io_stack_put(&loop->stacks, (char *)f - stack_below_fiber());
}

void io_fiber_resume(struct io_loop *loop, struct io_fiber *f)
{
    loop->current = f;
    io_context_switch(&loop->context, &f->context);
    loop->current = NULL;
    if (f->ended)
        fiber_free(f);
}

void io_wake(struct io_fiber *f)
{
    if (smx_list_empty(&f->ready))
        smx_list_add(&f->loop->ready, &f->ready);
}

static void deadline_passed(void *arg)
{
    struct io_fiber *f = arg;

    f->timed_out = true;
    io_wake(f);
}

static void leave(struct io_fiber *f)
{
    io_context_switch(&f->context, &f->loop->context);
    f->bytes = 0;
}

static bool sees_cancel(const struct io_fiber *f)
{
    return f->cancelled && f->shield == 0;
}

int io_check_cancel(void)
{
    struct io_fiber *f = io_fiber_self();

    assert(f);
    return sees_cancel(f) ? -SMX_E_CANCELLED : 0;
}

/* The deadline lives in the heap of the loop, but not among its armed timers: t.loop stays NULL. */
int io_park(uint64_t deadline_ns)
{
    struct io_fiber *f = io_fiber_self();
    struct io_timer t;

    assert(f);
    if (sees_cancel(f))
        return -SMX_E_CANCELLED;
    io_timer_init(&t, deadline_passed, f);
    t.deadline_ns = deadline_ns;
    f->woken = f->timed_out = false;
    if (deadline_ns != SMX_FOREVER)
        io_heap_add(&f->loop->heap, &t);
    f->parked = true;
    do
        leave(f);
    while (!f->woken && !f->timed_out && !sees_cancel(f));
    f->parked = false;
    io_heap_remove(&f->loop->heap, &t);
    if (sees_cancel(f))
        return -SMX_E_CANCELLED;
    return f->woken ? 0 : -SMX_E_TIMEOUT;
}

void io_fiber_cancel(struct io_fiber *f)
{
    f->cancelled = true;
    if (f->parked && f->shield == 0)
        io_wake(f);
}

bool io_fiber_cancelled(void)
{
    struct io_fiber *f = io_fiber_self();

    return f && f->cancelled;
}

void io_shield_begin(void)
{
    io_fiber_self()->shield++;
}

void io_shield_end(void)
{
    assert(io_fiber_self()->shield > 0);
    io_fiber_self()->shield--;
}

void io_yield(void)
{
    struct io_fiber *f = io_fiber_self();

    assert(f);
    io_wake(f);
    leave(f);
}

/* Under sanitizers the pages stay: what they know of the stack would have to go, too. */
void io_fiber_trim(void)
{
#ifndef SMX_SANITIZED
    struct io_fiber *f = io_fiber_self();
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    char *stack = (char *)f - stack_below_fiber();

    assert(f);
    if (f->loop->heap_trim == 0)
        f->loop->heap_trim = IO_HEAP_PERIODS;
    here = (here - TRIM_KEEP) / PAGE * PAGE;
    if (here > (uintptr_t)stack)
        madvise(stack, here - (uintptr_t)stack, MADV_DONTNEED);
#endif
}

int io_sleep_until(uint64_t deadline_ns)
{
    int r = io_park(deadline_ns);

    return r == -SMX_E_TIMEOUT ? 0 : r;
}

void io_fair(size_t bytes)
{
    struct io_fiber *f = io_fiber_self();

    assert(f);
    f->bytes += bytes;
    if (f->bytes > SMX_FIBER_YIELD_BYTES)
        io_yield();
}
