/* test_e2b_data.c - signatures of URLs, spellings of internal routes, and who is answered what. */
#include <stdio.h>

#include "core/test_core.h"
#include "frontends/e2b_data/internal.h"
#include "frontends/traffic/traffic.h"

/* --- signatures ---------------------------------------------------------------------------------
 */

#define VECTOR_TOKEN "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e0"
#define VECTOR "v1_gUtH/s9YCJWgCizjfUxuWfhFE4QSydOWEIIvfLwDr6E"

static struct sign_request request(char *path, char *username, char *signature)
{
    return (struct sign_request){
        .operation = "read", .path = path, .username = username, .signature = signature
    };
}

TEST(the_vector_of_the_protocol)
{
    char path[] = "hello.txt", user[] = "user", made[SIGN_SIZE];
    struct sign_request s = request(path, user, NULL);

    ASSERT_TRUE(sign_make(&s, VECTOR_TOKEN, made));
    ASSERT_STR(made, VECTOR);
}

TEST(every_part_counts)
{
    char path[] = "hello.txt", other_path[] = "hello.txu", user[] = "user", nobody[] = "";
    char signature[] = VECTOR;
    struct sign_request cases[] = { request(path, user, signature),
        request(other_path, user, signature), request(path, nobody, signature),
        request(path, user, signature), request(path, user, signature) };

    cases[3].operation = "write";
    cases[4].expires = true;
    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct sign_hash *h = sign_hash_new(&cases[i]);

        ASSERT_TRUE(h != NULL);
        ASSERT_EQ(sign_hash_matches(h, VECTOR_TOKEN), i == 0);
        ASSERT_FALSE(sign_hash_matches(h, "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e1"));
        sign_hash_free(h);
    }
}

TEST(signatures_of_another_length_match_nothing)
{
    static const char *const bad[] = { "", "v1_", "v1_gUtH", VECTOR "=", VECTOR "A",
        VECTOR VECTOR };
    char path[] = "hello.txt", user[] = "user", text[128];

    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        struct sign_request s = request(path, user, text);
        struct sign_hash *h;

        smx_strcpy(text, sizeof text, bad[i]);
        h = sign_hash_new(&s);
        ASSERT_TRUE(h != NULL);
        ASSERT_FALSE(sign_hash_matches(h, VECTOR_TOKEN));
        sign_hash_free(h);
    }
}

TEST(times_in_the_past_are_over)
{
    struct sign_request s = { .expires = true };
    struct smx_err err = { 0 };

    ASSERT_EQ(sign_check_time(&s, &err), -SMX_E_UNAUTHORIZED);
    ASSERT_STR(err.msg, "signature is already expired");
    s.expiration_unix_s = -5;
    ASSERT_EQ(sign_check_time(&s, &err), -SMX_E_UNAUTHORIZED);
    s.expiration_unix_s = INT64_MAX;
    ASSERT_EQ(sign_check_time(&s, &err), 0);
    s.expires = false;
    s.expiration_unix_s = 0;
    ASSERT_EQ(sign_check_time(&s, &err), 0);
}

/* --- whose signature ----------------------------------------------------------------------------
 */

enum { SANDBOXES = 40 };

FIBER_TEST(a_signature_finds_its_sandbox_among_many)
{
    struct sandbox *sb[SANDBOXES] = { NULL }, *found;
    char path[] = "a", user[] = "", token[SANDBOX_TOKEN_SIZE], signature[SIGN_SIZE];
    struct sign_request s = request(path, user, NULL);
    FIXTURE(f);

    ASSERT_OK(fixture_open(&f), &f.err);
    for (size_t i = 0; i < SANDBOXES; i++)
        ASSERT_OK(make(&f, NULL, &sb[i]), &f.err);
    for (size_t i = 0; i < SANDBOXES; i += SANDBOXES - 1) {
        sandbox_token(sb[i], token);
        ASSERT_TRUE(sign_make(&s, token, signature));
        s.signature = signature;
        found = sign_find(f.core, &s);
        ASSERT_TRUE(found == sb[i]);
        sandbox_unref(found);
    }
    signature[10] ^= 1;
    ASSERT_TRUE(sign_find(f.core, &s) == NULL);
    signature[10] ^= 1;
    ASSERT_OK(sandbox_delete(sb[SANDBOXES - 1], &f.err), &f.err);
    ASSERT_TRUE(sign_find(f.core, &s) == NULL);
    s.signature = NULL;
    ASSERT_TRUE(sign_find(f.core, &s) == NULL);
    for (size_t i = 0; i < SANDBOXES; i++)
        sandbox_unref(sb[i]);
}

/* --- paths --------------------------------------------------------------------------------------
 */

static const struct {
    const char *path;
    bool internal;
} paths[] = {
    { "/init", true },
    { "/freeze", true },
    { "/unfreeze", true },
    { "/collapse", true },
    { "/fsfreeze", true },
    { "/fsthaw", true },
    { "/upgrade", true },
    { "/INIT", true },
    { "/init/", true },
    { "//init", true },
    { "/./init", true },
    { "/files/../init", true },
    { "/../../init", true },
    { "/a/b/../../init/.", true },
    { "/%69nit", true },
    { "/in%69t", true },
    { "/%2e/init", true },
    { "/x/%2e%2E/init", true },
    { "/%2finit", true },
    { "/%252e/init", true },
    { "/%25%36%39nit", true },
    { "\\init", true },
    { "/x%5c..%5cinit", true },
    { "/", false },
    { "", false },
    { "*", false },
    { "/health", false },
    { "/files", false },
    { "/files/compose", false },
    { "/process.Process/Start", false },
    { "/initialise", false },
    { "/init/x", false },
    { "/x/init", false },
    { "/%zz", false },
    { "/%", false },
    { "/initinitinitinitinit", false },
};

TEST(internal_routes_in_any_spelling)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(paths); i++)
        if (path_is_internal(smx_view_of(paths[i].path)) != paths[i].internal)
            smx_test_fail(__FILE__, __LINE__, "'%s'", paths[i].path);
}

/* --- who is answered what -----------------------------------------------------------------------
 */

/* The two front ends over a core whose runtime has no data plane: who gets that far is told so. */
#define ADMITTED "\"message\":\"runtime 'fake' cannot"

struct door {
    struct fixture f;
    struct frontend fe;
    struct http_server *server;
    struct sandbox *sb;
    uint16_t port;
    char reply[4096];
};

static void handler(struct http_exchange *x, void *ctx)
{
    struct frontend_request req = { .frontend = "" };
    struct frontend *fe = ctx;
    struct proxy_target to;
    struct smx_err err = { 0 };

    http_set_data(x, &req);
    if (proxy_by_fields(http_field(x, PROXY_ID_FIELD), http_field(x, PROXY_PORT_FIELD), &to, &err) <
        0)
        e2b_data_handle_unrouted(fe, x);
    else if (to.port == PROXY_ENVD_PORT)
        e2b_data_handle(fe, x, &to);
    else
        traffic_handle(fe, x, &to);
    http_set_data(x, NULL);
}

static int door_open(struct door *d, const struct core_create_spec *spec)
{
    struct http_server_config cfg = { .handler = handler, .ctx = &d->fe };
    char host[64];
    int fd, r = fixture_open(&d->f);

    d->fe.core = d->f.core;
    d->fe.domains[0] = "localhost";
    if (r == 0)
        r = core_create(d->f.core, spec, &d->sb, &d->f.err);
    if (r == 0)
        r = http_server_new(io_loop_self(), &cfg, &d->server, &d->f.err);
    if (r == 0)
        r = io_listen_tcp("127.0.0.1", 0, &fd, &d->f.err);
    if (r == 0)
        r = io_local_address(fd, host, sizeof host, &d->port, &d->f.err);
    return r < 0 ? r : http_server_listen(d->server, fd, "tcp", &d->f.err);
}

static void door_done(struct door *d)
{
    if (d->server) {
        http_server_drain(d->server, smx_deadline_in_ms(1000));
        http_server_free(d->server);
    }
    sandbox_unref(d->sb);
    fixture_done(&d->f);
}
#define DOOR(d, ...)                                    \
    SMX_CLEANUP(door_done) struct door d = { 0 };       \
    struct core_create_spec d##_spec = { __VA_ARGS__ }; \
    fixture_init(&d.f);                                 \
    ASSERT_OK(door_open(&d, &d##_spec), &d.f.err)

/* Status of a request; the reply stays in d. token NULL: none. */
static int ask(struct door *d, unsigned port, const char *request, const char *token)
{
    char text[1024];
    struct io_fd fd;
    ssize_t n;
    int raw, status = -1;

    d->reply[0] = '\0';
    if (io_connect_tcp("127.0.0.1", d->port, &raw, smx_deadline_in_ms(5000), NULL) < 0 ||
        io_fd_init(&fd, raw, NULL) < 0)
        return -1;
    snprintf(text, sizeof text,
        "%s HTTP/1.1\r\nHost: localhost\r\n" PROXY_ID_FIELD ": %s\r\n" PROXY_PORT_FIELD
        ": %u\r\n%s%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        request, d->sb->id, port, token ? PROXY_TOKEN_FIELD ": " : "X-None: ", token ? token : "");
    io_write(&fd, text, strlen(text), 5000, NULL);
    for (size_t at = 0; at < sizeof d->reply - 1; at += (size_t)n) {
        n = io_read(&fd, d->reply + at, sizeof d->reply - 1 - at, smx_deadline_in_ms(5000), NULL);
        if (n <= 0)
            break;
        d->reply[at + (size_t)n] = '\0';
    }
    io_fd_done(&fd);
    sscanf(d->reply, "HTTP/1.1 %d", &status);
    return status;
}

FIBER_TEST(a_token_opens_and_nothing_else_does)
{
    char token[SANDBOX_TOKEN_SIZE];
    DOOR(d, .name = NULL);

    sandbox_token(d.sb, token);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /process.Process/List", NULL), 401);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /process.Process/List", "x"), 401);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /health", NULL), 401);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /process.Process/List", token), 501);
    ASSERT_TRUE(strstr(d.reply, ADMITTED) != NULL);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "GET /health", NULL), 501);
    ASSERT_TRUE(strstr(d.reply, ADMITTED) != NULL);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /init", token), 404);
}

FIBER_TEST(an_open_envd_asks_nobody)
{
    DOOR(d, .open_envd = true);

    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /process.Process/List", NULL), 501);
    ASSERT_TRUE(strstr(d.reply, ADMITTED) != NULL);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /freeze", NULL), 404);
}

FIBER_TEST(private_ports_want_their_own_token)
{
    char own[SANDBOX_TOKEN_SIZE];
    DOOR(d, .private_traffic = true);

    sandbox_traffic_token(d.sb, own);
    ASSERT_EQ(ask(&d, 80, "GET /", NULL), 403);
    ASSERT_TRUE(strstr(d.reply, "missing") != NULL);
    ASSERT_EQ(ask(&d, 80, "GET /", own), 403); /* in the wrong field */
}

static void pause_it(void *arg)
{
    struct door *d = arg;
    struct smx_err err = { 0 };

    sandbox_pause(d->sb, &err);
}

FIBER_TEST(while_it_is_being_paused_the_answer_is_to_come_back)
{
    char token[SANDBOX_TOKEN_SIZE];
    DOOR(d, .name = NULL);

    sandbox_token(d.sb, token);
    d.f.cloud.fault[FAKE_PAUSE].delay_ms = 400;
    ASSERT_OK(io_fiber_spawn(io_loop_self(), "pause", pause_it, &d, NULL, &d.f.err), &d.f.err);
    while (d.sb->state != SANDBOX_PAUSING)
        io_yield();
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "GET /health", token), 409);
    ASSERT_TRUE(strstr(d.reply, "\"code\":409") && strstr(d.reply, "\"sandboxId\":\"i"));
    ASSERT_EQ(ask(&d, 80, "GET /", token), 409);
    while (d.sb->state != SANDBOX_PAUSED)
        io_sleep_until(smx_deadline_in_ms(5));
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "GET /health", token), 502);
    ASSERT_TRUE(strstr(d.reply, "\"message\":\"The sandbox was not found\",\"code\":502}") != NULL);
}

FIBER_TEST(one_that_is_being_moved_is_not_said_to_be_gone)
{
    char token[SANDBOX_TOKEN_SIZE];
    DOOR(d, .name = NULL);

    sandbox_token(d.sb, token);
    ASSERT_OK(sandbox_close_door(d.sb, "is being moved", &d.f.err), &d.f.err);
    for (unsigned port = 80; port; port = port == 80 ? PROXY_ENVD_PORT : 0) {
        ASSERT_EQ(ask(&d, port, "GET /", token), 503);
        ASSERT_TRUE(strstr(d.reply, "is being moved\",\"code\":503}") != NULL);
        ASSERT_TRUE(strstr(d.reply, "Retry-After: 1\r\n") != NULL);
    }
    sandbox_open_again(d.sb);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "GET /", token), 501);
}

FIBER_TEST(who_has_no_token_wakes_nobody)
{
    char token[SANDBOX_TOKEN_SIZE];
    DOOR(d, .auto_resume = true);

    sandbox_token(d.sb, token);
    ASSERT_OK(sandbox_pause(d.sb, &d.f.err), &d.f.err);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /process.Process/List", "x"), 401);
    ASSERT_EQ(d.sb->state, SANDBOX_PAUSED);
    ASSERT_EQ(d.f.cloud.calls[FAKE_RESUME], 0);
    ASSERT_EQ(ask(&d, PROXY_ENVD_PORT, "POST /process.Process/List", token), 501);
    ASSERT_TRUE(strstr(d.reply, ADMITTED) != NULL);
    ASSERT_EQ(d.sb->state, SANDBOX_RUNNING);
    ASSERT_EQ(d.f.cloud.calls[FAKE_RESUME], 1);
}
