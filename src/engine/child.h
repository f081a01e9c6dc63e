/* child.h - the way of a new process from a copy of the engine to pid 1 of a sandbox. */
#ifndef SMX_ENGINE_CHILD_H
#define SMX_ENGINE_CHILD_H

#include "engine/cgroup.h"
#include "engine/room.h"
#include "engine/seccomp.h"

/* All that the child needs; every descriptor stays the engine's. */
struct child_plan {
    const char *hostname;
    struct engine_resources resources;
    unsigned limited; /* CG_*: what control groups limit */
    struct seccomp_filter *seccomp;
    struct room room;
    int agent_fd; /* the agent's program */
    /* One end of a stream: the child says that it has its own descriptors (a byte), hears that it
     * is in its control groups (a byte), and says why it cannot go on (a struct smx_err) or runs
     * the agent (end of file). */
    int status_fd;
    int engine_fd; /* the other end */
    int wait_fd;   /* the agent serves once a byte comes here; -1: at once */
};

/* Runs in the child (CLONE_NEWPID, no shared memory); never returns. */
_Noreturn void child_main(const struct child_plan *plan);

#endif
