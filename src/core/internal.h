/* internal.h - the inside of the core: one struct core a gateway, one struct sbx a sandbox. All of
 * it belongs to the loop's thread.
 *
 * A sandbox's lock serialises its transitions: whoever holds it may move the state and change what
 * is written to its row; everybody may read. Lock order: one sandbox's lock at a time, never the
 * switch's within it. */
#ifndef SMX_CORE_INTERNAL_H
#define SMX_CORE_INTERNAL_H

#include "base/map.h"
#include "base/mem.h"
#include "core/core.h"
#include "store/store.h"

enum {
    CREATE_TIMEOUT_MS = 120000,
    CHANGE_TIMEOUT_MS = 60000,
    PROBE_TIMEOUT_MS = 3000,
    EVENT_RING = 512,
    ENDED_KEPT = 10000,
    IDEM_KEPT_MS = 24 * 3600 * 1000,
    LIFETIME_DEFAULT_S = 3600,
};

struct core_rt { /* one runtime name */
    struct core *core;
    struct core_runtime_config cfg;
    struct provider *provider; /* NULL: cannot be used; why says so */
    char why[200];
    struct smx_map by_provider_id; /* of struct sbx */
    size_t living;
    struct core_health health;
    uint64_t health_until_ns;
    bool probing;
    struct io_event probed;
    bool recovering, recover_again;
    bool no_samples;       /* it cannot be asked cheaply */
    unsigned patience;     /* looks for which an interrupted create may still come to light */
    unsigned looks;        /* since it was opened or reset: the first ones follow soon */
    uint64_t next_look_ns; /* when registry and provider are compared again */
};

struct core_event_ring {
    struct core_event v[EVENT_RING];
    uint64_t last; /* seq; v[seq % EVENT_RING] */
    uint64_t first;
    struct io_event pulse;
};

struct core_metric {
    struct metrics_family *operations, *seconds, *sandboxes, *events, *expired, *switches;
};

struct core {
    struct io_loop *loop;
    struct store *store;
    struct metrics *metrics;
    bool own_metrics;
    struct core_metric m;
    struct core_rt rt[CORE_RUNTIMES_MAX];
    size_t n_rt;
    struct core_rt *current;
    const char *current_why;
    char warning[120];
    char runtime_setting[32]; /* as compared at boot: trimmed, lower case */
    struct io_sem switching;
    uint64_t max_lifetime_s, default_lifetime_s;
    int64_t created_last_ns; /* of the sandbox made last: the next is later */
    struct smx_map by_id, by_name;
    struct smx_list all;   /* of struct sbx, by serial */
    uint64_t sampled_last; /* serial of whom was looked at last */
    struct core_event_ring events;
    struct smx_map keys; /* of struct key_entry, by hash in hexadecimal digits */
    unsigned char secret[32];
    struct evp_mac_ctx_st *mac; /* of OpenSSL, keyed with secret */
    char instance[33];
    bool closing;
    struct io_tasks tasks; /* fibers of ours */
    struct io_event stop;  /* set at close */
};

struct samples {
    struct kept *v; /* room of them; n from first on */
    size_t room, first, n;
    int64_t at_unix_ms; /* of the last look, with what was used until then */
    uint64_t cpu_ns;
};

struct log_line {
    int64_t unix_ms;
    char text[];
};
struct sandbox_log {
    struct log_line **v; /* room of them, a power of two; v[seq % room] */
    size_t room;
    uint64_t last;
    struct io_event pulse;
};

struct sbx {
    struct sandbox pub; /* first */
    unsigned refs;
    struct core *core;
    struct core_rt *rt;
    struct smx_list all;
    bool registered;
    char *alias[2];
    char token[PROVIDER_TOKEN_LEN + 1];
    char *metadata_json;
    struct json_pair *env;
    size_t n_env;
    char *idem_scope, *idem_key;
    struct provider_box *box; /* NULL: not attached */
    unsigned uses, holds;
    struct smx_list halts;      /* of struct sandbox_halt */
    bool detach;                /* the box goes with the last use */
    const char *closed;         /* why it takes no uses; static. NULL: it does */
    struct io_sem lock;         /* one transition at a time */
    uint64_t moved_ns;          /* when the lock was last given back */
    uint64_t verified_until_ns; /* adopt_verify() believes it until then */
    bool dirty;                 /* the row is behind: a write failed */
    bool doubtful;              /* a change ended without an answer: only the provider knows */
    enum sandbox_state row_state;
    int64_t armed_unix_ms; /* when its lifetime began */
    struct io_timer expiry, push;
    struct sandbox_log log;
    struct samples samples;
    bool sampling;                   /* its box is in use by a look */
    char access[SANDBOX_TOKEN_SIZE]; /* sandbox_token(), of that generation; 0: not made yet */
    uint32_t access_generation;
};

static inline struct sbx *sbx_of(struct sandbox *sb)
{
    return (struct sbx *)sb;
}
static inline const struct sbx *sbx_of_const(const struct sandbox *sb)
{
    return (const struct sbx *)sb;
}

/* core.c: a fiber of ours that core_close() waits for. arg is handed to fn, which frees it. When it
 * cannot be started fn is not called and the caller keeps arg. */
int core_task(struct core *c, const char *name, io_fiber_fn *fn, void *arg);
struct core_rt *core_rt_find(struct core *c, const char *name);
/* A line in the log for each change: what, on which, with which result. */
void core_audit(const struct sbx *b, const char *op, int r);
void core_account(const struct sbx *b, const char *op, int r, uint64_t begun_ns);

/* registry.c */
int sbx_new(struct core *c, struct core_rt *rt, struct sbx **ret, struct smx_err *err);
int sbx_add(struct sbx *b, struct smx_err *err); /* by id and name: -SMX_E_EXISTS */
int sbx_index_provider_id(struct sbx *b, struct smx_err *err);
int sbx_rename(struct sbx *b, const char *name, struct smx_err *err); /* NULL: none */
struct sbx *registry_look_up(struct core *c, const char *key); /* by id, name, provider's id */
void sbx_remove(struct sbx *b); /* from the indexes; drops the registry's reference */
void sbx_detach(struct sbx *b); /* the box goes, at once or with the last use */
int pairs_copy(struct json_pair **ret, const struct json_pair *v, size_t n);
void pairs_free(struct json_pair *v, size_t n);
char *pairs_encode(const struct json_pair *v, size_t n, struct smx_err *err);
int pairs_decode(const char *json, struct json_pair **ret, size_t *ret_n, struct smx_err *err);

/* sandbox.c */
enum { MOVE_FACT = 1 /* it happened: memory follows even when the row cannot be written yet */ };
int sandbox_move(struct sbx *b, enum sandbox_state next, const char *reason, unsigned flags,
    struct smx_err *err);
void sandbox_fill_row(
    const struct sbx *b, enum sandbox_state state, const char *reason, struct store_sandbox *row);
int sandbox_save(struct sbx *b, struct smx_err *err); /* the row without a change of state */
int sandbox_lock(struct sbx *b, struct smx_err *err); /* [parks] a reference is the caller's */
void sandbox_unlock(struct sbx *b);
/* With the lock held: gone at the provider and in the registry. */
int sandbox_delete_locked(struct sbx *b, const char *reason, struct smx_err *err);
/* With the lock held: what its on_timeout says. */
int sandbox_expire_locked(struct sbx *b, struct smx_err *err);
int sandbox_start_locked(struct sbx *b, struct smx_err *err);
int sandbox_stop_locked(struct sbx *b, struct smx_err *err); /* from running or paused */
int sandbox_patch_locked(struct sbx *b, const struct core_patch *p, struct smx_err *err);
/* "sandbox 'x' is paused and cannot be <what>", or that there is none. */
int sandbox_refuse(const struct sbx *b, const char *what, struct smx_err *err);
void sandbox_flush_dirty(struct core *c);
/* The provider says that it changed; with the lock held. */
void sandbox_follow(struct sbx *b, enum provider_box_state state, const char *reason);

/* create.c */
int create_check(struct core *c, const struct core_create_spec *spec, struct core_rt **ret_rt,
    struct smx_err *err);
/* An object with a token of its own, in no index. */
int create_object(struct core *c, struct core_rt *rt, const struct core_create_spec *spec,
    struct sbx **ret, struct smx_err *err);
int metadata_check(const struct json_pair *v, size_t n, struct smx_err *err);

/* lifetime.c */
void lifetime_set(struct sbx *b, bool has_timeout, uint64_t timeout_s); /* the policy */
void lifetime_arm(struct sbx *b);     /* anew, from now; running */
void lifetime_resume(struct sbx *b);  /* as the row says, after a restart */
void lifetime_suspend(struct sbx *b); /* paused, stopped, ended */
void lifetime_touch(struct sbx *b);   /* it was used */
void lifetime_refresh(struct sbx *b); /* brings expires_unix_ms up to date before it is shown */
void lifetime_timer_init(struct sbx *b);

/* event.c */
void core_on_event(void *ctx, const struct store_event *e);

/* recovery.c */
int recovery_load(struct core *c, struct smx_err *err); /* rows into the registry */
void recovery_run(struct core_rt *rt);                  /* [parks] against what the provider has */
/* [parks] the first time: waits a moment for creates that the last gateway had begun */
void recovery_first(struct core_rt *rt);
/* [parks] The box of what was found, and what is known of it. */
int recovery_attach(struct sbx *b, const struct provider_info *info, struct smx_err *err);
/* For runtimes that a start does not wait for: takes up what the rows say is there. */
void recovery_early(struct core_rt *rt);
void recovery_start(struct core_rt *rt);         /* the same on a fiber */
extern const struct provider_host recovery_host; /* ctx: struct core_rt */

/* adopt.c */
/* [parks] a running sandbox of a remote runtime is asked for there; its state follows. */
int adopt_verify(struct sbx *b, struct smx_err *err);
int adopt_verify_anew(struct sbx *b, struct smx_err *err); /* believes nothing older */
/* [parks] 1: spec->name is the id of a sandbox of the runtime and it is in the registry now; 0: it
 * is none. */
int adopt_foreign(struct core *c, const struct core_create_spec *spec, struct smx_err *err);

/* runtime.c */
int runtime_boot(struct core *c, const struct core_config *cfg, struct smx_err *err);

/* key.c, token.c */
int keys_load(struct core *c, struct smx_err *err);
void keys_done(struct core *c);
int secrets_load(struct core *c, struct smx_err *err);
int sha256(unsigned char out[32], const void *data, size_t n);

/* sample.c */
void samples_fiber(void *core);
void samples_keep(struct sbx *b, const struct provider_stats *st);
void samples_done(struct samples *s);

/* log.c */
void log_done(struct sandbox_log *l);

#endif
