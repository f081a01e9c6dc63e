/* session.h - shell sessions inside sandboxes: a working directory, variables, functions and
 * options that outlive the command that set them. Built from process calls alone, so that they are
 * the same on every runtime and behind every front end.
 *
 * Each command is a process of its own: a shell that reads the session's state, evaluates the
 * command and, when it ends, writes the state back. So 'exit' and 'exec' end the command and not
 * the session, each command has its own output, exit code and input, and one that runs on in the
 * background delays nothing. What a shell cannot hand on is not kept: traps, redirections made with
 * 'exec', limits, and jobs ('wait', 'fg'). Asynchronous commands see the state and change nothing
 * of it. The next command's shell is started ahead where the runtime allows it, and waits.
 *
 * The state lies below SESSION_DIR in the sandbox, readable by the session's user; sessions and
 * their running commands are found there again by the next gateway.
 *
 * Threading: one loop; calls marked [parks] may wait. Strings are borrowed for the call. */
#ifndef SMX_COMPOSE_SESSION_H
#define SMX_COMPOSE_SESSION_H

#include "base/list.h"
#include "core/core.h"

#define SESSION_DIR "/tmp/.sandmux"

enum {
    SESSION_ID_MAX = 128,
    SESSION_COMMAND_ID_SIZE = 17,
    SESSIONS_MAX = 1024,        /* of one sandbox */
    SESSION_COMMANDS_MAX = 128, /* kept of one session; the oldest ended one goes */
    SESSION_LOG_MAX =
        16 * 1024 * 1024, /* bytes kept of one command, and of a session's ended ones */
};

struct compose;
int compose_new(struct core *core, struct compose **ret, struct smx_err *err);
/* [parks] ends its fibers; what runs inside sandboxes goes on. Accepts NULL. */
void compose_free(struct compose *c);

/* --- logs ---------------------------------------------------------------------------------- */

enum session_stream { SESSION_STDOUT = 1, SESSION_STDERR = 2 };

/* Output in the order of its arrival. Offsets count from the first byte ever written. */
struct session_piece {
    enum session_stream stream;
    size_t n;
};
struct session_log {
    struct smx_buf bytes;
    struct session_piece *pieces;
    size_t n_pieces, room;
    uint64_t dropped; /* bytes that are no longer there */
};
void session_log_init(struct session_log *l);
void session_log_done(struct session_log *l);
int session_log_add(struct session_log *l, enum session_stream s, const char *data, size_t n);
/* Bytes of one stream, or of both with 0, appended to out. */
int session_log_read(const struct session_log *l, unsigned stream, struct smx_buf *out);
/* The next run of bytes of one stream from *offset on, which moves behind it; false: none. */
bool session_log_next(const struct session_log *l, uint64_t *offset,
    enum session_stream *ret_stream, struct smx_view *ret);

/* --- sessions ------------------------------------------------------------------------------ */

/* Read-only outside compose; got from the calls below as a reference, given back with
 * session_command_unref(). Fields change at every park. */
struct session_command {
    struct smx_list node;
    unsigned refs;
    char id[SESSION_COMMAND_ID_SIZE];
    char *text;
    bool async, ended, timed_out;
    bool lost;     /* its end was not seen: the sandbox was stopped, or the connection broke */
    int exit_code; /* once ended and not lost; 128 + n after signal n */
    uint32_t pid;
    struct session_log log;
    struct io_event pulse; /* new output, or the end */
};
void session_command_unref(struct session_command *cmd); /* accepts NULL */
SMX_DEFINE_CLEANUP(struct session_command, session_command_unref)

struct session_spec {
    const char *id;    /* [A-Za-z0-9_-][A-Za-z0-9._-]*, at most SESSION_ID_MAX */
    const char *user;  /* NULL: the sandbox's default */
    const char *cwd;   /* NULL: the sandbox's default */
    const char *shell; /* "bash" or "sh"; NULL: bash where there is one */
};
/* [parks] one that is there already is a success (*ret_created false). -SMX_E_QUOTA beyond
 * SESSIONS_MAX. */
int session_create(struct compose *c, struct sandbox *sb, const struct session_spec *spec,
    bool *ret_created, struct smx_err *err);
/* [parks] ends its commands, what they started, and removes its state. -SMX_E_NOT_FOUND. */
int session_delete(struct compose *c, struct sandbox *sb, const char *id, struct smx_err *err);

struct session_exec {
    const char *command; /* shell text */
    const char *cwd;     /* of this command alone; NULL: the session's */
    bool async;          /* returns when it runs; else when it has ended */
    bool no_wait;        /* returns when it runs, but takes its turn and keeps its state */
    uint64_t timeout_ms; /* killed after that; 0: never */
};
/* [parks] commands that are not asynchronous run one after another. A caller that is cancelled
 * leaves the command running. */
int session_exec(struct compose *c, struct sandbox *sb, const char *id,
    const struct session_exec *spec, struct session_command **ret, struct smx_err *err);
/* [parks] -SMX_E_NOT_FOUND for the session, -SMX_E_PROCESS_NOT_FOUND for the command. */
int session_command_get(struct compose *c, struct sandbox *sb, const char *id, const char *command,
    struct session_command **ret, struct smx_err *err);
/* [parks] bytes for its standard input; eof closes it after them. -SMX_E_STATE once it ended. */
int session_command_input(struct sandbox *sb, struct session_command *cmd, const void *data,
    size_t n, bool eof, struct smx_err *err);
int session_command_signal(
    struct sandbox *sb, struct session_command *cmd, int signo, struct smx_err *err); /* [parks] */

/* Whether a process is a shell that waits for a session's next command: it runs nothing of anybody.
 * c may be NULL. */
bool session_shell_waits(const struct compose *c, const struct sandbox *sb, uint32_t pid);

/* [parks] calls fn for each session, or each command of one session, oldest first; fn does not
 * park. */
int session_each(struct compose *c, struct sandbox *sb, void (*fn)(const char *id, void *arg),
    void *arg, struct smx_err *err);
int session_each_command(struct compose *c, struct sandbox *sb, const char *id,
    void (*fn)(const struct session_command *cmd, void *arg), void *arg, struct smx_err *err);

#endif
