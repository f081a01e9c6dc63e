/* native.c - the messages that a table cannot say: commands that are text or an array, output
 * lines, signal names. Pure functions, any thread. */
#include "wire/native/native.h"

#include <signal.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

struct command_box {
    char *shell;
    struct json_strings argv;
};

static const struct json_field shell_box_fields[] = {
    { .name = "command",
        .kind = JSON_STRING,
        .offset = offsetof(struct command_box, shell),
        .flags = JSON_REQUIRED,
        .max = SMX_ARGS_BYTES_MAX },
};
static JSON_TABLE(shell_box, command_box);

static const struct json_field argv_box_fields[] = {
    { .name = "command",
        .kind = JSON_STRINGS,
        .offset = offsetof(struct command_box, argv),
        .flags = JSON_REQUIRED,
        .max = SMX_ARGS_MAX },
};
static JSON_TABLE(argv_box, command_box);

static int check_command(const struct native_command *c, struct smx_err *err)
{
    size_t bytes = 0;

    if (c->shell)
        return c->shell[0] ? 0 : smx_err_set(err, SMX_E_INVALID, "command: must not be empty");
    if (c->argv.n == 0 || !c->argv.v[0][0])
        return smx_err_set(err, SMX_E_INVALID, "command: must name a program");
    for (size_t i = 0; i < c->argv.n; i++)
        bytes += strlen(c->argv.v[i]) + 1;
    if (bytes > SMX_ARGS_BYTES_MAX)
        return smx_err_set(
            err, SMX_E_INVALID, "command: is longer than %d bytes", SMX_ARGS_BYTES_MAX);
    return 0;
}

int native_command_decode(const char *raw, struct native_command *ret, struct smx_err *err)
{
    struct native_command c = { 0 };
    struct command_box box = { 0 };
    const struct json_table *table;
    int r;

    if (!raw || (raw[0] != '"' && raw[0] != '['))
        return smx_err_set(err, SMX_E_INVALID, "command: must be a string or an array of strings");
    table = raw[0] == '"' ? &shell_box : &argv_box;
    r = json_decode_field(table->fields, raw, strlen(raw), &box, err);
    if (r < 0)
        return err && smx_starts(err->msg, "command") ? r : smx_err_wrap(err, r, "command");
    c.shell = box.shell;
    c.argv = box.argv;
    r = check_command(&c, err);
    if (r < 0) {
        native_command_done(&c);
        return r;
    }
    *ret = c;
    return 0;
}

void native_command_done(struct native_command *c)
{
    smx_free(c->shell);
    for (size_t i = 0; i < c->argv.n; i++)
        smx_free(c->argv.v[i]);
    smx_free(c->argv.v);
    *c = (struct native_command){ 0 };
}

void native_output_line(struct smx_buf *out, const char *key, const void *data, size_t n)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    if (!memchr(data, 0, n) && smx_utf8_valid(data, n)) {
        json_key(&w, key);
        json_string_n(&w, data, n);
    } else {
        json_key(&w, smx_streq(key, "stdout") ? "stdout_b64" : "stderr_b64");
        json_base64(&w, data, n);
    }
    json_object_end(&w);
    json_writer_end(&w, /* err= */ NULL);
    smx_buf_append_char(out, '\n');
}

int native_signal_parse(const char *s, int *ret, struct smx_err *err)
{
    static const struct {
        const char *name;
        int number;
    } names[] = {
        { "HUP", SIGHUP },
        { "INT", SIGINT },
        { "QUIT", SIGQUIT },
        { "ILL", SIGILL },
        { "TRAP", SIGTRAP },
        { "ABRT", SIGABRT },
        { "BUS", SIGBUS },
        { "FPE", SIGFPE },
        { "KILL", SIGKILL },
        { "USR1", SIGUSR1 },
        { "SEGV", SIGSEGV },
        { "USR2", SIGUSR2 },
        { "PIPE", SIGPIPE },
        { "ALRM", SIGALRM },
        { "TERM", SIGTERM },
        { "CHLD", SIGCHLD },
        { "CONT", SIGCONT },
        { "STOP", SIGSTOP },
        { "TSTP", SIGTSTP },
        { "TTIN", SIGTTIN },
        { "TTOU", SIGTTOU },
        { "URG", SIGURG },
        { "XCPU", SIGXCPU },
        { "XFSZ", SIGXFSZ },
        { "VTALRM", SIGVTALRM },
        { "PROF", SIGPROF },
        { "WINCH", SIGWINCH },
        { "IO", SIGIO },
        { "PWR", SIGPWR },
        { "SYS", SIGSYS },
    };
    const char *bare = smx_starts(s, "SIG") ? s + 3 : s;
    uint64_t n;

    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++) {
        if (smx_streq(bare, names[i].name)) {
            *ret = names[i].number;
            return 0;
        }
    }
    if (!smx_parse_u64(smx_view_of(s), 64, &n) || n == 0)
        return smx_err_set(err, SMX_E_INVALID, "signal: must be a name such as SIGTERM or 1 to 64");
    *ret = (int)n;
    return 0;
}
