/* hands.h - helper processes for work that would block the engine: removing trees and adding up
 * their size, making directories and rooms. Each is a copy of the engine that keeps three
 * directories and a socket and nothing else; it does one thing at a time and dies with the engine.
 */
#ifndef SMX_ENGINE_HANDS_H
#define SMX_ENGINE_HANDS_H

#include <stdint.h>

#include "base/err.h"
#include "engine/room.h"
#include "io/io.h"

enum { HANDS_MAX = 8 };

struct hand {
    struct io_fd sock;
    pid_t pid; /* 0: not started */
    bool busy;
};

struct hands {
    struct io_loop *loop;
    int dirs[3]; /* sandboxes, trash, pool */
    struct hand v[HANDS_MAX];
    struct hand closer;
    struct io_sem closing;
    struct io_sem free; /* one count a hand */
    struct io_sem slow; /* jobs that may take long leave two hands to the others */
};

int hands_start(struct hands *h, struct io_loop *loop, int boxes_fd, int trash_fd, int pool_fd,
    struct smx_err *err);
void hands_done(struct hands *h); /* after the loop */
/* [parks] until trash/<name> is gone. */
int hands_remove(struct hands *h, const char *name, struct smx_err *err);
/* [parks] the same for pool/<name>. */
int hands_discard(struct hands *h, const char *name, struct smx_err *err);
/* [parks] makes pool/<name>. */
int hands_prepare(struct hands *h, const char *name, struct smx_err *err);
/* [parks] makes half a room; its descriptors are the caller's. */
int hands_room(struct hands *h, const struct room_order *order, int userns_fd, int fds[ROOM_FDS],
    struct smx_err *err);
/* [parks] bytes that the upper layer of sandboxes/<id> takes. */
int hands_usage(struct hands *h, const char *id, uint64_t *ret_bytes, struct smx_err *err);
/* [parks shortly] Closes a descriptor elsewhere, in its own time; takes it. The last reference to
 * an overlay mount writes back everything that is dirty on the file system below it, which may take
 * seconds and must not hold anybody up. */
void hands_let_go(struct hands *h, int fd);

#endif
