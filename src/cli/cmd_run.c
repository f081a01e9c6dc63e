/* cmd_run.c - run: create, exec, delete. The sandbox is deleted on every way out that a process can
 * see: signals are held back from before the create until it is gone. A second Ctrl-C while the
 * daemon is still creating ends us at once; the sandbox then ends by its lifetime. */
#include "cli/create.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void note_signal(int signo)
{
    static const char text[] =
        "sandmux: waiting for the sandbox, to delete it; once more to leave\n";

    if (interrupted)
        _exit(CLI_SIGNAL + signo);
    interrupted = signo;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        return;
}

static void hold_signals(bool on)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = on ? note_signal : SIG_DFL };

    for (size_t i = 0; i < SMX_ARRAY_LEN(signals); i++)
        sigaction(signals[i], &action, /* oldact= */ NULL);
}

static int finish(struct cli *cli, const char *id, int status)
{
    struct smx_err err = { 0 };
    int r;

    if (cli_flag(cli, "keep")) {
        cli_note("sandbox: %s", id);
        return status;
    }
    cli_wait_start("deleting the sandbox");
    r = smx_sandbox_delete(cli->client, id, /* missing_ok= */ 1, &err);
    cli_wait_end();
    if (r < 0) {
        cli_note("sandmux: deleting sandbox %s: %s", id, err.msg);
        return status == 0 ? CLI_OURS : status;
    }
    return status;
}

int cmd_run(struct cli *cli)
{
    bool tty = cli_flag(cli, "tty") || (!cli->json && !cli_flag(cli, "no-stdin") &&
                                           isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
    struct smx_sandbox *sandbox = NULL;
    int status;

    hold_signals(true);
    status = create_sandbox(cli, &sandbox);
    if (status != 0)
        return interrupted ? CLI_SIGNAL + interrupted : status;
    status = interrupted ? CLI_SIGNAL + interrupted
                         : exec_in(cli, sandbox->id, (const char *const *)cli->pos, tty);
    interrupted = 0;
    status = finish(cli, sandbox->id, status);
    smx_sandbox_free(sandbox);
    hold_signals(false);
    return status;
}
