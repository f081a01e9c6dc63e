/* envd.h - the messages of the envd protocol (process.Process, filesystem.Filesystem, /init,
 * /metrics) as tables, read by the agent that serves them and by the clients that call them. No
 * I/O. They are of the JSON codec (proto.h: the binary one), by proto3's rules: lowerCamelCase out,
 * snake_case accepted, unknown fields skipped, zero values left out, 64-bit integers as strings.
 *
 * Structs are filled by json_decode() and freed by json_free() with the table of the same name:
 * struct envd_start_request <-> envd_start_request_table. Source: docs/protocols/e2b.md. */
#ifndef SMX_WIRE_ENVD_ENVD_H
#define SMX_WIRE_ENVD_ENVD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "json/json.h"

/* --- routes ------------------------------------------------------------------------------ */

#define ENVD_PROCESS_START "/process.Process/Start"
#define ENVD_PROCESS_CONNECT "/process.Process/Connect"
#define ENVD_PROCESS_LIST "/process.Process/List"
#define ENVD_PROCESS_SEND_INPUT "/process.Process/SendInput"
#define ENVD_PROCESS_STREAM_INPUT "/process.Process/StreamInput"
#define ENVD_PROCESS_SEND_SIGNAL "/process.Process/SendSignal"
#define ENVD_PROCESS_CLOSE_STDIN "/process.Process/CloseStdin"
#define ENVD_PROCESS_UPDATE "/process.Process/Update"
#define ENVD_FS_STAT "/filesystem.Filesystem/Stat"
#define ENVD_FS_LIST_DIR "/filesystem.Filesystem/ListDir"
#define ENVD_FS_MAKE_DIR "/filesystem.Filesystem/MakeDir"
#define ENVD_FS_MOVE "/filesystem.Filesystem/Move"
#define ENVD_FS_REMOVE "/filesystem.Filesystem/Remove"
#define ENVD_FS_WATCH_DIR "/filesystem.Filesystem/WatchDir"
#define ENVD_FS_CREATE_WATCHER "/filesystem.Filesystem/CreateWatcher"
#define ENVD_FS_GET_WATCHER_EVENTS "/filesystem.Filesystem/GetWatcherEvents"
#define ENVD_FS_REMOVE_WATCHER "/filesystem.Filesystem/RemoveWatcher"
#define ENVD_FILES_COMPOSE "/files/compose"
#define ENVD_FILES "/files"
#define ENVD_HEALTH "/health"
#define ENVD_INIT "/init"
#define ENVD_METRICS "/metrics"
#define ENVD_ENVS "/envs"

#define ENVD_VERSION "0.6.13"
/* By it a program finds the sandbox that it runs in. */
#define ENVD_SANDBOX_ID_VARIABLE "E2B_SANDBOX_ID"
#define ENVD_UNARY_TYPE "application/json"
#define ENVD_STREAM_TYPE "application/connect+json"
/* A keep-alive event after this long without another event, unless Keepalive-Ping-Interval (in
 * seconds) says otherwise. */
#define ENVD_KEEPALIVE_S 90

/* Beyond the protocol, between an agent and its gateway: with the field H1_DESCRIPTOR of one of
 * these values a Start brings a descriptor that becomes the process's stdin or stdout. A reply
 * without the field: it was not used. */
#define ENVD_PASSED_STDIN "stdin"
#define ENVD_PASSED_STDOUT "stdout"

/* --- process.Process --------------------------------------------------------------------- */

struct envd_empty {
    char unused; /* a message without fields, e.g. ListRequest or a keep-alive */
};

struct envd_process_config {
    char *cmd;
    struct json_strings args;
    struct json_map envs;
    char *cwd; /* NULL: the default directory */
};

struct envd_pty_size {
    uint64_t cols, rows;
};
struct envd_pty {
    struct envd_pty_size size;
};

struct envd_start_request {
    struct envd_process_config process;
    struct envd_pty *pty; /* NULL: pipes */
    char *tag;
    bool stdin_open; /* meaningful with has_stdin; absent means open */
    bool has_stdin;
};

/* Exactly one of pid and tag is expected. */
struct envd_selector {
    uint64_t pid;
    bool has_pid;
    char *tag;
};

struct envd_connect_request {
    struct envd_selector process;
};

struct envd_input {
    struct json_bytes stdin_data; /* "stdin" */
    struct json_bytes pty_data;   /* "pty" */
};
struct envd_send_input_request {
    struct envd_selector process;
    struct envd_input input;
};

/* One message of the client stream StreamInput: exactly one pointer is set. */
struct envd_stream_input_start {
    struct envd_selector process;
};
struct envd_stream_input_data {
    struct envd_input input;
};
struct envd_stream_input_request {
    struct envd_stream_input_start *start;
    struct envd_stream_input_data *data;
    struct envd_empty *keepalive;
};

/* Numbers of the protocol's enum Signal, which are the kernel's. */
enum envd_signal { ENVD_SIGNAL_NONE = 0, ENVD_SIGNAL_KILL = 9, ENVD_SIGNAL_TERM = 15 };
struct envd_send_signal_request {
    struct envd_selector process;
    char *signal; /* JSON text: "SIGNAL_SIGKILL" with its quotes, or a number */
};
/* The signal that the JSON text names: 9 or 15, else ENVD_SIGNAL_NONE (also for NULL). */
int envd_signal_parse(const char *json);

struct envd_close_stdin_request {
    struct envd_selector process;
};
struct envd_update_request {
    struct envd_selector process;
    struct envd_pty *pty;
};

struct envd_process_info {
    struct envd_process_config config;
    uint64_t pid;
    char *tag;
};
struct envd_list_response {
    struct json_array processes; /* of struct envd_process_info */
};

/* Start and Connect answer a stream of these: exactly one pointer of the event is set. */
struct envd_start_event {
    uint64_t pid;
};
struct envd_data_event {
    struct json_bytes stdout_data, stderr_data, pty_data; /* one of them */
};
struct envd_end_event {
    int64_t exit_code; /* -1 when a signal ended it */
    bool exited;
    char *status; /* "exit status 3", "signal: killed" */
    char *error;
};
struct envd_process_event {
    struct envd_start_event *start;
    struct envd_data_event *data;
    struct envd_end_event *end;
    struct envd_empty *keepalive;
};
struct envd_event_message {
    struct envd_process_event event;
};

/* The path that output takes, without tables: data events are what streams are made of. */
enum envd_stream { ENVD_STDOUT, ENVD_STDERR, ENVD_PTY };
/* Appends {"event":{"data":{"stdout":"<base64>"}}}; failure sticks in the buffer. */
void envd_data_event_append(
    struct smx_buf *out, enum envd_stream stream, const void *data, size_t n);
/* True when the message is a data event in the compact form above: *ret_base64 is its text. False
 * for everything else, which json_decode() with envd_event_message_table then reads. */
bool envd_data_event_parse(
    const char *data, size_t n, enum envd_stream *ret_stream, struct smx_view *ret_base64);
/* Bytes that a data event of n bytes takes at most. */
size_t envd_data_event_size(size_t n);

/* --- filesystem.Filesystem --------------------------------------------------------------- */

enum envd_file_type {
    ENVD_TYPE_UNSPECIFIED,
    ENVD_TYPE_FILE,
    ENVD_TYPE_DIRECTORY,
    ENVD_TYPE_SYMLINK,
    ENVD_TYPE_COUNT_
};
extern const char *const envd_file_type_names[ENVD_TYPE_COUNT_ + 1]; /* NULL-terminated */

struct envd_entry {
    char *name;
    int type; /* enum envd_file_type */
    char *path;
    int64_t size;
    uint64_t mode;     /* permission bits */
    char *permissions; /* "-rw-r--r--", "Lrwxrwxrwx" */
    char *owner, *group;
    char *modified_time; /* RFC 3339 */
    char *symlink_target;
    bool is_symlink; /* the path itself; type is what it leads to */
    struct json_map metadata;
};

struct envd_path_request { /* Stat, MakeDir, Remove */
    char *path;
};
struct envd_list_dir_request {
    char *path;
    uint64_t depth; /* 0: 1 */
    /* Ours, unknown to E2B's envd, which skips it: the entries need no metadata, whose look-up is a
     * system call for each file, and no permissions in letters. */
    bool brief;
};
struct envd_move_request {
    char *source, *destination;
};
struct envd_entry_response { /* Stat, MakeDir, Move */
    struct envd_entry entry;
};
struct envd_entries_response { /* ListDir */
    struct json_array entries; /* of struct envd_entry */
};

struct envd_watch_request { /* WatchDir, CreateWatcher */
    char *path;
    bool recursive, include_entry, allow_network_mounts;
};
enum envd_fs_event_type {
    ENVD_EVENT_UNSPECIFIED,
    ENVD_EVENT_CREATE,
    ENVD_EVENT_WRITE,
    ENVD_EVENT_REMOVE,
    ENVD_EVENT_RENAME,
    ENVD_EVENT_CHMOD,
    ENVD_EVENT_COUNT_
};
extern const char *const envd_fs_event_names[ENVD_EVENT_COUNT_ + 1]; /* NULL-terminated */
struct envd_fs_event {
    char *name; /* relative to the watched directory */
    int type;   /* enum envd_fs_event_type */
    struct envd_entry *entry;
};
struct envd_watch_message { /* WatchDir answers a stream of these, one pointer set */
    struct envd_empty *start;
    struct envd_fs_event *filesystem;
    struct envd_empty *keepalive;
};
struct envd_create_watcher_response {
    char *watcher_id;
};
struct envd_watcher_request { /* GetWatcherEvents, RemoveWatcher */
    char *watcher_id;
};
struct envd_watcher_events_response {
    struct json_array events; /* of struct envd_fs_event */
};

/* --- plain HTTP -------------------------------------------------------------------------- */

/* POST /init. Absent fields leave the setting as it is. */
struct envd_init_request {
    struct json_map env_vars;
    char *default_user, *default_workdir;
    /* Ours: what E2B's sandboxes learn from their host. The limits are for /metrics, because no
     * cgroup is seen inside; 0 none. */
    char *sandbox_id, *template_id;
    uint64_t memory_bytes, cpu_milli;
};

/* POST /files/compose */
struct envd_compose_request {
    struct json_strings source_paths;
    char *destination, *username;
};

struct envd_metrics {
    int64_t ts; /* unix seconds */
    uint64_t cpu_count;
    double cpu_used_pct;
    uint64_t mem_total_mib, mem_used_mib, mem_total, mem_used, mem_cache;
    uint64_t disk_used, disk_total;
};

/* Errors of plain HTTP routes: the status again, and a sentence. */
struct envd_http_error {
    int64_t code;
    char *message;
};

extern const struct json_table envd_empty_table, envd_start_request_table,
    envd_connect_request_table, envd_send_input_request_table, envd_stream_input_request_table,
    envd_send_signal_request_table, envd_close_stdin_request_table, envd_update_request_table,
    envd_list_response_table, envd_event_message_table, envd_entry_table, envd_path_request_table,
    envd_list_dir_request_table, envd_move_request_table, envd_entry_response_table,
    envd_entries_response_table, envd_watch_request_table, envd_fs_event_table,
    envd_watch_message_table, envd_create_watcher_response_table, envd_watcher_request_table,
    envd_watcher_events_response_table, envd_init_request_table, envd_metrics_table,
    envd_compose_request_table, envd_http_error_table;

/* Every table of this room by name, for tests and the fuzz target; NULL-terminated. */
extern const struct json_table *const envd_tables[];

#endif
