/* adopt.c - what only asking the runtime can tell: whether a sandbox that runs by our records still
 * does, and whether an id that we do not know is one of the runtime's own. For runtimes across a
 * network, where sandboxes end and are made without us. */
#include "core/internal.h"

#include "base/log.h"

enum { VERIFIED_MS = 2000 };

/* --- is it still there --------------------------------------------------------------------- */

static const char *reason_of_end(const struct sbx *b)
{
    int64_t expires = b->pub.expires_unix_ms;

    return expires != 0 && expires <= smx_now_unix_ms() ? "expired" : "lost";
}

/* The lock is held. */
static int verify_locked(struct sbx *b, struct smx_err *err)
{
    struct provider_info info = { 0 };
    int r;

    if (b->pub.state != SANDBOX_RUNNING || b->verified_until_ns > smx_now_ns())
        return 0;
    r = provider_lookup(
        b->rt->provider, b->pub.provider_id, &info, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), err);
    if (r == -SMX_E_SANDBOX_NOT_FOUND) {
        sandbox_follow(b, PROVIDER_BOX_GONE, reason_of_end(b));
        return 0;
    }
    if (r < 0)
        return r;
    sandbox_follow(b, info.state, info.reason);
    b->verified_until_ns = smx_deadline_in_ms(VERIFIED_MS);
    return 0;
}

int adopt_verify(struct sbx *b, struct smx_err *err)
{
    int r;

    if (!b->rt->provider || !provider_is_remote(b->rt->provider))
        return 0;
    r = sandbox_lock(b, err);
    if (r < 0)
        return r;
    r = verify_locked(b, err);
    sandbox_unlock(b);
    return r;
}

int adopt_verify_anew(struct sbx *b, struct smx_err *err)
{
    b->verified_until_ns = 0;
    return adopt_verify(b, err);
}

/* --- one that we do not know --------------------------------------------------------------- */

static bool could_be_theirs(const struct core_rt *rt, const char *id)
{
    return rt->provider && provider_is_remote(rt->provider) && smx_id_valid(id);
}

/* Who made it gave it an end; ours is at least as late. */
static void extend(struct sbx *b, const struct provider_info *info)
{
    struct smx_err err = { 0 };

    if (info->expires_unix_ms == 0 ||
        (b->pub.expires_unix_ms != 0 && b->pub.expires_unix_ms <= info->expires_unix_ms))
        return;
    if (provider_set_deadline(
            b->box, b->pub.expires_unix_ms, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), &err) < 0)
        smx_warn("sandbox %s: its new deadline did not reach the runtime: %s", b->pub.id, err.msg);
}

/* The lock is held; nobody else has seen it in use. */
static int take_up(struct sbx *b, const struct provider_info *info, struct smx_err *err)
{
    bool paused = info->state == PROVIDER_BOX_PAUSED;
    int r = recovery_attach(b, info, err);

    if (r == 0)
        r = sandbox_move(b, paused ? SANDBOX_PAUSED : SANDBOX_RUNNING, "adopted", 0, err);
    if (r < 0) {
        sbx_remove(b);
        b->pub.state = SANDBOX_DELETED; /* for those who wait for it; there is no row */
        return r;
    }
    if (paused)
        lifetime_suspend(b);
    else
        extend(b, info);
    return 0;
}

/* A row for what the runtime has. Nothing parks between the look for one and sbx_add(). */
static int take_in(struct core_rt *rt, const struct core_create_spec *spec,
    const struct provider_info *info, struct smx_err *err)
{
    struct core_create_spec as = *spec;
    struct sbx *b = NULL;
    int r;

    if (smx_map_get(&rt->by_provider_id, info->provider_id))
        return 0;
    as.name = NULL;
    r = create_object(rt->core, rt, &as, &b, err);
    if (r < 0)
        return r;
    smx_strcpy(b->pub.provider_id, sizeof b->pub.provider_id, info->provider_id);
    r = sbx_add(b, err);
    if (r == 0)
        r = sbx_index_provider_id(b, err);
    if (r == 0 && io_sem_try(&b->lock)) {
        sandbox_ref(&b->pub);
        r = take_up(b, info, err);
        sandbox_unlock(b);
    } else {
        sbx_remove(b);
    }
    sandbox_unref(&b->pub);
    return r;
}

int adopt_foreign(struct core *c, const struct core_create_spec *spec, struct smx_err *err)
{
    struct provider_info info = { 0 };
    struct core_rt *rt = NULL;
    int r = create_check(c, spec, &rt, err);

    if (r < 0 || !could_be_theirs(rt, spec->name))
        return r;
    r = provider_lookup(
        rt->provider, spec->name, &info, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), err);
    if (r == -SMX_E_SANDBOX_NOT_FOUND || r == -SMX_E_UNSUPPORTED)
        return 0;
    if (r == 0)
        r = take_in(rt, spec, &info, err);
    if (r == 0)
        smx_info("sandbox '%s' of runtime '%s' was adopted", spec->name, rt->cfg.name);
    return r < 0 ? r : 1;
}
