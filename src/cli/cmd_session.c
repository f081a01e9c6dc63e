/* cmd_session.c - shell sessions in sandboxes: create, ls, exec, logs, input, rm. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "sandmux/session.h"

enum { INPUT_PIECE = 64 * 1024 };

static int need(struct cli *cli, size_t n, const char *what)
{
    if (cli->n_pos >= n)
        return 0;
    return cli_usage(cli, "session %s needs %s", cli->pos[0], what);
}

static int show_json(const struct cli *cli, char *json)
{
    if (cli->json)
        cli_out_line(json);
    else
        cli_json_pretty(json);
    smx_session_json_free(json);
    return 0;
}

static int session_create(struct cli *cli)
{
    struct smx_session_spec spec = { .user = cli_value(cli, "user"),
        .cwd = cli_value(cli, "workdir"),
        .shell = cli_value(cli, "shell") };
    int created, r = need(cli, 3, "SANDBOX SESSION");

    if (r != 0)
        return r;
    spec.id = cli->pos[2];
    if (smx_session_create(cli->client, cli->pos[1], &spec, &created, &cli->err) < 0)
        return cli_fail(cli);
    if (cli->json)
        cli_json_pair("session", spec.id);
    else
        cli_out_line(spec.id);
    return 0;
}

static int session_ls(struct cli *cli)
{
    char *json;
    int r = need(cli, 2, "SANDBOX");

    if (r != 0)
        return r;
    if (smx_session_list(
            cli->client, cli->pos[1], cli->n_pos > 2 ? cli->pos[2] : NULL, &json, &cli->err) < 0)
        return cli_fail(cli);
    return show_json(cli, json);
}

static int session_rm(struct cli *cli)
{
    int r = need(cli, 3, "SANDBOX SESSION");

    if (r != 0)
        return r;
    if (smx_session_delete(cli->client, cli->pos[1], cli->pos[2], &cli->err) < 0)
        return cli_fail(cli);
    if (cli->json)
        cli_json_pair("deleted", cli->pos[2]);
    return 0;
}

/* --- commands ----------------------------------------------------------------------------------
 */

static int show_output(int stream, const void *data, size_t n, void *arg)
{
    (void)arg;
    if (stream == 1)
        return !cli_out(data, n) || cli_flush() != 0;
    return write(STDERR_FILENO, data, n) < 0 && errno != EAGAIN;
}

/* The words behind the session, joined by spaces, as ssh does: shell text. */
static int join(struct cli *cli, size_t from, struct smx_buf *out)
{
    for (size_t i = from; i < cli->n_pos; i++) {
        if (i > from)
            smx_buf_append_char(out, ' ');
        smx_buf_append_str(out, cli->pos[i]);
    }
    return smx_buf_check(out, &cli->err);
}

/* --- Ctrl-C ------------------------------------------------------------------------------------
 */

static volatile sig_atomic_t interrupted;

static void note_signal(int signo)
{
    interrupted = signo;
}

static int was_interrupted(void *arg)
{
    (void)arg;
    return interrupted;
}

/* The library ends the command then. A second signal ends us at once. */
static void end_on_signals(struct cli *cli)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = note_signal, .sa_flags = SA_RESETHAND };

    for (size_t i = 0; i < SMX_ARRAY_LEN(signals); i++)
        sigaction(signals[i], &action, /* oldact= */ NULL);
    cli->interrupt = was_interrupted;
}

/* --- running -----------------------------------------------------------------------------------
 */

static int run_async(struct cli *cli, const struct smx_session_exec *spec)
{
    struct smx_session_result *result;

    if (smx_session_exec(cli->client, cli->pos[1], cli->pos[2], spec, &result, &cli->err) < 0)
        return cli_fail(cli);
    cli_out_line(cli->json ? result->json : result->cmd_id);
    smx_session_result_free(result);
    return 0;
}

static int status_of(int exit_code)
{
    return exit_code < 0 ? CLI_OURS : exit_code;
}

static int run_sync(struct cli *cli, const struct smx_session_exec *spec)
{
    struct smx_session_result *result;
    int code, r;

    if (!cli->json) {
        r = smx_session_run(cli->client, cli->pos[1], cli->pos[2], spec, show_output,
            /* arg= */ NULL, &code, &cli->err);
        if (r == -SMX_E_CANCELLED && interrupted)
            return CLI_SIGNAL + interrupted;
        return r < 0 ? cli_fail(cli) : status_of(code);
    }
    r = smx_session_exec(cli->client, cli->pos[1], cli->pos[2], spec, &result, &cli->err);
    if (r == -SMX_E_CANCELLED && interrupted)
        return CLI_SIGNAL + interrupted;
    if (r < 0)
        return cli_fail(cli);
    cli_out_line(result->json);
    code = result->exit_code;
    smx_session_result_free(result);
    return status_of(code);
}

static int session_exec(struct cli *cli)
{
    struct smx_session_exec spec = {
        .cwd = cli_value(cli, "workdir"), .async = cli_flag(cli, "async"), .end_on_cancel = 1
    };
    const char *timeout = cli_value(cli, "timeout");
    struct smx_buf text;
    int r = need(cli, 4, "SANDBOX SESSION COMMAND");

    if (r != 0)
        return r;
    if (timeout && (!cli_duration_ms(timeout, &spec.timeout_ms) || spec.timeout_ms == 0))
        return cli_usage(cli, "--timeout must be a time such as 30, 1.5, 500ms or 10m");
    smx_buf_init(&text, SMX_ARGS_BYTES_MAX);
    if (join(cli, 3, &text) < 0) {
        r = cli_fail(cli);
    } else {
        spec.command = text.data;
        r = spec.async ? run_async(cli, &spec) : run_sync(cli, &spec);
    }
    smx_buf_done(&text);
    return r;
}

static int session_logs(struct cli *cli)
{
    struct smx_session_result *result;
    int code, r = need(cli, 4, "SANDBOX SESSION COMMAND-ID");

    if (r != 0)
        return r;
    if (cli_flag(cli, "follow")) {
        if (smx_session_follow(cli->client, cli->pos[1], cli->pos[2], cli->pos[3], show_output,
                /* arg= */ NULL, &code, &cli->err) < 0)
            return cli_fail(cli);
        return 0;
    }
    if (smx_session_logs(cli->client, cli->pos[1], cli->pos[2], cli->pos[3], &result, &cli->err) <
        0)
        return cli_fail(cli);
    if (cli->json)
        cli_out_line(result->json);
    else
        cli_out(result->output, result->output_bytes);
    smx_session_result_free(result);
    return 0;
}

/* Our stdin to its end. */
static int session_input(struct cli *cli)
{
    static char piece[INPUT_PIECE];
    ssize_t n = 1;
    int r = need(cli, 4, "SANDBOX SESSION COMMAND-ID");

    while (r == 0 && n > 0) {
        do {
            n = read(STDIN_FILENO, piece, sizeof piece);
        } while (n < 0 && errno == EINTR);
        if (smx_session_input(cli->client, cli->pos[1], cli->pos[2], cli->pos[3], piece,
                n > 0 ? (size_t)n : 0, /* eof= */ n <= 0, &cli->err) < 0)
            r = cli_fail(cli);
    }
    return r;
}

int cmd_session(struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
    } verbs[] = { { "create", session_create }, { "ls", session_ls }, { "exec", session_exec },
        { "logs", session_logs }, { "input", session_input }, { "rm", session_rm } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(verbs); i++) {
        if (smx_streq(cli->pos[0], verbs[i].name)) {
            int r;

            if (verbs[i].run == session_exec && !cli_flag(cli, "async"))
                end_on_signals(cli);
            r = cli_connect(cli);

            return r != 0 ? r : verbs[i].run(cli);
        }
    }
    return cli_usage(
        cli, "session knows create, ls, exec, logs, input and rm, not '%s'", cli->pos[0]);
}
