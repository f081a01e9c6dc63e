/* command.c - one command of a session: started as a process, read into its log by a fiber of its
 * own (the pump) until its shell says that it is done or the runtime says that it ended. The pump
 * holds the sandbox without using it: output that nobody waits for keeps nothing alive.
 *
 * The shell of the next command is started while nobody waits for it ("ahead"): it reads its
 * command from a socket whose other end its pump has. It ends with that socket, so it outlives
 * neither the gateway nor AHEAD_IDLE_MS without a command. It has not read the session's state yet,
 * so whatever else the session runs meanwhile does not matter. Commands that need more of a process
 * than its command (an own directory, a time limit, an open input) start one as if there was
 * none. */
#include "compose/internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/fd.h"

enum {
    END_GRACE_MS = 500,    /* from the shell's own mark to the runtime's end event */
    SAVE_GRACE_MS = 10000, /* from its first mark to that of the state that is written */
    AHEAD_IDLE_MS = 30000,
    AHEAD_WAIT_MS = 2000, /* for its start; then the command has a process of its own */
    AHEAD_MAX = 4,        /* in one sandbox */
    AHEAD_ALL_MAX = 128,
    SIGNAL_MS = 10000, /* the script waits a second for the shell to hear */
    SIGNAL_OUTPUT_MAX = 1024
};

struct pump {
    struct smx_list node;
    struct compose *c;
    struct sandbox *sb;
    struct provider_box *box;
    struct session *s;
    struct session_command *cmd;
    struct provider_stream *stream; /* NULL: a shell that is being started */
    struct io_fiber *fiber;
    struct mark marks[2];
    int socket; /* of a shell that waits (then it is the session's ahead): takes its command */
    bool over;  /* nothing more is to come */
    bool has_turn;
    enum session_stream now; /* of the bytes that are being given */
};

/* --- the record ------------------------------------------------------------------------------- */

void session_command_unref(struct session_command *cmd)
{
    if (!cmd || --cmd->refs > 0)
        return;
    session_log_done(&cmd->log);
    smx_free(cmd->text);
    smx_free(cmd);
}

static void forget(struct session *s, struct session_command *cmd)
{
    smx_list_del(&cmd->node);
    s->n_commands--;
    session_command_unref(cmd);
}

void commands_drop(struct session *s)
{
    SMX_LIST_FOREACH_SAFE(node, &s->commands)
        forget(s, SMX_LIST_ENTRY(node, struct session_command, node));
}

/* The oldest that has ended makes room. */
static int make_room(struct session *s, struct smx_err *err)
{
    if (s->n_commands < SESSION_COMMANDS_MAX)
        return 0;
    SMX_LIST_FOREACH(node, &s->commands) {
        struct session_command *cmd = SMX_LIST_ENTRY(node, struct session_command, node);

        if (cmd->ended) {
            forget(s, cmd);
            return 0;
        }
    }
    return smx_err_set(
        err, SMX_E_QUOTA, "session '%s' runs %d commands already", s->id, SESSION_COMMANDS_MAX);
}

static struct session_command *command_new(const char *id, const char *text, bool async)
{
    struct session_command *cmd = smx_alloc(sizeof *cmd);

    if (!cmd || !(cmd->text = smx_strdup(text))) {
        smx_free(cmd);
        return NULL;
    }
    smx_strcpy(cmd->id, sizeof cmd->id, id);
    cmd->refs = 1;
    cmd->async = async;
    smx_list_init(&cmd->node);
    session_log_init(&cmd->log);
    io_event_init(&cmd->pulse);
    return cmd;
}

/* The session takes a reference of its own. */
static void enlist(struct session *s, struct session_command *cmd)
{
    cmd->refs++;
    smx_list_add(&s->commands, &cmd->node);
    s->n_commands++;
}

struct session_command *command_add(
    struct session *s, const char *id, const char *text, bool async, struct smx_err *err)
{
    struct session_command *cmd;

    if (make_room(s, err) < 0)
        return NULL;
    cmd = command_new(id, text, async);
    if (!cmd) {
        smx_err_oom(err);
        return NULL;
    }
    enlist(s, cmd);
    session_command_unref(cmd);
    return cmd;
}

/* Logs of ended commands share one bound; the newest stay. */
static void bound_logs(struct session *s)
{
    size_t total = 0;

    for (struct smx_list *node = s->commands.prev; node != &s->commands; node = node->prev) {
        struct session_command *cmd = SMX_LIST_ENTRY(node, struct session_command, node);

        total += cmd->ended ? cmd->log.bytes.len : 0;
        if (cmd->ended && total > SESSION_LOG_MAX)
            session_log_done(&cmd->log);
    }
}

/* --- the pump --------------------------------------------------------------------------------- */

static void pulse(struct session_command *cmd)
{
    io_event_set(&cmd->pulse);
    io_event_clear(&cmd->pulse);
}

static int give(void *arg, const char *data, size_t n)
{
    struct pump *p = arg;

    return session_log_add(&p->cmd->log, p->now, data, n);
}

static int pump_bytes(struct pump *p, enum session_stream stream, const struct provider_event *ev)
{
    int r;

    p->now = stream;
    r = mark_feed(&p->marks[stream - 1], ev->data, ev->n, give, p);
    pulse(p->cmd);
    return r;
}

static void pump_flush(struct pump *p)
{
    for (unsigned i = 0; i < 2; i++) {
        p->now = (enum session_stream)(i + 1);
        mark_flush(&p->marks[i], give, p);
    }
}

static void end(struct pump *p, int exit_code)
{
    pump_flush(p);
    if (p->has_turn)
        io_event_clear(&p->s->saved);
    p->cmd->exit_code = exit_code;
    p->cmd->ended = true;
    pulse(p->cmd);
}

static void next_ahead(struct pump *p)
{
    if (p->has_turn)
        shell_ahead(p->c, p->sb, p->s);
}

/* The shell's own word came first, where it was certain. */
static void pump_end(struct pump *p, const struct provider_event *ev)
{
    p->over = true;
    if (p->cmd->ended)
        return;
    if (ev->error && p->cmd->log.bytes.len == 0) {
        session_log_add(&p->cmd->log, SESSION_STDERR, ev->error, strlen(ev->error));
        session_log_add(&p->cmd->log, SESSION_STDERR, "\n", 1);
    }
    p->cmd->timed_out = ev->timed_out;
    end(p, ev->exit_code);
    next_ahead(p);
}

static int pump_event(struct pump *p, const struct provider_event *ev)
{
    switch (ev->kind) {
    case PROVIDER_EVENT_START:
        p->cmd->pid = ev->pid;
        pulse(p->cmd);
        return 0;
    case PROVIDER_EVENT_STDOUT:
    case PROVIDER_EVENT_PTY:
        return pump_bytes(p, SESSION_STDOUT, ev);
    case PROVIDER_EVENT_STDERR:
        return pump_bytes(p, SESSION_STDERR, ev);
    case PROVIDER_EVENT_END:
        pump_end(p, ev);
        return 0;
    }
    return -SMX_E_INTERNAL;
}

/* Both streams say that the command has ended, and once more that its state is written. When the
 * first word was not certain the end event has a moment to bring the signal. */
static uint64_t pump_judge(struct pump *p, uint64_t deadline)
{
    const struct mark *m = p->marks;

    if (!m[0].ended || !m[1].ended)
        return SMX_FOREVER;
    if (!p->cmd->ended && !m[0].done && !m[1].done) {
        end(p, m[0].exit_code);
        next_ahead(p);
    }
    p->over |= p->cmd->ended && m[0].done && m[1].done;
    if (deadline != SMX_FOREVER)
        return deadline;
    return smx_deadline_in_ms(p->cmd->ended ? SAVE_GRACE_MS : END_GRACE_MS);
}

/* A shell that nobody gave a command for so long ends. One that got it meanwhile goes on. */
static void pump_wait(struct pump *p)
{
    uint64_t idle = smx_deadline_in_ms(AHEAD_IDLE_MS);
    struct provider_event ev = { 0 };
    int r = 0;

    while (r == 0 && !p->over && p->s->ahead == p) {
        r = provider_stream_next(p->stream, &ev, idle, /* err= */ NULL);
        if (r == 0)
            r = pump_event(p, &ev);
    }
    p->over |= r < 0 && (r != -SMX_E_TIMEOUT || p->s->ahead == p);
}

static void pump_read(struct pump *p)
{
    struct provider_event ev = { 0 };
    uint64_t deadline = pump_judge(p, SMX_FOREVER);
    int r = 0;

    while (r == 0 && !p->over) {
        r = provider_stream_next(p->stream, &ev, deadline, /* err= */ NULL);
        if (r == 0)
            r = pump_event(p, &ev);
        if (r == 0)
            deadline = pump_judge(p, deadline);
    }
    if (p->cmd->ended)
        return;
    p->cmd->lost = !p->marks[0].ended;
    end(p, p->marks[0].exit_code);
}

static void pump_free(struct pump *p)
{
    if (p->s->ahead == p)
        p->s->ahead = NULL;
    smx_close(p->socket);
    if (p->stream)
        provider_stream_close(p->stream);
    if (p->has_turn) {
        io_event_set(&p->s->saved);
        io_sem_release(&p->s->turn);
    }
    bound_logs(p->s);
    session_unref(p->s);
    session_command_unref(p->cmd);
    sandbox_hold_end(p->sb);
    smx_list_del(&p->node);
    if (smx_list_empty(&p->c->pumps))
        io_event_set(&p->c->no_pumps);
    smx_free(p);
}

static void pump_run(void *arg)
{
    struct pump *p = arg;

    pump_read(p);
    pump_free(p);
}

static struct pump *pump_new(struct compose *c, struct sandbox *sb, struct provider_box *box,
    struct session *s, struct session_command *cmd)
{
    struct pump *p = smx_alloc(sizeof *p);

    if (!p)
        return NULL;
    *p = (struct pump){ .c = c, .sb = sb, .box = box, .s = s, .cmd = cmd, .socket = -1 };
    mark_init(&p->marks[0], cmd->id);
    mark_init(&p->marks[1], cmd->id);
    s->refs++;
    cmd->refs++;
    smx_list_add(&c->pumps, &p->node);
    io_event_clear(&c->no_pumps);
    return p;
}

int command_pump(struct compose *c, struct sandbox *sb, struct session *s,
    struct session_command *cmd, struct provider_stream *stream, bool has_turn, struct smx_err *err)
{
    struct provider_box *box;
    struct pump *p;
    int r = sandbox_hold_begin(sb, &box, err);

    if (r < 0) {
        provider_stream_close(stream);
        return r;
    }
    p = pump_new(c, sb, box, s, cmd);
    if (!p) {
        provider_stream_close(stream);
        sandbox_hold_end(sb);
        return smx_err_oom(err);
    }
    p->stream = stream;
    r = io_fiber_spawn(io_loop_self(), "session command", pump_run, p, &p->fiber, err);
    if (r < 0)
        pump_free(p);
    else
        p->has_turn = has_turn;
    return r;
}

void pumps_end(struct compose *c)
{
    c->ending = true;
    SMX_LIST_FOREACH(node, &c->pumps)
        io_fiber_cancel(SMX_LIST_ENTRY(node, struct pump, node)->fiber);
    io_shield_begin();
    io_event_wait(&c->no_pumps, SMX_FOREVER);
    io_shield_end();
}

static bool cancel_of(struct compose *c, const struct sandbox *sb)
{
    bool some = false;

    SMX_LIST_FOREACH(node, &c->pumps) {
        struct pump *p = SMX_LIST_ENTRY(node, struct pump, node);

        if (p->sb != sb)
            continue;
        io_fiber_cancel(p->fiber);
        some = true;
    }
    return some;
}

void pumps_leave(struct compose *c, const struct sandbox *sb)
{
    while (cancel_of(c, sb))
        io_yield();
}

/* --- running ---------------------------------------------------------------------------------- */

int run_to_end(struct provider_box *box, const struct provider_process_spec *spec,
    struct smx_buf *out, int *ret_exit_code, struct smx_err *err)
{
    SMX_CLEANUP(provider_stream_closep) struct provider_stream *stream = NULL;
    uint64_t deadline = smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS);
    struct provider_event ev = { 0 };
    int r = provider_process_start(box, spec, &stream, deadline, err);

    while (r == 0 && ev.kind != PROVIDER_EVENT_END) {
        r = provider_stream_next(stream, &ev, deadline, err);
        if (r == 0 && ev.kind == PROVIDER_EVENT_STDOUT)
            smx_buf_append(out, ev.data, ev.n);
        if (r == 0 && smx_now_ns() >= deadline) /* what comes all the time is no end, either */
            r = smx_err_set(err, SMX_E_TIMEOUT, "the sandbox does not come to an end");
    }
    if (r == 0)
        *ret_exit_code = ev.exit_code;
    return r;
}

static char session_variable[] = "SANDMUX_SESSION";

/* ret_socket: NULL, or for a shell that waits for its command. */
static int start(struct provider_box *box, struct session *s, struct session_command *cmd,
    const struct session_exec *spec, int *ret_socket, struct provider_stream **ret,
    struct smx_err *err)
{
    static char keep[] = "keep", nothing[] = "";
    const char *const bash[] = { "bash", "--norc", "--noprofile", "-c", session_script_bash, "bash",
        s->dir, cmd->id, cmd->async ? nothing : keep, spec->cwd ? spec->cwd : nothing,
        spec->command, NULL };
    const char *const sh[] = { "sh", "-c", session_script_sh, "sh", s->dir, cmd->id,
        cmd->async ? nothing : keep, spec->cwd ? spec->cwd : nothing, spec->command, NULL };
    struct json_pair env = { session_variable, s->id };
    SMX_CLEANUP(smx_freep) char *tag = smx_asprintf("session/%s/%s", s->id, cmd->id);
    struct provider_process_spec process = { .argv = s->plain_sh ? sh : bash,
        .cwd = spec->cwd,
        .user = *s->user ? s->user : NULL,
        .env = &env,
        .n_env = 1,
        .stdin_open = cmd->async || ret_socket,
        .ret_socket = ret_socket,
        .tag = tag,
        .timeout_ms = spec->timeout_ms };

    if (!tag)
        return smx_err_oom(err);
    return provider_process_start(
        box, &process, ret, smx_deadline_in_ms(COMPOSE_START_TIMEOUT_MS), err);
}

static void make_id(char out[SESSION_COMMAND_ID_SIZE])
{
    uint64_t id = smx_random_u64();

    smx_hex_encode(out, &id, sizeof id);
}

/* --- the shell ahead -------------------------------------------------------------------------- */

/* Where the runtime hands no socket over there is nothing to wait on: it is not tried again. */
static int ahead_start(struct pump *p)
{
    static const struct session_exec none = { .command = "" };
    int r = start(p->box, p->s, p->cmd, &none, &p->socket, &p->stream, /* err= */ NULL);

    if (r < 0 || p->socket >= 0)
        return r;
    smx_strcpy(p->c->no_ahead, sizeof p->c->no_ahead, p->sb->runtime);
    return -SMX_E_UNSUPPORTED;
}

static void ahead_run(void *arg)
{
    struct pump *p = arg;
    struct provider_event ev;
    int r = ahead_start(p);

    if (r == 0)
        pump_wait(p);
    else if (p->stream && provider_stream_next(p->stream, &ev, smx_deadline_in_ms(AHEAD_WAIT_MS),
                              /* err= */ NULL) == 0)
        provider_signal(p->box, ev.pid, SIGKILL, smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS),
            /* err= */ NULL);
    p->over |= r < 0;
    pump_read(p);
    pump_free(p);
}

static bool may_be_ahead(const struct compose *c, const struct sandbox *sb, const struct session *s)
{
    size_t here = 0, all = 0;

    if (c->ending || s->ahead || s->plain_sh || s->deleted || !s->made ||
        smx_streq(c->no_ahead, sb->runtime))
        return false;
    SMX_LIST_FOREACH(node, &c->pumps) {
        const struct pump *p = SMX_LIST_ENTRY(node, struct pump, node);

        all += p->s->ahead == p;
        here += p->s->ahead == p && p->sb == sb;
    }
    return here < AHEAD_MAX && all < AHEAD_ALL_MAX;
}

bool session_shell_waits(const struct compose *c, const struct sandbox *sb, uint32_t pid)
{
    if (!c)
        return false;
    SMX_LIST_FOREACH(node, &c->pumps) {
        const struct pump *p = SMX_LIST_ENTRY(node, struct pump, node);

        if (p->sb == sb && p->cmd->pid == pid && p->s->ahead == p)
            return true;
    }
    return false;
}

void shell_ahead(struct compose *c, struct sandbox *sb, struct session *s)
{
    SMX_CLEANUP(session_command_unrefp) struct session_command *cmd = NULL;
    char id[SESSION_COMMAND_ID_SIZE];
    struct provider_box *box;
    struct pump *p;

    if (!may_be_ahead(c, sb, s) || sandbox_hold_begin(sb, &box, /* err= */ NULL) < 0)
        return;
    make_id(id);
    cmd = command_new(id, "", /* async= */ false);
    p = cmd ? pump_new(c, sb, box, s, cmd) : NULL;
    if (!p) {
        sandbox_hold_end(sb);
        return;
    }
    if (io_fiber_spawn(io_loop_self(), "session shell", ahead_run, p, &p->fiber, NULL) < 0)
        pump_free(p);
    else
        s->ahead = p;
}

void shell_ahead_end(struct session *s)
{
    while (s->ahead) {
        io_fiber_cancel(s->ahead->fiber);
        io_yield();
    }
}

/* All of it, or the shell reads the end of input instead and runs nothing. */
static bool send_command(int socket, const char *command)
{
    char size[24];
    size_t n = strlen(command);
    struct iovec v[2] = { { size, 8 }, { (void *)(uintptr_t)command, n } };
    struct msghdr msg = { .msg_iov = v, .msg_iovlen = 2 };

    snprintf(size, sizeof size, "%8zu", n);
    return sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)(8 + n);
}

static bool await_ahead(struct session *s, struct pump *p, struct session_command *cmd)
{
    uint64_t deadline = smx_deadline_in_ms(AHEAD_WAIT_MS);
    int r = 0;

    while (s->ahead == p && cmd->pid == 0 && r == 0)
        r = io_event_wait(&cmd->pulse, deadline);
    return s->ahead == p && r == 0;
}

/* 1: a shell that waited has it; 0: it needs a process of its own. */
static int hand_over(struct session *s, const struct session_exec *spec,
    struct session_command **ret, struct smx_err *err)
{
    SMX_CLEANUP(session_command_unrefp) struct session_command *cmd = NULL;
    struct pump *p = s->ahead;
    char *text;

    if (!p || spec->async || spec->cwd || spec->timeout_ms ||
        strlen(spec->command) > SESSION_AHEAD_COMMAND_MAX)
        return 0;
    cmd = p->cmd;
    cmd->refs++;
    if (!await_ahead(s, p, cmd))
        return 0;
    if (make_room(s, err) < 0)
        return -(int)err->code;
    text = smx_strdup(spec->command);
    if (!text)
        return smx_err_oom(err);
    s->ahead = NULL;
    if (!send_command(p->socket, text)) {
        smx_free(text);
        io_fiber_cancel(p->fiber);
        return 0;
    }
    smx_close(smx_take_fd(&p->socket));
    smx_free(cmd->text);
    cmd->text = text;
    enlist(s, cmd);
    p->has_turn = true;
    *ret = smx_take(&cmd);
    return 1;
}

/* --- commands --------------------------------------------------------------------------------- */

/* The turn is the pump's once it runs, and given back here when it never does. */
static int begin(struct compose *c, struct sandbox *sb, struct provider_box *box, struct session *s,
    const struct session_exec *spec, struct session_command **ret, struct smx_err *err)
{
    char id[SESSION_COMMAND_ID_SIZE];
    struct provider_stream *stream;
    struct session_command *cmd;
    int r;

    r = s->deleted ? 0 : hand_over(s, spec, ret, err);
    if (r != 0)
        return r < 0 ? r : 0;
    if (s->deleted)
        return smx_err_set(err, SMX_E_NOT_FOUND, "session '%s' not found", s->id);
    make_id(id);
    cmd = command_add(s, id, spec->command, spec->async, err);
    if (!cmd)
        return -(int)err->code;
    cmd->refs++;
    r = start(box, s, cmd, spec, /* ret_socket= */ NULL, &stream, err);
    if (r == 0)
        r = command_pump(c, sb, s, cmd, stream, /* has_turn= */ !spec->async, err);
    if (r < 0) {
        if (!smx_list_empty(&cmd->node))
            forget(s, cmd);
        session_command_unref(cmd);
        return r;
    }
    *ret = cmd;
    return 0;
}

static int await(struct session_command *cmd, struct smx_err *err)
{
    int r = 0;

    while (!cmd->ended && r == 0)
        r = io_event_wait(&cmd->pulse, SMX_FOREVER);
    return r < 0 ? smx_err_set(err, (enum smx_code) - r, "the command goes on") : 0;
}

static int exec_in(struct compose *c, struct sandbox *sb, struct session *s,
    const struct session_exec *spec, struct session_command **ret, struct smx_err *err)
{
    SMX_CLEANUP(session_command_unrefp) struct session_command *cmd = NULL;
    struct provider_box *box;
    int r = sandbox_use_begin(sb, &box, err);

    if (r < 0)
        return r;
    r = spec->async ? io_event_wait(&s->saved, SMX_FOREVER) : io_sem_acquire(&s->turn, SMX_FOREVER);
    if (r < 0) {
        smx_err_set(err, (enum smx_code) - r, "waiting for the command before");
    } else {
        r = begin(c, sb, box, s, spec, &cmd, err);
        if (r < 0 && !spec->async)
            io_sem_release(&s->turn);
    }
    if (r == 0 && !spec->async && !spec->no_wait)
        r = await(cmd, err);
    sandbox_use_end(sb);
    if (r == 0)
        *ret = smx_take(&cmd);
    return r;
}

int session_exec(struct compose *c, struct sandbox *sb, const char *id,
    const struct session_exec *spec, struct session_command **ret, struct smx_err *err)
{
    SMX_CLEANUP(session_unrefp) struct session *s = NULL;
    int r = session_find(c, sb, id, &s, err);

    return r < 0 ? r : exec_in(c, sb, s, spec, ret, err);
}

/* --- one command ------------------------------------------------------------------------------ */

int session_command_get(struct compose *c, struct sandbox *sb, const char *id, const char *command,
    struct session_command **ret, struct smx_err *err)
{
    SMX_CLEANUP(session_unrefp) struct session *s = NULL;
    int r = session_find(c, sb, id, &s, err);

    if (r < 0)
        return r;
    SMX_LIST_FOREACH(node, &s->commands) {
        struct session_command *cmd = SMX_LIST_ENTRY(node, struct session_command, node);

        if (!smx_streq(cmd->id, command))
            continue;
        cmd->refs++;
        *ret = cmd;
        return 0;
    }
    return smx_err_set(
        err, SMX_E_PROCESS_NOT_FOUND, "command '%.32s' of session '%s' not found", command, s->id);
}

/* Its caller has the command's id before the sandbox has said which process it is. */
static int check_runs(struct session_command *cmd, uint64_t deadline, struct smx_err *err)
{
    int r = 0;

    while (!cmd->ended && cmd->pid == 0 && r == 0)
        r = io_event_wait(&cmd->pulse, deadline);
    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "command '%s' does not start", cmd->id);
    if (!cmd->ended)
        return 0;
    return smx_err_set(err, SMX_E_STATE, "command '%s' has ended", cmd->id);
}

int session_command_input(struct sandbox *sb, struct session_command *cmd, const void *data,
    size_t n, bool eof, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS);
    struct provider_box *box;
    int r = check_runs(cmd, deadline, err);

    if (r == 0)
        r = sandbox_use_begin(sb, &box, err);
    if (r < 0)
        return r;
    if (n > 0)
        r = provider_write_stdin(box, cmd->pid, /* tty= */ false, data, n, deadline, err);
    if (r == 0 && eof) {
        r = provider_close_stdin(box, cmd->pid, deadline, err);
        if (r == -SMX_E_PROCESS_NOT_FOUND && n > 0)
            r = 0; /* what it got was enough for it */
    }
    sandbox_use_end(sb);
    return r;
}

/* To the command's whole group, as from a terminal: the shell alone would leave its children, and
 * minds SIGINT only when they do. False: not by this way. */
static bool signal_group(struct provider_box *box, uint32_t pid, int signo)
{
    char lead[16], number[16];
    const char *const argv[] = { "sh", "-c", session_script_signal, "sh", lead, number, NULL };
    struct provider_process_spec spec = { .argv = argv, .user = "root", .timeout_ms = SIGNAL_MS };
    struct smx_buf out;
    int r, code = -1;

    snprintf(lead, sizeof lead, "%u", pid);
    snprintf(number, sizeof number, "%d", signo);
    smx_buf_init(&out, SIGNAL_OUTPUT_MAX);
    r = run_to_end(box, &spec, &out, &code, /* err= */ NULL);
    smx_buf_done(&out);
    return r == 0 && code == 0;
}

int session_command_signal(
    struct sandbox *sb, struct session_command *cmd, int signo, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS);
    struct provider_box *box;
    int r = check_runs(cmd, deadline, err);

    if (r == 0)
        r = sandbox_use_begin(sb, &box, err);
    if (r < 0)
        return r;
    if (signo == SIGKILL || signo < 1 || signo >= _NSIG || !signal_group(box, cmd->pid, signo))
        r = provider_signal(box, cmd->pid, signo, deadline, err);
    sandbox_use_end(sb);
    return r;
}
