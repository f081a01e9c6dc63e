/* traffic.h - requests to a port of a sandbox, by Host: <port>-<id>.<domain>. */
#ifndef SMX_FRONTENDS_TRAFFIC_TRAFFIC_H
#define SMX_FRONTENDS_TRAFFIC_TRAFFIC_H

#include "frontends/frontend.h"

/* What a caller from elsewhere than this host presents: sandbox_token(), as this field or, for a
 * browser, once as the query parameter below, which becomes a cookie. */
#define TRAFFIC_TOKEN_FIELD "X-Sandmux-Token"
#define TRAFFIC_TOKEN_QUERY "sandmux_token"

/* [parks] key: id, name or alias from the Host. */
void traffic_handle(struct frontend *fe, struct http_exchange *x, uint16_t port, const char *key);

#endif
