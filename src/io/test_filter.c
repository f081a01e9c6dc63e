/* test_filter.c - filters on descriptors. The filter of these tests frames what it sends ("length,
 * bytes xor a key", at most BLOCK bytes a frame) and hands bytes on only when a frame is whole: it
 * changes bytes, holds some back, and has some when the descriptor is silent, as TLS does. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/test_streams.h"

enum { BLOCK = 200, KEY = 0x5a };

struct masked {
    int fd;
    unsigned char in[1 + BLOCK], out[1 + BLOCK];
    size_t in_len, in_pos, out_len, out_pos;
    int fail; /* errno of the next read at a frame's border; once, as a socket does */
    bool freed, closed;
};

static ssize_t frame_in(struct masked *m)
{
    while (m->in_len == 0 || m->in_len < 1u + m->in[0]) {
        size_t want = m->in_len == 0 ? 1 : 1u + m->in[0] - m->in_len;
        ssize_t r = read(m->fd, m->in + m->in_len, want);

        if (r == 0 && m->in_len > 0) {
            errno = EPROTO; /* cut off */
            return -1;
        }
        if (r <= 0)
            return r;
        m->in_len += (size_t)r;
    }
    m->in_pos = 1;
    return 1;
}

static ssize_t masked_read(void *filter, void *data, size_t n)
{
    struct masked *m = filter;
    unsigned char *to = data;
    size_t i = 0;

    while (m->in_pos == m->in_len || m->in_pos == 0) {
        ssize_t r;

        if (m->in_pos > 0)
            m->in_pos = m->in_len = 0;
        if (m->fail) {
            errno = m->fail;
            m->fail = 0;
            return -1;
        }
        r = frame_in(m);
        if (r <= 0)
            return r;
    }
    while (i < n && m->in_pos < m->in_len)
        to[i++] = m->in[m->in_pos++] ^ KEY;
    return (ssize_t)i;
}

static ssize_t send_frame(struct masked *m)
{
    while (m->out_pos < m->out_len) {
        ssize_t r = send(m->fd, m->out + m->out_pos, m->out_len - m->out_pos, MSG_NOSIGNAL);

        if (r < 0)
            return r;
        m->out_pos += (size_t)r;
    }
    return 0;
}

static void same_again(const struct masked *m, const unsigned char *from, size_t n)
{
    ASSERT_INT(n, >=, m->out[0]);
    for (size_t i = 0; i < m->out[0]; i++)
        ASSERT_EQ(m->out[1 + i], from[i] ^ KEY);
}

/* A frame that was begun is sent before it counts as written: after EAGAIN the same bytes come. */
static ssize_t masked_write(void *filter, const void *data, size_t n)
{
    struct masked *m = filter;
    const unsigned char *from = data;
    size_t len = SMX_MIN(n, (size_t)BLOCK);

    if (m->out_len == 0) {
        m->out[0] = (unsigned char)len;
        for (size_t i = 0; i < len; i++)
            m->out[1 + i] = from[i] ^ KEY;
        m->out_len = 1 + len;
    }
    same_again(m, from, n);
    if (send_frame(m) < 0)
        return -1;
    len = m->out[0];
    m->out_len = m->out_pos = 0;
    return (ssize_t)len;
}

static int masked_close_write(void *filter)
{
    struct masked *m = filter;

    m->closed = true;
    return shutdown(m->fd, SHUT_WR);
}

static void masked_free(void *filter)
{
    struct masked *m = filter;

    ASSERT_INT(fcntl(m->fd, F_GETFD), >=, 0); /* still open */
    m->freed = true;
}

static const struct io_filter_ops masked_ops = {
    .read = masked_read,
    .write = masked_write,
    .close_write = masked_close_write,
    .free = masked_free,
};

static void mask(struct io_fd *f, struct masked *m)
{
    *m = (struct masked){ .fd = f->fd };
    io_fd_filter(f, &masked_ops, m);
}

/* p.a has the filter; p.b sees the wire. */
static void one_masked(struct pair *p, struct masked *m)
{
    pair_init(p);
    mask(&p->a, m);
}

static void put(struct pair *p, const void *wire, size_t n)
{
    ASSERT_EQ(io_write(&p->b, wire, n, 1000, NULL), 0);
}

FIBER_TEST(bytes_pass_through_the_filter)
{
    struct pair p;
    struct masked m;
    char buf[8];

    one_masked(&p, &m);
    ASSERT_EQ(io_write(&p.a, "abc", 3, 1000, NULL), 0);
    ASSERT_EQ(io_read(&p.b, buf, sizeof buf, in_ms(1000), NULL), 4);
    ASSERT_MEM(buf, 4, "\3;89", 4);
    put(&p, "\2;8", 3);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1000), NULL), 2);
    ASSERT_MEM(buf, 2, "ab", 2);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1), NULL), -SMX_E_TIMEOUT);
    pair_done(&p);
    ASSERT_TRUE(m.freed);
}

/* Half a frame is no byte: neither a read nor a wait is woken for good by it. */
FIBER_TEST(a_wait_says_nothing_for_half_a_frame)
{
    struct pair p;
    struct masked m;
    struct io_wait w = { .fd = &p.a, .events = IO_READ };
    char buf[8];

    one_masked(&p, &m);
    put(&p, "\3;", 2);
    ASSERT_EQ(io_wait(&w, 1, in_ms(5)), -SMX_E_TIMEOUT);
    put(&p, "8", 1);
    ASSERT_EQ(io_wait(&w, 1, in_ms(5)), -SMX_E_TIMEOUT);
    put(&p, "9", 1);
    ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
    ASSERT_EQ(w.ready, IO_READ);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, 0, NULL), 3);
    ASSERT_MEM(buf, 3, "abc", 3);
    ASSERT_EQ(io_wait(&w, 1, in_ms(1)), -SMX_E_TIMEOUT);
    pair_done(&p);
}

/* What the filter holds is seen by a wait, though the descriptor is silent. */
FIBER_TEST(a_wait_sees_what_the_filter_holds)
{
    struct pair p;
    struct masked m;
    struct io_wait w = { .fd = &p.a, .events = IO_READ | IO_HUP };
    char c;

    one_masked(&p, &m);
    put(&p, "\3;89", 4);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3; k++)
            ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
        ASSERT_EQ(w.ready, IO_READ);
        ASSERT_EQ(io_read(&p.a, &c, 1, in_ms(1000), NULL), 1);
        ASSERT_EQ(c, 'a' + i);
    }
    ASSERT_EQ(io_wait(&w, 1, in_ms(1)), -SMX_E_TIMEOUT);
    pair_done(&p);
}

struct sleeper {
    struct io_fd *fd;
    int r;
    unsigned ready;
};

static void wait_for_bytes(void *arg)
{
    struct sleeper *s = arg;
    struct io_event never;
    struct io_wait w[] = { { .event = &never }, { .fd = s->fd, .events = IO_READ } };

    io_event_init(&never);
    s->r = io_wait(w, 2, in_ms(10000));
    s->ready = w[1].ready;
}

/* Frames that come in pieces while a fiber sleeps wake it once, when the first is whole. */
FIBER_TEST(a_sleeping_wait_is_woken_by_a_whole_frame)
{
    struct pair p;
    struct masked m;
    struct sleeper s = { .fd = &p.a, .r = 77 };
    char c;

    one_masked(&p, &m);
    spawn("sleeper", wait_for_bytes, &s);
    for (int i = 0; i < 3; i++) {
        put(&p, &"\3;8"[i], 1);
        io_sleep_until(in_ms(2));
        ASSERT_EQ(s.r, 77);
    }
    put(&p, "9", 1);
    join_all();
    ASSERT_EQ(s.r, 1);
    ASSERT_EQ(s.ready, IO_READ);
    ASSERT_EQ(io_read(&p.a, &c, 1, 0, NULL), 1);
    ASSERT_EQ(c, 'a');
    pair_done(&p);
}

FIBER_TEST(closing_wakes_a_sleeping_wait)
{
    struct pair p;
    struct masked m;
    struct sleeper s = { .fd = &p.a };

    one_masked(&p, &m);
    spawn("sleeper", wait_for_bytes, &s);
    io_yield();
    put(&p, "\1;", 2);
    io_fd_done(&p.a);
    join_all();
    ASSERT_EQ(s.r, -SMX_E_CANCELLED);
    pair_done(&p);
}

/* The end and an error stay, even when the filter says them once. */
FIBER_TEST(end_and_errors_stay)
{
    struct io_wait w = { .events = IO_READ };
    struct smx_err err;
    struct masked m;
    struct pair p;
    char buf[4];

    for (int kind = 0; kind < 3; kind++) {
        one_masked(&p, &m);
        put(&p, "\2;89", kind == 2 ? 4 : 3);
        w.fd = &p.a;
        ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
        if (kind == 1)
            m.fail = ECONNRESET;
        io_fd_done(&p.b);
        ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1000), NULL), 2);
        for (int i = 0; i < 3; i++) {
            ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
            ASSERT_INT(w.ready & IO_READ, ==, IO_READ);
            err = (struct smx_err){ 0 };
            ASSERT_INT(io_read(&p.a, buf, sizeof buf, in_ms(1000), &err), ==,
                kind == 0   ? 0
                : kind == 1 ? -SMX_E_CLOSED
                            : -(int)err.code);
            ASSERT_EQ(err.os_errno, kind == 0 ? 0 : kind == 1 ? ECONNRESET : EPROTO);
        }
        pair_done(&p);
    }
}

FIBER_TEST(a_peer_that_is_gone_is_seen_through_the_filter)
{
    struct pair p;
    struct masked m;
    struct io_wait w = { .fd = &p.a, .events = IO_HUP };

    one_masked(&p, &m);
    ASSERT_EQ(io_wait(&w, 1, in_ms(1)), -SMX_E_TIMEOUT);
    io_fd_done(&p.b);
    ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
    ASSERT_EQ(io_write(&p.a, "x", 1, 1000, NULL), -SMX_E_CLOSED);
    pair_done(&p);
}

FIBER_TEST(closing_the_sending_side_goes_through_the_filter)
{
    static const struct io_filter_ops bare = { .read = masked_read, .write = masked_write };
    struct masked m;
    struct pair p;
    char c;

    one_masked(&p, &m);
    ASSERT_EQ(io_close_write(&p.a), 0);
    ASSERT_TRUE(m.closed);
    ASSERT_EQ(io_read(&p.b, &c, 1, in_ms(1000), NULL), 0);
    ASSERT_EQ(io_close_write(&p.b), 0);
    ASSERT_EQ(io_read(&p.a, &c, 1, in_ms(1000), NULL), 0);
    pair_done(&p);
    pair_init(&p);
    m = (struct masked){ .fd = p.a.fd };
    io_fd_filter(&p.a, &bare, &m);
    ASSERT_EQ(io_close_write(&p.a), 0);
    ASSERT_EQ(io_read(&p.b, &c, 1, in_ms(1), NULL), -SMX_E_TIMEOUT);
    pair_done(&p);
    ASSERT_TRUE(!m.freed);
}

/* Both ends masked; small and large vectors, a reader that falls behind (EAGAIN, short writes). */
FIBER_TEST(streams_arrive_whole_through_filters)
{
    enum { N = 1000 * 1000 };

    for (int kind = 0; kind < 2; kind++) {
        struct pair p;
        struct masked a, b;
        struct stream s = { .n = N };

        if (kind == 0)
            pair_init(&p);
        else
            tcp_pair(&p);
        mask(&p.a, &a);
        mask(&p.b, &b);
        s.fd = &p.a;
        spawn("writer", write_stream, &s);
        ASSERT_EQ(read_stream(&p.b), N);
        ASSERT_EQ(s.r, 0);
        join_all();
        pair_done(&p);
    }
}

FIBER_TEST(vectors_are_written_in_order_through_a_filter)
{
    enum { N = 300 * 1000 };
    unsigned char *data = smx_alloc(N);
    struct iovec iov[40];
    struct stream s;
    struct masked a, b;
    struct pair p;
    size_t at = 0;

    for (size_t i = 0; i < N; i++)
        data[i] = pattern(i);
    for (size_t i = 0; i < SMX_ARRAY_LEN(iov); i++) {
        size_t n = i % 7 == 3 ? 0 : i == 20 ? 40000 : i * 137 % 3000;

        if (i + 1 == SMX_ARRAY_LEN(iov))
            n = N - at;
        iov[i] = (struct iovec){ data + at, n };
        at += n;
    }
    pair_init(&p);
    mask(&p.a, &a);
    mask(&p.b, &b);
    s = (struct stream){ .fd = &p.b };
    spawn("slow", slow_reader, &s);
    ASSERT_EQ(io_writev(&p.a, iov, SMX_ARRAY_LEN(iov), 1000, NULL), 0);
    io_fd_done(&p.a);
    join_all();
    ASSERT_EQ(s.seen, N);
    smx_free(data);
    pair_done(&p);
}

FIBER_TEST(a_full_filter_times_out_without_progress)
{
    struct pair p;
    struct masked m;
    char *data = smx_alloc(4 * 1024 * 1024);

    one_masked(&p, &m);
    ASSERT_EQ(io_write(&p.a, data, 4 * 1024 * 1024, 5, NULL), -SMX_E_TIMEOUT);
    smx_free(data);
    pair_done(&p);
}

struct hop {
    struct io_fd *from, *to;
    int64_t moved;
};

static void copy_on(void *arg)
{
    struct hop *h = arg;

    h->moved = io_copy(h->to, h->from, UINT64_MAX, 10000, NULL);
    io_fd_done(h->to);
}

/* Out of a filter, into one, and from one into another. */
FIBER_TEST(copies_go_through_filters)
{
    enum { N = 500 * 1000 };

    for (int kind = 1; kind < 4; kind++) {
        struct pair in, out;
        struct masked m[4];
        struct hop h = { .from = &in.b, .to = &out.a };
        struct stream s = { .fd = &in.a, .n = N };

        pair_init(&in);
        pair_init(&out);
        for (int i = 0; i < 2 && kind & 1; i++)
            mask(i ? &in.b : &in.a, &m[i]);
        for (int i = 0; i < 2 && kind & 2; i++)
            mask(i ? &out.b : &out.a, &m[2 + i]);
        spawn("writer", write_stream, &s);
        spawn("copy", copy_on, &h);
        ASSERT_EQ(read_stream(&out.b), N);
        join_all();
        ASSERT_INT(h.moved, ==, N);
        pair_done(&in);
        pair_done(&out);
    }
}

FIBER_TEST(taking_the_descriptor_frees_the_filter)
{
    struct masked m;
    struct pair p;
    int fd;

    one_masked(&p, &m);
    fd = io_fd_take(&p.a);
    ASSERT_TRUE(m.freed);
    ASSERT_EQ(send(fd, "x", 1, 0), 1);
    smx_close(fd);
    pair_done(&p);
}
