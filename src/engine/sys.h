/* sys.h - system calls without a wrapper in glibc 2.36, or whose wrapper does more than the call
 * (its set*id talk to the other threads and remember). errno is set as usual. */
#ifndef SMX_ENGINE_SYS_H
#define SMX_ENGINE_SYS_H

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/fd.h"

static inline pid_t sys_clone3(struct clone_args *args)
{
    return (pid_t)syscall(SYS_clone3, args, sizeof *args);
}

static inline int sys_setresuid(uid_t r, uid_t e, uid_t s)
{
    return (int)syscall(SYS_setresuid, r, e, s);
}

static inline int sys_setresgid(gid_t r, gid_t e, gid_t s)
{
    return (int)syscall(SYS_setresgid, r, e, s);
}

static inline int sys_setgroups(size_t n, const gid_t *groups)
{
    return (int)syscall(SYS_setgroups, n, groups);
}

/* Descriptors that pile up are kept above this one: a child copies those below, see child_main().
 */
enum { ENGINE_HIGH_FD = 4096 };

/* To the lowest free number from floor on; stays where it is if there is none. */
static inline void fd_move(int *fd, int floor)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, floor);

    if (moved < 0)
        return;
    smx_close(*fd);
    *fd = moved;
}

#endif
