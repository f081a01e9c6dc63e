/* socket.c - GET /api/sandboxes/{id}/exec as WebSocket: an interactive command. The connection's
 * fiber sends the process's output; a second fiber receives: bytes are stdin, text frames control
 * the process. After the end of the process the exit goes out, then a close, then what still comes
 * is dropped until the client's close, so that no reset overtakes the exit. A client that vanishes
 * sends a terminal SIGHUP; other processes go on. */
#include "frontends/native/exec.h"

#include <signal.h>
#include <stdio.h>

#include "ws/ws.h"

enum {
    START_WAIT_MS = 30000, /* for the client's first frame */
    LINGER_MS = 5000,
    GRACE_MS = 5000,
    QUIET_MS = 1000,
};

struct session {
    struct http_exchange *x;
    struct frontend *fe;
    struct native_use use;
    struct native_ws_start start;
    struct native_spec spec;
    struct ws ws;
    struct provider_stream *stream;
    uint64_t started_ns, deadline_ns;
    uint32_t pid;
    bool over;   /* the process ended or failed: nothing more goes to it */
    bool gone;   /* the client left without a close */
    bool killed; /* by us, past timeout_s and the grace */
    struct io_fiber *receiver;
    struct io_event received; /* the receiver ended */
    char *frame;              /* channel byte and output */
    size_t frame_cap;
};

/* --- start: from the query or the first frame --------------------------------------------------
 */

static int query_number(
    struct http_exchange *x, const char *name, uint64_t *ret, struct smx_err *err)
{
    int r = http_query_u64(x, name, 1, 65535, ret, err);

    return r < 0 ? r : 0;
}

/* The command of the query becomes the same JSON that a frame would carry. */
static int query_command(struct http_exchange *x, char **ret, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *text = NULL;
    struct json_writer w;
    struct smx_buf b;
    int r = http_query_string(x, "command", &text, err);

    if (r < 0 || !text)
        return r;
    smx_buf_init(&b, 6 * SMX_ARGS_BYTES_MAX);
    json_writer_init(&w, &b);
    json_string(&w, text);
    *ret = smx_buf_steal(&b);
    return *ret ? 0 : smx_err_oom(err);
}

static int query_timeout(struct http_exchange *x, double *ret, struct smx_err *err)
{
    uint64_t seconds = 0;
    int r = http_query_u64(x, "timeout_s", 0, NATIVE_TIMEOUT_S_MAX, &seconds, err);

    *ret = (double)seconds;
    return r < 0 ? r : 0;
}

static int read_query(struct session *s, struct smx_err *err)
{
    struct native_ws_start *st = &s->start;
    int r = query_command(s->x, &st->command, err);

    if (r == 0)
        r = http_query_string(s->x, "user", &st->user, err);
    if (r == 0)
        r = http_query_string(s->x, "cwd", &st->cwd, err);
    if (r == 0)
        r = http_query_bool(s->x, "tty", &st->tty, err);
    if (r >= 0)
        r = http_query_bool(s->x, "channels", &st->channels, err);
    if (r >= 0)
        r = query_number(s->x, "cols", &st->cols, err);
    if (r >= 0)
        r = query_number(s->x, "rows", &st->rows, err);
    if (r >= 0)
        r = query_timeout(s->x, &st->timeout_s, err);
    return r;
}

static int take_start(struct session *s, const struct ws_message *m, struct smx_err *err)
{
    struct native_ws_control control;
    int r;

    if (m->opcode != WS_TEXT)
        return smx_err_set(err, SMX_E_INVALID, "start: the first frame must be a text frame");
    r = json_decode(&native_ws_control_table, m->data, m->n, &control, err);
    if (r == 0 && !control.start)
        r = smx_err_set(err, SMX_E_INVALID, "start: the first frame must carry it");
    if (r == 0) {
        json_free(&native_ws_start_table, &s->start);
        s->start = *control.start;
        memset(control.start, 0, sizeof *control.start); /* what it owned is ours now */
    }
    json_free(&native_ws_control_table, &control);
    return r;
}

static int receive_start(struct session *s, struct smx_err *err)
{
    struct ws_message m;
    int r = ws_recv(&s->ws, &m, smx_deadline_in_ms(START_WAIT_MS), err);

    return r < 0 ? r : take_start(s, &m, err);
}

static void fill_spec(struct session *s)
{
    struct provider_process_spec *p = &s->spec.process;

    p->cwd = s->start.cwd;
    p->user = s->start.user;
    p->tty = s->start.tty;
    p->cols = s->start.cols ? (uint16_t)s->start.cols : 80;
    p->rows = s->start.rows ? (uint16_t)s->start.rows : 24;
    p->stdin_open = true;
}

static int start_process(struct session *s, struct smx_err *err)
{
    int r = native_spec_make(&s->spec, s->start.command, &s->start.env, s->start.timeout_s, err);

    if (r < 0)
        return r;
    fill_spec(s);
    s->started_ns = smx_now_ns();
    s->deadline_ns = SMX_FOREVER;
    if (s->spec.process.timeout_ms)
        s->deadline_ns = smx_deadline_in_ms(s->spec.process.timeout_ms + GRACE_MS);
    return provider_process_start(s->use.box, &s->spec.process, &s->stream, native_deadline(), err);
}

/* --- from the client ---------------------------------------------------------------------------
 */

static int apply_control(struct session *s, const struct native_ws_control *c, struct smx_err *err)
{
    int signo, r = 0;

    if (c->resize)
        provider_resize(s->use.box, s->pid, (uint16_t)c->resize->cols, (uint16_t)c->resize->rows,
            native_deadline(), /* err= */ NULL);
    if (c->signal) {
        r = native_signal_parse(c->signal, &signo, err);
        if (r < 0)
            return r;
        provider_signal(s->use.box, s->pid, signo, native_deadline(), /* err= */ NULL);
    }
    if (c->eof && s->start.tty)
        provider_write_stdin(s->use.box, s->pid, true, "\x04", 1, native_deadline(), NULL);
    else if (c->eof)
        provider_close_stdin(s->use.box, s->pid, native_deadline(), /* err= */ NULL);
    return 0;
}

/* A control frame that cannot be read ends the conversation: the client's state is unknown. */
static int take_control(struct session *s, const struct ws_message *m, struct smx_err *err)
{
    struct native_ws_control c;
    int r = json_decode(&native_ws_control_table, m->data, m->n, &c, err);

    if (r == 0)
        r = c.start ? smx_err_set(err, SMX_E_INVALID, "start: the process runs already")
                    : apply_control(s, &c, err);
    json_free(&native_ws_control_table, &c);
    return r;
}

/* A process that does not read its input holds this fiber, and with it the client's sending. */
static int take_message(struct session *s, const struct ws_message *m, struct smx_err *err)
{
    if (m->opcode == WS_TEXT)
        return take_control(s, m, err);
    provider_write_stdin(
        s->use.box, s->pid, s->start.tty, m->data, m->n, SMX_FOREVER, /* err= */ NULL);
    return 0; /* ended, or its input is closed: dropped, as a pipe to /dev/null would */
}

static void refuse_frame(struct session *s, const struct smx_err *err)
{
    ws_close(&s->ws, 1008, err->msg, /* err= */ NULL);
    s->gone = true;
}

static void receive(void *arg)
{
    struct session *s = arg;
    struct smx_err err = { 0 };
    struct ws_message m;
    int r = 0;

    while (r == 0 && !s->over) {
        r = ws_recv(&s->ws, &m, SMX_FOREVER, &err);
        if (r == 0 && m.opcode == WS_CLOSE)
            r = -SMX_E_CLOSED;
        if (r == 0 && !s->over) {
            r = take_message(s, &m, &err);
            if (r < 0)
                refuse_frame(s, &err);
        }
    }
    s->gone |= !s->over && r < 0;
    s->receiver = NULL;
    io_event_set(&s->received);
}

/* --- to the client -----------------------------------------------------------------------------
 */

static int send_event(struct session *s, const struct native_exec_event *ev)
{
    struct smx_buf b;
    int r;

    smx_buf_init(&b, 64 * 1024);
    r = json_encode_to(&b, &native_exec_event_table, ev, /* err= */ NULL);
    if (r == 0)
        r = ws_send(&s->ws, WS_TEXT, b.data, b.len, /* err= */ NULL);
    smx_buf_done(&b);
    return r;
}

static int send_output(struct session *s, int channel, const char *data, size_t n)
{
    if (!s->start.channels || s->start.tty)
        return ws_send(&s->ws, WS_BINARY, data, n, /* err= */ NULL);
    if (s->frame_cap < n + 1) {
        smx_free(s->frame);
        s->frame = smx_alloc(n + 1);
        s->frame_cap = s->frame ? n + 1 : 0;
        if (!s->frame)
            return -SMX_E_NO_MEMORY;
    }
    s->frame[0] = (char)channel;
    memcpy(s->frame + 1, data, n);
    return ws_send(&s->ws, WS_BINARY, s->frame, n + 1, /* err= */ NULL);
}

static int send_start(struct session *s, uint32_t pid)
{
    struct native_exec_start start = { .pid = pid };
    struct native_exec_event ev = { .start = &start };
    struct smx_err err = { 0 };
    int r;

    s->pid = pid;
    native_log_start(s->use.sb, &s->spec, pid);
    r = send_event(s, &ev);
    if (r == 0)
        r = io_fiber_spawn(http_loop(s->x), "exec receive", receive, s, &s->receiver, &err);
    return r;
}

static int send_exit(struct session *s, const struct provider_event *end)
{
    struct native_exec_exit exit = { .exit_code = end->exit_code,
        .signal = end->signal,
        .has_signal = end->signal != 0,
        .duration_ms = (smx_now_ns() - s->started_ns) / SMX_NS_PER_MS,
        .timed_out = end->timed_out || s->killed };
    struct native_exec_event ev = { .exit = &exit };

    s->over = true;
    native_log_end(s->use.sb, s->pid, end);
    if (end->error)
        send_output(s, NATIVE_WS_STDERR, end->error, strlen(end->error));
    return send_event(s, &ev);
}

static int forward(struct session *s, const struct provider_event *ev)
{
    switch (ev->kind) {
    case PROVIDER_EVENT_START:
        return send_start(s, ev->pid);
    case PROVIDER_EVENT_STDOUT:
    case PROVIDER_EVENT_PTY:
        return send_output(s, NATIVE_WS_STDOUT, ev->data, ev->n);
    case PROVIDER_EVENT_STDERR:
        return send_output(s, NATIVE_WS_STDERR, ev->data, ev->n);
    case PROVIDER_EVENT_END:
        return send_exit(s, ev);
    }
    return -SMX_E_INTERNAL;
}

/* As in exec.c: quiet streams shrink before they wait on. */
static int await_event(struct session *s, struct provider_event *ev, struct smx_err *err)
{
    uint64_t quiet_ns = smx_deadline_in_ms(QUIET_MS);
    int r;

    if (quiet_ns >= s->deadline_ns)
        return provider_stream_next(s->stream, ev, s->deadline_ns, err);
    r = provider_stream_next(s->stream, ev, quiet_ns, err);
    if (r != -SMX_E_TIMEOUT)
        return r;
    http_trim(s->x);
    return provider_stream_next(s->stream, ev, s->deadline_ns, err);
}

/* Past its time and the runtime's grace the process is killed by us; its end is then waited for. */
static int next_event(struct session *s, struct provider_event *ev, struct smx_err *err)
{
    int r = await_event(s, ev, err);

    if (r != -SMX_E_TIMEOUT || s->killed)
        return r;
    s->killed = true;
    s->deadline_ns = smx_deadline_in_ms(GRACE_MS);
    provider_signal(s->use.box, s->pid, SIGKILL, native_deadline(), /* err= */ NULL);
    return await_event(s, ev, err);
}

static int forward_all(struct session *s, struct smx_err *err)
{
    struct provider_event ev;
    int r = 0;

    while (r == 0 && !s->over && !s->gone) {
        r = next_event(s, &ev, err);
        if (r == 0 && forward(s, &ev) < 0)
            s->gone = true;
    }
    return r;
}

/* --- the whole ---------------------------------------------------------------------------------
 */

static void send_problem(struct session *s, const struct smx_err *err)
{
    struct native_problem problem;
    struct native_exec_event ev = { .error = &problem };
    char type[96];

    native_problem_fill(s->x, err, &problem, type);
    send_event(s, &ev);
}

static void end_receiver(struct session *s)
{
    if (!s->receiver)
        return;
    io_fiber_cancel(s->receiver);
    io_shield_begin();
    io_event_wait(&s->received, SMX_FOREVER);
    io_shield_end();
}

/* A terminal whose client has gone. Seeing that cancels this fiber: the signal must go out yet. */
static void hang_up(struct session *s)
{
    bool gone = s->gone || io_fiber_cancelled();

    if (!gone || s->over || !s->pid || !s->start.tty)
        return;
    io_shield_begin();
    provider_signal(s->use.box, s->pid, SIGHUP, native_deadline(), /* err= */ NULL);
    io_shield_end();
}

static void converse(struct session *s)
{
    struct smx_err err = { 0 };
    int r = s->start.command ? 0 : receive_start(s, &err);

    if (r == 0)
        r = start_process(s, &err);
    if (r == 0) {
        native_watch_client(s->x);
        r = forward_all(s, &err);
        native_unwatch_client(s->x);
    }
    hang_up(s);
    s->over = true;
    end_receiver(s);
    if (r < 0 && !s->gone)
        send_problem(s, &err);
    ws_close(&s->ws, 1000, "", /* err= */ NULL);
    if (!s->gone)
        ws_linger(&s->ws, smx_deadline_in_ms(LINGER_MS));
}

static int upgrade(struct session *s, struct smx_err *err)
{
    struct smx_view key = http_field(s->x, "Sec-WebSocket-Key"), early;
    char accept[WS_ACCEPT_SIZE];
    struct io_fd *fd;
    int r;

    ws_accept_make(key, accept);
    http_add_field(s->x, "Sec-WebSocket-Accept", accept);
    r = http_upgrade(s->x, "websocket", &fd, &early, err);
    return r < 0 ? r : ws_init(&s->ws, fd, early, WS_SERVER, err);
}

/* 0: a WebSocket request that may go on; else it was answered. */
static int check_upgrade(struct http_exchange *x)
{
    struct smx_err err = { 0 };
    int status = 426;

    if (h1_has_token(http_head(x), "Upgrade", "websocket") &&
        ws_check_request(http_field(x, "Sec-WebSocket-Key"), http_field(x, "Sec-WebSocket-Version"),
            &status, &err) == 0)
        return 0;
    if (!*err.msg)
        smx_err_set(&err, SMX_E_INVALID,
            "this is a WebSocket: send 'Upgrade: websocket', or POST for the other forms");
    if (status == 426) {
        http_add_field(x, "Sec-WebSocket-Version", "13");
        http_add_field(x, "Upgrade", "websocket");
    }
    native_fail_status(x, status, &err);
    return -1;
}

static void session_done(struct session *s)
{
    provider_stream_close(smx_take(&s->stream));
    ws_done(&s->ws);
    native_spec_done(&s->spec);
    json_free(&native_ws_start_table, &s->start);
    native_use_end(&s->use);
    smx_free(s->frame);
}

void native_exec_socket(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct session *s = http_alloc(x, sizeof *s);
    struct smx_err err = { 0 };
    int r;

    if (check_upgrade(x) < 0)
        return;
    if (!s) {
        native_fail_memory(x);
        return;
    }
    memset(s, 0, sizeof *s);
    s->x = x;
    s->fe = ctx;
    io_event_init(&s->received);
    r = read_query(s, &err);
    if (r == 0)
        r = native_use_begin(ctx, x, params, &s->use, &err);
    if (r == 0)
        r = upgrade(s, &err);
    if (r < 0)
        native_fail(x, &err);
    else
        converse(s);
    session_done(s);
}
