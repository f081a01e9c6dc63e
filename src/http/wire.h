/* wire.h - bytes read ahead from a connection, and heads read from it; both sides of HTTP use it. A
 * buffer is held only while there are bytes in it: an idle connection has none. Private to
 * src/http, but for struct http_in, which is embedded. */
#ifndef SMX_HTTP_WIRE_H
#define SMX_HTTP_WIRE_H

#include "http/h1.h"
#include "io/io.h"

enum { HTTP_POOL_SIZE = 16 * 1024, HTTP_BLOCK_SIZE = 64 * 1024 };

/* Buffers of HTTP_POOL_SIZE, a few of them kept by each thread for its next request. NULL when the
 * heap is empty. */
char *http_pool_get(void);
void http_pool_put(char *buffer); /* accepts NULL */
/* The same of HTTP_BLOCK_SIZE, for moving bodies. */
char *http_block_get(void);
void http_block_put(char *buffer);
/* A buffer for a head, from the pool; appends may grow it up to max. */
int http_pool_buf_init(struct smx_buf *b, size_t max);
void http_pool_buf_done(struct smx_buf *b);

/* Bytes data[pos..len) were read and not used yet. */
struct http_in {
    char *data; /* NULL while empty */
    size_t pos, len, cap;
    size_t scanned; /* bytes the head parser has seen without a result */
    bool readable;  /* a wait said so, and nothing was read since */
};

static inline size_t http_in_size(const struct http_in *in)
{
    return in->len - in->pos;
}
static inline struct smx_view http_in_view(const struct http_in *in)
{
    return (struct smx_view){ in->data ? in->data + in->pos : "", in->len - in->pos };
}
void http_in_done(struct http_in *in);
/* Drops n bytes from the front; gives the buffer back with the last one. */
void http_in_consume(struct http_in *in, size_t n);
/* Moves up to n bytes out. */
size_t http_in_take(struct http_in *in, void *data, size_t n);
/* Puts bytes that were read too far before nothing else: in must be empty. 0 or
 * -SMX_E_NO_MEMORY. */
int http_in_put_back(struct http_in *in, const char *data, size_t n);
/* Cuts the buffer down to what is in it. */
void http_in_trim(struct http_in *in);
/* [parks] until fd has something to read: 0; or a negative code. watch (or NULL): a hang-up there
 * ends the wait with -SMX_E_CANCELLED. */
int http_in_wait(struct http_in *in, struct io_fd *fd, struct io_fd *watch, uint64_t deadline_ns,
    struct smx_err *err);
/* [parks] reads what is there: bytes, 0 at EOF, or a negative code. */
ssize_t http_in_fill(struct http_in *in, struct io_fd *fd, struct io_fd *watch,
    uint64_t deadline_ns, struct smx_err *err);

/* A parsed head that owns its text: one block of fields and bytes. */
struct http_message {
    struct h1_head head;
    void *block;
};
void http_message_done(struct http_message *m);

struct http_head_want {
    bool reply;
    enum h1_method method; /* of the request, when it is a reply */
    struct io_fd *watch;
    uint64_t deadline_ns; /* for the whole head */
    int *passed; /* one more than a descriptor that comes with it, the first one; NULL: they are
                    dropped */
};
/* [parks] reads a head: 1, 0 at EOF before its first byte, or a negative code; *ret_status is then
 * what a server answers (0: nothing, the connection is gone). */
int http_in_head(struct http_in *in, struct io_fd *fd, const struct http_head_want *want,
    struct http_message *ret, int *ret_status, struct smx_err *err);

/* What is left of a message body. */
struct http_body {
    enum h1_framing framing;
    uint64_t left; /* H1_LENGTH */
    struct h1_chunked chunked;
    bool done, failed;
};
void http_body_init(struct http_body *b, const struct h1_head *head);
/* [parks] 1..n bytes of the body, 0 at its end, or a negative code: -SMX_E_CLOSED when it is cut
 * short, -SMX_E_PROTOCOL when its framing is broken. */
ssize_t http_body_fetch(struct http_body *b, struct http_in *in, struct io_fd *fd,
    struct io_fd *watch, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err);

#endif
