/* idem.c - records of requests with an Idempotency-Key. A record with status 0 belongs to a request
 * that still runs; with status 1 to one whose process died after its sandbox was made. */
#include "store/internal.h"

struct idem_begin {
    const struct store_idem *rec;
    int64_t oldest_ms;
    struct store_idem *found;
};

/* One allocation: the struct, then its bytes. */
static struct store_idem *copy_record(sqlite3_stmt *s)
{
    const char *type = store_text(s, 2), *id = store_text(s, 4);
    const void *body = sqlite3_column_blob(s, 3);
    size_t type_n = strlen(type) + 1, id_n = strlen(id) + 1;
    size_t body_n = (size_t)sqlite3_column_bytes(s, 3);
    struct store_idem *r = smx_alloc(sizeof *r + type_n + id_n + body_n + 1);
    char *p = (char *)(r + 1);

    if (!r)
        return NULL;
    if (sqlite3_column_bytes(s, 0) == (int)sizeof r->hash)
        memcpy(r->hash, sqlite3_column_blob(s, 0), sizeof r->hash);
    r->status = sqlite3_column_int(s, 1);
    r->content_type = memcpy(p, type, type_n);
    r->sandbox_id = memcpy(p + type_n, id, id_n);
    p += type_n + id_n;
    if (body_n)
        memcpy(p, body, body_n);
    r->body = p;
    r->body_n = body_n;
    r->created_ms = sqlite3_column_int64(s, 5);
    return r;
}

static int idem_look(struct store *st, struct idem_begin *b, struct smx_err *err)
{
    sqlite3_stmt *s = store_sql(st, SQL_IDEM_GET, err);
    int rc, r = 0;

    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, b->rec->scope);
    store_bind_text(s, 2, b->rec->key);
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW &&
        (sqlite3_column_int64(s, 5) >= b->oldest_ms || sqlite3_column_int(s, 1) == 0)) {
        b->found = copy_record(s);
        r = b->found ? 0 : smx_err_oom(err);
    } else if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        r = store_error(st, err, "reading");
    }
    sqlite3_reset(s);
    return r;
}

static int idem_begin(struct store *st, void *arg, struct smx_err *err)
{
    struct idem_begin *b = arg;
    sqlite3_stmt *s;
    int r = idem_look(st, b, err);

    if (r < 0 || b->found)
        return r;
    s = store_sql(st, SQL_IDEM_PUT, err);
    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, b->rec->scope);
    store_bind_text(s, 2, b->rec->key);
    sqlite3_bind_blob(s, 3, b->rec->hash, sizeof b->rec->hash, SQLITE_STATIC);
    sqlite3_bind_int(s, 4, 0);
    store_bind_text(s, 5, "");
    store_bind_text(s, 7, "");
    sqlite3_bind_int64(s, 8, b->rec->created_ms);
    return store_run(st, s, err);
}

int store_idem_begin(struct store *st, const struct store_idem *rec, int64_t oldest_ms,
    struct store_idem **ret, struct smx_err *err)
{
    struct idem_begin b = { .rec = rec, .oldest_ms = oldest_ms };
    int r = store_do(st, idem_begin, &b, STORE_DURABLE, err);

    if (r < 0) {
        smx_free(b.found);
        return r;
    }
    if (!b.found)
        return 1;
    *ret = b.found;
    return 0;
}

static int idem_finish(struct store *st, void *arg, struct smx_err *err)
{
    const struct store_idem *rec = arg;
    sqlite3_stmt *s = store_sql(st, SQL_IDEM_FINISH, err);

    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, rec->scope);
    store_bind_text(s, 2, rec->key);
    sqlite3_bind_int(s, 3, rec->status);
    store_bind_text(s, 4, rec->content_type);
    sqlite3_bind_blob(s, 5, rec->body, (int)rec->body_n, SQLITE_STATIC);
    store_bind_text(s, 6, rec->sandbox_id);
    return store_run(st, s, err);
}

int store_idem_finish(struct store *st, const struct store_idem *rec, struct smx_err *err)
{
    struct store_idem copy = *rec;

    return store_do(st, idem_finish, &copy, 0, err);
}

static int idem_remove(struct store *st, void *arg, struct smx_err *err)
{
    const struct store_idem *rec = arg;
    sqlite3_stmt *s = store_sql(st, SQL_IDEM_REMOVE, err);

    if (!s)
        return -(int)err->code;
    store_bind_text(s, 1, rec->scope);
    store_bind_text(s, 2, rec->key);
    return store_run(st, s, err);
}

int store_idem_remove(struct store *st, const char *scope, const char *key, struct smx_err *err)
{
    struct store_idem rec = { .scope = scope, .key = key };

    return store_do(st, idem_remove, &rec, 0, err);
}

static int idem_recover(struct store *st, void *arg, struct smx_err *err)
{
    static const enum store_sql steps[] = { SQL_IDEM_ADOPT, SQL_IDEM_FORGET };

    for (size_t i = 0; i < SMX_ARRAY_LEN(steps); i++) {
        sqlite3_stmt *s = store_sql(st, steps[i], err);
        int r;

        if (!s)
            return -(int)err->code;
        r = store_run(st, s, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int store_idem_recover(struct store *st, struct smx_err *err)
{
    return store_do(st, idem_recover, NULL, 0, err);
}

struct prune {
    int64_t oldest_ms;
    size_t ended;
};

static int prune(struct store *st, void *arg, struct smx_err *err)
{
    struct prune *p = arg;
    sqlite3_stmt *s = store_sql(st, SQL_IDEM_PRUNE, err);
    int r;

    if (!s)
        return -(int)err->code;
    sqlite3_bind_int64(s, 1, p->oldest_ms);
    r = store_run(st, s, err);
    if (r < 0)
        return r;
    s = store_sql(st, SQL_SANDBOX_PRUNE, err);
    if (!s)
        return -(int)err->code;
    sqlite3_bind_int64(s, 1, (int64_t)p->ended);
    return store_run(st, s, err);
}

int store_prune(struct store *st, int64_t idem_oldest_ms, size_t ended_kept, struct smx_err *err)
{
    struct prune p = { .oldest_ms = idem_oldest_ms, .ended = ended_kept };

    return store_do(st, prune, &p, 0, err);
}
