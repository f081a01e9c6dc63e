/* runtime.c - which runtime new sandboxes go to, what each can do, and how well it is.
 *
 * The choice at boot: a switch that was made at run time holds while SANDBOX_RUNTIME is what it was
 * when the switch was made; once that setting has changed it wins and the old switch is dropped. A
 * switch is checked, written to the store and only then seen, one at a time. */
#include "core/internal.h"

#include <ctype.h>
#include <stdio.h>

#include "base/log.h"

enum { HEALTH_CACHE_MS = 2000, SLOW_MS = 1000 };

static bool is_configured(const struct core_rt *rt)
{
    return rt->cfg.configured && rt->provider;
}

/* "Invalid runtime 'x'. Must be 'daytona', 'e2b' or 'local'" */
static int invalid(struct core *c, const char *name, struct smx_err *err)
{
    char list[120] = "";
    size_t n = 0;

    for (size_t i = 0; i < c->n_rt && n + 20 < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s'%.16s'",
            i == 0             ? ""
            : i == c->n_rt - 1 ? " or "
                               : ", ",
            c->rt[i].cfg.name);
    return smx_err_set(err, SMX_E_INVALID, "Invalid runtime '%.60s'. Must be %s", name, list);
}

/* --- boot ---------------------------------------------------------------------------------- */

/* Trimmed, in lower case, cut to what a name can be. */
static void normalise(const char *in, char out[32])
{
    size_t n = 0;

    while (in && isspace((unsigned char)*in))
        in++;
    for (; in && *in && n < 31; in++)
        out[n++] = (char)tolower((unsigned char)*in);
    while (n > 0 && isspace((unsigned char)out[n - 1]))
        n--;
    out[n] = '\0';
}

static void from_setting(struct core *c, const struct core_config *cfg)
{
    struct core_rt *fallback = core_rt_find(c, cfg->runtime_default);
    struct core_rt *rt = c->runtime_setting[0] ? core_rt_find(c, c->runtime_setting) : NULL;

    if (!fallback)
        fallback = &c->rt[0];
    c->current = rt ? rt : fallback;
    c->current_why = rt ? "setting" : "default";
    if (c->runtime_setting[0] && !rt) {
        snprintf(c->warning, sizeof c->warning, "Invalid runtime '%s', defaulting to '%s'",
            c->runtime_setting, fallback->cfg.name);
        smx_warn("%s", c->warning);
    }
}

static int drop_switch(struct core *c, struct smx_err *err)
{
    static const struct store_setting gone[] = { { "runtime.switched", NULL },
        { "runtime.setting", NULL } };

    return store_setting_put(c->store, gone, SMX_ARRAY_LEN(gone), /* event= */ NULL, 0, err);
}

int runtime_boot(struct core *c, const struct core_config *cfg, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *switched = NULL, *setting = NULL;
    struct core_rt *rt;
    int r;

    normalise(cfg->runtime_setting, c->runtime_setting);
    from_setting(c, cfg);
    r = store_setting_get(c->store, "runtime.switched", &switched, err);
    if (r == 0)
        r = store_setting_get(c->store, "runtime.setting", &setting, err);
    if (r < 0 || !switched)
        return r;
    rt = core_rt_find(c, switched);
    if (!rt || !setting || !smx_streq(setting, c->runtime_setting))
        return drop_switch(c, err);
    c->current = rt;
    c->current_why = "switched";
    return 0;
}

/* --- status -------------------------------------------------------------------------------- */

void core_runtime_status(struct core *c, struct core_runtime_status *ret)
{
    *ret = (struct core_runtime_status){ .current = c->current->cfg.name,
        .why = c->current_why,
        .warning = c->warning[0] ? c->warning : NULL };
}

size_t core_runtime_count(struct core *c)
{
    return c->n_rt;
}

void core_runtime_at(struct core *c, size_t i, struct core_runtime *ret)
{
    struct core_rt *rt = &c->rt[i];

    *ret = (struct core_runtime){ .name = rt->cfg.name,
        .configured = is_configured(rt),
        .missing = rt->cfg.missing,
        .unavailable = rt->provider ? NULL
                       : rt->why[0] ? rt->why
                                    : NULL,
        .info = rt->cfg.info,
        .n_info = rt->cfg.n_info,
        .capabilities = rt->provider ? provider_capabilities(rt->provider) : rt->cfg.capabilities,
        .sandboxes = rt->living };
}

int core_runtime_get(
    struct core *c, const char *name, struct core_runtime *ret, struct smx_err *err)
{
    struct core_rt *rt = name ? core_rt_find(c, name) : c->current;

    if (!rt)
        return invalid(c, name, err);
    core_runtime_at(c, (size_t)(rt - c->rt), ret);
    return 0;
}

/* --- validate ------------------------------------------------------------------------------ */

static void live_check(struct core_rt *rt, struct provider_check *ret)
{
    struct smx_err err = { 0 };
    uint64_t begun = smx_now_ns();
    struct provider_check check = { 0 };
    int r = provider_validate(rt->provider, &check, smx_deadline_in_ms(PROBE_TIMEOUT_MS), &err);

    if (r < 0) {
        check = (struct provider_check){ .ok = false, .error_code = (enum smx_code) - r };
        smx_strcpy(check.detail, sizeof check.detail, err.msg);
    }
    if (check.latency_ms == 0)
        check.latency_ms = (smx_now_ns() - begun) / SMX_NS_PER_MS;
    *ret = check;
}

int core_runtime_validate(struct core *c, const char *name, bool live, bool *ret_configured,
    struct provider_check *ret_live, struct smx_err *err)
{
    struct core_rt *rt = core_rt_find(c, name);

    if (!rt)
        return invalid(c, name, err);
    *ret_configured = is_configured(rt);
    if (!live || !ret_live)
        return 0;
    if (is_configured(rt)) {
        live_check(rt, ret_live);
        return 0;
    }
    *ret_live = (struct provider_check){ .error_code = SMX_E_NOT_CONFIGURED };
    snprintf(ret_live->detail, sizeof ret_live->detail,
        "Runtime '%s' is not properly configured%s%.140s", rt->cfg.name, rt->why[0] ? ": " : "",
        rt->why);
    return 0;
}

/* --- switch -------------------------------------------------------------------------------- */

static int check_target(struct core_rt *rt, unsigned flags, struct smx_err *err)
{
    struct provider_check live;

    if (!is_configured(rt))
        return smx_err_set(
            err, SMX_E_NOT_CONFIGURED, "Runtime '%s' is not properly configured", rt->cfg.name);
    if (!(flags & CORE_SWITCH_LIVE) || flags & CORE_SWITCH_FORCE)
        return 0;
    live_check(rt, &live);
    if (!live.ok)
        return smx_err_set(err, live.error_code ? live.error_code : SMX_E_UNAVAILABLE,
            "runtime '%s' did not pass its check: %s", rt->cfg.name, live.detail);
    return 0;
}

static int commit_switch(struct core *c, struct core_rt *to, const char *actor, struct smx_err *err)
{
    const struct store_setting v[] = { { "runtime.switched", to->cfg.name },
        { "runtime.setting", c->runtime_setting } };
    struct store_event e = { .at_ms = smx_now_unix_ms() };
    int r;

    smx_strcpy(e.type, sizeof e.type, "runtime.switched");
    smx_strcpy(e.runtime, sizeof e.runtime, to->cfg.name);
    smx_strcpy(e.from, sizeof e.from, c->current->cfg.name);
    smx_strcpy(e.to, sizeof e.to, to->cfg.name);
    smx_strcpy(e.reason, sizeof e.reason, actor ? actor : "");
    r = store_setting_put(c->store, v, SMX_ARRAY_LEN(v), &e, STORE_DURABLE, err);
    if (r < 0)
        return r;
    c->current = to;
    c->current_why = "switched";
    metrics_add(metrics_series(c->m.switches, (const char *[]){ to->cfg.name }), 1);
    return 0;
}

static void say_what_stays(struct core *c, const struct core_rt *to, struct core_switched *ret)
{
    const struct core_rt *from = core_rt_find(c, ret->previous);

    ret->warning[0] = '\0';
    if (from && from != to && from->living > 0)
        snprintf(ret->warning, sizeof ret->warning,
            "%zu sandbox%s on %s; 'sandmux migrate ID --to %s' moves one", from->living,
            from->living == 1 ? " stays" : "es stay", from->cfg.name, to->cfg.name);
}

/* Every attempt, whatever came of it. */
static void audit_switch(const struct core_switched *done, unsigned flags, const char *actor, int r)
{
    smx_info("audit op=switch who=%s from=%s to=%s%s%s result=%s", actor ? actor : "-",
        done->previous, done->current, flags & CORE_SWITCH_DRY_RUN ? " dry_run=1" : "",
        flags & CORE_SWITCH_FORCE ? " force=1" : "",
        r == 0 ? "ok" : smx_code_name((enum smx_code) - r));
}

int core_runtime_switch(struct core *c, const char *to, unsigned flags, const char *actor,
    struct core_switched *ret, struct smx_err *err)
{
    struct core_rt *rt = core_rt_find(c, to);
    struct core_switched done = { 0 };
    int r;

    if (!rt)
        return invalid(c, to, err);
    r = io_sem_acquire(&c->switching, smx_deadline_in_ms(CHANGE_TIMEOUT_MS));
    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "waiting for another switch");
    done.previous = c->current->cfg.name;
    done.current = rt->cfg.name;
    r = check_target(rt, flags, err);
    if (r == 0 && !(flags & CORE_SWITCH_DRY_RUN))
        r = commit_switch(c, rt, actor, err);
    say_what_stays(c, rt, &done);
    io_sem_release(&c->switching);
    audit_switch(&done, flags, actor, r);
    if (r == 0)
        *ret = done;
    return r;
}

/* --- health -------------------------------------------------------------------------------- */

static void probe(struct core_rt *rt)
{
    struct core_health *h = &rt->health;
    struct smx_err err = { 0 };
    uint64_t begun = smx_now_ns();
    int r;

    h->configured = is_configured(rt);
    if (!h->configured) {
        r = smx_err_set(&err, SMX_E_NOT_CONFIGURED, "Runtime '%s' is not properly configured%s%s",
            rt->cfg.name, rt->why[0] ? ": " : "", rt->why);
    } else {
        io_shield_begin(); /* others wait for the answer */
        r = provider_probe(rt->provider, smx_deadline_in_ms(PROBE_TIMEOUT_MS), &err);
        io_shield_end();
    }
    h->latency_ms = (smx_now_ns() - begun) / SMX_NS_PER_MS;
    h->checked_unix_ms = smx_now_unix_ms();
    h->reachable = r == 0;
    h->error_code = (enum smx_code) - r;
    h->state = r < 0 ? CORE_UNHEALTHY : h->latency_ms >= SLOW_MS ? CORE_DEGRADED : CORE_HEALTHY;
    if (h->state == CORE_DEGRADED)
        snprintf(h->detail, sizeof h->detail, "it took %llu ms to answer",
            (unsigned long long)h->latency_ms);
    else
        smx_strcpy(h->detail, sizeof h->detail, r == 0 ? "" : err.msg);
    if (r == 0)
        h->last_ok_unix_ms = h->checked_unix_ms;
    rt->health_until_ns = smx_deadline_in_ms(HEALTH_CACHE_MS);
}

int core_runtime_health(
    struct core *c, const char *name, struct core_health *ret, struct smx_err *err)
{
    struct core_rt *rt = name ? core_rt_find(c, name) : c->current;

    if (!rt)
        return invalid(c, name, err);
    if (rt->health_until_ns <= smx_now_ns()) {
        if (rt->probing) {
            int r = io_event_wait(&rt->probed, smx_deadline_in_ms(2 * PROBE_TIMEOUT_MS));

            if (r < 0)
                return smx_err_set(
                    err, (enum smx_code) - r, "waiting for a probe of runtime '%s'", rt->cfg.name);
        } else {
            rt->probing = true;
            probe(rt);
            rt->probing = false;
            io_event_set(&rt->probed);
            io_event_clear(&rt->probed);
        }
    }
    *ret = rt->health;
    return 0;
}

bool core_ready(struct core *c, struct core_ready ret[CORE_READY_MAX], size_t *ret_n)
{
    struct smx_err err = { 0 };
    struct core_health h = { 0 };
    bool ok;

    ret[0] = (struct core_ready){ .check = "store", .ok = store_probe(c->store, &err) == 0 };
    smx_strcpy(ret[0].detail, sizeof ret[0].detail, ret[0].ok ? "takes writes" : err.msg);
    ok = core_runtime_health(c, NULL, &h, &err) == 0 && h.state != CORE_UNHEALTHY;
    ret[1] = (struct core_ready){ .check = "runtime", .ok = ok };
    if (ok)
        snprintf(ret[1].detail, sizeof ret[1].detail, "%s answers", c->current->cfg.name);
    else
        snprintf(ret[1].detail, sizeof ret[1].detail, "%.16s: %.130s", c->current->cfg.name,
            h.detail[0] ? h.detail : err.msg);
    *ret_n = 2;
    return ret[0].ok && ret[1].ok;
}

int core_templates(
    struct core *c, const char *runtime, struct core_templates *ret, struct smx_err *err)
{
    struct core_rt *rt = runtime ? core_rt_find(c, runtime) : c->current;
    struct core_templates t = { 0 };
    int r;

    if (!rt)
        return invalid(c, runtime, err);
    if (!is_configured(rt))
        return smx_err_set(
            err, SMX_E_NOT_CONFIGURED, "Runtime '%s' is not properly configured", rt->cfg.name);
    r = provider_templates(rt->provider, &t.v, &t.n, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), err);
    if (r == 0)
        *ret = t;
    return r;
}
