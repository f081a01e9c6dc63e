/* watch.c - inotify to events. A directory that appears in a recursive watch is scanned when its
 * watch stands, and what is in it already is reported as created: nothing falls between. */
#include "agent/watch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    MASK = IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
           IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK,
    DEPTH_MAX = 128,
    CIFS_MAGIC = 0xff534d42,
    SMB2_MAGIC = 0xfe534d42
};

struct dir {
    struct smx_list node;
    int wd;
    char name[]; /* relative to the root; "" for the root */
};

struct reporter {
    watch_event_fn *fn;
    void *ctx;
};

static struct smx_list *bucket_of(struct watch *w, int wd)
{
    return &w->dirs[(unsigned)wd % WATCH_BUCKETS];
}

static struct dir *find_dir(struct watch *w, int wd)
{
    SMX_LIST_FOREACH(it, bucket_of(w, wd)) {
        struct dir *d = SMX_LIST_ENTRY(it, struct dir, node);

        if (d->wd == wd)
            return d;
    }
    return NULL;
}

static void forget_dir(struct watch *w, struct dir *d)
{
    smx_list_del(&d->node);
    smx_free(d);
    --*w->total;
}

static int add_failed(const char *path, struct smx_err *err)
{
    if (errno == ENOSPC)
        return smx_err_set(
            err, SMX_E_QUOTA, "no more inotify watches: fs.inotify.max_user_watches is reached");
    return smx_err_errno(err, errno, "watching '%.100s'", path);
}

/* Watches one directory; 1 when it is watched already. */
static int add_dir(struct watch *w, const char *path, const char *name, struct smx_err *err)
{
    size_t n = strlen(name);
    struct dir *d;
    int wd;

    if (*w->total >= SMX_AGENT_WATCHES_MAX)
        return smx_err_set(
            err, SMX_E_QUOTA, "more than %d directories are watched", SMX_AGENT_WATCHES_MAX);
    wd = inotify_add_watch(w->fd.fd, path, MASK);
    if (wd < 0)
        return add_failed(path, err);
    if (find_dir(w, wd))
        return 1;
    d = smx_alloc(sizeof *d + n + 1);
    if (!d) {
        inotify_rm_watch(w->fd.fd, wd);
        return smx_err_oom(err);
    }
    d->wd = wd;
    memcpy(d->name, name, n + 1);
    smx_list_add(bucket_of(w, wd), &d->node);
    ++*w->total;
    return 0;
}

static char *join(const char *a, const char *b)
{
    return *a ? smx_asprintf("%s%s%s", a, smx_ends(a, "/") ? "" : "/", b) : smx_strdup(b);
}

static int add_tree(struct watch *w, const char *name, unsigned depth,
    const struct reporter *report, struct smx_err *err);

/* Descends into what is there. Reports it, too, for a directory that came after the watch. */
static int add_entries(struct watch *w, const char *path, const char *name, unsigned depth,
    const struct reporter *report, struct smx_err *err)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    int r = 0;

    while (dir && r >= 0 && (e = readdir(dir))) {
        SMX_CLEANUP(smx_freep) char *sub = NULL;

        if (smx_streq(e->d_name, ".") || smx_streq(e->d_name, ".."))
            continue;
        sub = join(name, e->d_name);
        if (!sub) {
            r = smx_err_oom(err);
            break;
        }
        if (report)
            report->fn(report->ctx, ENVD_EVENT_CREATE, sub);
        if (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)
            r = add_tree(w, sub, depth + 1, report, err);
    }
    if (dir)
        closedir(dir);
    return r;
}

/* Only a limit is an error: directories come and go meanwhile. */
static int add_tree(struct watch *w, const char *name, unsigned depth,
    const struct reporter *report, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *path = join(w->root, name);
    struct stat st;
    int r;

    if (!path)
        return smx_err_oom(err);
    if (depth > DEPTH_MAX || lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    r = add_dir(w, path, name, err);
    if (r < 0)
        return r == -SMX_E_QUOTA || r == -SMX_E_NO_MEMORY ? r : 0;
    return add_entries(w, path, name, depth, report, err);
}

/* --- opening ----------------------------------------------------------------------------- */

static bool is_network(const char *path)
{
    struct statfs s;

    if (statfs(path, &s) < 0)
        return false;
    return s.f_type == NFS_SUPER_MAGIC || s.f_type == FUSE_SUPER_MAGIC || s.f_type == V9FS_MAGIC ||
           s.f_type == AFS_SUPER_MAGIC || s.f_type == CEPH_SUPER_MAGIC ||
           (unsigned long)s.f_type == CIFS_MAGIC || (unsigned long)s.f_type == SMB2_MAGIC;
}

static int check_root(const char *root, bool allow_network, struct smx_err *err)
{
    struct stat st;

    if (stat(root, &st) < 0) {
        if (errno == ENOENT)
            return smx_err_set(
                err, SMX_E_FILE_NOT_FOUND, "path %.160s not found: %s", root, strerror(errno));
        return smx_err_errno(err, errno, "path %.160s", root);
    }
    if (!S_ISDIR(st.st_mode))
        return smx_err_set(err, SMX_E_INVALID, "path %.180s not a directory", root);
    if (!allow_network && is_network(root))
        return smx_err_set(
            err, SMX_E_STATE, "path %.140s is on a network mount, which cannot be watched", root);
    return 0;
}

int watch_open(struct watch *w, const char *root, bool recursive, bool allow_network, size_t *total,
    struct smx_err *err)
{
    int r = check_root(root, allow_network, err);
    int fd;

    if (r < 0)
        return r;
    *w = (struct watch){ .fd.fd = -1, .recursive = recursive, .total = total };
    for (int i = 0; i < WATCH_BUCKETS; i++)
        smx_list_init(&w->dirs[i]);
    fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return smx_err_set(err, SMX_E_QUOTA,
            "no more inotify instances: fs.inotify.max_user_instances is reached (%s)",
            strerror(errno));
    r = io_fd_init(&w->fd, fd, err);
    if (r < 0)
        return r;
    w->root = smx_strdup(root);
    if (!w->root)
        r = smx_err_oom(err);
    if (r == 0)
        r = add_dir(w, root, "", err);
    if (r == 0 && recursive)
        r = add_entries(w, root, "", 0, /* report= */ NULL, err);
    if (r < 0)
        watch_close(w);
    return r < 0 ? r : 0;
}

void watch_close(struct watch *w)
{
    for (int i = 0; i < WATCH_BUCKETS; i++)
        SMX_LIST_FOREACH_SAFE(it, &w->dirs[i])
            forget_dir(w, SMX_LIST_ENTRY(it, struct dir, node));
    io_fd_done(&w->fd);
    smx_free(w->root);
    w->root = NULL;
}

/* --- events ------------------------------------------------------------------------------ */

/* A directory moved away: what was watched below it has other names now. */
static void forget_below(struct watch *w, const char *name)
{
    size_t n = strlen(name);

    for (int i = 0; i < WATCH_BUCKETS; i++) {
        SMX_LIST_FOREACH_SAFE(it, &w->dirs[i]) {
            struct dir *d = SMX_LIST_ENTRY(it, struct dir, node);

            if (strncmp(d->name, name, n) != 0 || (d->name[n] && d->name[n] != '/'))
                continue;
            inotify_rm_watch(w->fd.fd, d->wd);
            forget_dir(w, d);
        }
    }
}

static enum envd_fs_event_type type_of(uint32_t mask)
{
    if (mask & (IN_CREATE | IN_MOVED_TO))
        return ENVD_EVENT_CREATE;
    if (mask & IN_MODIFY)
        return ENVD_EVENT_WRITE;
    if (mask & (IN_DELETE | IN_DELETE_SELF))
        return ENVD_EVENT_REMOVE;
    if (mask & (IN_MOVED_FROM | IN_MOVE_SELF))
        return ENVD_EVENT_RENAME;
    if (mask & IN_ATTRIB)
        return ENVD_EVENT_CHMOD;
    return ENVD_EVENT_UNSPECIFIED;
}

static int entry_event(struct watch *w, const struct dir *d, const struct inotify_event *e,
    const struct reporter *report, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *name = join(d->name, e->name);

    if (!name)
        return smx_err_oom(err);
    report->fn(report->ctx, type_of(e->mask), name);
    if (!w->recursive || !(e->mask & IN_ISDIR))
        return 0;
    if (e->mask & IN_MOVED_FROM)
        forget_below(w, name);
    if (e->mask & (IN_CREATE | IN_MOVED_TO))
        return add_tree(w, name, 0, report, err);
    return 0;
}

static int one_event(struct watch *w, const struct inotify_event *e, const struct reporter *report,
    struct smx_err *err)
{
    struct dir *d = find_dir(w, e->wd);

    if (e->mask & IN_Q_OVERFLOW)
        return smx_err_set(
            err, SMX_E_QUOTA, "changes were lost: fs.inotify.max_queued_events is reached");
    if (!d)
        return 0;
    if (e->mask & IN_IGNORED) {
        forget_dir(w, d);
        return 0;
    }
    if (e->len > 0)
        return entry_event(w, d, e, report, err);
    if (!*d->name) /* the root itself; its parent's watch reports the others */
        report->fn(report->ctx, type_of(e->mask), ".");
    return 0;
}

static int wait_readable(struct watch *w, struct io_fd *hup, uint64_t deadline_ns)
{
    struct io_wait waits[2] = { { .fd = &w->fd, .events = IO_READ },
        { .fd = hup, .events = IO_HUP } };
    int r = io_wait(waits, hup ? 2 : 1, deadline_ns);

    if (r < 0)
        return r;
    return hup && waits[1].ready ? -SMX_E_CLOSED : 0;
}

int watch_next(struct watch *w, struct io_fd *hup, uint64_t deadline_ns, watch_event_fn *fn,
    void *ctx, struct smx_err *err)
{
    _Alignas(struct inotify_event) char data[4096];
    const struct reporter report = { fn, ctx };
    int r = wait_readable(w, hup, deadline_ns);
    ssize_t n;

    if (r < 0)
        return r;
    n = io_read(&w->fd, data, sizeof data, /* deadline_ns= */ 0, err);
    if (n < 0)
        return n == -SMX_E_TIMEOUT ? 0 : (int)n;
    for (ssize_t at = 0; r >= 0 && at < n;) {
        const struct inotify_event *e = (const struct inotify_event *)(const void *)(data + at);

        r = one_event(w, e, &report, err);
        at += (ssize_t)(sizeof *e + e->len);
    }
    return r < 0 ? r : 0;
}
