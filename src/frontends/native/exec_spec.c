/* exec_spec.c - what the forms of exec share: from a request to a provider's process, the lines in
 * the sandbox's log (argv[0] only: arguments may hold secrets), text without broken characters. */
#include "frontends/native/internal.h"

#include "frontends/native/exec.h"

static int check_argv(const struct native_command *c, struct smx_err *err)
{
    size_t bytes = 0;

    if (c->argv.n > SMX_ARGS_MAX)
        return smx_err_set(err, SMX_E_INVALID, "command: more than %d arguments", SMX_ARGS_MAX);
    for (size_t i = 0; i < c->argv.n; i++)
        bytes += strlen(c->argv.v[i]) + 1;
    if (c->shell)
        bytes = strlen(c->shell) + 1;
    if (bytes > SMX_ARGS_BYTES_MAX)
        return smx_err_set(err, SMX_E_INVALID, "command: longer than %d bytes", SMX_ARGS_BYTES_MAX);
    return 0;
}

int native_check_env(const struct json_map *env, struct smx_err *err)
{
    size_t bytes = 0;

    for (size_t i = 0; i < env->n; i++) {
        const char *key = env->v[i].key;

        if (!*key || strchr(key, '='))
            return smx_err_set(
                err, SMX_E_INVALID, "env: a variable's name must not be empty or contain '='");
        bytes += strlen(key) + strlen(env->v[i].value) + 2;
    }
    if (bytes > SMX_ENV_BYTES_MAX)
        return smx_err_set(err, SMX_E_INVALID, "env: more than %d bytes in all", SMX_ENV_BYTES_MAX);
    return 0;
}

static void take_argv(struct native_spec *s)
{
    if (!s->command.shell) {
        s->process.argv = (const char *const *)s->command.argv.v;
        return;
    }
    s->shell_argv[0] = "/bin/sh";
    s->shell_argv[1] = "-c";
    s->shell_argv[2] = s->command.shell;
    s->process.argv = s->shell_argv;
}

int native_spec_make(struct native_spec *s, const char *raw_command, const struct json_map *env,
    double timeout_s, struct smx_err *err)
{
    int r;

    memset(s, 0, sizeof *s);
    r = native_command_decode(raw_command, &s->command, err);
    if (r == 0)
        r = check_argv(&s->command, err);
    if (r == 0)
        r = native_check_env(env, err);
    if (r == 0 && timeout_s < 0)
        r = smx_err_set(err, SMX_E_INVALID, "timeout_s: must not be negative");
    if (r < 0)
        return r;
    take_argv(s);
    s->process.env = env->v;
    s->process.n_env = env->n;
    if (timeout_s > 0) /* at least 1 ms: 0 would mean no limit */
        s->process.timeout_ms = SMX_MAX((uint64_t)(timeout_s * 1000), UINT64_C(1));
    return 0;
}

void native_spec_done(struct native_spec *s)
{
    native_command_done(&s->command);
}

const char *native_spec_program(const struct native_spec *s)
{
    return s->process.argv[0];
}

void native_log_start(struct sandbox *sb, const struct native_spec *s, uint32_t pid)
{
    sandbox_logf(sb, "process %u started: %.200s", pid, native_spec_program(s));
}

void native_log_end(struct sandbox *sb, uint32_t pid, const struct provider_event *end)
{
    sandbox_logf(sb, "process %u ended with code %d%s", pid, end->exit_code,
        end->timed_out ? " (timed out)" : "");
}

/* Bytes of a character that began but is not whole yet; 0 when the end is clean or not UTF-8. */
size_t native_utf8_tail(const unsigned char *p, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = p[n - back];

        if ((c & 0xc0) == 0x80)
            continue;
        if (c >= 0xf0 && c <= 0xf4)
            return back < 4 ? back : 0;
        if (c >= 0xe0)
            return c <= 0xef && back < 3 ? back : 0;
        return c >= 0xc2 && c <= 0xdf && back < 2 ? back : 0;
    }
    return 0;
}

int native_text_line(struct native_text *t, const char *key, const void *data, size_t n, bool end,
    struct smx_buf *out, struct smx_err *err)
{
    struct smx_buf joined;
    size_t tail;

    smx_buf_init(&joined, n + sizeof t->held);
    if (t->n > 0) {
        smx_buf_append(&joined, t->held, t->n);
        smx_buf_append(&joined, data, n);
        data = joined.data;
        n = joined.len;
        if (joined.failed)
            return smx_err_oom(err);
    }
    tail = end ? 0 : native_utf8_tail(data, n);
    if (n > tail)
        native_output_line(out, key, data, n - tail);
    if (tail > 0)
        memcpy(t->held, (const char *)data + n - tail, tail);
    t->n = tail;
    smx_buf_done(&joined);
    return smx_buf_check(out, err);
}
