/* native.h - messages of the native API as tables, read from two sides: the front end decodes
 * requests and encodes replies, the client the other way round. No I/O. Request tables are strict
 * (unknown keys are refused, naming them); reply tables are lax, so that an old client reads a
 * newer server.
 *
 * What docs/api.md leaves to this file:
 *
 * exec, JSON       `command` is shell text ("ls | wc -l": run by the user's shell with -c) or an
 * argv array (no shell); native_command_decode() tells which. A program that cannot be found is
 * exit code 127 and one that cannot be executed 126, with one line on stderr: not an HTTP error.
 * exec, NDJSON     one native_exec_event a line. Bytes travel as text when they are UTF-8 without
 * NUL, else as *_b64; the server holds back a character that is cut at a chunk's end. What goes
 * wrong after the 200 is
 *                  {"error": problem} as the last line. The client leaving stops nothing: the
 * process goes on. exec, WebSocket  GET
 * .../exec?tty=1&cols=&rows=&command=&user=&cwd=&timeout_s=&channels=1. Without `command` in the
 * query the first frame is text, {"start": native_ws_start}, which carries argv, environment and
 * long texts. client to server  binary: bytes of stdin. text: {"resize":{"cols","rows"}},
 * {"signal":"SIGINT"} (name or number as text), {"eof":true} (closes stdin; on a terminal: sends
 * ^D). server to client  text {"start":{"pid"}} first; binary: output. With channels=1 (or
 * start.channels) and no tty the first byte of each binary frame is the stream, NATIVE_WS_STDOUT or
 * _STDERR; else frames are plain output. Last a text {"exit":{...}} or {"error": problem}, then
 * close 1000. Before closing the server goes on reading (and drops) stdin until the client's close,
 * bounded, so that no reset overtakes the exit. A client that vanishes without close: a tty gets
 * SIGHUP, others go on. files            GET files?path=&depth=1 lists; &stat=1 answers the entry
 * itself, one native_file (links not followed). PUT files?path= makes a folder and its parents: 201
 * made, 200 was there. POST files/move, native_move. PUT files/content?path=&mode=0644 sets the
 * mode too. `permissions` is octal text, "0644"; `type` is file, dir, symlink or other. logs always
 * NDJSON, one native_log_line a line; follow=1 goes on until the sandbox is deleted; tail=N. stats
 * one native_stats object; follow=1: NDJSON, one a second. events SSE: "id: <seq>", "event:
 * <type>", "data: <native_event>", a comment line as keepalive. keys POST /api/keys
 * native_key_create -> 201 native_key with `key` (shown once); GET -> {"items"}; DELETE
 *                  /api/keys/{id} -> 204. */
#ifndef SMX_WIRE_NATIVE_NATIVE_H
#define SMX_WIRE_NATIVE_NATIVE_H

#include "json/json.h"

#define NATIVE_JSON "application/json"
#define NATIVE_NDJSON "application/x-ndjson"
#define NATIVE_PROBLEM "application/problem+json"
#define NATIVE_PROBLEM_TYPE "urn:sandmux:error:" /* + code */
#define NATIVE_TIMEOUT_S_MAX 315360000           /* ten years */

/* --- sandboxes ------------------------------------------------------------------------------- */

struct native_resources {
    double cpu; /* cores; 0: absent, the default, also below */
    uint64_t memory_mib, disk_mib, pids;
};

struct native_create {   /* POST /api/sandboxes, PUT /api/sandboxes/{name} */
    char *template_name; /* "template" */
    char *runtime, *name, *project_id;
    char *password; /* secret */
    struct json_map metadata, env;
    uint64_t timeout_s; /* 0: no limit */
    bool has_timeout;   /* absent: the default, an hour from the last use */
    struct native_resources resources;
};

struct native_patch {
    uint64_t timeout_s;
    bool has_timeout;
    struct json_map metadata; /* .set: replaces all */
    char *name;
};

struct native_sandbox {
    char *id, *name;
    struct json_strings aliases;
    char *runtime, *provider_id, *state, *template_name, *project_id;
    struct json_map metadata;
    char *created_at, *updated_at, *expires_at; /* RFC 3339; expires_at NULL: never */
    struct native_resources resources;
    char *limits; /* "hard" or "soft" */
    bool internet;
    char *capabilities; /* JSON object of booleans */
    char *reason;       /* why it ended, or NULL */
    bool recreated;     /* only from PUT: it had ended by itself and was made again */
};

struct native_sandbox_list {
    struct json_array items; /* of native_sandbox */
    char *next_cursor;
};

/* --- exec ------------------------------------------------------------------------------------ */

struct native_exec {
    char *command; /* raw JSON: string or array; see native_command_decode() */
    char *cwd, *user;
    struct json_map env;
    char *stdin_text; /* "stdin"; at most one of the two */
    struct json_bytes stdin_b64;
    double timeout_s;          /* kill after this; 0 or absent: no limit */
    uint64_t max_output_bytes; /* 0: SMX_EXEC_OUTPUT_DEFAULT; JSON form only */
};

struct native_command {
    char *shell;              /* shell text, or NULL */
    struct json_strings argv; /* else at least one element, argv[0] not empty */
};
/* raw: the command of a native_exec or native_ws_start. -SMX_E_INVALID names what is wrong. */
int native_command_decode(const char *raw, struct native_command *ret, struct smx_err *err);
void native_command_done(struct native_command *c);

struct native_exec_result {
    int64_t exit_code; /* 128 + n after signal n */
    int64_t signal;    /* null when it exited by itself */
    bool has_signal;
    char *stdout_text, *stderr_text; /* "stdout", "stderr"; absent where the _b64 is there */
    struct json_bytes stdout_b64, stderr_b64;
    uint64_t duration_ms;
    bool truncated, timed_out;
};

struct native_problem {
    char *type, *title;
    uint64_t status;
    char *detail, *code, *hint, *request_id;
};

struct native_exec_start {
    uint64_t pid; /* of an exec */
    char *cmd_id; /* of a session's command */
};
struct native_exec_exit {
    int64_t exit_code, signal;
    bool has_signal;
    uint64_t duration_ms;
    bool timed_out;
};
struct native_exec_event { /* NDJSON line, and text frame from the server; one member is there */
    struct native_exec_start *start;
    char *stdout_text, *stderr_text;
    struct json_bytes stdout_b64, stderr_b64;
    struct native_exec_exit *exit;
    struct native_problem *error;
};
/* Appends one line with its newline: {"stdout":...} or {"stdout_b64":...}; key "stdout" or
 * "stderr". */
void native_output_line(struct smx_buf *out, const char *key, const void *data, size_t n);

enum { NATIVE_WS_STDOUT = 1, NATIVE_WS_STDERR = 2 };

struct native_ws_start {
    char *command; /* raw JSON, as in native_exec */
    char *cwd, *user;
    struct json_map env;
    double timeout_s;
    bool tty, channels;
    uint64_t cols, rows; /* 0: 80 x 24 */
};
struct native_resize {
    uint64_t cols, rows;
};
struct native_ws_control { /* text frame from the client; one member is there */
    struct native_ws_start *start;
    struct native_resize *resize;
    char *signal;
    bool eof;
};
/* "SIGINT", "INT" or "2" to 2; -SMX_E_INVALID for others. */
int native_signal_parse(const char *s, int *ret, struct smx_err *err);

struct native_process {
    uint64_t pid;
    char *tag, *cmd, *cwd;
    struct json_strings args;
};
struct native_process_list {
    struct json_array processes;
};

/* --- sessions -------------------------------------------------------------------------------- */

struct native_session_create { /* POST .../sessions: 201 made, 200 was there */
    char *id;
    char *user, *cwd, *shell;
};
struct native_session_command {
    char *id, *command;
    char *status; /* "running", "ended" or "lost" (its end was not seen) */
    int64_t exit_code;
    bool has_exit_code, async, timed_out;
};
struct native_session {
    char *id;
    struct json_array commands;
};
struct native_session_list {
    struct json_strings sessions;
};
struct native_session_exec { /* POST .../sessions/{session}/exec */
    char *command;           /* shell text */
    char *cwd;               /* of this command alone */
    bool async;
    double timeout_s;
};
/* The reply to exec, and GET .../sessions/{session}/commands/{command}/logs; output is both streams
 * in the order they came. With follow=1 the logs are NDJSON lines as those of exec. */
struct native_session_result {
    char *cmd_id, *status;
    int64_t exit_code;
    bool has_exit_code;
    char *stdout_text, *stderr_text, *output_text;
    struct json_bytes stdout_b64, stderr_b64, output_b64;
    bool truncated, timed_out;
};
struct native_migrate { /* POST .../migrate */
    char *runtime, *template_name;
};
struct native_session_input { /* POST .../sessions/{session}/commands/{command}/input */
    char *data;
    struct json_bytes data_b64;
    bool eof;
};

/* --- files ----------------------------------------------------------------------------------- */

struct native_file {
    char *name, *path;
    bool is_dir;
    uint64_t size;
    char *mod_time;    /* RFC 3339 */
    char *permissions; /* "0644" */
    char *type, *target, *owner, *group;
};
/* As json_encode() by its table, only faster. */
void native_file_encode(struct json_writer *w, const struct native_file *f);
struct native_file_list {
    struct json_array files;
};
struct native_move {
    char *from, *to;
};

/* --- the rest -------------------------------------------------------------------------------- */

struct native_preview {
    char *url, *token;
};

struct native_log_line {
    char *time;
    char *source; /* "lifecycle", "process" or "start" (a template's start command) */
    char *message;
};

struct native_stats {
    char *time;
    uint64_t cpu_ms;                 /* used since start */
    bool has_cpu, has_pids, has_net; /* else null: the runtime does not say */
    uint64_t memory_bytes, memory_limit_bytes;
    uint64_t disk_bytes, disk_limit_bytes;
    uint64_t pids, pids_limit;
    uint64_t net_rx_bytes, net_tx_bytes;
};

struct native_event {
    uint64_t seq;
    char *time, *type; /* "sandbox.state", "runtime.switched", ... */
    char *sandbox_id, *runtime, *state, *previous_state, *reason, *detail;
};

struct native_template {
    char *name, *digest, *description, *default_user;
    uint64_t size_bytes;
    struct native_resources resources;
};
struct native_template_list {
    struct json_array items;
};

struct native_key_create {
    char *name;
};
struct native_key {
    char *id, *name, *prefix, *created_at, *last_used_at;
    char *key; /* only in the reply to its creation */
};
struct native_key_list {
    struct json_array items;
};

struct native_switch {
    char *runtime;
};
struct native_switch_result {
    char *status, *message, *previous_runtime, *current_runtime;
    struct json_strings warnings;
};
struct native_runtime_status {
    char *current_runtime;
    struct json_strings available_runtimes;
    bool runtime_configured;
    char *runtime_info; /* raw JSON */
};
struct native_runtime_live {
    bool ok;
};
struct native_runtime_validation {
    char *runtime;
    bool is_configured;
    char *configuration; /* raw JSON */
    struct native_runtime_live live;
};
struct native_runtime_health {
    char *status, *runtime;
    bool configured;
    char *timestamp, *error;
};
struct native_version {
    char *version, *commit, *api;
};
struct native_check {
    char *name;
    bool ok;
    char *detail, *hint;
};
struct native_ready {
    bool ready;
    struct json_array checks;
};

/* Any error body: {"detail": text or list} of /api/runtime, or a problem. */
struct native_error_body {
    char *code, *title, *hint, *request_id;
    char *detail; /* raw JSON */
};

extern const struct json_table native_resources_table, native_resources_reply_table,
    native_create_table, native_patch_table, native_sandbox_table, native_sandbox_list_table,
    native_exec_table, native_exec_result_table, native_problem_table, native_exec_start_table,
    native_exec_exit_table, native_exec_event_table, native_ws_start_table, native_resize_table,
    native_ws_control_table, native_session_create_table, native_session_command_table,
    native_session_table, native_session_list_table, native_session_exec_table,
    native_session_result_table, native_session_input_table, native_migrate_table,
    native_process_table, native_process_list_table, native_file_table, native_file_list_table,
    native_move_table, native_preview_table, native_log_line_table, native_stats_table,
    native_event_table, native_template_table, native_template_list_table, native_key_create_table,
    native_key_table, native_key_list_table, native_switch_table, native_switch_result_table,
    native_runtime_status_table, native_runtime_live_table, native_runtime_validation_table,
    native_runtime_health_table, native_version_table, native_check_table, native_ready_table,
    native_error_body_table;

#endif
