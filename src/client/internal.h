/* internal.h - what the files of libsandmux share. A conn belongs to one thread at a time; idle
 * ones wait in the handle's slots, which are taken and filled by one atomic exchange each. That
 * needs no lock, so a fork at any moment leaves a child that works: it sees by the pid that a
 * connection is its parent's and closes its copy. */
#ifndef SMX_CLIENT_INTERNAL_H
#define SMX_CLIENT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "http/h1.h"
#include "json/json.h"
#include "sandmux/sandmux.h"
#include "wire/native/native.h"

enum {
    CLIENT_IDLE_MAX = 16,
    CLIENT_TIMEOUT_MS = 120000,
    CLIENT_CONNECT_MS = 5000,
    CLIENT_START_MS = 20000, /* a daemon that is started: until it answers */
    CLIENT_IDLE_MS = 300000, /* idle connections older than this are not used again */
    CLIENT_IN_BYTES = 128 * 1024,
    CLIENT_REPLY_MAX = 64 * 1024 * 1024,
    CLIENT_LINGER_MS = 3000,
    CLIENT_TICK_MS = 150, /* how often a call that waits asks whether it shall go on */
};

/* Who may end a call that waits. */
struct client_interrupt {
    smx_interrupt_fn *fn; /* NULL: nobody */
    void *arg;
};
extern const struct client_interrupt client_never;

struct client_tls;

struct endpoint {
    bool unix_socket, secure; /* secure: https */
    char path[108];           /* of the unix socket */
    char host[256];
    uint16_t port;
    char field[280]; /* Host field */
};

struct conn {
    int fd;
    struct client_tls *tls; /* NULL: plain */
    pid_t pid;
    uint64_t deadline_ns; /* of everything that waits */
    uint64_t idle_ms;     /* longest time without progress; 0: only the deadline */
    uint64_t last_used_ns;
    struct client_interrupt interrupt;
    char *in; /* CLIENT_IN_BYTES */
    size_t at, end;
    /* the reply being read */
    int status;
    char content_type[128];
    enum h1_framing framing;
    uint64_t left;
    struct h1_chunked chunked;
    bool keep, finished, answered; /* answered: a byte of the reply came */
    char accept[64];
    struct h1_field fields[SMX_HTTP_HEADERS_MAX];
};

struct smx_client {
    struct endpoint at;
    char *url, *api_key, *program;
    void *tls; /* SSL_CTX of https; NULL: not used */
    uint64_t timeout_ms;
    unsigned flags;
    struct client_interrupt interrupt;
    bool may_start; /* a daemon of ours: start it again when it ended */
    _Atomic(struct conn *) idle[CLIENT_IDLE_MAX];
};

/* --- wait.c ------------------------------------------------------------------------------------
 */

/* Waits for events of fd: the ready ones; -SMX_E_TIMEOUT; -SMX_E_CANCELLED. */
int client_wait_fd(int fd, int events, uint64_t deadline_ns, const struct client_interrupt *i,
    struct smx_err *err);
/* 0, or -SMX_E_CANCELLED when the call that waits shall end. */
int client_interrupted(const struct client_interrupt *i, struct smx_err *err);
/* How long poll() may wait: to the deadline, and not past the next question. */
int client_poll_ms(uint64_t deadline_ns, const struct client_interrupt *i);

/* An interrupt for a call that starts something: it is heeded once the daemon has said what that
 * is, so that it can be ended, or CLIENT_LINGER_MS later. */
struct client_linger {
    struct client_interrupt inner;
    bool wanted, known; /* the caller gave up; set by the reader of the reply */
    uint64_t until_ns;
};
/* The interrupt for the call; @l outlives it. */
struct client_interrupt client_linger(struct client_linger *l, const struct client_interrupt *i);
/* It is known now. -SMX_E_CANCELLED when the caller gave up before that. */
int client_linger_known(struct client_linger *l, struct smx_err *err);

/* --- endpoint.c: where to ------------------------------------------------------------------------
 */

int endpoint_parse(const char *url, struct endpoint *ret, struct smx_err *err);
int endpoint_unix(const char *path, struct endpoint *ret, struct smx_err *err);
/* A connected non-blocking descriptor. */
int endpoint_connect(const struct endpoint *e, uint64_t deadline_ns,
    const struct client_interrupt *i, int *ret_fd, struct smx_err *err);

/* --- conn.c: one connection, blocking with deadlines ------------------------------------------ */

int conn_new(int fd, struct conn **ret, struct smx_err *err); /* takes fd, also on failure */
void conn_free(struct conn *c);
SMX_DEFINE_CLEANUP(struct conn, conn_free)
/* Waits for POLLIN or POLLOUT: the ready events, or -SMX_E_TIMEOUT. */
int conn_wait(struct conn *c, int events, struct smx_err *err);
/* Sends all; 1 when the other side answered before it had everything. */
int conn_send(struct conn *c, const void *data, size_t n, bool watch_reply, struct smx_err *err);
/* Reads once into the buffer: bytes, 0 at EOF. */
ssize_t conn_fill(struct conn *c, struct smx_err *err);
int conn_head(struct conn *c, enum h1_method method, struct smx_err *err);
/* *ret: the next body bytes, borrowed until the next call; 0 at the end. */
ssize_t conn_body(struct conn *c, const char **ret, struct smx_err *err);
int conn_body_all(struct conn *c, struct smx_buf *buf, struct smx_err *err);
/* False when an idle connection was closed by the other side, or is another process's. */
bool conn_usable(const struct conn *c);

/* Like send(2) and recv(2) without waiting, on what a connection was made of. */
ssize_t link_send(int fd, struct client_tls *tls, const void *data, size_t n);
ssize_t link_recv(int fd, struct client_tls *tls, void *data, size_t n);

/* --- tls.c: https -----------------------------------------------------------------------------
 */

/* Loads OpenSSL and the trusted authorities; ca_file: one more, or NULL. */
int client_tls_open(struct smx_client *c, const char *ca_file, struct smx_err *err);
void client_tls_close(struct smx_client *c);
/* The handshake on a connected descriptor, which stays the caller's. */
int client_tls_connect(struct smx_client *c, int fd, uint64_t deadline_ns, struct client_tls **ret,
    struct smx_err *err);
void client_tls_free(struct client_tls *t, bool say_goodbye);
ssize_t client_tls_send(struct client_tls *t, const void *data, size_t n);
ssize_t client_tls_recv(struct client_tls *t, void *data, size_t n);
/* Nothing has come that nobody asked for, and the other side is there. */
bool client_tls_quiet(struct client_tls *t);

/* --- lookup.c, start.c: find the daemon, start one ---------------------------------------------
 */

int client_lookup(
    struct smx_client *c, const struct smx_client_config *config, struct smx_err *err);
/* Starts the daemon whose socket is c->at and waits until it answers; many at once start one. */
int client_start(struct smx_client *c, int *ret_fd, struct smx_err *err);

/* --- pool.c: connections of the handle ---------------------------------------------------------
 */

/* An idle connection or a new one. *ret_fresh: new. */
int client_take(struct smx_client *c, struct conn **ret, bool *ret_fresh, struct smx_err *err);
int client_connect(
    struct smx_client *c, uint64_t deadline_ns, struct conn **ret, struct smx_err *err);
/* Keeps it for the next call if the reply was read to its end, else closes it. NULL is allowed. */
void client_give(struct smx_client *c, struct conn *conn);

/* --- call.c: one request -----------------------------------------------------------------------
 */

typedef ssize_t(call_source_fn)(void *data, size_t room, void *arg);

struct call {
    const char *method, *path; /* path with query, escaped */
    const char *body;          /* whole body, or NULL */
    size_t n;
    const char *content_type, *accept; /* NULL: JSON */
    const char *idempotency_key;
    const char *range;
    call_source_fn *source; /* streamed body of source_bytes, UINT64_MAX: unknown */
    void *source_arg;
    uint64_t source_bytes;
    uint64_t timeout_ms;                      /* whole call; 0: the handle's; UINT64_MAX: none */
    uint64_t idle_ms;                         /* longest silence, for streams; 0: none */
    const struct client_interrupt *interrupt; /* NULL: the handle's */
};
/* Sends it and reads the reply's head, whatever the status is. *ret is the caller's until
 * client_give(). */
int call_start(
    struct smx_client *c, const struct call *call, struct conn **ret, struct smx_err *err);
/* 0 for a status below 400; else reads the error body and returns what it says. */
int call_check(struct conn *conn, struct smx_err *err);
/* start and check; on failure the connection is given back. */
int call_open(
    struct smx_client *c, const struct call *call, struct conn **ret, struct smx_err *err);
/* A whole JSON exchange. table NULL: the body is not decoded. ret_json NULL: not kept. */
int call_json(struct smx_client *c, const struct call *call, const struct json_table *table,
    void *ret, char **ret_json, struct smx_err *err);
/* Error of a reply body: the code it names, or the status's. */
int call_error(int status, const char *body, size_t n, struct smx_err *err);
int problem_error(const struct native_problem *p, struct smx_err *err);
/* One request head without the blank line, for call_start() and the WebSocket. */
void call_head(
    const struct smx_client *c, const char *method, const char *path, struct smx_buf *out);
/* A debug line about a call; status 0: there was no reply. */
void call_say(const char *method, const char *path, int status, int r, uint64_t begun_ns);

/* Paths: call_path(buf, "/api/sandboxes", id, "/exec"), then call_query() for each parameter. A
 * NULL value is left out. */
int call_path(struct smx_buf *out, const char *prefix, const char *id, const char *suffix,
    struct smx_err *err);
void call_query(struct smx_buf *out, const char *key, const char *value);
void call_query_u64(struct smx_buf *out, const char *key, uint64_t value);

/* The whole body to sink; a nonzero return of it ends that and is returned. */
int call_drain(struct conn *conn, int (*sink)(const void *data, size_t bytes, void *arg), void *arg,
    struct smx_err *err);
/* Lines of a streamed body: fn gets each without its newline, NUL-terminated; nonzero ends it. */
typedef int(line_fn)(char *line, size_t n, void *arg, struct smx_err *err);
int call_lines(struct conn *conn, line_fn *fn, void *arg, struct smx_err *err);

/* JSON carries UTF-8 only: other bytes are refused here, since the writer would replace them. NULL
 * is fine. */
int text_check(const char *what, const char *s, struct smx_err *err);
int text_check_pairs(const char *what, const struct smx_pair *pairs, size_t n, struct smx_err *err);
/* {"key":"value",...} of pairs. */
void json_pairs(struct json_writer *w, const char *key, const struct smx_pair *pairs, size_t n);

/* --- frame.c: WebSocket frames, client's side, without I/O -------------------------------------
 */

enum { FRAME_TEXT = 1, FRAME_BINARY = 2, FRAME_CLOSE = 8, FRAME_PING = 9, FRAME_PONG = 10 };
struct frame {
    unsigned opcode; /* 0: continuation */
    bool fin;
    const char *data;
    size_t n;
};
/* A whole frame at the front of data: bytes used, 0 when it is incomplete, negative when it breaks
 * the rules or is longer than max. */
ptrdiff_t frame_parse(
    const char *data, size_t n, size_t max, struct frame *ret, struct smx_err *err);
/* Appends one masked, final frame. */
int frame_append(struct smx_buf *out, unsigned opcode, const void *data, size_t n);
/* Key of the handshake, and the answer that belongs to it. */
enum { FRAME_KEY_SIZE = 25, FRAME_ACCEPT_SIZE = 29 };
void frame_key(char key[FRAME_KEY_SIZE]);
void frame_accept(const char *key, char accept[FRAME_ACCEPT_SIZE]);

#endif
