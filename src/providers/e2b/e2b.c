/* e2b.c - the runtime of sandboxes at E2B: the control plane by calls (api.c), the data plane by
 * the envd client over the proxy in front of the sandboxes (box.c).
 *
 * Each sandbox carries who owns it, our id and the token of its row in its metadata; never a
 * password or an environment. A create whose answer is lost is looked for by that token: the
 * protocol has no other way to tell. Loop thread only. */
#include "providers/e2b/internal.h"

#include <stdio.h>

#include "wire/envd/envd.h"

enum {
    PAGES_MAX = 1000,
    METADATA_OURS = 4,
    LOOKS = 3,
    LOOK_STEP_MS = 300,
    LOOK_MS = 5000,
    IDLE_MS = 60000
};

/* --- opening ------------------------------------------------------------------------------- */

static int check_url(const char *name, const char *url, bool path, struct smx_err *err)
{
    const char *host = smx_starts(url, "https://")  ? url + 8
                       : smx_starts(url, "http://") ? url + 7
                                                    : NULL;
    size_t n = host ? strcspn(host, "/?#") : 0;

    if (n == 0 || strpbrk(url, " \t\r\n@?#"))
        return smx_err_set(err, SMX_E_INVALID, "%s: must be http:// or https:// and a host", name);
    if (!path && host[n] != '\0' && !smx_streq(host + n, "/"))
        return smx_err_set(err, SMX_E_INVALID, "%s: must not have a path", name);
    return 0;
}

static int check_config(const struct e2b_config *cfg, struct smx_err *err)
{
    int r = 0;

    if (!cfg->api_key || !*cfg->api_key || strpbrk(cfg->api_key, " \t\r\n"))
        return smx_err_set(err, SMX_E_E2B_KEY, "E2B_API_KEY: must have no white space");
    if (cfg->api_url)
        r = check_url("E2B_API_URL", cfg->api_url, /* path= */ true, err);
    if (r == 0 && cfg->sandbox_url)
        r = check_url("E2B_SANDBOX_URL", cfg->sandbox_url, /* path= */ false, err);
    if (r == 0 && (!*cfg->domain || strpbrk(cfg->domain, "/ \t\r\n@?#")))
        r = smx_err_set(err, SMX_E_INVALID, "E2B_DOMAIN: must be a host name");
    return r;
}

static void e2b_close(void *impl)
{
    struct e2b *e = impl;

    io_shield_begin();
    e2b_tasks_end(e);
    envd_idle_done(&e->idle);
    fetch_free(e->fetch);
    io_shield_end();
    smx_free(e->api_url);
    smx_free(e->key_field);
    smx_free(e);
}

static int fill(struct e2b *e, struct smx_err *err)
{
    const struct e2b_config *cfg = e->cfg;
    struct fetch_config fc = { .via = e->host.instance, .ca_file = cfg->ca_file };
    size_t n;

    e->api_url =
        cfg->api_url ? smx_strdup(cfg->api_url) : smx_asprintf("https://api.%s", cfg->domain);
    e->key_field = smx_asprintf("X-API-KEY: %s", cfg->api_key);
    if (!e->api_url || !e->key_field)
        return smx_err_oom(err);
    n = strlen(e->api_url);
    if (n > 0 && e->api_url[n - 1] == '/')
        e->api_url[n - 1] = '\0';
    return fetch_new(&fc, &e->fetch, err);
}

static int e2b_open(struct io_loop *loop, const void *config, const struct provider_host *host,
    void **ret_impl, struct smx_err *err)
{
    const struct e2b_config *cfg = config;
    struct e2b *e;
    int r = check_config(cfg, err);

    if (r < 0)
        return r;
    e = smx_alloc(sizeof *e);
    if (!e)
        return smx_err_oom(err);
    e->loop = loop;
    e->host = *host;
    e->cfg = cfg;
    e->chunk_s = cfg->chunk_s ? cfg->chunk_s : E2B_CHUNK_S;
    envd_idle_init(&e->idle, loop);
    e->idle.keep_ms = IDLE_MS; /* a new one costs round trips */
    e2b_keeper_init(e);
    r = fill(e, err);
    if (r < 0) {
        e2b_close(e);
        return r;
    }
    *ret_impl = e;
    return 0;
}

static uint64_t e2b_capabilities(void *impl)
{
    return E2B_CAPABILITIES;
}

/* --- listing ------------------------------------------------------------------------------- */

struct listing {
    struct provider_info *v;
    size_t n, room;
};

static const char *value_of(const struct json_map *m, const char *key)
{
    for (size_t i = 0; i < m->n; i++)
        if (smx_streq(m->v[i].key, key))
            return m->v[i].value;
    return "";
}

static void info_of(const struct e2b_listed_sandbox *s, struct provider_info *ret)
{
    *ret = (struct provider_info){ .state = s->state == E2B_PAUSED ? PROVIDER_BOX_PAUSED
                                                                   : PROVIDER_BOX_RUNNING,
        .resources = { .cpu = (double)s->cpu_count,
            .memory_mib = s->memory_mb,
            .disk_mib = s->disk_size_mb },
        .limits_hard = true,
        .internet = true };
    smx_strcpy(ret->provider_id, sizeof ret->provider_id, s->sandbox_id);
    smx_strcpy(ret->id, sizeof ret->id, value_of(&s->metadata, E2B_META_ID));
    smx_strcpy(ret->token, sizeof ret->token, value_of(&s->metadata, E2B_META_TOKEN));
    if (s->state == E2B_RUNNING && s->end_at)
        smx_rfc3339_parse(s->end_at, &ret->expires_unix_ms);
}

/* What does not carry our owner is not ours, whatever the filter let through. */
static int add_page(
    struct e2b *e, const struct json_array *page, struct listing *to, struct smx_err *err)
{
    const struct e2b_listed_sandbox *s = page->v;

    if (to->n + page->n > to->room) {
        size_t room = SMX_MAX(2 * to->room, to->n + page->n);
        struct provider_info *v = smx_realloc(to->v, room * sizeof *v);

        if (!v)
            return smx_err_oom(err);
        to->v = v;
        to->room = room;
    }
    for (size_t i = 0; i < page->n; i++)
        if (e2b_id_valid(s[i].sandbox_id) &&
            smx_streq(value_of(&s[i].metadata, E2B_META_OWNER), e->host.instance))
            info_of(&s[i], &to->v[to->n++]);
    return 0;
}

/* Bytes that may stand in a query. */
static void escape(char *out, size_t size, const char *s)
{
    size_t n = 0;

    for (; *s && n + 4 < size; s++) {
        bool plain = (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') ||
                     (*s >= 'A' && *s <= 'Z') || strchr("-_.~", *s);

        n += plain ? (size_t)snprintf(out + n, size - n, "%c", *s)
                   : (size_t)snprintf(out + n, size - n, "%%%02X", (unsigned char)*s);
    }
    out[n] = '\0';
}

static int get_page(struct e2b *e, const char *filter, const char *token, struct e2b_call *call,
    struct json_array *page, uint64_t deadline, struct smx_err *err)
{
    char path[2048], next[1024];

    escape(next, sizeof next, token);
    snprintf(path, sizeof path, "%s/sandboxes?metadata=%s%s%s%s", e->old_list ? "" : "/v2", filter,
        e->old_list ? "" : "&state=running,paused&limit=100", *token ? "&nextToken=" : "", next);
    *call = (struct e2b_call){ .method = "GET",
        .path = path,
        .reply_table = &e2b_listed_sandbox_table,
        .reply = page,
        .list = true,
        .not_found = SMX_E_PROTOCOL };
    return e2b_call(e, call, deadline, err);
}

/* [parks] the sandboxes of this owner with that pair in their metadata. */
static int list_by(struct e2b *e, const char *key, const char *value, struct listing *to,
    uint64_t deadline, struct smx_err *err)
{
    char filter[256], token[sizeof((struct e2b_call *)0)->next] = "";
    int r = 0;

    snprintf(filter, sizeof filter, "%s%%3D%s", key, value);
    for (unsigned page = 0; page < PAGES_MAX; page++) {
        struct json_array got = { 0 };
        struct e2b_call call;

        r = get_page(e, filter, token, &call, &got, deadline, err);
        if (r < 0 && !e->old_list && page == 0 && e2b_no_route(&call, err)) {
            e->old_list = true;
            continue;
        }
        if (r < 0)
            return r;
        r = add_page(e, &got, to, err);
        e2b_list_free(&e2b_listed_sandbox_table, &got);
        if (r < 0 || call.next[0] == '\0')
            return r;
        if (smx_streq(call.next, token))
            break;
        smx_strcpy(token, sizeof token, call.next);
    }
    return smx_err_set(err, SMX_E_PROTOCOL, "E2B's list of sandboxes has no end");
}

static int e2b_list(
    void *impl, struct provider_info **ret, size_t *ret_n, uint64_t deadline, struct smx_err *err)
{
    struct e2b *e = impl;
    struct listing to = { 0 };
    int r = list_by(e, E2B_META_OWNER, e->host.instance, &to, deadline, err);

    if (r < 0) {
        smx_free(to.v);
        return r;
    }
    *ret = to.v;
    *ret_n = to.n;
    return 0;
}

/* --- validating ---------------------------------------------------------------------------- */

static int e2b_probe(void *impl, uint64_t deadline, struct smx_err *err)
{
    struct e2b *e = impl;
    struct json_array page = { 0 };
    struct e2b_call call = { .method = "GET",
        .path = e->old_list ? "/sandboxes" : "/v2/sandboxes?limit=1",
        .reply_table = &e2b_listed_sandbox_table,
        .reply = &page,
        .list = true,
        .once = true,
        .not_found = SMX_E_PROTOCOL };
    int r = e2b_call(e, &call, deadline, err);

    e2b_list_free(&e2b_listed_sandbox_table, &page);
    if (r < 0 && !e->old_list && e2b_no_route(&call, err)) {
        e->old_list = true;
        return e2b_probe(impl, deadline, err);
    }
    return r;
}

/* One look for the template under that route. 1: it is there or nobody can tell; 0: it is not. */
static int look_for_template(
    struct e2b *e, const char *route, uint64_t deadline, struct smx_err *err)
{
    char name[3 * SMX_TEMPLATE_LEN_MAX + 8], path[sizeof name + 32];
    struct e2b_call call = {
        .method = "GET", .path = path, .once = true, .not_found = SMX_E_TEMPLATE_NOT_FOUND
    };
    int r;

    escape(name, sizeof name, e->cfg->template);
    snprintf(path, sizeof path, "%s/%s", route, name);
    r = e2b_call(e, &call, deadline, err);
    if (r == -SMX_E_TEMPLATE_NOT_FOUND)
        return call.status == 405;
    return r == 0 || call.status == 403 ? 1 : r; /* 403: it is another team's */
}

static int find_template(struct e2b *e, uint64_t deadline, struct smx_err *err)
{
    int r = look_for_template(e, "/templates/aliases", deadline, err);

    if (r == 0)
        r = look_for_template(e, "/templates", deadline, err);
    if (r == 0)
        return smx_err_set(
            err, SMX_E_TEMPLATE_NOT_FOUND, "E2B has no template '%.100s'", e->cfg->template);
    return r < 0 ? r : 0;
}

static int e2b_validate(
    void *impl, struct provider_check *ret, uint64_t deadline, struct smx_err *err)
{
    uint64_t begun = smx_now_ns();
    int r = e2b_probe(impl, deadline, err);
    uint64_t ms = (smx_now_ns() - begun) / SMX_NS_PER_MS;

    if (r == 0)
        r = find_template(impl, deadline, err);
    if (r == 0)
        *ret = (struct provider_check){ .ok = true, .latency_ms = ms };
    return r;
}

/* --- creating ------------------------------------------------------------------------------ */

static void put(struct json_map *m, const char *key, const char *value)
{
    const struct json_pair p = { (char *)(uintptr_t)key, (char *)(uintptr_t)value };

    m->v[m->n++] = p;
}

/* Ours first: the caller's cannot stand in for them. m->v has room for all. */
static void fill_metadata(
    const struct e2b *e, const struct provider_create_spec *spec, struct json_map *m)
{
    m->set = true;
    put(m, E2B_META_OWNER, e->host.instance);
    put(m, E2B_META_ID, spec->id);
    put(m, E2B_META_TOKEN, spec->token);
    if (spec->project_id)
        put(m, E2B_META_PROJECT, spec->project_id);
    for (size_t i = 0; i < spec->n_metadata && m->n < SMX_METADATA_ENTRIES_MAX; i++)
        if (!smx_starts(spec->metadata[i].key, "sandmux_") &&
            !(spec->project_id && smx_streq(spec->metadata[i].key, E2B_META_PROJECT)))
            put(m, spec->metadata[i].key, spec->metadata[i].value);
}

/* What runs inside is to know the sandbox by the id that our callers use, not by the machine's.
 * m->v has room for one more. */
static void fill_env(const struct provider_create_spec *spec, struct json_map *m)
{
    bool given = false;

    for (size_t i = 0; i < spec->n_env; i++) {
        put(m, spec->env[i].key, spec->env[i].value);
        given = given || smx_streq(spec->env[i].key, ENVD_SANDBOX_ID_VARIABLE);
    }
    if (!given && m->n < SMX_ENV_ENTRIES_MAX)
        put(m, ENVD_SANDBOX_ID_VARIABLE, spec->id);
    m->set = m->n > 0;
}

static int post_create(struct e2b *e, const struct provider_create_spec *spec,
    struct e2b_new_sandbox *body, struct e2b_sandbox *ret, uint64_t deadline, struct smx_err *err)
{
    struct e2b_call call = { .method = "POST",
        .path = e->old_create ? "/sandboxes" : "/v2/sandboxes",
        .body_table = &e2b_new_sandbox_table,
        .body = body,
        .reply_table = &e2b_sandbox_table,
        .reply = ret,
        .not_repeatable = true,
        .idempotency_key = spec->token,
        .not_found = SMX_E_TEMPLATE_NOT_FOUND };
    int r;

    body->secure = e->old_create; /* version 2 always is */
    r = e2b_call(e, &call, deadline, err);
    if (r < 0 && !e->old_create && e2b_no_route(&call, err)) {
        e->old_create = true;
        return post_create(e, spec, body, ret, deadline, err);
    }
    return r;
}

static int ask_create(struct e2b *e, const struct provider_create_spec *spec,
    struct e2b_sandbox *ret, uint64_t deadline, struct smx_err *err)
{
    struct e2b_new_sandbox body = { .template_id = (char *)(uintptr_t)spec->template,
        .timeout = e2b_timeout_s(e, spec->expires_unix_ms),
        .has_timeout = true,
        .auto_pause = spec->at_expiry == PROVIDER_AT_EXPIRY_PAUSE };
    SMX_CLEANUP(smx_freep)
    struct json_pair *pairs = smx_alloc_array(
        spec->n_metadata + METADATA_OURS + spec->n_env + 1, sizeof(struct json_pair));

    if (!pairs)
        return smx_err_oom(err);
    body.metadata.v = pairs;
    fill_metadata(e, spec, &body.metadata);
    body.env.v = pairs + spec->n_metadata + METADATA_OURS;
    fill_env(spec, &body.env);
    return post_create(e, spec, &body, ret, deadline, err);
}

/* [parks] the answer was lost: what carries the token is what was made. It may come to light a
 * moment after the request. */
static int find_lost(struct e2b *e, const char *token, struct provider_info *ret, uint64_t deadline)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        struct listing l = { 0 };
        struct smx_err ignored;
        uint64_t until = SMX_MIN(deadline, smx_deadline_in_ms(LOOK_MS));
        int r = list_by(e, E2B_META_TOKEN, token, &l, until, &ignored);
        bool found = false;

        for (size_t k = 0; k < l.n && r == 0 && !found; k++) {
            found = smx_streq(l.v[k].token, token);
            if (found)
                *ret = l.v[k];
        }
        smx_free(l.v);
        if (found)
            return 0;
        if (io_sleep_until(smx_deadline_in_ms(LOOK_STEP_MS)) < 0 || smx_now_ns() >= deadline)
            break;
    }
    return -SMX_E_AMBIGUOUS;
}

/* Facts that the answer to a create leaves out, and the folder that relative paths begin at. */
static int get_ready(
    struct provider_box *box, struct provider_info *ret, uint64_t deadline, struct smx_err *err)
{
    struct e2b_sandbox_detail d = { 0 };
    int r = e2b_look(box->e, box->id, &d, deadline, err);

    if (r == 0) {
        e2b_info(&d, ret);
        if (!box->known)
            r = e2b_box_learn(box, &d.envd_access_token, NULL, &d.domain, err);
    }
    json_free(&e2b_sandbox_detail_table, &d);
    if (r == 0)
        r = envd_data_ops.make_dir(box, box->envd.base, /* user= */ NULL, deadline, err);
    return r == -SMX_E_EXISTS ? 0 : r;
}

static int kill_by_id(struct e2b *e, const char *id, uint64_t deadline, struct smx_err *err)
{
    char path[PROVIDER_ID_MAX + 32];
    struct e2b_call call = { .method = "DELETE", .path = path };
    int r;

    if (!e2b_id_valid(id))
        return 0; /* no such sandbox can be there */
    snprintf(path, sizeof path, "/sandboxes/%s", id);
    r = e2b_call(e, &call, deadline, err);
    return r == -SMX_E_SANDBOX_NOT_FOUND && call.status == 404 ? 0 : r;
}

/* From the answer to the box. On failure nothing is left there: the caller is told so. */
static int take_up(struct e2b *e, struct e2b_sandbox *made, const char *id, int64_t expires,
    struct provider_info *ret, struct provider_box **ret_box, uint64_t deadline,
    struct smx_err *err)
{
    SMX_CLEANUP(e2b_box_freep) struct provider_box *box = NULL;
    struct provider_info info = { 0 };
    struct smx_err ignored;
    int r = e2b_box_new(e, id, &box, err);

    if (r < 0)
        return smx_err_set(err, SMX_E_AMBIGUOUS, "E2B's answer names no sandbox");
    if (made)
        r = e2b_box_learn(
            box, &made->envd_access_token, &made->traffic_access_token, &made->domain, err);
    if (r == 0)
        r = get_ready(box, &info, deadline, err);
    if (r < 0) {
        if (kill_by_id(e, id, smx_deadline_in_ms(LOOK_MS), &ignored) < 0)
            r = smx_err_set(
                err, SMX_E_AMBIGUOUS, "a sandbox that did not get ready is left at E2B");
        return r;
    }
    e2b_armed(box, expires);
    *ret = info;
    *ret_box = smx_take(&box);
    return 0;
}

static int check_spec(const struct provider_create_spec *spec, struct smx_err *err)
{
    const struct provider_resources *r = &spec->resources;

    if (r->cpu > 0 || r->memory_mib || r->disk_mib || r->pids)
        return smx_err_set(err, SMX_E_UNSUPPORTED,
            "runtime 'e2b' takes cpu, memory and disk from the template; name none");
    if (spec->at_expiry == PROVIDER_AT_EXPIRY_STOP)
        return smx_err_set(
            err, SMX_E_UNSUPPORTED, "runtime 'e2b' cannot stop a sandbox: let it pause or end");
    return 0;
}

static int e2b_create(void *impl, const struct provider_create_spec *spec,
    struct provider_info *ret, struct provider_box **ret_box, uint64_t deadline,
    struct smx_err *err)
{
    struct e2b *e = impl;
    struct e2b_sandbox made = { 0 };
    struct provider_info lost;
    int r = check_spec(spec, err);

    if (r == 0)
        r = ask_create(e, spec, &made, deadline, err);
    if (r == 0)
        r = take_up(e, &made, made.sandbox_id, spec->expires_unix_ms, ret, ret_box, deadline, err);
    else if (r == -SMX_E_AMBIGUOUS && find_lost(e, spec->token, &lost, deadline) == 0)
        r = take_up(e, NULL, lost.provider_id, spec->expires_unix_ms, ret, ret_box, deadline, err);
    json_free(&e2b_sandbox_table, &made);
    if (r == 0) { /* it is ours whatever its metadata has become */
        smx_strcpy(ret->id, sizeof ret->id, spec->id);
        smx_strcpy(ret->token, sizeof ret->token, spec->token);
    }
    return r;
}

/* --- boxes --------------------------------------------------------------------------------- */

static int e2b_attach(void *impl, const struct provider_info *info, const struct json_pair *env,
    size_t n_env, struct provider_box **ret_box, struct smx_err *err)
{
    struct provider_box *box = NULL;
    int r = e2b_box_new(impl, info->provider_id, &box, err);

    if (r < 0)
        return r;
    box->running = info->state != PROVIDER_BOX_PAUSED;
    if (box->running)
        e2b_attached(box, info->expires_unix_ms);
    *ret_box = box;
    return 0;
}

static int e2b_lookup(void *impl, const char *provider_id, struct provider_info *ret,
    uint64_t deadline, struct smx_err *err)
{
    struct e2b_sandbox_detail d = { 0 };
    const char *owner;
    int r;

    if (!e2b_id_valid(provider_id))
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "E2B has no sandbox '%.64s'", provider_id);
    r = e2b_look(impl, provider_id, &d, deadline, err);
    owner = value_of(&d.metadata, E2B_META_OWNER);
    if (r == 0 && *owner && !smx_streq(owner, ((struct e2b *)impl)->host.instance))
        r = smx_err_set(err, SMX_E_EXISTS, "'%s' belongs to another sandmux", provider_id);
    if (r == 0)
        e2b_info(&d, ret);
    json_free(&e2b_sandbox_detail_table, &d);
    return r;
}

static int e2b_pause(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    char path[PROVIDER_ID_MAX + 32];
    struct e2b_pause body = { 0 };
    struct e2b_call call = {
        .method = "POST", .path = path, .body_table = &e2b_pause_table, .body = &body
    };
    int r;

    snprintf(path, sizeof path, "/sandboxes/%s/pause", box->id);
    r = e2b_call(box->e, &call, deadline, err);
    if (r == -SMX_E_STATE) /* it is paused already */
        r = 0;
    if (r == 0) {
        box->running = false;
        envd_box_forget(&box->envd);
    }
    return r;
}

static int post_connect(struct provider_box *box, struct e2b_connect *body, struct e2b_sandbox *ret,
    uint64_t deadline, struct smx_err *err)
{
    struct e2b *e = box->e;
    char path[PROVIDER_ID_MAX + 32];
    struct e2b_call call = { .method = "POST",
        .path = path,
        .body_table = &e2b_connect_table,
        .body = body,
        .reply_table = &e2b_sandbox_table,
        .reply = ret };
    int r;

    snprintf(path, sizeof path, "%s/sandboxes/%s/connect", e->old_connect ? "" : "/v2", box->id);
    r = e2b_call(e, &call, deadline, err);
    if (r < 0 && !e->old_connect && e2b_no_route(&call, err)) {
        e->old_connect = true;
        return post_connect(box, body, ret, deadline, err);
    }
    return r;
}

static int e2b_resume(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    struct e2b_connect body = { .timeout = (int64_t)box->e->chunk_s, .has_timeout = true };
    struct e2b_sandbox made = { 0 };
    int r = post_connect(box, &body, &made, deadline, err);

    if (r == 0) {
        envd_box_forget(&box->envd);
        r = e2b_box_learn(
            box, &made.envd_access_token, &made.traffic_access_token, &made.domain, err);
    }
    if (r == 0) {
        box->running = true;
        box->armed_unix_ms = smx_now_unix_ms() + body.timeout * 1000;
    }
    json_free(&e2b_sandbox_table, &made);
    return r;
}

static int e2b_kill(void *impl, const char *provider_id, uint64_t deadline, struct smx_err *err)
{
    return kill_by_id(impl, provider_id, deadline, err);
}

/* --- looking ------------------------------------------------------------------------------- */

/* [parks] 1: the newest figures of the control plane; 0: it has none yet. */
static int last_figures(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err)
{
    char path[PROVIDER_ID_MAX + 32];
    struct json_array list = { 0 };
    struct e2b_call call = { .method = "GET",
        .path = path,
        .reply_table = &e2b_metric_table,
        .reply = &list,
        .list = true };
    int r;

    snprintf(path, sizeof path, "/sandboxes/%s/metrics", box->id);
    r = e2b_call(box->e, &call, deadline, err);
    if (r == 0 && list.n > 0) {
        const struct e2b_metric *m = &((struct e2b_metric *)list.v)[list.n - 1];

        *ret = (struct provider_stats){ .cpu_limit = (double)m->cpu_count,
            .memory_bytes = m->mem_used,
            .memory_limit_bytes = m->mem_total,
            .disk_bytes = m->disk_used,
            .disk_limit_bytes = m->disk_total,
            .brief = true,
            .cpu_pct = m->cpu_used_pct };
        r = 1;
    }
    e2b_list_free(&e2b_metric_table, &list);
    return r;
}

static int e2b_stats(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err)
{
    struct envd_metrics m = { 0 };
    int r = last_figures(box, ret, deadline, err);

    if (r != 0)
        return r < 0 ? r : 0;
    r = envd_read_metrics(&box->envd, &m, deadline, err);
    if (r == 0)
        *ret = (struct provider_stats){ .cpu_limit = (double)m.cpu_count,
            .memory_bytes = m.mem_used,
            .memory_limit_bytes = m.mem_total,
            .disk_bytes = m.disk_used,
            .disk_limit_bytes = m.disk_total,
            .brief = true,
            .cpu_pct = m.cpu_used_pct };
    return r;
}

static const char *template_name(const struct e2b_template *t)
{
    if (t->names.n > 0)
        return t->names.v[0];
    return t->aliases.n > 0 ? t->aliases.v[0] : t->template_id;
}

static int e2b_templates(void *impl, struct provider_template **ret, size_t *ret_n,
    uint64_t deadline, struct smx_err *err)
{
    struct json_array list = { 0 };
    struct e2b_call call = { .method = "GET",
        .path = "/templates",
        .reply_table = &e2b_template_table,
        .reply = &list,
        .list = true,
        .not_found = SMX_E_UNSUPPORTED };
    const struct e2b_template *t;
    struct provider_template *v = NULL;
    int r = e2b_call(impl, &call, deadline, err);

    if (r == 0 && !(v = smx_alloc_array(list.n + 1, sizeof *v)))
        r = smx_err_oom(err);
    t = list.v;
    for (size_t i = 0; i < list.n && r == 0; i++) {
        smx_strcpy(v[i].name, sizeof v[i].name, template_name(&t[i]));
        smx_strcpy(v[i].default_user, sizeof v[i].default_user, "user");
        v[i].resources = (struct provider_resources){ .cpu = (double)t[i].cpu_count,
            .memory_mib = t[i].memory_mb,
            .disk_mib = t[i].disk_size_mb };
    }
    if (r == 0) {
        *ret = v;
        *ret_n = list.n;
    }
    e2b_list_free(&e2b_template_table, &list);
    return r;
}

static bool e2b_shed(void *impl)
{
    struct e2b *e = impl;
    bool some = e->idle.n > 0;

    envd_idle_close(&e->idle, 0);
    return some;
}

const struct provider_ops e2b_provider = { .version = PROVIDER_VERSION,
    .name = "e2b",
    .remote = true,
    .open = e2b_open,
    .close = e2b_close,
    .capabilities = e2b_capabilities,
    .validate = e2b_validate,
    .probe = e2b_probe,
    .create = e2b_create,
    .attach = e2b_attach,
    .detach = e2b_box_free,
    .lookup = e2b_lookup,
    .pause = e2b_pause,
    .resume = e2b_resume,
    .kill = e2b_kill,
    .set_deadline = e2b_set_deadline,
    .stats = e2b_stats,
    .list = e2b_list,
    .templates = e2b_templates,
    .shed = e2b_shed,
    .data = &envd_data_ops };
