/* child.h - the way of a new process from a copy of the engine to pid 1 of a sandbox. */
#ifndef SMX_ENGINE_CHILD_H
#define SMX_ENGINE_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/cgroup.h"
#include "engine/seccomp.h"
#include "engine/userns.h"

/* All that the child needs; every descriptor stays the engine's. The paths are relative to the
 * working directory, STATE/engine, which is the one thing besides the root that a new mount
 * namespace takes over: descriptors of directories stay in the old one, where nothing can be
 * cloned from. mnt/lower, mnt/box and mnt/root are empty directories to mount on. */
struct child_plan {
    const char *id;
    const char *hostname;
    struct engine_resources resources;
    struct cgroups *cgroups;
    bool in_v2; /* born in the v2 group */
    struct seccomp_filter *seccomp;
    struct userns userns;
    int net_fd;        /* a network namespace that is ready; -1: make one */
    const char *box;   /* sandboxes/<id>: upper, work, agent.sock */
    const char *lower; /* templates/<name>/<generation> */
    bool host_usr;
    bool idmap_usr; /* the host's /usr can be shown with the sandbox's ids */
    int agent_fd;   /* the agent's program */
    int status_fd;  /* write end of a pipe: a struct smx_err when it fails; EOF is success */
};

/* Runs in the child (CLONE_NEWPID, no shared memory); never returns. */
_Noreturn void child_main(const struct child_plan *plan);

/* mounts.c: everything from the private copy of the host's mounts to the sandbox's root, which is
 * the working directory afterwards. */
int mounts_enter(const struct child_plan *plan, struct smx_err *err);
/* Whether a directory's file system can be mounted with shifted ids. */
bool mounts_can_idmap(int dir_fd, int userns_fd);

#endif
