/* runtime.c - /api/runtime: the documented bodies, statuses and texts of status, switch, validate
 * and health; what is added to them stands behind the documented keys. */
#include "frontends/native/internal.h"

#include <stdio.h>

enum { BODY_MAX = 64 * 1024 };

/* --- runtime_info ----------------------------------------------------------------------------- */

static void write_strings(struct json_writer *w, const char *key, const char *const *v)
{
    json_key(w, key);
    json_array_begin(w);
    for (; v && *v; v++)
        json_string(w, *v);
    json_array_end(w);
}

static void write_available(struct json_writer *w, struct core *core)
{
    struct core_runtime rt;

    json_key(w, "available_runtimes");
    json_array_begin(w);
    for (size_t i = 0; i < core_runtime_count(core); i++) {
        core_runtime_at(core, i, &rt);
        json_string(w, rt.name);
    }
    json_array_end(w);
}

/* daytona_configured and e2b_configured tell of the key alone, as documented; the core's info has
 * them, and the template or server. */
static void write_info(struct json_writer *w, struct core *core, const struct core_runtime *rt)
{
    json_object_begin(w);
    json_kv_string(w, "runtime", rt->name);
    write_available(w, core);
    for (size_t i = 0; i < rt->n_info; i++) {
        if (!rt->info[i].value)
            json_kv_null(w, rt->info[i].key);
        else if (smx_streq(rt->info[i].value, "true") || smx_streq(rt->info[i].value, "false"))
            json_kv_bool(w, rt->info[i].key, smx_streq(rt->info[i].value, "true"));
        else
            json_kv_string(w, rt->info[i].key, rt->info[i].value);
    }
    json_object_end(w);
}

static void write_capabilities(struct json_writer *w, uint64_t flags)
{
    json_key(w, "capabilities");
    json_object_begin(w);
    for (int i = 0; i < PROVIDER_CAP_COUNT_; i++)
        json_kv_bool(w, provider_cap_name((enum provider_cap)i), flags & PROVIDER_BIT(i));
    json_object_end(w);
}

static void write_runtimes(struct json_writer *w, struct core *core)
{
    struct core_runtime rt;

    json_key(w, "runtimes");
    json_object_begin(w);
    for (size_t i = 0; i < core_runtime_count(core); i++) {
        core_runtime_at(core, i, &rt);
        json_key(w, rt.name);
        json_object_begin(w);
        json_kv_bool(w, "configured", rt.configured);
        write_strings(w, "missing", rt.missing);
        json_kv_string(w, "unavailable", rt.unavailable);
        json_kv_u64(w, "sandboxes", rt.sandboxes);
        write_capabilities(w, rt.capabilities);
        json_object_end(w);
    }
    json_object_end(w);
}

void native_runtime_status(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct core *core = ((struct frontend *)ctx)->core;
    struct core_runtime_status status;
    struct core_runtime rt;
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;

    core_runtime_status(core, &status);
    if (core_runtime_get(core, status.current, &rt, &err) < 0) {
        native_fail(x, &err);
        return;
    }
    smx_buf_init(&out, BODY_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_string(&w, "current_runtime", rt.name);
    write_available(&w, core);
    json_kv_bool(&w, "runtime_configured", rt.configured);
    json_key(&w, "runtime_info");
    write_info(&w, core, &rt);
    json_kv_string(&w, "why", status.why);
    json_kv_string(&w, "warning", status.warning);
    write_runtimes(&w, core);
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

/* --- switch ----------------------------------------------------------------------------------- */

static int read_flags(struct http_exchange *x, unsigned *ret, struct smx_err *err)
{
    static const struct {
        const char *name;
        unsigned flag;
    } flags[] = { { "dry_run", CORE_SWITCH_DRY_RUN }, { "force", CORE_SWITCH_FORCE },
        { "live", CORE_SWITCH_LIVE } };

    *ret = 0;
    for (size_t i = 0; i < SMX_ARRAY_LEN(flags); i++) {
        bool on = false;
        int r = http_query_bool(x, flags[i].name, &on, err);

        if (r < 0)
            return r;
        if (on)
            *ret |= flags[i].flag;
    }
    return 0;
}

static void reply_switched(struct http_exchange *x, const struct core_switched *s, bool dry_run)
{
    char message[96];
    struct json_writer w;
    struct smx_buf out;

    snprintf(message, sizeof message,
        dry_run ? "Runtime can be switched to '%s'" : "Runtime switched to '%s'", s->current);
    smx_buf_init(&out, BODY_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_string(&w, "status", "success");
    json_kv_string(&w, "message", message);
    json_kv_string(&w, "previous_runtime", s->previous);
    json_kv_string(&w, "current_runtime", dry_run ? s->previous : s->current);
    if (*s->warning) {
        json_key(&w, "warnings");
        json_array_begin(&w);
        json_string(&w, s->warning);
        json_array_end(&w);
    }
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

/* Who switched, for the audit line: the key's id, or how the caller came in. */
static void name_actor(struct http_exchange *x, char *out, size_t size)
{
    const struct http_peer *peer = http_peer(x);
    const struct frontend_request *req = frontend_request(x);

    if (req && *req->key)
        snprintf(out, size, "key %s", req->key);
    else if (peer->unix_socket)
        snprintf(out, size, "uid %d", (int)peer->uid);
    else
        snprintf(out, size, "%s", peer->address);
}

/* An unknown name is a 400 here, with the text of the contract; the core calls it invalid. */
static void fail_runtime(struct http_exchange *x, const struct smx_err *err)
{
    if (err->code == SMX_E_INVALID && smx_starts(err->msg, "Invalid runtime"))
        native_fail_status(x, 400, err);
    else
        native_fail(x, err);
}

void native_runtime_switch(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct native_switch req;
    struct core_switched switched = { 0 };
    struct smx_err err = { 0 };
    unsigned flags = 0;
    char actor[64];
    int r = dialect_body(x, &native_switch_table, BODY_MAX, &req, NULL, &err);

    if (r == 0)
        r = read_flags(x, &flags, &err);
    name_actor(x, actor, sizeof actor);
    if (r == 0)
        r = core_runtime_switch(fe->core, req.runtime, flags, actor, &switched, &err);
    if (r < 0)
        fail_runtime(x, &err);
    else
        reply_switched(x, &switched, flags & CORE_SWITCH_DRY_RUN);
    json_free(&native_switch_table, &req);
}

/* --- validate --------------------------------------------------------------------------------- */

static void write_live(struct json_writer *w, const struct provider_check *check)
{
    json_key(w, "live");
    json_object_begin(w);
    json_kv_bool(w, "ok", check->ok);
    json_kv_u64(w, "latency_ms", check->latency_ms);
    json_kv_string(w, "error_code", check->ok ? NULL : smx_code_name(check->error_code));
    json_kv_string(w, "detail", *check->detail ? check->detail : NULL);
    json_kv_string(w, "hint", check->ok ? NULL : smx_code_hint(check->error_code));
    json_object_end(w);
}

static void reply_validation(struct http_exchange *x, struct core *core,
    const struct core_runtime *rt, bool configured, const struct provider_check *live)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, BODY_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_string(&w, "runtime", rt->name);
    json_kv_bool(&w, "is_configured", configured);
    json_key(&w, "configuration");
    write_info(&w, core, rt);
    write_strings(&w, "missing", rt->missing);
    json_kv_string(&w, "unavailable", rt->unavailable);
    if (live)
        write_live(&w, live);
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

void native_runtime_validate(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct core *core = ((struct frontend *)ctx)->core;
    struct provider_check check = { 0 };
    struct core_runtime rt;
    struct smx_err err = { 0 };
    bool live = false, configured = false;
    int r = http_query_bool(x, "live", &live, &err);

    if (r >= 0)
        r = core_runtime_get(core, params->v[0], &rt, &err);
    if (r == 0)
        r = core_runtime_validate(core, rt.name, live, &configured, &check, &err);
    if (r < 0)
        fail_runtime(x, &err);
    else
        reply_validation(x, core, &rt, configured, live ? &check : NULL);
}

/* --- health ----------------------------------------------------------------------------------- */

static const char *health_name(enum core_health_state s)
{
    switch (s) {
    case CORE_HEALTHY:
        return "healthy";
    case CORE_DEGRADED:
        return "degraded";
    case CORE_UNHEALTHY:
        return "unhealthy";
    }
    return "error";
}

static void write_health(struct json_writer *w, const char *runtime, const struct core_health *h)
{
    char now[SMX_RFC3339_SIZE], last[SMX_RFC3339_SIZE];

    smx_rfc3339_format_s(now, smx_now_unix_ms());
    smx_rfc3339_format_s(last, h->last_ok_unix_ms);
    json_object_begin(w);
    json_kv_string(w, "status", health_name(h->state));
    json_kv_string(w, "runtime", runtime);
    json_kv_bool(w, "configured", h->configured);
    json_kv_string(w, "timestamp", now);
    json_kv_bool(w, "reachable", h->reachable);
    json_kv_u64(w, "latency_ms", h->latency_ms);
    json_kv_string(w, "last_ok", h->last_ok_unix_ms ? last : NULL);
    json_kv_string(w, "error_code", h->error_code == SMX_OK ? NULL : smx_code_name(h->error_code));
    json_kv_string(w, "detail", *h->detail ? h->detail : NULL);
    json_object_end(w);
}

/* Always 200, as documented, except for ?strict=1. */
static void reply_error_health(struct http_exchange *x, const struct smx_err *err, bool strict)
{
    char now[SMX_RFC3339_SIZE];
    struct json_writer w;
    struct smx_buf out;

    smx_rfc3339_format_s(now, smx_now_unix_ms());
    smx_buf_init(&out, BODY_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_string(&w, "status", "error");
    json_kv_string(&w, "error", err->msg);
    json_kv_string(&w, "timestamp", now);
    json_object_end(&w);
    native_reply_json(x, strict ? 503 : 200, &w);
    smx_buf_done(&out);
}

void native_runtime_health(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(smx_freep) char *runtime = NULL;
    struct core *core = ((struct frontend *)ctx)->core;
    struct core_runtime_status status;
    struct core_health health;
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;
    bool strict = false;
    int r = http_query_string(x, "runtime", &runtime, &err);

    core_runtime_status(core, &status);
    if (r >= 0)
        r = http_query_bool(x, "strict", &strict, &err);
    if (r < 0) {
        native_fail(x, &err);
        return;
    }
    if (core_runtime_health(core, runtime, &health, &err) < 0) {
        if (err.code == SMX_E_INVALID)
            fail_runtime(x, &err);
        else
            reply_error_health(x, &err, strict);
        return;
    }
    smx_buf_init(&out, BODY_MAX);
    json_writer_init(&w, &out);
    write_health(&w, runtime ? runtime : status.current, &health);
    native_reply_json(x, strict && health.state != CORE_HEALTHY ? 503 : 200, &w);
    smx_buf_done(&out);
}
