/* start.c - starts a daemon for the project, as gpg does its agent: `sandmux serve --auto`,
 * detached. A lock beside the socket makes sixteen clients that come at once start one. Between
 * fork and exec only async-signal-safe calls are made, because the caller may have threads. The
 * daemon's first words go to a file beside the socket; when it ends at once its last line is the
 * error. */
#include "client/internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROGRAM_MAX = 4096, LOG_MAX = 64 * 1024 };

/* --- which program ------------------------------------------------------------------------------
 */

static bool executable(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* dir of file + suffix; false when it does not fit or is not executable. */
static bool beside(const char *file, const char *suffix, char *out)
{
    const char *slash = strrchr(file, '/');
    struct smx_buf b;
    bool ok;

    if (!slash)
        return false;
    smx_buf_init(&b, PROGRAM_MAX - 1);
    smx_buf_append(&b, file, (size_t)(slash - file) + 1);
    smx_buf_append_str(&b, suffix);
    ok = !b.failed && smx_strcpy(out, PROGRAM_MAX, b.data) && executable(out);
    smx_buf_done(&b);
    return ok;
}

static bool in_path(char *out)
{
    const char *path = getenv("PATH");

    while (path && *path) {
        size_t n = strcspn(path, ":");
        struct smx_buf b;
        bool ok;

        smx_buf_init(&b, PROGRAM_MAX - 1);
        smx_buf_append(&b, path, n);
        smx_buf_append_str(&b, "/sandmux");
        ok = n > 0 && !b.failed && smx_strcpy(out, PROGRAM_MAX, b.data) && executable(out);
        smx_buf_done(&b);
        if (ok)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

static int find_program(const struct smx_client *c, char *out, struct smx_err *err)
{
    char self[PROGRAM_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    Dl_info info;

    if (c->program) {
        if (smx_strcpy(out, PROGRAM_MAX, c->program) && executable(out))
            return 0;
        return smx_err_set(err, SMX_E_UNAVAILABLE, "%s is not a program", c->program);
    }
    if (n > 0) {
        self[n] = '\0';
        if (beside(self, "sandmux", out))
            return 0;
    }
    if (dladdr((const void *)(uintptr_t)&smx_client_open, &info) && info.dli_fname &&
        (beside(info.dli_fname, "sandmux", out) || beside(info.dli_fname, "../bin/sandmux", out)))
        return 0;
    if (in_path(out))
        return 0;
    return smx_err_set(err, SMX_E_UNAVAILABLE,
        "no daemon is running and the program 'sandmux' that would start one is not in PATH");
}

/* --- places -------------------------------------------------------------------------------------
 */

static int make_dirs(const char *socket_path, struct smx_err *err)
{
    mode_t mode = geteuid() == 0 ? 0755 : 0700;
    char dir[sizeof((struct endpoint *)NULL)->path];

    smx_strcpy(dir, sizeof dir, socket_path);
    for (char *p = dir + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        if (mkdir(dir, mode) < 0 && errno != EEXIST)
            return smx_err_errno(err, errno, "making %s", dir);
        *p = '/';
    }
    return 0;
}

static int open_beside(
    const char *socket_path, const char *suffix, int flags, int *ret_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *path = smx_asprintf("%s%s", socket_path, suffix);

    if (!path)
        return smx_err_oom(err);
    *ret_fd = open(path, flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *ret_fd < 0 ? smx_err_errno(err, errno, "opening %s", path) : 0;
}

static void pause_ms(unsigned ms)
{
    poll(NULL, 0, (int)ms);
}

static int wait_lock(
    int fd, uint64_t deadline_ns, const struct client_interrupt *i, struct smx_err *err)
{
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return smx_err_errno(err, errno, "locking the start of the daemon");
        if (smx_now_ns() >= deadline_ns)
            return smx_err_set(
                err, SMX_E_TIMEOUT, "another process is starting the daemon and does not finish");
        pause_ms(5);
        if (client_interrupted(i, err) < 0)
            return -SMX_E_CANCELLED;
    }
    return 0;
}

/* A daemon that ends removes the file: a lock on what is no longer there does not count. */
static bool still_named(const char *path, int fd)
{
    struct stat named, held;

    return stat(path, &named) == 0 && fstat(fd, &held) == 0 && named.st_ino == held.st_ino &&
           named.st_dev == held.st_dev;
}

static int lock_start(const char *socket_path, uint64_t deadline_ns,
    const struct client_interrupt *i, int *ret_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *path = smx_asprintf("%s.lock", socket_path);

    if (!path)
        return smx_err_oom(err);
    for (;;) {
        int r = open_beside(socket_path, ".lock", O_RDWR, ret_fd, err);

        if (r == 0)
            r = wait_lock(*ret_fd, deadline_ns, i, err);
        if (r < 0 || still_named(path, *ret_fd))
            return r;
        smx_close(*ret_fd);
        *ret_fd = -1;
    }
}

/* --- the child ----------------------------------------------------------------------------------
 */

struct launch {
    const char *program;
    char *const *argv;
    int null_fd, log_fd, report_fd;
};

/* In the grandchild: async-signal-safe calls only. */
static void become_daemon(const struct launch *l)
{
    pid_t pid = getpid();
    sigset_t none;

    dup2(l->null_fd, STDIN_FILENO);
    dup2(l->log_fd, STDOUT_FILENO);
    dup2(l->log_fd, STDERR_FILENO);
    dup2(l->report_fd, 3);
    syscall(SYS_close_range, 4U, ~0U, 0U);
    fcntl(3, F_SETFD, FD_CLOEXEC);
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (write(3, &pid, sizeof pid) == (ssize_t)sizeof pid)
        execve(l->program, l->argv, environ);
    _exit(127);
}

/* *ret_pidfd: of the daemon. */
static int launch(const struct launch *l, int report, int *ret_pidfd, struct smx_err *err)
{
    pid_t pid = 0, child = fork();

    if (child == 0) {
        setsid();
        child = fork();
        if (child == 0)
            become_daemon(l);
        _exit(child < 0);
    }
    if (child < 0)
        return smx_err_errno(err, errno, "starting the daemon");
    smx_close(l->report_fd);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    if (smx_read_full(report, &pid, sizeof pid) != (ssize_t)sizeof pid)
        return smx_err_set(err, SMX_E_UNAVAILABLE, "the daemon could not be started");
    *ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
    if (*ret_pidfd < 0 && errno != ESRCH)
        return smx_err_errno(err, errno, "watching the daemon");
    return 0;
}

static int spawn(const char *program, int log_fd, int *ret_pidfd, struct smx_err *err)
{
    char name[] = "sandmux", verb[] = "serve", automatic[] = "--auto";
    char *argv[] = { name, verb, automatic, NULL };
    SMX_CLEANUP(smx_closep) int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct launch l = { .program = program, .argv = argv, .null_fd = null_fd, .log_fd = log_fd };
    int report[2], r;

    if (null_fd < 0 || pipe2(report, O_CLOEXEC) < 0)
        return smx_err_errno(err, errno, "starting the daemon");
    l.report_fd = report[1];
    /* The child puts its descriptors at 0 to 3: none of them may lie there already. */
    if (report[1] <= 3) {
        l.report_fd = fcntl(report[1], F_DUPFD_CLOEXEC, 4);
        smx_close(report[1]);
    }
    r = launch(&l, report[0], ret_pidfd, err);
    smx_close(report[0]);
    return r;
}

/* The last line of what the daemon said. */
static int ended(const char *socket_path, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *path = smx_asprintf("%s.log", socket_path);
    struct smx_buf log;
    const char *line = NULL;
    int r;

    smx_buf_init(&log, LOG_MAX);
    if (path && smx_read_file_at(AT_FDCWD, path, &log, /* err= */ NULL) == 0 && log.len > 0) {
        while (log.len > 0 && log.data[log.len - 1] == '\n')
            log.data[--log.len] = '\0';
        line = strrchr(log.data, '\n');
        line = line ? line + 1 : log.data;
    }
    r = smx_err_set(err, SMX_E_UNAVAILABLE, "the daemon ended at its start: %s",
        line && *line ? line : "it said nothing; run 'sandmux serve' to see why");
    smx_buf_done(&log);
    return r;
}

static int wait_for_answer(
    struct smx_client *c, int pidfd, uint64_t deadline_ns, int *ret_fd, struct smx_err *err)
{
    for (unsigned ms = 1;; ms = SMX_MIN(ms * 2, 20)) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        if (endpoint_connect(&c->at, deadline_ns, &c->interrupt, ret_fd, err) == 0)
            return 0;
        if (client_interrupted(&c->interrupt, err) < 0)
            return -SMX_E_CANCELLED;
        if (pidfd < 0 || poll(&p, 1, (int)ms) > 0)
            return ended(c->at.path, err);
        if (smx_now_ns() >= deadline_ns)
            return smx_err_set(
                err, SMX_E_TIMEOUT, "the daemon was started but does not answer at %s", c->at.path);
    }
}

int client_start(struct smx_client *c, int *ret_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int lock_fd = -1;
    SMX_CLEANUP(smx_closep) int log_fd = -1;
    SMX_CLEANUP(smx_closep) int pidfd = -1;
    uint64_t deadline_ns = smx_deadline_in_ms(CLIENT_START_MS);
    char program[PROGRAM_MAX];
    int r = find_program(c, program, err);

    if (r == 0)
        r = make_dirs(c->at.path, err);
    if (r == 0)
        r = lock_start(c->at.path, deadline_ns, &c->interrupt, &lock_fd, err);
    if (r < 0)
        return r;
    if (endpoint_connect(&c->at, deadline_ns, &c->interrupt, ret_fd, err) == 0)
        return 0; /* another client has just started it */
    r = open_beside(c->at.path, ".log", O_WRONLY | O_TRUNC | O_APPEND, &log_fd, err);
    if (r == 0)
        r = spawn(program, log_fd, &pidfd, err);
    return r < 0 ? r : wait_for_answer(c, pidfd, deadline_ns, ret_fd, err);
}
