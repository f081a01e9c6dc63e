/* foreign.h - descriptors that come from somebody hostile. Whoever closes one last, closes it for
 * everybody: a TCP socket with SO_LINGER keeps its last holder waiting for as long as its maker
 * likes, in close(), in a read that drops what was passed, and in the end of a socket that such a
 * message waits in. Only a process that ends does not wait; so one that lives for this moment holds
 * them last. Threads: any. */
#ifndef SMX_BASE_FOREIGN_H
#define SMX_BASE_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes them without waiting for their maker; -1 among them is passed over. Keeps errno. */
void smx_close_foreign(const int *fds, size_t n);

/* Bytes from a stream that descriptors may come with: the first is *ret_fd, if that is not NULL and
 * holds -1, all others are closed. Returns bytes, 0 at the end, or -errno. */
ssize_t smx_recv_foreign(int sock, void *data, size_t n, int *ret_fd);

/* Closes such a stream, and what waits in it. -1 is passed over. */
void smx_close_foreign_stream(int sock);

/* Whether the stream takes descriptors from now on; if not, who sends one gets EPERM. 0 or -errno:
 * before Linux 6.16 it takes them in any case. */
int smx_pass_rights(int sock, int on);
/* Nothing can come along with its bytes: it takes no descriptors, or is no unix socket. */
bool smx_refuses_rights(int sock);

#endif
