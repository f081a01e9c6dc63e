/* spawn.c - the engine's side of starting a sandbox: clone, make its control groups and write its
 * record while the child works, and learn from the status stream how it went. Nothing is left of a
 * start that failed: its slot, its control groups and its process are gone when the error is
 * returned. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
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
    int box_fd;
};

static void start_done(struct start *s)
{
    smx_close(s->status[0]);
    smx_close(s->status[1]);
    smx_close(s->group_fd);
    smx_close(s->box_fd);
    room_close(&s->plan.room);
    smx_close(s->plan.wait_fd);
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
    fd_move(&b->pidfd, ENGINE_HIGH_FD);
    b->ours = true;
    b->m.pid = (uint64_t)pid;
    b->m.slot = s->plan.room.userns.slot;
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

/* Like io_read(); a child that ended before it heard all that we said is at its end, too. */
static ssize_t read_status(
    struct io_fd *status, void *data, size_t n, uint64_t deadline, struct smx_err *err)
{
    ssize_t r = io_read(status, data, n, deadline, err);

    return r == -SMX_E_CLOSED ? 0 : r;
}

/* [parks] until the child has a table of descriptors of its own. Before that nothing it needs may
 * be closed, and its end shows in its pidfd only. */
static int await_own_table(
    struct box *b, struct start *s, struct io_fd *status, uint64_t deadline, struct smx_err *err)
{
    struct io_wait w[] = { { .fd = status, .events = IO_READ }, { .event = &b->ended } };
    char c;
    int r = io_wait(w, SMX_ARRAY_LEN(w), deadline);

    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "the process of '%s' does not start", b->m.id);
    if (!w[0].ready || read_status(status, &c, 1, deadline, err) != 1)
        return ended_at_once(b, err);
    smx_close(smx_take_fd(&s->status[1]));
    return 0;
}

/* [parks] until the child runs the agent (EOF) or says why it cannot. */
static int await_agent(struct io_fd *status, uint64_t deadline, struct smx_err *err)
{
    struct smx_err told = { 0 };
    size_t got = 0;
    ssize_t n;

    do {
        n = read_status(status, (char *)&told + got, sizeof told - got, deadline, err);
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
    struct io_fd status;
    int r = io_fd_init(&status, smx_take_fd(&s->status[0]), err);

    if (r < 0)
        return r;
    r = await_own_table(b, s, &status, deadline, err);
    if (r == 0)
        r = await_agent(&status, deadline, err);
    io_fd_done(&status);
    /* A child that was killed says nothing either. */
    if (r == 0 && (b->pidfd < 0 || has_ended(b->pidfd)))
        r = ended_at_once(b, err);
    return r;
}

void box_unspawn(struct box *b, struct room *room)
{
    struct engine *e = b->e;

    io_shield_begin();
    if (b->pidfd >= 0) {
        box_kill(b, ENGINE_REASON_NONE);
        if (b->ended.set || watch_add(b, NULL) == 0)
            io_event_wait(&b->ended, smx_deadline_in_ms(START_TIMEOUT_MS));
    }
    for (int i = 0; cgroup_remove(&e->cgroups, box_group(b)) == -EBUSY && i < 500; i++)
        io_sleep_until(smx_deadline_in_ms(2));
    hands_let_go(&e->hands, smx_take_fd(&b->root_fd));
    room_drop(e, room);
    b->m.slot = -1;
    b->m.pid = 0;
    io_shield_end();
}

static int prepare(struct box *b, struct start *s, struct smx_err *err)
{
    struct engine *e = b->e;
    int r = cgroup_prepare(&e->cgroups, box_group(b), &s->group_fd, err);

    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->status) < 0)
        return smx_err_errno(err, errno, "making a socket pair");
    s->plan.hostname = b->m.hostname;
    s->plan.resources = b->m.resources;
    s->plan.limited = e->cgroups.has;
    s->plan.seccomp = &e->seccomp;
    s->plan.agent_fd = e->agent_fd;
    s->plan.engine_fd = s->status[0];
    s->plan.status_fd = s->status[1];
    return 0;
}

/* While the child works: its control groups, which it waits for, its directory, and its record,
 * which counts once the child has become the agent. */
static int serve_child(struct box *b, struct start *s, struct smx_err *err)
{
    pid_t pid = (pid_t)b->m.pid;
    int r = cgroup_add(&b->e->cgroups, box_group(b), &b->m.resources, pid, s->group_fd >= 0, err);

    if (r < 0)
        return r;
    /* A child that is gone shows in its status. */
    (void)send(s->status[0], "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    b->m.start_time = process_start_time(pid);
    if (b->waits)
        return 0;
    r = room_settle(b, &s->plan.room, err);
    if (r < 0)
        return r;
    s->box_fd = openat(b->e->boxes_fd, b->m.id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->box_fd < 0)
        return smx_err_errno(err, errno, "opening sandbox '%s'", b->m.id);
    return meta_prepare(s->box_fd, &b->m, err);
}

static int start_child(struct box *b, struct start *s, struct smx_err *err)
{
    int r = prepare(b, s, err);

    if (r == 0)
        r = clone_child(b, s, err);
    if (r == 0)
        r = watch_add(b, err);
    if (r == 0)
        r = serve_child(b, s, err);
    if (r == 0)
        r = await_child(b, s, err);
    return r == 0 && !b->waits ? meta_commit(s->box_fd, err) : r;
}

int box_spawn(struct box *b, struct room *room, struct smx_err *err)
{
    SMX_CLEANUP(start_done)
    struct start s = {
        .plan.room = *room, .plan.wait_fd = -1, .status = { -1, -1 }, .group_fd = -1, .box_fd = -1
    };
    int before = b->m.state, r;

    r = start_child(b, &s, err);
    if (r < 0) {
        b->m.state = before;
        box_unspawn(b, &s.plan.room);
    }
    return r;
}

/* The room's directory and range of ids stay the box's; of its descriptors only the process has
 * need. */
int box_spawn_waiting(struct box *b, struct smx_err *err)
{
    SMX_CLEANUP(start_done)
    struct start s = {
        .plan.room = b->room, .plan.wait_fd = -1, .status = { -1, -1 }, .group_fd = -1, .box_fd = -1
    };
    int pipe[2];

    for (int i = 0; i < ROOM_FDS; i++)
        b->room.fds[i] = -1;
    b->room.userns.fd = -1;
    if (pipe2(pipe, O_CLOEXEC) < 0)
        return smx_err_errno(err, errno, "making a pipe");
    s.plan.wait_fd = pipe[0];
    b->wait_fd = pipe[1];
    fd_move(&b->wait_fd, ENGINE_HIGH_FD);
    return start_child(b, &s, err);
}
