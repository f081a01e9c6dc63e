/* test_e2b.c - the provider against a scripted control plane: which requests it makes, older
 * servers, pages, hostile answers, lifetimes in chunks. What a real server does is tested in
 * tests/integration/provider. */
#include <stdio.h>

#include "http/server.h"
#include "io/test_util.h"
#include "providers/e2b/internal.h"

enum { PATIENCE_MS = 20000, LOG_MAX = 1024 * 1024 };

struct route {
    const char *request; /* "GET /path", a prefix */
    int status;
    const char *body, *next; /* next: X-Next-Token */
    const char *type;        /* NULL: application/json */
};

struct cloud {
    const struct route *routes; /* the first that fits; the last has no request */
    struct http_server *server;
    struct smx_buf log; /* "POST /path body\n" */
    uint16_t port;
};

struct told {
    unsigned n;
    enum provider_box_state state;
    char reason[64];
};

struct bench {
    struct cloud cloud;
    struct e2b_config cfg;
    char url[64];
    struct provider *p;
    struct told told;
    struct smx_err err;
};

static void answer(struct http_exchange *x, void *ctx)
{
    struct cloud *c = ctx;
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    struct smx_view method = http_head(x)->method_text, target = http_head(x)->target;
    const struct route *r = c->routes;
    char line[512];

    smx_buf_init(&body, LOG_MAX);
    http_body_all(x, &body, NULL);
    snprintf(line, sizeof line, "%.*s %.*s", (int)method.n, method.p, (int)target.n, target.p);
    smx_buf_appendf(&c->log, "%s %s\n", line, body.data ? body.data : "");
    while (r->request && !smx_starts(line, r->request))
        r++;
    if (!r->request) {
        http_reply(x, 404, "application/json", "{\"code\":404,\"message\":\"no route\"}", 33);
        return;
    }
    if (r->next)
        http_add_field(x, "X-Next-Token", r->next);
    http_reply(x, r->status, r->type ? r->type : "application/json", r->body, strlen(r->body));
}

static void on_changed(
    void *ctx, const char *provider_id, enum provider_box_state state, const char *reason)
{
    struct told *t = ctx;

    t->n++;
    t->state = state;
    smx_strcpy(t->reason, sizeof t->reason, reason);
}

static void bench_begin(struct bench *b, const struct route *routes, uint64_t chunk_s)
{
    struct http_server_config sc = { .handler = answer, .ctx = &b->cloud };
    struct provider_host host = {
        .ctx = &b->told, .instance = "0123456789abcdef", .changed = on_changed
    };
    char address[64];
    int fd = -1;

    memset(b, 0, sizeof *b);
    b->cloud.routes = routes;
    smx_buf_init(&b->cloud.log, LOG_MAX);
    ASSERT_OK(http_server_new(io_loop_self(), &sc, &b->cloud.server, &b->err), &b->err);
    ASSERT_OK(io_listen_tcp("127.0.0.1", 0, &fd, &b->err), &b->err);
    ASSERT_OK(io_local_address(fd, address, sizeof address, &b->cloud.port, &b->err), &b->err);
    ASSERT_OK(http_server_listen(b->cloud.server, fd, "tcp", &b->err), &b->err);
    snprintf(b->url, sizeof b->url, "http://127.0.0.1:%u", (unsigned)b->cloud.port);
    b->cfg = (struct e2b_config){ .api_key = "e2b_planted",
        .template = "base",
        .domain = "e2b.example",
        .api_url = b->url,
        .sandbox_url = b->url,
        .chunk_s = chunk_s };
    ASSERT_OK(
        provider_open(&e2b_provider, io_loop_self(), &b->cfg, &host, &b->p, &b->err), &b->err);
}

static void bench_end(struct bench *b)
{
    provider_close(b->p);
    http_server_drain(b->cloud.server, smx_now_ns());
    http_server_free(b->cloud.server);
    smx_buf_done(&b->cloud.log);
}

#define BENCH(b, routes) \
    struct bench b;      \
    bench_begin(&b, routes, /* chunk_s= */ 0)

static unsigned count(const struct bench *b, const char *what)
{
    unsigned n = 0;

    for (const char *p = b->cloud.log.data; p && (p = strstr(p, what)); p++)
        n++;
    return n;
}

/* --- answers ------------------------------------------------------------------------------- */

#define ID "iabcdefghij0123456789"
#define MADE                                                                \
    "{\"templateID\":\"base\",\"sandboxID\":\"" ID "\",\"clientID\":\"c\"," \
    "\"envdVersion\":\"0.6.13\",\"envdAccessToken\":\"tok\",\"domain\":null}"
#define ENTRY(id, owner)                                                             \
    "{\"templateID\":\"base\",\"sandboxID\":\"" id "\",\"clientID\":\"c\","          \
    "\"startedAt\":\"2026-11-25T17:12:23.042Z\",\"endAt\":\"2026-11-25T18:12:23Z\"," \
    "\"cpuCount\":2,\"memoryMB\":512,\"diskSizeMB\":1024,\"state\":\"running\","     \
    "\"envdVersion\":\"0.6.13\",\"envdAccessToken\":\"tok\",\"metadata\":{"          \
    "\"sandmux_owner\":\"" owner "\",\"sandmux_id\":\"i0\",\"sandmux_token\":\"t0\"}}"
#define OURS ENTRY(ID, "0123456789abcdef")
#define MKDIR                                                                    \
    {                                                                            \
        "POST /filesystem.Filesystem/MakeDir", 200, "{\"entry\":{}}", NULL, NULL \
    }
#define LOOK                                        \
    {                                               \
        "GET /sandboxes/" ID, 200, OURS, NULL, NULL \
    }
#define REST                      \
    {                             \
        NULL, 0, NULL, NULL, NULL \
    }

static const struct provider_create_spec *plain_spec(void)
{
    static char secret[] = "SECRET", value[] = "planted-env", team[] = "team", blue[] = "blue",
                token[] = "sandmux_token", forged[] = "forged";
    static struct json_pair env = { secret, value };
    static struct json_pair metadata[] = { { team, blue }, { token, forged } };
    static const struct provider_create_spec spec = { .id = "i0000000000aaaaaaaaaa",
        .token = "0123456789abcdef0123456789abcdef",
        .template = "base",
        .project_id = "p1",
        .password = "planted-password",
        .env = &env,
        .n_env = 1,
        .metadata = metadata,
        .n_metadata = 2 };

    return &spec;
}

static int create(struct bench *b, struct provider_box **box, struct provider_info *info)
{
    return provider_create(b->p, plain_spec(), info, box, smx_deadline_in_ms(PATIENCE_MS), &b->err);
}

/* --- tests --------------------------------------------------------------------------------- */

FIBER_TEST(a_create_carries_whose_it_is_and_no_secret)
{
    static const struct route routes[] = { { "POST /v2/sandboxes", 201, MADE, NULL, NULL }, LOOK,
        MKDIR, { "DELETE /sandboxes/" ID, 204, "", NULL, NULL }, REST };
    struct provider_box *box = NULL;
    struct provider_info info;
    const char *metadata;
    BENCH(b, routes);

    ASSERT_OK(create(&b, &box, &info), &b.err);
    ASSERT_STR(info.provider_id, ID);
    ASSERT_STR(info.token, plain_spec()->token);
    ASSERT_TRUE(info.resources.cpu > 1 && info.resources.memory_mib == 512);
    metadata = strstr(b.cloud.log.data, "\"metadata\":{");
    ASSERT_TRUE(metadata &&
                smx_starts(metadata, "\"metadata\":{\"sandmux_owner\":\"0123456789abcdef\","
                                     "\"sandmux_id\":\"i0000000000aaaaaaaaaa\",\"sandmux_token\":"
                                     "\"0123456789abcdef0123456789abcdef\",\"project_id\":\"p1\","
                                     "\"team\":\"blue\"}"));
    ASSERT_EQ(count(&b, "\"timeout\":3600"), 1);
    ASSERT_EQ(count(&b, "planted-password"), 0);
    ASSERT_EQ(count(&b, "planted-env"), 1);
    ASSERT_EQ(count(&b, "\"secure\""), 0);
    ASSERT_OK(provider_kill(b.p, ID, smx_deadline_in_ms(PATIENCE_MS), &b.err), &b.err);
    provider_detach(box);
    bench_end(&b);
}

FIBER_TEST(an_older_server_is_spoken_to_in_its_way)
{
    static const struct route routes[] = { { "POST /sandboxes/" ID "/connect", 201, MADE, NULL,
                                               NULL },
        { "POST /sandboxes/" ID "/pause", 204, "", NULL, NULL },
        { "POST /sandboxes", 201, MADE, NULL, NULL }, LOOK, MKDIR,
        { "GET /sandboxes?metadata=", 200, "[" OURS "]", NULL, NULL }, REST };
    struct provider_box *box = NULL;
    struct provider_info info, *list = NULL;
    size_t n = 0;
    BENCH(b, routes);

    ASSERT_OK(create(&b, &box, &info), &b.err);
    ASSERT_EQ(count(&b, "POST /v2/sandboxes"), 1);
    ASSERT_EQ(count(&b, "\"secure\":true"), 1);
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(provider_list(b.p, &list, &n, smx_deadline_in_ms(PATIENCE_MS), &b.err), &b.err);
        ASSERT_EQ(n, 1);
        smx_free(list);
    }
    ASSERT_EQ(count(&b, "GET /v2/sandboxes"), 1); /* not asked for again */
    ASSERT_OK(provider_pause(box, smx_deadline_in_ms(PATIENCE_MS), &b.err), &b.err);
    ASSERT_OK(provider_resume(box, smx_deadline_in_ms(PATIENCE_MS), &b.err), &b.err);
    ASSERT_EQ(count(&b, "POST /v2/sandboxes/" ID "/connect"), 1);
    provider_detach(box);
    bench_end(&b);
}

FIBER_TEST(pages_are_read_to_the_end_and_only_ours_counts)
{
    static const struct route routes[] = {
        { "GET /v2/sandboxes?metadata=sandmux_owner%3D0123456789abcdef&state=running,paused"
          "&limit=100&"
          "nextToken=a%2Fb",
            200, "[" ENTRY("isecondpage0000000000", "0123456789abcdef") "]", NULL, NULL },
        { "GET /v2/sandboxes", 200,
            "[" OURS "," ENTRY("iforeign0000000000000", "another") "," ENTRY(
                "../../etc", "0123456789abcdef") "]",
            "a/b", NULL },
        REST
    };
    struct provider_info *list = NULL;
    size_t n = 0;
    BENCH(b, routes);

    ASSERT_OK(provider_list(b.p, &list, &n, smx_deadline_in_ms(PATIENCE_MS), &b.err), &b.err);
    ASSERT_EQ(n, 2);
    ASSERT_STR(list[0].provider_id, ID);
    ASSERT_STR(list[0].token, "t0");
    ASSERT_STR(list[1].provider_id, "isecondpage0000000000");
    smx_free(list);
    bench_end(&b);
}

FIBER_TEST(a_list_without_end_is_an_error)
{
    static const struct route routes[] = { { "GET /v2/sandboxes", 200, "[]", "again", NULL },
        REST };
    struct provider_info *list = NULL;
    size_t n = 0;
    BENCH(b, routes);

    ASSERT_EQ(
        provider_list(b.p, &list, &n, smx_deadline_in_ms(PATIENCE_MS), &b.err), -SMX_E_PROTOCOL);
    ASSERT_EQ(count(&b, "GET"), 2);
    bench_end(&b);
}

/* What a create makes of an answer; nothing is left there that could be found. */
static const struct {
    int status;
    const char *body, *type;
    int want;
} refusals[] = {
    { 404, "{\"code\":404,\"message\":\"template 'base' not found\"}", NULL,
        -SMX_E_TEMPLATE_NOT_FOUND },
    { 401, "{\"code\":401,\"message\":\"your e2b_planted is bad\"}", NULL, -SMX_E_E2B_KEY },
    { 400, "{\"code\":400,\"message\":\"Timeout cannot be greater than 1 hours\"}", NULL,
        -SMX_E_INVALID },
    { 402, "{}", NULL, -SMX_E_QUOTA },
    { 429, "{\"code\":429,\"message\":\"you reached the maximum number of concurrent sandboxes\"}",
        NULL, -SMX_E_QUOTA },
    { 429, "slow down", "text/plain", -SMX_E_RATE_LIMITED },
    { 508, "{\"code\":508,\"message\":\"x\"}", NULL, -SMX_E_LOOP },
    { 500, "{\"code\":500,\"message\":\"x\\u001b[31m\"}", NULL, -SMX_E_AMBIGUOUS },
    { 201, "{}", NULL, -SMX_E_AMBIGUOUS },
    { 201, "[1", NULL, -SMX_E_AMBIGUOUS },
    { 201, MADE, "text/html", -SMX_E_AMBIGUOUS },
    { 201, "{\"templateID\":\"b\",\"sandboxID\":\"a/../b\",\"envdVersion\":\"1\"}", NULL,
        -SMX_E_AMBIGUOUS },
};

FIBER_TEST(answers_to_a_create_become_errors)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(refusals); i++) {
        const struct route routes[] = { { "POST /v2/sandboxes", refusals[i].status,
                                            refusals[i].body, NULL, refusals[i].type },
            { "GET /v2/sandboxes", 200, "[]", NULL, NULL }, REST };
        struct provider_box *box = NULL;
        struct provider_info info;
        int r;
        BENCH(b, routes);

        r = create(&b, &box, &info);
        if (r != refusals[i].want)
            printf("# case %zu: %d %s\n", i, r, b.err.msg);
        ASSERT_EQ(r, refusals[i].want);
        ASSERT_EQ(count(&b, "POST /v2/sandboxes"), 1);
        ASSERT_TRUE(!strstr(b.err.msg, "e2b_planted") && !strchr(b.err.msg, 27));
        bench_end(&b);
    }
}

FIBER_TEST(a_hostile_token_or_domain_goes_nowhere)
{
    static const char *const bad[] = {
        "{\"templateID\":\"b\",\"sandboxID\":\"" ID
        "\",\"envdVersion\":\"1\",\"envdAccessToken\":\"a\\r\\nX: y\"}",
        "{\"templateID\":\"b\",\"sandboxID\":\"" ID
        "\",\"envdVersion\":\"1\",\"domain\":\"evil/..?\"}",
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        const struct route routes[] = { { "POST /v2/sandboxes", 201, bad[i], NULL, NULL },
            { "DELETE /sandboxes/" ID, 204, "", NULL, NULL }, REST };
        struct provider_box *box = NULL;
        struct provider_info info;
        BENCH(b, routes);

        ASSERT_EQ(create(&b, &box, &info), -SMX_E_PROTOCOL);
        ASSERT_EQ(count(&b, "DELETE /sandboxes/" ID), 1); /* nothing is left */
        bench_end(&b);
    }
}

FIBER_TEST(what_the_template_decides_cannot_be_asked_for)
{
    static const struct route routes[] = { REST };
    struct provider_create_spec spec = *plain_spec();
    struct provider_box *box = NULL;
    struct provider_info info;
    BENCH(b, routes);

    spec.resources.cpu = 1;
    ASSERT_EQ(provider_create(b.p, &spec, &info, &box, smx_deadline_in_ms(PATIENCE_MS), &b.err),
        -SMX_E_UNSUPPORTED);
    ASSERT_EQ(b.cloud.log.len, 0);
    bench_end(&b);
}

/* A sandbox that is to live on is asked for again before each chunk ends; one that is not is let
 * go. */
FIBER_TEST(lifetimes_are_kept_in_chunks)
{
    static const struct route routes[] = { { "POST /v2/sandboxes", 201, MADE, NULL, NULL },
        { "POST /sandboxes/" ID "/timeout", 204, "", NULL, NULL }, LOOK, MKDIR, REST };
    struct provider_box *box = NULL;
    struct provider_info info;
    struct bench b;

    bench_begin(&b, routes, /* chunk_s= */ 1);
    ASSERT_OK(create(&b, &box, &info), &b.err);
    ASSERT_EQ(count(&b, "\"timeout\":1,"), 1);
    for (int i = 0; i < 500 && count(&b, "/timeout {\"timeout\":1}") < 2; i++)
        io_sleep_until(smx_deadline_in_ms(20));
    ASSERT_INT(count(&b, "/timeout {\"timeout\":1}"), >=, 2);
    provider_detach(box);
    bench_end(&b);
}

/* After a restart of ours: one goes on for ever, one is gone. */
FIBER_TEST(what_is_attached_is_kept_too)
{
    static const struct route routes[] = { { "POST /sandboxes/" ID "/timeout", 204, "", NULL,
                                               NULL },
        { "POST /sandboxes/igone/timeout", 404, "{\"code\":404,\"message\":\"no sandbox\"}", NULL,
            NULL },
        { "GET /sandboxes/igone", 404, "{\"code\":404,\"message\":\"no sandbox\"}", NULL, NULL },
        REST };
    struct provider_info there = { .provider_id = ID }, gone = { .provider_id = "igone" };
    struct provider_box *box = NULL, *other = NULL;
    struct bench b;

    bench_begin(&b, routes, /* chunk_s= */ 2);
    ASSERT_OK(provider_attach(b.p, &gone, NULL, 0, &other, &b.err), &b.err);
    ASSERT_OK(provider_attach(b.p, &there, NULL, 0, &box, &b.err), &b.err);
    for (int i = 0; i < 500 && (b.told.n == 0 || count(&b, ID "/timeout {\"timeout\":2}") < 2); i++)
        io_sleep_until(smx_deadline_in_ms(20));
    ASSERT_INT(count(&b, ID "/timeout {\"timeout\":2}"), >=, 2);
    ASSERT_EQ(b.told.n, 1);
    ASSERT_EQ(b.told.state, PROVIDER_BOX_GONE);
    provider_detach(box);
    provider_detach(other);
    bench_end(&b);
}

FIBER_TEST(a_proxy_that_knows_no_such_sandbox_is_checked_up_on)
{
    static const struct route routes[] = { { "POST /v2/sandboxes", 201, MADE, NULL, NULL },
        { "POST /filesystem.Filesystem/MakeDir", 200, "{}", NULL, NULL },
        { "POST /filesystem.Filesystem/Stat", 502,
            "{\"sandboxId\":\"x\",\"message\":\"The sandbox was not found\",\"code\":502}", NULL,
            NULL },
        { "GET /sandboxes/" ID, 200, OURS, NULL, NULL }, REST };
    const struct route gone[] = { routes[2],
        { "GET /sandboxes/" ID, 404, "{\"code\":404,\"message\":\"Sandbox doesn't exist\"}", NULL,
            NULL },
        REST };
    struct provider_box *box = NULL;
    struct provider_info info;
    struct provider_file file;
    BENCH(b, routes);

    ASSERT_OK(create(&b, &box, &info), &b.err);
    b.cloud.routes = gone;
    ASSERT_EQ(provider_stat(box, "/x", NULL, &file, smx_deadline_in_ms(PATIENCE_MS), &b.err),
        -SMX_E_UNAVAILABLE);
    ASSERT_STR(b.err.msg, "The sandbox was not found");
    for (int i = 0; i < 500 && b.told.n == 0; i++)
        io_sleep_until(smx_deadline_in_ms(10));
    ASSERT_EQ(b.told.n, 1);
    ASSERT_EQ(b.told.state, PROVIDER_BOX_GONE);
    provider_detach(box);
    bench_end(&b);
}

FIBER_TEST(validating_looks_at_key_and_template_and_makes_nothing)
{
    static const struct route good[] = { { "GET /v2/sandboxes?limit=1", 200, "[]", NULL, NULL },
        { "GET /templates/aliases/base", 200, "{}", NULL, NULL }, REST };
    static const struct route none[] = { { "GET /v2/sandboxes?limit=1", 200, "[]", NULL, NULL },
        REST };
    static const struct route by_id[] = { { "GET /v2/sandboxes?limit=1", 200, "[]", NULL, NULL },
        { "GET /templates/base", 200, "{}", NULL, NULL }, REST };
    struct provider_check check = { 0 };
    BENCH(b, good);

    ASSERT_OK(provider_validate(b.p, &check, smx_deadline_in_ms(PATIENCE_MS), &b.err), &b.err);
    ASSERT_TRUE(check.ok);
    b.cloud.routes = by_id;
    ASSERT_OK(provider_validate(b.p, &check, smx_deadline_in_ms(PATIENCE_MS), &b.err), &b.err);
    b.cloud.routes = none;
    ASSERT_EQ(provider_validate(b.p, &check, smx_deadline_in_ms(PATIENCE_MS), &b.err),
        -SMX_E_TEMPLATE_NOT_FOUND);
    ASSERT_EQ(count(&b, "POST"), 0);
    bench_end(&b);
}
