/* hands.c - see hands.h. Messages are fixed structs over a socket pair; a hand that died is started
 * again with the next job. */
#include "engine/hands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/random.h"
#include "base/str.h"
#include "engine/procfs.h"
#include "engine/skeleton.h"
#include "engine/tree.h"

enum {
    JOB_REMOVE = 'r',
    JOB_DISCARD = 'd',
    JOB_PREPARE = 'p',
    JOB_USAGE = 'u',
    JOB_CLOSE = 'c',
    JOB_ROOM = 'm',
    JOB_NAME_SIZE = 48
};
enum { SOCK_FD = 3, BOXES_FD = 4, TRASH_FD = 5, POOL_FD = 6, HIGH_FD = 64, LET_GO_MS = 1000 };

struct job {
    char what;
    char name[JOB_NAME_SIZE];
    struct room_order room;
};

struct done {
    uint64_t bytes;
    int64_t r;          /* 0 or -errno */
    struct smx_err err; /* of a room */
};

/* Descriptors that travel beside a message. */
struct load {
    int fds[ROOM_FDS];
    size_t n;
};

static struct room_home home; /* a helper process's */

static int look(const char *name, uint64_t *ret_bytes)
{
    SMX_CLEANUP(smx_closep)
    int box = openat(BOXES_FD, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (box < 0)
        return -errno;
    *ret_bytes = tree_usage(box, "upper");
    return 0;
}

static void do_job(const struct job *job, struct done *done)
{
    if (job->what == JOB_REMOVE)
        done->r = tree_remove(TRASH_FD, job->name);
    else if (job->what == JOB_DISCARD)
        done->r = tree_remove(POOL_FD, job->name);
    else if (job->what == JOB_PREPARE)
        done->r = skeleton_make(POOL_FD, job->name);
    else
        done->r = look(job->name, &done->bytes);
}

static void load_close(struct load *l)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(l->fds); i++)
        smx_close(smx_take_fd(&l->fds[i]));
    l->n = 0;
}

/* A hand that cannot go home is of no use any more; the next job starts another. */
static void make_room(const struct job *job, int userns_fd, struct done *done, struct load *l)
{
    int fds[ROOM_FDS] = { -1, -1, -1, -1, -1 };

    done->r = room_make(&job->room, userns_fd, fds, &done->err);
    if (room_go_home(&home) < 0)
        _exit(1);
    for (int i = 0; i < ROOM_FDS; i++)
        if (fds[i] >= 0)
            l->fds[l->n++] = fds[i];
    if (done->r < 0)
        load_close(l);
}

/* One job; false at the end of the socket. What is to be closed gets no reply. */
static bool serve_one(void)
{
    struct done done = { 0 };
    struct job job;
    SMX_CLEANUP(smx_closep) int fd = -1;
    SMX_CLEANUP(load_close) struct load load = { .fds = { -1, -1, -1, -1, -1 } };
    size_t nfds = 1;

    if (smx_recv_fds(SOCK_FD, &job, sizeof job, &fd, &nfds) != (ssize_t)sizeof job)
        return false;
    if (job.what == JOB_CLOSE)
        return true;
    if (job.what == JOB_ROOM)
        make_room(&job, fd, &done, &load);
    else
        do_job(&job, &done);
    return smx_send_fds(SOCK_FD, &done, sizeof done, load.fds, load.n) == (ssize_t)sizeof done;
}

static _Noreturn void hand_main(int sock, const int dirs[3], pid_t parent)
{
    int fds[] = { sock, dirs[0], dirs[1], dirs[2] };
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "sandmux-hand");
    if (getppid() != parent)
        _exit(0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (size_t i = 0; i < SMX_ARRAY_LEN(fds); i++)
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
    for (size_t i = 0; i < SMX_ARRAY_LEN(fds); i++)
        if (dup3(fds[i], SOCK_FD + (int)i, O_CLOEXEC) < 0)
            _exit(1);
    close_range(POOL_FD + 1, ~0U, 0);
    procfs_forget();
    if (room_home_open(&home) < 0)
        _exit(1);
    while (serve_one())
        ;
    _exit(0);
}

static int hand_start(struct hands *h, struct hand *hand, struct smx_err *err)
{
    int pair[2], r;
    pid_t parent = getpid(), pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return smx_err_errno(err, errno, "making a socket pair");
    pid = fork();
    if (pid == 0)
        hand_main(pair[1], h->dirs, parent);
    smx_close(pair[1]);
    if (pid < 0) {
        smx_close(pair[0]);
        return smx_err_errno(err, errno, "starting a helper process");
    }
    r = io_fd_init(&hand->sock, pair[0], err);
    if (r < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return r;
    }
    hand->pid = pid;
    return 0;
}

static void end_hand(struct hand *hand)
{
    kill(hand->pid, SIGKILL);
    while (waitpid(hand->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    hand->pid = 0;
}

static void hand_stop(struct hand *hand)
{
    if (hand->pid == 0)
        return;
    io_fd_done(&hand->sock);
    end_hand(hand);
}

int hands_start(struct hands *h, struct io_loop *loop, int boxes_fd, int trash_fd, int pool_fd,
    struct smx_err *err)
{
    *h = (struct hands){ .loop = loop, .dirs = { boxes_fd, trash_fd, pool_fd } };
    io_sem_init(&h->free, HANDS_MAX);
    io_sem_init(&h->slow, HANDS_MAX - 2);
    io_sem_init(&h->closing, 1);
    return 0;
}

/* The loop is gone by now: its registrations are, too. */
void hands_done(struct hands *h)
{
    for (size_t i = 0; i <= HANDS_MAX; i++) {
        struct hand *hand = i < HANDS_MAX ? &h->v[i] : &h->closer;

        if (hand->pid == 0)
            continue;
        smx_close(smx_take_fd(&hand->sock.fd));
        end_hand(hand);
    }
}

/* A free hand, one that runs already if there is one. */
static struct hand *pick(struct hands *h)
{
    struct hand *best = NULL;

    for (size_t i = 0; i < HANDS_MAX; i++)
        if (!h->v[i].busy && (!best || (best->pid == 0 && h->v[i].pid != 0)))
            best = &h->v[i];
    return best;
}

static int exchange(struct hands *h, struct hand *hand, const struct job *job, int fd,
    struct done *done, struct load *load, struct smx_err *err)
{
    ssize_t n;
    bool fresh = hand->pid == 0;
    int r = fresh ? hand_start(h, hand, err) : 0;

    if (r == 0)
        r = io_send_fds(&hand->sock, job, sizeof *job, &fd, fd >= 0 ? 1 : 0, SMX_FOREVER, err);
    if (r == -SMX_E_CLOSED && !fresh) { /* it had died: nothing was begun */
        hand_stop(hand);
        return exchange(h, hand, job, fd, done, load, err);
    }
    if (r < 0)
        return r;
    load->n = SMX_ARRAY_LEN(load->fds);
    n = io_recv_fds(&hand->sock, done, sizeof *done, load->fds, &load->n, SMX_FOREVER, err);
    if (n == (ssize_t)sizeof *done)
        return 0;
    return n < 0 ? (int)n : smx_err_set(err, SMX_E_INTERNAL, "a helper process died");
}

static int run(struct hands *h, const struct job *job, int fd, struct done *done, struct load *load,
    struct smx_err *err)
{
    struct hand *hand;
    int r = io_sem_acquire(&h->free, SMX_FOREVER);

    if (r < 0)
        return smx_err_set(err, SMX_E_CANCELLED, "the engine is stopping");
    hand = pick(h);
    hand->busy = true;
    r = exchange(h, hand, job, fd, done, load, err);
    if (r < 0)
        hand_stop(hand);
    hand->busy = false;
    io_sem_release(&h->free);
    return r;
}

/* Trees are as large as those who are in them like: a room never waits for one. */
static int run_slow(struct hands *h, const struct job *job, struct done *done, struct load *load,
    struct smx_err *err)
{
    int r = io_sem_acquire(&h->slow, SMX_FOREVER);

    if (r < 0)
        return smx_err_set(err, SMX_E_CANCELLED, "the engine is stopping");
    r = run(h, job, /* fd= */ -1, done, load, err);
    io_sem_release(&h->slow);
    return r;
}

static int run_named(
    struct hands *h, char what, const char *name, struct done *done, struct smx_err *err)
{
    SMX_CLEANUP(load_close) struct load load = { .fds = { -1, -1, -1, -1, -1 } };
    struct job job = { .what = what };

    if (!smx_strcpy(job.name, sizeof job.name, name))
        return smx_err_set(err, SMX_E_INTERNAL, "a directory's name is too long");
    return what == JOB_PREPARE ? run(h, &job, /* fd= */ -1, done, &load, err)
                               : run_slow(h, &job, done, &load, err);
}

static int simple(
    struct hands *h, char what, const char *name, const char *doing, struct smx_err *err)
{
    struct done done = { 0 };
    int r = run_named(h, what, name, &done, err);

    if (r == 0 && done.r < 0)
        r = smx_err_errno(err, (int)-done.r, "%s '%s'", doing, name);
    return r;
}

int hands_remove(struct hands *h, const char *name, struct smx_err *err)
{
    return simple(h, JOB_REMOVE, name, "removing the files of", err);
}

int hands_discard(struct hands *h, const char *name, struct smx_err *err)
{
    return simple(h, JOB_DISCARD, name, "removing", err);
}

int hands_prepare(struct hands *h, const char *name, struct smx_err *err)
{
    return simple(h, JOB_PREPARE, name, "making the directory", err);
}

int hands_room(struct hands *h, const struct room_order *order, int userns_fd, int fds[ROOM_FDS],
    struct smx_err *err)
{
    SMX_CLEANUP(load_close) struct load load = { .fds = { -1, -1, -1, -1, -1 } };
    struct job job = { .what = JOB_ROOM, .room = *order };
    struct done done = { 0 };
    int r = run(h, &job, userns_fd, &done, &load, err);

    if (r < 0)
        return r;
    done.err.msg[sizeof done.err.msg - 1] = '\0';
    if (done.r < 0)
        return smx_err_set(err, done.err.code, "starting sandbox: %s", done.err.msg);
    if (load.n != (size_t)room_count(order->half))
        return smx_err_set(err, SMX_E_INTERNAL, "a helper process sent too little");
    for (size_t i = 0; i < load.n; i++)
        fds[room_first(order->half) + (int)i] = smx_take_fd(&load.fds[i]);
    return 0;
}

int hands_usage(struct hands *h, const char *id, uint64_t *ret_bytes, struct smx_err *err)
{
    struct done done = { 0 };
    int r = run_named(h, JOB_USAGE, id, &done, err);

    if (r == 0 && done.r < 0)
        r = smx_err_errno(err, (int)-done.r, "looking at the files of '%s'", id);
    if (r == 0)
        *ret_bytes = done.bytes;
    return r;
}

void hands_let_go(struct hands *h, int fd)
{
    struct job job = { .what = JOB_CLOSE };
    int r;

    if (fd < 0)
        return;
    r = io_sem_acquire(&h->closing, smx_deadline_in_ms(LET_GO_MS));
    if (r == 0) {
        if (h->closer.pid == 0)
            r = hand_start(h, &h->closer, NULL);
        if (r == 0)
            r = io_send_fds(
                &h->closer.sock, &job, sizeof job, &fd, 1, smx_deadline_in_ms(LET_GO_MS), NULL);
        if (r < 0 && r != -SMX_E_TIMEOUT && r != -SMX_E_CANCELLED)
            hand_stop(&h->closer);
        io_sem_release(&h->closing);
    }
    smx_close(fd);
}
