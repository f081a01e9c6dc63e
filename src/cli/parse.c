/* parse.c - arguments by the command table. Options may stand anywhere until "--" or, where a
 * command's own arguments follow, until the positional that the table names. Long options may be
 * shortened as long as they stay unique. Borrowed: everything points into argv. */
#include "cli/cli.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"

const struct cli_command *cli_find(const char *name)
{
    for (size_t i = 0; i < cli_commands_n; i++) {
        const struct cli_command *c = &cli_commands[i];

        if (smx_streq(c->name, name) || (c->alias && smx_streq(c->alias, name)))
            return c;
    }
    return NULL;
}

/* --- options ------------------------------------------------------------------------------------
 */

/* The settings that have a flag and matter to the daemon, as options. */
static const struct cli_option *setting_option(size_t want)
{
    static struct cli_option option;

    for (int key = 0; key < CONFIG_COUNT_; key++) {
        const struct config_setting *s = config_setting((enum config_key)key);

        if (!s->flag || !(s->flags & CONFIG_DAEMON) || want-- > 0)
            continue;
        option = (struct cli_option){ 0, s->flag + 2, "VALUE", s->help };
        if (s->type == CONFIG_BOOL)
            option.arg = NULL;
        return &option;
    }
    return NULL;
}

/* The returned row of a setting is valid until the next call. */
const struct cli_option *cli_option_at(const struct cli_command *command, size_t i)
{
    const struct cli_option *o;

    for (o = command->options; o && o->name; o++)
        if (i-- == 0)
            return o;
    if (command->flags & CLI_SETTINGS) {
        size_t n = 0;

        while (setting_option(n))
            n++;
        if (i < n)
            return setting_option(i);
        i -= n;
    }
    for (o = cli_global_options; o->name; o++)
        if (i-- == 0)
            return o;
    return NULL;
}

static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = SMX_MIN(strlen(b), SMX_ARRAY_LEN(row) - 1);

    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t before = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t replace = before + (a[i - 1] != b[j - 1]);

            before = row[j];
            row[j] = SMX_MIN(replace, SMX_MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[n];
}

const char *cli_nearest(const char *word, const char *(*name)(size_t i), size_t n)
{
    const char *best = NULL;
    size_t least = 3; /* further away is no help */

    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, name(i));

        if (d < least && d < strlen(word)) {
            least = d;
            best = name(i);
        }
    }
    return best;
}

static int unknown_option(struct cli *cli, const char *word)
{
    const char *best = NULL;
    size_t least = 3;

    for (size_t i = 0;; i++) {
        const struct cli_option *o = cli_option_at(cli->command, i);
        size_t d;

        if (!o)
            break;
        d = distance(word, o->name);
        if (d < least) {
            least = d;
            best = o->name;
        }
    }
    if (best)
        return cli_usage(cli, "unknown option --%s; did you mean --%s?", word, best);
    return cli_usage(cli, "unknown option --%s", word);
}

/* 1: *ret is the option; 0: there is none; -1: the word is short for several. */
static int find_long(
    const struct cli_command *command, struct smx_view word, struct cli_option *ret)
{
    int found = 0;

    for (size_t i = 0;; i++) {
        const struct cli_option *o = cli_option_at(command, i);

        if (!o)
            return found > 1 ? -1 : found;
        if (strncmp(o->name, word.p, word.n) != 0)
            continue;
        *ret = *o;
        if (!o->name[word.n])
            return 1;
        found++;
    }
}

static bool find_short(const struct cli_command *command, char letter, struct cli_option *ret)
{
    for (size_t i = 0;; i++) {
        const struct cli_option *o = cli_option_at(command, i);

        if (!o)
            return false;
        *ret = *o;
        if (o->letter == letter)
            return true;
    }
}

static void add_given(struct cli *cli, const char *name, const char *value)
{
    cli->given[cli->n_given++] = (struct cli_given){ name, value };
    if (smx_streq(name, "json"))
        cli->json = true;
}

/* "--name", "--name=value" or "--name value"; uses up *i. */
static int take_long(struct cli *cli, int argc, char **argv, int *i)
{
    const char *word = argv[*i] + 2, *equals = strchr(word, '=');
    struct smx_view name = { word, equals ? (size_t)(equals - word) : strlen(word) };
    struct cli_option o = { 0 };
    int found = find_long(cli->command, name, &o);

    if (found < 0)
        return cli_usage(cli, "--%.*s is short for several options", (int)name.n, name.p);
    if (found == 0) {
        char plain[64];

        smx_view_copy(plain, sizeof plain, name);
        return unknown_option(cli, plain);
    }
    if (!o.arg && equals)
        return cli_usage(cli, "--%s takes no value", o.name);
    if (!o.arg) {
        add_given(cli, o.name, NULL);
        return 0;
    }
    if (!equals && *i + 1 >= argc)
        return cli_usage(cli, "--%s needs a value: %s", o.name, o.arg);
    add_given(cli, o.name, equals ? equals + 1 : argv[++*i]);
    return 0;
}

/* "-it", "-n5" or "-n 5"; uses up *i. */
static int take_short(struct cli *cli, int argc, char **argv, int *i)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        struct cli_option o;

        if (!find_short(cli->command, *p, &o))
            return cli_usage(cli, "unknown option -%c", *p);
        if (!o.arg) {
            add_given(cli, o.name, NULL);
            continue;
        }
        if (p[1])
            add_given(cli, o.name, p + 1);
        else if (*i + 1 < argc)
            add_given(cli, o.name, argv[++*i]);
        else
            return cli_usage(cli, "-%c needs a value: %s", *p, o.arg);
        break;
    }
    return 0;
}

static int check_count(struct cli *cli)
{
    const struct cli_command *c = cli->command;

    if (cli_flag(cli, "help"))
        return 0;
    if (cli->n_pos < c->min)
        return cli_usage(cli, "%s needs %s", c->name, c->args);
    if (cli->n_pos > c->max)
        return cli_usage(cli, "%s takes no argument '%s'", c->name, cli->pos[c->max]);
    return 0;
}

int cli_parse(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
    bool options = true;

    cli->command = command;
    cli->given = smx_alloc_array((size_t)argc * 8 + 8, sizeof *cli->given);
    cli->pos = smx_alloc_array((size_t)argc + 1, sizeof *cli->pos);
    if (!cli->given || !cli->pos) {
        smx_err_oom(&cli->err);
        return cli_fail(cli);
    }
    for (int i = 0; i < argc; i++) {
        bool dash = argv[i][0] == '-' && argv[i][1];
        int r = 0;

        if (options && smx_streq(argv[i], "--"))
            options = false;
        else if (options && dash && argv[i][1] == '-')
            r = take_long(cli, argc, argv, &i);
        else if (options && dash)
            r = take_short(cli, argc, argv, &i);
        else {
            cli->pos[cli->n_pos++] = argv[i];
            if (command->stop && cli->n_pos >= command->stop)
                options = false;
        }
        if (r != 0)
            return r;
    }
    return check_count(cli);
}

void cli_done(struct cli *cli)
{
    smx_client_close(cli->client);
    smx_free(cli->given);
    smx_free(cli->pos);
}

/* --- values -------------------------------------------------------------------------------------
 */

const char *cli_value(const struct cli *cli, const char *name)
{
    for (size_t i = cli->n_given; i > 0; i--)
        if (smx_streq(cli->given[i - 1].name, name))
            return cli->given[i - 1].value;
    return NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->n_given; i++)
        if (smx_streq(cli->given[i].name, name))
            return true;
    return false;
}

const char *cli_next(const struct cli *cli, const char *name, size_t *i)
{
    while (*i < cli->n_given) {
        const struct cli_given *g = &cli->given[(*i)++];

        if (smx_streq(g->name, name))
            return g->value;
    }
    return NULL;
}

bool cli_number(
    struct cli *cli, const char *name, uint64_t max, uint64_t *ret_value, int *ret_status)
{
    const char *text = cli_value(cli, name);

    if (!text)
        return false;
    if (!smx_parse_u64(smx_view_of(text), max, ret_value)) {
        *ret_status = cli_usage(cli, "--%s must be a number from 0 to %llu, not '%s'", name,
            (unsigned long long)max, text);
        return false;
    }
    return true;
}

bool cli_duration_ms(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
        { "d", 86400000 } };
    size_t whole = strspn(text, "0123456789");
    size_t fraction = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
    const char *unit = text + whole + (text[whole] == '.' ? 1 + fraction : 0);
    uint64_t n, part = 0;

    if (!smx_parse_u64((struct smx_view){ text, whole }, 1000000000, &n) || fraction > 3 ||
        (text[whole] == '.' && fraction == 0))
        return false;
    for (size_t i = 0; i < 3; i++)
        part = part * 10 + (i < fraction ? (uint64_t)(text[whole + 1 + i] - '0') : 0);
    for (size_t i = 0; i < SMX_ARRAY_LEN(units); i++) {
        if (smx_streq(unit, units[i].unit)) {
            *ret_ms = n * units[i].ms + part * units[i].ms / 1000;
            return true;
        }
    }
    return false;
}

/* --- KEY=VALUE ----------------------------------------------------------------------------------
 */

static int add_pair(struct cli *cli, struct cli_pairs *to, const char *what, struct smx_view text)
{
    const char *equals = memchr(text.p, '=', text.n), *ours = NULL;
    char *key = smx_strndup(text.p, text.n);

    if (key && !equals)
        ours = getenv(key);
    if (key && equals != text.p && (equals || ours)) {
        if (equals) {
            key[equals - text.p] = '\0';
            ours = key + (equals - text.p) + 1;
        }
        to->v[to->n++] = (struct smx_pair){ key, ours };
        return 0;
    }
    smx_free(key);
    if (!key) {
        smx_err_oom(&cli->err);
        return cli_fail(cli);
    }
    return cli_usage(cli, /* what was given may be a secret: it is not echoed */
        "%s needs KEY=VALUE, or the KEY of a variable that is set here", what);
}

static int add_lines(struct cli *cli, struct cli_pairs *to, const char *path)
{
    struct smx_buf file;
    char *line;
    int r = 0;

    smx_buf_init(&file, SMX_ENV_BYTES_MAX);
    if (smx_read_file_at(AT_FDCWD, path, &file, &cli->err) < 0) {
        smx_buf_done(&file);
        return cli_fail(cli);
    }
    for (line = file.data; r == 0 && line && *line;) {
        size_t n = strcspn(line, "\n");
        size_t text = n > 0 && line[n - 1] == '\r' ? n - 1 : n;

        if (to->n >= SMX_ENV_ENTRIES_MAX)
            r = cli_usage(cli, "%s has more than %d entries", path, SMX_ENV_ENTRIES_MAX);
        else if (text > 0 && line[0] != '#')
            r = add_pair(cli, to, path, (struct smx_view){ line, text });
        line += n + (line[n] == '\n');
    }
    smx_buf_done(&file);
    return r;
}

int cli_pairs(struct cli *cli, const char *option, const char *file_option, struct cli_pairs *ret)
{
    const char *text, *path = file_option ? cli_value(cli, file_option) : NULL;
    char what[32];
    size_t i = 0;
    int r = 0;

    *ret = (struct cli_pairs){ 0 };
    ret->v = smx_alloc_array(cli->n_given + SMX_ENV_ENTRIES_MAX + 1, sizeof *ret->v);
    if (!ret->v) {
        smx_err_oom(&cli->err);
        return cli_fail(cli);
    }
    snprintf(what, sizeof what, "--%s", option);
    if (path)
        r = add_lines(cli, ret, path);
    while (r == 0 && (text = cli_next(cli, option, &i)))
        r = add_pair(cli, ret, what, smx_view_of(text));
    if (r != 0)
        cli_pairs_free(ret);
    return r;
}

void cli_pairs_free(struct cli_pairs *pairs)
{
    for (size_t i = 0; i < pairs->n; i++)
        smx_free((char *)(uintptr_t)pairs->v[i].key);
    smx_free(pairs->v);
    *pairs = (struct cli_pairs){ 0 };
}
