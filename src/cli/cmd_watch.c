/* cmd_watch.c - logs and events. */
#include "cli/cli.h"

#include "base/str.h"
#include "sandmux/events.h"
#include "sandmux/sandbox.h"

enum { QUIET_MS = 500 }; /* without --follow: silence that means "that was all" */

static const char *or_dash(const char *s)
{
    return s ? s : "-";
}

/* Bytes from a sandbox must not drive the terminal. */
static void out_text(const char *s)
{
    for (; *s; s++) {
        char c = ((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f ? '?' : *s;

        cli_out(&c, 1);
    }
}

static int show_line(const struct smx_log_line *line, void *arg)
{
    struct cli *cli = arg;

    if (cli->json) {
        cli_out_line(line->json);
    } else {
        cli_outf("%s %-9s ", or_dash(line->time), or_dash(line->source));
        out_text(line->message ? line->message : "");
        cli_out("\n", 1);
    }
    return cli_flag(cli, "follow") ? cli_flush() : 0;
}

int cmd_logs(struct cli *cli)
{
    uint64_t tail = 0;
    int status = 0, r;

    cli_number(cli, "tail", 1000000, &tail, &status);
    if (status == 0)
        status = cli_connect(cli);
    if (status != 0)
        return status;
    r = smx_sandbox_logs(
        cli->client, cli->pos[0], tail, cli_flag(cli, "follow"), show_line, cli, &cli->err);
    return r < 0 ? cli_fail(cli) : r;
}

static int show_event(const struct smx_event *e, void *arg)
{
    struct cli *cli = arg;

    if (cli->json) {
        cli_out_line(e->json);
    } else {
        cli_outf("%llu %s %-18s", (unsigned long long)e->seq, or_dash(e->time), e->type);
        if (e->sandbox_id)
            cli_outf(" %s", e->sandbox_id);
        if (e->state)
            cli_outf(" %s -> %s", or_dash(e->previous_state), e->state);
        if (e->reason)
            cli_outf(" (%s)", e->reason);
        if (e->detail) {
            cli_out(" ", 1);
            out_text(e->detail);
        }
        cli_out("\n", 1);
    }
    return cli_flush();
}

int cmd_events(struct cli *cli)
{
    uint64_t since = 0, quiet = cli_flag(cli, "follow") ? UINT64_MAX : QUIET_MS;
    int status = 0, r;

    cli_number(cli, "since", UINT64_MAX, &since, &status);
    if (status == 0)
        status = cli_connect(cli);
    if (status != 0)
        return status;
    r = smx_events_follow(cli->client, since, quiet, show_event, cli, &cli->err);
    return r < 0 ? cli_fail(cli) : r;
}
