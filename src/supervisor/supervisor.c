/* supervisor.c - `sandmux serve`. Opens state directory and listeners, then keeps two programs
 * running: the engine (as root) and the gateway (without privilege), joined by a socket pair. When
 * one dies it is started again after a back-off and the other gets its new end of a new pair; the
 * sandboxes notice nothing. Signals are passed on; everything else is the programs' business.
 *
 * One process, one thread, a poll loop. Lock and our control end are close-on-exec: when this
 * process dies, the gateway sees the control pair end and ends too, while the engine goes on as
 * long as it has sandboxes and is replaced by the next `serve`. A subreaper: what a dead engine
 * leaves behind is reaped here. */
#include "supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "gateway/control.h"

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 10000,
    STEADY_MS = 30000, /* having run that long, a program's failures are forgotten */
    STOP_WAIT_MS = 15000,
    FIRST_TRIES = 3, /* crashes before the gateway was ever ready */
};

/* --- the pair between engine and gateway ---------------------------------------------------- */

static void drop_ends(struct supervisor *s)
{
    smx_close(s->engine_end);
    smx_close(s->gateway_end);
    s->engine_end = s->gateway_end = -1;
}

static int make_pair(struct supervisor *s, struct smx_err *err)
{
    int fds[2];

    drop_ends(s);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return smx_err_errno(err, errno, "making a socket pair");
    s->engine_end = fds[0];
    s->gateway_end = fds[1];
    return 0;
}

/* A gateway is about to start: the running engine gets the other end of a new pair. */
static void renew_for_gateway(struct supervisor *s)
{
    struct smx_err err = { 0 };

    if (!s->root || s->gateway_end >= 0)
        return;
    if (make_pair(s, &err) < 0) {
        smx_error("no socket for the engine error=%s", err.msg);
        return;
    }
    if (s->engine.pid && handover_to_engine(s, smx_take_fd(&s->engine_end), &err) < 0) {
        smx_error("the engine is replaced: it takes no new gateway error=%s", err.msg);
        kill(s->engine.pid, SIGKILL);
        /* for the next engine and for this gateway, which asks it from its first moment on and
         * looks for a later one only when it has started */
        if (make_pair(s, &err) < 0)
            smx_error("no socket for the engine error=%s", err.msg);
    }
}

/* An engine is about to start: the running gateway gets the other end of a new pair. */
static void renew_for_engine(struct supervisor *s)
{
    struct smx_err err = { 0 };
    int fd;

    if (s->engine_end >= 0)
        return;
    if (make_pair(s, &err) < 0) {
        smx_error("no socket for the engine error=%s", err.msg);
        return;
    }
    if (!s->gateway.pid || s->control_fd < 0)
        return;
    fd = smx_take_fd(&s->gateway_end);
    if (smx_send_fds(s->control_fd, CONTROL_ENGINE, strlen(CONTROL_ENGINE), &fd, 1) < 0)
        smx_warn("the gateway did not take a new engine");
    smx_close(fd);
}

/* --- starting ---------------------------------------------------------------------------------
 */

enum { ENGINE_ARGS = 24, ENGINE_NUMBER = 24 };

/* Defaults of sandboxes, as the engine's options. */
static size_t engine_numbers(
    struct supervisor *s, char *argv[], char text[][ENGINE_NUMBER], size_t n)
{
    static const struct {
        char option[16];
        enum config_key key;
        unsigned factor;
    } rows[] = { { "--cpu-milli", CONFIG_CPU, 1000 }, { "--memory-mib", CONFIG_MEMORY_MIB, 1 },
        { "--disk-mib", CONFIG_DISK_MIB, 1 }, { "--pids", CONFIG_PIDS, 1 },
        { "--reserve-mib", CONFIG_RESERVE_MIB, 1 } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        argv[n++] = (char *)(uintptr_t)rows[i].option;
        snprintf(text[i], ENGINE_NUMBER, "%llu",
            (unsigned long long)(config_u64(s->config, rows[i].key) * rows[i].factor));
        argv[n++] = text[i];
    }
    return n;
}

static int start_engine(struct supervisor *s, struct smx_err *err)
{
    char level[64], numbers[5][ENGINE_NUMBER];
    char *argv[ENGINE_ARGS] = { (char[]){ "sandmux-engine" }, (char[]){ "--state-dir" },
        s->engine_dir, (char[]){ "--instance" }, s->places.instance, (char[]){ "--agent" },
        s->agent, (char[]){ "--gateway-fd" }, (char[]){ "3" } };
    char *envp[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, level, NULL };
    struct spawn_spec spec = { .argv = argv, .envp = envp, .fds = &s->engine_end, .nfds = 1 };
    int r;

    snprintf(level, sizeof level, "SANDMUX_LOG_LEVEL=%s", config_get(s->config, CONFIG_LOG_LEVEL));
    argv[engine_numbers(s, argv, numbers, 9)] = NULL;
    renew_for_engine(s);
    r = spawn_program(&s->engine, &spec, err);
    smx_close(smx_take_fd(&s->engine_end));
    return r;
}

enum { GATEWAY_FDS = 7, GATEWAY_NAMES = 96 };

static size_t gateway_fds(
    struct supervisor *s, int control, int fds[GATEWAY_FDS], char names[GATEWAY_NAMES])
{
    const struct {
        int fd;
        const char *name;
    } rows[GATEWAY_FDS] = { { control, CONTROL_FD_NAME }, { s->unix_fd, UNIX_FD_NAME },
        { s->tcp_fd, TCP_FD_NAME }, { s->tls_fd, TLS_FD_NAME },
        { s->tls.now.cert, TLS_CERT_FD_NAME }, { s->tls.now.key, TLS_KEY_FD_NAME },
        { s->gateway_end, ENGINE_FD_NAME } };
    size_t n = 0, len = 0;

    for (size_t i = 0; i < GATEWAY_FDS; i++) {
        if (rows[i].fd < 0)
            continue;
        len +=
            (size_t)snprintf(names + len, GATEWAY_NAMES - len, "%s%s", n ? ":" : "", rows[i].name);
        fds[n++] = rows[i].fd;
    }
    return n;
}

static int spawn_gateway(struct supervisor *s, int control, char *const *envp, struct smx_err *err)
{
    char restarts[16], uid[16], names[GATEWAY_NAMES], automatic[] = "--auto";
    char *argv[] = { (char[]){ "sandmux-gateway" }, (char[]){ "--state-dir" }, s->gateway_dir,
        (char[]){ "--daemon-uid" }, uid, (char[]){ "--restarts" }, restarts, NULL, NULL };
    int fds[GATEWAY_FDS];
    struct spawn_spec spec = { .argv = argv,
        .envp = envp,
        .fds = fds,
        .listen_names = names,
        .drop = true,
        .uid = s->gateway_uid,
        .gid = s->gateway_gid,
        .must_reach = s->gateway_dir };

    snprintf(restarts, sizeof restarts, "%u", s->gateway.restarts);
    snprintf(uid, sizeof uid, "%d", (int)geteuid());
    if (s->automatic)
        argv[7] = automatic;
    spec.nfds = gateway_fds(s, control, fds, names);
    return spawn_program(&s->gateway, &spec, err);
}

static int start_gateway(struct supervisor *s, struct smx_err *err)
{
    char **envp = NULL;
    int pair[2], r;

    renew_for_gateway(s);
    smx_close(smx_take_fd(&s->control_fd));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return smx_err_errno(err, errno, "making a socket pair");
    s->control_fd = pair[0];
    /* the settings travel as variables, which only root and the gateway's uid can read */
    r = config_env(s->config, &envp, err);
    if (r == 0)
        r = spawn_gateway(s, pair[1], envp, err);
    config_env_free(envp);
    smx_close(pair[1]);
    smx_close(smx_take_fd(&s->gateway_end));
    if (r == 0)
        state_note_gateway(s);
    return r;
}

/* --- ends --------------------------------------------------------------------------------------
 */

static void schedule(struct keeper *k)
{
    uint64_t delay = BACKOFF_FIRST_MS;

    if (smx_now_ns() - k->started_ns > STEADY_MS * SMX_NS_PER_MS)
        k->failures = 0;
    for (unsigned i = 0; i < k->failures && delay < BACKOFF_LAST_MS; i++)
        delay *= 2;
    k->failures++;
    k->restarts++;
    k->start_at_ns = smx_deadline_in_ms(SMX_MIN(delay, (uint64_t)BACKOFF_LAST_MS));
    smx_warn("starting again program=%s in_ms=%llu restarts=%u", k->program,
        (unsigned long long)delay, k->restarts);
}

static void stop(struct supervisor *s, int status)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->exit_status = status;
    s->kill_at_ns = smx_deadline_in_ms(STOP_WAIT_MS);
    s->gateway.start_at_ns = s->engine.start_at_ns = SMX_FOREVER;
    notify_systemd("STOPPING=1");
    if (s->gateway.pid)
        kill(s->gateway.pid, SIGTERM);
    else if (s->engine.pid)
        kill(s->engine.pid, SIGTERM);
}

static void gateway_ended(struct supervisor *s, int status)
{
    bool crashed = WIFSIGNALED(status);
    int code = crashed ? 128 + WTERMSIG(status) : WEXITSTATUS(status);

    s->gateway.pid = 0;
    tls_files_answer(s, /* taken= */ false);
    if (s->stopping) {
        if (s->engine.pid)
            kill(s->engine.pid, SIGTERM);
        return;
    }
    if (s->gateway.renewing) {
        s->gateway.renewing = false;
        s->gateway.start_at_ns = 0;
        return;
    }
    smx_error("the gateway ended status=%d", code);
    if (code == GATEWAY_EXIT_CONFIG ||
        (!s->ready && (!crashed || s->gateway.failures >= FIRST_TRIES)))
        stop(s, code == GATEWAY_EXIT_CONFIG ? 78 : 1);
    else
        schedule(&s->gateway);
}

static void engine_ended(struct supervisor *s, int status)
{
    s->engine.pid = 0;
    if (s->stopping)
        return;
    if (s->engine.renewing) {
        s->engine.renewing = false;
        s->engine.start_at_ns = 0;
        return;
    }
    smx_error("the engine ended status=%d",
        WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    schedule(&s->engine);
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->gateway.pid)
            gateway_ended(s, status);
        else if (pid == s->engine.pid)
            engine_ended(s, status);
    }
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static void on_hangup(struct supervisor *s)
{
    tls_files_check(s);
    if (s->gateway.pid)
        kill(s->gateway.pid, SIGHUP);
}

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(s);
        else if (info.ssi_signo == SIGHUP)
            on_hangup(s);
        else if (s->stopping)
            s->kill_at_ns = 0; /* asked twice: now */
        else
            stop(s, 0);
    }
}

static void on_ready(struct supervisor *s)
{
    s->gateway.failures = 0;
    if (s->ready)
        return;
    s->ready = true;
    state_note_address(s);
    notify_systemd("READY=1");
    smx_info("ready url=%s socket=%s state=%s", *s->url ? s->url : "none", s->places.socket,
        s->places.state_dir);
}

static void on_control(struct supervisor *s)
{
    char word[CONTROL_MESSAGE_MAX + 1];
    ssize_t n = recv(s->control_fd, word, sizeof word - 1, MSG_DONTWAIT);

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            smx_close(smx_take_fd(&s->control_fd)); /* its end is reported by SIGCHLD */
        return;
    }
    word[n] = 0;
    if (smx_streq(word, CONTROL_READY))
        on_ready(s);
    else if (smx_streq(word, CONTROL_TLS_TAKEN) || smx_streq(word, CONTROL_TLS_REFUSED))
        tls_files_answer(s, smx_streq(word, CONTROL_TLS_TAKEN));
    else if (smx_streq(word, CONTROL_IDLE) || smx_streq(word, CONTROL_STOP))
        stop(s, 0);
}

static void start_due(
    struct supervisor *s, struct keeper *k, int (*start)(struct supervisor *, struct smx_err *))
{
    struct smx_err err = { 0 };

    if (k->pid || k->start_at_ns > smx_now_ns())
        return;
    k->start_at_ns = SMX_FOREVER;
    if (start(s, &err) == 0)
        return;
    smx_error("%s", err.msg);
    if (!k->pid)
        schedule(k);
}

static int poll_timeout(const struct supervisor *s)
{
    uint64_t at = SMX_MIN(s->gateway.start_at_ns, s->engine.start_at_ns), now = smx_now_ns();

    at = SMX_MIN(at, s->tls.check_at_ns);
    if (s->stopping)
        at = s->kill_at_ns;
    if (at == SMX_FOREVER)
        return -1;
    return at <= now ? 0 : (int)((at - now) / SMX_NS_PER_MS) + 1;
}

static void kill_late(struct supervisor *s)
{
    if (!s->stopping || s->kill_at_ns > smx_now_ns())
        return;
    s->kill_at_ns = SMX_FOREVER;
    if (s->gateway.pid)
        kill(s->gateway.pid, SIGKILL);
    if (s->engine.pid)
        kill(s->engine.pid, SIGKILL);
}

static void run(struct supervisor *s)
{
    while (!s->stopping || s->gateway.pid || s->engine.pid) {
        struct pollfd p[] = { { .fd = s->signal_fd, .events = POLLIN },
            { .fd = s->control_fd, .events = POLLIN }, { .fd = s->dotenv_fd, .events = POLLIN },
            { .fd = s->tls.watch_fd, .events = POLLIN } };

        poll(p, SMX_ARRAY_LEN(p), poll_timeout(s));
        on_signal(s);
        if (s->control_fd >= 0 && p[1].fd == s->control_fd && p[1].revents)
            on_control(s);
        if (p[2].revents)
            dotenv_watch_react(s);
        if (p[3].revents)
            tls_files_react(s);
        if (s->tls.check_at_ns <= smx_now_ns())
            tls_files_check(s);
        if (!s->stopping) {
            if (s->root)
                start_due(s, &s->engine, start_engine);
            if (!s->engine.renewing) /* it would be handed an engine that is ending */
                start_due(s, &s->gateway, start_gateway);
        }
        kill_late(s);
    }
}

/* --- set-up ------------------------------------------------------------------------------------
 */

static void find_gateway_user(struct supervisor *s)
{
    const struct passwd *pw = s->root ? getpwnam("sandmux") : NULL;

    s->gateway_uid = s->root ? GATEWAY_UID : geteuid();
    s->gateway_gid = s->root ? GATEWAY_UID : getegid();
    if (pw && pw->pw_uid != 0) {
        s->gateway_uid = pw->pw_uid;
        s->gateway_gid = pw->pw_gid;
    }
}

static int open_signals(struct supervisor *s, struct smx_err *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return smx_err_errno(err, errno, "blocking signals");
    signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd < 0 ? smx_err_errno(err, errno, "signalfd") : 0;
}

static void keeper_init(struct keeper *k, const char *program)
{
    *k = (struct keeper){ .program = program, .exec_fd = -1, .start_at_ns = SMX_FOREVER };
}

/* Stdin, stdout and stderr exist from here on, so that no descriptor of ours becomes one of them.
 */
static void fill_standard_fds(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd <= 2);
    smx_close(fd);
}

static int set_up(struct supervisor *s, struct smx_err *err)
{
    int r = config_places(s->config, s->automatic, &s->places, err);

    fill_standard_fds();
    find_gateway_user(s);
    if (r == 0)
        r = programs_find(s, err);
    if (r == 0)
        r = open_signals(s, err);
    if (r == 0)
        r = state_open(s, err);
    if (r == 0)
        r = tls_files_open(s, err);
    if (r == 0)
        r = listeners_open(s, err);
    if (r == 0 && s->root)
        r = make_pair(s, err);
    if (r == 0)
        r = dotenv_watch_open(s, err);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    return r;
}

/* The first start of each fails the whole: a user at a terminal learns at once what is wrong. */
static int start_all(struct supervisor *s, struct smx_err *err)
{
    int r = s->root ? start_engine(s, err) : 0;

    return r < 0 ? r : start_gateway(s, err);
}

static void tear_down(struct supervisor *s)
{
    listeners_close(s);
    tls_files_close(s);
    drop_ends(s);
    smx_close(s->control_fd);
    smx_close(s->signal_fd);
    smx_close(s->dotenv_fd);
    smx_close(s->gateway.exec_fd);
    smx_close(s->engine.exec_fd);
    state_close(s);
    config_free(s->reloaded);
}

int supervisor_main(const struct config *config, const struct supervisor_options *options)
{
    struct supervisor s = { .config = config,
        .automatic = options->automatic,
        .root = geteuid() == 0,
        .lock_fd = -1,
        .engine_dir_fd = -1,
        .tcp_fd = -1,
        .tls_fd = -1,
        .tls = { .now = { -1, -1 },
            .next = { -1, -1 },
            .watch_fd = -1,
            .check_at_ns = SMX_FOREVER },
        .unix_fd = -1,
        .signal_fd = -1,
        .dotenv_fd = -1,
        .control_fd = -1,
        .engine_end = -1,
        .gateway_end = -1 };
    enum smx_log_level level = SMX_LOG_INFO;
    struct smx_err err = { 0 };

    smx_log_level_parse(config_get(config, CONFIG_LOG_LEVEL), &level);
    smx_log_init("sandmux", level);
    keeper_init(&s.gateway, "sandmux-gateway");
    keeper_init(&s.engine, "sandmux-engine");
    if (set_up(&s, &err) < 0) {
        smx_error("%s", err.msg);
        tear_down(&s);
        return 1;
    }
    if (start_all(&s, &err) < 0) {
        smx_error("%s", err.msg);
        stop(&s, 1);
    }
    run(&s);
    tear_down(&s);
    return s.exit_status;
}
