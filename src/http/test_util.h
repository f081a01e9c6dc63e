/* test_util.h - a server under test, raw clients that talk to it, and transcripts of what came
 * back. */
#ifndef SMX_HTTP_TEST_UTIL_H
#define SMX_HTTP_TEST_UTIL_H

#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"
#include "http/server.h"
#include "io/test_util.h"

enum { TRANSCRIPT_MAX = 4 * 1024 * 1024 };

/* A server whose patience is short. */
static inline struct http_server *server_of(http_handler_fn *handler, void *ctx)
{
    struct http_server_config cfg = { .handler = handler,
        .ctx = ctx,
        .head_timeout_ms = 100,
        .idle_timeout_ms = 150,
        .write_timeout_ms = 1000,
        .stream_timeout_ms = 1000,
        .linger_timeout_ms = 100 };
    struct http_server *s = NULL;

    return http_server_new(io_loop_self(), &cfg, &s, /* err= */ NULL) < 0 ? NULL : s;
}

static inline void end_server(struct http_server *s)
{
    http_server_drain(s, smx_now_ns());
    http_server_free(s);
}

/* The client's end of a connection to the server. Another room may run these tests over connections
 * of its own. */
#ifdef SMX_TEST_DIAL
#include SMX_TEST_DIAL
#else
static inline int dial(struct http_server *s, struct io_fd *ret)
{
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -1;
    if (http_server_serve_fd(s, sv[0], "test", /* err= */ NULL) < 0) {
        smx_close(sv[1]);
        return -1;
    }
    return io_fd_init(ret, sv[1], /* err= */ NULL);
}
#endif

static inline int tcp_server(struct http_server *s, uint16_t *port)
{
    char host[64];
    int listener;

    if (io_listen_tcp("127.0.0.1", 0, &listener, NULL) < 0 ||
        io_local_address(listener, host, sizeof host, port, NULL) < 0)
        return -1;
    return http_server_listen(s, listener, "tcp", NULL);
}

static inline int tcp_dial(uint16_t port, struct io_fd *ret)
{
    int fd, r = io_connect_tcp("127.0.0.1", port, &fd, in_ms(1000), NULL);

    return r < 0 ? r : io_fd_init(ret, fd, NULL);
}

static inline int say(struct io_fd *c, const char *text)
{
    return io_write(c, text, strlen(text), 1000, /* err= */ NULL);
}

/* Reads until the other side closes, or nothing comes for a second (then false). */
static inline bool read_to_end(struct io_fd *c, struct smx_buf *out)
{
    ssize_t n;

    do {
        if (smx_buf_reserve(out, 16384) < 0)
            return false;
        n = io_read(c, out->data + out->len, 16384, in_ms(2000), /* err= */ NULL);
        out->len += n > 0 ? (size_t)n : 0;
        out->data[out->len] = '\0';
    } while (n > 0);
    return n == 0;
}

/* Reads until text is there. */
static inline bool read_until(struct io_fd *c, struct smx_buf *out, const char *text)
{
    while (!out->data || !strstr(out->data, text)) {
        ssize_t n;

        if (smx_buf_reserve(out, 4096) < 0)
            return false;
        n = io_read(c, out->data + out->len, 4096, in_ms(2000), /* err= */ NULL);
        if (n <= 0)
            return false;
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
    return true;
}

/* One reply of data as "status:body " in out; bytes used, 0 when it is not whole. */
static inline size_t transcribe_one(
    struct smx_view in, enum h1_method method, bool closed, struct smx_buf *out)
{
    struct h1_field fields[SMX_HTTP_HEADERS_MAX];
    struct h1_head h = { .fields = fields, .room = SMX_HTTP_HEADERS_MAX };
    ptrdiff_t n = h1_parse_reply(in.p, in.n, method, &h, /* err= */ NULL);
    struct smx_view rest;
    struct h1_chunked c;
    size_t used = 0;

    if (n <= 0)
        return 0;
    smx_buf_appendf(out, "%d:", h.status);
    rest = (struct smx_view){ in.p + n, in.n - (size_t)n };
    if (h.framing == H1_CHUNKED) {
        char *body = smx_alloc(rest.n + 1);
        ptrdiff_t made;

        h1_chunked_init(&c);
        made = h1_chunked_read(&c, rest.p, rest.n, body, &used, /* err= */ NULL);
        smx_buf_append(out, body, made > 0 ? (size_t)made : 0);
        smx_buf_append_str(out, c.done ? " " : "(cut) ");
        smx_free(body);
    } else {
        used = h.framing == H1_NO_BODY  ? 0
               : h.framing == H1_LENGTH ? (size_t)h.content_length
                                        : rest.n;
        smx_buf_append(out, rest.p, SMX_MIN(used, rest.n));
        smx_buf_append_str(
            out, used <= rest.n && (h.framing != H1_UNTIL_CLOSE || closed) ? " " : "(cut) ");
        used = SMX_MIN(used, rest.n);
    }
    return (size_t)n + used;
}

/* "200:ok 400:... closed", or "... open" when the server kept the connection. */
static inline void transcribe(
    const struct smx_buf *raw, enum h1_method method, bool closed, struct smx_buf *out)
{
    struct smx_view in = { raw->data, raw->len };
    size_t used;

    while (in.n > 0 && (used = transcribe_one(in, method, closed, out)) > 0) {
        in.p += used;
        in.n -= used;
    }
    if (in.n > 0)
        smx_buf_appendf(out, "garbage(%zu) ", in.n);
    smx_buf_append_str(out, closed ? "closed" : "open");
}

/* Sends n bytes, ends the sending side when asked to, and gives the transcript (owned). */
static inline char *talk_bytes(
    struct http_server *s, const char *text, size_t n, enum h1_method method, bool half_close)
{
    struct io_fd c;
    struct smx_buf raw, out;
    bool closed;

    smx_buf_init(&raw, TRANSCRIPT_MAX);
    smx_buf_init(&out, TRANSCRIPT_MAX);
    if (dial(s, &c) < 0)
        return NULL;
    io_write(&c, text, n, 1000, /* err= */ NULL);
    if (half_close)
        io_close_write(&c);
    closed = read_to_end(&c, &raw);
    transcribe(&raw, method, closed, &out);
    io_fd_done(&c);
    smx_buf_done(&raw);
    return smx_buf_steal(&out);
}

static inline char *talk(struct http_server *s, const char *text)
{
    return talk_bytes(s, text, strlen(text), H1_GET, /* half_close= */ true);
}

/* The text of a reply with its Date line taken out. */
static inline void without_date(struct smx_buf *raw)
{
    char *date = raw->data ? strstr(raw->data, "Date: ") : NULL;
    char *end = date ? strstr(date, "\r\n") : NULL;

    if (!end)
        return;
    memmove(date, end + 2, strlen(end + 2) + 1);
    raw->len = strlen(raw->data);
}

#define ASSERT_TALK(server, text, want)                         \
    do {                                                        \
        SMX_CLEANUP(smx_freep) char *got_ = talk(server, text); \
        ASSERT_STR(got_, want);                                 \
    } while (0)

#endif
