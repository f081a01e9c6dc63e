/* test_loop.c - fibers, events, semaphores, timers: what needs no descriptor. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/priv.h"
#include "io/test_util.h"

static void append(char *log, char c)
{
    size_t n = strlen(log);

    log[n] = c;
    log[n + 1] = '\0';
}

static void child_b(void *arg)
{
    append(arg, 'b');
    io_yield();
    append(arg, 'd');
}

FIBER_TEST(spawned_fiber_runs_when_its_parent_parks)
{
    char log[16] = "";

    spawn("b", child_b, log);
    append(log, 'a');
    io_yield();
    append(log, 'c');
    io_yield();
    append(log, 'e');
    ASSERT_STR(log, "abcde");
}

FIBER_TEST(self_is_known_only_inside)
{
    ASSERT_TRUE(io_fiber_self() != NULL);
    ASSERT_TRUE(io_loop_self() != NULL);
    ASSERT_EQ(io_loop_fibers(io_loop_self()), 1);
}

TEST(self_is_null_outside)
{
    ASSERT_TRUE(io_fiber_self() == NULL);
    ASSERT_TRUE(io_loop_self() == NULL);
    ASSERT_FALSE(io_fiber_cancelled());
}

static void stopper(void *arg)
{
    io_loop_stop(io_loop_self());
    io_sleep_until(SMX_FOREVER);
    *(int *)arg = io_fiber_cancelled() ? 2 : 1;
}

TEST(stop_leaves_fibers_and_free_ends_them)
{
    struct io_loop *loop = NULL;
    struct smx_err err = { 0 };
    int state = 0;

    ASSERT_OK(io_loop_new(&loop, &err), &err);
    ASSERT_OK(io_fiber_spawn(loop, "stopper", stopper, &state, /* ret_fiber= */ NULL, &err), &err);
    ASSERT_OK(io_loop_run(loop, &err), &err);
    ASSERT_EQ(io_loop_fibers(loop), 1);
    ASSERT_EQ(state, 0);
    io_loop_free(loop);
    ASSERT_EQ(state, 2);
}

static void spawns_late(void *arg)
{
    struct smx_err err = { 0 };

    io_sleep_until(SMX_FOREVER);
    *(int *)arg =
        io_fiber_spawn(io_loop_self(), "late", spawns_late, arg, /* ret_fiber= */ NULL, &err);
}

TEST(no_fiber_starts_on_an_ending_loop)
{
    struct io_loop *loop = NULL;
    struct smx_err err = { 0 };
    int r = 0;

    ASSERT_OK(io_loop_new(&loop, &err), &err);
    ASSERT_OK(io_fiber_spawn(loop, "late", spawns_late, &r, /* ret_fiber= */ NULL, &err), &err);
    io_loop_stop(loop);
    ASSERT_OK(io_loop_run(loop, &err), &err);
    io_loop_free(loop);
    ASSERT_EQ(r, -SMX_E_CANCELLED);
}

/* --- cancellation --- */

struct victim {
    struct io_fiber *fiber;
    struct io_event event;
    int first, second, shielded, after;
};

static void wait_twice(void *arg)
{
    struct victim *v = arg;

    v->first = io_event_wait(&v->event, SMX_FOREVER);
    v->second = io_sleep_until(SMX_FOREVER);
    io_shield_begin();
    v->shielded = io_event_wait(&v->event, in_ms(1));
    io_shield_end();
    v->after = io_event_wait(&v->event, SMX_FOREVER);
}

static void spawn_victim(struct victim *v, io_fiber_fn *fn)
{
    struct smx_err err = { 0 };

    io_event_init(&v->event);
    ASSERT_OK(io_fiber_spawn(io_loop_self(), "victim", fn, v, &v->fiber, &err), &err);
    io_yield();
}

FIBER_TEST(cancellation_sticks_and_shield_hides_it)
{
    struct victim v = { .first = 9 };

    spawn_victim(&v, wait_twice);
    ASSERT_EQ(v.first, 9);
    io_fiber_cancel(v.fiber);
    io_sleep_until(in_ms(20));
    ASSERT_EQ(v.first, -SMX_E_CANCELLED);
    ASSERT_EQ(v.second, -SMX_E_CANCELLED);
    ASSERT_EQ(v.shielded, -SMX_E_TIMEOUT);
    ASSERT_EQ(v.after, -SMX_E_CANCELLED);
}

static void shield_then_wait(void *arg)
{
    struct victim *v = arg;

    io_shield_begin();
    io_shield_begin();
    v->first = io_event_wait(&v->event, SMX_FOREVER);
    io_shield_end();
    v->second = io_event_wait(&v->event, SMX_FOREVER);
    io_shield_end();
    v->after = io_event_wait(&v->event, SMX_FOREVER);
}

FIBER_TEST(cancel_of_a_shielded_fiber_is_seen_after_the_last_shield)
{
    struct victim v = { .first = 9 };

    spawn_victim(&v, shield_then_wait);
    io_fiber_cancel(v.fiber);
    io_yield();
    ASSERT_EQ(v.first, 9);
    io_event_set(&v.event);
    io_yield();
    ASSERT_EQ(v.first, 0);
    ASSERT_EQ(v.second, 0);
    ASSERT_EQ(v.after, -SMX_E_CANCELLED);
}

FIBER_TEST(a_cancelled_fiber_parks_no_more)
{
    struct io_event e;

    io_event_init(&e);
    io_event_set(&e);
    io_fiber_cancel(io_fiber_self());
    ASSERT_TRUE(io_fiber_cancelled());
    ASSERT_EQ(io_event_wait(&e, SMX_FOREVER), -SMX_E_CANCELLED);
    ASSERT_EQ(io_sleep_until(0), -SMX_E_CANCELLED);
}

/* --- events, semaphores --- */

FIBER_TEST(event_is_a_level)
{
    struct io_event e;

    io_event_init(&e);
    ASSERT_EQ(io_event_wait(&e, in_ms(1)), -SMX_E_TIMEOUT);
    io_event_set(&e);
    ASSERT_EQ(io_event_wait(&e, SMX_FOREVER), 0);
    ASSERT_EQ(io_event_wait(&e, 0), 0);
    io_event_clear(&e);
    ASSERT_EQ(io_event_wait(&e, 0), -SMX_E_TIMEOUT);
}

static void pulse(void *arg)
{
    io_event_set(arg);
    io_event_clear(arg);
}

FIBER_TEST(a_pulse_wakes_who_waits)
{
    struct io_event e;

    io_event_init(&e);
    spawn("pulse", pulse, &e);
    ASSERT_EQ(io_event_wait(&e, SMX_FOREVER), 0);
    ASSERT_FALSE(e.set);
}

struct crowd {
    struct io_sem sem;
    struct io_event event;
    char log[64];
    int results[8];
};

struct member {
    struct crowd *crowd;
    char name;
    uint64_t deadline_ns;
    int r;
};

static void take_unit(void *arg)
{
    struct member *m = arg;

    m->r = io_sem_acquire(&m->crowd->sem, m->deadline_ns);
    if (m->r == 0)
        append(m->crowd->log, m->name);
}

FIBER_TEST(semaphore_serves_in_order_and_nobody_overtakes)
{
    struct crowd c = { .log = "" };
    struct member m[4];

    io_sem_init(&c.sem, 1);
    ASSERT_TRUE(io_sem_try(&c.sem));
    ASSERT_FALSE(io_sem_try(&c.sem));
    for (int i = 0; i < 4; i++) {
        m[i] = (struct member){ &c, (char)('a' + i), i == 1 ? in_ms(1) : SMX_FOREVER, 9 };
        spawn("member", take_unit, &m[i]);
    }
    io_sleep_until(in_ms(20));
    ASSERT_EQ(m[1].r, -SMX_E_TIMEOUT);
    io_sem_release(&c.sem);
    io_sem_release(&c.sem);
    ASSERT_FALSE(io_sem_try(&c.sem));
    io_yield();
    ASSERT_STR(c.log, "ac");
    io_sem_release(&c.sem);
    io_sem_release(&c.sem);
    io_yield();
    ASSERT_STR(c.log, "acd");
    ASSERT_TRUE(io_sem_try(&c.sem));
}

FIBER_TEST(unit_handed_to_a_cancelled_fiber_is_not_lost)
{
    struct crowd c = { .log = "" };
    struct member m = { &c, 'a', SMX_FOREVER, 9 };
    struct io_fiber *f = NULL;
    struct smx_err err = { 0 };

    io_sem_init(&c.sem, 0);
    ASSERT_OK(io_fiber_spawn(io_loop_self(), "member", take_unit, &m, &f, &err), &err);
    io_yield();
    io_sem_release(&c.sem);
    io_fiber_cancel(f);
    io_yield();
    ASSERT_EQ(m.r, 0);
}

/* --- time --- */

FIBER_TEST(sleep_ends_at_its_deadline)
{
    uint64_t deadline = in_ms(5);

    ASSERT_EQ(io_sleep_until(deadline), 0);
    ASSERT_TRUE(smx_now_ns() >= deadline);
    ASSERT_EQ(io_sleep_until(0), 0);
}

static void note_time(void *arg)
{
    struct member *m = arg;

    io_sleep_until(m->deadline_ns);
    append(m->crowd->log, m->name);
}

FIBER_TEST(sleepers_wake_in_the_order_of_their_deadlines)
{
    static const int order[] = { 5, 2, 7, 1, 4, 0, 6, 3 };
    struct crowd c = { .log = "" };
    struct member m[8];
    uint64_t start = in_ms(5);

    for (int i = 0; i < 8; i++) {
        m[i] = (struct member){ &c, (char)('a' + order[i]),
            start + (uint64_t)order[i] * SMX_NS_PER_MS, 0 };
        spawn("sleeper", note_time, &m[i]);
    }
    io_sleep_until(start + 8 * SMX_NS_PER_MS);
    io_yield();
    ASSERT_STR(c.log, "abcdefgh");
}

struct tick {
    struct io_timer timer;
    int fired;
    bool again;
};

static void on_tick(void *arg)
{
    struct tick *t = arg;

    t->fired++;
    if (t->again)
        io_timer_arm(&t->timer, io_loop_self(), 0);
}

FIBER_TEST(timer_fires_once_moves_and_disarms)
{
    struct tick t = { .fired = 0 }, u = { .fired = 0 };

    io_timer_init(&t.timer, on_tick, &t);
    io_timer_init(&u.timer, on_tick, &u);
    io_timer_disarm(&t.timer);
    ASSERT_EQ(io_timer_arm(&t.timer, io_loop_self(), SMX_FOREVER - 1), 0);
    ASSERT_EQ(io_timer_arm(&u.timer, io_loop_self(), in_ms(1)), 0);
    ASSERT_EQ(io_timer_arm(&t.timer, io_loop_self(), in_ms(1)), 0);
    io_timer_disarm(&u.timer);
    io_sleep_until(in_ms(10));
    ASSERT_EQ(t.fired, 1);
    ASSERT_EQ(u.fired, 0);
    ASSERT_TRUE(t.timer.heap_index == SIZE_MAX);
}

FIBER_TEST(timer_that_rearms_in_the_past_does_not_keep_the_loop)
{
    struct tick t = { .again = true };

    io_timer_init(&t.timer, on_tick, &t);
    ASSERT_EQ(io_timer_arm(&t.timer, io_loop_self(), 0), 0);
    io_sleep_until(in_ms(2));
    ASSERT_TRUE(t.fired > 1);
    io_timer_disarm(&t.timer);
}

/* Random arms, moves and disarms against the rule that nothing fires early, late or twice. */
FIBER_TEST(heap_keeps_its_order)
{
    enum { N = 500 };
    struct tick t[N] = { 0 };
    uint64_t now = smx_now_ns();
    int expected = 0, fired = 0;

    srand(7);
    for (int i = 0; i < N; i++)
        io_timer_init(&t[i].timer, on_tick, &t[i]);
    for (int i = 0; i < 20 * N; i++) {
        struct tick *x = &t[rand() % N];

        if (rand() % 3 == 0)
            io_timer_disarm(&x->timer);
        else
            io_timer_arm(&x->timer, io_loop_self(),
                rand() % 2 ? now - (uint64_t)(rand() % 1000) : now + SMX_NS_PER_S * 3600);
    }
    for (int i = 0; i < N; i++)
        expected += t[i].timer.heap_index != SIZE_MAX && t[i].timer.deadline_ns <= now;
    io_sleep_until(in_ms(1));
    for (int i = 0; i < N; i++) {
        ASSERT_INT(t[i].fired, <=, 1);
        fired += t[i].fired;
        io_timer_disarm(&t[i].timer);
    }
    ASSERT_EQ(fired, expected);
}

/* --- numbers, stacks, fairness --- */

#if defined(__SANITIZE_THREAD__)
enum { MANY = 2000 };
#elif defined(SMX_SANITIZED)
enum { MANY = 4000 };
#else
enum { MANY = 20000 };
#endif

static void idle(void *arg)
{
    struct crowd *c = arg;

    c->results[0] += io_event_wait(&c->event, SMX_FOREVER) == 0;
}

FIBER_TEST(twenty_thousand_fibers)
{
    struct crowd c = { .log = "" };

    io_event_init(&c.event);
    for (int round = 0; round < 2; round++) {
        c.results[0] = 0;
        io_event_clear(&c.event);
        for (int i = 0; i < MANY; i++)
            spawn("idle", idle, &c);
        io_yield();
        ASSERT_EQ(io_loop_fibers(io_loop_self()), MANY + 1);
        io_event_set(&c.event);
        io_sleep_until(in_ms(1));
        join_all();
        ASSERT_EQ(c.results[0], MANY);
    }
}

/* Where the mapping of the running fiber's stack begins: at its guard page. */
static volatile char *guard_page(void)
{
    uintptr_t top = ((uintptr_t)io_fiber_self() + sizeof(struct io_fiber) + 4095) / 4096 * 4096;

    return (volatile char *)(top - io_stack_bytes - 4096);
}

static void write_at(void *arg)
{
    guard_page()[*(size_t *)arg] = 1;
}

/* How a process ends whose fiber writes there. */
static int status_of_write(size_t offset)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        on_loop(write_at, &offset);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return status;
}

TEST(guard_page_lies_below_the_stack)
{
    ASSERT_EQ(status_of_write(4096), 0);
    ASSERT_EQ(WTERMSIG(status_of_write(4095)), SIGSEGV);
    ASSERT_EQ(WTERMSIG(status_of_write(0)), SIGSEGV);
}

static int descend(int depth)
{
    volatile char frame[1024];

    frame[depth % 1024] = (char)depth;
    if (depth < 0)
        return frame[0];
    return descend(depth + 1) + frame[depth % 1024];
}

static void overflow(void *arg)
{
    *(volatile int *)arg = descend(0);
}

/* The process dies at once. */
TEST(stack_overflow_is_death_by_sigsegv)
{
    int status = 0;
    pid_t pid = fork();

    ASSERT_TRUE(pid >= 0);
    if (pid == 0) {
        int sink = 0;

        signal(SIGSEGV, SIG_DFL);
        on_loop(overflow, &sink);
        _exit(0);
    }
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_EQ(WTERMSIG(status), SIGSEGV);
}

static void use_stack(void *arg)
{
    volatile char deep[SMX_FIBER_STACK / 2];

    memset((char *)(uintptr_t)deep, 1, sizeof deep);
    *(int *)arg += deep[100];
}

/* Reused stacks, warm and cold, are as good as new ones. */
FIBER_TEST(stacks_are_reused)
{
    int sum = 0;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++)
            spawn("deep", use_stack, &sum);
        join_all();
    }
    ASSERT_EQ(sum, 300);
}

/* What was kept for reuse goes in time, and then the loop has no reason to wake up again. */
FIBER_TEST(unused_stacks_are_given_back)
{
    struct io_loop *loop = io_loop_self();
    int sum = 0;

    for (int i = 0; i < 100; i++)
        spawn("deep", use_stack, &sum);
    join_all();
    ASSERT_EQ(loop->stacks.nwarm, IO_STACKS_WARM);
    ASSERT_EQ(loop->stacks.ncold, 100 - IO_STACKS_WARM);
    io_stacks_trim(&loop->stacks);
    ASSERT_EQ(loop->stacks.nwarm + loop->stacks.ncold, 100);
    for (int i = 0; i < 10; i++)
        spawn("deep", use_stack, &sum);
    join_all();
    io_stacks_trim(&loop->stacks);
    ASSERT_EQ(loop->stacks.nwarm + loop->stacks.ncold, 10);
    loop->trim_period_ns = SMX_NS_PER_MS;
    loop->trim_ns = 1;
    while (loop->stacks.nwarm > 0)
        io_sleep_until(in_ms(1));
    io_sleep_until(in_ms(5));
    ASSERT_EQ(loop->trim_ns, 0);
}

#ifndef SMX_SANITIZED
enum { HOLES = 256, HOLE = 32 * 1024 };

static size_t resident_pages(void)
{
    char text[64] = "";
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (f && fgets(text, sizeof text, f))
        (void)sscanf(text, "%lu %lu", &size, &resident);
    if (f)
        fclose(f);
    return resident;
}

/* What was freed between what is held goes back once fibers are silent, and the loop sleeps for
 * good then. */
FIBER_TEST(free_pages_of_the_heap_are_given_back)
{
    struct io_loop *loop = io_loop_self();
    char *holes[HOLES], *held[HOLES];
    size_t full;

    for (int i = 0; i < HOLES; i++) {
        holes[i] = smx_alloc(HOLE);
        held[i] = smx_alloc(64);
        ASSERT_TRUE(holes[i] && held[i]);
        memset(holes[i], 1, HOLE);
    }
    for (int i = 0; i < HOLES; i++)
        smx_free(holes[i]);
    full = resident_pages();
    ASSERT_TRUE(full > 0);
    loop->trim_period_ns = SMX_NS_PER_MS;
    loop->trim_ns = 0;
    io_fiber_trim();
    while (loop->heap_trim > 0)
        io_sleep_until(in_ms(1));
    ASSERT_TRUE(resident_pages() < full - HOLES * (HOLE / 4096) / 2);
    for (int i = 0; i < HOLES; i++)
        smx_free(held[i]);
}
#endif

static void count_up(void *arg)
{
    ++*(int *)arg;
}

FIBER_TEST(moving_many_bytes_yields)
{
    int others = 0;

    spawn("other", count_up, &others);
    io_fair(SMX_FIBER_YIELD_BYTES);
    ASSERT_EQ(others, 0);
    io_fair(1);
    ASSERT_EQ(others, 1);
}

/* Fibers that wake each other forever do not keep timers and descriptors from being looked at. */
static void ping(void *arg)
{
    while (*(int *)arg == 0)
        io_yield();
}

FIBER_TEST(busy_fibers_do_not_starve_the_clock)
{
    int stop = 0;

    for (int i = 0; i < 3; i++)
        spawn("ping", ping, &stop);
    ASSERT_EQ(io_sleep_until(in_ms(2)), 0);
    stop = 1;
    join_all();
}

/* Touches 64 KiB of stack below the caller. */
static __attribute__((noinline)) void touch_deep(void)
{
    volatile char deep[64 * 1024];

    for (size_t i = 0; i < sizeof deep; i += 1024)
        deep[i] = 1;
}

FIBER_TEST(trim_gives_deep_pages_back)
{
    uintptr_t page = ((uintptr_t)__builtin_frame_address(0) - 32 * 1024) / 4096 * 4096;
    unsigned char resident = 0;

    touch_deep();
    ASSERT_EQ(mincore((void *)page, 4096, &resident), 0);
    ASSERT_EQ(resident & 1, 1);
    io_fiber_trim();
#ifndef SMX_SANITIZED
    ASSERT_EQ(mincore((void *)page, 4096, &resident), 0);
    ASSERT_EQ(resident & 1, 0);
#endif
}

/* Every allocation of these calls fails once, cleanly. */
FIBER_TEST(no_memory_for_timers_is_an_error)
{
    enum { N = 64 };
    struct tick t[N] = { 0 };
    int refused = 0;

    for (int i = 0; i < N; i++) {
        io_timer_init(&t[i].timer, on_tick, &t[i]);
        smx_mem_fail_after(1);
        if (io_timer_arm(&t[i].timer, io_loop_self(), SMX_FOREVER - 1) == -SMX_E_NO_MEMORY) {
            refused++;
            ASSERT_TRUE(t[i].timer.heap_index == SIZE_MAX);
        }
        smx_mem_fail_after(0);
    }
    for (int i = 0; i < N; i++)
        io_timer_disarm(&t[i].timer);
    ASSERT_TRUE(refused > 0);
}

FIBER_TEST(no_memory_for_a_fiber_is_an_error)
{
    int others = 0, refused = 0, started = 0;
    struct smx_err err = { 0 };

    for (int i = 0; i < 64; i++) {
        int r;

        smx_mem_fail_after(1);
        r = io_fiber_spawn(io_loop_self(), "other", count_up, &others, /* ret_fiber= */ NULL, &err);
        smx_mem_fail_after(0);
        refused += r == -SMX_E_NO_MEMORY;
        started += r == 0;
    }
    join_all();
    ASSERT_TRUE(refused > 0);
    ASSERT_EQ(others, started);
}

TEST(no_memory_for_a_loop_is_an_error)
{
    struct io_loop *loop = NULL;
    struct smx_err err = { 0 };

    smx_mem_fail_after(1);
    ASSERT_EQ(io_loop_new(&loop, &err), -SMX_E_NO_MEMORY);
    smx_mem_fail_after(0);
    ASSERT_TRUE(loop == NULL);
    io_loop_free(loop);
}
