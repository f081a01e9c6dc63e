/* test_h1.c - tables for the parsers: what is read, what is refused and with which status, at every
 * split of the input. */
#include "base/mem.h"
#include "base/test.h"
#include "http/h1.h"

static struct h1_field fields[SMX_HTTP_HEADERS_MAX];

static struct h1_head fresh(void)
{
    return (struct h1_head){ .fields = fields, .room = SMX_ARRAY_LEN(fields) };
}

#define HOST "Host: h\r\n"

/* --- requests that are read --- */

struct good_request {
    const char *text;
    enum h1_method method;
    const char *target;
    int minor;
    enum h1_framing framing;
    uint64_t length;
    bool keep_alive, expect, upgrade;
};

static const struct good_request good_requests[] = {
    { "GET / HTTP/1.1\r\n" HOST "\r\n", H1_GET, "/", 1, H1_NO_BODY, 0, true, false, false },
    { "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", H1_GET, "/", 1, H1_NO_BODY, 0, true, false, false },
    { "GET /a?b=c HTTP/1.0\r\n\r\n", H1_GET, "/a?b=c", 0, H1_NO_BODY, 0, false, false, false },
    { "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", H1_GET, "/", 0, H1_NO_BODY, 0, true,
        false, false },
    { "GET / HTTP/1.1\r\n" HOST "Connection: a, CLOSE ,b\r\n\r\n", H1_GET, "/", 1, H1_NO_BODY, 0,
        false, false, false },
    { "POST /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", H1_POST, "/x", 1, H1_LENGTH, 5, true,
        false, false },
    { "POST /x HTTP/1.1\r\n" HOST "Content-Length:\t 0 \t\r\n\r\n", H1_POST, "/x", 1, H1_LENGTH, 0,
        true, false, false },
    { "POST /x HTTP/1.1\r\n" HOST "content-length:9223372036854775807\r\n\r\n", H1_POST, "/x", 1,
        H1_LENGTH, INT64_MAX, true, false, false },
    { "PUT /x HTTP/1.1\r\n" HOST "TRANSFER-encoding: Chunked\r\n\r\n", H1_PUT, "/x", 1, H1_CHUNKED,
        0, true, false, false },
    { "POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", H1_POST, "/",
        1, H1_LENGTH, 1, true, true, false },
    { "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n", H1_POST, "/", 1, H1_NO_BODY, 0,
        true, false, false },
    { "GET /ws HTTP/1.1\r\n" HOST "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        H1_GET, "/ws", 1, H1_NO_BODY, 0, true, false, true },
    { "GET /ws HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n\r\n", H1_GET, "/ws", 1, H1_NO_BODY, 0,
        true, false, false },
    { "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", H1_OPTIONS, "*", 1, H1_NO_BODY, 0, true, false, false },
    { "GET http://H:80/p HTTP/1.1\r\nHost: h:80\r\n\r\n", H1_GET, "http://H:80/p", 1, H1_NO_BODY, 0,
        true, false, false },
    { "GET http://h HTTP/1.0\r\n\r\n", H1_GET, "http://h", 0, H1_NO_BODY, 0, false, false, false },
    { "PURGE /~a!$&'()*+,;=:@%20\"<>[]{}|^`\\ HTTP/1.1\r\n" HOST "\r\n", H1_OTHER,
        "/~a!$&'()*+,;=:@%20\"<>[]{}|^`\\", 1, H1_NO_BODY, 0, true, false, false },
    { "GET / HTTP/1.1\r\nHost:\r\n\r\n", H1_GET, "/", 1, H1_NO_BODY, 0, true, false, false },
    { "GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", H1_GET, "/", 1, H1_NO_BODY, 0, true, false,
        false },
    { "GET / HTTP/1.1\r\nHost: 5173-i0_a.localhost:65535\r\nX: \xc3\xa4 \t b\r\nEmpty:\r\n\r\n",
        H1_GET, "/", 1, H1_NO_BODY, 0, true, false, false },
};

TEST(requests_are_read)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(good_requests); i++) {
        const struct good_request *g = &good_requests[i];
        struct h1_head head = fresh();
        struct smx_err err = { .code = SMX_OK };
        int status = 0;

        ASSERT_EQ(h1_parse_request(g->text, strlen(g->text), &head, &status, &err),
            (ptrdiff_t)strlen(g->text));
        ASSERT_EQ(head.method, g->method);
        ASSERT_MEM(head.target.p, head.target.n, g->target, strlen(g->target));
        ASSERT_EQ(head.minor, g->minor);
        ASSERT_EQ(head.framing, g->framing);
        ASSERT_EQ(head.content_length, g->length);
        ASSERT_EQ(head.keep_alive, g->keep_alive);
        ASSERT_EQ(head.expect_continue, g->expect);
        ASSERT_EQ(head.upgrade, g->upgrade);
    }
}

/* Every prefix is incomplete, never an error and never complete; surplus is not counted. */
TEST(requests_split_anywhere)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(good_requests); i++) {
        const char *text = good_requests[i].text;
        size_t n = strlen(text);

        for (size_t cut = 0; cut < n; cut++) {
            /* exact heap blocks, so that a sanitizer sees a read past the end */
            char *copy = smx_alloc(cut ? cut : 1);
            struct h1_head head = fresh();
            int status = 0;
            ptrdiff_t r;

            memcpy(copy, text, cut);
            r = h1_parse_request(copy, cut, &head, &status, /* err= */ NULL);
            smx_free(copy);
            if (r != 0)
                smx_test_fail(__FILE__, __LINE__, "request %zu cut at %zu gave %td", i, cut, r);
        }
    }
}

/* --- requests that are refused --- */

struct bad_request {
    const char *name, *text;
    size_t n; /* 0: strlen */
    int status;
};
#define BAD(name, status, text)              \
    {                                        \
        name, text, sizeof(text) - 1, status \
    }

static const struct bad_request bad_requests[] = {
    BAD("Content-Length and Transfer-Encoding", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("Transfer-Encoding and Content-Length", 400,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    BAD("two different Content-Length", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    BAD("two equal Content-Length", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    BAD("a list of Content-Length", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\n"),
    BAD("blank before the colon", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\n"),
    BAD("signed Content-Length", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\n"),
    BAD("negative Content-Length", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\n"),
    BAD("hex Content-Length", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\n"),
    BAD("empty Content-Length", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"),
    BAD("huge Content-Length", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\n"),
    BAD("overflowing Content-Length", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551621\r\n\r\n"),
    BAD("inner blank in Content-Length", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\n"),
    BAD("obs-fold", 400, "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n"),
    BAD("obs-fold by tab", 400, "GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n"),
    BAD("fold before the first field", 400, "GET / HTTP/1.1\r\n " HOST "\r\n"),
    BAD("NUL in a header", 400, "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n"),
    BAD("control byte in a header", 400, "GET / HTTP/1.1\r\n" HOST "X: a\x1b[0m\r\n\r\n"),
    BAD("DEL in a header", 400, "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n"),
    BAD("NUL in a name", 400, "GET / HTTP/1.1\r\n" HOST "X\0: a\r\n\r\n"),
    BAD("two Host headers", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    BAD("two equal Host headers", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    BAD("no Host in 1.1", 400, "GET / HTTP/1.1\r\n\r\n"),
    BAD("two Host headers in 1.0", 400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    BAD("Host with a path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    BAD("Host with userinfo", 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    BAD("Host with a blank", 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    BAD("Host list", 400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
    BAD("Host with a percent", 400, "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n"),
    BAD("Host with a bad port", 400, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    BAD("Host with a port that is no number", 400, "GET / HTTP/1.1\r\nHost: a:8a\r\n\r\n"),
    BAD("Host without a name", 400, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    BAD("Host with an open bracket", 400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    BAD("Host with an empty literal", 400, "GET / HTTP/1.1\r\nHost: []\r\n\r\n"),
    BAD("Host beyond ASCII", 400, "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"),
    BAD("bare CR in a value", 400, "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"),
    BAD("bare CR ends a line", 400, "GET / HTTP/1.1\r\n" HOST "X: a\rY: b\r\n\r\n"),
    BAD("bare LF ends a line", 400, "GET / HTTP/1.1\r\n" HOST "X: a\nY: b\r\n\r\n"),
    BAD("bare LF ends the request line", 400, "GET / HTTP/1.1\nHost: h\r\n\r\n"),
    BAD("bare LF ends the head", 400, "GET / HTTP/1.1\r\n" HOST "\n"),
    BAD("CR CR LF", 400, "GET / HTTP/1.1\r\n" HOST "\r\r\n"),
    BAD("LF before the request", 400, "\nGET / HTTP/1.1\r\n" HOST "\r\n"),
    BAD("two empty lines before the request", 400, "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"),
    BAD("blank in a name", 400, "GET / HTTP/1.1\r\n" HOST "X Y: a\r\n\r\n"),
    BAD("empty name", 400, "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n"),
    BAD("name with a separator", 400, "GET / HTTP/1.1\r\n" HOST "X(1): a\r\n\r\n"),
    BAD("name beyond ASCII", 400, "GET / HTTP/1.1\r\n" HOST "\xc3\xa4: a\r\n\r\n"),
    BAD("line without a colon", 400, "GET / HTTP/1.1\r\n" HOST "Xyz\r\n\r\n"),
    BAD("Transfer-Encoding gzip", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"),
    BAD("Transfer-Encoding gzip, chunked", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    BAD("Transfer-Encoding chunked twice in a list", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    BAD("Transfer-Encoding identity", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n"),
    BAD("Transfer-Encoding xchunked", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"),
    BAD("Transfer-Encoding with a quoted word", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    BAD("Transfer-Encoding empty", 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n"),
    BAD("two Transfer-Encoding", 400,
        "POST / HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("Transfer-Encoding hidden by VT", 400,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\x0b chunked\r\n\r\n"),
    BAD("Transfer-Encoding in 1.0", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("asterisk with GET", 400, "GET * HTTP/1.1\r\n" HOST "\r\n"),
    BAD("target without a slash", 400, "GET index.html HTTP/1.1\r\n" HOST "\r\n"),
    BAD("authority as target", 400, "GET h:80 HTTP/1.1\r\n" HOST "\r\n"),
    BAD("absolute target of another server", 400, "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
    BAD("absolute target with userinfo", 400, "GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("absolute target without a server", 400, "GET http:///x HTTP/1.1\r\n" HOST "\r\n"),
    BAD("absolute target of another scheme", 400, "GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("fragment in the target", 400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n"),
    BAD("control byte in the target", 400, "GET /a\x01 HTTP/1.1\r\n" HOST "\r\n"),
    BAD("NUL in the target", 400, "GET /a\0b HTTP/1.1\r\n" HOST "\r\n"),
    BAD("target beyond ASCII", 400, "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"),
    BAD("blank in the target", 400, "GET /a b HTTP/1.1\r\n" HOST "\r\n"),
    BAD("tab as separator", 400, "GET\t/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("two blanks", 400, "GET  / HTTP/1.1\r\n" HOST "\r\n"),
    BAD("blank behind the version", 400, "GET / HTTP/1.1 \r\n" HOST "\r\n"),
    BAD("blank before the method", 400, " GET / HTTP/1.1\r\n" HOST "\r\n"),
    BAD("empty method", 400, " / HTTP/1.1\r\n" HOST "\r\n"),
    BAD("separator in the method", 400, "G(T / HTTP/1.1\r\n" HOST "\r\n"),
    BAD("endless method", 501, "GETGETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\n" HOST "\r\n"),
    BAD("CONNECT", 501, "CONNECT h:443 HTTP/1.1\r\n" HOST "\r\n"),
    BAD("HTTP/0.9", 400, "GET /\r\n"),
    BAD("HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    BAD("HTTP/1.2", 505, "GET / HTTP/1.2\r\n" HOST "\r\n"),
    BAD("HTTP/01.1", 400, "GET / HTTP/01.1\r\n" HOST "\r\n"),
    BAD("HTTP/1,1", 400, "GET / HTTP/1,1\r\n" HOST "\r\n"),
    BAD("lower-case version", 400, "GET / http/1.1\r\n" HOST "\r\n"),
    BAD("TLS on a plain port", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc"),
    BAD("unknown expectation", 417,
        "POST / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n"),
    BAD("expectation twice", 417,
        "POST / HTTP/1.1\r\n" HOST
        "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
};

TEST(requests_are_refused)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad_requests); i++) {
        const struct bad_request *b = &bad_requests[i];
        struct h1_head head = fresh();
        struct smx_err err = { .code = SMX_OK };
        int status = 0;
        ptrdiff_t r = h1_parse_request(b->text, b->n, &head, &status, &err);

        if (r != -SMX_E_INVALID || status != b->status || err.code != SMX_E_INVALID || !err.msg[0])
            smx_test_fail(__FILE__, __LINE__, "%s: result %td, status %d instead of %d (%s)",
                b->name, r, status, b->status, err.msg);
    }
}

/* However the bytes arrive: incomplete for a while, the same refusal then, never accepted. */
TEST(refused_requests_split_anywhere)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad_requests); i++) {
        const struct bad_request *b = &bad_requests[i];
        bool refused = false;

        for (size_t cut = 0; cut <= b->n; cut++) {
            struct h1_head head = fresh();
            int status = 0;
            ptrdiff_t r = h1_parse_request(b->text, cut, &head, &status, /* err= */ NULL);

            if (r > 0 || (refused && r == 0))
                smx_test_fail(__FILE__, __LINE__, "%s cut at %zu gave %td", b->name, cut, r);
            refused = refused || r < 0;
        }
    }
}

static char *repeat(const char *head, const char *unit, size_t times, const char *tail)
{
    struct smx_buf b;

    smx_buf_init(&b, 1024 * 1024);
    smx_buf_append_str(&b, head);
    for (size_t i = 0; i < times; i++)
        smx_buf_append_str(&b, unit);
    smx_buf_append_str(&b, tail);
    return smx_buf_steal(&b);
}

static void check_status(
    int line, const char *head, const char *unit, size_t times, const char *tail, int expected)
{
    SMX_CLEANUP(smx_freep) char *text = repeat(head, unit, times, tail);
    struct h1_head h = fresh();
    int status = 0;
    ptrdiff_t r = h1_parse_request(text, strlen(text), &h, &status, /* err= */ NULL);

    if (expected ? (r >= 0 || status != expected) : r <= 0)
        smx_test_fail(__FILE__, line, "result %td, status %d, expected %d", r, status, expected);
}

TEST(request_limits)
{
    const char *line = "GET / HTTP/1.1\r\n" HOST;

    check_status(__LINE__, "GET /", "a", SMX_HTTP_TARGET_MAX - 1, " HTTP/1.1\r\n" HOST "\r\n", 0);
    check_status(__LINE__, "GET /", "a", SMX_HTTP_TARGET_MAX, " HTTP/1.1\r\n" HOST "\r\n", 414);
    check_status(__LINE__, "GET /", "a", SMX_HTTP_HEAD_MAX, "", 414);
    check_status(__LINE__, line, "A: b\r\n", SMX_HTTP_HEADERS_MAX - 1, "\r\n", 0);
    check_status(__LINE__, line, "A: b\r\n", SMX_HTTP_HEADERS_MAX, "\r\n", 431);
    check_status(__LINE__, "GET / HTTP/1.1\r\n" HOST "X: ", "a", 64 * 1024, "\r\n\r\n", 0);
    check_status(
        __LINE__, "GET / HTTP/1.1\r\n" HOST "X: ", "a", SMX_HTTP_HEAD_MAX, "\r\n\r\n", 431);
    check_status(__LINE__, "GET / HTTP/1.1\r\n" HOST "X: ", "a", SMX_HTTP_HEAD_MAX, "", 431);
    check_status(__LINE__, "GET / HTTP/1.1\r\n" HOST, "a", SMX_HTTP_HEAD_MAX, "", 431);
}

/* --- replies --- */

struct good_reply {
    const char *text;
    enum h1_method method;
    int status;
    const char *reason;
    enum h1_framing framing;
    uint64_t length;
    bool keep_alive;
};

static const struct good_reply good_replies[] = {
    { "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", H1_GET, 200, "OK", H1_LENGTH, 3, true },
    { "HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n", H1_GET, 200, "", H1_LENGTH, 3, true },
    { "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", H1_GET, 200, "", H1_LENGTH, 3, true },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", H1_POST, 200, "OK", H1_CHUNKED, 0,
        true },
    { "HTTP/1.1 200 OK\r\n\r\n", H1_GET, 200, "OK", H1_UNTIL_CLOSE, 0, false },
    { "HTTP/1.0 200 OK\r\n\r\n", H1_GET, 200, "OK", H1_UNTIL_CLOSE, 0, false },
    { "HTTP/1.1 200 OK\n\n", H1_GET, 200, "OK", H1_UNTIL_CLOSE, 0, false },
    { "HTTP/1.1 200\nX: a\nContent-Length: 3\n\n", H1_GET, 200, "", H1_LENGTH, 3, true },
    { "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 3\r\n\n", H1_GET, 200, "OK", H1_LENGTH, 3, true },
    { "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", H1_GET, 200, "OK", H1_LENGTH, 3, false },
    { "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n", H1_GET, 200, "OK",
        H1_LENGTH, 3, true },
    { "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", H1_GET, 200, "OK",
        H1_LENGTH, 3, false },
    { "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", H1_HEAD, 200, "OK", H1_NO_BODY, 30, true },
    { "HTTP/1.1 200 OK\r\n\r\n", H1_HEAD, 200, "OK", H1_NO_BODY, 0, true },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", H1_HEAD, 200, "OK", H1_NO_BODY, 0,
        true },
    { "HTTP/1.1 204 No Content\r\n\r\n", H1_GET, 204, "No Content", H1_NO_BODY, 0, true },
    { "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", H1_GET, 204, "No Content", H1_NO_BODY,
        0, true },
    { "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", H1_GET, 204, "No Content", H1_NO_BODY,
        9, false },
    { "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", H1_GET, 204, "No Content",
        H1_NO_BODY, 0, false },
    { "HTTP/1.1 304 Not Modified\r\nContent-Length: 30\r\n\r\n", H1_GET, 304, "Not Modified",
        H1_NO_BODY, 30, true },
    { "HTTP/1.1 100 Continue\r\n\r\n", H1_POST, 100, "Continue", H1_NO_BODY, 0, true },
    { "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", H1_GET, 103, "Early Hints", H1_NO_BODY, 0,
        true },
    { "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", H1_GET, 101,
        "Switching", H1_NO_BODY, 0, true },
    { "HTTP/1.1 999 \xe2\x82\xac\r\nContent-Length: 0\r\n\r\n", H1_GET, 999, "\xe2\x82\xac",
        H1_LENGTH, 0, true },
};

TEST(replies_are_read)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(good_replies); i++) {
        const struct good_reply *g = &good_replies[i];
        size_t n = strlen(g->text);
        struct h1_head head = fresh();

        for (size_t cut = 0; cut < n; cut++)
            ASSERT_EQ(h1_parse_reply(g->text, cut, g->method, &head, /* err= */ NULL), 0);
        ASSERT_EQ(h1_parse_reply(g->text, n, g->method, &head, /* err= */ NULL), (ptrdiff_t)n);
        ASSERT_EQ(head.status, g->status);
        ASSERT_MEM(head.reason.p, head.reason.n, g->reason, strlen(g->reason));
        ASSERT_EQ(head.framing, g->framing);
        ASSERT_EQ(head.content_length, g->length);
        ASSERT_EQ(head.keep_alive, g->keep_alive);
    }
}

static const struct bad_request bad_replies[] = {
    BAD("Content-Length and Transfer-Encoding", 0,
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("two different Content-Length", 0,
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    BAD("blank before the colon", 0, "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n"),
    BAD("signed Content-Length", 0, "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n"),
    BAD("obs-fold", 0, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"),
    BAD("NUL in a header", 0, "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"),
    BAD("bare LF and a blank before the colon", 0, "HTTP/1.1 200 OK\nX : a\n\n"),
    BAD("bare LF and a folded line", 0, "HTTP/1.1 200 OK\nX: a\n b\n\n"),
    BAD("two lengths on lines of both kinds", 0,
        "HTTP/1.1 200 OK\r\nContent-Length: 5\nContent-Length: 6\r\n\r\n"),
    BAD("bare CR", 0, "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n"),
    BAD("Transfer-Encoding gzip", 0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    BAD("Transfer-Encoding in 1.0", 0, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("two digits", 0, "HTTP/1.1 20 OK\r\n\r\n"),
    BAD("four digits", 0, "HTTP/1.1 2000 OK\r\n\r\n"),
    BAD("status below 100", 0, "HTTP/1.1 099 OK\r\n\r\n"),
    BAD("two blanks", 0, "HTTP/1.1  200 OK\r\n\r\n"),
    BAD("control byte in the reason", 0, "HTTP/1.1 200 O\x01K\r\n\r\n"),
    BAD("HTTP/2", 0, "HTTP/2 200\r\n\r\n"),
    BAD("HTTP/2.0", 0, "HTTP/2.0 200 OK\r\n\r\n"),
    BAD("no HTTP", 0, "SSH-2.0-OpenSSH\r\n"),
    BAD("HTTP/0.9", 0, "<html></html>"),
};

TEST(replies_are_refused)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad_replies); i++) {
        const struct bad_request *b = &bad_replies[i];
        struct h1_head head = fresh();
        struct smx_err err = { .code = SMX_OK };
        ptrdiff_t r = h1_parse_reply(b->text, b->n, H1_GET, &head, &err);

        if (r != -SMX_E_PROTOCOL || err.code != SMX_E_PROTOCOL)
            smx_test_fail(__FILE__, __LINE__, "%s: %td (%s)", b->name, r, err.msg);
    }
}

TEST(reply_limits)
{
    SMX_CLEANUP(smx_freep)
    char *endless = repeat("HTTP/1.1 200 OK\r\nX: ", "a", SMX_HTTP_HEAD_MAX, "");
    SMX_CLEANUP(smx_freep)
    char *many = repeat("HTTP/1.1 200 OK\r\n", "A: b\r\n", SMX_HTTP_HEADERS_MAX + 1, "\r\n");
    struct h1_head head = fresh();

    ASSERT_EQ(h1_parse_reply(endless, strlen(endless), H1_GET, &head, NULL), -SMX_E_PROTOCOL);
    ASSERT_EQ(h1_parse_reply(many, strlen(many), H1_GET, &head, NULL), -SMX_E_PROTOCOL);
}

/* --- fields --- */

TEST(fields_are_found)
{
    static const char text[] =
        "GET / HTTP/1.1\r\n" HOST
        "Connection: close, X-Secret\r\nconnection: , Te,Host, Content-Length\r\n"
        "X-SECRET: 1\r\nUpgrade: h2c, websocket\r\nEmpty: \r\n\r\n";
    struct h1_head head = fresh();
    int status;

    ASSERT_EQ(h1_parse_request(text, sizeof text - 1, &head, &status, NULL), sizeof text - 1);
    ASSERT_TRUE(smx_view_eq(h1_get(&head, "x-secret"), "1"));
    ASSERT_TRUE(h1_get(&head, "empty").p && h1_get(&head, "empty").n == 0);
    ASSERT_TRUE(h1_get(&head, "absent").p == NULL);
    ASSERT_TRUE(h1_has_token(&head, "Connection", "CLOSE"));
    ASSERT_TRUE(h1_has_token(&head, "connection", "te"));
    ASSERT_TRUE(h1_has_token(&head, "upgrade", "WebSocket"));
    ASSERT_FALSE(h1_has_token(&head, "upgrade", "web"));
    ASSERT_TRUE(h1_hop_by_hop(&head, SMX_VIEW("x-secret")));
    ASSERT_TRUE(h1_hop_by_hop(&head, SMX_VIEW("Transfer-Encoding")));
    ASSERT_TRUE(h1_hop_by_hop(&head, SMX_VIEW("keep-alive")));
    ASSERT_FALSE(h1_hop_by_hop(&head, SMX_VIEW("host"))); /* nobody may drop it by naming it */
    ASSERT_FALSE(h1_hop_by_hop(&head, SMX_VIEW("content-length")));
    ASSERT_FALSE(h1_hop_by_hop(&head, SMX_VIEW("accept")));
}

/* --- chunked --- */

struct chunked_case {
    const char *text, *body;
    size_t rest; /* bytes behind the end */
};

static const struct chunked_case good_chunked[] = {
    { "0\r\n\r\n", "", 0 },
    { "5\r\nhello\r\n0\r\n\r\n", "hello", 0 },
    { "5\r\nhello\r\n06\r\n world\r\n000\r\n\r\nGET", "hello world", 3 },
    { "a;x=y;z=\"q;\"\r\n0123456789\r\n0;last\r\n\r\n", "0123456789", 0 },
    { "A\r\n0123456789\r\n0\r\nTrailer: v\r\nOther:\t\r\n\r\nX", "0123456789", 1 },
};

/* Feeds text in two pieces; -1 when refused, else body bytes. */
static ptrdiff_t feed(
    const char *text, size_t n, size_t cut, char *out, size_t *ret_used, bool *ret_done)
{
    struct h1_chunked c;
    size_t at = 0, made = 0, ends[2] = { cut, n };

    h1_chunked_init(&c);
    for (size_t i = 0; i < 2 && !c.done; i++) {
        size_t used = 0;
        ptrdiff_t r;

        r = h1_chunked_read(&c, text + at, ends[i] - at, out + made, &used, NULL);
        if (r < 0)
            return -1;
        made += (size_t)r;
        at += used;
        if (!c.done && at != ends[i])
            return -2;
    }
    *ret_used = at;
    *ret_done = c.done;
    return (ptrdiff_t)made;
}

TEST(chunked_is_read_at_every_split)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(good_chunked); i++) {
        const struct chunked_case *k = &good_chunked[i];
        size_t n = strlen(k->text);

        for (size_t cut = 0; cut <= n; cut++) {
            char out[256];
            size_t used = 0;
            bool done = false;
            ptrdiff_t r = feed(k->text, n, cut, out, &used, &done);

            ASSERT_MEM(out, (size_t)r, k->body, strlen(k->body));
            ASSERT_TRUE(done);
            ASSERT_EQ(used, n - k->rest);
        }
        for (size_t cut = 0; cut < n - k->rest; cut++) {
            char out[256];
            size_t used = 0;
            bool done = true;

            ASSERT_TRUE(feed(k->text, cut, cut / 2, out, &used, &done) >= 0);
            ASSERT_FALSE(done); /* no prefix is a whole body */
        }
    }
}

TEST(chunked_is_decoded_in_place)
{
    char text[] = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nrest";
    struct h1_chunked c;
    size_t used = 0;

    h1_chunked_init(&c);
    ASSERT_EQ(h1_chunked_read(&c, text, sizeof text - 1, text, &used, NULL), 5);
    ASSERT_MEM(text, 5, "abcde", 5);
    ASSERT_STR(text + used, "rest");
}

static const struct bad_request bad_chunked[] = {
    BAD("0x prefix", 0, "0x5\r\nhello\r\n0\r\n\r\n"),
    BAD("bare LF ends the size", 0, "5\nhello\r\n0\r\n\r\n"),
    BAD("bare CR ends the size", 0, "5\rhello\r\n0\r\n\r\n"),
    BAD("empty size", 0, "\r\nhello\r\n0\r\n\r\n"),
    BAD("sign", 0, "+5\r\nhello\r\n0\r\n\r\n"),
    BAD("negative", 0, "-5\r\nhello\r\n0\r\n\r\n"),
    BAD("blank before", 0, " 5\r\nhello\r\n0\r\n\r\n"),
    BAD("blank behind", 0, "5 \r\nhello\r\n0\r\n\r\n"),
    BAD("blank before an extension", 0, "5 ;a\r\nhello\r\n0\r\n\r\n"),
    BAD("no hex", 0, "g\r\n"),
    BAD("too long a size", 0, "0000000000000005\r\nhello\r\n0\r\n\r\n"),
    BAD("overflowing size", 0, "fffffffffffffffff\r\n"),
    BAD("control byte in an extension", 0, "5;a=\x01\r\nhello\r\n0\r\n\r\n"),
    BAD("LF in an extension", 0, "5;a\nhello\r\n0\r\n\r\n"),
    BAD("NUL in an extension", 0, "5;a\0\r\nhello\r\n0\r\n\r\n"),
    BAD("data longer than its size", 0, "5\r\nhello!\r\n0\r\n\r\n"),
    BAD("data shorter than its size", 0, "6\r\nhello\r\n0\r\n\r\n"),
    BAD("LF behind the data", 0, "5\r\nhello\n0\r\n\r\n"),
    BAD("CR without LF behind the data", 0, "5\r\nhello\r0\r\n\r\n"),
    BAD("another byte for the LF of the size", 0, "5\rXhello\r\n0\r\n\r\n"),
    BAD("another byte for the CR behind the data", 0, "5\r\nhelloX\n0\r\n\r\n"),
    BAD("another byte for the LF behind the data", 0, "5\r\nhello\rX0\r\n\r\n"),
    BAD("another byte for the LF of a trailer", 0, "0\r\nA: b\rX\r\n"),
    BAD("LF ends the body", 0, "0\r\n\n"),
    BAD("bare CR ends the body", 0, "0\r\n\rX"),
    BAD("folded trailer", 0, "0\r\nA: b\r\n c\r\n\r\n"),
    BAD("trailer without a colon", 0, "0\r\nabc\r\n\r\n"),
    BAD("trailer with an empty name", 0, "0\r\n: b\r\n\r\n"),
    BAD("trailer with a blank name", 0, "0\r\nA : b\r\n\r\n"),
    BAD("NUL in a trailer", 0, "0\r\nA: b\0\r\n\r\n"),
    BAD("LF ends a trailer", 0, "0\r\nA: b\n\r\n"),
};

TEST(chunked_is_refused_at_every_split)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad_chunked); i++) {
        const struct bad_request *b = &bad_chunked[i];

        for (size_t cut = 0; cut <= b->n; cut++) {
            char out[256];
            size_t used;
            bool done;

            if (feed(b->text, b->n, cut, out, &used, &done) != -1)
                smx_test_fail(__FILE__, __LINE__, "%s cut at %zu was accepted", b->name, cut);
        }
    }
}

static ptrdiff_t feed_text(char *text)
{
    SMX_CLEANUP(smx_freep) char *owned = text, *out = smx_alloc(strlen(text) + 1);
    size_t used;
    bool done;

    return feed(owned, strlen(owned), 1, out, &used, &done);
}

TEST(chunked_lines_are_bounded)
{
    ASSERT_EQ(feed_text(repeat("1;", "x", 200, "\r\na\r\n0\r\n\r\n")), 1);
    ASSERT_EQ(feed_text(repeat("1;", "x", SMX_HTTP_CHUNK_LINE_MAX, "\r\na\r\n0\r\n\r\n")), -1);
    ASSERT_EQ(feed_text(repeat("0\r\n", "A: b\r\n", 1000, "\r\n")), 0);
    ASSERT_EQ(feed_text(repeat("0\r\n", "A: b\r\n", SMX_HTTP_TRAILER_MAX / 4, "\r\n")), -1);
    ASSERT_EQ(feed_text(repeat("0\r\nA:", "x", SMX_HTTP_TRAILER_MAX, "\r\n\r\n")), -1);
    ASSERT_EQ(feed_text(repeat("0\r\n", "x", SMX_HTTP_TRAILER_MAX + 1, ": b\r\n\r\n")), -1);
}

/* --- query and percent --- */

static void check_decode(int line, struct smx_view in, bool form, const char *want)
{
    struct smx_buf out;
    bool ok;

    smx_buf_init(&out, 64);
    ok = h1_percent_decode(in, form, &out);
    if (ok != (want != NULL) || (want && strcmp(out.data, want) != 0))
        smx_test_fail(
            __FILE__, line, "decoding '%.*s' gave %s", (int)in.n, in.p, ok ? out.data : "an error");
    smx_buf_done(&out);
}

TEST(percent_decoding)
{
    check_decode(__LINE__, SMX_VIEW(""), false, "");
    check_decode(__LINE__, SMX_VIEW("a%2fB%c3%A4+"), false, "a/B\xc3\xa4+");
    check_decode(__LINE__, SMX_VIEW("a+b%2B"), true, "a b+");
    check_decode(__LINE__, SMX_VIEW("%"), false, NULL);
    check_decode(__LINE__, SMX_VIEW("%4"), false, NULL);
    check_decode(__LINE__, SMX_VIEW("%4g"), false, NULL);
    check_decode(__LINE__, SMX_VIEW("%g4"), false, NULL);
    check_decode(__LINE__, SMX_VIEW("%00"), false, NULL);
    check_decode(__LINE__, SMX_VIEW("% 4"), false, NULL);
}

TEST(percent_encoding)
{
    struct smx_buf out;

    smx_buf_init(&out, 64);
    h1_percent_encode(&out, "a/\xc3\xa4 ~%\0", 7, "/");
    ASSERT_STR(out.data, "a/%C3%A4%20~%25");
    smx_buf_reset(&out);
    h1_percent_encode(&out, "/\0", 2, /* keep= */ NULL);
    ASSERT_STR(out.data, "%2F%00");
    smx_buf_done(&out);
}

TEST(query_parameters)
{
    struct smx_view q = SMX_VIEW("a=1&b&&%61=2&c==x&ab=3&d=&a"), v;

    ASSERT_TRUE(h1_query_get(q, "a", 0, &v) && smx_view_eq(v, "1"));
    ASSERT_TRUE(h1_query_get(q, "a", 1, &v) && smx_view_eq(v, "2"));
    ASSERT_TRUE(h1_query_get(q, "a", 2, &v) && v.n == 0);
    ASSERT_FALSE(h1_query_get(q, "a", 3, &v));
    ASSERT_TRUE(h1_query_get(q, "b", 0, &v) && v.n == 0);
    ASSERT_TRUE(h1_query_get(q, "c", 0, &v) && smx_view_eq(v, "=x"));
    ASSERT_TRUE(h1_query_get(q, "d", 0, &v) && v.n == 0);
    ASSERT_FALSE(h1_query_get(q, "", 1, &v));
    ASSERT_FALSE(h1_query_get(SMX_VIEW("%6"), "a", 0, &v));
    ASSERT_FALSE(h1_query_get(SMX_VIEW(""), "a", 0, &v));
}

/* --- writing --- */

TEST(heads_are_written)
{
    struct smx_buf out;

    smx_buf_init(&out, 1024);
    h1_write_status(&out, 404);
    h1_write_field(&out, "X", SMX_VIEW("a b"));
    h1_write_end(&out);
    ASSERT_STR(out.data, "HTTP/1.1 404 Not Found\r\nX: a b\r\n\r\n");
    smx_buf_reset(&out);
    h1_write_status(&out, 599);
    h1_write_request(&out, "GET", SMX_VIEW("/x?y"));
    ASSERT_STR(out.data, "HTTP/1.1 599 \r\nGET /x?y HTTP/1.1\r\n");
    smx_buf_done(&out);
    ASSERT_TRUE(h1_value_valid(SMX_VIEW("a\tb \xff")));
    ASSERT_FALSE(h1_value_valid(SMX_VIEW("a\r\nb")));
    ASSERT_FALSE(h1_value_valid(SMX_VIEW("a\0b")));
    ASSERT_TRUE(h1_token_valid(SMX_VIEW("X-a_b")));
    ASSERT_FALSE(h1_token_valid(SMX_VIEW("")));
    ASSERT_FALSE(h1_token_valid(SMX_VIEW("a:b")));
}
