/* proto.c - the numbers of the fields of the binary form. They stand beside the rows of the JSON
 * tables, by name; everything else follows from the kind of the row. See proto.h. Pure, any thread.
 */
#include "wire/envd/proto_internal.h"

enum { ROWS_MAX = 12 };

struct proto_shape {
    const char *table;
    struct proto_number rows[ROWS_MAX];
};

static const struct proto_shape shapes[] = {
    { "envd_process_config", { { "cmd", 1 }, { "args", 2 }, { "envs", 3 }, { "cwd", 4 } } },
    { "envd_pty_size", { { "cols", 1 }, { "rows", 2 } } },
    { "envd_pty", { { "size", 1 } } },
    { "envd_start_request", { { "process", 1 }, { "pty", 2 }, { "tag", 3 }, { "stdin", 4 } } },
    { "envd_selector", { { "pid", 1 }, { "tag", 2 } } },
    { "envd_connect_request", { { "process", 1 } } },
    { "envd_input", { { "stdin", 1 }, { "pty", 2 } } },
    { "envd_send_input_request", { { "process", 1 }, { "input", 2 } } },
    { "envd_stream_input_start", { { "process", 1 } } },
    { "envd_stream_input_data", { { "input", 2 } } },
    { "envd_stream_input_request", { { "start", 1 }, { "data", 2 }, { "keepalive", 3 } } },
    { "envd_send_signal_request", { { "process", 1 }, { "signal", 2 } } },
    { "envd_close_stdin_request", { { "process", 1 } } },
    { "envd_update_request", { { "process", 1 }, { "pty", 2 } } },
    { "envd_process_info", { { "config", 1 }, { "pid", 2 }, { "tag", 3 } } },
    { "envd_list_response", { { "processes", 1 } } },
    { "envd_start_event", { { "pid", 1 } } },
    { "envd_data_event", { { "stdout", 1 }, { "stderr", 2 }, { "pty", 3 } } },
    { "envd_end_event",
        { { "exitCode", 1, PROTO_ZIGZAG }, { "exited", 2 }, { "status", 3 }, { "error", 4 } } },
    { "envd_process_event", { { "start", 1 }, { "data", 2 }, { "end", 3 }, { "keepalive", 4 } } },
    { "envd_event_message", { { "event", 1 } } },
    { "envd_entry",
        { { "name", 1 }, { "type", 2 }, { "path", 3 }, { "size", 4 }, { "mode", 5 },
            { "permissions", 6 }, { "owner", 7 }, { "group", 8 },
            { "modifiedTime", 9, PROTO_TIMESTAMP }, { "symlinkTarget", 10 }, { "metadata", 11 } } },
    { "envd_path_request", { { "path", 1 } } },
    { "envd_list_dir_request", { { "path", 1 }, { "depth", 2 } } },
    { "envd_move_request", { { "source", 1 }, { "destination", 2 } } },
    { "envd_entry_response", { { "entry", 1 } } },
    { "envd_entries_response", { { "entries", 1 } } },
    { "envd_watch_request",
        { { "path", 1 }, { "recursive", 2 }, { "includeEntry", 3 }, { "allowNetworkMounts", 4 } } },
    { "envd_fs_event", { { "name", 1 }, { "type", 2 }, { "entry", 3 } } },
    { "envd_watch_message", { { "start", 1 }, { "filesystem", 2 }, { "keepalive", 3 } } },
    { "envd_create_watcher_response", { { "watcherId", 1 } } },
    { "envd_watcher_request", { { "watcherId", 1 } } },
    { "envd_watcher_events_response", { { "events", 1 } } },
};

const struct proto_shape *proto_shape_of(const struct json_table *t)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(shapes); i++)
        if (smx_streq(shapes[i].table, t->name))
            return &shapes[i];
    return NULL;
}

const struct proto_number *proto_number_of(const struct proto_shape *s, const char *name)
{
    for (size_t i = 0; s && i < ROWS_MAX && s->rows[i].name; i++)
        if (smx_streq(s->rows[i].name, name))
            return &s->rows[i];
    return NULL;
}
