/* native_tables.c - the tables of sandboxes, exec and files. Constant data, no state, any thread.
 * Limits are those of base/limits.h; a number's lower bound of 1 means that 0 is refused, not
 * "absent". */
#include "wire/native/native_tables.h"

/* --- sandboxes ------------------------------------------------------------------------------- */

FIELDS(native_resources_table) = {
    DBL(native_resources, "cpu", cpu, OMIT, .max = 1024),
    U64(native_resources, "memory_mib", memory_mib, OMIT, .min = 1, .max = 1 << 24),
    U64(native_resources, "disk_mib", disk_mib, OMIT, .min = 1, .max = 1 << 30),
    U64(native_resources, "pids", pids, OMIT, .min = 1, .max = 1 << 22),
};
JSON_TABLE(native_resources_table, native_resources);

FIELDS(native_resources_reply_table) = {
    DBL(native_resources, "cpu", cpu, OMIT),
    U64(native_resources, "memory_mib", memory_mib, OMIT),
    U64(native_resources, "disk_mib", disk_mib, OMIT),
    U64(native_resources, "pids", pids, OMIT),
};
JSON_TABLE(native_resources_reply_table, native_resources, .lax = true);

/* Requests are encoded by hand in the client (a secret must travel there), so only decoding flags.
 */
FIELDS(native_create_table) = {
    STR(native_create, "template", template_name, OPT, .max = SMX_TEMPLATE_LEN_MAX),
    STR(native_create, "runtime", runtime, OPT, .max = SMX_NAME_LEN_MAX),
    STR(native_create, "name", name, OPT, .max = SMX_NAME_LEN_MAX),
    STR(native_create, "project_id", project_id, OPT, .max = SMX_METADATA_VALUE_MAX),
    STR(native_create, "password", password, JSON_SECRET, .max = SMX_METADATA_VALUE_MAX),
    MAP(native_create, "metadata", metadata, OPT, .max = SMX_METADATA_ENTRIES_MAX),
    MAP(native_create, "env", env, OPT, .max = SMX_ENV_ENTRIES_MAX),
    U64(native_create, "timeout_s", timeout_s, OPT, .max = NATIVE_TIMEOUT_S_MAX,
        .has = JSON_HAS(struct native_create, has_timeout)),
    OBJ(native_create, "resources", resources, native_resources_table, OPT),
};
JSON_TABLE(native_create_table, native_create);

FIELDS(native_patch_table) = {
    U64(native_patch, "timeout_s", timeout_s, OPT, .max = NATIVE_TIMEOUT_S_MAX,
        .has = JSON_HAS(struct native_patch, has_timeout)),
    MAP(native_patch, "metadata", metadata, OPT, .max = SMX_METADATA_ENTRIES_MAX),
    STR(native_patch, "name", name, OPT, .max = SMX_NAME_LEN_MAX),
};
JSON_TABLE(native_patch_table, native_patch);

FIELDS(native_sandbox_table) = {
    STR(native_sandbox, "id", id, REQ),
    STR(native_sandbox, "name", name, NUL),
    STRS(native_sandbox, "aliases", aliases, OPT),
    STR(native_sandbox, "runtime", runtime, NUL),
    STR(native_sandbox, "provider_id", provider_id, NUL),
    STR(native_sandbox, "state", state, REQ),
    STR(native_sandbox, "template", template_name, NUL),
    STR(native_sandbox, "project_id", project_id, NUL),
    MAP(native_sandbox, "metadata", metadata, OPT),
    STR(native_sandbox, "created_at", created_at, NUL),
    STR(native_sandbox, "updated_at", updated_at, NUL),
    STR(native_sandbox, "expires_at", expires_at, NUL),
    OBJ(native_sandbox, "resources", resources, native_resources_reply_table, OPT),
    STR(native_sandbox, "limits", limits, NUL),
    BOOL(native_sandbox, "internet", internet, OPT),
    RAW(native_sandbox, "capabilities", capabilities, OMIT),
    STR(native_sandbox, "reason", reason, NUL),
    BOOL(native_sandbox, "recreated", recreated, OMIT),
};
JSON_TABLE(native_sandbox_table, native_sandbox, .lax = true);

FIELDS(native_sandbox_list_table) = {
    ARR(native_sandbox_list, "items", items, native_sandbox_table),
    STR(native_sandbox_list, "next_cursor", next_cursor, NUL),
};
JSON_TABLE(native_sandbox_list_table, native_sandbox_list, .lax = true);

/* --- exec ------------------------------------------------------------------------------------ */

FIELDS(native_exec_table) = {
    RAW(native_exec, "command", command, REQ),
    STR(native_exec, "cwd", cwd, OPT, .max = SMX_PATH_MAX - 1),
    STR(native_exec, "user", user, OPT, .max = SMX_NAME_LEN_MAX),
    MAP(native_exec, "env", env, OPT, .max = SMX_ENV_ENTRIES_MAX),
    STR(native_exec, "stdin", stdin_text, OPT),
    BYTES(native_exec, "stdin_b64", stdin_b64, OPT),
    DBL(native_exec, "timeout_s", timeout_s, OPT, .max = NATIVE_TIMEOUT_S_MAX),
    U64(native_exec, "max_output_bytes", max_output_bytes, OPT, .min = 1,
        .max = SMX_EXEC_OUTPUT_MAX),
};
JSON_TABLE(native_exec_table, native_exec);

FIELDS(native_exec_result_table) = {
    I64(native_exec_result, "exit_code", exit_code, REQ),
    I64(native_exec_result, "signal", signal, NUL,
        .has = JSON_HAS(struct native_exec_result, has_signal)),
    STR(native_exec_result, "stdout", stdout_text, OMIT),
    BYTES(native_exec_result, "stdout_b64", stdout_b64, OMIT),
    STR(native_exec_result, "stderr", stderr_text, OMIT),
    BYTES(native_exec_result, "stderr_b64", stderr_b64, OMIT),
    U64(native_exec_result, "duration_ms", duration_ms, OPT),
    BOOL(native_exec_result, "truncated", truncated, OPT),
    BOOL(native_exec_result, "timed_out", timed_out, OPT),
};
JSON_TABLE(native_exec_result_table, native_exec_result, .lax = true);

FIELDS(native_problem_table) = {
    STR(native_problem, "type", type, OMIT),
    STR(native_problem, "title", title, OMIT),
    U64(native_problem, "status", status, OMIT),
    STR(native_problem, "detail", detail, OMIT),
    STR(native_problem, "code", code, OMIT),
    STR(native_problem, "hint", hint, OMIT),
    STR(native_problem, "request_id", request_id, OMIT),
};
JSON_TABLE(native_problem_table, native_problem, .lax = true);

FIELDS(native_exec_start_table) = {
    U64(native_exec_start, "pid", pid, OMIT),
    STR(native_exec_start, "cmd_id", cmd_id, OMIT),
};
JSON_TABLE(native_exec_start_table, native_exec_start, .lax = true);

FIELDS(native_exec_exit_table) = {
    I64(native_exec_exit, "exit_code", exit_code, REQ),
    I64(native_exec_exit, "signal", signal, NUL,
        .has = JSON_HAS(struct native_exec_exit, has_signal)),
    U64(native_exec_exit, "duration_ms", duration_ms, OPT),
    BOOL(native_exec_exit, "timed_out", timed_out, OPT),
};
JSON_TABLE(native_exec_exit_table, native_exec_exit, .lax = true);

FIELDS(native_exec_event_table) = {
    PTR(native_exec_event, "start", start, native_exec_start_table, OMIT),
    STR(native_exec_event, "stdout", stdout_text, OMIT),
    BYTES(native_exec_event, "stdout_b64", stdout_b64, OMIT),
    STR(native_exec_event, "stderr", stderr_text, OMIT),
    BYTES(native_exec_event, "stderr_b64", stderr_b64, OMIT),
    PTR(native_exec_event, "exit", exit, native_exec_exit_table, OMIT),
    PTR(native_exec_event, "error", error, native_problem_table, OMIT),
};
JSON_TABLE(native_exec_event_table, native_exec_event, .lax = true);

FIELDS(native_ws_start_table) = {
    RAW(native_ws_start, "command", command, REQ),
    STR(native_ws_start, "cwd", cwd, OPT, .max = SMX_PATH_MAX - 1),
    STR(native_ws_start, "user", user, OPT, .max = SMX_NAME_LEN_MAX),
    MAP(native_ws_start, "env", env, OPT, .max = SMX_ENV_ENTRIES_MAX),
    DBL(native_ws_start, "timeout_s", timeout_s, OPT, .max = NATIVE_TIMEOUT_S_MAX),
    BOOL(native_ws_start, "tty", tty, OPT),
    BOOL(native_ws_start, "channels", channels, OPT),
    U64(native_ws_start, "cols", cols, OPT, .max = 65535),
    U64(native_ws_start, "rows", rows, OPT, .max = 65535),
};
JSON_TABLE(native_ws_start_table, native_ws_start);

FIELDS(native_resize_table) = {
    U64(native_resize, "cols", cols, REQ, .min = 1, .max = 65535),
    U64(native_resize, "rows", rows, REQ, .min = 1, .max = 65535),
};
JSON_TABLE(native_resize_table, native_resize);

FIELDS(native_ws_control_table) = {
    PTR(native_ws_control, "start", start, native_ws_start_table, OPT),
    PTR(native_ws_control, "resize", resize, native_resize_table, OPT),
    STR(native_ws_control, "signal", signal, OPT, .max = 16),
    BOOL(native_ws_control, "eof", eof, OPT),
};
JSON_TABLE(native_ws_control_table, native_ws_control);

FIELDS(native_process_table) = {
    U64(native_process, "pid", pid, REQ),
    STR(native_process, "tag", tag, NUL),
    STR(native_process, "cmd", cmd, OMIT),
    STRS(native_process, "args", args, OPT),
    STR(native_process, "cwd", cwd, OMIT),
};
JSON_TABLE(native_process_table, native_process, .lax = true);

FIELDS(native_process_list_table) = {
    ARR(native_process_list, "processes", processes, native_process_table),
};
JSON_TABLE(native_process_list_table, native_process_list, .lax = true);

/* --- files ----------------------------------------------------------------------------------- */

FIELDS(native_file_table) = {
    STR(native_file, "name", name, REQ),
    STR(native_file, "path", path, OPT),
    BOOL(native_file, "is_dir", is_dir, OPT),
    U64(native_file, "size", size, OPT),
    STR(native_file, "mod_time", mod_time, OPT),
    STR(native_file, "permissions", permissions, OPT),
    STR(native_file, "type", type, OMIT),
    STR(native_file, "target", target, OMIT),
    STR(native_file, "owner", owner, OMIT),
    STR(native_file, "group", group, OMIT),
};
JSON_TABLE(native_file_table, native_file, .lax = true);

FIELDS(native_file_list_table) = {
    ARR(native_file_list, "files", files, native_file_table),
};
JSON_TABLE(native_file_list_table, native_file_list, .lax = true);

FIELDS(native_move_table) = {
    STR(native_move, "from", from, REQ, .max = SMX_PATH_MAX - 1),
    STR(native_move, "to", to, REQ, .max = SMX_PATH_MAX - 1),
};
JSON_TABLE(native_move_table, native_move);
