/* test_server.c - the server against raw bytes: every probe of docs/protocols/http.md by name,
 * deadlines, replies and request bodies. */
#include "http/test_handler.h"

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
