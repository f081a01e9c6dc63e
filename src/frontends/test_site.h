/* test_site.h - what tests of a front end share: its handlers behind a server on one end of a
 * socket pair, a client on the other, a core on a runtime in memory. */
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include "core/test_core.h"
#include "frontends/frontend.h"
#include "http/client.h"

struct site {
    struct fixture f;
    struct http_server_config serve;
    struct frontend fe;
    struct http_server *server;
    struct http_client client;
    struct smx_buf body; /* of the last reply, as a string */
    int status;
    char type[64];  /* its Content-Type */
    char again[16]; /* its Should-Retry */
};

/* Also after its end: a daemon that starts again. */
static int site_open(struct site *s)
{
    int fds[2], r = fixture_open(&s->f);

    if (r < 0)
        return r;
    s->fe = (struct frontend){ .loop = io_loop_self(),
        .core = s->f.core,
        .domains = { "localhost" },
        .daemon_uid = geteuid(),
        .port = 8000 };
    smx_list_init(&s->fe.endless);
    r = http_server_new(io_loop_self(), &s->serve, &s->server, &s->f.err);
    if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        r = -SMX_E_IO;
    if (r == 0)
        r = http_server_serve_fd(s->server, fds[0], "unix", &s->f.err);
    return r < 0 ? r : http_client_init(&s->client, fds[1], &s->f.err);
}

static void site_done(struct site *s)
{
    http_client_done(&s->client);
    if (s->server) {
        http_server_drain(s->server, smx_deadline_in_ms(1000));
        http_server_free(s->server);
    }
    smx_buf_done(&s->body);
    fixture_done(&s->f);
}

#define SITE(s, serve_it, errors)                                   \
    SMX_CLEANUP(site_done) struct site s = { 0 };                   \
    s.serve = (struct http_server_config){                          \
        .handler = (serve_it), .ctx = &s.fe, .error_body = (errors) \
    };                                                              \
    fixture_init(&s.f);                                             \
    s.client.fd.fd = -1;                                            \
    smx_buf_init(&s.body, 64 * 1024 * 1024);                        \
    ASSERT_OK(site_open(&s), &s.f.err)

static void site_take_field(const struct h1_head *head, const char *name, char *out, size_t size)
{
    struct smx_view v = h1_get(head, name);

    smx_view_copy(out, size, v.p ? v : SMX_VIEW(""));
}

/* One exchange. */
static int ask_with(struct site *s, enum h1_method method, const char *target, const char *field,
    const char *value, const char *body)
{
    struct h1_head head = { 0 };
    struct smx_buf fields;
    int r;

    smx_buf_init(&fields, 4096);
    h1_write_field(&fields, "Host", SMX_VIEW("localhost"));
    if (field)
        h1_write_field(&fields, field, smx_view_of(value));
    r = http_client_send_all(&s->client, method, smx_view_of(target), &fields, body ? body : "",
        body ? strlen(body) : 0, &s->f.err);
    if (r == 0)
        r = http_client_head(&s->client, &head, smx_deadline_in_ms(10000), &s->f.err);
    s->status = head.status;
    s->type[0] = s->again[0] = '\0';
    if (r == 0) {
        site_take_field(&head, "Content-Type", s->type, sizeof s->type);
        site_take_field(&head, "Should-Retry", s->again, sizeof s->again);
    }
    smx_buf_reset(&s->body);
    if (r == 0)
        r = http_client_read_all(&s->client, &s->body, smx_deadline_in_ms(10000), &s->f.err);
    smx_buf_done(&fields);
    return r;
}

static int ask(struct site *s, enum h1_method method, const char *target, const char *body)
{
    return ask_with(s, method, target, /* field= */ NULL, /* value= */ NULL, body);
}
