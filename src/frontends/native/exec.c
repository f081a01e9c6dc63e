/* exec.c - POST /api/sandboxes/{id}/exec: runs a command to its end and answers with one JSON
 * object, or streams NDJSON lines while it runs. Back-pressure reaches the process in both: what is
 * not read here is not read from its pipes. A client that leaves stops nothing; the process goes
 * on, its output is dropped by the agent.
 *
 * Standard input longer than a pipe holds is written by a fiber of its own, since the command may
 * need its output read before it reads on. */
#include "frontends/native/exec.h"

#include <signal.h>

enum {
    STDIN_INLINE = 32 * 1024, /* what an empty pipe takes without anybody reading */
    QUIET_MS = 1000,
    GRACE_MS = 5000, /* the runtime enforces timeout_s; past this we do */
    LINE_MAX_BYTES = 512 * 1024,
};

/* All of a command, on the heap: the frames of a stream that is silent for hours stay small. */
struct run {
    struct http_exchange *x;
    struct native_exec req;
    struct native_spec spec;
    struct native_use use;
    struct smx_err err;
    struct provider_stream *stream;
    uint64_t started_ns, deadline_ns;
    uint32_t pid;
    bool killed;   /* by us, past the grace */
    bool collects; /* the reply is one object */
    const char *in;
    size_t n_in;
    struct io_fiber *feeder;
    struct io_event fed;
    struct smx_buf *idle; /* empty while the stream is quiet, given back then; NULL none */
};

/* --- standard input --------------------------------------------------------------------------- */

static void feed(void *arg)
{
    struct run *r = arg;
    int e = 0;

    if (r->n_in > 0)
        e = provider_write_stdin(
            r->use.box, r->pid, /* tty= */ false, r->in, r->n_in, SMX_FOREVER, /* err= */ NULL);
    if (e == 0) /* else it ended or closed its input: no fault of the caller */
        provider_close_stdin(r->use.box, r->pid, native_deadline(), /* err= */ NULL);
    r->feeder = NULL;
    io_event_set(&r->fed);
}

static int feed_start(struct run *r)
{
    io_event_init(&r->fed);
    if (!r->in)
        return 0;
    if (r->n_in <= STDIN_INLINE) {
        feed(r);
        return 0;
    }
    return io_fiber_spawn(http_loop(r->x), "exec stdin", feed, r, &r->feeder, &r->err);
}

/* The feeder's memory is ours: it has to be gone before we are. */
static void feed_end(struct run *r)
{
    if (!r->feeder)
        return;
    io_fiber_cancel(r->feeder);
    io_shield_begin();
    io_event_wait(&r->fed, SMX_FOREVER);
    io_shield_end();
}

/* --- events ----------------------------------------------------------------------------------- */

static int run_start(struct run *r)
{
    int e;

    r->started_ns = smx_now_ns();
    r->deadline_ns = SMX_FOREVER;
    if (r->spec.process.timeout_ms)
        r->deadline_ns = smx_deadline_in_ms(r->spec.process.timeout_ms + GRACE_MS);
    e = provider_process_start(
        r->use.box, &r->spec.process, &r->stream, native_deadline(), &r->err);
    if (e == 0)
        native_watch_client(r->x);
    return e;
}

/* Waits for the next event. A stream that was quiet for a moment gives its buffers and the unused
 * part of its stack back before it waits on. */
static int run_await(struct run *r, struct provider_event *ev)
{
    uint64_t quiet_ns = smx_deadline_in_ms(QUIET_MS);
    int e;

    if (quiet_ns >= r->deadline_ns)
        return provider_stream_next(r->stream, ev, r->deadline_ns, &r->err);
    e = provider_stream_next(r->stream, ev, quiet_ns, &r->err);
    if (e != -SMX_E_TIMEOUT)
        return e;
    if (r->idle && r->idle->len == 0)
        smx_buf_done(r->idle);
    http_trim(r->x);
    return provider_stream_next(r->stream, ev, r->deadline_ns, &r->err);
}

/* Nobody slows the output down that is collected: if it goes on past the deadline, the runtime does
 * not end it. */
static int run_await_in_time(struct run *r, struct provider_event *ev)
{
    if (r->collects && r->deadline_ns != SMX_FOREVER && smx_now_ns() >= r->deadline_ns)
        return smx_err_set(&r->err, SMX_E_TIMEOUT, "the process does not end");
    return run_await(r, ev);
}

/* Past the deadline the process is killed once; then its end is waited for. */
static int run_await_or_kill(struct run *r, struct provider_event *ev)
{
    int e = run_await_in_time(r, ev);

    if (e != -SMX_E_TIMEOUT || r->killed)
        return e;
    r->killed = true;
    r->deadline_ns = smx_deadline_in_ms(GRACE_MS);
    provider_signal(r->use.box, r->pid, SIGKILL, native_deadline(), /* err= */ NULL);
    return run_await(r, ev);
}

/* Nobody needs what was asked once it runs, but for an input that is still being written. */
static void forget_request(struct run *r)
{
    if (r->in)
        return;
    native_spec_done(&r->spec);
    json_free(&native_exec_table, &r->req);
    r->spec.process = (struct provider_process_spec){ .argv = NULL };
}

static int run_next(struct run *r, struct provider_event *ev)
{
    int e = run_await_or_kill(r, ev);

    if (e < 0)
        return e;
    if (ev->kind == PROVIDER_EVENT_START) {
        r->pid = ev->pid;
        native_log_start(r->use.sb, &r->spec, ev->pid);
        forget_request(r);
        return feed_start(r);
    }
    if (ev->kind == PROVIDER_EVENT_END) {
        ev->timed_out |= r->killed;
        native_log_end(r->use.sb, r->pid, ev);
    }
    return 0;
}

static void run_end(struct run *r)
{
    feed_end(r);
    provider_stream_close(smx_take(&r->stream));
    native_unwatch_client(r->x);
}

static uint64_t run_ms(const struct run *r)
{
    return (smx_now_ns() - r->started_ns) / SMX_NS_PER_MS;
}

/* --- one JSON object -------------------------------------------------------------------------- */

struct collected {
    struct smx_buf out, err;
    size_t max;
    bool truncated;
    struct provider_event end;
};

static int collect(struct collected *c, struct smx_buf *b, const char *data, size_t n)
{
    size_t room = c->max - b->len;

    if (n > room) {
        c->truncated = true;
        n = room;
    }
    return smx_buf_append(b, data, n);
}

static int collect_event(struct collected *c, const struct provider_event *ev)
{
    switch (ev->kind) {
    case PROVIDER_EVENT_START:
        return 0;
    case PROVIDER_EVENT_STDOUT:
    case PROVIDER_EVENT_PTY:
        return collect(c, &c->out, ev->data, ev->n);
    case PROVIDER_EVENT_STDERR:
        return collect(c, &c->err, ev->data, ev->n);
    case PROVIDER_EVENT_END:
        c->end = *ev;
        if (ev->error && c->err.len == 0) {
            collect(c, &c->err, ev->error, strlen(ev->error));
            collect(c, &c->err, "\n", 1);
        }
        c->end.error = NULL;
        return 0;
    }
    return -SMX_E_INTERNAL;
}

static SMX_NOINLINE void reply_result(struct run *r, struct collected *c)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 6 * (c->out.len + c->err.len) + 4096); /* a control byte takes six */
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_i64(&w, "exit_code", c->end.exit_code);
    json_key(&w, "signal");
    if (c->end.signal)
        json_i64(&w, c->end.signal);
    else
        json_null(&w);
    native_kv_bytes(&w, "stdout", "stdout_b64", &c->out);
    native_kv_bytes(&w, "stderr", "stderr_b64", &c->err);
    json_kv_u64(&w, "duration_ms", run_ms(r));
    json_kv_bool(&w, "truncated", c->truncated);
    json_kv_bool(&w, "timed_out", c->end.timed_out);
    json_object_end(&w);
    native_reply_json(r->x, 200, &w);
    smx_buf_done(&out);
}

static int run_collect(struct run *r, struct collected *c)
{
    struct provider_event ev = { 0 };
    int e = run_start(r);

    while (e == 0 && ev.kind != PROVIDER_EVENT_END) {
        e = run_next(r, &ev);
        if (e == 0 && collect_event(c, &ev) < 0)
            e = smx_err_oom(&r->err);
    }
    return e;
}

static void answer_json(struct run *r)
{
    size_t max =
        r->req.max_output_bytes ? (size_t)r->req.max_output_bytes : SMX_EXEC_OUTPUT_DEFAULT;
    struct collected c = { .max = max };
    int e;

    smx_buf_init(&c.out, max);
    smx_buf_init(&c.err, max);
    r->collects = true;
    e = run_collect(r, &c);
    run_end(r);
    if (e < 0)
        native_fail(r->x, &r->err);
    else
        reply_result(r, &c);
    smx_buf_done(&c.out);
    smx_buf_done(&c.err);
}

/* --- NDJSON ----------------------------------------------------------------------------------- */

struct lines {
    struct native_text out, err;
    struct smx_buf line;
};

static void line_exit(struct run *r, struct smx_buf *b, const struct provider_event *ev)
{
    struct native_exec_exit exit = { .exit_code = ev->exit_code,
        .signal = ev->signal,
        .has_signal = ev->signal != 0,
        .duration_ms = run_ms(r),
        .timed_out = ev->timed_out };
    struct native_exec_event line = { .exit = &exit };

    json_encode_to(b, &native_exec_event_table, &line, /* err= */ NULL);
    smx_buf_append_char(b, '\n');
}

static int lines_end(struct run *r, struct lines *l, const struct provider_event *ev)
{
    int e = native_text_line(&l->out, "stdout", "", 0, /* end= */ true, &l->line, &r->err);

    if (e == 0)
        e = native_text_line(&l->err, "stderr", ev->error ? ev->error : "",
            ev->error ? strlen(ev->error) : 0, /* end= */ true, &l->line, &r->err);
    if (e == 0)
        line_exit(r, &l->line, ev);
    return e;
}

static SMX_NOINLINE int lines_of(struct run *r, struct lines *l, const struct provider_event *ev)
{
    struct native_exec_start start = { .pid = ev->pid };
    struct native_exec_event line = { .start = &start };

    switch (ev->kind) {
    case PROVIDER_EVENT_START:
        json_encode_to(&l->line, &native_exec_event_table, &line, /* err= */ NULL);
        return smx_buf_append_char(&l->line, '\n');
    case PROVIDER_EVENT_STDOUT:
    case PROVIDER_EVENT_PTY:
        return native_text_line(&l->out, "stdout", ev->data, ev->n, false, &l->line, &r->err);
    case PROVIDER_EVENT_STDERR:
        return native_text_line(&l->err, "stderr", ev->data, ev->n, false, &l->line, &r->err);
    case PROVIDER_EVENT_END:
        return lines_end(r, l, ev);
    }
    return -SMX_E_INTERNAL;
}

/* Several events that are there already go out in one write. */
static bool more_is_buffered(struct run *r, const struct lines *l)
{
    bool buffered = false;

    provider_stream_fd(r->stream, &buffered);
    return buffered && l->line.len < LINE_MAX_BYTES / 4;
}

static int send_lines(struct run *r, struct lines *l)
{
    int e = 0;

    if (!http_started(r->x))
        e = http_start(r->x, 200, NATIVE_NDJSON, HTTP_CHUNKED);
    if (e == 0)
        e = http_write(r->x, l->line.data, l->line.len);
    smx_buf_reset(&l->line);
    return e;
}

static int run_lines(struct run *r, struct lines *l)
{
    struct provider_event ev = { 0 };
    int e = run_start(r);

    while (e == 0 && ev.kind != PROVIDER_EVENT_END) {
        e = run_next(r, &ev);
        if (e == 0)
            e = lines_of(r, l, &ev);
        if (e == 0 && (ev.kind == PROVIDER_EVENT_END || !more_is_buffered(r, l)))
            e = send_lines(r, l);
    }
    return e;
}

/* What goes wrong behind the 200 is the last line. */
static SMX_NOINLINE void fail_lines(struct run *r, struct lines *l)
{
    struct native_exec_event line = { 0 };
    struct native_problem problem;
    char type[96];

    if (!http_started(r->x)) {
        native_fail(r->x, &r->err);
        return;
    }
    native_problem_fill(r->x, &r->err, &problem, type);
    line.error = &problem;
    smx_buf_reset(&l->line);
    json_encode_to(&l->line, &native_exec_event_table, &line, /* err= */ NULL);
    smx_buf_append_char(&l->line, '\n');
    if (http_write(r->x, l->line.data, l->line.len) == 0)
        http_finish(r->x);
}

static void answer_lines(struct run *r)
{
    struct lines l = { 0 };
    int e;

    smx_buf_init(&l.line, 8 * LINE_MAX_BYTES);
    r->idle = &l.line;
    e = run_lines(r, &l);
    run_end(r);
    if (e < 0)
        fail_lines(r, &l);
    else
        http_finish(r->x);
    smx_buf_done(&l.line);
}

/* --- request ---------------------------------------------------------------------------------- */

static int take_stdin(struct run *r)
{
    if (r->req.stdin_text && r->req.stdin_b64.data)
        return smx_err_set(
            &r->err, SMX_E_INVALID, "stdin_b64: cannot be combined with stdin; send one of them");
    if (r->req.stdin_text) {
        r->in = r->req.stdin_text;
        r->n_in = strlen(r->req.stdin_text);
    } else if (r->req.stdin_b64.data) {
        r->in = (const char *)r->req.stdin_b64.data;
        r->n_in = r->req.stdin_b64.n;
    }
    r->spec.process.stdin_open = r->in;
    return 0;
}

static int read_request(struct run *r, const struct http_params *params, struct frontend *fe)
{
    int e = dialect_body(r->x, &native_exec_table, SMX_JSON_MAX, &r->req, NULL, &r->err);

    if (e == 0)
        e = native_spec_make(&r->spec, r->req.command, &r->req.env, r->req.timeout_s, &r->err);
    if (e == 0)
        e = take_stdin(r);
    r->spec.process.cwd = r->req.cwd;
    r->spec.process.user = r->req.user;
    return e < 0 ? e : native_use_begin(fe, r->x, params, &r->use, &r->err);
}

static bool wants_lines(const struct http_exchange *x)
{
    return h1_has_token(http_head(x), "Accept", NATIVE_NDJSON);
}

static void run_free(struct run *r)
{
    native_use_end(&r->use);
    native_spec_done(&r->spec);
    json_free(&native_exec_table, &r->req);
    smx_free(r);
}

void native_exec_post(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct run *r = smx_alloc(sizeof *r);

    if (!r) {
        native_fail_memory(x);
        return;
    }
    r->x = x;
    if (read_request(r, params, ctx) < 0)
        native_fail(x, &r->err);
    else if (wants_lines(x))
        answer_lines(r);
    else
        answer_json(r);
    run_free(r);
}
