/* traffic.h - requests to a port of a sandbox, by Host (<port>-<id>.<domain>) or by E2B's fields.
 */
#ifndef SMX_FRONTENDS_TRAFFIC_TRAFFIC_H
#define SMX_FRONTENDS_TRAFFIC_TRAFFIC_H

#include "frontends/proxy.h"

/* [parks] */
void traffic_handle(struct frontend *fe, struct http_exchange *x, const struct proxy_target *to);

#endif
