/* key.c - API keys, as hashes. All of them are read at start; checks are the core's, from memory.
 */
#include "store/internal.h"

static int key_put(struct store *st, void *arg, struct smx_err *err)
{
    const struct store_key *k = arg;
    sqlite3_stmt *s = store_sql(st, SQL_KEY_PUT, err);

    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, k->id);
    store_bind_text(s, 2, k->name);
    store_bind_text(s, 3, k->prefix);
    sqlite3_bind_blob(s, 4, k->hash, sizeof k->hash, SQLITE_STATIC);
    sqlite3_bind_int64(s, 5, k->created_ms);
    sqlite3_bind_int64(s, 6, k->used_ms);
    return store_run(st, s, err);
}

int store_key_put(struct store *st, const struct store_key *k, struct smx_err *err)
{
    struct store_key copy = *k;

    return store_do(st, key_put, &copy, STORE_DURABLE, err);
}

static int key_remove(struct store *st, void *arg, struct smx_err *err)
{
    const struct store_key *k = arg;
    sqlite3_stmt *s = store_sql(st, SQL_KEY_REMOVE, err);
    int r;

    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, k->id);
    r = store_run(st, s, err);
    if (r == 0 && sqlite3_changes(st->db) == 0)
        return smx_err_set(err, SMX_E_NOT_FOUND, "API key '%s' not found", k->id);
    return r;
}

int store_key_remove(struct store *st, const char *id, struct smx_err *err)
{
    struct store_key k = { 0 };

    if (!smx_strcpy(k.id, sizeof k.id, id))
        return smx_err_set(err, SMX_E_NOT_FOUND, "API key not found: no id is that long");
    return store_do(st, key_remove, &k, STORE_DURABLE, err);
}

static int key_used(struct store *st, void *arg, struct smx_err *err)
{
    const struct store_key *k = arg;
    sqlite3_stmt *s = store_sql(st, SQL_KEY_USED, err);

    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, k->id);
    sqlite3_bind_int64(s, 2, k->used_ms);
    return store_run(st, s, err);
}

int store_key_used(struct store *st, const char *id, int64_t used_ms, struct smx_err *err)
{
    struct store_key k = { .used_ms = used_ms };

    smx_strcpy(k.id, sizeof k.id, id);
    return store_do(st, key_used, &k, 0, err);
}

struct key_all {
    struct store_key *v;
    size_t n, room;
};

static int key_grow(struct key_all *q, struct smx_err *err)
{
    size_t room = q->room ? 2 * q->room : 8;
    struct store_key *v;

    if (q->n < q->room)
        return 0;
    v = smx_realloc(q->v, room * sizeof *v);
    if (!v)
        return smx_err_oom(err);
    q->v = v;
    q->room = room;
    return 0;
}

static int key_all(struct store *st, void *arg, struct smx_err *err)
{
    struct key_all *q = arg;
    sqlite3_stmt *s = store_sql(st, SQL_KEY_ALL, err);
    int rc, r = 0;

    if (!s)
        return -(int)err->code;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW && (r = key_grow(q, err)) == 0) {
        struct store_key *k = &q->v[q->n++];

        *k = (struct store_key){ .created_ms = sqlite3_column_int64(s, 4),
            .used_ms = sqlite3_column_int64(s, 5) };
        smx_strcpy(k->id, sizeof k->id, store_text(s, 0));
        smx_strcpy(k->name, sizeof k->name, store_text(s, 1));
        smx_strcpy(k->prefix, sizeof k->prefix, store_text(s, 2));
        if (sqlite3_column_bytes(s, 3) == (int)sizeof k->hash)
            memcpy(k->hash, sqlite3_column_blob(s, 3), sizeof k->hash);
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = store_error(st, err, "reading");
    sqlite3_reset(s);
    return r;
}

int store_key_all(struct store *st, struct store_key **ret, size_t *ret_n, struct smx_err *err)
{
    struct key_all q = { 0 };
    int r = store_do(st, key_all, &q, 0, err);

    if (r < 0) {
        smx_free(q.v);
        return r;
    }
    *ret = q.v;
    *ret_n = q.n;
    return 0;
}
