/* sandbox.c - sandboxes: requests are written by hand (a password must travel), replies are decoded
 * by the tables of wire/native into a box whose public face borrows from it. */
#include "client/internal.h"

#include "base/random.h"
#include "sandmux/sandbox.h"

#define ROOT "/api/sandboxes"

struct box {
    struct smx_sandbox pub;
    struct native_sandbox wire;
    struct smx_pair *metadata;
    char *json;
};

/* --- replies ------------------------------------------------------------------------------------
 */

static int face_metadata(struct box *b, struct smx_err *err)
{
    size_t n = b->wire.metadata.n;

    if (n == 0)
        return 0;
    b->metadata = smx_alloc_array(n, sizeof *b->metadata);
    if (!b->metadata)
        return smx_err_oom(err);
    for (size_t i = 0; i < n; i++)
        b->metadata[i] =
            (struct smx_pair){ b->wire.metadata.v[i].key, b->wire.metadata.v[i].value };
    return 0;
}

/* Fills the public face from the decoded reply. */
static int face(struct box *b, struct smx_err *err)
{
    const struct native_sandbox *w = &b->wire;
    int r = face_metadata(b, err);

    b->pub = (struct smx_sandbox){
        .id = w->id,
        .name = w->name,
        .runtime = w->runtime,
        .provider_id = w->provider_id,
        .state = w->state,
        .template_name = w->template_name,
        .project_id = w->project_id,
        .created_at = w->created_at,
        .updated_at = w->updated_at,
        .expires_at = w->expires_at,
        .limits = w->limits,
        .capabilities = w->capabilities,
        .reason = w->reason,
        .aliases = (const char *const *)w->aliases.v,
        .n_aliases = w->aliases.n,
        .metadata = b->metadata,
        .n_metadata = w->metadata.n,
        .resources = { w->resources.cpu, w->resources.memory_mib, w->resources.disk_mib },
        .internet = w->internet,
        .recreated = w->recreated,
        .json = b->json,
    };
    return r;
}

void smx_sandbox_free(struct smx_sandbox *sandbox)
{
    struct box *b = SMX_CONTAINER_OF(sandbox, struct box, pub);

    if (!sandbox)
        return;
    json_free(&native_sandbox_table, &b->wire);
    smx_free(b->metadata);
    smx_free(b->json);
    smx_free(b);
}

static int call_sandbox(
    struct smx_client *c, const struct call *call, struct smx_sandbox **ret, struct smx_err *err)
{
    struct box *b = smx_alloc(sizeof *b);
    int r;

    if (!b)
        return smx_err_oom(err);
    r = call_json(c, call, &native_sandbox_table, &b->wire, &b->json, err);
    if (r == 0)
        r = face(b, err);
    if (r < 0 || !ret)
        smx_sandbox_free(&b->pub);
    else
        *ret = &b->pub;
    return r;
}

/* --- requests -----------------------------------------------------------------------------------
 */

static void write_optional(struct json_writer *w, const char *key, const char *value)
{
    if (value)
        json_kv_string(w, key, value);
}

static void write_resources(struct json_writer *w, const struct smx_resources *res)
{
    if (!res->cpu && !res->memory_mib && !res->disk_mib)
        return;
    json_key(w, "resources");
    json_object_begin(w);
    if (res->cpu)
        json_kv_u64(w, "cpu", res->cpu);
    if (res->memory_mib)
        json_kv_u64(w, "memory_mib", res->memory_mib);
    if (res->disk_mib)
        json_kv_u64(w, "disk_mib", res->disk_mib);
    json_object_end(w);
}

static int check_spec(const struct smx_sandbox_spec *spec, struct smx_err *err)
{
    const struct {
        const char *what, *text;
    } texts[] = { { "template", spec->template_name }, { "runtime", spec->runtime },
        { "name", spec->name }, { "project_id", spec->project_id },
        { "password", spec->password } };
    int r = 0;

    for (size_t i = 0; r == 0 && i < SMX_ARRAY_LEN(texts); i++)
        r = text_check(texts[i].what, texts[i].text, err);
    if (r == 0)
        r = text_check_pairs("metadata", spec->metadata, spec->n_metadata, err);
    return r == 0 ? text_check_pairs("env", spec->env, spec->n_env, err) : r;
}

static int write_spec(
    struct smx_buf *out, const struct smx_sandbox_spec *spec, bool name, struct smx_err *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    write_optional(&w, "template", spec->template_name);
    write_optional(&w, "runtime", spec->runtime);
    if (name)
        write_optional(&w, "name", spec->name);
    write_optional(&w, "project_id", spec->project_id);
    write_optional(&w, "password", spec->password);
    if (spec->n_metadata)
        json_pairs(&w, "metadata", spec->metadata, spec->n_metadata);
    if (spec->n_env)
        json_pairs(&w, "env", spec->env, spec->n_env);
    if (spec->has_timeout)
        json_kv_u64(&w, "timeout_s", spec->timeout_s);
    write_resources(&w, &spec->resources);
    json_object_end(&w);
    return json_writer_end(&w, err);
}

static int request_spec(struct smx_client *c, const char *method, const char *name,
    const struct smx_sandbox_spec *spec, struct smx_sandbox **ret, struct smx_err *err)
{
    static const struct smx_sandbox_spec none = { 0 };
    struct smx_buf path, body;
    char key[SMX_ID_LEN + 1];
    int r;

    smx_id_make(key);
    spec = spec ? spec : &none;
    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    r = check_spec(spec, err);
    if (r == 0)
        r = call_path(&path, ROOT, name, /* suffix= */ NULL, err);
    if (r == 0)
        r = write_spec(&body, spec, /* name= */ name == NULL, err);
    if (r == 0) {
        struct call call = { .method = method,
            .path = path.data,
            .body = body.data,
            .n = body.len,
            .idempotency_key = spec->idempotency_key ? spec->idempotency_key
                               : name                ? NULL
                                                     : key };

        r = call_sandbox(c, &call, ret, err);
    }
    smx_buf_done(&path);
    smx_buf_done(&body);
    return r;
}

int smx_sandbox_create(struct smx_client *c, const struct smx_sandbox_spec *spec,
    struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    return request_spec(c, "POST", /* name= */ NULL, spec, ret_sandbox, err);
}

int smx_sandbox_ensure(struct smx_client *c, const char *name, const struct smx_sandbox_spec *spec,
    struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    return request_spec(c, "PUT", name, spec, ret_sandbox, err);
}

/* A request without a body, or with the given one, to ROOT/id + suffix. */
static int request(struct smx_client *c, const char *method, const char *id, const char *suffix,
    const struct smx_buf *body, struct smx_sandbox **ret, struct smx_err *err)
{
    struct call call = { .method = method };
    struct smx_buf path;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, ROOT, id, suffix, err);
    if (r == 0) {
        call.path = path.data;
        call.body = body ? body->data : NULL;
        call.n = body ? body->len : 0;
        r = call_sandbox(c, &call, ret, err);
    }
    smx_buf_done(&path);
    return r;
}

int smx_sandbox_get(
    struct smx_client *c, const char *id, struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    return request(c, "GET", id, /* suffix= */ NULL, /* body= */ NULL, ret_sandbox, err);
}

int smx_sandbox_start(
    struct smx_client *c, const char *id, struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    return request(c, "POST", id, "/start", /* body= */ NULL, ret_sandbox, err);
}

int smx_sandbox_stop(
    struct smx_client *c, const char *id, struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    return request(c, "POST", id, "/stop", /* body= */ NULL, ret_sandbox, err);
}

int smx_sandbox_pause(
    struct smx_client *c, const char *id, struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    return request(c, "POST", id, "/pause", /* body= */ NULL, ret_sandbox, err);
}

int smx_sandbox_resume(
    struct smx_client *c, const char *id, struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    return request(c, "POST", id, "/resume", /* body= */ NULL, ret_sandbox, err);
}

static int write_migrate(
    struct smx_buf *out, const char *runtime, const char *template_name, struct smx_err *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_kv_string(&w, "runtime", runtime);
    if (template_name)
        json_kv_string(&w, "template", template_name);
    json_object_end(&w);
    return json_writer_end(&w, err);
}

int smx_sandbox_migrate(struct smx_client *c, const char *id, const char *runtime,
    const char *template_name, struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    struct call call = { .method = "POST", .timeout_ms = UINT64_MAX };
    struct smx_buf path, body;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    r = call_path(&path, ROOT, id, "/migrate", err);
    if (r == 0)
        r = write_migrate(&body, runtime, template_name, err);
    call.path = path.data;
    call.body = body.data;
    call.n = body.len;
    if (r == 0)
        r = call_sandbox(c, &call, ret_sandbox, err);
    smx_buf_done(&path);
    smx_buf_done(&body);
    return r;
}

int smx_sandbox_delete(struct smx_client *c, const char *id, int missing_ok, struct smx_err *err)
{
    struct call call = { .method = "DELETE" };
    struct smx_buf path;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, ROOT, id, /* suffix= */ NULL, err);
    if (r == 0) {
        call_query(&path, "missing_ok", missing_ok ? "1" : NULL);
        call.path = path.data;
        r = call_json(c, &call, /* table= */ NULL, /* ret= */ NULL, /* ret_json= */ NULL, err);
    }
    smx_buf_done(&path);
    return r;
}

int smx_sandbox_patch(struct smx_client *c, const char *id, const struct smx_sandbox_patch *patch,
    struct smx_sandbox **ret_sandbox, struct smx_err *err)
{
    struct smx_buf body;
    struct json_writer w;
    int r = text_check("name", patch->name, err);

    if (r == 0)
        r = text_check_pairs("metadata", patch->metadata, patch->n_metadata, err);
    if (r < 0)
        return r;
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    write_optional(&w, "name", patch->name);
    if (patch->set_metadata)
        json_pairs(&w, "metadata", patch->metadata, patch->n_metadata);
    if (patch->has_timeout)
        json_kv_u64(&w, "timeout_s", patch->timeout_s);
    json_object_end(&w);
    r = json_writer_end(&w, err);
    if (r == 0)
        r = request(c, "PATCH", id, /* suffix= */ NULL, &body, ret_sandbox, err);
    smx_buf_done(&body);
    return r;
}

/* --- lists --------------------------------------------------------------------------------------
 */

struct list_box {
    struct smx_sandbox_list pub;
    struct native_sandbox_list wire;
    struct smx_sandbox **items;
    char *json;
};

/* Moves one decoded item into a box of its own. */
static int take_item(struct native_sandbox *from, struct smx_sandbox **ret, struct smx_err *err)
{
    struct box *b = smx_alloc(sizeof *b);
    struct smx_buf json;
    int r;

    if (!b)
        return smx_err_oom(err);
    b->wire = *from;
    *from = (struct native_sandbox){ 0 };
    smx_buf_init(&json, SMX_JSON_MAX);
    r = json_encode_to(&json, &native_sandbox_table, &b->wire, err);
    b->json = smx_buf_steal(&json);
    smx_buf_done(&json);
    if (r == 0)
        r = face(b, err);
    if (r < 0)
        smx_sandbox_free(&b->pub);
    else
        *ret = &b->pub;
    return r;
}

static int fill_list(struct list_box *l, struct smx_err *err)
{
    struct native_sandbox *v = l->wire.items.v;
    size_t n = l->wire.items.n;

    l->items = smx_alloc_array(n + 1, sizeof(struct smx_sandbox *));
    if (!l->items)
        return smx_err_oom(err);
    l->pub.items = l->items;
    l->pub.next_cursor = l->wire.next_cursor;
    l->pub.json = l->json;
    for (; l->pub.n < n; l->pub.n++) {
        int r = take_item(&v[l->pub.n], &l->items[l->pub.n], err);

        if (r < 0)
            return r;
    }
    return 0;
}

int smx_sandbox_list(struct smx_client *c, const struct smx_sandbox_filter *filter,
    struct smx_sandbox_list **ret_list, struct smx_err *err)
{
    struct list_box *l = smx_alloc(sizeof *l);
    struct call call = { .method = "GET" };
    struct smx_buf path;
    int r;

    if (!l)
        return smx_err_oom(err);
    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    smx_buf_append_str(&path, ROOT);
    if (filter) {
        call_query(&path, "state", filter->state);
        call_query(&path, "runtime", filter->runtime);
        call_query(&path, "project_id", filter->project_id);
        call_query(&path, "cursor", filter->cursor);
        if (filter->limit)
            call_query_u64(&path, "limit", filter->limit);
    }
    call.path = path.data;
    r = smx_buf_check(&path, err);
    if (r == 0)
        r = call_json(c, &call, &native_sandbox_list_table, &l->wire, &l->json, err);
    if (r == 0)
        r = fill_list(l, err);
    smx_buf_done(&path);
    if (r < 0)
        smx_sandbox_list_free(&l->pub);
    else
        *ret_list = &l->pub;
    return r;
}

void smx_sandbox_list_free(struct smx_sandbox_list *list)
{
    struct list_box *l = SMX_CONTAINER_OF(list, struct list_box, pub);

    if (!list)
        return;
    for (size_t i = 0; i < l->pub.n; i++)
        smx_sandbox_free(l->items[i]);
    json_free(&native_sandbox_list_table, &l->wire);
    smx_free(l->items);
    smx_free(l->json);
    smx_free(l);
}
