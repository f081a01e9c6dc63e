/* engine.c - requests to sandmux-engine over its SEQPACKET socket, several at once, told apart by
 * their numbers. A reader fiber hands each reply to the fiber that waits for it; when the socket
 * breaks all waiters hear of it and may ask again on the next one. One loop's thread. */
#include "providers/local/internal.h"

#include "base/fd.h"
#include "base/log.h"

struct pending {
    struct smx_list link;
    uint64_t seq;
    struct io_event done;
    bool answered; /* reply and fd are filled; else the connection broke */
    struct engine_reply reply;
    int fd;
    int r; /* of decoding */
    struct smx_err err;
};

static void pulse(struct io_event *e)
{
    io_event_set(e);
    io_event_clear(e);
}

/* --- replies and events -------------------------------------------------------------------- */

void local_info(const struct local *l, const struct engine_sandbox *s, struct provider_info *ret)
{
    static const enum provider_box_state states[] = {
        [ENGINE_STATE_CREATING] = PROVIDER_BOX_UNKNOWN,
        [ENGINE_STATE_RUNNING] = PROVIDER_BOX_RUNNING,
        [ENGINE_STATE_PAUSED] = PROVIDER_BOX_PAUSED,
        [ENGINE_STATE_STOPPING] = PROVIDER_BOX_UNKNOWN,
        [ENGINE_STATE_STOPPED] = PROVIDER_BOX_STOPPED,
        [ENGINE_STATE_DELETING] = PROVIDER_BOX_UNKNOWN,
        [ENGINE_STATE_GONE] = PROVIDER_BOX_GONE,
    };

    *ret = (struct provider_info){ .state = states[s->state],
        .resources = { .cpu = (double)s->resources.cpu_milli / 1000,
            .memory_mib = s->resources.memory_mib,
            .disk_mib = s->resources.disk_mib,
            .pids = s->resources.pids },
        .limits_hard = l->limits_hard && !s->soft };
    smx_strcpy(ret->provider_id, sizeof ret->provider_id, s->id);
    smx_strcpy(ret->id, sizeof ret->id, s->id);
    smx_strcpy(ret->token, sizeof ret->token, s->token ? s->token : "");
    if (s->reason != ENGINE_REASON_NONE && s->reason != ENGINE_REASON_STOPPED)
        smx_strcpy(ret->reason, sizeof ret->reason, engine_reason_names[s->reason]);
    if (s->has_deadline)
        ret->expires_unix_ms = smx_now_unix_ms() + (int64_t)s->deadline_ms;
}

static void on_event(struct local *l, const struct engine_reply *reply)
{
    struct provider_info info;

    if (!reply->sandbox)
        return;
    local_info(l, reply->sandbox, &info);
    switch ((enum engine_event)reply->event) {
    case ENGINE_EVENT_ENDED:
        l->host.changed(l->host.ctx, info.provider_id, info.state, info.reason);
        break;
    case ENGINE_EVENT_PAUSED:
        l->host.changed(l->host.ctx, info.provider_id, info.state, "expired");
        break;
    case ENGINE_EVENT_OOM:
        l->host.log(l->host.ctx, info.provider_id,
            "a process was killed: the sandbox reached its memory limit");
        break;
    case ENGINE_EVENT_NONE:
    case ENGINE_EVENT_COUNT_:
        break;
    }
}

static struct pending *find_pending(struct local *l, uint64_t seq)
{
    SMX_LIST_FOREACH(it, &l->pending) {
        struct pending *p = SMX_LIST_ENTRY(it, struct pending, link);

        if (p->seq == seq)
            return p;
    }
    return NULL;
}

static bool was_left(const struct local *l, uint64_t seq)
{
    for (size_t i = 0; i < SMX_MIN(l->n_left, (size_t)LOCAL_LEFT_MAX); i++)
        if (l->left[i] == seq)
            return true;
    return false;
}

/* One datagram. Replies that nobody waits for any more are dropped with what they bring; of a
 * change whoever asked for it was told that it failed, so the host has to look what is there. */
static void on_message(struct local *l, size_t n, int *fds, size_t nfds)
{
    struct engine_reply reply;
    struct smx_err err = { 0 };
    struct pending *p;

    if (engine_reply_decode(l->in, n, &reply, &err) < 0) {
        smx_warn("the engine sent what cannot be read: %s", err.msg);
        goto close_fds;
    }
    p = reply.seq ? find_pending(l, reply.seq) : NULL;
    if (!p) {
        if (reply.seq == 0)
            on_event(l, &reply);
        else if (was_left(l, reply.seq))
            l->host.reset(l->host.ctx);
        json_free(&engine_reply_table, &reply);
        goto close_fds;
    }
    smx_list_del(&p->link);
    p->answered = true;
    p->reply = reply;
    if (nfds > 0)
        p->fd = smx_take_fd(&fds[0]);
    io_event_set(&p->done);
close_fds:
    for (size_t i = 0; i < nfds; i++)
        smx_close(fds[i]);
}

/* --- the connection ------------------------------------------------------------------------ */

static void fiber_ended(struct local *l)
{
    if (--l->fibers == 0)
        io_event_set(&l->no_fibers);
}

static int spawn_fiber(struct local *l, const char *name, io_fiber_fn *fn)
{
    int r = io_fiber_spawn(l->loop, name, fn, l, /* ret_fiber= */ NULL, /* err= */ NULL);

    if (r == 0) {
        l->fibers++;
        io_event_clear(&l->no_fibers);
    }
    return r;
}

static void drop(struct local *l)
{
    if (l->fd.fd < 0)
        return;
    io_fd_done(&l->fd);
    io_event_clear(&l->up);
    l->epoch++;
    SMX_LIST_FOREACH_SAFE(it, &l->pending) {
        struct pending *p = SMX_LIST_ENTRY(it, struct pending, link);

        smx_list_del(it);
        io_event_set(&p->done);
    }
    pulse(&l->changed);
}

static void reader(void *arg)
{
    struct local *l = arg;
    uint64_t epoch = l->epoch;

    while (l->epoch == epoch) {
        int fds[SMX_FDS_MAX];
        size_t nfds = SMX_FDS_MAX;
        struct smx_err err = { 0 };
        ssize_t n =
            io_recv_fds(&l->fd, l->in, SMX_ENGINE_MESSAGE_MAX, fds, &nfds, SMX_FOREVER, &err);

        if (l->epoch != epoch)
            break;
        if (n <= 0) {
            if (!l->closing)
                smx_warn("the engine's connection ended%s%s", n < 0 ? ": " : "", err.msg);
            drop(l);
            break;
        }
        on_message(l, (size_t)n, fds, nfds);
    }
    fiber_ended(l);
}

static void greeter(void *arg)
{
    struct local *l = arg;
    struct smx_err err = { 0 };

    if (engine_greet(l, smx_deadline_in_ms(LOCAL_RECONNECT_MS), &err) < 0)
        smx_warn("the engine did not answer: %s", err.msg);
    else if (!l->closing)
        l->host.reset(l->host.ctx);
    fiber_ended(l);
}

void engine_connection_attach(struct local *l, int fd, bool first)
{
    struct smx_err err = { 0 };

    drop(l);
    if (l->closing) {
        smx_close(fd);
        return;
    }
    if (io_fd_init(&l->fd, fd, &err) < 0) {
        smx_error("the engine's socket cannot be used: %s", err.msg);
        return;
    }
    if (spawn_fiber(l, "engine-reader", reader) < 0) {
        io_fd_done(&l->fd);
        smx_error("no memory to read from the engine");
        return;
    }
    io_event_set(&l->up);
    pulse(&l->changed);
    if (!first)
        spawn_fiber(l, "engine-hello", greeter);
}

int engine_connection_init(struct local *l, struct smx_err *err)
{
    l->fd.fd = -1;
    io_event_init(&l->up);
    io_event_init(&l->changed);
    io_event_init(&l->no_fibers);
    io_event_set(&l->no_fibers);
    io_sem_init(&l->writer, 1);
    smx_list_init(&l->pending);
    l->in = smx_alloc(SMX_ENGINE_MESSAGE_MAX);
    return l->in ? 0 : smx_err_oom(err);
}

void engine_connection_done(struct local *l)
{
    l->closing = true;
    drop(l);
    io_event_set(&l->up); /* whoever waits for an engine looks again and leaves */
    io_shield_begin();
    if (l->fibers > 0)
        io_event_wait(&l->no_fibers, SMX_FOREVER);
    io_shield_end();
    smx_free(l->in);
}

/* --- asking -------------------------------------------------------------------------------- */

/* Asked twice it does the same as asked once. */
static bool repeatable(enum engine_op op)
{
    switch (op) {
    case ENGINE_OP_HELLO:
    case ENGINE_OP_DELETE:
    case ENGINE_OP_SET_DEADLINE:
    case ENGINE_OP_GET:
    case ENGINE_OP_LIST:
    case ENGINE_OP_STATS:
    case ENGINE_OP_CONNECT_AGENT:
    case ENGINE_OP_CONNECT_PORT:
    case ENGINE_OP_DOCTOR:
        return true;
    case ENGINE_OP_CREATE:
    case ENGINE_OP_START:
    case ENGINE_OP_STOP:
    case ENGINE_OP_PAUSE:
    case ENGINE_OP_RESUME:
    case ENGINE_OP_GATEWAY:
    case ENGINE_OP_SHUTDOWN:
    case ENGINE_OP_COUNT_:
        break;
    }
    return false;
}

/* Brings a descriptor when it can. */
static bool may_bring(enum engine_op op)
{
    return op == ENGINE_OP_CREATE || op == ENGINE_OP_START;
}

static bool changes(enum engine_op op)
{
    return op == ENGINE_OP_DELETE || op == ENGINE_OP_STOP || op == ENGINE_OP_PAUSE ||
           op == ENGINE_OP_RESUME || op == ENGINE_OP_START || op == ENGINE_OP_CREATE;
}

static int wait_up(struct local *l, uint64_t deadline, struct smx_err *err)
{
    int r;

    if (l->fd.fd >= 0)
        return 0;
    r = l->closing
            ? 0
            : io_event_wait(&l->up, SMX_MIN(deadline, smx_deadline_in_ms(LOCAL_RECONNECT_MS)));
    if (l->closing || l->fd.fd < 0)
        return r == -SMX_E_CANCELLED ? smx_err_set(err, SMX_E_CANCELLED, "waiting for the engine")
                                     : smx_err_set(err, SMX_E_UNAVAILABLE,
                                           "the engine of local sandboxes is not running");
    return 0;
}

static int send_request(
    struct local *l, const struct engine_request *req, uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf buf = { 0 };
    uint64_t epoch = l->epoch;
    int r;

    smx_buf_init(&buf, SMX_ENGINE_MESSAGE_MAX);
    r = json_encode_to(&buf, &engine_request_table, req, err);
    if (r < 0)
        return r;
    r = io_sem_acquire(&l->writer, deadline);
    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "waiting for the engine");
    if (l->epoch != epoch || l->fd.fd < 0)
        r = smx_err_set(err, SMX_E_CLOSED, "the engine was replaced");
    else
        r = io_send_fds(&l->fd, buf.data, buf.len, NULL, 0, deadline, err);
    io_sem_release(&l->writer);
    return r;
}

/* One attempt. -SMX_E_CLOSED: the connection broke and nobody knows whether it was done. */
static int ask_once(struct local *l, struct engine_request *req, struct pending *p,
    uint64_t deadline, struct smx_err *err)
{
    int r = wait_up(l, deadline, err);

    if (r < 0)
        return r;
    *p = (struct pending){ .seq = ++l->last_seq, .fd = -1 };
    io_event_init(&p->done);
    req->seq = p->seq;
    smx_list_add(&l->pending, &p->link);
    r = send_request(l, req, deadline, err);
    if (r == 0) {
        r = io_event_wait(&p->done, deadline);
        if (r < 0)
            smx_err_set(err, (enum smx_code) - r, "waiting for the engine to answer '%s'",
                engine_op_names[req->op]);
    }
    smx_list_del(&p->link);
    if (p->answered)
        return 0;
    if (r < 0 && changes((enum engine_op)req->op))
        l->left[l->n_left++ % LOCAL_LEFT_MAX] = p->seq;
    return r < 0 ? r : smx_err_set(err, SMX_E_CLOSED, "the engine went away");
}

int engine_ask(struct local *l, struct engine_request *req, struct engine_reply *ret, int *ret_fd,
    uint64_t deadline, struct smx_err *err)
{
    struct pending p;
    int r;

    do {
        r = ask_once(l, req, &p, deadline, err);
    } while (r == -SMX_E_CLOSED && repeatable((enum engine_op)req->op) && smx_now_ns() < deadline &&
             !l->closing);
    if (r == -SMX_E_CLOSED)
        return smx_err_set(err, SMX_E_AMBIGUOUS, "the engine went away while it was asked to %s",
            engine_op_names[req->op]);
    if (r < 0)
        return r;
    r = engine_reply_error(&p.reply, err);
    if (r == 0 && ret_fd && p.fd < 0 && !may_bring((enum engine_op)req->op))
        r = smx_err_set(err, SMX_E_PROTOCOL, "the engine sent no descriptor");
    if (r < 0 || !ret_fd)
        smx_close(p.fd);
    if (r < 0) {
        json_free(&engine_reply_table, &p.reply);
        return r;
    }
    if (ret_fd)
        *ret_fd = p.fd;
    *ret = p.reply;
    return 0;
}

static void remember(struct local *l, const struct engine_hello *h)
{
    l->known = true;
    l->ready = h->ready;
    l->pause = h->pause;
    l->limits_hard = h->limits && smx_streq(h->limits, "hard");
    l->defaults = h->defaults;
    smx_strcpy(l->why, sizeof l->why, h->why ? h->why : "");
    l->n_templates = SMX_MIN(h->templates.n, (size_t)LOCAL_TEMPLATES_MAX);
    for (size_t i = 0; i < l->n_templates; i++)
        smx_strcpy(l->templates[i], sizeof l->templates[i], h->templates.v[i]);
}

int engine_greet(struct local *l, uint64_t deadline, struct smx_err *err)
{
    struct engine_request req = { .op = ENGINE_OP_HELLO, .version = ENGINE_WIRE_VERSION };
    struct engine_reply reply;
    int r = engine_ask(l, &req, &reply, /* ret_fd= */ NULL, deadline, err);

    if (r < 0)
        return r;
    if (!reply.hello)
        r = smx_err_set(err, SMX_E_PROTOCOL, "the engine said nothing of itself");
    else if (reply.hello->version != ENGINE_WIRE_VERSION)
        r = smx_err_set(err, SMX_E_UNAVAILABLE,
            "the engine speaks version %llu, not %d: both must be of one build",
            (unsigned long long)reply.hello->version, ENGINE_WIRE_VERSION);
    else
        remember(l, reply.hello);
    json_free(&engine_reply_table, &reply);
    return r;
}
