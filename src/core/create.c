/* create.c - making a sandbox, and getting one by name.
 *
 * The order that recovery relies on: the row in state creating, with a random token that the
 * provider will carry, is written first; then the provider is called; then the row becomes running.
 * A name is taken in memory before the first park, so of concurrent calls for one name exactly one
 * makes the sandbox and the others wait for its lock. */
#include "core/internal.h"

#include <assert.h>
#include <stdio.h>

#include "base/log.h"

enum { METADATA_KEY_MAX = 128, PROJECT_MAX = 128, PASSWORD_MAX = 256 };
#define TIMEOUT_MAX_S (10ull * 366 * 24 * 3600)

/* --- checks -------------------------------------------------------------------------------- */

int metadata_check(const struct json_pair *v, size_t n, struct smx_err *err)
{
    if (n > SMX_METADATA_ENTRIES_MAX)
        return smx_err_set(
            err, SMX_E_INVALID, "metadata: at most %d entries", SMX_METADATA_ENTRIES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (*v[i].key == '\0' || strlen(v[i].key) > METADATA_KEY_MAX)
            return smx_err_set(
                err, SMX_E_INVALID, "metadata: a key must have 1 to %d bytes", METADATA_KEY_MAX);
        if (strlen(v[i].value) > SMX_METADATA_VALUE_MAX)
            return smx_err_set(err, SMX_E_INVALID, "metadata.%.40s: must have at most %d bytes",
                v[i].key, SMX_METADATA_VALUE_MAX);
    }
    return 0;
}

static int env_check(const struct json_pair *v, size_t n, struct smx_err *err)
{
    size_t bytes = 0;

    if (n > SMX_ENV_ENTRIES_MAX)
        return smx_err_set(err, SMX_E_INVALID, "env: at most %d variables", SMX_ENV_ENTRIES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (*v[i].key == '\0' || strchr(v[i].key, '='))
            return smx_err_set(err, SMX_E_INVALID,
                "env: the name of a variable must not be empty and not contain '='");
        bytes += strlen(v[i].key) + strlen(v[i].value) + 2;
    }
    if (bytes > SMX_ENV_BYTES_MAX)
        return smx_err_set(err, SMX_E_INVALID, "env: at most %d bytes in all", SMX_ENV_BYTES_MAX);
    return 0;
}

static int text_check(const char *field, const char *v, size_t max, struct smx_err *err)
{
    if (v && (strlen(v) > max || *v == '\0'))
        return smx_err_set(err, SMX_E_INVALID, "%s: must have 1 to %zu bytes", field, max);
    return 0;
}

static int resources_check(const struct provider_resources *r, struct smx_err *err)
{
    if (!(r->cpu >= 0) || r->cpu > 1024)
        return smx_err_set(
            err, SMX_E_INVALID, "resources.cpu: must be more than 0 and at most 1024");
    if (r->memory_mib > 16ull * 1024 * 1024)
        return smx_err_set(err, SMX_E_INVALID, "resources.memory_mib: must be at most 16777216");
    if (r->disk_mib > 1024ull * 1024 * 1024)
        return smx_err_set(err, SMX_E_INVALID, "resources.disk_mib: must be at most 1073741824");
    return 0;
}

static int name_check(const char *name, struct smx_err *err)
{
    if (!name || smx_name_valid(name))
        return 0;
    return smx_err_set(err, SMX_E_INVALID,
        "name: must be 1 to %d of a-z, 0-9, '.', '_', '-', beginning with a letter or digit",
        SMX_NAME_LEN_MAX);
}

static int usable(struct core_rt *rt, struct smx_err *err)
{
    if (!rt->cfg.configured)
        return smx_err_set(
            err, SMX_E_NOT_CONFIGURED, "Runtime '%s' is not properly configured", rt->cfg.name);
    if (!rt->provider)
        return smx_err_set(
            err, SMX_E_UNAVAILABLE, "runtime '%s' cannot be used here: %s", rt->cfg.name, rt->why);
    return 0;
}

/* What a runtime cannot do at the end of a lifetime is said now, not then. */
static int policy_check(
    struct core_rt *rt, const struct core_create_spec *spec, struct smx_err *err)
{
    if (spec->dialect && strlen(spec->dialect) > SANDBOX_DIALECT_MAX)
        return smx_err_set(err, SMX_E_TOO_LARGE,
            "what is to be kept with the sandbox has more than %d bytes", SANDBOX_DIALECT_MAX);
    if (spec->on_timeout == SANDBOX_PAUSE && !provider_can(rt->provider, PROVIDER_PAUSE_RESUME))
        return smx_err_set(
            err, SMX_E_UNSUPPORTED, "runtime '%s' cannot pause sandboxes", rt->cfg.name);
    if (spec->on_timeout == SANDBOX_STOP && !provider_can(rt->provider, PROVIDER_STOP_START))
        return smx_err_set(
            err, SMX_E_UNSUPPORTED, "runtime '%s' cannot stop sandboxes", rt->cfg.name);
    return 0;
}

int create_check(struct core *c, const struct core_create_spec *spec, struct core_rt **ret_rt,
    struct smx_err *err)
{
    struct core_rt *rt = spec->runtime ? core_rt_find(c, spec->runtime) : c->current;
    struct core_runtime ignored;
    int r;

    if (!rt)
        return core_runtime_get(c, spec->runtime, &ignored, err);
    r = name_check(spec->name, err);
    if (r == 0)
        r = text_check("template", spec->template, SMX_TEMPLATE_LEN_MAX, err);
    if (r == 0)
        r = text_check("project_id", spec->project_id, PROJECT_MAX, err);
    if (r == 0)
        r = text_check("password", spec->password, PASSWORD_MAX, err);
    if (r == 0)
        r = metadata_check(spec->metadata, spec->n_metadata, err);
    if (r == 0)
        r = env_check(spec->env, spec->n_env, err);
    if (r == 0)
        r = resources_check(&spec->resources, err);
    if (r == 0 && spec->has_timeout && spec->timeout_s > TIMEOUT_MAX_S)
        r = smx_err_set(err, SMX_E_INVALID, "timeout_s: must be at most %llu", TIMEOUT_MAX_S);
    if (r == 0)
        r = usable(rt, err);
    if (r == 0)
        r = policy_check(rt, spec, err);
    if (r == 0)
        *ret_rt = rt;
    return r;
}

/* --- the object ---------------------------------------------------------------------------- */

static char *dup_or(const char *s, const char *fallback)
{
    return smx_strdup(s ? s : fallback);
}

static int copy_texts(struct sbx *b, const struct core_create_spec *spec, struct smx_err *err)
{
    struct sandbox *sb = &b->pub;

    sb->template = dup_or(spec->template, b->rt->cfg.default_template);
    b->metadata_json = pairs_encode(spec->metadata, spec->n_metadata, err);
    if (spec->name)
        sb->name = smx_strdup(spec->name);
    if (spec->project_id)
        sb->project_id = smx_strdup(spec->project_id);
    if (spec->dialect)
        sb->dialect = smx_strdup(spec->dialect);
    if (spec->idempotency_key && spec->idempotency_scope) {
        b->idem_scope = smx_strdup(spec->idempotency_scope);
        b->idem_key = smx_strdup(spec->idempotency_key);
    }
    if (!sb->template || !b->metadata_json || (spec->name && !sb->name) ||
        (spec->project_id && !sb->project_id) || (spec->dialect && !sb->dialect) ||
        (spec->idempotency_key && spec->idempotency_scope && !(b->idem_scope && b->idem_key)))
        return smx_err_oom(err);
    sb->n_metadata = spec->n_metadata;
    b->n_env = spec->n_env;
    if (pairs_copy(&sb->metadata, spec->metadata, spec->n_metadata) < 0 ||
        pairs_copy(&b->env, spec->env, spec->n_env) < 0)
        return smx_err_oom(err);
    return 0;
}

/* Nanoseconds that only grow: what is made later shows a later time, whatever the clock does. */
static void set_created(struct sbx *b)
{
    struct core *c = b->core;
    int64_t now = smx_now_unix_ns();

    c->created_last_ns = SMX_MAX(now, c->created_last_ns + 1000);
    b->pub.created_unix_ns = c->created_last_ns;
    b->pub.created_unix_ms = b->pub.updated_unix_ms = now / (int64_t)SMX_NS_PER_MS;
}

int create_object(struct core *c, struct core_rt *rt, const struct core_create_spec *spec,
    struct sbx **ret, struct smx_err *err)
{
    struct sbx *b = NULL;
    unsigned char random[PROVIDER_TOKEN_LEN / 2];
    int r = sbx_new(c, rt, &b, err);

    if (r < 0)
        return r;
    r = copy_texts(b, spec, err);
    if (r < 0) {
        b->n_env = b->env ? b->n_env : 0;
        b->pub.n_metadata = b->pub.metadata ? b->pub.n_metadata : 0;
        sandbox_unref(&b->pub);
        return r;
    }
    smx_id_make(b->pub.id);
    smx_random(random, sizeof random);
    smx_hex_encode(b->token, random, sizeof random);
    smx_strcpy(b->pub.provider_id, sizeof b->pub.provider_id, b->pub.id);
    set_created(b);
    b->pub.on_timeout = spec->on_timeout;
    b->pub.auto_resume = spec->auto_resume;
    b->pub.open_envd = spec->open_envd;
    b->pub.private_traffic = spec->private_traffic;
    b->pub.resources = spec->resources;
    b->pub.generation = 1;
    lifetime_set(b, spec->has_timeout, spec->timeout_s);
    lifetime_arm(b);
    *ret = b;
    return 0;
}

/* --- creating ------------------------------------------------------------------------------ */

static void take_info(struct sbx *b, const struct provider_info *info)
{
    struct sandbox *sb = &b->pub;
    struct smx_err err = { 0 };

    smx_strcpy(sb->provider_id, sizeof sb->provider_id, info->provider_id);
    sb->resources = info->resources;
    sb->limits_hard = info->limits_hard;
    sb->internet = info->internet;
    sb->capabilities = provider_capabilities(b->rt->provider);
    if (sbx_index_provider_id(b, &err) < 0)
        smx_error("sandbox %s: no memory to find it by the provider's id", sb->id);
}

/* The provider did not say whether it made one: find it by the token and remove it. When that is
 * not possible either the row stays in state deleting, and recovery goes on when the provider is
 * back; the name is free at once. */
static int remove_ambiguous(struct sbx *b)
{
    struct provider_info *v = NULL;
    struct smx_err err = { 0 };
    uint64_t deadline = smx_deadline_in_ms(PROBE_TIMEOUT_MS);
    size_t n = 0;
    int r = provider_list(b->rt->provider, &v, &n, deadline, &err);

    for (size_t i = 0; i < n && r == 0; i++)
        if (smx_streq(v[i].token, b->token))
            r = provider_kill(b->rt->provider, v[i].provider_id, deadline, &err);
    smx_free(v);
    return r;
}

static void give_up(struct sbx *b, int why)
{
    bool ambiguous = why == -SMX_E_AMBIGUOUS || why == -SMX_E_TIMEOUT;
    const char *reason = smx_code_name((enum smx_code) - why);
    struct smx_err err = { 0 };

    lifetime_suspend(b);
    if (ambiguous && remove_ambiguous(b) < 0) {
        sbx_rename(b, NULL, &err);
        sandbox_move(b, SANDBOX_DELETING, reason, MOVE_FACT, &err);
        return;
    }
    sandbox_move(b, SANDBOX_DELETED, reason, MOVE_FACT, &err);
    if (!b->dirty)
        sbx_remove(b);
}

static const enum provider_at_expiry at_expiry[] = {
    [SANDBOX_KILL] = PROVIDER_AT_EXPIRY_KILL,
    [SANDBOX_PAUSE] = PROVIDER_AT_EXPIRY_PAUSE,
    [SANDBOX_STOP] = PROVIDER_AT_EXPIRY_STOP,
};

static int call_provider(struct sbx *b, const struct core_create_spec *spec, struct smx_err *err)
{
    struct provider_create_spec ps = { .id = spec->machine_id ? spec->machine_id : b->pub.id,
        .token = b->token,
        .template = b->pub.template,
        .resources = spec->resources,
        .env = b->env,
        .n_env = b->n_env,
        .metadata = b->pub.metadata,
        .n_metadata = b->pub.n_metadata,
        .project_id = b->pub.project_id,
        .password = spec->password,
        .expires_unix_ms = b->pub.expires_unix_ms,
        .at_expiry = at_expiry[b->pub.on_timeout] };
    struct provider_info info = { 0 };
    int r = provider_create(
        b->rt->provider, &ps, &info, &b->box, smx_deadline_in_ms(CREATE_TIMEOUT_MS), err);

    if (r == 0)
        take_info(b, &info);
    return r;
}

/* The lock is held and the name taken; nobody else has seen a sandbox that runs yet. */
static int create_locked(struct sbx *b, const struct core_create_spec *spec, struct smx_err *err)
{
    uint64_t begun = smx_now_ns();
    struct smx_err ignored = { 0 };
    int r = sandbox_move(b, SANDBOX_CREATING, "", 0, err);

    if (r < 0) {
        sbx_remove(b);
        b->pub.state = SANDBOX_DELETED; /* for those who wait for the name; there is no row */
        return r;
    }
    r = call_provider(b, spec, err);
    if (r < 0)
        give_up(b, r);
    else
        sandbox_move(b, SANDBOX_RUNNING, "", MOVE_FACT, &ignored);
    core_account(b, "create", r, begun);
    core_audit(b, "create", r);
    return r;
}

int core_create(
    struct core *c, const struct core_create_spec *spec, struct sandbox **ret, struct smx_err *err)
{
    struct core_rt *rt = NULL;
    struct sbx *b = NULL;
    int r = create_check(c, spec, &rt, err);

    if (r == 0)
        r = create_object(c, rt, spec, &b, err);
    if (r < 0)
        return r;
    r = sbx_add(b, err);
    if (r == 0) {
        bool free_lock = io_sem_try(&b->lock);

        assert(free_lock);
        (void)free_lock;
        sandbox_ref(&b->pub);
        io_shield_begin(); /* from here it is finished, whoever waits for it */
        r = create_locked(b, spec, err);
        io_shield_end();
        sandbox_unlock(b);
    }
    if (r < 0) {
        io_timer_disarm(&b->expiry);
        sandbox_unref(&b->pub);
        return r;
    }
    *ret = &b->pub;
    return 0;
}

/* --- get or create ------------------------------------------------------------------------- */

/* It ended without anybody asking for that. */
static bool had_ended(struct core *c, const char *name)
{
    SMX_CLEANUP(smx_freep) char *reason = NULL;
    struct smx_err err;

    return store_sandbox_ended(c->store, name, &reason, &err) == 0 && reason &&
           (smx_streq(reason, "expired") || smx_streq(reason, "lost"));
}

/* 1: it runs; 0: it is gone, look again. */
static int attach_to(struct sandbox *sb, struct smx_err *err)
{
    int r;

    if (sb->state == SANDBOX_DELETING) { /* wait for the end of it */
        r = sandbox_lock(sbx_of(sb), err);
        if (r < 0)
            return r;
        sandbox_unlock(sbx_of(sb));
        if (sb->state == SANDBOX_DELETING)
            return smx_err_set(err, SMX_E_UNAVAILABLE,
                "the last sandbox of that name is still being deleted: its runtime is away");
        return 0;
    }
    r = adopt_verify(sbx_of(sb), err);
    if (r == 0 && sb->state != SANDBOX_DELETED)
        r = sandbox_start(sb, err);
    if (sb->state == SANDBOX_DELETED)
        return 0;
    return r < 0 ? r : 1;
}

int core_ensure(struct core *c, const struct core_create_spec *spec, struct sandbox **ret,
    struct core_ensured *ret_how, struct smx_err *err)
{
    for (;;) {
        SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
        struct sbx *b = registry_look_up(c, spec->name);
        int r;

        if (b) {
            sb = sandbox_ref(&b->pub);
            r = attach_to(sb, err);
            if (r == 0)
                continue;
            if (r < 0)
                return r;
            *ret_how = (struct core_ensured){ 0 };
            *ret = smx_take(&sb);
            return 0;
        }
        r = adopt_foreign(c, spec, err);
        if (r > 0)
            continue;
        if (r == 0)
            r = core_create(c, spec, &sb, err);
        if (r < 0)
            return r;
        *ret_how = (struct core_ensured){ .created = true, .recreated = had_ended(c, spec->name) };
        *ret = smx_take(&sb);
        return 0;
    }
}
