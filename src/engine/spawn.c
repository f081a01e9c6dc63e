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

enum { START_TIMEOUT_MS = 60000 };

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

static int clone_child(struct box *b, struct start *s, struct smx_err *err)
{
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_PIDFD | CLONE_CLEAR_SIGHAND |
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
    b->ours = true;
    b->m.pid = (uint64_t)pid;
    b->m.slot = s->plan.userns.slot;
    b->m.state = ENGINE_STATE_RUNNING;
    b->m.reason = ENGINE_REASON_NONE;
    io_event_clear(&b->ended);
    return 0;
}

/* [parks] until the child runs the agent (EOF) or says why it cannot. Takes fd. */
static int await_child(int fd, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(START_TIMEOUT_MS);
    struct smx_err told = { 0 };
    struct io_fd pipe;
    size_t got = 0;
    ssize_t n = 0;
    int r = io_fd_init(&pipe, fd, err);

    if (r < 0)
        return r;
    do {
        n = io_read(&pipe, (char *)&told + got, sizeof told - got, deadline, err);
        got += n > 0 ? (size_t)n : 0;
    } while (n > 0 && got < sizeof told);
    io_fd_done(&pipe);
    if (n < 0)
        return (int)n;
    if (got == 0)
        return 0;
    told.msg[sizeof told.msg - 1] = '\0';
    smx_err_set(
        err, got == sizeof told ? told.code : SMX_E_INTERNAL, "starting sandbox: %s", told.msg);
    return -(int)(err ? err->code : SMX_E_INTERNAL);
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

/* A child that was killed says nothing either. */
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

/* The record is written while the child works, and counts once the child has become the agent. */
static int start_child(struct box *b, int box_fd, struct start *s, struct smx_err *err)
{
    int r = prepare(b, s, err);

    if (r == 0)
        r = name_layers(b, s, err);
    if (r == 0)
        r = clone_child(b, s, err);
    smx_close(smx_take_fd(&s->status[1]));
    if (r < 0)
        return r;
    b->m.start_time = process_start_time((pid_t)b->m.pid);
    r = meta_prepare(box_fd, &b->m, err);
    if (r == 0)
        r = await_child(smx_take_fd(&s->status[0]), err);
    if (r == 0 && has_ended(b->pidfd))
        r = ended_at_once(b, err);
    if (r == 0)
        r = meta_commit(box_fd, err);
    return r == 0 ? watch_add(b, err) : r;
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
