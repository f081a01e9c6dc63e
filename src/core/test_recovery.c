/* test_recovery.c - what a gateway that comes back makes of rows and sandboxes. A crash is a copy
 * of the state directory taken in the middle of a call. */
#include "core/test_core.h"

#include "base/fd.h"

#define SANDBOX(sb) SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL

/* --- crashes ------------------------------------------------------------------------------- */

struct crash {
    struct fixture *from, *to;
    enum fake_call at;
    bool taken;
};

static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf data = { 0 };
    SMX_CLEANUP(smx_freep) char *from = smx_asprintf("%s/%s", from_dir, name);
    SMX_CLEANUP(smx_freep) char *to = smx_asprintf("%s/%s", to_dir, name);
    struct smx_err err = { 0 };

    smx_buf_init(&data, 64 * 1024 * 1024);
    if (access(from, F_OK) == 0 && (smx_read_file_at(-100, from, &data, &err) < 0 ||
                                       smx_write_file_atomic_at(-100, to,
                                           data.data ? data.data : "", data.len, 0600, &err) < 0))
        smx_test_fail(__FILE__, __LINE__, "copying %s: %s", name, err.msg);
}

static void take_copy(void *ctx, enum fake_call call)
{
    struct crash *c = ctx;

    if (call != c->at || c->taken)
        return;
    copy_file(c->from->dir, c->to->dir, "gateway.db");
    copy_file(c->from->dir, c->to->dir, "gateway.db-wal");
    c->taken = true;
}

static void check_events_have_no_gaps(struct fixture *f)
{
    struct core_event e;
    uint64_t since = 0, last = core_events_last(f->core);

    for (uint64_t want = 1; want <= last; want++) {
        ASSERT_OK(core_events_next(f->core, &since, &e, 0, &f->err), &f->err);
        ASSERT_EQ(e.seq, want);
    }
}

/* Runs call on a new sandbox, crashes in its middle, and opens what is left on the same cloud. */
static void crash_at(enum fake_call at, const char *name,
    int (*call)(struct sandbox *, struct smx_err *),
    int (*before)(struct sandbox *, struct smx_err *), enum sandbox_state want, bool there)
{
    FIXTURE(a);
    FIXTURE(b);
    struct crash crash = { &a, &b, at, false };
    struct core_page page = { 0 };
    struct core_filter all = { 0 };
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&a), &a.err);
    a.cloud.after = take_copy;
    a.cloud.ctx = &crash;
    ASSERT_OK(make(&a, name, &sb), &a.err);
    if (before)
        ASSERT_OK(before(sb, &a.err), &a.err);
    if (call)
        ASSERT_OK(call(sb, &a.err), &a.err);
    ASSERT_TRUE(crash.taken);
    a.cloud.after = NULL;
    sandbox_unref(smx_take(&sb));
    fixture_close(&a);

    b.other = &a.cloud;
    ASSERT_OK(fixture_open(&b), &b.err);
    ASSERT_EQ(fake_cloud_count(&a.cloud), there);
    ASSERT_OK(core_list(b.core, &all, &page, &b.err), &b.err);
    ASSERT_EQ(page.n, there);
    if (there) {
        ASSERT_STR(sandbox_state_name(page.v[0]->state), sandbox_state_name(want));
        ASSERT_EQ(page.v[0]->expires_unix_ms != 0, want == SANDBOX_RUNNING);
        ASSERT_OK(sandbox_delete(page.v[0], &b.err), &b.err);
    }
    core_page_done(&page);
    check_events_have_no_gaps(&b);
}

FIBER_TEST(crash_in_create_of_an_unnamed_one_removes_it)
{
    crash_at(FAKE_CREATE, NULL, NULL, NULL, SANDBOX_DELETED, false);
}

FIBER_TEST(crash_in_create_of_a_named_one_adopts_it)
{
    crash_at(FAKE_CREATE, "box", NULL, NULL, SANDBOX_RUNNING, true);
}

FIBER_TEST(crash_in_delete_finishes_it)
{
    crash_at(FAKE_KILL, "box", sandbox_delete, NULL, SANDBOX_DELETED, false);
}

FIBER_TEST(crash_in_other_changes_takes_what_the_provider_has)
{
    crash_at(FAKE_STOP, NULL, sandbox_stop, NULL, SANDBOX_STOPPED, true);
    crash_at(FAKE_PAUSE, NULL, sandbox_pause, NULL, SANDBOX_PAUSED, true);
    crash_at(FAKE_RESUME, NULL, sandbox_resume, sandbox_pause, SANDBOX_RUNNING, true);
    crash_at(FAKE_START, NULL, sandbox_start, sandbox_stop, SANDBOX_RUNNING, true);
}

/* Neither may be told that it runs, or is paused, because it was so before. */
FIBER_TEST(after_a_change_without_an_answer_the_next_one_asks_the_provider)
{
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "box", &sb), &f.err);
    f.cloud.fault[FAKE_STOP] =
        (struct fake_fault){ .times = 1, .code = SMX_E_AMBIGUOUS, .done_anyway = true };
    ASSERT_EQ(sandbox_stop(sb, &f.err), -SMX_E_AMBIGUOUS);
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
    ASSERT_OK(sandbox_start(sb, &f.err), &f.err);
    ASSERT_EQ(fake_cloud_state(&f.cloud, sb->provider_id), PROVIDER_BOX_RUNNING);
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);

    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    f.cloud.fault[FAKE_RESUME] =
        (struct fake_fault){ .times = 1, .code = SMX_E_AMBIGUOUS, .done_anyway = true };
    ASSERT_EQ(sandbox_resume(sb, &f.err), -SMX_E_AMBIGUOUS);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    ASSERT_EQ(fake_cloud_state(&f.cloud, sb->provider_id), PROVIDER_BOX_PAUSED);
    ASSERT_EQ(sb->state, SANDBOX_PAUSED);
}

FIBER_TEST(an_idempotency_key_adopts_too)
{
    FIXTURE(a);
    FIXTURE(b);
    struct crash crash = { &a, &b, FAKE_CREATE, false };
    struct core_create_spec spec = { .idempotency_scope = "s", .idempotency_key = "k" };
    struct core_idem_reply reply = { 0 };
    SANDBOX(sb);
    SANDBOX(again);

    ASSERT_OK(fixture_open(&a), &a.err);
    a.cloud.after = take_copy;
    a.cloud.ctx = &crash;
    ASSERT_EQ(core_idem_begin(a.core, "s", "k", "{}", 2, &reply, &a.err), CORE_IDEM_NEW);
    ASSERT_OK(core_create(a.core, &spec, &sb, &a.err), &a.err);
    a.cloud.after = NULL;
    fixture_close(&a);
    b.other = &a.cloud;
    ASSERT_OK(fixture_open(&b), &b.err);
    ASSERT_EQ(core_idem_begin(b.core, "s", "k", "{}", 2, &reply, &b.err), CORE_IDEM_ADOPTED);
    ASSERT_STR(reply.sandbox_id, sb->id);
    ASSERT_OK(core_find(b.core, reply.sandbox_id, &again, &b.err), &b.err);
    ASSERT_EQ(again->state, SANDBOX_RUNNING);
    core_idem_reply_done(&reply);
}

struct interrupted {
    struct fixture a, b;
    char id[SMX_ID_LEN + 1];
};

static void interrupted_done(struct interrupted *t)
{
    fixture_done(&t->b);
    fixture_done(&t->a);
}
#define INTERRUPTED(t)                                                 \
    SMX_CLEANUP(interrupted_done) struct interrupted t = { .id = "" }; \
    fixture_init(&t.a);                                                \
    fixture_init(&t.b)

/* A crash in the create of a named sandbox; the provider has not made it yet. */
static void interrupt_create(struct interrupted *t)
{
    struct crash crash = { &t->a, &t->b, FAKE_CREATE, false };
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&t->a), &t->a.err);
    t->a.cloud.after = take_copy;
    t->a.cloud.ctx = &crash;
    ASSERT_OK(make(&t->a, "box", &sb), &t->a.err);
    t->a.cloud.after = NULL;
    smx_strcpy(t->id, sizeof t->id, sb->id);
    sandbox_unref(smx_take(&sb));
    fixture_close(&t->a);
    t->b.other = &t->a.cloud;
}

static void finish_late(void *arg)
{
    struct interrupted *t = arg;

    io_sleep_until(in_ms(200)); /* first it is not shown, then shown as being made, then it runs */
    fake_cloud_hide(&t->a.cloud, t->id, false);
    io_sleep_until(in_ms(200));
    fake_cloud_set(&t->a.cloud, t->id, PROVIDER_BOX_RUNNING, "", false);
}

FIBER_TEST(a_create_that_is_still_under_way_is_adopted)
{
    INTERRUPTED(t);
    SANDBOX(sb);

    interrupt_create(&t);
    fake_cloud_set(&t.a.cloud, t.id, PROVIDER_BOX_UNKNOWN, "", false);
    fake_cloud_hide(&t.a.cloud, t.id, true);
    spawn("finish", finish_late, &t);
    ASSERT_OK(fixture_open(&t.b), &t.b.err);
    ASSERT_OK(core_find(t.b.core, "box", &sb, &t.b.err), &t.b.err);
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
    ASSERT_STR(sb->id, t.id);
}

FIBER_TEST(a_create_that_never_reached_the_provider_is_forgotten)
{
    INTERRUPTED(t);
    SANDBOX(sb);

    interrupt_create(&t);
    fake_cloud_set(&t.a.cloud, t.id, PROVIDER_BOX_GONE, "", false);
    ASSERT_OK(fixture_open(&t.b), &t.b.err);
    ASSERT_EQ(core_find(t.b.core, "box", &sb, &t.b.err), -SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_OK(make(&t.b, "box", &sb), &t.b.err);
}

FIBER_TEST(a_crashed_request_without_a_sandbox_may_be_sent_again)
{
    FIXTURE(f);
    struct core_idem_reply reply = { 0 };

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(core_idem_begin(f.core, "s", "k", "{}", 2, &reply, &f.err), CORE_IDEM_NEW);
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(core_idem_begin(f.core, "s", "k", "{}", 2, &reply, &f.err), CORE_IDEM_NEW);
}

/* --- a provider that changed meanwhile ----------------------------------------------------- */

FIBER_TEST(a_restart_finds_everything)
{
    static char key[] = "k", value[] = "v \"quoted\" \xc3\xa4";
    const struct json_pair pair = { key, value };
    struct core_create_spec spec = { .name = "box",
        .project_id = "p",
        .metadata = &pair,
        .n_metadata = 1,
        .env = &pair,
        .n_env = 1,
        .has_timeout = true,
        .timeout_s = 1000 };
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(again);
    struct provider_box *box;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_find(f.core, "box", &again, &f.err), &f.err);
    ASSERT_STR(again->id, sb->id);
    ASSERT_STR(again->project_id, "p");
    ASSERT_EQ(again->n_metadata, 1);
    ASSERT_STR(again->metadata[0].value, value);
    ASSERT_EQ(again->expires_unix_ms, sb->expires_unix_ms);
    ASSERT_EQ(again->created_unix_ms, sb->created_unix_ms);
    ASSERT_EQ(again->lifetime, SANDBOX_LIFETIME_ABSOLUTE);
    ASSERT_OK(sandbox_use_begin(again, &box, &f.err), &f.err);
    sandbox_use_end(again);
}

FIBER_TEST(what_the_provider_lost_is_deleted_with_a_reason)
{
    FIXTURE(f);
    SANDBOX(lost);
    SANDBOX(stopped);
    SANDBOX(due);
    SANDBOX(found);
    struct core_create_spec short_life = { .has_timeout = true, .timeout_s = 1, .name = "due" };
    struct core_ensured how;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "lost", &lost), &f.err);
    ASSERT_OK(make(&f, "stopped", &stopped), &f.err);
    ASSERT_OK(core_create(f.core, &short_life, &due, &f.err), &f.err);
    fixture_close(&f);
    fake_cloud_set(&f.cloud, lost->id, PROVIDER_BOX_GONE, "", false);
    fake_cloud_set(&f.cloud, due->id, PROVIDER_BOX_GONE, "", false);
    fake_cloud_set(&f.cloud, stopped->id, PROVIDER_BOX_STOPPED, "reboot", false);
    io_sleep_until(in_ms(1100));
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(core_find(f.core, "lost", &found, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_EQ(core_find(f.core, "due", &found, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_OK(core_find(f.core, "stopped", &found, &f.err), &f.err);
    ASSERT_EQ(found->state, SANDBOX_STOPPED);
    ASSERT_STR(found->reason, "reboot");
    ASSERT_OK(sandbox_start(found, &f.err), &f.err);
    sandbox_unref(smx_take(&found));
    ASSERT_OK(core_ensure(f.core, &short_life, &found, &how, &f.err), &f.err);
    ASSERT_TRUE(how.created && how.recreated);
    sandbox_unref(smx_take(&found));
    ASSERT_OK(
        core_ensure(f.core, &(struct core_create_spec){ .name = "lost" }, &found, &how, &f.err),
        &f.err);
    ASSERT_TRUE(how.created && how.recreated); /* never silently */
}

FIBER_TEST(strangers_at_the_provider_are_removed)
{
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    fixture_close(&f);
    ASSERT_EQ(fake_cloud_plant(&f.cloud, "iaaaaaaaaaaaaaaaaaaaa", "deadbeef"), 0);
    ASSERT_EQ(fake_cloud_count(&f.cloud), 2);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(fake_cloud_count(&f.cloud), 1);
    ASSERT_EQ(fake_cloud_state(&f.cloud, sb->id), PROVIDER_BOX_RUNNING);
}

FIBER_TEST(an_unreachable_provider_does_not_fail_the_start)
{
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(again);
    struct provider_box *box;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "box", &sb), &f.err);
    fixture_close(&f);
    f.cloud.fault[FAKE_LIST] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_find(f.core, "box", &again, &f.err), &f.err);
    ASSERT_EQ(sandbox_use_begin(again, &box, &f.err), -SMX_E_UNAVAILABLE);
    f.cloud.host.reset(f.cloud.host.ctx);
    for (unsigned i = 0; i < 1000 && sandbox_use_begin(again, &box, &f.err) < 0; i++)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(again->state, SANDBOX_RUNNING);
    sandbox_use_end(again);
}

FIBER_TEST(changes_that_the_provider_tells_of_are_followed)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct core_event e = { 0 };
    uint64_t since;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    since = core_events_last(f.core);
    ASSERT_TRUE(fake_cloud_set(&f.cloud, sb->id, PROVIDER_BOX_STOPPED, "oom", true));
    ASSERT_OK(core_events_next(f.core, &since, &e, in_ms(2000), &f.err), &f.err);
    ASSERT_STR(e.to, "stopped");
    ASSERT_STR(e.reason, "oom");
    ASSERT_STR(sb->reason, "oom");
    ASSERT_OK(sandbox_start(sb, &f.err), &f.err);
    ASSERT_STR(sb->reason, "");
    ASSERT_TRUE(fake_cloud_set(&f.cloud, sb->id, PROVIDER_BOX_GONE, "expired", true));
    for (unsigned i = 0; i < 1000 && sb->state != SANDBOX_DELETED; i++)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(sb->state, SANDBOX_DELETED);
    ASSERT_STR(sb->reason, "expired");
}

struct late_pause {
    struct fake_cloud *cloud;
    const char *id;
};

static void pause_late(void *arg)
{
    struct late_pause *p = arg;

    io_sleep_until(in_ms(10));
    fake_cloud_set(p->cloud, p->id, PROVIDER_BOX_PAUSED, "expired", true);
}

FIBER_TEST(what_the_provider_tells_of_before_it_is_taken_up_can_be_used)
{
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(again);
    struct late_pause late = { .cloud = &f.cloud };

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    late.id = sb->id;
    fixture_close(&f);
    f.cloud.fault[FAKE_LIST].delay_ms = 30;
    ASSERT_OK(io_fiber_spawn(io_loop_self(), "pause", pause_late, &late, NULL, &f.err), &f.err);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_find(f.core, sb->id, &again, &f.err), &f.err);
    ASSERT_EQ(again->state, SANDBOX_PAUSED);
    ASSERT_STR(again->reason, "expired");
    ASSERT_OK(sandbox_resume(again, &f.err), &f.err);
}

FIBER_TEST(what_appears_after_the_start_is_found_too)
{
    FIXTURE(f);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(fake_cloud_plant(&f.cloud, "iaaaaaaaaaaaaaaaaaaaa", "deadbeef"), 0);
    for (unsigned i = 0; i < 3000 && fake_cloud_count(&f.cloud) > 0; i++)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(fake_cloud_count(&f.cloud), 0);
}

FIBER_TEST(an_old_answer_does_not_undo_a_change)
{
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    f.cloud.fault[FAKE_LIST].delay_ms = 30;
    f.cloud.host.reset(f.cloud.host.ctx);
    io_sleep_until(in_ms(5));
    ASSERT_OK(sandbox_stop(sb, &f.err), &f.err);
    io_sleep_until(in_ms(60));
    ASSERT_EQ(sb->state, SANDBOX_STOPPED);
}

FIBER_TEST(many_creates_while_the_provider_is_listed)
{
    FIXTURE(f);
    struct core_filter all = { .limit = SMX_LIST_MAX };
    struct core_page page = { 0 };

    ASSERT_OK(fixture_open(&f), &f.err);
    f.cloud.fault[FAKE_LIST].delay_ms = 5;
    f.cloud.fault[FAKE_CREATE].delay_ms = 3;
    for (unsigned i = 0; i < 20; i++) {
        SANDBOX(sb);

        f.cloud.host.reset(f.cloud.host.ctx);
        ASSERT_OK(make(&f, NULL, &sb), &f.err);
    }
    io_sleep_until(in_ms(20));
    ASSERT_EQ(fake_cloud_count(&f.cloud), 20);
    ASSERT_OK(core_list(f.core, &all, &page, &f.err), &f.err);
    ASSERT_EQ(page.n, 20);
    core_page_done(&page);
}
