/* test_upstream.h - upstreams that say what a script says, and the relay to them. */
#ifndef SMX_HTTP_TEST_UPSTREAM_H
#define SMX_HTTP_TEST_UPSTREAM_H

#include <unistd.h>

#include "http/client.h"
#include "http/test_util.h"

#define HOST "Host: h\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST "\r\n"

/* --- a scripted upstream --- */

/* Waits until `until` came in (NULL: at once), then sends; the last step has neither. */
struct step {
    const char *until, *send;
};

struct upstream {
    const struct step *steps;
    bool keep_open; /* at the end: until the relay closes */
    struct smx_buf got;
    bool ended;
    int fd;
};

static inline void upstream_main(void *arg)
{
    struct upstream *u = arg;
    struct io_fd fd;

    if (io_fd_init(&fd, u->fd, /* err= */ NULL) < 0)
        return;
    for (const struct step *s = u->steps; s && (s->until || s->send); s++) {
        if (s->until && !read_until(&fd, &u->got, s->until))
            break;
        if (s->send)
            say(&fd, s->send);
    }
    if (u->keep_open)
        read_to_end(&fd, &u->got);
    io_fd_done(&fd);
    u->ended = true;
}

/* --- the relay under test --- */

struct relaying {
    struct http_client client; /* kept between exchanges when it may be */
    bool open;
    struct upstream *up;          /* scripted, or */
    struct http_server *upserver; /* a server of ours */
    struct http_relay opts;
    const struct smx_buf *always;
    int result;
    bool reusable, started;
    unsigned dials;
};

static inline int connect_upstream(struct relaying *r)
{
    int sv[2], result;

    r->dials++;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -SMX_E_IO;
    result = http_client_init(&r->client, sv[0], /* err= */ NULL);
    r->client.always = r->always;
    r->open = result == 0;
    if (r->upserver)
        return http_server_serve_fd(r->upserver, sv[1], "up", /* err= */ NULL);
    r->up->fd = sv[1];
    spawn("upstream", upstream_main, r->up);
    return result;
}

static inline void relay_handler(struct http_exchange *x, void *ctx)
{
    struct relaying *r = ctx;
    struct smx_err err = { 0 };

    if (!r->open && connect_upstream(r) < 0)
        return;
    r->result = http_relay(x, &r->client, &r->opts, &err);
    r->started = http_started(x);
    r->reusable = http_client_reusable(&r->client);
    if (!r->reusable) {
        http_client_done(&r->client);
        r->open = false;
    }
    if (r->result < 0 && !r->started)
        http_reply(x, r->result == -SMX_E_INVALID ? 400 : 502, NULL,
            smx_code_name((enum smx_code) - r->result),
            strlen(smx_code_name((enum smx_code) - r->result)));
}

static inline void end_relaying(struct relaying *r, struct http_server *s)
{
    end_server(s);
    if (r->open)
        http_client_done(&r->client);
    if (r->up) {
        for (int i = 0; i < 200 && !r->up->ended; i++)
            io_sleep_until(in_ms(5));
        smx_buf_done(&r->up->got);
    }
    if (r->upserver)
        end_server(r->upserver);
}

static inline struct upstream scripted(const struct step *steps, bool keep_open)
{
    struct upstream u = { .steps = steps, .keep_open = keep_open };

    smx_buf_init(&u.got, TRANSCRIPT_MAX);
    return u;
}

/* What a client gets to see, byte for byte. */
static inline char *raw_through(struct http_server *s, const char *text)
{
    struct smx_buf raw;
    struct io_fd c;

    smx_buf_init(&raw, TRANSCRIPT_MAX);
    if (dial(s, &c) < 0 || say(&c, text) < 0)
        return NULL;
    read_to_end(&c, &raw);
    io_fd_done(&c);
    return smx_buf_steal(&raw);
}

#endif
