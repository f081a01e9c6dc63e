/* test_policy.c - what the end of a lifetime does, waking, and what a front end keeps with a
 * sandbox. */
#include "core/internal.h"
#include "core/test_core.h"

#define SANDBOX(sb) SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL

static void wait_for(struct sandbox *sb, enum sandbox_state state)
{
    for (unsigned i = 0; i < 8000 && sb->state != state; i++)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(sb->state, state);
}

FIBER_TEST(the_end_of_a_lifetime_pauses_or_stops)
{
    static const struct {
        enum sandbox_on_timeout what;
        enum sandbox_state state;
    } cases[] = { { SANDBOX_PAUSE, SANDBOX_PAUSED }, { SANDBOX_STOP, SANDBOX_STOPPED } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct core_create_spec spec = {
            .on_timeout = cases[i].what, .has_timeout = true, .timeout_s = 1
        };
        FIXTURE(f);
        SANDBOX(sb);

        ASSERT_OK(fixture_open(&f), &f.err);
        ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
        wait_for(sb, cases[i].state);
        ASSERT_STR(sb->reason, "expired");
        ASSERT_EQ(sb->expires_unix_ms, 0);
        ASSERT_EQ(fake_cloud_count(&f.cloud), 1);
    }
}

FIBER_TEST(a_runtime_that_was_first_is_followed)
{
    struct core_create_spec spec = {
        .on_timeout = SANDBOX_PAUSE, .has_timeout = true, .timeout_s = 1
    };
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    fake_cloud_set(&f.cloud, sb->id, PROVIDER_BOX_PAUSED, "", /* tell= */ false);
    f.cloud.fault[FAKE_PAUSE] = (struct fake_fault){ .times = 100, .code = SMX_E_STATE };
    sbx_of(sb)->rt->next_look_ns = SMX_FOREVER; /* not by chance */
    wait_for(sb, SANDBOX_PAUSED);
    ASSERT_EQ(sb->expires_unix_ms, 0);
}

FIBER_TEST(what_the_runtime_cannot_do_at_the_end_is_said_at_once)
{
    static const enum sandbox_on_timeout what[] = { SANDBOX_PAUSE, SANDBOX_STOP };
    FIXTURE(f);

    f.cloud.capabilities = 0;
    ASSERT_OK(fixture_open(&f), &f.err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(what); i++) {
        struct core_create_spec spec = { .on_timeout = what[i] };
        SANDBOX(sb);

        ASSERT_EQ(core_create(f.core, &spec, &sb, &f.err), -SMX_E_UNSUPPORTED);
    }
    ASSERT_EQ(fake_cloud_count(&f.cloud), 0);
}

struct wakers {
    struct sandbox *sb;
    unsigned running, ok;
};

static void waker(void *arg)
{
    struct wakers *w = arg;
    struct smx_err err = { 0 };

    w->ok += sandbox_wake(w->sb, &err) == 0;
    w->running--;
}

FIBER_TEST(many_calls_wake_once)
{
    struct core_create_spec spec = { .auto_resume = true, .has_timeout = true, .timeout_s = 20 };
    FIXTURE(f);
    SANDBOX(sb);
    struct wakers w = { .running = 8 };
    int64_t left;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    f.cloud.fault[FAKE_RESUME].delay_ms = 20;
    w.sb = sb;
    for (unsigned i = 0; i < 8; i++)
        spawn("waker", waker, &w);
    while (w.running > 0)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(w.ok, 8);
    ASSERT_EQ(f.cloud.calls[FAKE_RESUME], 1);
    left = sb->expires_unix_ms - smx_now_unix_ms();
    ASSERT_TRUE(left > (SANDBOX_WAKE_S - 60) * 1000 && left <= SANDBOX_WAKE_S * 1000);
}

FIBER_TEST(only_what_asked_for_it_wakes)
{
    struct core_create_spec spec = { .auto_resume = true, .has_timeout = true, .timeout_s = 20 };
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(plain);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &plain), &f.err);
    ASSERT_OK(sandbox_wake(plain, &f.err), &f.err);
    ASSERT_OK(sandbox_pause(plain, &f.err), &f.err);
    ASSERT_EQ(sandbox_wake(plain, &f.err), -SMX_E_STATE);
    ASSERT_EQ(plain->state, SANDBOX_PAUSED);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    f.cloud.fault[FAKE_RESUME] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_EQ(sandbox_wake(sb, &f.err), -SMX_E_UNAVAILABLE);
    ASSERT_EQ(sb->lifetime_s, 20);
    ASSERT_OK(sandbox_wake(sb, &f.err), &f.err);
    ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
    ASSERT_EQ(sandbox_wake(sb, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
}

FIBER_TEST(what_a_front_end_keeps_survives_a_restart)
{
    struct core_create_spec spec = { .name = "box",
        .on_timeout = SANDBOX_PAUSE,
        .auto_resume = true,
        .open_envd = true,
        .private_traffic = true,
        .dialect = "{\"network\":{}}" };
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(again);
    SANDBOX(later);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_find(f.core, "box", &again, &f.err), &f.err);
    ASSERT_EQ(again->on_timeout, SANDBOX_PAUSE);
    ASSERT_TRUE(again->auto_resume && again->open_envd && again->private_traffic);
    ASSERT_STR(again->dialect, "{\"network\":{}}");
    ASSERT_EQ(again->created_unix_ns, sb->created_unix_ns);
    ASSERT_OK(make(&f, NULL, &later), &f.err);
    ASSERT_TRUE(later->created_unix_ns > again->created_unix_ns);
}

FIBER_TEST(too_much_to_keep_is_refused)
{
    char text[SANDBOX_DIALECT_MAX + 2];
    struct core_create_spec spec = { .dialect = text };
    FIXTURE(f);
    SANDBOX(sb);

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(core_create(f.core, &spec, &sb, &f.err), -SMX_E_TOO_LARGE);
    text[SANDBOX_DIALECT_MAX] = '\0';
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
}

FIBER_TEST(both_tokens_differ)
{
    FIXTURE(f);
    SANDBOX(sb);
    char envd[SANDBOX_TOKEN_SIZE], traffic[SANDBOX_TOKEN_SIZE];

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    sandbox_token(sb, envd);
    sandbox_traffic_token(sb, traffic);
    ASSERT_TRUE(sandbox_traffic_token_check(sb, traffic));
    ASSERT_FALSE(sandbox_traffic_token_check(sb, envd));
    ASSERT_FALSE(sandbox_token_check(sb, traffic));
}

struct seen {
    unsigned n, stop_at;
    int64_t last_ns;
    bool in_order;
};

static bool see(struct sandbox *sb, void *arg)
{
    struct seen *s = arg;

    s->in_order = s->in_order && sb->created_unix_ns > s->last_ns;
    s->last_ns = sb->created_unix_ns;
    return ++s->n != s->stop_at;
}

FIBER_TEST(each_living_one_is_seen_in_order)
{
    FIXTURE(f);
    SANDBOX(gone);
    struct seen all = { .in_order = true }, two = { .in_order = true, .stop_at = 2 };

    ASSERT_OK(fixture_open(&f), &f.err);
    for (unsigned i = 0; i < 5; i++) {
        SANDBOX(sb);

        ASSERT_OK(make(&f, NULL, &sb), &f.err);
    }
    ASSERT_OK(make(&f, NULL, &gone), &f.err);
    ASSERT_OK(sandbox_delete(gone, &f.err), &f.err);
    ASSERT_EQ(core_each(f.core, see, &all), 5);
    ASSERT_EQ(all.n, 5);
    ASSERT_TRUE(all.in_order);
    ASSERT_EQ(core_each(f.core, see, &two), 2);
}

/* --- connecting, extending, ending ------------------------------------------------------------ */

static int64_t left_s(const struct sandbox *sb)
{
    return (sb->expires_unix_ms - smx_now_unix_ms() + 999) / 1000;
}

FIBER_TEST(connecting_only_extends)
{
    struct core_create_spec spec = { .has_timeout = true, .timeout_s = 1000 };
    FIXTURE(f);
    SANDBOX(sb);
    bool started = true;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    ASSERT_OK(sandbox_connect(sb, 60, /* afresh= */ false, &started, &f.err), &f.err);
    ASSERT_FALSE(started);
    ASSERT_INT(left_s(sb), >, 900);
    ASSERT_OK(sandbox_connect(sb, 5000, /* afresh= */ true, &started, &f.err), &f.err);
    ASSERT_FALSE(started);
    ASSERT_INT(left_s(sb), >, 4900);
    ASSERT_OK(sandbox_extend(sb, 60, &f.err), &f.err);
    ASSERT_INT(left_s(sb), >, 4900);
    ASSERT_EQ(f.cloud.calls[FAKE_STOP] + f.cloud.calls[FAKE_START], 0);
}

FIBER_TEST(connecting_starts_what_sleeps)
{
    static const struct {
        int (*sleep)(struct sandbox *sb, struct smx_err *err);
        bool afresh;
        unsigned starts, resumes;
    } cases[] = { { sandbox_pause, false, 0, 1 }, { sandbox_pause, true, 1, 0 },
        { sandbox_stop, false, 1, 0 }, { sandbox_stop, true, 1, 0 } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        FIXTURE(f);
        SANDBOX(sb);
        bool started = false;

        ASSERT_OK(fixture_open(&f), &f.err);
        ASSERT_OK(make(&f, NULL, &sb), &f.err);
        ASSERT_OK(cases[i].sleep(sb, &f.err), &f.err);
        ASSERT_EQ(sandbox_extend(sb, 60, &f.err), -SMX_E_STATE);
        ASSERT_EQ(sandbox_expire(sb, &f.err), -SMX_E_STATE);
        ASSERT_OK(sandbox_connect(sb, 60, cases[i].afresh, &started, &f.err), &f.err);
        ASSERT_TRUE(started);
        ASSERT_EQ(sb->state, SANDBOX_RUNNING);
        ASSERT_EQ(left_s(sb), 60);
        ASSERT_EQ(f.cloud.calls[FAKE_START], cases[i].starts);
        ASSERT_EQ(f.cloud.calls[FAKE_RESUME], cases[i].resumes);
    }
}

FIBER_TEST(a_refused_connect_keeps_the_lifetime)
{
    struct core_create_spec spec = { .has_timeout = true, .timeout_s = 1000 };
    FIXTURE(f);
    SANDBOX(sb);
    bool started = true;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    f.cloud.fault[FAKE_RESUME] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_EQ(sandbox_connect(sb, 60, /* afresh= */ false, &started, &f.err), -SMX_E_UNAVAILABLE);
    ASSERT_FALSE(started);
    ASSERT_EQ(sb->state, SANDBOX_PAUSED);
    ASSERT_EQ(sb->lifetime_s, 1000);
}

FIBER_TEST(ending_now_does_what_the_end_does)
{
    static const enum sandbox_on_timeout what[] = { SANDBOX_KILL, SANDBOX_PAUSE, SANDBOX_STOP };
    static const enum sandbox_state after[] = { SANDBOX_DELETED, SANDBOX_PAUSED, SANDBOX_STOPPED };

    for (size_t i = 0; i < SMX_ARRAY_LEN(what); i++) {
        struct core_create_spec spec = { .on_timeout = what[i] };
        FIXTURE(f);
        SANDBOX(sb);

        ASSERT_OK(fixture_open(&f), &f.err);
        ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
        ASSERT_OK(sandbox_expire(sb, &f.err), &f.err);
        ASSERT_EQ(sb->state, after[i]);
        ASSERT_STR(sb->reason, "expired");
    }
}

/* --- samples ---------------------------------------------------------------------------------- */

FIBER_TEST(samples_are_taken_and_cut_by_time)
{
    struct sandbox_sample v[SANDBOX_SAMPLES];
    FIXTURE(f);
    SANDBOX(sb);
    int64_t begun = smx_now_unix_ms(), expires;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    expires = sb->expires_unix_ms;
    ASSERT_EQ(sandbox_samples(sb, 0, INT64_MAX, v, SANDBOX_SAMPLES), 0);
    ASSERT_OK(sandbox_sample(sb, &f.err), &f.err);
    ASSERT_OK(sandbox_sample(sb, &f.err), &f.err); /* fresh enough */
    ASSERT_EQ(sandbox_samples(sb, 0, INT64_MAX, v, SANDBOX_SAMPLES), 1);
    ASSERT_TRUE(v[0].unix_ms >= begun && v[0].unix_ms <= smx_now_unix_ms());
    ASSERT_EQ(sandbox_samples(sb, 0, begun - 1, v, SANDBOX_SAMPLES), 0);
    ASSERT_EQ(sandbox_samples(sb, v[0].unix_ms + 1, INT64_MAX, v, SANDBOX_SAMPLES), 0);
    ASSERT_EQ(sb->expires_unix_ms, expires);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    io_sleep_until(in_ms(1100));
    ASSERT_OK(sandbox_sample(sb, &f.err), &f.err); /* there is nothing to see */
    ASSERT_EQ(sandbox_samples(sb, 0, INT64_MAX, v, SANDBOX_SAMPLES), 1);
}

FIBER_TEST(the_last_samples_are_kept)
{
    struct sandbox_sample v[SANDBOX_SAMPLES];
    struct provider_stats st = { .cpu_limit = 2 };
    FIXTURE(f);
    SANDBOX(sb);
    size_t n = 0;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    for (unsigned i = 1; i <= 3 * SANDBOX_SAMPLES + 5; i++) {
        st.memory_bytes = i;
        samples_keep(sbx_of(sb), &st);
        n = sandbox_samples(sb, 0, INT64_MAX, v, SANDBOX_SAMPLES);
        ASSERT_EQ(n, SMX_MIN(i, (unsigned)SANDBOX_SAMPLES));
        ASSERT_EQ(v[n - 1].memory_bytes, i);
        ASSERT_EQ(v[0].memory_bytes, i - n + 1);
    }
    ASSERT_EQ(sandbox_samples(sb, 0, INT64_MAX, v, 3), 3);
}

FIBER_TEST(cpu_is_a_share_of_all_cores)
{
    struct sandbox_sample v[2];
    struct provider_stats st = { .cpu_limit = 2 };
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    sbx_of(sb)->samples.at_unix_ms = smx_now_unix_ms() - 100000; /* 100 s, of two cores */
    st.cpu_ns = 50 * SMX_NS_PER_S;
    samples_keep(sbx_of(sb), &st);
    sbx_of(sb)->samples.at_unix_ms = smx_now_unix_ms() - 100000;
    st.cpu_ns = 20 * SMX_NS_PER_S; /* it was started again */
    samples_keep(sbx_of(sb), &st);
    ASSERT_EQ(sandbox_samples(sb, 0, INT64_MAX, v, 2), 2);
    ASSERT_TRUE(v[0].cpu_pct > 24 && v[0].cpu_pct <= 25);
    ASSERT_TRUE(v[1].cpu_pct > 9 && v[1].cpu_pct <= 10);
}

FIBER_TEST(running_ones_are_looked_at_by_themselves)
{
    struct sandbox_sample v[SANDBOX_SAMPLES];
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    for (unsigned i = 0; i < 8000 && sandbox_samples(sb, 0, INT64_MAX, v, 8) == 0; i++)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(sandbox_samples(sb, 0, INT64_MAX, v, 8), 1);
}

static void delete_fiber(void *arg)
{
    struct smx_err err = { 0 };

    sandbox_delete(arg, &err);
}

FIBER_TEST(a_look_survives_the_end_of_the_sandbox)
{
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    f.cloud.fault[FAKE_DATA].delay_ms = 50;
    spawn("delete", delete_fiber, sb);
    sandbox_sample(sb, &f.err);
    wait_for(sb, SANDBOX_DELETED);
}
