/* ws.h - WebSocket (RFC 6455) over a descriptor of the loop, after the upgrade: both sides. One
 * fiber may receive while another sends; pings are answered by either. No extensions.
 *
 * A server, in outline:
 *   ws_check_request(...) ; http_reply_field(Sec-WebSocket-Accept: ws_accept_make(key)) ;
 *   http_upgrade(x, "websocket", &fd, &early, err) ; ws_init(&ws, fd, early, WS_SERVER, err) ;
 *   while (ws_recv(&ws, &m, deadline, err) == 0 && m.opcode != WS_CLOSE) ... ws_send() ...
 *   ws_close(&ws, 1000, "", NULL) ; ws_linger(&ws, deadline) ; ws_done(&ws) */
#ifndef SMX_WS_WS_H
#define SMX_WS_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "io/io.h"

/* --- handshake --- */

enum { WS_KEY_SIZE = 25, WS_ACCEPT_SIZE = 29 }; /* with their NUL */

/* A fresh Sec-WebSocket-Key for a client. */
void ws_key_make(char out[WS_KEY_SIZE]);
/* Sec-WebSocket-Accept that belongs to a key. */
void ws_accept_make(struct smx_view key, char out[WS_ACCEPT_SIZE]);
bool ws_accept_matches(struct smx_view key, struct smx_view accept);
/* The fields of an upgrade request (views with p == NULL: absent). 0, or -SMX_E_INVALID;
 * *ret_status is then 400, or 426, to which belongs a field "Sec-WebSocket-Version: 13". That the
 * method is GET and that Upgrade and Connection are right is the HTTP side's to check. */
int ws_check_request(
    struct smx_view key, struct smx_view version, int *ret_status, struct smx_err *err);

/* --- frames --- */

enum ws_role { WS_SERVER, WS_CLIENT };
enum ws_opcode { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8 };
enum { WS_CONTROL_MAX = 125 };

struct ws_message {
    enum ws_opcode opcode;
    const char *data; /* never NULL, followed by a NUL; valid until the next ws_recv(). WS_CLOSE:
                       * the reason */
    size_t n;
    unsigned close_code; /* WS_CLOSE: 1000 ..., or 1005 when the peer gave none */
};

struct wslay_frame_context;

/* Embed it; the fields are ws.c's own, but heard_ns may be read. */
struct ws {
    struct io_fd *fd; /* borrowed */
    enum ws_role role;
    uint64_t heard_ns; /* when bytes last arrived */
    /* receiving */
    struct wslay_frame_context *frames;
    char *early; /* bytes that came with the upgrade and are not consumed yet */
    size_t early_n, early_at;
    uint64_t deadline_ns; /* of the ws_recv() that runs */
    int read_error;       /* its code, 0 for none */
    struct smx_buf in;    /* the message so far */
    unsigned opcode;      /* of that message; 0: none begun */
    unsigned frame;       /* opcode of the frame that is being read */
    uint64_t frame_left;  /* its payload still to come */
    bool in_frame, frame_fin, delivered;
    char control[WS_CONTROL_MAX + 1];
    size_t control_n;
    bool close_received;
    /* sending */
    struct io_sem sending;
    bool close_sent, broken;
    char reply[WS_CONTROL_MAX]; /* a control frame that waits until the sender is done */
    size_t reply_n;
    unsigned reply_opcode; /* 0: none */
};

/* fd stays the caller's and outlives ws. early is copied. */
int ws_init(
    struct ws *ws, struct io_fd *fd, struct smx_view early, enum ws_role role, struct smx_err *err);
void ws_done(struct ws *ws); /* sends nothing; accepts a zeroed struct */

/* [parks] the next message, at most SMX_WS_MESSAGE_MAX bytes, put together from its fragments; text
 * is valid UTF-8. A close of the peer is a message WS_CLOSE and already answered; after it, and
 * after EOF, -SMX_E_CLOSED. What breaks the protocol is answered with a close (1002, 1007, 1009)
 * and returned as -SMX_E_PROTOCOL or -SMX_E_TOO_LARGE. After -SMX_E_TIMEOUT it can be called again.
 */
int ws_recv(struct ws *ws, struct ws_message *m, uint64_t deadline_ns, struct smx_err *err);
/* [parks] until the message is in the kernel's hands; -SMX_E_CLOSED after a close of either side.
 * opcode: WS_TEXT (the caller's word that it is UTF-8) or WS_BINARY. */
int ws_send(struct ws *ws, enum ws_opcode opcode, const void *data, size_t n, struct smx_err *err);
int ws_ping(struct ws *ws, struct smx_err *err); /* [parks] its answer moves heard_ns */
/* [parks] sends a close, once; nothing can be sent after it. reason is cut to 123 bytes. */
int ws_close(struct ws *ws, unsigned code, const char *reason, struct smx_err *err);
/* [parks] after ws_close(): discards what still comes until the peer's close, EOF or the deadline,
 * so that closing the descriptor does not cut off what was sent. No other fiber may receive. */
void ws_linger(struct ws *ws, uint64_t deadline_ns);

#endif
