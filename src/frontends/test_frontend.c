/* test_frontend.c - Host and Origin: what is ours, what names a port, what is somebody else's. */
#include <sys/socket.h>
#include <unistd.h>

#include "core/test_core.h"
#include "frontends/frontend.h"
#include "http/client.h"

static const struct frontend two_domains = { .domains = { "localhost", "box.example" } };

static const struct {
    const char *field, *name;
    unsigned port;
    bool known;
} hosts[] = {
    { "localhost", "localhost", 0, true },
    { "LocalHost:8000", "localhost", 8000, true },
    { "localhost.", "localhost", 0, true },
    { "a.localhost:1", "a.localhost", 1, true },
    { "127.0.0.1:8000", "127.0.0.1", 8000, true },
    { "127.9.9.9", "127.9.9.9", 0, true },
    { "[::1]:8000", "::1", 8000, true },
    { "[::1]", "::1", 0, true },
    { "box.example", "box.example", 0, true },
    { "x.box.example", "x.box.example", 0, true },
    { "xbox.example", "xbox.example", 0, false },
    { "evil.example", "evil.example", 0, false },
    { "localhost.evil.example", "localhost.evil.example", 0, false },
    { "notlocalhost", "notlocalhost", 0, false },
    { "10.0.0.1", "10.0.0.1", 0, false },
    { "0.0.0.0:8000", "0.0.0.0", 8000, false },
    { "[fe80::1]", "fe80::1", 0, false },
};

TEST(hosts_that_are_ours)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(hosts); i++) {
        struct frontend_host h;

        ASSERT_TRUE(frontend_host_parse(smx_view_of(hosts[i].field), &h));
        ASSERT_STR(h.name, hosts[i].name);
        ASSERT_EQ(h.port, hosts[i].port);
        ASSERT_EQ(frontend_host_known(&two_domains, &h), hosts[i].known);
    }
}

/* The last text is remembered: asked again, and behind another one, a text means what it meant. */
TEST(a_host_that_is_asked_for_again)
{
    for (size_t i = 0; i < 2 * SMX_ARRAY_LEN(hosts); i++) {
        size_t at = i / 2;
        struct frontend_host h, other;

        memset(&h, 0xff, sizeof h);
        ASSERT_TRUE(frontend_host_parse(smx_view_of(hosts[at].field), &h));
        ASSERT_STR(h.name, hosts[at].name);
        ASSERT_EQ(h.port, hosts[at].port);
        ASSERT_EQ(frontend_host_known(&two_domains, &h), hosts[at].known);
        ASSERT_FALSE(frontend_host_parse(SMX_VIEW("a b"), &other));
    }
}

TEST(what_is_no_host)
{
    static const char *const bad[] = { "", ".", ":80", "a:b", "a:99999", "[::1", "[::1]x", "a b",
        "a/b", "a@b", "a%41" };
    struct frontend_host h;

    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        if (frontend_host_parse(smx_view_of(bad[i]), &h))
            smx_test_fail(__FILE__, __LINE__, "accepted '%s'", bad[i]);
    }
    ASSERT_FALSE(frontend_host_parse((struct smx_view){ NULL, 0 }, &h));
    ASSERT_FALSE(frontend_host_parse((struct smx_view){ "localhost\0.evil", 15 }, &h));
}

static const struct {
    const char *field, *key;
    unsigned port;
} ports[] = {
    { "3000-i0123456789abcdefghij.localhost:8000", "i0123456789abcdefghij", 3000 },
    { "8080-my.box_1.localhost", "my.box_1", 8080 },
    { "1-a.box.example", "a", 1 },
    { "65535-a-b.localhost", "a-b", 65535 },
    { "0-a.localhost", "a", 0 },
    { "65536-a.localhost", "a", 0 },
    { "99999999999999999999-a.localhost", "a", 0 },
    { "3000-.localhost", "", 0 },
    { "3000.localhost", NULL, 0 },
    { "-a.localhost", NULL, 0 },
    { "3000-a.evil.example", NULL, 0 },
    { "localhost", NULL, 0 },
    { "3000-a", NULL, 0 },
};

TEST(hosts_that_name_a_port)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(ports); i++) {
        struct frontend_host h;
        char key[64];
        uint16_t port = 0;

        ASSERT_TRUE(frontend_host_parse(smx_view_of(ports[i].field), &h));
        if (frontend_host_traffic(&two_domains, &h, &port, key, sizeof key) !=
            (ports[i].key != NULL))
            smx_test_fail(__FILE__, __LINE__, "%s", ports[i].field);
        if (ports[i].key) {
            ASSERT_STR(key, ports[i].key);
            ASSERT_EQ(port, ports[i].port);
        }
    }
}

/* The longest domain counts: what stands before it is the sandbox. */
TEST(one_domain_may_lie_below_another)
{
    static const struct frontend nested = { .domains = { "localhost", "sandmux.localhost", NULL } };
    struct frontend_host h;
    uint16_t port = 0;
    char key[64];

    ASSERT_TRUE(frontend_host_parse(smx_view_of("3000-a.sandmux.localhost"), &h));
    ASSERT_TRUE(frontend_host_traffic(&nested, &h, &port, key, sizeof key));
    ASSERT_STR(key, "a");
    ASSERT_TRUE(frontend_host_parse(smx_view_of("3000-a.b.localhost"), &h));
    ASSERT_TRUE(frontend_host_traffic(&nested, &h, &port, key, sizeof key));
    ASSERT_STR(key, "a.b");
    ASSERT_TRUE(frontend_host_parse(smx_view_of("sandmux.localhost"), &h));
    ASSERT_FALSE(frontend_host_traffic(&nested, &h, &port, key, sizeof key));
}

/* --- the guard over TCP ----------------------------------------------------------------------- */

struct gate {
    struct fixture f;
    struct frontend fe;
    struct http_server *server;
    uint16_t port;
    const struct http_secure *secure; /* NULL: plain */
    char key[CORE_KEY_SIZE];
};

static void handler(struct http_exchange *x, void *ctx)
{
    enum guard_need need = http_head(x)->method == H1_GET ? GUARD_READ : GUARD_CHANGE;
    struct smx_err err = { 0 };
    int r = guard_check(ctx, x, need, &err);
    int status = r == 0 ? 200 : r == -SMX_E_UNAUTHORIZED ? 401 : r == -SMX_E_FORBIDDEN ? 403 : 500;

    http_reply(x, status, "text/plain", err.msg, strlen(err.msg));
}

static int gate_open(struct gate *g)
{
    struct http_server_config cfg = { .handler = handler, .ctx = &g->fe };
    char host[64];
    int fd, r = fixture_open(&g->f);

    if (r == 0)
        r = core_key_create(g->f.core, "test", &(struct core_key){ 0 }, g->key, &g->f.err);
    if (r == 0)
        r = http_server_new(io_loop_self(), &cfg, &g->server, &g->f.err);
    if (r == 0)
        r = io_listen_tcp("127.0.0.1", 0, &fd, &g->f.err);
    if (r == 0)
        r = io_local_address(fd, host, sizeof host, &g->port, &g->f.err);
    if (r == 0)
        r = http_server_listen_secure(g->server, fd, "tcp", g->secure, &g->f.err);
    g->fe.core = g->f.core;
    g->fe.domains[0] = "localhost";
    return r;
}

static void gate_done(struct gate *g)
{
    if (g->server) {
        http_server_drain(g->server, smx_deadline_in_ms(1000));
        http_server_free(g->server);
    }
    fixture_done(&g->f);
}
#define GATE(g)                                   \
    SMX_CLEANUP(gate_done) struct gate g = { 0 }; \
    fixture_init(&g.f);                           \
    ASSERT_OK(gate_open(&g), &g.f.err)

/* Status of a request with these fields ("Name: value\r\n" lines). */
static int knock(struct gate *g, const char *method, const char *host, const char *fields)
{
    char request[1024], reply[64] = "";
    struct io_fd fd;
    int raw, status = -1;

    if (io_connect_tcp("127.0.0.1", g->port, &raw, smx_deadline_in_ms(5000), NULL) < 0 ||
        io_fd_init(&fd, raw, NULL) < 0)
        return -1;
    snprintf(request, sizeof request, "%s / HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 0\r\n\r\n",
        method, host, fields);
    io_write(&fd, request, strlen(request), 5000, NULL);
    io_read(&fd, reply, sizeof reply - 1, smx_deadline_in_ms(5000), NULL);
    io_fd_done(&fd);
    sscanf(reply, "HTTP/1.1 %d", &status);
    return status;
}

static int no_handshake(void *ctx SMX_UNUSED, struct io_fd *fd SMX_UNUSED,
    uint64_t deadline_ns SMX_UNUSED, struct smx_err *err SMX_UNUSED)
{
    return 0;
}

FIBER_TEST(over_https_the_own_origin_is_an_https_one)
{
    static const struct http_secure trusting = { .accept = no_handshake };
    SMX_CLEANUP(gate_done) struct gate g = { .secure = &trusting };

    fixture_init(&g.f);
    ASSERT_OK(gate_open(&g), &g.f.err);
    ASSERT_EQ(knock(&g, "POST", "localhost:8443", "Origin: https://localhost:8443\r\n"), 200);
    ASSERT_EQ(knock(&g, "POST", "localhost", "Origin: https://localhost:443\r\n"), 200);
    ASSERT_EQ(knock(&g, "POST", "localhost:8443", "Origin: http://localhost:8443\r\n"), 403);
    ASSERT_EQ(knock(&g, "POST", "localhost", "Origin: https://localhost:80\r\n"), 403);
}

FIBER_TEST(loopback_is_open_to_any_key_or_none)
{
    GATE(g);

    ASSERT_EQ(knock(&g, "GET", "localhost", ""), 200);
    ASSERT_EQ(knock(&g, "POST", "localhost", ""), 200);
    ASSERT_EQ(knock(&g, "POST", "localhost", "X-API-KEY: whatever\r\n"), 200);
}

FIBER_TEST(a_host_that_is_not_ours_is_refused)
{
    GATE(g);

    ASSERT_EQ(knock(&g, "GET", "evil.example", ""), 403);
    ASSERT_EQ(knock(&g, "GET", "localhost.evil.example:80", ""), 403);
    ASSERT_EQ(knock(&g, "GET", "127.0.0.1", ""), 200);
}

FIBER_TEST(a_page_of_another_origin_changes_nothing)
{
    GATE(g);

    ASSERT_EQ(knock(&g, "POST", "localhost:8000", "Origin: http://localhost:8000\r\n"), 200);
    ASSERT_EQ(knock(&g, "POST", "localhost:8000", "Origin: http://localhost:8001\r\n"), 403);
    ASSERT_EQ(knock(&g, "POST", "localhost:8000", "Origin: https://localhost:8000\r\n"), 403);
    ASSERT_EQ(
        knock(&g, "POST", "localhost:8000", "Origin: http://5173-i1.localhost:8000\r\n"), 403);
    ASSERT_EQ(knock(&g, "POST", "localhost:8000", "Origin: http://evil.example\r\n"), 403);
    ASSERT_EQ(knock(&g, "POST", "localhost:8000", "Origin: null\r\n"), 403);
    ASSERT_EQ(knock(&g, "GET", "localhost:8000", "Origin: http://evil.example\r\n"), 200);
}

FIBER_TEST(required_keys_are_required)
{
    char field[128];
    GATE(g);

    g.fe.require_keys = true;
    ASSERT_EQ(knock(&g, "GET", "localhost", ""), 401);
    ASSERT_EQ(knock(&g, "GET", "localhost", "X-API-KEY: \r\n"), 401);
    ASSERT_EQ(knock(&g, "GET", "localhost", "Authorization: Bearer wrong\r\n"), 401);
    ASSERT_EQ(knock(&g, "GET", "localhost", "Authorization: Basic abc\r\n"), 401);
    snprintf(field, sizeof field, "Authorization: Bearer %s\r\n", g.key);
    ASSERT_EQ(knock(&g, "GET", "localhost", field), 200);
    snprintf(field, sizeof field, "X-API-KEY: %s\r\n", g.key);
    ASSERT_EQ(knock(&g, "POST", "localhost", field), 200);
    ASSERT_EQ(knock(&g, "POST", "192.0.2.7", field), 200);
    snprintf(field, sizeof field, "X-API-KEY: %sx\r\n", g.key);
    ASSERT_EQ(knock(&g, "POST", "localhost", field), 401);
}

FIBER_TEST(with_the_runtime_token_changes_need_it)
{
    char field[128];
    GATE(g);

    g.fe.runtime_token = "sekret";
    ASSERT_EQ(knock(&g, "GET", "localhost", ""), 200);
    ASSERT_EQ(knock(&g, "POST", "localhost", ""), 401);
    ASSERT_EQ(knock(&g, "POST", "localhost", "Authorization: Bearer sekre\r\n"), 401);
    ASSERT_EQ(knock(&g, "POST", "localhost", "Authorization: Bearer sekrett\r\n"), 401);
    ASSERT_EQ(knock(&g, "POST", "localhost", "Authorization: Bearer sekret\r\n"), 200);
    snprintf(field, sizeof field, "Authorization: bearer %s\r\n", g.key);
    ASSERT_EQ(knock(&g, "POST", "localhost", field), 200);
}
