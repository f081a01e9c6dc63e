/* test_services.c - events, logs, idempotency, keys, runtimes, health, metrics, and what happens
 * when the store takes no more. */
#include "core/test_core.h"

#include "base/fd.h"
#include "core/internal.h"
#include "store/internal.h"

#define SANDBOX(sb) SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL

/* --- events -------------------------------------------------------------------------------- */

FIBER_TEST(events_are_numbered_without_gaps_over_restarts)
{
    FIXTURE(f);
    struct core_event e;
    uint64_t since = 0, want = 1;

    for (unsigned round = 0; round < 3; round++) {
        SANDBOX(sb);

        ASSERT_OK(fixture_open(&f), &f.err);
        ASSERT_OK(make(&f, NULL, &sb), &f.err);
        ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
        fixture_close(&f);
    }
    ASSERT_OK(fixture_open(&f), &f.err);
    while (core_events_next(f.core, &since, &e, 0, &f.err) == 0)
        ASSERT_EQ(e.seq, want++);
    ASSERT_EQ(want, 3 * 4 + 1); /* creating, running, deleting, deleted */
    ASSERT_EQ(since, core_events_last(f.core));
    ASSERT_EQ(f.err.code, SMX_E_TIMEOUT);
}

FIBER_TEST(an_event_tells_the_change)
{
    static const char *const want[][2] = { { "", "creating" }, { "creating", "running" },
        { "running", "pausing" }, { "pausing", "paused" }, { "paused", "deleting" },
        { "deleting", "deleted" } };
    FIXTURE(f);
    SANDBOX(sb);
    struct core_event e;
    uint64_t since = 0;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "box", &sb), &f.err);
    ASSERT_OK(sandbox_pause(sb, &f.err), &f.err);
    ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(want); i++) {
        ASSERT_OK(core_events_next(f.core, &since, &e, 0, &f.err), &f.err);
        ASSERT_STR(e.from, want[i][0]);
        ASSERT_STR(e.to, want[i][1]);
        ASSERT_STR(e.type, "sandbox.state");
        ASSERT_STR(e.sandbox_id, sb->id);
        ASSERT_STR(e.name, "box");
    }
    ASSERT_STR(e.reason, "deleted");
}

FIBER_TEST(the_journal_is_bounded_and_read_from_both_halves)
{
    FIXTURE(f);
    struct core_event e;
    uint64_t since = 0;
    size_t n = 0;

    ASSERT_OK(fixture_open(&f), &f.err);
    for (unsigned i = 0; i < STORE_EVENTS_KEPT + 2 * STORE_EVENTS_SLACK; i++) {
        struct store_event ev = { .at_ms = 1, .type = "test" };

        ASSERT_OK(store_setting_put(f.core->store, NULL, 0, &ev, 0, &f.err), &f.err);
    }
    ASSERT_OK(core_events_next(f.core, &since, &e, 0, &f.err), &f.err);
    ASSERT_TRUE(e.seq > STORE_EVENTS_SLACK);
    since = core_events_last(f.core) - 2 * EVENT_RING;
    while (core_events_next(f.core, &since, &e, 0, &f.err) == 0)
        n++;
    ASSERT_EQ(n, 2 * EVENT_RING);
}

static void later(void *arg)
{
    struct fixture *f = arg;
    SANDBOX(sb);

    io_sleep_until(in_ms(5));
    (void)make(f, NULL, &sb);
}

FIBER_TEST(a_reader_waits_for_the_next_event)
{
    FIXTURE(f);
    struct core_event e = { 0 };
    uint64_t since;

    ASSERT_OK(fixture_open(&f), &f.err);
    since = core_events_last(f.core);
    ASSERT_EQ(core_events_next(f.core, &since, &e, in_ms(1), &f.err), -SMX_E_TIMEOUT);
    spawn("later", later, &f);
    ASSERT_OK(core_events_next(f.core, &since, &e, in_ms(5000), &f.err), &f.err);
    ASSERT_STR(e.to, "creating");
    ASSERT_OK(core_events_next(f.core, &since, &e, in_ms(5000), &f.err), &f.err);
    io_sleep_until(in_ms(5));
}

FIBER_TEST(a_log_is_a_ring_of_lines)
{
    FIXTURE(f);
    SANDBOX(sb);
    struct sandbox_log_line line;
    uint64_t seq = 0;
    unsigned n = 0;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    for (unsigned i = 1; i <= 3 * SANDBOX_LOG_LINES; i++)
        sandbox_logf(sb, "line %u", i);
    while (sandbox_log_next(sb, &seq, &line, 0, &f.err) == 0)
        n++;
    ASSERT_EQ(n, SANDBOX_LOG_LINES);
    ASSERT_STR(line.text, "line 1536");
    ASSERT_EQ(f.err.code, SMX_E_TIMEOUT);
    ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
    while (sandbox_log_next(sb, &seq, &line, 0, &f.err) == 0)
        n++;
    ASSERT_EQ(f.err.code, SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_STR(line.text, "state deleted: deleted");
}

/* --- states ------------------------------------------------------------------------------------
 */

FIBER_TEST(a_move_that_the_table_does_not_allow_is_refused)
{
    FIXTURE(f);
    SANDBOX(sb);
    uint64_t before;
    struct sbx *b;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    b = sbx_of(sb);
    ASSERT_OK(sandbox_lock(b, &f.err), &f.err);
    for (unsigned from = 0; from < SANDBOX_STATE_COUNT_; from++) {
        for (unsigned to = 0; to < SANDBOX_STATE_COUNT_; to++) {
            bool allowed = sandbox_state_allows(from, to);

            sb->state = from;
            before = core_events_last(f.core);
            ASSERT_EQ(sandbox_move(b, to, "", 0, &f.err), allowed ? 0 : -SMX_E_STATE);
            ASSERT_EQ(sb->state, allowed ? to : from);
            ASSERT_EQ(core_events_last(f.core) - before, allowed);
        }
    }
    sb->state = SANDBOX_RUNNING;
    sandbox_unlock(b);
}

/* --- idempotency --------------------------------------------------------------------------- */

FIBER_TEST(idempotency_same_other_and_running)
{
    static char body[] = "{\"id\":1}";
    FIXTURE(f);
    struct core_idem_reply in = { .status = 201, .body = body, .n = sizeof body - 1 }, out = { 0 };
    char long_key[CORE_IDEM_KEY_MAX + 2];

    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    smx_strcpy(in.content_type, sizeof in.content_type, "application/json");
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(core_idem_begin(f.core, "s", "k", "a", 1, &out, &f.err), CORE_IDEM_NEW);
    ASSERT_EQ(core_idem_begin(f.core, "s", "k", "a", 1, &out, &f.err), -SMX_E_IN_PROGRESS);
    ASSERT_EQ(core_idem_begin(f.core, "s", "k", "b", 1, &out, &f.err), -SMX_E_UNPROCESSABLE_KEY);
    ASSERT_EQ(core_idem_begin(f.core, "other", "k", "b", 1, &out, &f.err), CORE_IDEM_NEW);
    ASSERT_OK(core_idem_finish(f.core, "s", "k", &in, &f.err), &f.err);
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(core_idem_begin(f.core, "s", "k", "a", 1, &out, &f.err), CORE_IDEM_REPLAY);
    ASSERT_EQ(out.status, 201);
    ASSERT_MEM(out.body, out.n, body, sizeof body - 1);
    ASSERT_STR(out.content_type, "application/json");
    core_idem_reply_done(&out);
    ASSERT_EQ(core_idem_begin(f.core, "s", "k", "b", 1, &out, &f.err), -SMX_E_UNPROCESSABLE_KEY);
    core_idem_abort(f.core, "s", "k");
    ASSERT_EQ(core_idem_begin(f.core, "s", "k", "b", 1, &out, &f.err), CORE_IDEM_NEW);
    ASSERT_EQ(core_idem_begin(f.core, "s", "", "b", 1, &out, &f.err), -SMX_E_INVALID);
    ASSERT_EQ(core_idem_begin(f.core, "s", long_key, "b", 1, &out, &f.err), -SMX_E_INVALID);
}

/* --- keys ---------------------------------------------------------------------------------- */

FIBER_TEST(keys_are_kept_as_hashes_only)
{
    FIXTURE(f);
    struct core_key key, found;
    char secret[CORE_KEY_SIZE], command[200];
    SMX_CLEANUP(smx_freep) struct core_key *list = NULL;
    size_t n = 0;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_key_create(f.core, "laptop", &key, secret, &f.err), &f.err);
    ASSERT_EQ(strlen(secret), 44);
    ASSERT_TRUE(smx_starts(secret, "e2b_"));
    ASSERT_EQ(strspn(secret + 4, "0123456789abcdef"), 40);
    ASSERT_TRUE(core_key_check(f.core, secret, &found));
    ASSERT_STR(found.id, key.id);
    ASSERT_TRUE(found.last_used_unix_ms > 0);
    secret[43] ^= 1;
    ASSERT_FALSE(core_key_check(f.core, secret, NULL));
    secret[43] ^= 1;
    ASSERT_FALSE(core_key_check(f.core, "", NULL));
    ASSERT_EQ(core_key_create(f.core, "", &key, secret, &f.err), -SMX_E_INVALID);
    ASSERT_EQ(core_key_create(f.core, "a\nb", &key, secret, &f.err), -SMX_E_INVALID);
    fixture_close(&f);
    snprintf(command, sizeof command, "%s/gateway.db", f.dir);
    ASSERT_EQ(access(command, R_OK), 0);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_TRUE(core_key_check(f.core, secret, NULL));
    ASSERT_OK(core_key_list(f.core, &list, &n, &f.err), &f.err);
    ASSERT_EQ(n, 1);
    ASSERT_STR(list[0].name, "laptop");
    ASSERT_OK(core_key_revoke(f.core, list[0].id, &f.err), &f.err);
    ASSERT_FALSE(core_key_check(f.core, secret, NULL));
    ASSERT_EQ(core_key_revoke(f.core, list[0].id, &f.err), -SMX_E_NOT_FOUND);
    ASSERT_EQ(core_key_count(f.core), 0);
}

FIBER_TEST(no_file_contains_a_secret)
{
    static char name[] = "PLANTED", value[] = "planted-env-value";
    const struct json_pair env = { name, value };
    struct core_create_spec spec = { .env = &env, .n_env = 1, .password = "planted-password" };
    static const char *const files[] = { "gateway.db", "gateway.db-wal" };
    FIXTURE(f);
    SANDBOX(sb);
    struct core_key key;
    char secret[CORE_KEY_SIZE];

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_key_create(f.core, "k", &key, secret, &f.err), &f.err);
    ASSERT_OK(core_create(f.core, &spec, &sb, &f.err), &f.err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(files); i++) {
        SMX_CLEANUP(smx_freep) char *path = smx_asprintf("%s/%s", f.dir, files[i]);
        SMX_CLEANUP(smx_buf_done) struct smx_buf data = { 0 };

        smx_buf_init(&data, 64 * 1024 * 1024);
        ASSERT_OK(smx_read_file_at(-100, path, &data, &f.err), &f.err);
        ASSERT_TRUE(data.len == 0 || !memmem(data.data, data.len, secret, strlen(secret)));
        ASSERT_TRUE(data.len == 0 || !memmem(data.data, data.len, "planted-password", 16));
    }
}

/* --- runtimes ------------------------------------------------------------------------------ */

static const char *current(struct fixture *f)
{
    struct core_runtime_status st;

    core_runtime_status(f->core, &st);
    return st.current;
}

FIBER_TEST(a_switch_is_checked_kept_and_dropped_when_the_setting_changes)
{
    FIXTURE(f);
    struct core_switched done;
    struct core_runtime_status st;
    SANDBOX(sb);
    SANDBOX(other);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_STR(current(&f), "local");
    ASSERT_OK(make(&f, NULL, &sb), &f.err);
    ASSERT_EQ(core_runtime_switch(f.core, "nope", 0, NULL, &done, &f.err), -SMX_E_INVALID);
    ASSERT_STR(f.err.msg, "Invalid runtime 'nope'. Must be 'daytona', 'e2b' or 'local'");
    ASSERT_EQ(core_runtime_switch(f.core, "E2B", 0, NULL, &done, &f.err), -SMX_E_INVALID);
    ASSERT_EQ(
        core_runtime_switch(f.core, "daytona", 0, NULL, &done, &f.err), -SMX_E_NOT_CONFIGURED);
    ASSERT_STR(f.err.msg, "Runtime 'daytona' is not properly configured");
    ASSERT_OK(core_runtime_switch(f.core, "e2b", CORE_SWITCH_DRY_RUN, NULL, &done, &f.err), &f.err);
    ASSERT_STR(current(&f), "local");
    ASSERT_OK(core_runtime_switch(f.core, "e2b", 0, "tester", &done, &f.err), &f.err);
    ASSERT_STR(done.previous, "local");
    ASSERT_STR(done.current, "e2b");
    ASSERT_STR(done.warning, "1 sandbox stays on local; 'sandmux migrate ID --to e2b' moves one");
    ASSERT_OK(make(&f, NULL, &other), &f.err);
    ASSERT_STR(other->runtime, "e2b");
    ASSERT_STR(sb->runtime, "local");

    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    core_runtime_status(f.core, &st);
    ASSERT_STR(st.current, "e2b");
    ASSERT_STR(st.why, "switched");
    fixture_close(&f);
    f.setting = " LOCAL ";
    ASSERT_OK(fixture_open(&f), &f.err);
    core_runtime_status(f.core, &st);
    ASSERT_STR(st.current, "local");
    ASSERT_STR(st.why, "setting");
    fixture_close(&f);
    f.setting = NULL; /* the old switch does not come back */
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_STR(current(&f), "local");
}

FIBER_TEST(a_setting_that_is_unknown_is_told)
{
    FIXTURE(f);
    struct core_runtime_status st;

    f.setting = "docker";
    ASSERT_OK(fixture_open(&f), &f.err);
    core_runtime_status(f.core, &st);
    ASSERT_STR(st.current, "local");
    ASSERT_STR(st.warning, "Invalid runtime 'docker', defaulting to 'local'");
}

FIBER_TEST(a_live_check_stops_a_switch_and_force_skips_it)
{
    FIXTURE(f);
    struct core_switched done;
    struct provider_check live;
    bool configured = false;

    ASSERT_OK(fixture_open(&f), &f.err);
    f.second.fault[FAKE_VALIDATE] = (struct fake_fault){ .times = 2, .code = SMX_E_E2B_KEY };
    ASSERT_EQ(
        core_runtime_switch(f.core, "e2b", CORE_SWITCH_LIVE, NULL, &done, &f.err), -SMX_E_E2B_KEY);
    ASSERT_STR(current(&f), "local");
    ASSERT_OK(
        core_runtime_validate(f.core, "e2b", /* live= */ true, &configured, &live, &f.err), &f.err);
    ASSERT_TRUE(configured);
    ASSERT_FALSE(live.ok);
    ASSERT_EQ(live.error_code, SMX_E_E2B_KEY);
    f.second.fault[FAKE_VALIDATE].times = 1;
    ASSERT_OK(core_runtime_switch(
                  f.core, "e2b", CORE_SWITCH_LIVE | CORE_SWITCH_FORCE, NULL, &done, &f.err),
        &f.err);
    ASSERT_STR(current(&f), "e2b");
    ASSERT_EQ(
        core_runtime_validate(f.core, "nope", false, &configured, NULL, &f.err), -SMX_E_INVALID);
    ASSERT_OK(core_runtime_validate(f.core, "daytona", true, &configured, &live, &f.err), &f.err);
    ASSERT_FALSE(configured);
    ASSERT_EQ(live.error_code, SMX_E_NOT_CONFIGURED);
}

static void health_fiber(void *arg)
{
    struct fixture *f = arg;
    struct core_health h;
    struct smx_err err;

    (void)core_runtime_health(f->core, NULL, &h, &err);
}

FIBER_TEST(health_is_probed_once_for_many)
{
    FIXTURE(f);
    struct core_health h = { 0 };
    struct core_ready checks[CORE_READY_MAX];
    size_t n = 0, before;

    ASSERT_OK(fixture_open(&f), &f.err);
    f.cloud.fault[FAKE_PROBE] =
        (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE, .delay_ms = 5 };
    before = io_loop_fibers(io_loop_self());
    for (unsigned i = 0; i < 8; i++)
        spawn("health", health_fiber, &f);
    while (io_loop_fibers(io_loop_self()) > before)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(f.cloud.calls[FAKE_PROBE], 1);
    ASSERT_OK(core_runtime_health(f.core, NULL, &h, &f.err), &f.err);
    ASSERT_EQ(h.state, CORE_UNHEALTHY);
    ASSERT_EQ(h.error_code, SMX_E_UNAVAILABLE);
    ASSERT_FALSE(core_ready(f.core, checks, &n));
    ASSERT_TRUE(n == 2 && checks[0].ok && !checks[1].ok);
    ASSERT_OK(core_runtime_health(f.core, "e2b", &h, &f.err), &f.err);
    ASSERT_EQ(h.state, CORE_HEALTHY);
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    f.second.fault[FAKE_PROBE].delay_ms = 1100;
    ASSERT_OK(core_runtime_health(f.core, "e2b", &h, &f.err), &f.err);
    ASSERT_EQ(h.state, CORE_DEGRADED);
    ASSERT_TRUE(h.reachable && h.detail[0] != '\0');
    ASSERT_OK(core_runtime_health(f.core, "daytona", &h, &f.err), &f.err);
    ASSERT_FALSE(h.configured);
    ASSERT_EQ(core_runtime_health(f.core, "x", &h, &f.err), -SMX_E_INVALID);
}

/* --- a store that takes no more ------------------------------------------------------------ */

static void fill_disk(struct fixture *f, bool full)
{
    char sql[64];

    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %d", full ? 1 : 1000000);
    sqlite3_exec(f->core->store->db, sql, NULL, NULL, NULL);
}

FIBER_TEST(a_full_disk_fails_creates_and_lets_deletes_through)
{
    static char key[] = "k", big[3000];
    FIXTURE(f);
    SANDBOX(sb);
    SANDBOX(none);
    SANDBOX(again);
    struct json_pair pair = { key, big };
    struct core_create_spec spec = { .metadata = &pair, .n_metadata = 1, .name = "box" };
    int r = 0;

    memset(big, 'x', sizeof big - 1);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make(&f, "first", &sb), &f.err);
    fill_disk(&f, true);
    for (unsigned i = 0; i < 50 && r == 0; i++) {
        SANDBOX(x);

        spec.name = NULL;
        r = core_create(f.core, &spec, &x, &f.err);
    }
    ASSERT_EQ(r, -SMX_E_DISK_FULL);
    spec.name = "box";
    ASSERT_EQ(core_create(f.core, &spec, &none, &f.err), -SMX_E_DISK_FULL);
    ASSERT_EQ(core_find(f.core, "box", &none, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_OK(sandbox_delete(sb, &f.err), &f.err);
    ASSERT_EQ(fake_cloud_state(&f.cloud, sb->id), PROVIDER_BOX_GONE);
    fill_disk(&f, false);
    ASSERT_OK(core_create(f.core, &spec, &again, &f.err), &f.err);
    sandbox_flush_dirty(f.core);
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_EQ(core_find(f.core, sb->id, &none, &f.err), -SMX_E_SANDBOX_NOT_FOUND);
}

FIBER_TEST(many_rows_that_are_behind_catch_up_at_once)
{
    enum { BOXES = 40 };
    FIXTURE(f);
    struct sandbox *v[BOXES];
    static char key[] = "k", big[2000];
    struct json_pair pair = { key, big };
    struct core_patch patch = { .has_metadata = true, .metadata = &pair, .n_metadata = 1 };
    struct core_filter all = { .limit = SMX_LIST_MAX, .has_state = true, .state = SANDBOX_STOPPED };
    struct core_page page = { 0 };
    unsigned behind = 0;

    memset(big, 'x', sizeof big - 1);
    ASSERT_OK(fixture_open(&f), &f.err);
    for (unsigned i = 0; i < BOXES; i++)
        ASSERT_OK(make(&f, NULL, &v[i]), &f.err);
    fill_disk(&f, true);
    for (unsigned i = 0; i < BOXES; i++)
        (void)sandbox_patch(v[i], &patch, &f.err); /* uses up what room is left */
    for (unsigned i = 0; i < BOXES; i++) {
        struct sbx *b = sbx_of(v[i]);

        ASSERT_OK(sandbox_lock(b, &f.err), &f.err);
        sandbox_follow(b, PROVIDER_BOX_STOPPED, "a reason that is so long that it needs room");
        sandbox_unlock(b);
        behind += b->dirty;
    }
    ASSERT_TRUE(behind > BOXES / 2);
    fill_disk(&f, false);
    sandbox_flush_dirty(f.core);
    for (unsigned i = 0; i < BOXES; i++) {
        ASSERT_FALSE(sbx_of(v[i])->dirty);
        fake_cloud_set(&f.cloud, v[i]->id, PROVIDER_BOX_STOPPED, "", false);
        sandbox_unref(v[i]);
    }
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(core_list(f.core, &all, &page, &f.err), &f.err);
    ASSERT_EQ(page.n, BOXES);
    ASSERT_EQ(page.v[BOXES - 1]->n_metadata, 1);
    core_page_done(&page);
}

FIBER_TEST(two_gateways_on_one_directory)
{
    FIXTURE(f);
    struct fixture second;
    char pid[32];

    fixture_init(&second);
    rmdir(second.dir);
    ASSERT_OK(fixture_open(&f), &f.err);
    smx_strcpy(second.dir, sizeof second.dir, f.dir);
    ASSERT_EQ(fixture_open(&second), -SMX_E_BUSY);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    ASSERT_TRUE(strstr(second.err.msg, pid) != NULL);
}

/* --- metrics ------------------------------------------------------------------------------- */

FIBER_TEST(metrics_are_written_as_text)
{
    static const char *const labels[] = { "name", NULL };
    SMX_CLEANUP(metrics_freep) struct metrics *m = NULL;
    SMX_CLEANUP(smx_buf_done) struct smx_buf out = { 0 };
    struct smx_err err;
    struct metrics_family *c, *h;

    smx_buf_init(&out, 1024 * 1024);
    ASSERT_OK(metrics_new(&m, &err), &err);
    c = metrics_counter(m, "x_total", "Help.", labels);
    h = metrics_histogram(m, "y_seconds", "Help.", NULL);
    metrics_add(metrics_series(c, (const char *[]){ "a\"b\\c\nd" }), 2);
    metrics_observe(metrics_series(h, NULL), 0.002);
    metrics_observe(metrics_series(h, NULL), 100);
    ASSERT_EQ(metrics_write(m, &out), 0);
    ASSERT_TRUE(strstr(out.data, "# TYPE x_total counter\nx_total{name=\"a\\\"b\\\\c\\nd\"} 2\n"));
    ASSERT_TRUE(strstr(out.data, "y_seconds_bucket{le=\"0.001\"} 0\n"));
    ASSERT_TRUE(strstr(out.data, "y_seconds_bucket{le=\"0.0025\"} 1\n"));
    ASSERT_TRUE(strstr(out.data, "y_seconds_bucket{le=\"60\"} 1\n"));
    ASSERT_TRUE(strstr(out.data, "y_seconds_bucket{le=\"+Inf\"} 2\n"));
    ASSERT_TRUE(strstr(out.data, "y_seconds_count 2\n"));
    ASSERT_TRUE(strstr(out.data, "y_seconds_sum 100.002\n"));
}

FIBER_TEST(metrics_series_are_bounded)
{
    static const char *const labels[] = { "n", NULL };
    SMX_CLEANUP(metrics_freep) struct metrics *m = NULL;
    struct smx_err err;
    struct metrics_family *c;

    ASSERT_OK(metrics_new(&m, &err), &err);
    c = metrics_counter(m, "x_total", "Help.", labels);
    for (unsigned i = 0; i < METRICS_SERIES_MAX + 10; i++) {
        char text[16];

        snprintf(text, sizeof text, "%u", i);
        metrics_add(metrics_series(c, (const char *[]){ text }), 1);
    }
    ASSERT_EQ(metrics_value(metrics_series(c, NULL)), 10);
}
