/* e2b.h - E2B's control plane: what unmodified E2B SDKs and command lines ask for. Its data plane
 * is frontends/e2b_data. Facts: docs/protocols/e2b.md. */
#ifndef SMX_FRONTENDS_E2B_E2B_H
#define SMX_FRONTENDS_E2B_E2B_H

#include "frontends/frontend.h"

/* [parks] answers a request of the control plane, whatever it is. */
void e2b_handle(struct frontend *fe, struct http_exchange *x);
/* [parks] {"code":status,"message":"..."} */
void e2b_fail(struct http_exchange *x, int status, const char *message);

#endif
