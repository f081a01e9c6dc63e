/* local.c - the runtime of sandboxes on this machine: life cycle through the engine (engine.c),
 * data plane through the agent in each sandbox, which speaks envd over a descriptor that the engine
 * connects. One loop's thread. */
#include "providers/local/internal.h"

#include "base/fd.h"
#include "base/log.h"
#include "wire/envd/envd.h"

/* For those who come by our own API; who speaks the sandbox's own protocol gets what that expects
 * of every sandbox: `user` in its home. */
static const char workspace[] = "/workspace";

static int dial(struct envd_box *b, uint16_t port, struct http_client *to, uint64_t deadline,
    struct smx_err *err)
{
    struct provider_box *box = (struct provider_box *)(void *)b;
    struct engine_request req = {
        .op = port ? ENGINE_OP_CONNECT_PORT : ENGINE_OP_CONNECT_AGENT, .id = box->id, .port = port
    };
    struct engine_reply reply;
    int fd = -1, r = engine_ask(box->l, &req, &reply, &fd, deadline, err);

    if (r < 0)
        return r;
    json_free(&engine_reply_table, &reply);
    return http_client_init(to, fd, err);
}

/* --- opening ------------------------------------------------------------------------------- */

static void local_close(void *impl)
{
    struct local *l = impl;

    engine_connection_done(l);
    envd_idle_done(&l->idle);
    smx_free(l);
}

static int local_open(struct io_loop *loop, const void *config, const struct provider_host *host,
    void **ret_impl, struct smx_err *err)
{
    const struct local_config *cfg = config;
    struct local *l = smx_alloc(sizeof *l);

    if (!l)
        return smx_err_oom(err);
    l->loop = loop;
    l->host = *host;
    envd_idle_init(&l->idle, loop);
    if (engine_connection_init(l, err) < 0) {
        smx_free(l);
        return -SMX_E_NO_MEMORY;
    }
    if (cfg->engine_fd >= 0) {
        struct smx_err why = { 0 };

        engine_connection_attach(l, cfg->engine_fd, /* first= */ true);
        if (engine_greet(l, smx_deadline_in_ms(LOCAL_RECONNECT_MS), &why) < 0)
            smx_warn("the engine did not answer: %s", why.msg);
    }
    *ret_impl = l;
    return 0;
}

void local_engine_attach(struct provider *p, int fd)
{
    engine_connection_attach(provider_impl(p), fd, /* first= */ false);
}

static uint64_t local_capabilities(void *impl)
{
    static const enum provider_cap always[] = { PROVIDER_PERSISTENT, PROVIDER_STOP_START,
        PROVIDER_RESOURCES, PROVIDER_TEMPLATES, PROVIDER_AUTO_CLEANUP, PROVIDER_PTY, PROVIDER_PORTS,
        PROVIDER_STATS, PROVIDER_SESSIONS };
    const struct local *l = impl;
    uint64_t bits = l->pause ? PROVIDER_BIT(PROVIDER_PAUSE_RESUME) : 0;

    for (size_t i = 0; i < SMX_ARRAY_LEN(always); i++)
        bits |= PROVIDER_BIT(always[i]);
    return bits;
}

static int local_probe(void *impl, uint64_t deadline, struct smx_err *err)
{
    struct local *l = impl;
    int r = engine_greet(l, deadline, err);

    if (r == 0 && !l->ready)
        r = smx_err_set(err, SMX_E_UNAVAILABLE, "the engine cannot make sandboxes: %s", l->why);
    return r;
}

static int local_validate(
    void *impl, struct provider_check *ret, uint64_t deadline, struct smx_err *err)
{
    uint64_t begun = smx_now_ns();
    int r = local_probe(impl, deadline, err);

    if (r == 0)
        *ret = (struct provider_check){ .ok = true,
            .latency_ms = (smx_now_ns() - begun) / SMX_NS_PER_MS };
    return r;
}

/* --- boxes --------------------------------------------------------------------------------- */

static void local_detach(struct provider_box *box)
{
    envd_box_forget(&box->envd);
    for (size_t i = 0; i < box->n_env; i++) {
        smx_free(box->env[i].key);
        smx_free(box->env[i].value);
    }
    smx_free(box->env);
    smx_free(box);
}

static void detach_any(struct provider_box **box)
{
    if (*box)
        local_detach(*box);
}

static const char *value_of(const struct json_pair *env, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (smx_streq(env[i].key, key))
            return env[i].value;
    return NULL;
}

static int add_env(
    struct provider_box *box, const char *key, const char *value, struct smx_err *err)
{
    struct json_pair *p = &box->env[box->n_env++];

    p->key = smx_strdup(key);
    p->value = smx_strdup(value);
    return p->key && p->value ? 0 : smx_err_oom(err);
}

static int box_new(struct local *l, const char *id, const struct json_pair *env, size_t n_env,
    struct provider_box **ret, struct smx_err *err)
{
    SMX_CLEANUP(detach_any) struct provider_box *box = smx_alloc(sizeof *box);
    int r = 0;

    if (!box)
        return smx_err_oom(err);
    envd_box_init(&box->envd, &local_provider, &l->idle);
    box->envd.dial = dial;
    box->envd.base = workspace;
    box->envd.user = "root";
    box->l = l;
    smx_strcpy(box->id, sizeof box->id, id);
    box->env = smx_alloc_array(n_env + 1, sizeof *box->env);
    if (!box->env)
        return smx_err_oom(err);
    if (!value_of(env, n_env, ENVD_SANDBOX_ID_VARIABLE))
        r = add_env(box, ENVD_SANDBOX_ID_VARIABLE, id, err);
    for (size_t i = 0; i < n_env && r == 0; i++)
        r = add_env(box, env[i].key, env[i].value, err);
    if (r < 0)
        return r;
    *ret = smx_take(&box);
    return 0;
}

/* Another one than ours when this is the machine of a sandbox of another server. */
static const char *id_inside(const struct provider_box *box)
{
    const char *given = value_of(box->env, box->n_env, ENVD_SANDBOX_ID_VARIABLE);

    return given && smx_id_valid(given) ? given : box->id;
}

/* The agent begins anew with each start: its settings are ours to give. Takes fd, a connection to
 * it; -1: there is none yet. */
static int set_up(struct provider_box *box, const struct engine_sandbox *of, int fd,
    uint64_t deadline, struct smx_err *err)
{
    static char user[] = "user";
    struct envd_init_request settings = { .default_user = user,
        .env_vars = { .v = box->env, .n = box->n_env, .set = box->n_env > 0 },
        .sandbox_id = (char *)(uintptr_t)id_inside(box),
        .template_id = of ? of->template : NULL,
        .memory_bytes = of ? of->resources.memory_mib << 20 : 0,
        .cpu_milli = of ? of->resources.cpu_milli : 0 };
    int r;

    if (fd >= 0)
        envd_box_connected(&box->envd, fd);
    r = envd_setup(&box->envd, &settings, deadline, err);
    return r < 0 ? smx_err_wrap(err, r, "setting sandbox '%s' up", box->id) : 0;
}

static int delete_by_id(struct local *l, const char *id, uint64_t deadline, struct smx_err *err)
{
    struct engine_request req = { .op = ENGINE_OP_DELETE, .id = (char *)(uintptr_t)id };
    struct engine_reply reply;
    int r = engine_ask(l, &req, &reply, /* ret_fd= */ NULL, deadline, err);

    if (r == 0)
        json_free(&engine_reply_table, &reply);
    return r == -SMX_E_SANDBOX_NOT_FOUND || r == -SMX_E_NOT_FOUND ? 0 : r;
}

/* --- creating ------------------------------------------------------------------------------ */

static void relative_deadline(int64_t expires_unix_ms, struct engine_request *req)
{
    int64_t left = expires_unix_ms - smx_now_unix_ms();

    req->has_deadline = expires_unix_ms != 0;
    req->deadline_ms = req->has_deadline && left > 0 ? (uint64_t)left : 0;
}

static const int at_expiry[] = {
    [PROVIDER_AT_EXPIRY_KILL] = ENGINE_AT_EXPIRY_KILL,
    [PROVIDER_AT_EXPIRY_PAUSE] = ENGINE_AT_EXPIRY_PAUSE,
    [PROVIDER_AT_EXPIRY_STOP] = ENGINE_AT_EXPIRY_STOP,
};

static int ask_create(struct local *l, const struct provider_create_spec *spec,
    struct engine_reply *ret, int *ret_fd, uint64_t deadline, struct smx_err *err)
{
    struct engine_create create = { .token = (char *)(uintptr_t)spec->token,
        .template = (char *)(uintptr_t)spec->template,
        .at_expiry = at_expiry[spec->at_expiry],
        .resources = { .cpu_milli = (uint64_t)(spec->resources.cpu * 1000 + 0.5),
            .memory_mib = spec->resources.memory_mib,
            .disk_mib = spec->resources.disk_mib,
            .pids = spec->resources.pids } };
    struct engine_request req = {
        .op = ENGINE_OP_CREATE, .id = (char *)(uintptr_t)spec->id, .create = &create
    };
    int r;

    relative_deadline(spec->expires_unix_ms, &req);
    r = engine_ask(l, &req, ret, ret_fd, deadline, err);
    if (r < 0 || ret->sandbox)
        return r;
    smx_close(smx_take_fd(ret_fd));
    json_free(&engine_reply_table, ret);
    return smx_err_set(err, SMX_E_PROTOCOL, "the engine said nothing of the sandbox it made");
}

static int local_create(void *impl, const struct provider_create_spec *spec,
    struct provider_info *ret, struct provider_box **ret_box, uint64_t deadline,
    struct smx_err *err)
{
    struct local *l = impl;
    SMX_CLEANUP(detach_any) struct provider_box *box = NULL;
    struct engine_reply reply = { 0 };
    struct smx_err ignored;
    int fd = -1, r = box_new(l, spec->id, spec->env, spec->n_env, &box, err);

    if (r < 0)
        return r;
    r = ask_create(l, spec, &reply, &fd, deadline, err);
    if (r == -SMX_E_AMBIGUOUS) { /* the engine was replaced: begin again with the next one */
        r = delete_by_id(l, spec->id, deadline, err);
        if (r == 0)
            r = ask_create(l, spec, &reply, &fd, deadline, err);
        else
            r = smx_err_set(err, SMX_E_AMBIGUOUS, "the engine went away during a create");
    }
    if (r < 0)
        return r;
    r = set_up(box, reply.sandbox, fd, deadline, err);
    if (r == 0) {
        local_info(l, reply.sandbox, ret);
        *ret_box = smx_take(&box);
    } else {
        delete_by_id(l, spec->id, deadline, &ignored);
    }
    json_free(&engine_reply_table, &reply);
    return r;
}

static int local_attach(void *impl, const struct provider_info *info, const struct json_pair *env,
    size_t n_env, struct provider_box **ret_box, struct smx_err *err)
{
    return box_new(impl, info->provider_id, env, n_env, ret_box, err);
}

/* --- changes ------------------------------------------------------------------------------- */

static int plain(
    struct provider_box *box, enum engine_op op, uint64_t deadline, struct smx_err *err)
{
    struct engine_request req = { .op = (int)op, .id = box->id };
    struct engine_reply reply;
    int r = engine_ask(box->l, &req, &reply, /* ret_fd= */ NULL, deadline, err);

    if (r == 0)
        json_free(&engine_reply_table, &reply);
    return r;
}

static int local_start(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    struct engine_request req = { .op = ENGINE_OP_START, .id = box->id };
    struct engine_reply reply;
    int fd = -1, r;

    envd_box_forget(&box->envd);
    r = engine_ask(box->l, &req, &reply, &fd, deadline, err);
    if (r < 0)
        return r;
    r = set_up(box, reply.sandbox, fd, deadline, err);
    json_free(&engine_reply_table, &reply);
    return r;
}

static int local_stop(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    int r = plain(box, ENGINE_OP_STOP, deadline, err);

    envd_box_forget(&box->envd);
    return r;
}

static int local_pause(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return plain(box, ENGINE_OP_PAUSE, deadline, err);
}

static int local_resume(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return plain(box, ENGINE_OP_RESUME, deadline, err);
}

static int local_kill(void *impl, const char *provider_id, uint64_t deadline, struct smx_err *err)
{
    return delete_by_id(impl, provider_id, deadline, err);
}

static int local_set_deadline(
    struct provider_box *box, int64_t expires_unix_ms, uint64_t deadline, struct smx_err *err)
{
    struct engine_request req = { .op = ENGINE_OP_SET_DEADLINE, .id = box->id };
    struct engine_reply reply;
    int r;

    relative_deadline(expires_unix_ms, &req);
    r = engine_ask(box->l, &req, &reply, /* ret_fd= */ NULL, deadline, err);
    if (r == 0)
        json_free(&engine_reply_table, &reply);
    return r;
}

/* --- looking ------------------------------------------------------------------------------- */

static int ask_stats(struct provider_box *box, bool brief, struct provider_stats *ret,
    uint64_t deadline, struct smx_err *err)
{
    struct engine_request req = { .op = ENGINE_OP_STATS, .id = box->id, .brief = brief };
    struct engine_reply reply;
    const struct engine_stats *s;
    int r = engine_ask(box->l, &req, &reply, /* ret_fd= */ NULL, deadline, err);

    if (r < 0)
        return r;
    s = reply.stats;
    if (s)
        *ret = (struct provider_stats){ .cpu_ns = s->cpu_ns,
            .memory_bytes = s->memory_bytes,
            .memory_peak_bytes = s->memory_peak_bytes,
            .memory_limit_bytes = s->memory_limit_bytes,
            .disk_bytes = s->disk_bytes,
            .disk_limit_bytes = s->disk_limit_bytes,
            .pids = s->pids,
            .pids_limit = s->pids_limit,
            .net_rx_bytes = s->net_rx_bytes,
            .net_tx_bytes = s->net_tx_bytes,
            .oom_kills = s->ooms };
    else
        r = smx_err_set(err, SMX_E_PROTOCOL, "the engine sent no figures");
    json_free(&engine_reply_table, &reply);
    return r;
}

static int local_stats(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err)
{
    return ask_stats(box, /* brief= */ false, ret, deadline, err);
}

static int local_sample(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err)
{
    return ask_stats(box, /* brief= */ true, ret, deadline, err);
}

struct listing {
    struct provider_info *v;
    size_t n, room;
};

static int add_page(
    struct local *l, const struct engine_reply *reply, struct listing *to, struct smx_err *err)
{
    const struct engine_sandbox *s = reply->sandboxes.v;

    if (to->n + reply->sandboxes.n > to->room) {
        size_t room = SMX_MAX(2 * to->room, to->n + reply->sandboxes.n);
        struct provider_info *v = smx_realloc(to->v, room * sizeof *v);

        if (!v)
            return smx_err_oom(err);
        to->v = v;
        to->room = room;
    }
    for (size_t i = 0; i < reply->sandboxes.n; i++)
        local_info(l, &s[i], &to->v[to->n++]);
    return 0;
}

static int local_list(
    void *impl, struct provider_info **ret, size_t *ret_n, uint64_t deadline, struct smx_err *err)
{
    struct local *l = impl;
    struct listing to = { 0 };
    SMX_CLEANUP(smx_freep) char *after = NULL;
    bool more = true;
    int r = 0;

    while (more && r == 0) {
        struct engine_request req = { .op = ENGINE_OP_LIST, .after = after };
        struct engine_reply reply;

        r = engine_ask(l, &req, &reply, /* ret_fd= */ NULL, deadline, err);
        if (r < 0)
            break;
        r = add_page(l, &reply, &to, err);
        smx_free(after);
        after = smx_take(&reply.next);
        more = after != NULL && reply.sandboxes.n > 0;
        json_free(&engine_reply_table, &reply);
    }
    if (r < 0) {
        smx_free(to.v);
        return r;
    }
    *ret = to.v;
    *ret_n = to.n;
    return 0;
}

static int local_templates(void *impl, struct provider_template **ret, size_t *ret_n,
    uint64_t deadline, struct smx_err *err)
{
    struct local *l = impl;
    struct provider_template *v;
    int r = l->known ? 0 : engine_greet(l, deadline, err);

    if (r < 0)
        return r;
    v = smx_alloc_array(l->n_templates + 1, sizeof *v);
    if (!v)
        return smx_err_oom(err);
    for (size_t i = 0; i < l->n_templates; i++) {
        smx_strcpy(v[i].name, sizeof v[i].name, l->templates[i]);
        smx_strcpy(v[i].default_user, sizeof v[i].default_user, "root");
        v[i].resources = (struct provider_resources){ .cpu = (double)l->defaults.cpu_milli / 1000,
            .memory_mib = l->defaults.memory_mib,
            .disk_mib = l->defaults.disk_mib,
            .pids = l->defaults.pids };
    }
    *ret = v;
    *ret_n = l->n_templates;
    return 0;
}

static bool local_shed(void *impl)
{
    struct local *l = impl;
    bool some = l->idle.n > 0;

    envd_idle_close(&l->idle, 0);
    return some;
}

const struct provider_ops local_provider = { .version = PROVIDER_VERSION,
    .name = "local",
    .open = local_open,
    .close = local_close,
    .capabilities = local_capabilities,
    .validate = local_validate,
    .probe = local_probe,
    .create = local_create,
    .attach = local_attach,
    .detach = local_detach,
    .start = local_start,
    .stop = local_stop,
    .pause = local_pause,
    .resume = local_resume,
    .kill = local_kill,
    .set_deadline = local_set_deadline,
    .stats = local_stats,
    .sample = local_sample,
    .list = local_list,
    .templates = local_templates,
    .shed = local_shed,
    .data = &envd_data_ops };
