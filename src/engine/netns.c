/* netns.c - see netns.h. A helper process enters a new namespace and sends a descriptor of it; the
 * namespace it leaves stays alive by that descriptor only. */
#include "engine/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "engine/hands.h"
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
int netns_enter_new(struct smx_err *err)
{
    int r;

    if (unshare(CLONE_NEWNET) < 0)
        return smx_err_errno(err, errno, "making a network namespace");
    r = loopback_up(err);
    if (r < 0)
        return r;
    return smx_write_node_at(procfs_private(), "sys/net/ipv4/ip_unprivileged_port_start", "0", err);
}

void netns_pool_init(struct netns_pool *p, struct hands *hands)
{
    *p = (struct netns_pool){ .hands = hands };
}

void netns_pool_done(struct netns_pool *p)
{
    while (p->n > 0)
        smx_close(p->fds[--p->n]);
}

int netns_pool_fill(struct netns_pool *p, struct smx_err *err)
{
    int fd = -1, r;

    if (p->n == NETNS_POOL_MAX)
        return 1;
    r = hands_netns(p->hands, &fd, err);
    if (r == 0 && p->n < NETNS_POOL_MAX)
        p->fds[p->n++] = fd;
    else
        smx_close(fd);
    return r;
}

int netns_take(struct netns_pool *p)
{
    return p->n > 0 ? p->fds[--p->n] : -1;
}
