/* test_e2b_api.c - E2B's control plane over a socket pair and a runtime in memory that fails as it
 * is told: statuses, the one shape of errors, and what clients are told to repeat. */
#include "frontends/e2b/internal.h"
#include "frontends/test_site.h"

static void handler(struct http_exchange *x, void *ctx)
{
    struct frontend_request req = { .id = "req-1" };

    http_set_data(x, &req);
    e2b_handle(ctx, x);
    http_set_data(x, NULL);
}

/* The body says the same as the status line. */
static void expect(struct site *s, int status, const char *part)
{
    char code[32];

    snprintf(code, sizeof code, "{\"code\":%d,\"message\":\"", status);
    if (s->status != status || !s->body.data || !strstr(s->body.data, part))
        printf("# %d %s, not %d %s\n", s->status, s->body.data ? s->body.data : "", status, part);
    ASSERT_EQ(s->status, status);
    ASSERT_TRUE(s->body.data && strstr(s->body.data, part));
    if (status >= 400) {
        ASSERT_TRUE(smx_starts(s->body.data, code));
    }
}

#define CREATE "{\"templateID\":\"base\"}"

FIBER_TEST(what_a_runtime_says_has_a_status)
{
    static const struct {
        enum smx_code code;
        int status;
        const char *again;
    } cases[] = { { SMX_E_UNAVAILABLE, 503, "true" }, { SMX_E_TIMEOUT, 504, "true" },
        { SMX_E_QUOTA, 429, "false" }, { SMX_E_RATE_LIMITED, 429, "true" },
        { SMX_E_DISK_FULL, 507, "false" }, { SMX_E_E2B_KEY, 503, "false" },
        { SMX_E_AMBIGUOUS, 500, "true" }, { SMX_E_PROTOCOL, 500, "false" },
        { SMX_E_INTERNAL, 500, "false" }, { SMX_E_NO_MEMORY, 503, "true" },
        { SMX_E_UNSUPPORTED, 501, "false" }, { SMX_E_FORBIDDEN, 403, "" },
        { SMX_E_TEMPLATE_NOT_FOUND, 404, "" }, { SMX_E_INVALID, 400, "" } };
    SITE(s, handler, NULL);

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        s.f.cloud.fault[FAKE_CREATE] = (struct fake_fault){ .times = 1, .code = cases[i].code };
        ASSERT_OK(ask(&s, H1_POST, "/v2/sandboxes", CREATE), &s.f.err);
        expect(&s, cases[i].status, "");
        ASSERT_STR(s.again, cases[i].again);
        ASSERT_EQ(fake_cloud_count(&s.f.cloud), 0);
    }
    s.f.cloud.fault[FAKE_CREATE].times = 0;
    ASSERT_OK(ask(&s, H1_POST, "/v2/sandboxes", CREATE), &s.f.err);
    expect(&s, 201, "\"sandboxID\":\"i");
    ASSERT_STR(s.again, "");
}

static void id_of(const struct site *s, char id[SMX_ID_LEN + 1])
{
    const char *p = strstr(s->body.data, "\"sandboxID\":\"");

    ASSERT_TRUE(p != NULL);
    smx_view_copy(id, SMX_ID_LEN + 1, (struct smx_view){ p + 13, SMX_ID_LEN });
    ASSERT_TRUE(smx_id_valid(id));
}

static void on_one(
    struct site *s, enum h1_method method, const char *id, const char *tail, const char *body)
{
    char target[96];

    snprintf(target, sizeof target, "/sandboxes/%s%s", id, tail);
    ASSERT_OK(ask(s, method, target, body), &s->f.err);
}

FIBER_TEST(a_change_that_fails_leaves_what_was)
{
    static const struct {
        enum fake_call call;
        const char *tail, *body;
    } cases[] = { { FAKE_PAUSE, "/pause", "{}" }, { FAKE_STOP, "/pause", "{\"memory\":false}" },
        { FAKE_KILL, "", NULL } };
    SITE(s, handler, NULL);
    char id[SMX_ID_LEN + 1];

    ASSERT_OK(ask(&s, H1_POST, "/v2/sandboxes", CREATE), &s.f.err);
    id_of(&s, id);
    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        s.f.cloud.fault[cases[i].call] =
            (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
        on_one(&s, cases[i].body ? H1_POST : H1_DELETE, id, cases[i].tail, cases[i].body);
        expect(&s, 503, "planned fault");
        ASSERT_STR(s.again, "true");
        on_one(&s, H1_GET, id, "", NULL);
        expect(&s, 200, "\"state\":\"running\"");
    }
    on_one(&s, H1_POST, id, "/pause", "{}");
    expect(&s, 204, "");
    s.f.cloud.fault[FAKE_RESUME] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    on_one(&s, H1_POST, id, "/connect", "{\"timeout\":60}");
    expect(&s, 503, "planned fault");
    on_one(&s, H1_GET, id, "", NULL);
    expect(&s, 200, "\"state\":\"paused\"");
    on_one(&s, H1_POST, id, "/connect", "{\"timeout\":60}");
    expect(&s, 201, "envdAccessToken");
}

FIBER_TEST(what_a_runtime_cannot_do_is_501)
{
    SITE(s, handler, NULL);

    s.f.cloud.capabilities &= ~PROVIDER_BIT(PROVIDER_PAUSE_RESUME);
    ASSERT_OK(
        ask(&s, H1_POST, "/sandboxes", "{\"templateID\":\"base\",\"autoPause\":true}"), &s.f.err);
    expect(&s, 501, "cannot pause");
    ASSERT_EQ(fake_cloud_count(&s.f.cloud), 0);
}

/* One that the door made, held by its caller. */
static void created(struct site *s, char id[SMX_ID_LEN + 1], struct sandbox **ret)
{
    ASSERT_OK(ask(s, H1_POST, "/v2/sandboxes", CREATE), &s->f.err);
    id_of(s, id);
    ASSERT_OK(core_find(s->f.core, id, ret, &s->f.err), &s->f.err);
}

/* A sandbox that is being deleted is gone for clients, and is there again when that failed. */
static void kill_fiber(void *arg)
{
    struct smx_err err = { 0 };

    sandbox_delete(arg, &err);
}

FIBER_TEST(what_is_being_deleted_is_not_there)
{
    SITE(s, handler, NULL);
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    char id[SMX_ID_LEN + 1];

    created(&s, id, &sb);
    s.f.cloud.fault[FAKE_KILL] =
        (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE, .delay_ms = 200 };
    spawn("kill", kill_fiber, sb);
    while (sb->state != SANDBOX_DELETING)
        io_yield();
    on_one(&s, H1_GET, id, "", NULL);
    expect(&s, 404, "doesn't exist");
    ASSERT_OK(ask(&s, H1_GET, "/v2/sandboxes", NULL), &s.f.err);
    expect(&s, 200, "[]");
    while (sb->state != SANDBOX_RUNNING)
        io_sleep_until(in_ms(1));
    on_one(&s, H1_GET, id, "", NULL);
    expect(&s, 200, "\"state\":\"running\"");
}

/* E2B waits for the end of the pause, and so do we. */
static void pause_fiber(void *arg)
{
    struct smx_err err = { 0 };

    sandbox_pause(arg, &err);
}

FIBER_TEST(what_is_being_paused_is_waited_for_and_resumed)
{
    static const char *const ways[] = { "/resume", "/connect" };
    SITE(s, handler, NULL);
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    char id[SMX_ID_LEN + 1];

    created(&s, id, &sb);
    s.f.cloud.fault[FAKE_PAUSE].delay_ms = 100;
    for (size_t i = 0; i < SMX_ARRAY_LEN(ways); i++) {
        spawn("pause", pause_fiber, sb);
        while (sb->state != SANDBOX_PAUSING)
            io_yield();
        on_one(&s, H1_POST, id, ways[i], "{\"timeout\":60}");
        expect(&s, 201, "envdAccessToken");
        ASSERT_EQ(sb->state, SANDBOX_RUNNING);
    }
    on_one(&s, H1_POST, id, "/resume", "{\"timeout\":60}");
    expect(&s, 409, "already running");
}

FIBER_TEST(templates_come_in_pages)
{
    SITE(s, handler, NULL);

    ASSERT_OK(ask(&s, H1_GET, "/v2/templates?limit=1", NULL), &s.f.err);
    expect(&s, 200, "\"templateID\":\"base\"");
    ASSERT_OK(ask(&s, H1_GET, "/v2/templates?nextToken=nobody", NULL), &s.f.err);
    expect(&s, 400, "Invalid next token");
    ASSERT_OK(ask(&s, H1_GET, "/v2/templates?limit=0", NULL), &s.f.err);
    expect(&s, 400, "limit");
}

/* The data plane may be gone before the registry hears of it, or the runtime does not let go of it.
 */
FIBER_TEST(what_is_past_its_time_is_not_there)
{
    SITE(s, handler, NULL);
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    char id[SMX_ID_LEN + 1];

    s.f.cloud.fault[FAKE_KILL] = (struct fake_fault){ .times = 100, .code = SMX_E_UNAVAILABLE };
    ASSERT_OK(
        ask(&s, H1_POST, "/v2/sandboxes", "{\"templateID\":\"base\",\"timeout\":1}"), &s.f.err);
    id_of(&s, id);
    ASSERT_OK(core_find(s.f.core, id, &sb, &s.f.err), &s.f.err);
    while (sb->expires_unix_ms > smx_now_unix_ms() || sb->state != SANDBOX_RUNNING)
        io_sleep_until(in_ms(5));
    on_one(&s, H1_GET, id, "", NULL);
    expect(&s, 404, "doesn't exist");
    ASSERT_OK(ask(&s, H1_GET, "/v2/sandboxes", NULL), &s.f.err);
    expect(&s, 200, "[]");
}

/* The server died after the sandbox was made and before the reply was kept: the same request finds
 * it, with the token that it would have had. */
FIBER_TEST(a_create_that_was_interrupted_is_found_by_its_key)
{
    static const char scope[] = "e2b POST /v2/sandboxes", key[] = "key-1";
    struct core_create_spec spec = { .template = "base",
        .has_timeout = true,
        .timeout_s = 300,
        .idempotency_scope = scope,
        .idempotency_key = key };
    SITE(s, handler, NULL);
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct core_idem_reply reply = { 0 };
    char id[SMX_ID_LEN + 1], again[SMX_ID_LEN + 1];

    ASSERT_EQ(core_idem_begin(s.f.core, scope, key, CREATE, strlen(CREATE), &reply, &s.f.err),
        CORE_IDEM_NEW);
    ASSERT_OK(core_create(s.f.core, &spec, &sb, &s.f.err), &s.f.err);
    smx_strcpy(id, sizeof id, sb->id);
    sandbox_unref(smx_take(&sb));
    http_client_done(&s.client);
    http_server_drain(s.server, smx_deadline_in_ms(1000));
    http_server_free(smx_take(&s.server));
    fixture_close(&s.f);
    ASSERT_OK(site_open(&s), &s.f.err);
    for (unsigned i = 0; i < 2; i++) { /* adopted, and then a plain repetition */
        ASSERT_OK(ask_with(&s, H1_POST, "/v2/sandboxes", "Idempotency-Key", key, CREATE), &s.f.err);
        expect(&s, 201, "envdAccessToken");
        id_of(&s, again);
        ASSERT_STR(again, id);
    }
    ASSERT_EQ(fake_cloud_count(&s.f.cloud), 1);
}

/* The n-th allocation fails, for many n: an answer in E2B's shape each time, and nothing is left.
 */
FIBER_TEST(no_memory_at_any_moment)
{
    SITE(s, handler, NULL);
    unsigned failed = 0;

    for (unsigned n = 1; n < 250; n += 3) {
        int r;

        smx_mem_fail_after(n);
        r = ask(&s, H1_POST, "/v2/sandboxes", CREATE);
        smx_mem_fail_after(0);
        if (r < 0) { /* the client's own memory, or the connection's */
            http_client_done(&s.client);
            http_server_free(smx_take(&s.server));
            fixture_close(&s.f);
            ASSERT_OK(site_open(&s), &s.f.err);
            continue;
        }
        ASSERT_TRUE(s.status == 201 || s.status == 503 || s.status == 500);
        failed += s.status != 201;
    }
    ASSERT_TRUE(failed > 0);
    ASSERT_OK(ask(&s, H1_GET, "/v2/sandboxes", NULL), &s.f.err);
    expect(&s, 200, "");
}

FIBER_TEST(a_filter_matches_either_reading)
{
    static const struct {
        const char *text;
        bool matches;
    } cases[] = { { "", true }, { "k=100%", true }, { "k=100%25", true }, { "k=100%2525", true },
        { "k=100%252525", false }, { "a%20b=c+d", true }, { "a%2520b=c%2Bd", true },
        { "a b=c d", true }, { "k=100%&a%20b=x", false }, { "k", false }, { "%zz=1", false } };
    static char k1[] = "k", v1[] = "100%", k2[] = "a b", v2[] = "c d";
    struct json_pair pairs[] = { { k1, v1 }, { k2, v2 } };
    struct sandbox sb = { .metadata = pairs, .n_metadata = 2 };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct e2b_metadata_filter f;
        struct smx_err err = { 0 };

        ASSERT_OK(e2b_filter_parse(cases[i].text, &f, &err), &err);
        if (e2b_filter_matches(&f, &sb) != cases[i].matches)
            printf("# %s\n", cases[i].text);
        ASSERT_EQ(e2b_filter_matches(&f, &sb), cases[i].matches);
        e2b_filter_done(&f);
    }
}
