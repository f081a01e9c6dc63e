/* handover.c - gives a running engine the socket of a new gateway: one message with one descriptor
 * through STATE/engine/control.sock, which only root may open. Bounded in time: an engine that does
 * not answer is the caller's to replace. */
#include "supervisor/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "wire/engine/engine_wire.h"

enum { ANSWER_WAIT_MS = 2000, CONNECT_STEP_MS = 10, ANSWER_MAX = 4096 };

static const char request[] = "{\"seq\":1,\"op\":\"gateway\"}";

/* An engine that was started a moment ago does not listen yet: that is no reason to replace it. */
static int connect_patiently(int fd, const struct sockaddr_un *addr)
{
    uint64_t end = smx_deadline_in_ms(ANSWER_WAIT_MS);
    int r;

    while ((r = connect(fd, (const struct sockaddr *)addr, (socklen_t)sizeof *addr)) < 0 &&
           (errno == ECONNREFUSED || errno == ENOENT) && smx_now_ns() < end)
        poll(NULL, 0, CONNECT_STEP_MS);
    return r;
}

static int open_control(struct supervisor *s, struct smx_err *err)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct timeval wait = { .tv_sec = ANSWER_WAIT_MS / 1000 };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return smx_err_errno(err, errno, "making a socket");
    /* through the descriptor: the path may be longer than a socket address holds */
    snprintf(
        addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/control.sock", s->engine_dir_fd);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect_patiently(fd, &addr) < 0) {
        int e = errno;

        smx_close(fd);
        return smx_err_errno(err, e, "connecting to the engine's control socket");
    }
    return fd;
}

static int await_answer(int fd, struct smx_err *err)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    struct engine_reply reply;
    char answer[ANSWER_MAX];
    ssize_t n;
    int r;

    if (poll(&p, 1, ANSWER_WAIT_MS) <= 0)
        return smx_err_set(err, SMX_E_TIMEOUT, "the engine did not answer on its control socket");
    n = recv(fd, answer, sizeof answer, 0);
    if (n <= 0)
        return smx_err_set(err, SMX_E_CLOSED, "the engine closed its control socket");
    r = engine_reply_decode(answer, (size_t)n, &reply, err);
    if (r < 0)
        return smx_err_wrap(err, r, "answer of the engine");
    r = engine_reply_error(&reply, err);
    json_free(&engine_reply_table, &reply);
    return r < 0 ? smx_err_wrap(err, r, "the engine refused a new gateway") : 0;
}

int handover_to_engine(struct supervisor *s, int fd, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int taken = fd;
    SMX_CLEANUP(smx_closep) int control = open_control(s, err);
    ssize_t n;

    if (control < 0)
        return control;
    n = smx_send_fds(control, request, sizeof request - 1, &taken, 1);
    if (n < 0)
        return smx_err_errno(err, (int)-n, "handing the engine its gateway");
    return await_answer(control, err);
}
