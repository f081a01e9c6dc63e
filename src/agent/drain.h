/* drain.h - output that nobody wants: it is read and dropped, so that its writer neither blocks nor
 * dies of SIGPIPE. One fiber and one epoll of its own for all such pipes, so that a quiet
 * background process costs a descriptor and no stack. */
#ifndef SMX_AGENT_DRAIN_H
#define SMX_AGENT_DRAIN_H

#include "base/list.h"
#include "io/io.h"

struct drain {
    struct io_fd epoll;
    struct smx_list entries;
};
struct drain_entry;

int drain_start(struct drain *d, struct io_loop *loop, struct smx_err *err);
/* Takes fd (closed on failure too). *owner is set to the entry, and to NULL when the pipe came to
 * its end; owner may be NULL: nobody asks again. */
void drain_add(struct drain *d, int fd, struct drain_entry **owner);
/* Yields the descriptor of an entry that is still there. */
int drain_take(struct drain *d, struct drain_entry *e);
/* Goes on without an owner. */
void drain_forget(struct drain_entry *e);

#endif
