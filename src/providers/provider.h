/* provider.h - what a runtime offers to the core: two tables of operations. A provider exports one
 * symbol, const struct provider_ops <name>_provider; everybody else calls the provider_*()
 * dispatchers below, which answer a NULL slot with -SMX_E_UNSUPPORTED.
 *
 * Threading: all calls come from fibers of one loop. Calls marked [parks] may wait; each has a
 * deadline (monotonic ns, SMX_FOREVER for none) and returns 0 or a typed code: -SMX_E_TIMEOUT,
 * -SMX_E_CANCELLED, -SMX_E_UNAVAILABLE (not reached, nothing was done), -SMX_E_AMBIGUOUS (nobody
 * knows whether it was done), -SMX_E_SANDBOX_NOT_FOUND, and what the call names.
 * Outputs are untouched on failure. Arguments are borrowed for the call. */
#ifndef SMX_PROVIDERS_PROVIDER_H
#define SMX_PROVIDERS_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/str.h"
#include "http/client.h"
#include "io/io.h"
#include "json/json.h"

#define PROVIDER_VERSION 1

enum provider_cap {
#define PROVIDER_CAP(symbol, name, meaning) PROVIDER_##symbol,
#include "providers/capabilities.def"
#undef PROVIDER_CAP
    PROVIDER_CAP_COUNT_
};
#define PROVIDER_BIT(cap) (UINT64_C(1) << (cap))
const char *provider_cap_name(enum provider_cap cap); /* wire name; static string */

enum {
    PROVIDER_ID_MAX = 127,
    PROVIDER_TOKEN_LEN = 32, /* hexadecimal digits; what a created sandbox carries */
    PROVIDER_REASON_MAX = 63,
};

/* An opened runtime, and one of its sandboxes as the provider sees it (connections, caches). */
struct provider;
struct provider_box;
struct provider_stream;
struct provider_reader;
struct provider_writer;

/* Content that a descriptor leads to: for http_write_file(). All of it stays the reader's. */
struct provider_content {
    int fd;
    uint64_t offset, length;
    struct io_fd *watch; /* hangs up when the sandbox is gone */
};

/* --- life cycle: values -------------------------------------------------------------------- */

struct provider_resources {
    double cpu; /* cores; 0 everywhere here: the runtime's default */
    uint64_t memory_mib, disk_mib, pids;
};

/* What a runtime that ends sandboxes by itself (PROVIDER_AUTO_CLEANUP) does at the deadline. */
enum provider_at_expiry {
    PROVIDER_AT_EXPIRY_KILL,
    PROVIDER_AT_EXPIRY_PAUSE,
    PROVIDER_AT_EXPIRY_STOP,
};

struct provider_create_spec {
    const char *id;       /* ours; see smx_id_make() */
    const char *token;    /* PROVIDER_TOKEN_LEN random digits; list() gives it back */
    const char *template; /* never NULL */
    struct provider_resources resources;
    const struct json_pair *env; /* of every process */
    size_t n_env;
    const struct json_pair *metadata;
    size_t n_metadata;
    const char *project_id, *password; /* NULL: none. password is a secret */
    int64_t expires_unix_ms;           /* 0: lives until it is deleted */
    enum provider_at_expiry at_expiry; /* at this and every later deadline */
};

/* What was made, or what is there. */
enum provider_box_state {
    PROVIDER_BOX_RUNNING,
    PROVIDER_BOX_PAUSED,
    PROVIDER_BOX_STOPPED,
    PROVIDER_BOX_GONE,    /* ended and removed, or unknown */
    PROVIDER_BOX_UNKNOWN, /* in between: ask again */
};
struct provider_info {
    char provider_id[PROVIDER_ID_MAX + 1];
    char id[SMX_ID_LEN + 1];              /* empty when it does not carry one of ours */
    char token[PROVIDER_TOKEN_LEN + 1];   /* empty likewise */
    char reason[PROVIDER_REASON_MAX + 1]; /* why it ended: "oom", "disk_full", "expired", ... */
    enum provider_box_state state;
    struct provider_resources resources; /* effective */
    bool limits_hard, internet;
    int64_t expires_unix_ms; /* 0: none or unknown */
};

struct provider_stats {
    uint64_t cpu_ns;
    double cpu_limit;
    uint64_t memory_bytes, memory_peak_bytes, memory_limit_bytes;
    uint64_t disk_bytes, disk_limit_bytes;
    uint64_t pids, pids_limit;
    uint64_t net_rx_bytes, net_tx_bytes;
    uint64_t oom_kills;
    bool brief; /* the runtime tells of memory, disk and cpu_pct alone: the rest is not known, 0 */
    double cpu_pct; /* of all cores together, of late; of a brief one only */
};

struct provider_template {
    char name[SMX_TEMPLATE_LEN_MAX + 1];
    char digest[80]; /* empty: none */
    uint64_t size_bytes;
    char default_user[33];
    struct provider_resources resources; /* defaults of its sandboxes */
};

/* Result of validate(): configuration is checked without, credentials with live. */
struct provider_check {
    bool ok;
    uint64_t latency_ms;
    enum smx_code error_code; /* SMX_OK when ok */
    char detail[200];
};

/* --- data plane: values -------------------------------------------------------------------- */

struct provider_process_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    const char *cwd;         /* NULL: the sandbox's default, /workspace */
    const char *user;        /* NULL: the sandbox's default */
    const struct json_pair *env;
    size_t n_env;
    bool tty; /* then cols and rows, and output comes as PROVIDER_EVENT_PTY */
    uint16_t cols, rows;
    bool stdin_open;     /* false: reads EOF at once */
    const char *tag;     /* NULL: none */
    uint64_t timeout_ms; /* its process group is killed after that; 0: never */
    /* Without tty. Not NULL: where the provider can, what the process reads (stdin_open) or else
     * what it writes to stdout goes by a stream socket of its own and not by the calls and events
     * below; *ret_socket is our end, the caller's. -1: it cannot, all is as ever. Nothing that the
     * process does to its end makes ours block. */
    int *ret_socket;
};

enum provider_event_kind {
    PROVIDER_EVENT_START,  /* pid */
    PROVIDER_EVENT_STDOUT, /* data */
    PROVIDER_EVENT_STDERR,
    PROVIDER_EVENT_PTY,
    PROVIDER_EVENT_END, /* exit_code, signal, timed_out; nothing follows */
};
struct provider_event {
    enum provider_event_kind kind;
    uint32_t pid;
    const char *data; /* borrowed until the next call on the stream */
    size_t n;
    int exit_code;     /* 0..255; 128 + n when killed by signal n */
    int signal;        /* 0: it exited */
    bool timed_out;    /* killed because of timeout_ms */
    const char *error; /* what kept it from starting (exit_code 126 or 127), or NULL */
};

struct provider_process {
    uint32_t pid;
    char *tag; /* NULL: none */
    char *cwd;
    char **argv; /* NULL-terminated, cmd first */
};
struct provider_process_list {
    struct provider_process *v;
    size_t n;
};
void provider_process_list_done(struct provider_process_list *l);

enum provider_file_type {
    PROVIDER_FILE_REGULAR,
    PROVIDER_FILE_DIRECTORY,
    PROVIDER_FILE_SYMLINK, /* a link whose target is missing; others have their target's type */
    PROVIDER_FILE_OTHER,
};
struct provider_file {
    char *name, *path;
    char *symlink_target; /* NULL: not a link */
    char *owner, *group;
    char *permissions; /* "-rw-r--r--" */
    enum provider_file_type type;
    uint64_t size_bytes;
    uint32_t mode; /* permission bits */
    int64_t mtime_unix_ms;
};
void provider_file_done(struct provider_file *f);
struct provider_file_list {
    struct provider_file *v;
    size_t n;
    char *text; /* all strings of the entries stand in it; NULL: each is its own */
};
void provider_file_list_done(struct provider_file_list *l);

/* --- tables -------------------------------------------------------------------------------- */

/* What a provider may tell the core, at any time, from the loop. None of these parks. */
struct provider_host {
    void *ctx;
    const char *instance; /* of this sandmux: owns what is made; outlives the provider */
    /* A sandbox changed without being asked: it ended, expired, was paused. reason may be empty. */
    void (*changed)(
        void *ctx, const char *provider_id, enum provider_box_state state, const char *reason);
    /* A line for the sandbox's log. */
    void (*log)(void *ctx, const char *provider_id, const char *line);
    /* The runtime is reachable again and may have lost or gained sandboxes: list() is due. */
    void (*reset)(void *ctx);
};

/* Every slot but open, close, probe, create, kill and list may be NULL. */
struct provider_ops {
    int version;      /* PROVIDER_VERSION */
    const char *name; /* "local" */
    bool remote;      /* its calls cross a network: nothing waits for them at start */
    /* [parks] config is the provider's own struct, borrowed until close. host is copied. */
    int (*open)(struct io_loop *loop, const void *config, const struct provider_host *host,
        void **ret_impl, struct smx_err *err);
    void (*close)(void *impl); /* [parks] sandboxes stay */
    /* Flags that hold now; PROVIDER_BIT(). */
    uint64_t (*capabilities)(void *impl);
    /* [parks] checks credentials and template at the provider; makes nothing. */
    int (*validate)(void *impl, struct provider_check *ret, uint64_t deadline, struct smx_err *err);
    /* [parks] cheap sign of life. */
    int (*probe)(void *impl, uint64_t deadline, struct smx_err *err);
    /* [parks] returns when the sandbox is usable. -SMX_E_AMBIGUOUS: it may or may not exist; list()
     * tells by the token. After any other failure nothing is left. */
    int (*create)(void *impl, const struct provider_create_spec *spec, struct provider_info *ret,
        struct provider_box **ret_box, uint64_t deadline, struct smx_err *err);
    /* [parks] a box for a sandbox that list() showed; does not start it. env: as at create. */
    int (*attach)(void *impl, const struct provider_info *info, const struct json_pair *env,
        size_t n_env, struct provider_box **ret_box, struct smx_err *err);
    void (*detach)(struct provider_box *box); /* frees the box; the sandbox stays */
    /* [parks] one sandbox by the runtime's own id, whoever made it. -SMX_E_SANDBOX_NOT_FOUND. */
    int (*lookup)(void *impl, const char *provider_id, struct provider_info *ret, uint64_t deadline,
        struct smx_err *err);
    int (*start)(struct provider_box *box, uint64_t deadline, struct smx_err *err);
    int (*stop)(struct provider_box *box, uint64_t deadline, struct smx_err *err);
    int (*pause)(struct provider_box *box, uint64_t deadline, struct smx_err *err);
    int (*resume)(struct provider_box *box, uint64_t deadline, struct smx_err *err);
    /* [parks] returns when it is really gone; gone already is success. Works without a box, because
     * recovery removes what it never attached. */
    int (*kill)(void *impl, const char *provider_id, uint64_t deadline, struct smx_err *err);
    /* [parks] 0: never. */
    int (*set_deadline)(
        struct provider_box *box, int64_t expires_unix_ms, uint64_t deadline, struct smx_err *err);
    int (*stats)(struct provider_box *box, struct provider_stats *ret, uint64_t deadline,
        struct smx_err *err);
    /* [parks] the same at little cost, for samples every few seconds: what would take a while may
     * be an older figure. NULL: stats() costs too much for that. */
    int (*sample)(struct provider_box *box, struct provider_stats *ret, uint64_t deadline,
        struct smx_err *err);
    /* [parks] every sandbox that carries this owner's tokens; the caller frees the array. */
    int (*list)(void *impl, struct provider_info **ret, size_t *ret_n, uint64_t deadline,
        struct smx_err *err);
    int (*templates)(void *impl, struct provider_template **ret, size_t *ret_n, uint64_t deadline,
        struct smx_err *err);
    /* Descriptors are short: closes connections that are idle; true when there were some. */
    bool (*shed)(void *impl);
    const struct provider_data_ops *data;
};

/* Relative paths start at /workspace. user NULL: the sandbox's default, root. */
struct provider_data_ops {
    /* [parks] until the process runs or could not be started (then the stream says so by START and
     * END, or the call fails: -SMX_E_INVALID for an unknown user or a missing cwd). */
    int (*start)(struct provider_box *box, const struct provider_process_spec *spec,
        struct provider_stream **ret, uint64_t deadline, struct smx_err *err);
    /* Joins a running process; output from now on. */
    int (*connect)(struct provider_box *box, uint32_t pid, struct provider_stream **ret,
        uint64_t deadline, struct smx_err *err);
    /* [parks] the next event; not reading stops the process's output. After END: -SMX_E_CLOSED. */
    int (*next)(struct provider_stream *s, struct provider_event *ret, uint64_t deadline,
        struct smx_err *err);
    /* The descriptor that next() waits for and whether an event is buffered already (then io_wait
     * would wait in vain). NULL: none. */
    struct io_fd *(*stream_fd)(struct provider_stream *s, bool *ret_buffered);
    void (*stream_close)(struct provider_stream *s); /* the process goes on */
    int (*write_stdin)(struct provider_box *box, uint32_t pid, bool tty, const void *data, size_t n,
        uint64_t deadline, struct smx_err *err);
    int (*close_stdin)(
        struct provider_box *box, uint32_t pid, uint64_t deadline, struct smx_err *err);
    int (*resize)(struct provider_box *box, uint32_t pid, uint16_t cols, uint16_t rows,
        uint64_t deadline, struct smx_err *err);
    int (*signal)(
        struct provider_box *box, uint32_t pid, int signo, uint64_t deadline, struct smx_err *err);
    int (*processes)(struct provider_box *box, struct provider_process_list *ret, uint64_t deadline,
        struct smx_err *err);

    int (*stat)(struct provider_box *box, const char *path, const char *user,
        struct provider_file *ret, uint64_t deadline, struct smx_err *err);
    int (*list_dir)(struct provider_box *box, const char *path, const char *user, unsigned depth,
        struct provider_file_list *ret, uint64_t deadline, struct smx_err *err);
    /* Parents are made. -SMX_E_EXISTS when it is there. */
    int (*make_dir)(struct provider_box *box, const char *path, const char *user, uint64_t deadline,
        struct smx_err *err);
    int (*move)(struct provider_box *box, const char *from, const char *to, const char *user,
        uint64_t deadline, struct smx_err *err);
    /* A directory goes with all it contains. */
    int (*remove)(struct provider_box *box, const char *path, const char *user, uint64_t deadline,
        struct smx_err *err);
    /* Streaming pull. length UINT64_MAX: to the end. *ret_total: the file's size, UINT64_MAX when
     * unknown. -SMX_E_FILE_NOT_FOUND; -SMX_E_INVALID for a directory or an offset past the end. */
    int (*read_open)(struct provider_box *box, const char *path, const char *user, uint64_t offset,
        uint64_t length, struct provider_reader **ret, uint64_t *ret_total, uint64_t deadline,
        struct smx_err *err);
    ssize_t (*read)(struct provider_reader *r, void *data, size_t n, uint64_t deadline,
        struct smx_err *err); /* 0 at the end */
    /* Right after read_open: 1 when the content need not be read, but can be sent as it is. NULL:
     * never. */
    int (*read_file)(struct provider_reader *r, struct provider_content *ret);
    void (*read_close)(struct provider_reader *r);
    /* Streaming push; parents are made, an existing file is replaced. length UINT64_MAX: unknown.
     */
    int (*write_open)(struct provider_box *box, const char *path, const char *user, uint64_t length,
        struct provider_writer **ret, uint64_t deadline, struct smx_err *err);
    int (*write)(struct provider_writer *w, const void *data, size_t n, struct smx_err *err);
    /* [parks] the file is whole; frees w in every case. */
    int (*write_commit)(struct provider_writer *w, uint64_t deadline, struct smx_err *err);
    void (*write_abort)(struct provider_writer *w);

    /* Connects an HTTP client to a port inside; port 0: the sandbox's envd. to is made ready, and
     * is used before the box is detached. -SMX_E_PORT_CLOSED when nothing listens. */
    int (*dial)(struct provider_box *box, uint16_t port, struct http_client *to, uint64_t deadline,
        struct smx_err *err);
    /* An HTTP client to the sandbox's envd from its pool of kept connections, for relays: the bytes
     * go through unparsed. Give it back with put; one that is not reusable is closed there. */
    int (*envd_get)(
        struct provider_box *box, struct http_client **ret, uint64_t deadline, struct smx_err *err);
    void (*envd_put)(struct provider_box *box, struct http_client *c);
};

/* --- dispatch ------------------------------------------------------------------------------ */

/* Opens a runtime; ops must live as long. -SMX_E_INVALID for another version. */
int provider_open(const struct provider_ops *ops, struct io_loop *loop, const void *config,
    const struct provider_host *host, struct provider **ret, struct smx_err *err);
void provider_close(struct provider *p);
SMX_DEFINE_CLEANUP(struct provider, provider_close)
void *provider_impl(struct provider *p); /* for the provider's own side doors */
uint64_t provider_capabilities(struct provider *p);
bool provider_can(struct provider *p, enum provider_cap cap);
bool provider_is_remote(const struct provider *p);

int provider_validate(
    struct provider *p, struct provider_check *ret, uint64_t deadline, struct smx_err *err);
int provider_probe(struct provider *p, uint64_t deadline, struct smx_err *err);
int provider_create(struct provider *p, const struct provider_create_spec *spec,
    struct provider_info *ret, struct provider_box **ret_box, uint64_t deadline,
    struct smx_err *err);
int provider_attach(struct provider *p, const struct provider_info *info,
    const struct json_pair *env, size_t n_env, struct provider_box **ret_box, struct smx_err *err);
void provider_detach(struct provider_box *box); /* accepts NULL */
int provider_lookup(struct provider *p, const char *provider_id, struct provider_info *ret,
    uint64_t deadline, struct smx_err *err);
int provider_start(struct provider_box *box, uint64_t deadline, struct smx_err *err);
int provider_stop(struct provider_box *box, uint64_t deadline, struct smx_err *err);
int provider_pause(struct provider_box *box, uint64_t deadline, struct smx_err *err);
int provider_resume(struct provider_box *box, uint64_t deadline, struct smx_err *err);
int provider_kill(
    struct provider *p, const char *provider_id, uint64_t deadline, struct smx_err *err);
int provider_set_deadline(
    struct provider_box *box, int64_t expires_unix_ms, uint64_t deadline, struct smx_err *err);
int provider_stats(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err);
int provider_sample(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err);
int provider_list(struct provider *p, struct provider_info **ret, size_t *ret_n, uint64_t deadline,
    struct smx_err *err);
int provider_templates(struct provider *p, struct provider_template **ret, size_t *ret_n,
    uint64_t deadline, struct smx_err *err);
bool provider_shed(struct provider *p);

/* Boxes and all handles made from them begin with a struct provider_handle, which the provider
 * fills when it makes them: that is how a call finds its table. */
struct provider_handle {
    const struct provider_ops *ops;
};

int provider_process_start(struct provider_box *box, const struct provider_process_spec *spec,
    struct provider_stream **ret, uint64_t deadline, struct smx_err *err);
int provider_process_connect(struct provider_box *box, uint32_t pid, struct provider_stream **ret,
    uint64_t deadline, struct smx_err *err);
int provider_stream_next(
    struct provider_stream *s, struct provider_event *ret, uint64_t deadline, struct smx_err *err);
struct io_fd *provider_stream_fd(struct provider_stream *s, bool *ret_buffered);
void provider_stream_close(struct provider_stream *s); /* accepts NULL */
SMX_DEFINE_CLEANUP(struct provider_stream, provider_stream_close)
int provider_write_stdin(struct provider_box *box, uint32_t pid, bool tty, const void *data,
    size_t n, uint64_t deadline, struct smx_err *err);
int provider_close_stdin(
    struct provider_box *box, uint32_t pid, uint64_t deadline, struct smx_err *err);
int provider_resize(struct provider_box *box, uint32_t pid, uint16_t cols, uint16_t rows,
    uint64_t deadline, struct smx_err *err);
int provider_signal(
    struct provider_box *box, uint32_t pid, int signo, uint64_t deadline, struct smx_err *err);
int provider_processes(struct provider_box *box, struct provider_process_list *ret,
    uint64_t deadline, struct smx_err *err);
int provider_stat(struct provider_box *box, const char *path, const char *user,
    struct provider_file *ret, uint64_t deadline, struct smx_err *err);
int provider_list_dir(struct provider_box *box, const char *path, const char *user, unsigned depth,
    struct provider_file_list *ret, uint64_t deadline, struct smx_err *err);
int provider_make_dir(struct provider_box *box, const char *path, const char *user,
    uint64_t deadline, struct smx_err *err);
int provider_move(struct provider_box *box, const char *from, const char *to, const char *user,
    uint64_t deadline, struct smx_err *err);
int provider_remove(struct provider_box *box, const char *path, const char *user, uint64_t deadline,
    struct smx_err *err);
int provider_read_open(struct provider_box *box, const char *path, const char *user,
    uint64_t offset, uint64_t length, struct provider_reader **ret, uint64_t *ret_total,
    uint64_t deadline, struct smx_err *err);
ssize_t provider_read(
    struct provider_reader *r, void *data, size_t n, uint64_t deadline, struct smx_err *err);
int provider_read_file(struct provider_reader *r, struct provider_content *ret);
void provider_read_close(struct provider_reader *r); /* accepts NULL */
int provider_write_open(struct provider_box *box, const char *path, const char *user,
    uint64_t length, struct provider_writer **ret, uint64_t deadline, struct smx_err *err);
int provider_write(struct provider_writer *w, const void *data, size_t n, struct smx_err *err);
int provider_write_commit(struct provider_writer *w, uint64_t deadline, struct smx_err *err);
void provider_write_abort(struct provider_writer *w); /* accepts NULL */
int provider_dial(struct provider_box *box, uint16_t port, struct http_client *to,
    uint64_t deadline, struct smx_err *err);
int provider_envd_get(
    struct provider_box *box, struct http_client **ret, uint64_t deadline, struct smx_err *err);
void provider_envd_put(struct provider_box *box, struct http_client *c);

#endif
