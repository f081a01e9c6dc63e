/* room.c - see room.h. The order matters: namespaces are opened by their names in the host's
 * /proc before the root changes, and the socket is made in the new network namespace and bound by a
 * name relative to the working directory, since paths of sockets are short. */
#include "engine/room.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/netns.h"
#include "engine/sys.h"

enum { BACKLOG = 1024 };

static const struct {
    int flag;
    const char *node;
} namespaces[ROOM_NAMESPACES] = {
    [ROOM_UTS] = { CLONE_NEWUTS, "/proc/self/ns/uts" },
    [ROOM_IPC] = { CLONE_NEWIPC, "/proc/self/ns/ipc" },
    [ROOM_MNT] = { CLONE_NEWNS, "/proc/self/ns/mnt" },
    [ROOM_NET] = { CLONE_NEWNET, "/proc/self/ns/net" },
};

static int open_namespaces(int fds[ROOM_NAMESPACES], int first, int end)
{
    for (int i = first; i < end; i++) {
        fds[i] = open(namespaces[i].node, O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0)
            return -1;
    }
    return 0;
}

int room_home_open(struct room_home *home)
{
    home->dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return home->dir < 0 ? -1 : open_namespaces(home->fds, 0, ROOM_NAMESPACES);
}

int room_go_home(const struct room_home *home)
{
    for (int i = 0; i < ROOM_NAMESPACES; i++)
        if (setns(home->fds[i], namespaces[i].flag) < 0)
            return -1;
    return fchdir(home->dir);
}

/* Bound where only the engine can reach it. */
static int listen_for_agent(const char *box, int *ret_fd, struct smx_err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/agent.sock", box);
    *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*ret_fd < 0)
        return smx_err_errno(err, errno, "making the agent's socket");
    if (unlink(address.sun_path) < 0 && errno != ENOENT)
        return smx_err_errno(err, errno, "replacing the agent's socket");
    if (bind(*ret_fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(*ret_fd, BACKLOG) < 0)
        return smx_err_errno(err, errno, "binding the agent's socket");
    return 0;
}

static int make_files(const struct room_order *o, int userns_fd, int *fds, struct smx_err *err)
{
    struct mounts_plan plan = { .box = o->box,
        .lower = o->lower,
        .userns = { .slot = o->slot, .fd = userns_fd },
        .memory_mib = o->memory_mib,
        .host_usr = o->host_usr,
        .idmap_usr = o->idmap_usr };

    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        return smx_err_errno(err, errno, "making namespaces");
    if (open_namespaces(fds, ROOM_UTS, ROOM_NET) < 0)
        return smx_err_errno(err, errno, "opening namespaces");
    return mounts_make(&plan, err);
}

static int make_network(const struct room_order *o, int *fds, struct smx_err *err)
{
    int r;

    if (unshare(CLONE_NEWNET) < 0)
        return smx_err_errno(err, errno, "making a network namespace");
    if (open_namespaces(fds, ROOM_NET, ROOM_NAMESPACES) < 0)
        return smx_err_errno(err, errno, "opening the network namespace");
    r = netns_prepare(err);
    return r == 0 ? listen_for_agent(o->box, &fds[ROOM_SOCKET], err) : r;
}

int room_make(const struct room_order *o, int userns_fd, int fds[ROOM_FDS], struct smx_err *err)
{
    return o->half == ROOM_FILES ? make_files(o, userns_fd, fds, err) : make_network(o, fds, err);
}

void room_move(struct room *room, int floor)
{
    for (int i = 0; i < ROOM_FDS; i++)
        fd_move(&room->fds[i], floor);
    fd_move(&room->userns.fd, floor);
}

void room_close(struct room *room)
{
    for (int i = 0; i < ROOM_FDS; i++)
        smx_close(smx_take_fd(&room->fds[i]));
    smx_close(smx_take_fd(&room->userns.fd));
}
