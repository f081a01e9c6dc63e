/* native_more.c - the tables of everything else in native.h. Constant data, no state, any thread.
 */
#include "wire/native/native_tables.h"

FIELDS(native_preview_table) = {
    STR(native_preview, "url", url, REQ),
    STR(native_preview, "token", token, NUL),
};
JSON_TABLE(native_preview_table, native_preview, .lax = true);

FIELDS(native_log_line_table) = {
    STR(native_log_line, "time", time, OPT),
    STR(native_log_line, "source", source, OPT),
    STR(native_log_line, "message", message, OPT),
};
JSON_TABLE(native_log_line_table, native_log_line, .lax = true);

FIELDS(native_stats_table) = {
    STR(native_stats, "time", time, OPT),
    U64(native_stats, "cpu_ms", cpu_ms, NUL, .has = JSON_HAS(struct native_stats, has_cpu)),
    U64(native_stats, "memory_bytes", memory_bytes, OPT),
    U64(native_stats, "memory_limit_bytes", memory_limit_bytes, OPT),
    U64(native_stats, "disk_bytes", disk_bytes, OPT),
    U64(native_stats, "disk_limit_bytes", disk_limit_bytes, OPT),
    U64(native_stats, "pids", pids, NUL, .has = JSON_HAS(struct native_stats, has_pids)),
    U64(native_stats, "pids_limit", pids_limit, NUL,
        .has = JSON_HAS(struct native_stats, has_pids)),
    U64(native_stats, "net_rx_bytes", net_rx_bytes, NUL,
        .has = JSON_HAS(struct native_stats, has_net)),
    U64(native_stats, "net_tx_bytes", net_tx_bytes, NUL,
        .has = JSON_HAS(struct native_stats, has_net)),
};
JSON_TABLE(native_stats_table, native_stats, .lax = true);

FIELDS(native_event_table) = {
    U64(native_event, "seq", seq, REQ),
    STR(native_event, "time", time, OPT),
    STR(native_event, "type", type, REQ),
    STR(native_event, "sandbox_id", sandbox_id, OMIT),
    STR(native_event, "runtime", runtime, OMIT),
    STR(native_event, "state", state, OMIT),
    STR(native_event, "previous_state", previous_state, OMIT),
    STR(native_event, "reason", reason, OMIT),
    STR(native_event, "detail", detail, OMIT),
};
JSON_TABLE(native_event_table, native_event, .lax = true);

FIELDS(native_template_table) = {
    STR(native_template, "name", name, REQ),
    STR(native_template, "digest", digest, NUL),
    STR(native_template, "description", description, OMIT),
    STR(native_template, "default_user", default_user, NUL),
    U64(native_template, "size_bytes", size_bytes, OPT),
    OBJ(native_template, "resources", resources, native_resources_reply_table, OPT),
};
JSON_TABLE(native_template_table, native_template, .lax = true);

FIELDS(native_template_list_table) = {
    ARR(native_template_list, "items", items, native_template_table),
};
JSON_TABLE(native_template_list_table, native_template_list, .lax = true);

/* --- keys and runtimes ----------------------------------------------------------------------- */

FIELDS(native_key_create_table) = {
    STR(native_key_create, "name", name, OPT, .max = SMX_NAME_LEN_MAX),
};
JSON_TABLE(native_key_create_table, native_key_create);

FIELDS(native_key_table) = {
    STR(native_key, "id", id, REQ),
    STR(native_key, "name", name, NUL),
    STR(native_key, "prefix", prefix, OMIT),
    STR(native_key, "created_at", created_at, OPT),
    STR(native_key, "last_used_at", last_used_at, NUL),
    STR(native_key, "key", key, OMIT),
};
JSON_TABLE(native_key_table, native_key, .lax = true);

FIELDS(native_key_list_table) = {
    ARR(native_key_list, "items", items, native_key_table),
};
JSON_TABLE(native_key_list_table, native_key_list, .lax = true);

FIELDS(native_switch_table) = {
    STR(native_switch, "runtime", runtime, REQ),
};
JSON_TABLE(native_switch_table, native_switch);

FIELDS(native_switch_result_table) = {
    STR(native_switch_result, "status", status, OPT),
    STR(native_switch_result, "message", message, OPT),
    STR(native_switch_result, "previous_runtime", previous_runtime, NUL),
    STR(native_switch_result, "current_runtime", current_runtime, NUL),
    STRS(native_switch_result, "warnings", warnings, OMIT),
};
JSON_TABLE(native_switch_result_table, native_switch_result, .lax = true);

FIELDS(native_runtime_status_table) = {
    STR(native_runtime_status, "current_runtime", current_runtime, NUL),
    STRS(native_runtime_status, "available_runtimes", available_runtimes, OPT),
    BOOL(native_runtime_status, "runtime_configured", runtime_configured, OPT),
    RAW(native_runtime_status, "runtime_info", runtime_info, NUL),
};
JSON_TABLE(native_runtime_status_table, native_runtime_status, .lax = true);

FIELDS(native_runtime_live_table) = {
    BOOL(native_runtime_live, "ok", ok, OPT),
};
JSON_TABLE(native_runtime_live_table, native_runtime_live, .lax = true);

FIELDS(native_runtime_validation_table) = {
    STR(native_runtime_validation, "runtime", runtime, OPT),
    BOOL(native_runtime_validation, "is_configured", is_configured, OPT),
    RAW(native_runtime_validation, "configuration", configuration, NUL),
    OBJ(native_runtime_validation, "live", live, native_runtime_live_table, OPT),
};
JSON_TABLE(native_runtime_validation_table, native_runtime_validation, .lax = true);

FIELDS(native_runtime_health_table) = {
    STR(native_runtime_health, "status", status, OPT),
    STR(native_runtime_health, "runtime", runtime, NUL),
    BOOL(native_runtime_health, "configured", configured, OPT),
    STR(native_runtime_health, "timestamp", timestamp, OPT),
    STR(native_runtime_health, "error", error, OMIT),
};
JSON_TABLE(native_runtime_health_table, native_runtime_health, .lax = true);

FIELDS(native_version_table) = {
    STR(native_version, "version", version, OPT),
    STR(native_version, "commit", commit, OMIT),
    STR(native_version, "api", api, OMIT),
};
JSON_TABLE(native_version_table, native_version, .lax = true);

FIELDS(native_check_table) = {
    STR(native_check, "name", name, REQ),
    BOOL(native_check, "ok", ok, OPT),
    STR(native_check, "detail", detail, OMIT),
    STR(native_check, "hint", hint, OMIT),
};
JSON_TABLE(native_check_table, native_check, .lax = true);

FIELDS(native_ready_table) = {
    BOOL(native_ready, "ready", ready, OPT),
    ARR(native_ready, "checks", checks, native_check_table),
};
JSON_TABLE(native_ready_table, native_ready, .lax = true);

FIELDS(native_error_body_table) = {
    STR(native_error_body, "code", code, OPT),
    STR(native_error_body, "title", title, OPT),
    STR(native_error_body, "hint", hint, OPT),
    STR(native_error_body, "request_id", request_id, OPT),
    RAW(native_error_body, "detail", detail, OPT),
};
JSON_TABLE(native_error_body_table, native_error_body, .lax = true);
