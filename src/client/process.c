/* process.c - a program with open streams, over a WebSocket.
 *
 * One thread reads (in, message, exited belong to it), any thread writes: out and broken are
 * guarded by the lock. Bytes that a writer could not get rid of are sent by whoever comes next; a
 * reader that already waits is told by the eventfd. A send that fails only ends writing: what the
 * daemon said before is still read, so a program that exits with its stdin unread loses nothing. */
#include "client/exec.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_STEP = 64 * 1024,
    IN_MAX = SMX_WS_MESSAGE_MAX + IN_STEP,
    OUT_FRAME = 256 * 1024,
    OUT_QUEUE = 512 * 1024, /* more than this waiting: a writer has to wait */
    OUT_MAX = 2 * 1024 * 1024,
};

struct smx_process {
    int fd, wake_fd;
    struct client_tls *tls; /* with the lock held: it takes one thread at a time */
    struct client_interrupt interrupt;
    pid_t owner; /* who may say goodbye: not a child after fork() */
    bool tty, exited, closed;
    bool told; /* of the start */
    struct smx_buf in;
    size_t at;
    struct smx_buf message; /* a text message so far */
    bool in_text;
    int channel; /* of the binary message being read */
    bool channel_open;
    uint64_t pid;
    pthread_mutex_t lock;
    struct smx_buf out;
    size_t sent;
    bool broken;
};

/* --- sending ------------------------------------------------------------------------------------
 */

/* With the lock held: sends what it can without waiting. */
static void flush_locked(struct smx_process *p)
{
    while (p->sent < p->out.len && !p->broken) {
        ssize_t n = link_send(p->fd, p->tls, p->out.data + p->sent, p->out.len - p->sent);

        if (n > 0)
            p->sent += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n < 0 && errno != EINTR)
            p->broken = true;
    }
    if (p->broken)
        p->sent = p->out.len;
    if (p->sent == p->out.len || p->sent > OUT_QUEUE / 2) {
        smx_buf_consume(&p->out, p->sent);
        p->sent = 0;
    }
}

static size_t flush(struct smx_process *p)
{
    size_t left;

    pthread_mutex_lock(&p->lock);
    flush_locked(p);
    left = p->out.len - p->sent;
    pthread_mutex_unlock(&p->lock);
    return left;
}

/* Queues a frame and sends what goes. 1: queued; 0: the queue is full; negative: no way any more.
 */
static int queue(struct smx_process *p, unsigned opcode, const void *data, size_t n, size_t limit,
    struct smx_err *err)
{
    uint64_t one = 1;
    size_t left;
    int r = 1;

    pthread_mutex_lock(&p->lock);
    flush_locked(p);
    if (p->broken)
        r = smx_err_set(err, SMX_E_CLOSED, "the program takes no more input");
    else if (p->out.len - p->sent > limit)
        r = 0;
    else if (frame_append(&p->out, opcode, data, n) < 0)
        r = smx_buf_check(&p->out, err);
    else
        flush_locked(p);
    left = p->out.len - p->sent;
    pthread_mutex_unlock(&p->lock);
    if (left > 0 && write(p->wake_fd, &one, sizeof one) < 0)
        return r; /* its counter is full: the reader is awake already */
    return r;
}

static int send_control(struct smx_process *p, struct smx_buf *text, struct smx_err *err)
{
    int r = smx_buf_check(text, err);

    if (r == 0)
        r = queue(p, FRAME_TEXT, text->data, text->len, OUT_MAX, err);
    smx_buf_done(text);
    return SMX_MIN(r, 0);
}

/* Until writable, at most until the deadline; false when the caller shall not wait any more. */
static bool wait_writable(struct smx_process *p, uint64_t deadline_ns)
{
    struct pollfd f = { .fd = p->fd, .events = POLLOUT };

    if (smx_now_ns() >= deadline_ns)
        return false;
    if (poll(&f, 1, client_poll_ms(deadline_ns, &p->interrupt)) < 0 && errno != EINTR)
        return false;
    return client_interrupted(&p->interrupt, /* err= */ NULL) == 0;
}

ssize_t smx_process_write(
    struct smx_process *p, const void *data, size_t bytes, uint64_t timeout_ms, struct smx_err *err)
{
    uint64_t deadline_ns = smx_deadline_in_ms(timeout_ms);
    const char *from = data;
    size_t done = 0;

    while (done < bytes) {
        size_t n = SMX_MIN(bytes - done, OUT_FRAME);
        int r = queue(p, FRAME_BINARY, from + done, n, OUT_QUEUE, err);

        if (r < 0)
            return done > 0 ? (ssize_t)done : r;
        if (r > 0)
            done += n;
        else if (timeout_ms == 0 || !wait_writable(p, deadline_ns))
            break;
    }
    return (ssize_t)done;
}

int smx_process_fd(const struct smx_process *p)
{
    return p->fd;
}

int smx_process_wants_write(struct smx_process *p)
{
    return flush(p) > 0;
}

int smx_process_close_stdin(struct smx_process *p, struct smx_err *err)
{
    struct smx_buf text;
    struct json_writer w;

    smx_buf_init(&text, IN_STEP);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_kv_bool(&w, "eof", true);
    json_object_end(&w);
    return send_control(p, &text, err);
}

int smx_process_resize(struct smx_process *p, unsigned cols, unsigned rows, struct smx_err *err)
{
    struct smx_buf text;
    struct json_writer w;

    smx_buf_init(&text, IN_STEP);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_key(&w, "resize");
    json_object_begin(&w);
    json_kv_u64(&w, "cols", cols);
    json_kv_u64(&w, "rows", rows);
    json_object_end(&w);
    json_object_end(&w);
    return send_control(p, &text, err);
}

int smx_process_signal(struct smx_process *p, int signo, struct smx_err *err)
{
    struct smx_buf text;
    struct json_writer w;
    char number[16];

    snprintf(number, sizeof number, "%d", signo);
    smx_buf_init(&text, IN_STEP);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_kv_string(&w, "signal", number);
    json_object_end(&w);
    return send_control(p, &text, err);
}

/* --- receiving ----------------------------------------------------------------------------------
 */

static int take_exit(
    struct smx_process *p, const struct native_exec_exit *e, struct smx_process_event *ret)
{
    p->exited = true;
    *ret = (struct smx_process_event){ .kind = SMX_PROCESS_EXITED,
        .pid = p->pid,
        .exit_code = (int)e->exit_code,
        .signal = e->has_signal ? (int)e->signal : 0,
        .timed_out = e->timed_out,
        .duration_ms = e->duration_ms };
    return 1;
}

/* 1: *ret is filled; 0: nothing for the caller. */
static int take_text(struct smx_process *p, const char *text, size_t n,
    struct smx_process_event *ret, struct smx_err *err)
{
    struct native_exec_event e;
    int r = json_decode(&native_exec_event_table, text, n, &e, err);

    if (r < 0)
        return smx_err_wrap(err, r, "message of the daemon");
    if (e.error) {
        r = problem_error(e.error, err);
    } else if (e.exit) {
        r = take_exit(p, e.exit, ret);
    } else if (e.start) {
        p->pid = e.start->pid;
        *ret = (struct smx_process_event){ .kind = SMX_PROCESS_STARTED, .pid = p->pid };
        r = 1;
    }
    json_free(&native_exec_event_table, &e);
    return r;
}

static int take_data(struct smx_process *p, const struct frame *f, struct smx_process_event *ret)
{
    const char *data = f->data;
    size_t n = f->n;

    if (f->opcode == FRAME_BINARY) {
        p->channel = NATIVE_WS_STDOUT;
        p->channel_open = !p->tty;
    }
    if (p->channel_open && n > 0) {
        p->channel = *data++;
        p->channel_open = false;
        n--;
    }
    *ret = (struct smx_process_event){ .kind = p->channel == NATIVE_WS_STDERR ? SMX_PROCESS_STDERR
                                                                              : SMX_PROCESS_STDOUT,
        .pid = p->pid,
        .data = data,
        .bytes = n };
    return n > 0;
}

static int take_frame(struct smx_process *p, const struct frame *f, struct smx_process_event *ret,
    struct smx_err *err)
{
    int r;

    if (f->opcode == FRAME_PING)
        return SMX_MIN(queue(p, FRAME_PONG, f->data, f->n, OUT_MAX, err), 0);
    if (f->opcode == FRAME_PONG)
        return 0;
    if (f->opcode == FRAME_CLOSE) {
        p->closed = true;
        queue(p, FRAME_CLOSE, f->data, SMX_MIN(f->n, 2), OUT_MAX, /* err= */ NULL);
        return 0;
    }
    if (f->opcode != 0)
        p->in_text = f->opcode == FRAME_TEXT;
    if (!p->in_text)
        return take_data(p, f, ret);
    if (smx_buf_append(&p->message, f->data, f->n) < 0)
        return smx_buf_check(&p->message, err);
    if (!f->fin)
        return 0;
    r = take_text(p, p->message.data, p->message.len, ret, err);
    smx_buf_reset(&p->message);
    return r;
}

/* The next frame of what has arrived: bytes used, 0 for none. */
static ptrdiff_t next_frame(struct smx_process *p, struct frame *f, struct smx_err *err)
{
    return frame_parse(
        p->in.data ? p->in.data + p->at : "", p->in.len - p->at, SMX_WS_MESSAGE_MAX, f, err);
}

/* Bytes read, 0 when nothing is there yet, negative at the end. */
static ssize_t fill(struct smx_process *p, struct smx_err *err)
{
    ssize_t n;

    if (p->at > 0) {
        smx_buf_consume(&p->in, p->at);
        p->at = 0;
    }
    if (smx_buf_reserve(&p->in, IN_STEP) < 0)
        return smx_buf_check(&p->in, err);
    if (p->tls)
        pthread_mutex_lock(&p->lock);
    n = link_recv(p->fd, p->tls, p->in.data + p->in.len, IN_STEP);
    if (p->tls) {
        int saved = errno;

        pthread_mutex_unlock(&p->lock);
        errno = saved;
    }
    if (n > 0)
        p->in.len += (size_t)n;
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return SMX_MAX(n, 0);
    return smx_err_set(
        err, SMX_E_CLOSED, "the connection to the daemon broke; the program may still run");
}

static int wait_readable(struct smx_process *p, uint64_t deadline_ns, struct smx_err *err)
{
    struct pollfd f[2] = { { .fd = p->fd, .events = POLLIN },
        { .fd = p->wake_fd, .events = POLLIN } };
    uint64_t woken;

    if (smx_now_ns() >= deadline_ns)
        return smx_err_set(err, SMX_E_TIMEOUT, "nothing came from the program in time");
    if (flush(p) > 0)
        f[0].events |= POLLOUT;
    if (poll(f, 2, client_poll_ms(deadline_ns, &p->interrupt)) < 0 && errno != EINTR)
        return smx_err_errno(err, errno, "waiting for the program");
    if (client_interrupted(&p->interrupt, err) < 0)
        return -SMX_E_CANCELLED;
    if ((f[1].revents & POLLIN) && read(p->wake_fd, &woken, sizeof woken) < 0)
        return 0; /* another call took it */
    return 0;
}

int smx_process_next(struct smx_process *p, uint64_t timeout_ms,
    struct smx_process_event *ret_event, struct smx_err *err)
{
    uint64_t deadline_ns = timeout_ms == UINT64_MAX ? SMX_FOREVER : smx_deadline_in_ms(timeout_ms);

    if (!p->told) {
        p->told = true;
        *ret_event = (struct smx_process_event){ .kind = SMX_PROCESS_STARTED, .pid = p->pid };
        return 1;
    }
    while (!p->exited) {
        struct frame f = { 0 };
        ptrdiff_t used = next_frame(p, &f, err);
        ssize_t n;
        int r;

        if (used < 0)
            return (int)used;
        if (used > 0) {
            p->at += (size_t)used;
            r = take_frame(p, &f, ret_event, err);
            if (r != 0)
                return r;
            continue;
        }
        if (p->closed)
            return smx_err_set(err, SMX_E_CLOSED,
                "the daemon did not say how the program ended; it may still run");
        n = fill(p, err);
        if (n < 0)
            return (int)n;
        r = n == 0 ? wait_readable(p, deadline_ns, err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- starting and leaving -----------------------------------------------------------------------
 */

static int upgrade_once(
    struct smx_client *c, const char *path, struct conn **ret, bool *ret_fresh, struct smx_err *err)
{
    char key[FRAME_KEY_SIZE], accept[FRAME_ACCEPT_SIZE];
    struct conn *conn;
    struct smx_buf head;
    int r = client_take(c, &conn, ret_fresh, err);

    if (r < 0)
        return r;
    conn->deadline_ns = smx_deadline_in_ms(c->timeout_ms);
    conn->idle_ms = 0;
    conn->interrupt = c->interrupt;
    frame_key(key);
    frame_accept(key, accept);
    smx_buf_init(&head, SMX_HTTP_HEAD_MAX);
    call_head(c, "GET", path, &head);
    smx_buf_append_str(&head, "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                              "Sec-WebSocket-Version: 13\r\n");
    smx_buf_appendf(&head, "Sec-WebSocket-Key: %s\r\n\r\n", key);
    r = smx_buf_check(&head, err);
    if (r == 0)
        r = conn_send(conn, head.data, head.len, /* watch_reply= */ false, err);
    smx_buf_done(&head);
    if (r == 0)
        r = conn_head(conn, H1_GET, err);
    if (r == 0)
        r = call_check(conn, err);
    if (r == 0 && (conn->status != 101 || !smx_streq(conn->accept, accept)))
        r = smx_err_set(err, SMX_E_PROTOCOL, "the daemon does not speak WebSocket here");
    if (r < 0)
        client_give(c, conn);
    else
        *ret = conn;
    return r;
}

/* Nothing runs before the first frame, so a connection that turns out dead is no harm. */
static int upgrade(struct smx_client *c, const char *path, struct conn **ret, struct smx_err *err)
{
    uint64_t begun = smx_now_ns();
    bool fresh = false;
    int r = upgrade_once(c, path, ret, &fresh, err);

    if (r == -SMX_E_CLOSED && !fresh)
        r = upgrade_once(c, path, ret, &fresh, err);
    call_say("GET", path, r == 0 ? (*ret)->status : 0, r, begun);
    return r;
}

static int process_new(struct conn *conn, bool tty, struct smx_process **ret, struct smx_err *err)
{
    struct smx_process *p = smx_alloc(sizeof *p);
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (!p || wake_fd < 0) {
        int saved = errno;

        smx_free(p);
        smx_close(wake_fd);
        return p ? smx_err_errno(err, saved, "starting the program") : smx_err_oom(err);
    }
    p->fd = smx_take_fd(&conn->fd);
    p->tls = smx_take(&conn->tls);
    p->wake_fd = wake_fd;
    p->owner = getpid();
    p->tty = tty;
    p->interrupt = conn->interrupt;
    p->told = true;
    pthread_mutex_init(&p->lock, /* attr= */ NULL);
    smx_buf_init(&p->in, IN_MAX);
    smx_buf_init(&p->message, SMX_WS_MESSAGE_MAX);
    smx_buf_init(&p->out, OUT_MAX + SMX_HTTP_JSON_BODY_MAX);
    if (smx_buf_append(&p->in, conn->in + conn->at, conn->end - conn->at) < 0) {
        smx_process_free(p);
        return smx_err_oom(err);
    }
    *ret = p;
    return 0;
}

static int send_start(struct smx_process *p, const struct smx_exec_spec *spec, struct smx_err *err)
{
    struct smx_buf text;
    struct json_writer w;
    int r;

    smx_buf_init(&text, SMX_HTTP_JSON_BODY_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_key(&w, "start");
    json_object_begin(&w);
    exec_write(&w, spec);
    json_kv_bool(&w, "tty", spec->tty);
    json_kv_bool(&w, "channels", !spec->tty);
    if (spec->tty && spec->cols && spec->rows) {
        json_kv_u64(&w, "cols", spec->cols);
        json_kv_u64(&w, "rows", spec->rows);
    }
    json_object_end(&w);
    json_object_end(&w);
    r = json_writer_end(&w, err);
    if (r < 0) {
        smx_buf_done(&text);
        return r;
    }
    return send_control(p, &text, err);
}

/* Waits for the start, so that what is wrong with it is this call's error. smx_process_next() gives
 * the event once more: told is false until then. */
static int await_start(struct smx_process *p, uint64_t timeout_ms, struct smx_err *err)
{
    struct smx_process_event e;
    int r = smx_process_next(p, timeout_ms, &e, err);

    if (r < 0)
        return r;
    if (e.kind != SMX_PROCESS_STARTED)
        return smx_err_set(err, SMX_E_PROTOCOL, "the daemon did not say that the program started");
    p->told = false;
    return 0;
}

int smx_process_start(struct smx_client *c, const char *id, const struct smx_exec_spec *spec,
    struct smx_process **ret_process, struct smx_err *err)
{
    SMX_CLEANUP(conn_freep) struct conn *conn = NULL;
    struct smx_process *p = NULL;
    struct smx_buf path;
    int r = exec_check(spec, err);

    if (r < 0)
        return r;
    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, "/api/sandboxes", id, "/exec", err);
    if (r == 0)
        r = upgrade(c, path.data, &conn, err);
    smx_buf_done(&path);
    if (r == 0)
        r = process_new(conn, spec->tty, &p, err);
    if (r == 0)
        r = send_start(p, spec, err);
    if (r == 0)
        r = await_start(p, c->timeout_ms, err);
    if (r < 0)
        smx_process_free(p);
    else
        *ret_process = p;
    return r;
}

void smx_process_free(struct smx_process *p)
{
    if (!p)
        return;
    if (p->owner == getpid())
        queue(p, FRAME_CLOSE, "\x03\xe8", 2, OUT_MAX, /* err= */ NULL); /* 1000 */
    client_tls_free(p->tls, p->owner == getpid());
    smx_close(p->fd);
    smx_close(p->wake_fd);
    pthread_mutex_destroy(&p->lock);
    smx_buf_done(&p->in);
    smx_buf_done(&p->message);
    smx_buf_done(&p->out);
    smx_free(p);
}
