/* slots.c - see slots.h. Nothing is cached but the cursor: the directory is the truth. */
#include "engine/slots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { NAME_SIZE = 16 };

int slots_open(struct slots *s, const char *run_dir, const char *owner, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int run = -1;

    *s = (struct slots){ .dir_fd = -1, .lock_fd = -1 };
    if (!smx_strcpy(s->owner, sizeof s->owner, owner))
        return smx_err_set(err, SMX_E_INVALID, "the state directory's path is too long");
    if (mkdir(run_dir, 0755) < 0 && errno != EEXIST)
        return smx_err_errno(err, errno, "making '%s'", run_dir);
    run = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run < 0 || (mkdirat(run, "slots", 0700) < 0 && errno != EEXIST))
        return smx_err_errno(err, errno, "making '%s/slots'", run_dir);
    s->dir_fd = openat(run, "slots", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    s->lock_fd = openat(run, "slots", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->dir_fd < 0 || s->lock_fd < 0) {
        int saved = errno;

        slots_close(s);
        return smx_err_errno(err, saved, "opening '%s/slots'", run_dir);
    }
    return 0;
}

void slots_close(struct slots *s)
{
    smx_close(s->dir_fd);
    smx_close(s->lock_fd);
    s->dir_fd = s->lock_fd = -1;
}

static void slot_name(char name[NAME_SIZE], int slot)
{
    snprintf(name, NAME_SIZE, "%d", slot);
}

int slot_take(struct slots *s, int *ret_slot, struct smx_err *err)
{
    char name[NAME_SIZE];
    int r = EEXIST;

    flock(s->lock_fd, LOCK_EX);
    for (unsigned i = 0; i < SLOT_COUNT && r == EEXIST; i++) {
        int slot = (int)(s->cursor++ % SLOT_COUNT);

        slot_name(name, slot);
        r = symlinkat(s->owner, s->dir_fd, name) < 0 ? errno : 0;
        if (r == 0)
            *ret_slot = slot;
    }
    flock(s->lock_fd, LOCK_UN);
    if (r == EEXIST)
        return smx_err_set(err, SMX_E_QUOTA, "all %d ranges of user ids are taken", SLOT_COUNT);
    return r ? smx_err_errno(err, r, "taking a range of user ids") : 0;
}

/* The owner named by a link; false when it cannot be read. */
static bool read_owner(struct slots *s, const char *name, char owner[SMX_PATH_MAX])
{
    ssize_t n = readlinkat(s->dir_fd, name, owner, SMX_PATH_MAX - 1);

    owner[n > 0 ? n : 0] = '\0';
    return n > 0;
}

void slot_release(struct slots *s, int slot)
{
    char name[NAME_SIZE], owner[SMX_PATH_MAX];

    if (slot < 0)
        return;
    slot_name(name, slot);
    flock(s->lock_fd, LOCK_EX);
    if (read_owner(s, name, owner) && smx_streq(owner, s->owner))
        unlinkat(s->dir_fd, name, 0);
    flock(s->lock_fd, LOCK_UN);
}

static bool is_free(struct slots *s, const char *name, slot_used_fn *used, void *arg)
{
    char owner[SMX_PATH_MAX];
    uint64_t slot;

    if (!smx_parse_u64(smx_view_of(name), SLOT_COUNT - 1, &slot) || !read_owner(s, name, owner))
        return false;
    if (smx_streq(owner, s->owner))
        return !used((int)slot, arg);
    return faccessat(AT_FDCWD, owner, F_OK, 0) < 0 && errno == ENOENT;
}

bool slots_of_others(struct slots *s)
{
    int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    char owner[SMX_PATH_MAX];
    bool some = !d;

    if (!d)
        smx_close(fd);
    for (struct dirent *de; !some && (de = readdir(d)) != NULL;)
        some = read_owner(s, de->d_name, owner) && !smx_streq(owner, s->owner) &&
               faccessat(AT_FDCWD, owner, F_OK, 0) == 0;
    if (d)
        closedir(d);
    return some;
}

int slots_sweep(struct slots *s, slot_used_fn *used, void *arg, struct smx_err *err)
{
    int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d) {
        smx_close(fd);
        return smx_err_errno(err, errno, "reading the ranges of user ids");
    }
    flock(s->lock_fd, LOCK_EX);
    for (struct dirent *de; (de = readdir(d)) != NULL;)
        if (is_free(s, de->d_name, used, arg))
            unlinkat(s->dir_fd, de->d_name, 0);
    flock(s->lock_fd, LOCK_UN);
    closedir(d);
    return 0;
}
