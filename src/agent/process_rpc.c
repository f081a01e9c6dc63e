/* process_rpc.c - process.Process but its input calls. A stream lives on the fiber of its
 * connection: it sends chunks, leads the reading when it is the first listener, and notices a
 * client that left, which ends the stream and never the process. */
#include "agent/process_rpc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/stream_clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"

enum { EVENT_MAX = 4096 };

struct stream {
    struct call *call;
    struct listener listener;
    bool starter; /* Start: the deadline is the process's, which tells */
    struct stream_clock clock;
};

/* --- events ------------------------------------------------------------------------------ */

typedef void(fill_fn)(struct json_writer *w, const struct process *p);

static void append_event(struct smx_buf *out, fill_fn *fill, const struct process *p)
{
    size_t start = rpc_begin(out, 0);
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_key(&w, "event");
    json_object_begin(&w);
    fill(&w, p);
    json_object_end(&w);
    json_object_end(&w);
    rpc_end(out, start);
}

static void fill_start(struct json_writer *w, const struct process *p)
{
    json_key(w, "start");
    json_object_begin(w);
    json_kv_u64(w, "pid", (uint64_t)p->child.pid);
    json_object_end(w);
}

static void fill_keepalive(struct json_writer *w, const struct process *p)
{
    json_key(w, "keepalive");
    json_object_begin(w);
    json_object_end(w);
}

static void fill_end(struct json_writer *w, const struct process *p)
{
    char status[PROCESS_STATUS_SIZE];
    bool exited;
    int code;

    process_status(p, status, &code, &exited);
    json_key(w, "end");
    json_object_begin(w);
    if (code != 0)
        json_kv_i64(w, "exitCode", code);
    if (exited)
        json_kv_bool(w, "exited", true);
    json_kv_string(w, "status", status);
    if (code != 0)
        json_kv_string(w, "error", status);
    json_object_end(w);
}

/* --- the stream -------------------------------------------------------------------------- */

static int begin(struct stream *s)
{
    struct smx_buf out;
    int r;

    smx_buf_init(&out, EVENT_MAX);
    append_event(&out, fill_start, s->listener.process);
    r = call_stream_begin(s->call, &out);
    smx_buf_done(&out);
    stream_clock_sent(&s->clock);
    return r;
}

static int send_keepalive(struct stream *s)
{
    struct smx_buf out;
    int r;

    smx_buf_init(&out, EVENT_MAX);
    append_event(&out, fill_keepalive, s->listener.process);
    r = out.failed ? -SMX_E_NO_MEMORY : call_stream_write(s->call, out.data, out.len);
    smx_buf_done(&out);
    stream_clock_sent(&s->clock);
    return r;
}

static void send_end(struct stream *s)
{
    struct smx_buf out;

    smx_buf_init(&out, EVENT_MAX);
    append_event(&out, fill_end, s->listener.process);
    call_stream_finish(s->call, &out, RPC_OK, /* message= */ NULL);
    smx_buf_done(&out);
}

enum step { STEP_AGAIN, STEP_WAIT, STEP_ENDED, STEP_GONE };

/* Sends what is to be sent; STEP_WAIT when there is nothing. */
static enum step send_step(struct stream *s)
{
    struct listener *l = &s->listener;
    struct process *p = l->process;
    int r;

    io_event_clear(&l->wake);
    if (l->sent != p->chunk_number) {
        r = call_stream_write(s->call, p->chunk.data, p->chunk.len);
        process_chunk_sent(l);
        stream_clock_sent(&s->clock);
        return r < 0 ? STEP_GONE : STEP_AGAIN;
    }
    if (s->starter && p->deadline_hit) {
        call_stream_end(s->call, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        return STEP_ENDED;
    }
    if (p->finished) {
        send_end(s);
        return STEP_ENDED;
    }
    return STEP_WAIT;
}

static enum step timeout_step(struct stream *s)
{
    struct process *p = s->listener.process;

    switch (stream_clock_due(&s->clock)) {
    case STREAM_DEADLINE:
        call_stream_end(s->call, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        return STEP_ENDED;
    case STREAM_KEEPALIVE:
        return send_keepalive(s) < 0 ? STEP_GONE : STEP_AGAIN;
    case STREAM_TRIM:
        http_trim(s->call->x);
        if (p->chunk_pending == 0)
            smx_buf_done(&p->chunk);
        break;
    case STREAM_NOTHING:
        break;
    }
    return STEP_AGAIN;
}

/* Waits for output (the leader), a chunk of the leader, the end, a time, or the client to leave. */
static enum step wait_step(struct stream *s)
{
    struct process *p = s->listener.process;
    struct io_wait w[4] = { { .fd = http_fd(s->call->x), .events = IO_HUP },
        { .event = &s->listener.wake } };
    size_t n = 2, outlet[4] = { 0 };
    int r;

    for (size_t i = 0; i < 2 && process_leads(&s->listener) && p->chunk_pending == 0; i++) {
        if (p->out[i].io.fd < 0)
            continue;
        w[n] = (struct io_wait){ .fd = &p->out[i].io, .events = IO_READ };
        outlet[n++] = i;
    }
    r = io_wait(w, n, stream_clock_next(&s->clock));
    if (r == -SMX_E_TIMEOUT)
        return timeout_step(s);
    if (w[0].ready)
        return STEP_GONE;
    if (r < 0)
        return io_fiber_cancelled() ? STEP_GONE : STEP_AGAIN;
    for (size_t i = 2; i < n; i++)
        if (w[i].ready && process_leads(&s->listener) && p->chunk_pending == 0 &&
            process_read(p, outlet[i], &s->call->err) < 0)
            return STEP_GONE;
    return STEP_AGAIN;
}

static void stream_run(struct stream *s)
{
    enum step step = STEP_GONE;

    smx_buf_done(&s->call->in);
    if (begin(s) == 0)
        step = STEP_AGAIN;
    while (step == STEP_AGAIN) {
        step = send_step(s);
        if (step == STEP_WAIT)
            step = wait_step(s);
    }
    if (step == STEP_GONE)
        http_abort(s->call->x);
    process_unlisten(&s->listener);
}

/* What came with the request; the reply says so when it is used. */
static struct process_passed passed_with(struct call *c)
{
    struct smx_view v = http_field(c->x, H1_DESCRIPTOR);
    bool in = v.p && smx_view_eq(v, ENVD_PASSED_STDIN);

    if (!in && !(v.p && smx_view_eq(v, ENVD_PASSED_STDOUT)))
        return (struct process_passed){ .fd = -1 };
    return (struct process_passed){ .fd = http_take_descriptor(c->x), .as = in ? 0 : 1 };
}

static enum rpc_code start_with(struct call *c, struct envd_start_request *request,
    const struct agent_user *user, struct listener *l, struct process **ret)
{
    struct process_passed passed = passed_with(c);
    bool some = passed.fd >= 0;
    int r = process_start(c->agent, request, user, &passed, l, ret, &c->err);

    if (r == 0 && some && passed.fd < 0)
        http_add_field(
            c->x, H1_DESCRIPTOR, passed.as == 0 ? ENVD_PASSED_STDIN : ENVD_PASSED_STDOUT);
    smx_close(passed.fd);
    if (r == -SMX_E_FILE_NOT_FOUND)
        return RPC_INVALID_ARGUMENT; /* the working directory */
    if (r == -SMX_E_NO_MEMORY)
        return RPC_RESOURCE_EXHAUSTED;
    return r < 0 ? call_error(c) : RPC_OK;
}

/* Decodes, finds the user and starts; on RPC_OK the listener is one. */
static enum rpc_code start(struct call *c, struct listener *l, struct process **ret)
{
    struct envd_start_request request;
    struct agent_user user;
    enum rpc_code code = call_decode(c, &envd_start_request_table, &request);

    if (code != RPC_OK)
        return code;
    code = call_user(c, &user);
    if (code != RPC_OK) {
        json_free(&envd_start_request_table, &request);
        return code;
    }
    code = start_with(c, &request, &user, l, ret);
    agent_user_done(&user);
    return code;
}

enum rpc_code process_rpc_start(struct call *c)
{
    struct stream s = { .call = c, .starter = true };
    struct process *p;
    enum rpc_code code = stream_clock_init(&s.clock, c);

    if (code == RPC_OK)
        code = start(c, &s.listener, &p);
    if (code != RPC_OK)
        return code;
    if (s.clock.deadline_ns != SMX_FOREVER) {
        (void)process_set_deadline(p, s.clock.deadline_ns); /* without memory it just has none */
        s.clock.deadline_ns = SMX_FOREVER;
    }
    process_unref(p);
    stream_run(&s);
    return RPC_OK;
}

/* --- look-up ----------------------------------------------------------------------------- */

static enum rpc_code find(struct call *c, const struct envd_selector *sel, struct process **ret)
{
    if (!sel->has_pid && !sel->tag)
        return call_fail(c, RPC_UNIMPLEMENTED, "the process must be named by pid or tag");
    *ret = process_find(c->agent, sel);
    if (*ret)
        return RPC_OK;
    if (sel->has_pid)
        return call_fail(
            c, RPC_NOT_FOUND, "process with pid %llu not found", (unsigned long long)sel->pid);
    return call_fail(c, RPC_NOT_FOUND, "process with tag %s not found", sel->tag);
}

/* As find(), but an ended process is not found either. */
static enum rpc_code find_running(
    struct call *c, const struct envd_selector *sel, struct process **ret)
{
    enum rpc_code code = find(c, sel, ret);

    if (code != RPC_OK || !(*ret)->child.exited)
        return code;
    call_fail(
        c, RPC_NOT_FOUND, "process with pid %d not found: it has ended", (int)(*ret)->child.pid);
    process_unref(*ret);
    *ret = NULL;
    return RPC_NOT_FOUND;
}

enum rpc_code process_rpc_connect(struct call *c)
{
    struct stream s = { .call = c };
    SMX_CLEANUP(process_unrefp) struct process *p = NULL;
    struct envd_connect_request request;
    enum rpc_code code = stream_clock_init(&s.clock, c);

    if (code == RPC_OK)
        code = call_decode(c, &envd_connect_request_table, &request);
    if (code != RPC_OK)
        return code;
    code = find(c, &request.process, &p);
    json_free(&envd_connect_request_table, &request);
    if (code != RPC_OK)
        return code;
    if (process_listen(p, &s.listener, &c->err) < 0)
        return RPC_RESOURCE_EXHAUSTED;
    stream_run(&s);
    return RPC_OK;
}

enum rpc_code process_rpc_list(struct call *c)
{
    struct envd_empty request;
    struct envd_list_response response = { 0 };
    struct envd_process_info *rows;
    enum rpc_code code = call_decode(c, &envd_empty_table, &request);
    int r;

    if (code != RPC_OK)
        return code;
    rows = smx_alloc_array(c->agent->processes.nrunning + 1, sizeof *rows);
    if (!rows)
        return call_fail(c, RPC_RESOURCE_EXHAUSTED, "out of memory");
    response.processes.v = rows;
    SMX_LIST_FOREACH(it, &c->agent->processes.running) {
        const struct process *p = SMX_LIST_ENTRY(it, struct process, node);

        rows[response.processes.n++] = (struct envd_process_info){
            .config = p->request.process, .pid = (uint64_t)p->child.pid, .tag = p->request.tag
        };
    }
    r = json_encode_to(&c->out, &envd_list_response_table, &response, &c->err);
    smx_free(rows); /* what the rows point to is the processes' */
    return r < 0 ? RPC_RESOURCE_EXHAUSTED : RPC_OK;
}

/* --- signals, stdin, size ---------------------------------------------------------------- */

static enum rpc_code send_signal(struct call *c, struct process *p, int signo)
{
    switch (signo) {
    case ENVD_SIGNAL_KILL:
        process_kill_tree(p);
        return RPC_OK;
    case ENVD_SIGNAL_TERM:
        if (kill(p->child.pid, SIGTERM) < 0)
            return call_fail(c, RPC_INTERNAL, "error sending signal: %s", strerror(errno));
        return RPC_OK;
    default:
        return call_fail(
            c, RPC_UNIMPLEMENTED, "the signal must be SIGNAL_SIGTERM or SIGNAL_SIGKILL");
    }
}

enum rpc_code process_rpc_send_signal(struct call *c)
{
    struct envd_send_signal_request request;
    SMX_CLEANUP(process_unrefp) struct process *p = NULL;
    enum rpc_code code = call_decode(c, &envd_send_signal_request_table, &request);

    if (code != RPC_OK)
        return code;
    code = find_running(c, &request.process, &p);
    if (code == RPC_OK)
        code = send_signal(c, p, envd_signal_parse(request.signal));
    json_free(&envd_send_signal_request_table, &request);
    return code;
}

enum rpc_code process_rpc_close_stdin(struct call *c)
{
    struct envd_close_stdin_request request;
    SMX_CLEANUP(process_unrefp) struct process *p = NULL;
    enum rpc_code code = call_decode(c, &envd_close_stdin_request_table, &request);

    if (code != RPC_OK)
        return code;
    code = find_running(c, &request.process, &p);
    json_free(&envd_close_stdin_request_table, &request);
    if (code != RPC_OK)
        return code;
    if (p->pty)
        return call_fail(c, RPC_UNKNOWN,
            "error closing stdin: a terminal has none, send it the end-of-file character");
    process_close_input(p);
    return RPC_OK;
}

enum rpc_code process_rpc_update(struct call *c)
{
    struct envd_update_request request;
    SMX_CLEANUP(process_unrefp) struct process *p = NULL;
    enum rpc_code code = call_decode(c, &envd_update_request_table, &request);

    if (code != RPC_OK)
        return code;
    code = find_running(c, &request.process, &p);
    if (code == RPC_OK && request.pty && process_resize(p, &request.pty->size, &c->err) < 0)
        code = RPC_INTERNAL;
    json_free(&envd_update_request_table, &request);
    return code;
}

/* --- input ------------------------------------------------------------------------------- */

/* Writes all of it to the stdin of the process, whose turn is ours. The client may leave. */
static enum rpc_code write_input(struct call *c, struct process *p, const struct json_bytes *b)
{
    size_t done = 0;

    while (done < b->n) {
        struct io_wait w[2] = { { .fd = &p->input_io, .events = IO_WRITE },
            { .fd = http_fd(c->x), .events = IO_HUP } };
        int r;

        if (p->input_io.fd < 0)
            return call_fail(c, RPC_INTERNAL, "error writing to stdin: it is closed");
        r = io_wait(w, 2, c->deadline_ns);
        if (p->input_io.fd < 0)
            continue;
        if (r == -SMX_E_TIMEOUT)
            return call_fail(c, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        if (r < 0 || w[1].ready)
            return call_fail(c, RPC_CANCELED, "the client left");
        r = process_write_some(p, b->data + done, b->n - done, &c->err);
        if (r < 0)
            return RPC_INTERNAL;
        done += (size_t)r;
        io_fair((size_t)r);
    }
    return RPC_OK;
}

/* Inputs do not mix: one call after the other. */
static enum rpc_code take_turn(struct call *c, struct process *p)
{
    while (p->input_busy) {
        struct io_wait w[2] = { { .event = &p->input_free },
            { .fd = http_fd(c->x), .events = IO_HUP } };

        int r = io_wait(w, 2, c->deadline_ns);

        if (r == -SMX_E_TIMEOUT)
            return call_fail(c, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        if (r < 0 || w[1].ready)
            return call_fail(c, RPC_CANCELED, "the client left");
    }
    p->input_busy = true;
    io_event_clear(&p->input_free);
    return RPC_OK;
}

static enum rpc_code put_input(struct call *c, struct process *p, const struct envd_input *input)
{
    const struct json_bytes *b = p->pty ? &input->pty_data : &input->stdin_data;
    enum rpc_code code;

    if (p->pty ? input->stdin_data.data != NULL : input->pty_data.data != NULL)
        return call_fail(c, RPC_INTERNAL,
            p->pty ? "error writing to stdin: it is a terminal"
                   : "error writing to tty: it has none");
    if (!b->data)
        return call_fail(c, RPC_UNIMPLEMENTED, "the input has neither stdin nor pty");
    if (process_open_input(p, &c->err) < 0)
        return RPC_INTERNAL;
    code = take_turn(c, p);
    if (code != RPC_OK)
        return code;
    code = write_input(c, p, b);
    p->input_busy = false;
    io_event_set(&p->input_free);
    return code;
}

enum rpc_code process_rpc_send_input(struct call *c)
{
    struct envd_send_input_request request;
    SMX_CLEANUP(process_unrefp) struct process *p = NULL;
    enum rpc_code code = call_decode(c, &envd_send_input_request_table, &request);

    if (code != RPC_OK)
        return code;
    code = find_running(c, &request.process, &p);
    if (code == RPC_OK)
        code = put_input(c, p, &request.input);
    json_free(&envd_send_input_request_table, &request);
    return code;
}

/* One message of StreamInput; *pp is NULL before the first. */
static enum rpc_code stream_message(struct call *c, struct process **pp)
{
    struct envd_stream_input_request m;
    enum rpc_code code = call_decode(c, &envd_stream_input_request_table, &m);

    if (code != RPC_OK)
        return code;
    if (m.start && *pp)
        code = call_fail(c, RPC_INVALID_ARGUMENT, "the process was named already");
    else if (m.start)
        code = find_running(c, &m.start->process, pp);
    else if (!*pp && (m.data || !m.keepalive))
        code = call_fail(c, RPC_INVALID_ARGUMENT, "the first message must name the process");
    else if (m.data)
        code = put_input(c, *pp, &m.data->input);
    json_free(&envd_stream_input_request_table, &m);
    return code;
}

/* [parks] the next envelope of the body in c->msg; RPC_OK with c->msg.p NULL at the end. *ret_used:
 * what it takes of the body. */
static enum rpc_code next_envelope(struct call *c, size_t *ret_used)
{
    struct rpc_envelope e;
    ptrdiff_t used;
    char piece[4096];
    ssize_t n;

    while ((used = rpc_parse(c->in.data, c->in.len, &e, &c->err)) == 0) {
        n = http_body_read(c->x, piece, sizeof piece, c->deadline_ns, &c->err);
        if (n == -SMX_E_TIMEOUT)
            return call_fail(c, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        if (n < 0)
            return call_error(c);
        if (n == 0 && c->in.len > 0)
            return call_fail(c, RPC_INVALID_ARGUMENT, "protocol error: a message ends early");
        if (n == 0) {
            c->msg = (struct smx_view){ NULL, 0 };
            return RPC_OK;
        }
        if (smx_buf_append(&c->in, piece, (size_t)n) < 0)
            return call_fail(c, RPC_RESOURCE_EXHAUSTED, "a message is too large");
    }
    if (used < 0)
        return RPC_INVALID_ARGUMENT;
    *ret_used = (size_t)used;
    return call_open(c, &e);
}

enum rpc_code process_rpc_stream_input(struct call *c)
{
    SMX_CLEANUP(process_unrefp) struct process *p = NULL;
    struct smx_buf out;
    enum rpc_code code;
    size_t start, used = 0;

    for (;;) {
        code = next_envelope(c, &used);
        if (code != RPC_OK || !c->msg.p)
            break;
        code = stream_message(c, &p);
        if (code != RPC_OK)
            return code;
        smx_buf_consume(&c->in, used);
    }
    if (code != RPC_OK)
        return code;
    smx_buf_init(&out, 256);
    start = rpc_begin(&out, 0);
    smx_buf_append_str(&out, "{}");
    rpc_end(&out, start);
    rpc_append_end(&out, RPC_OK, /* message= */ NULL);
    if (call_stream_begin(c, &out) == 0)
        http_finish(c->x);
    smx_buf_done(&out);
    return RPC_OK;
}
