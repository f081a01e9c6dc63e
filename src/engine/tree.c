/* tree.c - see tree.h.
 *
 * Recursion would let a deep tree exhaust stack or descriptors. Removal therefore flattens: a full
 * directory found below the first level is renamed up into the root before its parent goes, so that
 * two descriptors are enough at any depth. Usage keeps one open directory a level, DEPTH_MAX of
 * them at most; directories deeper than that are kept as file handles and walked afterwards. */
#include "engine/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"

enum { FLAT_NAME_SIZE = 32, DEPTH_MAX = 256, LATER_MAX = 1024 * 1024 };

static DIR *open_dir(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d)
        smx_close(fd);
    return d;
}

static bool is_dots(const char *name)
{
    return smx_streq(name, ".") || smx_streq(name, "..");
}

/* Tries as a file first: that is what most entries are. */
static int remove_entry(int at, const char *name)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    return -errno;
}

/* Empties directory name of root: files go, full directories move up into root. Counts the moved.
 */
static int empty_into(int root, const char *name, uint64_t *serial, unsigned *moved)
{
    DIR *d = open_dir(root, name);
    char flat[FLAT_NAME_SIZE];
    int first = 0;

    if (!d)
        return -errno;
    for (struct dirent *de; (de = readdir(d)) != NULL;) {
        int r = is_dots(de->d_name) ? 0 : remove_entry(dirfd(d), de->d_name);

        if (r == -ENOTEMPTY || r == -EEXIST) {
            snprintf(flat, sizeof flat, ".smx-%llx", (unsigned long long)++*serial);
            r = renameat(dirfd(d), de->d_name, root, flat) < 0 ? -errno : 0;
            *moved += r == 0;
        }
        if (r < 0 && first == 0)
            first = r;
    }
    closedir(d);
    return first;
}

/* One pass over the root's entries; *moved counts directories that came up and need another. */
static int empty_pass(int root, uint64_t *serial, unsigned *moved)
{
    DIR *d = open_dir(root, ".");
    int first = 0;

    if (!d)
        return -errno;
    for (struct dirent *de; (de = readdir(d)) != NULL;) {
        int r = is_dots(de->d_name) ? 0 : remove_entry(root, de->d_name);

        if (r == -ENOTEMPTY || r == -EEXIST) {
            r = empty_into(root, de->d_name, serial, moved);
            if (r == 0)
                r = remove_entry(root, de->d_name);
        }
        if (r < 0 && first == 0)
            first = r;
    }
    closedir(d);
    return first;
}

int tree_remove(int dirfd, const char *name)
{
    SMX_CLEANUP(smx_closep) int root = -1;
    unsigned moved = 1;
    uint64_t serial = smx_random_u64(); /* an earlier run may have been cut */
    int r = remove_entry(dirfd, name);

    if (r != -ENOTEMPTY && r != -EEXIST)
        return r;
    root = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root < 0)
        return -errno;
    for (r = 0; moved > 0 && r == 0;) {
        moved = 0;
        r = empty_pass(root, &serial, &moved);
    }
    return r < 0 ? r : remove_entry(dirfd, name);
}

/* --- usage ----------------------------------------------------------------------------------- */

union handle {
    struct file_handle head;
    unsigned char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

struct walk {
    DIR *levels[DEPTH_MAX];
    unsigned depth;
    uint64_t bytes;
    union handle *later;
    size_t nlater, cap;
};

/* Remembers a directory below DEPTH_MAX. A tree that defeats even that counts as endless. */
static void put_off(struct walk *w, int at, const char *name)
{
    union handle h = { .head.handle_bytes = MAX_HANDLE_SZ };
    int mount_id;

    if (w->nlater == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 64;
        union handle *more = cap > LATER_MAX ? NULL : smx_realloc(w->later, cap * sizeof *more);

        if (!more) {
            w->bytes = UINT64_MAX / 2;
            return;
        }
        w->later = more;
        w->cap = cap;
    }
    if (name_to_handle_at(at, name, &h.head, &mount_id, 0) < 0)
        w->bytes = UINT64_MAX / 2;
    else
        w->later[w->nlater++] = h;
}

static void enter(struct walk *w, int at, const char *name)
{
    DIR *d;

    if (w->depth == DEPTH_MAX) {
        put_off(w, at, name);
        return;
    }
    d = open_dir(at, name);
    if (d)
        w->levels[w->depth++] = d;
}

static void enter_later(struct walk *w, int mount)
{
    union handle h = w->later[--w->nlater];
    int fd = open_by_handle_at(mount, &h.head, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (d)
        w->levels[w->depth++] = d;
    else
        smx_close(fd);
}

static void count_entry(struct walk *w, int at, const char *name)
{
    struct stat st;

    if (is_dots(name) || fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    /* Each name of a file carries its share. */
    w->bytes += (uint64_t)st.st_blocks * 512 / (S_ISDIR(st.st_mode) ? 1 : st.st_nlink);
    if (S_ISDIR(st.st_mode))
        enter(w, at, name);
}

uint64_t tree_usage(int dirfd_, const char *name)
{
    struct walk *w = smx_alloc(sizeof *w);
    uint64_t bytes;

    if (!w)
        return 0;
    count_entry(w, dirfd_, name);
    while (w->depth > 0 || w->nlater > 0) {
        DIR *d = w->depth > 0 ? w->levels[w->depth - 1] : NULL;
        struct dirent *de = d ? readdir(d) : NULL;

        if (de) {
            count_entry(w, dirfd(d), de->d_name);
        } else if (d) {
            closedir(d);
            w->depth--;
        } else {
            enter_later(w, dirfd_);
        }
    }
    bytes = w->bytes;
    smx_free(w->later);
    smx_free(w);
    return bytes;
}
