/* spawn.c - starts engine and gateway: by descriptor, with descriptors 3, 4, ... and no others, the
 * gateway without any privilege. What goes wrong before exec comes back through a pipe that exec
 * closes. The supervisor has one thread, so the child may call what it likes before exec. */
#include "supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

enum { FIRST_FD = 3, SPAWN_FDS_MAX = 8, ENV_MAX = 128, CAPS_MAX = 64 };

/* What the child tells when it could not become the program. */
struct failure {
    int os_errno;
    char step[32];
};

static void give_up(int report, const char *step)
{
    struct failure f = { .os_errno = errno };

    snprintf(f.step, sizeof f.step, "%s", step);
    smx_write_full(report, &f, sizeof f);
    _exit(127);
}

/* Moves fds to 3.. and the two helpers behind them; everything else is closed. Two rounds, since a
 * source may stand where a target is to be. */
static int place_fds(const struct spawn_spec *spec, int *report, int *exec_fd)
{
    int high[SPAWN_FDS_MAX], base = FIRST_FD + SPAWN_FDS_MAX + 2;

    *report = fcntl(*report, F_DUPFD_CLOEXEC, base);
    *exec_fd = fcntl(*exec_fd, F_DUPFD_CLOEXEC, base);
    if (*report < 0 || *exec_fd < 0)
        return -1;
    for (size_t i = 0; i < spec->nfds; i++) {
        high[i] = fcntl(spec->fds[i], F_DUPFD_CLOEXEC, base);
        if (high[i] < 0)
            return -1;
    }
    for (size_t i = 0; i < spec->nfds; i++) {
        if (dup2(high[i], FIRST_FD + (int)i) < 0)
            return -1;
    }
    return 0;
}

/* As another user than root there is nothing to give up but the way back. */
static int drop_privilege(uid_t uid, gid_t gid)
{
    if (geteuid() != 0)
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    for (unsigned long cap = 0; cap < CAPS_MAX; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return -1;
    }
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void reset_signals(void)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What may come from our own environment: settings of the C library, of sanitizers, and the proxies
 * that connections to clouds go through. */
static size_t pass_through(char **env, size_t n)
{
    static const char *const names[] = { "TZ=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=",
        "TSAN_OPTIONS=", "http_proxy=", "https_proxy=", "HTTPS_PROXY=", "all_proxy=", "ALL_PROXY=",
        "no_proxy=", "NO_PROXY=" };

    for (char **p = environ; *p; p++) {
        for (size_t i = 0; i < SMX_ARRAY_LEN(names) && n < ENV_MAX; i++) {
            if (strncmp(*p, names[i], strlen(names[i])) == 0)
                env[n++] = *p;
        }
    }
    return n;
}

/* envp and, for inherited descriptors, the three variables of sd_listen_fds(3). */
static char **child_env(
    const struct spawn_spec *spec, char names[256], char count[32], char pid[32])
{
    static char *env[ENV_MAX + 4];
    size_t n = 0;

    for (char *const *p = spec->envp; *p && n < ENV_MAX; p++)
        env[n++] = *p;
    n = pass_through(env, n);
    if (spec->listen_names) {
        snprintf(names, 256, "LISTEN_FDNAMES=%s", spec->listen_names);
        snprintf(count, 32, "LISTEN_FDS=%zu", spec->nfds);
        snprintf(pid, 32, "LISTEN_PID=%d", (int)getpid());
        env[n++] = names;
        env[n++] = count;
        env[n++] = pid;
    }
    env[n] = NULL;
    return env;
}

static void child_main(const struct keeper *k, const struct spawn_spec *spec, int report)
{
    char names[256], count[32], pid[32];
    int exec_fd = k->exec_fd;

    reset_signals();
    if (place_fds(spec, &report, &exec_fd) < 0)
        give_up(report, "passing descriptors");
    if (spec->drop && drop_privilege(spec->uid, spec->gid) < 0)
        give_up(report, "giving up privileges");
    if (spec->must_reach && access(spec->must_reach, R_OK | W_OK | X_OK) < 0)
        give_up(report, "reaching its directory");
    syscall(
        SYS_execveat, exec_fd, "", spec->argv, child_env(spec, names, count, pid), AT_EMPTY_PATH);
    give_up(report, "exec");
}

static int read_failure(
    int fd, const struct keeper *k, const struct spawn_spec *spec, struct smx_err *err)
{
    struct failure f = { 0 };

    if (smx_read_full(fd, &f, sizeof f) != (ssize_t)sizeof f)
        return 0; /* exec closed the pipe */
    f.step[sizeof f.step - 1] = 0;
    if (strcmp(f.step, "reaching its directory") == 0)
        return smx_err_errno(err, f.os_errno,
            "uid %d of the gateway cannot use %s; it needs x on every directory above",
            (int)spec->uid, spec->must_reach);
    return smx_err_errno(err, f.os_errno, "starting %s: %s", k->program, f.step);
}

int spawn_program(struct keeper *k, const struct spawn_spec *spec, struct smx_err *err)
{
    int pipe_fds[2], r;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return smx_err_errno(err, errno, "pipe");
    pid = fork();
    if (pid == 0)
        child_main(k, spec, pipe_fds[1]);
    smx_close(pipe_fds[1]);
    if (pid < 0) {
        smx_close(pipe_fds[0]);
        return smx_err_errno(err, errno, "fork");
    }
    r = read_failure(pipe_fds[0], k, spec, err);
    smx_close(pipe_fds[0]);
    k->pid = pid; /* also after a failure: it is reaped as any other end */
    k->started_ns = smx_now_ns();
    k->start_at_ns = SMX_FOREVER;
    return r;
}
