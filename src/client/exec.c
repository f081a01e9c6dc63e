/* exec.c - a command run to its end. The reply is read as NDJSON, so that output of any size costs
 * only what is kept; input that is too long for one request goes through a process with open
 * streams. */
#include "client/exec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "sandmux/process.h"

enum {
    STDIN_IN_REQUEST = 1024 * 1024,
    KILL_MS = 3000, /* for ending the command of a caller who left */
};

struct result_box {
    struct smx_exec_result pub;
    struct smx_buf out, errors;
    size_t max;
    uint64_t pid; /* 0: not known */
    bool ended;
    struct client_linger linger;
};

/* --- the request --------------------------------------------------------------------------------
 */

static int write_request(struct smx_buf *out, const struct smx_exec_spec *spec, struct smx_err *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    exec_write(&w, spec);
    if (spec->stdin_bytes) {
        json_key(&w, "stdin_b64");
        json_base64(&w, spec->stdin_data, spec->stdin_bytes);
    }
    json_object_end(&w);
    return json_writer_end(&w, err);
}

/* --- the reply ----------------------------------------------------------------------------------
 */

static int keep(
    struct result_box *b, struct smx_buf *to, const void *data, size_t n, struct smx_err *err)
{
    size_t room = b->max - SMX_MIN(to->len, b->max);

    if (n > room) {
        b->pub.truncated = 1;
        n = room;
    }
    return smx_buf_append(to, data, n) < 0 ? smx_buf_check(to, err) : 0;
}

static int keep_text(
    struct result_box *b, struct smx_buf *to, const char *text, struct smx_err *err)
{
    return text ? keep(b, to, text, strlen(text), err) : 0;
}

static int take_event(struct result_box *b, const struct native_exec_event *e, struct smx_err *err)
{
    int r = keep_text(b, &b->out, e->stdout_text, err);

    if (r == 0)
        r = keep_text(b, &b->errors, e->stderr_text, err);
    if (r == 0 && e->stdout_b64.data)
        r = keep(b, &b->out, e->stdout_b64.data, e->stdout_b64.n, err);
    if (r == 0 && e->stderr_b64.data)
        r = keep(b, &b->errors, e->stderr_b64.data, e->stderr_b64.n, err);
    if (r == 0 && e->start) {
        b->pid = e->start->pid;
        r = client_linger_known(&b->linger, err);
    }
    if (r == 0 && e->error)
        r = problem_error(e->error, err);
    if (r == 0 && e->exit) {
        b->ended = true;
        b->pub.exit_code = (int)e->exit->exit_code;
        b->pub.signal = e->exit->has_signal ? (int)e->exit->signal : 0;
        b->pub.timed_out = e->exit->timed_out;
        b->pub.duration_ms = e->exit->duration_ms;
    }
    return r;
}

static int event_line(char *line, size_t n, void *arg, struct smx_err *err)
{
    struct native_exec_event e;
    int r = json_decode(&native_exec_event_table, line, n, &e, err);

    if (r < 0)
        return smx_err_wrap(err, r, "output of the command");
    r = take_event(arg, &e, err);
    json_free(&native_exec_event_table, &e);
    return r;
}

static int finish(struct result_box *b, struct smx_err *err)
{
    if (!b->ended)
        return smx_err_set(
            err, SMX_E_CLOSED, "the daemon did not say how the command ended; it may still run");
    if (smx_buf_reserve(&b->out, 1) < 0 || smx_buf_reserve(&b->errors, 1) < 0)
        return smx_err_oom(err);
    b->pub.stdout_data = b->out.data;
    b->pub.stdout_bytes = b->out.len;
    b->pub.stderr_data = b->errors.data;
    b->pub.stderr_bytes = b->errors.len;
    return 0;
}

/* A caller who gave up waiting does not want the command either. */
static void kill_command(struct smx_client *c, const char *id, uint64_t pid)
{
    struct call call = { .method = "DELETE", .timeout_ms = KILL_MS, .interrupt = &client_never };
    struct smx_buf path;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    if (call_path(&path, "/api/sandboxes", id, "/processes/", /* err= */ NULL) == 0 &&
        smx_buf_appendf(&path, "%llu", (unsigned long long)pid) == 0) {
        call.path = path.data;
        call_json(c, &call, /* table= */ NULL, /* ret= */ NULL, /* ret_json= */ NULL, NULL);
    }
    smx_buf_done(&path);
}

static int run(struct smx_client *c, const char *id, const struct smx_exec_spec *spec,
    struct result_box *b, struct smx_err *err)
{
    struct client_interrupt interrupt = client_linger(&b->linger, &c->interrupt);
    struct call call = {
        .method = "POST", .accept = NATIVE_NDJSON, .timeout_ms = UINT64_MAX, .interrupt = &interrupt
    };
    struct conn *conn = NULL;
    struct smx_buf path, body;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    smx_buf_init(&body, CLIENT_REPLY_MAX);
    r = call_path(&path, "/api/sandboxes", id, "/exec", err);
    if (r == 0)
        r = write_request(&body, spec, err);
    if (r == 0) {
        call.path = path.data;
        call.body = body.data;
        call.n = body.len;
        if (spec->timeout_ms) /* the daemon kills it; this is for a daemon that does not */
            call.timeout_ms = spec->timeout_ms + c->timeout_ms;
        r = call_open(c, &call, &conn, err);
    }
    if (r == 0)
        r = call_lines(conn, event_line, b, err);
    client_give(c, conn);
    if (r == -SMX_E_CANCELLED && b->pid && !b->ended)
        kill_command(c, id, b->pid);
    smx_buf_done(&path);
    smx_buf_done(&body);
    return r == 0 ? finish(b, err) : r;
}

/* --- long input ---------------------------------------------------------------------------------
 */

/* What has arrived. 1: the command has ended. */
static int take_ready(struct smx_process *p, struct result_box *b, struct smx_err *err)
{
    struct smx_process_event e;
    int r;

    while ((r = smx_process_next(p, /* timeout_ms= */ 0, &e, err)) > 0) {
        if (e.kind == SMX_PROCESS_STDOUT)
            r = keep(b, &b->out, e.data, e.bytes, err);
        else if (e.kind == SMX_PROCESS_STDERR)
            r = keep(b, &b->errors, e.data, e.bytes, err);
        else if (e.kind == SMX_PROCESS_EXITED) {
            b->ended = true;
            b->pub.exit_code = e.exit_code;
            b->pub.signal = e.signal;
            b->pub.timed_out = e.timed_out;
            b->pub.duration_ms = e.duration_ms;
            return 1;
        }
        if (r < 0)
            return r;
    }
    return r == -SMX_E_TIMEOUT ? 0 : r;
}

/* Sends what the queue takes; a command that takes no more gets no more. */
static void push(struct smx_process *p, struct smx_view *in, bool *closed)
{
    ssize_t n = *closed ? 0 : smx_process_write(p, in->p, in->n, 0, /* err= */ NULL);

    if (n > 0) {
        in->p += n;
        in->n -= (size_t)n;
    }
    if (n < 0 || (in->n == 0 && !*closed)) {
        smx_process_close_stdin(p, /* err= */ NULL);
        *closed = true;
    }
}

static int converse(struct smx_process *p, const struct smx_exec_spec *spec, struct result_box *b,
    const struct client_interrupt *i, struct smx_err *err)
{
    struct smx_view in = { spec->stdin_data, spec->stdin_bytes };
    bool closed = false;

    for (;;) {
        struct pollfd f = { .fd = smx_process_fd(p), .events = POLLIN };
        int r;

        push(p, &in, &closed);
        r = take_ready(p, b, err);
        if (r != 0)
            return SMX_MIN(r, 0);
        if (!closed || smx_process_wants_write(p))
            f.events |= POLLOUT;
        if (poll(&f, 1, client_poll_ms(SMX_FOREVER, i)) < 0 && errno != EINTR)
            return smx_err_errno(err, errno, "waiting for the command");
        if (client_interrupted(i, err) < 0)
            return -SMX_E_CANCELLED;
    }
}

static int run_stream(struct smx_client *c, const char *id, const struct smx_exec_spec *spec,
    struct result_box *b, struct smx_err *err)
{
    struct smx_process *p;
    int r = smx_process_start(c, id, spec, &p, err);

    if (r < 0)
        return r;
    r = converse(p, spec, b, &c->interrupt, err);
    if (r == -SMX_E_CANCELLED)
        smx_process_signal(p, SIGKILL, /* err= */ NULL);
    smx_process_free(p);
    return r == 0 ? finish(b, err) : r;
}

int smx_exec(struct smx_client *c, const char *id, const struct smx_exec_spec *spec,
    struct smx_exec_result **ret_result, struct smx_err *err)
{
    struct result_box *b;
    int r = exec_check(spec, err);

    if (r < 0)
        return r;
    if (spec->tty)
        return smx_err_set(err, SMX_E_INVALID, "a terminal needs smx_process_start()");
    b = smx_alloc(sizeof *b);
    if (!b)
        return smx_err_oom(err);
    b->max = spec->max_output_bytes ? spec->max_output_bytes : SMX_EXEC_OUTPUT_DEFAULT;
    smx_buf_init(&b->out, b->max + 1 > b->max ? b->max + 1 : b->max);
    smx_buf_init(&b->errors, b->max + 1 > b->max ? b->max + 1 : b->max);
    if (spec->stdin_bytes > STDIN_IN_REQUEST)
        r = run_stream(c, id, spec, b, err);
    else
        r = run(c, id, spec, b, err);
    if (r < 0)
        smx_exec_result_free(&b->pub);
    else
        *ret_result = &b->pub;
    return r;
}

void smx_exec_result_free(struct smx_exec_result *result)
{
    struct result_box *b = SMX_CONTAINER_OF(result, struct result_box, pub);

    if (!result)
        return;
    smx_buf_done(&b->out);
    smx_buf_done(&b->errors);
    smx_free(b);
}
