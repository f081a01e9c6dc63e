/* engine.h - the engine as a whole, and the contracts of its parts that need the event loop. One
 * thread, fibers; blocking work is done by helper processes (hands). */
#ifndef SMX_ENGINE_ENGINE_H
#define SMX_ENGINE_ENGINE_H

#include "base/map.h"
#include "engine/cgroup.h"
#include "engine/hands.h"
#include "engine/meta.h"
#include "engine/room.h"
#include "engine/seccomp.h"
#include "engine/skeleton.h"
#include "engine/slots.h"
#include "engine/template.h"
#include "engine/userns.h"
#include "io/io.h"

struct engine_config {
    const char *state_dir; /* STATE/engine, absolute */
    const char *instance;
    const char *agent_path;
    const char *run_dir; /* /run/sandmux */
    uint64_t gateway_fd; /* 0: none yet */
    struct engine_resources defaults;
    uint64_t rooms;       /* made ahead of time, at most ROOMS_MAX */
    uint64_t ready;       /* of them with an agent, at most READY_MAX and half of the rooms */
    uint64_t reserve_mib; /* what the host keeps at most; also never more than 10 % */
};

struct gateway;
struct box;

enum { READY_MAX = 16 };

/* See ready.c. */
struct ready {
    struct box *v[READY_MAX];
    unsigned n;
    struct box *making; /* NULL: none */
};

struct engine {
    struct engine_config cfg;
    struct io_loop *loop;
    int state_fd, boxes_fd, trash_fd, templates_fd, pool_fd, mnt_fd;
    int lock_fd;
    int agent_fd;
    int netns_fd, uts_fd; /* the host's own */
    char boot_id[BOOT_ID_SIZE];
    bool idmap_usr;
    struct cgroups cgroups;
    struct slots slots;
    struct userns_pool userns;
    struct rooms rooms;
    struct ready ready;
    struct seccomp_filter seccomp;
    struct template base;
    struct hands hands;
    struct skeletons skeletons;
    struct smx_map boxes;   /* id -> struct box */
    struct io_sem creates;  /* as many at once as there are cores */
    uint64_t asked_ns;      /* when the last request came */
    struct io_event refill; /* the pool of user namespaces may be filled */
    unsigned creating;      /* creates that run or wait */
    struct io_fd watch;     /* an epoll of the pidfds */
    struct io_fd control;   /* listens for supervisors */
    pid_t parent;
    bool failed;             /* the start did not work */
    struct gateway *gateway; /* NULL: none is connected */
    bool orphan;             /* the supervisor is gone */
    bool stopping;
    uint64_t disk_changed_ns;     /* when the file system was last seen to have changed */
    struct engine_resources most; /* what one sandbox can have on this host */
    char *why;                    /* creates cannot work because of this; NULL: they can */
};

/* --- box.c: one sandbox ------------------------------------------------------------------------
 */

struct box {
    struct engine *e;
    struct meta m; /* m.id is the key in e->boxes */
    unsigned refs;
    int pidfd;             /* -1: no process */
    int root_fd;           /* holds the overlay mount from the kill on; -1 */
    bool ours;             /* a child of this engine: to be reaped */
    struct io_sem lock;    /* one operation at a time */
    struct io_event ended; /* set while no process is there */
    struct io_timer timer;
    enum engine_reason why; /* set by who kills it; NONE: nobody did */
    int exit_code, exit_status;
    bool deleted; /* off the table: waiters find it gone */
    uint64_t ooms_told;
    uint64_t disk_bytes, disk_last, disk_allowed;
    uint64_t next_look_ns, looked_ns;
    /* Of what was made ahead of time and is no sandbox yet; m.id is the name of its groups. */
    bool waits;
    int wait_fd; /* -1 */
    struct room room;
};

/* The name of its control groups. */
static inline const char *box_group(const struct box *b)
{
    return b->m.group ? b->m.group : b->m.id;
}

struct box *box_find(struct engine *e, const char *id); /* borrowed, or NULL */
struct box *box_ref(struct box *b);
void box_unref(struct box *b);
SMX_DEFINE_CLEANUP(struct box, box_unref)
/* One that nobody knows yet; NULL without memory. */
struct box *box_new(struct engine *e);
/* Fills in the defaults, and refuses what the host has not got. */
int fit_resources(struct engine *e, struct engine_resources *r, struct smx_err *err);
int box_record(struct box *b, struct smx_err *err);

/* All of these park. Each takes the sandbox's lock itself. */
/* @gone: turns true when nobody waits any more for what has not begun yet. */
int box_create(struct engine *e, const struct engine_request *req, const bool *gone,
    struct box **ret_box, struct smx_err *err);
int box_start(struct box *b, const struct engine_request *req, struct smx_err *err);
int box_stop(struct box *b, uint64_t grace_ms, struct smx_err *err);
int box_pause(struct box *b, struct smx_err *err);
int box_resume(struct box *b, struct smx_err *err);
int box_delete(struct box *b, enum engine_reason reason, struct smx_err *err);
/* Kills now, without waiting; what follows is done by the watcher. */
void box_kill(struct box *b, enum engine_reason reason);

int box_set_deadline(struct box *b, bool has, uint64_t ms, struct smx_err *err);
/* Borrows strings of the box. */
void box_info(const struct box *b, struct engine_sandbox *ret);
/* [parks] brief: does not look at its files, whose figure is then an old one. */
int box_stats(struct box *b, bool brief, struct engine_stats *ret, struct smx_err *err);
bool box_alive(const struct box *b);
/* recover.c: puts a sandbox that was found into the table. Takes the meta. */
int box_adopt(struct engine *e, struct meta *m, struct box **ret_box, struct smx_err *err);
/* The process of a sandbox ended (or was found gone). */
void box_watch(struct box *b);
void box_finish_later(struct box *b);

/* --- spawn.c -----------------------------------------------------------------------------------
 */

/* Starts pid 1 of a sandbox in a room, which it takes. [parks] */
int box_spawn(struct box *b, struct room *room, struct smx_err *err);
/* The same for one that waits, in its own room: as far as all sandboxes are alike. After a failure
 * its process may be there. [parks] */
int box_spawn_waiting(struct box *b, struct smx_err *err);
/* Ends a process that is not to become a sandbox, and gives back what it had and the room. [parks]
 */
void box_unspawn(struct box *b, struct room *room);

/* --- ready.c -----------------------------------------------------------------------------------
 */

/* [parks] Makes one more; 1 when there are enough, or nothing to make one of. */
int ready_fill(struct engine *e, struct smx_err *err);
/* Less than half of them. */
bool ready_few(const struct engine *e);
/* 1: one that waited is this sandbox now, its record is written; 0: there is none that fits.
 * [parks] after a failure only. */
int ready_adopt(struct box *b, struct smx_err *err);
/* The process of one that waits has ended. */
void ready_ended(struct box *w);
void ready_done(struct engine *e);

/* --- rooms.c -----------------------------------------------------------------------------------
 */

/* [parks] Makes one more; 1 when there are enough. */
int rooms_fill(struct engine *e, struct smx_err *err);
/* [parks] A room for a new sandbox: one that is ready if there is one. */
int room_take(struct box *b, struct room *ret, struct smx_err *err);
/* Makes its directory the sandbox's. Nothing to do for one that was made for it. */
int room_settle(struct box *b, struct room *room, struct smx_err *err);
/* [parks] A room for a sandbox whose directory is there. */
int room_for(struct box *b, struct room *ret, struct smx_err *err);
/* [parks] Takes it away and gives its range of ids back. */
void room_drop(struct engine *e, struct room *room);
void rooms_done(struct engine *e);

/* --- watch.c: ends of processes ----------------------------------------------------------------
 */

int watch_start(struct engine *e, struct smx_err *err);
int watch_add(struct box *b, struct smx_err *err);
/* Takes the pidfd off the watch and closes it. */
void watch_remove(struct box *b);

/* --- disk.c ------------------------------------------------------------------------------------
 */

/* [parks] Bytes that its files take, at most half a second old. */
int disk_usage(struct box *b, uint64_t *ret_bytes, struct smx_err *err);
/* [parks] Before a stopped one starts: what it has already is forgiven, with some room to clear up.
 */
int disk_allow(struct box *b, struct smx_err *err);
int disk_watch_start(struct engine *e, struct smx_err *err);
/* -SMX_E_DISK_FULL when the host has no more than its reserve. */
int disk_check_reserve(struct engine *e, struct smx_err *err);

/* --- dial.c: connected sockets -----------------------------------------------------------------
 */

int dial_agent(struct box *b, int *ret_fd, struct smx_err *err);
int dial_port(struct box *b, uint16_t port, int *ret_fd, struct smx_err *err); /* [parks] */

/* --- recover.c ---------------------------------------------------------------------------------
 */

/* Finds every sandbox by its directory and takes away what is half-made. [parks] */
int recover_all(struct engine *e, struct smx_err *err);
/* [parks] Templates that the host has outgrown and no sandbox stands on. After the present one is
 * open. */
void recover_templates(struct engine *e);

/* --- server.c, control.c -----------------------------------------------------------------------
 */

/* Serves a gateway on this descriptor, in the place of the one before; takes it. */
int gateway_serve(struct engine *e, int fd, struct smx_err *err);
void gateway_event(struct engine *e, enum engine_event event, struct box *b);
int control_start(struct engine *e, struct smx_err *err);
/* main.c: ends an engine that nobody needs any more: its supervisor is gone, no gateway is
 * connected and there is no sandbox. */
void engine_maybe_leave(struct engine *e);

/* --- report.c ----------------------------------------------------------------------------------
 */

/* Looks at the host once at start; sets e->why. */
void report_probe(struct engine *e);
void report_hello(struct engine *e, struct engine_hello *ret);
enum { REPORT_CHECKS_MAX = 24 };
struct report {
    struct engine_check checks[REPORT_CHECKS_MAX];
    char texts[REPORT_CHECKS_MAX][160];
    size_t n;
};
void report_checks(struct engine *e, struct report *ret);

#endif
