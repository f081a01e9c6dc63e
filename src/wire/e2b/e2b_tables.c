/* e2b_tables.c - the tables of E2B's control plane. Constant data, no state, any thread.
 *
 * Numbers of requests have no bounds here: what is out of range is answered with E2B's own texts.
 */
#include "base/limits.h"
#include "wire/e2b/e2b.h"

#define ROW(type, key, member, k, fl, ...)                                                  \
    {                                                                                       \
        .name = (key), .kind = (k), .offset = offsetof(struct type, member), .flags = (fl), \
        __VA_ARGS__                                                                         \
    }
#define STR(type, key, member, fl, ...) ROW(type, key, member, JSON_STRING, fl, __VA_ARGS__)
#define RAW(type, key, member, fl) ROW(type, key, member, JSON_RAW, fl)
#define BOOL(type, key, member, fl) ROW(type, key, member, JSON_BOOL, fl)
/* A bool whose absence says something. */
#define TRI(type, key, member, fl) \
    ROW(type, key, member, JSON_BOOL, fl, .has = JSON_HAS(struct type, has_##member))
#define I64(type, key, member, fl, ...) ROW(type, key, member, JSON_I64, fl, __VA_ARGS__)
#define U64(type, key, member, fl) ROW(type, key, member, JSON_U64, (fl) | JSON_LAX_INT)
#define MAP(type, key, member, fl, ...) ROW(type, key, member, JSON_MAP, fl, __VA_ARGS__)
#define STRS(type, key, member, fl) ROW(type, key, member, JSON_STRINGS, fl)
#define PTR(type, key, member, tab) ROW(type, key, member, JSON_OBJECT_PTR, OMIT, .table = &(tab))
#define ARR(type, key, member, tab, fl) ROW(type, key, member, JSON_ARRAY, fl, .table = &(tab))
#define ENUM(type, key, member, fl, list) \
    ROW(type, key, member, JSON_ENUM, fl, .names = e2b_##list##_names)
#define HAS_TIMEOUT(type) .has = JSON_HAS(struct type, has_timeout)

#define OPT JSON_OPTIONAL
#define REQ JSON_REQUIRED
#define OMIT JSON_OMIT_ZERO
#define NUL JSON_NULLABLE_OUT
#define FIELDS(id) static const struct json_field id##_fields[]

const char *const e2b_state_names[] = { "running", "paused", NULL };
const char *const e2b_on_timeout_names[] = { "kill", "pause", NULL };
const char *const e2b_level_names[] = { "debug", "info", "warn", "error", NULL };

FIELDS(e2b_error_table) = {
    I64(e2b_error, "code", code, REQ),
    STR(e2b_error, "error_code", error_code, OMIT),
    STR(e2b_error, "message", message, OMIT),
};
JSON_TABLE(e2b_error_table, e2b_error, .lax = true);

/* --- creating ------------------------------------------------------------------------------ */

FIELDS(e2b_network_table) = {
    TRI(e2b_network, "allowPublicTraffic", allow_public_traffic, OPT),
    STRS(e2b_network, "allowOut", allow_out, OMIT),
    STRS(e2b_network, "denyOut", deny_out, OMIT),
    RAW(e2b_network, "egressProxy", egress_proxy, OMIT),
    RAW(e2b_network, "rules", rules, OMIT),
    RAW(e2b_network, "httpsPorts", https_ports, OMIT),
    RAW(e2b_network, "dnsServers", dns_servers, OMIT),
    STR(e2b_network, "maskRequestHost", mask_request_host, OMIT),
};
JSON_TABLE(e2b_network_table, e2b_network, .lax = true);

FIELDS(e2b_auto_resume_table) = {
    BOOL(e2b_auto_resume, "enabled", enabled, OPT),
};
JSON_TABLE(e2b_auto_resume_table, e2b_auto_resume, .lax = true);

FIELDS(e2b_volume_mount_table) = {
    STR(e2b_volume_mount, "name", name, OPT),
    STR(e2b_volume_mount, "path", path, OPT),
};
JSON_TABLE(e2b_volume_mount_table, e2b_volume_mount, .lax = true);

FIELDS(e2b_new_sandbox_table) = {
    STR(e2b_new_sandbox, "templateID", template_id, REQ),
    I64(e2b_new_sandbox, "timeout", timeout, OPT, HAS_TIMEOUT(e2b_new_sandbox)),
    BOOL(e2b_new_sandbox, "autoPause", auto_pause, OMIT),
    TRI(e2b_new_sandbox, "autoPauseMemory", auto_pause_memory, OPT),
    PTR(e2b_new_sandbox, "autoResume", auto_resume, e2b_auto_resume_table),
    BOOL(e2b_new_sandbox, "secure", secure, OMIT),
    TRI(e2b_new_sandbox, "allow_internet_access", allow_internet_access, OPT),
    PTR(e2b_new_sandbox, "network", network, e2b_network_table),
    MAP(e2b_new_sandbox, "metadata", metadata, OMIT, .max = SMX_METADATA_ENTRIES_MAX),
    MAP(e2b_new_sandbox, "envVars", env, OMIT, .max = SMX_ENV_ENTRIES_MAX),
    RAW(e2b_new_sandbox, "mcp", mcp, OMIT),
    RAW(e2b_new_sandbox, "iam", iam, OMIT),
    ARR(e2b_new_sandbox, "volumeMounts", volume_mounts, e2b_volume_mount_table, OMIT),
};
JSON_TABLE(e2b_new_sandbox_table, e2b_new_sandbox, .lax = true);

FIELDS(e2b_sandbox_table) = {
    STR(e2b_sandbox, "templateID", template_id, REQ),
    STR(e2b_sandbox, "sandboxID", sandbox_id, REQ),
    STR(e2b_sandbox, "alias", alias, OMIT),
    STR(e2b_sandbox, "clientID", client_id, OMIT),
    STR(e2b_sandbox, "envdVersion", envd_version, REQ),
    STR(e2b_sandbox, "envdAccessToken", envd_access_token, OMIT),
    STR(e2b_sandbox, "trafficAccessToken", traffic_access_token, NUL),
    STR(e2b_sandbox, "domain", domain, NUL),
};
JSON_TABLE(e2b_sandbox_table, e2b_sandbox, .lax = true);

/* --- looking ------------------------------------------------------------------------------- */

FIELDS(e2b_lifecycle_table) = {
    BOOL(e2b_lifecycle, "autoResume", auto_resume, OPT),
    ENUM(e2b_lifecycle, "onTimeout", on_timeout, OPT, on_timeout),
};
JSON_TABLE(e2b_lifecycle_table, e2b_lifecycle, .lax = true);

#define LISTED(type)                                                                          \
    STR(type, "templateID", template_id, REQ), STR(type, "alias", alias, OMIT),               \
        STR(type, "sandboxID", sandbox_id, REQ), STR(type, "clientID", client_id, OMIT),      \
        STR(type, "startedAt", started_at, REQ), STR(type, "endAt", end_at, REQ),             \
        U64(type, "cpuCount", cpu_count, OPT), U64(type, "memoryMB", memory_mb, OPT),         \
        U64(type, "diskSizeMB", disk_size_mb, OPT), MAP(type, "metadata", metadata, OPT),     \
        ENUM(type, "state", state, REQ, state), STR(type, "envdVersion", envd_version, OMIT), \
        ARR(type, "volumeMounts", volume_mounts, e2b_volume_mount_table, OMIT)

FIELDS(e2b_listed_sandbox_table) = {
    LISTED(e2b_listed_sandbox),
};
JSON_TABLE(e2b_listed_sandbox_table, e2b_listed_sandbox, .lax = true);

FIELDS(e2b_sandbox_detail_table) = {
    LISTED(e2b_sandbox_detail),
    STR(e2b_sandbox_detail, "envdAccessToken", envd_access_token, OMIT),
    STR(e2b_sandbox_detail, "domain", domain, NUL),
    TRI(e2b_sandbox_detail, "allowInternetAccess", allow_internet_access, NUL),
    RAW(e2b_sandbox_detail, "network", network, OMIT),
    PTR(e2b_sandbox_detail, "lifecycle", lifecycle, e2b_lifecycle_table),
    STR(e2b_sandbox_detail, "pauseMode", pause_mode, OMIT),
};
JSON_TABLE(e2b_sandbox_detail_table, e2b_sandbox_detail, .lax = true);

FIELDS(e2b_metric_table) = {
    STR(e2b_metric, "timestamp", timestamp, OMIT),
    I64(e2b_metric, "timestampUnix", timestamp_unix, JSON_LAX_INT),
    U64(e2b_metric, "cpuCount", cpu_count, OPT),
    ROW(e2b_metric, "cpuUsedPct", cpu_used_pct, JSON_DOUBLE, OPT),
    U64(e2b_metric, "memUsed", mem_used, OPT),
    U64(e2b_metric, "memTotal", mem_total, OPT),
    U64(e2b_metric, "memCache", mem_cache, OPT),
    U64(e2b_metric, "diskUsed", disk_used, OPT),
    U64(e2b_metric, "diskTotal", disk_total, OPT),
};
JSON_TABLE(e2b_metric_table, e2b_metric, .lax = true);

FIELDS(e2b_log_table) = {
    STR(e2b_log, "timestamp", timestamp, REQ),
    STR(e2b_log, "line", line, REQ),
};
JSON_TABLE(e2b_log_table, e2b_log, .lax = true);

FIELDS(e2b_log_entry_table) = {
    STR(e2b_log_entry, "timestamp", timestamp, REQ),
    STR(e2b_log_entry, "message", message, REQ),
    ENUM(e2b_log_entry, "level", level, REQ, level),
    MAP(e2b_log_entry, "fields", fields, OPT),
};
JSON_TABLE(e2b_log_entry_table, e2b_log_entry, .lax = true);

FIELDS(e2b_logs_table) = {
    ARR(e2b_logs, "logs", logs, e2b_log_table, OPT),
    ARR(e2b_logs, "logEntries", log_entries, e2b_log_entry_table, OPT),
};
JSON_TABLE(e2b_logs_table, e2b_logs, .lax = true);

FIELDS(e2b_logs_v2_table) = {
    ARR(e2b_logs_v2, "logs", logs, e2b_log_entry_table, OPT),
};
JSON_TABLE(e2b_logs_v2_table, e2b_logs_v2, .lax = true);

/* --- changing ------------------------------------------------------------------------------ */

FIELDS(e2b_timeout_table) = {
    I64(e2b_timeout, "timeout", timeout, REQ),
};
JSON_TABLE(e2b_timeout_table, e2b_timeout, .lax = true);

FIELDS(e2b_refresh_table) = {
    I64(e2b_refresh, "duration", duration, OPT, .has = JSON_HAS(struct e2b_refresh, has_duration)),
};
JSON_TABLE(e2b_refresh_table, e2b_refresh, .lax = true);

FIELDS(e2b_connect_table) = {
    I64(e2b_connect, "timeout", timeout, OPT, HAS_TIMEOUT(e2b_connect)),
    TRI(e2b_connect, "memory", memory, OPT),
};
JSON_TABLE(e2b_connect_table, e2b_connect, .lax = true);

FIELDS(e2b_resume_table) = {
    I64(e2b_resume, "timeout", timeout, OPT, HAS_TIMEOUT(e2b_resume)),
    TRI(e2b_resume, "autoPause", auto_pause, OPT),
    TRI(e2b_resume, "memory", memory, OPT),
};
JSON_TABLE(e2b_resume_table, e2b_resume, .lax = true);

FIELDS(e2b_pause_table) = {
    TRI(e2b_pause, "memory", memory, OPT),
};
JSON_TABLE(e2b_pause_table, e2b_pause, .lax = true);

/* --- templates and teams ------------------------------------------------------------------- */

FIELDS(e2b_team_table) = {
    STR(e2b_team, "teamID", team_id, REQ),
    STR(e2b_team, "name", name, REQ),
    STR(e2b_team, "apiKey", api_key, OPT),
    BOOL(e2b_team, "isDefault", is_default, OPT),
};
JSON_TABLE(e2b_team_table, e2b_team, .lax = true);

FIELDS(e2b_template_table) = {
    STR(e2b_template, "templateID", template_id, REQ),
    STR(e2b_template, "buildID", build_id, OPT),
    U64(e2b_template, "cpuCount", cpu_count, OPT),
    U64(e2b_template, "memoryMB", memory_mb, OPT),
    U64(e2b_template, "diskSizeMB", disk_size_mb, OPT),
    BOOL(e2b_template, "public", is_public, OPT),
    STRS(e2b_template, "aliases", aliases, OPT),
    STRS(e2b_template, "names", names, OPT),
    STR(e2b_template, "createdAt", created_at, OPT),
    STR(e2b_template, "updatedAt", updated_at, OPT),
    RAW(e2b_template, "createdBy", created_by, NUL),
    STR(e2b_template, "lastSpawnedAt", last_spawned_at, NUL),
    I64(e2b_template, "spawnCount", spawn_count, JSON_LAX_INT),
    I64(e2b_template, "buildCount", build_count, JSON_LAX_INT),
    STR(e2b_template, "envdVersion", envd_version, OPT),
    STR(e2b_template, "buildStatus", build_status, OPT),
    RAW(e2b_template, "builds", builds, OMIT),
};
JSON_TABLE(e2b_template_table, e2b_template, .lax = true);

FIELDS(e2b_template_alias_table) = {
    STR(e2b_template_alias, "templateID", template_id, REQ),
    BOOL(e2b_template_alias, "public", is_public, OPT),
};
JSON_TABLE(e2b_template_alias_table, e2b_template_alias, .lax = true);

const struct json_table *const e2b_tables[] = { &e2b_error_table, &e2b_network_table,
    &e2b_auto_resume_table, &e2b_volume_mount_table, &e2b_new_sandbox_table, &e2b_sandbox_table,
    &e2b_lifecycle_table, &e2b_listed_sandbox_table, &e2b_sandbox_detail_table, &e2b_metric_table,
    &e2b_log_table, &e2b_log_entry_table, &e2b_logs_table, &e2b_logs_v2_table, &e2b_timeout_table,
    &e2b_refresh_table, &e2b_connect_table, &e2b_resume_table, &e2b_pause_table, &e2b_team_table,
    &e2b_template_table, &e2b_template_alias_table, NULL };

/* --- lists --------------------------------------------------------------------------------- */

int e2b_list_decode(const struct json_table *t, const char *data, size_t n, struct json_array *ret,
    struct smx_err *err)
{
    const struct json_field row = { .name = "list", .kind = JSON_ARRAY, .table = t };

    return json_decode_field(&row, data, n, ret, err);
}

void e2b_list_free(const struct json_table *t, struct json_array *list)
{
    const struct json_field row = { .name = "list", .kind = JSON_ARRAY, .table = t };
    const struct json_table whole = {
        .name = "list", .size = sizeof *list, .fields = &row, .n = 1
    };

    json_free(&whole, list);
}
