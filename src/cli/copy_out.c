/* copy_out.c - a folder of a sandbox to here: packed by the sandbox's tar, unpacked by unpack.c. */
#include "cli/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"

int copy_folder_out(struct cli *cli, const char *id, const char *from, const char *to,
    struct cli_progress *progress)
{
    SMX_CLEANUP(smx_closep) int to_fd = -1;
    struct copy_pipe pipe = { 0 };
    struct unpack *u = NULL;
    int r;

    if (mkdir(to, 0755) < 0 && errno != EEXIST)
        return smx_err_errno(&cli->err, errno, "making folder %s", to);
    to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (to_fd < 0)
        return smx_err_errno(&cli->err, errno, "opening folder %s", to);
    r = unpack_new(to_fd, progress, &u, &cli->err);
    if (r < 0)
        return r;
    pipe.data = unpack_data;
    pipe.arg = u;
    r = copy_pipe_start_pack(&pipe, cli, id, from);
    if (r == 0)
        r = copy_pipe_finish(&pipe);
    if (r == 0)
        r = unpack_finish(u, &cli->err);
    copy_pipe_done(&pipe);
    unpack_free(u);
    return r;
}
