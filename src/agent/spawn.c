/* spawn.c - how a command starts.
 *
 * The child shares our memory (CLONE_VM) until execve, on a stack of its own that stands at the end
 * of its plan, and uses raw system calls only: errno lies in our thread's storage, which it must
 * not touch. Everything it needs is computed before and stands in the plan, one block that nobody
 * frees before the kernel has cleared plan->running (CLONE_CHILD_CLEARTID: at execve or death).
 *
 * oom_score_adj is shared by all who share memory, so the agent itself takes the children's value
 * before a start and gives it back when no plan runs any more. */
#include "agent/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/env.h"
#include "agent/identity.h"
#include "agent/raw.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

enum { STACK_SIZE = 8192, COLLECT_MS = 20, COLLECT_STUCK_MS = 1000, OOM_ADJ_CHILD = 100 };

struct plan {
    struct smx_list node;
    volatile pid_t running; /* cleared by the kernel */
    const char *cwd, *cmd;
    char **candidates; /* paths to try in order, NULL-terminated */
    char **argv;       /* one free slot stands before it, for a shell */
    char *const *envp;
    gid_t *groups;
    size_t ngroups;
    uid_t uid;
    gid_t gid;
    int fds[3];
    bool tty, switch_user;
};

static struct {
    struct io_loop *loop;
    struct smx_list plans;
    struct io_timer collect;
    struct rlimit nofile; /* as we were started */
    bool restore_nofile;
    int oom_fd;
    bool oom_raised;
    bool share; /* memory, until a child executes */
    unsigned stuck;
} spawner;

/* --- in the child: raw calls only -------------------------------------------------------- */

static const char *child_reason(long e)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return ": No such file or directory\n";
    case EACCES:
    case EPERM:
        return ": Permission denied\n";
    case E2BIG:
        return ": Argument list too long\n";
    case ENOMEM:
        return ": Cannot allocate memory\n";
    case EAGAIN:
        return ": Too many processes of this user\n";
    case ELOOP:
        return ": Too many levels of symbolic links\n";
    case ENAMETOOLONG:
        return ": File name too long\n";
    case EISDIR:
        return ": Is a directory\n";
    case ENOEXEC:
        return ": Exec format error\n";
    case ETXTBSY:
        return ": Text file busy\n";
    default:
        return ": cannot be started\n";
    }
}

static size_t child_strlen(const char *s)
{
    size_t n = 0;

    while (s[n])
        n++;
    return n;
}

static void child_fail(const char *what, long e)
{
    static char before[] = "sandmux-agent: '", after[] = "'";
    const char *reason = child_reason(e);
    struct iovec line[] = { { before, sizeof before - 1 },
        { (void *)(uintptr_t)what, child_strlen(what) }, { after, 1 },
        { (void *)(uintptr_t)reason, child_strlen(reason) } };

    raw_syscall(SYS_writev, 2, (long)line, 4, 0, 0);
    raw_syscall(
        SYS_exit_group, e == ENOENT || e == ENOTDIR ? SPAWN_NOT_FOUND : SPAWN_FAILED, 0, 0, 0, 0);
}

static long child_identity(const struct plan *p)
{
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct caps[2];
    long r;

    raw_syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (!p->switch_user)
        return 0;
    if ((r = raw_syscall(SYS_setgroups, (long)p->ngroups, (long)p->groups, 0, 0, 0)) < 0 ||
        (r = raw_syscall(SYS_setresgid, p->gid, p->gid, p->gid, 0, 0)) < 0 ||
        (r = raw_syscall(SYS_setresuid, p->uid, p->uid, p->uid, 0, 0)) < 0)
        return r;
    r = raw_syscall(SYS_capget, (long)&head, (long)caps, 0, 0, 0);
    if (r < 0)
        return r;
    for (int i = 0; i < 2; i++) {
        caps[i].inheritable = 0;
        if (p->uid != 0)
            caps[i].permitted = caps[i].effective = 0;
    }
    return raw_syscall(SYS_capset, (long)&head, (long)caps, 0, 0, 0);
}

static void child_exec(const struct plan *p)
{
    static char shell[] = "/bin/sh";
    long worst = ENOENT;

    for (char **c = p->candidates; *c; c++) {
        long r = raw_syscall(SYS_execve, (long)*c, (long)p->argv, (long)p->envp, 0, 0);

        if (r == -ENOEXEC) { /* a script without its first line, as execvp() does */
            char *first = p->argv[0];

            p->argv[-1] = shell;
            p->argv[0] = *c;
            r = raw_syscall(SYS_execve, (long)shell, (long)(p->argv - 1), (long)p->envp, 0, 0);
            p->argv[0] = first;
        }
        if (r != -ENOENT && r != -ENOTDIR)
            worst = -r;
        if (r != -ENOENT && r != -ENOTDIR && r != -EACCES)
            break;
    }
    child_fail(p->cmd, worst);
}

static void child_signals(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } action = { 0 };
    uint64_t none = 0;

    raw_syscall(SYS_rt_sigaction, SIGPIPE, (long)&action, 0, sizeof none, 0);
    raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof none, 0);
}

static int child_main(void *arg)
{
    const struct plan *p = arg;
    long r;

    raw_syscall(SYS_setsid, 0, 0, 0, 0, 0);
    for (int i = 0; i < 3; i++)
        raw_syscall(SYS_dup3, p->fds[i], i, 0, 0, 0);
    if (p->tty)
        raw_syscall(SYS_ioctl, 0, TIOCSCTTY, 0, 0, 0);
    raw_syscall(SYS_close_range, 3, ~0U, 0, 0, 0);
    if (spawner.restore_nofile)
        raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&spawner.nofile, 0, 0);
    r = child_identity(p);
    if (r < 0)
        child_fail(p->cmd, -r);
    r = raw_syscall(SYS_chdir, (long)p->cwd, 0, 0, 0, 0);
    if (r < 0)
        child_fail(p->cwd, r == -ENOENT ? EACCES : -r);
    child_signals();
    child_exec(p);
    return 0;
}

/* --- in the agent ------------------------------------------------------------------------ */

static void set_oom(bool raised)
{
    char text[8];
    int n = snprintf(text, sizeof text, "%d", raised ? OOM_ADJ_CHILD : 0);

    if (spawner.oom_fd < 0 || spawner.oom_raised == raised)
        return;
    /* Refused (a limit raised by somebody above us): children then share our value. */
    if (pwrite(spawner.oom_fd, text, (size_t)n, 0) == n)
        spawner.oom_raised = raised;
}

/* Frees the plans whose children have executed; the rest is looked at again later. */
static void collect(void *arg)
{
    SMX_LIST_FOREACH_SAFE(it, &spawner.plans) {
        struct plan *p = SMX_LIST_ENTRY(it, struct plan, node);

        if (p->running)
            continue;
        smx_list_del(&p->node);
        smx_free(p);
    }
    if (smx_list_empty(&spawner.plans)) {
        spawner.stuck = 0;
        set_oom(false);
        return;
    }
    /* Without a timer the next start collects. */
    (void)io_timer_arm(&spawner.collect, spawner.loop,
        smx_deadline_in_ms(spawner.stuck++ < 50 ? COLLECT_MS : COLLECT_STUCK_MS));
}

/* A change of ids makes memory as dumpable as this says, and 1 would open ours to the user. */
static bool may_share_memory(void)
{
    SMX_CLEANUP(smx_closep) int fd = open("/proc/sys/fs/suid_dumpable", O_RDONLY | O_CLOEXEC);
    char value = '0';

    return fd < 0 || read(fd, &value, 1) != 1 || value != '1';
}

void spawn_init(struct io_loop *loop, int score_fd)
{
    struct rlimit now;

    spawner.loop = loop;
    smx_list_init(&spawner.plans);
    io_timer_init(&spawner.collect, collect, /* arg= */ NULL);
    spawner.share = may_share_memory();
    spawner.oom_fd =
        score_fd >= 0 ? score_fd : open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score_fd >= 0)
        (void)smx_fd_set_cloexec(score_fd, true, NULL);
    if (getrlimit(RLIMIT_NOFILE, &spawner.nofile) < 0)
        return;
    now = spawner.nofile;
    now.rlim_cur = now.rlim_max;
    spawner.restore_nofile =
        spawner.nofile.rlim_cur != now.rlim_max && setrlimit(RLIMIT_NOFILE, &now) == 0;
}

static const char *env_get(char *const *envp, const char *name)
{
    size_t n = strlen(name);

    for (; *envp; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

/* Takes n bytes from the block, aligned for pointers. */
static void *carve(char **at, size_t n)
{
    void *p = *at;

    *at += (n + 15) & ~(size_t)15;
    return p;
}

static char *carve_str(char **at, const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(carve(at, n), s, n);
}

static void fill_candidates(struct plan *p, const char *path, char **at)
{
    size_t n = 0, room = 2;

    for (const char *s = path; *s; s++)
        room += *s == ':';
    p->candidates = carve(at, (room + 1) * sizeof *p->candidates);
    if (strchr(p->cmd, '/')) {
        p->candidates[n++] = carve_str(at, p->cmd);
    } else if (*p->cmd) {
        for (const char *dir = path;; dir++) {
            size_t len = strcspn(dir, ":"), cmd_len = strlen(p->cmd);
            char *c = carve(at, len + cmd_len + 3);

            memcpy(c, len ? dir : ".", len ? len : 1);
            len += !len;
            c[len] = '/';
            memcpy(c + len + 1, p->cmd, cmd_len + 1);
            dir += strcspn(dir, ":");
            p->candidates[n++] = c;
            if (!*dir)
                break;
        }
    }
    p->candidates[n] = NULL;
}

static void fill_argv(struct plan *p, const struct json_strings *args, char **at)
{
    size_t n = 0;
    char **slots = carve(at, (args->n + 3) * sizeof *slots);

    p->argv = slots + 1;
    p->argv[n++] = carve_str(at, p->cmd);
    for (size_t i = 0; i < args->n; i++)
        p->argv[n++] = carve_str(at, args->v[i]);
    p->argv[n] = NULL;
}

static char *const *fill_envp(char *const *envp, char **at)
{
    size_t n = 0;
    char **copy;

    while (envp[n])
        n++;
    copy = carve(at, (n + 1) * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = carve_str(at, envp[i]);
    copy[n] = NULL;
    return copy;
}

/* Bytes that everything carved from the block can take. */
static size_t plan_size(const struct spawn_spec *spec, const char *path)
{
    const size_t round = 32;
    size_t cmd = strlen(spec->cmd), n = sizeof(struct plan) + STACK_SIZE;

    n += strlen(spec->cwd) + cmd + 2 * round;
    for (size_t i = 0; i < spec->args->n; i++)
        n += strlen(spec->args->v[i]) + sizeof(char *) + round;
    for (char *const *e = spec->envp; *e; e++)
        n += strlen(*e) + sizeof(char *) + round;
    n += spec->user->ngroups * sizeof(gid_t) + round;
    n += strlen(path) + 3 * cmd + 8 * (sizeof(char *) + round);
    for (const char *s = path; *s; s++)
        n += *s == ':' ? cmd + sizeof(char *) + round : 0;
    return n + 8 * round;
}

static struct plan *plan_new(const struct spawn_spec *spec, char **ret_stack)
{
    const char *path = env_get(spec->envp, "PATH");
    size_t size = plan_size(spec, path ? path : ENV_DEFAULT_PATH);
    struct plan *p = smx_alloc(size);
    char *at = (char *)p;

    if (!p)
        return NULL;
    carve(&at, sizeof *p);
    p->running = 1;
    p->cmd = carve_str(&at, spec->cmd);
    p->cwd = carve_str(&at, spec->cwd);
    p->envp = fill_envp(spec->envp, &at);
    fill_argv(p, spec->args, &at);
    fill_candidates(p, path ? path : ENV_DEFAULT_PATH, &at);
    p->groups = carve(&at, spec->user->ngroups * sizeof *p->groups);
    memcpy(p->groups, spec->user->groups, spec->user->ngroups * sizeof *p->groups);
    p->ngroups = spec->user->ngroups;
    p->uid = spec->user->uid;
    p->gid = spec->user->gid;
    p->switch_user = identity_privileged();
    p->tty = spec->tty;
    memcpy(p->fds, spec->fds, sizeof p->fds);
    *ret_stack = (char *)(((uintptr_t)p + size) & ~(uintptr_t)15);
    return p;
}

int spawn_start(const struct spawn_spec *spec, pid_t *ret_pid, struct smx_err *err)
{
    char *stack;
    struct plan *p = plan_new(spec, &stack);
    pid_t pid;

    if (!p)
        return smx_err_oom(err);
    set_oom(true);
    pid =
        clone(child_main, stack, (spawner.share ? CLONE_VM : 0) | CLONE_CHILD_CLEARTID | SIGCHLD, p,
            /* parent_tid= */ NULL, /* tls= */ NULL, &p->running);
    if (pid < 0) {
        int e = errno;

        smx_free(p);
        smx_err_errno(err, e, "starting '%.80s'", spec->cmd);
        return -SMX_E_NO_MEMORY;
    }
    if (!spawner.share)
        p->running = 0; /* the child has a plan of its own */
    smx_list_add(&spawner.plans, &p->node);
    if (spawner.collect.heap_index == SIZE_MAX)
        (void)io_timer_arm(&spawner.collect, spawner.loop, smx_deadline_in_ms(COLLECT_MS));
    *ret_pid = pid;
    return 0;
}

int spawn_check_cwd(const char *cwd, const struct agent_user *user, struct smx_err *err)
{
    struct stat st;

    if (stat(cwd, &st) < 0) {
        if (errno == ENOENT)
            return smx_err_set(err, SMX_E_FILE_NOT_FOUND, "cwd '%.180s' does not exist", cwd);
        return smx_err_errno(err, errno, "cwd '%.180s'", cwd), -SMX_E_INVALID;
    }
    if (!S_ISDIR(st.st_mode))
        return smx_err_set(err, SMX_E_INVALID, "cwd '%.180s': not a directory", cwd);
    if (!identity_privileged() || user->uid == 0)
        return 0;
    if (!identity_may_enter(cwd, user))
        return smx_err_set(err, SMX_E_INVALID, "cwd '%.180s': permission denied", cwd);
    return 0;
}
