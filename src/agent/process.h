/* process.h - commands that were started, and who listens to their output.
 *
 * Output is read only when every listener has sent what was read before: a slow reader stops the
 * writer by a full pipe. The first listener (the leader) reads, encodes one chunk, and all send it;
 * no fiber stands between a pipe and its only listener. While nobody listens the output goes to the
 * drain. The end of a process is its own exit and what its pipes held at that moment; children that
 * keep the pipes open are left to the drain. */
#ifndef SMX_AGENT_PROCESS_H
#define SMX_AGENT_PROCESS_H

#include "agent/children.h"
#include "agent/drain.h"
#include "agent/users.h"
#include "base/list.h"
#include "io/io.h"
#include "wire/envd/envd.h"

struct agent;

struct process_table {
    struct smx_list running, ended; /* the newest last */
    size_t nrunning, nended;
};

/* One pipe (or the terminal) that a process writes. */
struct outlet {
    struct io_fd io; /* while somebody listens */
    struct drain_entry *drained;
    enum envd_stream stream;
    bool widened; /* the pipe holds more, because its writer fills it */
    bool bounded; /* after the exit: at most left more bytes are the process's */
    uint64_t left;
};

struct process {
    struct smx_list node; /* in the table */
    struct agent *agent;
    struct child child;
    unsigned refs;                     /* the table's, each listener's and each call's that parks */
    struct envd_start_request request; /* for List */
    bool pty;
    bool finished; /* the end event may be sent: exited, and its output was read */
    bool deadline_hit;
    bool in_table;
    struct io_timer deadline, forget;
    struct outlet out[2];
    int input; /* raw until first used; -1: none or closed */
    struct io_fd input_io;
    bool input_busy; /* a call writes; others wait for input_free */
    struct io_event input_free;
    int terminal; /* the pty's master, for its size; -1 */
    struct smx_list listeners;
    struct smx_buf chunk; /* envelopes that all listeners have to send */
    uint64_t chunk_number;
    unsigned chunk_pending; /* listeners that have not sent it yet */
};

/* Whoever streams the events of a process. */
struct listener {
    struct smx_list node;
    struct process *process;
    struct io_event wake;
    uint64_t sent; /* number of the last chunk that was sent */
};

void process_table_init(struct process_table *t);
/* A descriptor that came with the request, to be the process's stdin (0) or stdout (1): then nobody
 * here reads or writes it. fd -1: none. */
struct process_passed {
    int fd, as;
};
/* Starts and enters it; takes what *request holds (also on failure it is emptied) and, once it is
 * used, the passed descriptor. The new process has @l as its first listener. Codes: SMX_E_INVALID
 * (cwd, env), SMX_E_FILE_NOT_FOUND (cwd), SMX_E_FORBIDDEN (user), SMX_E_NO_MEMORY, SMX_E_QUOTA. */
int process_start(struct agent *a, struct envd_start_request *request,
    const struct agent_user *user, struct process_passed *passed, struct listener *l,
    struct process **ret, struct smx_err *err);
/* A reference, or NULL: by pid or tag; running ones first, the newest of several. */
struct process *process_find(struct agent *a, const struct envd_selector *s);
struct process *process_ref(struct process *p);
void process_unref(struct process *p);
SMX_DEFINE_CLEANUP(struct process, process_unref)

int process_listen(struct process *p, struct listener *l, struct smx_err *err);
void process_unlisten(struct listener *l);
/* True when l is the one that reads. */
bool process_leads(const struct listener *l);
/* Leader only, all chunks sent: reads what outlet i has and makes it the next chunk. Returns bytes
 * (0: nothing was there after all), or a negative code. */
int process_read(struct process *p, size_t i, struct smx_err *err);
/* The listener has sent the current chunk. */
void process_chunk_sent(struct listener *l);

/* Kills the command and all that it left in its session or below itself. */
void process_kill_tree(struct process *p);
/* Makes input_io usable. -SMX_E_STATE when stdin is closed or never was open. */
int process_open_input(struct process *p, struct smx_err *err);
/* Writes what fits now (input_io was seen writable): bytes or a negative code. */
int process_write_some(struct process *p, const void *data, size_t n, struct smx_err *err);
/* Closes stdin; nothing to do when it is closed already. */
void process_close_input(struct process *p);
int process_resize(struct process *p, const struct envd_pty_size *size, struct smx_err *err);
/* Kills it and all that belongs to it at that moment. */
int process_set_deadline(struct process *p, uint64_t deadline_ns);
/* status and error of the end event; status is "" while it runs. */
enum { PROCESS_STATUS_SIZE = 64 };
void process_status(
    const struct process *p, char text[PROCESS_STATUS_SIZE], int *ret_code, bool *ret_exited);

#endif
