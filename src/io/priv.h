/* priv.h - what the files of src/io share. Not for other rooms. */
#ifndef SMX_IO_PRIV_H
#define SMX_IO_PRIV_H

#include <sys/epoll.h>

#include "base/limits.h"
#include "io/io.h"
#include "io/switch.h"

struct io_work_pool;

struct io_fiber {
    struct smx_list all;   /* in loop->fibers */
    struct smx_list ready; /* in loop->ready, or linked to itself */
    struct io_loop *loop;
    struct io_context context;
    const char *name;
    io_fiber_fn *fn;
    void *arg;
    size_t bytes; /* moved since the last park */
    unsigned shield;
    bool cancelled;
    bool parked;    /* in io_park(): a cancellation may wake it */
    bool woken;     /* by what it waits for */
    bool timed_out; /* by its deadline */
    bool ended;
};

struct io_heap_entry {
    uint64_t deadline_ns;
    struct io_timer *timer;
};

/* Room for the deadline of every fiber is reserved when it is spawned, so that parking never
 * allocates: cap >= armed + nfibers, where armed are the timers that are no fiber's deadline. */
struct io_heap {
    struct io_heap_entry *entries;
    size_t count, cap, armed;
    uint64_t floor_ns; /* nothing is added below it */
};

enum {
    IO_STACKS_WARM = 32,
    IO_STACKS_COLD = 1024,
    IO_PIPES = 16,
    IO_SCRATCH = 64 * 1024,
    IO_HEAP_PERIODS = 2
};

/* Free stacks, linked through their top; warm ones still own their pages. low: the fewest there
 * were since the last trim, so nobody needed those. */
struct io_stacks {
    void *warm, *cold;
    size_t nwarm, ncold, low;
};

struct io_loop {
    int epfd;
    bool stop;
    bool closing;
    struct smx_list ready;
    struct smx_list fibers;
    size_t nfibers, nfds;
    struct io_fiber *current;
    struct io_context context;
    struct io_heap heap;
    struct io_stacks stacks;
    struct io_work_pool *pool; /* NULL until the first io_work() */
    struct io_fd wake;         /* eventfd of the pool */
    int pipes[IO_PIPES][2];    /* empty pipes for io_copy() */
    size_t npipes;
    char *scratch; /* IO_SCRATCH bytes, used between parks only */
    /* What is kept for reuse goes when a period passed without a use for it. */
    uint64_t trim_ns, trim_period_ns; /* trim_ns 0: nothing to trim */
    bool copied;                      /* pipes or scratch were used since the last trim */
    /* Periods until the heap gives its free pages back, 0 for none: a fiber went silent, and what
     * it freed lies between what others hold. */
    unsigned heap_trim;
};

/* Beside IO_READ, IO_WRITE and IO_HUP in io_fd.ready. MAYBE: worth a try, but not known to be
 * ready; a wait asks poll() first, so that it never reports what is no longer true. */
enum {
    IO_BROKEN = 8, /* EPOLLHUP or EPOLLERR: both directions are gone */
    IO_READ_MAYBE = 16,
    IO_WRITE_MAYBE = 32,
    IO_STREAM = 64,     /* a short read means that it is drained */
    IO_OUT_ARMED = 128, /* registered for EPOLLOUT, too: from the first full buffer on */
    IO_ALWAYS = 256,    /* a regular file: epoll does not take it, it never blocks */
    IO_SOCKET = 512,    /* recv() and send() are shorter ways than read() and write() */
    IO_HOSTILE = 1024   /* io_fd_distrust() */
};

struct io_waiter {
    struct smx_list node;
    struct io_fiber *fiber;
    unsigned events;
    unsigned fired; /* IO_* bits, 1 for an event or a semaphore, or IO_GONE */
};
/* What a call weighs in io_fair() beside its bytes. */
enum { IO_FAIR_CALL = 512 };
enum { IO_GONE = 1 << 16 }; /* the io_fd was closed under the waiter */

/* fiber.c */
void io_wake(struct io_fiber *f);
/* Suspends the running fiber until io_wake(): 0; or -SMX_E_CANCELLED, -SMX_E_TIMEOUT. */
int io_park(uint64_t deadline_ns);
/* -SMX_E_CANCELLED when the running fiber is cancelled and not shielded, else 0. */
int io_check_cancel(void);
void io_fiber_resume(struct io_loop *loop, struct io_fiber *f);
void io_stacks_done(struct io_stacks *s);
void io_stacks_trim(struct io_stacks *s);
/* A stack of IO_STACK_BYTES usable bytes, or NULL. */
void *io_stack_get(struct io_stacks *s);
void io_stack_put(struct io_stacks *s, void *stack);
extern const size_t io_stack_bytes;

/* timer.c */
int io_heap_reserve(struct io_heap *h, size_t n);
void io_heap_add(struct io_heap *h, struct io_timer *t); /* room was reserved */
void io_heap_remove(struct io_heap *h, struct io_timer *t);
uint64_t io_heap_next(const struct io_heap *h); /* SMX_FOREVER when empty */
void io_heap_expire(struct io_heap *h, uint64_t now_ns);
void io_heap_done(struct io_heap *h);

/* wait.c */
void io_waiters_wake(struct smx_list *waiters, unsigned bits);
void io_fd_latch(struct io_fd *f, unsigned epoll_events);
/* [parks] until one of the events of the descriptor: 0 or a negative code. */
int io_fd_wait(struct io_fd *f, unsigned events, uint64_t deadline_ns);
/* [parks] until IO_READ of from or IO_BROKEN of to. */
int io_fd_wait2(
    struct io_fd *a, unsigned a_events, struct io_fd *b, unsigned b_events, uint64_t deadline_ns);
/* Fills err for a code that a wait returned. */
int io_wait_failed(struct smx_err *err, int r, const char *doing);

/* filter.c */
void io_filter_done(struct io_fd *f);
ssize_t io_recv_hostile(struct io_fd *f, void *data, size_t n, int *ret_fd);
/* A wait took a byte, the end or an error from the filter: the next read gives it. */
static inline bool io_filter_holds(const struct io_fd *f)
{
    return f->filter_ops && (f->peeked >= 0 || f->ended);
}
/* Whether a read would give something; what was only suspected is known then. */
bool io_filter_readable(struct io_fd *f);

/* copy.c */
char *io_scratch(void); /* the running loop's, IO_SCRATCH bytes; NULL when the heap is empty */
void io_copy_trim(struct io_loop *loop);

/* rw.c: after a system call of one's own */
void io_read_blocked(struct io_fd *f); /* EAGAIN */
void io_write_blocked(struct io_fd *f);
void io_read_moved(struct io_fd *f, size_t moved, size_t asked);

/* work.c */
void io_pool_collect(struct io_loop *loop);
void io_pool_free(struct io_loop *loop);

#endif
