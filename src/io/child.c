/* child.c - starting, waiting for and killing child processes. A child is a pidfd, so there is no
 * SIGCHLD handler and no pid can be mistaken. It is cloned as by vfork: the memory is shared and
 * the loop's thread stands still until exec, so an error of the child is simply a variable of ours,
 * and the size of our memory does not matter. Until exec all signals are blocked and the child
 * makes system calls only. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "io/priv.h"

enum { KILL_WAIT_MS = 100, SIGNALS = 64 };

/* --- in the child --- */

struct start {
    const struct io_child_spec *spec;
    int fds[IO_CHILD_FDS_MAX];
    int exec_fd;
    int failed; /* errno of the child */
};

/* What the kernel takes; the C library's own has no room for its internal signals. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void *restorer;
    unsigned long mask;
};

static void default_signals(void)
{
    for (int signo = 1; signo <= SIGNALS; signo++) {
        struct kernel_sigaction act = { .handler = SIG_DFL }, old = { .handler = SIG_DFL };

        syscall(SYS_rt_sigaction, signo, NULL, &old, sizeof act.mask);
        if (old.handler != SIG_DFL)
            syscall(SYS_rt_sigaction, signo, &act, NULL, sizeof act.mask);
    }
}

/* Moves a descriptor out of the way of the numbers that will be given out. */
static int move_up(int fd, int first_free)
{
    return fd >= 0 && fd < first_free ? fcntl(fd, F_DUPFD_CLOEXEC, first_free) : fd;
}

static int place_fds(struct start *s)
{
    int n = (int)s->spec->nfds;

    for (int i = 0; i < n; i++) {
        int fd = s->spec->fds[i];

        if (fd < 0)
            fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        s->fds[i] = fd == i ? fd : move_up(fd, n);
        if (s->fds[i] < 0)
            return errno;
    }
    s->exec_fd = s->spec->path ? -1 : move_up(s->spec->exec_fd, n);
    for (int i = 0; i < n; i++)
        if ((s->fds[i] == i ? fcntl(i, F_SETFD, 0) : dup2(s->fds[i], i)) < 0)
            return errno;
    /* Not closed yet: prepare may need them, and exec_fd is one. */
    return close_range((unsigned)n, ~0U, CLOSE_RANGE_CLOEXEC) < 0 ? errno : 0;
}

static int run_program(const struct start *s)
{
    const struct io_child_spec *spec = s->spec;
    char *const *envp = spec->envp ? spec->envp : environ;
    unsigned long none = 0;

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
    if (spec->path)
        execve(spec->path, spec->argv, envp);
    else
        syscall(SYS_execveat, s->exec_fd, "", spec->argv, envp, AT_EMPTY_PATH);
    return errno;
}

static int child_main(void *arg)
{
    struct start *s = arg;

    default_signals();
    s->failed = place_fds(s);
    if (s->failed == 0 && s->spec->prepare)
        s->failed = s->spec->prepare(s->spec->arg);
    if (s->failed == 0)
        s->failed = run_program(s);
    _exit(127);
}

/* --- in the parent --- */

/* clone() by its other name: ThreadSanitizer replaces clone by what it does for fork. */
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

static pid_t clone_child(struct start *s, int *ret_pidfd)
{
    struct io_loop *loop = io_loop_self();
    char *stack = io_stack_get(&loop->stacks);
    sigset_t all, old;
    pid_t pid;
    int saved;

    if (!stack) {
        errno = ENOMEM;
        return -1;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid = __clone(child_main, stack + io_stack_bytes,
        CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, s, ret_pidfd);
    saved = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    io_stack_put(&loop->stacks, stack);
    errno = saved;
    return pid;
}

/* Reaps with the options of waitid: 1 when it was reaped, 0 when it still runs, or -errno. */
static int reap(int pidfd, int options, int *ret_status)
{
    siginfo_t info = { .si_pid = 0 };
    int r;

    do
        r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | options);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    if (info.si_pid == 0)
        return 0;
    if (info.si_code == CLD_EXITED)
        *ret_status = (info.si_status & 0xff) << 8;
    else
        *ret_status = info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
    return 1;
}

int io_child_spawn(struct io_child *c, const struct io_child_spec *spec, struct smx_err *err)
{
    struct start s = { .spec = spec };
    int pidfd = -1, status, r;

    *c = (struct io_child){ .pid = -1, .pidfd = { .fd = -1 } };
    if (spec->nfds > IO_CHILD_FDS_MAX)
        return smx_err_set(
            err, SMX_E_INVALID, "a child gets at most %d descriptors", IO_CHILD_FDS_MAX);
    c->pid = clone_child(&s, &pidfd);
    if (c->pid < 0)
        return smx_err_errno(err, errno, "starting a process");
    if (s.failed) {
        reap(pidfd, 0, &status);
        smx_close(pidfd);
        c->pid = -1;
        return smx_err_errno(
            err, s.failed, "executing '%.128s'", spec->path ? spec->path : "a descriptor");
    }
    r = io_fd_init(&c->pidfd, pidfd, err);
    if (r < 0) { /* not reaped: the pid is still its own */
        kill(c->pid, SIGKILL);
        waitpid(c->pid, &status, 0);
        c->pid = -1;
    }
    return r;
}

int io_child_wait(struct io_child *c, int *ret_status, uint64_t deadline_ns)
{
    while (!c->reaped) {
        int r = io_fd_wait(&c->pidfd, IO_READ, deadline_ns);

        if (r < 0)
            return r;
        r = reap(c->pidfd.fd, WNOHANG, &c->status);
        if (r < 0)
            return -SMX_E_IO; /* reaped by somebody else: nobody knows its status */
        c->reaped = r > 0;
    }
    *ret_status = c->status;
    return 0;
}

int io_child_signal(struct io_child *c, int signo)
{
    if (c->pid <= 0 || c->reaped)
        return -SMX_E_PROCESS_NOT_FOUND;
    if (syscall(SYS_pidfd_send_signal, c->pidfd.fd, signo, NULL, 0) == 0)
        return 0;
    return errno == ESRCH ? -SMX_E_PROCESS_NOT_FOUND : -(int)smx_code_from_errno(errno);
}

/* --- the end --- */

static void bury(void *arg)
{
    struct io_child *c = arg;
    int status;

    io_child_wait(c, &status, SMX_FOREVER);
    io_fd_done(&c->pidfd);
    smx_free(c);
}

/* A killed process may be slow to die (it is frozen, or in the middle of input or output): a fiber
 * waits for it as long as the loop runs. */
static void bury_later(int pidfd, pid_t pid)
{
    SMX_CLEANUP(smx_freep) struct io_child *c = smx_alloc(sizeof *c);

    if (!c || !io_loop_self()) {
        smx_close(pidfd);
        return;
    }
    c->pid = pid;
    if (io_fd_init(&c->pidfd, pidfd, /* err= */ NULL) < 0)
        return;
    if (io_fiber_spawn(io_loop_self(), "bury", bury, c, /* ret_fiber= */ NULL, /* err= */ NULL) < 0)
        io_fd_done(&c->pidfd);
    else
        smx_take(&c);
}

void io_child_done(struct io_child *c)
{
    int pidfd, status, r = 1;

    if (c->pid <= 0)
        return;
    pidfd = io_fd_take(&c->pidfd);
    if (!c->reaped) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        poll(&p, 1, KILL_WAIT_MS);
        r = reap(pidfd, WNOHANG, &status);
    }
    if (r == 0)
        bury_later(pidfd, c->pid);
    else
        smx_close(pidfd);
    c->pid = -1;
}
