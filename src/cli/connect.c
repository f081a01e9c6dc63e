/* connect.c - the daemon that a command talks to, as its options name it; says what it waits for.
 */
#include "cli/cli.h"

int cli_connect(struct cli *cli)
{
    struct smx_client_config config = { .url = cli_value(cli, "url"),
        .flags = cli_flag(cli, "no-start") ? SMX_CLIENT_NO_START : 0,
        .interrupt = cli->interrupt };
    int r;

    if (cli->client)
        return 0;
    cli_wait_start("connecting to the daemon");
    r = smx_client_open(&config, &cli->client, &cli->err);
    cli_wait_end();
    return r < 0 ? cli_fail(cli) : 0;
}
