/* unpack.c - a tar stream that a sandbox made, into a folder of ours. Nothing in the stream is
 * trusted: every path is taken relative to the folder, ".." is refused, parents are opened part by
 * part without following a link, files are made anew (O_EXCL) after what had the name was unlinked,
 * and set-id bits are dropped. Links are made as they are and never followed. Modes and times of
 * folders are set at the end, because filling a folder changes them. */
#include "cli/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

struct dir_note {
    char *path;
    mode_t mode;
    struct timespec mtime;
};

struct unpack {
    int root; /* borrowed */
    struct cli_progress *progress;
    struct tar_reader reader;
    struct tar_sink sink;
    int fd; /* of the file being written, or -1 */
    mode_t mode;
    struct timespec mtime;
    struct dir_note *dirs;
    size_t n_dirs, room;
    char path[TAR_PATH_MAX], link[TAR_PATH_MAX]; /* normalised; "" is the folder itself */
    int parent_fd; /* of the entry before, which is most often the next one's too */
    char parent[TAR_PATH_MAX];
};

/* --- paths --------------------------------------------------------------------------------------
 */

/* "./a//b/" to "a/b". ".." is refused. */
static int normalise(const char *from, char *to, struct smx_err *err)
{
    size_t n = 0;

    while (*from) {
        size_t part = strcspn(from, "/");

        if (part == 2 && memcmp(from, "..", 2) == 0)
            return smx_err_set(err, SMX_E_PROTOCOL, "the sandbox sent a path with '..'");
        if (part > 0 && !(part == 1 && *from == '.')) {
            if (n > 0)
                to[n++] = '/';
            memcpy(to + n, from, part);
            n += part;
        }
        from += part + (from[part] == '/');
    }
    to[n] = '\0';
    return 0;
}

/* One level down; made where it is missing. A link in the way is an error (ELOOP, ENOTDIR). */
static int enter(int at, const char *name, struct smx_err *err)
{
    int fd;

    if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
        return smx_err_errno(err, errno, "making folder %s", name);
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return smx_err_errno(err, errno, "opening folder %s", name);
    return fd;
}

static int walk(int root, char *path, struct smx_err *err)
{
    int at = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (at < 0)
        return smx_err_errno(err, errno, "opening the target folder");
    while (*path && at >= 0) {
        size_t n = strcspn(path, "/");
        char after = path[n];
        int next;

        path[n] = '\0';
        next = enter(at, path, err);
        path[n] = after;
        path += n + (after == '/');
        smx_close(at);
        at = next;
    }
    return at;
}

/* The folder that holds path: a borrowed descriptor. *ret_name: the last part. */
static int open_parent(struct unpack *u, char *path, const char **ret_name, struct smx_err *err)
{
    char *slash = strrchr(path, '/');
    char parent[TAR_PATH_MAX];
    int fd;

    *ret_name = slash ? slash + 1 : path;
    if (!slash)
        return u->root;
    smx_view_copy(parent, sizeof parent, (struct smx_view){ path, (size_t)(slash - path) });
    if (u->parent_fd >= 0 && smx_streq(u->parent, parent))
        return u->parent_fd;
    fd = walk(u->root, parent, err);
    if (fd < 0)
        return fd;
    smx_close(u->parent_fd);
    u->parent_fd = fd;
    smx_strcpy(u->parent, sizeof u->parent, parent);
    return fd;
}

/* Removes what has the name, unless it is a folder. */
static int make_room(int at, const char *name, struct smx_err *err)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    return smx_err_errno(err, errno == EISDIR ? EEXIST : errno, "replacing %s", name);
}

/* --- entries ------------------------------------------------------------------------------------
 */

static int note_dir(struct unpack *u, struct smx_err *err)
{
    if (u->n_dirs == u->room) {
        size_t room = u->room ? 2 * u->room : 64;
        void *dirs = smx_realloc(u->dirs, room * sizeof *u->dirs);

        if (!dirs)
            return smx_err_oom(err);
        u->dirs = dirs;
        u->room = room;
    }
    u->dirs[u->n_dirs] =
        (struct dir_note){ .path = smx_strdup(u->path), .mode = u->mode, .mtime = u->mtime };
    if (!u->dirs[u->n_dirs].path)
        return smx_err_oom(err);
    u->n_dirs++;
    return 0;
}

static int take_dir(struct unpack *u, struct smx_err *err)
{
    const char *name;
    int fd, at;

    if (!u->path[0])
        return note_dir(u, err);
    at = open_parent(u, u->path, &name, err);
    if (at < 0)
        return at;
    fd = enter(at, name, err);
    if (fd < 0)
        return fd;
    smx_close(fd);
    return note_dir(u, err);
}

static int take_file(struct unpack *u, struct smx_err *err)
{
    const char *name;
    int at = open_parent(u, u->path, &name, err), r;

    r = at < 0 ? at : make_room(at, name, err);
    if (r < 0)
        return r;
    u->fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return u->fd < 0 ? smx_err_errno(err, errno, "making %s", u->path) : 0;
}

static int take_symlink(struct unpack *u, const struct tar_entry *e, struct smx_err *err)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, u->mtime };
    const char *name;
    int at = open_parent(u, u->path, &name, err), r;

    r = at < 0 ? at : make_room(at, name, err);
    if (r < 0)
        return r;
    if (symlinkat(e->link, at, name) < 0)
        return smx_err_errno(err, errno, "making link %s", u->path);
    utimensat(at, name, times, AT_SYMLINK_NOFOLLOW); /* a file system may not keep times of links */
    return 0;
}

static int take_hardlink(struct unpack *u, const struct tar_entry *e, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int from = -1;
    const char *name, *from_name;
    int at, r = normalise(e->link, u->link, err);

    if (r < 0)
        return r;
    at = open_parent(u, u->link, &from_name, err);
    if (at < 0)
        return at;
    from = fcntl(at, F_DUPFD_CLOEXEC, 3);
    at = open_parent(u, u->path, &name, err);
    r = at < 0 ? at : make_room(at, name, err);
    if (r < 0)
        return r;
    if (linkat(from, from_name, at, name, 0) < 0)
        return smx_err_errno(err, errno, "linking %s", u->path);
    return 0;
}

static int on_entry(const struct tar_entry *e, void *arg, struct smx_err *err)
{
    struct unpack *u = arg;
    int r = normalise(e->path, u->path, err);

    if (r < 0)
        return r;
    if (!u->path[0] && e->type != TAR_DIR)
        return smx_err_set(err, SMX_E_PROTOCOL, "the sandbox sent a file without a name");
    u->mode = e->mode & 0777;
    u->mtime = (struct timespec){ .tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns };
    switch (e->type) {
    case TAR_DIR:
        return take_dir(u, err);
    case TAR_FILE:
        return take_file(u, err);
    case TAR_SYMLINK:
        return take_symlink(u, e, err);
    case TAR_HARDLINK:
        return take_hardlink(u, e, err);
    case TAR_OTHER:
        cli_note("sandmux: %s is neither file, folder nor link: left out", u->path);
        return 0;
    }
    return 0;
}

static int on_data(const void *data, size_t n, void *arg, struct smx_err *err)
{
    struct unpack *u = arg;
    int r;

    if (u->fd < 0)
        return 0; /* of an entry that is left out */
    r = smx_write_full(u->fd, data, n);
    if (r < 0)
        return smx_err_errno(err, -r, "writing %s", u->path);
    cli_progress_add(u->progress, n);
    return 0;
}

static int on_end(void *arg, struct smx_err *err)
{
    struct unpack *u = arg;
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, u->mtime };
    int r = 0;

    if (u->fd < 0)
        return 0;
    if (fchmod(u->fd, u->mode) < 0 || futimens(u->fd, times) < 0)
        r = smx_err_errno(err, errno, "setting mode and time of %s", u->path);
    smx_close(smx_take_fd(&u->fd));
    return r;
}

/* --- the whole ----------------------------------------------------------------------------------
 */

int unpack_new(int to_fd, struct cli_progress *progress, struct unpack **ret, struct smx_err *err)
{
    struct unpack *u = smx_alloc(sizeof *u);

    if (!u)
        return smx_err_oom(err);
    u->root = to_fd;
    u->progress = progress;
    u->fd = u->parent_fd = -1;
    u->sink = (struct tar_sink){ on_entry, on_data, on_end, u };
    tar_reader_init(&u->reader, &u->sink);
    *ret = u;
    return 0;
}

int unpack_data(const void *data, size_t n, void *unpack, struct smx_err *err)
{
    struct unpack *u = unpack;

    return tar_read(&u->reader, data, n, err);
}

static int settle_dir(struct unpack *u, struct dir_note *d, struct smx_err *err)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, d->mtime };
    int fd = walk(u->root, d->path, err), r = 0;

    if (fd < 0)
        return fd;
    if (fchmod(fd, d->mode) < 0 || futimens(fd, times) < 0)
        r = smx_err_errno(err, errno, "setting mode and time of %s", d->path);
    smx_close(fd);
    return r;
}

/* Innermost first: a folder without w or x would shut us out of those in it. */
int unpack_finish(struct unpack *u, struct smx_err *err)
{
    int r = tar_read_end(&u->reader, err);

    for (size_t i = u->n_dirs; r == 0 && i > 0; i--)
        r = settle_dir(u, &u->dirs[i - 1], err);
    return r;
}

void unpack_free(struct unpack *u)
{
    if (!u)
        return;
    smx_close(u->fd);
    smx_close(u->parent_fd);
    for (size_t i = 0; i < u->n_dirs; i++)
        smx_free(u->dirs[i].path);
    smx_free(u->dirs);
    tar_reader_done(&u->reader);
    smx_free(u);
}
