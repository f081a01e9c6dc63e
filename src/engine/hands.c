/* hands.c - see hands.h. Messages are fixed structs over a socket pair; a hand that died is started
 * again with the next job. */
#include "engine/hands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/random.h"
#include "base/str.h"
#include "engine/tree.h"

enum { JOB_REMOVE = 'r', JOB_USAGE = 'u', JOB_NAME_SIZE = 48 };
enum { SOCK_FD = 3, BOXES_FD = 4, TRASH_FD = 5, HIGH_FD = 64, HAND_NICE = 5 };

struct job {
    char what;
    char name[JOB_NAME_SIZE];
};

struct done {
    int r; /* 0 or -errno */
    uint64_t bytes;
};

static void do_job(const struct job *job, struct done *done)
{
    int box;

    if (job->what == JOB_REMOVE) {
        done->r = tree_remove(TRASH_FD, job->name);
        return;
    }
    box = openat(BOXES_FD, job->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    done->r = box < 0 ? -errno : 0;
    if (box >= 0)
        done->bytes = tree_usage(box, "upper");
    smx_close(box);
}

static _Noreturn void hand_main(int sock, int boxes_fd, int trash_fd, pid_t parent)
{
    int fds[] = { sock, boxes_fd, trash_fd };
    struct job job;
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
    close_range(TRASH_FD + 1, ~0U, 0);
    setpriority(PRIO_PROCESS, 0, HAND_NICE);
    while (recv(SOCK_FD, &job, sizeof job, 0) == (ssize_t)sizeof job) {
        struct done done = { 0 };

        do_job(&job, &done);
        if (send(SOCK_FD, &done, sizeof done, MSG_NOSIGNAL) != (ssize_t)sizeof done)
            break;
    }
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
        hand_main(pair[1], h->boxes_fd, h->trash_fd, parent);
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

static void hand_stop(struct hand *hand)
{
    if (hand->pid == 0)
        return;
    io_fd_done(&hand->sock);
    kill(hand->pid, SIGKILL);
    while (waitpid(hand->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    hand->pid = 0;
}

int hands_start(
    struct hands *h, struct io_loop *loop, int boxes_fd, int trash_fd, struct smx_err *err)
{
    *h = (struct hands){ .loop = loop, .boxes_fd = boxes_fd, .trash_fd = trash_fd };
    io_sem_init(&h->free, HANDS_MAX);
    return 0;
}

void hands_done(struct hands *h)
{
    for (size_t i = 0; i < HANDS_MAX; i++)
        hand_stop(&h->v[i]);
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

static int exchange(struct hands *h, struct hand *hand, const struct job *job, struct done *done,
    struct smx_err *err)
{
    ssize_t n;
    int r = hand->pid == 0 ? hand_start(h, hand, err) : 0;
    size_t nfds = 0;

    if (r == 0)
        r = io_send_fds(&hand->sock, job, sizeof *job, NULL, 0, SMX_FOREVER, err);
    if (r < 0)
        return r;
    n = io_recv_fds(&hand->sock, done, sizeof *done, NULL, &nfds, SMX_FOREVER, err);
    if (n == (ssize_t)sizeof *done)
        return 0;
    return n < 0 ? (int)n : smx_err_set(err, SMX_E_INTERNAL, "a helper process died");
}

static int run(struct hands *h, char what, const char *name, struct done *done, struct smx_err *err)
{
    struct job job = { .what = what };
    struct hand *hand;
    int r;

    if (!smx_strcpy(job.name, sizeof job.name, name))
        return smx_err_set(err, SMX_E_INTERNAL, "a directory's name is too long");
    r = io_sem_acquire(&h->free, SMX_FOREVER);
    if (r < 0)
        return smx_err_set(err, SMX_E_CANCELLED, "the engine is stopping");
    hand = pick(h);
    hand->busy = true;
    r = exchange(h, hand, &job, done, err);
    if (r < 0)
        hand_stop(hand);
    hand->busy = false;
    io_sem_release(&h->free);
    return r;
}

int hands_remove(struct hands *h, const char *name, struct smx_err *err)
{
    struct done done = { 0 };
    int r = run(h, JOB_REMOVE, name, &done, err);

    if (r == 0 && done.r < 0)
        r = smx_err_errno(err, -done.r, "removing the files of '%s'", name);
    return r;
}

int hands_usage(struct hands *h, const char *id, uint64_t *ret_bytes, struct smx_err *err)
{
    struct done done = { 0 };
    int r = run(h, JOB_USAGE, id, &done, err);

    if (r == 0 && done.r < 0)
        r = smx_err_errno(err, -done.r, "looking at the files of '%s'", id);
    if (r == 0)
        *ret_bytes = done.bytes;
    return r;
}
