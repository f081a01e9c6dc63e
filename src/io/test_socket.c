/* test_socket.c - listening, accepting, connecting, messages with descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "io/test_streams.h"

struct connecting {
    const char *path;
    int r;
};

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
    struct connecting *w = arg;
    int fd = -1;

    w->r = io_connect_unix(w->path, &fd, in_ms(5000), NULL);
    smx_close(fd);
}

/* A full backlog is waited for. */
FIBER_TEST(connect_waits_for_a_full_backlog)
{
    char dir[] = "/tmp/sandmux-test-XXXXXX", path[64];
    struct connecting w = { path, 9 };
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
