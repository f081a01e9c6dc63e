/* children.h - who our children are and how they ended. As pid 1 (or subreaper) the agent reaps
 * orphans too; those are nobody's and are forgotten at once. */
#ifndef SMX_AGENT_CHILDREN_H
#define SMX_AGENT_CHILDREN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/list.h"
#include "io/io.h"

enum { CHILDREN_BUCKETS = 64 };
struct children {
    struct smx_list buckets[CHILDREN_BUCKETS];
    struct io_fd signals; /* a signalfd for SIGCHLD */
};

/* Embedded by whoever starts a child. on_exit runs in the reaper's fiber and must not park; the
 * child is no longer in the table then. */
struct child {
    struct smx_list node;
    pid_t pid;
    int status; /* of waitpid */
    bool exited;
    void (*on_exit)(struct child *c);
};

/* Starts the reaper; SIGCHLD is blocked from here on. */
int children_start(struct children *t, struct io_loop *loop, struct smx_err *err);
/* No park between the clone and this call, so the end cannot be missed. */
void children_add(struct children *t, struct child *c);
void children_remove(struct children *t, struct child *c); /* it is reaped as nobody's */

#endif
