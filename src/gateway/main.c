/* main.c - sandmux-gateway. Started by the supervisor with its settings in the environment and its
 * sockets by LISTEN_FDS; runs one loop until a signal, the supervisor's end or, when automatic,
 * idleness. An orderly end stops accepting, lets requests finish within a bound and closes the
 * core; sandboxes stay. */
#include "gateway/gateway.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "frontends/native/native.h"
#include "gateway/control.h"

enum { DRAIN_MS = 10000, DRAIN_ORPHAN_MS = 500 };

/* --- arguments and process -------------------------------------------------------------------- */

static int parse_number(const char *text, uint64_t max, uint64_t *ret, struct smx_err *err)
{
    if (smx_parse_u64(smx_view_of(text), max, ret))
        return 0;
    return smx_err_set(err, SMX_E_INVALID, "'%.32s' is not a number", text);
}

static int parse_args(struct gateway *g, int argc, char **argv, struct smx_err *err)
{
    static const struct option options[] = { { "state-dir", required_argument, NULL, 's' },
        { "daemon-uid", required_argument, NULL, 'u' },
        { "restarts", required_argument, NULL, 'r' }, { "auto", no_argument, NULL, 'a' },
        { NULL, 0, NULL, 0 } };
    uint64_t uid = geteuid(), restarts = 0;
    int c, r = 0;

    while (r == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 's')
            g->state_dir = optarg;
        else if (c == 'u')
            r = parse_number(optarg, UINT32_MAX, &uid, err);
        else if (c == 'r')
            r = parse_number(optarg, UINT32_MAX, &restarts, err);
        else if (c == 'a')
            g->fe.automatic = true;
        else
            r = smx_err_set(err, SMX_E_INVALID, "unknown argument; 'sandmux serve' starts this");
    }
    if (r == 0 && !g->state_dir)
        r = smx_err_set(err, SMX_E_INVALID, "--state-dir is missing; 'sandmux serve' starts this");
    g->fe.daemon_uid = (uid_t)uid;
    g->fe.restarts = (unsigned)restarts;
    return r;
}

/* Every descriptor the system allows: a stream is one. */
static void raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Secrets are in our environment and memory: nobody of our uid may look, no core is written. */
static void hide_memory(const struct gateway *g)
{
#ifndef SMX_SANITIZED
    if (geteuid() != g->fe.daemon_uid)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

static void fold_case(char *s)
{
    for (; *s; s++)
        *s = (char)(*s >= 'A' && *s <= 'Z' ? *s + ('a' - 'A') : *s);
}

/* "a.example, b.example" in place. */
static int split_domains(struct gateway *g, struct smx_err *err)
{
    const char *text = config_get(g->config, CONFIG_DOMAIN);
    size_t n = 0, len;

    g->domains = smx_strdup(text ? text : "");
    if (!g->domains)
        return smx_err_oom(err);
    fold_case(g->domains);
    g->fe.domains[n++] = "localhost";
    for (char *d = g->domains; *d; d += len) {
        d += strspn(d, ", ");
        len = strcspn(d, ", ");
        if (len == 0 || (len == 9 && memcmp(d, "localhost", 9) == 0))
            continue;
        if (n == FRONTEND_DOMAINS_MAX)
            return smx_err_set(
                err, SMX_E_INVALID, "SANDMUX_DOMAIN: more than %d domains", FRONTEND_DOMAINS_MAX);
        g->fe.domains[n++] = d;
        if (d[len])
            d[len++] = 0;
    }
    g->fe.domains[n] = NULL;
    return 0;
}

static int prepare(struct gateway *g, int argc, char **argv, struct smx_err *err)
{
    struct config_input input = { .no_dotenv = true };
    enum smx_log_level level = SMX_LOG_INFO;
    int r = parse_args(g, argc, argv, err);

    if (r == 0)
        r = config_load(&input, &g->config, err);
    if (r == 0)
        r = inherit_fds(&g->inherited, err);
    if (r < 0)
        return r;
    smx_log_level_parse(config_get(g->config, CONFIG_LOG_LEVEL), &level);
    smx_log_init("sandmux-gateway", level);
    raise_limits();
    hide_memory(g);
    g->fe.require_keys = config_bool(g->config, CONFIG_REQUIRE_KEYS);
    g->fe.runtime_token = config_get(g->config, CONFIG_RUNTIME_TOKEN);
    return split_domains(g, err);
}

/* --- listeners -------------------------------------------------------------------------------- */

static void note_port(uint16_t *ret_port, char *host, size_t size, int fd)
{
    char name[64];
    uint16_t port;

    if (io_local_address(fd, name, sizeof name, &port, /* err= */ NULL) < 0)
        return;
    *ret_port = port;
    smx_strcpy(host, size, name);
}

/* An automatic daemon has no TCP listener until somebody asks for a preview URL. */
static int open_port(struct frontend *fe, struct smx_err *err)
{
    int fd, r;

    if (fe->port)
        return 0;
    r = io_listen_tcp("127.0.0.1", 0, &fd, err);
    if (r < 0)
        return r;
    note_port(&fe->port, fe->host, sizeof fe->host, fd);
    smx_info("listening for sandbox traffic port=%u", (unsigned)fe->port);
    return http_server_listen(fe->server, fd, "tcp", err);
}

static int listen_to(struct gateway *g, size_t i, struct smx_err *err)
{
    struct inherited *in = &g->inherited;
    int fd = smx_take_fd(&in->listeners[i]);

    if (in->is_tls[i])
        return http_server_listen_secure(g->fe.server, fd, "tls", &g->secure, err);
    return http_server_listen(g->fe.server, fd, in->is_unix[i] ? "unix" : "tcp", err);
}

static int start_listening(struct gateway *g, struct smx_err *err)
{
    int r = 0;

    for (size_t i = 0; i < g->inherited.n && r == 0; i++)
        r = listen_to(g, i, err);
    return r;
}

static void note_ports(struct gateway *g)
{
    const struct inherited *in = &g->inherited;
    char unused[64];

    for (size_t i = 0; i < in->n; i++) {
        if (in->is_tls[i])
            note_port(&g->fe.tls_port, unused, sizeof unused, in->listeners[i]);
        else if (!in->is_unix[i])
            note_port(&g->fe.port, g->fe.host, sizeof g->fe.host, in->listeners[i]);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static void request_stop(struct frontend *fe)
{
    struct gateway *g = SMX_CONTAINER_OF(fe, struct gateway, fe);

    control_tell(g, CONTROL_STOP);
    io_event_set(&g->stop);
}

static void signals_run(void *gateway)
{
    static const int wanted[] = { SIGTERM, SIGINT, SIGHUP };
    struct gateway *g = gateway;
    struct io_signals signals;
    int signo = 0;

    if (io_signals_init(&signals, wanted, SMX_ARRAY_LEN(wanted), /* err= */ NULL) < 0)
        return;
    do {
        signo = io_signals_next(&signals, SMX_FOREVER);
    } while (signo == SIGHUP);
    if (signo > 0) {
        smx_info("ending signal=%d", signo);
        io_event_set(&g->stop);
    }
    io_signals_done(&signals);
}

static void collect_gauges(void *gateway)
{
    struct gateway *g = gateway;

    metrics_set(g->g_connections, (double)http_server_connections(g->fe.server));
    metrics_set(g->g_fds, (double)io_loop_fds(g->loop));
    metrics_set(g->g_fibers, (double)io_loop_fibers(g->loop));
    metrics_set(g->g_restarts, (double)g->fe.restarts);
    metrics_set(g->g_engines, (double)g->engine_starts);
    if (g->tls)
        metrics_set(g->g_expiry, (double)tls_context_expires(g->tls));
}

static struct metrics_series *gauge(struct metrics *m, const char *name, const char *help)
{
    return metrics_series(metrics_gauge(m, name, help, /* labels= */ NULL), /* values= */ NULL);
}

static void declare_metrics(struct gateway *g)
{
    struct metrics *m = core_metrics(g->fe.core);

    dispatch_metrics(&g->fe);
    g->g_connections = gauge(m, "sandmux_http_connections", "Open client connections.");
    g->g_fds = gauge(m, "sandmux_descriptors", "Descriptors on the event loop.");
    g->g_fibers = gauge(m, "sandmux_fibers", "Fibers on the event loop.");
    g->g_restarts = gauge(
        m, "sandmux_gateway_restarts", "Times that the supervisor started the gateway again.");
    g->g_engines = gauge(m, "sandmux_engine_restarts", "New engines that this gateway was given.");
    secure_metrics(g);
    metrics_on_collect(m, collect_gauges, g);
}

static int spawn(struct gateway *g, const char *name, io_fiber_fn *fn, struct smx_err *err)
{
    return io_fiber_spawn(g->loop, name, fn, g, /* ret_fiber= */ NULL, err);
}

/* Descriptors are short: the connections to agents that wait for work go before any client's. */
static bool make_room(void *ctx)
{
    struct frontend *fe = ctx;

    return core_shed(fe->core);
}

static int start(struct gateway *g, struct smx_err *err)
{
    struct http_server_config server = { .handler = dispatch,
        .ctx = &g->fe,
        .server_name = "sandmux",
        .make_room = make_room,
        .error_body = native_error_body };
    struct core_config cc = { .loop = g->loop,
        .state_dir = g->state_dir,
        .max_lifetime_s = config_u64(g->config, CONFIG_MAX_LIFETIME_S),
        .default_lifetime_s = config_u64(g->config, CONFIG_DEFAULT_LIFETIME_S) };
    int r;

    if (g->inherited.control >= 0 &&
        (r = io_fd_init(&g->control, smx_take_fd(&g->inherited.control), err)) < 0)
        return r;
    note_ports(g);
    r = secure_open(g, err);
    if (r < 0)
        return r;
    runtimes_fill(g, &cc);
    r = core_open(&cc, &g->fe.core, err);
    if (r == 0)
        r = compose_new(g->fe.core, &g->fe.compose, err);
    if (r < 0)
        return r;
    declare_metrics(g);
    r = http_server_new(g->loop, &server, &g->fe.server, err);
    if (r == 0)
        r = start_listening(g, err);
    if (r == 0)
        r = spawn(g, "signals", signals_run, err);
    if (r == 0 && g->control.fd >= 0)
        r = spawn(g, "control", control_run, err);
    if (r == 0 && g->fe.automatic)
        r = spawn(g, "idle", idle_run, err);
    return r;
}

static void drain(struct gateway *g)
{
    uint64_t deadline = smx_deadline_in_ms(g->supervisor_gone ? DRAIN_ORPHAN_MS : DRAIN_MS);

    frontend_end_endless(&g->fe);
    http_server_drain(g->fe.server, deadline);
    if (smx_now_ns() >= deadline)
        smx_warn("requests that did not finish in time were cut");
}

static void finish(struct gateway *g)
{
    if (g->fe.server) {
        drain(g);
        http_server_free(g->fe.server);
    }
    compose_free(g->fe.compose);
    if (g->fe.core)
        core_close(g->fe.core);
    io_fd_done(&g->control);
}

/* What a new start cannot heal: the supervisor gives up and says so. */
static int exit_status(enum smx_code code)
{
    return code == SMX_E_INVALID || code == SMX_E_FORBIDDEN ? GATEWAY_EXIT_CONFIG : 1;
}

static void main_run(void *gateway)
{
    struct gateway *g = gateway;
    struct smx_err err = { 0 };

    if (start(g, &err) < 0) {
        smx_error("%s", err.msg);
        g->exit_status = exit_status(err.code);
    } else {
        control_tell(g, CONTROL_READY);
        smx_info("ready port=%u tls_port=%u state=%s", (unsigned)g->fe.port,
            (unsigned)g->fe.tls_port, g->state_dir);
        io_event_wait(&g->stop, SMX_FOREVER);
    }
    finish(g);
    io_loop_stop(g->loop);
}

int main(int argc, char **argv)
{
    struct gateway g = {
        .inherited = { .control = -1, .engine = -1, .tls_cert = -1, .tls_key = -1 },
        .control = { .fd = -1 }
    };
    struct smx_err err = { 0 };
    int r;

    if (argc > 1 && smx_streq(argv[1], "tls-init"))
        return tls_init_main(argc - 1, argv + 1);
    smx_log_init("sandmux-gateway", SMX_LOG_INFO);
    io_event_init(&g.stop);
    smx_list_init(&g.fe.endless);
    g.fe.open_port = open_port;
    g.fe.stop = request_stop;
    r = prepare(&g, argc, argv, &err);
    if (r == 0)
        r = io_loop_new(&g.loop, &err);
    if (r == 0) {
        g.fe.loop = g.loop;
        r = io_fiber_spawn(g.loop, "main", main_run, &g, /* ret_fiber= */ NULL, &err);
    }
    if (r == 0)
        r = io_loop_run(g.loop, &err);
    if (r < 0) {
        smx_error("%s", err.msg);
        g.exit_status = exit_status(err.code);
    }
    io_loop_free(g.loop);
    inherit_close(&g.inherited);
    tls_context_free(g.tls);
    config_free(g.config);
    smx_free(g.domains);
    return g.exit_status;
}
