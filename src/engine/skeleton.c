/* skeleton.c - see skeleton.h. meta.new is made last and marks a directory as whole; one
 * with a socket in it was a room of an engine that is gone, and one without the last file of its
 * upper layer was made by an older engine.
 *
 * What scripts of E2B's templates look for, /run/e2b, is here rather than the agent's to make: the
 * first files of a directory of the overlay cost 1 ms there and 0.05 ms here. */
#include "engine/skeleton.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/random.h"
#include "base/str.h"
#include "engine/hands.h"
#include "wire/engine/engine_wire.h"

enum { HOSTS_SIZE = 256 };
#define MARKS "upper/run/e2b"
#define LAST_FILE MARKS "/.E2B_TEMPLATE_ID"

static int make_file(int at, const char *name, mode_t mode)
{
    int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

    smx_close(fd);
    return fd < 0 ? -errno : 0;
}

static int write_file(int at, const char *name, const char *text)
{
    SMX_CLEANUP(smx_closep) int fd = openat(at, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd < 0 ? -errno : smx_write_full(fd, text, strlen(text));
}

static int fill(int dir)
{
    static const struct {
        const char *name;
        mode_t mode;
    } dirs[] = { { "upper", 0755 }, { "work", 0700 }, { "upper/etc", 0755 }, { "upper/run", 0755 },
        { MARKS, 0755 } };
    static const char *const files[] = { "upper/etc/hosts", "upper/etc/hostname",
        MARKS "/.E2B_SANDBOX", MARKS "/.E2B_SANDBOX_ID", LAST_FILE };
    int r = 0;

    for (size_t i = 0; i < SMX_ARRAY_LEN(dirs); i++)
        if (mkdirat(dir, dirs[i].name, dirs[i].mode) < 0)
            return -errno;
    for (size_t i = 0; r == 0 && i < SMX_ARRAY_LEN(files); i++)
        r = make_file(dir, files[i], 0644);
    if (r == 0)
        r = write_file(dir, MARKS "/.E2B_SANDBOX", "true");
    return r == 0 ? make_file(dir, "meta.new", 0600) : r;
}

int skeleton_make(int pool_fd, const char *name)
{
    SMX_CLEANUP(smx_closep) int dir = -1;

    if (mkdirat(pool_fd, name, 0700) < 0)
        return -errno;
    dir = openat(pool_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return dir < 0 ? -errno : fill(dir);
}

static bool has(int pool_fd, const char *name, const char *what)
{
    char path[SKELETON_NAME_SIZE + 64];

    snprintf(path, sizeof path, "%.*s/%s", SKELETON_NAME_SIZE - 1, name, what);
    return faccessat(pool_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int skeletons_start(struct skeletons *s, int pool_fd, int boxes_fd, struct hands *hands)
{
    int fd = openat(pool_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    *s = (struct skeletons){ .pool_fd = pool_fd, .boxes_fd = boxes_fd, .hands = hands };
    if (!d) {
        smx_close(fd);
        return -errno;
    }
    for (struct dirent *de; (de = readdir(d)) != NULL;) {
        if (smx_streq(de->d_name, ".") || smx_streq(de->d_name, ".."))
            continue;
        if (strlen(de->d_name) < SKELETON_NAME_SIZE && s->n < SKELETONS_MAX &&
            has(pool_fd, de->d_name, "meta.new") && has(pool_fd, de->d_name, LAST_FILE) &&
            !has(pool_fd, de->d_name, "agent.sock"))
            smx_strcpy(s->names[s->n++], SKELETON_NAME_SIZE, de->d_name);
        else
            hands_discard(hands, de->d_name, NULL);
    }
    closedir(d);
    return 0;
}

static int make_one(struct skeletons *s, char name[SKELETON_NAME_SIZE], struct smx_err *err)
{
    snprintf(name, SKELETON_NAME_SIZE, "%016llx", (unsigned long long)smx_random_u64());
    return hands_prepare(s->hands, name, err);
}

int skeletons_fill(struct skeletons *s, struct smx_err *err)
{
    char name[SKELETON_NAME_SIZE];
    int r;

    if (s->n == SKELETONS_MAX)
        return 1;
    r = make_one(s, name, err);
    if (r == 0 && s->n < SKELETONS_MAX)
        smx_strcpy(s->names[s->n++], SKELETON_NAME_SIZE, name);
    return r;
}

/* The host's name must resolve inside. */
static int write_names(int dir, const struct skeleton_names *names)
{
    char hosts[HOSTS_SIZE], name[ENGINE_HOSTNAME_MAX + 2];
    const struct {
        const char *name, *text;
    } files[] = { { "upper/etc/hosts", hosts }, { "upper/etc/hostname", name },
        { MARKS "/.E2B_SANDBOX_ID", names->id }, { LAST_FILE, names->template } };
    int r = 0;

    snprintf(hosts, sizeof hosts,
        "127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        names->hostname);
    snprintf(name, sizeof name, "%s\n", names->hostname);
    for (size_t i = 0; r == 0 && i < SMX_ARRAY_LEN(files); i++)
        r = write_file(dir, files[i].name, files[i].text);
    return r;
}

int skeleton_pick(struct skeletons *s, char name[SKELETON_NAME_SIZE], struct smx_err *err)
{
    if (s->n == 0)
        return make_one(s, name, err);
    smx_strcpy(name, SKELETON_NAME_SIZE, s->names[--s->n]);
    return 0;
}

/* The names are written first: what is in sandboxes/ is whole. */
int skeleton_use(
    struct skeletons *s, const char *name, const struct skeleton_names *names, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep)
    int dir = openat(s->pool_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = dir < 0 ? -errno : write_names(dir, names);

    if (r < 0)
        return smx_err_errno(err, -r, "naming sandbox '%s'", names->id);
    if (renameat(s->pool_fd, name, s->boxes_fd, names->id) < 0)
        return smx_err_errno(err, errno, "making the directory of sandbox '%s'", names->id);
    return 0;
}
