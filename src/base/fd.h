/* fd.h - file descriptors. They start at -1, are O_CLOEXEC and close on scope exit, keeping errno;
 * close is never retried. Nothing here parks a fiber: sockets of the event loop go through io.h. */
#ifndef SMX_BASE_FD_H
#define SMX_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

void smx_close(int fd); /* accepts -1 */
static inline void smx_closep(int *fd)
{
    smx_close(*fd);
}
/* Yields the descriptor and leaves -1 behind. */
static inline int smx_take_fd(int *fd)
{
    int v = *fd;

    *fd = -1;
    return v;
}

int smx_fd_set_nonblock(int fd, bool on, struct smx_err *err);
int smx_fd_set_cloexec(int fd, bool on, struct smx_err *err);
/* Reads or writes all n bytes on a blocking descriptor. read returns the count, less than n at EOF.
 */
ssize_t smx_read_full(int fd, void *data, size_t n);
int smx_write_full(int fd, const void *data, size_t n); /* 0 or -errno */

/* Reads a whole file below dirfd (AT_FDCWD for none) up to the buffer's maximum. */
int smx_read_file_at(int dirfd, const char *path, struct smx_buf *buf, struct smx_err *err);
/* Writes path.tmp, fsyncs, renames, fsyncs the directory: the old content or the new, never a mix.
 */
int smx_write_file_atomic_at(
    int dirfd, const char *path, const void *data, size_t n, mode_t mode, struct smx_err *err);
/* Writes to an existing file such as a cgroup or proc node. */
int smx_write_node_at(int dirfd, const char *path, const char *text, struct smx_err *err);

enum { SMX_FDS_MAX = 8 };
/* One datagram with descriptors on a blocking or non-blocking unix socket. Returns bytes or -errno.
 */
ssize_t smx_send_fds(int sock, const void *data, size_t n, const int *fds, size_t nfds);
/* *nfds: room on entry, received on return; extra descriptors are closed. Received ones are
 * O_CLOEXEC. */
ssize_t smx_recv_fds(int sock, void *data, size_t n, int *fds, size_t *nfds);

#endif
