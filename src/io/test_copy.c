/* test_copy.c - moving bytes from one descriptor to another. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "io/priv.h"
#include "io/test_streams.h"

struct relay {
    struct io_fd *to, *from;
    uint64_t n, idle_ms;
    int64_t r;
};

static void run_copy(void *arg)
{
    struct relay *c = arg;

    c->r = io_copy(c->to, c->from, c->n, c->idle_ms, NULL);
    if (c->r >= 0 && c->n == UINT64_MAX)
        shutdown(c->to->fd, SHUT_WR);
}

static void copy_stream(uint64_t limit, size_t expected)
{
    struct pair in, out;
    struct stream s = { .n = 2 * 1000 * 1000 };
    struct relay c = { .n = limit, .idle_ms = 5000, .r = -1 };

    pair_init(&in);
    tcp_pair(&out);
    s.fd = &in.a;
    c.from = &in.b;
    c.to = &out.a;
    spawn("writer", write_stream, &s);
    spawn("copy", run_copy, &c);
    if (limit == UINT64_MAX) {
        ASSERT_EQ(read_stream(&out.b), expected);
    } else {
        char *buf = smx_alloc(expected + 1);
        size_t got = 0;
        ssize_t r;

        while (got < expected &&
               (r = io_read(&out.b, buf + got, expected + 1 - got, in_ms(5000), NULL)) > 0)
            got += (size_t)r;
        ASSERT_EQ(got, expected);
        for (size_t i = 0; i < got; i++)
            ASSERT_EQ((unsigned char)buf[i], pattern(i));
        smx_free(buf);
        io_fd_done(&in.b);
    }
    join_all();
    ASSERT_EQ(c.r, expected);
    pair_done(&in);
    pair_done(&out);
}

FIBER_TEST(copy_until_eof)
{
    copy_stream(UINT64_MAX, 2 * 1000 * 1000);
}

FIBER_TEST(copy_stops_at_its_limit)
{
    copy_stream(1234567, 1234567);
}

static void temp_file(struct io_fd *f, int flags, size_t n)
{
    char path[] = "/tmp/sandmux-test-XXXXXX";
    unsigned char *data = smx_alloc(n);
    int fd = mkstemp(path);

    for (size_t i = 0; i < n; i++)
        data[i] = pattern(i);
    ASSERT_EQ(smx_write_full(fd, data, n), 0);
    smx_free(data);
    smx_close(fd);
    ASSERT_EQ(io_fd_init(f, open(path, O_RDWR | O_CLOEXEC | flags), NULL), 0);
    unlink(path);
}

/* A file opened for appending takes no splice: what is in the pipe already goes by copy. */
FIBER_TEST(copy_falls_back_where_splice_does_not_work)
{
    static const int flags[] = { 0, O_APPEND };

    for (int i = 0; i < 2; i++) {
        struct io_fd from, to;
        unsigned char buf[1000];

        temp_file(&from, 0, 100000);
        temp_file(&to, flags[i], 0);
        ASSERT_EQ(io_copy(&to, &from, UINT64_MAX, 1000, NULL), 100000);
        for (size_t at = 0; at < 100000; at += sizeof buf) {
            ASSERT_EQ(pread(to.fd, buf, sizeof buf, (off_t)at), sizeof buf);
            for (size_t k = 0; k < sizeof buf; k++)
                ASSERT_EQ(buf[k], pattern(at + k));
        }
        io_fd_done(&from);
        io_fd_done(&to);
    }
}

/* A file of /proc that knows read only. */
FIBER_TEST(copy_from_a_source_without_splice)
{
    struct pair p;
    struct io_fd from;
    char copied[512], direct[512];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, direct, sizeof direct);

    smx_close(fd);
    pair_init(&p);
    ASSERT_EQ(
        io_fd_init(&from, open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC), /* err= */ NULL), 0);
    ASSERT_EQ(io_copy(&p.a, &from, UINT64_MAX, 1000, NULL), n);
    ASSERT_EQ(io_read(&p.b, copied, sizeof copied, in_ms(1000), NULL), n);
    ASSERT_MEM(copied, (size_t)n, direct, (size_t)n);
    io_fd_done(&from);
    pair_done(&p);
}

/* No descriptor left for a pipe: by copy, and what the slow receiver does not take at once waits on
 * the heap. */
FIBER_TEST(copy_without_a_pipe_to_a_slow_receiver)
{
    enum { N = 1500000 };
    struct pair p;
    struct io_fd from;
    struct relay c = { .n = N, .idle_ms = 5000, .r = -1 };
    struct stream s = { .fd = &p.b };
    struct rlimit old, none;
    int lowest;

    pair_init(&p);
    temp_file(&from, 0, N);
    lowest = dup(0);
    smx_close(lowest);
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){ .rlim_cur = (rlim_t)lowest, .rlim_max = old.rlim_max };
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    c.from = &from;
    c.to = &p.a;
    spawn("copy", run_copy, &c);
    spawn("reader", slow_reader, &s);
    while (c.r == -1)
        io_sleep_until(in_ms(1));
    setrlimit(RLIMIT_NOFILE, &old);
    ASSERT_EQ(c.r, N);
    io_fd_done(&p.a);
    join_all();
    ASSERT_EQ(s.seen, N);
    io_fd_done(&from);
    pair_done(&p);
}

FIBER_TEST(copy_from_silence_times_out_and_sees_a_lost_receiver)
{
    struct pair in, out;
    struct relay c = { .n = UINT64_MAX, .idle_ms = UINT64_MAX, .r = 1 };

    pair_init(&in);
    pair_init(&out);
    ASSERT_EQ(io_copy(&out.a, &in.b, UINT64_MAX, 2, NULL), -SMX_E_TIMEOUT);
    c.from = &in.b;
    c.to = &out.a;
    spawn("copy", run_copy, &c);
    io_sleep_until(in_ms(1));
    ASSERT_EQ(c.r, 1);
    io_fd_done(&out.b);
    join_all();
    ASSERT_EQ(c.r, -SMX_E_CLOSED);
    pair_done(&in);
    pair_done(&out);
}

FIBER_TEST(copy_to_a_receiver_that_does_not_read_times_out)
{
    struct pair p;
    struct io_fd from;

    pair_init(&p);
    ASSERT_EQ(io_fd_init(&from, open("/dev/zero", O_RDONLY | O_CLOEXEC), NULL), 0);
    ASSERT_EQ(io_copy(&p.a, &from, UINT64_MAX, 3, NULL), -SMX_E_TIMEOUT);
    io_fd_done(&from);
    pair_done(&p);
}

FIBER_TEST(copy_of_nothing)
{
    struct pair p;

    pair_init(&p);
    ASSERT_EQ(io_copy(&p.a, &p.a, 0, 0, NULL), 0);
    pair_done(&p);
}

FIBER_TEST(unused_pipes_and_buffers_are_given_back)
{
    struct io_loop *loop = io_loop_self();

    loop->trim_period_ns = SMX_NS_PER_MS;
    copy_stream(1234567, 1234567);
    ASSERT_INT(loop->npipes, >, 0);
    while (loop->npipes > 0)
        io_sleep_until(in_ms(1));
    while (loop->trim_ns != 0)
        io_sleep_until(in_ms(1));
    ASSERT_TRUE(loop->scratch == NULL);
}
