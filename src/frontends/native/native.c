/* native.c - the routes of the native API and their guard. A row's flag says what the guard asks
 * for; everything that changes something, and the WebSocket, is GUARD_CHANGE. */
#include "frontends/native/internal.h"

#define S "/api/sandboxes/{id}"
#define C S "/sessions/{session}/commands/{command}"

static const struct http_route routes[] = {
    { H1_GET, "/healthz", native_healthz, GUARD_OPEN | DIALECT_QUIET },
    { H1_GET, "/readyz", native_readyz, GUARD_OPEN | DIALECT_QUIET },
    { H1_GET, "/metrics", native_metrics, GUARD_READ | DIALECT_QUIET },
    { H1_GET, "/version", native_version, GUARD_READ | DIALECT_QUIET },
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

const struct dialect native_dialect = {
    .name = "native",
    .routes = routes,
    .n = SMX_ARRAY_LEN(routes),
    .cors = { .exposed = "X-Request-Id, Content-Range, Accept-Ranges",
        .allowed = "Authorization, X-API-KEY, Content-Type, Idempotency-Key, Range, Last-Event-ID, "
                   "X-Request-Id" },
    .fail = native_fail,
    .fail_guard = native_fail,
    .fail_match = fail_match,
};

void native_handle(struct frontend *fe, struct http_exchange *x)
{
    dialect_handle(&native_dialect, fe, x);
}
