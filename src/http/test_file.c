/* test_file.c - bodies that are handed over as descriptors, by an agent that means well and by ones
 * that do not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/foreign.h"
#include "base/test_linger.h"
#include "http/client.h"
#include "http/test_util.h"

enum { FDS_MAX = 8 };

/* Answers a request for a descriptor with these, any other one with "plain". */
struct agent {
    const char *field; /* NULL: the plain answer, with the descriptors */
    int fds[FDS_MAX];
    size_t nfds;
    const char *extra;   /* more of the head; NULL none */
    const char *framing; /* NULL: an empty body */
    unsigned asked, plain;
    bool hang_up; /* after the head */
    struct http_client client;
    bool open, reusable;
    int result;
};

static void answer(struct agent *a, struct io_fd *fd, bool asked)
{
    char head[512];
    int n;

    a->asked += asked;
    a->plain += !asked;
    if (asked && a->field)
        n = snprintf(head, sizeof head,
            "HTTP/1.1 200 OK\r\nX-Kept: yes\r\nsandmux-descriptor: %s\r\n%s%s\r\n\r\n", a->field,
            a->extra ? a->extra : "", a->framing ? a->framing : "Content-Length: 0");
    else
        n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain");
    (void)io_send_fds(fd, head, (size_t)n, a->fds, a->nfds, in_ms(1000), NULL);
}

static void agent_main(void *arg)
{
    struct agent *a = arg;
    struct smx_buf in;
    struct io_fd fd;

    smx_buf_init(&in, TRANSCRIPT_MAX);
    ASSERT_EQ(io_fd_init(&fd, a->result, NULL), 0);
    while (read_until(&fd, &in, "\r\n\r\n")) {
        answer(a, &fd, strcasestr(in.data, "sandmux-descriptor: 1") != NULL);
        smx_buf_reset(&in);
        if (a->hang_up)
            break;
    }
    smx_buf_done(&in);
    io_fd_done(&fd);
}

static void relay(struct http_exchange *x, void *ctx)
{
    struct agent *a = ctx;
    struct http_relay opts = { .files = true };
    struct smx_err err = { 0 };
    int sv[2];

    if (!a->open) {
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
        ASSERT_EQ(http_client_init(&a->client, sv[0], NULL), 0);
        a->open = true;
        a->result = sv[1];
        spawn("agent", agent_main, a);
        io_yield();
    }
    a->result = http_relay(x, &a->client, &opts, &err);
    a->reusable = http_client_reusable(&a->client);
    if (!a->reusable) {
        http_client_done(&a->client);
        a->open = false;
    }
    if (a->result < 0 && !http_started(x))
        http_reply(x, 502, NULL, err.msg, strlen(err.msg));
}

static void agent_done(struct agent *a)
{
    if (a->open)
        http_client_done(&a->client);
    a->open = false;
    for (size_t i = 0; i < a->nfds; i++)
        smx_close(a->fds[i]);
}

static void no_work(void *arg SMX_UNUSED)
{
}

/* The workers have a descriptor of their own, from the first work on. */
static unsigned open_fds(void)
{
    unsigned n = 0;

    (void)io_work(no_work, NULL, NULL);
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* A file in memory, opened anew with the flags. */
static int file_of(const char *text, int flags)
{
    char path[64];
    int fd = memfd_create("test", MFD_CLOEXEC), again;

    if (smx_write_full(fd, text, strlen(text)) < 0)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    again = open(path, flags | O_CLOEXEC);
    smx_close(fd);
    return again;
}

#define GET "GET /f HTTP/1.1\r\nHost: h\r\n\r\n"
#define LAST "GET /f HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

/* The client stays until the server closes: one that closes its side has left. */
static char *ask(struct http_server *s, const char *text)
{
    return talk_bytes(s, text, strlen(text), H1_GET, /* half_close= */ false);
}

FIBER_TEST(a_file_is_sent_as_the_body)
{
    struct agent a = { .field = "2 6", .fds = { file_of("0123456789", O_RDONLY) }, .nfds = 1 };
    struct http_server *s = server_of(relay, &a);
    char *got = ask(s, GET LAST);

    ASSERT_STR(got, "200:234567 200:234567 closed"); /* keep-alive on both sides */
    ASSERT_EQ(a.asked, 2);
    ASSERT_EQ(a.plain, 0);
    ASSERT_TRUE(a.reusable);
    smx_free(got);
    end_server(s);
    agent_done(&a);
}

FIBER_TEST(what_stands_in_the_head_arrives_but_for_our_field)
{
    struct agent a = { .field = "0 10",
        .fds = { file_of("0123456789", O_RDONLY) },
        .nfds = 1,
        .extra = "Content-Range: bytes 0-9/10\r\n" };
    struct http_server *s = server_of(relay, &a);
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, TRANSCRIPT_MAX);
    ASSERT_EQ(dial(s, &c), 0);
    ASSERT_EQ(say(&c, "GET /f HTTP/1.1\r\nHost: h\r\nSandmux-Descriptor: 1\r\n"
                      "Connection: close\r\n\r\n"),
        0);
    ASSERT_TRUE(read_to_end(&c, &raw));
    ASSERT_TRUE(strstr(raw.data, "X-Kept: yes\r\n") != NULL);
    ASSERT_TRUE(strstr(raw.data, "Content-Range: bytes 0-9/10\r\n") != NULL);
    ASSERT_TRUE(strstr(raw.data, "Content-Length: 10\r\n") != NULL);
    ASSERT_TRUE(strcasestr(raw.data, "descriptor") == NULL);
    smx_buf_done(&raw);
    io_fd_done(&c);
    end_server(s);
    agent_done(&a);
}

/* A client cannot ask for descriptors itself: not when the relay does not, and HEAD and POST never.
 */
FIBER_TEST(only_we_ask_and_only_with_get)
{
    struct agent a = { .field = "0 4", .fds = { file_of("0123", O_RDONLY) }, .nfds = 1 };
    struct http_server *s = server_of(relay, &a);
    char *got = ask(s, "POST /f HTTP/1.1\r\nHost: h\r\nsandmux-descriptor: 1\r\n"
                       "Connection: close\r\nContent-Length: 0\r\n\r\n");

    ASSERT_STR(got, "200:plain closed");
    ASSERT_EQ(a.asked, 0);
    smx_free(got);
    end_server(s);
    agent_done(&a);
}

/* --- descriptors that are not what they should be --------------------------------------------- */

static int fifo(void)
{
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        abort();
    smx_close(p[1]);
    return p[0];
}

static int some_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Asked again for the bytes, and nothing stays open. */
static void expect_fallback(const char *field, int fd, int line)
{
    unsigned before = open_fds() - (fd >= 0);
    struct agent a = { .field = field, .fds = { fd }, .nfds = fd >= 0 };
    struct http_server *s = server_of(relay, &a);
    char *got = ask(s, LAST);

    if (!smx_streq(got, "200:plain closed") || a.asked != 1 || a.plain != 1)
        fprintf(stderr, "row %d: %s\n", line, got);
    ASSERT_STR(got, "200:plain closed");
    ASSERT_EQ(a.asked, 1);
    ASSERT_EQ(a.plain, 1);
    smx_free(got);
    end_server(s);
    agent_done(&a);
    join_all();
    ASSERT_EQ(open_fds(), before);
}
#define FALLBACK(field, fd) expect_fallback(field, fd, __LINE__)

FIBER_TEST(what_is_no_plain_file_is_asked_for_as_bytes)
{
    FALLBACK("0 4", -1); /* none came: ours had run out */
    FALLBACK("0 4", fifo());
    FALLBACK("0 4", some_socket());
    FALLBACK("0 4", open("/proc/self/status", O_RDONLY | O_CLOEXEC));
    FALLBACK("0 4", open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
    FALLBACK("0 4", open("/sys/kernel/notes", O_RDONLY | O_CLOEXEC));
    FALLBACK("0 4", open("/dev/zero", O_RDONLY | O_CLOEXEC));
    FALLBACK("0 4", open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    FALLBACK("0 4", open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    FALLBACK("0 4", file_of("0123456789", O_RDWR));
    FALLBACK("0 4", file_of("0123456789", O_WRONLY));
    FALLBACK("0 4", file_of("0123456789", O_PATH));
}

FIBER_TEST(a_range_that_the_file_does_not_have)
{
    static const char *const fields[] = { "0 11", "10 1", "11 1", "1 10", "0 0",
        "0 9223372036854775807", "9223372036854775807 1", "18446744073709551615 5", "-1 5", "0",
        "0 -5", "", " ", "a b", "0 4 4", "0  4", "+0 4" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(fields); i++)
        FALLBACK(fields[i], file_of("0123456789", O_RDONLY));
}

FIBER_TEST(a_body_beside_the_descriptor_breaks_the_connection)
{
    unsigned before = open_fds();
    struct agent a = { .field = "0 4",
        .framing = "Content-Length: 4",
        .fds = { file_of("0123456789", O_RDONLY) },
        .nfds = 1 };
    struct http_server *s = server_of(relay, &a);
    char *got = ask(s, LAST);

    ASSERT_TRUE(strncmp(got, "502:", 4) == 0);
    ASSERT_FALSE(a.reusable);
    smx_free(got);
    end_server(s);
    agent_done(&a);
    join_all();
    ASSERT_EQ(open_fds(), before);
}

FIBER_TEST(more_descriptors_than_one_are_closed)
{
    unsigned before = open_fds();
    struct agent a = { .field = "0 4", .nfds = FDS_MAX };
    struct http_server *s = server_of(relay, &a);
    char *got;

    for (size_t i = 0; i < FDS_MAX; i++)
        a.fds[i] = i == 0 ? file_of("0123", O_RDONLY) : fifo();
    got = ask(s, GET GET LAST);
    ASSERT_STR(got, "200:0123 200:0123 200:0123 closed");
    smx_free(got);
    end_server(s);
    agent_done(&a);
    join_all();
    ASSERT_EQ(open_fds(), before);
}

/* With a plain answer, and thousands of them with every answer: none is ever installed for long. */
FIBER_TEST(descriptors_nobody_asked_for_are_dropped)
{
    unsigned before = open_fds();
    struct agent a = { .field = NULL, .nfds = FDS_MAX };
    struct http_server *s = server_of(relay, &a);

    for (size_t i = 0; i < FDS_MAX; i++)
        a.fds[i] = fifo();
    for (int i = 0; i < 300; i++) {
        char *got = ask(s, GET LAST);

        ASSERT_STR(got, "200:plain 200:plain closed");
        smx_free(got);
    }
    end_server(s);
    agent_done(&a);
    join_all();
    ASSERT_EQ(open_fds(), before);
}

/* --- descriptors whose last close waits --------------------------------------------------------
 */

/* Sends it, and with it a socket that lingers, of which only the message is left. */
static void send_lingering(int fd, const char *text)
{
    int tcp[2];

    ASSERT_EQ(lingering(tcp), 0);
    ASSERT_EQ(smx_send_fds(fd, text, strlen(text), tcp, 1), (ssize_t)strlen(text));
    smx_close(tcp[0]);
}

static void ask_for_file(struct http_client *c)
{
    struct smx_buf fields;

    smx_buf_init(&fields, 1024);
    ASSERT_EQ(http_client_ask_file(c, &fields), 0);
    ASSERT_EQ(http_client_send(c, H1_GET, SMX_VIEW("/f"), &fields, 0, NULL), 0);
    smx_buf_done(&fields);
}

/* As the file, with the body of another answer, with a head that is refused, and never read. */
FIBER_TEST(a_socket_that_lingers_stops_nobody)
{
    uint64_t begun = now_ms();
    unsigned before = open_fds();
    struct http_file file;
    struct http_client c;
    struct h1_head head;
    char text[16];
    int sv[2];

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    (void)smx_pass_rights(sv[0], 0); /* as the engine dials */
    ASSERT_EQ(http_client_init(&c, sv[0], NULL), 0);
    ask_for_file(&c);
    send_lingering(
        sv[1], "HTTP/1.1 200 OK\r\nsandmux-descriptor: 0 4\r\nContent-Length: 0\r\n\r\n");
    ASSERT_EQ(http_client_head(&c, &head, in_ms(1000), NULL), 0);
    ASSERT_EQ(http_client_file(&c, &head, &file), -SMX_E_UNSUPPORTED);
    ASSERT_EQ(http_client_send(&c, H1_GET, SMX_VIEW("/f"), NULL, 0, NULL), 0);
    send_lingering(sv[1], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    send_lingering(sv[1], "text");
    ASSERT_EQ(http_client_head(&c, &head, in_ms(1000), NULL), 0);
    ASSERT_EQ(http_client_read(&c, text, sizeof text, in_ms(1000), NULL), 4);
    ask_for_file(&c);
    send_lingering(sv[1], "nonsense\r\n\r\n");
    send_lingering(sv[1], "more");
    ASSERT_EQ(http_client_head(&c, &head, in_ms(1000), NULL), -SMX_E_PROTOCOL);
    http_client_done(&c);
    smx_close(sv[1]);
    ASSERT_INT(now_ms() - begun, <, LINGER_PATIENCE_MS);
    ASSERT_EQ(open_fds(), before + 5); /* the other ends */
}

/* Before anything is asked for, the other side cannot pass anything at all. */
FIBER_TEST(an_agent_passes_nothing_unasked)
{
    struct http_client c;
    int sv[2];

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    if (smx_pass_rights(sv[0], 0) < 0)
        SKIP("needs Linux 6.16");
    ASSERT_EQ(http_client_init(&c, sv[0], NULL), 0);
    ASSERT_EQ(smx_send_fds(sv[1], "x", 1, sv, 1), -EPERM);
    ask_for_file(&c);
    ASSERT_EQ(smx_send_fds(sv[1], "x", 1, sv, 1), 1);
    http_client_done(&c);
    smx_close(sv[1]);
}

/* --- files that change while they are sent -----------------------------------------------------
 */

enum { BIG = 8 * 1024 * 1024 };

/* A large sparse file with a writer's descriptor. */
static int big_file(int *ret_writer)
{
    char path[64];

    *ret_writer = memfd_create("big", MFD_CLOEXEC);
    if (ftruncate(*ret_writer, BIG) < 0)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", *ret_writer);
    return open(path, O_RDONLY | O_CLOEXEC);
}

struct download {
    struct agent a;
    struct http_server *s;
    struct io_fd c;
    int writer;
    uint64_t got;
};

static void begin_download(struct download *d)
{
    char some[1024];

    *d = (struct download){ .a = { .field = "0 8388608", .nfds = 1 } };
    d->a.fds[0] = big_file(&d->writer);
    d->s = server_of(relay, &d->a);
    ASSERT_EQ(dial(d->s, &d->c), 0);
    ASSERT_EQ(say(&d->c, GET), 0);
    ASSERT_INT(io_read(&d->c, some, sizeof some, in_ms(2000), NULL), >, 0);
    for (int i = 0; i < 20; i++) /* until the socket is full: the rest waits for us */
        io_yield();
}

/* Bytes until the end of the connection, or until it is silent. */
static void read_on(struct download *d)
{
    char *data = smx_alloc(BIG);
    ssize_t n;

    while ((n = io_read(&d->c, data, BIG, in_ms(300), NULL)) > 0)
        d->got += (uint64_t)n;
    smx_free(data);
}

static void end_download(struct download *d)
{
    smx_close(d->writer);
    io_fd_done(&d->c);
    end_server(d->s);
    agent_done(&d->a);
    join_all();
}

FIBER_TEST(a_file_that_is_truncated_meanwhile_ends_the_connection)
{
    struct download d;

    begin_download(&d);
    ASSERT_EQ(ftruncate(d.writer, 4096), 0);
    read_on(&d);
    ASSERT_INT(d.got, <, BIG);
    ASSERT_EQ(d.a.result, -SMX_E_CLOSED);
    end_download(&d);
}

FIBER_TEST(a_file_that_grows_meanwhile_is_cut)
{
    struct download d;

    begin_download(&d);
    ASSERT_EQ(ftruncate(d.writer, 4 * BIG), 0);
    read_on(&d);
    ASSERT_EQ(d.a.result, 0);
    ASSERT_INT(d.got, >=, BIG - 1024);
    ASSERT_INT(d.got, <, BIG + 1024); /* what was read at first, the head */
    end_download(&d);
}

/* The sandbox is gone while its file is on the way. */
FIBER_TEST(a_download_ends_with_its_sandbox)
{
    struct download d;

    begin_download(&d);
    shutdown(d.a.client.fd.fd, SHUT_RDWR);
    io_yield();
    read_on(&d);
    ASSERT_INT(d.got, <, BIG - 1024);
    ASSERT_EQ(d.a.result, -SMX_E_CLOSED);
    end_download(&d);
}

FIBER_TEST(a_client_that_leaves_ends_it)
{
    struct download d;

    begin_download(&d);
    io_fd_done(&d.c);
    for (int i = 0; i < 100 && d.a.result != -SMX_E_CLOSED; i++)
        io_sleep_until(in_ms(5));
    ASSERT_EQ(d.a.result, -SMX_E_CLOSED);
    end_download(&d);
}

FIBER_TEST(a_client_that_does_not_read_is_waited_for_within_bounds)
{
    struct download d;

    begin_download(&d);
    for (int i = 0; i < 400 && d.a.result != -SMX_E_TIMEOUT; i++)
        io_sleep_until(in_ms(10));
    ASSERT_EQ(d.a.result, -SMX_E_TIMEOUT); /* stream_timeout_ms of the test's server */
    end_download(&d);
}

/* --- the server's side -------------------------------------------------------------------------
 */

static void hand_over(struct http_exchange *x, void *ctx)
{
    int *fd = ctx;

    if (http_wants_descriptor(x))
        (void)http_reply_descriptor(x, 206, "text/x", *fd, 3, 5);
    else
        http_reply(x, 200, NULL, "bytes", 5);
}

FIBER_TEST(a_server_hands_over_what_a_client_asks_for)
{
    int fd = file_of("0123456789", O_RDONLY), sv[2];
    struct http_server *s = server_of(hand_over, &fd);
    struct http_file f = { .fd = -1 };
    struct smx_buf fields;
    struct http_client c;
    struct h1_head head;
    char text[8] = "";

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    ASSERT_EQ(http_server_serve_fd(s, sv[1], "test", NULL), 0);
    ASSERT_EQ(http_client_init(&c, sv[0], NULL), 0);
    smx_buf_init(&fields, 1024);
    ASSERT_EQ(http_client_ask_file(&c, &fields), 0);
    for (int i = 0; i < 3; i++) {
        bool ask = i != 1;

        c.takes_file = ask;
        ASSERT_EQ(http_client_send(&c, H1_GET, SMX_VIEW("/"), ask ? &fields : NULL, 0, NULL), 0);
        ASSERT_EQ(http_client_head(&c, &head, in_ms(1000), NULL), 0);
        ASSERT_EQ(http_client_file(&c, &head, &f), ask);
        if (!ask) {
            ASSERT_EQ(http_client_read(&c, text, 5, in_ms(1000), NULL), 5);
            continue;
        }
        ASSERT_TRUE(head.status == 206 && f.offset == 3 && f.length == 5);
        ASSERT_EQ(pread(f.fd, text, f.length, (off_t)f.offset), 5);
        ASSERT_STR(text, "34567");
        ASSERT_TRUE(fcntl(f.fd, F_GETFD) & FD_CLOEXEC);
        smx_close(f.fd);
    }
    /* Longer than the server's patience with idle connections: it is busy while we may send. */
    io_sleep_until(in_ms(400));
    ASSERT_TRUE(http_client_reusable(&c));
    smx_buf_done(&fields);
    http_client_done(&c);
    end_server(s);
    smx_close(fd);
}

/* --- descriptors that come with a request ------------------------------------------------------
 */

/* "/take": writes a letter to it; anything else leaves it. */
static void take_it(struct http_exchange *x, void *ctx SMX_UNUSED)
{
    struct smx_view path = http_path(x);
    int fd = smx_view_eq(path, "/take") ? http_take_descriptor(x) : -1;
    bool got = fd >= 0 && smx_write_full(fd, "x", 1) == 0;

    http_reply(x, 200, NULL, got ? "got" : "not", 3);
    smx_close(fd);
}

/* The answer to a request that brings the writing end of a pipe, and what arrived at the other. */
static void bring(
    struct http_client *c, const char *path, size_t size, const char *want, const char *arrives)
{
    char text[4] = "", big[10000], letters[4] = "";
    struct smx_buf fields;
    struct h1_head head;
    int p[2];

    memset(big, 'b', sizeof big);
    smx_buf_init(&fields, 16384);
    h1_write_field(&fields, "X-Big", (struct smx_view){ big, size });
    ASSERT_EQ(pipe2(p, O_CLOEXEC), 0);
    ASSERT_TRUE(http_client_passes(c));
    ASSERT_EQ(
        http_client_send_with(c, H1_POST, smx_view_of(path), &fields, big, size, p[1], NULL), 0);
    smx_close(p[1]);
    ASSERT_EQ(http_client_head(c, &head, in_ms(1000), NULL), 0);
    ASSERT_EQ(http_client_read(c, text, 3, in_ms(1000), NULL), 3);
    ASSERT_STR(text, want);
    io_yield();
    ASSERT_EQ(smx_read_full(p[0], letters, 3), (ssize_t)strlen(arrives)); /* to its end */
    ASSERT_STR(letters, arrives);
    smx_close(p[0]);
    smx_buf_done(&fields);
}

static void bring_to(bool takes)
{
    struct http_server_config cfg = { .handler = take_it, .descriptors = takes };
    struct http_server *s = NULL;
    struct http_client c;
    unsigned before;
    int sv[2];

    ASSERT_EQ(http_server_new(io_loop_self(), &cfg, &s, NULL), 0);
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    ASSERT_EQ(http_server_serve_fd(s, sv[1], "test", NULL), 0);
    ASSERT_EQ(http_client_init(&c, sv[0], NULL), 0);
    bring(&c, "/leave", 1000, "not", "");
    before = open_fds();
    for (size_t i = 0; i < 3; i++) {
        size_t size = takes ? i * 5000 : i; /* a server that expects none gets it all at once */

        bring(&c, "/take", size, takes ? "got" : "not", takes ? "x" : "");
        bring(&c, "/leave", size, "not", "");
    }
    ASSERT_EQ(open_fds(), before);
    http_client_done(&c);
    end_server(s);
}

FIBER_TEST(a_request_brings_a_descriptor)
{
    bring_to(/* takes= */ true);
}

FIBER_TEST(a_server_that_takes_none_closes_it)
{
    bring_to(/* takes= */ false);
}

FIBER_TEST(nobody_asks_over_tcp)
{
    struct http_server *s = server_of(hand_over, NULL);
    struct smx_buf fields;
    struct http_client c;
    uint16_t port;
    int fd;

    ASSERT_EQ(tcp_server(s, &port), 0);
    ASSERT_EQ(io_connect_tcp("127.0.0.1", port, &fd, in_ms(1000), NULL), 0);
    ASSERT_EQ(http_client_init(&c, fd, NULL), 0);
    smx_buf_init(&fields, 1024);
    ASSERT_EQ(http_client_ask_file(&c, &fields), 0);
    ASSERT_EQ(fields.len, 0);
    ASSERT_FALSE(c.takes_file);
    http_client_done(&c);
    smx_buf_done(&fields);
    end_server(s);
}
