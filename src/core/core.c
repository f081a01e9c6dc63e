/* core.c - opening and closing, and what works in the background. */
#include "core/internal.h"

#include <stdio.h>

#include "base/log.h"

enum { MAINTENANCE_MS = 1000, PRUNE_EVERY = 3600 };

/* --- background fibers --------------------------------------------------------------------- */

static bool has_dirty(const struct core *c)
{
    SMX_LIST_FOREACH(it, &c->all)
        if (SMX_LIST_ENTRY(it, struct sbx, all)->dirty)
            return true;
    return false;
}

static void maintain(struct core *c, unsigned tick)
{
    struct smx_err err = { 0 };

    if (has_dirty(c))
        sandbox_flush_dirty(c);
    for (size_t i = 0; i < c->n_rt; i++)
        if (c->rt[i].provider && !c->rt[i].recovering && c->rt[i].next_look_ns <= smx_now_ns())
            recovery_run(&c->rt[i]);
    if (tick % PRUNE_EVERY == 1 &&
        store_prune(c->store, smx_now_unix_ms() - IDEM_KEPT_MS, ENDED_KEPT, &err) < 0)
        smx_warn("old records were not removed: %s", err.msg);
    store_checkpoint(c->store);
}

static void maintenance_fiber(void *arg)
{
    struct core *c = arg;

    for (unsigned tick = 1; !c->closing; tick++) {
        if (io_event_wait(&c->stop, smx_deadline_in_ms(MAINTENANCE_MS)) != -SMX_E_TIMEOUT)
            return;
        maintain(c, tick);
    }
}

/* --- metrics -------------------------------------------------------------------------------- */

static void collect(void *ctx)
{
    struct core *c = ctx;

    for (size_t i = 0; i < c->n_rt; i++) {
        size_t count[SANDBOX_STATE_COUNT_] = { 0 };

        SMX_LIST_FOREACH(it, &c->all) {
            const struct sbx *b = SMX_LIST_ENTRY(it, struct sbx, all);

            if (b->rt == &c->rt[i])
                count[b->pub.state]++;
        }
        for (unsigned s = 0; s < SANDBOX_DELETED; s++)
            metrics_set(metrics_series(c->m.sandboxes,
                            (const char *[]){ c->rt[i].cfg.name, sandbox_state_name(s) }),
                (double)count[s]);
    }
}

static int make_metrics(struct core *c, struct metrics *given, struct smx_err *err)
{
    static const char *const by_op[] = { "runtime", "op", "result", NULL };
    static const char *const by_time[] = { "runtime", "op", NULL };
    static const char *const by_state[] = { "runtime", "state", NULL };
    static const char *const by_runtime[] = { "runtime", NULL };
    int r = 0;

    c->metrics = given;
    c->own_metrics = !given;
    if (!given)
        r = metrics_new(&c->metrics, err);
    if (r < 0)
        return r;
    c->m.operations = metrics_counter(
        c->metrics, "sandmux_operations_total", "Operations on sandboxes by result.", by_op);
    c->m.seconds = metrics_histogram(
        c->metrics, "sandmux_operation_seconds", "Time that operations took.", by_time);
    c->m.sandboxes =
        metrics_gauge(c->metrics, "sandmux_sandboxes", "Sandboxes by state.", by_state);
    c->m.events =
        metrics_counter(c->metrics, "sandmux_events_total", "Events written to the journal.", NULL);
    c->m.expired = metrics_counter(
        c->metrics, "sandmux_expired_total", "Sandboxes whose lifetime ended.", NULL);
    c->m.switches = metrics_counter(
        c->metrics, "sandmux_runtime_switches_total", "Switches of the runtime.", by_runtime);
    return metrics_on_collect(c->metrics, collect, c) < 0 ? smx_err_oom(err) : 0;
}

/* --- opening and closing ------------------------------------------------------------------- */

static void open_provider(struct core_rt *rt)
{
    struct provider_host host = recovery_host;
    struct smx_err err = { 0 };

    if (rt->cfg.unavailable)
        smx_strcpy(rt->why, sizeof rt->why, rt->cfg.unavailable);
    if (rt->cfg.unavailable || !rt->cfg.configured)
        return;
    if (!rt->cfg.ops) {
        smx_strcpy(rt->why, sizeof rt->why, "this build has no support for it");
        return;
    }
    host.ctx = rt;
    host.instance = rt->core->instance;
    if (provider_open(rt->cfg.ops, rt->core->loop, rt->cfg.config, &host, &rt->provider, &err) <
        0) {
        smx_strcpy(rt->why, sizeof rt->why, err.msg);
        smx_warn("%s", err.msg);
    }
}

static void init(struct core *c, const struct core_config *cfg)
{
    c->loop = cfg->loop;
    c->max_lifetime_s = cfg->max_lifetime_s;
    c->default_lifetime_s = cfg->default_lifetime_s ? cfg->default_lifetime_s : LIFETIME_DEFAULT_S;
    io_sem_init(&c->switching, 1);
    smx_map_init(&c->by_id);
    smx_map_init(&c->by_name);
    smx_map_init(&c->keys);
    smx_list_init(&c->all);
    io_tasks_init(&c->tasks);
    io_event_init(&c->events.pulse);
    io_event_init(&c->stop);
    c->n_rt = cfg->n_runtimes;
    for (size_t i = 0; i < c->n_rt; i++) {
        c->rt[i].core = c;
        c->rt[i].cfg = cfg->runtimes[i];
        if (!c->rt[i].cfg.default_template)
            c->rt[i].cfg.default_template = "base";
        smx_map_init(&c->rt[i].by_provider_id);
        io_event_init(&c->rt[i].probed);
    }
}

static void recovery_fiber(void *arg)
{
    recovery_first(arg);
}

/* A cloud that does not answer does not keep the others waiting. */
static void recover_at_start(struct core_rt *rt)
{
    if (!rt->provider || !provider_is_remote(rt->provider)) {
        recovery_first(rt);
        return;
    }
    recovery_early(rt);
    if (core_task(rt->core, "first recovery", recovery_fiber, rt) < 0)
        smx_error("no memory to look the sandboxes of runtime '%s' up", rt->cfg.name);
}

static int start(struct core *c, const struct core_config *cfg, struct smx_err *err)
{
    int r = store_open(cfg->state_dir, &c->store, err);

    if (r == 0) {
        store_on_event(c->store, core_on_event, c);
        c->events.last = store_event_last(c->store);
        r = secrets_load(c, err);
    }
    if (r == 0)
        r = keys_load(c, err);
    if (r == 0)
        r = runtime_boot(c, cfg, err);
    if (r == 0)
        r = recovery_load(c, err);
    for (size_t i = 0; i < c->n_rt && r == 0; i++) {
        open_provider(&c->rt[i]);
        recover_at_start(&c->rt[i]);
    }
    if (r == 0)
        r = store_idem_recover(c->store, err);
    if (r == 0)
        r = core_task(c, "maintenance", maintenance_fiber, c);
    if (r == 0)
        r = core_task(c, "samples", samples_fiber, c);
    return r;
}

int core_open(const struct core_config *cfg, struct core **ret, struct smx_err *err)
{
    SMX_CLEANUP(core_closep) struct core *c = NULL;
    int r;

    if (cfg->n_runtimes == 0 || cfg->n_runtimes > CORE_RUNTIMES_MAX)
        return smx_err_set(err, SMX_E_INVALID, "1 to %d runtimes", CORE_RUNTIMES_MAX);
    c = smx_alloc(sizeof *c);
    if (!c)
        return smx_err_oom(err);
    init(c, cfg);
    r = make_metrics(c, cfg->metrics, err);
    if (r == 0)
        r = start(c, cfg, err);
    if (r < 0)
        return r;
    *ret = smx_take(&c);
    return 0;
}

static void drop_sandboxes(struct core *c)
{
    SMX_LIST_FOREACH_SAFE(it, &c->all) {
        struct sbx *b = SMX_LIST_ENTRY(it, struct sbx, all);

        io_timer_disarm(&b->expiry);
        io_timer_disarm(&b->push);
        sbx_detach(b);
        sbx_remove(b);
    }
}

void core_close(struct core *c)
{
    if (!c)
        return;
    c->closing = true;
    io_event_set(&c->stop);
    io_event_set(&c->events.pulse);
    io_event_clear(&c->events.pulse);
    io_shield_begin();
    io_tasks_end(&c->tasks);
    drop_sandboxes(c);
    for (size_t i = 0; i < c->n_rt; i++) {
        provider_close(c->rt[i].provider);
        smx_map_done(&c->rt[i].by_provider_id);
    }
    store_close(c->store);
    io_shield_end();
    keys_done(c);
    smx_map_done(&c->by_id);
    smx_map_done(&c->by_name);
    if (c->own_metrics)
        metrics_free(c->metrics);
    smx_free(c);
}
