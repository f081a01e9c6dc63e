/* lifetime.c - when a sandbox ends. Three policies (see enum sandbox_lifetime), all capped by the
 * server's maximum. The timer here is the one that counts while the gateway lives; a runtime that
 * ends sandboxes by itself is told too, so that expiry works without us.
 *
 * A use moves a sliding end in memory only. The runtime and the row learn of it a little later, in
 * one push for many uses; so after a crash a sandbox may end PUSH_MAX_MS early, never late. */
#include "core/internal.h"

#include "base/log.h"

enum { PUSH_MIN_MS = 1000, PUSH_MAX_MS = 60000, RETRY_MS = 5000 };

static int64_t capped(const struct sbx *b, int64_t expires)
{
    int64_t max;

    if (b->core->max_lifetime_s == 0)
        return expires;
    max = b->armed_unix_ms + (int64_t)b->core->max_lifetime_s * 1000;
    return expires == 0 || expires > max ? max : expires;
}

void lifetime_set(struct sbx *b, bool has_timeout, uint64_t timeout_s)
{
    const struct core *c = b->core;
    uint64_t s = has_timeout ? timeout_s : c->default_lifetime_s;

    b->pub.lifetime = !has_timeout     ? SANDBOX_LIFETIME_SLIDING
                      : timeout_s == 0 ? SANDBOX_LIFETIME_NONE
                                       : SANDBOX_LIFETIME_ABSOLUTE;
    if (c->max_lifetime_s && s > c->max_lifetime_s)
        s = c->max_lifetime_s;
    b->pub.lifetime_s = s;
}

static void arm_timer(struct sbx *b)
{
    int64_t left = b->pub.expires_unix_ms - smx_now_unix_ms();

    if (b->pub.expires_unix_ms == 0) {
        io_timer_disarm(&b->expiry);
        return;
    }
    if (io_timer_arm(&b->expiry, b->core->loop, smx_deadline_in_ms(left > 0 ? (uint64_t)left : 0)) <
        0)
        smx_error("no memory for the deadline of sandbox %s", b->pub.id);
}

void lifetime_arm(struct sbx *b)
{
    int64_t now = smx_now_unix_ms();
    bool none = b->pub.lifetime == SANDBOX_LIFETIME_NONE;

    b->armed_unix_ms = b->pub.last_used_unix_ms = now;
    b->pub.expires_unix_ms = capped(b, none ? 0 : now + (int64_t)b->pub.lifetime_s * 1000);
    arm_timer(b);
}

void lifetime_resume(struct sbx *b)
{
    if (b->pub.expires_unix_ms == 0 && b->pub.lifetime != SANDBOX_LIFETIME_NONE)
        lifetime_arm(b);
    else
        arm_timer(b);
}

void lifetime_suspend(struct sbx *b)
{
    b->pub.expires_unix_ms = 0;
    io_timer_disarm(&b->expiry);
    io_timer_disarm(&b->push);
}

static bool slides(const struct sbx *b)
{
    return b->pub.state == SANDBOX_RUNNING && b->pub.lifetime == SANDBOX_LIFETIME_SLIDING &&
           b->pub.expires_unix_ms != 0;
}

static void slide(struct sbx *b)
{
    int64_t now = smx_now_unix_ms();

    b->pub.last_used_unix_ms = now;
    b->pub.expires_unix_ms = capped(b, now + (int64_t)b->pub.lifetime_s * 1000);
}

void lifetime_refresh(struct sbx *b)
{
    if (b->uses > 0 && slides(b))
        slide(b);
}

static uint64_t push_delay_ms(const struct sbx *b)
{
    return SMX_MIN((uint64_t)PUSH_MAX_MS, SMX_MAX((uint64_t)PUSH_MIN_MS, b->pub.lifetime_s * 100));
}

void lifetime_touch(struct sbx *b)
{
    if (!slides(b)) {
        b->pub.last_used_unix_ms = smx_now_unix_ms();
        return;
    }
    slide(b);
    if (b->push.heap_index == SIZE_MAX)
        io_timer_arm(&b->push, b->core->loop, smx_deadline_in_ms(push_delay_ms(b)));
}

/* --- fibers of the timers: each has a reference -------------------------------------------- */

static void expire_fiber(void *arg)
{
    struct sbx *b = arg;
    struct smx_err err = { 0 };

    if (sandbox_lock(b, &err) == 0) {
        lifetime_refresh(b);
        if (b->pub.expires_unix_ms != 0 && b->pub.expires_unix_ms <= smx_now_unix_ms()) {
            int r = sandbox_expire_locked(b, &err);

            if (r == 0)
                metrics_add(metrics_series(b->core->m.expired, NULL), 1);
            else if (b->pub.state != SANDBOX_DELETED && b->pub.expires_unix_ms != 0)
                io_timer_arm(&b->expiry, b->core->loop, smx_deadline_in_ms(RETRY_MS));
        } else if (b->pub.state != SANDBOX_DELETED) {
            arm_timer(b);
        }
        sandbox_unlock(b);
    }
    sandbox_unref(&b->pub);
}

static void push_fiber(void *arg)
{
    struct sbx *b = arg;
    struct smx_err err = { 0 };

    if (sandbox_lock(b, &err) == 0) {
        lifetime_refresh(b);
        if (slides(b) && b->box) {
            if (provider_can(b->rt->provider, PROVIDER_AUTO_CLEANUP))
                provider_set_deadline(
                    b->box, b->pub.expires_unix_ms, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), &err);
            sandbox_save(b, &err);
            if (b->uses > 0)
                io_timer_arm(&b->push, b->core->loop, smx_deadline_in_ms(push_delay_ms(b)));
        }
        sandbox_unlock(b);
    }
    sandbox_unref(&b->pub);
}

static void on_timer(struct sbx *b, struct io_timer *t, const char *name, io_fiber_fn *fn)
{
    sandbox_ref(&b->pub);
    if (core_task(b->core, name, fn, b) < 0) {
        sandbox_unref(&b->pub);
        io_timer_arm(t, b->core->loop, smx_deadline_in_ms(RETRY_MS));
    }
}

static void on_expiry(void *arg)
{
    struct sbx *b = arg;

    lifetime_refresh(b);
    if (b->pub.expires_unix_ms > smx_now_unix_ms())
        arm_timer(b);
    else if (b->pub.expires_unix_ms != 0)
        on_timer(b, &b->expiry, "expire", expire_fiber);
}

static void on_push(void *arg)
{
    struct sbx *b = arg;

    on_timer(b, &b->push, "push-deadline", push_fiber);
}

void lifetime_timer_init(struct sbx *b)
{
    io_timer_init(&b->expiry, on_expiry, b);
    io_timer_init(&b->push, on_push, b);
}
