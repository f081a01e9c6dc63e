/* test_server.c - the server against raw bytes: every probe of docs/protocols/http.md by name,
 * limits, deadlines, streams, draining, and failing memory. */
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/test_util.h"

#define HOST "Host: h\r\n"

/* --- the handler under test --- */

struct seen {
    unsigned requests, gone, cancelled, bad_body;
    char last[256];
    struct io_event release;
};

static void serve_echo(struct http_exchange *x, struct seen *seen)
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

static void serve_stream(struct http_exchange *x, uint64_t length)
{
    http_start(x, 200, "text/plain", length);
    http_write(x, "one ", 4);
    http_write(x, "", 0);
    http_write(x, "two", 3);
    http_finish(x);
}

/* Silent until the client leaves. */
static void serve_silence(struct http_exchange *x, struct seen *seen)
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

static void serve_flood(struct http_exchange *x, struct seen *seen)
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

static void serve_fields(struct http_exchange *x)
{
    http_add_field(x, "X-One", "1");
    http_add_field(x, "Set-Cookie", "a=b");
    http_add_field(x, "Set-Cookie", "c=d");
    http_reply(x, 201, NULL, NULL, 0);
}

static void serve_upgrade(struct http_exchange *x)
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

static void serve_file(struct http_exchange *x)
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

static void serve_other(struct http_exchange *x, struct seen *seen)
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

static void handle(struct http_exchange *x, void *ctx)
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

static struct http_server *fresh_server(void)
{
    memset(&seen, 0, sizeof seen);
    io_event_init(&seen.release);
    return server_of(handle, &seen);
}

/* --- the probe table --- */

struct probe {
    const char *name, *text;
    size_t n;
    const char *want; /* beginning of the transcript */
    unsigned requests;
};
#define PROBE(name, text, want, requests)            \
    {                                                \
        name, text, sizeof(text) - 1, want, requests \
    }
#define SMUGGLED "GET /smuggled HTTP/1.1\r\n" HOST "\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST "\r\n"

static const struct probe probes[] = {
    PROBE("Content-Length + Transfer-Encoding",
        "POST /echo HTTP/1.1\r\n" HOST
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "400:", 0),
    PROBE("two different Content-Length",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 39\r\n\r\n" SMUGGLED,
        "400:", 0),
    PROBE("Content-Length : 5",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nhello" SMUGGLED, "400:", 0),
    PROBE("Content-Length: +5",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello" SMUGGLED, "400:", 0),
    PROBE("obs-fold", "GET / HTTP/1.1\r\n" HOST "X: a\r\n Y: b\r\n\r\n" SMUGGLED, "400:", 0),
    PROBE("NUL in a header", "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n" SMUGGLED, "400:", 0),
    PROBE("two Host headers", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" SMUGGLED, "400:", 0),
    PROBE("chunk size 0x5",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" SMUGGLED,
        "400:bad closed", 1),
    PROBE("bare LF ends a chunk size",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" SMUGGLED,
        "400:bad closed", 1),
    PROBE("bad chunks that the handler does not read",
        "POST /ignore HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" SMUGGLED,
        "200:ignored closed", 1),
    PROBE("10 pipelined GETs", GET GET GET GET GET GET GET GET GET GET,
        "200:ok 200:ok 200:ok 200:ok 200:ok 200:ok 200:ok 200:ok 200:ok 200:ok closed", 10),
    PROBE("chunked request body",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n"
        "Trailer: x\r\n\r\n" GET,
        "200:hello world 200:ok closed", 2),
    PROBE("pipelined bodies",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab"
        "POST /ignore HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nGET /"
        "POST /ignore HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n" GET,
        "200:ab 200:ignored 200:ignored 200:ok closed", 4),
    PROBE("HTTP/0.9", "GET /\r\n", "400:", 0),
    PROBE("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505:", 0),
    PROBE("CONNECT", "CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n", "501:", 0),
    PROBE("bare LF line ends", "GET / HTTP/1.1\nHost: h\n\n", "400:", 0),
    PROBE("bare CR line ends", "GET / HTTP/1.1\rHost: h\r\r", "400:", 0),
    PROBE("no Host", "GET / HTTP/1.1\r\n\r\n", "400:", 0),
    PROBE("Host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400:", 0),
    PROBE("TE gzip", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", "501:", 0),
    PROBE("chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400:", 0),
    PROBE("fragment", "GET /#a HTTP/1.1\r\n" HOST "\r\n", "400:", 0),
    PROBE("bytes beyond ASCII", "GET /\xff HTTP/1.1\r\n" HOST "\r\n", "400:", 0),
    PROBE("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400:", 0),
    PROBE(
        "a good request before a bad one", GET "GET / HTTP/9.9\r\n\r\n" SMUGGLED, "200:ok 505:", 1),
    PROBE("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n" SMUGGLED, "200:ok closed", 1),
    PROBE("HTTP/1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET,
        "200:ok 200:ok closed", 2),
    PROBE("Connection: close", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" SMUGGLED,
        "200:ok closed", 1),
    PROBE("a body that ends early",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nhello", "400:bad closed", 1),
    PROBE("a head that ends early", "GET / HTTP/1.1\r\n" HOST, "closed", 0),
    PROBE("nothing", "", "closed", 0),
};

FIBER_TEST(probes_are_answered_as_documented)
{
    struct http_server *s = fresh_server();

    for (size_t i = 0; i < SMX_ARRAY_LEN(probes); i++) {
        const struct probe *p = &probes[i];
        char *got;

        seen.requests = 0;
        got = talk_bytes(s, p->text, p->n, H1_GET, /* half_close= */ true);
        if (!got || !smx_starts(got, p->want) || !smx_ends(got, "closed") ||
            seen.requests != p->requests)
            smx_test_fail(__FILE__, __LINE__, "%s: %s, %u requests, last %s", p->name,
                got ? got : "(none)", seen.requests, seen.last);
        smx_free(got);
    }
    end_server(s);
}

/* A refusal closes the connection by itself, also when the client keeps its side open. */
FIBER_TEST(refusals_close)
{
    struct http_server *s = fresh_server();
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    char *got = talk_bytes(s, text, sizeof text - 1, H1_GET, /* half_close= */ false);

    ASSERT_TRUE(
        got && smx_starts(got, "400:400 Bad Request: Host stands") && smx_ends(got, "closed"));
    smx_free(got);
    end_server(s);
}

/* The answer to a bad head is not lost to a reset although megabytes follow. */
FIBER_TEST(refusals_arrive_while_the_client_is_sending)
{
    struct http_server *s = fresh_server();
    struct smx_buf text;
    char *got;

    smx_buf_init(&text, 4 * 1024 * 1024);
    smx_buf_append_str(&text, "POST / HTTP/1.1\r\n" HOST "Content-Length: +1000000\r\n\r\n");
    smx_buf_reserve(&text, 1000000);
    memset(text.data + text.len, 'x', 1000000);
    text.len += 1000000;
    got = talk_bytes(s, text.data, text.len, H1_GET, /* half_close= */ true);
    ASSERT_TRUE(got && smx_starts(got, "400:") && smx_ends(got, " closed"));
    smx_free(got);
    smx_buf_done(&text);
    end_server(s);
}

/* What follows a chunked body in the same packet is the next request. */
FIBER_TEST(nothing_behind_a_chunked_body_is_lost)
{
    struct http_server *s = fresh_server();
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), 0);
    io_sleep_until(in_ms(10));
    ASSERT_EQ(say(&c, "3\r\nabc\r\n0\r\n\r\n" GET), 0);
    ASSERT_TRUE(read_until(&c, &raw, "\r\n\r\nok"));
    ASSERT_TRUE(strstr(raw.data, "\r\n\r\nabcHTTP/1.1 200 OK\r\n") != NULL);
    io_fd_done(&c);
    smx_buf_done(&raw);
    end_server(s);
}

FIBER_TEST(large_heads_are_refused)
{
    struct http_server *s = fresh_server();
    struct smx_buf text;
    char *got;

    smx_buf_init(&text, 1024 * 1024);
    smx_buf_append_str(&text, "GET / HTTP/1.1\r\n" HOST "X: ");
    while (text.len < 100 * 1024)
        smx_buf_append_str(&text, "0123456789");
    got = talk_bytes(s, text.data, text.len, H1_GET, /* half_close= */ false);
    ASSERT_TRUE(got && smx_starts(got, "431:") && smx_ends(got, "closed"));
    smx_free(got);
    text.len = 90 * 1024;
    smx_buf_append_str(&text, "\r\n\r\n");
    got = talk_bytes(s, text.data, text.len, H1_GET, /* half_close= */ true);
    ASSERT_STR(got, "200:ok closed");
    smx_free(got);
    smx_buf_reset(&text);
    smx_buf_append_str(&text, "GET /");
    while (text.len < 40 * 1024)
        smx_buf_append_str(&text, "0123456789");
    got = talk_bytes(s, text.data, text.len, H1_GET, /* half_close= */ false);
    ASSERT_TRUE(got && smx_starts(got, "414:"));
    smx_free(got);
    smx_buf_done(&text);
    end_server(s);
}

/* --- deadlines --- */

FIBER_TEST(a_silent_client_is_told_and_closed)
{
    struct http_server *s = fresh_server();
    char *got = talk_bytes(s, "", 0, H1_GET, /* half_close= */ false);

    ASSERT_TRUE(got && smx_starts(got, "408:") && smx_ends(got, "closed"));
    smx_free(got);
    end_server(s);
}

/* Slowloris: bytes keep coming, the deadline of the head does not move. */
FIBER_TEST(a_trickled_head_is_cut)
{
    static const char text[] = "GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct http_server *s = fresh_server();
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        if (io_write(&c, text + i, 1, 1000, NULL) < 0)
            break;
        io_sleep_until(in_ms(10));
    }
    ASSERT_TRUE(read_to_end(&c, &raw));
    ASSERT_TRUE(smx_starts(raw.data, "HTTP/1.1 408 "));
    ASSERT_EQ(seen.requests, 0);
    io_fd_done(&c);
    smx_buf_done(&raw);
    end_server(s);
}

/* A head in many small pieces is read all the same. */
FIBER_TEST(a_head_in_pieces_is_read)
{
    struct http_server *s = fresh_server();
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    for (const char *p = GET; *p; p++) {
        ASSERT_EQ(io_write(&c, p, 1, 1000, NULL), 0);
        io_yield();
        io_yield();
    }
    ASSERT_TRUE(read_until(&c, &raw, "\r\n\r\nok"));
    io_fd_done(&c);
    smx_buf_done(&raw);
    end_server(s);
}

FIBER_TEST(an_idle_connection_is_closed_silently)
{
    struct http_server *s = fresh_server();
    char *got = talk_bytes(s, GET, sizeof GET - 1, H1_GET, /* half_close= */ false);

    ASSERT_STR(got, "200:ok closed");
    smx_free(got);
    end_server(s);
}

/* --- replies --- */

FIBER_TEST(a_reply_is_what_it_should_be)
{
    struct http_server *s = fresh_server();
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "GET /fields HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), 0);
    ASSERT_TRUE(read_to_end(&c, &raw));
    ASSERT_TRUE(strstr(raw.data, "\r\nDate: ") != NULL && strstr(raw.data, " GMT\r\n") != NULL);
    without_date(&raw);
    ASSERT_STR(raw.data,
        "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\nX-One: 1\r\n"
        "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n");
    io_fd_done(&c);
    smx_buf_done(&raw);
    end_server(s);
}

static char *raw_talk(struct http_server *s, const char *text)
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

FIBER_TEST(head_has_the_head_only)
{
    struct http_server *s = fresh_server();

    ASSERT_RAW(s, "HEAD / HTTP/1.1\r\n" HOST "\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n");
    ASSERT_RAW(s, "HEAD /length HTTP/1.1\r\n" HOST "\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\n");
    ASSERT_RAW(s, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
    ASSERT_RAW(
        s, "HEAD /file HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    ASSERT_RAW(s, "GET /empty HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 204 No Content\r\n\r\n");
    end_server(s);
}

FIBER_TEST(streams)
{
    struct http_server *s = fresh_server();

    ASSERT_TALK(s, "GET /stream HTTP/1.1\r\n" HOST "\r\n" GET, "200:one two 200:ok closed");
    ASSERT_TALK(s, "GET /length HTTP/1.1\r\n" HOST "\r\n" GET, "200:one two 200:ok closed");
    ASSERT_RAW(s, "GET /stream HTTP/1.1\r\n" HOST "\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        "4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n");
    ASSERT_RAW(s, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\none two");
    ASSERT_TALK(s, "GET /file HTTP/1.1\r\n" HOST "\r\n" GET, "200:23456 200:ok closed");
    end_server(s);
}

FIBER_TEST(broken_handlers_are_seen_as_broken)
{
    struct http_server *s = fresh_server();
    char *got = talk(s, "GET /nothing HTTP/1.1\r\n" HOST "\r\n" GET);

    ASSERT_TRUE(got && smx_starts(got, "500:") && smx_ends(got, " 200:ok closed"));
    smx_free(got);
    ASSERT_TALK(s, "GET /half HTTP/1.1\r\n" HOST "\r\n" GET, "200:half(cut) closed");
    ASSERT_TALK(s, "GET /abort HTTP/1.1\r\n" HOST "\r\n" GET, "200:some(cut) closed");
    end_server(s);
}

FIBER_TEST(an_aborted_reply_without_framing_is_reset)
{
    struct http_server *s = fresh_server();
    struct smx_buf raw;
    struct io_fd c;
    struct smx_err err = { 0 };
    char data[1024];
    ssize_t n;
    uint16_t port;
    char host[64];
    int listener, fd;

    smx_buf_init(&raw, 65536);
    ASSERT_OK(io_listen_tcp("127.0.0.1", 0, &listener, &err), &err);
    ASSERT_OK(io_local_address(listener, host, sizeof host, &port, &err), &err);
    ASSERT_OK(http_server_listen(s, listener, "tcp", &err), &err);
    ASSERT_OK(io_connect_tcp(host, port, &fd, in_ms(1000), &err), &err);
    ASSERT_OK(io_fd_init(&c, fd, &err), &err);
    ASSERT_EQ(say(&c, "GET /abort HTTP/1.0\r\n\r\n"), 0);
    while ((n = io_read(&c, data, sizeof data, in_ms(2000), &err)) > 0)
        continue;
    ASSERT_EQ(n, -SMX_E_CLOSED);
    io_fd_done(&c);
    end_server(s);
}

/* --- request bodies --- */

FIBER_TEST(expect_100_continue)
{
    struct http_server *s = fresh_server();
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(
        say(&c, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
        0);
    ASSERT_TRUE(read_until(&c, &raw, "100 Continue\r\n\r\n"));
    ASSERT_EQ(say(&c, "hello" GET), 0);
    io_close_write(&c);
    ASSERT_TRUE(read_to_end(&c, &raw));
    ASSERT_TRUE(strstr(raw.data, "\r\n\r\nhelloHTTP/1.1 200 OK") != NULL);
    io_fd_done(&c);
    smx_buf_done(&raw);
    /* who does not want the body says so, and does not wait for it */
    ASSERT_RAW(s,
        "POST /ignore HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nignored");
    end_server(s);
}

FIBER_TEST(a_body_beyond_the_limit_is_413_and_the_answer_arrives)
{
    struct http_server *s = fresh_server();
    struct smx_buf text, raw;
    struct io_fd c;

    smx_buf_init(&text, 8 * 1024 * 1024);
    smx_buf_init(&raw, 65536);
    smx_buf_append_str(&text, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4194304\r\n\r\n");
    smx_buf_reserve(&text, 4194304);
    memset(text.data + text.len, 'x', 4194304);
    text.len += 4194304;
    ASSERT_EQ(dial(s, &c), 0);
    io_write(&c, text.data, text.len, 1000, NULL);
    io_close_write(&c);
    ASSERT_TRUE(read_to_end(&c, &raw));
    ASSERT_TRUE(smx_starts(raw.data, "HTTP/1.1 413 ") && smx_ends(raw.data, "\r\n\r\nbad"));
    ASSERT_TRUE(strstr(raw.data, "Connection: close\r\n") != NULL);
    io_fd_done(&c);
    smx_buf_done(&raw);
    smx_buf_done(&text);
    end_server(s);
}

FIBER_TEST(a_chunked_body_beyond_the_limit_is_413)
{
    struct http_server *s = fresh_server();
    struct smx_buf text;
    char *got;

    smx_buf_init(&text, 8 * 1024 * 1024);
    smx_buf_append_str(&text, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 150000; i++)
        smx_buf_append_str(&text, "a\r\n0123456789\r\n");
    smx_buf_append_str(&text, "0\r\n\r\n");
    got = talk_bytes(s, text.data, text.len, H1_GET, /* half_close= */ true);
    ASSERT_STR(got, "413:bad closed");
    smx_free(got);
    smx_buf_done(&text);
    end_server(s);
}

/* --- streams and clients that leave --- */

FIBER_TEST(a_client_that_leaves_a_silent_stream_is_seen)
{
    struct http_server *s = fresh_server();
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "GET /silence HTTP/1.1\r\n" HOST "\r\n"), 0);
    ASSERT_TRUE(read_until(&c, &raw, ":\n"));
    ASSERT_EQ(say(&c, GET), 0); /* pipelined bytes are no hang-up */
    io_sleep_until(in_ms(20));
    ASSERT_EQ(seen.gone, 0);
    io_fd_done(&c);
    for (int i = 0; i < 100 && http_server_connections(s) > 0; i++)
        io_sleep_until(in_ms(5));
    ASSERT_EQ(seen.gone, 1);
    ASSERT_EQ(http_server_connections(s), 0);
    smx_buf_done(&raw);
    end_server(s);
}

FIBER_TEST(a_reader_that_never_reads_stops_the_writer)
{
    struct http_server *s = fresh_server();
    struct io_fd c;

    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "GET /flood HTTP/1.1\r\n" HOST "\r\n"), 0);
    io_sleep_until(in_ms(50));
    ASSERT_EQ(http_server_connections(s), 1);
    ASSERT_EQ(seen.gone, 0);
    io_fd_done(&c);
    for (int i = 0; i < 100 && http_server_connections(s) > 0; i++)
        io_sleep_until(in_ms(5));
    ASSERT_EQ(seen.gone, 1);
    end_server(s);
}

FIBER_TEST(a_reader_that_never_reads_is_given_up_in_the_end)
{
    struct http_server *s = fresh_server();
    struct io_fd c;

    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "GET /flood HTTP/1.1\r\n" HOST "\r\n"), 0);
    for (int i = 0; i < 500 && http_server_connections(s) > 0; i++)
        io_sleep_until(in_ms(10));
    ASSERT_EQ(seen.gone, 1);
    io_fd_done(&c);
    end_server(s);
}

FIBER_TEST(upgrades_keep_early_bytes)
{
    struct http_server *s = fresh_server();

    ASSERT_RAW(s,
        "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: echo\r\n\r\nearly",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n"
        "X-Proto: 1\r\n\r\nearly");
    end_server(s);
}

/* --- the set of connections --- */

FIBER_TEST(drain_ends_idle_and_waits_for_busy)
{
    struct http_server *s = fresh_server();
    struct smx_buf raw;
    struct io_fd idle, busy;
    char data[16];

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &idle), 0);
    ASSERT_EQ(dial(s, &busy), 0);
    ASSERT_EQ(say(&busy, "GET /slow HTTP/1.1\r\n" HOST "\r\n"), 0);
    io_sleep_until(in_ms(20));
    ASSERT_EQ(http_server_connections(s), 2);
    io_event_set(&seen.release);
    http_server_drain(s, in_ms(5000));
    ASSERT_EQ(http_server_connections(s), 0);
    ASSERT_EQ(io_read(&idle, data, sizeof data, in_ms(1000), NULL), 0);
    ASSERT_TRUE(read_to_end(&busy, &raw));
    ASSERT_TRUE(strstr(raw.data, "Connection: close\r\n") && smx_ends(raw.data, "slow"));
    io_fd_done(&idle);
    io_fd_done(&busy);
    smx_buf_done(&raw);
    http_server_free(s);
}

FIBER_TEST(drain_cancels_what_does_not_end)
{
    struct http_server *s = fresh_server();
    struct io_fd c;

    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "GET /silence HTTP/1.1\r\n" HOST "\r\n"), 0);
    io_sleep_until(in_ms(20));
    http_server_drain(s, in_ms(20));
    ASSERT_EQ(seen.cancelled, 1);
    ASSERT_EQ(http_server_connections(s), 0);
    io_fd_done(&c);
    http_server_free(s);
}

FIBER_TEST(free_without_drain_ends_connections)
{
    struct http_server *s = fresh_server();
    struct io_fd c;
    char data[4096];
    ssize_t n;

    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "GET /silence HTTP/1.1\r\n" HOST "\r\n"), 0);
    io_sleep_until(in_ms(20));
    http_server_free(s);
    while ((n = io_read(&c, data, sizeof data, in_ms(1000), NULL)) > 0)
        continue;
    ASSERT_EQ(n, 0);
    io_fd_done(&c);
}

static void handle_peer(struct http_exchange *x, void *ctx)
{
    const struct http_peer *p = http_peer(x);
    char text[128];

    snprintf(text, sizeof text, "%s %d %d %s", p->unix_socket ? "unix" : p->address, p->loopback,
        p->unix_socket && p->uid == getuid() && p->pid == getpid(), p->tag);
    http_reply(x, 200, NULL, text, strlen(text));
}

FIBER_TEST(peers_are_known)
{
    struct http_server *s = server_of(handle_peer, NULL);
    struct smx_buf raw;
    struct io_fd c;
    uint16_t port;

    ASSERT_TALK(s, GET, "200:unix 0 1 test closed");
    ASSERT_EQ(tcp_server(s, &port), 0);
    ASSERT_EQ(tcp_dial(port, &c), 0);
    smx_buf_init(&raw, 65536);
    ASSERT_EQ(say(&c, GET), 0);
    ASSERT_TRUE(read_until(&c, &raw, "\r\n\r\n127.0.0.1 1 0 tcp"));
    io_fd_done(&c);
    smx_buf_done(&raw);
    end_server(s);
}

FIBER_TEST(connections_of_one_peer_are_bounded)
{
    struct http_server_config cfg = { .handler = handle, .ctx = &seen, .connections_per_peer = 2 };
    struct http_server *s = NULL;
    struct smx_buf raw;
    struct io_fd c[3];
    uint16_t port;

    ASSERT_EQ(http_server_new(io_loop_self(), &cfg, &s, NULL), 0);
    ASSERT_EQ(tcp_server(s, &port), 0);
    smx_buf_init(&raw, 65536);
    for (int i = 0; i < 3; i++)
        ASSERT_EQ(tcp_dial(port, &c[i]), 0);
    ASSERT_TRUE(read_to_end(&c[2], &raw));
    ASSERT_TRUE(smx_starts(raw.data, "HTTP/1.1 503 "));
    ASSERT_EQ(http_server_connections(s), 2);
    io_fd_done(&c[0]);
    io_fd_done(&c[2]);
    io_sleep_until(in_ms(20));
    ASSERT_EQ(tcp_dial(port, &c[0]), 0); /* there is room again */
    smx_buf_reset(&raw);
    ASSERT_EQ(say(&c[0], GET), 0);
    ASSERT_TRUE(read_until(&c[0], &raw, "\r\n\r\nok"));
    io_fd_done(&c[0]);
    io_fd_done(&c[1]);
    smx_buf_done(&raw);
    end_server(s);
}

static struct http_server *shedding_server(uint64_t idle_ms)
{
    struct http_server_config cfg = { .handler = handle, .ctx = &seen, .shed_idle_ms = idle_ms };
    struct http_server *s = NULL;

    memset(&seen, 0, sizeof seen);
    io_event_init(&seen.release);
    return http_server_new(io_loop_self(), &cfg, &s, NULL) < 0 ? NULL : s;
}

FIBER_TEST(who_was_active_lately_is_not_shed)
{
    struct http_server *s = shedding_server(3600 * 1000);
    struct io_fd c;

    ASSERT_EQ(dial(s, &c), 0);
    io_sleep_until(in_ms(5));
    ASSERT_EQ(http_server_shed(s, 1), 0);
    io_fd_done(&c);
    end_server(s);
}

FIBER_TEST(the_longest_idle_is_shed_first)
{
    struct http_server *s = shedding_server(1);
    struct smx_buf raw;
    struct io_fd c[3];
    char data[16];

    smx_buf_init(&raw, 65536);
    for (int i = 0; i < 3; i++) {
        ASSERT_EQ(dial(s, &c[i]), 0);
        io_sleep_until(in_ms(2));
    }
    ASSERT_EQ(say(&c[0], "GET /silence HTTP/1.1\r\n" HOST "\r\n"), 0);
    ASSERT_TRUE(read_until(&c[0], &raw, ":\n"));
    io_sleep_until(in_ms(10));
    ASSERT_EQ(http_server_shed(s, 1), 1);
    ASSERT_EQ(io_read(&c[1], data, sizeof data, in_ms(1000), NULL), 0);
    ASSERT_EQ(http_server_connections(s), 2);
    ASSERT_EQ(http_server_shed(s, 5), 1); /* the busy one stays */
    ASSERT_EQ(io_read(&c[2], data, sizeof data, in_ms(1000), NULL), 0);
    ASSERT_EQ(http_server_connections(s), 1);
    for (int i = 0; i < 3; i++)
        io_fd_done(&c[i]);
    smx_buf_done(&raw);
    end_server(s);
}

/* Without descriptors a newcomer gets 503 instead of silence, and accepting goes on afterwards. */
FIBER_TEST(out_of_descriptors_is_503)
{
    struct http_server *s = fresh_server();
    struct rlimit old, low;
    struct smx_buf raw;
    struct io_fd c, d;
    uint16_t port;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(tcp_server(s, &port), 0);
    ASSERT_EQ(tcp_dial(port, &c), 0);
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){ .rlim_cur = (rlim_t)c.fd + 1, .rlim_max = old.rlim_max };
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    ASSERT_TRUE(read_to_end(&c, &raw));
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    ASSERT_TRUE(smx_starts(raw.data, "HTTP/1.1 503 "));
    smx_buf_reset(&raw);
    ASSERT_EQ(tcp_dial(port, &d), 0);
    ASSERT_EQ(say(&d, GET), 0);
    ASSERT_TRUE(read_until(&d, &raw, "\r\n\r\nok"));
    io_fd_done(&c);
    io_fd_done(&d);
    smx_buf_done(&raw);
    end_server(s);
}

/* --- errors in the wire's own shape --- */

static void error_body(
    int status, const char *message, struct smx_buf *out, const char **ret_type, void *ctx)
{
    *ret_type = "application/json";
    smx_buf_appendf(out, "{\"code\":%d}", status);
}

FIBER_TEST(errors_have_the_shape_of_the_wire)
{
    struct http_server_config cfg = {
        .handler = handle, .ctx = &seen, .server_name = "sandmux", .error_body = error_body
    };
    struct http_server *s = NULL;

    ASSERT_EQ(http_server_new(io_loop_self(), &cfg, &s, NULL), 0);
    ASSERT_RAW(s, "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nServer: sandmux\r\nContent-Type: application/json\r\n"
        "Content-Length: 12\r\nConnection: close\r\n\r\n{\"code\":400}");
    end_server(s);
}

/* --- request accessors --- */

static void handle_query(struct http_exchange *x, void *ctx)
{
    char text[512], *name = NULL;
    uint64_t n = 7;
    bool flag = false;
    struct smx_err err = { 0 };
    int a = http_query_string(x, "name", &name, &err);
    int b = http_query_u64(x, "n", 1, 100, &n, &err);
    int c = http_query_bool(x, "flag", &flag, &err);
    struct smx_view host = http_host(x), path = http_path(x);

    snprintf(text, sizeof text, "%.*s %.*s %d:%s %d:%d %d:%d", (int)host.n, host.p, (int)path.n,
        path.p, a, name ? name : "-", b, (int)n, c, flag);
    smx_free(name);
    http_reply(x, 200, NULL, text, strlen(text));
}

FIBER_TEST(query_and_target)
{
    struct http_server *s = server_of(handle_query, NULL);

    ASSERT_TALK(s, "GET /p?name=a%20b+c&n=42&flag=true HTTP/1.1\r\n" HOST "\r\n",
        "200:h /p 0:a b c 1:42 1:1 closed");
    ASSERT_TALK(
        s, "GET http://H:1/x?n=1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "200:H:1 /x 0:- 1:1 0:0 closed");
    ASSERT_TALK(s, "GET http://h?n=1 HTTP/1.1\r\n" HOST "\r\n", "200:h / 0:- 1:1 0:0 closed");
    ASSERT_TALK(s, "GET /p HTTP/1.0\r\n\r\n", "200: /p 0:- 0:7 0:0 closed");
    ASSERT_TALK(
        s, "GET /p?name=%zz&n=0&flag=2 HTTP/1.1\r\n" HOST "\r\n", "200:h /p -1:- -1:7 -1:0 closed");
    ASSERT_TALK(s, "GET /p?name=a&name=b&n=1&n=1&flag HTTP/1.1\r\n" HOST "\r\n",
        "200:h /p -1:- -1:7 -1:0 closed");
    end_server(s);
}

/* --- router --- */

static const struct http_route routes[] = {
    { H1_GET, "/", NULL, 0 },
    { H1_GET, "/a", NULL, 1 },
    { H1_POST, "/a", NULL, 2 },
    { H1_GET, "/a/{x}", NULL, 3 },
    { H1_DELETE, "/a/{x}/b/{y}", NULL, 4 },
    { H1_GET, "/a/{x}/b", NULL, 5 },
};

static void check_route(int line, enum h1_method m, const char *path, enum http_match want,
    unsigned flags, const char *detail)
{
    struct http_params *p = smx_alloc(http_params_bytes(smx_view_of(path)));
    const struct http_route *row = NULL;
    char allow[64] = "";
    enum http_match got = http_route_find(
        routes, SMX_ARRAY_LEN(routes), m, smx_view_of(path), &row, p, allow, sizeof allow);

    if (got != want || (got == HTTP_MATCH_OK && row->flags != flags) ||
        (got == HTTP_MATCH_OK && detail && strcmp(p->v[p->n - 1], detail) != 0) ||
        (got == HTTP_MATCH_NO_METHOD && strcmp(allow, detail) != 0))
        smx_test_fail(__FILE__, line, "%s: match %d, row %u, allow '%s'", path, (int)got,
            row ? row->flags : 99, allow);
    smx_free(p);
}

TEST(routes_are_found)
{
    char path[HTTP_SEGMENT_MAX + 64] = "/a/";

    check_route(__LINE__, H1_GET, "/", HTTP_MATCH_OK, 0, NULL);
    check_route(__LINE__, H1_POST, "/a", HTTP_MATCH_OK, 2, NULL);
    check_route(__LINE__, H1_HEAD, "/a", HTTP_MATCH_OK, 1, NULL);
    check_route(__LINE__, H1_GET, "/a/x%2Fy%20z", HTTP_MATCH_OK, 3, "x/y z");
    check_route(__LINE__, H1_DELETE, "/a/1/b/%C3%A4", HTTP_MATCH_OK, 4, "\xc3\xa4");
    check_route(__LINE__, H1_GET, "/a/..", HTTP_MATCH_OK, 3, ".."); /* the owner's to judge */
    check_route(__LINE__, H1_PUT, "/a", HTTP_MATCH_NO_METHOD, 0, "GET, HEAD, POST");
    check_route(__LINE__, H1_GET, "/b", HTTP_MATCH_NO_PATH, 0, NULL);
    check_route(__LINE__, H1_GET, "/a/", HTTP_MATCH_NO_PATH, 0, NULL);
    check_route(__LINE__, H1_GET, "//a", HTTP_MATCH_NO_PATH, 0, NULL);
    check_route(__LINE__, H1_GET, "/a/x/b/", HTTP_MATCH_NO_PATH, 0, NULL);
    check_route(__LINE__, H1_GET, "/%61", HTTP_MATCH_NO_PATH, 0, NULL);
    check_route(__LINE__, H1_GET, "/a/%00", HTTP_MATCH_BAD_PATH, 0, NULL);
    check_route(__LINE__, H1_GET, "/a/%4", HTTP_MATCH_BAD_PATH, 0, NULL);
    check_route(__LINE__, H1_GET, "/a/%zz", HTTP_MATCH_BAD_PATH, 0, NULL);
    check_route(__LINE__, H1_GET, "*", HTTP_MATCH_BAD_PATH, 0, NULL);
    memset(path + 3, 'x', HTTP_SEGMENT_MAX);
    check_route(__LINE__, H1_GET, path, HTTP_MATCH_OK, 3, path + 3);
    path[3 + HTTP_SEGMENT_MAX] = 'x';
    check_route(__LINE__, H1_GET, path, HTTP_MATCH_BAD_PATH, 0, NULL);
}

/* --- failing memory --- */

/* The n-th allocation fails: an error or a closed connection, never a crash, a hang or a leak. */
FIBER_TEST(failing_memory)
{
    static const char text[] = GET "POST /echo HTTP/1.1\r\n" HOST
                                   "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                                   "GET /fields HTTP/1.1\r\n" HOST "\r\n"
                                   "GET /stream HTTP/1.1\r\n" HOST "\r\n";

    for (unsigned n = 1; n < 60; n++) {
        struct http_server *s = fresh_server();
        struct io_fd c;
        char data[4096];

        ASSERT_EQ(dial(s, &c), 0);
        ASSERT_EQ(say(&c, text), 0);
        io_close_write(&c);
        smx_mem_fail_after(n);
        while (io_read(&c, data, sizeof data, in_ms(2000), NULL) > 0)
            continue;
        smx_mem_fail_after(0);
        io_fd_done(&c);
        end_server(s);
    }
}
