/* cgroup.h - the control groups of the sandboxes: sandmux/<instance>/<id> in each hierarchy that is
 * needed. Which ones are there (v1, v2, hybrid, none) is found out at start; what is missing shows
 * in @has and the engine falls back to rlimits, called soft. Nothing here parks. */
#ifndef SMX_ENGINE_CGROUP_H
#define SMX_ENGINE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/limits.h"
#include "wire/engine/engine_wire.h"

enum {
    CG_MEMORY = 1,
    CG_CPU = 2,
    CG_PIDS = 4,
    CG_FREEZE = 8,
    CG_ACCT = 16, /* CPU time used */
    CG_KILL = 32, /* cgroup.kill */
    CG_HIERARCHIES_MAX = 8,
};
/* The groups of what was made ahead of time begin with this, which no id does. */
#define CG_READY "ready-"

struct cgroup_hierarchy {
    int fd; /* directory sandmux/<instance> */
    int top_fd;
    unsigned serves; /* CG_* */
    bool v2;
};

struct cgroups {
    struct cgroup_hierarchy h[CG_HIERARCHIES_MAX];
    unsigned n;
    unsigned has;       /* CG_* that work */
    int unified;        /* index of the v2 hierarchy, -1: none */
    const char *layout; /* "v1", "v2", "hybrid", "none" */
    int dynmods_fd;     /* keeps the fast path of joining in force */
    char instance[SMX_NAME_LEN_MAX + 1];
};

/* Finds and opens the hierarchies; what does not work is left out. Fails only without memory. */
int cgroups_init(struct cgroups *cg, const char *instance, struct smx_err *err);
/* Closes; with @remove also takes away our directories as far as they are empty. */
void cgroups_done(struct cgroups *cg, bool remove);

/* Engine: makes the v2 group for CLONE_INTO_CGROUP. *ret_fd -1: there is no v2, or joining a group
 * later is as quick. */
int cgroup_prepare(struct cgroups *cg, const char *id, int *ret_fd, struct smx_err *err);
/* Engine: makes the other groups, sets the limits and puts a process in. @in_v2: born in the v2
 * group. */
int cgroup_add(struct cgroups *cg, const char *id, const struct engine_resources *res, pid_t pid,
    bool in_v2, struct smx_err *err);
int cgroup_freeze(struct cgroups *cg, const char *id, bool on, struct smx_err *err);
/* 1: every process is frozen; 0: not; negative: not known. */
int cgroup_frozen(struct cgroups *cg, const char *id);
/* SIGKILL to every process of the group, frozen or not (thaws a v1 freezer afterwards). */
void cgroup_kill(struct cgroups *cg, const char *id);
/* Sends signo to every process but @except; the number of processes, or negative. */
int cgroup_signal(struct cgroups *cg, const char *id, int signo, pid_t except);
/* 0: gone everywhere; -EBUSY: processes are still there; other -errno. */
int cgroup_remove(struct cgroups *cg, const char *id);
/* Fills what the hierarchies know; the rest stays. */
void cgroup_stats(struct cgroups *cg, const char *id, struct engine_stats *stats);
/* Processes that the memory limit killed. */
uint64_t cgroup_ooms(struct cgroups *cg, const char *id);

/* Calls fn for each group below our instance, in any hierarchy. */
typedef void(cgroup_each_fn)(const char *id, void *arg);
void cgroup_each(struct cgroups *cg, cgroup_each_fn *fn, void *arg);

#endif
