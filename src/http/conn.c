/* conn.c - the fiber of a connection: read a head, run the handler, tidy up, again.
 *
 * A connection is idle (in server->idle, may be ended at any moment) or busy. A head has one
 * deadline from its first byte on, however it trickles. A connection that ends while its client may
 * still be sending is closed softly: half of it first, then what arrives is dropped for a while, so
 * that the reply is not lost to a reset. Loop thread only. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "http/conn.h"

static void conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;

    http_exchange_done(&c->x);
    http_in_done(&c->in);
    io_fd_done(&c->fd);
    http_peer_count_down(c);
    smx_list_del(&c->idle);
    smx_list_del(&c->all);
    s->nconns--;
    smx_free(c);
    http_server_unref_fiber(s);
}

/* --- the end of a connection --- */

static void close_softly(struct http_conn *c)
{
    uint64_t deadline_ns = smx_deadline_in_ms(c->server->cfg.linger_timeout_ms);
    char *data = http_pool_get();

    if (data && io_close_write(&c->fd) == 0)
        while (io_read(&c->fd, data, HTTP_POOL_SIZE, deadline_ns, /* err= */ NULL) > 0)
            continue;
    http_pool_put(data);
}

void http_reply_error_text(const struct http_server *s, int status, const char *message,
    struct smx_buf *out, const char **ret_type)
{
    *ret_type = "text/plain; charset=utf-8";
    if (s->cfg.error_body)
        s->cfg.error_body(status, message, out, ret_type, s->cfg.ctx);
    else
        smx_buf_appendf(out, "%d %s: %s\n", status, h1_reason(status), message);
}

/* A request that never became an exchange. */
static void refuse(struct http_conn *c, int status, const char *message)
{
    struct http_exchange *x = &c->x;
    struct smx_buf body;
    const char *type;

    http_exchange_done(x);
    http_exchange_init(x, c);
    x->body.done = x->close = true;
    x->request.head.minor = 1;
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    http_reply_error_text(c->server, status, message, &body, &type);
    if (http_reply(x, status, type, body.data, body.len) == 0)
        close_softly(c);
    smx_buf_done(&body);
}

/* --- one exchange --- */

/* Reads what the handler left of the body; false when the connection cannot go on. */
static bool drain_body(struct http_exchange *x)
{
    uint64_t deadline_ns = smx_deadline_in_ms(x->conn->server->cfg.linger_timeout_ms);
    char *data = http_pool_get();
    ssize_t n = 1;

    for (size_t total = 0; data && n > 0 && total <= SMX_HTTP_DRAIN_MAX; total += (size_t)n)
        n = http_body_read(x, data, HTTP_POOL_SIZE, deadline_ns, /* err= */ NULL);
    http_pool_put(data);
    return x->body.done;
}

static void reply_missing(struct http_exchange *x)
{
    static const char message[] = "the request was not answered";
    struct smx_buf body;
    const char *type;

    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    http_reply_error_text(x->conn->server, 500, message, &body, &type);
    http_reply(x, 500, type, body.data, body.len);
    smx_buf_done(&body);
}

/* True when the connection goes on. */
static bool finish(struct http_exchange *x)
{
    struct http_conn *c = x->conn;

    if (x->aborted || x->broken || x->upgraded)
        return false;
    if (x->state == HTTP_NONE)
        reply_missing(x);
    if (x->state != HTTP_DONE || x->broken)
        return false;
    if (!x->close && (x->body.done || drain_body(x)))
        return true;
    if (!x->body.done || http_in_size(&c->in) > 0)
        close_softly(c);
    return false;
}

static bool serve_one(struct http_conn *c, struct http_message *request, int passed)
{
    struct http_exchange *x = &c->x;
    bool go_on;

    http_exchange_init(x, c);
    x->request = *request;
    x->passed = passed;
    http_body_init(&x->body, &x->request.head);
    c->server->cfg.handler(x, c->server->cfg.ctx);
    go_on = finish(x);
    http_exchange_done(x);
    return go_on;
}

/* Waits for the first byte of the next request. */
static int wait_idle(struct http_conn *c, uint64_t timeout_ms)
{
    struct http_server *s = c->server;
    int r;

    if (http_in_size(&c->in) > 0)
        return 0;
    c->idle_since_ns = smx_now_ns();
    smx_list_add(&s->idle, &c->idle);
    r = http_in_wait(&c->in, &c->fd, /* watch= */ NULL,
        c->idle_since_ns + timeout_ms * SMX_NS_PER_MS,
        /* err= */ NULL);
    smx_list_del(&c->idle);
    return r;
}

/* 1 when a request was served and more may follow. */
static bool turn(struct http_conn *c, bool first)
{
    struct http_server *s = c->server;
    struct http_head_want want = { .deadline_ns = 0 };
    struct http_message request; /* set when there is one */
    struct smx_err err;
    int passed = 0, status = 0,
        r = wait_idle(c, first ? s->cfg.head_timeout_ms : s->cfg.idle_timeout_ms);

    smx_err_init(&err);
    if (r == -SMX_E_TIMEOUT && first)
        refuse(c, 408, "no request arrived in time");
    if (r < 0)
        return false;
    want.deadline_ns = smx_deadline_in_ms(s->cfg.head_timeout_ms);
    if (s->cfg.descriptors && c->peer.unix_socket && !c->secure)
        want.passed = &passed;
    r = http_in_head(&c->in, &c->fd, &want, &request, &status, &err);
    if (r > 0)
        return serve_one(c, &request, passed);
    smx_close(passed - 1);
    if (r < 0 && status == 408)
        refuse(c, 408, "the head of the request did not arrive in time");
    else if (r < 0 && status > 0)
        refuse(c, status, err.msg);
    return false;
}

/* Like an idle connection, one that shakes hands may be ended at any moment. */
static bool make_secure(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct smx_err err = { .code = SMX_OK };
    int r;

    if (!c->secure)
        return true;
    c->idle_since_ns = smx_now_ns();
    smx_list_add(&s->idle, &c->idle);
    r = c->secure->accept(c->secure->ctx, &c->fd,
        c->idle_since_ns + s->cfg.handshake_timeout_ms * SMX_NS_PER_MS, &err);
    smx_list_del(&c->idle);
    io_fiber_trim(); /* a handshake goes deep */
    c->peer.secure = r == 0;
    if (r == -SMX_E_INVALID)
        refuse(c, 400, err.msg);
    return r == 0;
}

static void conn_main(void *arg)
{
    struct http_conn *c = arg;
    bool first = true, ready = make_secure(c);

    while (ready && !c->server->draining && turn(c, first))
        first = false;
    conn_free(c);
}

/* --- the beginning --- */

/* A client that cannot have a fiber: one attempt to write, no waiting. */
void http_conn_turn_away(struct http_server *s, int fd, const char *why)
{
    SMX_CLEANUP(smx_closep) int owned = fd;
    const char *type;
    struct smx_buf body, out;
    char drop[1024];

    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    smx_buf_init(&out, SMX_HTTP_JSON_BODY_MAX + SMX_HTTP_HEAD_MAX);
    http_reply_error_text(s, 503, why, &body, &type);
    h1_write_status(&out, 503);
    h1_write_field(&out, "Content-Type", smx_view_of(type));
    smx_buf_appendf(
        &out, "Content-Length: %zu\r\nConnection: close\r\nRetry-After: 1\r\n\r\n", body.len);
    smx_buf_append(&out, body.data, body.len);
    if (!out.failed && !body.failed &&
        send(owned, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        shutdown(owned, SHUT_WR);
    /* Unread bytes at close would reset the connection and take the answer with it. */
    while (recv(owned, drop, sizeof drop, MSG_DONTWAIT) > 0)
        continue;
    smx_buf_done(&body);
    smx_buf_done(&out);
}

static int conn_new(
    struct http_server *s, int fd, const char *tag, struct http_conn **ret, struct smx_err *err)
{
    struct http_conn *c = smx_alloc(sizeof *c);
    int one = 1, r;

    if (!c) {
        smx_close(fd);
        return smx_err_oom(err);
    }
    c->server = s;
    smx_list_init(&c->all);
    smx_list_init(&c->idle);
    http_peer_init(&c->peer, fd, tag);
    if (!c->peer.unix_socket)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    r = io_fd_init(&c->fd, fd, err);
    if (r < 0) {
        smx_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

static void turn_away(struct http_conn *c, const char *why)
{
    if (c->secure)
        io_fd_done(&c->fd); /* it would not understand us */
    else
        http_conn_turn_away(c->server, io_fd_take(&c->fd), why);
    smx_free(c);
}

int http_conn_start(struct http_server *s, int fd, const char *tag,
    const struct http_secure *secure, struct smx_err *err)
{
    struct http_conn *c = NULL;
    int r = conn_new(s, fd, tag, &c, err);

    if (r < 0)
        return r;
    c->secure = secure;
    if (!http_peer_count_up(s, c)) {
        turn_away(c, "too many connections from this address");
        return smx_err_set(err, SMX_E_RATE_LIMITED, "too many connections from one address");
    }
    r = io_fiber_spawn(s->loop, "http connection", conn_main, c, &c->fiber, err);
    if (r < 0) {
        http_peer_count_down(c);
        turn_away(c, "no memory for another connection");
        return r;
    }
    smx_list_add(&s->conns, &c->all);
    s->nconns++;
    s->nfibers++;
    io_event_clear(&s->quiet);
    return 0;
}
