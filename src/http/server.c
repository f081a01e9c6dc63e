/* server.c - listeners and the set of connections: accepting, limits, draining, the end.
 *
 * The server lives until http_server_free() was called and its last fiber has ended. Accepting
 * never spins: without descriptors idle clients are ended, else the newcomer gets 503 by way of a
 * spare descriptor. Loop thread only. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"
#include "http/conn.h"

enum {
    ACCEPT_BATCH = 64,
    FDS_RESERVED = 64, /* for everything but clients */
    SHED_BATCH = 64,
    ACCEPT_PAUSE_MS = 50
};

static void open_spare(struct http_server *s)
{
    if (s->spare_fd < 0)
        s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void set_default(uint64_t *value, uint64_t fallback)
{
    if (*value == 0)
        *value = fallback;
}

int http_server_new(struct io_loop *loop, const struct http_server_config *cfg,
    struct http_server **ret, struct smx_err *err)
{
    struct http_server *s = smx_alloc(sizeof *s);

    if (!s)
        return smx_err_oom(err);
    s->loop = loop;
    s->cfg = *cfg;
    set_default(&s->cfg.head_timeout_ms, SMX_HTTP_HEAD_TIMEOUT_MS);
    set_default(&s->cfg.idle_timeout_ms, SMX_HTTP_IDLE_TIMEOUT_MS);
    set_default(&s->cfg.handshake_timeout_ms, SMX_TLS_HANDSHAKE_TIMEOUT_MS);
    set_default(&s->cfg.write_timeout_ms, SMX_HTTP_WRITE_TIMEOUT_MS);
    set_default(&s->cfg.stream_timeout_ms, SMX_HTTP_STREAM_TIMEOUT_MS);
    set_default(&s->cfg.linger_timeout_ms, SMX_HTTP_LINGER_TIMEOUT_MS);
    set_default(&s->cfg.shed_idle_ms, SMX_HTTP_SHED_IDLE_MS);
    smx_list_init(&s->listeners);
    smx_list_init(&s->conns);
    smx_list_init(&s->idle);
    smx_map_init(&s->peers);
    io_event_init(&s->quiet);
    io_event_set(&s->quiet);
    s->spare_fd = -1;
    open_spare(s);
    *ret = s;
    return 0;
}

static void server_destroy(struct http_server *s)
{
    smx_map_done(&s->peers);
    smx_close(s->spare_fd);
    smx_free(s);
}

void http_server_unref_fiber(struct http_server *s)
{
    assert(s->nfibers > 0);
    if (--s->nfibers > 0)
        return;
    io_event_set(&s->quiet);
    if (s->freed)
        server_destroy(s);
}

static void stop_listening(struct http_server *s)
{
    SMX_LIST_FOREACH(node, &s->listeners)
        io_fiber_cancel(SMX_LIST_ENTRY(node, struct http_listener, node)->fiber);
}

static void cancel_all(struct http_server *s)
{
    SMX_LIST_FOREACH(node, &s->conns)
        io_fiber_cancel(SMX_LIST_ENTRY(node, struct http_conn, all)->fiber);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    s->freed = s->draining = true;
    if (s->nfibers == 0) {
        server_destroy(s);
        return;
    }
    stop_listening(s);
    cancel_all(s);
}

size_t http_server_connections(const struct http_server *s)
{
    return s->nconns;
}

/* --- limits --- */

size_t http_server_shed(struct http_server *s, size_t n)
{
    uint64_t now = smx_now_ns();
    size_t ended = 0;

    SMX_LIST_FOREACH_SAFE(node, &s->idle) {
        struct http_conn *c = SMX_LIST_ENTRY(node, struct http_conn, idle);

        if (ended == n || now - c->idle_since_ns < s->cfg.shed_idle_ms * SMX_NS_PER_MS)
            break;
        smx_list_del(node);
        io_fiber_cancel(c->fiber);
        ended++;
    }
    return ended;
}

/* Asks the owner first, idle clients then; they close while this fiber yields. */
static bool make_room(struct http_server *s)
{
    bool made = s->cfg.make_room && s->cfg.make_room(s->cfg.ctx);

    if (!made)
        made = http_server_shed(s, SHED_BATCH) > 0;
    if (made)
        io_yield();
    return made;
}

static bool descriptors_short(const struct http_server *s)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    return io_loop_fds(s->loop) + FDS_RESERVED >= limit.rlim_cur;
}

static bool too_many(struct http_server *s)
{
    if (s->cfg.connections_max > 0 && s->nconns >= s->cfg.connections_max)
        return http_server_shed(s, SHED_BATCH) == 0;
    return descriptors_short(s) && !make_room(s);
}

/* --- accepting --- */

static void welcome(struct http_listener *l, int fd)
{
    struct http_server *s = l->server;

    if (!too_many(s))
        http_conn_start(s, fd, l->tag, l->secure, /* err= */ NULL);
    else if (l->secure)
        smx_close(fd); /* it would not understand us */
    else
        http_conn_turn_away(s, fd, "too many connections");
}

/* No descriptor for the newcomer: the spare one is his, for as long as it takes to say so. */
static void accept_without_descriptors(struct http_listener *l)
{
    struct http_server *s = l->server;
    int fd;

    if (make_room(s))
        return;
    smx_close(smx_take_fd(&s->spare_fd));
    fd = accept4(l->fd.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && l->secure)
        smx_close(fd);
    else if (fd >= 0)
        http_conn_turn_away(s, fd, "out of file descriptors");
    open_spare(s);
    io_sleep_until(smx_deadline_in_ms(ACCEPT_PAUSE_MS));
}

static void accept_failed(struct http_listener *l, const struct smx_err *err)
{
    switch (err->os_errno) {
    case EMFILE:
    case ENFILE:
        accept_without_descriptors(l);
        break;
    case ECONNABORTED:
    case EPROTO:
        break; /* that client is gone; the next one may be there */
    default:
        io_sleep_until(smx_deadline_in_ms(ACCEPT_PAUSE_MS));
        break;
    }
}

static void listener_free(struct http_listener *l)
{
    struct http_server *s = l->server;

    smx_list_del(&l->node);
    io_fd_done(&l->fd);
    smx_free(l);
    http_server_unref_fiber(s);
}

static void accept_main(void *arg)
{
    struct http_listener *l = arg;
    size_t batch = 0;

    while (!l->server->draining) {
        struct smx_err err = { .code = SMX_OK };
        int fd = -1, r = io_accept(&l->fd, &fd, SMX_FOREVER, &err);

        if (r == -SMX_E_CANCELLED)
            break;
        if (r < 0)
            accept_failed(l, &err);
        else
            welcome(l, fd);
        if (++batch % ACCEPT_BATCH == 0)
            io_yield();
    }
    listener_free(l);
}

/* Accepted sockets inherit these. A dead peer of a silent stream is found by keep-alive probes. */
static void set_options(int fd)
{
    int one = 1, idle_s = 60, interval_s = 15, probes = 4;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        return; /* not TCP */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

int http_server_listen_secure(struct http_server *s, int fd, const char *tag,
    const struct http_secure *secure, struct smx_err *err)
{
    struct http_listener *l = smx_alloc(sizeof *l);
    int r;

    if (!l) {
        smx_close(fd);
        return smx_err_oom(err);
    }
    set_options(fd);
    l->server = s;
    l->tag = tag;
    l->secure = secure;
    r = io_fd_init(&l->fd, fd, err);
    if (r == 0) {
        r = io_fiber_spawn(s->loop, "http accept", accept_main, l, &l->fiber, err);
        if (r < 0)
            io_fd_done(&l->fd);
    }
    if (r < 0) {
        smx_free(l);
        return r;
    }
    smx_list_add(&s->listeners, &l->node);
    s->nfibers++;
    io_event_clear(&s->quiet);
    return 0;
}

int http_server_listen(struct http_server *s, int fd, const char *tag, struct smx_err *err)
{
    return http_server_listen_secure(s, fd, tag, /* secure= */ NULL, err);
}

int http_server_serve_secure_fd(struct http_server *s, int fd, const char *tag,
    const struct http_secure *secure, struct smx_err *err)
{
    return http_conn_start(s, fd, tag, secure, err);
}

int http_server_serve_fd(struct http_server *s, int fd, const char *tag, struct smx_err *err)
{
    return http_conn_start(s, fd, tag, /* secure= */ NULL, err);
}

void http_server_drain(struct http_server *s, uint64_t deadline_ns)
{
    s->draining = true;
    stop_listening(s);
    SMX_LIST_FOREACH(node, &s->idle)
        io_fiber_cancel(SMX_LIST_ENTRY(node, struct http_conn, idle)->fiber);
    if (io_event_wait(&s->quiet, deadline_ns) == 0)
        return;
    cancel_all(s);
    io_shield_begin();
    io_event_wait(&s->quiet, SMX_FOREVER);
    io_shield_end();
}
