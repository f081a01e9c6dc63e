/* server.c - the gateway's connection: requests in, replies and events out.
 *
 * The gateway is not trusted. Each datagram is decoded by table; each request runs in a fiber of
 * its own, at most ENGINE_REQUESTS_MAX at once; descriptors that come along are closed. A gateway
 * that does not read its replies loses its connection, never the engine's time. When a new one is
 * handed over the old connection is closed; requests of the old one go on without an audience, but
 * creates that still wait for their turn are dropped: nobody would know what to do with them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/server.h"

enum {
    WRITE_TIMEOUT_MS = 10000,
    SEND_BUFFER = 1 << 20,
    GRACE_DEFAULT_MS = 5000,
    SETTLE_TIMEOUT_MS = 60000
};

struct gateway {
    struct engine *e;
    struct io_fd fd;
    struct io_sem writer;
    unsigned refs;
    unsigned calls;
    bool listed; /* has asked for a list already */
    bool closed;
};

struct call {
    struct gateway *g;
    struct engine_request req;
};

/* --- connection --------------------------------------------------------------------------------
 */

static void gateway_unref(struct gateway *g)
{
    if (--g->refs > 0)
        return;
    io_fd_done(&g->fd);
    smx_free(g);
}

/* The reader notices the end and cleans up. */
static void gateway_hang_up(struct gateway *g)
{
    if (!g->closed)
        shutdown(g->fd.fd, SHUT_RDWR);
    g->closed = true;
}

int reply_send(struct io_fd *fd, struct io_sem *writer, const struct engine_reply *reply,
    int extra_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf buf;
    int r;

    smx_buf_init(&buf, SMX_ENGINE_MESSAGE_MAX);
    r = json_encode_to(&buf, &engine_reply_table, reply, err);
    if (r < 0)
        return r;
    r = io_sem_acquire(writer, smx_deadline_in_ms(WRITE_TIMEOUT_MS));
    if (r < 0)
        return r;
    r = io_send_fds(fd, buf.data, buf.len, &extra_fd, extra_fd >= 0 ? 1 : 0,
        smx_deadline_in_ms(WRITE_TIMEOUT_MS), err);
    io_sem_release(writer);
    return r;
}

static void gateway_reply(struct gateway *g, const struct engine_reply *reply, int extra_fd)
{
    if (g->closed)
        return;
    if (reply_send(&g->fd, &g->writer, reply, extra_fd, NULL) < 0)
        gateway_hang_up(g);
}

void reply_error(struct engine_reply *reply, int r, struct smx_err *err)
{
    if (err->code == SMX_OK)
        err->code = (enum smx_code) - r;
    /* The tables describe both directions, so their strings are not const. */
    reply->error = (char *)(uintptr_t)smx_code_name(err->code);
    reply->message = err->msg;
}

/* --- requests ----------------------------------------------------------------------------------
 */

static int find(struct engine *e, const char *id, struct box **ret, struct smx_err *err)
{
    struct box *b = box_find(e, id);

    if (!b)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox '%s' not found", id);
    *ret = box_ref(b);
    return 0;
}

static int run_op(
    struct box *b, const struct engine_request *req, struct answer *a, struct smx_err *err)
{
    switch ((enum engine_op)req->op) {
    case ENGINE_OP_START:
        return box_start(b, req, err);
    case ENGINE_OP_STOP:
        return box_stop(b, req->has_grace ? req->grace_ms : GRACE_DEFAULT_MS, err);
    case ENGINE_OP_PAUSE:
        return box_pause(b, err);
    case ENGINE_OP_RESUME:
        return box_resume(b, err);
    case ENGINE_OP_DELETE:
        return box_delete(b, ENGINE_REASON_DELETED, err);
    case ENGINE_OP_SET_DEADLINE:
        return box_set_deadline(b, req->has_deadline, req->deadline_ms, err);
    case ENGINE_OP_GET:
        return 0;
    case ENGINE_OP_STATS:
        a->reply.stats = &a->stats;
        return box_stats(b, req->brief, &a->stats, err);
    case ENGINE_OP_CONNECT_AGENT:
        return dial_agent(b, &a->fd, err);
    case ENGINE_OP_CONNECT_PORT:
        return dial_port(b, (uint16_t)req->port, &a->fd, err);
    case ENGINE_OP_HELLO:
    case ENGINE_OP_CREATE:
    case ENGINE_OP_LIST:
    case ENGINE_OP_DOCTOR:
    case ENGINE_OP_GATEWAY:
    case ENGINE_OP_SHUTDOWN:
    case ENGINE_OP_COUNT_:
        break;
    }
    return smx_err_set(
        err, SMX_E_UNSUPPORTED, "'%s' is not for this connection", engine_op_names[req->op]);
}

static int with_box(
    struct engine *e, const struct engine_request *req, struct answer *a, struct smx_err *err)
{
    int r;

    if (req->op == ENGINE_OP_CREATE)
        r = box_create(e, req, a->gone, &a->box, err);
    else
        r = find(e, req->id, &a->box, err);
    if (r == 0 && req->op != ENGINE_OP_CREATE)
        r = run_op(a->box, req, a, err);
    /* Who makes a sandbox uses it at once; without the descriptor it asks for one. */
    if (r == 0 && (req->op == ENGINE_OP_CREATE || req->op == ENGINE_OP_START))
        (void)dial_agent(a->box, &a->fd, NULL);
    if (r == 0) {
        box_info(a->box, &a->sandbox);
        a->reply.sandbox = &a->sandbox;
    }
    return r;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct engine_sandbox *)a)->id, ((const struct engine_sandbox *)b)->id);
}

/* Keeps the ENGINE_LIST_PAGE lowest ids above after: fills a page and one more, sorts, cuts. */
static void list_boxes(struct engine *e, const char *after, struct answer *a)
{
    struct engine_sandbox *page = a->page;
    struct box *b;
    size_t pos = 0, n = 0;

    while ((b = smx_map_next(&e->boxes, &pos)) != NULL) {
        if (b->m.state == ENGINE_STATE_CREATING || (after && strcmp(b->m.id, after) <= 0))
            continue;
        box_info(b, &page[n++]);
        if (n == ANSWER_PAGE_ROOM) {
            qsort(page, n, sizeof *page, by_id);
            n = ENGINE_LIST_PAGE + 1;
        }
    }
    qsort(page, n, sizeof *page, by_id);
    if (n > ENGINE_LIST_PAGE) {
        n = ENGINE_LIST_PAGE;
        a->reply.next = page[n - 1].id;
    }
    a->reply.sandboxes.v = page;
    a->reply.sandboxes.n = n;
}

static int list_op(
    struct engine *e, const struct engine_request *req, struct answer *a, struct smx_err *err)
{
    a->page = smx_alloc_array(ANSWER_PAGE_ROOM, sizeof *a->page);
    if (!a->page)
        return smx_err_oom(err);
    list_boxes(e, req->after, a);
    return 0;
}

static int doctor_op(struct engine *e, struct answer *a, struct smx_err *err)
{
    a->report = smx_alloc(sizeof *a->report);
    if (!a->report)
        return smx_err_oom(err);
    report_checks(e, a->report);
    a->reply.checks.v = a->report->checks;
    a->reply.checks.n = a->report->n;
    return 0;
}

int answer_request(
    struct engine *e, const struct engine_request *req, struct answer *a, struct smx_err *err)
{
    if (req->op == ENGINE_OP_HELLO) {
        report_hello(e, &a->hello);
        a->reply.hello = &a->hello;
        return 0;
    }
    if (req->op == ENGINE_OP_LIST)
        return list_op(e, req, a, err);
    if (req->op == ENGINE_OP_DOCTOR)
        return doctor_op(e, a, err);
    if (req->op == ENGINE_OP_GATEWAY || req->op == ENGINE_OP_SHUTDOWN)
        return smx_err_set(
            err, SMX_E_FORBIDDEN, "'%s' is for the control socket", engine_op_names[req->op]);
    return with_box(e, req, a, err);
}

void answer_done(struct answer *a)
{
    box_unref(a->box);
    smx_close(a->fd);
    smx_free(a->page);
    smx_free(a->report);
}

static bool is_changing(const struct box *b)
{
    return b->m.state == ENGINE_STATE_CREATING || b->m.state == ENGINE_STATE_STOPPING ||
           b->m.state == ENGINE_STATE_DELETING;
}

/* [parks] What an earlier gateway asked for and never heard of is brought to its end, so that the
 * first list of a new one holds no sandbox half-way, and none is missing. */
static void settle(struct engine *e)
{
    uint64_t deadline = smx_deadline_in_ms(SETTLE_TIMEOUT_MS);
    struct box **v = smx_alloc_array(e->boxes.count, sizeof(*v)), *b;
    size_t n = 0, pos = 0;

    while (v && (b = smx_map_next(&e->boxes, &pos)) != NULL)
        if (is_changing(b))
            v[n++] = box_ref(b);
    for (size_t i = 0; i < n; i++) {
        if (io_sem_acquire(&v[i]->lock, deadline) == 0)
            io_sem_release(&v[i]->lock);
        box_unref(v[i]);
    }
    smx_free(v);
}

static void call_main(void *arg)
{
    struct call *c = arg;
    struct gateway *g = c->g;
    struct smx_err err = { 0 };
    struct answer a = { .fd = -1, .gone = &g->closed };
    int r;

    a.reply.seq = c->req.seq;
    if (c->req.op == ENGINE_OP_LIST && !g->listed) {
        g->listed = true;
        settle(g->e);
    }
    r = answer_request(g->e, &c->req, &a, &err);
    if (r < 0)
        reply_error(&a.reply, r, &err);
    gateway_reply(g, &a.reply, r == 0 ? a.fd : -1);
    answer_done(&a);
    json_free(&engine_request_table, &c->req);
    smx_free(c);
    g->calls--;
    gateway_unref(g);
}

/* --- reading -----------------------------------------------------------------------------------
 */

static void refuse(struct gateway *g, uint64_t seq, int r, struct smx_err *err)
{
    struct engine_reply reply = { .seq = seq };

    reply_error(&reply, r, err);
    gateway_reply(g, &reply, -1);
}

static int start_call(struct gateway *g, struct engine_request *req, struct smx_err *err)
{
    struct call *c;
    int r;

    if (g->calls >= ENGINE_REQUESTS_MAX)
        return smx_err_set(err, SMX_E_BUSY, "more than %d requests at once", ENGINE_REQUESTS_MAX);
    c = smx_alloc(sizeof *c);
    if (!c)
        return smx_err_oom(err);
    *c = (struct call){ .g = g, .req = *req };
    r = io_fiber_spawn(g->e->loop, "call", call_main, c, NULL, err);
    if (r < 0) {
        smx_free(c);
        return r;
    }
    g->refs++;
    g->calls++;
    *req = (struct engine_request){ 0 };
    return 0;
}

static void take_message(struct gateway *g, const char *data, size_t n)
{
    struct engine_request req = { 0 };
    struct smx_err err = { 0 };
    uint64_t seq;
    int r = engine_request_decode(data, n, &req, &err);

    g->e->asked_ns = smx_now_ns();
    seq = req.seq;
    if (r == 0) {
        r = start_call(g, &req, &err);
        json_free(&engine_request_table, &req);
    }
    if (r < 0)
        refuse(g, seq, r, &err);
}

static void reader_main(void *arg)
{
    struct gateway *g = arg;
    struct engine *e = g->e;
    char *buf = smx_alloc(SMX_ENGINE_MESSAGE_MAX);
    struct smx_err err = { 0 };
    ssize_t n = -1;

    while (buf) {
        size_t nfds = 0;

        n = io_recv_fds(&g->fd, buf, SMX_ENGINE_MESSAGE_MAX, NULL, &nfds, SMX_FOREVER, &err);
        if (n <= 0)
            break;
        take_message(g, buf, (size_t)n);
        io_fair((size_t)n);
    }
    if (n < 0 && !e->stopping)
        smx_warn("gateway's connection: %s", buf ? err.msg : "out of memory");
    smx_free(buf);
    g->closed = true;
    if (e->gateway == g)
        e->gateway = NULL;
    engine_maybe_leave(e);
    gateway_unref(g);
}

int gateway_serve(struct engine *e, int fd, struct smx_err *err)
{
    int size = SEND_BUFFER, r;
    struct gateway *g = smx_alloc(sizeof *g);

    if (!g) {
        smx_close(fd);
        return smx_err_oom(err);
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    r = io_fd_init(&g->fd, fd, err);
    if (r < 0) {
        smx_free(g);
        return r;
    }
    g->e = e;
    g->refs = 1; /* the reader's */
    io_sem_init(&g->writer, 1);
    r = io_fiber_spawn(e->loop, "gateway", reader_main, g, NULL, err);
    if (r < 0) {
        gateway_unref(g);
        return r;
    }
    if (e->gateway)
        gateway_hang_up(e->gateway);
    e->gateway = g;
    return 0;
}

/* --- events ------------------------------------------------------------------------------------
 */

struct event {
    struct gateway *g;
    struct box *b;
    struct engine_reply reply;
    struct engine_sandbox sandbox;
};

static void event_main(void *arg)
{
    struct event *ev = arg;

    gateway_reply(ev->g, &ev->reply, -1);
    box_unref(ev->b);
    gateway_unref(ev->g);
    smx_free(ev);
}

void gateway_event(struct engine *e, enum engine_event event, struct box *b)
{
    struct event *ev = e->gateway ? smx_alloc(sizeof *ev) : NULL;

    if (!ev)
        return;
    ev->g = e->gateway;
    ev->b = box_ref(b);
    ev->g->refs++;
    ev->reply.event = (int)event;
    box_info(b, &ev->sandbox);
    ev->reply.sandbox = &ev->sandbox;
    if (io_fiber_spawn(e->loop, "event", event_main, ev, NULL, NULL) < 0) {
        box_unref(b);
        gateway_unref(ev->g);
        smx_free(ev);
    }
}
