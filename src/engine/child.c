/* child.c - see child.h. Straight-line: each step either works or ends the process with its reason
 * in the status stream. The engine is single-threaded, so its copy may use libc; nothing here
 * touches the event loop.
 *
 * Order matters: the namespaces of the room; what is mounted by the process itself; then, once the
 * engine has put it into its control groups, the control group namespace; the agent's user id, the
 * user namespace, capabilities, and the system call filter last. The parent-death signal holds
 * until the user id changes, which the kernel takes as its end: whoever is in no control group yet
 * dies with the engine. */
#include "engine/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "engine/procfs.h"
#include "engine/sys.h"

enum {
    LISTEN_FD = 3, /* what the agent expects */
    STATUS_FD = 4,
    SCORE_FD = 5,
    AGENT_FD = 6,
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

/* Dies with the engine from here on; it may be dead already: then nobody reads the stream. */
static int follow_engine(const struct child_plan *p, struct smx_err *err)
{
    struct pollfd reader = { .fd = p->status_fd, .events = POLLOUT };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&reader, 1, 0) != 1 || (reader.revents & (POLLERR | POLLHUP)))
        return smx_err_set(err, SMX_E_CLOSED, "the engine is gone");
    setsid();
    return 0;
}

static int enter_room(const struct child_plan *p, struct smx_err *err)
{
    static const int flags[ROOM_NAMESPACES] = { [ROOM_UTS] = CLONE_NEWUTS,
        [ROOM_IPC] = CLONE_NEWIPC,
        [ROOM_MNT] = CLONE_NEWNS,
        [ROOM_NET] = CLONE_NEWNET };

    for (int i = 0; i < ROOM_NAMESPACES; i++)
        if (setns(p->room.fds[i], flags[i]) < 0)
            return smx_err_errno(err, errno, "entering namespaces");
    if (sethostname(p->hostname, strlen(p->hostname)) < 0)
        return smx_err_errno(err, errno, "setting the host name");
    if (p->room.memory_mib == p->resources.memory_mib)
        return 0;
    return mounts_resize_dev(p->resources.memory_mib, err);
}

/* The agent is no program that may be read, so what belongs to it in /proc is the host's root's:
 * nobody inside can write there, itself included. It keeps the score by which the kernel chooses a
 * victim by this descriptor. */
static int open_score(int *ret_fd, struct smx_err *err)
{
    *ret_fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    return *ret_fd < 0 ? smx_err_errno(err, errno, "opening /proc/self/oom_score_adj") : 0;
}

/* Until the engine has put this process into its control groups. */
static int await_groups(const struct child_plan *p, struct smx_err *err)
{
    char c;

    if (smx_read_full(p->status_fd, &c, 1) != 1)
        return smx_err_set(err, SMX_E_CLOSED, "the engine is gone");
    if (unshare(CLONE_NEWCGROUP) < 0)
        return smx_err_errno(err, errno, "making a control group namespace");
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
    if (!(p->limited & CG_PIDS))
        lower_limit(RLIMIT_NPROC, r->pids);
    if (!(p->limited & CG_MEMORY))
        lower_limit(RLIMIT_AS, r->memory_mib << 20);
}

/* Keeps all capabilities over the change; the user namespace replaces them by a full set of its
 * own. */
static int become_agent(const struct child_plan *p, struct smx_err *err)
{
    uid_t id = slot_agent(p->room.userns.slot);

    if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
        return smx_err_errno(err, errno, "setting securebits");
    if (sys_setgroups(0, NULL) < 0 || sys_setresgid(id, id, id) < 0 ||
        sys_setresuid(id, id, id) < 0)
        return smx_err_errno(err, errno, "becoming the agent's user");
    if (setns(p->room.userns.fd, CLONE_NEWUSER) < 0)
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

/* Moves the four descriptors to their places, by way of high numbers so that none is overwritten,
 * and closes everything else. */
static int place_descriptors(const struct child_plan *p, int score_fd, struct smx_err *err)
{
    enum { HIGH = 64 };
    int fds[] = { p->room.fds[ROOM_SOCKET], p->status_fd, p->agent_fd, score_fd };
    SMX_CLEANUP(smx_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int high[SMX_ARRAY_LEN(fds)];

    for (size_t i = 0; i < SMX_ARRAY_LEN(fds); i++) {
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH);
        if (null < 0 || high[i] < 0)
            return smx_err_errno(err, errno, "placing descriptors");
    }
    for (int i = 0; i < 3; i++)
        dup2(i == 0 && p->wait_fd >= 0 ? p->wait_fd : null, i);
    dup3(high[1], STATUS_FD, O_CLOEXEC);
    dup3(high[2], AGENT_FD, O_CLOEXEC);
    dup2(high[0], LISTEN_FD);
    dup2(high[3], SCORE_FD);
    (void)smx_take_fd(&null); /* close_range() closes it */
    if (close_range(AGENT_FD + 1, ~0U, 0) < 0)
        return smx_err_errno(err, errno, "closing descriptors");
    return 0;
}

static int run_agent(const struct child_plan *p, struct smx_err *err)
{
    static char name[] = "sandmux-agent", listen[] = "--listen-fd", three[] = "3";
    static char score[] = "--score-fd", five[] = "5", wait[] = "--wait";
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char lang[] = "LANG=C.UTF-8";
    char *const argv[] = { name, listen, three, score, five, p->wait_fd >= 0 ? wait : NULL, NULL };
    char *const envp[] = { path, lang, NULL };

    execveat(AGENT_FD, "", argv, envp, AT_EMPTY_PATH);
    return smx_err_errno(err, errno, "starting the agent");
}

static int become_sandbox(const struct child_plan *p, int *status_fd, struct smx_err *err)
{
    int score_fd = -1, r = follow_engine(p, err);

    if (r == 0)
        r = enter_room(p, err);
    if (r == 0)
        r = mounts_proc(err);
    if (r == 0)
        r = open_score(&score_fd, err);
    if (r == 0)
        r = await_groups(p, err);
    if (r < 0)
        return r;
    set_rlimits(p);
    r = become_agent(p, err);
    if (r == 0)
        r = drop_capabilities(err);
    if (r == 0)
        r = place_descriptors(p, score_fd, err);
    if (r < 0)
        return r;
    *status_fd = STATUS_FD;
    r = seccomp_filter_load(p->seccomp, err);
    return r < 0 ? r : run_agent(p, err);
}

static int highest_needed(const struct child_plan *p)
{
    int most =
        SMX_MAX(SMX_MAX(p->status_fd, p->engine_fd), SMX_MAX(p->agent_fd, p->room.userns.fd));

    for (unsigned i = 0; i < ROOM_FDS; i++)
        most = SMX_MAX(most, p->room.fds[i]);
    return SMX_MAX(most, p->wait_fd);
}

/* The child begins with the engine's own table of descriptors and takes a copy of the low part:
 * copying and closing thousands that belong to other sandboxes would cost more than the rest. */
static int own_table(const struct child_plan *p, struct smx_err *err)
{
    if (close_range((unsigned)highest_needed(p) + 1, ~0U, CLOSE_RANGE_UNSHARE) < 0)
        return smx_err_errno(err, errno, "copying descriptors");
    smx_close(p->engine_fd); /* else the end of the engine would not show */
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
