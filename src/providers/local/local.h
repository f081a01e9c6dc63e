/* local.h - sandboxes on this machine: sandmux-engine makes and holds them, the agent in each
 * speaks the envd protocol. The engine may be replaced at any time: calls wait a moment for the
 * next one, and what was under way is asked for again or resolved by its listing. */
#ifndef SMX_PROVIDERS_LOCAL_LOCAL_H
#define SMX_PROVIDERS_LOCAL_LOCAL_H

#include "providers/provider.h"

struct local_config {
    int engine_fd; /* SOCK_SEQPACKET to the engine, taken by open; -1: comes later */
};

extern const struct provider_ops local_provider; /* config: struct local_config */

/* A new engine's socket. Takes fd. p was opened on local_provider. */
void local_engine_attach(struct provider *p, int fd);

#endif
