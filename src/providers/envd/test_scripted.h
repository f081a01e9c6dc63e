/* test_scripted.h - what tests of the envd client share: a sandbox whose agent answers with canned
 * bytes, and replies of a process's stream. */
#pragma once

#include <sys/socket.h>

#include "base/fd.h"
#include "io/test_util.h"
#include "providers/envd/internal.h"

/* A sandbox whose agent answers with the same bytes on every connection. */
struct scripted {
    struct envd_box box; /* first */
    struct envd_idle idle;
    const char *reply;
    size_t n;
    bool keep_open;
    unsigned dials;
    struct io_fd peer;
    struct smx_err err;
};

static int scripted_dial(struct envd_box *b, uint16_t port, struct http_client *to,
    uint64_t deadline, struct smx_err *err)
{
    struct scripted *s = (struct scripted *)(void *)b;
    int sv[2];

    s->dials++;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -SMX_E_IO;
    if (smx_write_full(sv[1], s->reply, s->n) < 0)
        return -SMX_E_IO;
    if (s->keep_open) {
        io_fd_done(&s->peer);
        io_fd_init(&s->peer, sv[1], NULL);
    } else {
        shutdown(sv[1], SHUT_WR); /* requests still go out */
        io_fd_done(&s->peer);
        io_fd_init(&s->peer, sv[1], NULL);
    }
    return http_client_init(to, sv[0], err);
}

static const struct provider_ops scripted_ops = {
    .version = PROVIDER_VERSION, .name = "scripted", .data = &envd_data_ops
};

static void scripted_done(struct scripted *s)
{
    envd_box_forget(&s->box);
    envd_idle_done(&s->idle);
    io_fd_done(&s->peer);
}

static void scripted_init(struct scripted *s, const char *reply, size_t n)
{
    memset(s, 0, sizeof *s);
    s->peer.fd = -1;
    envd_idle_init(&s->idle, io_loop_self());
    envd_box_init(&s->box, &scripted_ops, &s->idle);
    s->box.dial = scripted_dial;
    s->box.base = "/workspace";
    s->reply = reply;
    s->n = n;
}
#define SCRIPTED(s, reply, n)                             \
    SMX_CLEANUP(scripted_done) struct scripted s = { 0 }; \
    scripted_init(&s, reply, n)
#define BOX(s) ((struct provider_box *)(void *)&(s).box)

#define STREAM_HEAD                                                                    \
    "HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: " \
    "chunked\r\n\r\n"

static void envelope(struct smx_buf *out, uint8_t flags, const char *json)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf e = { 0 };
    size_t at;

    smx_buf_init(&e, 1024 * 1024);
    at = rpc_begin(&e, flags);
    smx_buf_append_str(&e, json);
    rpc_end(&e, at);
    smx_buf_appendf(out, "%zx\r\n", e.len);
    smx_buf_append(out, e.data, e.len);
    smx_buf_append_str(out, "\r\n");
}

/* A reply with these messages; the last one is the end of the stream. */
static void script(struct smx_buf *out, const char *const *json)
{
    smx_buf_init(out, 1024 * 1024);
    smx_buf_append_str(out, STREAM_HEAD);
    for (; *json; json++)
        envelope(out, json[1] ? 0 : RPC_FLAG_END, *json);
    smx_buf_append_str(out, "0\r\n\r\n");
}

static const char *const true_argv[] = { "true", NULL };

#define START "{\"event\":{\"start\":{\"pid\":7}}}"
