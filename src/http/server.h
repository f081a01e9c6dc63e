/* server.h - HTTP/1.1 server: one fiber a connection, straight-line handlers. Handlers run on the
 * connection's fiber; replying twice, or more bytes than announced, is an assertion. A handler that
 * returns without a reply makes a 500. What it leaves of a request body is drained up to a bound,
 * else the connection closes after the reply. */
#ifndef SMX_HTTP_SERVER_H
#define SMX_HTTP_SERVER_H

#include "http/h1.h"
#include "io/io.h"

struct http_server;
struct http_exchange;

/* Where a connection came from. */
struct http_peer {
    bool unix_socket;
    uid_t uid; /* unix sockets: SO_PEERCRED */
    gid_t gid;
    pid_t pid;
    bool loopback;    /* TCP from a loopback address */
    char address[48]; /* TCP: numeric, without port */
    const char *tag;  /* of the listener */
    bool secure;      /* TLS */
};

typedef void(http_handler_fn)(struct http_exchange *x, void *ctx);

struct http_server_config {
    http_handler_fn *handler; /* every request */
    void *ctx;
    const char *server_name;                                         /* Server field, or NULL */
    uint64_t head_timeout_ms, idle_timeout_ms, handshake_timeout_ms; /* 0: limits.h */
    uint64_t write_timeout_ms, stream_timeout_ms, linger_timeout_ms, shed_idle_ms; /* 0: limits.h */
    size_t connections_per_peer; /* TCP; 0: limits.h, and loopback has no limit */
    size_t connections_max;      /* of this server; 0: as many as descriptors allow */
    bool descriptors; /* a request on a unix socket may bring one: http_take_descriptor() */
    /* Called when descriptors run short, before clients are closed: true when it closed some. */
    bool (*make_room)(void *ctx);
    /* Answers requests that could not be parsed or timed out, in the shape the wire expects; NULL:
     * plain text. */
    void (*error_body)(int status, const char *message, struct smx_buf *out,
        const char **ret_content_type, void *ctx);
};
int http_server_new(struct io_loop *loop, const struct http_server_config *cfg,
    struct http_server **ret, struct smx_err *err);
/* Takes a listening socket. @tag: static string. */
int http_server_listen(struct http_server *s, int fd, const char *tag, struct smx_err *err);
/* Makes a new connection's descriptor a secure one before its first request is read: [parks], on
 * the connection's fiber, until the deadline. 0: done, the descriptor has its filter.
 * -SMX_E_INVALID: the client speaks plain HTTP; it gets a 400. Else the connection closes. */
struct http_secure {
    int (*accept)(void *ctx, struct io_fd *fd, uint64_t deadline_ns, struct smx_err *err);
    void *ctx;
};
/* The same for connections that are to be secure; NULL: plain. Borrowed as long as the server
 * lives.
 */
int http_server_listen_secure(struct http_server *s, int fd, const char *tag,
    const struct http_secure *secure, struct smx_err *err);
int http_server_serve_secure_fd(struct http_server *s, int fd, const char *tag,
    const struct http_secure *secure, struct smx_err *err);
/* Serves one connected descriptor (taken) on a fiber of its own: loopback tests, socket activation.
 */
int http_server_serve_fd(struct http_server *s, int fd, const char *tag, struct smx_err *err);
/* [parks] stops accepting, ends idle connections, waits for the busy ones until the deadline, then
 * cancels them. */
void http_server_drain(struct http_server *s, uint64_t deadline_ns);
void http_server_free(struct http_server *s); /* connections left are cancelled */
/* Ends clients that have been idle for more than 10 s, least recently used first, at most n of
 * them: how many. Their descriptors close when the caller parks. */
size_t http_server_shed(struct http_server *s, size_t n);
size_t http_server_connections(const struct http_server *s);

/* --- request
 * --------------------------------------------------------------------------------------------- */

const struct h1_head *http_head(const struct http_exchange *x);
const struct http_peer *http_peer(const struct http_exchange *x);
struct smx_view http_path(
    const struct http_exchange *x); /* of the target, not decoded, without query */
struct smx_view http_query(const struct http_exchange *x); /* without '?'; empty when absent */
struct smx_view http_host(
    const struct http_exchange *x); /* Host field (or the absolute target's) */
struct smx_view http_field(const struct http_exchange *x, const char *name);
/* Decoded query parameter as a string that the caller frees; NULL when absent. -SMX_E_INVALID: bad
 * escape, or given twice. */
int http_query_string(
    const struct http_exchange *x, const char *name, char **ret, struct smx_err *err);
/* 1: there; 0: absent (*ret keeps its value); negative: not an integer in min..max. */
int http_query_u64(const struct http_exchange *x, const char *name, uint64_t min, uint64_t max,
    uint64_t *ret, struct smx_err *err);
int http_query_bool(
    const struct http_exchange *x, const char *name, bool *ret, struct smx_err *err);
/* Memory that lives until the exchange ends; NULL when the heap is empty. */
void *http_alloc(struct http_exchange *x, size_t n);
struct io_loop *http_loop(const struct http_exchange *x);
/* Free slot for the router and for request ids; the exchange does not look at it. */
void http_set_data(struct http_exchange *x, void *data);
void *http_data(const struct http_exchange *x);

/* [parks] 1..n body bytes, 0 at the end, or a negative code. Sends 100 Continue first when asked
 * for. */
ssize_t http_body_read(
    struct http_exchange *x, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err);
/* [parks] the whole body, at most the buffer's maximum (-SMX_E_TOO_LARGE). */
int http_body_all(struct http_exchange *x, struct smx_buf *buf, struct smx_err *err);
/* [parks] moves the rest of the body to a descriptor, by splice where possible; bytes moved or a
 * negative code. idle_ms: without progress. */
int64_t http_body_copy(
    struct http_exchange *x, struct io_fd *to, uint64_t idle_ms, struct smx_err *err);

/* The descriptor that came with the request's head, the caller's from now on; -1: none. */
int http_take_descriptor(struct http_exchange *x);

/* --- reply
 * -----------------------------------------------------------------------------------------------
 */

/* Queues a field for the reply that follows; both are copied. Content-Length, Transfer-Encoding,
 * Connection and Date are the server's. */
void http_add_field(struct http_exchange *x, const char *name, const char *value);
/* [parks] a whole reply. content_type may be NULL. HEAD sends the head only. */
int http_reply(
    struct http_exchange *x, int status, const char *content_type, const void *body, size_t n);
/* A streamed reply. content_length: HTTP_CHUNKED for unknown. Bytes go out with each http_write (no
 * Nagle delay). */
#define HTTP_CHUNKED UINT64_MAX
int http_start(
    struct http_exchange *x, int status, const char *content_type, uint64_t content_length);
/* [parks] while the client is slow; -SMX_E_CLOSED once it left. */
int http_write(struct http_exchange *x, const void *data, size_t n);
/* The same with the first bytes, or the last, in one system call: http_start() and http_write();
 * http_write() and http_finish(). */
int http_start_with(struct http_exchange *x, int status, const char *content_type,
    uint64_t content_length, const void *data, size_t n);
int http_finish_with(struct http_exchange *x, const void *data, size_t n);
/* [parks] n bytes from a file, pipe or socket into a reply of known length, by splice where
 * possible. -SMX_E_CLOSED when the client left or the source ended early. */
int http_write_from(struct http_exchange *x, struct io_fd *from, uint64_t n);
/* [parks] n bytes of a regular file, from offset on, into a reply of known length
 * (io_send_file()). */
int http_write_file(
    struct http_exchange *x, int file, uint64_t offset, uint64_t n, struct io_fd *watch);
/* A reply whose body is left to whoever reads it: its head goes out with the descriptor (borrowed)
 * and says where the body starts and how long it is. Only for a peer on a unix socket that asked
 * for it with the field H1_DESCRIPTOR. Otherwise like http_reply(). [parks] until the peer says
 * something or leaves: as long as it may send from the file its connection is not idle. */
int http_reply_descriptor(struct http_exchange *x, int status, const char *content_type, int file,
    uint64_t offset, uint64_t n);
bool http_wants_descriptor(const struct http_exchange *x);
int http_finish(struct http_exchange *x);
/* Breaks the connection off after a streamed reply went wrong, so that the client sees it was cut.
 */
void http_abort(struct http_exchange *x);
bool http_started(const struct http_exchange *x);
int http_status(const struct http_exchange *x); /* of the reply, 0 before */
uint64_t http_bytes_out(const struct http_exchange *x);

/* The connection, for io_wait(IO_HUP) during silent streams. Bytes a client pipelines meanwhile are
 * not a hang-up. */
struct io_fd *http_fd(struct http_exchange *x);
/* Frees the connection's buffers until they are needed again: call it before a stream goes silent.
 */
void http_trim(struct http_exchange *x);

/* Turns the connection over after "101 Switching Protocols" (fields queued before are sent with it;
 * Upgrade and Connection are the server's). The descriptor stays the exchange's and closes with it;
 * *ret_early are bytes that arrived behind the head, valid until the next call. */
int http_upgrade(struct http_exchange *x, const char *protocol, struct io_fd **ret_fd,
    struct smx_view *ret_early, struct smx_err *err);

/* --- router
 * ---------------------------------------------------------------------------------------------- */

enum { HTTP_PARAMS_MAX = 4, HTTP_SEGMENT_MAX = 1023 };
struct http_params {
    const char *v[HTTP_PARAMS_MAX]; /* decoded {name} segments in order */
    size_t n;
    char text[]; /* of v */
};
/* What to allocate for the parameters of a path (http_alloc); they stay small because they live as
 * long as the exchange. */
size_t http_params_bytes(struct smx_view path);
struct http_route {
    enum h1_method method;
    const char *pattern; /* "/api/sandboxes/{id}/exec" */
    void (*handler)(struct http_exchange *x, const struct http_params *params, void *ctx);
    unsigned flags; /* the table owner's */
};
enum http_match { HTTP_MATCH_OK, HTTP_MATCH_NO_PATH, HTTP_MATCH_NO_METHOD, HTTP_MATCH_BAD_PATH };
/* Finds the row; NO_METHOD fills allow ("GET, POST"). HEAD matches GET rows. params has
 * http_params_bytes(path). */
enum http_match http_route_find(const struct http_route *routes, size_t n, enum h1_method method,
    struct smx_view path, const struct http_route **ret, struct http_params *params, char *allow,
    size_t allow_size);

#endif
