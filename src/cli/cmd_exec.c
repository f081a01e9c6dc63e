/* cmd_exec.c - exec, and the running of commands that run shares with it. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "json/json.h"
#include "sandmux/process.h"

/* A pipe, file or socket was meant for us; a terminal or /dev/null only when asked for. */
static bool stdin_wanted(const struct cli *cli)
{
    struct stat st;

    if (cli_flag(cli, "no-stdin"))
        return false;
    if (cli_flag(cli, "interactive"))
        return true;
    return fstat(STDIN_FILENO, &st) == 0 &&
           (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode));
}

static void write_stream(struct json_writer *w, const char *key, const struct smx_buf *b)
{
    const char *data = b->data ? b->data : "";
    bool text = smx_utf8_valid(data, b->len) && !memchr(data, '\0', b->len);
    char name[16];

    snprintf(name, sizeof name, "%s%s", key, text ? "" : "_b64");
    json_key(w, name);
    if (text)
        json_string_n(w, data, b->len);
    else
        json_base64(w, data, b->len);
}

static int print_result(struct cli *cli, const struct stream_result *r, const struct smx_buf *out,
    const struct smx_buf *errors)
{
    struct smx_buf b;
    struct json_writer w;
    int status;

    smx_buf_init(&b, 12 * (size_t)SMX_EXEC_OUTPUT_MAX);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    json_kv_i64(&w, "exit_code", r->exit_code);
    if (r->signal)
        json_kv_i64(&w, "signal", r->signal);
    else
        json_kv_null(&w, "signal");
    write_stream(&w, "stdout", out);
    write_stream(&w, "stderr", errors);
    json_kv_u64(&w, "duration_ms", r->duration_ms);
    json_kv_bool(&w, "timed_out", r->timed_out);
    json_kv_string(&w, "origin", "remote");
    json_object_end(&w);
    status = json_writer_end(&w, &cli->err) < 0 ? cli_fail(cli) : CLI_OK;
    if (status == CLI_OK) {
        cli_out(b.data, b.len);
        cli_out("\n", 1);
    }
    smx_buf_done(&b);
    return status;
}

static int run_json(struct cli *cli, struct smx_process *process, struct stream_options options)
{
    struct smx_buf out, errors;
    struct stream_result result;
    int status;

    smx_buf_init(&out, SMX_EXEC_OUTPUT_MAX);
    smx_buf_init(&errors, SMX_EXEC_OUTPUT_MAX);
    options.out = &out;
    options.errors = &errors;
    status = stream_run(cli, process, &options, &result);
    if (result.ended) {
        int printed = print_result(cli, &result, &out, &errors);

        status = printed == CLI_OK ? status : printed;
    }
    smx_buf_done(&out);
    smx_buf_done(&errors);
    return status;
}

static int start_failed(struct cli *cli)
{
    int status = cli_fail(cli);

    return cli->err.code == SMX_E_FILE_NOT_FOUND ? CLI_NO_COMMAND : status;
}

static int run_spec(struct cli *cli, const char *id, struct smx_exec_spec *spec, bool stdin_open)
{
    struct stream_options options = { .tty = spec->tty, .stdin_open = stdin_open };
    struct smx_process *process = NULL;
    struct stream_result result;
    int status;

    if (spec->tty && !terminal_size(&spec->cols, &spec->rows)) {
        spec->cols = 80;
        spec->rows = 24;
    }
    if (smx_process_start(cli->client, id, spec, &process, &cli->err) < 0)
        return start_failed(cli);
    status =
        cli->json ? run_json(cli, process, options) : stream_run(cli, process, &options, &result);
    smx_process_free(process);
    return status;
}

int exec_in(struct cli *cli, const char *id, const char *const *argv, bool want_tty)
{
    static const char *const shell[] = { "/bin/sh", "-l", NULL };
    const char *timeout = cli_value(cli, "timeout");
    struct smx_exec_spec spec = { .shell = cli_value(cli, "command"),
        .cwd = cli_value(cli, "workdir"),
        .user = cli_value(cli, "user"),
        .tty = want_tty };
    struct cli_pairs env;
    char term[64] = "";
    int r;

    if (spec.shell && argv[0])
        return cli_usage(cli, "give either --command or a command, not both");
    if (timeout && (!cli_duration_ms(timeout, &spec.timeout_ms) || spec.timeout_ms == 0))
        return cli_usage(cli, "--timeout must be a time such as 30, 1.5, 500ms or 10m");
    if (!spec.shell)
        spec.argv = argv[0] ? argv : shell;
    r = cli_pairs(cli, "env", "env-file", &env);
    if (r != 0)
        return r;
    if (want_tty && getenv("TERM") && smx_strcpy(term, sizeof term, getenv("TERM")))
        env.v[env.n++] = (struct smx_pair){ smx_asprintf("TERM"), term };
    spec.env = env.v;
    spec.n_env = env.n;
    r = run_spec(cli, id, &spec, stdin_wanted(cli) || (want_tty && isatty(STDIN_FILENO)));
    cli_pairs_free(&env);
    return r;
}

int cmd_exec(struct cli *cli)
{
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    if (cli->json && cli_flag(cli, "tty"))
        return cli_usage(cli, "--json and --tty do not go together");
    return exec_in(cli, cli->pos[0], (const char *const *)cli->pos + 1, cli_flag(cli, "tty"));
}
