/* recv.c - WebSocket messages in. wslay reads frame heads and takes off the masks; this file puts
 * fragments together, answers control frames, and refuses what RFC 6455 forbids. The payload of a
 * message is held once, and no more of it than arrived. One fiber receives at a time. */
#include <assert.h>
#include <string.h>

#include <wslay/wslay.h>

#include "base/limits.h"
#include "base/mem.h"
#include "ws/priv.h"

enum { KEEP_BYTES = 4096 }; /* a buffer larger than this is freed when its message was used */

static ssize_t read_bytes(uint8_t *buf, size_t len, int flags, void *arg)
{
    struct ws *ws = arg;
    ssize_t r;

    (void)flags;
    if (ws->early) {
        size_t n = SMX_MIN(len, ws->early_n - ws->early_at);

        memcpy(buf, ws->early + ws->early_at, n);
        ws->early_at += n;
        if (ws->early_at == ws->early_n) {
            smx_free(ws->early);
            ws->early = NULL;
        }
        return (ssize_t)n;
    }
    r = io_read(ws->fd, buf, len, ws->deadline_ns, /* err= */ NULL);
    if (r > 0) {
        ws->heard_ns = smx_now_ns();
        return r;
    }
    ws->read_error = r == 0 ? -SMX_E_CLOSED : (int)r;
    return -1;
}

int ws_recv_init(struct ws *ws, struct smx_view early, struct smx_err *err)
{
    static const struct wslay_frame_callbacks callbacks = { .recv_callback = read_bytes };

    smx_buf_init(&ws->in, SMX_WS_MESSAGE_MAX);
    ws->heard_ns = smx_now_ns();
    if (early.n > 0) {
        ws->early = smx_alloc(early.n);
        if (!ws->early)
            return smx_err_oom(err);
        memcpy(ws->early, early.p, early.n);
        ws->early_n = early.n;
    }
    if (wslay_frame_context_init(&ws->frames, &callbacks, ws) != 0)
        return smx_err_oom(err);
    return 0;
}

void ws_recv_done(struct ws *ws)
{
    if (ws->frames)
        wslay_frame_context_free(ws->frames);
    smx_free(ws->early);
    smx_buf_done(&ws->in);
}

/* --- refusing --- */

/* Tells the peer why and stops listening. */
static int refuse(struct ws *ws, unsigned code, const char *why, struct smx_err *err)
{
    ws_reply_close(ws, code, why);
    ws->close_received = true;
    return smx_err_set(err, code == 1009 ? SMX_E_TOO_LARGE : SMX_E_PROTOCOL, "WebSocket: %s", why);
}

static bool control(unsigned opcode)
{
    return opcode & 8;
}

/* What is wrong with the head of a frame, or NULL. */
static const char *head_fault(const struct ws *ws, const struct wslay_frame_iocb *io)
{
    if (io->rsv)
        return "a reserved bit is set";
    if (io->mask != (ws->role == WS_SERVER))
        return ws->role == WS_SERVER ? "a client's frame is not masked"
                                     : "a server's frame is masked";
    switch (io->opcode) {
    case WS_CONTINUATION:
        return ws->opcode ? NULL : "a continuation of nothing";
    case WS_TEXT:
    case WS_BINARY:
        return ws->opcode ? "a new message inside of a fragmented one" : NULL;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        return io->fin && io->payload_length <= WS_CONTROL_MAX ? NULL
                                                               : "a fragmented control frame";
    default:
        return "an unknown opcode";
    }
}

static int begin_frame(struct ws *ws, const struct wslay_frame_iocb *io, struct smx_err *err)
{
    const char *fault = head_fault(ws, io);

    if (fault)
        return refuse(ws, 1002, fault, err);
    if (!control(io->opcode) && io->payload_length > SMX_WS_MESSAGE_MAX - ws->in.len)
        return refuse(ws, 1009, "the message is larger than the limit", err);
    ws->in_frame = true;
    ws->frame = io->opcode;
    ws->frame_fin = io->fin;
    ws->frame_left = io->payload_length;
    ws->control_n = 0;
    if (!control(io->opcode) && io->opcode != WS_CONTINUATION)
        ws->opcode = io->opcode;
    return 0;
}

/* --- whole frames --- */

/* RFC 6455 section 7.4 and the codes that IANA added since. */
static bool close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static int got_close(struct ws *ws, struct ws_message *m, struct smx_err *err)
{
    unsigned code = 1005;

    if (ws->control_n == 1)
        return refuse(ws, 1002, "a close code of one byte", err);
    if (ws->control_n >= 2)
        code = (unsigned)(unsigned char)ws->control[0] << 8 | (unsigned char)ws->control[1];
    if (code != 1005 && !close_code_valid(code))
        return refuse(ws, 1002, "an invalid close code", err);
    if (ws->control_n >= 2 && code == 1005)
        return refuse(ws, 1002, "an invalid close code", err);
    if (ws->control_n > 2 && !smx_utf8_valid(ws->control + 2, ws->control_n - 2))
        return refuse(ws, 1007, "a close reason that is not UTF-8", err);
    ws->close_received = true;
    ws_reply_close(ws, code, "");
    ws->control[ws->control_n] = '\0';
    *m = (struct ws_message){ .opcode = WS_CLOSE,
        .close_code = code,
        .data = ws->control + SMX_MIN(ws->control_n, (size_t)2),
        .n = ws->control_n > 2 ? ws->control_n - 2 : 0 };
    return 1;
}

static int got_message(struct ws *ws, struct ws_message *m, struct smx_err *err)
{
    const char *data = ws->in.data ? ws->in.data : "";

    if (ws->opcode == WS_TEXT && !smx_utf8_valid(data, ws->in.len))
        return refuse(ws, 1007, "a text message that is not UTF-8", err);
    *m = (struct ws_message){ .opcode = (enum ws_opcode)ws->opcode, .data = data, .n = ws->in.len };
    ws->opcode = 0;
    ws->delivered = true;
    return 1;
}

/* 1 when *m is for the user, 0 to go on. */
static int end_frame(struct ws *ws, struct ws_message *m, struct smx_err *err)
{
    ws->in_frame = false;
    switch (ws->frame) {
    case WS_CLOSE:
        return got_close(ws, m, err);
    case WS_PING:
        ws_reply(ws, WS_PONG, ws->control, ws->control_n);
        return 0;
    case WS_PONG:
        return 0;
    default:
        return ws->frame_fin ? got_message(ws, m, err) : 0;
    }
}

static int add_payload(struct ws *ws, const struct wslay_frame_iocb *io, struct smx_err *err)
{
    size_t n = io->data_length;

    ws->frame_left -= n;
    if (control(ws->frame)) {
        assert(n <= WS_CONTROL_MAX - ws->control_n);
        memcpy(ws->control + ws->control_n, io->data, n);
        ws->control_n += n;
        return 0;
    }
    if (n > 0 && smx_buf_append(&ws->in, io->data, n) < 0)
        return smx_buf_check(&ws->in, err);
    return 0;
}

/* --- receiving --- */

static int read_failed(struct ws *ws, ssize_t wslay_code, struct smx_err *err)
{
    int r = ws->read_error;

    if (wslay_code == WSLAY_ERR_PROTO)
        return refuse(ws, 1002, "a malformed frame head", err);
    if (r == -SMX_E_TIMEOUT)
        return smx_err_set(err, SMX_E_TIMEOUT, "no message came in time");
    ws->close_received = true;
    if (r == -SMX_E_CLOSED)
        return smx_err_set(err, SMX_E_CLOSED, "the WebSocket's peer is gone");
    return smx_err_set(err, r ? (enum smx_code) - r : SMX_E_IO, "reading from a WebSocket failed");
}

/* Reads one piece of a frame: 1 when a message is complete. */
static int step(struct ws *ws, struct ws_message *m, struct smx_err *err)
{
    struct wslay_frame_iocb io = { 0 };
    ssize_t n;
    int r = 0;

    ws->read_error = 0;
    n = wslay_frame_recv(ws->frames, &io);
    if (n == WSLAY_ERR_WANT_READ && ws->read_error == 0)
        return 0; /* a part of a head came */
    if (n < 0)
        return read_failed(ws, n, err);
    if (!ws->in_frame)
        r = begin_frame(ws, &io, err);
    if (r == 0)
        r = add_payload(ws, &io, err);
    if (r == 0 && ws->frame_left == 0)
        r = end_frame(ws, m, err);
    return r;
}

static void forget_delivered(struct ws *ws)
{
    if (!ws->delivered)
        return;
    ws->delivered = false;
    if (ws->in.cap <= KEEP_BYTES) {
        smx_buf_reset(&ws->in);
    } else {
        smx_buf_done(&ws->in);
        smx_buf_init(&ws->in, SMX_WS_MESSAGE_MAX);
    }
}

int ws_recv(struct ws *ws, struct ws_message *m, uint64_t deadline_ns, struct smx_err *err)
{
    int r = 0;

    forget_delivered(ws);
    ws->deadline_ns = deadline_ns;
    while (r == 0) {
        if (ws->close_received)
            return smx_err_set(err, SMX_E_CLOSED, "the WebSocket is closed");
        r = step(ws, m, err);
    }
    return r < 0 ? r : 0;
}

void ws_linger(struct ws *ws, uint64_t deadline_ns)
{
    struct ws_message m;

    while (!ws->close_received && ws_recv(ws, &m, deadline_ns, /* err= */ NULL) == 0)
        ;
}
