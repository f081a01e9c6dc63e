/* recovery.c - making registry and provider agree: at start, when a provider that was away is back,
 * now and then, and when it tells of a single sandbox. What the provider has is the truth about
 * what runs; the rows are the truth about what is ours.
 *
 *   row                 provider has it          provider does not
 *   creating            adopted when it is named or an idempotency key waits for it, and running;
 *                       else removed             deleted ("create_interrupted"), after a moment
 *   deleting            removed                  deleted
 *   any other           its state is taken over  deleted ("expired" when it was due, else "lost")
 *   none                removed
 *
 * A sandbox whose lock is taken is left to the holder: it is talking to the provider right now. One
 * that was changed after the provider was asked is left for the next look, as the answer may be
 * older. Looks follow soon after a start: a provider may still be busy with what a gateway that
 * died had asked for. */
#include "core/internal.h"

#include "base/log.h"

enum { LIST_TIMEOUT_MS = 20000, PATIENCE = 10, PATIENCE_STEP_MS = 150 };
static const unsigned look_after_ms[] = { 1000, 4000, 15000, 60000 };

/* --- rows into the registry ---------------------------------------------------------------- */

static int texts_of_row(struct sbx *b, const struct store_sandbox *row, struct smx_err *err)
{
    struct sandbox *sb = &b->pub;
    const struct {
        char **to;
        const char *from;
    } copy[] = { { &sb->name, row->name }, { &sb->template, row->template },
        { &sb->project_id, row->project_id }, { &b->metadata_json, row->metadata },
        { &b->idem_scope, row->idem_scope }, { &b->idem_key, row->idem_key },
        { &sb->dialect, row->dialect } };
    int r;

    for (size_t i = 0; i < SMX_ARRAY_LEN(copy); i++) {
        if (!copy[i].from)
            continue;
        *copy[i].to = smx_strdup(copy[i].from);
        if (!*copy[i].to)
            return smx_err_oom(err);
    }
    r = pairs_decode(row->metadata, &sb->metadata, &sb->n_metadata, err);
    if (r == 0)
        r = pairs_decode(row->env, &b->env, &b->n_env, err);
    return r;
}

static void numbers_of_row(struct sbx *b, const struct store_sandbox *row)
{
    struct sandbox *sb = &b->pub;

    sb->serial = row->serial;
    smx_strcpy(sb->id, sizeof sb->id, row->id);
    smx_strcpy(sb->provider_id, sizeof sb->provider_id, row->provider_id);
    smx_strcpy(sb->reason, sizeof sb->reason, row->reason);
    smx_strcpy(b->token, sizeof b->token, row->token);
    sb->created_unix_ms = row->created_ms;
    sb->updated_unix_ms = row->updated_ms;
    sb->last_used_unix_ms = row->used_ms;
    sb->expires_unix_ms = row->expires_ms;
    b->armed_unix_ms = row->armed_ms;
    sb->lifetime = (enum sandbox_lifetime)row->lifetime;
    sb->lifetime_s = row->lifetime_s;
    sb->resources =
        (struct provider_resources){ row->cpu, row->memory_mib, row->disk_mib, row->pids };
    sb->limits_hard = row->limits_hard;
    sb->internet = row->internet;
    sb->generation = row->generation;
    sb->created_unix_ns = row->created_ns;
    sb->on_timeout = (enum sandbox_on_timeout)row->on_timeout;
    sb->auto_resume = row->auto_resume;
    sb->open_envd = row->open_envd;
    sb->private_traffic = row->private_traffic;
    b->core->created_last_ns = SMX_MAX(b->core->created_last_ns, row->created_ns);
}

static int load_row(void *ctx, const struct store_sandbox *row, struct smx_err *err)
{
    struct core *c = ctx;
    struct core_rt *rt = core_rt_find(c, row->runtime);
    struct sbx *b = NULL;
    int r;

    if (!rt) {
        smx_warn("sandbox %s belongs to runtime '%s', which is unknown here; it is left alone",
            row->id, row->runtime);
        return 0;
    }
    r = sbx_new(c, rt, &b, err);
    if (r < 0)
        return r;
    numbers_of_row(b, row);
    if (!sandbox_state_parse(row->state, &b->pub.state))
        r = smx_err_set(err, SMX_E_IO, "sandbox %s: unknown state '%s'", row->id, row->state);
    b->row_state = b->pub.state;
    if (r == 0)
        r = texts_of_row(b, row, err);
    if (r == 0)
        r = sbx_add(b, err);
    if (r == 0)
        r = sbx_index_provider_id(b, err);
    if (r == 0 && b->pub.expires_unix_ms != 0)
        lifetime_resume(b);
    sandbox_unref(&b->pub);
    return r < 0 ? smx_err_wrap(err, r, "reading sandbox %s", row->id) : 0;
}

int recovery_load(struct core *c, struct smx_err *err)
{
    return store_sandbox_each(c->store, load_row, c, err);
}

/* --- against the provider ------------------------------------------------------------------ */

static const struct provider_info *find_info(
    const struct sbx *b, const struct smx_map *by_token, const struct smx_map *by_id)
{
    const struct provider_info *info = smx_map_get(by_token, b->token);

    return info ? info : smx_map_get(by_id, b->pub.provider_id);
}

int recovery_attach(struct sbx *b, const struct provider_info *info, struct smx_err *err)
{
    int r = 0;

    b->pub.capabilities = provider_capabilities(b->rt->provider);
    b->pub.resources = info->resources;
    b->pub.limits_hard = info->limits_hard;
    b->pub.internet = info->internet;
    if (!smx_streq(b->pub.provider_id, info->provider_id)) {
        if (smx_map_get(&b->rt->by_provider_id, b->pub.provider_id) == b)
            smx_map_remove(&b->rt->by_provider_id, b->pub.provider_id);
        smx_strcpy(b->pub.provider_id, sizeof b->pub.provider_id, info->provider_id);
        r = sbx_index_provider_id(b, err);
    }
    if (r == 0 && !b->box)
        r = provider_attach(b->rt->provider, info, b->env, b->n_env, &b->box, err);
    return r;
}

static int attach(struct sbx *b, const struct provider_info *info)
{
    struct smx_err err = { 0 };
    int r = recovery_attach(b, info, &err);

    if (r < 0)
        smx_warn("sandbox %s cannot be taken up again: %s", b->pub.id, err.msg);
    return r;
}

static void remove_found(struct sbx *b, const struct provider_info *info, const char *reason)
{
    struct smx_err err = { 0 };

    smx_strcpy(b->pub.provider_id, sizeof b->pub.provider_id, info->provider_id);
    if (sandbox_delete_locked(b, reason, &err) < 0)
        smx_warn("sandbox %s could not be removed: %s", b->pub.id, err.msg);
}

static bool is_wanted(const struct sbx *b)
{
    return b->pub.name || b->idem_key;
}

static void resolve_found(struct sbx *b, const struct provider_info *info)
{
    bool wanted = is_wanted(b);

    switch (b->pub.state) {
    case SANDBOX_CREATING:
        if (wanted && info->state == PROVIDER_BOX_UNKNOWN)
            return; /* it is being made; the next look adopts it */
        if (wanted && info->state == PROVIDER_BOX_RUNNING && attach(b, info) == 0)
            sandbox_follow(b, info->state, "adopted");
        else
            remove_found(b, info, "create_interrupted");
        return;
    case SANDBOX_DELETING:
        remove_found(b, info, b->pub.reason);
        return;
    case SANDBOX_STARTING:
    case SANDBOX_RUNNING:
    case SANDBOX_PAUSING:
    case SANDBOX_PAUSED:
    case SANDBOX_STOPPING:
    case SANDBOX_STOPPED:
    case SANDBOX_ARCHIVING:
    case SANDBOX_ARCHIVED:
    case SANDBOX_ERROR:
        if (info->state == PROVIDER_BOX_GONE || attach(b, info) == 0)
            sandbox_follow(b, info->state, info->reason);
        return;
    case SANDBOX_DELETED:
    case SANDBOX_STATE_COUNT_:
        return;
    }
}

static void resolve_missing(struct sbx *b)
{
    int64_t expires = b->pub.expires_unix_ms;

    if (b->pub.state == SANDBOX_CREATING && is_wanted(b) && b->rt->patience > 0)
        return;
    if (b->pub.state == SANDBOX_CREATING)
        sandbox_follow(b, PROVIDER_BOX_GONE, "create_interrupted");
    else if (b->pub.state == SANDBOX_DELETING)
        sandbox_follow(b, PROVIDER_BOX_GONE, b->pub.reason);
    else
        sandbox_follow(b, PROVIDER_BOX_GONE,
            expires != 0 && expires <= smx_now_unix_ms() ? "expired" : "lost");
}

/* A cloud's list may lag behind, and it does not show what was adopted: what it leaves out is asked
 * for by its id. */
static void ask_for_one(struct sbx *b)
{
    struct provider_info info = { 0 };
    struct smx_err err = { 0 };
    int r = provider_lookup(
        b->rt->provider, b->pub.provider_id, &info, smx_deadline_in_ms(LIST_TIMEOUT_MS), &err);

    if (r == 0)
        resolve_found(b, &info);
    else if (r == -SMX_E_SANDBOX_NOT_FOUND)
        resolve_missing(b);
}

struct findings {
    struct provider_info *v;
    size_t n;
    struct smx_map by_token, by_id;
};

static int ask(struct core_rt *rt, struct findings *f, struct smx_err *err)
{
    int r = provider_list(rt->provider, &f->v, &f->n, smx_deadline_in_ms(LIST_TIMEOUT_MS), err);

    for (size_t i = 0; i < f->n && r == 0; i++) {
        if (f->v[i].token[0] &&
            smx_map_put(&f->by_token, f->v[i].token, &f->v[i]) == -SMX_E_NO_MEMORY)
            r = smx_err_oom(err);
        if (r == 0 && smx_map_put(&f->by_id, f->v[i].provider_id, &f->v[i]) == -SMX_E_NO_MEMORY)
            r = smx_err_oom(err);
    }
    return r;
}

/* The rows of a runtime as they are now, each with a reference: resolving parks. */
static struct sbx **collect(struct core_rt *rt, size_t *ret_n)
{
    struct sbx **v = smx_alloc_array(rt->living + 1, sizeof(struct sbx *));
    size_t n = 0;

    SMX_LIST_FOREACH(it, &rt->core->all) {
        struct sbx *b = SMX_LIST_ENTRY(it, struct sbx, all);

        if (v && b->rt == rt && n < rt->living) {
            sandbox_ref(&b->pub);
            v[n++] = b;
        }
    }
    *ret_n = n;
    return v;
}

static void resolve_rows(struct sbx **v, size_t n, const struct findings *f, uint64_t asked_ns)
{
    for (size_t i = 0; i < n; i++) {
        struct sbx *b = v[i];

        if (b->registered && b->moved_ns < asked_ns && io_sem_try(&b->lock)) {
            const struct provider_info *info = find_info(b, &f->by_token, &f->by_id);

            sandbox_ref(&b->pub);
            if (info)
                resolve_found(b, info);
            else if (b->box && provider_is_remote(b->rt->provider))
                ask_for_one(b);
            else
                resolve_missing(b);
            sandbox_unlock(b);
        }
    }
}

static bool is_ours(
    struct core_rt *rt, const struct provider_info *info, struct sbx *const *v, size_t n)
{
    if (smx_map_get(&rt->by_provider_id, info->provider_id) ||
        smx_map_get(&rt->core->by_id, info->id))
        return true;
    for (size_t i = 0; i < n && info->token[0]; i++)
        if (smx_streq(v[i]->token, info->token))
            return true;
    return false;
}

static void remove_strangers(
    struct core_rt *rt, struct sbx *const *v, size_t n, const struct findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        struct smx_err err = { 0 };

        if (f->v[i].state == PROVIDER_BOX_GONE || is_ours(rt, &f->v[i], v, n))
            continue;
        smx_warn("runtime '%s' has a sandbox '%s' that is in no record; it is removed",
            rt->cfg.name, f->v[i].provider_id);
        if (provider_kill(
                rt->provider, f->v[i].provider_id, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), &err) < 0)
            smx_warn("removing '%s': %s", f->v[i].provider_id, err.msg);
    }
}

static int recover_once(struct core_rt *rt, struct smx_err *err)
{
    struct findings f = { 0 };
    uint64_t asked_ns = smx_now_ns();
    struct sbx **v;
    size_t n = 0;
    int r;

    smx_map_init(&f.by_token);
    smx_map_init(&f.by_id);
    /* What is made after this line is in neither list; what is listed but made meanwhile is ours by
     * the registry, which is why the rows are collected after the answer. */
    r = ask(rt, &f, err);
    v = collect(rt, &n);
    if (r == 0 && !v)
        r = smx_err_oom(err);
    if (r == 0) {
        remove_strangers(rt, v, n, &f);
        resolve_rows(v, n, &f, asked_ns);
    }
    for (size_t i = 0; i < n; i++)
        sandbox_unref(&v[i]->pub);
    smx_free(v);
    smx_free(f.v);
    smx_map_done(&f.by_token);
    smx_map_done(&f.by_id);
    return r;
}

void recovery_run(struct core_rt *rt)
{
    struct smx_err err = { 0 };
    int r;

    if (!rt->provider)
        return;
    if (rt->recovering) {
        rt->recover_again = true;
        return;
    }
    rt->recovering = true;
    do {
        rt->recover_again = false;
        r = recover_once(rt, &err);
    } while (rt->recover_again && !rt->core->closing);
    rt->recovering = false;
    rt->next_look_ns = smx_deadline_in_ms(look_after_ms[rt->looks]);
    if (rt->looks + 1 < SMX_ARRAY_LEN(look_after_ms))
        rt->looks++;
    if (r < 0 && !rt->core->closing)
        smx_warn("sandboxes of runtime '%s' could not be looked up and keep their last state: %s",
            rt->cfg.name, err.msg);
}

static bool has_interrupted(const struct core_rt *rt)
{
    SMX_LIST_FOREACH(it, &rt->core->all) {
        const struct sbx *b = SMX_LIST_ENTRY(it, struct sbx, all);

        if (b->rt == rt && b->pub.state == SANDBOX_CREATING)
            return true;
    }
    return false;
}

void recovery_first(struct core_rt *rt)
{
    for (rt->patience = PATIENCE; rt->patience > 0; rt->patience--) {
        recovery_run(rt);
        if (!rt->provider || !has_interrupted(rt))
            break;
        io_sleep_until(smx_deadline_in_ms(PATIENCE_STEP_MS));
    }
    if (rt->patience == 0)
        recovery_run(rt);
    rt->patience = 0;
}

static enum provider_box_state state_by_row(const struct sbx *b)
{
    if (b->pub.state == SANDBOX_RUNNING)
        return PROVIDER_BOX_RUNNING;
    return b->pub.state == SANDBOX_PAUSED ? PROVIDER_BOX_PAUSED : PROVIDER_BOX_UNKNOWN;
}

void recovery_early(struct core_rt *rt)
{
    size_t n = 0;
    struct sbx **v = collect(rt, &n);

    for (size_t i = 0; i < n; i++) {
        struct sbx *b = v[i];
        struct provider_info info = { .state = state_by_row(b),
            .resources = b->pub.resources,
            .limits_hard = b->pub.limits_hard,
            .internet = b->pub.internet,
            .expires_unix_ms = b->pub.expires_unix_ms };

        smx_strcpy(info.provider_id, sizeof info.provider_id, b->pub.provider_id);
        if (info.state != PROVIDER_BOX_UNKNOWN)
            attach(b, &info);
        sandbox_unref(&b->pub);
    }
    smx_free(v);
}

static void recovery_fiber(void *arg)
{
    recovery_run(arg);
}

void recovery_start(struct core_rt *rt)
{
    if (core_task(rt->core, "recovery", recovery_fiber, rt) < 0)
        smx_error("no memory to look the sandboxes of runtime '%s' up", rt->cfg.name);
}

/* --- what a provider tells ----------------------------------------------------------------- */

struct told {
    struct sbx *b;
    enum provider_box_state state;
    char reason[PROVIDER_REASON_MAX + 1];
};

/* True: it is not taken up yet, and only a look does both, so that whoever is told of the new state
 * can use it. */
static bool told(struct sbx *b, const struct told *t)
{
    struct smx_err err = { 0 };

    if (!b->registered)
        return false;
    if (t->state == PROVIDER_BOX_GONE)
        sandbox_delete_locked(b, *t->reason ? t->reason : "lost", &err);
    else if (b->box)
        sandbox_follow(b, t->state, t->reason);
    else
        return true;
    return false;
}

static void told_fiber(void *arg)
{
    SMX_CLEANUP(smx_freep) struct told *t = arg;
    struct sbx *b = t->b;
    struct smx_err err = { 0 };
    bool look = false;

    if (sandbox_lock(b, &err) == 0) {
        look = told(b, t);
        sandbox_unlock(b);
    }
    if (look)
        recovery_run(b->rt);
    sandbox_unref(&b->pub);
}

static void on_changed(
    void *ctx, const char *provider_id, enum provider_box_state state, const char *reason)
{
    struct core_rt *rt = ctx;
    struct sbx *b = smx_map_get(&rt->by_provider_id, provider_id);
    struct told *t;

    if (!b)
        b = smx_map_get(&rt->core->by_id, provider_id);
    if (!b || b->rt != rt || b->pub.state == SANDBOX_DELETED)
        return;
    t = smx_alloc(sizeof *t);
    if (!t)
        return;
    t->b = b;
    t->state = state;
    smx_strcpy(t->reason, sizeof t->reason, reason ? reason : "");
    sandbox_ref(&b->pub);
    if (core_task(rt->core, "changed", told_fiber, t) < 0) {
        sandbox_unref(&b->pub);
        smx_free(t);
    }
}

static void on_log(void *ctx, const char *provider_id, const char *line)
{
    struct core_rt *rt = ctx;
    struct sbx *b = smx_map_get(&rt->by_provider_id, provider_id);

    if (b)
        sandbox_logf(&b->pub, "%s", line);
}

static void on_reset(void *ctx)
{
    ((struct core_rt *)ctx)->looks = 0;
    recovery_start(ctx);
}

const struct provider_host recovery_host = {
    .changed = on_changed, .log = on_log, .reset = on_reset
};
