/* stream.c - our stdin, stdout, stderr, signals and window, and a program in a sandbox between
 * them. One thread, one poll loop. Neither side waits for the other: what the program has not taken
 * of our stdin stays here and is dropped when the program ends, so `true` with any stdin ends at
 * once. */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "sandmux/process.h"

enum { IN_SIZE = 256 * 1024 };

struct pump {
    struct cli *cli;
    struct smx_process *process;
    const struct stream_options *options;
    struct stream_result *result;
    char in[IN_SIZE];
    size_t at, n;
    bool in_eof, eof_sent, ended;
    int status;
    int signal_fd;
    sigset_t signals, old_signals;
    int last_signal;
};

static void stop(struct pump *p, int status)
{
    p->status = status;
    p->ended = true;
}

static void fail(struct pump *p)
{
    terminal_restore();
    stop(p, cli_fail(p->cli));
}

/* --- output -------------------------------------------------------------------------------------
 */

static bool put_error_bytes(const void *data, size_t n)
{
    const char *from = data;

    while (n > 0) {
        ssize_t w = write(STDERR_FILENO, from, n);

        if (w > 0) {
            from += w;
            n -= (size_t)w;
        } else if (w < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){ .fd = STDERR_FILENO, .events = POLLOUT }, 1, -1);
        } else if (w == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Our reader has gone: the program learns of it as it would on a pipe of its own. */
static void reader_gone(struct pump *p)
{
    smx_process_signal(p->process, SIGPIPE, /* err= */ NULL);
    stop(p, CLI_SIGNAL + SIGPIPE);
}

static void put_output(struct pump *p, const struct smx_process_event *e)
{
    bool errors = e->kind == SMX_PROCESS_STDERR;
    struct smx_buf *to = errors ? p->options->errors : p->options->out;

    if (to) {
        if (smx_buf_append(to, e->data, e->bytes) < 0) {
            smx_buf_check(to, &p->cli->err);
            fail(p);
        }
    } else if (!(errors ? put_error_bytes(e->data, e->bytes) : cli_out(e->data, e->bytes))) {
        reader_gone(p);
    }
}

static void take_event(struct pump *p, const struct smx_process_event *e)
{
    switch (e->kind) {
    case SMX_PROCESS_STARTED:
        break;
    case SMX_PROCESS_STDOUT:
    case SMX_PROCESS_STDERR:
        put_output(p, e);
        break;
    case SMX_PROCESS_EXITED:
        p->result->ended = true;
        p->result->exit_code = e->exit_code;
        p->result->signal = e->signal;
        p->result->timed_out = e->timed_out;
        p->result->duration_ms = e->duration_ms;
        stop(p, e->timed_out ? CLI_TIMED_OUT : e->exit_code);
        break;
    }
}

static void take_events(struct pump *p)
{
    while (!p->ended) {
        struct smx_process_event e;
        int r = smx_process_next(p->process, /* timeout_ms= */ 0, &e, &p->cli->err);

        if (r == -SMX_E_TIMEOUT)
            break;
        if (r <= 0)
            fail(p);
        else
            take_event(p, &e);
    }
    if (cli_flush() != CLI_OK && !p->ended)
        reader_gone(p);
}

/* --- input --------------------------------------------------------------------------------------
 */

static void read_stdin(struct pump *p)
{
    ssize_t n = read(STDIN_FILENO, p->in, sizeof p->in);

    if (n > 0) {
        p->at = 0;
        p->n = (size_t)n;
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        p->in_eof = true;
    }
}

static void push_stdin(struct pump *p)
{
    if (p->at < p->n) {
        ssize_t n = smx_process_write(
            p->process, p->in + p->at, p->n - p->at, /* timeout_ms= */ 0, /* err= */ NULL);

        if (n < 0) { /* it takes no more; how it ended comes as an event */
            p->in_eof = p->eof_sent = true;
            p->at = p->n;
        } else {
            p->at += (size_t)n;
        }
    }
    if (p->in_eof && p->at == p->n && !p->eof_sent) {
        p->eof_sent = true;
        smx_process_close_stdin(p->process, /* err= */ NULL);
    }
}

/* --- signals and size ---------------------------------------------------------------------------
 */

static void tell_size(struct pump *p)
{
    unsigned cols, rows;

    if (p->options->tty && terminal_size(&cols, &rows))
        smx_process_resize(p->process, cols, rows, /* err= */ NULL);
}

/* Stopped from outside: our shell gets its terminal back meanwhile. */
static void suspend(struct pump *p)
{
    terminal_restore();
    raise(SIGSTOP);
    terminal_raw(/* err= */ NULL);
    tell_size(p);
}

static void take_signal(struct pump *p)
{
    struct signalfd_siginfo info;

    if (read(p->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGWINCH) {
        tell_size(p);
    } else if (info.ssi_signo == SIGTSTP) {
        suspend(p);
    } else if (p->last_signal == (int)info.ssi_signo ||
               (p->options->tty && info.ssi_signo != SIGINT)) {
        stop(p, CLI_SIGNAL + (int)info.ssi_signo); /* insisted on, or our terminal has gone */
    } else {
        p->last_signal = (int)info.ssi_signo;
        smx_process_signal(p->process, (int)info.ssi_signo, /* err= */ NULL);
    }
}

static int open_signals(struct pump *p, bool raw)
{
    static const int always[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

    sigemptyset(&p->signals);
    for (size_t i = 0; i < SMX_ARRAY_LEN(always); i++)
        sigaddset(&p->signals, always[i]);
    if (p->options->tty)
        sigaddset(&p->signals, SIGWINCH);
    if (raw)
        sigaddset(&p->signals, SIGTSTP);
    sigprocmask(SIG_BLOCK, &p->signals, &p->old_signals);
    p->signal_fd = signalfd(-1, &p->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return p->signal_fd < 0 ? smx_err_errno(&p->cli->err, errno, "waiting for signals") : 0;
}

/* --- the loop -----------------------------------------------------------------------------------
 */

static void step(struct pump *p)
{
    struct pollfd f[3] = { { .fd = smx_process_fd(p->process), .events = POLLIN },
        { .fd = p->signal_fd, .events = POLLIN }, { .fd = -1, .events = POLLIN } };

    if (smx_process_wants_write(p->process) || p->at < p->n)
        f[0].events |= POLLOUT;
    if (p->at == p->n && !p->in_eof)
        f[2].fd = STDIN_FILENO;
    if (poll(f, 3, -1) < 0 && errno != EINTR) {
        smx_err_errno(&p->cli->err, errno, "waiting");
        fail(p);
        return;
    }
    if (f[1].revents)
        take_signal(p);
    if (f[2].revents)
        read_stdin(p);
}

int stream_run(struct cli *cli, struct smx_process *process, const struct stream_options *options,
    struct stream_result *ret_result)
{
    struct pump *p = smx_alloc(sizeof *p);
    bool raw = options->tty && options->stdin_open && isatty(STDIN_FILENO);
    int status;

    *ret_result = (struct stream_result){ 0 };
    if (!p) {
        smx_err_oom(&cli->err);
        return cli_fail(cli);
    }
    p->cli = cli;
    p->process = process;
    p->options = options;
    p->result = ret_result;
    p->in_eof = !options->stdin_open;
    p->eof_sent = !options->stdin_open && options->tty; /* a terminal is not typed at: no ^D */
    if (open_signals(p, raw) < 0 || (raw && terminal_raw(&cli->err) < 0))
        fail(p);
    tell_size(p);
    while (!p->ended) {
        push_stdin(p);
        take_events(p);
        if (!p->ended)
            step(p);
    }
    terminal_restore();
    smx_close(p->signal_fd);
    sigprocmask(SIG_SETMASK, &p->old_signals, /* oldset= */ NULL);
    status = p->status;
    smx_free(p);
    return status;
}
