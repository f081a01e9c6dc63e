/* host.c - see host.h. The lock is a record lock on STATE/engine/lock: the kernel drops it with the
 * process, children do not inherit it, and it tells who holds it. The holder also writes its pid
 * and start time there: only a process that matches both is ever ended. */
#include "engine/host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

enum {
    TERM_TIMEOUT_MS = 5000,
    KILL_TIMEOUT_MS = 10000,
    LOCK_WAIT_MS = 10000,
    LOCK_STEP_MS = 5,
    HOLDER_SIZE = 64
};

static int open_directory(int at, const char *name, mode_t mode, int *ret_fd, struct smx_err *err)
{
    struct stat st;

    if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
        return smx_err_errno(err, errno, "making '%s'", name);
    *ret_fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0 || fstat(*ret_fd, &st) < 0)
        return smx_err_errno(err, errno, "opening '%s'", name);
    if (st.st_uid != geteuid())
        return smx_err_set(err, SMX_E_FORBIDDEN, "'%s' belongs to another user", name);
    if (fchmod(*ret_fd, mode) < 0)
        return smx_err_errno(err, errno, "closing '%s' to others", name);
    return 0;
}

/* --- the lock ----------------------------------------------------------------------------------
 */

static int try_lock(int fd, pid_t *ret_holder)
{
    struct flock want = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (fcntl(fd, F_SETLK, &want) == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return -errno;
    if (fcntl(fd, F_GETLK, &want) == 0 && want.l_type != F_UNLCK)
        *ret_holder = want.l_pid;
    return -EAGAIN;
}

static bool is_recorded(int lock_fd, pid_t pid)
{
    char text[HOLDER_SIZE], want[HOLDER_SIZE];
    ssize_t n = pread(lock_fd, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    snprintf(want, sizeof want, "%d %llu\n", (int)pid, (unsigned long long)process_start_time(pid));
    return smx_streq(text, want);
}

static bool await_end(int pidfd, int ms)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };

    return poll(&p, 1, ms) == 1;
}

/* An engine is replaced by the next one: what it knows is in the directory. */
static int replace(int lock_fd, pid_t pid, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;

    if (pidfd < 0)
        return 0; /* it is gone already */
    if (!is_recorded(lock_fd, pid))
        return smx_err_set(
            err, SMX_E_BUSY, "the state directory is locked by process %d", (int)pid);
    smx_info("replacing the engine with process id %d", (int)pid);
    pidfd_send_signal(pidfd, SIGTERM, NULL, 0);
    if (await_end(pidfd, TERM_TIMEOUT_MS))
        return 0;
    pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    if (await_end(pidfd, KILL_TIMEOUT_MS))
        return 0;
    return smx_err_set(err, SMX_E_BUSY, "the engine with process id %d does not end", (int)pid);
}

static int record_self(int lock_fd)
{
    char text[HOLDER_SIZE];

    snprintf(text, sizeof text, "%d %llu\n", (int)getpid(),
        (unsigned long long)process_start_time(getpid()));
    if (ftruncate(lock_fd, 0) < 0 ||
        pwrite(lock_fd, text, strlen(text), 0) != (ssize_t)strlen(text))
        return -errno;
    return 0;
}

/* A holder that is gone may leave the lock for a moment: a process that shared its descriptors
 * while a user namespace was being made dies right after it. */
static int await_lock(int fd, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(LOCK_WAIT_MS);
    pid_t holder = 0;
    int r;

    while ((r = try_lock(fd, &holder)) == -EAGAIN) {
        r = replace(fd, holder, err);
        if (r < 0)
            return r;
        if (smx_now_ns() > deadline)
            return smx_err_set(err, SMX_E_BUSY, "the state directory is locked");
        poll(NULL, 0, LOCK_STEP_MS);
        holder = 0;
    }
    return r < 0 ? smx_err_errno(err, -r, "locking the state directory") : 0;
}

static int take_lock(struct engine *e, struct smx_err *err)
{
    int r;

    e->lock_fd = openat(e->state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (e->lock_fd < 0)
        return smx_err_errno(err, errno, "opening the lock of the state directory");
    r = await_lock(e->lock_fd, err);
    if (r < 0)
        return r;
    r = record_self(e->lock_fd);
    return r < 0 ? smx_err_errno(err, -r, "writing the lock of the state directory") : 0;
}

/* --- directories -------------------------------------------------------------------------------
 */

/* Where each sandbox mounts before it changes its root, in a mount namespace of its own. */
static int open_mount_points(struct engine *e, struct smx_err *err)
{
    static const char *const names[] = { "lower", "box", "root" };
    int r = open_directory(e->state_fd, "mnt", 0700, &e->mnt_fd, err);

    for (size_t i = 0; r == 0 && i < SMX_ARRAY_LEN(names); i++)
        if (mkdirat(e->mnt_fd, names[i], 0700) < 0 && errno != EEXIST)
            r = smx_err_errno(err, errno, "making 'mnt/%s'", names[i]);
    return r;
}

int host_open(struct engine *e, struct smx_err *err)
{
    int r = open_directory(AT_FDCWD, e->cfg.state_dir, 0700, &e->state_fd, err);

    if (r == 0)
        r = take_lock(e, err);
    if (r == 0)
        r = open_directory(e->state_fd, "sandboxes", 0700, &e->boxes_fd, err);
    if (r == 0)
        r = open_directory(e->state_fd, "trash", 0700, &e->trash_fd, err);
    if (r == 0)
        r = open_directory(e->state_fd, "templates", 0700, &e->templates_fd, err);
    if (r == 0)
        r = open_directory(e->state_fd, "pool", 0700, &e->pool_fd, err);
    if (r == 0)
        r = open_mount_points(e, err);
    if (r < 0)
        return r;
    if (fchdir(e->state_fd) < 0)
        return smx_err_errno(err, errno, "entering the state directory");
    e->netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    e->uts_fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    if (e->netns_fd < 0 || e->uts_fd < 0)
        return smx_err_errno(err, errno, "opening the host's network namespace");
    return 0;
}

void host_close(struct engine *e)
{
    int fds[] = { e->netns_fd, e->uts_fd, e->mnt_fd, e->pool_fd, e->templates_fd, e->trash_fd,
        e->boxes_fd, e->lock_fd, e->state_fd };

    for (size_t i = 0; i < SMX_ARRAY_LEN(fds); i++)
        smx_close(fds[i]);
}
