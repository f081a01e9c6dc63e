/* switch.c - see switch.h. A context belongs to the thread that made it. Only the loop's context
 * and a fiber's change with each other, never two fibers directly. */
#include "io/switch.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define WITH_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#else
#define WITH_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define WITH_TSAN 1
#include <sanitizer/tsan_interface.h>
#else
#define WITH_TSAN 0
#endif

static void announce(struct io_context *from, struct io_context *to, int last)
{
    from->next = to;
    to->prev = from;
#if WITH_ASAN
    __sanitizer_start_switch_fiber(last ? NULL : &from->fake, to->stack, to->size);
#endif
#if WITH_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    (void)last;
}

static void arrived(struct io_context *self)
{
#if WITH_ASAN
    __sanitizer_finish_switch_fiber(self->fake, &self->prev->stack, &self->prev->size);
#endif
    (void)self;
}

#ifdef SMX_FIBERS_UCONTEXT

/* makecontext passes ints only: the pointer travels in two halves. */
static void entry(unsigned high, unsigned low)
{
    struct io_context *self =
        (struct io_context *)(uintptr_t)((uint64_t)high << 32 | (uint64_t)low);

    arrived(self);
    self->fn(self->arg);
    abort();
}

static void prepare(struct io_context *c, void *stack, size_t size)
{
    uint64_t bits = (uint64_t)(uintptr_t)c;

    getcontext(&c->uc);
    c->uc.uc_stack.ss_sp = stack;
    c->uc.uc_stack.ss_size = size;
    c->uc.uc_link = NULL;
    makecontext(&c->uc, (void (*)(void))(void *)entry, 2, (unsigned)(bits >> 32), (unsigned)bits);
}

/* The signal mask is the thread's, not the context's. */
static void change(struct io_context *from, struct io_context *to)
{
    sigprocmask(SIG_SETMASK, NULL, &to->uc.uc_sigmask);
    swapcontext(&from->uc, &to->uc);
}

#else

/* The C interface of libboost-context, which has no C header. */
struct transfer {
    void *context;
    void *data;
};
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *stack_top, size_t size, void (*fn)(struct transfer));

static void entry(struct transfer t)
{
    struct io_context *from = t.data, *self = from->next;

    from->sp = t.context;
    arrived(self);
    self->fn(self->arg);
    abort();
}

static void prepare(struct io_context *c, void *stack, size_t size)
{
    c->sp = make_fcontext((char *)stack + size, size, entry);
}

static void change(struct io_context *from, struct io_context *to)
{
    struct transfer t = jump_fcontext(to->sp, from);

    ((struct io_context *)t.data)->sp = t.context;
}

#endif

void io_context_init_self(struct io_context *c)
{
    *c = (struct io_context){ .stack = NULL };
#if WITH_TSAN
    c->tsan = __tsan_get_current_fiber();
#endif
}

void io_context_init(struct io_context *c, void *stack, size_t size, io_context_fn *fn, void *arg)
{
    *c = (struct io_context){ .stack = stack, .size = size, .fn = fn, .arg = arg };
#if WITH_TSAN
    c->tsan = __tsan_create_fiber(0);
#endif
    prepare(c, stack, size);
}

void io_context_switch(struct io_context *from, struct io_context *to)
{
    announce(from, to, /* last= */ 0);
    change(from, to);
    arrived(from);
}

_Noreturn void io_context_leave(struct io_context *from, struct io_context *to)
{
    announce(from, to, /* last= */ 1);
    change(from, to);
    abort();
}

void io_context_done(struct io_context *c)
{
#if WITH_TSAN
    __tsan_destroy_fiber(c->tsan);
#endif
    (void)c;
}

void io_context_stack_new(void *stack, size_t size)
{
#if WITH_ASAN
    __lsan_register_root_region(stack, size);
#endif
    (void)stack, (void)size;
}

void io_context_stack_forget(void *stack, size_t size)
{
#if WITH_ASAN
    __asan_unpoison_memory_region(stack, size);
#endif
    (void)stack, (void)size;
}

void io_context_stack_free(void *stack, size_t size)
{
#if WITH_ASAN
    __lsan_unregister_root_region(stack, size);
#endif
    io_context_stack_forget(stack, size);
}
