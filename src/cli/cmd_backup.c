/* cmd_backup.c - backup and restore: a sandbox's files as a tar file, or through a pipe. A file is
 * complete or not there: it is written beside its place and moved. And migrate, which the daemon
 * does by itself. */
#include "cli/create.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "sandmux/archive.h"

struct transfer {
    struct cli_progress progress;
    int fd;
    int error; /* errno of our side */
};

/* --- backup ------------------------------------------------------------------------------------
 */

static int to_file(const void *data, size_t n, void *arg)
{
    struct transfer *t = arg;

    t->error = -smx_write_full(t->fd, data, n);
    if (t->error)
        return 1;
    cli_progress_add(&t->progress, n);
    return 0;
}

static int report(struct cli *cli, const struct transfer *t, const char *name)
{
    if (t->error)
        smx_err_set(&cli->err, SMX_E_IO, "%s: %s", name, strerror(t->error));
    return cli_fail(cli);
}

static int save(struct cli *cli, int fd, const char *name)
{
    struct transfer t = { .fd = fd };
    int r;

    cli_progress_start(&t.progress, "saving", /* total= */ 0);
    t.progress.on = t.progress.on && !cli_flag(cli, "quiet");
    r = smx_archive_save(cli->client, cli->pos[0], cli_value(cli, "path"), to_file, &t, &cli->err);
    cli_progress_end(&t.progress);
    return r == 0 ? 0 : report(cli, &t, name);
}

/* Its own name, no link followed: the moment of the move is the moment it is whole. */
static int save_to(struct cli *cli, const char *name)
{
    SMX_CLEANUP(smx_freep) char *part = smx_asprintf("%s.part", name);
    int fd, r;

    if (!part) {
        smx_err_oom(&cli->err);
        return cli_fail(cli);
    }
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        smx_err_errno(&cli->err, errno, "%s", part);
        return cli_fail(cli);
    }
    r = save(cli, fd, name);
    if (r == 0 && (fsync(fd) < 0 || rename(part, name) < 0)) {
        smx_err_errno(&cli->err, errno, "%s", name);
        r = cli_fail(cli);
    }
    smx_close(fd);
    if (r != 0)
        unlink(part);
    else if (cli->json)
        cli_json_pair("file", name);
    else if (!cli_flag(cli, "quiet"))
        cli_out_line(name);
    return r;
}

int cmd_backup(struct cli *cli)
{
    const char *name = cli_value(cli, "output");
    SMX_CLEANUP(smx_freep) char *own = NULL;
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    if (name && smx_streq(name, "-")) {
        if (isatty(STDOUT_FILENO))
            return cli_usage(cli, "a tar stream is not for a terminal; give '-o FILE' or a pipe");
        return save(cli, STDOUT_FILENO, "stdout");
    }
    if (!name) {
        own = smx_asprintf("%s.tar", cli->pos[0]);
        if (!own) {
            smx_err_oom(&cli->err);
            return cli_fail(cli);
        }
        name = own;
    }
    return save_to(cli, name);
}

/* --- restore -----------------------------------------------------------------------------------
 */

static ssize_t from_file(void *data, size_t room, void *arg)
{
    struct transfer *t = arg;
    ssize_t n;

    do {
        n = read(t->fd, data, room);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        t->error = errno;
    else
        cli_progress_add(&t->progress, (uint64_t)n);
    return n;
}

static int load(struct cli *cli, const char *sandbox, int fd, const char *name)
{
    struct transfer t = { .fd = fd };
    struct stat st;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    int r;

    cli_progress_start(&t.progress, "restoring", regular ? (uint64_t)st.st_size : 0);
    t.progress.on = t.progress.on && !cli_flag(cli, "quiet");
    r = smx_archive_load(cli->client, sandbox,
        regular ? (uint64_t)st.st_size : SMX_FILE_SIZE_UNKNOWN, from_file, &t, &cli->err);
    cli_progress_end(&t.progress);
    return r == 0 ? 0 : report(cli, &t, name);
}

/* A sandbox that was made for the files and did not get them goes again. */
static int load_new(struct cli *cli, int fd, const char *name)
{
    struct smx_sandbox *sandbox;
    int r = create_sandbox(cli, &sandbox);

    if (r != 0)
        return r;
    r = load(cli, sandbox->id, fd, name);
    if (r != 0)
        smx_sandbox_delete(cli->client, sandbox->id, /* missing_ok= */ 1, /* err= */ NULL);
    else if (cli->json)
        cli_json_pair("id", sandbox->id);
    else
        cli_out_line(sandbox->id);
    smx_sandbox_free(sandbox);
    return r;
}

int cmd_restore(struct cli *cli)
{
    const char *name = cli->pos[0];
    int fd, r = cli_connect(cli);

    if (r != 0)
        return r;
    fd = smx_streq(name, "-") ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        smx_err_errno(&cli->err, errno, "%s", name);
        return cli_fail(cli);
    }
    r = cli->n_pos > 1 ? load(cli, cli->pos[1], fd, name) : load_new(cli, fd, name);
    if (fd != STDIN_FILENO)
        smx_close(fd);
    return r;
}

/* --- migrate -----------------------------------------------------------------------------------
 */

int cmd_migrate(struct cli *cli)
{
    const char *to = cli_value(cli, "to");
    struct smx_sandbox *sandbox;
    int r;

    if (!to)
        return cli_usage(cli, "migrate needs --to RUNTIME");
    r = cli_connect(cli);
    if (r != 0)
        return r;
    cli_wait_start("moving the sandbox");
    r = smx_sandbox_migrate(
        cli->client, cli->pos[0], to, cli_value(cli, "template"), &sandbox, &cli->err);
    cli_wait_end();
    if (r < 0)
        return cli_fail(cli);
    if (cli->json)
        cli_out_line(sandbox->json);
    else
        cli_outf("%s is on %s\n", sandbox->id, sandbox->runtime ? sandbox->runtime : to);
    smx_sandbox_free(sandbox);
    return 0;
}
