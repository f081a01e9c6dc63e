/* copy_pipe.c - feeds a program in the sandbox or is fed by it. One thread; sending takes in what
 * comes meanwhile, so neither side waits for the other for ever. */
#include "cli/copy.h"

#include <errno.h>
#include <poll.h>

#include "base/str.h"

enum { ERRORS_MAX = 16 * 1024 };

int copy_pipe_start(struct copy_pipe *p, struct cli *cli, const char *id, const char *const *argv)
{
    struct smx_exec_spec spec = { .argv = argv, .cwd = "/", .user = cli_value(cli, "user") };
    int r;

    p->cli = cli;
    smx_buf_init(&p->errors, ERRORS_MAX);
    r = smx_process_start(cli->client, id, &spec, &p->process, &cli->err);
    if (r == -SMX_E_FILE_NOT_FOUND)
        r = smx_err_set(
            &cli->err, SMX_E_UNSUPPORTED, "the sandbox has no 'tar' to copy folders with");
    return r;
}

/* GNU tar keeps fractions of seconds only in pax archives; others do not know the option. */
static const char pack[] = "if tar --version 2>/dev/null | grep -q GNU; then"
                           " exec tar --format=posix -cf - -C \"$1\" .;"
                           " else exec tar -cf - -C \"$1\" .; fi";

int copy_pipe_start_pack(struct copy_pipe *p, struct cli *cli, const char *id, const char *folder)
{
    const char *const argv[] = { "/bin/sh", "-c", pack, "sh", folder, NULL };

    return copy_pipe_start(p, cli, id, argv);
}

int copy_pipe_take_event(struct copy_pipe *p, const struct smx_process_event *e)
{
    switch (e->kind) {
    case SMX_PROCESS_STARTED:
        break;
    case SMX_PROCESS_STDOUT:
        return p->data ? p->data(e->data, e->bytes, p->arg, &p->cli->err) : 0;
    case SMX_PROCESS_STDERR:
        smx_buf_append(&p->errors, e->data, SMX_MIN(e->bytes, ERRORS_MAX - p->errors.len));
        break;
    case SMX_PROCESS_EXITED:
        p->ended = true;
        p->exit_code = e->exit_code;
        break;
    }
    return 0;
}

/* Takes what is there, or waits for one thing. */
static int take(struct copy_pipe *p, uint64_t timeout_ms)
{
    while (!p->ended) {
        struct smx_process_event e;
        int r = smx_process_next(p->process, timeout_ms, &e, &p->cli->err);

        if (r == -SMX_E_TIMEOUT)
            return 0;
        if (r < 0)
            return r;
        r = copy_pipe_take_event(p, &e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The first line of what it said is the reason. */
int copy_pipe_failed(struct copy_pipe *p)
{
    const char *text = p->errors.data ? p->errors.data : "";

    if (p->exit_code == CLI_NO_COMMAND)
        return smx_err_set(
            &p->cli->err, SMX_E_UNSUPPORTED, "the sandbox has no 'tar' to copy folders with");
    return smx_err_set(&p->cli->err, SMX_E_IO, "the sandbox's side of the copy ended with %d: %.*s",
        p->exit_code, (int)strcspn(text, "\r\n"), text);
}

int copy_pipe_send(struct copy_pipe *p, const void *data, size_t n)
{
    const char *from = data;

    while (n > 0 && !p->ended) {
        ssize_t w = smx_process_write(p->process, from, n, /* timeout_ms= */ 0, /* err= */ NULL);
        int r;

        if (w > 0) {
            from += w;
            n -= (size_t)w;
        }
        r = take(p, w < 0 ? UINT64_MAX : 0);
        if (r < 0)
            return r;
        if (w == 0 && !p->ended) {
            struct pollfd f = { .fd = smx_process_fd(p->process), .events = POLLIN | POLLOUT };

            if (poll(&f, 1, -1) < 0 && errno != EINTR)
                return smx_err_errno(&p->cli->err, errno, "waiting");
        }
    }
    return p->ended ? copy_pipe_failed(p) : 0;
}

int copy_pipe_finish(struct copy_pipe *p)
{
    int r;

    smx_process_close_stdin(p->process, /* err= */ NULL);
    r = take(p, UINT64_MAX);
    if (r < 0)
        return r;
    return p->exit_code == 0 ? 0 : copy_pipe_failed(p);
}

void copy_pipe_done(struct copy_pipe *p)
{
    smx_process_free(p->process);
    smx_buf_done(&p->errors);
}
