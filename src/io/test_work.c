/* test_work.c - blocking work on threads. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/test_util.h"

struct task {
    pthread_t thread;
    int in, out;
    bool signals_blocked;
};

static void square(void *arg)
{
    struct task *t = arg;
    sigset_t set;

    pthread_sigmask(SIG_SETMASK, NULL, &set);
    t->signals_blocked = sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGINT) == 1;
    t->thread = pthread_self();
    t->out = t->in * t->in;
}

FIBER_TEST(work_runs_on_another_thread_with_signals_blocked)
{
    struct task t = { .in = 7 };
    struct smx_err err = { 0 };

    ASSERT_OK(io_work(square, &t, &err), &err);
    ASSERT_EQ(t.out, 49);
    ASSERT_FALSE(pthread_equal(t.thread, pthread_self()));
    ASSERT_TRUE(t.signals_blocked);
}

struct many {
    int next, sum;
};

static void work_once(void *arg)
{
    struct many *m = arg;
    struct task t = { .in = m->next++ };

    if (io_work(square, &t, /* err= */ NULL) == 0)
        m->sum += t.out;
}

FIBER_TEST(many_fibers_share_the_workers)
{
    struct many m = { 0 };
    int expected = 0;

    for (int i = 0; i < 500; i++) {
        spawn("work", work_once, &m);
        expected += i * i;
    }
    join_all();
    ASSERT_EQ(m.sum, expected);
}

struct gate {
    int pipe[2];
    struct io_fiber *fiber;
    int r, later;
    bool ran;
};

static void block(void *arg)
{
    struct gate *g = arg;
    char c;

    g->ran = read(g->pipe[0], &c, 1) == 1;
}

static void blocked_fiber(void *arg)
{
    struct gate *g = arg;

    g->r = io_work(block, g, /* err= */ NULL);
    g->later = io_work(block, g, /* err= */ NULL);
}

/* Its argument lives on the fiber's stack, so a cancellation has to wait for the thread. */
FIBER_TEST(queued_work_is_not_cancelled_but_later_work_is)
{
    struct gate g = { .r = 9, .later = 9 };
    struct smx_err err = { 0 };

    ASSERT_EQ(pipe(g.pipe), 0);
    ASSERT_OK(io_fiber_spawn(io_loop_self(), "gate", blocked_fiber, &g, &g.fiber, &err), &err);
    io_yield();
    io_fiber_cancel(g.fiber);
    io_sleep_until(in_ms(10));
    ASSERT_EQ(g.r, 9);
    ASSERT_EQ(write(g.pipe[1], "x", 1), 1);
    join_all();
    ASSERT_EQ(g.r, 0);
    ASSERT_TRUE(g.ran);
    ASSERT_EQ(g.later, -SMX_E_CANCELLED);
    close(g.pipe[0]);
    close(g.pipe[1]);
}

/* The loop goes on while threads are busy. */
FIBER_TEST(loop_is_not_blocked_by_work)
{
    struct gate g[6] = { 0 };

    for (int i = 0; i < 6; i++) {
        ASSERT_EQ(pipe(g[i].pipe), 0);
        spawn("gate", blocked_fiber, &g[i]);
    }
    for (int i = 0; i < 10; i++)
        ASSERT_EQ(io_sleep_until(in_ms(1)), 0);
    for (int i = 0; i < 6; i++)
        ASSERT_EQ(write(g[i].pipe[1], "xy", 2), 2);
    join_all();
    for (int i = 0; i < 6; i++) {
        ASSERT_TRUE(g[i].ran);
        close(g[i].pipe[0]);
        close(g[i].pipe[1]);
    }
}

FIBER_TEST(no_memory_for_the_pool_is_an_error)
{
    struct task t = { .in = 3 };
    struct smx_err err = { 0 };

    smx_mem_fail_after(1);
    ASSERT_EQ(io_work(square, &t, &err), -SMX_E_NO_MEMORY);
    ASSERT_EQ(err.code, SMX_E_NO_MEMORY);
    ASSERT_OK(io_work(square, &t, &err), &err);
    ASSERT_EQ(t.out, 9);
}
