/* test_handler.h - the handler that the tests of the server ask. */
#ifndef SMX_HTTP_TEST_HANDLER_H
#define SMX_HTTP_TEST_HANDLER_H

#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/test_util.h"

#define HOST "Host: h\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST "\r\n"

struct seen {
    unsigned requests, gone, cancelled, bad_body;
    char last[256];
    struct io_event release;
};

static inline void serve_echo(struct http_exchange *x, struct seen *seen)
{
    struct smx_buf body;
    struct smx_err err = { 0 };
    int r;

    smx_buf_init(&body, 1024 * 1024);
    r = http_body_all(x, &body, &err);
    if (r < 0) {
        seen->bad_body++;
        http_reply(x, r == -SMX_E_TOO_LARGE ? 413 : 400, NULL, "bad", 3);
    } else {
        http_reply(x, 200, "text/plain", body.data, body.len);
    }
    smx_buf_done(&body);
}

static inline void serve_stream(struct http_exchange *x, uint64_t length)
{
    http_start(x, 200, "text/plain", length);
    http_write(x, "one ", 4);
    http_write(x, "", 0);
    http_write(x, "two", 3);
    http_finish(x);
}

/* Silent until the client leaves. */
static inline void serve_silence(struct http_exchange *x, struct seen *seen)
{
    struct io_wait w[2] = { { .fd = http_fd(x), .events = IO_HUP }, { .event = &seen->release } };
    int r;

    http_start(x, 200, "text/event-stream", HTTP_CHUNKED);
    http_write(x, ":\n", 2);
    http_trim(x);
    r = io_wait(w, 2, in_ms(5000));
    seen->gone += r > 0 && w[0].ready;
    seen->cancelled += r == -SMX_E_CANCELLED;
    http_finish(x);
}

static inline void serve_flood(struct http_exchange *x, struct seen *seen)
{
    static char block[65536];
    int r = 0;

    http_start(x, 200, NULL, HTTP_CHUNKED);
    for (int i = 0; i < 1000 && r == 0; i++)
        r = http_write(x, block, sizeof block);
    if (r < 0)
        seen->gone++;
    else
        http_finish(x);
}

static inline void serve_fields(struct http_exchange *x)
{
    http_add_field(x, "X-One", "1");
    http_add_field(x, "Set-Cookie", "a=b");
    http_add_field(x, "Set-Cookie", "c=d");
    http_reply(x, 201, NULL, NULL, 0);
}

static inline void serve_upgrade(struct http_exchange *x)
{
    struct io_fd *fd;
    struct smx_view early;
    struct smx_err err;
    char data[64];
    ssize_t n;

    http_add_field(x, "X-Proto", "1");
    if (http_upgrade(x, "echo", &fd, &early, &err) < 0)
        return;
    io_write(fd, early.p, early.n, 1000, &err);
    while ((n = io_read(fd, data, sizeof data, in_ms(1000), &err)) > 0)
        io_write(fd, data, (size_t)n, 1000, &err);
}

static inline void serve_file(struct http_exchange *x)
{
    struct io_fd file;
    struct smx_err err;
    int fd = memfd_create("test", MFD_CLOEXEC);

    if (write(fd, "0123456789", 10) != 10 || lseek(fd, 2, SEEK_SET) != 2 ||
        io_fd_init(&file, fd, &err) < 0)
        return;
    http_start(x, 200, NULL, 5);
    http_write_from(x, &file, 5);
    http_finish(x);
    io_fd_done(&file);
}

static inline void serve_other(struct http_exchange *x, struct seen *seen)
{
    struct smx_view path = http_path(x);

    if (smx_view_eq(path, "/half")) {
        http_start(x, 200, NULL, 10);
        http_write(x, "half", 4);
    } else if (smx_view_eq(path, "/abort")) {
        http_start(x, 200, NULL, HTTP_CHUNKED);
        http_write(x, "some", 4);
        http_abort(x);
    } else if (smx_view_eq(path, "/empty")) {
        http_reply(x, 204, NULL, NULL, 0);
    } else if (smx_view_eq(path, "/ignore")) {
        http_reply(x, 200, NULL, "ignored", 7);
    } else if (smx_view_eq(path, "/slow")) {
        io_event_wait(&seen->release, in_ms(5000));
        http_reply(x, 200, NULL, "slow", 4);
    } else if (!smx_view_eq(path, "/nothing")) {
        http_reply(x, 404, NULL, "no", 2);
    }
}

static inline void handle(struct http_exchange *x, void *ctx)
{
    struct seen *seen = ctx;
    struct smx_view path = http_path(x);

    seen->requests++;
    smx_view_copy(seen->last, sizeof seen->last, http_head(x)->target);
    if (smx_view_eq(path, "/"))
        http_reply(x, 200, "text/plain", "ok", 2);
    else if (smx_view_eq(path, "/echo"))
        serve_echo(x, seen);
    else if (smx_view_eq(path, "/stream"))
        serve_stream(x, HTTP_CHUNKED);
    else if (smx_view_eq(path, "/length"))
        serve_stream(x, 7);
    else if (smx_view_eq(path, "/silence"))
        serve_silence(x, seen);
    else if (smx_view_eq(path, "/flood"))
        serve_flood(x, seen);
    else if (smx_view_eq(path, "/fields"))
        serve_fields(x);
    else if (smx_view_eq(path, "/upgrade"))
        serve_upgrade(x);
    else if (smx_view_eq(path, "/file"))
        serve_file(x);
    else
        serve_other(x, seen);
}

static struct seen seen;

static inline struct http_server *fresh_server(void)
{
    memset(&seen, 0, sizeof seen);
    io_event_init(&seen.release);
    return server_of(handle, &seen);
}

static inline char *raw_talk(struct http_server *s, const char *text)
{
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    if (dial(s, &c) < 0 || say(&c, text) < 0)
        return NULL;
    io_close_write(&c);
    read_to_end(&c, &raw);
    without_date(&raw);
    io_fd_done(&c);
    return smx_buf_steal(&raw);
}

#define ASSERT_RAW(server, text, want)                              \
    do {                                                            \
        SMX_CLEANUP(smx_freep) char *got_ = raw_talk(server, text); \
        ASSERT_STR(got_, want);                                     \
    } while (0)

#endif
