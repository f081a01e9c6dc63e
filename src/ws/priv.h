/* priv.h - what the files of src/ws share. */
#ifndef SMX_WS_PRIV_H
#define SMX_WS_PRIV_H

#include "ws/ws.h"

/* Frame opcodes beside those that users see. */
enum { WS_CONTINUATION = 0, WS_PING = 9, WS_PONG = 10 };

/* recv.c */
int ws_recv_init(struct ws *ws, struct smx_view early, struct smx_err *err);
void ws_recv_done(struct ws *ws);

/* send.c: a control frame now, or by the sender when one is busy. Replaces one that waits, but a
 * close stays. */
void ws_reply(struct ws *ws, unsigned opcode, const void *data, size_t n);
void ws_reply_close(struct ws *ws, unsigned code, const char *reason);

#endif
