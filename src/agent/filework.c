/* filework.c - forked children for blocking file calls. The structure lives until its child is
 * reaped, also when the caller went away before. */
#include "agent/filework.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"

enum { KILLED = 255 };

struct filework {
    struct child child;
    struct agent *agent;
    struct io_event done;
    bool abandoned; /* nobody waits: freed when reaped */
};

static void on_exit_child(struct child *c)
{
    struct filework *w = SMX_CONTAINER_OF(c, struct filework, child);

    io_sem_release(&w->agent->file_children);
    if (w->abandoned)
        smx_free(w);
    else
        io_event_set(&w->done);
}

/* Everything from 3 on but the kept ones, in ascending order of descriptors. */
static void close_others(const int *keep)
{
    unsigned from = 3;

    for (;;) {
        int next = -1;

        for (const int *k = keep; k && *k >= 0; k++)
            if ((unsigned)*k >= from && (next < 0 || *k < next))
                next = *k;
        if (next < 0)
            break;
        if ((unsigned)next > from)
            close_range(from, (unsigned)next - 1, 0);
        from = (unsigned)next + 1;
    }
    close_range(from, ~0U, 0);
}

static void run_child(pid_t parent, filework_fn *fn, void *arg, const int *keep)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(KILLED);
    close_others(keep);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, /* old= */ NULL);
    _exit(fn(arg));
}

int filework_start(struct agent *a, filework_fn *fn, void *arg, const int *keep,
    struct filework **ret, struct smx_err *err)
{
    struct filework *w = smx_alloc(sizeof *w);
    pid_t self = getpid();
    int r;

    if (!w)
        return smx_err_oom(err);
    r = io_sem_acquire(&a->file_children, smx_deadline_in_ms(SMX_AGENT_FILE_CHILD_WAIT_MS));
    if (r < 0) {
        smx_free(w);
        return smx_err_set(
            err, SMX_E_BUSY, "more than %d file calls wait", SMX_AGENT_FILE_CHILDREN_MAX);
    }
    w->agent = a;
    w->child.on_exit = on_exit_child;
    io_event_init(&w->done);
    w->child.pid = fork();
    if (w->child.pid == 0)
        run_child(self, fn, arg, keep);
    if (w->child.pid < 0) {
        io_sem_release(&a->file_children);
        smx_err_errno(err, errno, "starting a file call");
        smx_free(w);
        return -SMX_E_NO_MEMORY;
    }
    children_add(&a->children, &w->child);
    *ret = w;
    return 0;
}

static int wait_until(
    struct filework *w, struct http_exchange *x, uint64_t deadline_ns, int *ret_errno)
{
    struct io_wait waits[2] = { { .event = &w->done } };
    int r;

    if (x)
        waits[1] = (struct io_wait){ .fd = http_fd(x), .events = IO_HUP };
    r = io_wait(waits, x ? 2 : 1, deadline_ns);
    if (!w->child.exited)
        return r < 0 ? r : -SMX_E_CANCELLED;
    if (WIFEXITED(w->child.status))
        *ret_errno = WEXITSTATUS(w->child.status);
    else /* SIGXFSZ: the disk limit, as far as it bounds a single file */
        *ret_errno = WTERMSIG(w->child.status) == SIGXFSZ ? ENOSPC : EINTR;
    return 0;
}

int filework_wait(struct filework *w, struct http_exchange *x, int *ret_errno)
{
    return wait_until(w, x, SMX_FOREVER, ret_errno);
}

void filework_free(struct filework *w)
{
    if (!w)
        return;
    if (w->child.exited) {
        smx_free(w);
        return;
    }
    w->abandoned = true;
    kill(w->child.pid, SIGKILL);
}

int filework_run(struct agent *a, struct http_exchange *x, uint64_t deadline_ns, filework_fn *fn,
    void *arg, int *ret_errno, struct smx_err *err)
{
    SMX_CLEANUP(filework_freep) struct filework *w = NULL;
    int r = filework_start(a, fn, arg, /* keep= */ NULL, &w, err);

    if (r == 0)
        r = wait_until(w, x, deadline_ns, ret_errno);
    if (r == -SMX_E_TIMEOUT)
        smx_err_set(err, SMX_E_TIMEOUT, "context deadline exceeded");
    if (r == -SMX_E_CANCELLED)
        smx_err_set(err, SMX_E_CANCELLED, "the client left");
    return r;
}
