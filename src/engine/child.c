/* child.c - see child.h. Straight-line: each step either works or ends the process with its reason
 * in the status pipe. The engine is single-threaded, so its copy may use libc; nothing here touches
 * the event loop.
 *
 * Order matters: control groups first (whoever recovers finds the process by them); namespaces;
 * what must be made in the new network namespace; mounts; then the agent's user id, the user
 * namespace, capabilities, and the system call filter last. The parent-death signal holds until the
 * user id changes, which the kernel takes as its end. */
#include "engine/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "engine/netns.h"
#include "engine/procfs.h"
#include "engine/sys.h"

enum {
    LISTEN_FD = 3, /* what the agent expects */
    STATUS_FD = 4,
    AGENT_FD = 5,
    BACKLOG = 1024,
    NOFILE_MAX = 65536,
    MEMLOCK_MAX = 8 * 1024 * 1024,
};

#define CAP(name) (UINT64_C(1) << CAP_##name)

/* What root inside may be; all of it counts in the sandbox's own user namespace only. */
static const uint64_t bounding_set = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FSETID) | CAP(FOWNER) |
                                     CAP(MKNOD) | CAP(NET_RAW) | CAP(SETGID) | CAP(SETUID) |
                                     CAP(SETFCAP) | CAP(SETPCAP) | CAP(NET_BIND_SERVICE) |
                                     CAP(SYS_CHROOT) | CAP(KILL) | CAP(AUDIT_WRITE);

/* Handlers are gone with the clone; what was ignored still is. */
static void reset_signals(void)
{
    sigset_t none;

    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Dies with the engine from here on; it may be dead already: then nobody reads the pipe. */
static int join_groups(const struct child_plan *p, struct smx_err *err)
{
    struct pollfd reader = { .fd = p->status_fd, .events = POLLOUT };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&reader, 1, 0) != 1 || (reader.revents & POLLERR))
        return smx_err_set(err, SMX_E_CLOSED, "the engine is gone");
    setsid();
    return cgroup_enter(p->cgroups, p->id, &p->resources, p->in_v2, err);
}

static int enter_namespaces(const struct child_plan *p, struct smx_err *err)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
        return smx_err_errno(err, errno, "making namespaces");
    if (sethostname(p->hostname, strlen(p->hostname)) < 0)
        return smx_err_errno(err, errno, "setting the host name");
    if (p->net_fd < 0)
        return netns_enter_new(err);
    if (setns(p->net_fd, CLONE_NEWNET) < 0)
        return smx_err_errno(err, errno, "entering the network namespace");
    return 0;
}

/* The agent's socket: made in the sandbox's network namespace, bound where only the engine can
 * reach it. The name is relative: paths of sockets are short. */
static int listen_for_agent(const struct child_plan *p, int *ret_fd, struct smx_err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof address.sun_path, "%s/agent.sock", p->box);
    *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*ret_fd < 0)
        return smx_err_errno(err, errno, "making the agent's socket");
    if (unlink(address.sun_path) < 0 && errno != ENOENT)
        return smx_err_errno(err, errno, "replacing the agent's socket");
    if (bind(*ret_fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(*ret_fd, BACKLOG) < 0)
        return smx_err_errno(err, errno, "binding the agent's socket");
    return 0;
}

static void lower_limit(int what, rlim_t most)
{
    struct rlimit lim;

    if (getrlimit((__rlimit_resource_t)what, &lim) < 0)
        return;
    lim.rlim_cur = lim.rlim_max = SMX_MIN(lim.rlim_max, most);
    setrlimit((__rlimit_resource_t)what, &lim);
}

/* A single file cannot outgrow the disk limit between two looks of the engine; where a control
 * group is missing these are the soft limits that stand in for it. */
static void set_rlimits(const struct child_plan *p)
{
    const struct engine_resources *r = &p->resources;

    lower_limit(RLIMIT_CORE, 0);
    lower_limit(RLIMIT_NOFILE, NOFILE_MAX);
    lower_limit(RLIMIT_MEMLOCK, MEMLOCK_MAX);
    lower_limit(RLIMIT_FSIZE, r->disk_mib << 20);
    if (!(p->cgroups->has & CG_PIDS))
        lower_limit(RLIMIT_NPROC, r->pids);
    if (!(p->cgroups->has & CG_MEMORY))
        lower_limit(RLIMIT_AS, r->memory_mib << 20);
}

/* Keeps all capabilities over the change; the user namespace replaces them by a full set of its
 * own. */
static int become_agent(const struct child_plan *p, struct smx_err *err)
{
    uid_t id = slot_agent(p->userns.slot);

    if (sys_setgroups(0, NULL) < 0 || sys_setresgid(id, id, id) < 0 ||
        sys_setresuid(id, id, id) < 0)
        return smx_err_errno(err, errno, "becoming the agent's user");
    if (setns(p->userns.fd, CLONE_NEWUSER) < 0)
        return smx_err_errno(err, errno, "entering the user namespace");
    return 0;
}

static int drop_capabilities(struct smx_err *err)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];

    for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (!(bounding_set & (UINT64_C(1) << cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
            errno != EINVAL)
            return smx_err_errno(err, errno, "dropping capability %d", cap);
    if (syscall(SYS_capget, &head, data) < 0)
        return smx_err_errno(err, errno, "reading capabilities");
    data[0].inheritable = (uint32_t)bounding_set;
    data[1].inheritable = (uint32_t)(bounding_set >> 32);
    if (syscall(SYS_capset, &head, data) < 0)
        return smx_err_errno(err, errno, "setting capabilities");
    for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
        if ((bounding_set & (UINT64_C(1) << cap)) &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return smx_err_errno(err, errno, "keeping capability %d", cap);
    return 0;
}

/* Moves the three descriptors to their places, by way of high numbers so that none is overwritten,
 * and closes everything else. */
static int place_descriptors(const struct child_plan *p, int listener, struct smx_err *err)
{
    enum { HIGH = 64 };
    int fds[] = { listener, p->status_fd, p->agent_fd };
    SMX_CLEANUP(smx_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int high[SMX_ARRAY_LEN(fds)];

    for (size_t i = 0; i < SMX_ARRAY_LEN(fds); i++) {
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH);
        if (null < 0 || high[i] < 0)
            return smx_err_errno(err, errno, "placing descriptors");
    }
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    dup3(high[1], STATUS_FD, O_CLOEXEC);
    dup3(high[2], AGENT_FD, O_CLOEXEC);
    dup2(high[0], LISTEN_FD);
    (void)smx_take_fd(&null); /* close_range() closes it */
    if (close_range(AGENT_FD + 1, ~0U, 0) < 0)
        return smx_err_errno(err, errno, "closing descriptors");
    return 0;
}

static int run_agent(struct smx_err *err)
{
    static char name[] = "sandmux-agent", option[] = "--listen-fd", number[] = "3";
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char lang[] = "LANG=C.UTF-8";
    char *const argv[] = { name, option, number, NULL };
    char *const envp[] = { path, lang, NULL };

    execveat(AGENT_FD, "", argv, envp, AT_EMPTY_PATH);
    return smx_err_errno(err, errno, "starting the agent");
}

static int become_sandbox(const struct child_plan *p, int *status_fd, struct smx_err *err)
{
    int listener = -1, r;

    r = join_groups(p, err);
    if (r == 0)
        r = enter_namespaces(p, err);
    if (r == 0)
        r = listen_for_agent(p, &listener, err);
    if (r == 0 && prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
        r = smx_err_errno(err, errno, "setting securebits");
    if (r == 0)
        r = mounts_enter(p, err);
    if (r < 0)
        return r;
    set_rlimits(p);
    r = become_agent(p, err);
    if (r == 0)
        r = drop_capabilities(err);
    if (r == 0)
        r = place_descriptors(p, listener, err);
    if (r < 0)
        return r;
    *status_fd = STATUS_FD;
    r = seccomp_filter_load(p->seccomp, err);
    return r < 0 ? r : run_agent(err);
}

static int highest_needed(const struct child_plan *p)
{
    int most = SMX_MAX(p->status_fd, SMX_MAX(p->agent_fd, SMX_MAX(p->net_fd, p->userns.fd)));

    for (unsigned i = 0; i < p->cgroups->n; i++)
        most = SMX_MAX(most, p->cgroups->h[i].fd);
    return most;
}

/* The child begins with the engine's own table of descriptors and takes a copy of the low part:
 * copying and closing thousands that belong to other sandboxes would cost more than the rest. */
static int own_table(const struct child_plan *p, struct smx_err *err)
{
    if (close_range((unsigned)highest_needed(p) + 1, ~0U, CLOSE_RANGE_UNSHARE) < 0)
        return smx_err_errno(err, errno, "copying descriptors");
    return smx_write_full(p->status_fd, "", 1) < 0 ? smx_err_set(err, SMX_E_CLOSED, "no engine")
                                                   : 0;
}

void child_main(const struct child_plan *p)
{
    struct smx_err err = { 0 };
    int status_fd = p->status_fd;

    if (own_table(p, &err) < 0)
        _exit(1);
    procfs_forget();
    reset_signals();
    if (become_sandbox(p, &status_fd, &err) < 0)
        smx_write_full(status_fd, &err, sizeof err);
    _exit(1);
}
