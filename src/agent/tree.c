/* tree.c - directory trees by plain system calls. tree_remove() may take long: it runs in a child.
 */
#include "agent/tree.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

static int make_one(const char *path)
{
    struct stat st;
    int e;

    if (mkdir(path, 0755) == 0)
        return 0;
    e = errno;
    if (e != EEXIST)
        return e;
    if (stat(path, &st) < 0)
        return errno;
    return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
}

int tree_make(const char *path)
{
    SMX_CLEANUP(smx_freep) char *copy = smx_strdup(path);
    int e;

    if (!copy)
        return ENOMEM;
    if (strlen(path) >= PATH_MAX)
        return ENAMETOOLONG;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        e = make_one(copy);
        if (e != 0)
            return e;
        *p = '/';
    }
    return make_one(copy);
}

int tree_make_parent(const char *path)
{
    SMX_CLEANUP(smx_freep) char *copy = smx_strdup(path);
    struct stat st;
    char *slash;

    if (!copy)
        return ENOMEM;
    slash = strrchr(copy, '/');
    if (!slash || slash == copy)
        return 0;
    *slash = '\0';
    if (stat(copy, &st) == 0)
        return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
    return tree_make(copy);
}

/* --- removal: the working directory walks the tree, so that neither depth nor length of a path is
 * bounded by stack or descriptors --- */

struct level {
    struct tree_names dirs; /* those that were not empty */
    size_t next;
    dev_t dev;
    ino_t ino;
};
struct removal {
    struct level *levels;
    size_t depth, room;
};

/* Makes a directory, which is no link, the working directory and the innermost level. */
static int descend(struct removal *r, const char *name)
{
    SMX_CLEANUP(smx_closep) int fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || fchdir(fd) < 0)
        return errno;
    if (r->depth == r->room) {
        size_t room = r->room ? r->room * 2 : 16;
        struct level *v = smx_realloc(r->levels, room * sizeof *v);

        if (!v)
            return ENOMEM;
        r->levels = v;
        r->room = room;
    }
    r->levels[r->depth++] = (struct level){ .dev = st.st_dev, .ino = st.st_ino };
    return 0;
}

/* Back to the directory we came from: somebody may have moved ours meanwhile. */
static int ascend(struct removal *r)
{
    const struct level *up;
    struct stat st;

    tree_names_done(&r->levels[--r->depth].dirs);
    if (r->depth == 0)
        return 0;
    up = &r->levels[r->depth - 1];
    if (chdir("..") < 0 || stat(".", &st) < 0)
        return errno;
    return st.st_dev == up->dev && st.st_ino == up->ino ? 0 : ESTALE;
}

static bool add_name(struct tree_names *t, const char *name)
{
    if ((t->n & (t->n + 1)) == 0) { /* the room is the next power of two */
        char **v = smx_realloc(t->v, 2 * (t->n + 1) * sizeof *v);

        if (!v)
            return false;
        t->v = v;
    }
    t->v[t->n] = smx_strdup(name);
    return t->v[t->n++] != NULL;
}

static bool is_dots(const char *name)
{
    return smx_streq(name, ".") || smx_streq(name, "..");
}

/* Removes what can be removed in the working directory at once, and notes the rest. */
static int clear_here(struct level *l)
{
    DIR *dir = opendir(".");
    struct dirent *e;
    int result = 0;

    if (!dir)
        return errno;
    while (result == 0 && (e = readdir(dir))) {
        if (is_dots(e->d_name))
            continue;
        if (e->d_type != DT_DIR && (unlink(e->d_name) == 0 || errno == ENOENT))
            continue;
        if (rmdir(e->d_name) == 0 || errno == ENOENT)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST)
            result = errno;
        else if (!add_name(&l->dirs, e->d_name))
            result = ENOMEM;
    }
    closedir(dir);
    return result;
}

static int remove_levels(struct removal *r)
{
    int e = clear_here(&r->levels[0]);

    while (e == 0 && r->depth > 0) {
        struct level *l = &r->levels[r->depth - 1];

        if (l->next == l->dirs.n) {
            e = ascend(r);
            if (e == 0 && r->depth > 0) {
                l = &r->levels[r->depth - 1];
                if (rmdir(l->dirs.v[l->next++]) < 0 && errno != ENOENT)
                    e = errno;
            }
            continue;
        }
        e = descend(r, l->dirs.v[l->next]);
        if (e == 0)
            e = clear_here(&r->levels[r->depth - 1]);
    }
    return e;
}

int tree_remove(const char *path)
{
    struct removal r = { 0 };
    int e;

    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return errno;
    e = descend(&r, path);
    if (e == 0)
        e = remove_levels(&r);
    while (r.depth > 0)
        tree_names_done(&r.levels[--r.depth].dirs);
    smx_free(r.levels);
    if (e == 0 && (chdir("/") < 0 || (rmdir(path) < 0 && errno != ENOENT)))
        e = errno;
    return e;
}

/* A name with its first bytes as a number: most comparisons end there. */
struct sorted {
    uint64_t first;
    char *name;
};

static int by_name(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;

    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bool sort_names(struct tree_names *t)
{
    SMX_CLEANUP(smx_freep) struct sorted *v = smx_alloc_array(t->n, sizeof *v);

    if (!v)
        return false;
    for (size_t i = 0; i < t->n; i++) {
        char first[sizeof v->first] = { 0 };

        memcpy(first, t->v[i], strnlen(t->v[i], sizeof first));
        memcpy(&v[i].first, first, sizeof first);
        v[i].first = be64toh(v[i].first);
        v[i].name = t->v[i];
    }
    qsort(v, t->n, sizeof *v, by_name);
    for (size_t i = 0; i < t->n; i++)
        t->v[i] = v[i].name;
    return true;
}

int tree_names_read(const char *path, struct tree_names *ret)
{
    struct tree_names t = { 0 };
    DIR *dir = opendir(path);
    struct dirent *e;

    if (!dir)
        return errno;
    while ((e = readdir(dir))) {
        if (is_dots(e->d_name))
            continue;
        if (!add_name(&t, e->d_name)) {
            closedir(dir);
            tree_names_done(&t);
            return ENOMEM;
        }
    }
    closedir(dir);
    if (t.n > 1 && !sort_names(&t)) {
        tree_names_done(&t);
        return ENOMEM;
    }
    *ret = t;
    return 0;
}

void tree_names_done(struct tree_names *t)
{
    for (size_t i = 0; i < t->n; i++)
        smx_free(t->v[i]);
    smx_free(t->v);
    *t = (struct tree_names){ 0 };
}
