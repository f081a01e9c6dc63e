/* copy_between.c - from one sandbox to another through us: a folder from tar to tar, a file from
 * cat into an upload; nothing is kept here but the piece that is on its way. Within one sandbox its
 * own cp does it, which knows by which names one file goes. */
#include "cli/copy.h"

#include <stdio.h>

#include "base/random.h"
#include "base/str.h"
#include "sandmux/files.h"

enum { PATH_ROOM = 4096 + 32 };

/* --- folders --------------------------------------------------------------------------------- */

struct between {
    struct copy_pipe from, to;
    struct cli_progress *progress;
};

static int hand_on(const void *data, size_t n, void *arg, struct smx_err *err SMX_UNUSED)
{
    struct between *b = arg;

    cli_progress_add(b->progress, n);
    return copy_pipe_send(&b->to, data, n);
}

int copy_folder_between(struct cli *cli, const char *from_id, const char *from, const char *to_id,
    const char *to, struct cli_progress *progress)
{
    const char *const take[] = { "tar", "-xpf", "-", "-C", to, NULL };
    struct between b = { .progress = progress };
    int r;

    b.from.data = hand_on;
    b.from.arg = &b;
    r = copy_pipe_start(&b.to, cli, to_id, take);
    if (r == 0)
        r = copy_pipe_start_pack(&b.from, cli, from_id, from);
    if (r == 0)
        r = copy_pipe_finish(&b.from);
    if (r == 0)
        r = copy_pipe_finish(&b.to);
    copy_pipe_done(&b.from);
    copy_pipe_done(&b.to);
    return r;
}

/* --- files ----------------------------------------------------------------------------------- */

struct source {
    struct copy_pipe pipe;
    struct cli_progress *progress;
    const char *data; /* of the last event, not handed on yet */
    size_t n;
    bool failed; /* cli->err says why */
};

/* 1: there are bytes; 0: the end. */
static int next_piece(struct source *s)
{
    struct copy_pipe *p = &s->pipe;

    while (s->n == 0 && !p->ended) {
        struct smx_process_event e;
        int r = smx_process_next(p->process, UINT64_MAX, &e, &p->cli->err);

        if (r < 0)
            return r;
        if (e.kind == SMX_PROCESS_STDOUT) {
            s->data = e.data;
            s->n = e.bytes;
        } else {
            r = copy_pipe_take_event(p, &e);
            if (r < 0)
                return r;
        }
    }
    if (s->n > 0)
        return 1;
    return p->exit_code == 0 ? 0 : copy_pipe_failed(p);
}

static ssize_t from_process(void *data, size_t room, void *arg)
{
    struct source *s = arg;
    size_t n;
    int r = next_piece(s);

    if (r <= 0) {
        s->failed = r < 0;
        return r;
    }
    n = SMX_MIN(room, s->n);
    memcpy(data, s->data, n);
    s->data += n;
    s->n -= n;
    cli_progress_add(s->progress, n);
    return (ssize_t)n;
}

/* Beside the target and renamed, so that a copy that breaks leaves the old file whole. */
static int write_beside(struct source *s, const char *id, const char *to, unsigned mode)
{
    struct cli *cli = s->pipe.cli;
    struct smx_err err = { 0 };
    char part[PATH_ROOM];
    int r;

    if (snprintf(part, sizeof part, "%s.%08x.part", to, (unsigned)smx_random_u64()) >=
        (int)sizeof part)
        return smx_err_set(&cli->err, SMX_E_TOO_LARGE, "a path is too long");
    r = smx_file_write(
        cli->client, id, part, SMX_FILE_SIZE_UNKNOWN, mode & 0777, from_process, s, &err);
    if (r == 0)
        r = smx_file_move(cli->client, id, part, to, &err);
    if (r < 0)
        smx_file_remove(cli->client, id, part, /* recursive= */ 0, /* err= */ NULL);
    if (r < 0 && !s->failed)
        cli->err = err;
    return r;
}

int copy_file_between(struct cli *cli, const char *from_id, const char *from, unsigned mode,
    const char *to_id, const char *to, struct cli_progress *progress)
{
    const char *const give[] = { "cat", "--", from, NULL };
    struct source s = { .progress = progress };
    int r = copy_pipe_start(&s.pipe, cli, from_id, give);

    if (r == 0) {
        smx_process_close_stdin(s.pipe.process, /* err= */ NULL);
        r = write_beside(&s, to_id, to, mode);
    }
    copy_pipe_done(&s.pipe);
    return r;
}

/* --- within one ------------------------------------------------------------------------------ */

static const char copy_file[] =
    "mkdir -p -- \"$(dirname -- \"$2\")\" && exec cp -p -- \"$1\" \"$2\"";
static const char copy_folder[] = "mkdir -p -- \"$2\" && exec cp -a -- \"$1/.\" \"$2\"";

int copy_within(struct cli *cli, const char *id, bool folder, const char *from, const char *to)
{
    const char *const argv[] = { "/bin/sh", "-c", folder ? copy_folder : copy_file, "sh", from, to,
        NULL };
    struct copy_pipe pipe = { 0 };
    int r = copy_pipe_start(&pipe, cli, id, argv);

    if (r == 0)
        r = copy_pipe_finish(&pipe);
    copy_pipe_done(&pipe);
    return r;
}
