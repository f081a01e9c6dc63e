/* children.c - one fiber that waits for SIGCHLD and reaps everything that ended. */
#include "agent/children.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

static struct smx_list *bucket_of(struct children *t, pid_t pid)
{
    return &t->buckets[(unsigned)pid % CHILDREN_BUCKETS];
}

void children_add(struct children *t, struct child *c)
{
    c->exited = false;
    smx_list_add(bucket_of(t, c->pid), &c->node);
}

void children_remove(struct children *t, struct child *c)
{
    smx_list_del(&c->node);
}

static void ended(struct children *t, pid_t pid, int status)
{
    SMX_LIST_FOREACH(it, bucket_of(t, pid)) {
        struct child *c = SMX_LIST_ENTRY(it, struct child, node);

        if (c->pid != pid)
            continue;
        smx_list_del(&c->node);
        c->status = status;
        c->exited = true;
        c->on_exit(c);
        return;
    }
}

static void reap_all(struct children *t)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        ended(t, pid, status);
}

static void reaper(void *arg)
{
    struct children *t = arg;
    struct signalfd_siginfo info;

    do
        reap_all(t);
    while (io_read(&t->signals, &info, sizeof info, SMX_FOREVER, /* err= */ NULL) > 0);
    io_fd_done(&t->signals);
}

/* Runs on a fiber of the loop. */
int children_start(struct children *t, struct io_loop *loop, struct smx_err *err)
{
    sigset_t set;
    int fd, r;

    for (int i = 0; i < CHILDREN_BUCKETS; i++)
        smx_list_init(&t->buckets[i]);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, /* old= */ NULL) < 0)
        return smx_err_errno(err, errno, "blocking SIGCHLD");
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return smx_err_errno(err, errno, "making a signal descriptor");
    r = io_fd_init(&t->signals, fd, err);
    if (r < 0)
        return r;
    return io_fiber_spawn(loop, "reaper", reaper, t, /* ret_fiber= */ NULL, err);
}
