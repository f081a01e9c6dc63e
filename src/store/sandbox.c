/* sandbox.c - rows of sandboxes. A row is written with the event that belongs to the change, in one
 * transaction. */
#include "store/internal.h"

static void bind_row(sqlite3_stmt *s, const struct store_sandbox *row)
{
    sqlite3_bind_int64(s, 1, (int64_t)row->serial);
    store_bind_text(s, 2, row->id);
    store_bind_text(s, 3, row->token);
    store_bind_text(s, 4, row->name);
    store_bind_text(s, 5, row->runtime);
    store_bind_text(s, 6, row->provider_id);
    store_bind_text(s, 7, row->state);
    store_bind_text(s, 8, row->template);
    store_bind_text(s, 9, row->project_id);
    store_bind_text(s, 10, row->metadata);
    store_bind_text(s, 11, row->env);
    store_bind_text(s, 12, row->idem_scope);
    store_bind_text(s, 13, row->idem_key);
    sqlite3_bind_int64(s, 14, row->created_ms);
    sqlite3_bind_int64(s, 15, row->updated_ms);
    sqlite3_bind_int64(s, 16, row->used_ms);
    sqlite3_bind_int64(s, 17, row->expires_ms);
    sqlite3_bind_int(s, 18, row->lifetime);
    sqlite3_bind_int64(s, 19, (int64_t)row->lifetime_s);
    sqlite3_bind_double(s, 20, row->cpu);
    sqlite3_bind_int64(s, 21, (int64_t)row->memory_mib);
    sqlite3_bind_int64(s, 22, (int64_t)row->disk_mib);
    sqlite3_bind_int64(s, 23, (int64_t)row->pids);
    sqlite3_bind_int(s, 24, row->limits_hard);
    sqlite3_bind_int(s, 25, row->internet);
    store_bind_text(s, 26, row->reason);
    sqlite3_bind_int64(s, 27, row->generation);
    sqlite3_bind_int64(s, 28, row->armed_ms);
    sqlite3_bind_int64(s, 29, row->created_ns);
    sqlite3_bind_int(s, 30, row->on_timeout);
    sqlite3_bind_int(s, 31, row->auto_resume);
    sqlite3_bind_int(s, 32, row->open_envd);
    sqlite3_bind_int(s, 33, row->private_traffic);
    store_bind_text(s, 34, row->dialect);
}

static void row_of(sqlite3_stmt *s, struct store_sandbox *row)
{
    *row = (struct store_sandbox){ .serial = (uint64_t)sqlite3_column_int64(s, 0),
        .token = store_text(s, 2),
        .name = store_text(s, 3),
        .runtime = store_text(s, 4),
        .provider_id = store_text(s, 5),
        .state = store_text(s, 6),
        .template = store_text(s, 7),
        .project_id = store_text(s, 8),
        .metadata = store_text(s, 9),
        .env = store_text(s, 10),
        .idem_scope = store_text(s, 11),
        .idem_key = store_text(s, 12),
        .created_ms = sqlite3_column_int64(s, 13),
        .updated_ms = sqlite3_column_int64(s, 14),
        .used_ms = sqlite3_column_int64(s, 15),
        .expires_ms = sqlite3_column_int64(s, 16),
        .lifetime = sqlite3_column_int(s, 17),
        .lifetime_s = (uint64_t)sqlite3_column_int64(s, 18),
        .cpu = sqlite3_column_double(s, 19),
        .memory_mib = (uint64_t)sqlite3_column_int64(s, 20),
        .disk_mib = (uint64_t)sqlite3_column_int64(s, 21),
        .pids = (uint64_t)sqlite3_column_int64(s, 22),
        .limits_hard = sqlite3_column_int(s, 23) != 0,
        .internet = sqlite3_column_int(s, 24) != 0,
        .reason = store_text(s, 25),
        .generation = (uint32_t)sqlite3_column_int64(s, 26),
        .armed_ms = sqlite3_column_int64(s, 27),
        .created_ns = sqlite3_column_int64(s, 28),
        .on_timeout = sqlite3_column_int(s, 29),
        .auto_resume = sqlite3_column_int(s, 30) != 0,
        .open_envd = sqlite3_column_int(s, 31) != 0,
        .private_traffic = sqlite3_column_int(s, 32) != 0,
        .dialect = store_text(s, 33) };
    smx_strcpy(row->id, sizeof row->id, store_text(s, 1));
}

/* --- writing */

struct sandbox_put {
    struct store_sandbox *row;
    const struct store_event *event;
};

static int sandbox_put(struct store *st, void *arg, struct smx_err *err)
{
    struct sandbox_put *p = arg;
    bool insert = p->row->serial == 0;
    sqlite3_stmt *s = store_sql(st, insert ? SQL_SANDBOX_INSERT : SQL_SANDBOX_UPDATE, err);
    int r;

    if (!s)
        return -(int)err->code;
    if (insert)
        p->row->serial = ++st->serial_last;
    bind_row(s, p->row);
    r = store_run(st, s, err);
    if (r == -SMX_E_EXISTS && p->row->name)
        smx_err_set(err, SMX_E_EXISTS, "the name '%s' is taken", p->row->name);
    if (r == 0 && p->event)
        r = store_event_append(st, p->event, err);
    if (r < 0 && insert)
        p->row->serial = 0;
    return r;
}

int store_sandbox_put(struct store *st, struct store_sandbox *row, const struct store_event *event,
    unsigned flags, struct smx_err *err)
{
    struct sandbox_put p = { .row = row, .event = event };

    return store_do(st, sandbox_put, &p, flags, err);
}

struct sandbox_both {
    struct sandbox_put a, b;
};

static int sandbox_both(struct store *st, void *arg, struct smx_err *err)
{
    struct sandbox_both *both = arg;
    int r = sandbox_put(st, &both->a, err);

    return r < 0 ? r : sandbox_put(st, &both->b, err);
}

int store_sandbox_put_both(struct store *st, struct store_sandbox *a, struct store_sandbox *b,
    const struct store_event *event, unsigned flags, struct smx_err *err)
{
    struct sandbox_both both = { .a = { .row = a, .event = event }, .b = { .row = b } };

    return store_do(st, sandbox_both, &both, flags, err);
}

/* --- reading all: the worker copies the rows, the loop looks at them */

struct row_node {
    struct row_node *next;
    struct store_sandbox row;
    char *strings[13];
};

struct sandbox_all {
    struct row_node *first, **last;
};

static void free_rows(struct row_node *n)
{
    while (n) {
        struct row_node *next = n->next;

        for (size_t i = 0; i < SMX_ARRAY_LEN(n->strings); i++)
            smx_free(n->strings[i]);
        smx_free(n);
        n = next;
    }
}

static int copy_row(struct row_node *n)
{
    struct store_sandbox *w = &n->row;
    const char **const text[] = { &w->token, &w->name, &w->runtime, &w->provider_id, &w->state,
        &w->template, &w->project_id, &w->metadata, &w->env, &w->idem_scope, &w->idem_key,
        &w->reason, &w->dialect };

    for (size_t i = 0; i < SMX_ARRAY_LEN(text); i++) {
        if (!*text[i])
            continue;
        n->strings[i] = smx_strdup(*text[i]);
        if (!n->strings[i])
            return -SMX_E_NO_MEMORY;
        *text[i] = n->strings[i];
    }
    return 0;
}

static int sandbox_all(struct store *st, void *arg, struct smx_err *err)
{
    struct sandbox_all *q = arg;
    sqlite3_stmt *s = store_sql(st, SQL_SANDBOX_ALL, err);
    int rc, r = 0;

    if (!s)
        return -(int)err->code;
    while (r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct row_node *n = smx_alloc(sizeof *n);

        if (!n) {
            r = smx_err_oom(err);
            break;
        }
        *q->last = n;
        q->last = &n->next;
        row_of(s, &n->row);
        if (copy_row(n) < 0)
            r = smx_err_oom(err);
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = store_error(st, err, "reading");
    sqlite3_reset(s);
    return r;
}

int store_sandbox_each(struct store *st, store_sandbox_fn *fn, void *ctx, struct smx_err *err)
{
    struct sandbox_all q = { 0 };
    int r;

    q.last = &q.first;
    r = store_do(st, sandbox_all, &q, 0, err);
    for (struct row_node *n = q.first; n && r >= 0; n = n->next)
        r = fn(ctx, &n->row, err);
    free_rows(q.first);
    return r < 0 ? r : 0;
}

/* --- how a name ended */

struct sandbox_ended {
    const char *name;
    char *reason;
};

static int sandbox_ended(struct store *st, void *arg, struct smx_err *err)
{
    struct sandbox_ended *q = arg;
    sqlite3_stmt *s = store_sql(st, SQL_SANDBOX_ENDED, err);
    int rc, r = 0;

    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, q->name);
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        q->reason = smx_strdup(store_text(s, 0));
        r = q->reason ? 0 : smx_err_oom(err);
    } else if (rc != SQLITE_DONE) {
        r = store_error(st, err, "reading");
    }
    sqlite3_reset(s);
    return r;
}

int store_sandbox_ended(struct store *st, const char *name, char **ret, struct smx_err *err)
{
    struct sandbox_ended q = { .name = name };
    int r = store_do(st, sandbox_ended, &q, 0, err);

    if (r == 0)
        *ret = q.reason;
    return r;
}
