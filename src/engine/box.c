/* box.c - the life of one sandbox.
 *
 *   (create) -> CREATING -> RUNNING <-> PAUSED
 *                  |           \          /
 *                  |            STOPPED <-     (start) -> RUNNING
 *                  v                |
 *                gone <- DELETING <-+- any state
 *
 * Invariants: one operation at a time holds b->lock; b->pidfd >= 0 exactly while pid 1 may be there
 * and then b->ended is not set; a slot is held exactly while processes may be there; what the
 * record on disk says is never ahead of the kernel. Killing needs no lock: a deadline is never
 * late because an operation is in its way. Who kills writes the reason first. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"

enum {
    KILL_TIMEOUT_MS = 60000,
    FREEZE_TIMEOUT_MS = 5000,
    GROUP_TIMEOUT_MS = 10000,
    STOP_LOOK_MS = 10,
    EXPIRE_GRACE_MS = 2000,
    EXPIRE_AGAIN_MS = 1000,
};

#define BIT(state) (1u << ENGINE_STATE_##state)

/* --- the table ---------------------------------------------------------------------------------
 */

struct box *box_find(struct engine *e, const char *id)
{
    return smx_map_get(&e->boxes, id);
}

struct box *box_ref(struct box *b)
{
    b->refs++;
    return b;
}

void box_unref(struct box *b)
{
    if (!b || --b->refs > 0)
        return;
    io_timer_disarm(&b->timer);
    watch_remove(b);
    smx_close(b->root_fd);
    json_free(&meta_table, &b->m);
    smx_free(b);
}

bool box_alive(const struct box *b)
{
    return b->pidfd >= 0;
}

static void forget(struct box *b)
{
    if (b->deleted)
        return;
    b->deleted = true;
    b->m.state = ENGINE_STATE_GONE;
    io_timer_disarm(&b->timer);
    smx_map_remove(&b->e->boxes, b->m.id);
    engine_maybe_leave(b->e);
    box_unref(b);
}

static int box_open(struct box *b, int *ret_fd, struct smx_err *err)
{
    *ret_fd = openat(b->e->boxes_fd, b->m.id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0)
        return smx_err_errno(err, errno, "opening sandbox '%s'", b->m.id);
    return 0;
}

int box_record(struct box *b, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    int r = box_open(b, &fd, err);

    return r < 0 ? r : meta_write(fd, &b->m, err);
}

/* [parks shortly] Also lets the overlay go: last, because its write-back is in the way of whoever
 * removes files meanwhile. */
static void box_unlock(struct box **b)
{
    if (!*b)
        return;
    if (!box_alive(*b))
        hands_let_go(&(*b)->e->hands, smx_take_fd(&(*b)->root_fd));
    io_sem_release(&(*b)->lock);
    box_unref(*b);
}

/* [parks] Takes the lock and a reference, and checks the state. */
static int box_lock(
    struct box *b, unsigned states, const char *doing, struct box **ret_locked, struct smx_err *err)
{
    box_ref(b);
    if (io_sem_acquire(&b->lock, SMX_FOREVER) < 0) {
        box_unref(b);
        return smx_err_set(err, SMX_E_CANCELLED, "the engine is stopping");
    }
    *ret_locked = b;
    if (b->deleted)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox '%s' not found", b->m.id);
    if (!(states & (1u << b->m.state)))
        return smx_err_set(err, SMX_E_STATE, "%s: sandbox '%s' is %s", doing, b->m.id,
            engine_state_names[b->m.state]);
    return 0;
}

/* --- ends --------------------------------------------------------------------------------------
 */

/* Else pid 1 would be the one to unmount the overlay, and its end would wait for a write-back of
 * the host's whole file system. */
static void hold_root(struct box *b)
{
    char path[32];

    if (b->root_fd >= 0)
        return;
    snprintf(path, sizeof path, "/proc/%d/root", (int)b->m.pid);
    b->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void box_kill(struct box *b, enum engine_reason reason)
{
    if (b->why == ENGINE_REASON_NONE)
        b->why = reason;
    if (b->pidfd < 0)
        return;
    hold_root(b);
    pidfd_send_signal(b->pidfd, SIGKILL, NULL, 0);
    cgroup_kill(&b->e->cgroups, box_group(b));
}

/* [parks] The control groups are empty a moment after pid 1 has ended. */
static int remove_groups(struct box *b, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(GROUP_TIMEOUT_MS), step_ms = 1;
    int r;

    while ((r = cgroup_remove(&b->e->cgroups, box_group(b))) < 0 && smx_now_ns() < deadline) {
        cgroup_kill(&b->e->cgroups, box_group(b));
        if (io_sleep_until(smx_deadline_in_ms(step_ms)) < 0)
            break;
        step_ms = SMX_MIN(step_ms * 2, UINT64_C(100));
    }
    return r < 0 ? smx_err_errno(err, -r, "removing the control groups of '%s'", b->m.id) : 0;
}

static enum engine_reason reason_of_end(struct box *b)
{
    if (b->why != ENGINE_REASON_NONE)
        return b->why;
    if (b->exit_code == CLD_EXITED)
        return ENGINE_REASON_EXITED;
    if (cgroup_ooms(&b->e->cgroups, box_group(b)) > b->ooms_told)
        return ENGINE_REASON_OOM;
    return b->ours ? ENGINE_REASON_KILLED : ENGINE_REASON_LOST;
}

/* [parks] Kills what is there and gives back all that processes need. */
static int end_processes(struct box *b, enum engine_reason reason, struct smx_err *err)
{
    int r;

    box_kill(b, reason);
    r = io_event_wait(&b->ended, smx_deadline_in_ms(KILL_TIMEOUT_MS));
    if (r < 0)
        return smx_err_set(
            err, (enum smx_code) - r, "the processes of sandbox '%s' do not end", b->m.id);
    b->m.reason = (int)reason_of_end(b);
    r = remove_groups(b, err);
    if (r < 0)
        return r;
    slot_release(&b->e->slots, (int)b->m.slot);
    io_event_set(&b->e->refill);
    b->m.slot = -1;
    b->m.pid = b->m.start_time = 0;
    return 0;
}

/* The end of a sandbox that nobody asked for. Requests that end it hold the lock until the state is
 * right, so this finds nothing to do then. */
static void finish_main(void *arg)
{
    SMX_CLEANUP(box_unrefp) struct box *b = arg;
    SMX_CLEANUP(box_unlock) struct box *locked = NULL;
    struct smx_err err = { 0 };

    if (box_lock(b, BIT(RUNNING) | BIT(PAUSED), "ending", &locked, NULL) < 0 || box_alive(b))
        return;
    if (b->why == ENGINE_REASON_EXPIRED)
        return; /* the deadline's own fiber deletes it */
    if (end_processes(b, ENGINE_REASON_NONE, &err) < 0)
        smx_warn("%s", err.msg);
    b->m.state = ENGINE_STATE_STOPPED;
    if (box_record(b, &err) < 0)
        smx_warn("%s", err.msg);
    smx_info("sandbox %s ended reason=%s", b->m.id, engine_reason_names[b->m.reason]);
    gateway_event(b->e, ENGINE_EVENT_ENDED, b);
}

void box_finish_later(struct box *b)
{
    struct smx_err err = { 0 };

    if (io_fiber_spawn(b->e->loop, "finish", finish_main, box_ref(b), NULL, &err) < 0) {
        smx_error("%s", err.msg);
        box_unref(b);
    }
}

/* --- deadlines ---------------------------------------------------------------------------------
 */

static int arm(struct box *b, struct smx_err *err);

/* [parks] Pauses or stops it and leaves it without a deadline. One that was changed meanwhile, or
 * got a later deadline, is left alone. */
static void expire_gently(struct box *b)
{
    bool pause = b->m.at_expiry == ENGINE_AT_EXPIRY_PAUSE;
    struct smx_err err = { 0 };
    int r;

    if (!b->m.has_deadline || b->m.deadline_ns > smx_now_ns())
        return;
    b->m.has_deadline = false;
    r = pause ? box_pause(b, &err) : box_stop(b, EXPIRE_GRACE_MS, &err);
    if (r == 0) {
        smx_info("sandbox %s %s reason=expired", b->m.id, engine_state_names[b->m.state]);
        if (!pause) {
            b->m.reason = ENGINE_REASON_EXPIRED;
            box_record(b, NULL);
        }
        gateway_event(b->e, pause ? ENGINE_EVENT_PAUSED : ENGINE_EVENT_ENDED, b);
    } else if (r != -SMX_E_STATE && r != -SMX_E_SANDBOX_NOT_FOUND && r != -SMX_E_CANCELLED) {
        smx_warn("%s", err.msg);
        b->m.has_deadline = true;
        b->m.deadline_ns = smx_deadline_in_ms(EXPIRE_AGAIN_MS);
        arm(b, NULL);
    }
}

static void expire_main(void *arg)
{
    SMX_CLEANUP(box_unrefp) struct box *b = arg;
    struct smx_err err = { 0 };

    if (b->m.at_expiry != ENGINE_AT_EXPIRY_KILL) {
        expire_gently(b);
        return;
    }

    if (box_delete(b, ENGINE_REASON_EXPIRED, &err) == 0) {
        smx_info("sandbox %s ended reason=expired", b->m.id);
        gateway_event(b->e, ENGINE_EVENT_ENDED, b);
    } else if (err.code != SMX_E_SANDBOX_NOT_FOUND && err.code != SMX_E_CANCELLED) {
        smx_warn("%s", err.msg);
    }
}

/* Runs on the loop: the kill is now, the rest in a fiber. */
static void expired(void *arg)
{
    struct box *b = arg;
    struct smx_err err = { 0 };

    if (b->m.at_expiry == ENGINE_AT_EXPIRY_KILL)
        box_kill(b, ENGINE_REASON_EXPIRED);
    if (io_fiber_spawn(b->e->loop, "expire", expire_main, box_ref(b), NULL, &err) < 0) {
        smx_error("%s", err.msg);
        box_unref(b);
        io_timer_arm(&b->timer, b->e->loop, smx_deadline_in_ms(100));
    }
}

static int arm(struct box *b, struct smx_err *err)
{
    if (!b->m.has_deadline || b->e->stopping) {
        io_timer_disarm(&b->timer);
        return 0;
    }
    if (io_timer_arm(&b->timer, b->e->loop, b->m.deadline_ns) < 0)
        return smx_err_oom(err);
    return 0;
}

static void put_deadline(struct box *b, bool has, uint64_t ms)
{
    b->m.has_deadline = has;
    b->m.deadline_ns = has ? smx_deadline_in_ms(ms) : 0;
    b->m.deadline_unix_ms = has ? (uint64_t)smx_now_unix_ms() + ms : 0;
}

int box_set_deadline(struct box *b, bool has, uint64_t ms, struct smx_err *err)
{
    int r;

    if (b->deleted || b->m.state == ENGINE_STATE_DELETING || b->why == ENGINE_REASON_EXPIRED)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox '%s' not found", b->m.id);
    put_deadline(b, has, ms);
    r = arm(b, err);
    /* While it is being made the record comes with the rest. */
    if (r == 0 && b->m.state != ENGINE_STATE_CREATING)
        r = box_record(b, err);
    return r;
}

/* --- create and start --------------------------------------------------------------------------
 */

static int fit(const char *what, uint64_t *value, uint64_t fallback, uint64_t least, uint64_t most,
    struct smx_err *err)
{
    if (*value == 0)
        *value = SMX_MIN(fallback, most);
    if (*value < least || *value > most)
        return smx_err_set(err, SMX_E_INVALID, "resources.%s: must be from %llu to %llu", what,
            (unsigned long long)least, (unsigned long long)most);
    return 0;
}

int fit_resources(struct engine *e, struct engine_resources *r, struct smx_err *err)
{
    const struct engine_resources *d = &e->cfg.defaults;
    int x;

    x = fit("cpu_milli", &r->cpu_milli, d->cpu_milli, 10, e->most.cpu_milli, err);
    if (x == 0)
        x = fit("memory_mib", &r->memory_mib, d->memory_mib, 16, e->most.memory_mib, err);
    if (x == 0)
        x = fit("disk_mib", &r->disk_mib, d->disk_mib, 1, e->most.disk_mib, err);
    if (x == 0)
        x = fit("pids", &r->pids, d->pids, 4, e->most.pids, err);
    return x;
}

struct box *box_new(struct engine *e)
{
    struct box *b = smx_alloc(sizeof *b);

    if (!b)
        return NULL;
    b->e = e;
    b->refs = 1;
    b->pidfd = b->root_fd = b->wait_fd = -1;
    b->room = (struct room)ROOM_NONE;
    b->m.slot = -1;
    io_sem_init(&b->lock, 1);
    io_event_init(&b->ended);
    io_event_set(&b->ended);
    io_timer_init(&b->timer, expired, b);
    return b;
}

static int fill_meta(struct box *b, const struct engine_request *req, struct smx_err *err)
{
    const struct engine_create *c = req->create;
    struct meta *m = &b->m;

    m->format = META_FORMAT;
    m->id = smx_strdup(req->id);
    m->token = c->token ? smx_strdup(c->token) : NULL;
    m->template = smx_strdup(b->e->base.name);
    m->generation = smx_strdup(b->e->base.generation);
    m->hostname = smx_strdup(c->hostname ? c->hostname : req->id);
    m->boot_id = smx_strdup(b->e->boot_id);
    m->state = ENGINE_STATE_CREATING;
    m->created_unix_ms = (uint64_t)smx_now_unix_ms();
    m->resources = c->resources;
    m->at_expiry = c->at_expiry;
    if (!m->id || (c->token && !m->token) || !m->template || !m->generation || !m->hostname ||
        !m->boot_id)
        return smx_err_oom(err);
    put_deadline(b, req->has_deadline, req->deadline_ms);
    return fit_resources(b->e, &m->resources, err);
}

static int check_create(struct engine *e, const struct engine_request *req, struct smx_err *err)
{
    const char *template = req->create->template;

    if (e->stopping)
        return smx_err_set(err, SMX_E_CANCELLED, "the engine is stopping");
    if (e->why)
        return smx_err_set(err, SMX_E_UNAVAILABLE, "local sandboxes are unavailable: %s", e->why);
    if (template && !smx_streq(template, e->base.name))
        return smx_err_set(
            err, SMX_E_TEMPLATE_NOT_FOUND, "template '%s' not found on this host", template);
    if (box_find(e, req->id))
        return smx_err_set(err, SMX_E_EXISTS, "sandbox '%s' exists already", req->id);
    return disk_check_reserve(e, err);
}

/* [parks] Moves the directory out of sight first: from then on it cannot be taken for a sandbox. */
static int remove_directory(struct box *b, struct smx_err *err)
{
    if (renameat(b->e->boxes_fd, b->m.id, b->e->trash_fd, b->m.id) < 0 && errno != ENOENT)
        return smx_err_errno(err, errno, "removing sandbox '%s'", b->m.id);
    return hands_remove(&b->e->hands, b->m.id, err);
}

/* [parks] At most as many as there are cores: more only wait for each other. */
static int take_turn(struct engine *e, struct smx_err *err)
{
    e->creating++;
    if (io_sem_acquire(&e->creates, SMX_FOREVER) == 0)
        return 0;
    e->creating--;
    return smx_err_set(err, SMX_E_CANCELLED, "the engine is stopping");
}

static void end_turn(struct engine *e)
{
    io_sem_release(&e->creates);
    e->creating--;
    io_event_set(&e->refill);
}

/* [parks] */
static int build(struct box *b, const bool *gone, struct smx_err *err)
{
    struct room room;
    int r = take_turn(b->e, err);

    if (r < 0) {
        forget(b);
        return r;
    }
    r = *gone ? smx_err_set(err, SMX_E_CANCELLED, "who asked for it is gone") : ready_adopt(b, err);
    if (r == 0) {
        r = room_take(b, &room, err);
        if (r == 0)
            r = box_spawn(b, &room, err);
    }
    if (r < 0) {
        io_shield_begin();
        remove_directory(b, NULL);
        io_shield_end();
        forget(b);
    }
    end_turn(b->e);
    return SMX_MIN(r, 0);
}

int box_create(struct engine *e, const struct engine_request *req, const bool *gone,
    struct box **ret_box, struct smx_err *err)
{
    SMX_CLEANUP(box_unrefp) struct box *b = NULL;
    SMX_CLEANUP(box_unlock) struct box *locked = NULL;
    int r = check_create(e, req, err);

    if (r < 0)
        return r;
    b = box_new(e);
    if (!b)
        return smx_err_oom(err);
    r = fill_meta(b, req, err);
    if (r < 0)
        return r;
    if (smx_map_put(&e->boxes, b->m.id, b) < 0)
        return smx_err_oom(err);
    box_ref(b); /* the table's */
    r = box_lock(b, BIT(CREATING), "creating", &locked, err);
    if (r == 0)
        r = arm(b, err);
    if (r == 0)
        r = build(b, gone, err);
    if (r == 0)
        *ret_box = smx_take(&b);
    return r;
}

/* [parks] */
static int box_furnish(struct box *b, struct room *ret, struct smx_err *err)
{
    char lower[128];

    snprintf(lower, sizeof lower, "%s/%s", b->m.template, b->m.generation);
    if (faccessat(b->e->templates_fd, lower, F_OK, 0) < 0)
        return smx_err_set(err, SMX_E_TEMPLATE_NOT_FOUND,
            "template not found: generation %s of '%s' is no longer there", b->m.generation,
            b->m.template);
    return room_for(b, ret, err);
}

int box_start(struct box *b, const struct engine_request *req, struct smx_err *err)
{
    SMX_CLEANUP(box_unlock) struct box *locked = NULL;
    struct room room;
    int r = box_lock(b, BIT(STOPPED), "starting", &locked, err);

    if (r == 0)
        r = disk_check_reserve(b->e, err);
    if (r == 0)
        r = disk_allow(b, err);
    if (r == 0 && b->e->why)
        r = smx_err_set(err, SMX_E_UNAVAILABLE, "local sandboxes are unavailable: %s", b->e->why);
    if (r < 0)
        return r;
    b->why = ENGINE_REASON_NONE;
    b->ooms_told = 0;
    if (req->has_deadline) {
        put_deadline(b, true, req->deadline_ms);
        r = arm(b, err);
    }
    if (r == 0)
        r = take_turn(b->e, err);
    if (r < 0)
        return r;
    r = box_furnish(b, &room, err);
    if (r == 0)
        r = box_spawn(b, &room, err);
    end_turn(b->e);
    return r;
}

/* --- stop, pause, resume, delete ---------------------------------------------------------------
 */

/* [parks] until only pid 1 is left or the time is over. */
static void ask_to_end(struct box *b, uint64_t grace_ms)
{
    uint64_t deadline = smx_deadline_in_ms(grace_ms);
    int left = cgroup_signal(&b->e->cgroups, box_group(b), SIGTERM, (pid_t)b->m.pid);

    while (left > 0 && smx_now_ns() < deadline && box_alive(b)) {
        if (io_sleep_until(smx_deadline_in_ms(STOP_LOOK_MS)) < 0)
            return;
        left = cgroup_signal(&b->e->cgroups, box_group(b), 0, (pid_t)b->m.pid);
    }
}

int box_stop(struct box *b, uint64_t grace_ms, struct smx_err *err)
{
    SMX_CLEANUP(box_unlock) struct box *locked = NULL;
    int recorded, r = box_lock(b, BIT(RUNNING) | BIT(PAUSED), "stopping", &locked, err);
    bool paused;

    if (r < 0)
        return r;
    paused = b->m.state == ENGINE_STATE_PAUSED;
    b->m.state = ENGINE_STATE_STOPPING;
    box_record(b, /* err= */ NULL); /* a successor finishes it; a full disk does not prevent it */
    if (paused)
        cgroup_freeze(&b->e->cgroups, box_group(b), /* on= */ false, NULL);
    if (grace_ms > 0)
        ask_to_end(b, grace_ms);
    r = end_processes(b, ENGINE_REASON_STOPPED, err);
    b->m.state = r < 0 ? ENGINE_STATE_RUNNING : ENGINE_STATE_STOPPED;
    recorded = box_record(b, r < 0 ? NULL : err);
    return r < 0 ? r : recorded;
}

/* [parks] */
static int await_frozen(struct box *b, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(FREEZE_TIMEOUT_MS), step = SMX_NS_PER_MS / 5;
    int r;

    while ((r = cgroup_frozen(&b->e->cgroups, box_group(b))) == 0) {
        if (smx_now_ns() > deadline)
            return smx_err_set(err, SMX_E_TIMEOUT, "sandbox '%s' does not freeze", b->m.id);
        if (io_sleep_until(smx_now_ns() + step) < 0)
            return smx_err_set(err, SMX_E_CANCELLED, "the engine is stopping");
        step = SMX_MIN(step * 2, 20 * SMX_NS_PER_MS);
    }
    return r < 0 ? smx_err_errno(err, -r, "pausing sandbox '%s'", b->m.id) : 0;
}

int box_pause(struct box *b, struct smx_err *err)
{
    SMX_CLEANUP(box_unlock) struct box *locked = NULL;
    int r = box_lock(b, BIT(RUNNING), "pausing", &locked, err);

    if (r < 0)
        return r;
    r = cgroup_freeze(&b->e->cgroups, box_group(b), /* on= */ true, err);
    if (r == 0)
        r = await_frozen(b, err);
    if (r < 0) {
        cgroup_freeze(&b->e->cgroups, box_group(b), /* on= */ false, NULL);
        return r;
    }
    b->m.state = ENGINE_STATE_PAUSED;
    return box_record(b, err);
}

int box_resume(struct box *b, struct smx_err *err)
{
    SMX_CLEANUP(box_unlock) struct box *locked = NULL;
    int r = box_lock(b, BIT(PAUSED), "resuming", &locked, err);

    if (r == 0)
        r = cgroup_freeze(&b->e->cgroups, box_group(b), /* on= */ false, err);
    if (r < 0)
        return r;
    b->m.state = ENGINE_STATE_RUNNING;
    return box_record(b, err);
}

int box_delete(struct box *b, enum engine_reason reason, struct smx_err *err)
{
    SMX_CLEANUP(box_unlock) struct box *locked = NULL;
    int r = box_lock(b, ~0u, "deleting", &locked, err);

    if (r < 0)
        return r;
    if (renameat(b->e->boxes_fd, b->m.id, b->e->trash_fd, b->m.id) < 0 && errno != ENOENT)
        return smx_err_errno(err, errno, "deleting sandbox '%s'", b->m.id);
    b->m.state = ENGINE_STATE_DELETING;
    io_timer_disarm(&b->timer);
    r = end_processes(b, reason, err);
    b->m.reason = (int)reason;
    if (r == 0)
        r = hands_remove(&b->e->hands, b->m.id, err);
    if (r == 0)
        forget(b);
    return r;
}

/* --- what is known -----------------------------------------------------------------------------
 */

void box_info(const struct box *b, struct engine_sandbox *ret)
{
    const struct meta *m = &b->m;
    uint64_t now = smx_now_ns();
    unsigned hard = CG_MEMORY | CG_CPU | CG_PIDS;

    *ret = (struct engine_sandbox){ .id = m->id,
        .token = m->token,
        .template = m->template,
        .hostname = m->hostname,
        .state = m->state,
        .reason = m->reason,
        .resources = m->resources,
        .created_unix_ms = m->created_unix_ms,
        .pid = m->pid,
        .has_deadline = m->has_deadline,
        .soft = (b->e->cgroups.has & hard) != hard,
        .disk_bytes = b->disk_bytes };
    if (m->has_deadline && m->deadline_ns > now)
        ret->deadline_ms = (m->deadline_ns - now) / SMX_NS_PER_MS;
    if (box_alive(b))
        ret->ooms = cgroup_ooms(&b->e->cgroups, box_group(b));
}

/* Loopback traffic: received and sent are the same packets. */
static void net_stats(struct box *b, struct engine_stats *st)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    char path[64], text[2048], *lo;
    unsigned long long rx, tx;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%llu/net/dev", (unsigned long long)b->m.pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : smx_read_full(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    lo = strstr(text, "lo:");
    if (lo && sscanf(lo + 3, "%llu %*u %*u %*u %*u %*u %*u %*u %llu", &rx, &tx) == 2) {
        st->net_rx_bytes = rx;
        st->net_tx_bytes = tx;
    }
}

int box_stats(struct box *b, bool brief, struct engine_stats *ret, struct smx_err *err)
{
    struct engine_stats st = { .memory_limit_bytes = b->m.resources.memory_mib << 20,
        .pids_limit = b->m.resources.pids,
        .disk_bytes = b->disk_bytes,
        .disk_limit_bytes = b->m.resources.disk_mib << 20 };
    int r = brief ? 0 : disk_usage(b, &st.disk_bytes, err);

    if (r < 0)
        return r;
    if (box_alive(b)) {
        cgroup_stats(&b->e->cgroups, box_group(b), &st);
        net_stats(b, &st);
    }
    *ret = st;
    return 0;
}

/* --- found again -------------------------------------------------------------------------------
 */

int box_adopt(struct engine *e, struct meta *m, struct box **ret_box, struct smx_err *err)
{
    SMX_CLEANUP(box_unrefp) struct box *b = box_new(e);

    if (!b) {
        json_free(&meta_table, m);
        return smx_err_oom(err);
    }
    b->m = *m;
    *m = (struct meta){ 0 };
    if (smx_map_put(&e->boxes, b->m.id, b) < 0)
        return smx_err_oom(err);
    *ret_box = b;
    b = NULL; /* the table's reference */
    return arm(*ret_box, err);
}
