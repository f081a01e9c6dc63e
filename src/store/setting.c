/* setting.c - small values by name, and the journal of events. Worker functions are static; the
 * calls that fibers make stand below each. */
#include "store/internal.h"

/* --- settings */

struct setting_get {
    const char *key;
    char *value;
};

static int setting_get(struct store *st, void *arg, struct smx_err *err)
{
    struct setting_get *g = arg;
    sqlite3_stmt *s = store_sql(st, SQL_SETTING_GET, err);
    int rc, r = 0;

    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, g->key);
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        g->value = smx_strdup(store_text(s, 0));
        r = g->value ? 0 : smx_err_oom(err);
    } else if (rc != SQLITE_DONE) {
        r = store_error(st, err, "reading");
    }
    sqlite3_reset(s);
    return r;
}

int store_setting_get(struct store *st, const char *key, char **ret, struct smx_err *err)
{
    struct setting_get g = { .key = key };
    int r = store_do(st, setting_get, &g, 0, err);

    if (r == 0)
        *ret = g.value;
    return r;
}

struct setting_put {
    const struct store_setting *v;
    size_t n;
    const struct store_event *event;
};

static int setting_put(struct store *st, void *arg, struct smx_err *err)
{
    struct setting_put *p = arg;

    for (size_t i = 0; i < p->n; i++) {
        sqlite3_stmt *s = store_sql(st, p->v[i].value ? SQL_SETTING_PUT : SQL_SETTING_REMOVE, err);
        int r;

        if (!s)
            return -(int)err->code;
        store_bind_text(s, 1, p->v[i].key);
        if (p->v[i].value)
            store_bind_text(s, 2, p->v[i].value);
        r = store_run(st, s, err);
        if (r < 0)
            return r;
    }
    return p->event ? store_event_append(st, p->event, err) : 0;
}

int store_setting_put(struct store *st, const struct store_setting *v, size_t n,
    const struct store_event *event, unsigned flags, struct smx_err *err)
{
    struct setting_put p = { .v = v, .n = n, .event = event };

    return store_do(st, setting_put, &p, flags, err);
}

/* --- events */

static int remember(struct store *st, const struct store_event *e, struct smx_err *err)
{
    if (st->n_events == st->room_events) {
        size_t room = st->room_events ? 2 * st->room_events : 16;
        struct store_event *v = smx_realloc(st->events, room * sizeof *v);

        if (!v)
            return smx_err_oom(err);
        st->events = v;
        st->room_events = room;
    }
    st->events[st->n_events] = *e;
    st->events[st->n_events++].seq = ++st->seq_last;
    return 0;
}

static int forget_oldest(struct store *st, struct smx_err *err)
{
    sqlite3_stmt *s;

    if (st->seq_last % STORE_EVENTS_SLACK != 0 || st->seq_last <= STORE_EVENTS_KEPT)
        return 0;
    s = store_sql(st, SQL_EVENT_PRUNE, err);
    if (!s)
        return -(int)err->code;
    sqlite3_bind_int64(s, 1, (int64_t)(st->seq_last - STORE_EVENTS_KEPT));
    return store_run(st, s, err);
}

int store_event_append(struct store *st, const struct store_event *e, struct smx_err *err)
{
    const char *const text[] = { e->type, e->sandbox_id, e->name, e->runtime, e->from, e->to,
        e->reason };
    sqlite3_stmt *s = store_sql(st, SQL_EVENT_PUT, err);
    int r;

    if (!s)
        return -(int)err->code;
    r = remember(st, e, err);
    if (r < 0)
        return r;
    sqlite3_bind_int64(s, 1, (int64_t)st->seq_last);
    sqlite3_bind_int64(s, 2, e->at_ms);
    for (size_t i = 0; i < SMX_ARRAY_LEN(text); i++)
        store_bind_text(s, (int)i + 3, text[i]);
    r = store_run(st, s, err);
    return r < 0 ? r : forget_oldest(st, err);
}

void store_on_event(struct store *st, store_event_fn *fn, void *ctx)
{
    st->on_event = fn;
    st->on_event_ctx = ctx;
}

uint64_t store_event_last(const struct store *st)
{
    return st->seq_last;
}

struct event_read {
    uint64_t since;
    struct store_event *v;
    size_t room, n;
};

static void event_of_row(sqlite3_stmt *s, struct store_event *e)
{
    *e = (struct store_event){ .seq = (uint64_t)sqlite3_column_int64(s, 0),
        .at_ms = sqlite3_column_int64(s, 1) };
    smx_strcpy(e->type, sizeof e->type, store_text(s, 2));
    smx_strcpy(e->sandbox_id, sizeof e->sandbox_id, store_text(s, 3));
    smx_strcpy(e->name, sizeof e->name, store_text(s, 4));
    smx_strcpy(e->runtime, sizeof e->runtime, store_text(s, 5));
    smx_strcpy(e->from, sizeof e->from, store_text(s, 6));
    smx_strcpy(e->to, sizeof e->to, store_text(s, 7));
    smx_strcpy(e->reason, sizeof e->reason, store_text(s, 8));
}

static int event_read(struct store *st, void *arg, struct smx_err *err)
{
    struct event_read *q = arg;
    sqlite3_stmt *s = store_sql(st, SQL_EVENT_READ, err);
    int rc, r = 0;

    if (!s)
        return -(int)err->code;
    sqlite3_bind_int64(s, 1, (int64_t)q->since);
    sqlite3_bind_int64(s, 2, (int64_t)q->room);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && q->n < q->room)
        event_of_row(s, &q->v[q->n++]);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        r = store_error(st, err, "reading");
    sqlite3_reset(s);
    return r;
}

int store_event_read(struct store *st, uint64_t since, struct store_event *ret, size_t n,
    size_t *ret_n, struct smx_err *err)
{
    struct event_read q = { .since = since, .v = ret, .room = n };
    int r = store_do(st, event_read, &q, 0, err);

    if (r == 0)
        *ret_n = q.n;
    return r;
}
