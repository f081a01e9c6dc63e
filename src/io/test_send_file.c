/* test_send_file.c - regular files to sockets: by sendfile, and through a filter. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/test_streams.h"

enum { SIZE = 3 * 1000 * 1000, FIRST = 12345 };

/* Its byte i is pattern(i - FIRST). */
static int known_file(void)
{
    unsigned char *data = smx_alloc(FIRST + SIZE);
    int fd = memfd_create("test", MFD_CLOEXEC);

    for (size_t i = 0; i < SIZE; i++)
        data[FIRST + i] = pattern(i);
    if (fd < 0 || smx_write_full(fd, data, FIRST + SIZE) < 0)
        abort();
    smx_free(data);
    return fd;
}

struct sender {
    struct io_fd *to, *watch;
    int file, r;
    uint64_t n;
};

static void send_main(void *arg)
{
    struct sender *s = arg;

    s->r = io_send_file(s->to, s->file, FIRST, s->n, s->watch, 2000, NULL);
    (void)io_close_write(s->to);
}

FIBER_TEST(a_part_of_a_file_arrives_whole)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        struct sender s = { .file = known_file(), .n = SIZE };
        struct pair p;

        if (tcp)
            tcp_pair(&p);
        else
            pair_init(&p);
        s.to = &p.a;
        spawn("sender", send_main, &s);
        ASSERT_EQ(read_stream(&p.b), SIZE);
        join_all();
        ASSERT_EQ(s.r, 0);
        ASSERT_EQ(lseek(s.file, 0, SEEK_CUR), FIRST + SIZE); /* its position is not ours */
        smx_close(s.file);
        pair_done(&p);
    }
}

FIBER_TEST(a_file_that_is_too_short)
{
    struct sender s = { .file = known_file(), .n = SIZE + 1 };
    struct pair p;

    tcp_pair(&p);
    s.to = &p.a;
    spawn("sender", send_main, &s);
    ASSERT_EQ(read_stream(&p.b), SIZE);
    join_all();
    ASSERT_EQ(s.r, -SMX_E_CLOSED);
    smx_close(s.file);
    pair_done(&p);
}

FIBER_TEST(nobody_reads_and_nobody_is_left)
{
    struct sender s = { .file = known_file(), .n = SIZE };
    struct pair p, other;

    pair_init(&p);
    pair_init(&other);
    s.to = &p.a;
    s.watch = &other.a;
    spawn("sender", send_main, &s);
    io_sleep_until(in_ms(20));
    io_fd_done(&other.b); /* whom the file belongs to */
    join_all();
    ASSERT_EQ(s.r, -SMX_E_CLOSED);
    s.watch = NULL;
    s.to = &p.b;
    io_fd_done(&p.a);
    spawn("sender", send_main, &s);
    join_all();
    ASSERT_EQ(s.r, -SMX_E_CLOSED);
    smx_close(s.file);
    pair_done(&p);
    pair_done(&other);
}

/* --- a filter ----------------------------------------------------------------------------------
 */

struct masked {
    int fd;
};

static ssize_t masked_write(void *filter, const void *data, size_t n)
{
    struct masked *m = filter;
    unsigned char out[1000];
    const unsigned char *in = data;

    n = SMX_MIN(n, sizeof out);
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] ^ 0x55;
    return send(m->fd, out, n, MSG_NOSIGNAL);
}

static ssize_t masked_read(void *filter, void *data, size_t n)
{
    struct masked *m = filter;

    return read(m->fd, data, n);
}

static void masked_free(void *filter)
{
}

FIBER_TEST(no_byte_passes_a_filter_by)
{
    static const struct io_filter_ops ops = {
        .read = masked_read, .write = masked_write, .free = masked_free
    };
    struct sender s = { .file = known_file(), .n = 100000 };
    struct masked m;
    unsigned char got[4096];
    size_t seen = 0;
    struct pair p;
    ssize_t n;

    pair_init(&p);
    m.fd = p.a.fd;
    io_fd_filter(&p.a, &ops, &m);
    s.to = &p.a;
    spawn("sender", send_main, &s);
    while (seen < s.n && (n = io_read(&p.b, got, sizeof got, in_ms(5000), NULL)) > 0)
        for (ssize_t i = 0; i < n; i++, seen++)
            ASSERT_EQ(got[i] ^ 0x55, pattern(seen));
    ASSERT_EQ(seen, s.n);
    io_fd_done(&p.b);
    join_all();
    ASSERT_EQ(s.r, 0);
    smx_close(s.file);
    pair_done(&p);
}
