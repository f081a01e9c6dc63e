/* internal.h - the store's inside: one connection, the queue of operations, prepared statements. */
#ifndef SMX_STORE_INTERNAL_H
#define SMX_STORE_INTERNAL_H

#include <sqlite3.h>

#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"

/* Every statement of the tree, prepared when first used: STORE_SQL(symbol, text). */
enum store_sql {
#define STORE_SQL(symbol, text) SQL_##symbol,
#include "store/statements.def"
#undef STORE_SQL
    SQL_COUNT_
};

struct store {
    sqlite3 *db; /* used on a worker, by one batch at a time */
    sqlite3_stmt *sql[SQL_COUNT_];
    char *path;
    int lock_fd;
    bool synchronous_full;      /* what the connection is set to now */
    int wal_pages;              /* after the last commit */
    struct smx_list queue;      /* of struct store_op, in order */
    bool busy;                  /* a fiber runs a batch */
    struct store_event *events; /* of the batch, in order of seq */
    size_t n_events, room_events;
    uint64_t seq_last, serial_last;
    store_event_fn *on_event;
    void *on_event_ctx;
};

/* Runs on a worker, inside a savepoint of its own; a failure undoes only it. */
typedef int(store_fn)(struct store *st, void *arg, struct smx_err *err);

/* [parks] runs fn in the next transaction and returns its result once that is committed. */
int store_do(struct store *st, store_fn *fn, void *arg, unsigned flags, struct smx_err *err);

/* The worker's side. */
int store_error(struct store *st, struct smx_err *err, const char *what);
/* The statement with its bindings cleared, or NULL (then store_error() was called). */
sqlite3_stmt *store_sql(struct store *st, enum store_sql which, struct smx_err *err);
/* Steps a statement that returns no row and resets it. */
int store_run(struct store *st, sqlite3_stmt *s, struct smx_err *err);
void store_bind_text(sqlite3_stmt *s, int i, const char *v); /* NULL binds NULL; borrowed */
/* Column as a static or statement-owned string; NULL column: NULL. */
const char *store_text(sqlite3_stmt *s, int i);
int store_event_append(struct store *st, const struct store_event *e, struct smx_err *err);

extern const char *const store_migrations[];
extern const int store_migrations_n;

#endif
