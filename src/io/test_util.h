/* test_util.h - running a test on a loop of its own. */
#ifndef SMX_IO_TEST_UTIL_H
#define SMX_IO_TEST_UTIL_H

#include "base/test.h"
#include "io/io.h"

/* Runs fn(arg) as the first fiber until no fiber is left. */
static inline void on_loop(io_fiber_fn *fn, void *arg)
{
    SMX_CLEANUP(io_loop_freep) struct io_loop *loop = NULL;
    struct smx_err err = { 0 };

    ASSERT_OK(io_loop_new(&loop, &err), &err);
    ASSERT_OK(io_fiber_spawn(loop, "test", fn, arg, /* ret_fiber= */ NULL, &err), &err);
    ASSERT_OK(io_loop_run(loop, &err), &err);
    ASSERT_EQ(io_loop_fibers(loop), 0);
    ASSERT_EQ(io_loop_fds(loop), 0);
}

#define FIBER_TEST(id)                            \
    static void fiber_##id(void *arg SMX_UNUSED); \
    TEST(id)                                      \
    {                                             \
        on_loop(fiber_##id, /* arg= */ NULL);     \
    }                                             \
    static void fiber_##id(void *arg SMX_UNUSED)

static inline void spawn(const char *name, io_fiber_fn *fn, void *arg)
{
    struct smx_err err = { 0 };

    ASSERT_OK(io_fiber_spawn(io_loop_self(), name, fn, arg, /* ret_fiber= */ NULL, &err), &err);
}

/* Until only the calling fiber is left. */
static inline void join_all(void)
{
    while (io_loop_fibers(io_loop_self()) > 1)
        io_yield();
}

static inline uint64_t in_ms(uint64_t ms)
{
    return smx_deadline_in_ms(ms);
}

#endif
