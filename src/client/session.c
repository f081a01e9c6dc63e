/* session.c - shell sessions. */
#include "client/internal.h"

#include "sandmux/session.h"

#define ROOT "/api/sandboxes"

enum { END_MS = 10000 };

/* --- paths and bodies --------------------------------------------------------------------------
 */

/* ROOT/sandbox/sessions[/session[/commands/command]][suffix] */
static int session_path(struct smx_buf *out, const char *sandbox, const char *session,
    const char *command, const char *suffix, struct smx_err *err)
{
    int r;

    smx_buf_init(out, SMX_HTTP_HEAD_MAX);
    r = call_path(out, ROOT, sandbox, "/sessions", err);
    if (r == 0 && session)
        r = call_path(out, "", session, command ? "/commands" : suffix, err);
    if (r == 0 && command)
        r = call_path(out, "", command, suffix, err);
    return r;
}

static void kv_optional(struct json_writer *w, const char *key, const char *value)
{
    if (value)
        json_kv_string(w, key, value);
}

/* Sends a body to a path and reads the reply; both are freed. r: how they were made. */
static int exchange(struct smx_client *c, struct call *call, struct smx_buf *path,
    struct smx_buf *body, int r, const struct json_table *table, void *ret, char **ret_json,
    struct smx_err *err)
{
    call->path = path->data;
    call->body = body ? body->data : NULL;
    call->n = body ? body->len : 0;
    if (r == 0)
        r = call_json(c, call, table, ret, ret_json, err);
    smx_buf_done(path);
    if (body)
        smx_buf_done(body);
    return r;
}

/* --- sessions ----------------------------------------------------------------------------------
 */

static int check_spec(const struct smx_session_spec *spec, struct smx_err *err)
{
    int r = text_check("id", spec->id, err);

    if (r == 0)
        r = text_check("user", spec->user, err);
    return r < 0 ? r : text_check("cwd", spec->cwd, err);
}

static int write_spec(struct smx_buf *out, const struct smx_session_spec *spec, struct smx_err *err)
{
    struct json_writer w;

    smx_buf_init(out, SMX_HTTP_JSON_BODY_MAX);
    json_writer_init(&w, out);
    json_object_begin(&w);
    kv_optional(&w, "id", spec->id);
    kv_optional(&w, "user", spec->user);
    kv_optional(&w, "cwd", spec->cwd);
    kv_optional(&w, "shell", spec->shell);
    json_object_end(&w);
    return json_writer_end(&w, err);
}

/* The status tells 201 from 200. */
static int post_create(struct smx_client *c, const char *path, const struct smx_buf *body,
    int *ret_created, struct smx_err *err)
{
    struct call call = { .method = "POST", .path = path, .body = body->data, .n = body->len };
    struct conn *conn = NULL;
    struct smx_buf reply;
    int r = call_open(c, &call, &conn, err);

    if (r < 0)
        return r;
    if (ret_created)
        *ret_created = conn->status == 201;
    smx_buf_init(&reply, SMX_HTTP_JSON_BODY_MAX);
    r = conn_body_all(conn, &reply, err);
    smx_buf_done(&reply);
    client_give(c, conn);
    return r;
}

int smx_session_create(struct smx_client *c, const char *sandbox,
    const struct smx_session_spec *spec, int *ret_created, struct smx_err *err)
{
    struct smx_buf path, body;
    int r = check_spec(spec, err);

    if (r < 0)
        return r;
    r = session_path(&path, sandbox, /* session= */ NULL, /* command= */ NULL, NULL, err);
    if (r == 0)
        r = write_spec(&body, spec, err);
    else
        smx_buf_init(&body, 0);
    if (r == 0)
        r = post_create(c, path.data, &body, ret_created, err);
    smx_buf_done(&path);
    smx_buf_done(&body);
    return r;
}

int smx_session_delete(
    struct smx_client *c, const char *sandbox, const char *session, struct smx_err *err)
{
    struct call call = { .method = "DELETE" };
    struct smx_buf path;
    int r = session_path(&path, sandbox, session, /* command= */ NULL, /* suffix= */ NULL, err);

    return exchange(c, &call, &path, /* body= */ NULL, r, NULL, NULL, NULL, err);
}

int smx_session_list(struct smx_client *c, const char *sandbox, const char *session,
    char **ret_json, struct smx_err *err)
{
    struct call call = { .method = "GET" };
    struct smx_buf path;
    int r = session_path(&path, sandbox, session, /* command= */ NULL, /* suffix= */ NULL, err);

    return exchange(c, &call, &path, /* body= */ NULL, r, NULL, NULL, ret_json, err);
}

void smx_session_json_free(char *json)
{
    smx_free(json);
}

/* --- results -----------------------------------------------------------------------------------
 */

struct result_box {
    struct smx_session_result pub;
    struct native_session_result wire;
    char *json;
};

static void give_bytes(
    const char **ret, size_t *ret_n, const char *text, const struct json_bytes *bytes)
{
    *ret = text ? text : bytes->data ? (const char *)bytes->data : "";
    *ret_n = text ? strlen(text) : bytes->n;
}

static void face(struct result_box *b)
{
    const struct native_session_result *w = &b->wire;
    struct smx_session_result *p = &b->pub;

    *p = (struct smx_session_result){ .cmd_id = w->cmd_id,
        .status = w->status ? w->status : "",
        .exit_code = w->has_exit_code ? (int)w->exit_code : -1,
        .timed_out = w->timed_out,
        .truncated = w->truncated,
        .json = b->json };
    give_bytes(&p->stdout_data, &p->stdout_bytes, w->stdout_text, &w->stdout_b64);
    give_bytes(&p->stderr_data, &p->stderr_bytes, w->stderr_text, &w->stderr_b64);
    give_bytes(&p->output, &p->output_bytes, w->output_text, &w->output_b64);
}

void smx_session_result_free(struct smx_session_result *result)
{
    struct result_box *b = SMX_CONTAINER_OF(result, struct result_box, pub);

    if (!result)
        return;
    json_free(&native_session_result_table, &b->wire);
    smx_free(b->json);
    smx_free(b);
}

/* Frees path and body. */
static int result_of(struct smx_client *c, struct call *call, struct smx_buf *path,
    struct smx_buf *body, int r, struct smx_session_result **ret, struct smx_err *err)
{
    struct result_box *b = smx_alloc(sizeof *b);

    if (!b)
        r = smx_err_oom(err);
    r = exchange(c, call, path, body, r, &native_session_result_table, b ? &b->wire : NULL,
        b ? &b->json : NULL, err);
    if (r < 0) {
        smx_session_result_free(b ? &b->pub : NULL);
        return r;
    }
    face(b);
    *ret = &b->pub;
    return 0;
}

static int write_exec(struct smx_buf *out, const struct smx_session_exec *spec, struct smx_err *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    kv_optional(&w, "command", spec->command);
    kv_optional(&w, "cwd", spec->cwd);
    json_kv_bool(&w, "async", spec->async);
    if (spec->timeout_ms) {
        json_key(&w, "timeout_s");
        json_double(&w, (double)spec->timeout_ms / 1000.0);
    }
    json_object_end(&w);
    return json_writer_end(&w, err);
}

static int check_exec(const struct smx_session_exec *spec, struct smx_err *err)
{
    int r = text_check("command", spec->command, err);

    return r < 0 ? r : text_check("cwd", spec->cwd, err);
}

static int exec_at_once(struct smx_client *c, const char *sandbox, const char *session,
    const struct smx_session_exec *spec, struct smx_session_result **ret, struct smx_err *err)
{
    struct call call = { .method = "POST" };
    struct smx_buf path, body;
    int r = check_exec(spec, err);

    if (r < 0)
        return r;
    if (!spec->async)
        call.timeout_ms = spec->timeout_ms ? c->timeout_ms + spec->timeout_ms : UINT64_MAX;
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    r = session_path(&path, sandbox, session, /* command= */ NULL, "/exec", err);
    if (r == 0)
        r = write_exec(&body, spec, err);
    return result_of(c, &call, &path, &body, r, ret, err);
}

int smx_session_logs(struct smx_client *c, const char *sandbox, const char *session,
    const char *command, struct smx_session_result **ret, struct smx_err *err)
{
    struct call call = { .method = "GET" };
    struct smx_buf path;
    int r = session_path(&path, sandbox, session, command, "/logs", err);

    return result_of(c, &call, &path, /* body= */ NULL, r, ret, err);
}

/* --- follow and input --------------------------------------------------------------------------
 */

struct follower {
    smx_session_fn *fn;
    void *arg;
    int exit_code;
    char *cmd_id; /* once it is known */
    struct client_linger linger;
};

static int give(struct follower *f, int stream, const char *text, const struct json_bytes *bytes)
{
    const char *data;
    size_t n;

    if (!text && !bytes->data)
        return 0;
    give_bytes(&data, &n, text, bytes);
    return f->fn(stream, data, n, f->arg);
}

static int follow_line(char *line, size_t n, void *arg, struct smx_err *err)
{
    struct native_exec_event ev;
    struct follower *f = arg;
    int r = json_decode(&native_exec_event_table, line, n, &ev, err);

    if (r < 0)
        return r;
    if (ev.error)
        r = problem_error(ev.error, err);
    else if (ev.start && ev.start->cmd_id && !f->cmd_id) {
        f->cmd_id = smx_take(&ev.start->cmd_id);
        r = client_linger_known(&f->linger, err);
    } else if (ev.exit)
        f->exit_code = (int)ev.exit->exit_code;
    else
        r = give(f, 1, ev.stdout_text, &ev.stdout_b64);
    if (r == 0 && !ev.error && !ev.exit)
        r = give(f, 2, ev.stderr_text, &ev.stderr_b64);
    json_free(&native_exec_event_table, &ev);
    return r;
}

/* Frees the path. */
static int follow(struct smx_client *c, struct call *call, struct smx_buf *path, int r,
    struct follower *f, int *ret_exit_code, struct smx_err *err)
{
    struct conn *conn = NULL;

    call->path = path->data;
    call->accept = NATIVE_NDJSON;
    if (r == 0)
        r = call_open(c, call, &conn, err);
    if (r == 0)
        r = call_lines(conn, follow_line, f, err);
    client_give(c, conn);
    smx_buf_done(path);
    if (r == 0 && ret_exit_code)
        *ret_exit_code = f->exit_code;
    return r < 0 ? r : 0;
}

int smx_session_follow(struct smx_client *c, const char *sandbox, const char *session,
    const char *command, smx_session_fn *fn, void *arg, int *ret_exit_code, struct smx_err *err)
{
    struct call call = { .method = "GET", .timeout_ms = UINT64_MAX };
    struct follower f = { .fn = fn, .arg = arg, .exit_code = -1 };
    struct smx_buf path;
    int r = session_path(&path, sandbox, session, command, "/logs", err);

    call_query(&path, "follow", "1");
    r = follow(c, &call, &path, r, &f, ret_exit_code, err);
    smx_free(f.cmd_id);
    return r;
}

/* Whoever gave up waiting does not want the command either: it would hold up the session. */
static void end_command(
    struct smx_client *c, const char *sandbox, const char *session, const char *command)
{
    struct call call = { .method = "DELETE", .timeout_ms = END_MS, .interrupt = &client_never };
    struct smx_buf path;

    if (session_path(&path, sandbox, session, command, /* suffix= */ NULL, /* err= */ NULL) == 0) {
        call.path = path.data;
        call_json(c, &call, /* table= */ NULL, /* ret= */ NULL, /* ret_json= */ NULL, NULL);
    }
    smx_buf_done(&path);
}

/* Leaves the command's id in @f. */
static int run_followed(struct smx_client *c, const char *sandbox, const char *session,
    const struct smx_session_exec *spec, struct follower *f, int *ret_exit_code,
    struct smx_err *err)
{
    struct client_interrupt interrupt = client_linger(&f->linger, &c->interrupt);
    struct call call = { .method = "POST", .timeout_ms = UINT64_MAX, .interrupt = &interrupt };
    struct smx_buf path, body;
    int r = check_exec(spec, err);

    if (r < 0)
        return r;
    if (spec->timeout_ms)
        call.timeout_ms = spec->timeout_ms + c->timeout_ms;
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    r = session_path(&path, sandbox, session, /* command= */ NULL, "/exec", err);
    if (r == 0)
        r = write_exec(&body, spec, err);
    call.body = body.data;
    call.n = body.len;
    r = follow(c, &call, &path, r, f, ret_exit_code, err);
    if (r == -SMX_E_CANCELLED && f->cmd_id)
        end_command(c, sandbox, session, f->cmd_id);
    smx_buf_done(&body);
    return r;
}

int smx_session_run(struct smx_client *c, const char *sandbox, const char *session,
    const struct smx_session_exec *spec, smx_session_fn *fn, void *arg, int *ret_exit_code,
    struct smx_err *err)
{
    struct follower f = { .fn = fn, .arg = arg, .exit_code = -1 };
    int r = run_followed(c, sandbox, session, spec, &f, ret_exit_code, err);

    smx_free(f.cmd_id);
    return r;
}

static int pass_over(int stream, const void *data, size_t n, void *arg)
{
    (void)stream, (void)data, (void)n, (void)arg;
    return 0;
}

/* Knows the command's id while it runs; the result is asked for when it has ended. */
static int exec_interruptible(struct smx_client *c, const char *sandbox, const char *session,
    const struct smx_session_exec *spec, struct smx_session_result **ret, struct smx_err *err)
{
    struct follower f = { .fn = pass_over, .exit_code = -1 };
    int r = run_followed(c, sandbox, session, spec, &f, /* ret_exit_code= */ NULL, err);

    if (r == 0 && !f.cmd_id)
        r = smx_err_set(err, SMX_E_PROTOCOL, "the daemon did not say which command it was");
    if (r == 0)
        r = smx_session_logs(c, sandbox, session, f.cmd_id, ret, err);
    smx_free(f.cmd_id);
    return r;
}

int smx_session_exec(struct smx_client *c, const char *sandbox, const char *session,
    const struct smx_session_exec *spec, struct smx_session_result **ret, struct smx_err *err)
{
    return spec->end_on_cancel && !spec->async
               ? exec_interruptible(c, sandbox, session, spec, ret, err)
               : exec_at_once(c, sandbox, session, spec, ret, err);
}

int smx_session_input(struct smx_client *c, const char *sandbox, const char *session,
    const char *command, const void *data, size_t bytes, int eof, struct smx_err *err)
{
    struct call call = { .method = "POST" };
    struct smx_buf path, body;
    struct json_writer w;
    int r;

    smx_buf_init(&body, SMX_JSON_MAX);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_key(&w, "data_b64");
    json_base64(&w, data ? data : "", bytes);
    json_kv_bool(&w, "eof", eof);
    json_object_end(&w);
    r = session_path(&path, sandbox, session, command, "/input", err);
    if (r == 0)
        r = json_writer_end(&w, err);
    return exchange(c, &call, &path, &body, r, NULL, NULL, NULL, err);
}
