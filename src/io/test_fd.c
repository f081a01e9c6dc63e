/* test_fd.c - descriptors, waiting, reading and writing. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/test_linger.h"
#include "io/test_streams.h"

FIBER_TEST(read_waits_for_data_and_sees_eof)
{
    struct pair p;
    char buf[8];

    pair_init(&p);
    ASSERT_EQ(io_loop_fds(io_loop_self()), 2);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1), NULL), -SMX_E_TIMEOUT);
    ASSERT_EQ(io_write(&p.b, "hello", 5, 1000, NULL), 0);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1000), NULL), 5);
    ASSERT_MEM(buf, 5, "hello", 5);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1), NULL), -SMX_E_TIMEOUT);
    io_fd_done(&p.b);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1000), NULL), 0);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1000), NULL), 0);
    pair_done(&p);
}

/* No wake-up is lost however reads and writes interleave, on each kind of stream. */
FIBER_TEST(streams_arrive_whole)
{
    enum { N = 3 * 1000 * 1000 };

    for (int kind = 0; kind < 2; kind++) {
        struct pair p;
        struct stream s = { .n = N };

        if (kind == 0)
            pair_init(&p);
        else
            tcp_pair(&p);
        s.fd = &p.a;
        spawn("writer", write_stream, &s);
        ASSERT_EQ(read_stream(&p.b), N);
        ASSERT_EQ(s.r, 0);
        join_all();
        pair_done(&p);
    }
}

FIBER_TEST(write_times_out_only_without_progress)
{
    struct pair p;
    char *data = smx_alloc(4 * 1024 * 1024), buf[65536];
    struct smx_err err = { 0 };

    pair_init(&p);
    ASSERT_EQ(io_write(&p.a, data, 4 * 1024 * 1024, 5, &err), -SMX_E_TIMEOUT);
    ASSERT_EQ(err.code, SMX_E_TIMEOUT);
    ASSERT_INT(io_read(&p.b, buf, sizeof buf, in_ms(1000), NULL), >, 0);
    smx_free(data);
    pair_done(&p);
}

/* Longer in all than the idle time, which starts anew with each piece. */
FIBER_TEST(slow_progress_is_progress)
{
    enum { N = 2 * 1024 * 1024 };
    struct pair p;
    struct stream s = { .fd = &p.b };
    unsigned char *data = smx_alloc(N);

    for (size_t i = 0; i < N; i++)
        data[i] = pattern(i);
    pair_init(&p);
    spawn("slow", slow_reader, &s);
    ASSERT_EQ(io_write(&p.a, data, N, 1000, NULL), 0);
    io_fd_done(&p.a);
    join_all();
    ASSERT_EQ(s.seen, N);
    smx_free(data);
    pair_done(&p);
}

FIBER_TEST(write_to_a_closed_peer_is_closed_not_a_signal)
{
    struct pair p;
    struct smx_err err = { 0 };
    int fds[2];
    struct io_fd w;

    pair_init(&p);
    io_fd_done(&p.b);
    ASSERT_EQ(io_write(&p.a, "x", 1, 1000, &err), -SMX_E_CLOSED);
    ASSERT_EQ(err.os_errno, EPIPE);
    pair_done(&p);
    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    smx_close(fds[0]);
    ASSERT_EQ(io_fd_init(&w, fds[1], NULL), 0);
    ASSERT_EQ(io_write(&w, "x", 1, 1000, NULL), -SMX_E_CLOSED);
    io_fd_done(&w);
}

FIBER_TEST(reset_connection_is_closed)
{
    struct linger hard = { .l_onoff = 1 };
    struct pair p;
    char c;

    tcp_pair(&p);
    setsockopt(p.a.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    io_fd_done(&p.a);
    ASSERT_EQ(io_read(&p.b, &c, 1, in_ms(1000), NULL), -SMX_E_CLOSED);
    pair_done(&p);
}

FIBER_TEST(vectors_are_written_in_order)
{
    struct pair p;
    char a[] = "one", b[] = "", c[] = "twothree", buf[32] = "";
    struct iovec iov[] = { { b, 0 }, { a, 3 }, { b, 0 }, { c, 8 }, { b, 0 } };

    pair_init(&p);
    ASSERT_EQ(io_writev(&p.a, iov, 5, 1000, NULL), 0);
    ASSERT_EQ(io_writev(&p.a, NULL, 0, 1000, NULL), 0);
    ASSERT_EQ(io_read(&p.b, buf, sizeof buf, in_ms(1000), NULL), 11);
    ASSERT_STR(buf, "onetwothree");
    pair_done(&p);
}

/* --- waiting --- */

static void set_event(void *arg)
{
    io_event_set(arg);
}

FIBER_TEST(wait_says_which_is_ready)
{
    struct pair p;
    struct io_event e;
    struct io_wait w[3] = { { .fd = &p.a, .events = IO_READ }, { .event = &e },
        { .fd = &p.b, .events = IO_READ | IO_HUP } };

    pair_init(&p);
    io_event_init(&e);
    ASSERT_EQ(io_wait(w, 3, in_ms(1)), -SMX_E_TIMEOUT);
    spawn("set", set_event, &e);
    ASSERT_EQ(io_wait(w, 3, SMX_FOREVER), 1);
    ASSERT_EQ(w[0].ready, 0);
    ASSERT_EQ(w[1].ready, 1);
    ASSERT_EQ(w[2].ready, 0);
    ASSERT_EQ(io_write(&p.b, "x", 1, 1000, NULL), 0);
    ASSERT_EQ(io_wait(w, 1, in_ms(1000)), 1);
    ASSERT_EQ(w[0].ready, IO_READ);
    ASSERT_EQ(io_wait(w, 2, in_ms(1000)), 2);
    io_event_clear(&e);
    w[0].events = IO_READ | IO_WRITE;
    ASSERT_EQ(io_wait(w, 2, in_ms(1000)), 1);
    ASSERT_EQ(w[0].ready, IO_READ | IO_WRITE);
    pair_done(&p);
}

/* Whoever consumed the bytes, and however many it asked for. */
FIBER_TEST(wait_never_reports_what_was_read_already)
{
    struct pair p;
    struct io_wait w = { .fd = &p.a, .events = IO_READ };
    char buf[4];

    pair_init(&p);
    for (int round = 0; round < 3; round++) {
        ASSERT_EQ(io_write(&p.b, "abcd", 4, 1000, NULL), 0);
        ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
        if (round == 0)
            ASSERT_EQ(io_read(&p.a, buf, 4, 0, NULL), 4);
        else if (round == 1)
            ASSERT_EQ(read(p.a.fd, buf, 4), 4);
        else
            ASSERT_EQ(recv(p.a.fd, buf, 3, 0), 3);
        ASSERT_EQ(io_wait(&w, 1, in_ms(1)), round < 2 ? -SMX_E_TIMEOUT : 1);
    }
    pair_done(&p);
}

FIBER_TEST(deadline_in_the_past_asks_only)
{
    struct pair p;
    struct io_wait w = { .fd = &p.a, .events = IO_READ };

    pair_init(&p);
    ASSERT_EQ(io_wait(&w, 1, 0), -SMX_E_TIMEOUT);
    ASSERT_EQ(io_write(&p.b, "x", 1, 1000, NULL), 0);
    ASSERT_EQ(io_wait(&w, 1, 0), 1);
    pair_done(&p);
}

/* The peer leaves while its last bytes are unread: who watches for that is told. */
FIBER_TEST(hup_is_seen_with_unread_bytes)
{
    for (int kind = 0; kind < 2; kind++) {
        struct pair p;
        struct io_wait w = { .fd = &p.a, .events = IO_HUP };
        char buf[8];

        if (kind == 0)
            pair_init(&p);
        else
            tcp_pair(&p);
        ASSERT_EQ(io_write(&p.b, "xyz", 3, 1000, NULL), 0);
        ASSERT_EQ(io_wait(&w, 1, in_ms(2)), -SMX_E_TIMEOUT);
        io_fd_done(&p.b);
        ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
        ASSERT_EQ(w.ready, IO_HUP);
        ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
        ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1000), NULL), 3);
        ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1000), NULL), 0);
        pair_done(&p);
    }
}

FIBER_TEST(hup_of_a_pipe)
{
    int fds[2];
    struct io_fd r;
    struct io_wait w = { .fd = &r, .events = IO_HUP };
    char c;

    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    ASSERT_EQ(io_fd_init(&r, fds[0], NULL), 0);
    ASSERT_EQ(io_wait(&w, 1, in_ms(1)), -SMX_E_TIMEOUT);
    smx_close(fds[1]);
    ASSERT_EQ(io_wait(&w, 1, in_ms(1000)), 1);
    ASSERT_EQ(io_read(&r, &c, 1, in_ms(1000), NULL), 0);
    io_fd_done(&r);
}

FIBER_TEST(a_new_pipe_says_what_is_there_already_what_comes_and_its_end)
{
    int fds[2];
    struct io_fd r;
    char text[16];

    for (int early = 0; early < 2; early++) {
        ASSERT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        if (early)
            ASSERT_EQ(write(fds[1], "early", 5), 5);
        ASSERT_EQ(io_fd_init_pipe(&r, fds[0], NULL), 0);
        if (early)
            ASSERT_EQ(io_read(&r, text, sizeof text, in_ms(1000), NULL), 5);
        ASSERT_EQ(io_read(&r, text, sizeof text, in_ms(1), NULL), -SMX_E_TIMEOUT);
        ASSERT_EQ(write(fds[1], "late", 4), 4);
        ASSERT_EQ(io_read(&r, text, 3, in_ms(1000), NULL), 3);
        ASSERT_EQ(io_read(&r, text, sizeof text, in_ms(1000), NULL), 1);
        smx_close(fds[1]);
        ASSERT_EQ(io_read(&r, text, sizeof text, in_ms(1000), NULL), 0);
        io_fd_done(&r);
    }
}

struct watcher {
    struct io_fd *fd;
    unsigned events;
    int r;
};

static void watch(void *arg)
{
    struct watcher *w = arg;
    struct io_wait wait = { .fd = w->fd, .events = w->events };

    w->r = io_wait(&wait, 1, in_ms(5000));
}

FIBER_TEST(closing_a_descriptor_cancels_who_waits_for_it)
{
    struct pair p;
    struct watcher w[3] = { { &p.a, IO_READ, 9 }, { &p.a, IO_HUP, 9 }, { &p.a, IO_READ, 9 } };

    pair_init(&p);
    for (int i = 0; i < 2; i++)
        spawn("watch", watch, &w[i]);
    io_yield();
    io_fd_done(&p.a);
    ASSERT_EQ(p.a.fd, -1);
    spawn("late", watch, &w[2]);
    memset(&p.a.waiters, 0x55, sizeof p.a.waiters);
    join_all();
    for (int i = 0; i < 3; i++)
        ASSERT_EQ(w[i].r, -SMX_E_CANCELLED);
    io_fd_done(&p.b);
}

/* The number of a closed descriptor is used again at once: waits for the old one end, the new one
 * gets its own events only. */
FIBER_TEST(descriptor_numbers_may_be_reused)
{
    struct pair p, q;
    struct watcher old = { &p.a, IO_READ, 9 }, new = { &q.a, IO_READ, 9 };
    int number, copy;

    pair_init(&p);
    spawn("old", watch, &old);
    io_yield();
    number = p.a.fd;
    copy = dup(p.b.fd);
    io_fd_done(&p.a);
    pair_init(&q);
    ASSERT_TRUE(q.a.fd == number || q.b.fd == number);
    spawn("new", watch, &new);
    io_yield();
    ASSERT_EQ(old.r, -SMX_E_CANCELLED);
    ASSERT_EQ(write(copy, "x", 1), -1);
    io_sleep_until(in_ms(2));
    ASSERT_EQ(new.r, 9);
    ASSERT_EQ(io_write(&q.b, "x", 1, 1000, NULL), 0);
    join_all();
    ASSERT_EQ(new.r, 1);
    smx_close(copy);
    io_fd_done(&p.b);
    pair_done(&q);
}

/* A duplicate keeps the open file alive, but epoll must forget it with the io_fd. */
FIBER_TEST(no_event_of_a_closed_io_fd)
{
    struct io_fd *f = smx_alloc(sizeof *f);
    int fds[2], copy;

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ASSERT_EQ(io_fd_init(f, fds[0], NULL), 0);
    copy = dup(fds[0]);
    io_fd_done(f);
    smx_free(f);
    ASSERT_EQ(write(fds[1], "x", 1), 1);
    io_sleep_until(in_ms(2));
    smx_close(copy);
    smx_close(fds[1]);
}

FIBER_TEST(take_gives_the_descriptor_back)
{
    struct pair p;
    int fd;
    char c;

    pair_init(&p);
    ASSERT_EQ(io_write(&p.b, "x", 1, 1000, NULL), 0);
    fd = io_fd_take(&p.a);
    ASSERT_TRUE(fd >= 0);
    ASSERT_EQ(io_fd_take(&p.a), -1);
    ASSERT_EQ(io_loop_fds(io_loop_self()), 1);
    ASSERT_EQ(read(fd, &c, 1), 1);
    ASSERT_TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ASSERT_EQ(io_fd_init(&p.a, fd, NULL), 0);
    pair_done(&p);
}

FIBER_TEST(bad_descriptor_is_an_error)
{
    struct io_fd f;
    struct smx_err err = { 0 };

    ASSERT_INT(io_fd_init(&f, -1, &err), <, 0);
    ASSERT_EQ(f.fd, -1);
    io_fd_done(&f);
    ASSERT_INT(io_fd_init_pipe(&f, -1, &err), <, 0);
    ASSERT_EQ(f.fd, -1);
    io_fd_done(&f);
}

FIBER_TEST(cancelled_fiber_neither_reads_nor_writes)
{
    struct pair p;
    struct smx_err err = { 0 };
    char c;

    pair_init(&p);
    ASSERT_EQ(io_write(&p.b, "x", 1, 1000, NULL), 0);
    io_fiber_cancel(io_fiber_self());
    ASSERT_EQ(io_read(&p.a, &c, 1, SMX_FOREVER, &err), -SMX_E_CANCELLED);
    ASSERT_EQ(err.code, SMX_E_CANCELLED);
    ASSERT_EQ(io_write(&p.a, &c, 1, 1000, NULL), -SMX_E_CANCELLED);
    ASSERT_EQ(io_copy(&p.a, &p.a, 1, 1000, NULL), -SMX_E_CANCELLED);
    pair_done(&p);
}

static void count_until(void *arg)
{
    struct stream *s = arg;

    while (s->r == 0) {
        s->seen++;
        io_yield();
    }
}

/* A source that always has data does not keep the loop to itself. */
FIBER_TEST(always_ready_descriptor_yields)
{
    struct stream other = { .r = 0 };
    struct io_fd zero;
    char buf[65536];

    ASSERT_EQ(io_fd_init(&zero, open("/dev/zero", O_RDONLY | O_CLOEXEC), NULL), 0);
    spawn("other", count_until, &other);
    for (int i = 0; i < 100; i++)
        ASSERT_EQ(io_read(&zero, buf, sizeof buf, SMX_FOREVER, NULL), sizeof buf);
    ASSERT_INT(other.seen, >=, 20);
    other.seen = 0;
    for (int i = 0; i < 5000; i++)
        ASSERT_EQ(io_read(&zero, buf, 1, SMX_FOREVER, NULL), 1);
    ASSERT_INT(other.seen, >=, 5);
    other.r = 1;
    join_all();
    io_fd_done(&zero);
}

/* --- everything at once --- */

enum { LANES = 12, STORM_BYTES = 300000 };

struct lane {
    struct pair pair;
    struct io_fiber *reader, *writer;
    size_t written, seen;
    bool wrong, writer_ended, reader_ended;
    unsigned seed;
};

static void storm_writer(void *arg)
{
    struct lane *l = arg;
    unsigned char buf[3000];
    int r = 0;

    while (r == 0 && l->written < STORM_BYTES) {
        size_t n = (size_t)(rand_r(&l->seed) % (int)sizeof buf) + 1;

        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(l->written + i);
        r = io_write(&l->pair.a, buf, n, 10000, NULL);
        l->written += r == 0 ? n : 0;
        if (rand_r(&l->seed) % 8 == 0)
            io_yield();
    }
    if (r == 0)
        shutdown(l->pair.a.fd, SHUT_WR);
    l->writer_ended = true;
}

/* Reads with and without waiting first, with deadlines that may pass. */
static void storm_reader(void *arg)
{
    struct lane *l = arg;
    unsigned char buf[4000];
    ssize_t r = 1;

    while (r > 0 || r == -SMX_E_TIMEOUT) {
        struct io_wait w = { .fd = &l->pair.b, .events = IO_READ | IO_HUP };
        uint64_t deadline = rand_r(&l->seed) % 3 ? SMX_FOREVER : smx_now_ns() + 20000;

        if (rand_r(&l->seed) % 4 == 0 && io_wait(&w, 1, deadline) == -SMX_E_CANCELLED)
            break;
        r = io_read(&l->pair.b, buf, (size_t)(rand_r(&l->seed) % 4000) + 1, deadline, NULL);
        for (ssize_t i = 0; i < r; i++)
            l->wrong |= buf[i] != pattern(l->seen++);
    }
    l->reader_ended = true;
}

static void storm_watcher(void *arg)
{
    struct lane *l = arg;
    struct io_wait w = { .fd = &l->pair.b, .events = IO_HUP };

    io_wait(&w, 1, SMX_FOREVER);
}

static void lane_start(struct lane *l, unsigned seed)
{
    struct io_loop *loop = io_loop_self();

    *l = (struct lane){ .seed = seed };
    pair_init(&l->pair);
    ASSERT_EQ(io_fiber_spawn(loop, "writer", storm_writer, l, &l->writer, NULL), 0);
    ASSERT_EQ(io_fiber_spawn(loop, "reader", storm_reader, l, &l->reader, NULL), 0);
    spawn("watcher", storm_watcher, l);
}

/* Twelve streams; every third is broken off by closing it or cancelling an end in the middle. What
 * was read is always what was written, and the others arrive whole. */
FIBER_TEST(storm)
{
    struct lane *lanes = smx_alloc_array(LANES, sizeof *lanes);

    for (unsigned i = 0; i < LANES; i++)
        lane_start(&lanes[i], i + 1);
    for (int i = 0; i < LANES; i += 3) {
        struct lane *l = &lanes[i];

        while (l->seen < STORM_BYTES / 4)
            io_sleep_until(smx_now_ns() + 50000);
        if (i % 2 && !l->reader_ended)
            io_fiber_cancel(l->reader);
        if (!l->writer_ended)
            io_fiber_cancel(l->writer);
        pair_done(&l->pair);
    }
    join_all();
    for (int i = 0; i < LANES; i++) {
        ASSERT_FALSE(lanes[i].wrong);
        ASSERT_TRUE(lanes[i].reader_ended && lanes[i].writer_ended);
        if (i % 3 != 0)
            ASSERT_INT(lanes[i].seen, >=, STORM_BYTES);
        pair_done(&lanes[i].pair);
    }
    smx_free(lanes);
}

/* --- what comes from somebody hostile ----------------------------------------------------------
 */

static void pass(struct io_fd *to, const char *text)
{
    int tcp[2];

    ASSERT_EQ(lingering(tcp), 0);
    ASSERT_EQ(io_send_fds(to, text, strlen(text), tcp, 1, in_ms(1000), NULL), 0);
    smx_close(tcp[0]); /* the other end stays open: it would not linger otherwise */
}

/* Reads, copies and the end drop what came along, and none waits for a socket that lingers. */
FIBER_TEST(a_distrusted_stream_keeps_nobody)
{
    uint64_t begun = now_ms();
    struct pair p, out;
    char buf[8];
    int none = 1;

    pair_init(&p);
    pair_init(&out);
    ASSERT_FALSE(io_fd_distrusted(&p.a));
    io_fd_distrust(&p.a);
    ASSERT_TRUE(io_fd_distrusted(&p.a));
    pass(&p.b, "one");
    pass(&p.b, "two");
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1000), NULL), 3); /* there is more */
    ASSERT_EQ(io_read_passed(&p.a, buf, sizeof buf, &none, in_ms(1000), NULL), 3);
    pass(&p.b, "three");
    ASSERT_EQ(io_copy(&out.a, &p.a, 5, 1000, NULL), 5);
    ASSERT_EQ(io_read(&p.a, buf, sizeof buf, in_ms(1), NULL), -SMX_E_TIMEOUT);
    pass(&p.b, "four");
    pair_done(&p);
    pair_done(&out);
    ASSERT_INT(now_ms() - begun, <, LINGER_PATIENCE_MS);
}
