/* fuzz_ws.c - the bytes are what a peer sends: the first chooses the role and the cuts. */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "ws/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static void check(const struct ws_message *m)
{
    assert(m->n <= SMX_WS_MESSAGE_MAX && m->data && m->data[m->n] == '\0');
    assert(m->opcode == WS_TEXT || m->opcode == WS_BINARY || m->opcode == WS_CLOSE);
    assert(m->opcode == WS_BINARY || smx_utf8_valid(m->data, m->n));
}

/* A part of the bytes comes with the handshake, the rest from the socket, then its end. */
static void receive(void *arg)
{
    const struct input *in = arg;
    size_t early = in->size / ((in->data[0] >> 1) % 4 + 1);
    struct smx_view v = { (const char *)in->data + 1, early > 0 ? early - 1 : 0 };
    struct ws_message m;
    struct io_fd fd;
    struct ws ws;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        abort();
    if (in->size > 1 + v.n && write(fds[1], in->data + 1 + v.n, in->size - 1 - v.n) < 0)
        abort();
    shutdown(fds[1], SHUT_WR);
    if (io_fd_init(&fd, fds[0], NULL) < 0 ||
        ws_init(&ws, &fd, v, in->data[0] & 1 ? WS_CLIENT : WS_SERVER, NULL) < 0)
        abort();
    while (ws_recv(&ws, &m, SMX_FOREVER, NULL) == 0)
        check(&m);
    ws_done(&ws);
    io_fd_done(&fd);
    close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct io_loop *loop = NULL;
    struct input in = { data, size };

    if (size < 1 || size > 65536)
        return 0;
    if (io_loop_new(&loop, NULL) < 0 || io_fiber_spawn(loop, "fuzz", receive, &in, NULL, NULL) < 0)
        abort();
    io_loop_run(loop, NULL);
    io_loop_free(loop);
    return 0;
}
