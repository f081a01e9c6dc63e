/* control.c - STATE/engine/control.sock: how a new supervisor takes over an engine that runs, and
 * how one is told to end. Only root can reach the directory; the peer's uid is checked as well.
 * The protocol is the gateway's, with "gateway" and "shutdown" allowed. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/server.h"

enum { CONTROL_MESSAGE_MAX = 4096, CONTROL_BACKLOG = 16, CONTROL_IDLE_MS = 600000 };

struct control {
    struct engine *e;
    struct io_fd fd;
};

/* --- shutdown ----------------------------------------------------------------------------------
 */

struct clearing {
    struct box *b;
    unsigned *left;
    struct io_event *done;
};

static void clear_main(void *arg)
{
    struct clearing *c = arg;
    struct smx_err err = { 0 };

    if (box_delete(c->b, ENGINE_REASON_DELETED, &err) < 0 && err.code != SMX_E_SANDBOX_NOT_FOUND)
        smx_warn("%s", err.msg);
    box_unref(c->b);
    if (--*c->left == 0)
        io_event_set(c->done);
    smx_free(c);
}

/* [parks] Deletes every sandbox, all at the same time. */
static void delete_all(struct engine *e)
{
    struct io_event done;
    unsigned left = 1;
    struct box *b;
    size_t pos = 0;

    io_event_init(&done);
    while ((b = smx_map_next(&e->boxes, &pos)) != NULL) {
        struct clearing *c = smx_alloc(sizeof *c);

        if (!c)
            break;
        *c = (struct clearing){ .b = box_ref(b), .left = &left, .done = &done };
        left++;
        if (io_fiber_spawn(e->loop, "clear", clear_main, c, NULL, NULL) < 0) {
            left--;
            box_unref(b);
            smx_free(c);
        }
    }
    if (--left > 0) {
        io_shield_begin();
        io_event_wait(&done, SMX_FOREVER);
        io_shield_end();
    }
}

/* --- requests ----------------------------------------------------------------------------------
 */

static int take_gateway(struct engine *e, int *fds, size_t nfds, struct smx_err *err)
{
    int type = 0;
    socklen_t size = sizeof type;

    if (nfds != 1)
        return smx_err_set(err, SMX_E_INVALID, "gateway: needs one descriptor");
    if (getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET)
        return smx_err_set(err, SMX_E_INVALID, "gateway: not a sequenced packet socket");
    e->orphan = false;
    e->parent = getppid(); /* whoever it is now: another one looks after us */
    return gateway_serve(e, smx_take_fd(&fds[0]), err);
}

static void answer(struct control *c, const char *data, size_t n, int *fds, size_t nfds)
{
    struct engine_request req = { 0 };
    static const bool stays;
    struct answer a = { .fd = -1, .gone = &stays };
    struct smx_err err = { 0 };
    struct io_sem writer;
    bool leave;
    int r = engine_request_decode(data, n, &req, &err);

    io_sem_init(&writer, 1);
    a.reply.seq = req.seq;
    leave = r == 0 && req.op == ENGINE_OP_SHUTDOWN;
    if (leave) {
        c->e->stopping = true;
        if (req.all)
            delete_all(c->e);
    } else if (r == 0 && req.op == ENGINE_OP_GATEWAY) {
        r = take_gateway(c->e, fds, nfds, &err);
    } else if (r == 0) {
        r = answer_request(c->e, &req, &a, &err);
    }
    if (r < 0)
        reply_error(&a.reply, r, &err);
    reply_send(&c->fd, &writer, &a.reply, a.fd, NULL);
    answer_done(&a);
    json_free(&engine_request_table, &req);
    if (leave)
        io_loop_stop(c->e->loop);
}

static bool is_root(int fd)
{
    struct ucred cred;
    socklen_t size = sizeof cred;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0 && cred.uid == 0;
}

static void connection_main(void *arg)
{
    struct control *c = arg;
    char data[CONTROL_MESSAGE_MAX];

    for (;;) {
        int fds[1] = { -1 };
        size_t nfds = 1;
        ssize_t n = io_recv_fds(
            &c->fd, data, sizeof data, fds, &nfds, smx_deadline_in_ms(CONTROL_IDLE_MS), NULL);

        if (n <= 0)
            break;
        answer(c, data, (size_t)n, fds, nfds);
        if (nfds > 0)
            smx_close(fds[0]);
    }
    io_fd_done(&c->fd);
    smx_free(c);
}

static int serve(struct engine *e, int fd, struct smx_err *err)
{
    struct control *c;
    int r;

    if (!is_root(fd)) {
        smx_close(fd);
        return smx_err_set(err, SMX_E_FORBIDDEN, "the control socket is root's");
    }
    c = smx_alloc(sizeof *c);
    if (!c) {
        smx_close(fd);
        return smx_err_oom(err);
    }
    c->e = e;
    r = io_fd_init(&c->fd, fd, err);
    if (r == 0)
        r = io_fiber_spawn(e->loop, "control", connection_main, c, NULL, err);
    if (r < 0) {
        io_fd_done(&c->fd);
        smx_free(c);
    }
    return r;
}

static void accept_main(void *arg)
{
    struct engine *e = arg;
    struct smx_err err = { 0 };
    int fd;

    while (io_accept(&e->control, &fd, SMX_FOREVER, &err) == 0)
        if (serve(e, fd, &err) < 0)
            smx_warn("control: %s", err.msg);
}

/* The working directory is the state directory; the name is relative because paths of sockets are
 * short. The lock on the state directory is ours, so an old socket is a dead one. */
int control_start(struct engine *e, struct smx_err *err)
{
    static const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "control.sock" };
    SMX_CLEANUP(smx_closep)
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0077);
    int r = 0;

    unlink(address.sun_path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, CONTROL_BACKLOG) < 0)
        r = smx_err_errno(err, errno, "making the control socket");
    umask(mask);
    if (r == 0)
        r = io_fd_init(&e->control, smx_take_fd(&fd), err);
    return r < 0 ? r : io_fiber_spawn(e->loop, "accept", accept_main, e, NULL, err);
}
