/* core.h - the runtime manager: registry of sandboxes, their states, lifetimes, events, keys,
 * tokens, idempotency, the current runtime and its health. Front ends translate between their wire
 * and this header; they keep no state of their own.
 *
 * Threading: one loop; every call comes from one of its fibers. [parks] calls may wait (database,
 * provider). Strings in structs are owned by the struct. */
#ifndef SMX_CORE_CORE_H
#define SMX_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/metrics.h"
#include "providers/provider.h"

struct core;
struct sandbox;

/* --- configuration ------------------------------------------------------------------------- */

enum { CORE_RUNTIMES_MAX = 4, CORE_INFO_MAX = 6 };

/* One runtime name that the operator may choose. Borrowed until core_close(). */
struct core_runtime_config {
    const char *name;                   /* "local", "daytona", "e2b" */
    const struct provider_ops *ops;     /* NULL: known by name, not built in or not usable */
    const void *config;                 /* for ops->open */
    bool configured;                    /* all its settings are there */
    const char *missing[CORE_INFO_MAX]; /* names of settings that are not; NULL-terminated */
    const char *unavailable;            /* why a configured runtime cannot run here, or NULL */
    uint64_t capabilities;              /* what it can do once it is configured; PROVIDER_BIT()s */
    const char *default_template;       /* of sandboxes that name none; NULL: "base" */
    const struct json_pair *info; /* what status shows: {"e2b_template", "base"}, ... No secrets */
    size_t n_info;
};

struct core_config {
    struct io_loop *loop;
    const char *state_dir; /* STATE/gateway; made with 0700 when missing */
    struct core_runtime_config runtimes[CORE_RUNTIMES_MAX]; /* in the order of available_runtimes */
    size_t n_runtimes;
    const char *runtime_setting; /* SANDBOX_RUNTIME as found; NULL or "": unset */
    const char *runtime_default; /* what applies when it is unset; the caller knows why */
    uint64_t max_lifetime_s;     /* 0: none */
    uint64_t default_lifetime_s; /* sliding; 0: SMX_LIFETIME_DEFAULT_S */
    struct metrics *metrics;     /* NULL: the core makes one */
};

/* [parks] opens the store (one opener at a time: -SMX_E_BUSY names the holder; a database from a
 * newer version or a damaged one is refused with what to do), opens the providers and recovers:
 * every row is resolved against what the providers have. A provider that cannot be reached does not
 * fail the open; its rows are resolved when it comes back. */
int core_open(const struct core_config *cfg, struct core **ret, struct smx_err *err);
/* [parks] ends the core's fibers, closes providers and store; sandboxes stay. No use of a
 * sandbox may be under way: front ends are drained first. References may be given back later. */
void core_close(struct core *c);
SMX_DEFINE_CLEANUP(struct core, core_close)
struct metrics *core_metrics(struct core *c);
const char *core_instance_id(const struct core *c); /* of this state directory, for Sandmux-Via */
uint64_t core_max_lifetime_s(const struct core *c); /* 0: none */
/* Descriptors are short: closes idle connections to sandboxes; true when there were some. */
bool core_shed(struct core *c);
/* The opened provider of a runtime, for its own side doors (local_engine_attach()). NULL: none. */
struct provider *core_provider(struct core *c, const char *runtime);

/* --- sandboxes: the object ----------------------------------------------------------------- */

enum sandbox_state {
#define CORE_STATE(symbol, name, next, invariant) SANDBOX_##symbol,
#include "core/states.def"
#undef CORE_STATE
    SANDBOX_STATE_COUNT_
};
const char *sandbox_state_name(enum sandbox_state s);
bool sandbox_state_parse(const char *name, enum sandbox_state *ret);
bool sandbox_state_allows(enum sandbox_state from, enum sandbox_state to);

enum sandbox_lifetime {
    SANDBOX_LIFETIME_SLIDING,  /* lifetime_s after the last use */
    SANDBOX_LIFETIME_NONE,     /* until it is deleted */
    SANDBOX_LIFETIME_ABSOLUTE, /* lifetime_s after it was set, resumed or started */
};

/* What the end of a lifetime does. */
enum sandbox_on_timeout {
    SANDBOX_KILL,
    SANDBOX_PAUSE, /* processes are kept */
    SANDBOX_STOP,  /* files are kept */
};
enum { SANDBOX_DIALECT_MAX = 16 * 1024, SANDBOX_WAKE_S = 300 };

/* Read-only outside core; a pointer got from a call below is a reference of the caller's, to be
 * given back with sandbox_unref(). Fields may change at every park. */
struct sandbox {
    char id[SMX_ID_LEN + 1];
    char *name;          /* NULL: none; unique among the living */
    char **aliases;      /* NULL-terminated, NULL when none */
    const char *runtime; /* name, static */
    char provider_id[PROVIDER_ID_MAX + 1];
    enum sandbox_state state;
    char *template;
    char *project_id; /* NULL: none */
    struct json_pair *metadata;
    size_t n_metadata;
    int64_t created_unix_ms, updated_unix_ms, last_used_unix_ms;
    int64_t expires_unix_ms; /* 0: none, or suspended while paused or stopped */
    enum sandbox_lifetime lifetime;
    uint64_t lifetime_s;
    struct provider_resources resources; /* effective */
    bool limits_hard, internet;
    char reason[PROVIDER_REASON_MAX + 1]; /* why it ended or broke; empty: null on the wire */
    uint64_t capabilities;                /* PROVIDER_BIT()s */
    uint32_t generation;                  /* of its tokens */
    uint64_t serial;                      /* order of creation, for cursors */
    int64_t created_unix_ns;              /* no two of a server have the same, later ones a later */
    enum sandbox_on_timeout on_timeout;
    bool auto_resume;     /* a call to it while it is paused resumes it: sandbox_wake() */
    bool open_envd;       /* its envd asks for no token */
    bool private_traffic; /* its ports ask for the traffic token */
    char *dialect;        /* JSON text that a front end keeps with it; NULL: none */
};
struct sandbox *sandbox_ref(struct sandbox *sb);
void sandbox_unref(struct sandbox *sb); /* accepts NULL */
SMX_DEFINE_CLEANUP(struct sandbox, sandbox_unref)

struct core_create_spec {
    const char *template; /* NULL: "base" */
    const char *runtime;  /* NULL: the current one, read once */
    const char *name;     /* NULL: none */
    const char *project_id, *password;
    const struct json_pair *metadata, *env;
    size_t n_metadata, n_env;
    bool has_timeout; /* false: sliding default; true: timeout_s, 0 = none */
    uint64_t timeout_s;
    struct provider_resources resources; /* 0: defaults */
    enum sandbox_on_timeout on_timeout;  /* -SMX_E_UNSUPPORTED where the runtime cannot do it */
    bool auto_resume, open_envd, private_traffic;
    const char *dialect;    /* at most SANDBOX_DIALECT_MAX bytes; NULL: none */
    const char *machine_id; /* what the provider calls its owner; NULL: the sandbox's id */
    /* As given to core_idem_begin(), so that recovery can adopt; NULL: none. */
    const char *idempotency_scope, *idempotency_key;
};

/* [parks] -SMX_E_INVALID names the field; -SMX_E_EXISTS: name taken; -SMX_E_NOT_CONFIGURED,
 * -SMX_E_TEMPLATE_NOT_FOUND, -SMX_E_QUOTA, -SMX_E_DISK_FULL, -SMX_E_UNAVAILABLE, -SMX_E_TIMEOUT.
 * After a failure nothing is left, here or at the provider. Runs to its end when the caller is
 * cancelled. */
int core_create(
    struct core *c, const struct core_create_spec *spec, struct sandbox **ret, struct smx_err *err);
/* [parks] get or create, and start: running afterwards. Single flight by name. spec->name is the
 * name; the rest is used only when it has to be made. */
struct core_ensured {
    bool created;   /* 201 */
    bool recreated; /* it was known and had ended unasked: expired, lost */
};
int core_ensure(struct core *c, const struct core_create_spec *spec, struct sandbox **ret,
    struct core_ensured *ret_how, struct smx_err *err);
/* By id, name or alias. -SMX_E_SANDBOX_NOT_FOUND (deleted ones too). Does not park. */
int core_find(struct core *c, const char *key, struct sandbox **ret, struct smx_err *err);

struct core_filter {
    bool has_state;
    enum sandbox_state state;
    const char *runtime, *project_id, *cursor; /* NULL: any; from the beginning */
    size_t limit;                              /* 0: SMX_LIST_DEFAULT; at most SMX_LIST_MAX */
};
struct core_page {
    struct sandbox **v; /* references */
    size_t n;
    char next_cursor[24]; /* empty: no more */
};
int core_list(
    struct core *c, const struct core_filter *f, struct core_page *ret, struct smx_err *err);
void core_page_done(struct core_page *p);
/* Every sandbox that has a row and is not deleted, in the order of creation; fn does not park and
 * takes a reference of what it keeps. False of fn ends it. Returns how many fn was called for. */
typedef bool(core_each_fn)(struct sandbox *sb, void *arg);
int core_each(struct core *c, core_each_fn *fn, void *arg);

struct core_patch {
    bool has_timeout;
    uint64_t timeout_s; /* 0: none; absolute otherwise, from now */
    const char *name;   /* NULL: keep; "": none */
    const struct json_pair *metadata;
    size_t n_metadata;
    bool has_metadata; /* replaces all of it */
};
int sandbox_patch(
    struct sandbox *sb, const struct core_patch *p, struct smx_err *err); /* [parks] */
/* [parks] each waits for a transition that is under way, is a success when the state is there
 * already, and -SMX_E_STATE where the table does not allow it. */
int sandbox_start(struct sandbox *sb, struct smx_err *err); /* from stopped; resumes a paused one */
int sandbox_stop(struct sandbox *sb, struct smx_err *err);
int sandbox_pause(struct sandbox *sb, struct smx_err *err);
int sandbox_resume(struct sandbox *sb, struct smx_err *err);
/* [parks] pauses, or stops without memory, a running one. Of calls that come together one succeeds;
 * the others, like any call for one that does not run, get -SMX_E_STATE. */
int sandbox_pause_once(struct sandbox *sb, bool memory, struct smx_err *err);
/* [parks] for a call that comes to a sandbox: 0 when it runs. A paused one with auto_resume is
 * resumed (a stopped one started) once for all who ask, and lives SANDBOX_WAKE_S from then on when
 * its lifetime is absolute. Else -SMX_E_STATE. */
int sandbox_wake(struct sandbox *sb, struct smx_err *err);
/* [parks] running afterwards. One that runs lives at least timeout_s more, never less than before;
 * any other is started (afresh: from its files, even when its processes are kept) and lives
 * timeout_s from then on. timeout_s is not 0. */
int sandbox_connect(
    struct sandbox *sb, uint64_t timeout_s, bool afresh, bool *ret_started, struct smx_err *err);
/* [parks] a running one lives at least timeout_s more. */
int sandbox_extend(struct sandbox *sb, uint64_t timeout_s, struct smx_err *err);
/* [parks] ends the lifetime of a running one now: what its on_timeout says is done. */
int sandbox_expire(struct sandbox *sb, struct smx_err *err);
/* [parks] returns when it is gone at the provider and in the registry. Provider down: an error, and
 * the record is kept. */
int sandbox_delete(struct sandbox *sb, struct smx_err *err);

/* --- use ----------------------------------------------------------------------------------- */

/* Brackets a call or an open stream: checks that it runs (-SMX_E_STATE names the state), extends a
 * sliding lifetime now, while it lasts and at its end. Between both, *ret_box takes the
 * provider_*() calls of the data plane; it stays valid until the end even when the sandbox is
 * deleted meanwhile (calls then fail). Cheap: no database, no park. */
int sandbox_use_begin(struct sandbox *sb, struct provider_box **ret_box, struct smx_err *err);
void sandbox_use_end(struct sandbox *sb);
/* The same without being a use: the lifetime runs on. For output that is read for nobody. */
int sandbox_hold_begin(struct sandbox *sb, struct provider_box **ret_box, struct smx_err *err);
void sandbox_hold_end(struct sandbox *sb);
int sandbox_stats(
    struct sandbox *sb, struct provider_stats *ret, struct smx_err *err); /* [parks] */

/* What must not go on when the sandbox is paused or stopped: fn is called once, when that has
 * happened or, for a stop, begins. It must not park. On the frame of whoever holds a use. */
struct sandbox_halt {
    struct smx_list node;
    void (*fn)(struct sandbox_halt *h);
};
/* -SMX_E_STATE: it has happened already. */
int sandbox_halt_begin(struct sandbox *sb, struct sandbox_halt *h, struct smx_err *err);
static inline void sandbox_halt_end(struct sandbox_halt *h)
{
    smx_list_del(&h->node);
}

/* What it used of late: a sample every SANDBOX_SAMPLE_MS while it runs (further apart when there
 * are many sandboxes), the last SANDBOX_SAMPLES of them. */
enum { SANDBOX_SAMPLES = 128, SANDBOX_SAMPLE_MS = 5000 };
struct sandbox_sample {
    int64_t unix_ms;
    double cpu_pct; /* of all its cores together */
    uint64_t memory_bytes, disk_bytes;
};
/* In the order of time, at most n; returns how many. Does not park. */
size_t sandbox_samples(const struct sandbox *sb, int64_t from_unix_ms, int64_t to_unix_ms,
    struct sandbox_sample *ret, size_t n);
/* [parks] takes one now when the last is not of the last second. No use: extends no lifetime. */
int sandbox_sample(struct sandbox *sb, struct smx_err *err);

/* The token that opens a sandbox's data plane from outside: HMAC-SHA-256 over the server's secret,
 * id and generation; never stored. */
enum { SANDBOX_TOKEN_SIZE = 64 };
void sandbox_token(const struct sandbox *sb, char out[SANDBOX_TOKEN_SIZE]);
bool sandbox_token_check(const struct sandbox *sb, const char *token); /* constant time */
/* The same for its ports, when private_traffic. */
void sandbox_traffic_token(const struct sandbox *sb, char out[SANDBOX_TOKEN_SIZE]);
bool sandbox_traffic_token_check(const struct sandbox *sb, const char *token);

/* --- moving to another machine ---------------------------------------------------------------- */

/* The environment it was made with; borrowed. Values may be secrets. */
const struct json_pair *sandbox_env(const struct sandbox *sb, size_t *ret_n);
/* [parks] from now on uses are refused (-SMX_E_STATE, saying why); returns when none is under way.
 * Holds are not uses. Ended by sandbox_open_again(). -SMX_E_STATE: it does not run, is being moved
 * already, or is still in use after some seconds. */
int sandbox_close_door(struct sandbox *sb, const char *why, struct smx_err *err);
void sandbox_open_again(struct sandbox *sb);
/* [parks] gives a the machine of b and b that of a: runtime, provider's id, limits. Both run, with
 * closed doors and no hold; ids, names and lifetimes stay. In one transaction: after
 * a failure or a crash both are what they were, or both are exchanged. */
int sandbox_exchange(struct sandbox *a, struct sandbox *b, struct smx_err *err);

/* --- a sandbox's log ----------------------------------------------------------------------- */

enum { SANDBOX_LOG_LINES = 512, SANDBOX_LOG_LINE_MAX = 512 };
struct sandbox_log_line {
    uint64_t seq; /* from 1 */
    int64_t unix_ms;
    char text[SANDBOX_LOG_LINE_MAX];
};
/* Life-cycle events are logged by the core; callers add each process's start (argv[0] only) and end
 * with its code. The ring keeps the last SANDBOX_LOG_LINES in memory. */
void sandbox_logf(struct sandbox *sb, const char *fmt, ...) SMX_PRINTF(2, 3);
/* [parks] the first line with seq > *seq, which becomes its seq. -SMX_E_TIMEOUT: none until the
 * deadline (0: do not wait); -SMX_E_SANDBOX_NOT_FOUND: it is deleted and all was read. */
int sandbox_log_next(struct sandbox *sb, uint64_t *seq, struct sandbox_log_line *ret,
    uint64_t deadline_ns, struct smx_err *err);

/* --- events -------------------------------------------------------------------------------- */

/* Every state change and runtime event, numbered from 1 without gaps, also over restarts. */
struct core_event {
    uint64_t seq;
    int64_t unix_ms;
    char type[32];                   /* "sandbox.state", "runtime.switched", ... */
    char sandbox_id[SMX_ID_LEN + 1]; /* empty: not about one */
    char name[SMX_NAME_LEN_MAX + 1]; /* of the sandbox, may be empty */
    char runtime[16];
    char from[16], to[16]; /* states, or runtimes of a switch */
    char reason[PROVIDER_REASON_MAX + 1];
};
uint64_t core_events_last(struct core *c);
/* [parks] the first event with seq > *since, which becomes its seq. The journal keeps
 * CORE_EVENTS_KEPT events; asked for older ones it goes on with the oldest kept, which the jump in
 * seq shows. -SMX_E_TIMEOUT: none until the deadline (0: do not wait). */
enum { CORE_EVENTS_KEPT = 10000 };
int core_events_next(struct core *c, uint64_t *since, struct core_event *ret, uint64_t deadline_ns,
    struct smx_err *err);

/* --- idempotency --------------------------------------------------------------------------- */

enum core_idem {
    CORE_IDEM_NEW,     /* do the work, then core_idem_finish() or core_idem_abort() */
    CORE_IDEM_REPLAY,  /* answer with *ret */
    CORE_IDEM_ADOPTED, /* the server died in between; the work was done: answer with sandbox_id */
};
struct core_idem_reply {
    int status;
    char content_type[64];
    char *body; /* owned; core_idem_reply_done() */
    size_t n;
    char sandbox_id[SMX_ID_LEN + 1]; /* empty: none */
};
void core_idem_reply_done(struct core_idem_reply *r);
enum { CORE_IDEM_KEY_MAX = 255, CORE_IDEM_BODY_MAX = 64 * 1024 };
/* [parks] scope: front end, method and caller, such as "native POST /api/sandboxes". Returns an
 * enum core_idem; -SMX_E_UNPROCESSABLE_KEY: other body; -SMX_E_IN_PROGRESS: still running;
 * -SMX_E_INVALID: empty or too long a key. Kept 24 h. */
int core_idem_begin(struct core *c, const char *scope, const char *key, const void *body, size_t n,
    struct core_idem_reply *ret, struct smx_err *err);
int core_idem_finish(struct core *c, const char *scope, const char *key,
    const struct core_idem_reply *reply, struct smx_err *err); /* [parks] reply is borrowed */
/* [parks] the work failed in a way that may be tried again: forgets the key. */
void core_idem_abort(struct core *c, const char *scope, const char *key);

/* --- runtimes ------------------------------------------------------------------------------ */

struct core_runtime {
    const char *name;
    bool configured;            /* settings there and usable here */
    const char *const *missing; /* names of settings; NULL-terminated */
    const char *unavailable;    /* why it cannot run here, or NULL */
    const struct json_pair *info;
    size_t n_info;
    uint64_t capabilities;
    size_t sandboxes; /* living ones */
};
struct core_runtime_status {
    const char *current; /* static */
    const char *why;     /* "setting", "switched", "default": where the choice comes from */
    const char *warning; /* of a setting that was not understood, or NULL */
};
void core_runtime_status(struct core *c, struct core_runtime_status *ret);
size_t core_runtime_count(struct core *c);
/* -SMX_E_INVALID: "Invalid runtime 'x'. Must be 'daytona', 'e2b' or 'local'". i: by position. */
int core_runtime_get(
    struct core *c, const char *name, struct core_runtime *ret, struct smx_err *err);
void core_runtime_at(struct core *c, size_t i, struct core_runtime *ret);

enum { CORE_SWITCH_DRY_RUN = 1, CORE_SWITCH_FORCE = 2, CORE_SWITCH_LIVE = 4 };
struct core_switched {
    const char *previous, *current;
    char warning[120]; /* "3 sandboxes stay on daytona; ...", or empty */
};
/* [parks] validates, then commits by compare-and-set and persists; nothing changed on failure.
 * -SMX_E_INVALID as above; -SMX_E_NOT_CONFIGURED: "Runtime 'e2b' is not properly configured". */
int core_runtime_switch(struct core *c, const char *to, unsigned flags, const char *actor,
    struct core_switched *ret, struct smx_err *err);
/* [parks] at most 3 s; live: also asks the provider. */
int core_runtime_validate(struct core *c, const char *name, bool live, bool *ret_configured,
    struct provider_check *ret_live, struct smx_err *err);

enum core_health_state { CORE_HEALTHY, CORE_DEGRADED, CORE_UNHEALTHY };
struct core_health {
    enum core_health_state state; /* degraded: it answers, slowly */
    bool configured, reachable;
    uint64_t latency_ms;
    int64_t last_ok_unix_ms, checked_unix_ms; /* 0: never */
    enum smx_code error_code;                 /* SMX_OK when healthy */
    char detail[200];
};
/* [parks] at most 3 s; cached a few seconds, single flight. name NULL: the current runtime. */
int core_runtime_health(
    struct core *c, const char *name, struct core_health *ret, struct smx_err *err);

/* Can a sandbox be created now? One row a check; n of them are written. [parks] */
struct core_ready {
    const char *check; /* "store", "runtime" */
    bool ok;
    char detail[160];
};
enum { CORE_READY_MAX = 6 };
bool core_ready(struct core *c, struct core_ready ret[CORE_READY_MAX], size_t *ret_n);

struct core_templates {
    struct provider_template *v;
    size_t n;
};
/* [parks] of one runtime; NULL: the current. Freed with smx_free(ret->v). */
int core_templates(
    struct core *c, const char *runtime, struct core_templates *ret, struct smx_err *err);

/* --- API keys ------------------------------------------------------------------------------ */

/* "e2b_" and 40 hexadecimal digits (the form that E2B's SDKs accept); stored as SHA-256. */
enum { CORE_KEY_SIZE = 4 + 40 + 1, CORE_KEY_NAME_MAX = 63, CORE_KEY_ID_SIZE = 13 };
struct core_key {
    char id[CORE_KEY_ID_SIZE]; /* 12 hexadecimal digits */
    char name[CORE_KEY_NAME_MAX + 1];
    char prefix[16];                            /* "e2b_1a2b...": enough to recognise it */
    int64_t created_unix_ms, last_used_unix_ms; /* 0: never */
};
int core_key_create(struct core *c, const char *name, struct core_key *ret,
    char ret_secret[CORE_KEY_SIZE], struct smx_err *err); /* [parks] */
int core_key_list(struct core *c, struct core_key **ret, size_t *ret_n,
    struct smx_err *err); /* the caller frees the array */
int core_key_revoke(
    struct core *c, const char *id, struct smx_err *err); /* [parks] -SMX_E_NOT_FOUND */
/* True when the secret is a live key. From memory; does not park. ret may be NULL. */
bool core_key_check(struct core *c, const char *secret, struct core_key *ret);
size_t core_key_count(struct core *c);

#endif
