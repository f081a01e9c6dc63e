/* switch.h - changing stacks: the one place that knows how. jump_fcontext of libboost-context
 * (about 10 ns), or ucontext where that is missing and under sanitizers, which are told of each
 * change. */
#ifndef SMX_IO_SWITCH_H
#define SMX_IO_SWITCH_H

#include <stddef.h>
#ifdef SMX_FIBERS_UCONTEXT
#include <ucontext.h>
#endif

typedef void(io_context_fn)(void *arg);

struct io_context {
#ifdef SMX_FIBERS_UCONTEXT
    ucontext_t uc;
#else
    void *sp;
#endif
    struct io_context *prev; /* who switched here last */
    struct io_context *next; /* whom this one switched to last */
    io_context_fn *fn;
    void *arg;
    const void *stack; /* lowest byte and size; NULL for the thread's own until known */
    size_t size;
    void *fake; /* AddressSanitizer's own stack */
    void *tsan;
};

/* The context of the running thread. */
void io_context_init_self(struct io_context *c);
/* A context that runs fn(arg) on the stack when first switched to; fn never returns. */
void io_context_init(struct io_context *c, void *stack, size_t size, io_context_fn *fn, void *arg);
void io_context_switch(struct io_context *from, struct io_context *to);
/* As switch, for the last time: from is never resumed. */
_Noreturn void io_context_leave(struct io_context *from, struct io_context *to);
void io_context_done(struct io_context *c);
/* Memory that was or becomes a stack: forget what sanitizers know of it, let leaks be seen from it.
 */
void io_context_stack_new(void *stack, size_t size);
void io_context_stack_forget(void *stack, size_t size);
void io_context_stack_free(void *stack, size_t size);

#endif
