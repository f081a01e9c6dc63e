/* test_store.c - group commit, numbering, durability, and every way a database can be unfit. */
#include "store/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "io/test_util.h"

/* SQLite's calls land here, so that a test can count how often the disk was waited for. */
static unsigned syncs;

__attribute__((visibility("default"))) int fsync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

struct place {
    char dir[64];
    struct store *st;
    struct smx_err err;
};

static void place_init(struct place *p)
{
    *p = (struct place){ .dir = "/tmp/smx-test-store-XXXXXX" };
    if (!mkdtemp(p->dir))
        smx_test_fail(__FILE__, __LINE__, "mkdtemp");
}

static void place_done(struct place *p)
{
    static const char *const names[] = { "/gateway.db", "/gateway.db-wal", "/lock", "" };
    char path[128];

    store_close(smx_take(&p->st));
    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s%s", p->dir, names[i]);
        remove(path);
    }
}
#define PLACE(p)                                    \
    SMX_CLEANUP(place_done) struct place p = { 0 }; \
    place_init(&p)

static void fill(struct store_sandbox *row, const char *id, const char *name)
{
    *row = (struct store_sandbox){ .token = "t",
        .name = name,
        .runtime = "local",
        .provider_id = id,
        .state = "creating",
        .template = "base",
        .metadata = "{}",
        .env = "{}",
        .reason = "" };
    smx_strcpy(row->id, sizeof row->id, id);
}

/* --- group commit ----------------------------------------------------------------------------- */

enum { WRITERS = 16 };
struct writers {
    struct place *p;
    unsigned next, ok, refused, running;
    uint64_t last_seq;
    bool in_order;
};

static void on_event(void *ctx, const struct store_event *e)
{
    struct writers *w = ctx;

    if (e->seq != w->last_seq + 1)
        w->in_order = false;
    w->last_seq = e->seq;
}

/* Every fourth writer wants a name that is taken. */
static void writer(void *arg)
{
    struct writers *w = arg;
    unsigned i = w->next++;
    struct store_event e = { .type = "test" };
    struct store_sandbox row;
    struct smx_err err = { 0 };
    char id[16];
    int r;

    snprintf(id, sizeof id, "i%u", i);
    fill(&row, id, i % 4 == 0 ? "taken" : NULL);
    r = store_sandbox_put(w->p->st, &row, &e, 0, &err);
    w->ok += r == 0 && row.serial > 0;
    w->refused += r == -SMX_E_EXISTS && row.serial == 0;
    w->running--;
}

FIBER_TEST(a_failing_write_undoes_only_itself)
{
    PLACE(p);
    struct writers w = { .p = &p, .in_order = true, .running = WRITERS };
    struct store_sandbox row;
    struct store_event v[WRITERS];
    size_t n = 0;

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    store_on_event(p.st, on_event, &w);
    fill(&row, "first", "taken");
    ASSERT_OK(store_sandbox_put(p.st, &row, NULL, 0, &p.err), &p.err);
    for (unsigned i = 0; i < WRITERS; i++)
        spawn("writer", writer, &w);
    while (w.running > 0)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(w.ok, WRITERS * 3 / 4);
    ASSERT_EQ(w.refused, WRITERS / 4);
    ASSERT_TRUE(w.in_order);
    ASSERT_EQ(w.last_seq, w.ok);
    ASSERT_OK(store_event_read(p.st, 0, v, WRITERS, &n, &p.err), &p.err);
    ASSERT_EQ(n, w.ok);
    for (size_t i = 0; i < n; i++)
        ASSERT_EQ(v[i].seq, i + 1);
}

static int event_and_fail(struct store *st, void *arg, struct smx_err *err)
{
    struct store_event e = { .type = "never" };

    (void)store_event_append(st, &e, err);
    return smx_err_set(err, SMX_E_INVALID, "as planned");
}

static void failing_writer(void *arg)
{
    struct writers *w = arg;
    struct smx_err err = { 0 };

    w->refused += store_do(w->p->st, event_and_fail, NULL, 0, &err) == -SMX_E_INVALID;
    w->running--;
}

FIBER_TEST(an_event_of_a_failed_write_leaves_no_gap)
{
    PLACE(p);
    struct writers w = { .p = &p, .next = 1, .in_order = true, .running = 5 };
    struct store_event v[8];
    size_t n = 0;

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    store_on_event(p.st, on_event, &w);
    failing_writer(&w); /* alone in its transaction */
    spawn("writer", writer, &w);
    spawn("writer", failing_writer, &w);
    spawn("writer", failing_writer, &w);
    spawn("writer", writer, &w);
    while (w.running > 0)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(w.ok, 2);
    ASSERT_EQ(w.refused, 3);
    ASSERT_TRUE(w.in_order);
    ASSERT_EQ(w.last_seq, 2);
    ASSERT_OK(store_event_read(p.st, 0, v, 8, &n, &p.err), &p.err);
    ASSERT_EQ(n, 2);
    ASSERT_STR(v[1].type, "test");
}

static void cancelled_writer(void *arg)
{
    struct writers *w = arg;

    io_fiber_cancel(io_fiber_self());
    writer(w);
}

FIBER_TEST(a_cancelled_caller_fails_nobody)
{
    PLACE(p);
    struct writers w = { .p = &p, .next = 1, .in_order = true, .running = 4 };

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    spawn("writer", cancelled_writer, &w);
    spawn("writer", writer, &w);
    spawn("writer", cancelled_writer, &w);
    spawn("writer", writer, &w);
    while (w.running > 0)
        io_sleep_until(in_ms(1));
    ASSERT_EQ(w.ok, 4);
}

static int count_row(void *ctx, const struct store_sandbox *row, struct smx_err *err)
{
    (*(unsigned *)ctx)++;
    return 0;
}

FIBER_TEST(rows_come_back_as_they_were)
{
    PLACE(p);
    struct store_sandbox row;
    unsigned n = 0;
    char *reason = NULL;

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    fill(&row, "i1", "box");
    row.cpu = 1.5;
    ASSERT_OK(store_sandbox_put(p.st, &row, NULL, STORE_DURABLE, &p.err), &p.err);
    row.state = "running";
    ASSERT_OK(store_sandbox_put(p.st, &row, NULL, 0, &p.err), &p.err);
    row.state = "no such state";
    ASSERT_TRUE(store_sandbox_put(p.st, &row, NULL, 0, &p.err) < 0);
    ASSERT_OK(store_sandbox_each(p.st, count_row, &n, &p.err), &p.err);
    ASSERT_EQ(n, 1);
    ASSERT_OK(store_sandbox_ended(p.st, "box", &reason, &p.err), &p.err);
    ASSERT_TRUE(reason == NULL);
    row.state = "deleted";
    row.reason = "expired";
    ASSERT_OK(store_sandbox_put(p.st, &row, NULL, 0, &p.err), &p.err);
    n = 0;
    ASSERT_OK(store_sandbox_each(p.st, count_row, &n, &p.err), &p.err);
    ASSERT_EQ(n, 0);
    ASSERT_OK(store_sandbox_ended(p.st, "box", &reason, &p.err), &p.err);
    ASSERT_STR(reason, "expired");
    smx_free(reason);
    reason = NULL;
    ASSERT_OK(store_prune(p.st, 0, /* ended_kept= */ 0, &p.err), &p.err);
    ASSERT_OK(store_sandbox_ended(p.st, "box", &reason, &p.err), &p.err);
    ASSERT_TRUE(reason == NULL);
}

/* SQLite writes nothing when a value stays what it was. */
static int put_number(struct place *p, unsigned n, unsigned flags)
{
    char text[16];
    const struct store_setting v = { "k", text };

    snprintf(text, sizeof text, "%u", n);
    return store_setting_put(p->st, &v, 1, /* event= */ NULL, flags, &p->err);
}

FIBER_TEST(a_durable_write_waits_for_the_disk)
{
    PLACE(p);
    unsigned before;

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    ASSERT_OK(put_number(&p, 1, 0), &p.err);
    before = syncs;
    ASSERT_OK(put_number(&p, 2, 0), &p.err);
    ASSERT_EQ(syncs, before);
    ASSERT_OK(put_number(&p, 3, STORE_DURABLE), &p.err);
    ASSERT_TRUE(syncs > before);
    before = syncs;
    ASSERT_OK(put_number(&p, 4, 0), &p.err);
    ASSERT_EQ(syncs, before);
}

FIBER_TEST(the_log_is_copied_back_when_it_has_grown)
{
    PLACE(p);

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    for (unsigned i = 0; i < 400; i++)
        ASSERT_OK(put_number(&p, i, 0), &p.err);
    ASSERT_TRUE(p.st->wal_pages >= 400);
    store_checkpoint(p.st);
    ASSERT_TRUE(p.st->wal_pages < 10);
    ASSERT_OK(store_probe(p.st, &p.err), &p.err);
}

/* --- directories and files that are unfit ------------------------------------------------------
 */

static void expect_refusal(struct place *p, int code, const char *text)
{
    ASSERT_EQ(store_open(p->dir, &p->st, &p->err), -code);
    if (!strstr(p->err.msg, text))
        smx_test_fail(__FILE__, __LINE__, "no '%s' in: %s", text, p->err.msg);
}

static void write_at(struct place *p, const char *name, off_t at, const void *data, size_t n)
{
    SMX_CLEANUP(smx_freep) char *path = smx_asprintf("%s/%s", p->dir, name);
    SMX_CLEANUP(smx_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || pwrite(fd, data, n, at) != (ssize_t)n)
        smx_test_fail(__FILE__, __LINE__, "writing %s", path);
}

/* --- older versions --- */

static int keep_row(void *ctx, const struct store_sandbox *row, struct smx_err *err)
{
    struct store_sandbox *to = ctx;

    *to = *row;
    return 0;
}

/* A database as the first version wrote it. */
static void make_old(struct place *p)
{
    char path[128];
    sqlite3 *db = NULL;

    snprintf(path, sizeof path, "%s/gateway.db", p->dir);
    ASSERT_EQ(sqlite3_open(path, &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, store_migrations[0], NULL, NULL, NULL), SQLITE_OK);
    ASSERT_EQ(
        sqlite3_exec(db,
            "PRAGMA user_version = 1; INSERT INTO sandbox VALUES (7, 'i7', 't', 'box', 'local', "
            "'i7', 'running', 'base', NULL, '{}', '{}', NULL, NULL, 1000, 1001, 1002, 1003, 2, 60, "
            "2, 1024, 5120, 1024, 1, 0, '', 1, 1000)",
            NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
}

FIBER_TEST(a_database_of_the_first_version_is_migrated)
{
    PLACE(p);
    struct store_sandbox row = { 0 };

    make_old(&p);
    for (unsigned i = 0; i < 2; i++) { /* the second time there is nothing to do */
        ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
        ASSERT_OK(store_sandbox_each(p.st, keep_row, &row, &p.err), &p.err);
        ASSERT_EQ(row.serial, 7);
        ASSERT_EQ(row.lifetime_s, 60);
        ASSERT_EQ(row.created_ns, 1000 * 1000000ll + 7);
        ASSERT_EQ(row.on_timeout, 0);
        ASSERT_FALSE(row.auto_resume || row.open_envd || row.private_traffic);
        ASSERT_TRUE(row.dialect == NULL);
        store_close(smx_take(&p.st));
    }
}

static int same_dialect(void *ctx, const struct store_sandbox *row, struct smx_err *err)
{
    bool *same = ctx;

    *same = row->on_timeout == 1 && row->auto_resume && row->open_envd && row->private_traffic &&
            row->created_ns == 12345678901234567ll && smx_streq(row->dialect, "{\"a\":1}");
    return 0;
}

FIBER_TEST(what_a_door_keeps_comes_back)
{
    PLACE(p);
    struct store_sandbox row;
    bool same = false;

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    fill(&row, "i1", "box");
    row.created_ns = 12345678901234567ll;
    row.open_envd = row.private_traffic = row.auto_resume = true;
    ASSERT_OK(store_sandbox_put(p.st, &row, NULL, 0, &p.err), &p.err);
    row.on_timeout = 1;
    row.dialect = "{\"a\":1}";
    ASSERT_OK(store_sandbox_put(p.st, &row, NULL, 0, &p.err), &p.err);
    ASSERT_OK(store_sandbox_each(p.st, same_dialect, &same, &p.err), &p.err);
    ASSERT_TRUE(same);
}

FIBER_TEST(a_newer_version_is_refused)
{
    PLACE(p);

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    sqlite3_exec(p.st->db, "PRAGMA user_version = 99", NULL, NULL, NULL);
    store_close(smx_take(&p.st));
    expect_refusal(&p, SMX_E_INVALID, "newer sandmux (version 99");
    expect_refusal(&p, SMX_E_INVALID, "install the newer one"); /* and the lock was given back */
}

FIBER_TEST(a_file_that_is_no_database_is_refused)
{
    static const char text[] = "this is not a database, but long enough to look at: 0123456789 "
                               "0123456789 0123456789 0123456789 0123456789";
    PLACE(p);

    write_at(&p, "gateway.db", 0, text, sizeof text);
    expect_refusal(&p, SMX_E_IO, "is damaged");
}

FIBER_TEST(a_damaged_database_is_refused)
{
    PLACE(p);
    char garbage[3000];
    struct store_sandbox row;
    char id[16];

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(id, sizeof id, "i%u", i);
        fill(&row, id, NULL);
        ASSERT_OK(store_sandbox_put(p.st, &row, NULL, 0, &p.err), &p.err);
    }
    store_close(smx_take(&p.st));
    memset(garbage, 0xa5, sizeof garbage);
    write_at(&p, "gateway.db", 4096 + 100, garbage, sizeof garbage);
    write_at(&p, "gateway.db", 2 * 4096 + 100, garbage, sizeof garbage);
    expect_refusal(&p, SMX_E_IO, "is damaged");
}

FIBER_TEST(a_torn_log_loses_only_its_end)
{
    PLACE(p);
    static const char garbage[100] = { 1, 2, 3 };
    unsigned n = 0;

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    store_close(smx_take(&p.st));
    write_at(&p, "gateway.db-wal", 0, garbage, sizeof garbage);
    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    ASSERT_OK(store_sandbox_each(p.st, count_row, &n, &p.err), &p.err);
}

FIBER_TEST(a_directory_that_cannot_be_written_is_refused)
{
    PLACE(p);

    if (geteuid() != 0)
        SKIP("needs root");
    ASSERT_EQ(chmod(p.dir, 0555), 0);
    ASSERT_EQ(seteuid(65534), 0);
    expect_refusal(&p, SMX_E_FORBIDDEN, p.dir);
    ASSERT_EQ(seteuid(0), 0);
}

FIBER_TEST(a_path_through_a_file_is_refused)
{
    PLACE(p);

    write_at(&p, "lock", 0, "", 0);
    strncat(p.dir, "/lock/x", sizeof p.dir - strlen(p.dir) - 1);
    ASSERT_TRUE(store_open(p.dir, &p.st, &p.err) < 0);
    ASSERT_TRUE(strstr(p.err.msg, "making the state directory") != NULL);
    p.dir[strlen(p.dir) - strlen("/lock/x")] = '\0';
}

FIBER_TEST(a_full_disk_is_an_error_and_no_end)
{
    PLACE(p);
    char text[60000];
    const struct store_setting big = { "big", text }, small = { "k", "v" };

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    ASSERT_OK(store_setting_put(p.st, &small, 1, NULL, 0, &p.err), &p.err);
    sqlite3_exec(p.st->db, "PRAGMA max_page_count = 1", NULL, NULL, NULL);
    ASSERT_EQ(store_setting_put(p.st, &big, 1, NULL, 0, &p.err), -SMX_E_DISK_FULL);
    sqlite3_exec(p.st->db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL);
    ASSERT_OK(store_setting_put(p.st, &big, 1, NULL, 0, &p.err), &p.err);
}

FIBER_TEST(no_memory_is_an_error_and_no_end)
{
    PLACE(p);
    unsigned failures = 0;
    char *value = NULL;

    ASSERT_OK(store_open(p.dir, &p.st, &p.err), &p.err);
    for (unsigned n = 1; n < 20; n++) {
        struct store *second = NULL;

        smx_mem_fail_after(n);
        failures += store_open(p.dir, &second, &p.err) == -SMX_E_NO_MEMORY;
        smx_mem_fail_after(0);
        ASSERT_TRUE(second == NULL);
    }
    ASSERT_TRUE(failures > 0);
    ASSERT_OK(store_setting_get(p.st, "none", &value, &p.err), &p.err);
    ASSERT_TRUE(value == NULL);
}
