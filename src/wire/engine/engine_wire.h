/* engine_wire.h - messages between the gateway (or the supervisor) and sandmux-engine.
 *
 * Transport: SOCK_SEQPACKET, one JSON object a datagram of at most SMX_ENGINE_MESSAGE_MAX bytes,
 * descriptors by SCM_RIGHTS in the same datagram. The caller numbers its requests (@seq, unique
 * among those in flight, not 0); each gets exactly one reply with that number, in any order. A
 * datagram with seq 0 is an event. The engine takes ids and typed values, never a path.
 *
 *   {"seq":7,"op":"create","id":"i...","create":{"token":"...","resources":{"cpu_milli":1000}}}
 *   {"seq":7,"sandbox":{"id":"i...","state":"running","pid":4711,...}}
 *   {"seq":7,"error":"out_of_disk","message":"..."}
 *   {"seq":0,"event":"ended","sandbox":{"id":"i...","state":"stopped","reason":"oom",...}}
 *
 * When the socket closes the requests in flight go on; the next gateway finds their outcome by
 * "list". Nothing here does I/O. */
#ifndef SMX_WIRE_ENGINE_ENGINE_WIRE_H
#define SMX_WIRE_ENGINE_ENGINE_WIRE_H

#include "json/json.h"

enum {
    ENGINE_WIRE_VERSION = 1,
    ENGINE_TOKEN_MAX = 64,
    ENGINE_HOSTNAME_MAX = 63,
    ENGINE_REQUESTS_MAX = 1024, /* in flight on one socket; more are answered "busy" */
    ENGINE_LIST_PAGE = 128,
};

enum engine_op {
    ENGINE_OP_HELLO,         /* version -> hello */
    ENGINE_OP_CREATE,        /* id, create -> sandbox (running), descriptor as of connect_agent */
    ENGINE_OP_START,         /* id [deadline_ms] -> the same; stopped only */
    ENGINE_OP_STOP,          /* id [grace_ms, 5000] -> sandbox; files stay, reason "stopped" */
    ENGINE_OP_PAUSE,         /* id -> sandbox */
    ENGINE_OP_RESUME,        /* id -> sandbox */
    ENGINE_OP_DELETE,        /* id -> sandbox (state gone) when nothing is left of it */
    ENGINE_OP_SET_DEADLINE,  /* id [deadline_ms; absent: none] -> sandbox */
    ENGINE_OP_GET,           /* id -> sandbox */
    ENGINE_OP_LIST,          /* [after] -> sandboxes in the order of ids [next: pass it as after] */
    ENGINE_OP_STATS,         /* id [brief: the disk's figure may be old] -> stats */
    ENGINE_OP_CONNECT_AGENT, /* id -> descriptor: connected stream socket to the agent */
    ENGINE_OP_CONNECT_PORT,  /* id, port -> descriptor: TCP to 127.0.0.1 or ::1, or port_closed */
    ENGINE_OP_DOCTOR,        /* -> checks */
    ENGINE_OP_GATEWAY,       /* control socket only; one descriptor: the engine's new gateway end */
    ENGINE_OP_SHUTDOWN,      /* control socket only; [all]: delete every sandbox first */
    ENGINE_OP_COUNT_
};

enum engine_state {
    ENGINE_STATE_CREATING,
    ENGINE_STATE_RUNNING,
    ENGINE_STATE_PAUSED,
    ENGINE_STATE_STOPPING,
    ENGINE_STATE_STOPPED, /* files kept, no process */
    ENGINE_STATE_DELETING,
    ENGINE_STATE_GONE, /* in replies and events only */
    ENGINE_STATE_COUNT_
};

/* Why the processes of a sandbox ended; kept while it is stopped. */
enum engine_reason {
    ENGINE_REASON_NONE,
    ENGINE_REASON_EXITED,    /* pid 1 ended by itself */
    ENGINE_REASON_KILLED,    /* pid 1 was killed by a signal from outside the engine */
    ENGINE_REASON_OOM,       /* the memory limit killed pid 1 */
    ENGINE_REASON_DISK_FULL, /* over its disk limit, or the host's reserve was reached */
    ENGINE_REASON_EXPIRED,   /* deadline: it is deleted, state gone */
    ENGINE_REASON_STOPPED,   /* by request */
    ENGINE_REASON_DELETED,   /* by request */
    ENGINE_REASON_REBOOT,    /* the host restarted */
    ENGINE_REASON_LOST,      /* pid 1 ended while no engine was there to see why */
    ENGINE_REASON_COUNT_
};

/* What is done at the deadline. Pausing and stopping end it: there is none until the next. */
enum engine_at_expiry {
    ENGINE_AT_EXPIRY_KILL,
    ENGINE_AT_EXPIRY_PAUSE,
    ENGINE_AT_EXPIRY_STOP,
    ENGINE_AT_EXPIRY_COUNT_
};

enum engine_event {
    ENGINE_EVENT_NONE,
    ENGINE_EVENT_ENDED,  /* not by a request of this socket: sandbox tells state and reason */
    ENGINE_EVENT_OOM,    /* a process inside was killed by the memory limit; the sandbox goes on */
    ENGINE_EVENT_PAUSED, /* at its deadline */
    ENGINE_EVENT_COUNT_
};

/* NULL-terminated, indexed by the enums above. */
extern const char *const engine_op_names[];
extern const char *const engine_state_names[];
extern const char *const engine_reason_names[];
extern const char *const engine_event_names[];
extern const char *const engine_at_expiry_names[];

/* Zero means the engine's default; the reply tells what is in force. */
struct engine_resources {
    uint64_t cpu_milli; /* 1000: one core */
    uint64_t memory_mib;
    uint64_t disk_mib;
    uint64_t pids;
};

struct engine_create {
    char *token;    /* [A-Za-z0-9_-]{0,64}: the caller's, returned by list */
    char *template; /* NULL: "base" */
    char *hostname; /* NULL: the id. [a-z0-9-]{1,63} */
    struct engine_resources resources;
    int at_expiry; /* enum engine_at_expiry, for good */
};

struct engine_request {
    uint64_t seq;
    int op; /* enum engine_op */
    char *id;
    struct engine_create *create;
    uint64_t deadline_ms; /* from now */
    bool has_deadline;
    uint64_t grace_ms;
    bool has_grace;
    uint64_t port;
    uint64_t version;
    char *after;
    bool all;
    bool brief;
};

struct engine_sandbox {
    char *id;
    char *token;
    char *template;
    char *hostname;
    int state;  /* enum engine_state */
    int reason; /* enum engine_reason */
    struct engine_resources resources;
    uint64_t created_unix_ms;
    uint64_t pid;         /* of pid 1, on the host; 0: none */
    uint64_t deadline_ms; /* left; 0 when it has passed */
    bool has_deadline;
    uint64_t ooms;       /* processes killed by the memory limit since the start */
    bool soft;           /* a limit of this sandbox is soft; hello says which */
    uint64_t disk_bytes; /* at the last look */
};

struct engine_stats {
    uint64_t cpu_ns;
    uint64_t memory_bytes;
    uint64_t memory_peak_bytes;
    uint64_t memory_limit_bytes;
    uint64_t pids;
    uint64_t pids_limit;
    uint64_t disk_bytes;
    uint64_t disk_limit_bytes;
    uint64_t io_read_bytes;
    uint64_t io_write_bytes;
    uint64_t net_rx_bytes; /* loopback inside the sandbox */
    uint64_t net_tx_bytes;
    uint64_t ooms;
};

/* One finding of the capability report. */
struct engine_check {
    char *name;
    bool ok;
    bool required; /* false: something works worse or is off */
    char *detail;  /* what was found */
    char *hint;    /* what to do; NULL when ok */
};

struct engine_hello {
    uint64_t version;
    char *instance;
    char *build;
    bool ready;         /* creates can work */
    char *why;          /* not ready: the first required check that failed */
    char *limits;       /* "hard" or "soft": memory, cpu, pids */
    char *disk;         /* "hard" or "soft" */
    char *cgroup;       /* "v1", "v2", "hybrid" or "none" */
    bool pause;         /* a freezer was found */
    bool idmap;         /* idmapped overlay */
    uint64_t sandboxes; /* known now */
    struct engine_resources defaults;
    struct engine_resources max; /* most that one sandbox may ask for */
    struct json_strings templates;
};

struct engine_reply {
    uint64_t seq; /* 0: event */
    int event;    /* enum engine_event */
    char *error;  /* code name as in base/errors.def; NULL: success */
    char *message;
    struct engine_hello *hello;
    struct engine_sandbox *sandbox;
    struct json_array sandboxes; /* of struct engine_sandbox */
    char *next;
    struct engine_stats *stats;
    struct json_array checks; /* of struct engine_check */
};

extern const struct json_table engine_request_table;
extern const struct json_table engine_create_table;
extern const struct json_table engine_resources_table;
extern const struct json_table engine_sandbox_table;
extern const struct json_table engine_stats_table;
extern const struct json_table engine_hello_table;
extern const struct json_table engine_check_table;
extern const struct json_table engine_reply_table;

/* Decodes and checks all that can be told from the message alone: the fields that its op needs are
 * there and well formed. The error names the field; ret->seq is kept when it was readable and the
 * rest of *ret is zero. Free with json_free() after success. */
int engine_request_decode(
    const char *data, size_t n, struct engine_request *ret, struct smx_err *err);
int engine_reply_decode(const char *data, size_t n, struct engine_reply *ret, struct smx_err *err);
/* The error of a reply as a negative code with its message, or 0. */
int engine_reply_error(const struct engine_reply *r, struct smx_err *err);

#endif
