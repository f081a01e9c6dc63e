/* copy.h - folders between here and a sandbox, as tar streams through a process in it. */
#ifndef SMX_CLI_COPY_H
#define SMX_CLI_COPY_H

#include "cli/cli.h"
#include "cli/tar.h"
#include "sandmux/process.h"

/* --- copy_pipe.c: a program in the sandbox that takes or gives a stream -------------------------
 */

struct copy_pipe {
    struct cli *cli;
    struct smx_process *process;
    struct smx_buf errors; /* its stderr */
    bool ended;
    int exit_code;
    int (*data)(const void *data, size_t n, void *arg, struct smx_err *err); /* its stdout */
    void *arg;
};
int copy_pipe_start(struct copy_pipe *p, struct cli *cli, const char *id, const char *const *argv);
/* The same with a program that packs a folder to its stdout. */
int copy_pipe_start_pack(struct copy_pipe *p, struct cli *cli, const char *id, const char *folder);
/* What came of it: for who reads the events himself. */
int copy_pipe_take_event(struct copy_pipe *p, const struct smx_process_event *e);
/* Its end was none with 0: why, as an error. */
int copy_pipe_failed(struct copy_pipe *p);
/* Sends all, taking meanwhile what it says. */
int copy_pipe_send(struct copy_pipe *p, const void *data, size_t n);
/* Closes its stdin and waits for its end: an error unless it exited with 0. */
int copy_pipe_finish(struct copy_pipe *p);
void copy_pipe_done(struct copy_pipe *p);

/* All return 0 or a negative code with cli->err set. */
int copy_folder_in(struct cli *cli, const char *from, const char *id, const char *to,
    struct cli_progress *progress);
int copy_folder_out(struct cli *cli, const char *id, const char *from, const char *to,
    struct cli_progress *progress);

int copy_folder_between(struct cli *cli, const char *from_id, const char *from, const char *to_id,
    const char *to, struct cli_progress *progress);
int copy_file_between(struct cli *cli, const char *from_id, const char *from, unsigned mode,
    const char *to_id, const char *to, struct cli_progress *progress);
int copy_within(struct cli *cli, const char *id, bool folder, const char *from, const char *to);

/* --- unpack.c: a tar stream of a stranger into a folder of ours ---------------------------------
 */

struct unpack;
/* to_fd: borrowed folder */
int unpack_new(int to_fd, struct cli_progress *progress, struct unpack **ret, struct smx_err *err);
int unpack_data(const void *data, size_t n, void *unpack, struct smx_err *err);
/* Ends the stream and sets the modes and times of folders. */
int unpack_finish(struct unpack *u, struct smx_err *err);
void unpack_free(struct unpack *u);

#endif
