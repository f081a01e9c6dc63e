/* metrics.h - what /metrics says: processors, memory and disk as the sandbox sees them. */
#ifndef SMX_AGENT_METRICS_H
#define SMX_AGENT_METRICS_H

#include "wire/envd/envd.h"

/* The previous reading, to tell the share of processor time since. */
struct metrics {
    uint64_t busy, total;
};
void metrics_read(struct metrics *m, struct envd_metrics *ret);

#endif
