/* notify.c - tells systemd about readiness (sd_notify(3)): one datagram to $NOTIFY_SOCKET. */
#include "supervisor/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"

void notify_systemd(const char *text)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;
    int fd;

    if (n < 2 || n >= sizeof addr.sun_path)
        return;
    memcpy(addr.sun_path, path, n);
    if (path[0] == '@')
        addr.sun_path[0] = 0;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&addr,
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    smx_close(fd);
}
