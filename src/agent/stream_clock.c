/* stream_clock.c - see stream_clock.h. */
#include "agent/stream_clock.h"

enum { TRIM_AFTER_MS = 1000, KEEPALIVE_MAX_S = 86400 };

enum rpc_code stream_clock_init(struct stream_clock *k, struct call *c)
{
    uint64_t timeout_ms = 0, keepalive_s = 0;
    enum rpc_code code = call_timeout(c, &timeout_ms);

    if (code != RPC_OK)
        return code;
    /* Anything else means the default. */
    if (call_field_u64(c->x, "Keepalive-Ping-Interval", KEEPALIVE_MAX_S, &keepalive_s) < 1 ||
        keepalive_s == 0)
        keepalive_s = ENVD_KEEPALIVE_S;
    *k = (struct stream_clock){ .deadline_ns = SMX_FOREVER,
        .keepalive_ns = keepalive_s * SMX_NS_PER_S,
        .sent_ns = smx_now_ns() };
    if (timeout_ms > 0)
        k->deadline_ns = k->sent_ns + timeout_ms * SMX_NS_PER_MS;
    return RPC_OK;
}

void stream_clock_sent(struct stream_clock *k)
{
    k->sent_ns = smx_now_ns();
    k->trimmed = false;
}

static uint64_t trim_at(const struct stream_clock *k)
{
    return k->sent_ns + TRIM_AFTER_MS * SMX_NS_PER_MS;
}

uint64_t stream_clock_next(const struct stream_clock *k)
{
    uint64_t next = SMX_MIN(k->deadline_ns, k->sent_ns + k->keepalive_ns);

    return k->trimmed ? next : SMX_MIN(next, trim_at(k));
}

enum stream_due stream_clock_due(struct stream_clock *k)
{
    uint64_t now = smx_now_ns();

    if (now >= k->deadline_ns)
        return STREAM_DEADLINE;
    if (now >= k->sent_ns + k->keepalive_ns)
        return STREAM_KEEPALIVE;
    if (k->trimmed || now < trim_at(k))
        return STREAM_NOTHING;
    k->trimmed = true;
    return STREAM_TRIM;
}
