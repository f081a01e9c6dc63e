/* native_sessions.c - the tables of sessions and migration. Constant data, no state, any thread. */
#include "wire/native/native_tables.h"

FIELDS(native_session_create_table) = {
    STR(native_session_create, "id", id, REQ, .max = 128),
    STR(native_session_create, "user", user, OPT, .max = SMX_NAME_LEN_MAX),
    STR(native_session_create, "cwd", cwd, OPT, .max = SMX_PATH_MAX - 1),
    STR(native_session_create, "shell", shell, OPT, .max = 16),
};
JSON_TABLE(native_session_create_table, native_session_create);

FIELDS(native_session_command_table) = {
    STR(native_session_command, "id", id, REQ),
    STR(native_session_command, "command", command, OPT),
    STR(native_session_command, "status", status, OPT),
    I64(native_session_command, "exit_code", exit_code, NUL,
        .has = JSON_HAS(struct native_session_command, has_exit_code)),
    BOOL(native_session_command, "async", async, OPT),
    BOOL(native_session_command, "timed_out", timed_out, OPT),
};
JSON_TABLE(native_session_command_table, native_session_command, .lax = true);

FIELDS(native_session_table) = {
    STR(native_session, "id", id, REQ),
    ARR(native_session, "commands", commands, native_session_command_table),
};
JSON_TABLE(native_session_table, native_session, .lax = true);

FIELDS(native_session_list_table) = {
    STRS(native_session_list, "sessions", sessions, OPT),
};
JSON_TABLE(native_session_list_table, native_session_list, .lax = true);

FIELDS(native_session_exec_table) = {
    STR(native_session_exec, "command", command, REQ, .max = SMX_ARGS_BYTES_MAX - 8192),
    STR(native_session_exec, "cwd", cwd, OPT, .max = SMX_PATH_MAX - 1),
    BOOL(native_session_exec, "async", async, OPT),
    DBL(native_session_exec, "timeout_s", timeout_s, OPT, .max = NATIVE_TIMEOUT_S_MAX),
};
JSON_TABLE(native_session_exec_table, native_session_exec);

FIELDS(native_session_result_table) = {
    STR(native_session_result, "cmd_id", cmd_id, REQ),
    STR(native_session_result, "status", status, OPT),
    I64(native_session_result, "exit_code", exit_code, NUL,
        .has = JSON_HAS(struct native_session_result, has_exit_code)),
    STR(native_session_result, "stdout", stdout_text, OMIT),
    BYTES(native_session_result, "stdout_b64", stdout_b64, OMIT),
    STR(native_session_result, "stderr", stderr_text, OMIT),
    BYTES(native_session_result, "stderr_b64", stderr_b64, OMIT),
    STR(native_session_result, "output", output_text, OMIT),
    BYTES(native_session_result, "output_b64", output_b64, OMIT),
    BOOL(native_session_result, "truncated", truncated, OPT),
    BOOL(native_session_result, "timed_out", timed_out, OPT),
};
JSON_TABLE(native_session_result_table, native_session_result, .lax = true);

FIELDS(native_session_input_table) = {
    STR(native_session_input, "data", data, OPT),
    BYTES(native_session_input, "data_b64", data_b64, OPT),
    BOOL(native_session_input, "eof", eof, OPT),
};
JSON_TABLE(native_session_input_table, native_session_input);

FIELDS(native_migrate_table) = {
    STR(native_migrate, "runtime", runtime, REQ, .max = SMX_NAME_LEN_MAX),
    STR(native_migrate, "template", template_name, OPT, .max = SMX_TEMPLATE_LEN_MAX),
};
JSON_TABLE(native_migrate_table, native_migrate);
