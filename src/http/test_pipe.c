/* test_pipe.c - relay and pipes with large and concurrent bodies, through our own server as the
 * upstream; the client by itself; failing memory. */
#include "http/test_upstream.h"

/* --- large bodies, through our own server as the upstream --- */

enum { LARGE = 3 * 1000 * 1000 };

/* Bytes that differ everywhere, so that a lost or doubled piece shows. */
static char pattern(size_t i)
{
    return (char)(i * 2654435761u >> 13);
}

static void fill_pattern(char *data, size_t n, size_t at)
{
    for (size_t i = 0; i < n; i++)
        data[i] = pattern(at + i);
}

/* /echo sends back what comes while it comes, /get sends LARGE bytes, /sum counts. */
static void up_handler(struct http_exchange *x, void *ctx)
{
    char data[8192], text[64];
    size_t total = 0, wrong = 0;
    ssize_t n = 1;
    bool echo = smx_view_eq(http_path(x), "/echo");

    if (smx_view_starts(http_path(x), "/get")) {
        http_start(x, 200, NULL, smx_view_eq(http_query(x), "chunked") ? HTTP_CHUNKED : LARGE);
        for (; total < LARGE; total += (size_t)n) {
            n = (ssize_t)SMX_MIN(sizeof data, LARGE - total);
            fill_pattern(data, (size_t)n, total);
            http_write(x, data, (size_t)n);
        }
        http_finish(x);
        return;
    }
    if (echo)
        http_start(x, 200, NULL, HTTP_CHUNKED);
    while ((n = http_body_read(x, data, sizeof data, in_ms(2000), NULL)) > 0) {
        for (ssize_t i = 0; i < n && !echo; i++)
            wrong += data[i] != pattern(total + (size_t)i);
        total += (size_t)n;
        if (echo)
            http_write(x, data, (size_t)n);
    }
    snprintf(text, sizeof text, "%zu %zu %zd", total, wrong, n);
    if (echo)
        http_finish(x);
    else
        http_reply(x, 200, NULL, text, strlen(text));
}

struct sender {
    struct io_fd *c;
    const char *head;
    bool chunked;
};

static void send_main(void *arg)
{
    struct sender *w = arg;
    size_t step = 10000, n;
    char *data = smx_alloc(step + 32);

    say(w->c, w->head);
    for (size_t at = 0; at < LARGE; at += n) {
        char line[16];

        n = SMX_MIN(step, LARGE - at);
        snprintf(line, sizeof line, "%zx\r\n", n);
        if (w->chunked)
            say(w->c, line);
        fill_pattern(data, n, at);
        if (io_write(w->c, data, n, 2000, NULL) < 0)
            break;
        if (w->chunked)
            say(w->c, "\r\n");
    }
    if (w->chunked)
        say(w->c, "0\r\n\r\n");
    smx_free(data);
}

static char *exchange_large(const char *head, bool chunked, struct relaying *r, size_t times)
{
    struct http_server *s = server_of(relay_handler, r);
    struct smx_buf raw, out;
    struct io_fd c;
    struct sender w = { &c, head, chunked };
    bool closed;

    r->upserver = server_of(up_handler, NULL);
    smx_buf_init(&raw, 8 * LARGE);
    smx_buf_init(&out, 8 * LARGE);
    if (dial(s, &c) < 0)
        return NULL;
    for (size_t i = 0; i < times; i++) {
        if (smx_starts(head, "GET"))
            say(&c, head);
        else
            spawn("sender", send_main, &w);
        if (i + 1 < times)
            read_until(&c, &raw, " 0 0");
    }
    closed = read_to_end(&c, &raw);
    transcribe(&raw, H1_GET, closed, &out);
    io_fd_done(&c);
    smx_buf_done(&raw);
    end_relaying(r, s);
    return smx_buf_steal(&out);
}

FIBER_TEST(large_uploads_arrive_whole)
{
    struct relaying r = { .open = false };
    char *got = exchange_large(
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n", false, &r, 2);

    ASSERT_STR(got, "200:3000000 0 0 200:3000000 0 0 closed");
    ASSERT_TRUE(r.reusable && r.dials == 1);
    smx_free(got);
    memset(&r, 0, sizeof r);
    got = exchange_large(
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", true, &r, 2);
    ASSERT_STR(got, "200:3000000 0 0 200:3000000 0 0 closed");
    ASSERT_TRUE(r.reusable && r.dials == 1);
    smx_free(got);
}

static void check_large(int line, const char *head, bool chunked)
{
    struct relaying r = { .open = false };
    char *got = exchange_large(head, chunked, &r, 1);
    size_t n = got ? strlen(got) : 0;

    /* the pattern has NULs, so look at the bytes: "200:" pattern " closed" */
    n = 4 + LARGE + 7;
    if (!got || memcmp(got, "200:", 4) != 0 || memcmp(got + n - 7, " closed", 7) != 0)
        smx_test_fail(__FILE__, line, "%s: %.40s", head, got ? got : "-");
    for (size_t i = 0; got && i < LARGE; i++) {
        if (got[4 + i] != pattern(i)) {
            smx_test_fail(__FILE__, line, "%s: byte %zu differs", head, i);
            break;
        }
    }
    if (!r.reusable || r.result != 0)
        smx_test_fail(__FILE__, line, "%s: result %d", head, r.result);
    smx_free(got);
}

FIBER_TEST(large_downloads_arrive_whole)
{
    check_large(__LINE__, "GET /get HTTP/1.1\r\n" HOST "\r\n", false);
    check_large(__LINE__, "GET /get?chunked HTTP/1.1\r\n" HOST "\r\n", false);
    check_large(__LINE__, "GET /get?chunked HTTP/1.0\r\n\r\n", false);
}

/* Both directions are full at the same time: neither may wait for the other. */
FIBER_TEST(bodies_flow_both_ways_at_once)
{
    check_large(__LINE__, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n", false);
    check_large(
        __LINE__, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", true);
}

/* --- pipes --- */

struct piped {
    struct io_fd a, b;
    bool ended;
};

static void pipe_main(void *arg)
{
    struct piped *p = arg;

    http_pipe(&p->a, &p->b, SMX_VIEW("early "));
    io_fd_done(&p->a);
    io_fd_done(&p->b);
    p->ended = true;
}

static void echo_main(void *arg)
{
    struct io_fd *fd = arg;
    char data[5000];
    ssize_t n;

    while ((n = io_read(fd, data, sizeof data, in_ms(2000), NULL)) > 0)
        if (io_write(fd, data, (size_t)n, 2000, NULL) < 0)
            break;
    shutdown(fd->fd, SHUT_WR);
}

static bool make_pipe(struct piped *p, struct io_fd *left, struct io_fd *right)
{
    int a[2], b[2];

    p->ended = false;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a) == 0 &&
           socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b) == 0 &&
           io_fd_init(left, a[0], NULL) == 0 && io_fd_init(&p->a, a[1], NULL) == 0 &&
           io_fd_init(&p->b, b[0], NULL) == 0 && io_fd_init(right, b[1], NULL) == 0;
}

static void write_pattern(void *arg)
{
    struct io_fd *fd = arg;
    char *data = smx_alloc(LARGE);

    fill_pattern(data, LARGE, 0);
    io_write(fd, data, LARGE, 2000, NULL);
    shutdown(fd->fd, SHUT_WR);
    smx_free(data);
}

FIBER_TEST(pipes_carry_both_ways_and_half_closes)
{
    struct piped p;
    struct io_fd left, right;
    struct smx_buf got;

    smx_buf_init(&got, 2 * LARGE);
    ASSERT_TRUE(make_pipe(&p, &left, &right));
    spawn("pipe", pipe_main, &p);
    spawn("echo", echo_main, &right);
    spawn("write", write_pattern, &left);
    io_sleep_until(in_ms(20)); /* nobody reads the echo: the writers wait */
    ASSERT_FALSE(p.ended);
    ASSERT_TRUE(read_to_end(&left, &got));
    ASSERT_EQ(got.len, 6 + LARGE);
    ASSERT_MEM(got.data, 6, "early ", 6);
    for (size_t i = 0; i < LARGE; i++)
        ASSERT_TRUE(got.data[6 + i] == pattern(i));
    io_sleep_until(in_ms(5));
    ASSERT_TRUE(p.ended);
    io_fd_done(&left);
    io_fd_done(&right);
    smx_buf_done(&got);
}

/* One end breaks off while the other neither reads nor writes: the pipe ends. */
FIBER_TEST(a_broken_pipe_ends)
{
    struct piped p;
    struct io_fd left, right;
    char data[64];

    ASSERT_TRUE(make_pipe(&p, &left, &right));
    spawn("pipe", pipe_main, &p);
    ASSERT_EQ(io_read(&right, data, sizeof data, in_ms(1000), NULL), 6);
    spawn("write", write_pattern, &left);
    io_sleep_until(in_ms(20));
    io_fd_done(&right);
    for (int i = 0; i < 100 && !p.ended; i++)
        io_sleep_until(in_ms(5));
    ASSERT_TRUE(p.ended);
    io_fd_done(&left);
}

/* --- the client by itself --- */

FIBER_TEST(client_requests)
{
    struct relaying r = { .open = false };
    struct smx_err err = { 0 };
    struct h1_head head;
    struct smx_buf body;
    char data[64];

    smx_buf_init(&body, 1024);
    r.upserver = server_of(up_handler, NULL);
    ASSERT_EQ(connect_upstream(&r), 0);
    ASSERT_OK(
        http_client_send_all(&r.client, H1_POST, SMX_VIEW("/sum"), NULL, "abc", 3, &err), &err);
    ASSERT_OK(http_client_head(&r.client, &head, in_ms(1000), &err), &err);
    ASSERT_EQ(head.status, 200);
    ASSERT_FALSE(http_client_reusable(&r.client));
    ASSERT_OK(http_client_read_all(&r.client, &body, in_ms(1000), &err), &err);
    ASSERT_STR(body.data, "3 3 0");
    ASSERT_TRUE(http_client_reusable(&r.client));
    http_client_trim(&r.client);
    ASSERT_OK(
        http_client_send(&r.client, H1_PUT, SMX_VIEW("/echo"), NULL, HTTP_CHUNKED, &err), &err);
    ASSERT_OK(http_client_write(&r.client, "one", 3, &err), &err);
    ASSERT_OK(http_client_head(&r.client, &head, in_ms(1000), &err), &err);
    ASSERT_EQ(http_client_read(&r.client, data, sizeof data, in_ms(1000), &err), 3);
    /* a timeout is not the end: what comes later is read */
    ASSERT_EQ(http_client_read(&r.client, data, sizeof data, in_ms(10), &err), -SMX_E_TIMEOUT);
    ASSERT_OK(http_client_write(&r.client, "four", 4, &err), &err);
    ASSERT_EQ(http_client_read(&r.client, data, sizeof data, in_ms(1000), &err), 4);
    ASSERT_OK(http_client_finish(&r.client, &err), &err);
    ASSERT_EQ(http_client_read(&r.client, data, sizeof data, in_ms(1000), &err), 0);
    ASSERT_TRUE(http_client_reusable(&r.client));
    ASSERT_OK(http_client_send(&r.client, H1_GET, SMX_VIEW("/get"), NULL, 0, &err), &err);
    ASSERT_OK(http_client_head(&r.client, &head, in_ms(1000), &err), &err);
    smx_buf_reset(&body);
    ASSERT_EQ(http_client_read_all(&r.client, &body, in_ms(1000), &err), -SMX_E_TOO_LARGE);
    ASSERT_FALSE(http_client_reusable(&r.client));
    http_client_done(&r.client);
    smx_buf_done(&body);
    end_server(r.upserver);
}

/* --- failing memory --- */

FIBER_TEST(failing_memory_in_a_relay)
{
    for (unsigned n = 1; n < 60; n++) {
        struct relaying r = { .open = false };
        struct http_server *s = server_of(relay_handler, &r);
        struct io_fd c;
        char data[4096];

        r.upserver = server_of(up_handler, NULL);
        ASSERT_EQ(dial(s, &c), 0);
        ASSERT_EQ(say(&c, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                          "POST /echo HTTP/1.1\r\n" HOST
                          "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n"),
            0);
        smx_mem_fail_after(n);
        io_sleep_until(in_ms(2));
        say(&c, "0\r\n\r\n");
        while (io_read(&c, data, sizeof data, in_ms(2000), NULL) > 0)
            continue;
        smx_mem_fail_after(0);
        io_fd_done(&c);
        end_relaying(&r, s);
    }
}
