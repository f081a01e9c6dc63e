/* help.c - the command table as help, manual page and docs/cli.md. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/str.h"

#define USAGE "sandmux COMMAND [OPTION...] [ARGUMENT...]"

static const char exit_text[] =
    "0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 conflict or wrong state, 6 quota or "
    "rate limit, 7 unreachable or timed out. exec and run give the command's own exit status; 124: "
    "it timed out, 125: sandmux failed, 126: it cannot be executed, 127: it is not there, 128 + n: "
    "signal n ended it.";

static const char lookup_text[] =
    "The daemon is looked for at --url or SANDMUX_URL, at the project's socket (the directory of "
    ".env), at the user's and at the system's; when none answers, one is started for the project.";

static void option_names(const struct cli_option *o, char *out, size_t size)
{
    char letter[8] = "";

    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(out, size, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

/* Each line of text behind prefix. */
static void lines(const char *prefix, const char *text, const char *suffix)
{
    while (*text) {
        size_t n = strcspn(text, "\n");

        cli_outf("%s%.*s%s\n", prefix, (int)n, text, suffix);
        text += n + (text[n] == '\n');
    }
}

/* Words wrapped at 78 columns behind an indent. */
static void wrapped(unsigned indent, const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t n = strcspn(text, " ");

        if (column > 0 && column + 1 + n > 78) {
            cli_out("\n", 1);
            column = 0;
        }
        if (column == 0) {
            cli_outf("%*s", (int)indent, "");
            column = indent;
        } else {
            cli_out(" ", 1);
            column++;
        }
        cli_out(text, n);
        column += n;
        text += n + (text[n] == ' ');
    }
    cli_out("\n", 1);
}

/* --- for people ---------------------------------------------------------------------------------
 */

void help_overview(void)
{
    cli_outf("Usage: %s\n\nRuns code in sandboxes.\n\nCommands:\n", USAGE);
    for (size_t i = 0; i < cli_commands_n; i++)
        if (!(cli_commands[i].flags & CLI_HIDDEN))
            cli_outf("  %-11s %s\n", cli_commands[i].name, cli_commands[i].summary);
    cli_outf("\n'sandmux help COMMAND' shows its options and examples.\n");
}

static void help_options(const struct cli_command *c)
{
    cli_outf("\nOptions:\n");
    for (size_t i = 0;; i++) {
        const struct cli_option *o = cli_option_at(c, i);
        char names[80];

        if (!o)
            break;
        option_names(o, names, sizeof names);
        if (strlen(names) < 26) {
            cli_outf("  %-26s %s\n", names, o->help);
        } else {
            cli_outf("  %s\n  %-26s %s\n", names, "", o->help);
        }
    }
}

void help_command(const struct cli_command *c)
{
    cli_outf("Usage: sandmux %s [OPTION...]%s%s\n\n", c->name, *c->args ? " " : "", c->args);
    if (c->alias)
        cli_outf("Alias: %s\n\n", c->alias);
    cli_outf("%c%s.\n", c->summary[0] - 'a' + 'A', c->summary + 1);
    if (c->text) {
        cli_out("\n", 1);
        wrapped(0, c->text);
    }
    help_options(c);
    if (c->examples) {
        cli_outf("\nExamples:\n");
        lines("  ", c->examples, "");
    }
}

/* --- docs/cli.md --------------------------------------------------------------------------------
 */

static void markdown_command(const struct cli_command *c)
{
    cli_outf("## sandmux %s\n\n```\nsandmux %s [OPTION...]%s%s\n```\n\n%c%s.", c->name, c->name,
        *c->args ? " " : "", c->args, c->summary[0] - 'a' + 'A', c->summary + 1);
    if (c->alias)
        cli_outf(" Alias: `%s`.", c->alias);
    if (c->text)
        cli_outf(" %s", c->text);
    cli_outf("\n\n");
    if (c->options || (c->flags & CLI_SETTINGS))
        cli_outf("| option | |\n|---|---|\n");
    for (size_t i = 0;; i++) {
        const struct cli_option *o = cli_option_at(c, i);
        char names[80];

        if (!o || smx_streq(o->name, cli_global_options[0].name))
            break;
        option_names(o, names, sizeof names);
        cli_outf("| `%s` | %s |\n", names, o->help);
    }
    if (c->options || (c->flags & CLI_SETTINGS))
        cli_out("\n", 1);
    if (c->examples) {
        cli_outf("```sh\n");
        lines("", c->examples, "");
        cli_outf("```\n\n");
    }
}

void help_markdown(void)
{
    cli_outf("# The command line\n\nMade by `sandmux help --markdown` from the command table "
             "(`src/cli/table.c`).\n\n```\n%s\n```\n\n",
        USAGE);
    cli_outf("%s\n\nData goes to stdout, everything else to stderr. Every command takes these:\n\n"
             "| option | |\n|---|---|\n",
        lookup_text);
    for (const struct cli_option *o = cli_global_options; o->name; o++) {
        char names[80];

        option_names(o, names, sizeof names);
        cli_outf("| `%s` | %s |\n", names, o->help);
    }
    cli_outf("\n**Exit status.** %s\n\n", exit_text);
    for (size_t i = 0; i < cli_commands_n; i++)
        if (!(cli_commands[i].flags & CLI_HIDDEN))
            markdown_command(&cli_commands[i]);
}

/* --- the manual page ----------------------------------------------------------------------------
 */

/* roff: a dash that is meant as one, no line that starts with a control character. */
static void roff(const char *text)
{
    if (*text == '.' || *text == '\'')
        cli_outf("\\&");
    for (; *text; text++) {
        if (*text == '-')
            cli_outf("\\-");
        else if (*text == '\\')
            cli_outf("\\e");
        else
            cli_out(text, 1);
        if (*text == '\n' && (text[1] == '.' || text[1] == '\''))
            cli_outf("\\&");
    }
    cli_out("\n", 1);
}

static void man_options(const struct cli_command *c)
{
    for (size_t i = 0;; i++) {
        const struct cli_option *o = cli_option_at(c, i);
        char names[80];

        if (!o || smx_streq(o->name, cli_global_options[0].name))
            break;
        option_names(o, names, sizeof names);
        cli_outf(".TP\n.B ");
        roff(names);
        roff(o->help);
    }
}

static void man_command(const struct cli_command *c)
{
    cli_outf(".SS \"sandmux %s [OPTION...]%s%s\"\n", c->name, *c->args ? " " : "", c->args);
    cli_outf("%c", c->summary[0] - 'a' + 'A');
    roff(c->summary + 1);
    if (c->text) {
        cli_outf(".PP\n");
        roff(c->text);
    }
    man_options(c);
    if (c->examples) {
        cli_outf(".PP\n.nf\n");
        roff(c->examples);
        cli_outf(".fi\n");
    }
}

void help_man(void)
{
    cli_outf(".TH SANDMUX 1 \"\" \"sandmux %s\"\n.SH NAME\nsandmux \\- run code in sandboxes\n"
             ".SH SYNOPSIS\n.B sandmux\nCOMMAND [OPTION...] [ARGUMENT...]\n.SH DESCRIPTION\n",
        smx_library_version());
    roff(lookup_text);
    cli_outf(".SH OPTIONS OF EVERY COMMAND\n");
    for (const struct cli_option *o = cli_global_options; o->name; o++) {
        char names[80];

        option_names(o, names, sizeof names);
        cli_outf(".TP\n.B ");
        roff(names);
        roff(o->help);
    }
    cli_outf(".SH COMMANDS\n");
    for (size_t i = 0; i < cli_commands_n; i++)
        if (!(cli_commands[i].flags & CLI_HIDDEN))
            man_command(&cli_commands[i]);
    cli_outf(".SH EXIT STATUS\n");
    roff(exit_text);
}

int cmd_help(struct cli *cli)
{
    const struct cli_command *c = NULL;

    if (cli_flag(cli, "markdown")) {
        help_markdown();
    } else if (cli_flag(cli, "man")) {
        help_man();
    } else if (cli->n_pos == 0) {
        help_overview();
    } else {
        c = cli_find(cli->pos[0]);
        if (!c)
            return cli_usage(cli, "there is no command '%s'", cli->pos[0]);
        help_command(c);
    }
    return 0;
}
