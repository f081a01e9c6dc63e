/* cmd_runtime.c - status, switch, validate, health, keys. */
#include "cli/cli.h"

#include "base/str.h"
#include "sandmux/keys.h"
#include "sandmux/runtime.h"

static void show_json(const struct cli *cli, const char *json)
{
    if (cli->json)
        cli_out_line(json);
    else
        cli_json_pretty(json);
}

int cmd_status(struct cli *cli)
{
    struct smx_runtime_status *s;
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    if (smx_runtime_status(cli->client, &s, &cli->err) < 0)
        return cli_fail(cli);
    show_json(cli, s->json);
    smx_runtime_status_free(s);
    return 0;
}

int cmd_switch(struct cli *cli)
{
    unsigned flags = (cli_flag(cli, "dry-run") ? SMX_SWITCH_DRY_RUN : 0u) |
                     (cli_flag(cli, "live") ? SMX_SWITCH_LIVE : 0u) |
                     (cli_flag(cli, "force") ? SMX_SWITCH_FORCE : 0u);
    struct smx_runtime_switch *s;
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    if (smx_runtime_switch_with(cli->client, cli->pos[0], flags, &s, &cli->err) < 0)
        return cli_fail(cli);
    if (cli->json)
        cli_out_line(s->json);
    else
        cli_outf("%s\n", s->message ? s->message : cli->pos[0]);
    for (size_t i = 0; i < s->n_warnings; i++)
        cli_note("warning: %s", s->warnings[i]);
    smx_runtime_switch_free(s);
    return 0;
}

int cmd_validate(struct cli *cli)
{
    struct smx_runtime_status *s = NULL;
    const char *name = cli->n_pos > 0 ? cli->pos[0] : NULL;
    char *json = NULL;
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    if (!name && smx_runtime_status(cli->client, &s, &cli->err) < 0)
        return cli_fail(cli);
    if (!name)
        name = s->current;
    r = cli_flag(cli, "live") ? smx_runtime_validate_live(cli->client, name, &json, &cli->err)
                              : smx_runtime_validate(cli->client, name, &json, &cli->err);
    smx_runtime_status_free(s);
    if (r < 0)
        return cli_fail(cli);
    show_json(cli, json);
    smx_text_free(json);
    return r ? CLI_OK : CLI_FAILED;
}

int cmd_health(struct cli *cli)
{
    char *json = NULL;
    int r = cli_connect(cli);

    if (r != 0)
        return r;
    r = smx_runtime_health_of(cli->client, cli->n_pos > 0 ? cli->pos[0] : NULL, &json, &cli->err);
    if (r < 0)
        return cli_fail(cli);
    show_json(cli, json);
    smx_text_free(json);
    return r ? CLI_OK : CLI_FAILED;
}

/* --- keys ---------------------------------------------------------------------------------------
 */

static int keys_create(struct cli *cli)
{
    struct smx_key_list *keys;

    if (cli->n_pos < 2)
        return cli_usage(cli, "keys create needs a NAME");
    if (smx_key_create(cli->client, cli->pos[1], &keys, &cli->err) < 0)
        return cli_fail(cli);
    if (cli->json)
        cli_out_line(keys->json);
    else
        cli_out_line(keys->items[0].key ? keys->items[0].key : "");
    smx_key_list_free(keys);
    return 0;
}

static const char *or_dash(const char *s)
{
    return s ? s : "-";
}

static int keys_list(struct cli *cli)
{
    struct smx_key_list *keys;

    if (smx_key_list(cli->client, &keys, &cli->err) < 0)
        return cli_fail(cli);
    if (cli->json) {
        cli_out_line(keys->json);
    } else {
        cli_outf("%-14s %-20s %-12s %-26s %s\n", "ID", "NAME", "KEY", "CREATED", "LAST USED");
        for (size_t i = 0; i < keys->n; i++) {
            const struct smx_key *k = &keys->items[i];

            cli_outf("%-14s %-20s %-12s %-26s %s\n", k->id, or_dash(k->name), or_dash(k->prefix),
                or_dash(k->created_at), or_dash(k->last_used_at));
        }
    }
    smx_key_list_free(keys);
    return 0;
}

static int keys_revoke(struct cli *cli)
{
    if (cli->n_pos < 2)
        return cli_usage(cli, "keys revoke needs an ID");
    if (smx_key_revoke(cli->client, cli->pos[1], &cli->err) < 0)
        return cli_fail(cli);
    if (cli->json)
        cli_json_pair("revoked", cli->pos[1]);
    return 0;
}

int cmd_keys(struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
    } verbs[] = { { "create", keys_create }, { "ls", keys_list }, { "revoke", keys_revoke } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(verbs); i++) {
        if (smx_streq(cli->pos[0], verbs[i].name)) {
            int r = cli_connect(cli);

            return r != 0 ? r : verbs[i].run(cli);
        }
    }
    return cli_usage(cli, "keys knows create, ls and revoke, not '%s'", cli->pos[0]);
}
