/* cli.h - the command line program `sandmux`: one table of commands makes the parser, the help, the
 * completion scripts, the manual page and docs/cli.md.
 *
 * Data goes to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 usage, 3 not
 * found, 4 not allowed, 5 conflict or state, 6 quota or rate, 7 unreachable or timed out; exec and
 * run give the command's own, 124 when it timed out, 125 when it is our failure, 126 not
 * executable, 127 not found, 128 + n after signal n. */
#ifndef SMX_CLI_CLI_H
#define SMX_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "sandmux/sandmux.h"

enum {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_DENIED = 4,
    CLI_CONFLICT = 5,
    CLI_QUOTA = 6,
    CLI_UNREACHABLE = 7,
    CLI_TIMED_OUT = 124,
    CLI_OURS = 125,
    CLI_NOT_EXECUTABLE = 126,
    CLI_NO_COMMAND = 127,
    CLI_SIGNAL = 128,
};

struct cli_option {
    char letter;      /* 0: none */
    const char *name; /* without dashes */
    const char *arg;  /* name of its value for people; NULL: a flag */
    const char *help;
};

enum {
    CLI_HIDDEN = 1,
    CLI_SETTINGS = 2, /* takes the daemon's settings as options */
    CLI_EXEC = 4,     /* failures of our own are 125 */
};

struct cli;
struct cli_command {
    const char *name, *alias;
    const char *args; /* "SANDBOX [COMMAND [ARG...]]", or "" */
    const char *summary, *text;
    const struct cli_option *options; /* ends with a NULL name; or NULL */
    const char *examples;             /* a line each */
    int (*run)(struct cli *cli);
    size_t min, max; /* positional arguments; max SIZE_MAX: any number */
    size_t stop; /* options end at the positional of that number (1 is the first); 0: only at -- */
    unsigned flags;
};
extern const struct cli_command cli_commands[];
extern const size_t cli_commands_n;
extern const struct cli_option cli_global_options[]; /* ends with a NULL name */

struct cli_given {
    const char *name, *value; /* value NULL for a flag */
};
struct cli {
    const struct cli_command *command;
    struct cli_given *given;
    size_t n_given;
    char **pos; /* positional arguments, NULL-terminated; borrowed from argv */
    size_t n_pos;
    bool json;
    bool json_asked;             /* --json stands somewhere: a usage error is JSON, too */
    smx_interrupt_fn *interrupt; /* for cli_connect(): ends calls that wait; NULL: nothing does */
    struct smx_client *client;   /* after cli_connect() */
    struct smx_err err;
};

/* --- parse.c ------------------------------------------------------------------------------------
 */

const struct cli_command *cli_find(const char *name);
/* argv behind the command's name. Reports what is wrong itself: 0 or CLI_USAGE. */
int cli_parse(struct cli *cli, const struct cli_command *command, int argc, char **argv);
void cli_done(struct cli *cli);
/* The last value of an option, or NULL. The name has to be in the command's table. */
const char *cli_value(const struct cli *cli, const char *name);
bool cli_flag(const struct cli *cli, const char *name);
/* Each value of a repeated option: *i starts at 0; NULL after the last. */
const char *cli_next(const struct cli *cli, const char *name, size_t *i);
/* A number option: false when it is absent. A bad one ends up in *ret_status. */
bool cli_number(
    struct cli *cli, const char *name, uint64_t max, uint64_t *ret_value, int *ret_status);
/* "30", "1.5", "500ms", "10m", "2h" to milliseconds; false when it is none of these. */
bool cli_duration_ms(const char *text, uint64_t *ret_ms);
/* KEY=VALUE options to pairs, which point into copies that the caller frees with cli_pairs_free().
 */
struct cli_pairs {
    struct smx_pair *v;
    size_t n;
};
int cli_pairs(struct cli *cli, const char *option, const char *file_option, struct cli_pairs *ret);
void cli_pairs_free(struct cli_pairs *pairs);
/* The nearest of the names, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *(*name)(size_t i), size_t n);
/* Options of a command in order: its own, the settings, the global ones. NULL past the last. */
const struct cli_option *cli_option_at(const struct cli_command *command, size_t i);

/* --- output.c -----------------------------------------------------------------------------------
 */

int cli_exit_status(enum smx_code code);
/* Reports cli->err; the exit status that belongs to it. */
int cli_fail(struct cli *cli);
/* Reports a mistake of the user: CLI_USAGE, or 125 for exec and run. */
int cli_usage(struct cli *cli, const char *fmt, ...) SMX_PRINTF(2, 3);
/* A remark on stderr. */
void cli_note(const char *fmt, ...) SMX_PRINTF(1, 2);
/* To stdout; false once stdout broke. All output goes through here. */
bool cli_out(const void *data, size_t n);
bool cli_outf(const char *fmt, ...) SMX_PRINTF(1, 2);
bool cli_out_line(const char *text); /* of any length, and a newline */
/* {"key":"value"} as a line. */
void cli_json_pair(const char *key, const char *value);
int cli_flush(void); /* 0, or CLI_FAILED when output was lost */
/* JSON text, indented for people. */
void cli_json_pretty(const char *json);
/* A table: cells of n rows by columns, the first row is the heading. */
void cli_table(const char *const *cells, size_t rows, size_t columns);
bool cli_color(int fd); /* NO_COLOR, TERM=dumb, CLICOLOR_FORCE */
/* "3 minutes" from an RFC 3339 time until now; "-" for NULL. */
void cli_age(const char *rfc3339, char *out, size_t size);
void cli_bytes(uint64_t n, char *out, size_t size);

/* --- connect.c ----------------------------------------------------------------------------------
 */

/* Connects cli->client; 0, or the exit status of a failure that was reported. */
int cli_connect(struct cli *cli);

/* --- listing.c ----------------------------------------------------------------------------------
 */

struct smx_sandbox_filter;
struct cli_listing {
    struct smx_sandbox_list **pages;
    size_t n_pages, n;
};
/* Connects; all pages: 0, or the exit status of a failure that was reported. */
int cli_list(struct cli *cli, struct smx_sandbox_filter *filter, struct cli_listing *l);
void cli_listing_free(struct cli_listing *l);
/* Connects; fn for each positional argument. Goes on after a failure; the first failure's exit
 * status. */
int cli_each(struct cli *cli, int (*fn)(struct cli *cli, const char *id));

/* --- progress.c ---------------------------------------------------------------------------------
 */

/* Shown on a terminal's stderr once it has taken longer than a second. */
struct cli_progress {
    const char *what;
    uint64_t started_ns, shown_ns, done, total; /* total 0: unknown */
    bool on, visible;
};
void cli_progress_start(struct cli_progress *p, const char *what, uint64_t total);
void cli_progress_add(struct cli_progress *p, uint64_t n);
void cli_progress_end(struct cli_progress *p);

/* Says on a terminal what is waited for, once that has taken a second. */
void cli_wait_start(const char *what);
void cli_wait_end(void);

/* --- terminal.c ---------------------------------------------------------------------------------
 */

/* Raw mode of stdin, put back by terminal_restore(), at exit and on every signal that ends us. */
int terminal_raw(struct smx_err *err);
void terminal_restore(void);
bool terminal_size(unsigned *ret_cols, unsigned *ret_rows);

/* --- stream.c -----------------------------------------------------------------------------------
 */

struct smx_process;
struct stream_options {
    bool tty, stdin_open;
    struct smx_buf *out, *errors; /* where output goes; NULL: to our own stdout and stderr */
};
struct stream_result {
    int exit_code, signal;
    bool ended; /* the program did; else we left */
    bool timed_out;
    uint64_t duration_ms;
};
/* Carries stdin, output, signals and size until the program ends or we have to: our exit status. */
int stream_run(struct cli *cli, struct smx_process *process, const struct stream_options *options,
    struct stream_result *ret_result);
/* exec of what the command line says in the sandbox: our exit status. argv: NULL-terminated. */
int exec_in(struct cli *cli, const char *id, const char *const *argv, bool want_tty);

/* --- help.c, completion.c -----------------------------------------------------------------------
 */

void help_overview(void);
void help_command(const struct cli_command *command);
void help_markdown(void);
void help_man(void);
int completion_print(const char *shell); /* 0 or CLI_USAGE */

/* --- cmd_sandboxes.c -----------------------------------------------------------------------------
 */

/* Deletes every sandbox and prints their ids: our exit status. */
int cli_delete_all(struct cli *cli);

/* --- the commands -------------------------------------------------------------------------------
 */

int cmd_serve(struct cli *cli);
int cmd_shutdown(struct cli *cli);
int cmd_run(struct cli *cli);
int cmd_create(struct cli *cli);
int cmd_ps(struct cli *cli);
int cmd_stats(struct cli *cli);
int cmd_metrics(struct cli *cli);
int cmd_inspect(struct cli *cli);
int cmd_exec(struct cli *cli);
int cmd_cp(struct cli *cli);
int cmd_rm(struct cli *cli);
int cmd_start(struct cli *cli);
int cmd_stop(struct cli *cli);
int cmd_pause(struct cli *cli);
int cmd_resume(struct cli *cli);
int cmd_logs(struct cli *cli);
int cmd_events(struct cli *cli);
int cmd_doctor(struct cli *cli);
int cmd_keys(struct cli *cli);
int cmd_session(struct cli *cli);
int cmd_backup(struct cli *cli);
int cmd_restore(struct cli *cli);
int cmd_migrate(struct cli *cli);
int cmd_config(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_validate(struct cli *cli);
int cmd_health(struct cli *cli);
int cmd_switch(struct cli *cli);
int cmd_env(struct cli *cli);
int cmd_tls(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_completion(struct cli *cli);
int cmd_help(struct cli *cli);

#endif
