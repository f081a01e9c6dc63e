/* runtime.c - runtimes, readiness, versions. */
#include "client/internal.h"

#include "sandmux/runtime.h"

/* --- status -------------------------------------------------------------------------------------
 */

struct status_box {
    struct smx_runtime_status pub;
    struct native_runtime_status wire;
    char *json;
};

int smx_runtime_status(
    struct smx_client *c, struct smx_runtime_status **ret_status, struct smx_err *err)
{
    struct call call = { .method = "GET", .path = "/api/runtime/status" };
    struct status_box *b = smx_alloc(sizeof *b);
    int r;

    if (!b)
        return smx_err_oom(err);
    r = call_json(c, &call, &native_runtime_status_table, &b->wire, &b->json, err);
    if (r < 0) {
        smx_runtime_status_free(&b->pub);
        return r;
    }
    b->pub = (struct smx_runtime_status){ .current = b->wire.current_runtime,
        .available = (const char *const *)b->wire.available_runtimes.v,
        .n_available = b->wire.available_runtimes.n,
        .configured = b->wire.runtime_configured,
        .json = b->json };
    *ret_status = &b->pub;
    return 0;
}

void smx_runtime_status_free(struct smx_runtime_status *status)
{
    struct status_box *b = SMX_CONTAINER_OF(status, struct status_box, pub);

    if (!status)
        return;
    json_free(&native_runtime_status_table, &b->wire);
    smx_free(b->json);
    smx_free(b);
}

/* --- switch -------------------------------------------------------------------------------------
 */

struct switch_box {
    struct smx_runtime_switch pub;
    struct native_switch_result wire;
    char *json;
};

static int write_switch(struct smx_buf *out, const char *runtime, struct smx_err *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_kv_string(&w, "runtime", runtime);
    json_object_end(&w);
    return json_writer_end(&w, err);
}

static int switch_path(struct smx_buf *out, unsigned flags, struct smx_err *err)
{
    int r = call_path(out, "/api/runtime/switch", /* id= */ NULL, /* suffix= */ NULL, err);

    call_query(out, "dry_run", flags & SMX_SWITCH_DRY_RUN ? "1" : NULL);
    call_query(out, "live", flags & SMX_SWITCH_LIVE ? "1" : NULL);
    call_query(out, "force", flags & SMX_SWITCH_FORCE ? "1" : NULL);
    return r < 0 ? r : smx_buf_check(out, err);
}

int smx_runtime_switch(struct smx_client *c, const char *runtime,
    struct smx_runtime_switch **ret_switch, struct smx_err *err)
{
    return smx_runtime_switch_with(c, runtime, /* flags= */ 0, ret_switch, err);
}

int smx_runtime_switch_with(struct smx_client *c, const char *runtime, unsigned flags,
    struct smx_runtime_switch **ret_switch, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf path = { 0 };
    struct call call = { .method = "POST" };
    struct switch_box *b = smx_alloc(sizeof *b);
    struct smx_buf body;
    int r;

    if (!b)
        return smx_err_oom(err);
    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    r = switch_path(&path, flags, err);
    if (r == 0)
        r = write_switch(&body, runtime, err);
    call.path = path.data;
    call.body = body.data;
    call.n = body.len;
    if (r == 0)
        r = call_json(c, &call, &native_switch_result_table, &b->wire, &b->json, err);
    smx_buf_done(&body);
    if (r < 0) {
        smx_runtime_switch_free(&b->pub);
        return r;
    }
    b->pub = (struct smx_runtime_switch){ .message = b->wire.message,
        .previous = b->wire.previous_runtime,
        .current = b->wire.current_runtime,
        .warnings = (const char *const *)b->wire.warnings.v,
        .n_warnings = b->wire.warnings.n,
        .json = b->json };
    *ret_switch = &b->pub;
    return 0;
}

void smx_runtime_switch_free(struct smx_runtime_switch *sw)
{
    struct switch_box *b = SMX_CONTAINER_OF(sw, struct switch_box, pub);

    if (!sw)
        return;
    json_free(&native_switch_result_table, &b->wire);
    smx_free(b->json);
    smx_free(b);
}

/* --- checks -------------------------------------------------------------------------------------
 */

static void give_text(char **ret, char *text)
{
    if (ret)
        *ret = text;
    else
        smx_free(text);
}

static int validate(
    struct smx_client *c, const char *runtime, bool live, char **ret_json, struct smx_err *err)
{
    struct call call = { .method = "GET" };
    struct native_runtime_validation v = { 0 };
    struct smx_buf path;
    char *json = NULL;
    bool yes;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, "/api/runtime/validate", runtime, live ? "?live=1" : NULL, err);
    if (r == 0) {
        call.path = path.data;
        r = call_json(c, &call, &native_runtime_validation_table, &v, &json, err);
    }
    smx_buf_done(&path);
    if (r < 0)
        return r;
    yes = v.is_configured && (!live || v.live.ok);
    json_free(&native_runtime_validation_table, &v);
    give_text(ret_json, json);
    return yes;
}

int smx_runtime_validate(
    struct smx_client *c, const char *runtime, char **ret_json, struct smx_err *err)
{
    return validate(c, runtime, /* live= */ false, ret_json, err);
}

int smx_runtime_validate_live(
    struct smx_client *c, const char *runtime, char **ret_json, struct smx_err *err)
{
    return validate(c, runtime, /* live= */ true, ret_json, err);
}

int smx_runtime_health(struct smx_client *c, char **ret_json, struct smx_err *err)
{
    return smx_runtime_health_of(c, /* runtime= */ NULL, ret_json, err);
}

int smx_runtime_health_of(
    struct smx_client *c, const char *runtime, char **ret_json, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf path = { 0 };
    struct call call = { .method = "GET" };
    struct native_runtime_health h = { 0 };
    char *json = NULL;
    bool yes;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    smx_buf_append_str(&path, "/api/runtime/health");
    call_query(&path, "runtime", runtime);
    r = smx_buf_check(&path, err);
    call.path = path.data;
    if (r == 0)
        r = call_json(c, &call, &native_runtime_health_table, &h, &json, err);
    if (r < 0)
        return r;
    yes = h.status && smx_streq(h.status, "healthy");
    json_free(&native_runtime_health_table, &h);
    give_text(ret_json, json);
    return yes;
}

/* 503 carries the same body as 200 here. */
int smx_ready(struct smx_client *c, char **ret_json, struct smx_err *err)
{
    struct smx_reply *reply = NULL;
    struct native_ready ready;
    char *json;
    bool yes;
    int r = smx_request(c, "GET", "/readyz?verbose=1", /* body= */ NULL, &reply, err);

    if (r < 0)
        return r;
    if (reply->status >= 400 && reply->status != 503)
        r = call_error(reply->status, reply->body, reply->bytes, err);
    if (r == 0)
        r = json_decode(&native_ready_table, reply->body, reply->bytes, &ready, err);
    if (r < 0) {
        smx_reply_free(reply);
        return r;
    }
    yes = ready.ready;
    json = smx_strndup(reply->body, reply->bytes);
    json_free(&native_ready_table, &ready);
    smx_reply_free(reply);
    if (!json)
        return smx_err_oom(err);
    give_text(ret_json, json);
    return yes;
}

int smx_server_version(
    struct smx_client *c, char **ret_version, char **ret_json, struct smx_err *err)
{
    struct call call = { .method = "GET", .path = "/version" };
    struct native_version v;
    char *json = NULL;
    int r = call_json(c, &call, &native_version_table, &v, &json, err);

    if (r < 0)
        return r;
    if (!v.version)
        v.version = smx_strdup("unknown");
    if (v.version) {
        *ret_version = smx_take(&v.version);
        give_text(ret_json, json);
    } else {
        smx_free(json);
        r = smx_err_oom(err);
    }
    json_free(&native_version_table, &v);
    return r;
}

void smx_text_free(char *text)
{
    smx_free(text);
}
