/* envd.c - the envd tables and the hand-written form of the data event. Pure, no state, any thread.
 */
#include "wire/envd/envd.h"

#include <string.h>

const char *const envd_file_type_names[] = { "FILE_TYPE_UNSPECIFIED", "FILE_TYPE_FILE",
    "FILE_TYPE_DIRECTORY", "FILE_TYPE_SYMLINK", NULL };
const char *const envd_fs_event_names[] = { "EVENT_TYPE_UNSPECIFIED", "EVENT_TYPE_CREATE",
    "EVENT_TYPE_WRITE", "EVENT_TYPE_REMOVE", "EVENT_TYPE_RENAME", "EVENT_TYPE_CHMOD", NULL };

#define O(type, member) offsetof(struct type, member)

const struct json_table envd_empty_table = {
    .name = "empty", .size = sizeof(struct envd_empty), .lax = true
};

/* --- process.Process --- */

static const struct json_field process_config_fields[] = {
    { "cmd", JSON_STRING, O(envd_process_config, cmd) },
    { "args", JSON_STRINGS, O(envd_process_config, args), JSON_OMIT_ZERO },
    { "envs", JSON_MAP, O(envd_process_config, envs), JSON_OMIT_ZERO },
    { "cwd", JSON_STRING, O(envd_process_config, cwd), JSON_OMIT_ZERO },
};
static JSON_TABLE(process_config, envd_process_config, .lax = true);

static const struct json_field pty_size_fields[] = {
    { "cols", JSON_U64, O(envd_pty_size, cols), JSON_LAX_INT | JSON_OMIT_ZERO, .max = UINT32_MAX },
    { "rows", JSON_U64, O(envd_pty_size, rows), JSON_LAX_INT | JSON_OMIT_ZERO, .max = UINT32_MAX },
};
static JSON_TABLE(pty_size, envd_pty_size, .lax = true);

static const struct json_field pty_fields[] = {
    { "size", JSON_OBJECT, O(envd_pty, size), .table = &pty_size },
};
static JSON_TABLE(pty, envd_pty, .lax = true);

static const struct json_field envd_start_request_table_fields[] = {
    { "process", JSON_OBJECT, O(envd_start_request, process), .table = &process_config },
    { "pty", JSON_OBJECT_PTR, O(envd_start_request, pty), JSON_OMIT_ZERO, .table = &pty },
    { "tag", JSON_STRING, O(envd_start_request, tag), JSON_OMIT_ZERO },
    { "stdin", JSON_BOOL, O(envd_start_request, stdin_open),
        .has = JSON_HAS(struct envd_start_request, has_stdin) },
};
JSON_TABLE(envd_start_request_table, envd_start_request, .lax = true);

static const struct json_field selector_fields[] = {
    { "pid", JSON_U64, O(envd_selector, pid), JSON_LAX_INT | JSON_OMIT_ZERO, .max = UINT32_MAX,
        .has = JSON_HAS(struct envd_selector, has_pid) },
    { "tag", JSON_STRING, O(envd_selector, tag), JSON_OMIT_ZERO },
};
static JSON_TABLE(selector, envd_selector, .lax = true);

#define SELECTOR_ROW(type)                                           \
    {                                                                \
        "process", JSON_OBJECT, O(type, process), .table = &selector \
    }

static const struct json_field envd_connect_request_table_fields[] = {
    SELECTOR_ROW(envd_connect_request),
};
JSON_TABLE(envd_connect_request_table, envd_connect_request, .lax = true);

static const struct json_field input_fields[] = {
    { "stdin", JSON_BYTES, O(envd_input, stdin_data), JSON_OMIT_ZERO },
    { "pty", JSON_BYTES, O(envd_input, pty_data), JSON_OMIT_ZERO },
};
static JSON_TABLE(input, envd_input, .lax = true);

static const struct json_field envd_send_input_request_table_fields[] = {
    SELECTOR_ROW(envd_send_input_request),
    { "input", JSON_OBJECT, O(envd_send_input_request, input), .table = &input },
};
JSON_TABLE(envd_send_input_request_table, envd_send_input_request, .lax = true);

static const struct json_field stream_input_start_fields[] = {
    SELECTOR_ROW(envd_stream_input_start),
};
static JSON_TABLE(stream_input_start, envd_stream_input_start, .lax = true);
static const struct json_field stream_input_data_fields[] = {
    { "input", JSON_OBJECT, O(envd_stream_input_data, input), .table = &input },
};
static JSON_TABLE(stream_input_data, envd_stream_input_data, .lax = true);

static const struct json_field envd_stream_input_request_table_fields[] = {
    { "start", JSON_OBJECT_PTR, O(envd_stream_input_request, start), JSON_OMIT_ZERO,
        .table = &stream_input_start },
    { "data", JSON_OBJECT_PTR, O(envd_stream_input_request, data), JSON_OMIT_ZERO,
        .table = &stream_input_data },
    { "keepalive", JSON_OBJECT_PTR, O(envd_stream_input_request, keepalive), JSON_OMIT_ZERO,
        .table = &envd_empty_table },
};
JSON_TABLE(envd_stream_input_request_table, envd_stream_input_request, .lax = true);

static const struct json_field envd_send_signal_request_table_fields[] = {
    SELECTOR_ROW(envd_send_signal_request),
    { "signal", JSON_RAW, O(envd_send_signal_request, signal), JSON_OMIT_ZERO },
};
JSON_TABLE(envd_send_signal_request_table, envd_send_signal_request, .lax = true);

static const struct json_field envd_close_stdin_request_table_fields[] = {
    SELECTOR_ROW(envd_close_stdin_request),
};
JSON_TABLE(envd_close_stdin_request_table, envd_close_stdin_request, .lax = true);

static const struct json_field envd_update_request_table_fields[] = {
    SELECTOR_ROW(envd_update_request),
    { "pty", JSON_OBJECT_PTR, O(envd_update_request, pty), JSON_OMIT_ZERO, .table = &pty },
};
JSON_TABLE(envd_update_request_table, envd_update_request, .lax = true);

static const struct json_field process_info_fields[] = {
    { "config", JSON_OBJECT, O(envd_process_info, config), .table = &process_config },
    { "pid", JSON_U64, O(envd_process_info, pid), JSON_LAX_INT },
    { "tag", JSON_STRING, O(envd_process_info, tag), JSON_OMIT_ZERO },
};
static JSON_TABLE(process_info, envd_process_info, .lax = true);
static const struct json_field envd_list_response_table_fields[] = {
    { "processes", JSON_ARRAY, O(envd_list_response, processes), JSON_OMIT_ZERO,
        .table = &process_info },
};
JSON_TABLE(envd_list_response_table, envd_list_response, .lax = true);

static const struct json_field start_event_fields[] = {
    { "pid", JSON_U64, O(envd_start_event, pid), JSON_LAX_INT },
};
static JSON_TABLE(start_event, envd_start_event, .lax = true);
static const struct json_field data_event_fields[] = {
    { "stdout", JSON_BYTES, O(envd_data_event, stdout_data), JSON_OMIT_ZERO },
    { "stderr", JSON_BYTES, O(envd_data_event, stderr_data), JSON_OMIT_ZERO },
    { "pty", JSON_BYTES, O(envd_data_event, pty_data), JSON_OMIT_ZERO },
};
static JSON_TABLE(data_event, envd_data_event, .lax = true);
static const struct json_field end_event_fields[] = {
    { "exitCode", JSON_I64, O(envd_end_event, exit_code), JSON_LAX_INT | JSON_OMIT_ZERO,
        .alias = "exit_code" },
    { "exited", JSON_BOOL, O(envd_end_event, exited), JSON_OMIT_ZERO },
    { "status", JSON_STRING, O(envd_end_event, status), JSON_OMIT_ZERO },
    { "error", JSON_STRING, O(envd_end_event, error), JSON_OMIT_ZERO },
};
static JSON_TABLE(end_event, envd_end_event, .lax = true);
static const struct json_field process_event_fields[] = {
    { "start", JSON_OBJECT_PTR, O(envd_process_event, start), JSON_OMIT_ZERO,
        .table = &start_event },
    { "data", JSON_OBJECT_PTR, O(envd_process_event, data), JSON_OMIT_ZERO, .table = &data_event },
    { "end", JSON_OBJECT_PTR, O(envd_process_event, end), JSON_OMIT_ZERO, .table = &end_event },
    { "keepalive", JSON_OBJECT_PTR, O(envd_process_event, keepalive), JSON_OMIT_ZERO,
        .table = &envd_empty_table },
};
static JSON_TABLE(process_event, envd_process_event, .lax = true);
static const struct json_field envd_event_message_table_fields[] = {
    { "event", JSON_OBJECT, O(envd_event_message, event), .table = &process_event },
};
JSON_TABLE(envd_event_message_table, envd_event_message, .lax = true);

/* --- filesystem.Filesystem --- */

static const struct json_field envd_entry_table_fields[] = {
    { "name", JSON_STRING, O(envd_entry, name), JSON_OMIT_ZERO },
    { "type", JSON_ENUM, O(envd_entry, type), JSON_OMIT_ZERO, .names = envd_file_type_names },
    { "path", JSON_STRING, O(envd_entry, path), JSON_OMIT_ZERO },
    { "size", JSON_I64, O(envd_entry, size), JSON_LAX_INT | JSON_INT_AS_STRING | JSON_OMIT_ZERO },
    { "mode", JSON_U64, O(envd_entry, mode), JSON_LAX_INT | JSON_OMIT_ZERO },
    { "permissions", JSON_STRING, O(envd_entry, permissions), JSON_OMIT_ZERO },
    { "owner", JSON_STRING, O(envd_entry, owner), JSON_OMIT_ZERO },
    { "group", JSON_STRING, O(envd_entry, group), JSON_OMIT_ZERO },
    { "modifiedTime", JSON_STRING, O(envd_entry, modified_time), JSON_OMIT_ZERO,
        .alias = "modified_time" },
    { "symlinkTarget", JSON_STRING, O(envd_entry, symlink_target), JSON_OMIT_ZERO,
        .alias = "symlink_target" },
    { "isSymlink", JSON_BOOL, O(envd_entry, is_symlink), JSON_OMIT_ZERO, .alias = "is_symlink" },
    { "metadata", JSON_MAP, O(envd_entry, metadata), JSON_OMIT_ZERO },
};
JSON_TABLE(envd_entry_table, envd_entry, .lax = true);

static const struct json_field envd_path_request_table_fields[] = {
    { "path", JSON_STRING, O(envd_path_request, path), JSON_OMIT_ZERO },
};
JSON_TABLE(envd_path_request_table, envd_path_request, .lax = true);

static const struct json_field envd_list_dir_request_table_fields[] = {
    { "path", JSON_STRING, O(envd_list_dir_request, path), JSON_OMIT_ZERO },
    { "depth", JSON_U64, O(envd_list_dir_request, depth), JSON_LAX_INT | JSON_OMIT_ZERO,
        .max = UINT32_MAX },
    { "sandmuxBrief", JSON_BOOL, O(envd_list_dir_request, brief), JSON_OMIT_ZERO },
};
JSON_TABLE(envd_list_dir_request_table, envd_list_dir_request, .lax = true);

static const struct json_field envd_move_request_table_fields[] = {
    { "source", JSON_STRING, O(envd_move_request, source), JSON_OMIT_ZERO },
    { "destination", JSON_STRING, O(envd_move_request, destination), JSON_OMIT_ZERO },
};
JSON_TABLE(envd_move_request_table, envd_move_request, .lax = true);

static const struct json_field envd_entry_response_table_fields[] = {
    { "entry", JSON_OBJECT, O(envd_entry_response, entry), .table = &envd_entry_table },
};
JSON_TABLE(envd_entry_response_table, envd_entry_response, .lax = true);

static const struct json_field envd_entries_response_table_fields[] = {
    { "entries", JSON_ARRAY, O(envd_entries_response, entries), JSON_OMIT_ZERO,
        .table = &envd_entry_table },
};
JSON_TABLE(envd_entries_response_table, envd_entries_response, .lax = true);

static const struct json_field envd_watch_request_table_fields[] = {
    { "path", JSON_STRING, O(envd_watch_request, path), JSON_OMIT_ZERO },
    { "recursive", JSON_BOOL, O(envd_watch_request, recursive), JSON_OMIT_ZERO },
    { "includeEntry", JSON_BOOL, O(envd_watch_request, include_entry), JSON_OMIT_ZERO,
        .alias = "include_entry" },
    { "allowNetworkMounts", JSON_BOOL, O(envd_watch_request, allow_network_mounts), JSON_OMIT_ZERO,
        .alias = "allow_network_mounts" },
};
JSON_TABLE(envd_watch_request_table, envd_watch_request, .lax = true);

static const struct json_field envd_fs_event_table_fields[] = {
    { "name", JSON_STRING, O(envd_fs_event, name), JSON_OMIT_ZERO },
    { "type", JSON_ENUM, O(envd_fs_event, type), JSON_OMIT_ZERO, .names = envd_fs_event_names },
    { "entry", JSON_OBJECT_PTR, O(envd_fs_event, entry), JSON_OMIT_ZERO,
        .table = &envd_entry_table },
};
JSON_TABLE(envd_fs_event_table, envd_fs_event, .lax = true);

static const struct json_field envd_watch_message_table_fields[] = {
    { "start", JSON_OBJECT_PTR, O(envd_watch_message, start), JSON_OMIT_ZERO,
        .table = &envd_empty_table },
    { "filesystem", JSON_OBJECT_PTR, O(envd_watch_message, filesystem), JSON_OMIT_ZERO,
        .table = &envd_fs_event_table },
    { "keepalive", JSON_OBJECT_PTR, O(envd_watch_message, keepalive), JSON_OMIT_ZERO,
        .table = &envd_empty_table },
};
JSON_TABLE(envd_watch_message_table, envd_watch_message, .lax = true);

static const struct json_field envd_create_watcher_response_table_fields[] = {
    { "watcherId", JSON_STRING, O(envd_create_watcher_response, watcher_id), JSON_OMIT_ZERO,
        .alias = "watcher_id" },
};
JSON_TABLE(envd_create_watcher_response_table, envd_create_watcher_response, .lax = true);

static const struct json_field envd_watcher_request_table_fields[] = {
    { "watcherId", JSON_STRING, O(envd_watcher_request, watcher_id), JSON_OMIT_ZERO,
        .alias = "watcher_id" },
};
JSON_TABLE(envd_watcher_request_table, envd_watcher_request, .lax = true);

static const struct json_field envd_watcher_events_response_table_fields[] = {
    { "events", JSON_ARRAY, O(envd_watcher_events_response, events), JSON_OMIT_ZERO,
        .table = &envd_fs_event_table },
};
JSON_TABLE(envd_watcher_events_response_table, envd_watcher_events_response, .lax = true);

/* --- plain HTTP --- */

static const struct json_field envd_init_request_table_fields[] = {
    { "envVars", JSON_MAP, O(envd_init_request, env_vars), JSON_OMIT_ZERO, .alias = "env_vars" },
    { "defaultUser", JSON_STRING, O(envd_init_request, default_user), JSON_OMIT_ZERO,
        .alias = "default_user" },
    { "defaultWorkdir", JSON_STRING, O(envd_init_request, default_workdir), JSON_OMIT_ZERO,
        .alias = "default_workdir" },
    { "sandboxId", JSON_STRING, O(envd_init_request, sandbox_id), JSON_OMIT_ZERO, .max = 256 },
    { "templateId", JSON_STRING, O(envd_init_request, template_id), JSON_OMIT_ZERO, .max = 256 },
    { "memoryBytes", JSON_U64, O(envd_init_request, memory_bytes), JSON_LAX_INT | JSON_OMIT_ZERO },
    { "cpuMilli", JSON_U64, O(envd_init_request, cpu_milli), JSON_LAX_INT | JSON_OMIT_ZERO },
};
JSON_TABLE(envd_init_request_table, envd_init_request, .lax = true);

static const struct json_field envd_compose_request_table_fields[] = {
    { "source_paths", JSON_STRINGS, O(envd_compose_request, source_paths), JSON_OMIT_ZERO,
        .alias = "sourcePaths", .max = 1024 },
    { "destination", JSON_STRING, O(envd_compose_request, destination), JSON_OMIT_ZERO },
    { "username", JSON_STRING, O(envd_compose_request, username), JSON_OMIT_ZERO },
};
JSON_TABLE(envd_compose_request_table, envd_compose_request, .lax = true);

static const struct json_field envd_metrics_table_fields[] = {
    { "ts", JSON_I64, O(envd_metrics, ts) },
    { "cpu_count", JSON_U64, O(envd_metrics, cpu_count) },
    { "cpu_used_pct", JSON_DOUBLE, O(envd_metrics, cpu_used_pct) },
    { "mem_total_mib", JSON_U64, O(envd_metrics, mem_total_mib) },
    { "mem_used_mib", JSON_U64, O(envd_metrics, mem_used_mib) },
    { "mem_total", JSON_U64, O(envd_metrics, mem_total) },
    { "mem_used", JSON_U64, O(envd_metrics, mem_used) },
    { "mem_cache", JSON_U64, O(envd_metrics, mem_cache) },
    { "disk_used", JSON_U64, O(envd_metrics, disk_used) },
    { "disk_total", JSON_U64, O(envd_metrics, disk_total) },
};
JSON_TABLE(envd_metrics_table, envd_metrics, .lax = true);

static const struct json_field envd_http_error_table_fields[] = {
    { "code", JSON_I64, O(envd_http_error, code) },
    { "message", JSON_STRING, O(envd_http_error, message) },
};
JSON_TABLE(envd_http_error_table, envd_http_error, .lax = true);

const struct json_table *const envd_tables[] = { &envd_empty_table, &envd_start_request_table,
    &envd_connect_request_table, &envd_send_input_request_table, &envd_stream_input_request_table,
    &envd_send_signal_request_table, &envd_close_stdin_request_table, &envd_update_request_table,
    &envd_list_response_table, &envd_event_message_table, &envd_entry_table,
    &envd_path_request_table, &envd_list_dir_request_table, &envd_move_request_table,
    &envd_entry_response_table, &envd_entries_response_table, &envd_watch_request_table,
    &envd_fs_event_table, &envd_watch_message_table, &envd_create_watcher_response_table,
    &envd_watcher_request_table, &envd_watcher_events_response_table, &envd_init_request_table,
    &envd_metrics_table, &envd_compose_request_table, &envd_http_error_table, NULL };

/* --- values --- */

int envd_signal_parse(const char *json)
{
    if (!json)
        return ENVD_SIGNAL_NONE;
    if (smx_streq(json, "\"SIGNAL_SIGKILL\"") || smx_streq(json, "9"))
        return ENVD_SIGNAL_KILL;
    if (smx_streq(json, "\"SIGNAL_SIGTERM\"") || smx_streq(json, "15"))
        return ENVD_SIGNAL_TERM;
    return ENVD_SIGNAL_NONE;
}

static const struct smx_view data_event_heads[] = {
    [ENVD_STDOUT] = SMX_VIEW("{\"event\":{\"data\":{\"stdout\":\""),
    [ENVD_STDERR] = SMX_VIEW("{\"event\":{\"data\":{\"stderr\":\""),
    [ENVD_PTY] = SMX_VIEW("{\"event\":{\"data\":{\"pty\":\""),
};
static const char data_event_tail[] = "\"}}}";
enum { TAIL_LEN = sizeof data_event_tail - 1, HEAD_MAX = 32 };

size_t envd_data_event_size(size_t n)
{
    return HEAD_MAX + smx_base64_size(n) + TAIL_LEN;
}

void envd_data_event_append(
    struct smx_buf *out, enum envd_stream stream, const void *data, size_t n)
{
    const struct smx_view *head = &data_event_heads[stream];
    size_t encoded = smx_base64_size(n);
    char *p;

    if (smx_buf_reserve(out, head->n + encoded + TAIL_LEN) < 0)
        return;
    p = out->data + out->len;
    memcpy(p, head->p, head->n);
    smx_base64_encode(p + head->n, data, n);
    memcpy(p + head->n + encoded, data_event_tail, TAIL_LEN);
    out->len += head->n + encoded + TAIL_LEN;
    out->data[out->len] = '\0';
}

bool envd_data_event_parse(
    const char *data, size_t n, enum envd_stream *ret_stream, struct smx_view *ret_base64)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(data_event_heads); i++) {
        const struct smx_view *head = &data_event_heads[i];

        if (n < head->n + TAIL_LEN || memcmp(data, head->p, head->n) != 0)
            continue;
        if (memcmp(data + n - TAIL_LEN, data_event_tail, TAIL_LEN) != 0)
            return false;
        *ret_base64 = (struct smx_view){ data + head->n, n - head->n - TAIL_LEN };
        if (memchr(ret_base64->p, '"', ret_base64->n))
            return false;
        *ret_stream = (enum envd_stream)i;
        return true;
    }
    return false;
}
