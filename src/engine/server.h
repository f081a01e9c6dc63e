/* server.h - answering requests; shared by the gateway's connection and the control socket. */
#ifndef SMX_ENGINE_SERVER_H
#define SMX_ENGINE_SERVER_H

#include "engine/engine.h"

enum { ANSWER_PAGE_ROOM = 8 * ENGINE_LIST_PAGE };

/* A reply and all that it points into. */
struct answer {
    struct engine_reply reply;
    struct engine_sandbox sandbox;
    struct engine_stats stats;
    struct engine_hello hello;
    struct engine_sandbox *page;
    struct report *report;
    struct box *box;
    int fd;           /* goes with the reply; -1: none */
    const bool *gone; /* the asker's connection is closed */
};

/* [parks] Does what a request asks for. */
int answer_request(
    struct engine *e, const struct engine_request *req, struct answer *a, struct smx_err *err);
void answer_done(struct answer *a);
/* Lets the reply tell the error; borrows err. */
void reply_error(struct engine_reply *reply, int r, struct smx_err *err);
/* [parks] @extra_fd: -1 or a descriptor to send along (stays the caller's). */
int reply_send(struct io_fd *fd, struct io_sem *writer, const struct engine_reply *reply,
    int extra_fd, struct smx_err *err);

#endif
