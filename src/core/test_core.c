/* test_core.c - states, creating, getting by name, lifetimes, use. */
#include "core/test_core.h"

#define SANDBOX(sb) SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL

FIBER_TEST(create_runs_and_is_found)
{
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(by_name);
    SANDBOX(by_id);
    SANDBOX(by_provider);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "box", &sb), &f.err);
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
    ASSERT_STR(sb->template, "base");
    ASSERT_STR(sb->runtime, "local");
    ASSERT_TRUE(sb->serial > 0);
    ASSERT_OK(core_find(f.core, "box", &by_name, &f.err), &f.err);
    ASSERT_OK(core_find(f.core, sb->id, &by_id, &f.err), &f.err);
    ASSERT_OK(core_find(f.core, sb->provider_id, &by_provider, &f.err), &f.err);
    ASSERT_TRUE(by_name == sb && by_id == sb && by_provider == sb);
    ASSERT_STR(sb->aliases[0], sb->provider_id);
    ASSERT_EQ(fake_cloud_count(&f.cloud), 1);
}

FIBER_TEST(delete_is_gone_everywhere)
{
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(again);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "box", &sb), &f.err);
    ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
    ASSERT_EQ(sb->state, SANDBOX_DELETED);
    ASSERT_STR(sb->reason, "deleted");
    ASSERT_EQ(fake_cloud_count(&f.cloud), 0);
    ASSERT_EQ(core_find(f.core, sb->id, &again, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_TRUE(strstr(f.err.msg, "not found") != NULL);
    ASSERT_EQ(sandbox_delete(sb, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_OK(make(&f, "box", &again), &f.err);
}

FIBER_TEST(provider_down_keeps_the_record)
{
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    f.cloud.fault[FAKE_KILL] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_EQ(sandbox_delete(sb, &f.err), -SMX_E_UNAVAILABLE);
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
    ASSERT_TRUE(sb->expires_unix_ms != 0);
    ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
}

FIBER_TEST(failed_create_leaves_nothing)
{
    static const enum smx_code codes[] = { SMX_E_UNAVAILABLE, SMX_E_QUOTA, SMX_E_DISK_FULL,
        SMX_E_TEMPLATE_NOT_FOUND };
    FIXTURE(f);
    struct core_page page = { 0 };
    struct core_filter all = { 0 };

    ASSERT_OK(fixture_open(&f), &f.err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(codes); i++) {
        SANDBOX(sb);

        f.cloud.fault[FAKE_CREATE] = (struct fake_fault){ .times = 1, .code = codes[i] };
        ASSERT_EQ(make(&f, "box", &sb), -(int)codes[i]);
        ASSERT_TRUE(sb == NULL);
        ASSERT_EQ(fake_cloud_count(&f.cloud), 0);
    }
    ASSERT_OK(core_list(f.core, &all, &page, &f.err), &f.err);
    ASSERT_EQ(page.n, 0);
    core_page_done(&page);
}

FIBER_TEST(ambiguous_create_is_removed_by_its_token)
{
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    f.cloud.fault[FAKE_CREATE] =
        (struct fake_fault){ .times = 1, .code = SMX_E_AMBIGUOUS, .done_anyway = true };
    ASSERT_EQ(make(&f, "box", &sb), -SMX_E_AMBIGUOUS);
    ASSERT_EQ(f.cloud.made, 1);
    ASSERT_EQ(fake_cloud_count(&f.cloud), 0);
    ASSERT_OK(make(&f, "box", &sb), &f.err);
}

FIBER_TEST(ambiguous_create_is_removed_when_the_provider_is_back)
{
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    f.cloud.fault[FAKE_CREATE] =
        (struct fake_fault){ .times = 1, .code = SMX_E_AMBIGUOUS, .done_anyway = true };
    f.cloud.fault[FAKE_LIST] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_EQ(make(&f, "box", &sb), -SMX_E_AMBIGUOUS);
    ASSERT_EQ(fake_cloud_count(&f.cloud), 1);
    ASSERT_OK(make(&f, "box", &sb), &f.err); /* the name is free at once */
    f.cloud.host.reset(f.cloud.host.ctx);
    for (unsigned i = 0; i < 1000 && fake_cloud_count(&f.cloud) > 1; i++)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(fake_cloud_count(&f.cloud), 1);
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
}

FIBER_TEST(every_transition_is_as_the_table_says)
{
    unsigned allowed = 0;

    for (unsigned from = 0; from < SANDBOX_STATE_COUNT_; from++) {
        enum sandbox_state parsed;

        ASSERT_TRUE(sandbox_state_parse(sandbox_state_name(from), &parsed));
        ASSERT_EQ(parsed, from);
        ASSERT_FALSE(sandbox_state_allows(from, from));
        ASSERT_FALSE(sandbox_state_allows(SANDBOX_DELETED, from));
        if (from != SANDBOX_DELETED && from != SANDBOX_DELETING) {
            ASSERT_TRUE(sandbox_state_allows(from, SANDBOX_DELETING));
        }
        ASSERT_FALSE(sandbox_state_allows(from, SANDBOX_CREATING));
        for (unsigned to = 0; to < SANDBOX_STATE_COUNT_; to++)
            allowed += sandbox_state_allows(from, to);
    }
    ASSERT_EQ(allowed, 54);
    ASSERT_FALSE(sandbox_state_allows(SANDBOX_STOPPED, SANDBOX_PAUSED));
    ASSERT_FALSE(sandbox_state_allows(SANDBOX_RUNNING, SANDBOX_STARTING));
    ASSERT_FALSE(sandbox_state_allows(SANDBOX_CREATING, SANDBOX_STOPPED));
}

/* What each call does in each stable state: the state afterwards, or the error. */
FIBER_TEST(calls_in_every_stable_state)
{
    static const struct {
        enum sandbox_state in;
        int (*call)(struct sandbox *sb, struct smx_err *err);
        int r;
        enum sandbox_state out;
    } cases[] = {
        { SANDBOX_RUNNING, sandbox_start, 0, SANDBOX_RUNNING },
        { SANDBOX_RUNNING, sandbox_stop, 0, SANDBOX_STOPPED },
        { SANDBOX_RUNNING, sandbox_pause, 0, SANDBOX_PAUSED },
        { SANDBOX_RUNNING, sandbox_resume, 0, SANDBOX_RUNNING },
        { SANDBOX_PAUSED, sandbox_start, 0, SANDBOX_RUNNING },
        { SANDBOX_PAUSED, sandbox_stop, 0, SANDBOX_STOPPED },
        { SANDBOX_PAUSED, sandbox_pause, 0, SANDBOX_PAUSED },
        { SANDBOX_PAUSED, sandbox_resume, 0, SANDBOX_RUNNING },
        { SANDBOX_STOPPED, sandbox_start, 0, SANDBOX_RUNNING },
        { SANDBOX_STOPPED, sandbox_stop, 0, SANDBOX_STOPPED },
        { SANDBOX_STOPPED, sandbox_pause, -SMX_E_STATE, SANDBOX_STOPPED },
        { SANDBOX_STOPPED, sandbox_resume, -SMX_E_STATE, SANDBOX_STOPPED },
        { SANDBOX_DELETED, sandbox_start, -SMX_E_SANDBOX_NOT_FOUND, SANDBOX_DELETED },
        { SANDBOX_DELETED, sandbox_stop, -SMX_E_SANDBOX_NOT_FOUND, SANDBOX_DELETED },
        { SANDBOX_DELETED, sandbox_pause, -SMX_E_SANDBOX_NOT_FOUND, SANDBOX_DELETED },
        { SANDBOX_DELETED, sandbox_resume, -SMX_E_SANDBOX_NOT_FOUND, SANDBOX_DELETED },
    };
    FIXTURE(f);

    ASSERT_OK(fixture_open(&f), &f.err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        SANDBOX(sb);

        ASSERT_OK(make(&f, NULL, &sb), &f.err);
        if (cases[i].in == SANDBOX_PAUSED)
            ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
        if (cases[i].in == SANDBOX_STOPPED)
            ASSERT_OK(sandbox_stop(sb, &f.err), &f.err);
        if (cases[i].in == SANDBOX_DELETED)
            ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
        ASSERT_EQ(cases[i].call(sb, &f.err), cases[i].r);
        ASSERT_STR(sandbox_state_name(sb->state), sandbox_state_name(cases[i].out));
        ASSERT_EQ(sb->expires_unix_ms != 0, cases[i].out == SANDBOX_RUNNING);
    }
}

FIBER_TEST(refused_change_goes_back)
{
    FIXTURE(f);
    SANDBOX(sb);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    f.cloud.fault[FAKE_PAUSE] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_EQ(sandbox_pause(sb, &f.err), -SMX_E_UNAVAILABLE);
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
    f.cloud.fault[FAKE_STOP] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_EQ(sandbox_stop(sb, &f.err), -SMX_E_UNAVAILABLE);
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
}

/* --- one name, many callers ---------------------------------------------------------------- */

enum { CALLERS = 16 };
struct herd {
    struct fixture *f;
    unsigned ok, created;
    char id[SMX_ID_LEN + 1];
    bool same;
};

static void ensure_fiber(void *arg)
{
    struct herd *h = arg;
    struct core_create_spec spec = { .name = "shared" };
    struct core_ensured how;
    struct smx_err err = { 0 };
    SANDBOX(sb);

    if (core_ensure(h->f->core, &spec, &sb, &how, &err) < 0)
        return;
    h->ok += sb->state == SANDBOX_RUNNING;
    h->created += how.created;
    if (h->id[0] && !smx_streq(h->id, sb->id))
        h->same = false;
    smx_strcpy(h->id, sizeof h->id, sb->id);
}

static void stampede(struct fixture *f, struct herd *h)
{
    size_t before = io_loop_fibers(io_loop_self());

    *h = (struct herd){ .f = f, .same = true };
    for (unsigned i = 0; i < CALLERS; i++)
        spawn("caller", ensure_fiber, h);
    while (io_loop_fibers(io_loop_self()) > before)
        io_sleep_until(in_ms(1));
}

FIBER_TEST(sixteen_callers_make_one)
{
    FIXTURE(f);
    struct herd h;

    ASSERT_OK(fixture_open(&f), &f.err);
    f.cloud.fault[FAKE_CREATE].delay_ms = 20;
    stampede(&f, &h);
    ASSERT_EQ(h.ok, CALLERS);
    ASSERT_EQ(h.created, 1);
    ASSERT_TRUE(h.same);
    ASSERT_EQ(f.cloud.made, 1);
}

FIBER_TEST(the_next_caller_tries_when_the_first_failed)
{
    FIXTURE(f);
    struct herd h;

    ASSERT_OK(fixture_open(&f), &f.err);
    f.cloud.fault[FAKE_CREATE] =
        (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE, .delay_ms = 5 };
    stampede(&f, &h);
    ASSERT_EQ(h.ok, CALLERS - 1);
    ASSERT_EQ(h.created, 1);
    ASSERT_EQ(f.cloud.made, 1);
}

FIBER_TEST(ensure_starts_what_is_stopped_or_paused)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct herd h;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "shared", &sb), &f.err);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    stampede(&f, &h);
    ASSERT_EQ(h.ok, CALLERS);
    ASSERT_EQ(f.cloud.calls[FAKE_RESUME], 1);
    ASSERT_OK(sandbox_stop(sb, &f.err), &f.err);
    stampede(&f, &h);
    ASSERT_EQ(h.ok, CALLERS);
    ASSERT_EQ(h.created, 0);
    ASSERT_EQ(f.cloud.calls[FAKE_START], 1);
}

FIBER_TEST(a_taken_name_is_a_conflict)
{
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(other);
    struct core_patch rename = { .name = "other" }, unname = { .name = "" };

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "box", &sb), &f.err);
    ASSERT_EQ(make(&f, "box", &other), -SMX_E_EXISTS);
    ASSERT_EQ(fake_cloud_count(&f.cloud), 1);
    ASSERT_OK(make(&f, "other", &other), &f.err);
    ASSERT_EQ(sandbox_patch(sb, &rename, &f.err), -SMX_E_EXISTS);
    ASSERT_STR(sb->name, "box");
    ASSERT_OK(sandbox_patch(other, &unname, &f.err), &f.err);
    ASSERT_TRUE(other->name == NULL);
    ASSERT_OK(sandbox_patch(sb, &rename, &f.err), &f.err);
    ASSERT_STR(sb->name, "other");
}

/* --- lifetimes ----------------------------------------------------------------------------- */

static void wait_until_deleted(struct sandbox *sb)
{
    for (unsigned i = 0; i < 5000 && sb->state != SANDBOX_DELETED; i++)
        io_sleep_until(in_ms(1));
}

FIBER_TEST(an_absolute_lifetime_ends)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct core_create_spec spec = { .name = "short", .has_timeout = true, .timeout_s = 1 };
    struct core_ensured how = { 0 };
    struct provider_box *box;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    ASSERT_EQ(sb->lifetime, SANDBOX_LIFETIME_ABSOLUTE);
    ASSERT_OK(sandbox_use_begin(sb, &box, &f.err), &f.err); /* use does not extend it */
    wait_until_deleted(sb);
    ASSERT_EQ(sb->state, SANDBOX_DELETED);
    ASSERT_STR(sb->reason, "expired");
    ASSERT_EQ(fake_cloud_count(&f.cloud), 0);
    sandbox_use_end(sb);
    sandbox_unref(smx_take(&sb));
    ASSERT_OK(core_ensure(f.core, &spec, &sb, &how, &f.err), &f.err);
    ASSERT_TRUE(how.created && how.recreated);
}

FIBER_TEST(use_extends_a_sliding_lifetime)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct provider_box *box;
    int64_t first;

    f.default_lifetime_s = 1;
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    first = sb->expires_unix_ms;
    ASSERT_OK(sandbox_use_begin(sb, &box, &f.err), &f.err);
    io_sleep_until(in_ms(1300)); /* an open stream holds it */
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
    sandbox_use_end(sb);
    ASSERT_TRUE(sb->expires_unix_ms > first);
    ASSERT_TRUE(f.cloud.last_deadline_unix_ms > first); /* and the runtime heard of it */
    wait_until_deleted(sb);
    ASSERT_STR(sb->reason, "expired");
}

FIBER_TEST(policies_and_their_cap)
{
    static const struct {
        bool has;
        uint64_t timeout, max, want_s;
        enum sandbox_lifetime policy;
    } cases[] = {
        { false, 0, 0, 3600, SANDBOX_LIFETIME_SLIDING },
        { true, 0, 0, 0, SANDBOX_LIFETIME_NONE },
        { true, 60, 0, 60, SANDBOX_LIFETIME_ABSOLUTE },
        { false, 0, 100, 100, SANDBOX_LIFETIME_SLIDING },
        { true, 0, 100, 100, SANDBOX_LIFETIME_NONE },
        { true, 600, 100, 100, SANDBOX_LIFETIME_ABSOLUTE },
        { true, 60, 100, 60, SANDBOX_LIFETIME_ABSOLUTE },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        FIXTURE(f);
        SANDBOX(sb);
        struct core_create_spec spec = { .has_timeout = cases[i].has,
            .timeout_s = cases[i].timeout };
        int64_t life;

        f.max_lifetime_s = cases[i].max;
        ASSERT_OK(fixture_open(&f), &f.err);
        ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
        ASSERT_EQ(sb->lifetime, cases[i].policy);
        life = sb->expires_unix_ms ? sb->expires_unix_ms - sb->last_used_unix_ms : 0;
        ASSERT_EQ(life, (int64_t)cases[i].want_s * 1000);
    }
}

FIBER_TEST(the_cap_counts_from_the_last_resume_also_after_a_restart)
{
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(again);
    struct provider_box *box;

    f.max_lifetime_s = 2;
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "box", &sb), &f.err);
    io_sleep_until(in_ms(1500));
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    ASSERT_OK(sandbox_resume(sb, &f.err), &f.err);
    io_sleep_until(in_ms(700));
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_find(f.core, "box", &again, &f.err), &f.err);
    ASSERT_OK(sandbox_use_begin(again, &box, &f.err), &f.err);
    sandbox_use_end(again);
    ASSERT_EQ(again->expires_unix_ms, sb->expires_unix_ms);
    ASSERT_TRUE(again->expires_unix_ms > smx_now_unix_ms());
}

FIBER_TEST(pause_suspends_and_patch_sets_a_lifetime)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct core_patch none = { .has_timeout = true },
                      minute = { .has_timeout = true, .timeout_s = 60 };

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    ASSERT_EQ(sb->expires_unix_ms, 0);
    ASSERT_EQ(f.cloud.calls[FAKE_SET_DEADLINE], 1);
    ASSERT_EQ(f.cloud.last_deadline_unix_ms, 0);
    ASSERT_OK(sandbox_resume(sb, &f.err), &f.err);
    ASSERT_TRUE(sb->expires_unix_ms > 0);
    ASSERT_EQ(f.cloud.last_deadline_unix_ms, sb->expires_unix_ms);
    ASSERT_OK(sandbox_patch(sb, &minute, &f.err), &f.err);
    ASSERT_EQ(sb->lifetime_s, 60);
    ASSERT_EQ(f.cloud.last_deadline_unix_ms, sb->expires_unix_ms);
    ASSERT_OK(sandbox_patch(sb, &none, &f.err), &f.err);
    ASSERT_EQ(sb->expires_unix_ms, 0);
    ASSERT_EQ(sb->lifetime, SANDBOX_LIFETIME_NONE);
}

FIBER_TEST(expiry_is_tried_again_when_the_provider_is_away)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct core_create_spec spec = { .has_timeout = true, .timeout_s = 1 };

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    f.cloud.fault[FAKE_KILL] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    for (unsigned i = 0; i < 3000 && f.cloud.calls[FAKE_KILL] == 0; i++)
        io_sleep_until(in_ms(1));
    io_sleep_until(in_ms(5));
    ASSERT_EQ(sb->state, SANDBOX_RUNNING);
    ASSERT_TRUE(sb->expires_unix_ms <= smx_now_unix_ms()); /* no new hour was given */
}

/* --- use ----------------------------------------------------------------------------------- */

FIBER_TEST(the_box_outlives_a_delete_while_it_is_used)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct provider_box *box = NULL, *second = NULL;
    struct provider_file file;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    ASSERT_OK(sandbox_use_begin(sb, &box, &f.err), &f.err);
    ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
    ASSERT_EQ(provider_stat(box, "x", NULL, &file, in_ms(1000), &f.err), -SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_EQ(sandbox_use_begin(sb, &second, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
    sandbox_use_end(sb);
}

struct counted_halt {
    struct sandbox_halt halt; /* first */
    int called;
};

static void count_halt(struct sandbox_halt *h)
{
    ((struct counted_halt *)h)->called++;
}

FIBER_TEST(a_pause_or_stop_halts_what_must_not_go_on)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct counted_halt first = { .halt.fn = count_halt }, second = first, left = first;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    ASSERT_OK(sandbox_halt_begin(sb, &first.halt, &f.err), &f.err);
    ASSERT_OK(sandbox_halt_begin(sb, &left.halt, &f.err), &f.err);
    sandbox_halt_end(&left.halt);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    ASSERT_EQ(first.called, 1);
    ASSERT_EQ(sandbox_halt_begin(sb, &second.halt, &f.err), -SMX_E_STATE);
    ASSERT_OK(sandbox_resume(sb, &f.err), &f.err);
    ASSERT_OK(sandbox_halt_begin(sb, &second.halt, &f.err), &f.err);
    ASSERT_OK(sandbox_stop(sb, &f.err), &f.err);
    ASSERT_EQ(second.called, 1);
    ASSERT_EQ(first.called, 1);
    ASSERT_EQ(left.called, 0);
    sandbox_halt_end(&first.halt); /* as its holder does in any case */
}

FIBER_TEST(a_process_runs_and_files_are_kept)
{
    static const char *const argv[] = { "echo", "hello", "world", NULL };
    FIXTURE(f);
    SANDBOX(sb);
    SMX_CLEANUP(provider_stream_closep) struct provider_stream *s = NULL;
    struct provider_process_spec spec = { .argv = argv };
    struct provider_event e;
    struct provider_writer *w = NULL;
    struct provider_file file = { 0 };
    struct provider_box *box;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    ASSERT_OK(sandbox_use_begin(sb, &box, &f.err), &f.err);
    ASSERT_OK(provider_process_start(box, &spec, &s, in_ms(1000), &f.err), &f.err);
    ASSERT_OK(provider_stream_next(s, &e, in_ms(1000), &f.err), &f.err);
    ASSERT_EQ(e.kind, PROVIDER_EVENT_START);
    ASSERT_OK(provider_stream_next(s, &e, in_ms(1000), &f.err), &f.err);
    ASSERT_MEM(e.data, e.n, "hello world\n", 12);
    ASSERT_OK(provider_stream_next(s, &e, in_ms(1000), &f.err), &f.err);
    ASSERT_EQ(e.kind, PROVIDER_EVENT_END);
    ASSERT_EQ(provider_stream_next(s, &e, in_ms(1000), &f.err), -SMX_E_CLOSED);

    ASSERT_OK(provider_write_open(box, "d/x", NULL, 3, &w, in_ms(1000), &f.err), &f.err);
    ASSERT_OK(provider_write(w, "abc", 3, &f.err), &f.err);
    ASSERT_OK(provider_write_commit(w, in_ms(1000), &f.err), &f.err);
    ASSERT_OK(provider_stat(box, "/workspace/d/x", NULL, &file, in_ms(1000), &f.err), &f.err);
    ASSERT_EQ(file.size_bytes, 3);
    provider_file_done(&file);
    sandbox_use_end(sb);
    ASSERT_OK(sandbox_use_begin(sb, &box, &f.err), &f.err); /* and again */
    ASSERT_OK(provider_stat(box, "/workspace/d/x", NULL, &file, in_ms(1000), &f.err), &f.err);
    provider_file_done(&file);
    sandbox_use_end(sb);
}

FIBER_TEST(what_the_provider_cannot_do_is_said)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct provider_box *box;
    struct http_client to;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    ASSERT_OK(sandbox_use_begin(sb, &box, &f.err), &f.err);
    ASSERT_EQ(provider_dial(box, 80, &to, in_ms(10), &f.err), -SMX_E_UNSUPPORTED);
    ASSERT_TRUE(strstr(f.err.msg, "fake") != NULL);
    sandbox_use_end(sb);
}

/* --- bad input ----------------------------------------------------------------------------- */

FIBER_TEST(bad_specs_name_the_field)
{
    static char huge[SMX_METADATA_VALUE_MAX + 2], key[200], k[] = "k", v[] = "v", empty[] = "",
                                                            with_equals[] = "A=B";
    static const struct json_pair big[] = { { k, huge } };
    static const struct json_pair no_key[] = { { empty, v } };
    static const struct json_pair long_key[] = { { key, v } };
    static const struct json_pair bad_env[] = { { with_equals, v } };
    const struct {
        struct core_create_spec spec;
        int code;
        const char *field;
    } cases[] = {
        { { .name = "Upper" }, SMX_E_INVALID, "name" },
        { { .name = "" }, SMX_E_INVALID, "name" },
        { { .template = "" }, SMX_E_INVALID, "template" },
        { { .template = "none" }, SMX_E_TEMPLATE_NOT_FOUND, "none" },
        { { .runtime = "nope" }, SMX_E_INVALID,
            "Invalid runtime 'nope'. Must be 'daytona', 'e2b' or 'local'" },
        { { .runtime = "daytona" }, SMX_E_NOT_CONFIGURED,
            "Runtime 'daytona' is not properly configured" },
        { { .metadata = big, .n_metadata = 1 }, SMX_E_INVALID, "metadata.k" },
        { { .metadata = no_key, .n_metadata = 1 }, SMX_E_INVALID, "metadata" },
        { { .metadata = long_key, .n_metadata = 1 }, SMX_E_INVALID, "metadata" },
        { { .metadata = big, .n_metadata = SMX_METADATA_ENTRIES_MAX + 1 }, SMX_E_INVALID,
            "metadata" },
        { { .env = bad_env, .n_env = 1 }, SMX_E_INVALID, "env" },
        { { .resources = { .cpu = -1 } }, SMX_E_INVALID, "resources.cpu" },
        { { .resources = { .cpu = __builtin_nan("") } }, SMX_E_INVALID, "resources.cpu" },
        { { .resources = { .memory_mib = UINT64_MAX } }, SMX_E_INVALID, "resources.memory_mib" },
        { { .has_timeout = true, .timeout_s = UINT64_MAX }, SMX_E_INVALID, "timeout_s" },
    };
    FIXTURE(f);

    memset(huge, 'x', sizeof huge - 1);
    memset(key, 'k', sizeof key - 1);
    ASSERT_OK(fixture_open(&f), &f.err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        SANDBOX(sb);

        ASSERT_EQ(core_create(f.core, &cases[i].spec, &sb, &f.err), -cases[i].code);
        if (!strstr(f.err.msg, cases[i].field))
            smx_test_fail(__FILE__, __LINE__, "case %zu: %s", i, f.err.msg);
    }
    ASSERT_EQ(fake_cloud_count(&f.cloud), 0);
}

FIBER_TEST(lists_have_filters_and_pages)
{
    FIXTURE(f);
    struct core_filter two = { .limit = 2 },
                       stopped = { .has_state = true, .state = SANDBOX_STOPPED };
    struct core_filter bad = { .cursor = "x" }, large = { .limit = SMX_LIST_MAX + 1 };
    struct core_page page = { 0 };
    char last[24];

    ASSERT_OK(fixture_open(&f), &f.err);
    for (unsigned i = 0; i < 5; i++) {
        SANDBOX(sb);

        ASSERT_OK(make(&f, NULL, &sb), &f.err);
        if (i == 3)
            ASSERT_OK(sandbox_stop(sb, &f.err), &f.err);
    }
    for (unsigned i = 0; i < 3; i++) {
        ASSERT_OK(core_list(f.core, &two, &page, &f.err), &f.err);
        ASSERT_EQ(page.n, i < 2 ? 2 : 1);
        ASSERT_EQ(page.next_cursor[0] != '\0', i < 2);
        smx_strcpy(last, sizeof last, page.next_cursor);
        two.cursor = last;
        core_page_done(&page);
    }
    ASSERT_OK(core_list(f.core, &stopped, &page, &f.err), &f.err);
    ASSERT_EQ(page.n, 1);
    core_page_done(&page);
    ASSERT_EQ(core_list(f.core, &bad, &page, &f.err), -SMX_E_INVALID);
    ASSERT_EQ(core_list(f.core, &large, &page, &f.err), -SMX_E_INVALID);
}

FIBER_TEST(tokens_are_stable_and_checked)
{
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(other);
    SANDBOX(again);
    char token[SANDBOX_TOKEN_SIZE], second[SANDBOX_TOKEN_SIZE];
    char id[SMX_ID_LEN + 1];

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    ASSERT_OK(make(&f, NULL, &other), &f.err);
    sandbox_token(sb, token);
    ASSERT_EQ(strlen(token), 40);
    sandbox_token(other, second);
    ASSERT_TRUE(sandbox_token_check(sb, token));
    ASSERT_FALSE(sandbox_token_check(other, token));
    ASSERT_FALSE(sandbox_token_check(sb, second));
    ASSERT_FALSE(sandbox_token_check(sb, ""));
    smx_strcpy(id, sizeof id, sb->id);
    sandbox_unref(smx_take(&sb));
    sandbox_unref(smx_take(&other));
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_find(f.core, id, &again, &f.err), &f.err);
    ASSERT_TRUE(sandbox_token_check(again, token));
}

/* The n-th allocation fails, for every n: an error, nothing left, and the core works on. */
FIBER_TEST(no_memory_at_any_moment_of_a_create)
{
    static char key[] = "k", value[] = "v";
    const struct json_pair pair = { key, value };
    struct core_create_spec spec = { .name = "box",
        .project_id = "p",
        .metadata = &pair,
        .n_metadata = 1,
        .env = &pair,
        .n_env = 1,
        .idempotency_scope = "s",
        .idempotency_key = "k" };
    FIXTURE(f);
    unsigned failures = 0, n;

    ASSERT_OK(fixture_open(&f), &f.err);
    for (n = 1; n < 400; n++) {
        SANDBOX(sb);
        int r;

        smx_mem_fail_after(n);
        r = core_create(f.core, &spec, &sb, &f.err);
        smx_mem_fail_after(0);
        if (r == 0) {
            ASSERT_EQ(sb->state, SANDBOX_RUNNING);
            ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
        } else {
            ASSERT_EQ(r, -SMX_E_NO_MEMORY);
            failures++;
        }
        ASSERT_EQ(fake_cloud_count(&f.cloud), 0);
        ASSERT_EQ(core_find(f.core, "box", &sb, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
        if (r == 0 && n > 60)
            break;
    }
    ASSERT_TRUE(failures > 10);
}
