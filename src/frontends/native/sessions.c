/* sessions.c - shell sessions: create, list, run a command, input, signal. What a session is stands
 * in compose/session.h. */
#include "frontends/native/internal.h"

#include <signal.h>

enum { RESULT_MAX = 6 * 4 * SESSION_LOG_MAX }; /* a control byte takes six */

/* --- create, list, delete --------------------------------------------------------------------- */

void native_session_post(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend *fe = ctx;
    struct native_session_create req;
    struct native_session reply = { 0 };
    struct smx_err err = { 0 };
    bool created = false;
    int r = dialect_body(x, &native_session_create_table, SMX_HTTP_JSON_BODY_MAX, &req, NULL, &err);

    if (r == 0)
        r = native_find(fe, x, params, &sb, &err);
    if (r == 0) {
        struct session_spec spec = { req.id, req.user, req.cwd, req.shell };

        r = session_create(fe->compose, sb, &spec, &created, &err);
    }
    reply.id = req.id;
    if (r < 0)
        native_fail(x, &err);
    else
        native_reply(x, created ? 201 : 200, &native_session_table, &reply);
    json_free(&native_session_create_table, &req);
}

static void write_id(const char *id, void *writer)
{
    json_string(writer, id);
}

void native_session_list_get(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend *fe = ctx;
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;
    int r = native_find(fe, x, params, &sb, &err);

    smx_buf_init(&out, SMX_JSON_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "sessions");
    json_array_begin(&w);
    if (r == 0)
        r = session_each(fe->compose, sb, write_id, &w, &err);
    json_array_end(&w);
    json_object_end(&w);
    if (r < 0)
        native_fail(x, &err);
    else
        native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

static char status_running[] = "running", status_ended[] = "ended", status_lost[] = "lost";

static char *status_of(const struct session_command *cmd)
{
    if (!cmd->ended)
        return status_running;
    return cmd->lost ? status_lost : status_ended;
}

static void write_command(const struct session_command *cmd, void *writer)
{
    struct native_session_command n = { .command = cmd->text,
        .status = status_of(cmd),
        .exit_code = cmd->exit_code,
        .has_exit_code = cmd->ended && !cmd->lost,
        .async = cmd->async,
        .timed_out = cmd->timed_out };
    char id[SESSION_COMMAND_ID_SIZE];

    smx_strcpy(id, sizeof id, cmd->id);
    n.id = id;
    json_encode(writer, &native_session_command_table, &n);
}

void native_session_get(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend *fe = ctx;
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;
    int r = native_find(fe, x, params, &sb, &err);

    smx_buf_init(&out, 2 * SESSION_COMMANDS_MAX * SMX_ARGS_BYTES_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_string(&w, "id", params->v[1]);
    json_key(&w, "commands");
    json_array_begin(&w);
    if (r == 0)
        r = session_each_command(fe->compose, sb, params->v[1], write_command, &w, &err);
    json_array_end(&w);
    json_object_end(&w);
    if (r < 0)
        native_fail(x, &err);
    else
        native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

void native_session_remove(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend *fe = ctx;
    struct smx_err err = { 0 };
    int r = native_find(fe, x, params, &sb, &err);

    if (r == 0)
        r = session_delete(fe->compose, sb, params->v[1], &err);
    if (r < 0)
        native_fail(x, &err);
    else
        dialect_no_content(x);
}

/* --- commands --------------------------------------------------------------------------------- */

static int write_stream(struct json_writer *w, const struct session_log *l, unsigned stream,
    const char *key, const char *key_b64)
{
    struct smx_buf bytes;
    int r;

    smx_buf_init(&bytes, SESSION_LOG_MAX);
    r = session_log_read(l, stream, &bytes);
    if (r == 0)
        native_kv_bytes(w, key, key_b64, &bytes);
    smx_buf_done(&bytes);
    return r;
}

void native_session_result_send(struct http_exchange *x, const struct session_command *cmd)
{
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;
    int r;

    smx_buf_init(&out, RESULT_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_string(&w, "cmd_id", cmd->id);
    json_kv_string(&w, "status", status_of(cmd));
    json_key(&w, "exit_code");
    if (cmd->ended && !cmd->lost)
        json_i64(&w, cmd->exit_code);
    else
        json_null(&w);
    r = write_stream(&w, &cmd->log, SESSION_STDOUT, "stdout", "stdout_b64");
    if (r == 0)
        r = write_stream(&w, &cmd->log, SESSION_STDERR, "stderr", "stderr_b64");
    if (r == 0)
        r = write_stream(&w, &cmd->log, 0, "output", "output_b64");
    json_kv_bool(&w, "truncated", cmd->log.dropped > 0);
    json_kv_bool(&w, "timed_out", cmd->timed_out);
    json_object_end(&w);
    if (r < 0) {
        smx_err_oom(&err);
        native_fail(x, &err);
    } else {
        native_reply_json(x, 200, &w);
    }
    smx_buf_done(&out);
}

static int spec_of(
    const struct native_session_exec *req, struct session_exec *ret, struct smx_err *err)
{
    if (!req->command[strspn(req->command, " \t\n")])
        return smx_err_set(err, SMX_E_INVALID, "command: must not be blank");
    *ret = (struct session_exec){ .command = req->command,
        .cwd = req->cwd && *req->cwd ? req->cwd : NULL,
        .async = req->async,
        .timeout_ms = (uint64_t)(req->timeout_s * 1000.0 + 0.5) };
    if (req->timeout_s > 0 && ret->timeout_ms == 0)
        ret->timeout_ms = 1;
    return 0;
}

void native_session_exec_post(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(session_command_unrefp) struct session_command *cmd = NULL;
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend *fe = ctx;
    struct native_session_exec req;
    struct session_exec spec;
    struct smx_err err = { 0 };
    bool lines = h1_has_token(http_head(x), "Accept", NATIVE_NDJSON);
    int r = dialect_body(x, &native_session_exec_table, SMX_HTTP_JSON_BODY_MAX, &req, NULL, &err);

    if (r == 0)
        r = spec_of(&req, &spec, &err);
    if (r == 0)
        r = native_find(fe, x, params, &sb, &err);
    if (r == 0) {
        spec.no_wait = lines;
        native_watch_client(x);
        r = session_exec(fe->compose, sb, params->v[1], &spec, &cmd, &err);
        native_unwatch_client(x);
    }
    if (r < 0)
        native_fail(x, &err);
    else if (lines)
        native_session_follow(fe, x, cmd);
    else
        native_session_result_send(x, cmd);
    json_free(&native_session_exec_table, &req);
}

int native_session_command(struct frontend *fe, struct http_exchange *x,
    const struct http_params *params, struct sandbox **ret_sb, struct session_command **ret,
    struct smx_err *err)
{
    int r = native_find(fe, x, params, ret_sb, err);

    if (r == 0)
        r = session_command_get(fe->compose, *ret_sb, params->v[1], params->v[2], ret, err);
    return r;
}

static int input_of(
    const struct native_session_input *req, const void **ret, size_t *ret_n, struct smx_err *err)
{
    if (req->data && req->data_b64.data)
        return smx_err_set(
            err, SMX_E_INVALID, "data_b64: cannot be combined with data; send one of them");
    *ret = req->data ? (const void *)req->data : req->data_b64.data;
    *ret_n = req->data ? strlen(req->data) : req->data_b64.n;
    return 0;
}

void native_session_input_post(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(session_command_unrefp) struct session_command *cmd = NULL;
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend *fe = ctx;
    struct native_session_input req;
    struct smx_err err = { 0 };
    const void *data = NULL;
    size_t n = 0;
    int r = dialect_body(x, &native_session_input_table, SMX_JSON_MAX, &req, NULL, &err);

    if (r == 0)
        r = input_of(&req, &data, &n, &err);
    if (r == 0)
        r = native_session_command(fe, x, params, &sb, &cmd, &err);
    if (r == 0)
        r = session_command_input(sb, cmd, data, n, req.eof, &err);
    if (r < 0)
        native_fail(x, &err);
    else
        dialect_no_content(x);
    json_free(&native_session_input_table, &req);
}

void native_session_signal(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(session_command_unrefp) struct session_command *cmd = NULL;
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };
    int signo = 0, r = native_query_signal(x, &signo, &err);

    if (r == 0)
        r = native_session_command(ctx, x, params, &sb, &cmd, &err);
    if (r == 0)
        r = session_command_signal(sb, cmd, signo, &err);
    if (r < 0)
        native_fail(x, &err);
    else
        dialect_no_content(x);
}
