/* internal.h - what the files of compose share. */
#ifndef SMX_COMPOSE_INTERNAL_H
#define SMX_COMPOSE_INTERNAL_H

#include "base/map.h"
#include "base/mem.h"
#include "compose/session.h"

enum {
    COMPOSE_CALL_TIMEOUT_MS = 60000,
    COMPOSE_START_TIMEOUT_MS = 30000,
    SESSION_AHEAD_COMMAND_MAX = 64 * 1024, /* bytes; a longer one has a process of its own */
};

struct compose {
    struct core *core;
    int64_t started_unix_ms;
    struct smx_map sandboxes; /* id -> struct sandbox_sessions */
    struct smx_list pumps;    /* of struct pump */
    struct io_event no_pumps;
    struct io_fiber *sweeper; /* NULL: it is done */
    struct io_event swept;
    bool ending;
    char no_ahead[32]; /* the runtime whose shells cannot wait for commands; empty: none known */
};

struct session {
    struct smx_list node;
    unsigned refs;
    bool made, deleted;
    char id[SESSION_ID_MAX + 1];
    char dir[sizeof SESSION_DIR + 1 + SESSION_ID_MAX];
    char user[33]; /* empty: the sandbox's default */
    bool plain_sh; /* there is no bash */
    struct io_sem turn;
    struct io_event saved; /* set unless a command that was answered still writes its state */
    struct smx_list commands;
    size_t n_commands;
    struct pump *ahead; /* of a shell that waits for the next command; NULL: there is none */
};

struct sandbox_sessions {
    struct sandbox *sb; /* a reference */
    struct smx_list sessions;
    size_t n;
    bool loaded;    /* what an earlier gateway left is known */
    unsigned users; /* calls that are under way with it */
    struct io_sem loading;
};

/* session.c */
void session_unref(struct session *s);
SMX_DEFINE_CLEANUP(struct session, session_unref)
bool session_id_valid(const char *id);
struct session *session_add(struct sandbox_sessions *ss, const char *id, struct smx_err *err);
/* [parks] a reference. */
int session_find(struct compose *c, struct sandbox *sb, const char *id, struct session **ret,
    struct smx_err *err);
/* The sandbox's sessions, those of an earlier gateway among them. [parks] */
int sessions_of(
    struct compose *c, struct sandbox *sb, struct sandbox_sessions **ret, struct smx_err *err);

/* adopt.c: [parks] what an earlier gateway left in the sandbox. */
int sessions_adopt(struct compose *c, struct sandbox_sessions *ss, struct smx_err *err);

/* command.c */
/* Takes the stream in every case: a fiber of its own reads it into the log. */
int command_pump(struct compose *c, struct sandbox *sb, struct session *s,
    struct session_command *cmd, struct provider_stream *stream, bool has_turn,
    struct smx_err *err);
struct session_command *command_add(
    struct session *s, const char *id, const char *text, bool async, struct smx_err *err);
void commands_drop(struct session *s);
/* Starts the shell of the session's next command, where the runtime can hand it over. */
void shell_ahead(struct compose *c, struct sandbox *sb, struct session *s);
void shell_ahead_end(struct session *s);                       /* [parks] */
void pumps_end(struct compose *c);                             /* [parks] */
void pumps_leave(struct compose *c, const struct sandbox *sb); /* [parks] */
/* [parks] reads no more of what runs in a sandbox, whose processes are about to go: its commands
 * are lost. Its sessions are read anew from its files when they are asked for. */
void sessions_leave(struct compose *c, struct sandbox *sb);

/* migrate.c: [parks] twins that an earlier gateway left. */
void migrations_sweep(void *compose);
/* [parks] runs a program to its end; output up to the buffer's maximum. */
int run_to_end(struct provider_box *box, const struct provider_process_spec *spec,
    struct smx_buf *out, int *ret_exit_code, struct smx_err *err);

/* script.c: what the shells run; see there. */
extern const char session_script_make[], session_script_bash[], session_script_sh[],
    session_script_signal[], session_script_end[];

/* mark.c: finds what a command's shell writes when the command has ended and when its state is
 * written, in a stream of bytes that comes in pieces: RS, the command's id, ';' or ':', exit code,
 * RS. */
enum { MARK_MAX = 1 + SESSION_COMMAND_ID_SIZE - 1 + 1 + 3 + 1 };
struct mark {
    const char *id;
    char held[MARK_MAX]; /* what may be the beginning of it */
    size_t n_held;
    bool ended; /* the command: what follows is of children that outlive it */
    bool done;  /* and its state is written */
    int exit_code;
};
typedef int(mark_give_fn)(void *arg, const char *data, size_t n);
void mark_init(struct mark *m, const char *id);
/* Calls give(arg, ...) with what is not part of it. 0 or what give returned. */
int mark_feed(struct mark *m, const char *data, size_t n, mark_give_fn *give, void *arg);
int mark_flush(struct mark *m, mark_give_fn *give, void *arg);

#endif
