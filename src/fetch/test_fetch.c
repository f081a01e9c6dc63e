/* test_fetch.c - calls and connections against a scripted server on loopback, which counts what it
 * accepts and what it is asked. */
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/mem.h"
#include "fetch/fetch.h"
#include "io/test_util.h"

enum { REPLIES_MAX = 8, PATIENCE_MS = 20000 };

/* What the server does for the n-th request: sends the text; then, when it ends with '!', closes,
 * and with '~' stays silent. NULL: the last one again. */
struct server {
    const char *replies[REPLIES_MAX];
    struct io_fd listener;
    struct io_fiber *acceptor;
    unsigned accepted, asked, open;
    struct smx_buf got; /* all requests */
    bool flood;         /* after the reply: bytes without end */
    char url[64];
};

struct peer {
    struct server *s;
    struct io_fd fd;
};

static const char *reply_of(const struct server *s, unsigned n)
{
    for (unsigned i = SMX_MIN(n, (unsigned)REPLIES_MAX - 1); i > 0; i--)
        if (s->replies[i])
            return s->replies[i];
    return s->replies[0];
}

/* A whole request, by its Content-Length; false at the end of the connection. */
static bool read_request(struct peer *p)
{
    struct smx_buf *got = &p->s->got;
    size_t from = got->len;

    for (;;) {
        char *end = got->data ? strstr(got->data + from, "\r\n\r\n") : NULL;
        char *length = end ? strstr(got->data + from, "Content-Length: ") : NULL;
        size_t want = length ? strtoul(length + 16, NULL, 10) : 0;
        ssize_t n;

        if (end && got->len - (size_t)(end + 4 - got->data) >= want)
            return true;
        if (smx_buf_reserve(got, 4096) < 0)
            return false;
        n = io_read(&p->fd, got->data + got->len, 4096, SMX_FOREVER, NULL);
        if (n <= 0)
            return false;
        got->len += (size_t)n;
        got->data[got->len] = '\0';
    }
}

static void serve(void *arg)
{
    struct peer *p = arg;
    struct server *s = p->s;

    while (read_request(p)) {
        const char *reply = reply_of(s, s->asked++);
        size_t n = strlen(reply);
        char last = n ? reply[n - 1] : '\0';

        n -= last == '!' || last == '~';
        if (io_write(&p->fd, reply, n, PATIENCE_MS, NULL) < 0 || last == '!')
            break;
        while (s->flood && io_write(&p->fd, "X: yyyyyyyyyyyyyyyyyy\r\n", 23, 1000, NULL) == 0)
            continue;
    }
    io_fd_done(&p->fd);
    s->open--;
    smx_free(p);
}

static void accept_all(void *arg)
{
    struct server *s = arg;
    int fd;

    while (io_accept(&s->listener, &fd, SMX_FOREVER, NULL) == 0) {
        struct peer *p = smx_alloc(sizeof *p);

        if (!p) {
            smx_close(fd);
            continue;
        }
        p->s = s;
        s->accepted++;
        s->open++;
        io_fd_init(&p->fd, fd, NULL);
        spawn("serve", serve, p);
    }
}

static void server_start(struct server *s)
{
    char host[64];
    uint16_t port = 0;
    int fd = -1;

    smx_buf_init(&s->got, 16 * 1024 * 1024);
    ASSERT_EQ(io_listen_tcp("127.0.0.1", 0, &fd, NULL), 0);
    ASSERT_EQ(io_local_address(fd, host, sizeof host, &port, NULL), 0);
    ASSERT_EQ(io_fd_init(&s->listener, fd, NULL), 0);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u/path", port);
    io_fiber_spawn(io_loop_self(), "accept", accept_all, s, &s->acceptor, NULL);
}

/* The client's connections must be closed already. */
static void server_end(struct server *s)
{
    io_fiber_cancel(s->acceptor);
    for (int i = 0; i < 1000 && s->open > 0; i++)
        io_sleep_until(in_ms(5));
    ASSERT_EQ(s->open, 0);
    io_yield();
    io_fd_done(&s->listener);
    smx_buf_done(&s->got);
}

struct bench {
    struct server s;
    struct fetch *f;
    struct fetch_reply reply;
    struct smx_err err;
};

static void bench_begin(struct bench *b, const char *const *replies)
{
    static const struct fetch_config cfg = { .via = "instance-1" };

    memset(b, 0, sizeof *b);
    for (size_t i = 0; replies[i]; i++)
        b->s.replies[i] = replies[i];
    server_start(&b->s);
    ASSERT_OK(fetch_new(&cfg, &b->f, &b->err), &b->err);
}

static void bench_end(struct bench *b)
{
    fetch_reply_done(&b->reply);
    fetch_free(b->f);
    server_end(&b->s);
}

#define BENCH(b, ...) \
    struct bench b;   \
    bench_begin(&b, (const char *const[]){ __VA_ARGS__, NULL })

static int get(struct bench *b, uint64_t ms)
{
    struct fetch_request req = {
        .method = "GET", .url = b->s.url, .reply_max = 1024, .repeatable = true
    };

    fetch_reply_done(&b->reply);
    return fetch_call(b->f, &req, &b->reply, in_ms(ms), &b->err);
}

/* One that must not be sent twice. */
static int post(struct bench *b, uint64_t ms)
{
    static const char *const fields[] = { "X-API-Key: planted-secret", NULL };
    struct fetch_request req = { .method = "POST",
        .url = b->s.url,
        .fields = fields,
        .content_type = "application/json",
        .body = "{\"planted\":1}",
        .n = 13,
        .reply_max = 1024 };

    fetch_reply_done(&b->reply);
    return fetch_call(b->f, &req, &b->reply, in_ms(ms), &b->err);
}

#define OK_REPLY                                        \
    "HTTP/1.1 200 OK\r\n"                               \
    "Content-Type: Application/JSON; charset=utf-8\r\n" \
    "Content-Length: 2\r\n\r\n{}"

FIBER_TEST(many_calls_use_one_connection)
{
    BENCH(b, OK_REPLY);

    for (int i = 0; i < 20; i++) {
        ASSERT_OK(i % 2 ? get(&b, PATIENCE_MS) : post(&b, PATIENCE_MS), &b.err);
        ASSERT_EQ(b.reply.status, 200);
        ASSERT_STR(b.reply.body.data, "{}");
        ASSERT_STR(b.reply.type, "application/json");
    }
    ASSERT_EQ(b.s.asked, 20);
    ASSERT_EQ(b.s.accepted, 1);
    bench_end(&b);
}

FIBER_TEST(requests_carry_what_they_must)
{
    BENCH(b, OK_REPLY);

    ASSERT_OK(post(&b, PATIENCE_MS), &b.err);
    ASSERT_TRUE(smx_starts(b.s.got.data, "POST /path HTTP/1.1\r\nHost: 127.0.0.1:"));
    ASSERT_TRUE(strstr(b.s.got.data, "\r\nSandmux-Via: instance-1\r\n") != NULL);
    ASSERT_TRUE(strstr(b.s.got.data, "\r\nX-API-Key: planted-secret\r\n") != NULL);
    ASSERT_TRUE(strstr(b.s.got.data, "\r\nContent-Type: application/json\r\n") != NULL);
    ASSERT_TRUE(strstr(b.s.got.data, "\r\nContent-Length: 13\r\n") != NULL);
    ASSERT_TRUE(strstr(b.s.got.data, "Expect") == NULL);
    ASSERT_TRUE(smx_ends(b.s.got.data, "\r\n\r\n{\"planted\":1}"));
    bench_end(&b);
}

FIBER_TEST(fields_of_the_reply_can_be_read)
{
    char v[32];
    BENCH(b,
        "HTTP/1.1 103 Early\r\nX-Next-Token: early\r\n\r\nHTTP/1.1 200 OK\r\nX-Next-Tokens: no\r\n"
        "x-next-token: \t abc \r\nX-Empty:\r\nContent-Length: 0\r\n\r\n");

    ASSERT_OK(get(&b, PATIENCE_MS), &b.err);
    ASSERT_TRUE(fetch_field(&b.reply, "X-Next-Token", v, sizeof v));
    ASSERT_STR(v, "abc");
    ASSERT_TRUE(fetch_field(&b.reply, "X-Empty", v, sizeof v));
    ASSERT_STR(v, "");
    ASSERT_FALSE(fetch_field(&b.reply, "X-Next", v, sizeof v));
    ASSERT_FALSE(fetch_field(&b.reply, "X-Next-Token", v, 3));
    ASSERT_EQ(b.reply.type[0], '\0');
    bench_end(&b);
}

/* What a repeatable request makes of a bad reply, and what one does that must not be sent twice;
 * how often the server was asked. */
static const struct {
    const char *reply;
    bool flood;
    int repeatable, not_repeatable;
    unsigned asked;
} bad[] = {
    { "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort!", false, -SMX_E_CLOSED, -SMX_E_AMBIGUOUS,
        FETCH_ATTEMPTS },
    { "!", false, -SMX_E_CLOSED, -SMX_E_AMBIGUOUS, FETCH_ATTEMPTS },
    { "HTTP/1.1 200 OK\r\nContent-Le!", false, -SMX_E_CLOSED, -SMX_E_AMBIGUOUS, FETCH_ATTEMPTS },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n!", false, -SMX_E_CLOSED,
        -SMX_E_AMBIGUOUS, FETCH_ATTEMPTS },
    { "garbage, no HTTP at all\r\n\r\n!", false, -SMX_E_PROTOCOL, -SMX_E_AMBIGUOUS, 1 },
    { "HTTP/1.1 200 OK\r\n", true, -SMX_E_PROTOCOL, -SMX_E_AMBIGUOUS, 1 },
    { "HTTP/1.1 200 OK\r\n\r\n", true, -SMX_E_PROTOCOL, -SMX_E_AMBIGUOUS, 1 },
    { "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", true, -SMX_E_PROTOCOL, -SMX_E_AMBIGUOUS,
        1 },
};

FIBER_TEST(bad_replies_are_typed_errors)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        int r;
        BENCH(b, bad[i].reply);

        b.s.flood = bad[i].flood;
        r = get(&b, PATIENCE_MS);
        if (r != bad[i].repeatable)
            fprintf(stderr, "# case %zu: %d %s\n", i, r, b.err.msg);
        ASSERT_EQ(r, bad[i].repeatable);
        ASSERT_EQ(b.s.asked, bad[i].asked);
        ASSERT_EQ(post(&b, PATIENCE_MS), bad[i].not_repeatable);
        ASSERT_EQ(b.s.asked, bad[i].asked + 1);
        ASSERT_TRUE(strstr(b.err.msg, "planted") == NULL);
        bench_end(&b);
    }
}

FIBER_TEST(silence_ends_at_the_deadline)
{
    BENCH(b, "~");

    ASSERT_EQ(get(&b, 100), -SMX_E_TIMEOUT);
    ASSERT_EQ(post(&b, 100), -SMX_E_AMBIGUOUS);
    bench_end(&b);
}

FIBER_TEST(a_busy_server_is_asked_again_when_it_says_when)
{
    BENCH(b, "HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nwait",
        "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", OK_REPLY);

    ASSERT_OK(post(&b, PATIENCE_MS), &b.err);
    ASSERT_EQ(b.reply.status, 200);
    ASSERT_STR(b.reply.body.data, "{}");
    ASSERT_EQ(b.reply.attempts, 3);
    ASSERT_EQ(b.s.accepted, 1);
    bench_end(&b);
}

FIBER_TEST(without_retry_after_only_the_repeatable_is_sent_again)
{
    BENCH(b, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");

    ASSERT_OK(post(&b, PATIENCE_MS), &b.err);
    ASSERT_EQ(b.reply.status, 503);
    ASSERT_EQ(b.s.asked, 1);
    ASSERT_OK(get(&b, PATIENCE_MS), &b.err);
    ASSERT_EQ(b.reply.status, 503);
    ASSERT_EQ(b.s.asked, 1 + FETCH_ATTEMPTS);
    bench_end(&b);
}

/* Waiting longer than the caller has is no use: the answer comes at once. */
FIBER_TEST(a_wait_past_the_deadline_is_not_begun)
{
    BENCH(b, "HTTP/1.1 429 Busy\r\nRetry-After: 3000\r\nContent-Length: 0\r\n\r\n");

    ASSERT_OK(get(&b, PATIENCE_MS), &b.err);
    ASSERT_EQ(b.reply.status, 429);
    ASSERT_EQ(b.s.asked, 1);
    bench_end(&b);
}

FIBER_TEST(nobody_there_is_unavailable)
{
    BENCH(b, OK_REPLY);
    struct fetch_request req = {
        .method = "POST", .url = "http://user:planted@127.0.0.1:1/x", .body = "{}", .n = 2
    };

    ASSERT_EQ(fetch_call(b.f, &req, &b.reply, in_ms(PATIENCE_MS), &b.err), -SMX_E_UNAVAILABLE);
    ASSERT_TRUE(strstr(b.err.msg, "http://127.0.0.1:1 cannot be reached") != NULL);
    ASSERT_TRUE(strstr(b.err.msg, "planted") == NULL);
    ASSERT_EQ(b.reply.attempts, FETCH_ATTEMPTS);
    req.once = true;
    fetch_reply_done(&b.reply);
    ASSERT_EQ(fetch_call(b.f, &req, &b.reply, in_ms(PATIENCE_MS), &b.err), -SMX_E_UNAVAILABLE);
    ASSERT_EQ(b.reply.attempts, 1);
    bench_end(&b);
}

/* The server ends a kept connection when the next request arrives. curl would send that again. */
FIBER_TEST(a_dead_connection_does_not_send_a_create_twice)
{
    BENCH(b, OK_REPLY, "!", OK_REPLY);

    ASSERT_OK(post(&b, PATIENCE_MS), &b.err);
    ASSERT_EQ(post(&b, PATIENCE_MS), -SMX_E_AMBIGUOUS);
    ASSERT_EQ(b.s.asked, 2);
    bench_end(&b);
}

FIBER_TEST(a_dead_connection_does_not_fail_a_look)
{
    BENCH(b, OK_REPLY, "!", OK_REPLY);

    ASSERT_OK(get(&b, PATIENCE_MS), &b.err);
    ASSERT_OK(get(&b, PATIENCE_MS), &b.err);
    ASSERT_EQ(b.reply.status, 200);
    ASSERT_EQ(b.s.accepted, 2);
    bench_end(&b);
}

FIBER_TEST(redirects_are_not_followed)
{
    BENCH(b, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");

    ASSERT_OK(get(&b, PATIENCE_MS), &b.err);
    ASSERT_EQ(b.reply.status, 302);
    ASSERT_EQ(b.s.asked, 1);
    bench_end(&b);
}

FIBER_TEST(other_protocols_are_not_spoken)
{
    BENCH(b, OK_REPLY);
    struct fetch_request req = { .method = "GET",
        .url = "file:///etc/passwd",
        .reply_max = 9,
        .repeatable = true,
        .once = true };

    ASSERT_EQ(fetch_call(b.f, &req, &b.reply, in_ms(PATIENCE_MS), &b.err), -SMX_E_UNAVAILABLE);
    bench_end(&b);
}

struct waiting {
    struct bench *b;
    int r;
    bool over;
};

static void wait_for_get(void *arg)
{
    struct waiting *w = arg;

    w->r = get(w->b, PATIENCE_MS);
    w->over = true;
}

FIBER_TEST(a_cancelled_call_ends_and_drops_its_connection)
{
    BENCH(b, "~");
    struct waiting w = { .b = &b };
    struct io_fiber *fiber;

    ASSERT_OK(io_fiber_spawn(io_loop_self(), "get", wait_for_get, &w, &fiber, &b.err), &b.err);
    while (b.s.asked == 0)
        io_sleep_until(in_ms(1));
    io_fiber_cancel(fiber);
    while (!w.over)
        io_yield();
    ASSERT_EQ(w.r, -SMX_E_CANCELLED);
    for (int i = 0; i < 1000 && b.s.open > 0; i++)
        io_sleep_until(in_ms(5));
    ASSERT_EQ(b.s.open, 0);
    bench_end(&b);
}

FIBER_TEST(a_dialled_connection_is_a_client)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    struct http_client c;
    struct h1_head head;
    BENCH(b, OK_REPLY);

    ASSERT_OK(fetch_dial(b.f, b.s.url, &c, in_ms(PATIENCE_MS), &b.err), &b.err);
    for (int i = 0; i < 3; i++) {
        smx_buf_done(&body);
        smx_buf_init(&body, 100);
        ASSERT_OK(http_client_send(&c, H1_GET, SMX_VIEW("/x"), NULL, 0, &b.err), &b.err);
        ASSERT_OK(http_client_head(&c, &head, in_ms(PATIENCE_MS), &b.err), &b.err);
        ASSERT_OK(http_client_read_all(&c, &body, in_ms(PATIENCE_MS), &b.err), &b.err);
        ASSERT_STR(body.data, "{}");
    }
    ASSERT_TRUE(http_client_reusable(&c));
    ASSERT_EQ(b.s.accepted, 1);
    http_client_done(&c);
    bench_end(&b);
}

FIBER_TEST(dialling_nobody_is_unavailable)
{
    struct http_client c;
    BENCH(b, OK_REPLY);

    ASSERT_EQ(
        fetch_dial(b.f, "https://127.0.0.1:1", &c, in_ms(PATIENCE_MS), &b.err), -SMX_E_UNAVAILABLE);
    ASSERT_EQ(fetch_dial(b.f, "https://127.0.0.1:99999", &c, in_ms(PATIENCE_MS), &b.err),
        -SMX_E_UNAVAILABLE);
    bench_end(&b);
}

/* The server's memory fails, too: then the answer does not come. */
FIBER_TEST(failing_memory_is_an_error)
{
    for (unsigned n = 1; n < 12; n++) {
        int r;
        BENCH(b, OK_REPLY);

        smx_mem_fail_after(n);
        r = get(&b, 300);
        smx_mem_fail_after(0);
        ASSERT_INT(r, <=, 0);
        bench_end(&b);
    }
}
