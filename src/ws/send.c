/* send.c - WebSocket frames out. Our own server frames are a head and the caller's bytes in one
 * writev; a client's are masked piece by piece. A semaphore keeps frames whole when the receiving
 * fiber has a ping to answer while another sends. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"
#include "ws/priv.h"

enum { HEAD_MAX = 14, MASK = 4, PIECE = 16 * 1024, FIN = 0x80, MASKED = 0x80 };

/* Bytes of the head, without the mask. */
static size_t make_head(unsigned char *head, unsigned opcode, bool masked, uint64_t n)
{
    size_t bytes = n < 126 ? 0 : n < 65536 ? 2 : 8;
    unsigned mark = bytes == 0 ? (unsigned)n : bytes == 2 ? 126 : 127;

    head[0] = (unsigned char)(FIN | opcode);
    head[1] = (unsigned char)(mark | (masked ? MASKED : 0));
    for (size_t i = 0; i < bytes; i++)
        head[2 + i] = (unsigned char)(n >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

static int write_plain(
    struct ws *ws, unsigned opcode, const void *data, size_t n, struct smx_err *err)
{
    unsigned char head[HEAD_MAX];
    struct iovec iov[2] = { { head, make_head(head, opcode, /* masked= */ false, n) },
        { (void *)(uintptr_t)data, n } };

    return io_writev(ws->fd, iov, 2, SMX_HTTP_WRITE_TIMEOUT_MS, err);
}

static int write_masked(
    struct ws *ws, unsigned opcode, const unsigned char *data, size_t n, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) unsigned char *buf = smx_alloc(HEAD_MAX + SMX_MIN(n, (size_t)PIECE));
    size_t at = 0, head;
    unsigned char mask[MASK];
    int r = 0;

    if (!buf)
        return smx_err_oom(err);
    smx_random(mask, sizeof mask);
    head = make_head(buf, opcode, /* masked= */ true, n);
    memcpy(buf + head, mask, MASK);
    head += MASK;
    do {
        size_t len = SMX_MIN(n - at, (size_t)PIECE);

        for (size_t i = 0; i < len; i++)
            buf[head + i] = data[at + i] ^ mask[(at + i) % MASK];
        r = io_write(ws->fd, buf, head + len, SMX_HTTP_WRITE_TIMEOUT_MS, err);
        head = 0;
        at += len;
    } while (r == 0 && at < n);
    return r;
}

/* With the semaphore held. A frame that was cut leaves nothing to be said. */
static int write_frame(
    struct ws *ws, unsigned opcode, const void *data, size_t n, struct smx_err *err)
{
    int r;

    if (ws->broken || ws->close_sent)
        return smx_err_set(err, SMX_E_CLOSED, "the WebSocket is closed");
    ws->close_sent = opcode == WS_CLOSE;
    if (ws->role == WS_SERVER)
        r = write_plain(ws, opcode, data, n, err);
    else
        r = write_masked(ws, opcode, data, n, err);
    ws->broken = r < 0;
    return r;
}

/* What became due meanwhile; again, because more may become due while it is written. */
static void write_replies(struct ws *ws)
{
    while (ws->reply_opcode && !ws->broken && !ws->close_sent) {
        unsigned opcode = ws->reply_opcode;
        char data[WS_CONTROL_MAX];
        size_t n = ws->reply_n;

        memcpy(data, ws->reply, n);
        ws->reply_opcode = 0;
        write_frame(ws, opcode, data, n, /* err= */ NULL);
    }
}

static int send_frame(
    struct ws *ws, unsigned opcode, const void *data, size_t n, struct smx_err *err)
{
    int r = io_sem_acquire(&ws->sending, smx_deadline_in_ms(SMX_HTTP_WRITE_TIMEOUT_MS));

    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "waiting for another sender");
    r = write_frame(ws, opcode, data, n, err);
    write_replies(ws);
    io_sem_release(&ws->sending);
    return r;
}

void ws_reply(struct ws *ws, unsigned opcode, const void *data, size_t n)
{
    if (ws->reply_opcode == WS_CLOSE)
        return;
    ws->reply_opcode = opcode;
    ws->reply_n = n;
    memcpy(ws->reply, data, n);
    if (io_sem_try(&ws->sending)) {
        write_replies(ws);
        io_sem_release(&ws->sending);
    }
}

/* The payload of a close frame: 1005 stands for none. */
static size_t close_payload(char *out, unsigned code, const char *reason)
{
    size_t n = strnlen(reason, WS_CONTROL_MAX - 2);

    if (code == 1005)
        return 0;
    while (n > 0 && !smx_utf8_valid(reason, n)) /* not in the middle of a character */
        n--;
    out[0] = (char)(code >> 8);
    out[1] = (char)(code & 0xff);
    memcpy(out + 2, reason, n);
    return 2 + n;
}

void ws_reply_close(struct ws *ws, unsigned code, const char *reason)
{
    char data[WS_CONTROL_MAX];
    size_t n = close_payload(data, code, reason);

    ws_reply(ws, WS_CLOSE, data, n);
}

int ws_send(struct ws *ws, enum ws_opcode opcode, const void *data, size_t n, struct smx_err *err)
{
    return send_frame(ws, opcode, data, n, err);
}

int ws_ping(struct ws *ws, struct smx_err *err)
{
    return send_frame(ws, WS_PING, "", 0, err);
}

int ws_close(struct ws *ws, unsigned code, const char *reason, struct smx_err *err)
{
    char data[WS_CONTROL_MAX];

    return send_frame(ws, WS_CLOSE, data, close_payload(data, code, reason), err);
}
