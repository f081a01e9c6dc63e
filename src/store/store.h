/* store.h - what the gateway remembers: SQLite in WAL mode below STATE/gateway. The only SQL of the
 * tree is in this directory. Calls marked [parks] come from fibers of one loop; the statements run
 * on a worker, several fibers' calls in one transaction (group commit), in the order of the calls.
 * A call returns when its transaction is committed: with STORE_DURABLE it is then on the disk, else
 * it survives a crash of the process but perhaps not of the host.
 *
 * Errors: -SMX_E_DISK_FULL, -SMX_E_IO (damaged or unreadable), -SMX_E_BUSY (in use; names the
 * holder), -SMX_E_INVALID (written by a newer version), -SMX_E_NO_MEMORY. A call that fails changed
 * nothing. Row structs own their strings; absent ones are NULL. */
#ifndef SMX_STORE_STORE_H
#define SMX_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/random.h"
#include "io/io.h"

struct store;

enum { STORE_DURABLE = 1 };

/* [parks] opens or makes state_dir/gateway.db and holds state_dir/lock until it is closed. */
int store_open(const char *state_dir, struct store **ret, struct smx_err *err);
void store_close(struct store *st); /* [parks] */
SMX_DEFINE_CLEANUP(struct store, store_close)
/* [parks] copies the WAL into the database file if it has grown; for idle moments: callers wait. */
void store_checkpoint(struct store *st);
/* [parks] one cheap write that shows that the disk takes them. */
int store_probe(struct store *st, struct smx_err *err);

/* --- settings: small values by name */
int store_setting_get(struct store *st, const char *key, char **ret,
    struct smx_err *err); /* [parks] *ret NULL: not set */
struct store_setting {
    const char *key, *value; /* value NULL: removes it */
};

/* --- events: the last STORE_EVENTS_KEPT of them, a few more before the oldest go */
enum { STORE_EVENTS_KEPT = 10000, STORE_EVENTS_SLACK = 256 };
struct store_event {
    uint64_t seq; /* given by the store */
    int64_t at_ms;
    char type[32], sandbox_id[SMX_ID_LEN + 1], name[SMX_NAME_LEN_MAX + 1], runtime[16];
    char from[16], to[16], reason[64];
};
/* Called on the loop, in the order of seq, once an event is committed, before the writer runs on.
 */
typedef void(store_event_fn)(void *ctx, const struct store_event *e);
void store_on_event(struct store *st, store_event_fn *fn, void *ctx);
uint64_t store_event_last(const struct store *st); /* 0: none yet */
/* [parks] up to n events with seq > since, oldest first; *ret_n of them. */
int store_event_read(struct store *st, uint64_t since, struct store_event *ret, size_t n,
    size_t *ret_n, struct smx_err *err);
/* [parks] settings and an event (NULL: none) in one transaction. */
int store_setting_put(struct store *st, const struct store_setting *v, size_t n,
    const struct store_event *event, unsigned flags, struct smx_err *err);

/* --- sandboxes */
struct store_sandbox {
    uint64_t serial; /* given by the store at insert */
    char id[SMX_ID_LEN + 1];
    const char *token, *name, *runtime, *provider_id, *state, *template, *project_id;
    const char *metadata, *env; /* JSON objects */
    const char *idem_scope, *idem_key;
    int64_t created_ms, updated_ms, used_ms, expires_ms, armed_ms;
    int lifetime;
    uint64_t lifetime_s;
    double cpu;
    uint64_t memory_mib, disk_mib, pids;
    bool limits_hard, internet;
    const char *reason;
    uint32_t generation;
    int64_t created_ns;
    int on_timeout;
    bool auto_resume, open_envd, private_traffic;
    const char *dialect;
};
/* [parks] writes the row (serial 0: a new one, serial is set) and the event (NULL: none).
 * -SMX_E_EXISTS: the name belongs to a living one. */
int store_sandbox_put(struct store *st, struct store_sandbox *row, const struct store_event *event,
    unsigned flags, struct smx_err *err);
/* [parks] writes two rows that are there, and the event, in one transaction. */
int store_sandbox_put_both(struct store *st, struct store_sandbox *a, struct store_sandbox *b,
    const struct store_event *event, unsigned flags, struct smx_err *err);
/* [parks] calls fn on the loop for every row that is not deleted, by serial. Strings are valid
 * during the call. A negative return of fn ends it and is returned. */
typedef int(store_sandbox_fn)(void *ctx, const struct store_sandbox *row, struct smx_err *err);
int store_sandbox_each(struct store *st, store_sandbox_fn *fn, void *ctx, struct smx_err *err);
/* [parks] the reason why the last sandbox of that name ended; *ret NULL: there was none. */
int store_sandbox_ended(struct store *st, const char *name, char **ret, struct smx_err *err);

/* --- idempotency */
struct store_idem {
    const char *scope, *key;
    unsigned char hash[32];
    int status; /* 0: running */
    const char *content_type;
    const void *body;
    size_t body_n;
    const char *sandbox_id;
    int64_t created_ms;
};
/* [parks] inserts a running record (returns 1), or copies the one that is there (returns 0; *ret
 * and its strings are one allocation that the caller frees). One older than oldest_ms is replaced.
 */
int store_idem_begin(struct store *st, const struct store_idem *rec, int64_t oldest_ms,
    struct store_idem **ret, struct smx_err *err);
int store_idem_finish(struct store *st, const struct store_idem *rec, struct smx_err *err);
int store_idem_remove(
    struct store *st, const char *scope, const char *key, struct smx_err *err); /* [parks] */
/* [parks] running records become finished (with a sandbox: adopted) or go; called once at start,
 * when nothing can be running. */
int store_idem_recover(struct store *st, struct smx_err *err);
/* [parks] removes idempotency records that are too old and all but the last ended sandboxes. */
int store_prune(struct store *st, int64_t idem_oldest_ms, size_t ended_kept, struct smx_err *err);

/* --- API keys */
struct store_key {
    char id[16], name[64], prefix[16];
    unsigned char hash[32];
    int64_t created_ms, used_ms;
};
int store_key_put(struct store *st, const struct store_key *k, struct smx_err *err); /* [parks] */
int store_key_remove(struct store *st, const char *id,
    struct smx_err *err); /* [parks] -SMX_E_NOT_FOUND when there is none */
int store_key_used(
    struct store *st, const char *id, int64_t used_ms, struct smx_err *err); /* [parks] */
int store_key_all(struct store *st, struct store_key **ret, size_t *ret_n,
    struct smx_err *err); /* [parks] the caller frees the array */

#endif
