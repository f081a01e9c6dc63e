/* cmd_sandboxes.c - ps, inspect, rm, and the changes of state that take a list of sandboxes. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"
#include "sandmux/sandbox.h"

enum { COLUMNS = 7, CELL = 32 };

/* --- ps -----------------------------------------------------------------------------------------
 */

static void print_json(const struct cli_listing *l)
{
    bool comma = false;

    cli_outf("{\"items\":[");
    for (size_t p = 0; p < l->n_pages; p++) {
        for (size_t i = 0; i < l->pages[p]->n; i++) {
            if (comma)
                cli_out(",", 1);
            comma = true;
            cli_out(l->pages[p]->items[i]->json, strlen(l->pages[p]->items[i]->json));
        }
    }
    cli_out_line("],\"next_cursor\":null}");
}

/* Ages need room of their own: two a row. */
static void fill_row(const char **cells, char (*ages)[CELL], const struct smx_sandbox *sb)
{
    cli_age(sb->created_at, ages[0], CELL);
    cli_age(sb->expires_at, ages[1], CELL);
    cells[0] = sb->id;
    cells[1] = sb->name ? sb->name : "-";
    cells[2] = sb->state;
    cells[3] = sb->runtime ? sb->runtime : "-";
    cells[4] = sb->template_name ? sb->template_name : "-";
    cells[5] = ages[0];
    cells[6] = ages[1];
}

static int print_table(struct cli *cli, const struct cli_listing *l)
{
    static const char *const heading[COLUMNS] = { "ID", "NAME", "STATE", "RUNTIME", "TEMPLATE",
        "AGE", "ENDS IN" };
    const char **cells = smx_alloc_array((l->n + 1) * COLUMNS, sizeof *cells);
    char(*ages)[CELL] = smx_alloc_array(2 * l->n + 1, CELL);
    size_t row = 1;

    if (!cells || !ages) {
        smx_free(cells);
        smx_free(ages);
        smx_err_oom(&cli->err);
        return cli_fail(cli);
    }
    memcpy(cells, heading, sizeof heading);
    for (size_t p = 0; p < l->n_pages; p++)
        for (size_t i = 0; i < l->pages[p]->n; i++, row++)
            fill_row(&cells[row * COLUMNS], &ages[2 * (row - 1)], l->pages[p]->items[i]);
    cli_table(cells, l->n + 1, COLUMNS);
    smx_free(cells);
    smx_free(ages);
    return 0;
}

static void print_ids(const struct cli_listing *l)
{
    for (size_t p = 0; p < l->n_pages; p++)
        for (size_t i = 0; i < l->pages[p]->n; i++)
            cli_out_line(l->pages[p]->items[i]->id);
}

int cmd_ps(struct cli *cli)
{
    struct smx_sandbox_filter filter = { .state = cli_value(cli, "state"),
        .runtime = cli_value(cli, "runtime"),
        .project_id = cli_value(cli, "project") };
    struct cli_listing l = { 0 };
    int r = cli_list(cli, &filter, &l);

    if (r != 0)
        return r;
    if (cli->json)
        print_json(&l);
    else if (cli_flag(cli, "quiet"))
        print_ids(&l);
    else
        r = print_table(cli, &l);
    cli_listing_free(&l);
    return r;
}

/* --- one at a time ------------------------------------------------------------------------------
 */

static int inspect_one(struct cli *cli, const char *id)
{
    struct smx_sandbox *sb;
    int r = smx_sandbox_get(cli->client, id, &sb, &cli->err);

    if (r < 0)
        return r;
    if (cli->json)
        cli_out_line(sb->json);
    else
        cli_json_pretty(sb->json);
    smx_sandbox_free(sb);
    return 0;
}

int cmd_inspect(struct cli *cli)
{
    return cli_each(cli, inspect_one);
}

typedef int(move_fn)(
    struct smx_client *client, const char *id, struct smx_sandbox **ret, struct smx_err *err);

static int move_one(struct cli *cli, const char *id, move_fn *fn)
{
    struct smx_sandbox *sb;
    int r = fn(cli->client, id, &sb, &cli->err);

    if (r < 0)
        return r;
    cli_out_line(cli->json ? sb->json : id);
    smx_sandbox_free(sb);
    return 0;
}

static int start_one(struct cli *cli, const char *id)
{
    return move_one(cli, id, smx_sandbox_start);
}

static int stop_one(struct cli *cli, const char *id)
{
    return move_one(cli, id, smx_sandbox_stop);
}

static int pause_one(struct cli *cli, const char *id)
{
    return move_one(cli, id, smx_sandbox_pause);
}

static int resume_one(struct cli *cli, const char *id)
{
    return move_one(cli, id, smx_sandbox_resume);
}

int cmd_start(struct cli *cli)
{
    return cli_each(cli, start_one);
}

int cmd_stop(struct cli *cli)
{
    return cli_each(cli, stop_one);
}

int cmd_pause(struct cli *cli)
{
    return cli_each(cli, pause_one);
}

int cmd_resume(struct cli *cli)
{
    return cli_each(cli, resume_one);
}

/* --- rm -----------------------------------------------------------------------------------------
 */

static int rm_one(struct cli *cli, const char *id)
{
    int r = smx_sandbox_delete(cli->client, id, cli_flag(cli, "force"), &cli->err);

    if (r == 0 && cli->json)
        cli_json_pair("deleted", id);
    else if (r == 0 && !cli_flag(cli, "quiet"))
        cli_out_line(id);
    return r;
}

int cli_delete_all(struct cli *cli)
{
    struct smx_sandbox_filter filter = { 0 };
    struct cli_listing l = { 0 };
    int status = cli_list(cli, &filter, &l);

    if (status != 0)
        return status;
    for (size_t p = 0; p < l.n_pages; p++) {
        for (size_t i = 0; i < l.pages[p]->n; i++) {
            const char *id = l.pages[p]->items[i]->id;

            if (smx_sandbox_delete(cli->client, id, /* missing_ok= */ 1, &cli->err) < 0)
                status = cli_fail(cli);
            else if (cli->json)
                cli_json_pair("deleted", id);
            else if (!cli_flag(cli, "quiet"))
                cli_out_line(id);
        }
    }
    cli_listing_free(&l);
    return status;
}

int cmd_rm(struct cli *cli)
{
    if (cli_flag(cli, "all") && cli->n_pos > 0)
        return cli_usage(cli, "give either --all or sandboxes, not both");
    if (cli_flag(cli, "all"))
        return cli_delete_all(cli);
    if (cli->n_pos == 0)
        return cli_usage(cli, "rm needs SANDBOX... or --all");
    return cli_each(cli, rm_one);
}
