/* test_policy.c - what the end of a lifetime does, waking, and what a front end keeps with a
 * sandbox. */
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
    f.cloud.fault[FAKE_PAUSE] = (struct fake_fault){ .times = 1, .code = SMX_E_STATE };
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
