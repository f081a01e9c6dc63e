/* relay.c - forwards an exchange to an upstream and its reply back.
 *
 * The connection's fiber sends the head and moves the reply; a request body that has not arrived
 * whole is moved by a second fiber at the same time, so that either side may be slow or answer
 * early. While the upstream is silent the client is watched: when it leaves, the upstream is
 * dropped. Only what the parser understood is forwarded, framing is written anew on both sides.
 * Loop thread only. */
#include <assert.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "http/client.h"
#include "http/conn.h"

enum {
    SPLICE_MIN = 256 * 1024, /* below it a copy is cheaper */
    QUIET_MS = 50,           /* a stream that says nothing for so long is silent */
    UPLOAD_GRACE_MS = 2000   /* for the rest of a request whose reply is complete */
};

struct relay {
    struct http_exchange *x;
    struct http_client *c;
    const struct http_relay *opts;
    struct io_fiber *uploader; /* NULL: none runs */
    struct io_event uploaded;
    int upload_result;
    struct smx_err upload_err;
    bool plain;            /* asked for a file in vain */
    struct http_file file; /* the reply's body; length 0: it is not one */
};

/* --- request --- */

static bool dropped(const struct http_relay *o, struct smx_view name)
{
    for (size_t i = 0; o->drop && o->drop[i]; i++)
        if (smx_view_ieq(name, o->drop[i]))
            return true;
    return false;
}

static void write_raw(struct smx_buf *out, const struct h1_field *f)
{
    smx_buf_append(out, f->name.p, f->name.n);
    smx_buf_append(out, ": ", 2);
    smx_buf_append(out, f->value.p, f->value.n);
    smx_buf_append(out, "\r\n", 2);
}

static void write_upgrade(struct smx_buf *out, const struct h1_head *head)
{
    h1_write_field(out, "Connection", SMX_VIEW("Upgrade"));
    h1_write_field(out, "Upgrade", h1_get(head, "upgrade"));
}

static bool upgrades(const struct http_exchange *x)
{
    return x->request.head.upgrade && x->body.done;
}

static void request_fields(struct relay *r, struct smx_buf *out)
{
    const struct h1_head *head = &r->x->request.head;

    for (size_t i = 0; i < head->n; i++) {
        const struct h1_field *f = &head->fields[i];

        if (h1_hop_by_hop(head, f->name) || smx_view_ieq(f->name, "content-length") ||
            (smx_view_ieq(f->name, "expect") && !head->expect_continue) ||
            dropped(r->opts, f->name) || http_client_replaces(r->c, f->name))
            continue;
        write_raw(out, f);
    }
    if (upgrades(r->x))
        write_upgrade(out, head);
    if (r->opts->add && r->opts->add->len > 0)
        smx_buf_append(out, r->opts->add->data, r->opts->add->len);
    if (r->opts->files && !r->plain && head->method == H1_GET && r->x->body.framing == H1_NO_BODY)
        (void)http_client_ask_file(r->c, out); /* a failure is out's, which is checked */
}

/* The target in origin form; p NULL when the heap is empty. */
static struct smx_view origin_target(struct http_exchange *x)
{
    struct smx_view target = x->request.head.target, path = http_path(x), query = http_query(x);
    char *text;

    if (target.n > 0 && (target.p[0] == '/' || target.p[0] == '*'))
        return target;
    text = http_alloc(x, path.n + query.n + 2);
    if (!text)
        return (struct smx_view){ NULL, 0 };
    memcpy(text, path.p, path.n);
    if (query.n > 0) {
        text[path.n] = '?';
        memcpy(text + path.n + 1, query.p, query.n);
    }
    return smx_view_of(text);
}

static int send_request(struct relay *r, struct smx_err *err)
{
    struct http_exchange *x = r->x;
    struct http_client_request q = { .method = x->request.head.method_text,
        .kind = x->request.head.method,
        .target = r->opts->target.p ? r->opts->target : origin_target(x),
        .no_body = x->body.framing == H1_NO_BODY };
    struct smx_view ahead = http_in_view(&x->conn->in);
    struct smx_buf fields;
    int result;

    if (!q.target.p || http_pool_buf_init(&fields, 2 * SMX_HTTP_HEAD_MAX) < 0)
        return smx_err_oom(err);
    request_fields(r, &fields);
    q.fields = &fields;
    q.length = x->body.framing == H1_CHUNKED ? HTTP_CHUNKED : x->body.left;
    if (x->body.framing == H1_LENGTH) {
        q.body = ahead.p;
        q.n = (size_t)SMX_MIN(x->body.left, (uint64_t)ahead.n);
    }
    result = smx_buf_check(&fields, err);
    if (result == 0)
        result = http_client_request(r->c, &q, err);
    http_pool_buf_done(&fields);
    if (result == 0 && q.n > 0) {
        if (r->opts->tap)
            r->opts->tap->request(r->opts->tap, q.body, q.n);
        http_in_consume(&x->conn->in, q.n);
        x->body.left -= q.n;
        x->body.done = x->body.left == 0;
    }
    return result;
}

/* --- request body --- */

/* Piece by piece: what has no length, and what is looked at. */
static int upload_pieces(struct relay *r)
{
    char *data = http_block_get();
    ssize_t n = data ? 1 : smx_err_oom(&r->upload_err);
    int sent = 0;

    while (n > 0 && sent == 0) {
        n = http_body_read(r->x, data, HTTP_BLOCK_SIZE,
            smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS), &r->upload_err);
        if (n > 0 && r->opts->tap)
            r->opts->tap->request(r->opts->tap, data, (size_t)n);
        if (n > 0)
            sent = http_client_write(r->c, data, (size_t)n, /* err= */ NULL);
    }
    http_block_put(data);
    if (n == 0)
        sent = http_client_finish(r->c, /* err= */ NULL);
    /* The reply that is waited for will not come when the request cannot be completed. */
    if (n < 0)
        shutdown(r->c->fd.fd, SHUT_RDWR);
    return n < 0 ? (int)n : sent;
}

static int upload_length(struct relay *r)
{
    int64_t n = http_body_copy(r->x, &r->c->fd, SMX_HTTP_STREAM_TIMEOUT_MS, &r->upload_err);

    if (n >= 0 && r->x->body.done) {
        r->c->left_out = 0;
        r->c->sent = true;
        return 0;
    }
    if (n == -SMX_E_TIMEOUT)
        shutdown(r->c->fd.fd, SHUT_RDWR);
    return (int)n;
}

static void upload_main(void *arg)
{
    struct relay *r = arg;

    r->upload_result =
        r->x->body.framing == H1_CHUNKED || r->opts->tap ? upload_pieces(r) : upload_length(r);
    r->uploader = NULL;
    io_event_set(&r->uploaded);
}

static int start_upload(struct relay *r, struct smx_err *err)
{
    if (r->x->body.done)
        return 0;
    return io_fiber_spawn(
        r->x->conn->server->loop, "http upload", upload_main, r, &r->uploader, err);
}

/* The uploader has ended when this returns. */
static void join_upload(struct relay *r, uint64_t grace_ms)
{
    if (!r->uploader)
        return;
    if (grace_ms == 0 || io_event_wait(&r->uploaded, smx_deadline_in_ms(grace_ms)) < 0) {
        if (r->uploader)
            io_fiber_cancel(r->uploader);
        io_shield_begin();
        io_event_wait(&r->uploaded, SMX_FOREVER);
        io_shield_end();
    }
}

/* --- reply --- */

static void reply_fields(
    const struct http_exchange *x, const struct h1_head *head, struct smx_buf *out)
{
    bool keep_length = head->framing == H1_NO_BODY && head->status != 204 &&
                       (x->request.head.method == H1_HEAD || head->status == 304);

    for (size_t i = 0; i < head->n; i++) {
        const struct h1_field *f = &head->fields[i];

        if (h1_hop_by_hop(head, f->name) ||
            (smx_view_ieq(f->name, "content-length") && !keep_length))
            continue;
        write_raw(out, f);
    }
}

static int forward_interim(struct relay *r, const struct h1_head *head)
{
    struct smx_buf fields;
    int result;

    if (r->x->request.head.minor == 0 ||
        (head->status == 100 && !r->x->request.head.expect_continue))
        return 0;
    if (http_pool_buf_init(&fields, 2 * SMX_HTTP_HEAD_MAX) < 0)
        return -SMX_E_NO_MEMORY;
    reply_fields(r->x, head, &fields);
    result = smx_buf_check(&fields, /* err= */ NULL);
    if (result == 0)
        result = http_reply_interim(r->x, head->status, &fields);
    http_pool_buf_done(&fields);
    return result;
}

/* The head of the final reply, or 101. */
static int await_reply(struct relay *r, struct h1_head *head, struct smx_err *err)
{
    uint64_t ms = r->opts->head_timeout_ms;
    uint64_t deadline_ns = ms ? smx_deadline_in_ms(ms) : SMX_FOREVER;
    int result = 0;

    for (int i = 0; result == 0 && i < 32; i++) {
        result = http_client_any_head(r->c, head, deadline_ns, err);
        if (result < 0 || !r->c->reading)
            return result;
        result = forward_interim(r, head);
    }
    if (result < 0)
        return smx_err_set(err, SMX_E_CANCELLED, "the client left");
    return smx_err_set(err, SMX_E_PROTOCOL, "the server sends interim replies only");
}

static int start_reply(struct relay *r, const struct h1_head *head, struct smx_err *err)
{
    struct http_reply_head h = { .status = head->status, .flags = HTTP_HEAD_RELAYED };
    struct smx_buf fields;
    int result;

    if (http_pool_buf_init(&fields, 2 * SMX_HTTP_HEAD_MAX) < 0)
        return smx_err_oom(err);
    reply_fields(r->x, head, &fields);
    h.fields = &fields;
    if (r->file.length > 0)
        h.length = r->file.length;
    else if (head->framing == H1_NO_BODY)
        h.flags |= HTTP_HEAD_KEEP_LENGTH;
    else
        h.length = head->framing == H1_LENGTH ? head->content_length : HTTP_CHUNKED;
    result = smx_buf_check(&fields, err);
    if (result == 0 && http_reply_start(r->x, &h) < 0)
        result = smx_err_set(err, SMX_E_CANCELLED, "the client left");
    http_pool_buf_done(&fields);
    return result;
}

/* What a silent stream does not need is given back; a reply that comes at once does not pay for it.
 */
static int wait_for_more(struct relay *r, struct smx_err *err)
{
    struct http_client *c = r->c;
    int n = http_in_wait(&c->in, &c->fd, c->watch, smx_deadline_in_ms(QUIET_MS), err);

    if (n != -SMX_E_TIMEOUT)
        return n;
    http_trim(r->x);
    return http_in_wait(&c->in, &c->fd, c->watch, SMX_FOREVER, err);
}

/* One piece; no buffer is held while the upstream is silent. 0 at the end. */
static ssize_t move_some(struct relay *r, struct smx_err *err)
{
    struct http_client *c = r->c;
    char *data;
    ssize_t n;

    if (http_in_size(&c->in) == 0) {
        n = wait_for_more(r, err);
        if (n < 0)
            return n;
    }
    data = http_block_get();
    if (!data)
        return smx_err_oom(err);
    n = http_client_read(c, data, HTTP_BLOCK_SIZE, SMX_FOREVER, err);
    if (n > 0 && r->opts->tap)
        r->opts->tap->reply(r->opts->tap, data, (size_t)n);
    if (n > 0 && http_write(r->x, data, (size_t)n) < 0)
        n = smx_err_set(err, SMX_E_CANCELLED, "the client left");
    http_block_put(data);
    return n;
}

struct guard {
    struct io_fd *client, *upstream;
    struct io_event over, ended;
};

/* A splice from a silent upstream does not see the client leave; this fiber does. */
static void guard_main(void *arg)
{
    struct guard *g = arg;
    struct io_wait w[2] = { { .fd = g->client, .events = IO_HUP }, { .event = &g->over } };

    if (io_wait(w, 2, SMX_FOREVER) > 0 && w[0].ready)
        shutdown(g->upstream->fd, SHUT_RDWR);
    io_event_set(&g->ended);
}

static int splice_rest(struct relay *r, struct smx_err *err)
{
    struct http_client *c = r->c;
    struct guard g = { .client = &r->x->conn->fd, .upstream = &c->fd };
    int result;

    io_event_init(&g.over);
    io_event_init(&g.ended);
    result = io_fiber_spawn(
        r->x->conn->server->loop, "http guard", guard_main, &g, /* ret_fiber= */ NULL, err);
    if (result < 0)
        return result;
    result = http_write_from(r->x, &c->fd, c->body.left);
    io_event_set(&g.over);
    io_shield_begin();
    io_event_wait(&g.ended, SMX_FOREVER);
    io_shield_end();
    if (result < 0)
        return smx_err_set(err, SMX_E_CLOSED, "the reply was cut short");
    c->body.left = 0;
    c->body.done = true;
    return 0;
}

static int move_reply(struct relay *r, struct smx_err *err)
{
    const struct http_body *body = &r->c->body;

    while (!body->done) {
        if (body->framing == H1_LENGTH && body->left >= SPLICE_MIN &&
            http_in_size(&r->c->in) == 0 && !r->x->head_only) {
            int result = splice_rest(r, err);

            if (result < 0)
                return result;
        } else {
            ssize_t n = move_some(r, err);

            if (n < 0)
                return (int)n;
        }
    }
    return 0;
}

/* --- upgrade --- */

static int relay_upgrade(struct relay *r, const struct h1_head *head, struct smx_err *err)
{
    struct http_exchange *x = r->x;
    struct http_client *c = r->c;
    struct smx_view early;
    struct smx_buf fields;
    int result;

    c->failed = true; /* never another request on it */
    if (!upgrades(x) || !head->upgrade)
        return smx_err_set(err, SMX_E_PROTOCOL, "the server switches protocols unasked");
    if (http_pool_buf_init(&fields, 2 * SMX_HTTP_HEAD_MAX) < 0)
        return smx_err_oom(err);
    write_upgrade(&fields, head);
    reply_fields(x, head, &fields);
    result = smx_buf_check(&fields, err);
    if (result == 0)
        result = http_reply_interim(x, 101, &fields);
    http_pool_buf_done(&fields);
    x->status = 101;
    x->state = HTTP_DONE;
    x->upgraded = x->close = true;
    early = http_in_view(&c->in);
    if (result == 0 && early.n > 0)
        result = io_write(&x->conn->fd, early.p, early.n, SMX_HTTP_STREAM_TIMEOUT_MS, err);
    http_in_done(&c->in);
    http_message_done(&c->reply);
    if (result < 0)
        return smx_err_set(err, SMX_E_CANCELLED, "the client left");
    http_pipe(&x->conn->fd, &c->fd, http_in_view(&x->conn->in));
    return 0;
}

/* --- all of it --- */

/* The reply's head, and its body when that is a file. */
static int await_body(struct relay *r, struct h1_head *head, struct smx_err *err)
{
    int result = await_reply(r, head, err);

    if (result < 0 || !r->opts->files)
        return result;
    result = http_client_file(r->c, head, &r->file);
    if (result == -SMX_E_UNSUPPORTED && http_client_reusable(r->c) && !r->plain) {
        r->plain = true;
        result = send_request(r, err);
        return result < 0 ? result : await_body(r, head, err);
    }
    if (result == -SMX_E_UNSUPPORTED || result == -SMX_E_PROTOCOL)
        return smx_err_set(err, SMX_E_PROTOCOL, "the server's file cannot be sent");
    return SMX_MIN(result, 0);
}

static int move_file(struct relay *r, struct smx_err *err)
{
    int result = http_write_file(r->x, r->file.fd, r->file.offset, r->file.length, &r->c->fd);

    return result < 0 ? smx_err_set(err, (enum smx_code) - result, "the file was cut short") : 0;
}

static int relay_reply(struct relay *r, struct smx_err *err)
{
    struct h1_head head;
    int result = await_body(r, &head, err);

    if (result < 0)
        return result;
    if (head.status == 101)
        return relay_upgrade(r, &head, err);
    result = start_reply(r, &head, err);
    http_client_trim(r->c);
    if (result < 0)
        return result;
    result = r->file.length > 0 ? move_file(r, err) : move_reply(r, err);
    if (result == 0)
        http_finish(r->x);
    return result;
}

/* Not when the client still waits for a word before it sends. */
static bool body_may_come(const struct http_exchange *x)
{
    return !x->upgraded && (x->continue_sent || !x->request.head.expect_continue);
}

int http_relay(struct http_exchange *x, struct http_client *c, const struct http_relay *opts,
    struct smx_err *err)
{
    struct relay r = { .x = x, .c = c, .opts = opts };
    int result;

    assert(x->state == HTTP_NONE);
    io_event_init(&r.uploaded);
    x->relayed = true;
    c->watch = &x->conn->fd;
    result = send_request(&r, err);
    if (result == 0)
        result = start_upload(&r, err);
    if (result == 0)
        result = relay_reply(&r, err);
    c->watch = NULL;
    if (r.file.length > 0)
        smx_close(r.file.fd);
    join_upload(&r, result == 0 && body_may_come(x) ? UPLOAD_GRACE_MS : 0);
    if (result >= 0)
        return result;
    c->failed = true;
    if (x->state != HTTP_NONE) {
        http_abort(x);
    } else if (r.upload_result == -SMX_E_INVALID) { /* the client's body, not the upstream */
        result = r.upload_result;
        if (err)
            *err = r.upload_err;
    }
    return result;
}
