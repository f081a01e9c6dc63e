/* context.c - what the other files ask of the core they belong to: its runtimes, tasks of its own,
 * and an account of what was done. */
#include "core/internal.h"

#include "base/log.h"

int core_task(struct core *c, const char *name, io_fiber_fn *fn, void *arg)
{
    return io_tasks_start(&c->tasks, c->loop, name, fn, arg);
}

struct metrics *core_metrics(struct core *c)
{
    return c->metrics;
}

struct core_rt *core_rt_find(struct core *c, const char *name)
{
    for (size_t i = 0; name && i < c->n_rt; i++)
        if (smx_streq(c->rt[i].cfg.name, name))
            return &c->rt[i];
    return NULL;
}

const char *core_instance_id(const struct core *c)
{
    return c->instance;
}

uint64_t core_max_lifetime_s(const struct core *c)
{
    return c->max_lifetime_s;
}

bool core_shed(struct core *c)
{
    bool some = false;

    for (size_t i = 0; i < c->n_rt; i++)
        if (c->rt[i].provider && provider_shed(c->rt[i].provider))
            some = true;
    return some;
}

struct provider *core_provider(struct core *c, const char *runtime)
{
    struct core_rt *rt = core_rt_find(c, runtime);

    return rt ? rt->provider : NULL;
}

void core_account(const struct sbx *b, const char *op, int r, uint64_t begun_ns)
{
    struct core_rt *rt = b->rt;
    struct core *c = rt->core;
    const char *result = r == 0 ? "ok" : smx_code_name((enum smx_code) - r);
    const char *values[] = { rt->cfg.name, op, result };

    metrics_add(metrics_series(c->m.operations, values), 1);
    metrics_observe(metrics_series(c->m.seconds, values),
        (double)(smx_now_ns() - begun_ns) / (double)SMX_NS_PER_S);
    smx_debug("op=%s sandbox=%s runtime=%s result=%s ms=%llu", op, b->pub.id, rt->cfg.name, result,
        (unsigned long long)((smx_now_ns() - begun_ns) / SMX_NS_PER_MS));
}

void core_audit(const struct sbx *b, const char *op, int r)
{
    smx_info("audit op=%s sandbox=%s name=%s runtime=%s result=%s", op, b->pub.id,
        b->pub.name ? b->pub.name : "-", b->pub.runtime,
        r == 0 ? "ok" : smx_code_name((enum smx_code) - r));
}
