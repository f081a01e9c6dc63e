/* stream_clock.h - the times of a server stream: its deadline, its keep-alives, and when a silent
 * one gives its buffers back. */
#ifndef SMX_AGENT_STREAM_CLOCK_H
#define SMX_AGENT_STREAM_CLOCK_H

#include "agent/call.h"

struct stream_clock {
    uint64_t deadline_ns, keepalive_ns; /* moment; interval */
    uint64_t sent_ns;                   /* of the last event */
    bool trimmed;
};
enum stream_due { STREAM_NOTHING, STREAM_DEADLINE, STREAM_KEEPALIVE, STREAM_TRIM };

/* Reads Connect-Timeout-Ms and Keepalive-Ping-Interval. */
enum rpc_code stream_clock_init(struct stream_clock *k, struct call *c);
void stream_clock_sent(struct stream_clock *k);
/* When to look again. */
uint64_t stream_clock_next(const struct stream_clock *k);
/* What is due now. */
enum stream_due stream_clock_due(struct stream_clock *k);

#endif
