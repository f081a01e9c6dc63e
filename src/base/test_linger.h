/* test_linger.h - a socket whose last close takes minutes, for tests of those who must not be the
 * ones to do it. */
#ifndef SMX_BASE_TEST_LINGER_H
#define SMX_BASE_TEST_LINGER_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"

enum { LINGER_S = 300, LINGER_PATIENCE_MS = 60000 };

static inline uint64_t now_ms(void)
{
    return smx_now_ns() / SMX_NS_PER_MS;
}

/* Two connected sockets; the first has more to send than the second takes, and waits for it. */
static inline int lingering(int fds[2])
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct linger l = { .l_onoff = 1, .l_linger = LINGER_S };
    SMX_CLEANUP(smx_closep) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof a;
    static char data[65536];

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&a, &size) < 0 ||
        connect(fds[0], (struct sockaddr *)&a, sizeof a) < 0)
        return -1;
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    while (send(fds[0], data, sizeof data, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
    return setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

#endif
