/* process.c - life of a command: pipes or terminal, start, output chunks, exit, and the time it is
 * kept for a late Connect. Runs on the loop; on_exit and the timers run outside requests.
 *
 * Who holds an outlet: its io_fd while there are listeners, the drain while there are none, nobody
 * once it came to its end. */
#include "agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/identity.h"
#include "agent/kill.h"
#include "agent/pathname.h"
#include "agent/spawn.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "rpc/rpc.h"

enum {
    PTY_HELD_MAX = 128 * 1024,
    READ_MAX = 2 * SMX_STDOUT_CHUNK,
    INPUT_STEP = 1024 * 1024,
    PIPE_WIDE = 256 * 1024
};

/* Bytes between a read and their encoding; nobody parks in between. */
static char scratch[READ_MAX];

void process_table_init(struct process_table *t)
{
    smx_list_init(&t->running);
    smx_list_init(&t->ended);
    t->nrunning = t->nended = 0;
}

struct process *process_ref(struct process *p)
{
    p->refs++;
    return p;
}

static void outlet_close(struct outlet *o)
{
    io_fd_done(&o->io);
    if (o->drained) {
        drain_forget(o->drained); /* a child may still write: it goes on being read */
        o->drained = NULL;
    }
}

void process_unref(struct process *p)
{
    if (!p || --p->refs > 0)
        return;
    process_close_input(p);
    smx_close(p->terminal);
    for (int i = 0; i < 2; i++)
        outlet_close(&p->out[i]);
    io_timer_disarm(&p->deadline);
    io_timer_disarm(&p->forget);
    smx_buf_done(&p->chunk);
    json_free(&envd_start_request_table, &p->request);
    smx_free(p);
}

/* Only ended ones leave. */
static void leave_table(void *arg)
{
    struct process *p = arg;
    struct process_table *t = &p->agent->processes;

    if (!p->in_table)
        return;
    agent_worked(p->agent);
    p->in_table = false;
    smx_list_del(&p->node);
    t->nended--;
    process_unref(p);
}

static void enter_table(struct process *p)
{
    struct process_table *t = &p->agent->processes;

    smx_list_add(&t->running, &process_ref(p)->node);
    t->nrunning++;
    p->in_table = true;
}

/* From the running to the ended; of these only so many are kept. What it was started with goes,
 * only the tag stays. */
static void keep_ended(struct process *p)
{
    struct process_table *t = &p->agent->processes;
    char *tag = smx_take(&p->request.tag);

    json_free(&envd_start_request_table, &p->request);
    memset(&p->request, 0, sizeof p->request);
    p->request.tag = tag;
    smx_list_del(&p->node);
    t->nrunning--;
    smx_list_add(&t->ended, &p->node);
    t->nended++;
    if (t->nended > SMX_AGENT_ENDED_MAX)
        leave_table(SMX_LIST_ENTRY(t->ended.next, struct process, node));
}

static void wake_all(struct process *p)
{
    SMX_LIST_FOREACH(it, &p->listeners)
        io_event_set(&SMX_LIST_ENTRY(it, struct listener, node)->wake);
}

bool process_leads(const struct listener *l)
{
    return l->process->listeners.next == &l->node;
}

static void wake_leader(struct process *p)
{
    if (!smx_list_empty(&p->listeners))
        io_event_set(&SMX_LIST_ENTRY(p->listeners.next, struct listener, node)->wake);
}

/* --- end --------------------------------------------------------------------------------- */

static bool outlet_done(const struct outlet *o)
{
    return o->io.fd < 0 || (o->bounded && o->left == 0);
}

/* After the exit: what is held now belongs to the process, the rest to children that it left. */
static void outlet_bound(const struct process *p, struct outlet *o)
{
    int held = 0;

    if (o->io.fd < 0)
        return;
    o->bounded = true;
    if (p->pty)
        o->left = PTY_HELD_MAX; /* the line discipline may hold more than it counts */
    else if (ioctl(o->io.fd, FIONREAD, &held) == 0 && held > 0)
        o->left = (uint64_t)held;
}

static void outlet_to_drain(struct process *p, struct outlet *o, struct drain_entry **owner)
{
    int fd = io_fd_take(&o->io);

    if (fd >= 0)
        drain_add(&p->agent->drain, fd, owner);
}

static void check_finished(struct process *p)
{
    if (!p->child.exited || p->finished)
        return;
    if (!smx_list_empty(&p->listeners) && (!outlet_done(&p->out[0]) || !outlet_done(&p->out[1])))
        return;
    p->finished = true;
    for (int i = 0; i < 2; i++) {
        outlet_to_drain(p, &p->out[i], /* owner= */ NULL);
        outlet_close(&p->out[i]);
    }
    process_close_input(p);
    smx_close(smx_take_fd(&p->terminal));
    wake_all(p);
}

static void on_exit_child(struct child *c)
{
    struct process *p = SMX_CONTAINER_OF(c, struct process, child);

    io_timer_disarm(&p->deadline);
    for (int i = 0; i < 2; i++)
        outlet_bound(p, &p->out[i]);
    check_finished(p);
    wake_leader(p);
    keep_ended(p);
    agent_worked(p->agent);
    if (io_timer_arm(&p->forget, p->agent->loop, smx_deadline_in_ms(SMX_EXIT_KEPT_MS)) < 0)
        leave_table(p);
}

void process_status(
    const struct process *p, char text[PROCESS_STATUS_SIZE], int *ret_code, bool *ret_exited)
{
    int status = p->child.status;
    char name[KILL_NAME_SIZE];

    text[0] = '\0';
    *ret_exited = p->child.exited && WIFEXITED(status);
    *ret_code = *ret_exited ? WEXITSTATUS(status) : -1;
    if (*ret_exited) {
        snprintf(text, PROCESS_STATUS_SIZE, "exit status %d", *ret_code);
    } else if (p->child.exited) {
        kill_signal_name(WTERMSIG(status), name);
        snprintf(text, PROCESS_STATUS_SIZE, "signal: %s%s", name,
            WCOREDUMP(status) ? " (core dumped)" : "");
    }
}

/* --- start ------------------------------------------------------------------------------- */

/* The three descriptors that the child gets and those that stay here; all -1 at first. */
struct ends {
    int child[3];
    int in, out[2], terminal;
};

static void ends_done(struct ends *e)
{
    for (int i = 0; i < 3; i++)
        smx_close(e->child[i]);
    smx_close(e->in);
    smx_close(e->out[0]);
    smx_close(e->out[1]);
    smx_close(e->terminal);
}

static int no_descriptors(struct smx_err *err)
{
    smx_err_errno(err, errno, "making the pipes of a process");
    return -SMX_E_NO_MEMORY;
}

static int make_pipes(struct ends *e, bool with_stdin, struct smx_err *err)
{
    int p[2];

    if (e->child[0] >= 0) {
        /* passed */
    } else if (with_stdin) {
        if (pipe2(p, O_CLOEXEC) < 0)
            return no_descriptors(err);
        e->child[0] = p[0];
        e->in = p[1];
    } else {
        e->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (e->child[0] < 0)
            return no_descriptors(err);
    }
    for (int i = 0; i < 2; i++) {
        if (e->child[i + 1] >= 0)
            continue;
        if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
            return no_descriptors(err);
        e->out[i] = p[0];
        e->child[i + 1] = p[1];
        if (fcntl(p[1], F_SETFL, 0) < 0) /* the child's end waits */
            return no_descriptors(err);
    }
    return 0;
}

static struct winsize winsize_of(const struct envd_pty_size *size)
{
    return (struct winsize){ .ws_col = (unsigned short)SMX_MIN(size->cols, UINT16_MAX),
        .ws_row = (unsigned short)SMX_MIN(size->rows, UINT16_MAX) };
}

static int make_terminal(struct ends *e, const struct envd_pty_size *size,
    const struct agent_user *user, struct smx_err *err)
{
    struct winsize ws = winsize_of(size);
    int unlock = 0;

    e->terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (e->terminal < 0)
        return no_descriptors(err);
    if (ioctl(e->terminal, TIOCSPTLCK, &unlock) < 0 || ioctl(e->terminal, TIOCSWINSZ, &ws) < 0)
        return no_descriptors(err);
    e->child[0] = ioctl(e->terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (e->child[0] < 0)
        return no_descriptors(err);
    if (identity_privileged() && fchown(e->child[0], user->uid, (gid_t)-1) < 0)
        return smx_err_errno(err, errno, "giving the terminal to '%s'", user->name);
    for (int i = 1; i < 3; i++) {
        e->child[i] = fcntl(e->child[0], F_DUPFD_CLOEXEC, 3);
        if (e->child[i] < 0)
            return no_descriptors(err);
    }
    e->out[0] = fcntl(e->terminal, F_DUPFD_CLOEXEC, 3);
    e->in = fcntl(e->terminal, F_DUPFD_CLOEXEC, 3);
    return e->out[0] < 0 || e->in < 0 ? no_descriptors(err) : 0;
}

static int make_ends(struct process *p, const struct agent_user *user,
    struct process_passed *passed, struct ends *e, struct smx_err *err)
{
    const struct envd_start_request *req = &p->request;

    if (!p->pty && passed->fd >= 0)
        e->child[passed->as] = smx_take_fd(&passed->fd);
    if (!p->pty)
        return make_pipes(e, !req->has_stdin || req->stdin_open, err);
    return make_terminal(e, &req->pty->size, user, err);
}

static int spawn(
    struct process *p, const struct agent_user *user, struct ends *e, struct smx_err *err)
{
    struct agent *a = p->agent;
    struct envd_process_config *config = &p->request.process;
    SMX_CLEANUP(smx_freep) char *cwd = NULL;
    SMX_CLEANUP(smx_freep) char **envp = NULL;
    struct spawn_spec spec = { .cmd = config->cmd ? config->cmd : "",
        .args = &config->args,
        .user = user,
        .fds = { e->child[0], e->child[1], e->child[2] },
        .tty = p->pty };
    int r = path_resolve(config->cwd ? config->cwd : "", user->home, a->settings.default_workdir,
        user->name, &cwd, err);

    if (r < 0 || (r = spawn_check_cwd(cwd, user, err)) < 0)
        return r;
    r = env_build(user, &a->settings, &config->envs, &envp, err);
    if (r < 0)
        return r;
    spec.cwd = cwd;
    spec.envp = envp;
    return spawn_start(&spec, &p->child.pid, err);
}

/* Our ends go to the process: no failure from here on loses the running child. */
static void adopt_ends(struct process *p, struct ends *e)
{
    p->input = smx_take_fd(&e->in);
    p->terminal = smx_take_fd(&e->terminal);
    p->out[0].stream = p->pty ? ENVD_PTY : ENVD_STDOUT;
    p->out[1].stream = ENVD_STDERR;
    for (int i = 0; i < 2; i++) {
        int fd = smx_take_fd(&e->out[i]);

        if (fd >= 0 && p->pty)
            (void)io_fd_init(&p->out[i].io, fd, /* err= */ NULL);
        else if (fd >= 0)
            (void)io_fd_init_pipe(&p->out[i].io, fd, /* err= */ NULL);
    }
}

static int check_limits(struct agent *a, const struct envd_process_config *c, struct smx_err *err)
{
    size_t bytes = 0;

    for (size_t i = 0; i < c->args.n; i++)
        bytes += strlen(c->args.v[i]) + 1;
    if (c->args.n > SMX_ARGS_MAX)
        return smx_err_set(err, SMX_E_INVALID, "more than %d arguments", SMX_ARGS_MAX);
    if (bytes > SMX_ARGS_BYTES_MAX)
        return smx_err_set(
            err, SMX_E_INVALID, "arguments of more than %d bytes", SMX_ARGS_BYTES_MAX);
    if (a->processes.nrunning >= SMX_AGENT_PROCESSES_MAX)
        return smx_err_set(
            err, SMX_E_QUOTA, "more than %d processes at once", SMX_AGENT_PROCESSES_MAX);
    return 0;
}

static void deadline_passed(void *arg)
{
    struct process *p = arg;

    if (p->child.exited)
        return;
    p->deadline_hit = true;
    process_kill_tree(p);
    wake_all(p);
}

static struct process *process_new(struct agent *a, struct envd_start_request *request)
{
    struct process *p = smx_alloc(sizeof *p);

    if (!p)
        return NULL;
    p->agent = a;
    p->refs = 1;
    p->request = *request;
    memset(request, 0, sizeof *request);
    p->pty = p->request.pty != NULL;
    p->input = p->terminal = -1;
    p->input_io.fd = p->out[0].io.fd = p->out[1].io.fd = -1;
    p->child.on_exit = on_exit_child;
    smx_list_init(&p->node);
    smx_list_init(&p->listeners);
    io_event_init(&p->input_free);
    io_timer_init(&p->deadline, deadline_passed, p);
    io_timer_init(&p->forget, leave_table, p);
    smx_buf_init(&p->chunk, 2 * (READ_MAX / 3 * 4) + 4096);
    return p;
}

static void listener_add(struct process *p, struct listener *l)
{
    l->process = process_ref(p);
    l->sent = p->chunk_number;
    io_event_init(&l->wake);
    smx_list_add(&p->listeners, &l->node);
}

int process_start(struct agent *a, struct envd_start_request *request,
    const struct agent_user *user, struct process_passed *passed, struct listener *l,
    struct process **ret, struct smx_err *err)
{
    struct ends e = { { -1, -1, -1 }, -1, { -1, -1 }, -1 };
    struct process *p = process_new(a, request);
    int r;

    if (!p) {
        json_free(&envd_start_request_table, request);
        return smx_err_oom(err);
    }
    r = check_limits(a, &p->request.process, err);
    if (r == 0 && !identity_can_be(user))
        r = smx_err_set(err, SMX_E_FORBIDDEN,
            "cannot start a process as user '%s': the agent has no privilege", user->name);
    if (r == 0)
        r = make_ends(p, user, passed, &e, err);
    if (r == 0)
        r = spawn(p, user, &e, err);
    if (r == 0) {
        children_add(&a->children, &p->child);
        adopt_ends(p, &e);
        enter_table(p);
        listener_add(p, l);
        *ret = p;
    } else {
        process_unref(p);
    }
    ends_done(&e);
    return r;
}

int process_set_deadline(struct process *p, uint64_t deadline_ns)
{
    if (p->child.exited)
        return 0;
    return io_timer_arm(&p->deadline, p->agent->loop, deadline_ns);
}

/* --- look-up ----------------------------------------------------------------------------- */

static bool selected(const struct process *p, const struct envd_selector *s)
{
    if (s->has_pid)
        return p->child.pid == (pid_t)s->pid;
    return p->request.tag && smx_streq(p->request.tag, s->tag);
}

static struct process *newest(const struct smx_list *list, const struct envd_selector *s)
{
    struct process *found = NULL;

    SMX_LIST_FOREACH(it, list) {
        struct process *p = SMX_LIST_ENTRY(it, struct process, node);

        if (selected(p, s))
            found = p;
    }
    return found;
}

struct process *process_find(struct agent *a, const struct envd_selector *s)
{
    struct process *p = newest(&a->processes.running, s);

    if (!p)
        p = newest(&a->processes.ended, s);
    return p ? process_ref(p) : NULL;
}

/* --- listeners and output ---------------------------------------------------------------- */

int process_listen(struct process *p, struct listener *l, struct smx_err *err)
{
    listener_add(p, l);
    for (int i = 0; i < 2; i++) {
        struct outlet *o = &p->out[i];
        int fd;

        if (!o->drained)
            continue;
        fd = drain_take(&p->agent->drain, o->drained);
        if (io_fd_init(&o->io, fd, err) < 0) {
            process_unlisten(l);
            return -SMX_E_NO_MEMORY;
        }
    }
    return 0;
}

void process_chunk_sent(struct listener *l)
{
    struct process *p = l->process;

    if (l->sent == p->chunk_number)
        return;
    l->sent = p->chunk_number;
    if (--p->chunk_pending > 0)
        return;
    p->chunk.len = 0;
    check_finished(p);
    wake_leader(p);
}

void process_unlisten(struct listener *l)
{
    struct process *p = l->process;

    process_chunk_sent(l);
    smx_list_del(&l->node);
    if (smx_list_empty(&p->listeners)) {
        for (int i = 0; i < 2; i++)
            outlet_to_drain(p, &p->out[i], &p->out[i].drained);
        smx_buf_done(&p->chunk);
        check_finished(p);
    } else {
        wake_leader(p);
    }
    l->process = NULL;
    process_unref(p);
}

/* One envelope for each SMX_STDOUT_CHUNK (a terminal's are smaller). */
static void append_chunk(struct process *p, const struct outlet *o, size_t n)
{
    size_t step = p->pty ? SMX_PTY_CHUNK : SMX_STDOUT_CHUNK;

    for (size_t at = 0; at < n; at += step) {
        size_t start = rpc_begin(&p->chunk, 0);

        envd_data_event_append(&p->chunk, o->stream, scratch + at, SMX_MIN(step, n - at));
        rpc_end(&p->chunk, start);
    }
}

static void publish_chunk(struct process *p)
{
    p->chunk_number++;
    p->chunk_pending = 0;
    SMX_LIST_FOREACH(it, &p->listeners) {
        p->chunk_pending++;
        io_event_set(&SMX_LIST_ENTRY(it, struct listener, node)->wake);
    }
}

/* A writer that fills its pipe gets a larger one: fewer turns for both sides. Small commands never
 * pay for it. */
static void widen(struct process *p, struct outlet *o)
{
    o->widened = true;
    if (!p->pty)
        (void)fcntl(o->io.fd, F_SETPIPE_SZ, PIPE_WIDE); /* refused past the user's limit: slower */
}

int process_read(struct process *p, size_t i, struct smx_err *err)
{
    struct outlet *o = &p->out[i];
    size_t want = p->pty ? SMX_PTY_CHUNK : READ_MAX;
    ssize_t n;

    if (o->bounded)
        want = (size_t)SMX_MIN(want, o->left);
    if (o->io.fd < 0 || want == 0)
        return 0;
    n = io_read(&o->io, scratch, want, /* deadline_ns= */ 0, err);
    if (n == -SMX_E_TIMEOUT && !(o->bounded && p->pty))
        return 0;
    if (n == -SMX_E_CANCELLED)
        return (int)n;
    if (n <= 0) { /* its end: EOF, a terminal without users (EIO), or empty after the exit */
        if (n == -SMX_E_TIMEOUT)
            o->left = 0;
        else
            io_fd_done(&o->io);
        check_finished(p);
        return 0;
    }
    if ((size_t)n == READ_MAX && !o->widened)
        widen(p, o);
    if (o->bounded)
        o->left -= SMX_MIN(o->left, (uint64_t)n);
    append_chunk(p, o, (size_t)n);
    if (p->chunk.failed)
        return smx_err_oom(err);
    publish_chunk(p);
    return (int)n;
}

/* --- input, size, signals ---------------------------------------------------------------- */

void process_close_input(struct process *p)
{
    io_fd_done(&p->input_io);
    smx_close(smx_take_fd(&p->input));
}

int process_open_input(struct process *p, struct smx_err *err)
{
    if (p->input_io.fd >= 0)
        return 0;
    if (p->input < 0)
        return smx_err_set(err, SMX_E_STATE, "error writing to stdin: it is not open");
    return io_fd_init(&p->input_io, smx_take_fd(&p->input), err);
}

int process_write_some(struct process *p, const void *data, size_t n, struct smx_err *err)
{
    ssize_t r = write(p->input_io.fd, data, SMX_MIN(n, (size_t)INPUT_STEP));

    if (r >= 0)
        return (int)r;
    if (errno != EAGAIN && errno != EINTR)
        return smx_err_errno(err, errno, "error writing to stdin");
    p->input_io.ready &= ~(unsigned)IO_WRITE;
    return 0;
}

int process_resize(struct process *p, const struct envd_pty_size *size, struct smx_err *err)
{
    struct winsize ws = winsize_of(size);

    if (p->terminal < 0)
        return smx_err_set(err, SMX_E_INTERNAL, "process %d has no terminal", (int)p->child.pid);
    if (ioctl(p->terminal, TIOCSWINSZ, &ws) < 0)
        return smx_err_errno(err, errno, "resizing the terminal");
    return 0;
}

void process_kill_tree(struct process *p)
{
    kill_tree(p->child.pid);
}
