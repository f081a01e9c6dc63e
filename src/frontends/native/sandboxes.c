/* sandboxes.c - /api/sandboxes: create, get or create, list, change, life cycle. */
#include "compose/migrate.h"
#include "frontends/native/exec.h"

enum { CAPABILITIES_MAX = 1024 };
static const char create_scope[] = "native POST /api/sandboxes";

/* --- out -------------------------------------------------------------------------------------- */

/* A sandbox as the wire has it: pointers into it and into this struct's own room. */
struct shown {
    struct native_sandbox n;
    char created[SMX_RFC3339_SIZE], updated[SMX_RFC3339_SIZE], expires[SMX_RFC3339_SIZE];
    char provider_id[PROVIDER_ID_MAX + 1], id[SMX_ID_LEN + 1], reason[PROVIDER_REASON_MAX + 1];
    char runtime[32], state[16], limits[8];
    char capabilities[CAPABILITIES_MAX];
};

static void make_capabilities(uint64_t flags, char out[CAPABILITIES_MAX])
{
    struct json_writer w;
    struct smx_buf b;

    smx_buf_init(&b, CAPABILITIES_MAX - 1);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    for (int i = 0; i < PROVIDER_CAP_COUNT_; i++)
        json_kv_bool(&w, provider_cap_name((enum provider_cap)i), flags & PROVIDER_BIT(i));
    json_object_end(&w);
    smx_strcpy(out, CAPABILITIES_MAX, b.data && !b.failed ? b.data : "{}");
    smx_buf_done(&b);
}

/* The text is the same for all sandboxes of a runtime: the last one is kept. */
static void write_capabilities(uint64_t flags, char out[CAPABILITIES_MAX])
{
    static uint64_t last_flags;
    static char last[CAPABILITIES_MAX];

    if (last[0] == '\0' || last_flags != flags) {
        make_capabilities(flags, last);
        last_flags = flags;
    }
    smx_strcpy(out, CAPABILITIES_MAX, last);
}

static void show_times(struct shown *s, const struct sandbox *sb)
{
    smx_rfc3339_format(s->created, sb->created_unix_ms);
    smx_rfc3339_format(s->updated, sb->updated_unix_ms);
    s->n.created_at = s->created;
    s->n.updated_at = s->updated;
    if (sb->expires_unix_ms) {
        smx_rfc3339_format(s->expires, sb->expires_unix_ms);
        s->n.expires_at = s->expires;
    }
}

static size_t count_strings(char *const *v)
{
    size_t n = 0;

    while (v && v[n])
        n++;
    return n;
}

static void show(struct shown *s, const struct sandbox *sb)
{
    memset(s, 0, offsetof(struct shown, capabilities));
    show_times(s, sb);
    smx_strcpy(s->id, sizeof s->id, sb->id);
    smx_strcpy(s->provider_id, sizeof s->provider_id, sb->provider_id);
    smx_strcpy(s->reason, sizeof s->reason, sb->reason);
    smx_strcpy(s->runtime, sizeof s->runtime, sb->runtime);
    smx_strcpy(s->state, sizeof s->state, sandbox_state_name(sb->state));
    smx_strcpy(s->limits, sizeof s->limits, sb->limits_hard ? "hard" : "soft");
    write_capabilities(sb->capabilities, s->capabilities);
    s->n.id = s->id;
    s->n.name = sb->name;
    s->n.aliases = (struct json_strings){ sb->aliases, count_strings(sb->aliases) };
    s->n.runtime = s->runtime;
    s->n.provider_id = *s->provider_id ? s->provider_id : NULL;
    s->n.state = s->state;
    s->n.template_name = sb->template;
    s->n.project_id = sb->project_id;
    s->n.metadata = (struct json_map){ sb->metadata, sb->n_metadata, .set = true };
    s->n.resources.cpu = sb->resources.cpu;
    s->n.resources.memory_mib = sb->resources.memory_mib;
    s->n.resources.disk_mib = sb->resources.disk_mib;
    s->n.resources.pids = sb->resources.pids;
    s->n.limits = s->limits;
    s->n.internet = sb->internet;
    s->n.capabilities = s->capabilities;
    s->n.reason = *s->reason ? s->reason : NULL;
}

static void reply_sandbox(struct http_exchange *x, int status, const struct sandbox *sb)
{
    struct shown *s = http_alloc(x, sizeof *s);
    struct smx_err err = { 0 };

    if (!s) {
        smx_err_oom(&err);
        native_fail(x, &err);
        return;
    }
    show(s, sb);
    native_reply(x, status, &native_sandbox_table, &s->n);
}

/* --- in --------------------------------------------------------------------------------------- */

static int check_metadata(const struct json_map *m, struct smx_err *err)
{
    for (size_t i = 0; i < m->n; i++) {
        if (strlen(m->v[i].key) > SMX_METADATA_VALUE_MAX ||
            strlen(m->v[i].value) > SMX_METADATA_VALUE_MAX)
            return smx_err_set(err, SMX_E_INVALID,
                "metadata: a key or value is longer than %d bytes", SMX_METADATA_VALUE_MAX);
    }
    return 0;
}

static int check_create(const struct native_create *req, struct smx_err *err)
{
    int r = native_check_env(&req->env, err);

    if (r == 0)
        r = check_metadata(&req->metadata, err);
    if (r == 0 && req->name && !smx_name_valid(req->name))
        r = smx_err_set(err, SMX_E_INVALID, "name: must match [a-z0-9][a-z0-9._-]{0,62}");
    return r;
}

static void make_spec(const struct native_create *req, struct core_create_spec *spec)
{
    *spec = (struct core_create_spec){ .template = req->template_name,
        .runtime = req->runtime,
        .name = req->name,
        .project_id = req->project_id,
        .password = req->password,
        .metadata = req->metadata.v,
        .n_metadata = req->metadata.n,
        .env = req->env.v,
        .n_env = req->env.n,
        .has_timeout = req->has_timeout,
        .timeout_s = req->timeout_s,
        .resources = { .cpu = req->resources.cpu,
            .memory_mib = req->resources.memory_mib,
            .disk_mib = req->resources.disk_mib,
            .pids = req->resources.pids } };
}

static void note_sandbox(struct http_exchange *x, const struct sandbox *sb)
{
    smx_strcpy(frontend_request(x)->sandbox, sizeof frontend_request(x)->sandbox, sb->id);
}

/* Which settings are missing is what the caller needs to know. */
static int name_missing(struct core *core, const char *runtime, struct smx_err *err)
{
    struct core_runtime_status status;
    struct core_runtime rt;
    struct smx_buf b;

    core_runtime_status(core, &status);
    if (core_runtime_get(core, runtime ? runtime : status.current, &rt, /* err= */ NULL) < 0)
        return -SMX_E_NOT_CONFIGURED;
    smx_buf_init(&b, 200);
    smx_buf_appendf(&b, "Runtime '%s' is not properly configured", rt.name);
    for (size_t i = 0; rt.missing && rt.missing[i]; i++)
        smx_buf_appendf(&b, "%s%s", i ? ", " : ": set ", rt.missing[i]);
    if (rt.unavailable && (!rt.missing || !rt.missing[0]))
        smx_buf_appendf(&b, ": %s", rt.unavailable);
    smx_err_set(err, SMX_E_NOT_CONFIGURED, "%s", b.data ? b.data : rt.name);
    smx_buf_done(&b);
    return -SMX_E_NOT_CONFIGURED;
}

/* --- create ----------------------------------------------------------------------------------- */

static int create(struct frontend *fe, struct http_exchange *x, const struct native_create *req,
    const char *key, struct sandbox **ret, struct smx_err *err)
{
    struct core_create_spec spec;
    int r = check_create(req, err);

    if (r < 0)
        return r;
    make_spec(req, &spec);
    spec.idempotency_scope = key ? create_scope : NULL;
    spec.idempotency_key = key;
    r = core_create(fe->core, &spec, ret, err);
    if (r == 0)
        note_sandbox(x, *ret);
    return r == -SMX_E_NOT_CONFIGURED ? name_missing(fe->core, req->runtime, err) : r;
}

/* The reply is kept as it is sent: the same request gets the same bytes. */
static int finish_idem(struct frontend *fe, struct http_exchange *x, const char *key,
    const struct sandbox *sb, struct smx_err *err)
{
    struct core_idem_reply reply = { .status = 201 };
    struct shown *s = http_alloc(x, sizeof *s);
    struct smx_buf out;
    int r;

    if (!s)
        return smx_err_oom(err);
    show(s, sb);
    smx_buf_init(&out, CORE_IDEM_BODY_MAX);
    r = json_encode_to(&out, &native_sandbox_table, &s->n, err);
    if (r == 0) {
        smx_strcpy(reply.content_type, sizeof reply.content_type, NATIVE_JSON);
        smx_strcpy(reply.sandbox_id, sizeof reply.sandbox_id, sb->id);
        reply.body = out.data;
        reply.n = out.len;
        r = core_idem_finish(fe->core, create_scope, key, &reply, err);
    }
    smx_buf_done(&out);
    return r;
}

static void replay(struct frontend *fe, struct http_exchange *x, int how,
    const struct core_idem_reply *reply, const char *key)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };

    http_add_field(x, "Idempotent-Replayed", "true");
    if (how == CORE_IDEM_REPLAY) {
        http_reply(x, reply->status, reply->content_type, reply->body, reply->n);
        return;
    }
    if (core_find(fe->core, reply->sandbox_id, &sb, &err) < 0 ||
        finish_idem(fe, x, key, sb, &err) < 0) {
        native_fail(x, &err);
        return;
    }
    reply_sandbox(x, 201, sb);
}

static void create_once(struct frontend *fe, struct http_exchange *x,
    const struct native_create *req, const char *key, const struct smx_buf *raw)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct core_idem_reply reply = { 0 };
    struct smx_err err = { 0 };
    int r = core_idem_begin(
        fe->core, create_scope, key, raw->data ? raw->data : "", raw->len, &reply, &err);

    if (r == CORE_IDEM_NEW) {
        r = create(fe, x, req, key, &sb, &err);
        if (r < 0)
            core_idem_abort(fe->core, create_scope, key);
        else
            r = finish_idem(fe, x, key, sb, &err);
        if (r == 0)
            reply_sandbox(x, 201, sb);
    } else if (r > 0) {
        replay(fe, x, r, &reply, key);
        core_idem_reply_done(&reply);
    }
    if (r < 0)
        native_fail(x, &err);
}

void native_sandbox_create(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    SMX_CLEANUP(smx_freep) char *key = NULL;
    struct smx_view field = http_field(x, "Idempotency-Key");
    struct native_create req;
    struct smx_err err = { 0 };
    struct smx_buf raw;
    int r = dialect_body(x, &native_create_table, SMX_HTTP_JSON_BODY_MAX, &req, &raw, &err);

    if (r == 0 && field.p) {
        key = smx_strndup(field.p, field.n);
        r = key ? 0 : smx_err_oom(&err);
        if (r == 0)
            create_once(ctx, x, &req, key, &raw);
    } else if (r == 0) {
        r = create(ctx, x, &req, /* key= */ NULL, &sb, &err);
        if (r == 0)
            reply_sandbox(x, 201, sb);
    }
    smx_buf_done(&raw);
    if (r < 0)
        native_fail(x, &err);
    json_free(&native_create_table, &req);
}

/* --- get or create ---------------------------------------------------------------------------- */

static int ensure(struct frontend *fe, struct http_exchange *x, const char *name,
    const struct native_create *req, struct sandbox **ret, struct core_ensured *how,
    struct smx_err *err)
{
    struct core_create_spec spec;
    int r = check_create(req, err);

    if (r == 0 && req->name && !smx_streq(req->name, name))
        r = smx_err_set(err, SMX_E_INVALID, "name: differs from the name in the path");
    if (r == 0 && !smx_name_valid(name))
        r = smx_err_set(err, SMX_E_INVALID, "name: must match [a-z0-9][a-z0-9._-]{0,62}");
    if (r < 0)
        return r;
    make_spec(req, &spec);
    spec.name = name;
    r = core_ensure(fe->core, &spec, ret, how, err);
    if (r == 0)
        note_sandbox(x, *ret);
    return r == -SMX_E_NOT_CONFIGURED ? name_missing(fe->core, req->runtime, err) : r;
}

void native_sandbox_ensure(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct core_ensured how = { 0 };
    struct native_create req;
    struct smx_err err = { 0 };
    struct shown *s = http_alloc(x, sizeof *s);
    int r = dialect_body(x, &native_create_table, SMX_HTTP_JSON_BODY_MAX, &req, NULL, &err);

    if (r == 0)
        r = s ? ensure(ctx, x, params->v[0], &req, &sb, &how, &err) : smx_err_oom(&err);
    if (r == 0) {
        show(s, sb);
        s->n.recreated = how.recreated;
        native_reply(x, how.created ? 201 : 200, &native_sandbox_table, &s->n);
    } else {
        native_fail(x, &err);
    }
    json_free(&native_create_table, &req);
}

/* --- list ------------------------------------------------------------------------------------- */

struct list_query {
    char *state, *runtime, *project_id, *cursor;
};

static void list_query_done(struct list_query *q)
{
    smx_free(q->state);
    smx_free(q->runtime);
    smx_free(q->project_id);
    smx_free(q->cursor);
}

static int read_list_query(
    struct http_exchange *x, struct list_query *q, struct core_filter *f, struct smx_err *err)
{
    uint64_t limit = 0;
    int r = http_query_string(x, "state", &q->state, err);

    if (r == 0)
        r = http_query_string(x, "runtime", &q->runtime, err);
    if (r == 0)
        r = http_query_string(x, "project_id", &q->project_id, err);
    if (r == 0)
        r = http_query_string(x, "cursor", &q->cursor, err);
    if (r == 0)
        r = http_query_u64(x, "limit", 1, SMX_LIST_MAX, &limit, err);
    if (r < 0)
        return r;
    if (q->state && !sandbox_state_parse(q->state, &f->state))
        return smx_err_set(err, SMX_E_INVALID, "state: no such state");
    f->has_state = q->state;
    f->runtime = q->runtime;
    f->project_id = q->project_id;
    f->cursor = q->cursor;
    f->limit = (size_t)limit;
    return 0;
}

static void reply_page(struct http_exchange *x, const struct core_page *page)
{
    struct shown *s = http_alloc(x, sizeof *s);
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 16 * 1024 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "items");
    json_array_begin(&w);
    for (size_t i = 0; s && i < page->n; i++) {
        show(s, page->v[i]);
        json_encode(&w, &native_sandbox_table, &s->n);
    }
    json_array_end(&w);
    json_kv_string(&w, "next_cursor", *page->next_cursor ? page->next_cursor : NULL);
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

void native_sandbox_list(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(list_query_done) struct list_query q = { 0 };
    struct frontend *fe = ctx;
    struct core_filter filter = { 0 };
    struct core_page page = { 0 };
    struct smx_err err = { 0 };
    struct core_runtime rt;
    int r = read_list_query(x, &q, &filter, &err);

    if (r == 0 && q.runtime)
        r = core_runtime_get(fe->core, q.runtime, &rt, &err);
    if (r == 0)
        r = core_list(fe->core, &filter, &page, &err);
    if (r < 0) {
        native_fail(x, &err);
        return;
    }
    reply_page(x, &page);
    core_page_done(&page);
}

/* --- one -------------------------------------------------------------------------------------- */

void native_sandbox_get(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };

    if (native_find(ctx, x, params, &sb, &err) < 0)
        native_fail(x, &err);
    else
        reply_sandbox(x, 200, sb);
}

static int check_patch(const struct native_patch *req, struct smx_err *err)
{
    int r = check_metadata(&req->metadata, err);

    if (r == 0 && req->name && *req->name && !smx_name_valid(req->name))
        r = smx_err_set(err, SMX_E_INVALID, "name: must match [a-z0-9][a-z0-9._-]{0,62}");
    return r;
}

void native_sandbox_patch(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct native_patch req;
    struct core_patch patch;
    struct smx_err err = { 0 };
    int r = dialect_body(x, &native_patch_table, SMX_HTTP_JSON_BODY_MAX, &req, NULL, &err);

    if (r == 0)
        r = check_patch(&req, &err);
    if (r == 0)
        r = native_find(ctx, x, params, &sb, &err);
    if (r == 0) {
        patch = (struct core_patch){ .has_timeout = req.has_timeout,
            .timeout_s = req.timeout_s,
            .name = req.name,
            .metadata = req.metadata.v,
            .n_metadata = req.metadata.n,
            .has_metadata = req.metadata.set };
        r = sandbox_patch(sb, &patch, &err);
    }
    if (r < 0)
        native_fail(x, &err);
    else
        reply_sandbox(x, 200, sb);
    json_free(&native_patch_table, &req);
}

void native_sandbox_delete(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };
    bool missing_ok = false;
    int r = http_query_bool(x, "missing_ok", &missing_ok, &err);

    if (r >= 0)
        r = native_find(ctx, x, params, &sb, &err);
    if (r == 0)
        r = sandbox_delete(sb, &err);
    if (r < 0 && !(r == -SMX_E_SANDBOX_NOT_FOUND && missing_ok))
        native_fail(x, &err);
    else
        dialect_no_content(x);
}

static void change_state(struct http_exchange *x, const struct http_params *params, void *ctx,
    int (*change)(struct sandbox *, struct smx_err *))
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };
    int r = native_find(ctx, x, params, &sb, &err);

    if (r == 0)
        r = change(sb, &err);
    if (r < 0)
        native_fail(x, &err);
    else
        reply_sandbox(x, 200, sb);
}

void native_sandbox_start(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    change_state(x, params, ctx, sandbox_start);
}

void native_sandbox_stop(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    change_state(x, params, ctx, sandbox_stop);
}

void native_sandbox_pause(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    change_state(x, params, ctx, sandbox_pause);
}

void native_sandbox_resume(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    change_state(x, params, ctx, sandbox_resume);
}

void native_migrate_post(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend *fe = ctx;
    struct native_migrate req;
    struct smx_err err = { 0 };
    int r = dialect_body(x, &native_migrate_table, SMX_HTTP_JSON_BODY_MAX, &req, NULL, &err);

    if (r == 0)
        r = native_find(fe, x, params, &sb, &err);
    if (r == 0) {
        struct migrate_spec spec = { req.runtime, req.template_name };

        r = sandbox_migrate(fe->compose, sb, &spec, &err);
    }
    if (r < 0)
        native_fail(x, &err);
    else
        reply_sandbox(x, 200, sb);
    json_free(&native_migrate_table, &req);
}
