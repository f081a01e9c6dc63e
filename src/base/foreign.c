/* foreign.c - see foreign.h. The helper shares our memory and has a copy of our descriptors; it
 * waits until ours are closed and ends. What the kernel does at its end it does for a process that
 * is exiting, which no socket keeps. It makes system calls that succeed only, so that errno, which
 * it shares, stays ours. */
#include "base/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

enum { PASSED_MAX = 253 /* SCM_MAX_FD */, STACK_SIZE = 16 * 1024 };

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

/* clone() by its other name: ThreadSanitizer replaces clone by what it does for fork. */
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

/* Ends when a byte comes, or when we are gone. Nothing of it may be watched by a sanitizer, whose
 * notes on our thread it would share. */
__attribute__((no_sanitize("thread", "address"))) static int hold(void *arg)
{
    const int *go = arg;
    char byte;

    syscall(SYS_close, go[1]);
    syscall(SYS_read, go[0], &byte, 1);
    syscall(SYS_exit_group, 0);
    return 0;
}

static pid_t start_holder(int go[2], char *stack)
{
    sigset_t all, old;
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid = __clone(hold, stack + STACK_SIZE, CLONE_VM, go);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

static void end_holder(int go[2], pid_t pid)
{
    (void)!write(go[1], "", 1);
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
}

/* Without a process to spare: a race that only a very quick owner wins. */
static void cut_short(const int *fds, size_t n)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            (void)setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        smx_close(fds[i]);
}

void smx_close_foreign(const int *fds, size_t n)
{
    SMX_CLEANUP(smx_freep) char *stack = NULL;
    int go[2] = { -1, -1 }, saved = errno;
    pid_t pid = -1;

    if (n == 0)
        return;
    stack = smx_alloc(STACK_SIZE);
    if (stack && pipe2(go, O_CLOEXEC) == 0)
        pid = start_holder(go, stack);
    if (pid < 0)
        cut_short(fds, n);
    close_all(fds, n);
    if (pid >= 0)
        end_holder(go, pid);
    close_all(go, 2);
    errno = saved;
}

/* --- streams ---------------------------------------------------------------------------------- */

/* All that came with a message, in order; there are no more than fit. */
static size_t take_all(struct msghdr *msg, int fds[PASSED_MAX])
{
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = SMX_MIN(count, PASSED_MAX - n);
        memcpy(fds + n, CMSG_DATA(c), count * sizeof(int));
        n += count;
    }
    return n;
}

ssize_t smx_recv_foreign(int sock, void *data, size_t n, int *ret_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = data, .iov_len = n };
    struct msghdr msg = { .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes };
    int fds[PASSED_MAX];
    size_t count, first;
    ssize_t r;

    do
        r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    count = take_all(&msg, fds);
    first = count > 0 && ret_fd && *ret_fd < 0;
    if (first)
        *ret_fd = fds[0];
    smx_close_foreign(fds + first, count - first);
    return r;
}

void smx_close_foreign_stream(int sock)
{
    int saved = errno, waiting = 1;

    if (sock < 0)
        return;
    shutdown(sock, SHUT_RD); /* nothing comes after what is there */
    if (ioctl(sock, FIONREAD, &waiting) == 0 && waiting == 0)
        smx_close(sock);
    else
        smx_close_foreign(&sock, 1);
    errno = saved;
}

int smx_pass_rights(int sock, int on)
{
    int oob_inline = 1;

    if (on) /* else a byte out of band is dropped, with what came along */
        (void)setsockopt(sock, SOL_SOCKET, SO_OOBINLINE, &oob_inline, sizeof oob_inline);
    return setsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof on) < 0 ? -errno : 0;
}

bool smx_refuses_rights(int sock)
{
    int takes = 1, domain = AF_UNIX;
    socklen_t size = sizeof takes;

    if (getsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &takes, &size) == 0)
        return takes == 0;
    size = sizeof domain;
    return getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX;
}
