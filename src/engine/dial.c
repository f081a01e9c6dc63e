/* dial.c - connected sockets into a sandbox. The agent's is reached by its name below the state
 * directory (which is our working directory); a port by a socket that is made inside the
 * sandbox's network namespace: the engine has one thread, steps in, makes the socket, steps out. */
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/foreign.h"
#include "base/log.h"
#include "engine/engine.h"

enum { PORT_TIMEOUT_MS = 5000 };

static int check_running(const struct box *b, struct smx_err *err)
{
    if (b->deleted)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox '%s' not found", b->m.id);
    if (b->m.state != ENGINE_STATE_RUNNING || !box_alive(b))
        return smx_err_set(err, SMX_E_STATE, "connecting: sandbox '%s' is %s", b->m.id,
            engine_state_names[b->m.state]);
    return 0;
}

int dial_agent(struct box *b, int *ret_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int r = check_running(b, err);

    if (r < 0)
        return r;
    snprintf(address.sun_path, sizeof address.sun_path, "sandboxes/%s/agent.sock", b->m.id);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return smx_err_errno(err, errno, "making a socket");
    (void)smx_pass_rights(fd, 0); /* until who gets the connection asks for descriptors */
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        if (errno == EAGAIN)
            return smx_err_set(
                err, SMX_E_BUSY, "the agent of sandbox '%s' has too many callers", b->m.id);
        return smx_err_errno(err, errno, "connecting to the agent of sandbox '%s'", b->m.id);
    }
    *ret_fd = smx_take_fd(&fd);
    return 0;
}

/* A socket of the sandbox's network namespace. Not being able to step out again would leave the
 * engine in a sandbox: that ends it, and its successor starts clean. */
static int socket_inside(struct box *b, int family, struct smx_err *err)
{
    int fd, saved;

    if (setns(b->pidfd, CLONE_NEWNET) < 0)
        return smx_err_errno(err, errno, "entering the network of sandbox '%s'", b->m.id);
    fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    saved = errno;
    if (setns(b->e->netns_fd, CLONE_NEWNET) < 0) {
        smx_error("cannot leave the network of sandbox %s", b->m.id);
        _exit(1);
    }
    return fd < 0 ? smx_err_errno(err, saved, "making a socket") : fd;
}

/* [parks] 0, -SMX_E_PORT_CLOSED when nothing listens, or another code. */
static int finish_connect(int *fd, uint64_t deadline, struct smx_err *err)
{
    struct io_fd f;
    struct io_wait w = { .fd = &f, .events = IO_WRITE };
    socklen_t size = sizeof errno;
    int failed = 0, r = io_fd_init(&f, smx_take_fd(fd), err);

    if (r < 0)
        return r;
    r = io_wait(&w, 1, deadline);
    if (r >= 0 && getsockopt(f.fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0)
        failed = errno;
    *fd = io_fd_take(&f);
    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "connecting to the port");
    return failed ? smx_err_errno(err, failed, "connecting to the port") : 0;
}

static int dial(struct box *b, const struct sockaddr *address, socklen_t size, uint64_t deadline,
    int *ret_fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = socket_inside(b, address->sa_family, err);
    int r = 0;

    if (fd < 0)
        return fd;
    if (connect(fd, address, size) < 0) {
        if (errno != EINPROGRESS)
            return smx_err_errno(err, errno, "connecting to the port");
        r = finish_connect(&fd, deadline, err);
    }
    if (r == 0)
        *ret_fd = smx_take_fd(&fd);
    return r;
}

int dial_port(struct box *b, uint16_t port, int *ret_fd, struct smx_err *err)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) }
    };
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT
    };
    uint64_t deadline = smx_deadline_in_ms(PORT_TIMEOUT_MS);
    struct smx_err local = { 0 };
    int r = check_running(b, err);

    if (r < 0)
        return r;
    r = dial(b, (const struct sockaddr *)&v4, sizeof v4, deadline, ret_fd, &local);
    if (r < 0 && local.os_errno == ECONNREFUSED)
        r = dial(b, (const struct sockaddr *)&v6, sizeof v6, deadline, ret_fd, &local);
    if (r == 0)
        return 0;
    if (local.os_errno == ECONNREFUSED || local.os_errno == EADDRNOTAVAIL ||
        local.os_errno == EAFNOSUPPORT)
        return smx_err_set(
            err, SMX_E_PORT_CLOSED, "nothing listens on port %u of sandbox '%s'", port, b->m.id);
    return smx_err_set(
        err, (enum smx_code) - r, "port %u of sandbox '%s': %s", port, b->m.id, local.msg);
}
