/* session_logs.c - the output of a session's command: all there is as one JSON object, or with
 * follow=1 NDJSON lines as those of exec, until it has ended. */
#include "frontends/native/exec.h"

struct follow {
    struct http_exchange *x;
    struct session_command *cmd;
    struct native_text text[2];
    uint64_t at;
    struct smx_buf line;
    struct smx_err err;
};

static int send_piece(struct follow *f, enum session_stream stream, struct smx_view v, bool end)
{
    int r = native_text_line(&f->text[stream - 1], stream == SESSION_STDOUT ? "stdout" : "stderr",
        v.p ? v.p : "", v.n, end, &f->line, &f->err);

    if (r == 0 && f->line.len > 0)
        r = http_write(f->x, f->line.data, f->line.len);
    smx_buf_reset(&f->line);
    return r;
}

/* The log moves while a write waits: a piece is sent from a copy. */
static int send_new(struct follow *f)
{
    enum session_stream stream;
    struct smx_view v;
    int r = 0;

    while (r == 0 && session_log_next(&f->cmd->log, &f->at, &stream, &v)) {
        uint64_t over = v.n > NATIVE_CHUNK ? v.n - NATIVE_CHUNK : 0;

        f->at -= over;
        v.n -= over;
        r = send_piece(f, stream, v, /* end= */ false);
    }
    return r;
}

static int send_start(struct follow *f)
{
    struct native_exec_start start = { .cmd_id = f->cmd->id };
    struct native_exec_event line = { .start = &start };
    int r = json_encode_to(&f->line, &native_exec_event_table, &line, &f->err);

    smx_buf_append_char(&f->line, '\n');
    if (r == 0)
        r = http_write(f->x, f->line.data, f->line.len);
    smx_buf_reset(&f->line);
    return r;
}

static int send_end(struct follow *f)
{
    struct native_exec_exit exit = { .exit_code = f->cmd->exit_code,
        .timed_out = f->cmd->timed_out };
    struct native_exec_event line = { .exit = &exit };
    int r = send_piece(f, SESSION_STDOUT, SMX_VIEW(""), /* end= */ true);

    if (r == 0)
        r = send_piece(f, SESSION_STDERR, SMX_VIEW(""), /* end= */ true);
    if (r < 0)
        return r;
    if (f->cmd->lost)
        exit.exit_code = -1;
    json_encode_to(&f->line, &native_exec_event_table, &line, &f->err);
    smx_buf_append_char(&f->line, '\n');
    return http_write(f->x, f->line.data, f->line.len);
}

void native_session_follow(
    struct frontend *fe, struct http_exchange *x, struct session_command *cmd)
{
    struct follow f = { .x = x, .cmd = cmd };
    struct frontend_endless endless;
    int r = http_start(x, 200, NATIVE_NDJSON, HTTP_CHUNKED);

    smx_buf_init(&f.line, 8 * NATIVE_CHUNK);
    native_endless_begin(fe, x, &endless);
    if (r == 0)
        r = send_start(&f);
    while (r == 0) {
        r = send_new(&f);
        if (r < 0 || cmd->ended)
            break;
        http_trim(x);
        r = io_event_wait(&cmd->pulse, SMX_FOREVER);
    }
    if (r == 0)
        r = send_end(&f);
    native_endless_end(x, &endless);
    if (r == 0)
        http_finish(x);
    else
        http_abort(x);
    smx_buf_done(&f.line);
}

void native_session_logs(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(session_command_unrefp) struct session_command *cmd = NULL;
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };
    bool wants_follow = false;
    int r = http_query_bool(x, "follow", &wants_follow, &err);

    if (r >= 0)
        r = native_session_command(ctx, x, params, &sb, &cmd, &err);
    if (r < 0)
        native_fail(x, &err);
    else if (wants_follow)
        native_session_follow(ctx, x, cmd);
    else
        native_session_result_send(x, cmd);
}
