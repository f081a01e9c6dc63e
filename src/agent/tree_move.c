/* tree_move.c - moving to another file system, or a directory that an overlay cannot rename. Runs
 * in a child; the depth is bounded, because each level holds two descriptors and a frame. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/tree.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"

enum { DEPTH_MAX = 256, PIECE = 1024 * 1024, XATTR_NAMES_MAX = 4096, XATTR_VALUE_MAX = 4096 };

/* Where a node is and where its copy goes. */
struct pair {
    int from_dir, to_dir;
    const char *from, *to;
};

static int copy_node(const struct pair *p, unsigned depth);

static void copy_xattrs(int from, int to)
{
    static char names[XATTR_NAMES_MAX], value[XATTR_VALUE_MAX];
    ssize_t size = flistxattr(from, names, sizeof names), n;

    for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1) {
        if (!smx_starts(names + at, "user."))
            continue;
        n = fgetxattr(from, names + at, value, sizeof value);
        if (n >= 0)
            (void)fsetxattr(
                to, names + at, value, (size_t)n, 0); /* the other side may not have any */
    }
}

/* Owner before mode: a change of owner takes set-id bits away. */
static int copy_attributes(int from, int to, const struct stat *st)
{
    struct timespec times[2] = { st->st_atim, st->st_mtim };

    copy_xattrs(from, to);
    if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0 ||
        futimens(to, times) < 0)
        return errno;
    return 0;
}

static int copy_file(const struct pair *p, const struct stat *st)
{
    SMX_CLEANUP(smx_closep)
    int from = openat(p->from_dir, p->from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    SMX_CLEANUP(smx_closep) int to = -1;
    ssize_t n;

    if (from < 0)
        return errno;
    to = openat(p->to_dir, p->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return errno;
    while ((n = sendfile(to, from, /* offset= */ NULL, PIECE)) > 0)
        ;
    return n < 0 ? errno : copy_attributes(from, to, st);
}

static int copy_link(const struct pair *p, const struct stat *st)
{
    static char target[PATH_MAX]; /* not on the stack of a recursion */
    ssize_t n = readlinkat(p->from_dir, p->from, target, sizeof target - 1);

    if (n < 0)
        return errno;
    target[n] = '\0';
    if (symlinkat(target, p->to_dir, p->to) < 0 ||
        fchownat(p->to_dir, p->to, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return errno;
    return 0;
}

static int copy_entries(DIR *dir, int to, unsigned depth)
{
    struct dirent *e;
    int r = 0;

    while (r == 0 && (e = readdir(dir))) {
        struct pair p = { dirfd(dir), to, e->d_name, e->d_name };

        if (!smx_streq(e->d_name, ".") && !smx_streq(e->d_name, ".."))
            r = copy_node(&p, depth + 1);
    }
    return r;
}

static int copy_dir(const struct pair *p, const struct stat *st, unsigned depth)
{
    SMX_CLEANUP(smx_closep) int to = -1;
    int from = openat(p->from_dir, p->from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = from < 0 ? NULL : fdopendir(from);
    int r;

    if (!dir) {
        r = errno;
        smx_close(from);
        return r;
    }
    if (mkdirat(p->to_dir, p->to, 0700) == 0)
        to = openat(p->to_dir, p->to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    r = to < 0 ? errno : copy_entries(dir, to, depth);
    if (r == 0)
        r = copy_attributes(from, to, st);
    closedir(dir);
    return r;
}

static int copy_node(const struct pair *p, unsigned depth)
{
    struct stat st;

    if (depth > DEPTH_MAX)
        return ELOOP;
    if (fstatat(p->from_dir, p->from, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno;
    if (S_ISREG(st.st_mode))
        return copy_file(p, &st);
    if (S_ISLNK(st.st_mode))
        return copy_link(p, &st);
    if (S_ISDIR(st.st_mode))
        return copy_dir(p, &st, depth);
    if (mknodat(p->to_dir, p->to, st.st_mode, st.st_rdev) < 0 ||
        fchownat(p->to_dir, p->to, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return errno;
    return 0;
}

/* Whether one of the directories that to stands in is from. */
static bool is_inside(const char *from, const char *to)
{
    SMX_CLEANUP(smx_freep) char *path = smx_strdup(to);
    struct stat source, st;
    char *slash;

    if (!path || lstat(from, &source) < 0 || !S_ISDIR(source.st_mode))
        return false;
    while ((slash = strrchr(path, '/')) && slash != path) {
        *slash = '\0';
        if (stat(path, &st) == 0 && st.st_dev == source.st_dev && st.st_ino == source.st_ino)
            return true;
    }
    return false;
}

int tree_move_across(const char *from, const char *to)
{
    SMX_CLEANUP(smx_freep)
    char *copy = smx_asprintf("%s.%016llx", to, (unsigned long long)smx_random_u64());
    struct pair p = { AT_FDCWD, AT_FDCWD, from, copy };
    int e;

    if (!copy)
        return ENOMEM;
    if (is_inside(from, to))
        return EINVAL;
    e = copy_node(&p, 0);
    if (e == 0 && rename(copy, to) < 0)
        e = errno;
    if (e != 0) {
        (void)tree_remove(copy);
        return e;
    }
    return tree_remove(from);
}
