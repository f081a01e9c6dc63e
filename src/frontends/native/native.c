/* native.c - the routes of the native API and their guard. A row's flag says what the guard asks
 * for; everything that changes something, and the WebSocket, is GUARD_CHANGE. */
#include "frontends/native/internal.h"

enum { QUIET = 16 }; /* health and metrics: not worth a line in the log */

#define S "/api/sandboxes/{id}"
#define C S "/sessions/{session}/commands/{command}"

static const struct http_route routes[] = {
    { H1_GET, "/healthz", native_healthz, GUARD_OPEN | QUIET },
    { H1_GET, "/readyz", native_readyz, GUARD_OPEN | QUIET },
    { H1_GET, "/metrics", native_metrics, GUARD_READ | QUIET },
    { H1_GET, "/version", native_version, GUARD_READ | QUIET },
    { H1_POST, "/api/daemon/shutdown", native_shutdown, GUARD_CHANGE },
    { H1_POST, "/api/daemon/listen", native_listen, GUARD_CHANGE },
    { H1_GET, "/api/runtime/status", native_runtime_status, GUARD_READ },
    { H1_POST, "/api/runtime/switch", native_runtime_switch, GUARD_CHANGE },
    { H1_GET, "/api/runtime/validate/{name}", native_runtime_validate, GUARD_READ },
    { H1_GET, "/api/runtime/health", native_runtime_health, GUARD_READ },
    { H1_GET, "/api/events", native_events, GUARD_READ },
    { H1_GET, "/api/templates", native_templates, GUARD_READ },
    { H1_GET, "/api/keys", native_key_list, GUARD_READ },
    { H1_POST, "/api/keys", native_key_create, GUARD_CHANGE },
    { H1_DELETE, "/api/keys/{key}", native_key_revoke, GUARD_CHANGE },
    { H1_GET, "/api/sandboxes", native_sandbox_list, GUARD_READ },
    { H1_POST, "/api/sandboxes", native_sandbox_create, GUARD_CHANGE },
    { H1_GET, S, native_sandbox_get, GUARD_READ },
    { H1_PUT, S, native_sandbox_ensure, GUARD_CHANGE },
    { H1_PATCH, S, native_sandbox_patch, GUARD_CHANGE },
    { H1_DELETE, S, native_sandbox_delete, GUARD_CHANGE },
    { H1_POST, S "/start", native_sandbox_start, GUARD_CHANGE },
    { H1_POST, S "/stop", native_sandbox_stop, GUARD_CHANGE },
    { H1_POST, S "/pause", native_sandbox_pause, GUARD_CHANGE },
    { H1_POST, S "/resume", native_sandbox_resume, GUARD_CHANGE },
    { H1_POST, S "/migrate", native_migrate_post, GUARD_CHANGE },
    { H1_POST, S "/exec", native_exec_post, GUARD_CHANGE },
    { H1_GET, S "/exec", native_exec_socket, GUARD_CHANGE },
    { H1_GET, S "/processes", native_process_list, GUARD_READ },
    { H1_DELETE, S "/processes/{pid}", native_process_signal, GUARD_CHANGE },
    { H1_GET, S "/sessions", native_session_list_get, GUARD_READ },
    { H1_POST, S "/sessions", native_session_post, GUARD_CHANGE },
    { H1_GET, S "/sessions/{session}", native_session_get, GUARD_READ },
    { H1_DELETE, S "/sessions/{session}", native_session_remove, GUARD_CHANGE },
    { H1_POST, S "/sessions/{session}/exec", native_session_exec_post, GUARD_CHANGE },
    { H1_GET, C "/logs", native_session_logs, GUARD_READ },
    { H1_POST, C "/input", native_session_input_post, GUARD_CHANGE },
    { H1_DELETE, C, native_session_signal, GUARD_CHANGE },
    { H1_GET, S "/files", native_file_list, GUARD_READ },
    { H1_POST, S "/files", native_file_upload, GUARD_CHANGE },
    { H1_PUT, S "/files", native_file_make_dir, GUARD_CHANGE },
    { H1_DELETE, S "/files", native_file_delete, GUARD_CHANGE },
    { H1_POST, S "/files/move", native_file_move, GUARD_CHANGE },
    { H1_GET, S "/files/content", native_file_get, GUARD_READ },
    { H1_PUT, S "/files/content", native_file_put, GUARD_CHANGE },
    { H1_GET, S "/archive", native_archive_get, GUARD_READ },
    { H1_PUT, S "/archive", native_archive_put, GUARD_CHANGE },
    /* shows the token, which lets run commands */
    { H1_GET, S "/preview", native_preview, GUARD_CHANGE },
    { H1_GET, S "/logs", native_logs, GUARD_READ },
    { H1_GET, S "/stats", native_stats, GUARD_READ },
};

/* The texts below /api/runtime are the documented contract's. */
static void fail_match(struct http_exchange *x, enum http_match match, const char *allow)
{
    struct smx_view path = http_path(x);
    bool runtime = smx_view_starts(path, "/api/runtime");
    struct smx_err err = { 0 };

    if (match == HTTP_MATCH_NO_METHOD) {
        http_add_field(x, "Allow", allow);
        smx_err_set(&err, SMX_E_METHOD_NOT_ALLOWED,
            runtime ? "Method Not Allowed" : "this path takes %s", allow);
    } else if (match == HTTP_MATCH_BAD_PATH) {
        smx_err_set(&err, SMX_E_INVALID,
            "path: not a valid percent-encoding, or a part of it has more than %d bytes",
            HTTP_SEGMENT_MAX);
    } else {
        smx_err_set(&err, SMX_E_NOT_FOUND,
            runtime ? "Not Found" : "no resource at '%.*s': not found",
            (int)SMX_MIN(path.n, (size_t)100), path.p);
    }
    native_fail(x, &err);
}

static void preflight(const struct frontend *fe, struct http_exchange *x)
{
    struct smx_err err = { 0 };

    if (fe->require_keys && http_field(x, "Origin").p && guard_check(fe, x, GUARD_OPEN, &err) == 0)
        native_no_content(x);
    else
        fail_match(x, HTTP_MATCH_NO_METHOD, "GET, HEAD, POST, PUT, PATCH, DELETE");
}

/* The row that is to answer, once the guard let the request in; NULL: it was answered. */
static SMX_NOINLINE const struct http_route *choose(
    struct frontend *fe, struct http_exchange *x, struct http_params *params)
{
    const struct http_route *route = NULL;
    enum guard_need need = GUARD_READ;
    enum http_match match;
    struct smx_err err;
    char allow[64];

    smx_err_init(&err);
    match = http_route_find(routes, SMX_ARRAY_LEN(routes), http_head(x)->method, http_path(x),
        &route, params, allow, sizeof allow);
    if (match == HTTP_MATCH_OK) {
        frontend_request(x)->quiet = route->flags & QUIET;
        need = (enum guard_need)(route->flags & ~(unsigned)QUIET);
    }
    if (guard_check(fe, x, need, &err) < 0)
        native_fail(x, &err);
    else if (match != HTTP_MATCH_OK)
        fail_match(x, match, allow);
    else
        return route;
    return NULL;
}

void native_handle(struct frontend *fe, struct http_exchange *x)
{
    struct http_params *params = http_alloc(x, http_params_bytes(http_path(x)));
    const struct http_route *route;

    frontend_request(x)->frontend = "native";
    guard_cors(fe, x);
    if (!params) {
        native_fail_memory(x);
        return;
    }
    if (http_head(x)->method == H1_OPTIONS) {
        preflight(fe, x);
        return;
    }
    route = choose(fe, x, params);
    if (route)
        route->handler(x, params, fe);
}
