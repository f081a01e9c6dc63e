/* engine_wire.c - see engine_wire.h. Pure tables and the checks that a single message allows; no
 * state, any thread. */
#include "wire/engine/engine_wire.h"

#include <string.h>

#include "base/limits.h"
#include "base/random.h"
#include "base/str.h"

enum { TOKEN_LIMIT = ENGINE_TOKEN_MAX, GRACE_MAX_MS = 600000 };

/* 10 years: what is longer is no deadline. */
#define DEADLINE_MAX_MS INT64_C(315360000000)

const char *const engine_op_names[] = { "hello", "create", "start", "stop", "pause", "resume",
    "delete", "set_deadline", "get", "list", "stats", "connect_agent", "connect_port", "doctor",
    "gateway", "shutdown", NULL };
const char *const engine_state_names[] = { "creating", "running", "paused", "stopping", "stopped",
    "deleting", "gone", NULL };
const char *const engine_reason_names[] = { "none", "exited", "killed", "oom", "disk_full",
    "expired", "stopped", "deleted", "reboot", "lost", NULL };
const char *const engine_event_names[] = { "none", "ended", "oom", "paused", NULL };
const char *const engine_at_expiry_names[] = { "kill", "pause", "stop", NULL };

_Static_assert(SMX_ARRAY_LEN(engine_op_names) == ENGINE_OP_COUNT_ + 1, "a name for each op");
_Static_assert(
    SMX_ARRAY_LEN(engine_state_names) == ENGINE_STATE_COUNT_ + 1, "a name for each state");
_Static_assert(
    SMX_ARRAY_LEN(engine_reason_names) == ENGINE_REASON_COUNT_ + 1, "a name for each reason");
_Static_assert(
    SMX_ARRAY_LEN(engine_event_names) == ENGINE_EVENT_COUNT_ + 1, "a name for each event");
_Static_assert(
    SMX_ARRAY_LEN(engine_at_expiry_names) == ENGINE_AT_EXPIRY_COUNT_ + 1, "a name for each");

#define ROW(type, member, k, ...)                                                          \
    {                                                                                      \
        .name = #member, .kind = (k), .offset = offsetof(struct type, member), __VA_ARGS__ \
    }

#define RESOURCE(member, most) \
    ROW(engine_resources, member, JSON_U64, .flags = JSON_OMIT_ZERO, .max = (most))

static const struct json_field engine_resources_table_fields[] = {
    RESOURCE(cpu_milli, 1000 * 1024),
    RESOURCE(memory_mib, 1024 * 1024 * 16),
    RESOURCE(disk_mib, INT64_C(1024) * 1024 * 1024),
    RESOURCE(pids, 4 * 1024 * 1024),
};
JSON_TABLE(engine_resources_table, engine_resources);

static const struct json_field engine_create_table_fields[] = {
    ROW(engine_create, token, JSON_STRING, .flags = JSON_OMIT_ZERO, .max = TOKEN_LIMIT),
    ROW(engine_create, template, JSON_STRING, .flags = JSON_OMIT_ZERO, .max = SMX_TEMPLATE_LEN_MAX),
    ROW(engine_create, hostname, JSON_STRING, .flags = JSON_OMIT_ZERO, .max = ENGINE_HOSTNAME_MAX),
    ROW(engine_create, resources, JSON_OBJECT, .table = &engine_resources_table),
    ROW(engine_create, at_expiry, JSON_ENUM, .flags = JSON_OMIT_ZERO,
        .names = engine_at_expiry_names),
};
JSON_TABLE(engine_create_table, engine_create);

static const struct json_field engine_request_table_fields[] = {
    ROW(engine_request, seq, JSON_U64, .flags = JSON_REQUIRED, .min = 1),
    ROW(engine_request, op, JSON_ENUM, .flags = JSON_REQUIRED, .names = engine_op_names),
    ROW(engine_request, id, JSON_STRING, .flags = JSON_OMIT_ZERO, .max = SMX_ID_LEN),
    ROW(engine_request, create, JSON_OBJECT_PTR, .flags = JSON_OMIT_ZERO,
        .table = &engine_create_table),
    ROW(engine_request, deadline_ms, JSON_U64, .max = DEADLINE_MAX_MS,
        .has = JSON_HAS(struct engine_request, has_deadline)),
    ROW(engine_request, grace_ms, JSON_U64, .max = GRACE_MAX_MS,
        .has = JSON_HAS(struct engine_request, has_grace)),
    ROW(engine_request, port, JSON_U64, .flags = JSON_OMIT_ZERO, .max = 65535),
    ROW(engine_request, version, JSON_U64, .flags = JSON_OMIT_ZERO),
    ROW(engine_request, after, JSON_STRING, .flags = JSON_OMIT_ZERO, .max = SMX_ID_LEN),
    ROW(engine_request, all, JSON_BOOL, .flags = JSON_OMIT_ZERO),
    ROW(engine_request, brief, JSON_BOOL, .flags = JSON_OMIT_ZERO),
};
JSON_TABLE(engine_request_table, engine_request);

static const struct json_field engine_sandbox_table_fields[] = {
    ROW(engine_sandbox, id, JSON_STRING, .flags = JSON_REQUIRED),
    ROW(engine_sandbox, token, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_sandbox, template, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_sandbox, hostname, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_sandbox, state, JSON_ENUM, .flags = JSON_REQUIRED, .names = engine_state_names),
    ROW(engine_sandbox, reason, JSON_ENUM, .names = engine_reason_names),
    ROW(engine_sandbox, resources, JSON_OBJECT, .table = &engine_resources_table),
    ROW(engine_sandbox, created_unix_ms, JSON_U64),
    ROW(engine_sandbox, pid, JSON_U64, .flags = JSON_OMIT_ZERO),
    ROW(engine_sandbox, deadline_ms, JSON_U64,
        .has = JSON_HAS(struct engine_sandbox, has_deadline)),
    ROW(engine_sandbox, ooms, JSON_U64, .flags = JSON_OMIT_ZERO),
    ROW(engine_sandbox, soft, JSON_BOOL, .flags = JSON_OMIT_ZERO),
    ROW(engine_sandbox, disk_bytes, JSON_U64, .flags = JSON_OMIT_ZERO),
};
JSON_TABLE(engine_sandbox_table, engine_sandbox, .lax = true);

static const struct json_field engine_stats_table_fields[] = {
    ROW(engine_stats, cpu_ns, JSON_U64),
    ROW(engine_stats, memory_bytes, JSON_U64),
    ROW(engine_stats, memory_peak_bytes, JSON_U64),
    ROW(engine_stats, memory_limit_bytes, JSON_U64),
    ROW(engine_stats, pids, JSON_U64),
    ROW(engine_stats, pids_limit, JSON_U64),
    ROW(engine_stats, disk_bytes, JSON_U64),
    ROW(engine_stats, disk_limit_bytes, JSON_U64),
    ROW(engine_stats, io_read_bytes, JSON_U64),
    ROW(engine_stats, io_write_bytes, JSON_U64),
    ROW(engine_stats, net_rx_bytes, JSON_U64),
    ROW(engine_stats, net_tx_bytes, JSON_U64),
    ROW(engine_stats, ooms, JSON_U64),
};
JSON_TABLE(engine_stats_table, engine_stats, .lax = true);

static const struct json_field engine_check_table_fields[] = {
    ROW(engine_check, name, JSON_STRING, .flags = JSON_REQUIRED),
    ROW(engine_check, ok, JSON_BOOL, .flags = JSON_REQUIRED),
    ROW(engine_check, required, JSON_BOOL),
    ROW(engine_check, detail, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_check, hint, JSON_STRING, .flags = JSON_OMIT_ZERO),
};
JSON_TABLE(engine_check_table, engine_check, .lax = true);

static const struct json_field engine_hello_table_fields[] = {
    ROW(engine_hello, version, JSON_U64, .flags = JSON_REQUIRED),
    ROW(engine_hello, instance, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_hello, build, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_hello, ready, JSON_BOOL),
    ROW(engine_hello, why, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_hello, limits, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_hello, disk, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_hello, cgroup, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_hello, pause, JSON_BOOL),
    ROW(engine_hello, idmap, JSON_BOOL),
    ROW(engine_hello, sandboxes, JSON_U64),
    ROW(engine_hello, defaults, JSON_OBJECT, .table = &engine_resources_table),
    ROW(engine_hello, max, JSON_OBJECT, .table = &engine_resources_table),
    ROW(engine_hello, templates, JSON_STRINGS),
};
JSON_TABLE(engine_hello_table, engine_hello, .lax = true);

static const struct json_field engine_reply_table_fields[] = {
    ROW(engine_reply, seq, JSON_U64, .flags = JSON_REQUIRED),
    ROW(engine_reply, event, JSON_ENUM, .flags = JSON_OMIT_ZERO, .names = engine_event_names),
    ROW(engine_reply, error, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_reply, message, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_reply, hello, JSON_OBJECT_PTR, .flags = JSON_OMIT_ZERO,
        .table = &engine_hello_table),
    ROW(engine_reply, sandbox, JSON_OBJECT_PTR, .flags = JSON_OMIT_ZERO,
        .table = &engine_sandbox_table),
    ROW(engine_reply, sandboxes, JSON_ARRAY, .flags = JSON_OMIT_ZERO,
        .table = &engine_sandbox_table),
    ROW(engine_reply, next, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(engine_reply, stats, JSON_OBJECT_PTR, .flags = JSON_OMIT_ZERO,
        .table = &engine_stats_table),
    ROW(engine_reply, checks, JSON_ARRAY, .flags = JSON_OMIT_ZERO, .table = &engine_check_table),
};
JSON_TABLE(engine_reply_table, engine_reply, .lax = true);

/* What a request must carry beside seq and op. */
enum { NEEDS_ID = 1, NEEDS_CREATE = 2, NEEDS_PORT = 4, NEEDS_VERSION = 8 };

static const unsigned char op_needs[ENGINE_OP_COUNT_] = {
    [ENGINE_OP_HELLO] = NEEDS_VERSION,
    [ENGINE_OP_CREATE] = NEEDS_ID | NEEDS_CREATE,
    [ENGINE_OP_START] = NEEDS_ID,
    [ENGINE_OP_STOP] = NEEDS_ID,
    [ENGINE_OP_PAUSE] = NEEDS_ID,
    [ENGINE_OP_RESUME] = NEEDS_ID,
    [ENGINE_OP_DELETE] = NEEDS_ID,
    [ENGINE_OP_SET_DEADLINE] = NEEDS_ID,
    [ENGINE_OP_GET] = NEEDS_ID,
    [ENGINE_OP_STATS] = NEEDS_ID,
    [ENGINE_OP_CONNECT_AGENT] = NEEDS_ID,
    [ENGINE_OP_CONNECT_PORT] = NEEDS_ID | NEEDS_PORT,
};

static bool all_of(const char *s, const char *extra, bool upper)
{
    for (; *s; s++) {
        bool ok = (*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') ||
                  (upper && *s >= 'A' && *s <= 'Z') || strchr(extra, *s) != NULL;

        if (!ok)
            return false;
    }
    return true;
}

static int check_create(const struct engine_create *c, struct smx_err *err)
{
    if (c->token && !all_of(c->token, "-_", /* upper= */ true))
        return smx_err_set(err, SMX_E_INVALID, "create.token: letters, digits, - and _ only");
    if (c->template && !smx_name_valid(c->template))
        return smx_err_set(err, SMX_E_TEMPLATE_NOT_FOUND, "template not found: not a valid name");
    if (c->hostname &&
        (!c->hostname[0] || c->hostname[0] == '-' || !all_of(c->hostname, "-", /* upper= */ false)))
        return smx_err_set(err, SMX_E_INVALID, "create.hostname: letters, digits and - only");
    return 0;
}

static int check_request(const struct engine_request *r, struct smx_err *err)
{
    unsigned needs = op_needs[r->op];
    const char *op = engine_op_names[r->op];

    if ((needs & NEEDS_ID) && !r->id)
        return smx_err_set(err, SMX_E_INVALID, "id: %s needs it", op);
    if ((r->id && !smx_id_valid(r->id)) || (r->after && !smx_id_valid(r->after)))
        return smx_err_set(err, SMX_E_INVALID, "%s: not a sandbox id", r->id ? "id" : "after");
    if ((needs & NEEDS_PORT) && r->port == 0)
        return smx_err_set(err, SMX_E_INVALID, "port: must be an integer from 1 to 65535");
    if ((needs & NEEDS_VERSION) && r->version != ENGINE_WIRE_VERSION)
        return smx_err_set(err, SMX_E_PROTOCOL, "version: this engine speaks version %d, not %llu",
            ENGINE_WIRE_VERSION, (unsigned long long)r->version);
    if ((needs & NEEDS_CREATE) && !r->create)
        return smx_err_set(err, SMX_E_INVALID, "create: %s needs it", op);
    return r->create ? check_create(r->create, err) : 0;
}

/* What is read of a request that is refused: whom to answer. */
struct numbered {
    uint64_t seq;
};
static const struct json_field numbered_table_fields[] = {
    ROW(numbered, seq, JSON_U64, .flags = JSON_REQUIRED, .min = 1),
};
static JSON_TABLE(numbered_table, numbered, .lax = true);

int engine_request_decode(
    const char *data, size_t n, struct engine_request *ret, struct smx_err *err)
{
    int r = json_decode(&engine_request_table, data, n, ret, err);
    struct numbered head;

    if (r == 0) {
        r = check_request(ret, err);
        if (r == 0)
            return 0;
        json_free(&engine_request_table, ret);
    }
    *ret = (struct engine_request){ 0 };
    if (json_decode(&numbered_table, data, n, &head, NULL) == 0)
        ret->seq = head.seq;
    return r;
}

int engine_reply_decode(const char *data, size_t n, struct engine_reply *ret, struct smx_err *err)
{
    return json_decode(&engine_reply_table, data, n, ret, err);
}

int engine_reply_error(const struct engine_reply *r, struct smx_err *err)
{
    if (!r->error)
        return 0;
    return smx_err_set(err, smx_code_from_name(r->error), "%s", r->message ? r->message : r->error);
}
