/* rooms.c - rooms that are made ahead of time, so that a create finds everything in place that does
 * not depend on it. The most recent one is taken first. What an engine leaves behind of a room when
 * it is killed is its directory in the pool and its range of ids; its successor takes both away. */
#include <stdio.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/sys.h"

struct network {
    struct engine *e;
    struct room_order order;
    int *fds;
    int r;
    struct smx_err err;
    struct io_event done;
};

static void network_main(void *arg)
{
    struct network *n = arg;

    n->r = hands_room(&n->e->hands, &n->order, /* userns_fd= */ -1, n->fds, &n->err);
    io_event_set(&n->done);
}

/* [parks] Both halves at the same time. */
static int make_halves(
    struct engine *e, const struct room_order *o, struct room *room, struct smx_err *err)
{
    struct network n = { .e = e, .order = *o, .fds = room->fds };
    int r;

    n.order.half = ROOM_NETWORK;
    io_event_init(&n.done);
    r = io_fiber_spawn(e->loop, "network", network_main, &n, NULL, err);
    if (r < 0)
        return r;
    r = hands_room(&e->hands, o, room->userns.fd, room->fds, err);
    io_shield_begin(); /* it writes to our stack */
    io_event_wait(&n.done, SMX_FOREVER);
    io_shield_end();
    if (r == 0 && n.r < 0)
        r = smx_err_set(err, n.err.code, "%s", n.err.msg);
    return r;
}

static int make_room(struct engine *e, struct room *room, const char *box, const char *template,
    const char *generation, uint64_t memory_mib, struct smx_err *err)
{
    struct room_order o = { .memory_mib = memory_mib,
        .host_usr = e->base.host_usr,
        .idmap_usr = e->idmap_usr,
        .half = ROOM_FILES };
    int r = userns_take(&e->userns, &room->userns, err);

    if (r < 0)
        return r;
    o.slot = room->userns.slot;
    room->memory_mib = memory_mib;
    if (!smx_strcpy(o.box, sizeof o.box, box) ||
        (size_t)snprintf(o.lower, sizeof o.lower, "templates/%s/%s", template, generation) >=
            sizeof o.lower)
        r = smx_err_set(err, SMX_E_INTERNAL, "a directory's name is too long");
    else
        r = make_halves(e, &o, room, err);
    if (r < 0)
        room_drop(e, room);
    return r;
}

void room_drop(struct engine *e, struct room *room)
{
    room_close(room);
    slot_release(&e->slots, room->userns.slot);
    room->userns.slot = -1;
    if (room->name[0])
        hands_discard(&e->hands, room->name, NULL);
    room->name[0] = '\0';
}

/* [parks] */
static int make_in_pool(
    struct engine *e, uint64_t memory_mib, struct room *ret, struct smx_err *err)
{
    char box[ROOM_PATH_SIZE];
    int r = skeleton_pick(&e->skeletons, ret->name, err);

    if (r < 0)
        return r;
    snprintf(box, sizeof box, "pool/%s", ret->name);
    return make_room(e, ret, box, e->base.name, e->base.generation, memory_mib, err);
}

int rooms_fill(struct engine *e, struct smx_err *err)
{
    struct room room = ROOM_NONE;
    int r;

    if (e->rooms.n + e->ready.n >= e->cfg.rooms)
        return 1;
    r = make_in_pool(e, e->cfg.defaults.memory_mib, &room, err);
    if (r < 0)
        return r;
    room_move(&room, ENGINE_HIGH_FD);
    if (e->rooms.n + e->ready.n < e->cfg.rooms)
        e->rooms.v[e->rooms.n++] = room;
    else
        room_drop(e, &room);
    return 0;
}

int room_take(struct box *b, struct room *ret, struct smx_err *err)
{
    *ret = (struct room)ROOM_NONE;
    if (b->e->rooms.n == 0)
        return make_in_pool(b->e, b->m.resources.memory_mib, ret, err);
    *ret = b->e->rooms.v[--b->e->rooms.n];
    room_move(ret, /* floor= */ 0);
    return 0;
}

int room_for(struct box *b, struct room *ret, struct smx_err *err)
{
    char box[ROOM_PATH_SIZE];

    snprintf(box, sizeof box, "sandboxes/%s", b->m.id);
    *ret = (struct room)ROOM_NONE;
    return make_room(
        b->e, ret, box, b->m.template, b->m.generation, b->m.resources.memory_mib, err);
}

int room_settle(struct box *b, struct room *room, struct smx_err *err)
{
    struct skeleton_names names = {
        .id = b->m.id, .hostname = b->m.hostname, .template = b->m.template
    };
    int r;

    if (!room->name[0])
        return 0;
    r = skeleton_use(&b->e->skeletons, room->name, &names, err);
    room->name[0] = '\0';
    return r;
}

/* Their directories are found by the next engine. */
void rooms_done(struct engine *e)
{
    while (e->rooms.n > 0) {
        struct room *room = &e->rooms.v[--e->rooms.n];

        room_close(room);
        slot_release(&e->slots, room->userns.slot);
    }
}
