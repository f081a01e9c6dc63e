/* spawn.c - the engine's side of starting a sandbox: clone, write the record while the child works,
 * and learn from the status pipe how it went. Nothing is left of a start that failed: its slot, its
 * control groups and its process are gone when the error is returned. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/child.h"
#include "engine/engine.h"
#include "engine/sys.h"

enum { START_TIMEOUT_MS = 60000, PIDFD_FLOOR = 4096 };

struct start {
    struct child_plan plan;
    int status[2];
    int group_fd;
    char box[64];
    char lower[128];
};

static void start_done(struct start *s)
{
    smx_close(s->status[0]);
    smx_close(s->status[1]);
    smx_close(s->group_fd);
    smx_close(s->plan.userns.fd);
    smx_close(s->plan.net_fd);
}

static int name_layers(struct box *b, struct start *s, struct smx_err *err)
{
    snprintf(s->box, sizeof s->box, "sandboxes/%s", b->m.id);
    snprintf(s->lower, sizeof s->lower, "templates/%s/%s", b->m.template, b->m.generation);
    s->plan.box = s->box;
    s->plan.lower = s->lower;
    if (faccessat(b->e->state_fd, s->lower, F_OK, 0) < 0)
        return smx_err_set(err, SMX_E_TEMPLATE_NOT_FOUND,
            "template not found: generation %s of '%s' is no longer there", b->m.generation,
            b->m.template);
    return 0;
}

/* Descriptors that a child needs are kept below those that pile up: a child copies the low ones
 * only, see child_main(). */
static void move_up(int *fd)
{
    int high = fcntl(*fd, F_DUPFD_CLOEXEC, PIDFD_FLOOR);

    if (high < 0)
        return;
    smx_close(*fd);
    *fd = high;
}

static int clone_child(struct box *b, struct start *s, struct smx_err *err)
{
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_FILES |
                 (s->group_fd >= 0 ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)&b->pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)s->group_fd,
    };
    pid_t pid = sys_clone3(&args);

    if (pid == 0)
        child_main(&s->plan);
    if (pid < 0) {
        b->pidfd = -1;
        return smx_err_errno(err, errno, "starting a process");
    }
    move_up(&b->pidfd);
    b->ours = true;
    b->m.pid = (uint64_t)pid;
    b->m.slot = s->plan.userns.slot;
    b->m.state = ENGINE_STATE_RUNNING;
    b->m.reason = ENGINE_REASON_NONE;
    io_event_clear(&b->ended);
    return 0;
}

static bool has_ended(int pidfd)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static int ended_at_once(const struct box *b, struct smx_err *err)
{
    if (b->why == ENGINE_REASON_EXPIRED)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND,
            "sandbox '%s' not found: its deadline passed while it was made", b->m.id);
    return smx_err_set(err, SMX_E_INTERNAL, "pid 1 of sandbox '%s' ended at once", b->m.id);
}

/* [parks] until the child has a table of descriptors of its own. Before that nothing it needs may
 * be closed, and its end shows in its pidfd only. */
static int await_own_table(
    struct box *b, struct start *s, struct io_fd *pipe, uint64_t deadline, struct smx_err *err)
{
    struct io_wait w[] = { { .fd = pipe, .events = IO_READ }, { .event = &b->ended } };
    char c;
    int r = io_wait(w, SMX_ARRAY_LEN(w), deadline);

    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "the process of '%s' does not start", b->m.id);
    if (!w[0].ready || io_read(pipe, &c, 1, deadline, err) != 1)
        return ended_at_once(b, err);
    smx_close(smx_take_fd(&s->status[1]));
    return 0;
}

/* [parks] until the child runs the agent (EOF) or says why it cannot. */
static int await_agent(struct io_fd *pipe, uint64_t deadline, struct smx_err *err)
{
    struct smx_err told = { 0 };
    size_t got = 0;
    ssize_t n;

    do {
        n = io_read(pipe, (char *)&told + got, sizeof told - got, deadline, err);
        got += n > 0 ? (size_t)n : 0;
    } while (n > 0 && got < sizeof told);
    if (n < 0)
        return (int)n;
    if (got == 0)
        return 0;
    told.msg[sizeof told.msg - 1] = '\0';
    smx_err_set(
        err, got == sizeof told ? told.code : SMX_E_INTERNAL, "starting sandbox: %s", told.msg);
    return -(int)(err ? err->code : SMX_E_INTERNAL);
}

static int await_child(struct box *b, struct start *s, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(START_TIMEOUT_MS);
    struct io_fd pipe;
    int r = io_fd_init(&pipe, smx_take_fd(&s->status[0]), err);

    if (r < 0)
        return r;
    r = await_own_table(b, s, &pipe, deadline, err);
    if (r == 0)
        r = await_agent(&pipe, deadline, err);
    io_fd_done(&pipe);
    /* A child that was killed says nothing either. */
    if (r == 0 && (b->pidfd < 0 || has_ended(b->pidfd)))
        r = ended_at_once(b, err);
    return r;
}

/* Ends a child that did not become a sandbox, and what it had. */
static void undo(struct box *b, int slot)
{
    struct engine *e = b->e;

    io_shield_begin();
    if (b->pidfd >= 0) {
        box_kill(b, ENGINE_REASON_NONE);
        if (b->ended.set || watch_add(b, NULL) == 0)
            io_event_wait(&b->ended, smx_deadline_in_ms(START_TIMEOUT_MS));
    }
    for (int i = 0; cgroup_remove(&e->cgroups, b->m.id) == -EBUSY && i < 500; i++)
        io_sleep_until(smx_deadline_in_ms(2));
    hands_let_go(&e->hands, smx_take_fd(&b->root_fd));
    slot_release(&e->slots, slot);
    b->m.slot = -1;
    b->m.pid = 0;
    io_shield_end();
}

static int prepare(struct box *b, struct start *s, struct smx_err *err)
{
    struct engine *e = b->e;
    int r;

    s->plan = (struct child_plan){ .id = b->m.id,
        .hostname = b->m.hostname,
        .resources = b->m.resources,
        .cgroups = &e->cgroups,
        .seccomp = &e->seccomp,
        .userns = { .slot = -1, .fd = -1 },
        .net_fd = netns_take(&e->netns),
        .host_usr = e->base.host_usr,
        .idmap_usr = e->idmap_usr,
        .agent_fd = e->agent_fd };
    r = cgroup_prepare(&e->cgroups, b->m.id, &s->group_fd, err);
    if (r < 0)
        return r;
    s->plan.in_v2 = s->group_fd >= 0;
    if (pipe2(s->status, O_CLOEXEC) < 0)
        return smx_err_errno(err, errno, "making a pipe");
    s->plan.status_fd = s->status[1];
    return userns_take(&e->userns, &s->plan.userns, err);
}

/* The record is written while the child works, and counts once the child has become the agent. */
static int start_child(struct box *b, int box_fd, struct start *s, struct smx_err *err)
{
    int r = prepare(b, s, err);

    if (r == 0)
        r = name_layers(b, s, err);
    if (r == 0)
        r = clone_child(b, s, err);
    if (r == 0)
        r = watch_add(b, err);
    if (r < 0)
        return r;
    b->m.start_time = process_start_time((pid_t)b->m.pid);
    r = meta_prepare(box_fd, &b->m, err);
    if (r == 0)
        r = await_child(b, s, err);
    return r == 0 ? meta_commit(box_fd, err) : r;
}

int box_spawn(struct box *b, int box_fd, struct smx_err *err)
{
    SMX_CLEANUP(start_done)
    struct start s = { .status = { -1, -1 }, .group_fd = -1 };
    int before = b->m.state, r;

    s.plan.userns.fd = s.plan.net_fd = -1;
    s.plan.userns.slot = -1;
    r = start_child(b, box_fd, &s, err);
    if (r < 0) {
        b->m.state = before;
        undo(b, s.plan.userns.slot);
    }
    return r;
}
