/* admin.c - the daemon itself: health, readiness, metrics, version, keys, templates, shutdown. */
#include "frontends/native/internal.h"

#include <unistd.h>

enum { METRICS_MAX = 8 * 1024 * 1024, ANSWER_MAX = 1024 * 1024 };

/* --- health ----------------------------------------------------------------------------------- */

void native_healthz(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    http_reply(x, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

static void write_ready(
    struct json_writer *w, bool ready, const struct core_ready *checks, size_t n)
{
    json_object_begin(w);
    json_kv_bool(w, "ready", ready);
    json_key(w, "checks");
    json_array_begin(w);
    for (size_t i = 0; i < n; i++) {
        json_object_begin(w);
        json_kv_string(w, "name", checks[i].check);
        json_kv_bool(w, "ok", checks[i].ok);
        if (*checks[i].detail)
            json_kv_string(w, "detail", checks[i].detail);
        json_object_end(w);
    }
    json_array_end(w);
    json_object_end(w);
}

/* One line without verbose, one JSON row a check with it; 503 while a sandbox cannot be made. */
void native_readyz(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct core_ready checks[CORE_READY_MAX];
    struct smx_view verbose;
    struct json_writer w;
    struct smx_buf out;
    size_t n = 0;
    bool ready = core_ready(fe->core, checks, &n);

    if (!h1_query_get(http_query(x), "verbose", 0, &verbose)) {
        http_reply(x, ready ? 200 : 503, "text/plain; charset=utf-8",
            ready ? "ok\n" : "not ready\n", ready ? 3 : 10);
        return;
    }
    smx_buf_init(&out, ANSWER_MAX);
    json_writer_init(&w, &out);
    write_ready(&w, ready, checks, n);
    native_reply_json(x, ready ? 200 : 503, &w);
    smx_buf_done(&out);
}

void native_metrics(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct smx_err err = { 0 };
    struct smx_buf out;

    smx_buf_init(&out, METRICS_MAX);
    if (metrics_write(core_metrics(fe->core), &out) < 0 || smx_buf_check(&out, &err) < 0) {
        smx_err_set(&err, SMX_E_NO_MEMORY, "the metrics do not fit in memory");
        native_fail(x, &err);
    } else {
        http_reply(x, 200, METRICS_CONTENT_TYPE, out.data, out.len);
    }
    smx_buf_done(&out);
}

void native_version(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, ANSWER_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_string(&w, "version", SMX_VERSION);
    json_kv_string(&w, "api", "1");
    json_kv_string(&w, "instance", core_instance_id(fe->core));
    json_kv_u64(&w, "port", fe->port);
    json_kv_u64(&w, "tls_port", fe->tls_port);
    json_kv_string(&w, "host", fe->host);
    json_kv_string(&w, "domain", fe->domains[1] ? fe->domains[1] : fe->domains[0]);
    json_kv_bool(&w, "require_keys", fe->require_keys || fe->runtime_token);
    json_kv_bool(&w, "automatic", fe->automatic);
    if (http_peer(x)->unix_socket && fe->tls_cert)
        json_kv_string(&w, "tls_cert", fe->tls_cert);
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

/* An automatic daemon gets its TCP port now; it says which with its version. */
void native_listen(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct smx_err err = { 0 };
    int r = 0;

    if (!http_peer(x)->unix_socket)
        r = smx_err_set(&err, SMX_E_FORBIDDEN, "a port is opened through the unix socket only");
    else if (!fe->port)
        r = fe->open_port(fe, &err);
    if (r < 0)
        native_fail(x, &err);
    else
        native_version(x, params, ctx);
}

/* Only over the unix socket: who may use that may stop the daemon, too. */
void native_shutdown(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct smx_err err = { 0 };

    if (!http_peer(x)->unix_socket) {
        smx_err_set(&err, SMX_E_FORBIDDEN, "the daemon is stopped through its unix socket only");
        native_fail(x, &err);
        return;
    }
    http_reply(x, 202, NATIVE_JSON, "{}", 2);
    fe->stop(fe);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void write_key(struct json_writer *w, const struct core_key *k, char *secret)
{
    char id[CORE_KEY_ID_SIZE], name[CORE_KEY_NAME_MAX + 1], prefix[sizeof k->prefix];
    char created[SMX_RFC3339_SIZE], used[SMX_RFC3339_SIZE];
    struct native_key n = { id, name, prefix, created, NULL, secret };

    smx_strcpy(id, sizeof id, k->id);
    smx_strcpy(name, sizeof name, k->name);
    smx_strcpy(prefix, sizeof prefix, k->prefix);
    smx_rfc3339_format(created, k->created_unix_ms);
    if (k->last_used_unix_ms) {
        smx_rfc3339_format(used, k->last_used_unix_ms);
        n.last_used_at = used;
    }
    json_encode(w, &native_key_table, &n);
}

static int check_key_name(const char *name, struct smx_err *err)
{
    if (!name || !*name)
        return smx_err_set(err, SMX_E_INVALID, "name: must not be empty");
    if (strlen(name) > CORE_KEY_NAME_MAX)
        return smx_err_set(err, SMX_E_INVALID, "name: longer than %d bytes", CORE_KEY_NAME_MAX);
    return 0;
}

void native_key_create(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct native_key_create req;
    struct core_key key;
    char secret[CORE_KEY_SIZE];
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;
    int r = dialect_body(x, &native_key_create_table, SMX_HTTP_JSON_BODY_MAX, &req, NULL, &err);

    if (r == 0)
        r = check_key_name(req.name, &err);
    if (r == 0)
        r = core_key_create(fe->core, req.name, &key, secret, &err);
    json_free(&native_key_create_table, &req);
    if (r < 0) {
        native_fail(x, &err);
        return;
    }
    smx_buf_init(&out, ANSWER_MAX);
    json_writer_init(&w, &out);
    write_key(&w, &key, secret);
    http_add_field(x, "Cache-Control", "no-store");
    native_reply_json(x, 201, &w);
    explicit_bzero(secret, sizeof secret);
    smx_buf_done(&out);
}

void native_key_list(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(smx_freep) struct core_key *keys = NULL;
    struct frontend *fe = ctx;
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;
    size_t n = 0;

    if (core_key_list(fe->core, &keys, &n, &err) < 0) {
        native_fail(x, &err);
        return;
    }
    smx_buf_init(&out, METRICS_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "items");
    json_array_begin(&w);
    for (size_t i = 0; i < n; i++)
        write_key(&w, &keys[i], /* secret= */ NULL);
    json_array_end(&w);
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

void native_key_revoke(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct smx_err err = { 0 };

    if (core_key_revoke(fe->core, params->v[0], &err) < 0)
        native_fail(x, &err);
    else
        dialect_no_content(x);
}

/* --- templates -------------------------------------------------------------------------------- */

static void write_template(struct json_writer *w, const struct provider_template *t)
{
    char name[sizeof t->name], digest[sizeof t->digest], user[sizeof t->default_user];
    struct native_template n = { .name = name,
        .digest = *t->digest ? digest : NULL,
        .default_user = *t->default_user ? user : NULL,
        .size_bytes = t->size_bytes,
        .resources = { .cpu = t->resources.cpu,
            .memory_mib = t->resources.memory_mib,
            .disk_mib = t->resources.disk_mib,
            .pids = t->resources.pids } };

    smx_strcpy(name, sizeof name, t->name);
    smx_strcpy(digest, sizeof digest, t->digest);
    smx_strcpy(user, sizeof user, t->default_user);
    json_encode(w, &native_template_table, &n);
}

void native_templates(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(smx_freep) char *runtime = NULL;
    struct frontend *fe = ctx;
    struct core_templates list = { 0 };
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;
    int r = http_query_string(x, "runtime", &runtime, &err);

    if (r == 0)
        r = core_templates(fe->core, runtime, &list, &err);
    if (r < 0) {
        native_fail(x, &err);
        return;
    }
    smx_buf_init(&out, METRICS_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "items");
    json_array_begin(&w);
    for (size_t i = 0; i < list.n; i++)
        write_template(&w, &list.v[i]);
    json_array_end(&w);
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
    smx_free(list.v);
}
