/* test_fd.c - descriptors, waiting, reading and writing, sockets, copies. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/test_util.h"

/* A connected pair, both ends on the loop. */
struct pair {
    struct io_fd a, b;
};

static void pair_init(struct pair *p)
{
    int fds[2];

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ASSERT_EQ(io_fd_init(&p->a, fds[0], /* err= */ NULL), 0);
    ASSERT_EQ(io_fd_init(&p->b, fds[1], /* err= */ NULL), 0);
}

static void pair_done(struct pair *p)
{
    io_fd_done(&p->a);
    io_fd_done(&p->b);
}

/* A connected TCP pair over loopback. */
static void tcp_pair(struct pair *p)
{
    struct io_fd listener;
    int fd = -1;
    uint16_t port = 0;
    char host[64];

    ASSERT_EQ(io_listen_tcp("127.0.0.1", 0, &fd, NULL), 0);
    ASSERT_EQ(io_local_address(fd, host, sizeof host, &port, NULL), 0);
    ASSERT_STR(host, "127.0.0.1");
    ASSERT_EQ(io_fd_init(&listener, fd, NULL), 0);
    ASSERT_EQ(io_connect_tcp(host, port, &fd, in_ms(1000), NULL), 0);
    ASSERT_EQ(io_fd_init(&p->a, fd, NULL), 0);
    ASSERT_EQ(io_accept(&listener, &fd, in_ms(1000), NULL), 0);
    ASSERT_EQ(io_fd_init(&p->b, fd, NULL), 0);
    io_fd_done(&listener);
}

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

struct stream {
    struct io_fd *fd;
    size_t n, seen;
    uint64_t sum;
    int r;
};

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + i / 251);
}

static void write_stream(void *arg)
{
    struct stream *s = arg;
    unsigned char buf[777];

    for (size_t i = 0; i < s->n && s->r == 0; i += sizeof buf) {
        size_t len = SMX_MIN(sizeof buf, s->n - i);

        for (size_t k = 0; k < len; k++)
            buf[k] = pattern(i + k);
        s->r = io_write(s->fd, buf, len, 10000, NULL);
    }
    shutdown(s->fd->fd, SHUT_WR);
}

/* Reads of changing sizes until EOF: the offset of the first wrong byte, or the length. */
static size_t read_stream(struct io_fd *f)
{
    unsigned char buf[5000];
    size_t seen = 0, step = 1;
    ssize_t r;

    while ((r = io_read(f, buf, step, in_ms(10000), NULL)) > 0) {
        for (ssize_t k = 0; k < r; k++, seen++)
            if (buf[k] != pattern(seen))
                return seen;
        step = step * 7 % 4999 + 1;
    }
    return seen;
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

/* seen stops growing at the first wrong byte. */
static void slow_reader(void *arg)
{
    unsigned char buf[65536];
    struct stream *s = arg;
    ssize_t r;

    while ((r = io_read(s->fd, buf, sizeof buf, in_ms(10000), NULL)) > 0) {
        for (ssize_t i = 0; i < r && buf[i] == pattern(s->seen); i++)
            s->seen++;
        io_sleep_until(in_ms(2));
    }
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

/* --- sockets --- */

FIBER_TEST(tcp_listen_errors)
{
    struct smx_err err = { 0 };
    int fd = -1, second = -1;
    uint16_t port = 0;
    char host[64];

    ASSERT_EQ(io_listen_tcp("localhost", 0, &fd, &err), -SMX_E_INVALID);
    ASSERT_OK(io_listen_tcp("127.0.0.1", 0, &fd, &err), &err);
    ASSERT_EQ(io_local_address(fd, host, sizeof host, &port, NULL), 0);
    ASSERT_TRUE(port != 0);
    ASSERT_EQ(io_listen_tcp("127.0.0.1", port, &second, &err), -SMX_E_BUSY);
    ASSERT_EQ(second, -1);
    smx_close(fd);
    ASSERT_EQ(io_connect_tcp("127.0.0.1", port, &fd, in_ms(1000), &err), -SMX_E_UNAVAILABLE);
    ASSERT_EQ(err.os_errno, ECONNREFUSED);
}

FIBER_TEST(accept_waits_until_its_deadline)
{
    struct io_fd l;
    int fd = -1;

    ASSERT_EQ(io_listen_tcp("127.0.0.1", 0, &fd, NULL), 0);
    ASSERT_EQ(io_fd_init(&l, fd, NULL), 0);
    ASSERT_EQ(io_accept(&l, &fd, in_ms(1), NULL), -SMX_E_TIMEOUT);
    io_fd_done(&l);
}

FIBER_TEST(unix_socket_replaces_the_dead_only)
{
    char dir[] = "/tmp/sandmux-test-XXXXXX", path[64];
    struct smx_err err = { 0 };
    struct stat st;
    int fd = -1, other = -1;

    ASSERT_TRUE(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/s", dir);
    ASSERT_OK(io_listen_unix(path, 0620, &fd, &err), &err);
    ASSERT_EQ(stat(path, &st), 0);
    ASSERT_EQ(st.st_mode & 0777, 0620);
    ASSERT_EQ(io_listen_unix(path, 0600, &other, &err), -SMX_E_BUSY);
    smx_close(fd);
    ASSERT_OK(io_listen_unix(path, 0600, &fd, &err), &err);
    ASSERT_OK(io_connect_unix(path, &other, in_ms(1000), &err), &err);
    smx_close(other);
    smx_close(fd);
    ASSERT_EQ(io_connect_unix(path, &fd, in_ms(1000), &err), -SMX_E_UNAVAILABLE);
    unlink(path);
    ASSERT_EQ(io_connect_unix(path, &fd, in_ms(1000), &err), -SMX_E_NOT_FOUND);
    smx_close(open(path, O_CREAT | O_WRONLY, 0600));
    ASSERT_EQ(io_listen_unix(path, 0600, &fd, &err), -SMX_E_BUSY);
    unlink(path);
    rmdir(dir);
}

FIBER_TEST(unix_path_is_checked)
{
    char path[200];
    struct smx_err err = { 0 };
    int fd = -1;

    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    ASSERT_EQ(io_listen_unix(path, 0600, &fd, &err), -SMX_E_INVALID);
    ASSERT_EQ(io_connect_unix("", &fd, in_ms(1000), &err), -SMX_E_INVALID);
}

static void connect_late(void *arg)
{
    struct watcher *w = arg;
    int fd = -1;

    w->r = io_connect_unix((const char *)w->fd, &fd, in_ms(5000), NULL);
    smx_close(fd);
}

/* A full backlog is waited for. */
FIBER_TEST(connect_waits_for_a_full_backlog)
{
    char dir[] = "/tmp/sandmux-test-XXXXXX", path[64];
    struct watcher w = { (void *)path, 0, 9 };
    int l = -1, first = -1, second = -1, extra = -1;

    ASSERT_TRUE(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/s", dir);
    ASSERT_EQ(io_listen_unix(path, 0600, &l, NULL), 0);
    ASSERT_EQ(listen(l, 0), 0);
    ASSERT_EQ(io_connect_unix(path, &first, in_ms(1000), NULL), 0);
    ASSERT_EQ(io_connect_unix(path, &extra, in_ms(3), NULL), -SMX_E_TIMEOUT);
    spawn("late", connect_late, &w);
    io_sleep_until(in_ms(5));
    ASSERT_EQ(w.r, 9);
    second = accept(l, NULL, NULL);
    join_all();
    ASSERT_EQ(w.r, 0);
    smx_close(first);
    smx_close(second);
    smx_close(l);
    unlink(path);
    rmdir(dir);
}

FIBER_TEST(messages_carry_descriptors)
{
    int s[2], p[2], got[SMX_FDS_MAX];
    size_t n = SMX_FDS_MAX;
    struct io_fd a, b;
    char buf[16], c = 0;

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
    ASSERT_EQ(pipe2(p, O_CLOEXEC), 0);
    ASSERT_EQ(io_fd_init(&a, s[0], NULL), 0);
    ASSERT_EQ(io_fd_init(&b, s[1], NULL), 0);
    ASSERT_EQ(io_recv_fds(&b, buf, sizeof buf, got, &n, in_ms(1), NULL), -SMX_E_TIMEOUT);
    ASSERT_EQ(n, 0);
    ASSERT_EQ(io_send_fds(&a, "ab", 2, &p[1], 1, in_ms(1000), NULL), 0);
    ASSERT_EQ(io_send_fds(&a, "c", 1, NULL, 0, in_ms(1000), NULL), 0);
    n = SMX_FDS_MAX;
    ASSERT_EQ(io_recv_fds(&b, buf, sizeof buf, got, &n, in_ms(1000), NULL), 2);
    ASSERT_EQ(n, 1);
    ASSERT_EQ(write(got[0], "z", 1), 1);
    ASSERT_EQ(read(p[0], &c, 1), 1);
    ASSERT_EQ(c, 'z');
    smx_close(got[0]);
    n = SMX_FDS_MAX;
    ASSERT_EQ(io_recv_fds(&b, buf, sizeof buf, got, &n, in_ms(1000), NULL), 1);
    ASSERT_EQ(n, 0);
    /* Cut messages are refused, and their descriptors closed. */
    ASSERT_EQ(io_send_fds(&a, "12345678", 8, &p[1], 1, in_ms(1000), NULL), 0);
    smx_close(p[1]);
    n = SMX_FDS_MAX;
    ASSERT_INT(io_recv_fds(&b, buf, 4, got, &n, in_ms(1000), NULL), <, 0);
    ASSERT_EQ(n, 0);
    ASSERT_EQ(read(p[0], &c, 1), 0);
    smx_close(p[0]);
    io_fd_done(&a);
    n = SMX_FDS_MAX;
    ASSERT_EQ(io_recv_fds(&b, buf, sizeof buf, got, &n, in_ms(1000), NULL), 0);
    io_fd_done(&b);
}

/* --- copies --- */

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
