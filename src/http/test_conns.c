/* test_conns.c - the server's connections: streams and clients that leave, limits, draining, what
 * an exchange knows of its request, the router, and failing memory. */
#include "http/test_handler.h"

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
