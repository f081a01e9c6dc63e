/* process.c - processes of the runtime in memory: commands that are played rather than run. A
 * process is its stream; closing the stream ends it. One loop's thread. */
#include "providers/fake/internal.h"

#include <signal.h>

enum { OUTPUT_MAX = 1024 * 1024, LINES_AT_ONCE = 1024 };

struct provider_stream {
    struct provider_handle handle;
    struct smx_list link; /* in vm->processes */
    uint32_t pid;
    char *command;
    bool tty, started, ended, cat, input_closed, timed_out;
    struct smx_buf out;
    size_t given; /* of out, with the last event */
    uint64_t lines, wake_ns, kill_ns;
    int exit_code, signal;
    struct io_event changed;
};

static uint64_t number(const char *s)
{
    uint64_t v = 0;

    return s && smx_parse_u64(smx_view_of(s), UINT32_MAX, &v) ? v : 0;
}

static void print_env(struct provider_stream *s, const struct provider_process_spec *spec)
{
    const char *name = spec->argv[1] ? spec->argv[1] : "";

    for (size_t i = 0; i < spec->n_env; i++)
        if (smx_streq(spec->env[i].key, name))
            smx_buf_append_str(&s->out, spec->env[i].value);
    smx_buf_append_char(&s->out, '\n');
}

static void play(struct provider_stream *s, const struct provider_process_spec *spec)
{
    const char *const *a = spec->argv;

    if (smx_streq(a[0], "echo")) {
        for (size_t i = 1; a[i]; i++)
            smx_buf_appendf(&s->out, "%s%s", i > 1 ? " " : "", a[i]);
        smx_buf_append_char(&s->out, '\n');
    } else if (smx_streq(a[0], "env")) {
        print_env(s, spec);
    } else if (smx_streq(a[0], "cat")) {
        s->cat = true;
        s->input_closed = !spec->stdin_open;
    } else if (smx_streq(a[0], "sleep")) {
        s->wake_ns = smx_deadline_in_ms(number(a[1]) * 1000);
    } else if (smx_streq(a[0], "yes")) {
        s->lines = number(a[1]);
    } else if (smx_streq(a[0], "kill")) {
        s->signal = (int)number(a[1]) & 63;
    } else if (smx_streq(a[0], "exit")) {
        s->exit_code = (int)(number(a[1]) & 0xff);
    } else if (!smx_streq(a[0], "true")) {
        s->exit_code = smx_streq(a[0], "false") ? 1 : 127;
    }
}

int fake_process_start(struct provider_box *box, const struct provider_process_spec *spec,
    struct provider_stream **ret, uint64_t deadline, struct smx_err *err)
{
    struct fake_vm *vm = fake_running(box, deadline, err);
    struct provider_stream *s;

    if (!vm)
        return -(int)err->code;
    if (!spec->argv[0])
        return smx_err_set(err, SMX_E_INVALID, "command: must not be empty");
    if (spec->cwd && !fake_is_directory(vm, spec->cwd))
        return smx_err_set(err, SMX_E_INVALID, "cwd '%.100s' does not exist", spec->cwd);
    if (spec->user && !smx_streq(spec->user, "root") && !smx_streq(spec->user, "user"))
        return smx_err_set(err, SMX_E_INVALID, "user '%.100s' does not exist", spec->user);
    s = smx_alloc(sizeof *s);
    if (!s)
        return smx_err_oom(err);
    s->command = smx_strdup(spec->argv[0]);
    if (!s->command) {
        smx_free(s);
        return smx_err_oom(err);
    }
    s->handle.ops = &fake_provider;
    s->pid = vm->next_pid++;
    s->tty = spec->tty;
    s->kill_ns = spec->timeout_ms ? smx_deadline_in_ms(spec->timeout_ms) : SMX_FOREVER;
    smx_buf_init(&s->out, OUTPUT_MAX);
    io_event_init(&s->changed);
    play(s, spec);
    smx_list_add(&vm->processes, &s->link);
    *ret = s;
    return 0;
}

void fake_process_close(struct provider_stream *s)
{
    smx_list_del(&s->link);
    smx_buf_done(&s->out);
    smx_free(s->command);
    smx_free(s);
}

static int end(struct provider_stream *s, struct provider_event *ret)
{
    s->ended = true;
    smx_list_del(&s->link);
    *ret = (struct provider_event){ .kind = PROVIDER_EVENT_END,
        .pid = s->pid,
        .exit_code = s->signal ? 128 + s->signal : s->exit_code,
        .signal = s->signal,
        .timed_out = s->timed_out,
        .error = s->exit_code == 127 ? "command not found" : NULL };
    return 0;
}

static bool has_output(struct provider_stream *s)
{
    smx_buf_consume(&s->out, s->given);
    s->given = 0;
    for (unsigned i = 0; i < LINES_AT_ONCE && s->lines > 0; i++, s->lines--)
        smx_buf_append_str(&s->out, "y\n");
    return s->out.len > 0;
}

static bool has_ended(struct provider_stream *s)
{
    uint64_t now = smx_now_ns();

    if (now >= s->kill_ns && !s->signal) {
        s->signal = SIGKILL;
        s->timed_out = true;
    }
    return s->signal || (s->cat ? s->input_closed : now >= s->wake_ns);
}

int fake_process_next(
    struct provider_stream *s, struct provider_event *ret, uint64_t deadline, struct smx_err *err)
{
    if (s->ended)
        return smx_err_set(err, SMX_E_CLOSED, "the process has ended");
    if (!s->started) {
        s->started = true;
        *ret = (struct provider_event){ .kind = PROVIDER_EVENT_START, .pid = s->pid };
        return 0;
    }
    while (!has_output(s)) {
        uint64_t until = SMX_MIN(s->kill_ns, s->cat ? SMX_FOREVER : s->wake_ns);
        int r;

        if (has_ended(s))
            return end(s, ret);
        r = io_event_wait(&s->changed, SMX_MIN(until, deadline));
        io_event_clear(&s->changed);
        if (r < 0 && (r != -SMX_E_TIMEOUT || deadline <= until))
            return smx_err_set(err, (enum smx_code) - r, "waiting for output");
    }
    s->given = s->out.len;
    *ret = (struct provider_event){ .kind = s->tty ? PROVIDER_EVENT_PTY : PROVIDER_EVENT_STDOUT,
        .pid = s->pid,
        .data = s->out.data,
        .n = s->out.len };
    return 0;
}

static struct provider_stream *find(
    struct provider_box *box, uint32_t pid, uint64_t deadline, struct smx_err *err)
{
    struct fake_vm *vm = fake_running(box, deadline, err);

    if (!vm)
        return NULL;
    SMX_LIST_FOREACH(it, &vm->processes) {
        struct provider_stream *s = SMX_LIST_ENTRY(it, struct provider_stream, link);

        if (s->pid == pid)
            return s;
    }
    smx_err_set(err, SMX_E_PROCESS_NOT_FOUND, "process with pid %u not found", pid);
    return NULL;
}

int fake_write_stdin(struct provider_box *box, uint32_t pid, bool tty, const void *data, size_t n,
    uint64_t deadline, struct smx_err *err)
{
    struct provider_stream *s = find(box, pid, deadline, err);

    if (!s)
        return -(int)err->code;
    if (!s->cat || s->input_closed)
        return smx_err_set(err, SMX_E_STATE, "the process reads no input");
    if (smx_buf_append(&s->out, data, n) < 0)
        return smx_buf_check(&s->out, err);
    io_event_set(&s->changed);
    return 0;
}

int fake_close_stdin(struct provider_box *box, uint32_t pid, uint64_t deadline, struct smx_err *err)
{
    struct provider_stream *s = find(box, pid, deadline, err);

    if (!s)
        return -(int)err->code;
    s->input_closed = true;
    io_event_set(&s->changed);
    return 0;
}

int fake_resize(struct provider_box *box, uint32_t pid, uint16_t cols, uint16_t rows,
    uint64_t deadline, struct smx_err *err)
{
    struct provider_stream *s = find(box, pid, deadline, err);

    if (!s)
        return -(int)err->code;
    return s->tty ? 0 : smx_err_set(err, SMX_E_INVALID, "the process has no terminal");
}

int fake_signal(
    struct provider_box *box, uint32_t pid, int signo, uint64_t deadline, struct smx_err *err)
{
    struct provider_stream *s = find(box, pid, deadline, err);

    if (!s)
        return -(int)err->code;
    s->signal = signo;
    io_event_set(&s->changed);
    return 0;
}

static int describe(
    const struct provider_stream *s, struct provider_process *ret, struct smx_err *err)
{
    *ret = (struct provider_process){ .pid = s->pid, .argv = smx_alloc_array(2, sizeof(char *)) };
    if (ret->argv)
        ret->argv[0] = smx_strdup(s->command);
    return ret->argv && ret->argv[0] ? 0 : smx_err_oom(err);
}

int fake_processes(struct provider_box *box, struct provider_process_list *ret, uint64_t deadline,
    struct smx_err *err)
{
    struct fake_vm *vm = fake_running(box, deadline, err);
    struct provider_process_list l = { 0 };
    size_t count = 0;
    int r = 0;

    if (!vm)
        return -(int)err->code;
    SMX_LIST_FOREACH(it, &vm->processes)
        count++;
    l.v = smx_alloc_array(count + 1, sizeof *l.v);
    if (!l.v)
        return smx_err_oom(err);
    SMX_LIST_FOREACH(it, &vm->processes)
        if (r == 0)
            r = describe(SMX_LIST_ENTRY(it, struct provider_stream, link), &l.v[l.n++], err);
    if (r < 0) {
        provider_process_list_done(&l);
        return r;
    }
    *ret = l;
    return 0;
}
