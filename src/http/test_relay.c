/* test_relay.c - the relay against scripted upstreams: exact bytes. */
#include "http/test_upstream.h"

/* --- heads --- */

FIBER_TEST(hop_by_hop_fields_stay)
{
    static const struct step steps[] = { { "\r\n\r\n",
                                             "HTTP/1.1 200 Fine\r\nConnection: x-up\r\nX-Up: 1\r\n"
                                             "Keep-Alive: 5\r\nServer: app\r\nSet-Cookie: a\r\n"
                                             "set-cookie: b\r\nContent-Length: 2\r\n\r\nok" },
        { NULL, NULL } };
    static const char *const drop[] = { "authorization", NULL };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u, .opts = { .target = SMX_VIEW("/new?a"), .drop = drop } };
    struct http_server *s = server_of(relay_handler, &r);
    struct smx_buf add;
    char *got;

    smx_buf_init(&add, 1024);
    h1_write_field(&add, "X-Added", SMX_VIEW("yes"));
    r.opts.add = &add;
    got = raw_through(s,
        "PURGE /old HTTP/1.1\r\nHost: app:80\r\nConnection: close, X-Drop, host\r\nX-Drop: 1\r\n"
        "Keep-Alive: 1\r\nTE: trailers\r\nProxy-Authorization: s\r\nAuthorization: secret\r\n"
        "Accept: \xc3\xa4\r\n\r\n");
    ASSERT_STR(got, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nServer: app\r\n"
                    "Set-Cookie: a\r\nset-cookie: b\r\n\r\nok");
    ASSERT_STR(u.got.data,
        "PURGE /new?a HTTP/1.1\r\nHost: app:80\r\nAccept: \xc3\xa4\r\nX-Added: yes\r\n\r\n");
    ASSERT_EQ(r.result, 0);
    ASSERT_TRUE(r.reusable);
    smx_free(got);
    smx_buf_done(&add);
    end_relaying(&r, s);
}

/* What a proxy before the upstream needs is sent with each request, and stands for what the client
 * sent under these names. */
FIBER_TEST(fields_of_a_connection_replace_the_clients)
{
    static const struct step steps[] = { { "\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n" },
        { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct smx_buf always;
    struct relaying r = { .up = &u, .always = &always };
    struct http_server *s = server_of(relay_handler, &r);
    char *got;

    smx_buf_init(&always, 1024);
    h1_write_field(&always, "Host", SMX_VIEW("proxy"));
    h1_write_field(&always, "X-Key", SMX_VIEW("ours"));
    got = raw_through(s, "GET / HTTP/1.1\r\nHost: app\r\nx-key: theirs\r\nX-Key2: kept\r\n"
                         "Connection: close\r\n\r\n");
    ASSERT_TRUE(got && smx_starts(got, "HTTP/1.1 204"));
    ASSERT_STR(u.got.data, "GET / HTTP/1.1\r\nHost: proxy\r\nX-Key: ours\r\nX-Key2: kept\r\n\r\n");
    smx_free(got);
    end_relaying(&r, s);
    smx_buf_done(&always);
}

/* A client that half-closes has left, as far as a relay can tell; so these keep their side open. */
static char *through(struct http_server *s, const char *text)
{
    return talk_bytes(s, text, strlen(text), H1_GET, /* half_close= */ false);
}

#define ASSERT_THROUGH(server, text, want)                         \
    do {                                                           \
        SMX_CLEANUP(smx_freep) char *got_ = through(server, text); \
        ASSERT_STR(got_, want);                                    \
    } while (0)

FIBER_TEST(absolute_targets_become_paths)
{
    static const struct step steps[] = { { "\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n" },
        { "GET /p", "HTTP/1.1 204 No Content\r\n\r\n" }, { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);

    ASSERT_THROUGH(s,
        "GET http://h?x HTTP/1.1\r\n" HOST "\r\nGET HTTP://h/p?x=/ HTTP/1.1\r\n" HOST "\r\n",
        "204: 204: closed");
    ASSERT_STR(u.got.data, "GET /?x HTTP/1.1\r\n" HOST "\r\nGET /p?x=/ HTTP/1.1\r\n" HOST "\r\n");
    end_relaying(&r, s);
}

/* HEAD keeps its Content-Length, nothing follows it, and both connections go on; 204 and 304, too.
 */
FIBER_TEST(bodiless_replies_keep_both_connections)
{
    static const struct step steps[] = { { "HEAD / HTTP/1.1\r\n" HOST "\r\n",
                                             "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" },
        { "GET /a HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n" },
        { "GET /b HTTP/1.1\r\n" HOST "\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"x\"\r\n\r\n" },
        { "GET /c HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend" },
        { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);
    char *got = raw_through(s,
        "HEAD / HTTP/1.1\r\n" HOST "\r\nGET /a HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST
        "\r\nGET /c HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");

    ASSERT_STR(got, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
                    "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"
                    "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"x\"\r\n\r\n"
                    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend");
    ASSERT_EQ(r.dials, 1);
    smx_free(got);
    end_relaying(&r, s);
}

/* --- framing --- */

struct framing_case {
    const char *request, *reply, *want; /* want: bytes to the client */
    bool reusable;
};

static const struct framing_case framing_cases[] = {
    { GET, "HTTP/1.1 200 OK\nX: a\nContent-Length: 4\n\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: a\r\n\r\nabcd", true },
    { GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true },
    { GET, "HTTP/1.0 200 OK\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false },
    { "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", true },
    { "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", true },
    { GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false },
    /* bytes behind the reply are somebody's second reply: the connection is not used again */
    { GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false },
    { GET, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", true },
    { GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n", true },
    { "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", true },
};

FIBER_TEST(replies_are_framed_anew)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(framing_cases); i++) {
        const struct framing_case *k = &framing_cases[i];
        const struct step steps[] = { { "\r\n\r\n", k->reply }, { NULL, NULL } };
        struct upstream u = scripted(steps, /* keep_open= */ false);
        struct relaying r = { .up = &u };
        struct http_server *s = server_of(relay_handler, &r);
        char *got = raw_through(s, k->request);

        if (!got || strcmp(got, k->want) != 0 || r.result != 0)
            smx_test_fail(__FILE__, __LINE__, "case %zu: %d, %s", i, r.result, got ? got : "-");
        /* The upstream closes: a reusable connection was one before it did. */
        ASSERT_TRUE(k->reusable || !r.open);
        smx_free(got);
        end_relaying(&r, s);
    }
}

/* Bytes behind a reply would be the next client's reply. */
FIBER_TEST(a_connection_with_surplus_bytes_is_not_used_again)
{
    static const struct step steps[] = { { "\r\n\r\n",
                                             "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
                                             "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" },
        { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);

    ASSERT_THROUGH(s, GET, "200:abc closed");
    ASSERT_FALSE(r.reusable);
    end_relaying(&r, s);
}

static const struct framing_case bad_replies[] = {
    { "", "", "502:connection_closed", false },
    { "", "HTTP/1.1 200 OK\r\nContent-", "502:connection_closed", false },
    { "", "SSH-2.0\r\n", "502:protocol_error", false },
    { "", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "502:protocol_error", false },
    { "", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        "502:protocol_error", false },
    { "", "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nabcd", "502:protocol_error", false },
    { "", "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nabcd", "502:protocol_error", false },
    { "", "HTTP/1.1 200 OK\nContent-Length : 4\n\nabcd", "502:protocol_error", false },
    { "", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "502:protocol_error", false },
    { "", "HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "502:protocol_error",
        false },
    /* too late for a status: the client sees that it was cut */
    { "", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", "200:ab(cut) closed", false },
    { "", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "200:ab(cut) closed",
        false },
    { "", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        "200:(cut) closed", false },
    { "", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n",
        "200:(cut) closed", false },
};

FIBER_TEST(bad_replies_are_502_or_cut)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad_replies); i++) {
        const struct step steps[] = { { "\r\n\r\n", bad_replies[i].reply }, { NULL, NULL } };
        struct upstream u = scripted(steps, /* keep_open= */ false);
        struct relaying r = { .up = &u };
        struct http_server *s = server_of(relay_handler, &r);
        char *got = through(s, GET);

        if (!got || !smx_starts(got, bad_replies[i].want) || r.result >= 0 || r.reusable)
            smx_test_fail(__FILE__, __LINE__, "case %zu: %d, %s", i, r.result, got ? got : "-");
        smx_free(got);
        end_relaying(&r, s);
    }
}

FIBER_TEST(a_silent_upstream_times_out)
{
    struct upstream u = scripted(NULL, /* keep_open= */ true);
    struct relaying r = { .up = &u, .opts = { .head_timeout_ms = 30 } };
    struct http_server *s = server_of(relay_handler, &r);

    ASSERT_THROUGH(s, GET, "502:timeout closed");
    end_relaying(&r, s);
}

/* --- request bodies --- */

FIBER_TEST(request_bodies_are_framed_anew)
{
    static const struct step steps[] = { { "\r\n\r\nhello",
                                             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1" },
        { "0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2" },
        { "Content-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3" },
        { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);

    ASSERT_THROUGH(s,
        "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"
        "POST /2 HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: x\r\n\r\n"
        "POST /3 HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
        "200:1 200:2 200:3 closed");
    ASSERT_TRUE(
        smx_starts(u.got.data, "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"
                               "POST /2 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"));
    ASSERT_TRUE(
        smx_ends(u.got.data, "0\r\n\r\nPOST /3 HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"));
    ASSERT_TRUE(strstr(u.got.data, "x=y") == NULL && strstr(u.got.data, "T: x") == NULL);
    ASSERT_EQ(r.dials, 1);
    end_relaying(&r, s);
}

FIBER_TEST(continue_goes_end_to_end)
{
    static const struct step steps[] = { { "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
                                             "HTTP/1.1 100 Continue\r\n\r\n" },
        { "hello", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }, { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(
        say(&c, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"), 0);
    ASSERT_TRUE(read_until(&c, &raw, "HTTP/1.1 100 Continue\r\n\r\n"));
    ASSERT_EQ(say(&c, "hello"), 0);
    ASSERT_TRUE(read_until(&c, &raw, "\r\n\r\nok"));
    ASSERT_TRUE(r.reusable && r.result == 0);
    io_fd_done(&c);
    smx_buf_done(&raw);
    end_relaying(&r, s);
}

FIBER_TEST(an_expectation_may_be_refused)
{
    static const struct step steps[] = { { "Content-Length: 5\r\n\r\n",
                                             "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n" },
        { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);
    char *got = raw_through(
        s, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");

    ASSERT_STR(
        got, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    ASSERT_FALSE(r.reusable);
    smx_free(got);
    end_relaying(&r, s);
}

/* The upstream answers before it has read the body, and hangs up: the answer arrives. */
FIBER_TEST(an_early_answer_arrives)
{
    static const struct step steps[] = { { "\r\n\r\n", "HTTP/1.1 413 No\r\nConnection: close\r\n"
                                                       "Content-Length: 3\r\n\r\nbig" },
        { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ false);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);
    struct smx_buf text, raw;
    struct io_fd c;

    smx_buf_init(&text, TRANSCRIPT_MAX * 2);
    smx_buf_init(&raw, 65536);
    smx_buf_append_str(&text, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n");
    smx_buf_reserve(&text, 3000000);
    memset(text.data + text.len, 'x', 3000000);
    text.len += 3000000;
    ASSERT_EQ(dial(s, &c), 0);
    io_write(&c, text.data, text.len, 1000, NULL);
    ASSERT_TRUE(read_until(&c, &raw, "\r\n\r\nbig"));
    ASSERT_TRUE(smx_starts(raw.data, "HTTP/1.1 413 "));
    ASSERT_FALSE(r.reusable);
    io_fd_done(&c);
    smx_buf_done(&text);
    smx_buf_done(&raw);
    end_relaying(&r, s);
}

FIBER_TEST(a_bad_request_body_is_the_clients_fault)
{
    struct upstream u = scripted(NULL, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);

    ASSERT_THROUGH(s,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "400:invalid_request closed");
    end_relaying(&r, s);
}

/* --- streams --- */

FIBER_TEST(events_go_out_at_once_and_a_leaving_client_drops_the_upstream)
{
    static const struct step steps[] = {
        { "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n6\r\ndata: \r\n" },
        { NULL, NULL }
    };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, GET), 0);
    ASSERT_TRUE(read_until(&c, &raw, "6\r\ndata: \r\n"));
    ASSERT_FALSE(u.ended);
    io_fd_done(&c);
    for (int i = 0; i < 100 && !u.ended; i++)
        io_sleep_until(in_ms(5));
    ASSERT_TRUE(u.ended);
    smx_buf_done(&raw);
    end_relaying(&r, s);
}

/* The same while a large body is spliced from an upstream that has stopped. */
FIBER_TEST(a_leaving_client_is_seen_in_a_large_body)
{
    static const struct step steps[] = { { "\r\n\r\n",
                                             "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" },
        { NULL, "begin" }, { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);
    struct smx_buf raw;
    struct io_fd c;
    uint16_t port;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(tcp_server(s, &port), 0);
    ASSERT_EQ(tcp_dial(port, &c), 0);
    ASSERT_EQ(say(&c, GET), 0);
    ASSERT_TRUE(read_until(&c, &raw, "begin"));
    io_sleep_until(in_ms(20));
    ASSERT_FALSE(u.ended);
    io_fd_done(&c);
    for (int i = 0; i < 100 && !u.ended; i++)
        io_sleep_until(in_ms(5));
    ASSERT_TRUE(u.ended);
    smx_buf_done(&raw);
    end_relaying(&r, s);
}

FIBER_TEST(a_leaving_client_is_seen_before_the_answer)
{
    struct upstream u = scripted(NULL, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);
    struct io_fd c;

    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, GET), 0);
    io_sleep_until(in_ms(20));
    io_fd_done(&c);
    for (int i = 0; i < 100 && !u.ended; i++)
        io_sleep_until(in_ms(5));
    ASSERT_TRUE(u.ended);
    ASSERT_EQ(r.result, -SMX_E_CANCELLED);
    end_relaying(&r, s);
}

/* --- upgrades --- */

FIBER_TEST(upgrades_are_piped_with_early_bytes_of_both_sides)
{
    static const struct step steps[] = { { "Upgrade: websocket\r\n\r\n",
                                             "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\n"
                                             "Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"
                                             "\r\nfirst" },
        { "early", "second" }, { "later", "third" }, { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, 65536);
    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "GET /ws HTTP/1.1\r\n" HOST
                      "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                      "Sec-WebSocket-Key: k\r\n\r\nearly"),
        0);
    ASSERT_TRUE(read_until(&c, &raw, "second"));
    ASSERT_EQ(say(&c, "later"), 0);
    ASSERT_TRUE(read_until(&c, &raw, "third"));
    ASSERT_FALSE(u.ended);
    io_close_write(&c); /* passed on: the upstream ends, and so does this side */
    ASSERT_TRUE(read_to_end(&c, &raw));
    ASSERT_STR(raw.data,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Accept: x\r\n\r\nfirstsecondthird");
    ASSERT_STR(u.got.data,
        "GET /ws HTTP/1.1\r\n" HOST
        "Sec-WebSocket-Key: k\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearlylater");
    ASSERT_EQ(r.result, 0);
    io_fd_done(&c);
    smx_buf_done(&raw);
    end_relaying(&r, s);
}

FIBER_TEST(an_upgrade_may_be_declined)
{
    static const struct step steps[] = { { "\r\n\r\n",
                                             "HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno" },
        { "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" },
        { NULL, NULL } };
    struct upstream u = scripted(steps, /* keep_open= */ true);
    struct relaying r = { .up = &u };
    struct http_server *s = server_of(relay_handler, &r);

    ASSERT_THROUGH(s,
        "GET /ws HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" GET,
        "426:no 200:ok closed");
    end_relaying(&r, s);
}
