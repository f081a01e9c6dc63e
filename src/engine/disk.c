/* disk.c - disk limits where the file system has no quota: soft, by looking.
 *
 * Two rules. A sandbox over its limit is killed with the reason disk_full; its files stay, and it
 * may be started again to be cleared up (it then gets DISK_HEADROOM above what it has). And the
 * host keeps a reserve: near it, the sandboxes that grew most are killed until the reserve is safe.
 *
 * How often a sandbox is looked at follows from how long it would take to fill what it has left at
 * DISK_RATE; nobody is looked at twice while the file system did not change at all; the time that
 * looking takes is bounded to a tenth of one core. Between two looks RLIMIT_FSIZE bounds single
 * files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"

#define MIB (UINT64_C(1) << 20)
#define DISK_RATE (UINT64_C(1536) * MIB) /* bytes a second: more than disks of today take */
#define DISK_HEADROOM (64 * MIB)
#define RESERVE_MARGIN (512 * MIB)
#define GROWER_LEAST MIB /* what writes less is not the one that fills the disk */

enum {
    TICK_MS = 500,
    NEAR_TICK_MS = 100,
    ROUND_MS = 300,
    LOOK_LEAST_MS = 500,
    LOOK_MOST_MS = 60000,
    FRESH_NS = 500000000, /* a figure of that age will do */
    IDLE_SHARE = 9,       /* rest nine times as long as a look took */
};

struct space {
    uint64_t total, available, reserve;
};

static int look_at_host(struct engine *e, struct space *ret, struct smx_err *err)
{
    struct statvfs st;

    if (fstatvfs(e->boxes_fd, &st) < 0)
        return smx_err_errno(err, errno, "looking at the file system");
    ret->total = st.f_blocks * st.f_frsize;
    ret->available = st.f_bavail * st.f_frsize;
    ret->reserve = SMX_MIN(ret->total / 10, e->cfg.reserve_mib * MIB);
    return 0;
}

int disk_check_reserve(struct engine *e, struct smx_err *err)
{
    struct space room = { 0 };
    int r = look_at_host(e, &room, err);

    if (r == 0 && room.available <= room.reserve)
        r = smx_err_set(err, SMX_E_DISK_FULL,
            "the host has %llu MiB free and keeps %llu MiB for itself",
            (unsigned long long)(room.available / MIB), (unsigned long long)(room.reserve / MIB));
    return r;
}

static uint64_t limit_of(const struct box *b)
{
    return SMX_MAX(b->m.resources.disk_mib * MIB, b->disk_allowed);
}

int disk_usage(struct box *b, uint64_t *ret_bytes, struct smx_err *err)
{
    int r = 0;

    if (b->looked_ns <= b->e->disk_changed_ns || b->looked_ns + FRESH_NS < smx_now_ns()) {
        b->looked_ns = smx_now_ns();
        r = hands_usage(&b->e->hands, b->m.id, &b->disk_bytes, err);
    }
    *ret_bytes = b->disk_bytes;
    return r;
}

int disk_allow(struct box *b, struct smx_err *err)
{
    uint64_t bytes = 0;
    int r = hands_usage(&b->e->hands, b->m.id, &bytes, err);

    if (r < 0)
        return r;
    b->disk_bytes = b->disk_last = bytes;
    b->disk_allowed = bytes > b->m.resources.disk_mib * MIB ? bytes + DISK_HEADROOM : 0;
    b->next_look_ns = b->looked_ns = 0;
    return 0;
}

/* When it could be over its limit at the earliest. */
static uint64_t next_look(const struct box *b)
{
    uint64_t limit = limit_of(b);
    uint64_t left = limit > b->disk_bytes ? limit - b->disk_bytes : 0;
    uint64_t ms = left / (DISK_RATE / 1000);

    return smx_deadline_in_ms(
        SMX_MIN(SMX_MAX(ms, (uint64_t)LOOK_LEAST_MS), (uint64_t)LOOK_MOST_MS));
}

/* [parks] */
static void look(struct box *b)
{
    uint64_t bytes = 0;

    b->looked_ns = smx_now_ns();
    if (hands_usage(&b->e->hands, b->m.id, &bytes, NULL) < 0)
        return;
    b->disk_last = b->disk_bytes;
    b->disk_bytes = bytes;
    b->next_look_ns = next_look(b);
    if (bytes > limit_of(b) && box_alive(b)) {
        smx_warn("sandbox %s is over its disk limit: %llu of %llu MiB", b->m.id,
            (unsigned long long)(bytes / MIB), (unsigned long long)(limit_of(b) / MIB));
        box_kill(b, ENGINE_REASON_DISK_FULL);
    }
}

/* Nobody grew who was looked at after the file system last changed. */
static bool is_due(const struct box *b, uint64_t now, bool everybody)
{
    if (!box_alive(b) || b->deleted || b->looked_ns > b->e->disk_changed_ns)
        return false;
    return everybody || b->next_look_ns <= now;
}

/* The ones to look at now, each with a reference. */
static size_t collect(struct engine *e, bool everybody, struct box ***ret)
{
    struct box **v = smx_alloc_array(e->boxes.count, sizeof(*v)), *b;
    uint64_t now = smx_now_ns();
    size_t n = 0, pos = 0;

    *ret = v;
    while (v && (b = smx_map_next(&e->boxes, &pos)) != NULL)
        if (n < e->boxes.count && is_due(b, now, everybody))
            v[n++] = box_ref(b);
    return n;
}

static int by_urgency(const void *a, const void *b)
{
    uint64_t x = (*(struct box *const *)a)->next_look_ns;
    uint64_t y = (*(struct box *const *)b)->next_look_ns;

    return x < y ? -1 : x > y;
}

/* [parks] Looks at those that are due, the most urgent first, for a bounded time; rests in
 * proportion. */
static void look_around(struct engine *e, bool everybody)
{
    uint64_t until = smx_deadline_in_ms(ROUND_MS);
    struct box **v;
    size_t n = collect(e, everybody, &v);

    if (n > 1)
        qsort(v, n, sizeof(*v), by_urgency);
    for (size_t i = 0; i < n; i++) {
        uint64_t begun = smx_now_ns();

        if (begun < until) {
            look(v[i]);
            if (!everybody)
                io_sleep_until(smx_now_ns() + (smx_now_ns() - begun) * IDLE_SHARE);
        }
        box_unref(v[i]);
    }
    smx_free(v);
}

/* The host's reserve is near: ends the one that grew most since the last look. */
static void end_biggest_grower(struct engine *e)
{
    struct box *b, *worst = NULL;
    uint64_t most = GROWER_LEAST;
    size_t pos = 0;

    while ((b = smx_map_next(&e->boxes, &pos)) != NULL) {
        uint64_t grown = b->disk_bytes > b->disk_last ? b->disk_bytes - b->disk_last : 0;

        if (box_alive(b) && b->why == ENGINE_REASON_NONE && grown > most) {
            most = grown;
            worst = b;
        }
    }
    if (!worst)
        return;
    smx_warn("the host's disk reserve is near: ending sandbox %s", worst->m.id);
    box_kill(worst, ENGINE_REASON_DISK_FULL);
}

/* Tells of processes that the memory limit killed while their sandbox goes on. */
static void tell_ooms(struct engine *e)
{
    struct box *b;
    size_t pos = 0;

    while ((b = smx_map_next(&e->boxes, &pos)) != NULL) {
        uint64_t n = box_alive(b) ? cgroup_ooms(&e->cgroups, box_group(b)) : 0;

        if (n > b->ooms_told) {
            b->ooms_told = n;
            gateway_event(e, ENGINE_EVENT_OOM, b);
        }
    }
}

static void disk_main(void *arg)
{
    struct engine *e = arg;
    struct space room = { 0 }, before = { 0 };
    uint64_t tick = TICK_MS;

    while (io_sleep_until(smx_deadline_in_ms(tick)) == 0) {
        bool near;

        if (e->boxes.count == 0 || look_at_host(e, &room, NULL) < 0)
            continue;
        tell_ooms(e);
        near = room.available < room.reserve + SMX_MIN(RESERVE_MARGIN, room.reserve / 2);
        tick = near ? NEAR_TICK_MS : TICK_MS;
        if (room.available != before.available)
            e->disk_changed_ns = smx_now_ns();
        look_around(e, near);
        if (near && room.available < before.available)
            end_biggest_grower(e);
        before = room;
    }
}

int disk_watch_start(struct engine *e, struct smx_err *err)
{
    return io_fiber_spawn(e->loop, "disk", disk_main, e, NULL, err);
}
