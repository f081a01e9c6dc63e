/* test_foreign.c - descriptors whose last close waits, from somebody who knows it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/foreign.h"
#include "base/test.h"
#include "base/test_linger.h"

enum { MANY = 250 };

/* A stream in which that socket waits, and nowhere else. Returns the other end of the socket. */
static int stream_with_it(int pair[2], int flags)
{
    int tcp[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || lingering(tcp) < 0)
        return -1;
    (void)smx_pass_rights(pair[0], 1);
    if (flags == 0) {
        if (smx_send_fds(pair[1], "x", 1, tcp, 1) < 0)
            return -1;
    } else {
        char control[CMSG_SPACE(sizeof(int))] = { 0 };
        struct iovec v = { .iov_base = control, .iov_len = 1 };
        struct msghdr m = {
            .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
        };

        *CMSG_FIRSTHDR(&m) = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS
        };
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), tcp, sizeof(int));
        if (sendmsg(pair[1], &m, flags) < 0)
            return -1;
    }
    smx_close(tcp[0]);
    return tcp[1];
}

TEST(a_socket_that_lingers_keeps_nobody)
{
    uint64_t begun = now_ms();
    int pair[2], kept = -1, peer;
    char byte;

    peer = stream_with_it(pair, 0);
    ASSERT_TRUE(peer >= 0);
    ASSERT_EQ(smx_recv_foreign(pair[0], &byte, 1, /* ret_fd= */ NULL), 1);
    smx_close(peer);
    smx_close_foreign_stream(pair[0]);
    smx_close(pair[1]);

    peer = stream_with_it(pair, 0);
    ASSERT_EQ(smx_recv_foreign(pair[0], &byte, 1, &kept), 1);
    ASSERT_TRUE(kept >= 0);
    smx_close_foreign(&kept, 1);
    smx_close(peer);
    smx_close_foreign_stream(pair[0]);
    smx_close(pair[1]);

    peer = stream_with_it(pair, 0); /* never read */
    smx_close_foreign_stream(pair[0]);
    smx_close(pair[1]);
    smx_close(peer);
    ASSERT_INT(now_ms() - begun, <, LINGER_PATIENCE_MS);
}

TEST(a_byte_out_of_band_keeps_nobody)
{
    uint64_t begun = now_ms();
    int pair[2], peer = stream_with_it(pair, MSG_OOB);
    char byte[4];

    if (peer < 0)
        SKIP("this kernel has no bytes out of band here");
    ASSERT_EQ(smx_send_fds(pair[1], "yz", 2, NULL, 0), 2);
    while (smx_recv_foreign(pair[0], byte, sizeof byte, /* ret_fd= */ NULL) > 0 && byte[0] != 'y')
        ;
    smx_close_foreign_stream(pair[0]);
    smx_close(pair[1]);
    smx_close(peer);
    ASSERT_INT(now_ms() - begun, <, LINGER_PATIENCE_MS);
}

static unsigned open_now(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

TEST(many_descriptors_at_once_are_closed)
{
    char control[CMSG_SPACE(MANY * sizeof(int))] = { 0 }, byte = 'x';
    struct iovec v = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    unsigned before;
    int pair[2], kept = -1;

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    before = open_now();
    *CMSG_FIRSTHDR(&m) = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(MANY * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS
    };
    for (int i = 0; i < MANY; i++)
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)) + (size_t)i * sizeof(int), &pair[i % 2], sizeof(int));
    ASSERT_EQ(sendmsg(pair[1], &m, 0), 1);
    ASSERT_EQ(smx_recv_foreign(pair[0], &byte, 1, &kept), 1);
    ASSERT_TRUE(kept >= 0 && fcntl(kept, F_GETFD) == FD_CLOEXEC);
    ASSERT_EQ(open_now(), before + 1);
    smx_close_foreign((int[]){ -1, kept }, 2);
    ASSERT_EQ(open_now(), before);
    smx_close_foreign_stream(-1);
    smx_close(pair[1]);
    ASSERT_EQ(smx_recv_foreign(pair[0], &byte, 1, NULL), 0);
    smx_close_foreign_stream(pair[0]);
    ASSERT_EQ(smx_recv_foreign(pair[0], &byte, 1, NULL), -EBADF);
}

TEST(only_unix_sockets_bring_descriptors)
{
    SMX_CLEANUP(smx_closep) int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SMX_CLEANUP(smx_closep) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    ASSERT_TRUE(smx_refuses_rights(tcp));
    ASSERT_TRUE(smx_refuses_rights(null));
}

TEST(a_stream_that_takes_no_descriptors)
{
    int pair[2];

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ASSERT_FALSE(smx_refuses_rights(pair[0]));
    if (smx_pass_rights(pair[0], 0) < 0)
        SKIP("needs Linux 6.16");
    ASSERT_TRUE(smx_refuses_rights(pair[0]));
    ASSERT_TRUE(smx_send_fds(pair[1], "x", 1, pair, 1) < 0);
    ASSERT_EQ(smx_send_fds(pair[1], "x", 1, NULL, 0), 1);
    ASSERT_EQ(smx_pass_rights(pair[0], 1), 0);
    ASSERT_EQ(smx_send_fds(pair[1], "x", 1, pair, 1), 1);
    smx_close(pair[1]);
    smx_close_foreign_stream(pair[0]);
}
