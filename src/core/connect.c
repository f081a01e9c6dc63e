/* connect.c - calls that come to a sandbox which may be asleep: waking, and what E2B calls connect.
 * Each runs under the sandbox's lock, so that of many callers one starts it and the others find it
 * running, and no end of a lifetime is moved back by a race. */
#include "core/internal.h"

static bool asleep(const struct sandbox *sb)
{
    return sb->state == SANDBOX_PAUSED || sb->state == SANDBOX_STOPPED ||
           sb->state == SANDBOX_ARCHIVED || sb->state == SANDBOX_ERROR;
}

/* Its lifetime is set before it runs, so that the start arms and tells the runtime the right one.
 */
static int start_for(struct sbx *b, uint64_t timeout_s, struct smx_err *err)
{
    enum sandbox_lifetime lifetime = b->pub.lifetime;
    uint64_t lifetime_s = b->pub.lifetime_s;
    int r;

    lifetime_set(b, /* has_timeout= */ true, timeout_s);
    r = sandbox_start_locked(b, err);
    if (r < 0) {
        b->pub.lifetime = lifetime;
        b->pub.lifetime_s = lifetime_s;
    }
    return r;
}

static int wake_locked(struct sbx *b, struct smx_err *err)
{
    if (b->pub.state == SANDBOX_RUNNING)
        return 0;
    if (!b->pub.auto_resume || !asleep(&b->pub))
        return sandbox_refuse(b, "used", err);
    if (b->pub.lifetime != SANDBOX_LIFETIME_ABSOLUTE)
        return sandbox_start_locked(b, err);
    return start_for(b, SANDBOX_WAKE_S, err);
}

int sandbox_wake(struct sandbox *sb, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r;

    if (sb->state == SANDBOX_RUNNING)
        return 0;
    if (!sb->auto_resume)
        return sandbox_refuse(b, "used", err);
    r = sandbox_lock(b, err);
    if (r < 0)
        return r;
    r = wake_locked(b, err);
    sandbox_unlock(b);
    return r;
}

static int extend_locked(struct sbx *b, uint64_t timeout_s, struct smx_err *err)
{
    struct core_patch patch = { .has_timeout = true, .timeout_s = timeout_s };
    int64_t end = smx_now_unix_ms() + (int64_t)timeout_s * 1000;

    lifetime_refresh(b);
    if (b->pub.state != SANDBOX_RUNNING)
        return sandbox_refuse(b, "extended", err);
    if (b->pub.expires_unix_ms == 0 || b->pub.expires_unix_ms >= end)
        return 0;
    return sandbox_patch_locked(b, &patch, err);
}

int sandbox_extend(struct sandbox *sb, uint64_t timeout_s, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r = sandbox_lock(b, err);

    if (r < 0)
        return r;
    r = extend_locked(b, timeout_s, err);
    sandbox_unlock(b);
    return r;
}

static int connect_locked(
    struct sbx *b, uint64_t timeout_s, bool afresh, bool *ret_started, struct smx_err *err)
{
    int r = 0;

    *ret_started = false;
    if (b->pub.state == SANDBOX_RUNNING)
        return extend_locked(b, timeout_s, err);
    if (afresh && b->pub.state == SANDBOX_PAUSED)
        r = sandbox_stop_locked(b, err);
    if (r == 0)
        r = start_for(b, timeout_s, err);
    *ret_started = r == 0;
    return r;
}

int sandbox_connect(
    struct sandbox *sb, uint64_t timeout_s, bool afresh, bool *ret_started, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r = adopt_verify_anew(b, err); /* it may have been paused without us */

    if (r == 0)
        r = sandbox_lock(b, err);
    if (r < 0)
        return r;
    r = connect_locked(b, timeout_s, afresh, ret_started, err);
    sandbox_unlock(b);
    return r;
}

int sandbox_expire(struct sandbox *sb, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r = sandbox_lock(b, err);

    if (r < 0)
        return r;
    r = sb->state == SANDBOX_RUNNING ? sandbox_expire_locked(b, err)
                                     : sandbox_refuse(b, "ended", err);
    sandbox_unlock(b);
    return r;
}
