/* main.c - sandmux-agent: pid 1 of a sandbox, or a plain program on a socket of its own (tests,
 * other runtimes). One thread. It never ends by itself in a sandbox: signals from inside are
 * ignored (a pid 1 without handlers does not see them), and it stops with the sandbox. */
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/identity.h"
#include "agent/spawn.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"

enum { DEFAULT_LISTEN_FD = 3 };

struct options {
    int fd;           /* inherited listening socket, or -1 */
    const char *path; /* socket to make, or NULL */
    int score_fd;     /* inherited: our oom_score_adj; -1: opened by us */
    bool wait;        /* for a byte on standard input before anybody is served */
};

static void usage(FILE *out)
{
    fputs(
        "usage: sandmux-agent [--listen-fd N | --listen PATH] [--score-fd N] [--wait]\n\n"
        "Serves the envd protocol on a unix socket: the inherited descriptor N (default 3), or a\n"
        "new socket at PATH. --score-fd: an inherited /proc/self/oom_score_adj. --wait: serves\n"
        "once a byte comes on standard input, and ends when that is closed before.\n",
        out);
}

/* 0; 1: done, end well; 2: wrong usage. */
static int parse_options(int argc, char **argv, struct options *ret)
{
    static const struct option longs[] = { { "listen-fd", required_argument, NULL, 'f' },
        { "listen", required_argument, NULL, 'l' }, { "score-fd", required_argument, NULL, 's' },
        { "wait", no_argument, NULL, 'w' }, { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 } };
    uint64_t n;
    int c;

    *ret = (struct options){ .fd = DEFAULT_LISTEN_FD, .score_fd = -1 };
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
        switch (c) {
        case 'f':
        case 's':
            if (!smx_parse_u64(smx_view_of(optarg), INT32_MAX, &n))
                return fprintf(stderr, "sandmux-agent: '%s' is no descriptor\n", optarg), 2;
            *(c == 'f' ? &ret->fd : &ret->score_fd) = (int)n;
            break;
        case 'l':
            ret->path = optarg;
            ret->fd = -1;
            break;
        case 'w':
            ret->wait = true;
            break;
        case 'h':
            usage(stdout);
            return 1;
        case 'v':
            puts("sandmux-agent " SMX_VERSION);
            return 1;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc)
        return fprintf(stderr, "sandmux-agent: unexpected argument '%s'\n", argv[optind]), 2;
    return 0;
}

/* 0, 1 and 2 are open, so that no pipe of a command ever gets one of these numbers. */
static void open_standard_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= 2);
    smx_close(fd);
}

static void secure_self(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NAME, "sandmux-agent"); /* started by descriptor, the program has another */
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    setenv("TZ", "UTC0", 1); /* else a date reads /etc/localtime, which is whatever is there */
    if (chdir("/") < 0)
        smx_warn("cannot enter / (%m)");
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 64 * 1024);
    mallopt(M_TOP_PAD, 16 * 1024);
    if (getpid() != 1)
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static int open_listener(const struct options *o, int *ret_fd, struct smx_err *err)
{
    socklen_t size = sizeof(int);
    int listening = 0;

    if (o->path)
        return io_listen_unix(o->path, 0600, ret_fd, err);
    if (getsockopt(o->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
        return smx_err_set(err, SMX_E_INVALID, "descriptor %d is no listening socket", o->fd);
    if (smx_fd_set_cloexec(o->fd, true, err) < 0)
        return smx_err_wrap(err, -SMX_E_INVALID, "the listening socket");
    *ret_fd = o->fd;
    return 0;
}

/* Errors before routing, in the form of the plain HTTP routes. */
static void error_body(
    int status, const char *message, struct smx_buf *out, const char **ret_content_type, void *ctx)
{
    struct envd_http_error e = { .code = status };
    char text[240];

    smx_strcpy(text, sizeof text, message);
    e.message = text;
    (void)json_encode_to(out, &envd_http_error_table, &e, /* err= */ NULL);
    *ret_content_type = "application/json; charset=utf-8";
}

static int start(struct agent *a, const struct options *o, struct smx_err *err)
{
    struct http_server_config cfg = { .handler = agent_handle,
        .ctx = a,
        .connections_max = SMX_AGENT_CONNECTIONS_MAX,
        .descriptors = true,
        .error_body = error_body };
    int fd = -1, r;

    users_init(&a->users, "/etc/passwd", "/etc/group");
    process_table_init(&a->processes);
    smx_list_init(&a->watchers);
    io_timer_init(&a->trim, agent_trim, a);
    io_sem_init(&a->file_children, SMX_AGENT_FILE_CHILDREN_MAX);
    spawn_init(a->loop, o->score_fd);
    if ((r = children_start(&a->children, a->loop, err)) < 0 ||
        (r = drain_start(&a->drain, a->loop, err)) < 0 || (r = open_listener(o, &fd, err)) < 0 ||
        (r = http_server_new(a->loop, &cfg, &a->server, err)) < 0)
        return r;
    return http_server_listen(a->server, fd, "agent", err);
}

/* Outside a sandbox it ends like any program; a pid 1 ends with its sandbox only. */
static void terminator(void *arg)
{
    static const int signos[] = { SIGTERM, SIGINT };
    struct agent *a = arg;
    struct io_signals signals;
    struct smx_err err = { 0 };

    if (io_signals_init(&signals, signos, SMX_ARRAY_LEN(signos), &err) < 0) {
        smx_warn("%s", err.msg);
        return;
    }
    if (io_signals_next(&signals, SMX_FOREVER) > 0)
        io_loop_stop(a->loop);
    io_signals_done(&signals);
}

struct boot {
    struct agent *agent;
    const struct options *options;
    int result;
};

/* Made ahead of time: everything is in place, and the whole process blocks here until somebody has
 * a use for it. False: there will be nobody. */
static bool await_use(struct agent *a)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool used;
    char c;

    users_refresh(&a->users);
    used = smx_read_full(0, &c, 1) == 1;
    if (null >= 0)
        dup2(null, 0);
    smx_close(null);
    return used;
}

/* Descriptors join the loop on a fiber. */
static void boot(void *arg)
{
    struct boot *b = arg;
    struct smx_err err = { 0 };

    b->result = start(b->agent, b->options, &err);
    if (b->result == 0 && b->options->wait && !await_use(b->agent)) {
        io_loop_stop(b->agent->loop);
        return;
    }
    if (b->result == 0 && getpid() != 1)
        b->result = io_fiber_spawn(
            b->agent->loop, "terminator", terminator, b->agent, /* ret_fiber= */ NULL, &err);
    if (b->result == 0)
        return;
    smx_error("cannot start: %s", err.msg);
    io_loop_stop(b->agent->loop);
}

int main(int argc, char **argv)
{
    static struct agent a;
    struct options options;
    struct boot b = { .agent = &a, .options = &options };
    struct smx_err err = { 0 };
    int r;

    smx_log_init("sandmux-agent", SMX_LOG_WARN);
    r = parse_options(argc, argv, &options);
    if (r != 0)
        return r == 1 ? 0 : 2;
    open_standard_fds();
    secure_self();
    identity_init();
    if (io_loop_new(&a.loop, &err) < 0 ||
        io_fiber_spawn(a.loop, "boot", boot, &b, /* ret_fiber= */ NULL, &err) < 0 ||
        io_loop_run(a.loop, &err) < 0) {
        smx_error("%s", err.msg);
        return 1;
    }
    return b.result < 0 ? 1 : 0;
}
