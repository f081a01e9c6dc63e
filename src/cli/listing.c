/* listing.c - sandboxes of a command: all that a filter finds, or those that were named. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/mem.h"
#include "sandmux/sandbox.h"

void cli_listing_free(struct cli_listing *l)
{
    for (size_t i = 0; i < l->n_pages; i++)
        smx_sandbox_list_free(l->pages[i]);
    smx_free(l->pages);
}

static int add_page(struct cli *cli, struct cli_listing *l, struct smx_sandbox_filter *filter)
{
    void *pages = smx_realloc(l->pages, (l->n_pages + 1) * sizeof(struct smx_sandbox_list *));
    struct smx_sandbox_list *page;

    if (!pages)
        return smx_err_oom(&cli->err);
    l->pages = pages;
    if (smx_sandbox_list(cli->client, filter, &page, &cli->err) < 0)
        return -1;
    l->pages[l->n_pages++] = page;
    l->n += page->n;
    filter->cursor = page->next_cursor;
    return 0;
}

int cli_list(struct cli *cli, struct smx_sandbox_filter *filter, struct cli_listing *l)
{
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    do {
        if (add_page(cli, l, filter) < 0) {
            cli_listing_free(l);
            return cli_fail(cli);
        }
    } while (filter->cursor);
    return 0;
}

int cli_each(struct cli *cli, int (*fn)(struct cli *cli, const char *id))
{
    int status = cli_connect(cli);

    if (status != 0)
        return status;
    for (size_t i = 0; i < cli->n_pos; i++) {
        char what[80];
        int r;

        snprintf(what, sizeof what, "%s %.63s", cli->command->name, cli->pos[i]);
        cli_wait_start(what);
        r = fn(cli, cli->pos[i]);
        cli_wait_end();
        if (r < 0 && status == 0)
            status = cli_fail(cli);
        else if (r < 0)
            cli_fail(cli);
    }
    return status;
}
