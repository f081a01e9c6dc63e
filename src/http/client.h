/* client.h - HTTP/1.1 client over one connected descriptor (an agent's socket, a port in a
 * sandbox), and the relay of an exchange to it. Not for the internet: that is src/fetch. Replies
 * are parsed as strictly as requests; interim 1xx heads are skipped by http_client_head() except
 * 101. */
#ifndef SMX_HTTP_CLIENT_H
#define SMX_HTTP_CLIENT_H

#include "http/server.h"
#include "http/wire.h"

struct http_client {
    struct io_fd fd;
    struct http_in in;         /* read-ahead; no memory while empty */
    struct http_message reply; /* of the reply being read */
    struct http_body body;
    enum h1_method method;
    uint64_t left_out;   /* of the request body; HTTP_CHUNKED: until http_client_finish() */
    struct io_fd *watch; /* a hang-up there cancels reads; NULL none */
    /* Raw lines that each request carries, in place of fields of the same names that a relay would
     * pass on: what a proxy in between needs. Borrowed; NULL none. */
    const struct smx_buf *always;
    bool sent, reading, keep_alive, failed;
    bool takes_file; /* until the next head: http_client_ask_file() */
    int passed;      /* one more than the descriptor that came with the head; 0: none did */
};
/* Takes fd, also on failure. */
int http_client_init(struct http_client *c, int fd, struct smx_err *err);
void http_client_done(struct http_client *c);
/* A field of that name stands in c->always. */
bool http_client_replaces(const struct http_client *c, struct smx_view name);

/* [parks] sends a head. fields: raw lines made with h1_write_field(), or NULL; without a Host among
 * them "localhost" is sent. content_length: 0, a length, or HTTP_CHUNKED; the framing fields are
 * written here. The reply before must have been read to its end. */
int http_client_send(struct http_client *c, enum h1_method method, struct smx_view target,
    const struct smx_buf *fields, uint64_t content_length, struct smx_err *err);
int http_client_write(struct http_client *c, const void *data, size_t n,
    struct smx_err *err); /* [parks] body bytes */
int http_client_finish(
    struct http_client *c, struct smx_err *err); /* [parks] ends a chunked body */
/* One call for small requests: head and whole body in one write. */
int http_client_send_all(struct http_client *c, enum h1_method method, struct smx_view target,
    const struct smx_buf *fields, const void *body, size_t n, struct smx_err *err);
/* The same with a descriptor (borrowed), for a server on the same machine that takes one:
 * http_client_passes(). */
int http_client_send_with(struct http_client *c, enum h1_method method, struct smx_view target,
    const struct smx_buf *fields, const void *body, size_t n, int fd, struct smx_err *err);
bool http_client_passes(const struct http_client *c);
/* [parks] the reply's head; views live until the next call on c. */
int http_client_head(
    struct http_client *c, struct h1_head *ret, uint64_t deadline_ns, struct smx_err *err);
/* [parks] 1..n body bytes, 0 at the end. A body cut short is -SMX_E_CLOSED. */
ssize_t http_client_read(
    struct http_client *c, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err);
int http_client_read_all(
    struct http_client *c, struct smx_buf *buf, uint64_t deadline_ns, struct smx_err *err);
/* True when the whole reply was read and both sides keep the connection. */
bool http_client_reusable(const struct http_client *c);
/* Releases the buffers of an idle connection. */
void http_client_trim(struct http_client *c);

/* A body in the hands of the kernel: fd is to be closed by who got it. */
struct http_file {
    int fd;
    uint64_t offset, length;
};
/* To be called before a GET is sent to an agent: adds to its fields that its reply may be a file
 * (nothing when no descriptor can come this way: then it will not be one). */
int http_client_ask_file(struct http_client *c, struct smx_buf *fields);
/* After http_client_head(). 1: the body is *ret, checked; send it with http_write_file(), watching
 * c->fd: whoever owns the file is gone when that is. 0: the body follows as always.
 * -SMX_E_UNSUPPORTED: what came cannot be used, ask again for bytes. -SMX_E_PROTOCOL. */
int http_client_file(struct http_client *c, const struct h1_head *head, struct http_file *ret);
void http_client_drop_file(struct http_client *c);

/* Is shown the bytes of both bodies while they pass; neither call parks. A long reply of a known
 * length, which goes from descriptor to descriptor, is not seen. */
struct http_tap {
    void (*request)(struct http_tap *tap, const void *data, size_t n);
    void (*reply)(struct http_tap *tap, const void *data, size_t n);
};

struct http_relay {
    struct smx_view target;    /* what to ask upstream; p NULL: the exchange's own target */
    const struct smx_buf *add; /* more request fields, raw lines; NULL none */
    const char *const
        *drop; /* NULL-terminated request field names to leave out besides hop-by-hop; NULL none */
    struct http_tap *tap;     /* borrowed; NULL none */
    uint64_t head_timeout_ms; /* for the reply's head; 0: none (an app may think for minutes) */
    bool files; /* upstream is an agent: a GET's reply may be a descriptor, which is sent from here
                 */
};
/* [parks] forwards the exchange's request and the reply, streaming both ways at the same time, with
 * back-pressure; upgrades become a two-way byte relay. Client gone: the upstream is dropped at
 * once. A failure before the reply began is returned and nothing was sent (the caller answers):
 * -SMX_E_CANCELLED the client left, -SMX_E_INVALID its body is malformed, -SMX_E_CLOSED,
 * -SMX_E_TIMEOUT or -SMX_E_PROTOCOL the upstream is at fault; a
 * later one aborts the exchange. c is reusable afterwards if http_client_reusable() says so. */
int http_relay(struct http_exchange *x, struct http_client *c, const struct http_relay *opts,
    struct smx_err *err);
/* [parks] bytes both ways until both ends closed their sending side or one broke; early: bytes that
 * a already sent. */
void http_pipe(struct io_fd *a, struct io_fd *b, struct smx_view early);

#endif
