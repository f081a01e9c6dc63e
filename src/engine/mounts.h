/* mounts.h - the file systems of a sandbox. */
#ifndef SMX_ENGINE_MOUNTS_H
#define SMX_ENGINE_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/userns.h"

/* The paths are relative to the working directory, STATE/engine, which is the one thing besides the
 * root that a new mount namespace takes over: descriptors of directories stay in the old one, where
 * nothing can be cloned from. mnt/lower, mnt/box and mnt/root are empty directories to mount on. */
struct mounts_plan {
    const char *box;   /* upper, work */
    const char *lower; /* templates/<name>/<generation> */
    struct userns userns;
    uint64_t memory_mib; /* bounds /dev and /dev/shm */
    bool host_usr;
    bool idmap_usr; /* the host's /usr can be shown with the sandbox's ids */
};

/* From the private copy of the host's mounts to a sandbox's root without /proc, which is root and
 * working directory afterwards. */
int mounts_make(const struct mounts_plan *plan, struct smx_err *err);
/* Pid 1, in that root: /proc is of the process namespace of who mounts it. */
int mounts_proc(struct smx_err *err);
int mounts_resize_dev(uint64_t memory_mib, struct smx_err *err);
/* Whether a directory's file system can be mounted with shifted ids. */
bool mounts_can_idmap(int dir_fd, int userns_fd);

#endif
