/* process.c - processes over the envd protocol: a stream of events for each, and unary calls by
 * pid. Output takes a short path: envelopes are parsed where they were read, base64 is decoded in
 * place, no message is built.
 *
 * A stream holds its connection until its end; closing it earlier closes the connection, which the
 * process survives. While it is silent it owns no buffer. */
#include "providers/envd/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/fd.h"

enum {
    READ_SIZE = 64 * 1024,
    FIELDS_MAX = 1024,
    DRAIN_MS = 2000,
    KEEP_BUFFER_MS = 50,
    START_GRACE_MS = 10000, /* beyond a process's own limit nobody waits for its start */
    INPUT_PIECE = 256 * 1024,
    SOCKET_ROOM = 1024 * 1024 /* as much of it as the system allows */
};

struct provider_stream {
    struct provider_handle handle;
    struct envd_conn *conn;
    struct smx_buf in; /* envelopes; pos of them are done with */
    size_t pos;
    uint32_t pid;
    bool started;   /* the first event is still to be given out */
    bool has_start; /* the start event was seen */
    bool has_end;   /* the end event was seen */
    bool over;      /* the end was given out */
    bool has_limit; /* the process has a time limit */
    struct provider_event end;
    struct envd_event_message message; /* what an event in long form points to */
};

/* Names that envd gives to signals, after "signal: ". */
static const struct {
    int signo;
    const char *name;
} signal_names[] = { { SIGHUP, "hangup" }, { SIGINT, "interrupt" }, { SIGQUIT, "quit" },
    { SIGILL, "illegal instruction" }, { SIGTRAP, "trace/breakpoint trap" }, { SIGABRT, "aborted" },
    { SIGBUS, "bus error" }, { SIGFPE, "floating point exception" }, { SIGKILL, "killed" },
    { SIGUSR1, "user defined signal 1" }, { SIGSEGV, "segmentation fault" },
    { SIGUSR2, "user defined signal 2" }, { SIGPIPE, "broken pipe" }, { SIGALRM, "alarm clock" },
    { SIGTERM, "terminated" }, { SIGXCPU, "CPU time limit exceeded" },
    { SIGXFSZ, "file size limit exceeded" }, { SIGSYS, "bad system call" } };

/* "signal: killed (core dumped)", "signal: signal 34"; SIGKILL for what nobody knows. */
static int signal_of(const char *status)
{
    uint64_t n = 0;

    if (!status || !smx_starts(status, "signal: "))
        return SIGKILL;
    status += strlen("signal: ");
    for (size_t i = 0; i < SMX_ARRAY_LEN(signal_names); i++)
        if (smx_starts(status, signal_names[i].name))
            return signal_names[i].signo;
    if (smx_starts(status, "signal ")) {
        size_t digits = strspn(status + 7, "0123456789");

        if (smx_parse_u64((struct smx_view){ status + 7, digits }, 64, &n) && n > 0)
            return (int)n;
    }
    return SIGKILL;
}

/* --- reading events ------------------------------------------------------------------------ */

static int went_away(struct smx_err *err)
{
    return smx_err_set(err, SMX_E_CLOSED,
        "the connection to the process broke: the sandbox was stopped, deleted or has expired");
}

/* Waits; a stream that stays silent gives its buffer back first. */
static int wait_quietly(struct provider_stream *s, uint64_t deadline)
{
    struct http_client *http = &s->conn->http;
    struct io_wait w = { .fd = &http->fd, .events = IO_READ };
    uint64_t soon = smx_deadline_in_ms(KEEP_BUFFER_MS);
    int r;

    if (s->in.len > s->pos || http_in_size(&http->in) > 0)
        return 0;
    r = io_wait(&w, 1, SMX_MIN(soon, deadline));
    if (r != -SMX_E_TIMEOUT || deadline <= soon)
        return r < 0 ? r : 0;
    smx_buf_done(&s->in);
    s->pos = 0;
    json_free(&envd_event_message_table, &s->message);
    http_client_trim(http);
    r = io_wait(&w, 1, deadline);
    return r < 0 ? r : 0;
}

static int fill(struct provider_stream *s, uint64_t deadline, struct smx_err *err)
{
    ssize_t n;
    int r = wait_quietly(s, deadline);

    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "waiting for output");
    smx_buf_consume(&s->in, s->pos);
    s->pos = 0;
    if (smx_buf_reserve(&s->in, READ_SIZE) < 0)
        return smx_err_oom(err);
    n = http_client_read(&s->conn->http, s->in.data + s->in.len, READ_SIZE, deadline, err);
    if (n == -SMX_E_TIMEOUT || n == -SMX_E_CANCELLED)
        return (int)n;
    if (n <= 0)
        return went_away(err);
    s->in.len += (size_t)n;
    return 0;
}

static int end_event(struct provider_stream *s, const struct envd_end_event *e)
{
    s->end = (struct provider_event){ .kind = PROVIDER_EVENT_END, .pid = s->pid };
    if (e->exited) {
        s->end.exit_code = (int)(e->exit_code & 0xff);
    } else {
        s->end.signal = signal_of(e->status ? e->status : e->error);
        s->end.exit_code = 128 + s->end.signal;
    }
    s->has_end = true;
    return 0;
}

static int give_bytes(struct provider_stream *s, enum provider_event_kind kind,
    const struct json_bytes *b, struct provider_event *ret)
{
    *ret = (struct provider_event){
        .kind = kind, .pid = s->pid, .data = (const char *)b->data, .n = b->n
    };
    return 1;
}

/* An event in long form. 1: *ret is filled; 0: nothing for the caller. */
static int long_event(struct provider_stream *s, const struct rpc_envelope *env,
    struct provider_event *ret, struct smx_err *err)
{
    const struct envd_process_event *e = &s->message.event;
    int r;

    json_free(&envd_event_message_table, &s->message);
    r = json_decode(&envd_event_message_table, env->data, env->n, &s->message, err);
    if (r < 0)
        return smx_err_set(err, SMX_E_PROTOCOL, "the sandbox sent an event that makes no sense");
    if (e->start) {
        if (s->has_start)
            return smx_err_set(err, SMX_E_PROTOCOL, "the sandbox started the process twice");
        s->has_start = true;
        s->pid = (uint32_t)e->start->pid;
        *ret = (struct provider_event){ .kind = PROVIDER_EVENT_START, .pid = s->pid };
        return 1;
    }
    if (e->data && e->data->stdout_data.data)
        return give_bytes(s, PROVIDER_EVENT_STDOUT, &e->data->stdout_data, ret);
    if (e->data && e->data->stderr_data.data)
        return give_bytes(s, PROVIDER_EVENT_STDERR, &e->data->stderr_data, ret);
    if (e->data && e->data->pty_data.data)
        return give_bytes(s, PROVIDER_EVENT_PTY, &e->data->pty_data, ret);
    return e->end ? end_event(s, e->end) : 0;
}

static int short_event(struct provider_stream *s, enum envd_stream stream, struct smx_view base64,
    struct provider_event *ret, struct smx_err *err)
{
    static const enum provider_event_kind kinds[] = { [ENVD_STDOUT] = PROVIDER_EVENT_STDOUT,
        [ENVD_STDERR] = PROVIDER_EVENT_STDERR,
        [ENVD_PTY] = PROVIDER_EVENT_PTY };
    char *to = s->in.data + (base64.p - s->in.data);
    ptrdiff_t n = smx_base64_decode(to, base64.p, base64.n);

    if (n < 0)
        return smx_err_set(err, SMX_E_PROTOCOL, "the sandbox sent output that is not base64");
    *ret =
        (struct provider_event){ .kind = kinds[stream], .pid = s->pid, .data = to, .n = (size_t)n };
    return 1;
}

/* Reads what closes the body, so that the connection can be used again. Whoever sends more than
 * that loses it. */
static void drain(struct provider_stream *s)
{
    char rest;

    if (s->conn)
        (void)http_client_read(&s->conn->http, &rest, sizeof rest, smx_deadline_in_ms(DRAIN_MS),
            /* err= */ NULL);
}

/* The end of the stream: 1 with the end event, or the error that it carries. */
static int stream_end(struct provider_stream *s, const struct rpc_envelope *env,
    struct provider_event *ret, struct smx_err *err)
{
    enum rpc_code code = rpc_read_error(env->data, env->n, err);

    drain(s);
    s->over = true;
    if (s->has_end) {
        *ret = s->end;
        return 1;
    }
    if (code == RPC_DEADLINE_EXCEEDED && s->has_limit) {
        *ret = (struct provider_event){ .kind = PROVIDER_EVENT_END,
            .pid = s->pid,
            .exit_code = 128 + SIGKILL,
            .signal = SIGKILL,
            .timed_out = true };
        return 1;
    }
    if (code == RPC_OK)
        return smx_err_set(
            err, SMX_E_PROTOCOL, "the sandbox ended the stream without the process's end");
    return envd_error(code, SMX_E_PROCESS_NOT_FOUND, err);
}

static int next_event(
    struct provider_stream *s, struct provider_event *ret, uint64_t deadline, struct smx_err *err)
{
    for (;;) {
        struct rpc_envelope env;
        enum envd_stream stream;
        struct smx_view base64;
        ptrdiff_t used =
            rpc_parse(s->in.data ? s->in.data + s->pos : "", s->in.len - s->pos, &env, err);
        int r;

        if (used == 0) {
            r = fill(s, deadline, err);
            if (r < 0)
                return r;
            continue;
        }
        if (used < 0)
            return (int)used;
        s->pos += (size_t)used;
        if (env.flags & RPC_FLAG_END)
            r = stream_end(s, &env, ret, err);
        else if (envd_data_event_parse(env.data, env.n, &stream, &base64))
            r = short_event(s, stream, base64, ret, err);
        else
            r = long_event(s, &env, ret, err);
        if (r != 0)
            return r < 0 ? r : 0;
        if (deadline != SMX_FOREVER && smx_now_ns() >= deadline) /* there may be no end of them */
            return smx_err_set(err, SMX_E_TIMEOUT, "timed out while waiting for output");
    }
}

int envd_next(
    struct provider_stream *s, struct provider_event *ret, uint64_t deadline, struct smx_err *err)
{
    if (s->over)
        return smx_err_set(err, SMX_E_CLOSED, "the process has ended");
    if (s->started) {
        s->started = false;
        *ret = (struct provider_event){ .kind = PROVIDER_EVENT_START, .pid = s->pid };
        return 0;
    }
    io_fair(s->in.len);
    return next_event(s, ret, deadline, err);
}

struct io_fd *envd_stream_fd(struct provider_stream *s, bool *ret_buffered)
{
    struct rpc_envelope env;

    *ret_buffered = s->started || s->over || http_in_size(&s->conn->http.in) > 0 ||
                    (s->in.len > s->pos && rpc_parse(s->in.data + s->pos, s->in.len - s->pos, &env,
                                               /* err= */ NULL) != 0);
    return &s->conn->http.fd;
}

void envd_stream_close(struct provider_stream *s)
{
    if (s->conn) {
        http_client_trim(&s->conn->http);
        envd_conn_put(s->conn); /* closes it unless the stream was read to its end */
    }
    json_free(&envd_event_message_table, &s->message);
    smx_buf_done(&s->in);
    smx_free(s);
}

/* --- starting ------------------------------------------------------------------------------ */

/* What a stream is asked for. */
struct opening {
    const char *route, *user;
    uint64_t timeout_ms;
    const struct json_table *table;
    const void *request;
    const char *passed_as; /* ENVD_PASSED_*; NULL: nothing is to be passed */
    int ours, theirs;      /* the socket that is; theirs goes along */
};

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

/* No descriptor reaches us: its last close would be ours, and it may take as long as who made it
 * likes (SO_LINGER of a TCP socket). False before Linux 6.16. */
static bool refuse_rights(int fd)
{
    int no = 0;

    return setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof no) == 0;
}

/* A socket and not a pipe: whoever writes a pipe from memory that is slow to come holds its lock
 * meanwhile, and we would wait for it. It knows one direction only, and nothing but bytes. */
static int make_socket(struct opening *o, const struct envd_conn *c, struct smx_err *err)
{
    int pair[2], room = SOCKET_ROOM;
    bool in = o->passed_as && strcmp(o->passed_as, ENVD_PASSED_STDIN) == 0;

    if (!o->passed_as || !http_client_passes(&c->http))
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return smx_err_errno(err, errno, "making a socket");
    if (!in && !refuse_rights(pair[0])) {
        smx_close(pair[0]);
        smx_close(pair[1]);
        return 0;
    }
    o->ours = pair[0];
    o->theirs = pair[1];
    (void)setsockopt(pair[in ? 0 : 1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    shutdown(o->ours, in ? SHUT_RD : SHUT_WR);
    return 0;
}

static int send_stream_request(struct envd_conn *c, const struct opening *o, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf fields = { 0 };
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    size_t at;
    int r;

    smx_buf_init(&fields, FIELDS_MAX);
    smx_buf_init(&body, SMX_RPC_ENVELOPE_MAX);
    if (o->timeout_ms)
        smx_buf_appendf(&fields, "Connect-Timeout-Ms: %llu\r\n", (unsigned long long)o->timeout_ms);
    if (o->theirs >= 0)
        h1_write_field(&fields, H1_DESCRIPTOR, smx_view_of(o->passed_as));
    r = envd_fields(&fields, ENVD_STREAM_TYPE, o->user, err);
    at = rpc_begin(&body, 0);
    if (r == 0)
        r = json_encode_to(&body, o->table, o->request, err);
    if (r < 0)
        return r;
    rpc_end(&body, at);
    return http_client_send_with(
        &c->http, H1_POST, smx_view_of(o->route), &fields, body.data, body.len, o->theirs, err);
}

/* The reply's head and the first event, which is the start. */
static int read_start(
    struct provider_stream *s, struct opening *o, uint64_t deadline, struct smx_err *err)
{
    struct provider_event first;
    struct h1_head head;
    int r = http_client_head(&s->conn->http, &head, deadline, err);

    if (r == 0 && !h1_get(&head, H1_DESCRIPTOR).p) /* not used: an agent of an older release */
        smx_close(smx_take_fd(&o->ours));
    if (r == 0 && head.status != 200)
        r = envd_http_error(s->conn, head.status, deadline, err);
    if (r == 0)
        r = next_event(s, &first, deadline, err);
    if (r < 0)
        return r;
    if (first.kind != PROVIDER_EVENT_START)
        return smx_err_set(err, SMX_E_PROTOCOL, "the sandbox sent output before the start");
    s->started = true;
    return 0;
}

static int open_stream(struct envd_box *b, struct opening *o, struct provider_stream **ret,
    uint64_t deadline, struct smx_err *err)
{
    struct provider_stream *s = smx_alloc(sizeof *s);
    int r;

    o->ours = o->theirs = -1;
    if (!s)
        return smx_err_oom(err);
    s->handle = b->handle;
    s->has_limit = o->timeout_ms > 0;
    smx_buf_init(&s->in, SMX_RPC_ENVELOPE_MAX + 2 * READ_SIZE);
    r = envd_conn_get(b, &s->conn, deadline, err);
    if (r == 0)
        r = make_socket(o, s->conn, err);
    if (r == 0)
        r = send_stream_request(s->conn, o, err);
    smx_close(smx_take_fd(&o->theirs));
    if (r == 0)
        r = read_start(s, o, deadline, err);
    if (r < 0) {
        smx_close(smx_take_fd(&o->ours));
        envd_stream_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

int envd_start(struct provider_box *box, const struct provider_process_spec *spec,
    struct provider_stream **ret, uint64_t deadline, struct smx_err *err)
{
    struct envd_box *b = envd_box_of(box);
    SMX_CLEANUP(smx_freep)
    char *cwd = spec->cwd || b->base ? envd_path(b, spec->cwd ? spec->cwd : "") : NULL;
    struct envd_pty pty = { { spec->cols, spec->rows } };
    struct envd_start_request req = { .process = { .cmd = envd_str(spec->argv[0]),
                                          .cwd = cwd,
                                          .envs = { .v = (struct json_pair *)(uintptr_t)spec->env,
                                              .n = spec->n_env,
                                              .set = spec->n_env > 0 } },
        .pty = spec->tty ? &pty : NULL,
        .tag = envd_str(spec->tag),
        .stdin_open = spec->stdin_open,
        .has_stdin = true };
    struct opening o = { .route = ENVD_PROCESS_START,
        .user = envd_user(b, spec->user),
        .timeout_ms = spec->timeout_ms,
        .table = &envd_start_request_table,
        .request = &req };
    size_t n = 0;
    int r;

    if (!spec->argv[0] || !*spec->argv[0])
        return smx_err_set(err, SMX_E_INVALID, "command: must not be empty");
    if (!cwd && (spec->cwd || b->base))
        return smx_err_oom(err);
    while (spec->argv[n + 1])
        n++;
    req.process.args = (struct json_strings){ .v = (char **)(uintptr_t)(spec->argv + 1), .n = n };
    if (spec->timeout_ms)
        deadline = SMX_MIN(deadline, smx_deadline_in_ms(spec->timeout_ms + START_GRACE_MS));
    if (spec->ret_socket && !spec->tty)
        o.passed_as = spec->stdin_open ? ENVD_PASSED_STDIN : ENVD_PASSED_STDOUT;
    r = open_stream(b, &o, ret, deadline, err);
    if (spec->ret_socket)
        *spec->ret_socket = smx_take_fd(&o.ours);
    return r;
}

int envd_connect(struct provider_box *box, uint32_t pid, struct provider_stream **ret,
    uint64_t deadline, struct smx_err *err)
{
    struct envd_connect_request req = { .process = { .pid = pid, .has_pid = true } };
    struct opening o = {
        .route = ENVD_PROCESS_CONNECT, .table = &envd_connect_request_table, .request = &req
    };

    return open_stream(envd_box_of(box), &o, ret, deadline, err);
}

/* --- calls by pid -------------------------------------------------------------------------- */

static int by_pid(struct provider_box *box, const char *route, const struct json_table *table,
    const void *request, uint64_t deadline, struct smx_err *err)
{
    struct envd_call call = { .route = route,
        .request_table = table,
        .request = request,
        .not_found = SMX_E_PROCESS_NOT_FOUND };

    return envd_call(envd_box_of(box), &call, deadline, err);
}

static int write_piece(struct provider_box *box, uint32_t pid, bool tty, const void *data, size_t n,
    uint64_t deadline, struct smx_err *err)
{
    struct json_bytes bytes = { (unsigned char *)(uintptr_t)data, n };
    struct envd_send_input_request req = { .process = { .pid = pid, .has_pid = true } };

    if (tty)
        req.input.pty_data = bytes;
    else
        req.input.stdin_data = bytes;
    return by_pid(
        box, ENVD_PROCESS_SEND_INPUT, &envd_send_input_request_table, &req, deadline, err);
}

int envd_write_stdin(struct provider_box *box, uint32_t pid, bool tty, const void *data, size_t n,
    uint64_t deadline, struct smx_err *err)
{
    const char *p = data;
    int r = 0;

    while (n > 0 && r == 0) {
        size_t piece = SMX_MIN(n, (size_t)INPUT_PIECE);

        r = write_piece(box, pid, tty, p, piece, deadline, err);
        p += piece;
        n -= piece;
    }
    return r;
}

int envd_close_stdin(struct provider_box *box, uint32_t pid, uint64_t deadline, struct smx_err *err)
{
    struct envd_close_stdin_request req = { .process = { .pid = pid, .has_pid = true } };

    return by_pid(
        box, ENVD_PROCESS_CLOSE_STDIN, &envd_close_stdin_request_table, &req, deadline, err);
}

int envd_resize(struct provider_box *box, uint32_t pid, uint16_t cols, uint16_t rows,
    uint64_t deadline, struct smx_err *err)
{
    struct envd_pty pty = { { cols, rows } };
    struct envd_update_request req = { .process = { .pid = pid, .has_pid = true }, .pty = &pty };

    return by_pid(box, ENVD_PROCESS_UPDATE, &envd_update_request_table, &req, deadline, err);
}

/* A signal that the protocol has no name for is sent from inside, by kill(1). */
static int signal_inside(
    struct provider_box *box, uint32_t pid, int signo, uint64_t deadline, struct smx_err *err)
{
    char number[16], target[16];
    const char *argv[] = { "/bin/sh", "-c", "kill -\"$1\" \"$2\"", "sh", number, target, NULL };
    struct provider_process_spec spec = { .argv = argv, .user = "root", .timeout_ms = 10000 };
    struct provider_stream *s = NULL;
    struct provider_event e = { 0 };
    int r;

    snprintf(number, sizeof number, "%d", signo);
    snprintf(target, sizeof target, "%u", pid);
    r = envd_start(box, &spec, &s, deadline, err);
    while (r == 0 && e.kind != PROVIDER_EVENT_END)
        r = envd_next(s, &e, deadline, err);
    if (s)
        envd_stream_close(s);
    if (r == 0 && e.exit_code != 0)
        r = smx_err_set(err, SMX_E_PROCESS_NOT_FOUND, "process with pid %u not found", pid);
    return r;
}

int envd_signal(
    struct provider_box *box, uint32_t pid, int signo, uint64_t deadline, struct smx_err *err)
{
    struct envd_send_signal_request req = { .process = { .pid = pid, .has_pid = true } };
    char text[] = "\"SIGNAL_SIGKILL\"";

    if (signo < 1 || signo > 64)
        return smx_err_set(err, SMX_E_INVALID, "signal: must be 1 to 64");
    if (signo != ENVD_SIGNAL_KILL && signo != ENVD_SIGNAL_TERM)
        return signal_inside(box, pid, signo, deadline, err);
    if (signo == ENVD_SIGNAL_TERM)
        memcpy(text, "\"SIGNAL_SIGTERM\"", sizeof text);
    req.signal = text;
    return by_pid(
        box, ENVD_PROCESS_SEND_SIGNAL, &envd_send_signal_request_table, &req, deadline, err);
}

static int take_process(struct envd_process_info *in, struct provider_process *out)
{
    size_t n = in->config.args.n;

    out->pid = (uint32_t)in->pid;
    out->tag = smx_take(&in->tag);
    out->cwd = smx_take(&in->config.cwd);
    out->argv = smx_alloc_array(n + 2, sizeof(char *));
    if (!out->argv)
        return -SMX_E_NO_MEMORY;
    out->argv[0] = in->config.cmd ? smx_take(&in->config.cmd) : smx_strdup("");
    for (size_t i = 0; i < n; i++)
        out->argv[i + 1] = smx_take(&in->config.args.v[i]);
    return out->argv[0] ? 0 : -SMX_E_NO_MEMORY;
}

int envd_processes(struct provider_box *box, struct provider_process_list *ret, uint64_t deadline,
    struct smx_err *err)
{
    struct envd_list_response reply = { 0 };
    struct envd_empty nothing = { 0 };
    struct envd_call call = { .route = ENVD_PROCESS_LIST,
        .request_table = &envd_empty_table,
        .request = &nothing,
        .reply_table = &envd_list_response_table,
        .reply = &reply,
        .not_found = SMX_E_PROCESS_NOT_FOUND };
    struct provider_process_list l = { 0 };
    int r = envd_call(envd_box_of(box), &call, deadline, err);

    if (r < 0)
        return r;
    l.v = smx_alloc_array(reply.processes.n + 1, sizeof *l.v);
    for (size_t i = 0; i < reply.processes.n && l.v && r == 0; i++)
        r = take_process(&((struct envd_process_info *)reply.processes.v)[i], &l.v[l.n++]);
    json_free(&envd_list_response_table, &reply);
    if (!l.v || r < 0) {
        provider_process_list_done(&l);
        return smx_err_oom(err);
    }
    *ret = l;
    return 0;
}
