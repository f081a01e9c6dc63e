/* cmd_stats.c - stats, metrics: what sandboxes use, and the daemon's own counters. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "sandmux/sandbox.h"

enum { CELL = 48 };

/* "1.0 MiB / 512.0 MiB"; "-" where nothing is known. */
static void of_limit(uint64_t n, uint64_t limit, char out[CELL])
{
    char used[CELL / 3], most[CELL / 3];

    cli_bytes(n, used, sizeof used);
    cli_bytes(limit, most, sizeof most);
    if (limit)
        snprintf(out, CELL, "%s / %s", used, most);
    else
        smx_strcpy(out, CELL, n ? used : "-");
}

static void processes(const struct smx_sandbox_stats *s, char out[CELL])
{
    if (s->pids_limit)
        snprintf(out, CELL, "%llu / %llu", (unsigned long long)s->pids,
            (unsigned long long)s->pids_limit);
    else
        smx_strcpy(out, CELL, "-");
}

static void print_row(const char *id, const char *name, const char *cpu, const char *memory,
    const char *disk, const char *pids)
{
    cli_outf("%-22s %-20s %10s  %-23s %-23s %s\n", id, name, cpu, memory, disk, pids);
}

static int show_row(struct cli *cli, const struct smx_sandbox *sb)
{
    char cpu[CELL], memory[CELL], disk[CELL], pids[CELL];
    struct smx_sandbox_stats s;
    int r = smx_sandbox_stats(cli->client, sb->id, &s, &cli->err);

    if (r < 0)
        return r;
    snprintf(cpu, sizeof cpu, "%.2f s", (double)s.cpu_ms / 1000);
    if (s.brief)
        smx_strcpy(cpu, sizeof cpu, "-");
    of_limit(s.memory_bytes, s.memory_limit_bytes, memory);
    of_limit(s.disk_bytes, s.disk_limit_bytes, disk);
    processes(&s, pids);
    print_row(sb->id, sb->name ? sb->name : "-", cpu, memory, disk, pids);
    return 0;
}

/* The daemon's object with the sandbox's id in front. */
static int show_json(struct cli *cli, const struct smx_sandbox *sb)
{
    struct smx_reply *reply;
    char path[128];
    int r;

    snprintf(path, sizeof path, "/api/sandboxes/%.64s/stats", sb->id);
    r = smx_request(cli->client, "GET", path, /* body= */ NULL, &reply, &cli->err);
    if (r < 0)
        return r;
    r = smx_reply_check(reply, &cli->err);
    if (r == 0) {
        cli_outf("{\"id\":\"%s\",", sb->id);
        cli_out_line(reply->body + strspn(reply->body, "{ "));
    }
    smx_reply_free(reply);
    return r;
}

static int show(struct cli *cli, const struct smx_sandbox *sb)
{
    return cli->json ? show_json(cli, sb) : show_row(cli, sb);
}

static int show_named(struct cli *cli, const char *id)
{
    struct smx_sandbox *sb;
    int r = smx_sandbox_get(cli->client, id, &sb, &cli->err);

    if (r < 0)
        return r;
    r = show(cli, sb);
    smx_sandbox_free(sb);
    return r;
}

/* One that ends while we look is not a failure. */
static int show_page(struct cli *cli, const struct smx_sandbox_list *page)
{
    for (size_t i = 0; i < page->n; i++) {
        int r = show(cli, page->items[i]);

        if (r < 0 && r != -SMX_E_SANDBOX_NOT_FOUND && r != -SMX_E_STATE)
            return cli_fail(cli);
    }
    return 0;
}

static int show_running(struct cli *cli)
{
    struct smx_sandbox_filter filter = { .state = "running" };
    struct cli_listing l = { 0 };
    int r = cli_list(cli, &filter, &l);

    if (r != 0)
        return r;
    for (size_t p = 0; p < l.n_pages && r == 0; p++)
        r = show_page(cli, l.pages[p]);
    cli_listing_free(&l);
    return r;
}

int cmd_stats(struct cli *cli)
{
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    if (!cli->json)
        print_row("ID", "NAME", "CPU TIME", "MEMORY", "DISK", "PROCESSES");
    return cli->n_pos ? cli_each(cli, show_named) : show_running(cli);
}

int cmd_metrics(struct cli *cli)
{
    struct smx_reply *reply;
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    if (smx_request(cli->client, "GET", "/metrics", /* body= */ NULL, &reply, &cli->err) < 0)
        return cli_fail(cli);
    if (smx_reply_check(reply, &cli->err) < 0)
        r = cli_fail(cli);
    else if (cli->json)
        cli_json_pair("metrics", reply->body);
    else
        cli_out(reply->body, reply->bytes);
    smx_reply_free(reply);
    return r;
}
