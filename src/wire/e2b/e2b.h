/* e2b.h - the messages of E2B's control plane as tables, without I/O: the front end decodes the
 * requests and encodes the replies, the provider the reverse. Requests and replies ignore unknown
 * keys, null is absent. Facts: docs/protocols/e2b.md.
 *
 * struct e2b_x <-> e2b_x_table; json_free() frees what decoding made. Times are RFC 3339 texts.
 * Tokens are encoded in full: log none of these structs. */
#ifndef SMX_WIRE_E2B_E2B_H
#define SMX_WIRE_E2B_E2B_H

#include "json/json.h"

#define E2B_CLIENT_ID "6532622b" /* deprecated, but clients require it in every sandbox */
/* What requests are answered with when they leave a time out. */
enum { E2B_TIMEOUT_V1_S = 15, E2B_TIMEOUT_V2_S = 300, E2B_REFRESH_MAX_S = 3600 };
enum { E2B_LIST_MAX = 100, E2B_LOGS_MAX = 1000, E2B_METRICS_IDS_MAX = 100 };

/* Indexes of the JSON_ENUM members below; the name lists are NULL-terminated. */
enum e2b_state { E2B_RUNNING, E2B_PAUSED };
enum e2b_on_timeout { E2B_KILL, E2B_PAUSE };
enum e2b_level { E2B_DEBUG, E2B_INFO, E2B_WARN, E2B_ERROR };
extern const char *const e2b_state_names[], *const e2b_on_timeout_names[], *const e2b_level_names[];

struct e2b_error {
    int64_t code; /* the HTTP status; clients look at it rather than at the status line */
    char *error_code;
    char *message;
};

/* --- creating ------------------------------------------------------------------------------ */

struct e2b_network {
    bool allow_public_traffic, has_allow_public_traffic; /* absent: true */
    struct json_strings allow_out, deny_out;
    char *egress_proxy, *rules, *https_ports, *dns_servers; /* JSON texts; NULL: absent */
    char *mask_request_host;
};
struct e2b_auto_resume {
    bool enabled;
};
struct e2b_volume_mount {
    char *name, *path;
};
/* POST /sandboxes and POST /v2/sandboxes: the first has secure, the second is always secure. */
struct e2b_new_sandbox {
    char *template_id;
    int64_t timeout;
    bool has_timeout;
    bool auto_pause;
    bool auto_pause_memory, has_auto_pause_memory; /* absent: true */
    struct e2b_auto_resume *auto_resume;
    bool secure;
    bool allow_internet_access, has_allow_internet_access; /* absent: true */
    struct e2b_network *network;
    struct json_map metadata, env;
    char *mcp, *iam;                 /* JSON texts */
    struct json_array volume_mounts; /* of struct e2b_volume_mount */
};
/* The reply to create, connect and resume. */
struct e2b_sandbox {
    char *template_id, *sandbox_id, *alias, *client_id, *envd_version;
    char *envd_access_token, *traffic_access_token, *domain; /* NULL: none; secrets but domain */
};

/* --- looking ------------------------------------------------------------------------------- */

struct e2b_lifecycle {
    bool auto_resume;
    int on_timeout; /* enum e2b_on_timeout */
};
/* An entry of a list, and with the members below lifecycle the reply to GET /sandboxes/{id}. */
struct e2b_listed_sandbox {
    char *template_id, *alias, *sandbox_id, *client_id, *started_at, *end_at;
    uint64_t cpu_count, memory_mb, disk_size_mb;
    struct json_map metadata;
    int state; /* enum e2b_state */
    char *envd_version;
    struct json_array volume_mounts;
};
struct e2b_sandbox_detail {
    char *template_id, *alias, *sandbox_id, *client_id, *started_at, *end_at;
    uint64_t cpu_count, memory_mb, disk_size_mb;
    struct json_map metadata;
    int state;
    char *envd_version;
    struct json_array volume_mounts;
    char *envd_access_token, *domain;
    bool allow_internet_access, has_allow_internet_access; /* absent: null */
    char *network;                                         /* JSON text as it was given */
    struct e2b_lifecycle *lifecycle;
    char *pause_mode; /* "full", "filesystem"; NULL: it runs */
};
struct e2b_metric {
    char *timestamp;
    int64_t timestamp_unix;
    uint64_t cpu_count;
    double cpu_used_pct;
    uint64_t mem_used, mem_total, mem_cache, disk_used, disk_total;
};
struct e2b_log {
    char *timestamp, *line;
};
struct e2b_log_entry {
    char *timestamp, *message;
    int level; /* enum e2b_level */
    struct json_map fields;
};
struct e2b_logs {                  /* GET /sandboxes/{id}/logs */
    struct json_array logs;        /* of struct e2b_log */
    struct json_array log_entries; /* of struct e2b_log_entry */
};
struct e2b_logs_v2 {        /* GET /v2/sandboxes/{id}/logs */
    struct json_array logs; /* of struct e2b_log_entry */
};

/* --- changing ------------------------------------------------------------------------------ */

struct e2b_timeout { /* POST .../timeout */
    int64_t timeout;
};
struct e2b_refresh { /* POST .../refreshes */
    int64_t duration;
    bool has_duration;
};
struct e2b_connect { /* POST .../connect: version 1 requires timeout, version 2 has a default */
    int64_t timeout;
    bool has_timeout;
    bool memory, has_memory; /* absent: true; false: boot from disk */
};
struct e2b_resume { /* POST .../resume */
    int64_t timeout;
    bool has_timeout;
    bool auto_pause, has_auto_pause;
    bool memory, has_memory;
};
struct e2b_pause {           /* POST .../pause */
    bool memory, has_memory; /* absent: true; false: keep files only */
};

/* --- templates and teams ------------------------------------------------------------------- */

struct e2b_team {
    char *team_id, *name, *api_key;
    bool is_default;
};
struct e2b_template {
    char *template_id, *build_id;
    uint64_t cpu_count, memory_mb, disk_size_mb;
    bool is_public;
    struct json_strings aliases, names;
    char *created_at, *updated_at;
    char *created_by;      /* JSON text; NULL: null */
    char *last_spawned_at; /* NULL: null */
    int64_t spawn_count, build_count;
    char *envd_version, *build_status;
    char *builds; /* JSON text of a list, in GET /templates/{id} only */
};
struct e2b_template_alias {
    char *template_id;
    bool is_public;
};

extern const struct json_table e2b_error_table, e2b_network_table, e2b_auto_resume_table,
    e2b_volume_mount_table, e2b_new_sandbox_table, e2b_sandbox_table, e2b_lifecycle_table,
    e2b_listed_sandbox_table, e2b_sandbox_detail_table, e2b_metric_table, e2b_log_table,
    e2b_log_entry_table, e2b_logs_table, e2b_logs_v2_table, e2b_timeout_table, e2b_refresh_table,
    e2b_connect_table, e2b_resume_table, e2b_pause_table, e2b_team_table, e2b_template_table,
    e2b_template_alias_table;
/* All of them, NULL-terminated, for tests and fuzzing. */
extern const struct json_table *const e2b_tables[];

/* A list that is a whole document: array gets structs of t; free with e2b_list_free(). */
int e2b_list_decode(const struct json_table *t, const char *data, size_t n, struct json_array *ret,
    struct smx_err *err);
void e2b_list_free(const struct json_table *t, struct json_array *list);

#endif
