/* netns.c - see netns.h. */
#include "engine/netns.h"

#include <errno.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "engine/procfs.h"

static int loopback_up(struct smx_err *err)
{
    struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    SMX_CLEANUP(smx_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        return smx_err_errno(err, errno, "bringing the loopback interface up");
    return 0;
}

/* The namespace belongs to the host's user namespace: root inside has no capability over it and
 * could not even bind port 80. */
int netns_prepare(struct smx_err *err)
{
    int r = loopback_up(err);

    if (r < 0)
        return r;
    return smx_write_node_at(procfs_private(), "sys/net/ipv4/ip_unprivileged_port_start", "0", err);
}
