/* upload.c - the writing half of POST /files. The file is written in place, as envd does it: its
 * mode, links and watchers stay, and whoever has it open sees the new content. So an upload that is
 * cut short leaves what arrived, unless it is a short one, which is written when all of it is
 * there; it is never reported as a success. One that must be whole (compressed bodies, whose
 * damage shows at their end) is collected in an unnamed file of the same file system first. */
#include "agent/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <linux/limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/entry.h"
#include "agent/files.h"
#include "agent/identity.h"
#include "agent/tree.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"

enum { PIPE_SIZE = 1024 * 1024, PULL_SIZE = 64 * 1024, XATTR_NAMES_MAX = 8192 };

int upload_fail(struct upload_error *err, int status, const char *fmt, ...)
{
    va_list ap;

    err->status = status;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return -1;
}

static int fail_write(struct upload *u, int e, struct upload_error *err)
{
    if (e == ENOSPC || e == EDQUOT)
        return upload_fail(err, 507, "attempted to write %llu bytes: not enough disk space",
            (unsigned long long)u->bytes);
    return upload_fail(
        err, files_status(e), "error writing file '%.160s': %s", u->path, strerror(e));
}

/* --- opening ----------------------------------------------------------------------------- */

static int open_target(struct upload *u, struct upload_error *err)
{
    u->fd = open(u->path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
    if (u->fd >= 0)
        return 0;
    if (errno == EISDIR)
        return upload_fail(err, 400, "path is a directory: %.200s", u->path);
    if (errno != ENXIO) {
        int e = errno;

        return upload_fail(err, e == ENOENT ? 500 : files_status(e),
            "error opening file '%.160s': %s", u->path, strerror(e));
    }
    u->blocking = true;
    return 0;
}

/* An unnamed file beside the target. */
static int open_collector(struct upload *u, struct upload_error *err)
{
    SMX_CLEANUP(smx_freep) char *dir = smx_strdup(u->path);
    char *slash = dir ? strrchr(dir, '/') : NULL;
    int fd;

    if (!slash)
        return upload_fail(err, 429, "out of memory");
    slash[slash == dir] = '\0';
    fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_write(u, errno, err);
    smx_close(u->fd);
    u->fd = fd;
    return 0;
}

int upload_open(struct upload *u, struct agent *a, struct http_exchange *x, const char *path,
    const struct agent_user *user, bool whole, struct upload_error *err)
{
    struct stat st;
    int e;

    *u = (struct upload){ .agent = a, .x = x, .path = path, .fd = -1, .pipe.fd = -1 };
    smx_buf_init(&u->held, SMX_AGENT_INLINE_WRITE_MAX);
    if (identity_fs(user, /* err= */ NULL) < 0)
        return upload_fail(err, 403, "cannot act as user '%s'", user->name);
    e = tree_make_parent(path);
    if (e == ENOTDIR)
        return upload_fail(err, 500, "error ensuring directories: path is a file: %.200s", path);
    if (e != 0)
        return upload_fail(
            err, e == ENOSPC ? 507 : 500, "error ensuring directories: %s", strerror(e));
    if (open_target(u, err) < 0)
        return -1;
    if (u->blocking || fstat(u->fd, &st) < 0)
        return 0;
    identity_give(u->fd, user);
    if (!S_ISREG(st.st_mode)) {
        u->blocking = true;
        return 0;
    }
    u->whole = whole;
    u->truncate = !whole;
    return whole ? open_collector(u, err) : 0;
}

static int make_empty(struct upload *u, struct upload_error *err)
{
    if (u->truncate && ftruncate(u->fd, 0) < 0)
        return fail_write(u, errno, err);
    u->truncate = false;
    return 0;
}

/* --- the child --------------------------------------------------------------------------- */

struct writing {
    const char *path; /* to open, or NULL */
    int in, out;
};

static int copy_by_buffer(int in, int out)
{
    static char data[64 * 1024];
    ssize_t n;
    int r;

    while ((n = read(in, data, sizeof data)) > 0) {
        r = smx_write_full(out, data, (size_t)n);
        if (r < 0)
            return -r;
    }
    return n < 0 ? errno : 0;
}

/* Waits until there is something to splice and says how much, 0 at the end: a splice that waits for
 * more holds the file's lock meanwhile, on overlayfs, and whoever else writes the file waits, even
 * the agent that is to send us more. */
static size_t await_input(int in)
{
    struct pollfd p = { .fd = in, .events = POLLIN };
    int n = 0;

    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        continue;
    return ioctl(in, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

static int write_work(void *arg)
{
    struct writing *w = arg;
    ssize_t n = 0;
    size_t some;

    if (w->path) {
        w->out = open(w->path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
        if (w->out < 0)
            return errno;
    }
    while ((some = await_input(w->in)) > 0 &&
           (n = splice(w->in, NULL, w->out, NULL, some, SPLICE_F_MOVE)) > 0)
        n = 0;
    if (n < 0 && errno != EINVAL)
        return errno;
    return n < 0 ? copy_by_buffer(w->in, w->out) : 0;
}

static int start_child(struct upload *u, struct upload_error *err)
{
    struct writing writing = { .path = u->blocking ? u->path : NULL, .out = u->fd };
    struct smx_err why = { 0 };
    int p[2], r;

    if (make_empty(u, err) < 0)
        return -1;
    if (pipe2(p, O_CLOEXEC) < 0)
        return upload_fail(err, 429, "too many open files");
    (void)fcntl(p[1], F_SETPIPE_SZ, PIPE_SIZE); /* smaller is only slower */
    writing.in = p[0];
    r = filework_start(u->agent, write_work, &writing, (int[]){ p[0], u->fd, -1 }, &u->work, &why);
    smx_close(p[0]);
    if (r < 0) {
        smx_close(p[1]);
        return upload_fail(err, 429, "%s", why.msg);
    }
    if (io_fd_init(&u->pipe, p[1], &why) < 0)
        return upload_fail(err, 429, "%s", why.msg);
    return 0;
}

/* The pipe broke: the child knows why. */
static int child_failed(struct upload *u, struct upload_error *err)
{
    int e = 0;

    io_fd_done(&u->pipe);
    if (filework_wait(u->work, u->x, &e) < 0)
        return upload_fail(err, 499, "the client left");
    return fail_write(u, e ? e : EIO, err);
}

/* --- content ----------------------------------------------------------------------------- */

static int put(struct upload *u, const char *data, size_t n, struct upload_error *err)
{
    u->bytes += n;
    if (!u->work && !u->blocking && u->held.len + n <= SMX_AGENT_INLINE_WRITE_MAX) {
        if (smx_buf_append(&u->held, data, n) < 0)
            return upload_fail(err, 429, "out of memory");
        return 0;
    }
    if (!u->work && start_child(u, err) < 0)
        return -1;
    if (u->held.len > 0 &&
        io_write(&u->pipe, u->held.data, u->held.len, SMX_HTTP_STREAM_TIMEOUT_MS, NULL) < 0)
        return child_failed(u, err);
    smx_buf_done(&u->held);
    if (n > 0 && io_write(&u->pipe, data, n, SMX_HTTP_STREAM_TIMEOUT_MS, /* err= */ NULL) < 0)
        return child_failed(u, err);
    return 0;
}

int upload_pull(struct upload *u, multipart_source_fn *source, void *ctx, struct upload_error *err,
    struct smx_err *source_err)
{
    SMX_CLEANUP(smx_freep) char *data = smx_alloc(PULL_SIZE);
    ssize_t n;

    if (!data)
        return upload_fail(err, 429, "out of memory");
    while ((n = source(ctx, data, PULL_SIZE, source_err)) > 0)
        if (put(u, data, (size_t)n, err) < 0)
            return -1;
    return n < 0 ? -2 : 0;
}

static ssize_t body_source(void *ctx, void *data, size_t n, struct smx_err *err)
{
    return http_body_read(ctx, data, n, smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS), err);
}

/* Which end broke? A pipe without a reader says POLLERR. */
static bool reader_gone(const struct io_fd *pipe)
{
    struct pollfd p = { .fd = pipe->fd };

    return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

int upload_body(struct upload *u, struct upload_error *err, struct smx_err *source_err)
{
    const struct h1_head *head = http_head(u->x);
    int64_t n;

    if (head->framing != H1_LENGTH || head->content_length <= SMX_AGENT_INLINE_WRITE_MAX)
        return upload_pull(u, body_source, u->x, err, source_err);
    if (start_child(u, err) < 0)
        return -1;
    u->bytes = head->content_length;
    n = http_body_copy(u->x, &u->pipe, SMX_HTTP_STREAM_TIMEOUT_MS, source_err);
    if (n >= 0)
        return 0;
    return reader_gone(&u->pipe) ? child_failed(u, err) : -2;
}

/* --- end --------------------------------------------------------------------------------- */

static int write_held(struct upload *u, struct upload_error *err)
{
    int r;

    if (make_empty(u, err) < 0)
        return -1;
    r = u->held.len > 0 ? smx_write_full(u->fd, u->held.data, u->held.len) : 0;
    return r < 0 ? fail_write(u, -r, err) : 0;
}

static int end_child(struct upload *u, struct upload_error *err)
{
    int e = 0;

    io_fd_done(&u->pipe);
    if (filework_wait(u->work, u->x, &e) < 0)
        return upload_fail(err, 499, "the client left");
    return e != 0 ? fail_write(u, e, err) : 0;
}

struct replacing {
    int from;
    const char *path;
};

static int replace_work(void *arg)
{
    const struct replacing *w = arg;
    int out = open(w->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC, 0666);

    if (out < 0 || lseek(w->from, 0, SEEK_SET) < 0)
        return errno;
    return copy_by_buffer(w->from, out);
}

static int replace(struct upload *u, struct upload_error *err)
{
    struct replacing replacing = { .from = u->fd, .path = u->path };
    struct filework *work = NULL;
    struct smx_err why = { 0 };
    int e = 0, r;

    r = filework_start(u->agent, replace_work, &replacing, (int[]){ u->fd, -1 }, &work, &why);
    if (r < 0)
        return upload_fail(err, 429, "%s", why.msg);
    r = filework_wait(work, u->x, &e);
    filework_free(work);
    if (r < 0)
        return upload_fail(err, 499, "the client left");
    return e != 0 ? fail_write(u, e, err) : 0;
}

int upload_finish(struct upload *u, struct upload_error *err)
{
    int r;

    if (u->blocking && !u->work && start_child(u, err) < 0)
        return -1;
    r = u->work ? end_child(u, err) : write_held(u, err);
    return r == 0 && u->whole ? replace(u, err) : r;
}

void upload_done(struct upload *u)
{
    io_fd_done(&u->pipe);
    filework_free(u->work);
    smx_close(u->fd);
    smx_buf_done(&u->held);
}

int upload_metadata(const char *path, const struct json_map *metadata, struct upload_error *err)
{
    char names[XATTR_NAMES_MAX], name[XATTR_NAME_MAX + 1];
    ssize_t size = listxattr(path, names, sizeof names);

    for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1)
        if (smx_starts(names + at, ENTRY_XATTR_PREFIX))
            (void)removexattr(path, names + at); /* gone or about to be replaced */
    for (size_t i = 0; i < metadata->n; i++) {
        const struct json_pair *p = &metadata->v[i];

        snprintf(name, sizeof name, ENTRY_XATTR_PREFIX "%s", p->key);
        if (setxattr(path, name, p->value, strlen(p->value), 0) < 0)
            return upload_fail(
                err, errno == ENOSPC ? 507 : 500, "error setting metadata: %s", strerror(errno));
    }
    return 0;
}
