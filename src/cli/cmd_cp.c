/* cmd_cp.c - cp: which side is a sandbox, or both, where the target is, and single files. */
#include "cli/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/random.h"
#include "base/str.h"
#include "sandmux/files.h"
#include "sandmux/sandbox.h"

enum { PATH_ROOM = 4096, WORD_ROOM = 256 };

struct side {
    bool remote, contents; /* contents: "dir/.", what is in it */
    char id[WORD_ROOM], path[PATH_ROOM];
};

struct copy {
    struct cli *cli;
    struct side from, to;
    struct cli_progress progress;
    int fd;
};

/* --- arguments ----------------------------------------------------------------------------------
 */

/* SANDBOX:PATH, unless it starts as a path does. */
static bool split(const char *arg, struct side *s)
{
    const char *colon = strchr(arg, ':');

    s->remote = colon && colon > arg && !strchr("./-", arg[0]);
    if (s->remote &&
        !smx_view_copy(s->id, sizeof s->id, (struct smx_view){ arg, (size_t)(colon - arg) }))
        return false;
    if (!smx_strcpy(s->path, sizeof s->path, s->remote ? colon + 1 : arg))
        return false;
    s->contents = smx_streq(s->path, ".") || smx_ends(s->path, "/.");
    if (s->remote && !s->path[0])
        smx_strcpy(s->path, sizeof s->path, ".");
    return true;
}

static const char *base_name(const char *path, char *room, size_t size)
{
    size_t end = strlen(path), start;

    while (end > 1 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/'; start--)
        ;
    smx_view_copy(room, size, (struct smx_view){ path + start, end - start });
    return room;
}

/* to/name; false when it is too long. */
static bool below(struct side *to, const char *from_path)
{
    char name[WORD_ROOM], path[PATH_ROOM];
    int n;

    base_name(from_path, name, sizeof name);
    n = snprintf(path, sizeof path, "%s%s%s", to->path, smx_ends(to->path, "/") ? "" : "/", name);
    return n > 0 && (size_t)n < sizeof path && smx_strcpy(to->path, sizeof to->path, path);
}

/* For programs in the sandbox, which start elsewhere. */
static bool absolute(struct side *s)
{
    char path[PATH_ROOM];

    return smx_starts(s->path, "/") ||
           (snprintf(path, sizeof path, "/workspace/%s", s->path) < (int)sizeof path &&
               smx_strcpy(s->path, sizeof s->path, path));
}

static int too_long(struct copy *c)
{
    return smx_err_set(
        &c->cli->err, SMX_E_TOO_LARGE, "a path has more than %d bytes", PATH_ROOM - 1);
}

/* --- the sandbox's side -------------------------------------------------------------------------
 */

/* 1: a folder, 0: something else; -SMX_E_FILE_NOT_FOUND. Links count as what they lead to. */
static int remote_kind(
    struct copy *c, const struct side *s, unsigned *ret_mode, struct timespec *ret_mtime)
{
    struct smx_file_list *l;
    struct smx_err err = { 0 };
    int64_t ms = 0;
    int r = smx_file_stat(c->cli->client, s->id, s->path, &l, &c->cli->err);

    if (r < 0)
        return r;
    r = l->items[0].is_dir;
    if (ret_mode)
        *ret_mode = l->items[0].permissions;
    if (ret_mtime && l->items[0].mod_time && smx_rfc3339_parse(l->items[0].mod_time, &ms))
        *ret_mtime = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
    if (smx_streq(l->items[0].type, "symlink")) {
        smx_file_list_free(l);
        l = NULL;
        r = smx_file_list(c->cli->client, s->id, s->path, 1, &l, &err) == 0;
        if (ret_mode)
            *ret_mode = 0644;
    }
    smx_file_list_free(l);
    return r;
}

/* --- single files -------------------------------------------------------------------------------
 */

static ssize_t from_fd(void *data, size_t room, void *arg)
{
    struct copy *c = arg;
    ssize_t n;

    do {
        n = read(c->fd, data, room);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        smx_err_errno(&c->cli->err, errno, "reading %s", c->from.path);
        return -SMX_E_IO;
    }
    cli_progress_add(&c->progress, (uint64_t)n);
    return n;
}

static int send_file(struct copy *c, const struct stat *st)
{
    bool regular = S_ISREG(st->st_mode);
    struct smx_err err = { 0 };
    int r;

    c->progress.total = regular ? (uint64_t)st->st_size : 0;
    r = smx_file_write(c->cli->client, c->to.id, c->to.path,
        regular ? (uint64_t)st->st_size : SMX_FILE_SIZE_UNKNOWN, regular ? st->st_mode & 0777 : 0,
        from_fd, c, &err);
    if (r < 0 && err.code != SMX_E_CANCELLED) /* else from_fd() said why */
        c->cli->err = err;
    return r;
}

static int to_fd(const void *data, size_t n, void *arg)
{
    struct copy *c = arg;
    int r = smx_write_full(c->fd, data, n);

    if (r < 0) {
        smx_err_errno(&c->cli->err, -r, "writing %s", c->to.path);
        return -SMX_E_IO;
    }
    cli_progress_add(&c->progress, n);
    return 0;
}

static int receive(struct copy *c)
{
    struct smx_err err = { 0 };
    int r = smx_file_read(c->cli->client, c->from.id, c->from.path, /* offset= */ 0,
        /* bytes= */ 0, to_fd, c, &err);

    if (r < 0 && err.code != SMX_E_CANCELLED) /* else to_fd() said why */
        c->cli->err = err;
    return r;
}

/* Beside the target and renamed, so that a transfer that breaks leaves the old file whole. */
static int receive_file(struct copy *c, unsigned mode, struct timespec mtime)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, mtime };
    char part[PATH_ROOM + 32];
    int r;

    if (smx_streq(c->to.path, "-")) {
        c->fd = STDOUT_FILENO;
        return receive(c);
    }
    snprintf(part, sizeof part, "%s.%08x.part", c->to.path, (unsigned)smx_random_u64());
    c->fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (c->fd < 0)
        return smx_err_errno(&c->cli->err, errno, "making %s", part);
    r = receive(c);
    if (r == 0 && (fchmod(c->fd, mode & 0777) < 0 || futimens(c->fd, times) < 0 ||
                      rename(part, c->to.path) < 0))
        r = smx_err_errno(&c->cli->err, errno, "making %s", c->to.path);
    if (r < 0)
        unlink(part);
    smx_close(c->fd);
    return r;
}

/* --- both ways ----------------------------------------------------------------------------------
 */

static int folder_in(struct copy *c)
{
    int kind = remote_kind(c, &c->to, /* ret_mode= */ NULL, /* ret_mtime= */ NULL);
    int r;

    if (kind == 1 && !c->from.contents && !below(&c->to, c->from.path))
        return too_long(c);
    if (kind == 0)
        return smx_err_set(
            &c->cli->err, SMX_E_EXISTS, "%s in the sandbox is not a folder", c->to.path);
    if (kind < 0 && kind != -SMX_E_FILE_NOT_FOUND)
        return kind;
    if (!absolute(&c->to))
        return too_long(c);
    r = smx_file_mkdir(c->cli->client, c->to.id, c->to.path, &c->cli->err);
    if (r < 0)
        return r;
    return copy_folder_in(c->cli, c->from.path, c->to.id, c->to.path, &c->progress);
}

static int file_in(struct copy *c, const struct stat *st)
{
    bool named = !smx_streq(c->from.path, "-");
    int kind = remote_kind(c, &c->to, /* ret_mode= */ NULL, /* ret_mtime= */ NULL);

    if (kind < 0 && kind != -SMX_E_FILE_NOT_FOUND)
        return kind;
    if (kind == 1 || smx_ends(c->to.path, "/")) {
        if (!named)
            return smx_err_set(&c->cli->err, SMX_E_INVALID,
                "%s in the sandbox is a folder: name the file", c->to.path);
        if (!below(&c->to, c->from.path))
            return too_long(c);
    }
    return send_file(c, st);
}

static int copy_in(struct copy *c)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    struct stat st;
    int r;

    if (smx_streq(c->from.path, "-"))
        fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        fd = open(c->from.path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return smx_err_errno(&c->cli->err, errno, "opening %s", c->from.path);
    c->fd = fd;
    if (S_ISDIR(st.st_mode))
        r = folder_in(c);
    else
        r = file_in(c, &st);
    return r;
}

static int copy_out(struct copy *c)
{
    unsigned mode = 0644;
    struct timespec mtime = { .tv_nsec = UTIME_OMIT };
    int kind = remote_kind(c, &c->from, &mode, &mtime);
    struct stat st;
    bool is_dir = stat(c->to.path, &st) == 0 && S_ISDIR(st.st_mode);

    if (kind < 0)
        return kind;
    if (kind == 1 && smx_streq(c->to.path, "-"))
        return smx_err_set(&c->cli->err, SMX_E_INVALID, "a folder cannot go to stdout");
    if (is_dir && !(kind == 1 && c->from.contents) && !below(&c->to, c->from.path))
        return too_long(c);
    if (kind == 0)
        return receive_file(c, mode, mtime);
    if (!absolute(&c->from))
        return too_long(c);
    return copy_folder_out(c->cli, c->from.id, c->from.path, c->to.path, &c->progress);
}

/* --- between sandboxes --------------------------------------------------------------------------
 */

/* One path is the other, or a folder above it. */
static bool nested(const char *above, const char *path)
{
    size_t n = strlen(above);

    while (n > 1 && (above[n - 1] == '/' || (above[n - 1] == '.' && above[n - 2] == '/')))
        n--;
    return strncmp(above, path, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* By whatever names the two are given. */
static bool same_sandbox(struct copy *c)
{
    struct smx_sandbox *a = NULL, *b = NULL;
    bool same = smx_sandbox_get(c->cli->client, c->from.id, &a, /* err= */ NULL) == 0 &&
                smx_sandbox_get(c->cli->client, c->to.id, &b, /* err= */ NULL) == 0 &&
                smx_streq(a->id, b->id);

    smx_sandbox_free(a);
    smx_sandbox_free(b);
    return same;
}

static int folder_between(struct copy *c)
{
    bool same = same_sandbox(c);
    int r;

    if (same && nested(c->from.path, c->to.path))
        return smx_err_set(
            &c->cli->err, SMX_E_INVALID, "%s cannot be copied into itself", c->from.path);
    if (same)
        return copy_within(c->cli, c->to.id, /* folder= */ true, c->from.path, c->to.path);
    r = smx_file_mkdir(c->cli->client, c->to.id, c->to.path, &c->cli->err);
    if (r < 0)
        return r;
    return copy_folder_between(
        c->cli, c->from.id, c->from.path, c->to.id, c->to.path, &c->progress);
}

static int copy_between(struct copy *c)
{
    unsigned mode = 0644;
    int kind = remote_kind(c, &c->from, &mode, /* ret_mtime= */ NULL), to_kind;

    if (kind < 0)
        return kind;
    to_kind = remote_kind(c, &c->to, /* ret_mode= */ NULL, /* ret_mtime= */ NULL);
    if (to_kind < 0 && to_kind != -SMX_E_FILE_NOT_FOUND)
        return to_kind;
    if (kind == 1 && to_kind == 0)
        return smx_err_set(
            &c->cli->err, SMX_E_EXISTS, "%s in the sandbox is not a folder", c->to.path);
    if ((to_kind == 1 && !(kind == 1 && c->from.contents)) ||
        (kind == 0 && smx_ends(c->to.path, "/"))) {
        if (!below(&c->to, c->from.path))
            return too_long(c);
    }
    if (!absolute(&c->from) || !absolute(&c->to))
        return too_long(c);
    if (kind == 1)
        return folder_between(c);
    if (same_sandbox(c))
        return copy_within(c->cli, c->to.id, /* folder= */ false, c->from.path, c->to.path);
    return copy_file_between(
        c->cli, c->from.id, c->from.path, mode, c->to.id, c->to.path, &c->progress);
}

int cmd_cp(struct cli *cli)
{
    struct copy c = { .cli = cli, .fd = -1 };
    int r;

    if (!split(cli->pos[0], &c.from) || !split(cli->pos[1], &c.to))
        return cli_usage(cli, "a path is too long");
    if (!c.from.remote && !c.to.remote)
        return cli_usage(cli, "one of the two must be SANDBOX:PATH, the other a path here or -");
    r = cli_connect(cli);
    if (r != 0)
        return r;
    cli_progress_start(&c.progress, "copying", /* total= */ 0);
    c.progress.on = c.progress.on && !cli_flag(cli, "quiet");
    r = c.from.remote && c.to.remote ? copy_between(&c) : c.to.remote ? copy_in(&c) : copy_out(&c);
    cli_progress_end(&c.progress);
    return r < 0 ? cli_fail(cli) : 0;
}
