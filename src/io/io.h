/* io.h - one epoll loop, fibers on it, and everything a fiber can wait for.
 *
 * A fiber runs straight-line code until a call marked [parks] has to wait; then others run. One
 * thread owns a loop and all that belongs to it: nothing here is locked. A call marked [parks]
 * returns -SMX_E_TIMEOUT when its deadline passed (monotonic ns of smx_now_ns(); SMX_FOREVER for
 * none) and -SMX_E_CANCELLED once the fiber was cancelled; cancellation sticks. Calls fill *err
 * (which may be NULL) on failure.
 *
 * Stacks are SMX_FIBER_STACK of address space with a guard page; only touched pages cost memory, so
 * frames that live while a stream is idle stay small. Stacks of ended fibers are kept for reuse,
 * their pages given back. */
#ifndef SMX_IO_IO_H
#define SMX_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

struct io_loop;
struct io_fiber;

/* --- loop
 * ------------------------------------------------------------------------------------------------
 */

int io_loop_new(struct io_loop **ret_loop, struct smx_err *err);
void io_loop_free(struct io_loop
        *loop); /* not from a fiber; remaining fibers are cancelled and run to their end */
SMX_DEFINE_CLEANUP(struct io_loop, io_loop_free)
/* Runs until io_loop_stop() or until no fiber is left. */
int io_loop_run(struct io_loop *loop, struct smx_err *err);
void io_loop_stop(struct io_loop *loop);
struct io_loop *io_loop_self(void); /* of the calling thread while it runs; else NULL */
/* Descriptors and fibers now held, for metrics. */
size_t io_loop_fds(const struct io_loop *loop);
size_t io_loop_fibers(const struct io_loop *loop);

/* --- fibers
 * ---------------------------------------------------------------------------------------------- */

typedef void(io_fiber_fn)(void *arg);

/* Starts a fiber; it first runs when the caller parks. @name: static string, for debugging. @arg
 * stays the caller's. @ret_fiber: NULL, or a borrowed pointer that is valid until the fiber
 * function returns. */
int io_fiber_spawn(struct io_loop *loop, const char *name, io_fiber_fn *fn, void *arg,
    struct io_fiber **ret_fiber, struct smx_err *err);
struct io_fiber *io_fiber_self(void); /* NULL outside fibers */
/* Wakes the fiber; its present and all later parks return -SMX_E_CANCELLED, except within
 * io_shield. */
void io_fiber_cancel(struct io_fiber *fiber);
bool io_fiber_cancelled(void);
/* Between io_shield_begin and io_shield_end parks do not see a cancellation (bounded clean-up
 * only). */
void io_shield_begin(void);
void io_shield_end(void);
void io_yield(void);                      /* [parks] lets every other ready fiber run once */
int io_sleep_until(uint64_t deadline_ns); /* [parks] 0 at the deadline, or -SMX_E_CANCELLED */
/* Gives the pages below the running frame back, which deeper calls have touched: worth one system
 * call before a long silence. */
void io_fiber_trim(void);
/* Counts bytes moved since the fiber last parked and yields past SMX_FIBER_YIELD_BYTES. [parks] */
void io_fair(size_t bytes);

/* --- events and waiting
 * ---------------------------------------------------------------------------------- */

/* A level: once set, every wait returns at once until it is cleared. Embed it; no destructor, but
 * no fiber may wait for it when its memory goes. */
struct io_event {
    bool set;
    struct smx_list waiters;
};
void io_event_init(struct io_event *e);
void io_event_set(struct io_event *e); /* from the loop's thread */
void io_event_clear(struct io_event *e);
int io_event_wait(struct io_event *e, uint64_t deadline_ns); /* [parks] */

/* Counting semaphore, first come first served. */
struct io_sem {
    unsigned count;
    struct smx_list waiters;
};
void io_sem_init(struct io_sem *s, unsigned count);
int io_sem_acquire(struct io_sem *s, uint64_t deadline_ns); /* [parks] */
bool io_sem_try(struct io_sem *s);
void io_sem_release(struct io_sem *s);

/* Fibers that end together: what an object runs in the background. Embed it. */
struct io_tasks {
    struct smx_list list;
    struct io_event none;
    bool ended;
};
void io_tasks_init(struct io_tasks *g);
/* Starts one; arg is handed to fn, which frees it. When it cannot be started fn is not called and
 * the caller keeps arg: -SMX_E_CANCELLED once the group is ended, -SMX_E_NO_MEMORY. */
int io_tasks_start(
    struct io_tasks *g, struct io_loop *loop, const char *name, io_fiber_fn *fn, void *arg);
void io_tasks_end(struct io_tasks *g); /* [parks] cancels all, waits, takes no more */

/* A non-blocking descriptor on the loop, registered edge-triggered once. Embed it; at most one
 * fiber reads and one writes at a time (others may wait for IO_HUP). */
struct io_fd {
    int fd; /* -1: not open */
    struct io_loop *loop;
    unsigned ready; /* IO_* latched from epoll, cleared by EAGAIN */
    struct smx_list waiters;
    void (*on_hup)(void *arg); /* io_fd_on_hup() */
    void *on_hup_arg;
    const struct io_filter_ops *filter_ops; /* io_fd_filter(); NULL: none */
    void *filter;
    int ended;  /* what the filter's read said for good: -1 the end, else an errno; 0 not yet */
    int peeked; /* a byte that a wait took from the filter; -1 none */
};

enum {
    IO_READ = 1,
    IO_WRITE = 2,
    IO_HUP = 4 /* peer closed its sending side or the connection broke */
};

/* Takes fd, also on failure (then it is closed). Makes it non-blocking. */
int io_fd_init(struct io_fd *f, int fd, struct smx_err *err);
/* The same for the reading end of a new pipe that is non-blocking already: fewer system calls. */
int io_fd_init_pipe(struct io_fd *f, int fd, struct smx_err *err);
void io_fd_done(struct io_fd *f); /* deregisters and closes; waiters return -SMX_E_CANCELLED */
int io_fd_take(struct io_fd *f);  /* deregisters and yields the descriptor; still non-blocking */
/* Calls fn(arg) once, when the peer is gone (IO_HUP); at once if it is already. It runs on the loop
 * and must not park; cancelling a fiber is what it is for: a handler whose stream is silent waits
 * for other things than its descriptor. fn NULL: no more. */
void io_fd_on_hup(struct io_fd *f, void (*fn)(void *arg), void *arg);

/* What bytes pass through between a descriptor's owner and the descriptor: TLS, most of all. No
 * call parks. read: like read(2) on a non-blocking socket: -1 with errno (EAGAIN: not before the
 * descriptor becomes readable again), 0 at the end. write: like send(2); after EAGAIN, which must
 * mean that the descriptor has no room, it is called with the same bytes again, at least as many.
 * close_write: ends the sending side, 0 or -1; NULL: does nothing. free: before the descriptor
 * closes or is taken. */
struct io_filter_ops {
    ssize_t (*read)(void *filter, void *data, size_t n);
    ssize_t (*write)(void *filter, const void *data, size_t n);
    int (*close_write)(void *filter);
    void (*free)(void *filter);
};
/* From now on all bytes pass through the filter (taken), and IO_READ says that it has some. What
 * waits for the descriptor meanwhile must not wait for IO_READ. Not for descriptors that carry
 * descriptors. */
void io_fd_filter(struct io_fd *f, const struct io_filter_ops *ops, void *filter);

/* Whoever writes to this unix socket is hostile: what it passes along is closed where that keeps
 * nobody waiting (base/foreign.h), and so is the descriptor in the end. Nothing is spliced from it.
 */
void io_fd_distrust(struct io_fd *f);
bool io_fd_distrusted(const struct io_fd *f);

struct io_wait {
    struct io_fd *fd; /* either a descriptor and events ... */
    unsigned events;
    struct io_event *event; /* ... or an event */
    unsigned ready;         /* result: IO_* bits, or 1 for an event; 0 when not ready */
};
enum { IO_WAIT_MAX = 8 };
/* [parks] until one of n <= IO_WAIT_MAX things is ready: the number that are, or a negative code.
 * This one call waits for "data, or client gone, or keepalive due, or cancelled". */
int io_wait(struct io_wait *w, size_t n, uint64_t deadline_ns);

/* [parks] 1..n bytes, 0 at EOF, or a negative code (-SMX_E_CLOSED for a reset). */
ssize_t io_read(struct io_fd *f, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err);
/* [parks] the same from a unix socket: the first descriptor that comes along is *ret_fd, if that
 * holds -1; others are closed as those of a stranger. */
ssize_t io_read_passed(
    struct io_fd *f, void *data, size_t n, int *ret_fd, uint64_t deadline_ns, struct smx_err *err);
/* [parks] until all is written. The deadline bounds the time without progress: it is re-armed by
 * idle_ms after each write that moved bytes. Peer gone: -SMX_E_CLOSED. SIGPIPE is never raised. */
int io_write(struct io_fd *f, const void *data, size_t n, uint64_t idle_ms, struct smx_err *err);
int io_writev(struct io_fd *f, struct iovec *iov, size_t n, uint64_t idle_ms,
    struct smx_err *err); /* iov is used up */
/* Without parking: like read(2), write(2) and writev(2), through the filter if there is one. */
ssize_t io_try_read(struct io_fd *f, void *data, size_t n);
ssize_t io_try_write(struct io_fd *f, const void *data, size_t n);
ssize_t io_try_writev(struct io_fd *f, const struct iovec *iov, size_t count);
/* Ends the sending side of a connection; the other side reads its end. 0 or -SMX_E_CLOSED. */
int io_close_write(struct io_fd *f);
/* [parks] one message with descriptors (SOCK_SEQPACKET). Like smx_recv_fds()/smx_send_fds(); 0 at
 * EOF. */
ssize_t io_recv_fds(struct io_fd *f, void *data, size_t n, int *fds, size_t *nfds,
    uint64_t deadline_ns, struct smx_err *err);
int io_send_fds(struct io_fd *f, const void *data, size_t n, const int *fds, size_t nfds,
    uint64_t deadline_ns, struct smx_err *err);
/* [parks] moves up to n bytes from one descriptor to another by splice through a pipe of its own
 * when both allow it (no filter does), else by copy. Stops at EOF of from; returns bytes moved. n
 * == UINT64_MAX: until EOF. idle_ms: without progress. */
int64_t io_copy(
    struct io_fd *to, struct io_fd *from, uint64_t n, uint64_t idle_ms, struct smx_err *err);

/* [parks] n bytes of a regular file, from offset on, to a socket, by sendfile where that works; the
 * file's own position is neither used nor moved. A file that ends before that is -SMX_E_CLOSED, one
 * that grows meanwhile is cut at n. What is not in memory is read by a worker, so that a disk stops
 * nobody else. watch: a hang-up there ends it, too (-SMX_E_CLOSED); NULL: nothing. idle_ms: without
 * progress. */
int io_send_file(struct io_fd *to, int file, uint64_t offset, uint64_t n, struct io_fd *watch,
    uint64_t idle_ms, struct smx_err *err);

/* --- sockets
 * --------------------------------------------------------------------------------------------- */

/* Listening sockets, non-blocking and close-on-exec. host: numeric address; port 0 picks one. */
int io_listen_tcp(const char *host, uint16_t port, int *ret_fd, struct smx_err *err);
int io_listen_unix(const char *path, mode_t mode, int *ret_fd,
    struct smx_err *err); /* replaces a dead socket, never a live one: -SMX_E_BUSY */
/* Numeric address and port of a socket's own end. */
int io_local_address(int fd, char *host, size_t size, uint16_t *ret_port, struct smx_err *err);
int io_accept(
    struct io_fd *listener, int *ret_fd, uint64_t deadline_ns, struct smx_err *err); /* [parks] */
int io_connect_unix(
    const char *path, int *ret_fd, uint64_t deadline_ns, struct smx_err *err); /* [parks] */
int io_connect_tcp(const char *host, uint16_t port, int *ret_fd, uint64_t deadline_ns,
    struct smx_err *err); /* [parks] numeric host */

/* --- timers
 * ---------------------------------------------------------------------------------------------- */

typedef void(io_timer_fn)(void *arg); /* runs on the loop outside fibers: must not park */
struct io_timer {
    uint64_t deadline_ns;
    io_timer_fn *fn;
    void *arg;
    size_t heap_index; /* SIZE_MAX: not armed */
    struct io_loop *loop;
};
void io_timer_init(struct io_timer *t, io_timer_fn *fn, void *arg);
int io_timer_arm(struct io_timer *t, struct io_loop *loop,
    uint64_t deadline_ns); /* again: moves it. 0 or -SMX_E_NO_MEMORY */
void io_timer_disarm(struct io_timer *t);

/* --- blocking work
 * --------------------------------------------------------------------------------------- */

/* [parks] until fn(arg) ran on a worker thread (SMX_WORKERS of them, started with the first call,
 * all signals blocked). Not cancellable once queued: arg may live on the fiber's stack. */
typedef void(io_work_fn)(void *arg);
int io_work(io_work_fn *fn, void *arg, struct smx_err *err);

/* --- children and signals
 * -------------------------------------------------------------------------------- */

enum { IO_CHILD_FDS_MAX = 16 };
struct io_child_spec {
    const char *path; /* executable, no search; or NULL and */
    int exec_fd;      /* its descriptor (no script: nothing is left open to read it by) */
    char *const *argv;
    char *const *envp; /* NULL: ours */
    const int *fds;    /* become 0, 1, 2, ... in the child; -1: /dev/null. Borrowed */
    size_t nfds;
    /* Called in the child between clone and exec, its descriptors in place, ours still open, all
     * signals blocked: async-signal-safe calls only, and what it writes it writes into our memory
     * (vfork). Non-zero gives up with that errno. In a process with threads it changes ids by plain
     * system calls: the C library's functions would do it to our threads. */
    int (*prepare)(void *arg);
    void *arg;
};
struct io_child {
    pid_t pid; /* -1: none */
    struct io_fd pidfd;
    bool reaped;
    int status; /* of waitid, after io_child_wait() */
};
/* Starts a child with all signals at default, unblocked, and no descriptor beyond fds. exec
 * failures are reported here. */
int io_child_spawn(struct io_child *c, const struct io_child_spec *spec, struct smx_err *err);
/* [parks] 0 when it ended: *ret_status as of waitpid. */
int io_child_wait(struct io_child *c, int *ret_status, uint64_t deadline_ns);
int io_child_signal(struct io_child *c, int signo);
void io_child_done(struct io_child *c); /* kills and reaps a child that still runs */

/* Blocks the signals of the set for the process and makes them readable in order. */
struct io_signals {
    struct io_fd fd;
};
int io_signals_init(struct io_signals *s, const int *signos, size_t n, struct smx_err *err);
int io_signals_next(
    struct io_signals *s, uint64_t deadline_ns); /* [parks] signal number or negative code */
void io_signals_done(struct io_signals *s);

#endif
