/* test_engine_wire.c - requests: what each op needs, and every refusal by table. */
#include "base/test.h"
#include "wire/engine/engine_wire.h"

#define ID "i0123456789abcdefghij"

struct refusal {
    const char *text;
    enum smx_code code;
    const char *names; /* must be in the message */
};

static const struct refusal refusals[] = {
    { "", SMX_E_INVALID, "" },
    { "[]", SMX_E_INVALID, "" },
    { "{}", SMX_E_INVALID, "seq" },
    { "{\"seq\":0,\"op\":\"list\"}", SMX_E_INVALID, "seq" },
    { "{\"seq\":1}", SMX_E_INVALID, "op" },
    { "{\"seq\":1,\"op\":\"mount\"}", SMX_E_INVALID, "op" },
    { "{\"seq\":1,\"op\":\"list\",\"path\":\"/etc\"}", SMX_E_INVALID, "path" },
    { "{\"seq\":1,\"op\":\"get\"}", SMX_E_INVALID, "id" },
    { "{\"seq\":1,\"op\":\"get\",\"id\":\"../../../../etc/pas\"}", SMX_E_INVALID, "id" },
    { "{\"seq\":1,\"op\":\"get\",\"id\":\"I0123456789abcdefghij\"}", SMX_E_INVALID, "id" },
    { "{\"seq\":1,\"op\":\"get\",\"id\":\"" ID "x\"}", SMX_E_INVALID, "id" },
    { "{\"seq\":1,\"op\":\"list\",\"after\":\"..\"}", SMX_E_INVALID, "after" },
    { "{\"seq\":1,\"op\":\"create\",\"id\":\"" ID "\"}", SMX_E_INVALID, "create" },
    { "{\"seq\":1,\"op\":\"create\",\"id\":\"" ID "\",\"create\":{\"token\":\"a/b\"}}",
        SMX_E_INVALID, "token" },
    { "{\"seq\":1,\"op\":\"create\",\"id\":\"" ID "\",\"create\":{\"template\":\"../x\"}}",
        SMX_E_TEMPLATE_NOT_FOUND, "template" },
    { "{\"seq\":1,\"op\":\"create\",\"id\":\"" ID "\",\"create\":{\"hostname\":\"-x\"}}",
        SMX_E_INVALID, "hostname" },
    { "{\"seq\":1,\"op\":\"create\",\"id\":\"" ID "\",\"create\":{\"hostname\":\"a b\"}}",
        SMX_E_INVALID, "hostname" },
    { "{\"seq\":1,\"op\":\"create\",\"id\":\"" ID
      "\",\"create\":{\"resources\":{\"cpu_milli\":-1}}}",
        SMX_E_INVALID, "cpu_milli" },
    { "{\"seq\":1,\"op\":\"create\",\"id\":\"" ID
      "\",\"create\":{\"resources\":{\"memory_mib\":\"1\"}}}",
        SMX_E_INVALID, "memory_mib" },
    { "{\"seq\":1,\"op\":\"connect_port\",\"id\":\"" ID "\"}", SMX_E_INVALID, "port" },
    { "{\"seq\":1,\"op\":\"connect_port\",\"id\":\"" ID "\",\"port\":65536}", SMX_E_INVALID,
        "port" },
    { "{\"seq\":1,\"op\":\"set_deadline\",\"id\":\"" ID "\",\"deadline_ms\":-5}", SMX_E_INVALID,
        "deadline_ms" },
    { "{\"seq\":1,\"op\":\"hello\",\"version\":2}", SMX_E_PROTOCOL, "version" },
};

TEST(refuses_what_no_caller_may_say)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(refusals); i++) {
        struct smx_err err = { 0 };
        struct engine_request req;
        int r = engine_request_decode(refusals[i].text, strlen(refusals[i].text), &req, &err);

        if (r != -(int)refusals[i].code || !strstr(err.msg, refusals[i].names))
            smx_test_fail(__FILE__, __LINE__, "%s: %d \"%s\"", refusals[i].text, r, err.msg);
    }
}

TEST(a_refused_request_keeps_its_number)
{
    static const char *const texts[] = { "{\"seq\":42,\"op\":\"get\"}",
        "{\"op\":\"dance\",\"seq\":42}", "{\"seq\":42,\"op\":\"list\",\"more\":{}}" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(texts); i++) {
        struct engine_request req;
        struct smx_err err = { 0 };

        ASSERT_EQ(engine_request_decode(texts[i], strlen(texts[i]), &req, &err), -SMX_E_INVALID);
        ASSERT_EQ(req.seq, 42);
        ASSERT_TRUE(req.id == NULL);
    }
}

TEST(create_is_decoded_whole)
{
    static const char text[] =
        "{\"seq\":3,\"op\":\"create\",\"id\":\"" ID "\",\"deadline_ms\":0,\"create\":{\"token\":"
        "\"t_1\",\"resources\":{\"cpu_milli\":500,\"disk_mib\":9}}}";
    struct engine_request req;
    struct smx_err err = { 0 };

    ASSERT_OK(engine_request_decode(text, sizeof text - 1, &req, &err), &err);
    ASSERT_EQ(req.op, ENGINE_OP_CREATE);
    ASSERT_STR(req.id, ID);
    ASSERT_TRUE(req.has_deadline);
    ASSERT_EQ(req.deadline_ms, 0);
    ASSERT_STR(req.create->token, "t_1");
    ASSERT_EQ(req.create->resources.cpu_milli, 500);
    ASSERT_EQ(req.create->resources.memory_mib, 0);
    ASSERT_EQ(req.create->resources.disk_mib, 9);
    json_free(&engine_request_table, &req);
}

TEST(replies_go_there_and_back)
{
    char id[] = ID, why[] = "sandbox not found", code[] = "sandbox_not_found";
    struct engine_sandbox sb = { .id = id,
        .state = ENGINE_STATE_STOPPED,
        .reason = ENGINE_REASON_OOM,
        .deadline_ms = 5,
        .has_deadline = true };
    struct engine_reply out = { .seq = 9, .error = code, .message = why, .sandbox = &sb }, in;
    struct smx_err err = { 0 };
    struct smx_buf buf;

    smx_buf_init(&buf, 4096);
    ASSERT_OK(json_encode_to(&buf, &engine_reply_table, &out, &err), &err);
    ASSERT_OK(engine_reply_decode(buf.data, buf.len, &in, &err), &err);
    ASSERT_EQ(in.seq, 9);
    ASSERT_EQ(engine_reply_error(&in, &err), -SMX_E_SANDBOX_NOT_FOUND);
    ASSERT_STR(err.msg, why);
    ASSERT_EQ(in.sandbox->reason, ENGINE_REASON_OOM);
    ASSERT_EQ(in.sandbox->state, ENGINE_STATE_STOPPED);
    ASSERT_TRUE(in.sandbox->has_deadline);
    ASSERT_TRUE(in.hello == NULL);
    json_free(&engine_reply_table, &in);
    smx_buf_done(&buf);
}
