/* main.c - finds the command, parses, runs, flushes. SIGPIPE is ignored: a reader that has gone is
 * seen by write(). */
#include "cli/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

static const char *command_name(size_t i)
{
    return cli_commands[i].name;
}

static int unknown(struct cli *cli, const char *word)
{
    const char *near = cli_nearest(word, command_name, cli_commands_n);

    if (near)
        return cli_usage(cli, "there is no command '%s'; did you mean '%s'?", word, near);
    return cli_usage(cli, "there is no command '%s'", word);
}

/* Of this program's own lines; serve reads its settings by itself. */
static void set_log_level(const struct cli *cli)
{
    const char *name =
        getenv("SANDMUX_LOG_LEVEL") ? getenv("SANDMUX_LOG_LEVEL") : getenv("LOG_LEVEL");
    enum smx_log_level level = SMX_LOG_WARN;

    if (name)
        smx_log_level_parse(name, &level);
    if (cli_flag(cli, "verbose"))
        level = SMX_LOG_DEBUG;
    smx_log_init("sandmux", level);
}

static int run_command(struct cli *cli, const struct cli_command *c, int argc, char **argv)
{
    int status = cli_parse(cli, c, argc, argv);

    if (status != 0)
        return status;
    if (cli_flag(cli, "help")) {
        help_command(c);
        return CLI_OK;
    }
    set_log_level(cli);
    return c->run(cli);
}

/* How many arguments the global option at the front takes; 0: there is none. */
static int leading_option(int argc, char **argv)
{
    for (const struct cli_option *o = cli_global_options; argc > 0 && o->name; o++) {
        size_t n = strlen(o->name);

        if (o->letter == 'v' && smx_streq(argv[0], "-v"))
            return 1;
        if (o->letter == 'h' || !smx_starts(argv[0], "--") || strncmp(argv[0] + 2, o->name, n) != 0)
            continue;
        if (argv[0][2 + n] == '=' && o->arg)
            return 1;
        if (argv[0][2 + n] == '\0')
            return o->arg && argc > 1 ? 2 : 1;
    }
    return 0;
}

/* Global options may stand before the command, too: the command moves to their front. */
static void put_command_first(int argc, char **argv)
{
    int at = 1, n;
    char *word;

    while ((n = leading_option(argc - at, argv + at)) > 0)
        at += n;
    if (at == 1 || at >= argc)
        return;
    word = argv[at];
    memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv);
    argv[1] = word;
}

/* Before what is wrong was found: the arguments cannot be read yet. */
static bool json_asked(int argc, char **argv)
{
    for (int i = 1; i < argc && !smx_streq(argv[i], "--"); i++)
        if (smx_streq(argv[i], "--json"))
            return true;
    return false;
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";

    cli->json_asked = json_asked(argc, argv);
    if (smx_streq(word, "--help") || smx_streq(word, "-h"))
        word = "help";
    else if (smx_streq(word, "--version") || smx_streq(word, "-V"))
        word = "version";
    else if (word[0] == '-')
        return cli_usage(cli, "a command comes first; '%s' is none", word);
    if (!cli_find(word))
        return unknown(cli, word);
    return run_command(cli, cli_find(word), argc > 2 ? argc - 2 : 0, argv + SMX_MIN(argc, 2));
}

/* A descriptor below 3 that our caller closed would become a socket of ours, and output its bytes.
 */
static void hold_standard_fds(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            (open("/dev/null", O_RDWR | O_CLOEXEC) != fd || fcntl(fd, F_SETFD, 0) < 0))
            _exit(CLI_FAILED);
}

int main(int argc, char **argv)
{
    struct cli cli = { 0 };
    int status, flushed;

    hold_standard_fds();
    signal(SIGPIPE, SIG_IGN);
    put_command_first(argc, argv);
    status = dispatch(&cli, argc, argv);
    flushed = cli_flush();
    cli_done(&cli);
    return status == CLI_OK ? flushed : status;
}
