/* watch.h - changes below a directory, by inotify: one instance a watch, one kernel watch a
 * directory. */
#ifndef SMX_AGENT_WATCH_H
#define SMX_AGENT_WATCH_H

#include "base/list.h"
#include "base/err.h"
#include "io/io.h"
#include "wire/envd/envd.h"

enum { WATCH_BUCKETS = 64 };
struct watch {
    struct io_fd fd;
    char *root; /* absolute, clean */
    bool recursive;
    size_t *total; /* kernel watches of all, against SMX_AGENT_WATCHES_MAX */
    struct smx_list dirs[WATCH_BUCKETS];
};

/* One change; name is relative to the root, "." for the root itself. Must not park. */
typedef void(watch_event_fn)(void *ctx, enum envd_fs_event_type type, const char *name);

/* -SMX_E_FILE_NOT_FOUND, -SMX_E_INVALID (not a directory), -SMX_E_STATE (network mount and not
 * allowed), -SMX_E_QUOTA (a limit, which the message names). Everything is released on failure. */
int watch_open(struct watch *w, const char *root, bool recursive, bool allow_network, size_t *total,
    struct smx_err *err);
/* [parks] for changes until the deadline, hup (or NULL) or a failure: 0 after at least one call of
 * fn; -SMX_E_TIMEOUT, -SMX_E_CLOSED (hup), -SMX_E_CANCELLED, -SMX_E_QUOTA (changes were lost). */
int watch_next(struct watch *w, struct io_fd *hup, uint64_t deadline_ns, watch_event_fn *fn,
    void *ctx, struct smx_err *err);
void watch_close(struct watch *w);

#endif
