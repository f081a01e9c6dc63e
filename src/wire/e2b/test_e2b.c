/* test_e2b.c - E2B's control plane: what the clients send is understood, what is sent back is what
 * they expect. */
#include "base/mem.h"
#include "base/test.h"
#include "wire/e2b/e2b.h"

static int decode(const struct json_table *t, const char *text, void *ret, struct smx_err *err)
{
    return json_decode(t, text, strlen(text), ret, err);
}

static void expect_text(const struct json_table *t, const void *value, const char *text)
{
    struct smx_buf out;
    struct smx_err err = { 0 };

    smx_buf_init(&out, 64 * 1024);
    ASSERT_OK(json_encode_to(&out, t, value, &err), &err);
    ASSERT_STR(out.data, text);
    smx_buf_done(&out);
}

static char *str(const char *s)
{
    return (char *)(uintptr_t)s;
}

TEST(every_table_takes_an_object_and_ignores_what_it_does_not_know)
{
    char value[1024];

    for (size_t i = 0; e2b_tables[i]; i++) {
        const struct json_table *t = e2b_tables[i];
        struct smx_err err = { 0 };
        int r;

        ASSERT_INT(t->size, <=, sizeof value);
        r = decode(t, "{\"nobody\":{\"knows\":[1]}}", value, &err);
        ASSERT_TRUE(r == 0 || (r == -SMX_E_INVALID && strstr(err.msg, "required")));
        if (r == 0)
            json_free(t, value);
        ASSERT_EQ(decode(t, "[]", value, &err), -SMX_E_INVALID);
    }
}

/* What npm e2b 2.45 sends. */
TEST(a_create_of_version_1)
{
    struct e2b_new_sandbox c;
    struct smx_err err = { 0 };

    ASSERT_OK(decode(&e2b_new_sandbox_table,
                  "{\"templateID\":\"base\",\"metadata\":{\"a\":\"b\"},\"mcp\":null,\"envVars\":{},"
                  "\"timeout\":300,\"secure\":true,\"allow_internet_access\":true,\"autoPause\":"
                  "false,\"autoResume\":{\"enabled\":true},\"network\":{\"allowPublicTraffic\":"
                  "false,\"denyOut\":[\"0.0.0.0/0\"]},\"volumeMounts\":[{\"name\":\"v\",\"path\":"
                  "\"/v\"}]}",
                  &c, &err),
        &err);
    ASSERT_STR(c.template_id, "base");
    ASSERT_TRUE(c.has_timeout && c.timeout == 300 && c.secure && !c.auto_pause);
    ASSERT_TRUE(c.has_allow_internet_access && c.allow_internet_access);
    ASSERT_FALSE(c.has_auto_pause_memory);
    ASSERT_TRUE(c.auto_resume && c.auto_resume->enabled);
    ASSERT_TRUE(c.network && c.network->has_allow_public_traffic);
    ASSERT_FALSE(c.network->allow_public_traffic);
    ASSERT_EQ(c.network->deny_out.n, 1);
    ASSERT_EQ(c.metadata.n, 1);
    ASSERT_EQ(c.env.n, 0);
    ASSERT_EQ(c.volume_mounts.n, 1);
    ASSERT_TRUE(c.mcp == NULL);
    json_free(&e2b_new_sandbox_table, &c);
}

TEST(wrong_types_name_their_key)
{
    static const struct {
        const char *text, *key;
    } cases[] = { { "{}", "templateID" }, { "{\"templateID\":7}", "templateID" },
        { "{\"templateID\":\"b\",\"timeout\":\"9\"}", "timeout" },
        { "{\"templateID\":\"b\",\"timeout\":1.5}", "timeout" },
        { "{\"templateID\":\"b\",\"metadata\":{\"k\":1}}", "metadata" },
        { "{\"templateID\":\"b\",\"envVars\":[]}", "envVars" },
        { "{\"templateID\":\"b\",\"secure\":1}", "secure" },
        { "{\"templateID\":\"b\",\"network\":{\"allowOut\":[1]}}", "network.allowOut" } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct e2b_new_sandbox c;
        struct smx_err err = { 0 };

        ASSERT_EQ(decode(&e2b_new_sandbox_table, cases[i].text, &c, &err), -SMX_E_INVALID);
        ASSERT_TRUE(strstr(err.msg, cases[i].key) != NULL);
    }
}

TEST(a_sandbox_as_clients_expect_it)
{
    struct e2b_sandbox sb = { .template_id = str("base"),
        .sandbox_id = str("i1"),
        .client_id = str(E2B_CLIENT_ID),
        .envd_version = str("0.6.13"),
        .envd_access_token = str("tok") };

    expect_text(&e2b_sandbox_table, &sb,
        "{\"templateID\":\"base\",\"sandboxID\":\"i1\",\"clientID\":\"6532622b\",\"envdVersion\":"
        "\"0.6.13\",\"envdAccessToken\":\"tok\",\"trafficAccessToken\":null,\"domain\":null}");
}

TEST(a_detail_as_clients_expect_it)
{
    struct e2b_lifecycle life = { .auto_resume = true, .on_timeout = E2B_PAUSE };
    struct e2b_sandbox_detail d = { .template_id = str("base"),
        .sandbox_id = str("i1"),
        .client_id = str("c"),
        .started_at = str("a"),
        .end_at = str("b"),
        .cpu_count = 2,
        .memory_mb = 1024,
        .disk_size_mb = 5120,
        .state = E2B_PAUSED,
        .envd_version = str("0.6.13"),
        .network = str("{\"allowOut\":[]}"),
        .lifecycle = &life };

    expect_text(&e2b_sandbox_detail_table, &d,
        "{\"templateID\":\"base\",\"sandboxID\":\"i1\",\"clientID\":\"c\",\"startedAt\":\"a\","
        "\"endAt\":\"b\",\"cpuCount\":2,\"memoryMB\":1024,\"diskSizeMB\":5120,\"metadata\":{},"
        "\"state\":\"paused\",\"envdVersion\":\"0.6.13\",\"domain\":null,\"allowInternetAccess\":"
        "null,\"network\":{\"allowOut\":[]},\"lifecycle\":{\"autoResume\":true,\"onTimeout\":"
        "\"pause\"}}");
}

TEST(a_list_is_a_whole_document)
{
    static const char text[] =
        "[{\"templateID\":\"t\",\"sandboxID\":\"i1\",\"startedAt\":\"a\",\"endAt\":\"b\","
        "\"cpuCount\":2,\"memoryMB\":\"512\",\"diskSizeMB\":1,\"state\":\"running\",\"metadata\":"
        "{\"k\":\"v\"},\"new\":1}]";
    struct json_array list = { 0 };
    struct smx_err err = { 0 };
    const struct e2b_listed_sandbox *sb;

    ASSERT_OK(e2b_list_decode(&e2b_listed_sandbox_table, text, strlen(text), &list, &err), &err);
    ASSERT_EQ(list.n, 1);
    sb = list.v;
    ASSERT_STR(sb->sandbox_id, "i1");
    ASSERT_EQ(sb->memory_mb, 512);
    ASSERT_EQ(sb->state, E2B_RUNNING);
    e2b_list_free(&e2b_listed_sandbox_table, &list);
    ASSERT_EQ(e2b_list_decode(&e2b_listed_sandbox_table, "{}", 2, &list, &err), -SMX_E_INVALID);
}

/* What the provider sends is read by the front end and the reverse. */
TEST(both_sides_agree)
{
    struct e2b_auto_resume wake = { .enabled = true };
    struct json_pair meta = { str("k"), str("v") };
    struct e2b_new_sandbox out = { .template_id = str("base"),
        .timeout = 60,
        .has_timeout = true,
        .secure = true,
        .auto_pause = true,
        .auto_resume = &wake,
        .metadata = { &meta, 1, true } };
    struct e2b_new_sandbox in;
    struct smx_buf text;
    struct smx_err err = { 0 };

    smx_buf_init(&text, 4096);
    ASSERT_OK(json_encode_to(&text, &e2b_new_sandbox_table, &out, &err), &err);
    ASSERT_STR(text.data,
        "{\"templateID\":\"base\",\"timeout\":60,\"autoPause\":true,\"autoResume\":{\"enabled\":"
        "true},\"secure\":true,\"metadata\":{\"k\":\"v\"}}");
    ASSERT_OK(json_decode(&e2b_new_sandbox_table, text.data, text.len, &in, &err), &err);
    ASSERT_TRUE(in.auto_pause && in.auto_resume->enabled && in.secure && in.timeout == 60);
    json_free(&e2b_new_sandbox_table, &in);
    smx_buf_done(&text);
}
