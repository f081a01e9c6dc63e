/* userns.c - see userns.h.
 *
 * A namespace belongs to the user id that made it, and the kernel charges what the namespace's
 * users hold (inotify instances, pending signals, locked memory ...) to that id as well. Each one
 * is therefore made under its slot's own agent id: no sandbox can use up the share of another.
 *
 * The process that enters the new namespace shares our memory and runs on a stack of its own; it
 * makes bare system calls only, writes zeros to user.max_*_namespaces (no namespace can be made
 * below this one) and waits to be killed once we hold a descriptor of its namespace. */
#include "engine/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "engine/procfs.h"
#include "engine/sys.h"

enum { HELPER_STACK = 16 * 1024 };

void userns_pool_init(struct userns_pool *p, struct slots *slots)
{
    *p = (struct userns_pool){ .slots = slots };
}

static void put_back(struct userns_pool *p, struct userns *u)
{
    smx_close(u->fd);
    slot_release(p->slots, u->slot);
    *u = (struct userns){ .slot = -1, .fd = -1 };
}

void userns_pool_done(struct userns_pool *p)
{
    while (p->n > 0)
        put_back(p, &p->v[--p->n]);
}

static const char *const closed_sysctls[] = {
    "sys/user/max_user_namespaces",
    "sys/user/max_mnt_namespaces",
    "sys/user/max_pid_namespaces",
    "sys/user/max_net_namespaces",
    "sys/user/max_ipc_namespaces",
    "sys/user/max_uts_namespaces",
    "sys/user/max_cgroup_namespaces",
    "sys/user/max_time_namespaces",
};

struct helper {
    pid_t parent;
    int proc;
    volatile bool ok;
};

/* Runs in the new user namespace, in our memory. */
static int helper_main(void *arg)
{
    struct helper *h = arg;
    bool ok = true;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < SMX_ARRAY_LEN(closed_sysctls); i++) {
        int fd = (int)syscall(SYS_openat, h->proc, closed_sysctls[i], O_WRONLY | O_CLOEXEC);

        if (fd < 0 && i > 0)
            continue; /* an older kernel does not count this kind */
        ok = ok && fd >= 0 && syscall(SYS_write, fd, "0", 1) == 1;
        if (fd >= 0)
            syscall(SYS_close, fd);
    }
    h->ok = ok;
    while (syscall(SYS_getppid) == h->parent)
        syscall(SYS_kill, (pid_t)syscall(SYS_getpid), SIGSTOP);
    return 1;
}

/* clone() under the effective id that shall own the namespace; our own capabilities stay. */
static pid_t start_helper(char *stack, struct helper *h, uid_t owner)
{
    pid_t pid = -1;
    int saved, death_signal = 0;

    prctl(PR_GET_PDEATHSIG, &death_signal); /* lost by the change of the id */
    if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
        return -1;
    if (sys_setresuid((uid_t)-1, owner, (uid_t)-1) == 0)
        pid = clone(helper_main, stack + HELPER_STACK, CLONE_VM | CLONE_FILES | CLONE_NEWUSER, h);
    saved = errno;
    sys_setresuid((uid_t)-1, 0, (uid_t)-1);
    prctl(PR_SET_SECUREBITS, 0);
    prctl(PR_SET_PDEATHSIG, death_signal);
    errno = saved;
    return pid;
}

static int write_map(pid_t pid, const char *node, uid_t base, struct smx_err *err)
{
    char path[64], text[64];

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, node);
    snprintf(text, sizeof text, "0 %u %d\n", (unsigned)base, SLOT_IDS);
    return smx_write_node_at(AT_FDCWD, path, text, err);
}

/* The helper has stopped itself: its namespace gets its ranges and we a descriptor of it. */
static int adopt(pid_t pid, const struct helper *h, int slot, int *ret_fd, struct smx_err *err)
{
    char path[64];
    int r, status;

    do
        r = waitpid(pid, &status, WUNTRACED | __WALL);
    while (r < 0 && errno == EINTR);
    if (r != pid || !WIFSTOPPED(status) || !h->ok)
        return smx_err_set(err, SMX_E_UNAVAILABLE, "the user namespace cannot be closed to others");
    r = write_map(pid, "uid_map", slot_base(slot), err);
    if (r == 0)
        r = write_map(pid, "gid_map", slot_base(slot), err);
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    return *ret_fd < 0 ? smx_err_errno(err, errno, "opening the user namespace") : 0;
}

static void end_helper(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
}

static int make(struct userns_pool *p, struct userns *ret, struct smx_err *err)
{
    static _Alignas(64) char stack[HELPER_STACK];
    struct helper h = { .parent = getpid(), .proc = procfs_private() };
    int slot = -1, fd = -1, r;
    pid_t pid;

    r = slot_take(p->slots, &slot, err);
    if (r < 0)
        return r;
    pid = start_helper(stack, &h, slot_agent(slot));
    if (pid < 0) {
        r = smx_err_errno(err, errno, "making a user namespace");
    } else {
        r = adopt(pid, &h, slot, &fd, err);
        end_helper(pid);
    }
    if (r < 0)
        slot_release(p->slots, slot);
    else
        *ret = (struct userns){ .slot = slot, .fd = fd };
    return r;
}

int userns_pool_fill(struct userns_pool *p, struct smx_err *err)
{
    int r;

    if (p->n == USERNS_POOL_MAX)
        return 1;
    r = make(p, &p->v[p->n], err);
    if (r < 0)
        return r;
    fd_move(&p->v[p->n++].fd, ENGINE_HIGH_FD);
    return 0;
}

int userns_take(struct userns_pool *p, struct userns *ret, struct smx_err *err)
{
    if (p->n > 0) {
        *ret = p->v[--p->n];
        fd_move(&ret->fd, /* floor= */ 0);
        return 0;
    }
    return make(p, ret, err);
}
