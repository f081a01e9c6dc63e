/* metrics.h - what /metrics says. The limits are the sandbox's, as /init gave them; what is used is
 * added up over its processes, because no cgroup is seen inside. Without limits memory is the
 * host's. */
#ifndef SMX_AGENT_METRICS_H
#define SMX_AGENT_METRICS_H

#include "wire/envd/envd.h"

/* The previous reading, to tell the share of processor time since. */
struct metrics {
    uint64_t ticks, at_ns;
};
void metrics_read(
    struct metrics *m, const struct envd_init_request *limits, struct envd_metrics *ret);

#endif
