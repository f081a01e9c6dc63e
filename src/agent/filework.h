/* filework.h - file calls that may wait for long (a FIFO, a device, a write that a full disk slows
 * down, a large tree) run in a forked child, at most SMX_AGENT_FILE_CHILDREN_MAX at once. It closes
 * every descriptor but its own first and is killed when its client leaves. */
#ifndef SMX_AGENT_FILEWORK_H
#define SMX_AGENT_FILEWORK_H

#include "agent/agent.h"

/* Runs in the child: 0, or an errno value below 255. It may use everything of ours as a copy, but
 * no descriptor besides those it was given, and nothing of the loop. */
typedef int(filework_fn)(void *arg);

struct filework;
/* [parks] waits for a place, then forks. keep: descriptors of the child, -1 ends the list
 * (borrowed; close yours afterwards). -SMX_E_BUSY: no place within SMX_AGENT_FILE_CHILD_WAIT_MS. */
int filework_start(struct agent *a, filework_fn *fn, void *arg, const int *keep,
    struct filework **ret, struct smx_err *err);
/* [parks] until it ended: its errno value in *ret_errno (EINTR when it was killed);
 * -SMX_E_CANCELLED when the client left: then it was killed. x may be NULL. */
int filework_wait(struct filework *w, struct http_exchange *x, int *ret_errno);
/* Kills it if it still runs; accepts NULL. */
void filework_free(struct filework *w);
SMX_DEFINE_CLEANUP(struct filework, filework_free)

/* [parks] start and wait; -SMX_E_TIMEOUT past the deadline: then it was killed. */
int filework_run(struct agent *a, struct http_exchange *x, uint64_t deadline_ns, filework_fn *fn,
    void *arg, int *ret_errno, struct smx_err *err);

#endif
