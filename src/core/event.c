/* event.c - the journal of events as its readers see it: the last EVENT_RING from memory, older
 * ones from the store. The store numbers events inside the transaction of the change they tell of
 * and hands them over in that order, so numbers have no gaps and nobody hears of what was undone.
 */
#include "core/internal.h"

_Static_assert((int)CORE_EVENTS_KEPT == (int)STORE_EVENTS_KEPT, "what the header promises");

static void convert(const struct store_event *e, struct core_event *ret)
{
    *ret = (struct core_event){ .seq = e->seq, .unix_ms = e->at_ms };
    smx_strcpy(ret->type, sizeof ret->type, e->type);
    smx_strcpy(ret->sandbox_id, sizeof ret->sandbox_id, e->sandbox_id);
    smx_strcpy(ret->name, sizeof ret->name, e->name);
    smx_strcpy(ret->runtime, sizeof ret->runtime, e->runtime);
    smx_strcpy(ret->from, sizeof ret->from, e->from);
    smx_strcpy(ret->to, sizeof ret->to, e->to);
    smx_strcpy(ret->reason, sizeof ret->reason, e->reason);
}

void core_on_event(void *ctx, const struct store_event *e)
{
    struct core *c = ctx;
    struct core_event_ring *ring = &c->events;

    convert(e, &ring->v[e->seq % EVENT_RING]);
    ring->last = e->seq;
    if (ring->first == 0)
        ring->first = e->seq;
    if (ring->last - ring->first >= EVENT_RING)
        ring->first = ring->last - EVENT_RING + 1;
    metrics_add(metrics_series(c->m.events, NULL), 1);
    io_event_set(&ring->pulse);
    io_event_clear(&ring->pulse);
}

uint64_t core_events_last(struct core *c)
{
    return c->events.last;
}

/* 1: found; 0: the store has none either (it was pruned meanwhile). */
static int from_store(struct core *c, uint64_t *since, struct core_event *ret, struct smx_err *err)
{
    struct store_event e;
    size_t n = 0;
    int r = store_event_read(c->store, *since, &e, 1, &n, err);

    if (r < 0 || n == 0)
        return r;
    convert(&e, ret);
    *since = e.seq;
    return 1;
}

int core_events_next(struct core *c, uint64_t *since, struct core_event *ret, uint64_t deadline_ns,
    struct smx_err *err)
{
    struct core_event_ring *ring = &c->events;
    int r = 0;

    while (ring->last <= *since) {
        if (c->closing)
            return smx_err_set(err, SMX_E_CANCELLED, "the server is stopping");
        if (r == 0 && deadline_ns == 0)
            r = -SMX_E_TIMEOUT;
        if (r < 0)
            return smx_err_set(err, (enum smx_code) - r, "no new event");
        r = io_event_wait(&ring->pulse, deadline_ns);
    }
    if (ring->first == 0 || *since + 1 < ring->first) {
        r = from_store(c, since, ret, err);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    *since = SMX_MAX(*since + 1, ring->first);
    *ret = ring->v[*since % EVENT_RING];
    return 0;
}
