/* e2b_data.h - E2B's data plane: requests to the envd of a sandbox, by E2B's fields, by Host
 * (49983-<id>.<domain>) or by nothing but a sandbox's token or a signature made with it. */
#ifndef SMX_FRONTENDS_E2B_DATA_E2B_DATA_H
#define SMX_FRONTENDS_E2B_DATA_E2B_DATA_H

#include "frontends/proxy.h"

/* [parks] to->port is PROXY_ENVD_PORT. */
void e2b_data_handle(struct frontend *fe, struct http_exchange *x, const struct proxy_target *to);
/* True for what is the data plane's though it names no sandbox: a signed URL (GET, HEAD, POST or
 * OPTIONS of /files with a signature), a call of envd with a token, and a browser that asks whether
 * it may send E2B's fields. */
bool e2b_data_unrouted(const struct http_exchange *x);
/* [parks] The sandbox is the one whose token it is, or made the signature. */
void e2b_data_handle_unrouted(struct frontend *fe, struct http_exchange *x);

#endif
