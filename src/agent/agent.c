/* agent.c - which request goes where, and the routes that are no RPC: /health, /init, /envs. One
 * thread; handlers run on the fiber of their connection. */
#include "agent/agent.h"

#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/env.h"
#include "agent/files.h"
#include "agent/fs_rpc.h"
#include "agent/identity.h"
#include "agent/process_rpc.h"
#include "agent/tree.h"
#include "agent/watch_rpc.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"

static const struct call_route rpc_routes[] = {
    { ENVD_PROCESS_START, process_rpc_start, .stream = true, .reply = &envd_event_message_table },
    { ENVD_PROCESS_CONNECT, process_rpc_connect, .stream = true,
        .reply = &envd_event_message_table },
    { ENVD_PROCESS_LIST, process_rpc_list, .reply = &envd_list_response_table },
    { ENVD_PROCESS_SEND_INPUT, process_rpc_send_input },
    { ENVD_PROCESS_STREAM_INPUT, process_rpc_stream_input, .client_stream = true },
    { ENVD_PROCESS_SEND_SIGNAL, process_rpc_send_signal },
    { ENVD_PROCESS_CLOSE_STDIN, process_rpc_close_stdin },
    { ENVD_PROCESS_UPDATE, process_rpc_update },
    { ENVD_FS_STAT, fs_rpc_stat, .reply = &envd_entry_response_table },
    { ENVD_FS_LIST_DIR, fs_rpc_list_dir, .reply = &envd_entries_response_table },
    { ENVD_FS_MAKE_DIR, fs_rpc_make_dir, .reply = &envd_entry_response_table },
    { ENVD_FS_MOVE, fs_rpc_move, .reply = &envd_entry_response_table },
    { ENVD_FS_REMOVE, fs_rpc_remove },
    { ENVD_FS_WATCH_DIR, watch_rpc_watch_dir, .stream = true, .reply = &envd_watch_message_table },
    { ENVD_FS_CREATE_WATCHER, watch_rpc_create_watcher,
        .reply = &envd_create_watcher_response_table },
    { ENVD_FS_GET_WATCHER_EVENTS, watch_rpc_get_watcher_events,
        .reply = &envd_watcher_events_response_table },
    { ENVD_FS_REMOVE_WATCHER, watch_rpc_remove_watcher },
};

int agent_user_find(struct agent *a, const char *name, struct agent_user *ret, struct smx_err *err)
{
    if (!name || !*name)
        name = a->settings.default_user ? a->settings.default_user : "root";
    return users_find(&a->users, name, ret, err);
}

enum { TRIM_AFTER_MS = 2000, MARK_MAX = 512 };

void agent_trim(void *arg)
{
    malloc_trim(0);
}

void agent_worked(struct agent *a)
{
    if (a->trim.heap_index == SIZE_MAX)
        (void)io_timer_arm(&a->trim, a->loop, smx_deadline_in_ms(TRIM_AFTER_MS)); /* or next time */
}

static void reply_empty(struct http_exchange *x, int status)
{
    http_reply(x, status, /* content_type= */ NULL, "", 0);
}

static void reply_message(
    struct http_exchange *x, int status, const struct json_table *table, const void *message)
{
    struct smx_buf out;

    smx_buf_init(&out, SMX_HTTP_JSON_BODY_MAX);
    if (json_encode_to(&out, table, message, /* err= */ NULL) < 0)
        reply_empty(x, 500);
    else
        http_reply(x, status, "application/json", out.data, out.len);
    smx_buf_done(&out);
}

static void handle_health(struct agent *a, struct http_exchange *x)
{
    http_add_field(x, "Cache-Control", "no-store");
    reply_empty(x, 204);
}

/* What is set in the request replaces what was set before. */
static void apply_settings(struct envd_init_request *now, struct envd_init_request *request)
{
    struct envd_init_request old = *now;

    if (request->env_vars.set) {
        now->env_vars = request->env_vars;
        request->env_vars = old.env_vars;
    }
    if (request->default_user) {
        now->default_user = request->default_user;
        request->default_user = old.default_user;
    }
    if (request->default_workdir) {
        now->default_workdir = request->default_workdir;
        request->default_workdir = old.default_workdir;
    }
    if (request->sandbox_id) {
        now->sandbox_id = request->sandbox_id;
        request->sandbox_id = old.sandbox_id;
    }
    if (request->template_id) {
        now->template_id = request->template_id;
        request->template_id = old.template_id;
    }
    if (request->memory_bytes)
        now->memory_bytes = request->memory_bytes;
    if (request->cpu_milli)
        now->cpu_milli = request->cpu_milli;
    json_free(&envd_init_request_table, request); /* what was replaced */
}

static bool has_mark(const char *path, const char *text)
{
    SMX_CLEANUP(smx_closep)
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    char there[MARK_MAX];
    size_t n = text ? strlen(text) : 0;

    if (n == 0)
        return true;
    return fd >= 0 && n < sizeof there && read(fd, there, sizeof there) == (ssize_t)n &&
           memcmp(there, text, n) == 0;
}

static void write_mark(const char *path, const char *text)
{
    SMX_CLEANUP(smx_closep) int fd = -1;

    if (has_mark(path, text))
        return;
    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd >= 0)
        (void)smx_write_full(fd, text, strlen(text));
}

/* What scripts of E2B's templates look for: in a new sandbox it is there already. A root that
 * cannot be written has none. */
static void write_marks(struct agent *a)
{
    const struct envd_init_request *s = &a->settings;
    const char *const marks[][2] = { { "/run/e2b/.E2B_SANDBOX", "true" },
        { "/run/e2b/.E2B_SANDBOX_ID", s->sandbox_id },
        { "/run/e2b/.E2B_TEMPLATE_ID", s->template_id } };

    struct agent_user root;
    bool all = true;

    if (!s->sandbox_id || !*s->sandbox_id)
        return;
    for (size_t i = 0; i < SMX_ARRAY_LEN(marks); i++)
        all = all && has_mark(marks[i][0], marks[i][1]);
    if (all || agent_user_find(a, "root", &root, /* err= */ NULL) < 0)
        return;
    if (identity_fs(&root, /* err= */ NULL) == 0 && tree_make("/run/e2b") == 0)
        for (size_t i = 0; i < SMX_ARRAY_LEN(marks); i++)
            write_mark(marks[i][0], marks[i][1]);
    agent_user_done(&root);
}

static int read_settings(struct agent *a, struct http_exchange *x, struct smx_err *err)
{
    struct envd_init_request request;
    struct smx_buf body;
    int r;

    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    r = http_body_all(x, &body, err);
    if (r == 0 && body.len > 0) {
        r = json_decode(&envd_init_request_table, body.data, body.len, &request, err);
        if (r == 0) {
            r = env_check(&request.env_vars, err);
            if (r == 0) {
                apply_settings(&a->settings, &request);
                write_marks(a);
            } else {
                json_free(&envd_init_request_table, &request);
            }
        }
    }
    smx_buf_done(&body);
    return r;
}

static void handle_init(struct agent *a, struct http_exchange *x)
{
    struct smx_err err = { 0 };

    http_add_field(x, "X-Envd-Version", ENVD_VERSION);
    if (read_settings(a, x, &err) < 0) {
        http_reply(x, 400, "text/plain; charset=utf-8", err.msg, strlen(err.msg));
        return;
    }
    http_add_field(x, "Cache-Control", "no-store");
    reply_empty(x, 204);
}

static void handle_envs(struct agent *a, struct http_exchange *x)
{
    struct smx_buf out;
    struct json_writer w;

    smx_buf_init(&out, SMX_HTTP_JSON_BODY_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    env_write_globals(&w, &a->settings);
    json_object_end(&w);
    http_add_field(x, "Cache-Control", "no-store");
    if (json_writer_end(&w, /* err= */ NULL) < 0)
        reply_empty(x, 500);
    else
        http_reply(x, 200, "application/json", out.data, out.len);
    smx_buf_done(&out);
}

static void handle_metrics(struct agent *a, struct http_exchange *x)
{
    struct envd_metrics m;

    metrics_read(&a->metrics, &a->settings, &m);
    http_add_field(x, "Cache-Control", "no-store");
    reply_message(x, 200, &envd_metrics_table, &m);
}

struct plain_route {
    const char *path;
    enum h1_method method;
    const char *allow;
    void (*handle)(struct agent *a, struct http_exchange *x);
};
static const struct plain_route plain_routes[] = {
    { ENVD_HEALTH, H1_GET, "GET", handle_health },
    { ENVD_INIT, H1_POST, "POST", handle_init },
    { ENVD_ENVS, H1_GET, "GET", handle_envs },
    { ENVD_METRICS, H1_GET, "GET", handle_metrics },
    { ENVD_FILES, H1_GET, "GET, POST", files_get },
    { ENVD_FILES, H1_POST, "GET, POST", files_post },
    { ENVD_FILES_COMPOSE, H1_POST, "POST", files_compose },
};

static void reply_not_allowed(struct http_exchange *x, const char *allow)
{
    http_add_field(x, "Allow", allow);
    reply_empty(x, 405);
}

static bool run_plain(struct agent *a, struct http_exchange *x)
{
    enum h1_method method = http_head(x)->method;
    const char *allow = NULL;

    for (size_t i = 0; i < SMX_ARRAY_LEN(plain_routes); i++) {
        if (!smx_view_eq(http_path(x), plain_routes[i].path))
            continue;
        allow = plain_routes[i].allow;
        if (plain_routes[i].method != method)
            continue;
        plain_routes[i].handle(a, x);
        return true;
    }
    if (allow)
        reply_not_allowed(x, allow);
    return allow != NULL;
}

static bool run_rpc(struct agent *a, struct http_exchange *x)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(rpc_routes); i++) {
        if (!smx_view_eq(http_path(x), rpc_routes[i].path))
            continue;
        if (http_head(x)->method == H1_POST)
            call_run(a, x, &rpc_routes[i]);
        else
            reply_not_allowed(x, "POST");
        return true;
    }
    return false;
}

void agent_handle(struct http_exchange *x, void *ctx)
{
    static const char not_found[] = "404 page not found\n";
    struct agent *a = ctx;

    agent_worked(a);
    if (!run_rpc(a, x) && !run_plain(a, x))
        http_reply(x, 404, "text/plain; charset=utf-8", not_found, sizeof not_found - 1);
}
