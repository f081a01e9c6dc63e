/* ws.c - the life of a WebSocket; see recv.c and send.c for its two directions. */
#include "ws/priv.h"

int ws_init(
    struct ws *ws, struct io_fd *fd, struct smx_view early, enum ws_role role, struct smx_err *err)
{
    int r;

    *ws = (struct ws){ .fd = fd, .role = role };
    io_sem_init(&ws->sending, 1);
    r = ws_recv_init(ws, early, err);
    if (r < 0)
        ws_done(ws);
    return r;
}

void ws_done(struct ws *ws)
{
    ws_recv_done(ws);
    *ws = (struct ws){ .fd = NULL };
}
