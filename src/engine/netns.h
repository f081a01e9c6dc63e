/* netns.h - the network of a sandbox: loopback, every port open to everybody inside. */
#ifndef SMX_ENGINE_NETNS_H
#define SMX_ENGINE_NETNS_H

#include "base/err.h"

/* Makes the calling process's network namespace, a new one, ready for a sandbox. */
int netns_prepare(struct smx_err *err);

#endif
