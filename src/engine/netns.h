/* netns.h - network namespaces made ahead of time: loopback up, every port open to everybody.
 * Making one takes as long as the rest of a sandbox's namespaces together. */
#ifndef SMX_ENGINE_NETNS_H
#define SMX_ENGINE_NETNS_H

#include "base/err.h"

enum { NETNS_POOL_MAX = 16 };

struct hands;

struct netns_pool {
    struct hands *hands;
    int fds[NETNS_POOL_MAX];
    unsigned n;
};

void netns_pool_init(struct netns_pool *p, struct hands *hands);
void netns_pool_done(struct netns_pool *p);
/* [parks] Makes one more; 1 when the pool is full. */
int netns_pool_fill(struct netns_pool *p, struct smx_err *err);
/* A descriptor that is the caller's now, or -1: the pool is empty and the child makes its own. */
int netns_take(struct netns_pool *p);

/* Puts the calling process into a new network namespace that is ready for a sandbox. */
int netns_enter_new(struct smx_err *err);

#endif
