/* room.h - all that a sandbox needs and that has nothing to do with who will use it: uts, ipc,
 * network and mount namespaces, the last with a root file system in place, and the socket that the
 * agent will listen on. No process is in a room: it is a set of descriptors and gone with them. */
#ifndef SMX_ENGINE_ROOM_H
#define SMX_ENGINE_ROOM_H

#include "engine/mounts.h"
#include "engine/skeleton.h"

/* Descriptors of a room. The two halves, files and network, are made at the same time. */
enum { ROOM_UTS, ROOM_IPC, ROOM_MNT, ROOM_NET, ROOM_NAMESPACES, ROOM_SOCKET = ROOM_NAMESPACES };
enum room_half { ROOM_FILES, ROOM_NETWORK };
enum { ROOM_FDS = ROOM_SOCKET + 1, ROOMS_MAX = 256, ROOM_PATH_SIZE = 128 };

/* What a helper process is told. */
struct room_order {
    char box[ROOM_PATH_SIZE]; /* see struct mounts_plan */
    char lower[ROOM_PATH_SIZE];
    int slot;
    uint64_t memory_mib;
    bool host_usr, idmap_usr;
    enum room_half half;
};

struct room {
    char name[SKELETON_NAME_SIZE]; /* of its directory in the pool; "": not there */
    struct userns userns;
    int fds[ROOM_FDS];
    uint64_t memory_mib; /* what its /dev was made for */
};

#define ROOM_NONE                                                          \
    {                                                                      \
        .userns = { .slot = -1, .fd = -1 }, .fds = { -1, -1, -1, -1, -1 }, \
    }

struct rooms {
    struct room v[ROOMS_MAX];
    unsigned n;
};

/* Where a helper process is at home: namespaces and working directory. */
struct room_home {
    int fds[ROOM_NAMESPACES];
    int dir;
};

/* Blocking, in a helper process. After room_make() it is in the new namespaces, and has to go home
 * whatever the result. Fills in the descriptors of the half. */
int room_home_open(struct room_home *home);
int room_make(
    const struct room_order *order, int userns_fd, int fds[ROOM_FDS], struct smx_err *err);
int room_go_home(const struct room_home *home);

/* The descriptors of a half: the first, and how many. */
static inline int room_first(enum room_half half)
{
    return half == ROOM_FILES ? ROOM_UTS : ROOM_NET;
}

static inline int room_count(enum room_half half)
{
    return half == ROOM_FILES ? ROOM_NET : ROOM_FDS - ROOM_NET;
}

/* Moves all descriptors of a room up, out of the way of children, or down to where they are
 * needed. */
void room_move(struct room *room, int floor);
/* Closes; the slot stays taken. */
void room_close(struct room *room);

#endif
