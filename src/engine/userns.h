/* userns.h - a user namespace for each sandbox, made ahead of time off the path of a create. */
#ifndef SMX_ENGINE_USERNS_H
#define SMX_ENGINE_USERNS_H

#include "base/err.h"
#include "engine/slots.h"

enum { USERNS_POOL_MAX = 128 };

struct userns {
    int slot; /* -1: none */
    int fd;
};

struct userns_pool {
    struct slots *slots;
    struct userns v[USERNS_POOL_MAX];
    unsigned n;
};

void userns_pool_init(struct userns_pool *p, struct slots *slots);
/* Closes and gives the slots back. */
void userns_pool_done(struct userns_pool *p);
/* Makes one more; 1 when the pool is full. */
int userns_pool_fill(struct userns_pool *p, struct smx_err *err);
/* One from the pool, or a new one. The caller closes fd and releases the slot. */
int userns_take(struct userns_pool *p, struct userns *ret, struct smx_err *err);

#endif
