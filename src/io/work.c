/* work.c - a small pool of threads for calls that block. A job lives on the stack of the fiber that
 * waits for it. The queues are shared under one mutex; an eventfd wakes the loop. Everything else
 * stays with the loop's thread. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "io/priv.h"

enum { WORKER_STACK = 512 * 1024 };

struct job {
    struct smx_list node;
    struct io_fiber *fiber;
    io_work_fn *fn;
    void *arg;
    bool done; /* written and read by the loop's thread */
};

struct io_work_pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct smx_list queued, finished;
    bool ending;
    int wake_fd; /* borrowed from the loop */
    unsigned nthreads;
    pthread_t threads[SMX_WORKERS];
};

static void tell_loop(struct io_work_pool *p)
{
    uint64_t one = 1;

    while (write(p->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* The next job, or NULL when the pool ends. Called and left with the lock held. */
static struct job *next_job(struct io_work_pool *p)
{
    struct smx_list *node;

    while (smx_list_empty(&p->queued) && !p->ending)
        pthread_cond_wait(&p->more, &p->lock);
    if (smx_list_empty(&p->queued))
        return NULL;
    node = p->queued.next;
    smx_list_del(node);
    return SMX_LIST_ENTRY(node, struct job, node);
}

static void *worker(void *arg)
{
    struct io_work_pool *p = arg;
    struct job *job;

    pthread_mutex_lock(&p->lock);
    while ((job = next_job(p))) {
        bool first;

        pthread_mutex_unlock(&p->lock);
        job->fn(job->arg);
        pthread_mutex_lock(&p->lock);
        first = smx_list_empty(&p->finished);
        smx_list_add(&p->finished, &job->node);
        if (first)
            tell_loop(p);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int start_threads(struct io_work_pool *p)
{
    sigset_t all, old;
    pthread_attr_t attr;
    int r = 0;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (p->nthreads < SMX_WORKERS && r == 0) {
        r = pthread_create(&p->threads[p->nthreads], &attr, worker, p);
        p->nthreads += r == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return p->nthreads > 0 ? 0 : -r;
}

static int add_wake(struct io_loop *loop, struct smx_err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), r;

    if (fd < 0)
        return smx_err_errno(err, errno, "creating an eventfd");
    r = io_fd_init(&loop->wake, fd, err);
    if (r == 0)
        loop->nfds--; /* ours, not the caller's */
    return r;
}

static int pool_new(struct io_loop *loop, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) struct io_work_pool *p = smx_alloc(sizeof *p);
    int r;

    if (!p)
        return smx_err_oom(err);
    if (loop->wake.fd < 0 && (r = add_wake(loop, err)) < 0)
        return r;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    smx_list_init(&p->queued);
    smx_list_init(&p->finished);
    p->wake_fd = loop->wake.fd;
    r = start_threads(p);
    if (r < 0)
        return smx_err_errno(err, -r, "starting worker threads");
    loop->pool = smx_take(&p);
    return 0;
}

/* Marks what is finished as done and wakes its fibers. */
void io_pool_collect(struct io_loop *loop)
{
    struct io_work_pool *p = loop->pool;
    uint64_t count;

    loop->wake.ready &= ~(unsigned)IO_READ;
    while (read(loop->wake.fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&p->lock);
    SMX_LIST_FOREACH_SAFE(node, &p->finished) {
        struct job *job = SMX_LIST_ENTRY(node, struct job, node);

        smx_list_del(node);
        job->done = true;
        job->fiber->woken = true;
        io_wake(job->fiber);
    }
    pthread_mutex_unlock(&p->lock);
}

int io_work(io_work_fn *fn, void *arg, struct smx_err *err)
{
    struct io_fiber *self = io_fiber_self();
    struct job job = { .fiber = self, .fn = fn, .arg = arg };
    struct io_work_pool *p;
    int r = io_check_cancel();

    if (r < 0)
        return io_wait_failed(err, r, "queueing work");
    if (!self->loop->pool && (r = pool_new(self->loop, err)) < 0)
        return r;
    p = self->loop->pool;
    pthread_mutex_lock(&p->lock);
    smx_list_add(&p->queued, &job.node);
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
    io_shield_begin();
    while (!job.done)
        io_park(SMX_FOREVER);
    io_shield_end();
    return 0;
}

/* No fiber is left, so no job is either. */
void io_pool_free(struct io_loop *loop)
{
    struct io_work_pool *p = loop->pool;

    if (p) {
        pthread_mutex_lock(&p->lock);
        p->ending = true;
        pthread_cond_broadcast(&p->more);
        pthread_mutex_unlock(&p->lock);
        for (unsigned i = 0; i < p->nthreads; i++)
            pthread_join(p->threads[i], NULL);
        pthread_cond_destroy(&p->more);
        pthread_mutex_destroy(&p->lock);
    }
    smx_close(loop->wake.fd);
    smx_free(p);
    loop->pool = NULL;
}
