/* test_streams.h - connected pairs, and streams whose every byte is known. */
#ifndef SMX_IO_TEST_STREAMS_H
#define SMX_IO_TEST_STREAMS_H

#include <sys/socket.h>

#include "base/fd.h"
#include "io/test_util.h"

/* A connected pair, both ends on the loop. */
struct pair {
    struct io_fd a, b;
};

static inline void pair_init(struct pair *p)
{
    int fds[2];

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ASSERT_EQ(io_fd_init(&p->a, fds[0], /* err= */ NULL), 0);
    ASSERT_EQ(io_fd_init(&p->b, fds[1], /* err= */ NULL), 0);
}

static inline void pair_done(struct pair *p)
{
    io_fd_done(&p->a);
    io_fd_done(&p->b);
}

/* A connected TCP pair over loopback. */
static inline void tcp_pair(struct pair *p)
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

struct stream {
    struct io_fd *fd;
    size_t n, seen;
    uint64_t sum;
    int r;
};

static inline unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + i / 251);
}

static inline void write_stream(void *arg)
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
static inline size_t read_stream(struct io_fd *f)
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

/* seen stops growing at the first wrong byte. */
static inline void slow_reader(void *arg)
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

#endif
