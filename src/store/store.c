/* store.c - opening the database and running operations on it.
 *
 * Operations queue up in the order of the calls. The first caller that finds no batch running
 * leads: it hands everything queued to a worker as one transaction, publishes the events of the
 * batch in their order, wakes the others, and passes the lead on to the first of those who came
 * meanwhile. So the connection is used by one worker at a time, a commit is shared under load, and
 * a caller that is alone pays for one hop to a worker.
 *
 * Threading: the queue belongs to the loop; db, sql and events to the batch that runs. The lock
 * file keeps a second gateway out; SQLite's own locks are held exclusively and cost nothing. */
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

enum {
    WAL_PAGES_IDLE = 250, /* copied back when nothing else is to do */
    WAL_PAGES_MAX = 4000, /* copied back at once */
    LOCK_TEXT_MAX = 64,
};

struct store_op {
    struct smx_list link;
    store_fn *fn;
    void *arg;
    unsigned flags;
    int r;
    struct smx_err err;
    struct io_event wake;
    bool lead; /* woken to run the next batch, its own operation among it */
};

struct store_batch {
    struct store *st;
    struct smx_list ops;
    bool checkpoint;
};

/* --- errors -------------------------------------------------------------------------------- */

static enum smx_code code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return SMX_E_DISK_FULL;
    case SQLITE_NOMEM:
        return SMX_E_NO_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return SMX_E_BUSY;
    case SQLITE_CONSTRAINT:
        return SMX_E_EXISTS;
    default:
        return SMX_E_IO;
    }
}

int store_error(struct store *st, struct smx_err *err, const char *what)
{
    int rc = st->db ? sqlite3_extended_errcode(st->db) : SQLITE_NOMEM;

    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        return smx_err_set(err, SMX_E_IO,
            "%s: the database '%s' is damaged; restore it from a backup, or move it away to start "
            "with an empty one, which ends the local sandboxes that it knew",
            what, st->path);
    return smx_err_set(err, code_of(rc), "%s: database '%s': %s", what, st->path,
        st->db ? sqlite3_errmsg(st->db) : "out of memory");
}

/* --- statements ---------------------------------------------------------------------------- */

static const char *const sql_text[SQL_COUNT_] = {
#define STORE_SQL(symbol, text) [SQL_##symbol] = text,
#include "store/statements.def"
#undef STORE_SQL
};

sqlite3_stmt *store_sql(struct store *st, enum store_sql which, struct smx_err *err)
{
    if (!st->sql[which]) {
        if (sqlite3_prepare_v3(st->db, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                &st->sql[which], NULL) != SQLITE_OK) {
            store_error(st, err, "preparing a statement");
            return NULL;
        }
    }
    sqlite3_reset(st->sql[which]);
    sqlite3_clear_bindings(st->sql[which]);
    return st->sql[which];
}

int store_run(struct store *st, sqlite3_stmt *s, struct smx_err *err)
{
    int rc = sqlite3_step(s), r = 0;

    while (rc == SQLITE_ROW)
        rc = sqlite3_step(s);
    if (rc != SQLITE_DONE)
        r = store_error(st, err, "writing");
    sqlite3_reset(s);
    return r;
}

static int run_plain(struct store *st, enum store_sql which, struct smx_err *err)
{
    sqlite3_stmt *s = store_sql(st, which, err);

    return s ? store_run(st, s, err) : -(int)err->code;
}

void store_bind_text(sqlite3_stmt *s, int i, const char *v)
{
    if (v)
        sqlite3_bind_text(s, i, v, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(s, i);
}

const char *store_text(sqlite3_stmt *s, int i)
{
    return (const char *)sqlite3_column_text(s, i);
}

/* --- batches: the worker's side ------------------------------------------------------------ */

static int set_synchronous(struct store *st, bool full, struct smx_err *err)
{
    int r;

    if (st->synchronous_full == full)
        return 0;
    r = run_plain(st, full ? SQL_FULL : SQL_NORMAL, err);
    if (r == 0)
        st->synchronous_full = full;
    return r;
}

static bool batch_durable(const struct store_batch *b)
{
    SMX_LIST_FOREACH(it, &b->ops)
        if (SMX_LIST_ENTRY(it, struct store_op, link)->flags & STORE_DURABLE)
            return true;
    return false;
}

/* One operation in a savepoint of its own: its failure undoes only what it did. */
static void run_op(struct store *st, struct store_op *op, bool alone)
{
    size_t events = st->n_events;
    uint64_t seq = st->seq_last;

    op->r = alone ? 0 : run_plain(st, SQL_SAVEPOINT, &op->err);
    if (op->r < 0)
        return;
    op->r = op->fn(st, op->arg, &op->err);
    if (op->r < 0) {
        struct smx_err ignored;

        st->n_events = events;
        st->seq_last = seq;
        if (!alone)
            run_plain(st, SQL_UNDO, &ignored);
    }
    if (!alone && !sqlite3_get_autocommit(st->db)) {
        struct smx_err ignored;

        run_plain(st, SQL_RELEASE, &ignored);
    }
}

static void fail_all(struct store_batch *b, int r, const struct smx_err *err)
{
    SMX_LIST_FOREACH(it, &b->ops) {
        struct store_op *op = SMX_LIST_ENTRY(it, struct store_op, link);

        if (op->r >= 0) {
            op->r = r;
            op->err = *err;
        }
    }
}

static int run_transaction(struct store_batch *b, struct smx_err *err)
{
    struct store *st = b->st;
    bool alone = b->ops.next == b->ops.prev;
    int r;

    r = set_synchronous(st, batch_durable(b), err);
    if (r == 0)
        r = run_plain(st, SQL_BEGIN, err);
    if (r < 0)
        return r;
    SMX_LIST_FOREACH(it, &b->ops) {
        struct store_op *op = SMX_LIST_ENTRY(it, struct store_op, link);

        run_op(st, op, alone);
        if (sqlite3_get_autocommit(st->db)) { /* a grave error rolled all of it back */
            *err = op->err;
            return op->r < 0 ? op->r
                             : smx_err_set(err, SMX_E_IO, "the transaction was rolled back");
        }
        if (alone && op->r < 0) {
            struct smx_err ignored;

            return run_plain(st, SQL_ROLLBACK, &ignored) < 0 ? op->r : 0;
        }
    }
    return run_plain(st, SQL_COMMIT, err);
}

static void run_batch(void *arg)
{
    struct store_batch *b = arg;
    struct store *st = b->st;
    struct smx_err err = { 0 }, ignored;
    uint64_t seq = st->seq_last;
    int r;

    st->n_events = 0;
    if (b->checkpoint) {
        run_plain(st, SQL_CHECKPOINT, &ignored);
        st->wal_pages = 0;
        return;
    }
    r = run_transaction(b, &err);
    if (r < 0) {
        if (!sqlite3_get_autocommit(st->db))
            run_plain(st, SQL_ROLLBACK, &ignored);
        st->n_events = 0;
        st->seq_last = seq;
        fail_all(b, r, &err);
    }
}

/* --- batches: the loop's side -------------------------------------------------------------- */

static void publish(struct store *st)
{
    for (size_t i = 0; st->on_event && i < st->n_events; i++)
        st->on_event(st->on_event_ctx, &st->events[i]);
    st->n_events = 0;
}

static void pass_the_lead(struct store *st)
{
    struct store_op *first;

    if (smx_list_empty(&st->queue)) {
        st->busy = false;
        return;
    }
    first = SMX_LIST_ENTRY(st->queue.next, struct store_op, link);
    first->lead = true;
    io_event_set(&first->wake);
}

static void work(struct store *st, struct store_batch *b)
{
    struct smx_err err = { 0 };
    int r = io_work(run_batch, b, &err);

    if (r < 0)
        fail_all(b, r, &err);
}

/* Runs everything that is queued, the caller's own operation among it. */
static void lead(struct store *st, struct store_op *own)
{
    struct store_batch b = { .st = st };

    smx_list_init(&b.ops);
    SMX_LIST_FOREACH_SAFE(it, &st->queue) {
        smx_list_del(it);
        smx_list_add(&b.ops, it);
    }
    work(st, &b);
    publish(st);
    SMX_LIST_FOREACH_SAFE(it, &b.ops) {
        struct store_op *op = SMX_LIST_ENTRY(it, struct store_op, link);

        smx_list_del(it);
        if (op != own)
            io_event_set(&op->wake);
    }
    if (st->wal_pages > WAL_PAGES_MAX) {
        b.checkpoint = true;
        work(st, &b);
    }
    pass_the_lead(st);
}

/* Cancellation waits until the transaction is through: the operation is on this stack, and a leader
 * works for others too. */
int store_do(struct store *st, store_fn *fn, void *arg, unsigned flags, struct smx_err *err)
{
    struct store_op op = { .fn = fn, .arg = arg, .flags = flags };

    io_event_init(&op.wake);
    smx_list_add(&st->queue, &op.link);
    io_shield_begin();
    if (st->busy)
        io_event_wait(&op.wake, SMX_FOREVER);
    else
        st->busy = op.lead = true;
    if (op.lead)
        lead(st, &op);
    io_shield_end();
    if (op.r < 0 && err)
        *err = op.err;
    return op.r;
}

void store_checkpoint(struct store *st)
{
    struct store_batch b = { .st = st, .checkpoint = true };

    if (st->busy || st->wal_pages < WAL_PAGES_IDLE) /* wal_pages is the batch's while one runs */
        return;
    st->busy = true;
    smx_list_init(&b.ops);
    io_shield_begin();
    work(st, &b);
    io_shield_end();
    pass_the_lead(st);
}

static int probe(struct store *st, void *arg, struct smx_err *err)
{
    sqlite3_stmt *s = store_sql(st, SQL_PROBE, err);

    if (!s)
        return -(int)err->code;
    sqlite3_bind_int64(s, 1, *(int64_t *)arg);
    return store_run(st, s, err);
}

int store_probe(struct store *st, struct smx_err *err)
{
    int64_t now = smx_now_unix_ms();

    return store_do(st, probe, &now, 0, err);
}

/* --- opening ------------------------------------------------------------------------------- */

static int take_lock(struct store *st, const char *dir, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *path = smx_asprintf("%s/lock", dir);
    char text[LOCK_TEXT_MAX] = { 0 };
    int n;

    if (!path)
        return smx_err_oom(err);
    st->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (st->lock_fd < 0)
        return smx_err_errno(err, errno, "opening '%s'", path);
    if (flock(st->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return smx_err_errno(err, errno, "locking '%s'", path);
        if (smx_read_full(st->lock_fd, text, sizeof text - 1) <= 0)
            smx_strcpy(text, sizeof text, "unknown");
        text[strcspn(text, "\n")] = '\0';
        return smx_err_set(
            err, SMX_E_BUSY, "the state directory '%s' is in use by process %s", dir, text);
    }
    n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(st->lock_fd, 0) < 0 || pwrite(st->lock_fd, text, (size_t)n, 0) < 0)
        return smx_err_errno(err, errno, "writing '%s'", path);
    return 0;
}

static int on_wal(void *ctx, sqlite3 *db, const char *name, int pages)
{
    ((struct store *)ctx)->wal_pages = pages;
    return SQLITE_OK;
}

static int exec(struct store *st, const char *sql, const char *what, struct smx_err *err)
{
    return sqlite3_exec(st->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                    : store_error(st, err, what);
}

static int pragma_value(
    struct store *st, const char *sql, int64_t *ret, bool *ret_ok, struct smx_err *err)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(st->db, sql, -1, &s, NULL), r = 0;

    if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        *ret = sqlite3_column_int64(s, 0);
        *ret_ok = sqlite3_column_type(s, 0) != SQLITE_TEXT || smx_streq(store_text(s, 0), "ok");
    }
    if (rc != SQLITE_ROW)
        r = store_error(st, err, "opening");
    sqlite3_finalize(s);
    return r;
}

static int migrate(struct store *st, struct smx_err *err)
{
    int64_t version = 0;
    bool ok = true;
    char sql[64];
    int r = pragma_value(st, "PRAGMA user_version", &version, &ok, err);

    if (r < 0)
        return r;
    if (version > store_migrations_n)
        return smx_err_set(err, SMX_E_INVALID,
            "the state in '%s' was written by a newer sandmux (version %lld, this one knows %d): "
            "install the newer one, or use another state directory",
            st->path, (long long)version, store_migrations_n);
    for (int v = (int)version; v < store_migrations_n; v++) {
        snprintf(sql, sizeof sql, "PRAGMA user_version = %d", v + 1);
        r = exec(st, "BEGIN IMMEDIATE", "migrating", err);
        if (r == 0)
            r = exec(st, store_migrations[v], "migrating", err);
        if (r == 0)
            r = exec(st, sql, "migrating", err);
        if (r == 0)
            r = exec(st, "COMMIT", "migrating", err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_whole(struct store *st, struct smx_err *err)
{
    int64_t ignored = 0;
    bool ok = true;
    int r = pragma_value(st, "PRAGMA quick_check(1)", &ignored, &ok, err);

    if (r < 0 || ok)
        return r;
    return smx_err_set(err, SMX_E_IO,
        "the database '%s' is damaged; restore it from a backup, or move it away to start with an "
        "empty one, which ends the local sandboxes that it knew",
        st->path);
}

static int read_counters(struct store *st, struct smx_err *err)
{
    static const enum store_sql which[] = { SQL_EVENT_LAST, SQL_SANDBOX_LAST };
    uint64_t *const to[] = { &st->seq_last, &st->serial_last };

    for (size_t i = 0; i < SMX_ARRAY_LEN(which); i++) {
        sqlite3_stmt *s = store_sql(st, which[i], err);

        if (!s)
            return -(int)err->code;
        if (sqlite3_step(s) != SQLITE_ROW)
            return store_error(st, err, "opening");
        *to[i] = (uint64_t)sqlite3_column_int64(s, 0);
        sqlite3_reset(s);
    }
    return 0;
}

static int open_database(struct store *st, struct smx_err *err)
{
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int r;

    if (sqlite3_open_v2(st->path, &st->db, flags, NULL) != SQLITE_OK)
        return store_error(st, err, "opening");
    sqlite3_busy_timeout(st->db, 2000);
    r = exec(st,
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2048",
        "opening", err);
    if (r == 0)
        r = check_whole(st, err);
    if (r == 0)
        r = migrate(st, err);
    if (r == 0)
        r = read_counters(st, err);
    sqlite3_wal_hook(st->db, on_wal, st);
    return r;
}

/* SQLite gives its other files the mode of the first one. */
static int make_private(struct store *st, struct smx_err *err)
{
    int fd = open(st->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return smx_err_errno(err, errno, "opening '%s'", st->path);
    smx_close(fd);
    return 0;
}

struct opening {
    struct store *st;
    const char *dir;
    int r;
    struct smx_err err;
};

static void open_on_worker(void *arg)
{
    struct opening *o = arg;

    if (mkdir(o->dir, 0700) < 0 && errno != EEXIST) {
        o->r = smx_err_errno(&o->err, errno, "making the state directory '%s'", o->dir);
        return;
    }
    o->r = take_lock(o->st, o->dir, &o->err);
    if (o->r < 0)
        return;
    o->r = make_private(o->st, &o->err);
    if (o->r == 0)
        o->r = open_database(o->st, &o->err);
}

static void close_on_worker(void *arg)
{
    struct store *st = arg;

    for (size_t i = 0; i < SQL_COUNT_; i++)
        sqlite3_finalize(st->sql[i]);
    sqlite3_close(st->db);
}

void store_close(struct store *st)
{
    if (!st)
        return;
    if (io_fiber_self() && io_work(close_on_worker, st, NULL) == 0)
        st->db = NULL;
    else
        close_on_worker(st);
    smx_close(st->lock_fd);
    smx_free(st->events);
    smx_free(st->path);
    smx_free(st);
}

int store_open(const char *state_dir, struct store **ret, struct smx_err *err)
{
    SMX_CLEANUP(store_closep) struct store *st = smx_alloc(sizeof *st);
    struct opening o = { .st = st, .dir = state_dir };
    int r;

    if (!st)
        return smx_err_oom(err);
    st->lock_fd = -1;
    smx_list_init(&st->queue);
    st->path = smx_asprintf("%s/gateway.db", state_dir);
    if (!st->path)
        return smx_err_oom(err);
    r = io_work(open_on_worker, &o, err);
    if (r < 0)
        return r;
    if (o.r < 0) {
        if (err)
            *err = o.err;
        return o.r;
    }
    *ret = smx_take(&st);
    return 0;
}
