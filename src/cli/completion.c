/* completion.c - completion scripts from the command table. Names of sandboxes are asked for when
 * they are needed, and only from a daemon that runs. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/str.h"

#define IDS "$(sandmux ps -q --no-start 2>/dev/null)"

static bool takes_sandbox(const struct cli_command *c)
{
    return strstr(c->args, "SANDBOX") != NULL || smx_streq(c->name, "cp");
}

/* "run create exec ..." */
static void names(void)
{
    for (size_t i = 0; i < cli_commands_n; i++)
        if (!(cli_commands[i].flags & CLI_HIDDEN))
            cli_outf("%s%s", i ? " " : "", cli_commands[i].name);
}

static void options(const struct cli_command *c)
{
    for (size_t i = 0;; i++) {
        const struct cli_option *o = cli_option_at(c, i);

        if (!o)
            return;
        cli_outf("%s--%s", i ? " " : "", o->name);
    }
}

/* What may stand where a command's argument does, as words of the shell. */
static void words(const struct cli_command *c)
{
    if (takes_sandbox(c))
        cli_outf("%s", IDS);
    else if (smx_streq(c->name, "help"))
        names();
    else if (smx_streq(c->name, "completion"))
        cli_outf("bash zsh fish");
    else if (smx_streq(c->name, "keys"))
        cli_outf("create ls revoke");
    else if (smx_streq(c->name, "switch") || smx_streq(c->name, "validate"))
        cli_outf("daytona e2b local");
}

static void bash(void)
{
    cli_outf("_sandmux() {\n"
             "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
             "    COMPREPLY=()\n"
             "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
             "        words='");
    names();
    cli_outf("'\n    else\n        case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < cli_commands_n; i++) {
        const struct cli_command *c = &cli_commands[i];

        if (c->flags & CLI_HIDDEN)
            continue;
        cli_outf("        %s%s%s) case $cur in -*) words='", c->name, c->alias ? "|" : "",
            c->alias ? c->alias : "");
        options(c);
        cli_outf("';; *) words=\"");
        words(c);
        cli_outf("\";; esac;;\n");
    }
    cli_outf("        esac\n    fi\n"
             "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
             "}\n"
             "complete -o default -F _sandmux sandmux\n");
}

/* Text within single quotes of zsh and fish; brackets and colons mean something to _arguments. */
static void quoted(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            cli_outf("'\\''");
        else if (strchr("[]:", *text))
            cli_outf("\\%c", *text);
        else
            cli_out(text, 1);
    }
}

static void zsh(void)
{
    cli_outf("#compdef sandmux\n_sandmux() {\n    local -a commands ids\n"
             "    if (( CURRENT == 2 )); then\n        commands=(\n");
    for (size_t i = 0; i < cli_commands_n; i++) {
        if (cli_commands[i].flags & CLI_HIDDEN)
            continue;
        cli_outf("            '%s:", cli_commands[i].name);
        quoted(cli_commands[i].summary);
        cli_outf("'\n");
    }
    cli_outf("        )\n        _describe command commands\n        return\n    fi\n"
             "    case $words[2] in\n");
    for (size_t i = 0; i < cli_commands_n; i++) {
        const struct cli_command *c = &cli_commands[i];

        if (c->flags & CLI_HIDDEN)
            continue;
        cli_outf("    %s%s%s) if [[ $PREFIX == -* ]]; then compadd -- ", c->name,
            c->alias ? "|" : "", c->alias ? c->alias : "");
        options(c);
        cli_outf("; else ids=(");
        words(c);
        cli_outf("); compadd -a ids; _files; fi;;\n");
    }
    cli_outf("    esac\n}\nif [ \"$funcstack[1]\" = _sandmux ]; then _sandmux; "
             "else compdef _sandmux sandmux; fi\n");
}

/* fish takes backslashes literally within single quotes, except before quote and backslash. */
static void fish_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            cli_out("\\", 1);
        cli_out(text, 1);
    }
}

static void fish_options(const struct cli_command *c)
{
    for (size_t i = 0;; i++) {
        const struct cli_option *o = cli_option_at(c, i);

        if (!o)
            return;
        cli_outf("complete -c sandmux -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
        if (o->letter)
            cli_outf(" -s %c", o->letter);
        cli_outf("%s -d '", o->arg ? " -r" : "");
        fish_text(o->help);
        cli_outf("'\n");
    }
}

static void fish(void)
{
    for (size_t i = 0; i < cli_commands_n; i++) {
        const struct cli_command *c = &cli_commands[i];

        if (c->flags & CLI_HIDDEN)
            continue;
        cli_outf("complete -c sandmux -n __fish_use_subcommand -f -a %s -d '", c->name);
        fish_text(c->summary);
        cli_outf("'\n");
        fish_options(c);
        if (takes_sandbox(c))
            cli_outf("complete -c sandmux -n '__fish_seen_subcommand_from %s' -a "
                     "'(sandmux ps -q --no-start 2>/dev/null)'\n",
                c->name);
    }
}

int completion_print(const char *shell)
{
    if (smx_streq(shell, "bash"))
        bash();
    else if (smx_streq(shell, "zsh"))
        zsh();
    else if (smx_streq(shell, "fish"))
        fish();
    else
        return CLI_USAGE;
    return CLI_OK;
}

int cmd_completion(struct cli *cli)
{
    if (completion_print(cli->pos[0]) == CLI_OK)
        return CLI_OK;
    return cli_usage(cli, "completion knows bash, zsh and fish, not '%s'", cli->pos[0]);
}
