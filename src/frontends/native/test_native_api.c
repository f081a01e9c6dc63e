/* test_native_api.c - handlers of the native API over a socket pair and a runtime in memory:
 * routes, shapes of errors, statuses, idempotency, exec in both forms, files, guard of peers. */
#include "base/fd.h"
#include "frontends/dialect.h"
#include "frontends/native/content.h"
#include "frontends/native/exec.h"
#include "frontends/native/native.h"
#include "frontends/test_site.h"

static void handler(struct http_exchange *x, void *ctx)
{
    struct frontend_request req = { .id = "req-1", .frontend = "native" };

    http_set_data(x, &req);
    native_handle(ctx, x);
    http_set_data(x, NULL);
}

static bool says(const struct site *s, const char *part)
{
    bool found = s->body.data && strstr(s->body.data, part);

    if (!found)
        printf("# %d %s: no %s\n", s->status, s->body.data ? s->body.data : "", part);
    return found;
}

#define ASSERT_ASK(s, verb, path, text, want, part)               \
    do {                                                          \
        ASSERT_OK(ask(&(s), verb, path, text), &(s).f.err);       \
        if ((s).status != (want))                                 \
            printf("# %s\n", (s).body.data ? (s).body.data : ""); \
        ASSERT_EQ((s).status, want);                              \
        ASSERT_TRUE(says(&(s), part));                            \
    } while (0)

/* --- refusals --------------------------------------------------------------------------------- */

static const struct {
    enum h1_method method;
    const char *target, *body;
    int status;
    const char *part;
} refused[] = {
    { H1_GET, "/nowhere", NULL, 404, "\"code\":\"not_found\"" },
    { H1_GET, "/api/runtime/nowhere", NULL, 404, "{\"detail\":\"Not Found\"}" },
    { H1_POST, "/api/runtime/status", "{}", 405, "{\"detail\":\"Method Not Allowed\"}" },
    { H1_DELETE, "/api/sandboxes", NULL, 405, "\"code\":\"method_not_allowed\"" },
    { H1_GET, "/api/sandboxes/%zz", NULL, 422, "percent" },
    { H1_GET, "/api/sandboxes/%00", NULL, 422, "percent" },
    { H1_GET, "/api/sandboxes/unknown", NULL, 404, "\"code\":\"sandbox_not_found\"" },
    { H1_POST, "/api/sandboxes", "{\"tmplate\":1}", 422, "tmplate" },
    { H1_POST, "/api/sandboxes", "{\"name\":7}", 422, "name" },
    { H1_POST, "/api/sandboxes", "{\"name\":\"A\"}", 422, "name: must match" },
    { H1_POST, "/api/sandboxes", "{\"name\":\"a\",\"name\":\"b\"}", 422, "name" },
    { H1_POST, "/api/sandboxes", "{", 422, "invalid_request" },
    { H1_POST, "/api/sandboxes", "[]", 422, "invalid_request" },
    { H1_POST, "/api/sandboxes", "{\"env\":{\"\":\"x\"}}", 422, "env: a variable" },
    { H1_POST, "/api/sandboxes", "{\"env\":{\"A=B\":\"x\"}}", 422, "env: a variable" },
    { H1_POST, "/api/sandboxes", "{\"timeout_s\":-1}", 422, "timeout_s" },
    { H1_POST, "/api/sandboxes", "{\"resources\":{\"memory_mib\":0}}", 422,
        "resources.memory_mib" },
    { H1_POST, "/api/sandboxes", "{\"runtime\":\"mars\"}", 422, "mars" },
    { H1_POST, "/api/sandboxes", "{\"runtime\":\"daytona\"}", 400, "runtime_not_configured" },
    { H1_PUT, "/api/sandboxes/Bad..Name!", "{}", 422, "name: must match" },
    { H1_PUT, "/api/sandboxes/a", "{\"name\":\"b\"}", 422, "differs" },
    { H1_GET, "/api/sandboxes?limit=0", NULL, 422, "limit" },
    { H1_GET, "/api/sandboxes?limit=x", NULL, 422, "limit" },
    { H1_GET, "/api/sandboxes?state=merry", NULL, 422, "state" },
    { H1_GET, "/api/sandboxes?cursor=garbage", NULL, 422, "cursor" },
    { H1_GET, "/api/sandboxes/box/files", NULL, 422, "path" },
    { H1_GET, "/api/sandboxes/box/files?path=%00", NULL, 422, "path" },
    { H1_GET, "/api/sandboxes/box/preview", NULL, 422, "port" },
    { H1_GET, "/api/sandboxes/box/preview?port=0", NULL, 422, "port" },
    { H1_GET, "/api/sandboxes/box/preview?port=65536", NULL, 422, "port" },
    { H1_DELETE, "/api/sandboxes/box/processes/abc", NULL, 404, "process_not_found" },
    { H1_DELETE, "/api/sandboxes/box/processes/1?signal=SIGNO", NULL, 422, "signal" },
    { H1_POST, "/api/sandboxes/box/exec", "{}", 422, "command" },
    { H1_POST, "/api/sandboxes/box/exec", "{\"command\":[]}", 422, "command" },
    { H1_POST, "/api/sandboxes/box/exec", "{\"command\":7}", 422, "command" },
    { H1_POST, "/api/sandboxes/box/exec", "{\"command\":[\"true\"],\"timeout_s\":-1}", 422,
        "timeout_s" },
    { H1_POST, "/api/sandboxes/box/exec",
        "{\"command\":[\"cat\"],\"stdin\":\"a\",\"stdin_b64\":\"YQ==\"}", 422, "stdin_b64" },
    { H1_POST, "/api/sandboxes/box/exec", "{\"command\":[\"cat\"],\"stdin_b64\":\"*\"}", 422,
        "stdin_b64" },
    { H1_POST, "/api/sandboxes/box/exec", "{\"command\":[\"cat\"],\"max_output_bytes\":99999999}",
        422, "max_output_bytes" },
    { H1_POST, "/api/sandboxes/gone/exec", "{\"command\":[\"true\"]}", 404, "sandbox_not_found" },
    { H1_POST, "/api/runtime/switch", "{}", 422, "\"loc\":[\"body\",\"runtime\"]" },
    { H1_POST, "/api/runtime/switch", "{\"runtime\":1}", 422, "\"loc\":[\"body\",\"runtime\"]" },
    { H1_POST, "/api/runtime/switch", "nonsense", 422, "{\"detail\":[{\"loc\":[\"body\"]," },
    { H1_POST, "/api/runtime/switch", "{nonsense", 422, "{\"detail\":[{\"loc\":[\"body\",1]," },
    { H1_POST, "/api/runtime/switch?dry_run=x", "{\"runtime\":\"local\"}", 422,
        "\"loc\":[\"query\",\"dry_run\"]" },
    { H1_GET, "/api/runtime/validate/%zz", NULL, 422, "\"loc\":[\"path\"]" },
    { H1_GET, "/api/sandboxes?runtime=nope", NULL, 422, "Invalid runtime 'nope'" },
    { H1_POST, "/api/runtime/switch", "{\"runtime\":\"nope\"}", 400,
        "{\"detail\":\"Invalid runtime 'nope'. Must be 'daytona', 'e2b' or 'local'\",\"code\":" },
    { H1_POST, "/api/runtime/switch", "{\"runtime\":\"E2B\"}", 400, "Invalid runtime 'E2B'" },
    { H1_POST, "/api/runtime/switch", "{\"runtime\":\"daytona\"}", 400,
        "{\"detail\":\"Runtime 'daytona' is not properly configured\",\"code\":" },
    { H1_GET, "/api/runtime/validate/nope", NULL, 400, "Invalid runtime 'nope'" },
    { H1_POST, "/api/keys", "{\"name\":\"\"}", 422, "name" },
    { H1_DELETE, "/api/keys/0123456789ab", NULL, 404, "not_found" },
    { H1_GET, "/api/events?since=x", NULL, 422, "since" },
};

FIBER_TEST(bad_requests_get_one_clear_error)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_PUT, "/api/sandboxes/box", "{}", 201, "\"name\":\"box\"");
    for (size_t i = 0; i < SMX_ARRAY_LEN(refused); i++) {
        ASSERT_OK(ask(&s, refused[i].method, refused[i].target, refused[i].body), &s.f.err);
        if (s.status != refused[i].status || !says(&s, refused[i].part))
            smx_test_fail(__FILE__, __LINE__, "%s %s: %d %s", refused[i].target,
                refused[i].body ? refused[i].body : "", s.status, s.body.data ? s.body.data : "");
    }
}

FIBER_TEST(problems_have_every_member)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_GET, "/api/sandboxes/none", NULL, 404,
        "\"type\":\"urn:sandmux:error:sandbox_not_found\"");
    ASSERT_STR(s.type, "application/problem+json");
    ASSERT_TRUE(says(&s, "\"status\":404"));
    ASSERT_TRUE(says(&s, "not found"));
    ASSERT_TRUE(says(&s, "\"hint\":\""));
    ASSERT_TRUE(says(&s, "\"request_id\":\"req-1\""));
}

/* Every code has a status, and none of them is a success. */
TEST(every_code_has_an_error_status)
{
    for (int code = 1; code < SMX_E_COUNT_; code++) {
        ASSERT_TRUE(dialect_status((enum smx_code)code).native >= 400);
        ASSERT_TRUE(dialect_status((enum smx_code)code).e2b >= 400);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

FIBER_TEST(create_get_list_patch_delete)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_POST, "/api/sandboxes",
        "{\"name\":\"one\",\"metadata\":{\"a\":\"b\"},\"timeout_s\":60,\"password\":\"sekret\"}",
        201, "\"state\":\"running\"");
    ASSERT_TRUE(says(&s, "\"metadata\":{\"a\":\"b\"}"));
    ASSERT_TRUE(says(&s, "\"expires_at\":\"2"));
    ASSERT_TRUE(strstr(s.body.data, "sekret") == NULL);
    ASSERT_ASK(s, H1_POST, "/api/sandboxes", "{\"name\":\"one\"}", 409, "\"code\":\"conflict\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes", "", 201, "\"name\":null");
    ASSERT_ASK(s, H1_GET, "/api/sandboxes?limit=1", NULL, 200, "\"next_cursor\":\"");
    ASSERT_ASK(s, H1_GET, "/api/sandboxes", NULL, 200, "\"next_cursor\":null");
    ASSERT_ASK(s, H1_PATCH, "/api/sandboxes/one",
        "{\"name\":\"two\",\"timeout_s\":0,\"metadata\":{}}", 200, "\"expires_at\":null");
    ASSERT_TRUE(says(&s, "\"metadata\":{}"));
    ASSERT_ASK(s, H1_GET, "/api/sandboxes/two", NULL, 200, "\"name\":\"two\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/two/pause", NULL, 200, "\"state\":\"paused\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/two/exec", "{\"command\":[\"true\"]}", 409,
        "\"code\":\"state_conflict\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/two/resume", NULL, 200, "\"state\":\"running\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/two/stop", NULL, 200, "\"state\":\"stopped\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/two/start", NULL, 200, "\"state\":\"running\"");
    ASSERT_OK(ask(&s, H1_DELETE, "/api/sandboxes/two", NULL), &s.f.err);
    ASSERT_EQ(s.status, 204);
    ASSERT_ASK(s, H1_DELETE, "/api/sandboxes/two", NULL, 404, "sandbox_not_found");
    ASSERT_OK(ask(&s, H1_DELETE, "/api/sandboxes/two?missing_ok=1", NULL), &s.f.err);
    ASSERT_EQ(s.status, 204);
}

FIBER_TEST(put_makes_one_and_finds_it_again)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_PUT, "/api/sandboxes/box", "{}", 201, "\"name\":\"box\"");
    ASSERT_ASK(s, H1_PUT, "/api/sandboxes/box", "{}", 200, "\"name\":\"box\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/box/stop", NULL, 200, "stopped");
    ASSERT_ASK(s, H1_PUT, "/api/sandboxes/box", "{}", 200, "\"state\":\"running\"");
    ASSERT_EQ(fake_cloud_count(&s.f.cloud), 1);
}

FIBER_TEST(idempotency_key_replays_the_reply)
{
    SITE(s, handler, native_error_body);
    char first[2048];

    ASSERT_OK(ask_with(&s, H1_POST, "/api/sandboxes", "Idempotency-Key", "k1", "{}"), &s.f.err);
    ASSERT_EQ(s.status, 201);
    ASSERT_TRUE(smx_strcpy(first, sizeof first, s.body.data));
    ASSERT_OK(ask_with(&s, H1_POST, "/api/sandboxes", "Idempotency-Key", "k1", "{}"), &s.f.err);
    ASSERT_EQ(s.status, 201);
    ASSERT_STR(s.body.data, first);
    ASSERT_EQ(fake_cloud_count(&s.f.cloud), 1);
    ASSERT_OK(ask_with(&s, H1_POST, "/api/sandboxes", "Idempotency-Key", "k1", "{\"timeout_s\":1}"),
        &s.f.err);
    ASSERT_EQ(s.status, 422);
    ASSERT_TRUE(says(&s, "idempotency_mismatch"));
}

FIBER_TEST(failed_create_may_be_tried_again_with_its_key)
{
    SITE(s, handler, native_error_body);

    s.f.cloud.fault[FAKE_CREATE] = (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_OK(ask_with(&s, H1_POST, "/api/sandboxes", "Idempotency-Key", "k", "{}"), &s.f.err);
    ASSERT_EQ(s.status, 502);
    ASSERT_OK(ask_with(&s, H1_POST, "/api/sandboxes", "Idempotency-Key", "k", "{}"), &s.f.err);
    ASSERT_EQ(s.status, 201);
}

/* --- exec ------------------------------------------------------------------------------------- */

FIBER_TEST(exec_answers_with_output_and_code)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_PUT, "/api/sandboxes/box", "{}", 201, "");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/box/exec", "{\"command\":[\"echo\",\"a\",\"b\"]}", 200,
        "\"stdout\":\"a b\\n\"");
    ASSERT_TRUE(says(&s, "\"exit_code\":0,\"signal\":null"));
    ASSERT_TRUE(says(&s, "\"truncated\":false,\"timed_out\":false"));
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/box/exec", "{\"command\":[\"exit\",\"7\"]}", 200,
        "\"exit_code\":7");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/box/exec", "{\"command\":[\"kill\",\"9\"]}", 200,
        "\"exit_code\":137,\"signal\":9");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/box/exec", "{\"command\":[\"cat\"],\"stdin\":\"hé\"}",
        200, "\"stdout\":\"hé\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/box/exec",
        "{\"command\":[\"cat\"],\"stdin_b64\":\"AAEC/w==\"}", 200, "\"stdout_b64\":\"AAEC/w==\"");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/box/exec",
        "{\"command\":[\"sleep\",\"60\"],\"timeout_s\":0.05}", 200, "\"timed_out\":true");
    ASSERT_ASK(s, H1_POST, "/api/sandboxes/box/exec",
        "{\"command\":[\"yes\",\"50\"],\"max_output_bytes\":10}", 200, "\"truncated\":true");
    ASSERT_TRUE(says(&s, "\"stdout\":\"y\\ny\\ny\\ny\\ny\\n\""));
}

FIBER_TEST(exec_streams_lines)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_PUT, "/api/sandboxes/box", "{}", 201, "");
    ASSERT_OK(ask_with(&s, H1_POST, "/api/sandboxes/box/exec", "Accept", NATIVE_NDJSON,
                  "{\"command\":[\"echo\",\"x\"]}"),
        &s.f.err);
    ASSERT_EQ(s.status, 200);
    ASSERT_STR(s.type, NATIVE_NDJSON);
    ASSERT_TRUE(smx_starts(s.body.data, "{\"start\":{\"pid\":"));
    ASSERT_TRUE(says(&s, "\n{\"stdout\":\"x\\n\"}\n{\"exit\":{\"exit_code\":0,"));
}

static const struct {
    const char *bytes;
    size_t n, tail;
} tails[] = {
    { "", 0, 0 },
    { "a", 1, 0 },
    { "\xc3", 1, 1 },
    { "\xc3\xa9", 2, 0 },
    { "a\xe2\x82", 3, 2 },
    { "\xe2", 1, 1 },
    { "\xe2\x82\xac", 3, 0 },
    { "\xf0\x9f\x98", 3, 3 },
    { "\xf0\x9f\x98\x80", 4, 0 },
    { "\x82\x82\x82\x82", 4, 0 },
    { "\xff", 1, 0 },
    { "\xc0", 1, 0 },
    { "\xf5\x80", 2, 0 },
};

TEST(incomplete_characters_are_found_at_the_end)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(tails); i++)
        ASSERT_EQ(
            native_utf8_tail((const unsigned char *)tails[i].bytes, tails[i].n), tails[i].tail);
}

/* Report 1: text cut at every byte comes out whole. */
TEST(text_cut_anywhere_stays_text)
{
    static const char text[] = "aé€😀z";
    struct native_text t = { 0 };
    struct smx_buf out;

    smx_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof text - 1; i++)
        ASSERT_EQ(native_text_line(&t, "stdout", text + i, 1, false, &out, NULL), 0);
    ASSERT_EQ(native_text_line(&t, "stdout", "", 0, true, &out, NULL), 0);
    ASSERT_STR(out.data,
        "{\"stdout\":\"a\"}\n{\"stdout\":\"é\"}\n{\"stdout\":\"€\"}\n{\"stdout\":\"😀\"}\n"
        "{\"stdout\":\"z\"}\n");
    smx_buf_done(&out);
}

/* --- files ------------------------------------------------------------------------------------ */

FIBER_TEST(files_come_back_as_they_went)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_PUT, "/api/sandboxes/box", "{}", 201, "");
    ASSERT_ASK(
        s, H1_PUT, "/api/sandboxes/box/files/content?path=/a/b.txt", "hello", 201, "\"size\":5");
    ASSERT_ASK(s, H1_PUT, "/api/sandboxes/box/files/content?path=/a/b.txt", "hello", 200, "");
    ASSERT_ASK(s, H1_GET, "/api/sandboxes/box/files/content?path=/a/b.txt", NULL, 200, "hello");
    ASSERT_STR(s.type, "application/octet-stream");
    ASSERT_OK(ask_with(&s, H1_GET, "/api/sandboxes/box/files/content?path=/a/b.txt", "Range",
                  "bytes=1-2", NULL),
        &s.f.err);
    ASSERT_EQ(s.status, 206);
    ASSERT_STR(s.body.data, "el");
    ASSERT_OK(ask_with(&s, H1_GET, "/api/sandboxes/box/files/content?path=/a/b.txt", "Range",
                  "bytes=-2", NULL),
        &s.f.err);
    ASSERT_STR(s.body.data, "lo");
    ASSERT_OK(ask_with(&s, H1_GET, "/api/sandboxes/box/files/content?path=/a/b.txt", "Range",
                  "bytes=9-", NULL),
        &s.f.err);
    ASSERT_EQ(s.status, 416);
    ASSERT_ASK(s, H1_GET, "/api/sandboxes/box/files?path=/a", NULL, 200, "\"name\":\"b.txt\"");
    ASSERT_ASK(s, H1_GET, "/api/sandboxes/box/files?path=/a/b.txt&stat=1", NULL, 200, "\"size\":5");
    ASSERT_ASK(s, H1_DELETE, "/api/sandboxes/box/files?path=/a", NULL, 409, "not empty");
    ASSERT_OK(ask(&s, H1_DELETE, "/api/sandboxes/box/files?path=/a&recursive=1", NULL), &s.f.err);
    ASSERT_EQ(s.status, 204);
    ASSERT_ASK(
        s, H1_GET, "/api/sandboxes/box/files/content?path=/a/b.txt", NULL, 404, "file_not_found");
    ASSERT_TRUE(says(&s, "not found"));
}

static const struct {
    const char *field;
    uint64_t size;
    int want;
    uint64_t first, last;
} ranges[] = {
    { "bytes=0-0", 10, 1, 0, 0 },
    { "bytes=2-", 10, 1, 2, 9 },
    { "bytes=2-99", 10, 1, 2, 9 },
    { "bytes=-3", 10, 1, 7, 9 },
    { "bytes=-30", 10, 1, 0, 9 },
    { "bytes=10-", 10, -1, 0, 0 },
    { "bytes=-0", 10, -1, 0, 0 },
    { "bytes=0-", 0, -1, 0, 0 },
    { "bytes=3-2", 10, 0, 0, 0 },
    { "bytes=0-1,3-4", 10, 0, 0, 0 },
    { "bytes=a-b", 10, 0, 0, 0 },
    { "bytes=-", 10, 0, 0, 0 },
    { "lines=0-1", 10, 0, 0, 0 },
    { "bytes=18446744073709551616-", 10, 0, 0, 0 },
};

TEST(ranges)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(ranges); i++) {
        uint64_t first = 0, last = 0;

        ASSERT_EQ(native_range_parse(smx_view_of(ranges[i].field), ranges[i].size, &first, &last),
            ranges[i].want);
        ASSERT_EQ(first, ranges[i].first);
        ASSERT_EQ(last, ranges[i].last);
    }
}

/* --- runtime and the daemon ------------------------------------------------------------------- */

FIBER_TEST(runtime_bodies_are_the_documented_ones)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_GET, "/api/runtime/status", NULL, 200,
        "{\"current_runtime\":\"local\",\"available_runtimes\":[\"daytona\",\"e2b\",\"local\"],"
        "\"runtime_configured\":true,\"runtime_info\":{\"runtime\":\"local\"");
    ASSERT_ASK(s, H1_POST, "/api/runtime/switch", "{\"runtime\":\"e2b\"}", 200,
        "{\"status\":\"success\",\"message\":\"Runtime switched to 'e2b'\","
        "\"previous_runtime\":\"local\",\"current_runtime\":\"e2b\"}");
    ASSERT_ASK(s, H1_GET, "/api/runtime/validate/e2b", NULL, 200,
        "{\"runtime\":\"e2b\",\"is_configured\":true,\"configuration\":{\"runtime\":\"e2b\"");
    ASSERT_TRUE(says(&s, "\"e2b_template\":\"base\""));
    ASSERT_ASK(s, H1_GET, "/api/runtime/validate/daytona", NULL, 200, "\"is_configured\":false");
    ASSERT_ASK(s, H1_GET, "/api/runtime/health", NULL, 200,
        "{\"status\":\"healthy\",\"runtime\":\"e2b\",\"configured\":true,\"timestamp\":\"2");
    ASSERT_ASK(s, H1_POST, "/api/runtime/switch?dry_run=1", "{\"runtime\":\"local\"}", 200,
        "\"current_runtime\":\"e2b\"");
}

FIBER_TEST(unhealthy_is_200_and_503_when_strict)
{
    SITE(s, handler, native_error_body);

    s.f.cloud.fault[FAKE_PROBE] = (struct fake_fault){ .times = 99, .code = SMX_E_UNAVAILABLE };
    ASSERT_ASK(s, H1_GET, "/api/runtime/health", NULL, 200, "\"status\":\"unhealthy\"");
    ASSERT_ASK(s, H1_GET, "/api/runtime/health?strict=1", NULL, 503, "provider_unavailable");
}

FIBER_TEST(keys_are_shown_once)
{
    SITE(s, handler, native_error_body);
    char id[16];
    const char *p;

    ASSERT_ASK(s, H1_POST, "/api/keys", "{\"name\":\"ci\"}", 201, "\"key\":\"e2b_");
    p = strstr(s.body.data, "\"id\":\"");
    ASSERT_TRUE(p != NULL);
    smx_view_copy(id, sizeof id, (struct smx_view){ p + 6, 12 });
    ASSERT_ASK(s, H1_GET, "/api/keys", NULL, 200, "\"name\":\"ci\"");
    ASSERT_TRUE(strstr(s.body.data, "\"key\":") == NULL);
    p = smx_asprintf("/api/keys/%s", id);
    ASSERT_OK(ask(&s, H1_DELETE, p, NULL), &s.f.err);
    smx_free((void *)(uintptr_t)p);
    ASSERT_EQ(s.status, 204);
    ASSERT_ASK(s, H1_GET, "/api/keys", NULL, 200, "\"items\":[]");
}

FIBER_TEST(daemon_answers_for_itself)
{
    SITE(s, handler, native_error_body);

    ASSERT_ASK(s, H1_GET, "/healthz", NULL, 200, "ok");
    ASSERT_ASK(s, H1_GET, "/readyz", NULL, 200, "ok");
    ASSERT_ASK(s, H1_GET, "/readyz?verbose", NULL, 200, "\"ready\":true,\"checks\":[");
    ASSERT_ASK(s, H1_GET, "/version", NULL, 200, "\"version\":\"" SMX_VERSION "\"");
    ASSERT_ASK(s, H1_GET, "/metrics", NULL, 200, "# TYPE ");
}
