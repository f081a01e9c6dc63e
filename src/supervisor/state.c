/* state.c - the state directory: STATE is the supervisor's (root's), STATE/gateway the gateway's
 * uid's, STATE/engine root's; both 0700. One daemon owns it: STATE/lock is held by flock for the
 * supervisor's life and is open in no other process, so a kill -9 frees it at once. A gateway of a
 * killed supervisor ends by itself when its control pair closes; we wait for that, since the
 * listeners and the database are still its. */
#include "supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum { OLD_GATEWAY_WAIT_MS = 5000 };

/* mkdir -p; new directories get the mode, others stay as they are. */
static int make_dirs(const char *path, mode_t mode, struct smx_err *err)
{
    char part[1100];

    if (!smx_strcpy(part, sizeof part, path))
        return smx_err_set(err, SMX_E_INVALID, "path of %zu bytes is too long", strlen(path));
    for (char *p = part + 1;; p++) {
        char c = *p;

        if (c != '/' && c != 0)
            continue;
        *p = 0;
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return smx_err_errno(err, errno, "making directory %s", part);
        if (c == 0)
            return 0;
        *p = c;
    }
}

static int make_owned(const char *path, mode_t mode, uid_t uid, gid_t gid, struct smx_err *err)
{
    struct stat st;

    if (mkdir(path, mode) < 0 && errno != EEXIST)
        return smx_err_errno(err, errno, "making directory %s", path);
    if (lstat(path, &st) < 0)
        return smx_err_errno(err, errno, "looking at %s", path);
    if (!S_ISDIR(st.st_mode))
        return smx_err_set(err, SMX_E_INVALID, "%s is not a directory", path);
    if ((st.st_uid != uid || st.st_gid != gid) && lchown(path, uid, gid) < 0)
        return smx_err_errno(err, errno, "giving %s to uid %d", path, (int)uid);
    if ((st.st_mode & 07777) != mode && chmod(path, mode) < 0)
        return smx_err_errno(err, errno, "setting the mode of %s", path);
    return 0;
}

/* STATE may have been made by hand; it has to be ours, since root follows paths below it. */
static int check_owner(const char *path, struct smx_err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return smx_err_errno(err, errno, "looking at %s", path);
    if (!S_ISDIR(st.st_mode))
        return smx_err_set(err, SMX_E_INVALID, "%s is not a directory", path);
    if (st.st_uid != geteuid())
        return smx_err_set(err, SMX_E_FORBIDDEN,
            "state directory %s belongs to uid %d, this daemon runs as uid %d", path,
            (int)st.st_uid, (int)geteuid());
    if (st.st_mode & 022)
        return smx_err_set(err, SMX_E_FORBIDDEN,
            "state directory %s can be written by others: chmod go-w it", path);
    return 0;
}

static int lock_failed(struct supervisor *s, struct smx_err *err)
{
    char holder[64] = "";
    ssize_t n;

    if (errno != EWOULDBLOCK)
        return smx_err_errno(err, errno, "locking %s", s->places.state_dir);
    n = pread(s->lock_fd, holder, sizeof holder - 1, 0);
    holder[n > 0 ? n : 0] = 0;
    holder[strcspn(holder, "\n")] = 0;
    return smx_err_set(err, SMX_E_BUSY,
        "state directory %s is in use by sandmux serve, pid %s; stop it with 'sandmux shutdown' or "
        "choose another --state-dir",
        s->places.state_dir, holder);
}

static int take_lock(struct supervisor *s, struct smx_err *err)
{
    char path[1100], text[32];
    int n;

    snprintf(path, sizeof path, "%s/lock", s->places.state_dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (s->lock_fd < 0)
        return smx_err_errno(err, errno, "opening %s", path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        n = lock_failed(s, err);
        smx_close(smx_take_fd(&s->lock_fd)); /* what lies in STATE is its holder's */
        return n;
    }
    n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, text, (size_t)n, 0) < 0)
        return smx_err_errno(err, errno, "writing %s", path);
    return 0;
}

/* Field 22 of /proc/<pid>/stat, or 0: with the pid it names one process for good. */
static unsigned long long start_time(pid_t pid)
{
    unsigned long long ticks = 0;
    struct smx_buf text;
    char path[64];
    const char *p;

    smx_buf_init(&text, 4096);
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (smx_read_file_at(AT_FDCWD, path, &text, NULL) == 0 && text.data) {
        p = strrchr(text.data, ')');
        for (int field = 2; p && field < 22; field++)
            p = strchr(p + 1, ' ');
        if (p && sscanf(p, " %llu", &ticks) != 1)
            ticks = 0;
    }
    smx_buf_done(&text);
    return ticks;
}

void state_note_gateway(struct supervisor *s)
{
    char path[1100], text[64];
    int n;

    snprintf(path, sizeof path, "%s/gateway.pid", s->places.state_dir);
    n = snprintf(text, sizeof text, "%d %llu\n", (int)s->gateway.pid, start_time(s->gateway.pid));
    smx_write_file_atomic_at(AT_FDCWD, path, text, (size_t)n, 0644, NULL);
}

void state_note_address(struct supervisor *s)
{
    char path[1100], text[400];
    int n;

    snprintf(path, sizeof path, "%s/address", s->places.state_dir);
    n = snprintf(text, sizeof text, "%s%sunix:%s\n", s->url, *s->url ? "\n" : "", s->places.socket);
    smx_write_file_atomic_at(AT_FDCWD, path, text, (size_t)n, 0644, NULL);
}

static void await_end(pid_t pid)
{
    struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };

    if (p.fd < 0)
        return;
    smx_info("waiting for the gateway of an earlier daemon to end pid=%d", (int)pid);
    if (poll(&p, 1, OLD_GATEWAY_WAIT_MS) == 0) {
        syscall(SYS_pidfd_send_signal, p.fd, SIGKILL, NULL, 0);
        poll(&p, 1, OLD_GATEWAY_WAIT_MS);
    }
    smx_close(p.fd);
}

static void await_old_gateway(struct supervisor *s)
{
    struct smx_buf text;
    unsigned long long ticks;
    char path[1100];
    int pid;

    smx_buf_init(&text, 256);
    snprintf(path, sizeof path, "%s/gateway.pid", s->places.state_dir);
    if (smx_read_file_at(AT_FDCWD, path, &text, NULL) == 0 && text.data &&
        sscanf(text.data, "%d %llu", &pid, &ticks) == 2 && pid > 1 && ticks &&
        start_time(pid) == ticks)
        await_end(pid);
    smx_buf_done(&text);
}

int state_open(struct supervisor *s, struct smx_err *err)
{
    const char *state = s->places.state_dir;
    mode_t mode = s->root ? 0711 : 0700;
    int r = make_dirs(state, s->root ? 0755 : 0700, err);

    if (r == 0)
        r = check_owner(state, err);
    if (r == 0 && chmod(state, mode) < 0)
        r = smx_err_errno(err, errno, "setting the mode of %s", state);
    if (r == 0)
        r = take_lock(s, err);
    if (r < 0)
        return r;
    await_old_gateway(s);
    snprintf(s->gateway_dir, sizeof s->gateway_dir, "%s/gateway", state);
    snprintf(s->engine_dir, sizeof s->engine_dir, "%s/engine", state);
    r = make_owned(s->gateway_dir, 0700, s->gateway_uid, s->gateway_gid, err);
    if (r == 0 && s->root)
        r = make_owned(s->engine_dir, 0700, 0, 0, err);
    if (r == 0 && s->root) {
        s->engine_dir_fd = open(s->engine_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (s->engine_dir_fd < 0)
            r = smx_err_errno(err, errno, "opening %s", s->engine_dir);
    }
    return r;
}

void state_close(struct supervisor *s)
{
    char path[1100];

    if (s->lock_fd >= 0) {
        snprintf(path, sizeof path, "%s/address", s->places.state_dir);
        unlink(path);
        snprintf(path, sizeof path, "%s/gateway.pid", s->places.state_dir);
        unlink(path);
    }
    smx_close(s->engine_dir_fd);
    smx_close(s->lock_fd);
}
