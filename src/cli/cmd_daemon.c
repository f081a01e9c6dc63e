/* cmd_daemon.c - serve, shutdown, config, version. */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "config/config.h"
#include "json/json.h"
#include "sandmux/runtime.h"
#include "supervisor/supervisor.h"

enum { STOP_MS = 30000 };

/* --- serve --------------------------------------------------------------------------------------
 */

/* level: of the log where no setting says one, or NULL */
static int load_config(struct cli *cli, const char *level, struct config **ret)
{
    struct config_input in = { .flags[CONFIG_LOG_LEVEL] = level };

    for (size_t i = 0; i < cli->n_given; i++) {
        char flag[80];
        int key;

        snprintf(flag, sizeof flag, "--%s", cli->given[i].name);
        key = config_flag_find(flag);
        if (key >= 0)
            in.flags[key] = cli->given[i].value ? cli->given[i].value : "true";
    }
    if (config_load(&in, ret, &cli->err) < 0)
        return cli_fail(cli);
    for (size_t i = 0; config_warning(*ret, i); i++)
        cli_note("sandmux: warning: %s", config_warning(*ret, i));
    return 0;
}

/* What a client left beside the socket when it started us (src/client/start.c). */
static void remove_traces(const struct config *config)
{
    static const char *const suffixes[] = { ".lock", ".log" };
    struct config_places places;
    char path[CONFIG_SOCKET_MAX + 8];

    if (config_places(config, /* automatic= */ true, &places, /* err= */ NULL) < 0)
        return;
    for (size_t i = 0; i < SMX_ARRAY_LEN(suffixes); i++) {
        snprintf(path, sizeof path, "%s%s", places.socket, suffixes[i]);
        unlink(path);
    }
}

/* The log of an automatic daemon is a file that nobody looks after: only what is wrong goes there.
 */
static int load_serve(struct cli *cli, bool automatic, struct config **ret)
{
    bool verbose = cli_flag(cli, "verbose") && !cli_value(cli, "log-level");
    int r = load_config(cli, verbose ? "debug" : NULL, ret);

    if (r != 0 || !automatic || config_origin(*ret, CONFIG_LOG_LEVEL) != CONFIG_FALLBACK)
        return r;
    config_free(smx_take(ret));
    return load_config(cli, "warn", ret);
}

int cmd_serve(struct cli *cli)
{
    SMX_CLEANUP(config_freep) struct config *config = NULL;
    struct supervisor_options options = { .automatic = cli_flag(cli, "auto") };
    enum smx_log_level level = SMX_LOG_INFO;
    int r = load_serve(cli, options.automatic, &config);

    if (r != 0)
        return r;
    smx_log_level_parse(config_get(config, CONFIG_LOG_LEVEL), &level);
    smx_log_init("sandmux", level);
    r = supervisor_main(config, &options);
    if (r == 0 && options.automatic)
        remove_traces(config);
    return r;
}

/* --- shutdown -----------------------------------------------------------------------------------
 */

/* Until nobody listens on the socket any more. */
static int wait_for_end(struct cli *cli, const char *url)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    uint64_t deadline_ns = smx_deadline_in_ms(STOP_MS);

    if (!smx_starts(url, "unix:") || !smx_strcpy(addr.sun_path, sizeof addr.sun_path, url + 5))
        return 0;
    while (smx_now_ns() < deadline_ns) {
        SMX_CLEANUP(smx_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0 && errno != EAGAIN)
            return 0;
        poll(NULL, 0, 20);
    }
    smx_err_set(&cli->err, SMX_E_TIMEOUT, "the daemon at %s does not end", url);
    return cli_fail(cli);
}

/* The daemon's word for "no daemon" is a success here: there is nothing left to end. */
static int connect_running(struct cli *cli, bool *ret_running)
{
    struct smx_client_config config = { .url = cli_value(cli, "url"),
        .flags = SMX_CLIENT_NO_START };
    int r = smx_client_open(&config, &cli->client, &cli->err);

    *ret_running = r == 0;
    return r == 0 || r == -SMX_E_UNAVAILABLE ? 0 : cli_fail(cli);
}

int cmd_shutdown(struct cli *cli)
{
    struct smx_reply *reply = NULL;
    bool running;
    int status = connect_running(cli, &running);

    if (status != 0)
        return status;
    if (!running) {
        if (cli->json)
            cli_json_pair("status", "not running");
        else
            cli_note("no daemon is running");
        return 0;
    }
    if (cli_flag(cli, "all"))
        status = cli_delete_all(cli);
    if (status != 0)
        return status;
    if (smx_request(
            cli->client, "POST", "/api/daemon/shutdown", /* body= */ NULL, &reply, &cli->err) < 0)
        return cli_fail(cli);
    if (reply->status >= 400) {
        smx_err_set(&cli->err, reply->status == 403 ? SMX_E_FORBIDDEN : SMX_E_INTERNAL,
            "the daemon at %s refused to end (%d); it ends through its unix socket only",
            smx_client_url(cli->client), reply->status);
        smx_reply_free(reply);
        return cli_fail(cli);
    }
    smx_reply_free(reply);
    status = wait_for_end(cli, smx_client_url(cli->client));
    if (status == 0 && cli->json)
        cli_json_pair("status", "stopped");
    return status;
}

/* --- config -------------------------------------------------------------------------------------
 */

static void config_row(const struct config *config, enum config_key key, bool origin)
{
    const struct config_setting *s = config_setting(key);
    const char *value = config_shown(config, key);
    struct smx_buf from;

    smx_buf_init(&from, 8192);
    config_origin_text(config, key, &from);
    cli_outf("%-20s %-28s", s->name, *value ? value : "-");
    if (origin)
        cli_outf(" %s", from.data ? from.data : "");
    cli_out("\n", 1);
    smx_buf_done(&from);
}

static int config_json(struct cli *cli, const struct config *config)
{
    struct smx_buf b;
    struct json_writer w;
    int r;

    smx_buf_init(&b, 1024 * 1024);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    for (int key = 0; key < CONFIG_COUNT_; key++) {
        const struct config_setting *s = config_setting((enum config_key)key);
        struct smx_buf from;

        smx_buf_init(&from, 8192);
        config_origin_text(config, (enum config_key)key, &from);
        json_key(&w, s->name);
        json_object_begin(&w);
        json_kv_string(&w, "value", config_shown(config, (enum config_key)key));
        json_kv_string(&w, "origin", from.data);
        json_kv_string(&w, "env", s->env);
        json_kv_string(&w, "flag", s->flag);
        json_object_end(&w);
        smx_buf_done(&from);
    }
    json_object_end(&w);
    r = json_writer_end(&w, &cli->err) < 0 ? cli_fail(cli) : 0;
    if (r == 0)
        cli_out_line(b.data);
    smx_buf_done(&b);
    return r;
}

int cmd_config(struct cli *cli)
{
    SMX_CLEANUP(config_freep) struct config *config = NULL;
    int r;

    if (cli->n_pos > 0 && !smx_streq(cli->pos[0], "show"))
        return cli_usage(cli, "config knows 'show', not '%s'", cli->pos[0]);
    r = load_config(cli, /* level= */ NULL, &config);
    if (r != 0)
        return r;
    if (cli->json)
        return config_json(cli, config);
    for (int key = 0; key < CONFIG_COUNT_; key++)
        config_row(config, (enum config_key)key, cli_flag(cli, "origin"));
    return 0;
}

/* --- version ------------------------------------------------------------------------------------
 */

int cmd_version(struct cli *cli)
{
    struct smx_client_config config = { .url = cli_value(cli, "url"),
        .flags = SMX_CLIENT_NO_START };
    char *daemon = NULL;

    /* The daemon's version is a courtesy: none running is no failure. */
    if (smx_client_open(&config, &cli->client, &cli->err) == 0)
        smx_server_version(cli->client, &daemon, /* ret_json= */ NULL, &cli->err);
    if (cli->json) {
        struct smx_buf b;
        struct json_writer w;

        smx_buf_init(&b, 4096);
        json_writer_init(&w, &b);
        json_object_begin(&w);
        json_kv_string(&w, "version", smx_library_version());
        json_kv_string(&w, "daemon", daemon);
        json_object_end(&w);
        if (json_writer_end(&w, /* err= */ NULL) == 0)
            cli_out_line(b.data);
        smx_buf_done(&b);
    } else {
        cli_outf("sandmux %s\n", smx_library_version());
        if (daemon)
            cli_outf("daemon  %s at %s\n", daemon, smx_client_url(cli->client));
    }
    smx_text_free(daemon);
    return 0;
}
