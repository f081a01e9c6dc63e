/* ready.c - sandboxes that are made ahead of time: a few rooms in which an agent runs already, in
 * control groups with the default limits. The agent waits for one byte on a pipe before it serves
 * anybody; a create for the default resources gives it a name and that byte, which takes 0.2 ms in
 * the place of 1.7.
 *
 * Invariants: what waits is in no list and counts nowhere; its box is held by e->ready and by
 * nothing else; its control groups have a name that no sandbox can have and keep it. When the
 * engine dies the pipe closes and the agent ends; what is left then, empty control groups, a
 * directory in the pool and a range of ids, the next engine takes away. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"

enum { END_TIMEOUT_MS = 5000, REMOVE_TRIES = 500, REMOVE_STEP_MS = 2, AGAIN_MS = 1000 };

static unsigned wanted(const struct engine *e)
{
    return (unsigned)SMX_MIN(e->cfg.ready, e->cfg.rooms / 2);
}

bool ready_few(const struct engine *e)
{
    return 2 * e->ready.n < wanted(e);
}

/* --- making ------------------------------------------------------------------------------------
 */

static struct box *waiting_new(struct engine *e, struct smx_err *err)
{
    struct box *w = box_new(e);
    char name[SMX_ID_LEN + 1];

    if (!w)
        return smx_err_oom(err), NULL;
    snprintf(name, sizeof name, CG_READY "%014llx",
        (unsigned long long)(smx_random_u64() & UINT64_C(0xffffffffffffff)));
    w->waits = true;
    w->m.id = smx_strdup(name);
    w->m.hostname = smx_strdup("sandbox");
    w->m.state = ENGINE_STATE_CREATING;
    if (!w->m.id || !w->m.hostname || fit_resources(e, &w->m.resources, err) < 0) {
        box_unref(w);
        return smx_err_oom(err), NULL;
    }
    return w;
}

/* [parks] Takes away what is left of one that has ended or is killed now, and the reference. */
static void waiting_drop(struct box *w)
{
    struct engine *e = w->e;

    io_shield_begin();
    smx_close(smx_take_fd(&w->wait_fd));
    box_kill(w, ENGINE_REASON_NONE);
    io_event_wait(&w->ended, smx_deadline_in_ms(END_TIMEOUT_MS));
    hands_let_go(&e->hands, smx_take_fd(&w->root_fd));
    for (int i = 0; cgroup_remove(&e->cgroups, w->m.id) < 0 && i < REMOVE_TRIES; i++)
        io_sleep_until(smx_deadline_in_ms(REMOVE_STEP_MS));
    room_drop(e, &w->room);
    box_unref(w);
    io_shield_end();
}

/* Another takes its place a while later: what ends by itself may do so again. */
static void drop_main(void *arg)
{
    struct box *w = arg;
    struct engine *e = w->e;

    waiting_drop(w);
    if (io_sleep_until(smx_deadline_in_ms(AGAIN_MS)) == 0)
        io_event_set(&e->refill);
}

/* [parks] */
static int make_one(struct engine *e, struct smx_err *err)
{
    struct box *w = waiting_new(e, err);
    int r;

    if (!w)
        return -SMX_E_NO_MEMORY;
    r = room_take(w, &w->room, err);
    if (r < 0) {
        box_unref(w);
        return r;
    }
    e->ready.making = w;
    r = box_spawn_waiting(w, err);
    if (r < 0 && e->stopping) /* ready_done() ends it */
        return r;
    e->ready.making = NULL;
    if (r == 0)
        e->ready.v[e->ready.n++] = w;
    else
        waiting_drop(w);
    return r;
}

int ready_fill(struct engine *e, struct smx_err *err)
{
    int r;

    if (e->ready.n >= wanted(e) || e->rooms.n == 0 || e->why || e->stopping)
        return 1;
    r = io_sem_acquire(&e->creates, SMX_FOREVER);
    if (r < 0)
        return r;
    r = make_one(e, err);
    io_sem_release(&e->creates);
    return r;
}

/* --- taking ------------------------------------------------------------------------------------
 */

/* It has ended by itself, or somebody has killed it. */
void ready_ended(struct box *w)
{
    struct engine *e = w->e;
    unsigned i = 0;

    while (i < e->ready.n && e->ready.v[i] != w)
        i++;
    if (i == e->ready.n)
        return; /* who makes it or takes it away sees that */
    e->ready.v[i] = e->ready.v[--e->ready.n];
    if (io_fiber_spawn(e->loop, "unready", drop_main, w, NULL, NULL) < 0)
        smx_error("no memory to take away an agent that has ended");
}

/* Not being able to step out again would leave the engine in a sandbox. */
static bool set_hostname(struct box *w, const char *hostname)
{
    bool ok;

    if (setns(w->pidfd, CLONE_NEWUTS) < 0)
        return false;
    ok = sethostname(hostname, strlen(hostname)) == 0;
    if (setns(w->e->uts_fd, CLONE_NEWUTS) < 0) {
        smx_error("cannot leave the namespace of a host name");
        _exit(1);
    }
    return ok;
}

static bool fits(const struct box *w, const struct box *b)
{
    const struct engine_resources *x = &w->m.resources, *y = &b->m.resources;

    return x->cpu_milli == y->cpu_milli && x->memory_mib == y->memory_mib &&
           x->disk_mib == y->disk_mib && x->pids == y->pids;
}

/* The next one that fits, with its host name and told to serve; NULL: there is none. Nobody is
 * connected to it before the sandbox is in its place. [parks] only for those that turn out to be
 * dead. */
static struct box *wake(struct engine *e, const struct box *b)
{
    while (e->ready.n > 0 && fits(e->ready.v[e->ready.n - 1], b)) {
        struct box *w = e->ready.v[--e->ready.n];

        if (w->pidfd >= 0 && set_hostname(w, b->m.hostname) &&
            smx_write_full(w->wait_fd, "", 1) >= 0)
            return w;
        waiting_drop(w);
    }
    return NULL;
}

/* The process is @b's from here on. */
static int hand_over(struct box *w, struct box *b, struct smx_err *err)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = b };

    if (epoll_ctl(b->e->watch.fd, EPOLL_CTL_MOD, w->pidfd, &ev) < 0)
        return smx_err_errno(err, errno, "watching a process");
    b->pidfd = smx_take_fd(&w->pidfd);
    b->ours = true;
    b->m.group = smx_take(&w->m.id);
    b->m.pid = w->m.pid;
    b->m.start_time = w->m.start_time;
    b->m.slot = w->m.slot;
    b->m.state = ENGINE_STATE_RUNNING;
    b->m.reason = ENGINE_REASON_NONE;
    io_event_clear(&b->ended);
    return 0;
}

int ready_adopt(struct box *b, struct smx_err *err)
{
    struct room none = ROOM_NONE;
    struct box *w = wake(b->e, b);
    int r;

    if (!w)
        return 0;
    r = room_settle(b, &w->room, err);
    if (r == 0)
        r = hand_over(w, b, err);
    if (r < 0) {
        waiting_drop(w);
        return r;
    }
    smx_close(smx_take_fd(&w->wait_fd));
    box_unref(w);
    r = box_record(b, err);
    if (r < 0) {
        none.userns.slot = (int)b->m.slot;
        box_unspawn(b, &none);
        return r;
    }
    return 1;
}

/* --- the end -----------------------------------------------------------------------------------
 */

/* Blocking: the loop is gone. */
static void end_now(struct box *w)
{
    struct engine *e = w->e;
    struct pollfd p = { .fd = w->pidfd, .events = POLLIN };
    siginfo_t info;

    if (w->pidfd >= 0) {
        pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0);
        poll(&p, 1, END_TIMEOUT_MS);
        waitid(P_PIDFD, (id_t)w->pidfd, &info, WEXITED | WNOHANG);
    }
    for (int i = 0; cgroup_remove(&e->cgroups, w->m.id) < 0 && i < REMOVE_TRIES; i++)
        nanosleep(&(struct timespec){ .tv_nsec = REMOVE_STEP_MS * 1000000L }, NULL);
    smx_close(smx_take_fd(&w->wait_fd));
    room_close(&w->room);
    slot_release(&e->slots, w->room.userns.slot);
    box_unref(w);
}

/* Their directories are found by the next engine. */
void ready_done(struct engine *e)
{
    if (e->ready.making)
        end_now(e->ready.making);
    e->ready.making = NULL;
    while (e->ready.n > 0)
        end_now(e->ready.v[--e->ready.n]);
}
