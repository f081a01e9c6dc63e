/* test_rpc.c - envelopes at every split, error payloads of every shape. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/test.h"
#include "rpc/rpc.h"

TEST(codes_have_names_statuses_and_ways_back)
{
    static const struct {
        enum rpc_code code;
        const char *name;
        int http;
    } rows[] = {
        { RPC_CANCELED, "canceled", 499 },
        { RPC_UNKNOWN, "unknown", 500 },
        { RPC_INVALID_ARGUMENT, "invalid_argument", 400 },
        { RPC_DEADLINE_EXCEEDED, "deadline_exceeded", 504 },
        { RPC_NOT_FOUND, "not_found", 404 },
        { RPC_ALREADY_EXISTS, "already_exists", 409 },
        { RPC_PERMISSION_DENIED, "permission_denied", 403 },
        { RPC_RESOURCE_EXHAUSTED, "resource_exhausted", 429 },
        { RPC_FAILED_PRECONDITION, "failed_precondition", 400 },
        { RPC_ABORTED, "aborted", 409 },
        { RPC_OUT_OF_RANGE, "out_of_range", 400 },
        { RPC_UNIMPLEMENTED, "unimplemented", 501 },
        { RPC_INTERNAL, "internal", 500 },
        { RPC_UNAVAILABLE, "unavailable", 503 },
        { RPC_DATA_LOSS, "data_loss", 500 },
        { RPC_UNAUTHENTICATED, "unauthenticated", 401 },
    };

    ASSERT_EQ(SMX_ARRAY_LEN(rows), RPC_CODE_COUNT_ - 1);
    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        ASSERT_STR(rpc_code_name(rows[i].code), rows[i].name);
        ASSERT_EQ(rpc_code_http(rows[i].code), rows[i].http);
        ASSERT_EQ(rpc_code_from_name(rows[i].name), rows[i].code);
        ASSERT_TRUE(rpc_code_to_smx(rows[i].code) != SMX_OK);
    }
    ASSERT_EQ(rpc_code_from_name("ok"), RPC_UNKNOWN);
    ASSERT_EQ(rpc_code_from_name("NOT_FOUND"), RPC_UNKNOWN);
    ASSERT_STR(rpc_code_name((enum rpc_code)999), "unknown");
}

TEST(envelopes_are_found_at_every_split)
{
    struct smx_err err = { 0 };
    struct smx_buf b;
    size_t start;

    smx_buf_init(&b, 1000);
    start = rpc_begin(&b, 0);
    smx_buf_append_str(&b, "hello");
    rpc_end(&b, start);
    start = rpc_begin(&b, 0);
    rpc_end(&b, start);
    rpc_append_end(&b, RPC_OK, NULL);
    ASSERT_MEM(b.data, b.len, "\0\0\0\0\5hello\0\0\0\0\0\2\0\0\0\2{}", 22);
    for (size_t n = 0; n <= b.len; n++) {
        char *copy = smx_alloc(n + !n); /* exact size: the sanitizer sees a read past the end */
        struct rpc_envelope e = { 0 };
        ptrdiff_t r;

        memcpy(copy, b.data, n);
        r = rpc_parse(copy, n, &e, &err);
        if (n >= 10)
            ASSERT_MEM(e.data, e.n, "hello", 5);
        smx_free(copy);
        ASSERT_EQ(r, n < 10 ? 0 : 10);
    }
    smx_buf_done(&b);
}

TEST(a_stream_is_taken_apart_in_order)
{
    static const char stream[] = "\0\0\0\0\1a\1\0\0\0\0\2\0\0\0\2{}";
    static const uint8_t flags[] = { 0, RPC_FLAG_COMPRESSED, RPC_FLAG_END };
    struct smx_err err = { 0 };
    size_t at = 0;

    for (size_t i = 0; i < SMX_ARRAY_LEN(flags); i++) {
        struct rpc_envelope e;
        ptrdiff_t r = rpc_parse(stream + at, sizeof stream - 1 - at, &e, &err);

        ASSERT_INT(r, >, 0);
        ASSERT_EQ(e.flags, flags[i]);
        at += (size_t)r;
    }
    ASSERT_EQ(at, sizeof stream - 1);
}

TEST(bad_envelopes_are_refused_as_soon_as_they_show)
{
    struct smx_err err = { 0 };
    struct rpc_envelope e;

    ASSERT_EQ(rpc_parse("\4", 1, &e, &err), -SMX_E_PROTOCOL);
    ASSERT_STR(err.msg, "an envelope has the unknown flags 0x04");
    ASSERT_EQ(rpc_parse("\x80\0\0\0\0", 5, &e, &err), -SMX_E_PROTOCOL);
    ASSERT_EQ(rpc_parse("\0\0\x40\0\0", 5, &e, &err), 0); /* exactly the limit: wait for it */
    ASSERT_EQ(rpc_parse("\0\0\x40\0\1", 5, &e, &err), -SMX_E_TOO_LARGE);
    ASSERT_EQ(rpc_parse("\0\xff\xff\xff\xff", 5, &e, &err), -SMX_E_TOO_LARGE);
    ASSERT_STR(err.msg, "an envelope of 4294967295 bytes exceeds the limit of 4194304");
}

TEST(a_full_buffer_is_never_written_past)
{
    for (size_t max = 0; max < 60; max++) {
        struct smx_buf b;
        bool fits;

        smx_buf_init(&b, max);
        rpc_append_end(&b, RPC_NOT_FOUND, "gone");
        fits = max >= 5 + strlen("{\"error\":{\"code\":\"not_found\",\"message\":\"gone\"}}");
        ASSERT_EQ(b.failed, !fits);
        ASSERT_INT(b.len, <=, max);
        smx_buf_done(&b);
    }
}

static const struct {
    const char *text;
    enum rpc_code code;
    enum smx_code smx;
    const char *message;
} payloads[] = {
    { "{}", RPC_OK, SMX_OK, "" },
    { "{\"metadata\":{\"a\":[\"b\"]}}", RPC_OK, SMX_OK, "" },
    { "{\"error\":null}", RPC_OK, SMX_OK, "" },
    { "{\"code\":\"not_found\",\"message\":\"no pid 9\"}", RPC_NOT_FOUND, SMX_E_NOT_FOUND,
        "no pid 9" },
    { "{\"error\":{\"code\":\"unavailable\"}}", RPC_UNAVAILABLE, SMX_E_UNAVAILABLE, "unavailable" },
    { "{\"error\":{\"code\":\"internal\",\"message\":\"a\\nb\",\"details\":[{\"x\":1}]}}",
        RPC_INTERNAL, SMX_E_INTERNAL, "a b" },
    { "{\"error\":{}}", RPC_UNKNOWN, SMX_E_INTERNAL, "unknown" },
    { "{\"error\":{\"code\":\"ok\"}}", RPC_UNKNOWN, SMX_E_INTERNAL, "unknown" },
    { "{\"message\":\"%s%n\"}", RPC_UNKNOWN, SMX_E_INTERNAL, "%s%n" },
    { "{\"error\":\"x\"}", RPC_UNKNOWN, SMX_E_PROTOCOL,
        "the end of a call: error: must be an object" },
    { "", RPC_UNKNOWN, SMX_E_PROTOCOL,
        "the end of a call: invalid JSON at byte 0: the document is empty" },
    { "<html>", RPC_UNKNOWN, SMX_E_PROTOCOL,
        "the end of a call: the JSON document must be an object" },
};

TEST(error_payloads_of_every_shape)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(payloads); i++) {
        struct smx_err err = { 0 };

        ASSERT_EQ(
            rpc_read_error(payloads[i].text, strlen(payloads[i].text), &err), payloads[i].code);
        ASSERT_EQ(err.code, payloads[i].smx);
        ASSERT_STR(err.msg, payloads[i].message);
        ASSERT_EQ(
            rpc_read_error(payloads[i].text, strlen(payloads[i].text), NULL), payloads[i].code);
    }
}

TEST(what_is_written_is_read_back)
{
    for (unsigned c = RPC_CANCELED; c < RPC_CODE_COUNT_; c++) {
        struct smx_err err = { 0 };
        struct rpc_envelope e;
        struct smx_buf b;
        enum rpc_code unary, stream;

        smx_buf_init(&b, 1000);
        rpc_append_error(&b, (enum rpc_code)c, "why \"so\"");
        unary = rpc_read_error(b.data, b.len, &err);
        smx_buf_reset(&b);
        rpc_append_end(&b, (enum rpc_code)c, "why \"so\"");
        ASSERT_EQ(rpc_parse(b.data, b.len, &e, &err), b.len);
        stream = rpc_read_error(e.data, e.n, &err);
        smx_buf_done(&b);
        ASSERT_EQ(unary, c);
        ASSERT_EQ(stream, c);
        ASSERT_STR(err.msg, "why \"so\"");
    }
}

TEST(no_memory_while_reading_an_error)
{
    static const char text[] = "{\"error\":{\"code\":\"internal\",\"message\":\"x\"}}";

    for (unsigned n = 1; n <= 3; n++) {
        struct smx_err err = { 0 };

        smx_mem_fail_after(n);
        ASSERT_EQ(rpc_read_error(text, sizeof text - 1, &err), RPC_UNKNOWN);
        smx_mem_fail_after(0);
        ASSERT_EQ(err.code, SMX_E_NO_MEMORY);
    }
}
