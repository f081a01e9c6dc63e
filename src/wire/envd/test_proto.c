/* test_proto.c - messages in the binary form, byte by byte. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/test.h"
#include "wire/envd/proto.h"

/* "0a 05" -> bytes on the heap, so that the sanitizer sees a read past the end. */
static char *bytes_of(const char *hex, size_t *ret_n)
{
    char *out = smx_alloc(strlen(hex) / 2 + 1);
    unsigned v;
    int used;
    size_t n = 0;

    while (sscanf(hex, "%2x%n", &v, &used) == 1) {
        out[n++] = (char)v;
        hex += used;
    }
    *ret_n = n;
    out = smx_realloc(out, n + !n);
    return out;
}

static int read_hex(
    const struct json_table *t, const char *hex, struct smx_buf *out, struct smx_err *err)
{
    size_t n;
    SMX_CLEANUP(smx_freep) char *data = bytes_of(hex, &n);

    *err = (struct smx_err){ 0 };
    smx_buf_init(out, 65536);
    return envd_proto_read(t, data, n, out, err);
}

TEST(requests_become_json)
{
    static const struct {
        const struct json_table *table;
        const char *hex, *want;
    } cases[] = {
        { &envd_empty_table, "", "{}" },
        { &envd_path_request_table, "0a 04 2f65 7463", "{\"path\":\"/etc\"}" },
        { &envd_path_request_table, "0a 01 61 0a 01 62", "{\"path\":\"b\"}" },
        { &envd_path_request_table, "7a 01 78 a001 05 51 0102030405060708 55 01020304 0a 01 62",
            "{\"path\":\"b\"}" },
        { &envd_path_request_table, "08 05", "{}" }, /* of another type: unknown */
        { &envd_list_dir_request_table, "0a 00 10 ffffffffff01",
            "{\"path\":\"\",\"depth\":4294967295}" },
        { &envd_start_request_table,
            "0a 1b 0a 02 7368 12 02 2d63 12 00 1a 06 0a 01 41 12 01 31 1a 05 0a 01 41 12 00 22 00"
            " 12 06 0a 04 08 50 10 18 1a 01 74 20 00",
            "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"\"],\"envs\":{\"A\":\"\"},\"cwd\":\"\""
            "},\"pty\":{\"size\":{\"cols\":80,\"rows\":24}},\"tag\":\"t\",\"stdin\":false}" },
        { &envd_send_signal_request_table, "0a 02 08 07 10 09",
            "{\"process\":{\"pid\":7},\"signal\":9}" },
        { &envd_send_signal_request_table, "10 ffffffffffffffffff01", "{\"signal\":-1}" },
        { &envd_stream_input_request_table, "12 06 12 04 0a 02 ff00",
            "{\"data\":{\"input\":{\"stdin\":\"/wA=\"}}}" },
        { &envd_stream_input_request_table, "1a 00", "{\"keepalive\":{}}" },
        { &envd_watch_request_table, "0a 01 2f 10 01 18 01 20 00",
            "{\"path\":\"/\",\"recursive\":true,\"includeEntry\":true,"
            "\"allowNetworkMounts\":false}" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct smx_buf out;
        struct smx_err err;

        ASSERT_OK(read_hex(cases[i].table, cases[i].hex, &out, &err), &err);
        ASSERT_STR(out.data, cases[i].want);
        smx_buf_done(&out);
    }
}

TEST(what_is_no_message_is_refused)
{
    static const char *const cases[] = { "0a", "0a 05 61", "0a ffffffffffffffffffff01", "08",
        "08 80", "00 01", "0b 0c", "0e 00", "51 01", "55 01", "ffffffffffffffffffffff",
        "0a 02 c328", "0a 01 ff" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct smx_buf out;
        struct smx_err err;

        ASSERT_EQ(read_hex(&envd_path_request_table, cases[i], &out, &err), -SMX_E_INVALID);
        ASSERT_TRUE(strncmp(err.msg, "proto: ", 7) == 0);
        smx_buf_done(&out);
    }
}

TEST(lists_are_bounded)
{
    struct smx_buf config, request, out;
    struct smx_err err;

    for (int count = 1024; count <= 1025; count++) {
        smx_buf_init(&config, 65536);
        for (int i = 0; i < count; i++)
            smx_buf_append(&config, "\x12\x00", 2);
        smx_buf_init(&request, 65536);
        smx_buf_append(&request, "\x0a", 1);
        smx_buf_append_char(&request, (char)(config.len | 0x80));
        smx_buf_append_char(&request, (char)(config.len >> 7));
        smx_buf_append(&request, config.data, config.len);
        smx_buf_init(&out, 65536);
        ASSERT_EQ(envd_proto_read(&envd_start_request_table, request.data, request.len, &out, &err),
            count > 1024 ? -SMX_E_INVALID : 0);
        smx_buf_done(&out);
        smx_buf_done(&config);
        smx_buf_done(&request);
    }
}

TEST(replies_become_bytes)
{
    static const struct {
        const struct json_table *table;
        const char *json, *hex;
    } cases[] = {
        { &envd_empty_table, "{}", "" },
        { &envd_event_message_table, "{\"event\":{\"start\":{\"pid\":300}}}",
            "0a 05 0a 03 08 ac02" },
        { &envd_event_message_table, "{\"event\":{\"keepalive\":{}}}", "0a 02 22 00" },
        { &envd_event_message_table, "{\"event\":{\"data\":{\"stderr\":\"aGk=\"}}}",
            "0a 06 12 04 12 02 6869" },
        { &envd_event_message_table, "{\"event\": {\"data\":{\"pty\":\"aGk=\"}}}",
            "0a 06 12 04 1a 02 6869" },
        { &envd_event_message_table,
            "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"s\",\"error\":\"e\"}}}",
            "0a 0a 1a 08 08 01 1a 01 73 22 01 65" },
        { &envd_event_message_table, "{\"event\":{\"end\":{\"exitCode\":3,\"exited\":true}}}",
            "0a 06 1a 04 08 06 10 01" },
        { &envd_list_response_table,
            "{\"processes\":[{\"config\":{\"cmd\":\"a\",\"envs\":{\"K\":\"v\"}},\"pid\":1},"
            "{\"config\":{\"cmd\":\"b\",\"args\":[\"x\",\"\"]},\"pid\":2,\"tag\":\"t\"}]}",
            "0a 0f 0a 0b 0a 01 61 1a 06 0a 01 4b 12 01 76 10 01"
            " 0a 0f 0a 08 0a 01 62 12 01 78 12 00 10 02 1a 01 74" },
        { &envd_entry_response_table,
            "{\"entry\":{\"name\":\"n\",\"type\":\"FILE_TYPE_DIRECTORY\",\"size\":\"4096\","
            "\"mode\":493,\"modifiedTime\":\"1970-01-01T00:01:00.5Z\",\"isSymlink\":true,"
            "\"symlinkTarget\":\"\",\"metadata\":{\"a\":\"b\"}}}",
            "0a 1f 0a 01 6e 10 02 20 8020 28 ed03 4a 08 08 3c 10 80cab5ee01 52 00 5a 06 0a 01 61 "
            "12 01 62" },
        { &envd_watch_message_table, "{\"start\":{}}", "0a 00" },
        { &envd_watch_message_table,
            "{\"filesystem\":{\"name\":\"f\",\"type\":\"EVENT_TYPE_CHMOD\"}}",
            "12 05 0a 01 66 10 05" },
        { &envd_create_watcher_response_table, "{\"watcherId\":\"w\"}", "0a 01 77" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        size_t n;
        SMX_CLEANUP(smx_freep) char *want = bytes_of(cases[i].hex, &n);
        struct smx_err err;
        struct smx_buf out;

        smx_buf_init(&out, 65536);
        ASSERT_OK(
            envd_proto_append(&out, cases[i].table, cases[i].json, strlen(cases[i].json), &err),
            &err);
        ASSERT_MEM(out.data ? out.data : "", out.len, want, n);
        smx_buf_done(&out);
    }
}

TEST(long_data_has_a_long_length)
{
    struct smx_buf json, out;
    struct smx_err err;
    char data[20000];

    memset(data, 'x', sizeof data);
    smx_buf_init(&json, 65536);
    smx_buf_init(&out, 65536);
    envd_data_event_append(&json, ENVD_STDOUT, data, sizeof data);
    ASSERT_OK(envd_proto_append(&out, &envd_event_message_table, json.data, json.len, &err), &err);
    ASSERT_MEM(out.data, 12, "\x0a\xa8\x9c\x01\x12\xa4\x9c\x01\x0a\xa0\x9c\x01", 12);
    ASSERT_MEM(out.data + 12, out.len - 12, data, sizeof data);
    smx_buf_done(&json);
    smx_buf_done(&out);
}

static int in_steps(const struct json_table *t, const char *json, size_t n, struct smx_buf *out,
    unsigned *ret_steps)
{
    struct smx_err err;
    size_t at = 0;
    int r;

    *ret_steps = 0;
    do {
        r = envd_proto_step(out, t, json, n, &at, &err);
        ++*ret_steps;
    } while (r > 0);
    return r;
}

TEST(lists_in_steps_are_the_same)
{
    static const char one[] = "{\"name\":\"a}\\\"{\",\"path\":\"/a\",\"metadata\":{\"k\":\"]\"}}";
    struct smx_buf json, whole, steps;
    struct smx_err err;
    unsigned count;

    smx_buf_init(&json, 1 << 24);
    smx_buf_append_str(&json, "{\"entries\":[");
    for (int i = 0; i < 5000; i++)
        smx_buf_appendf(&json, "%s%s", i ? "," : "", one);
    smx_buf_append_str(&json, "]}");
    smx_buf_init(&whole, 1 << 24);
    smx_buf_init(&steps, 1 << 24);
    ASSERT_OK(
        envd_proto_append(&whole, &envd_entries_response_table, json.data, json.len, &err), &err);
    ASSERT_EQ(in_steps(&envd_entries_response_table, json.data, json.len, &steps, &count), 0);
    ASSERT_TRUE(count > 3 && count < 10);
    ASSERT_MEM(steps.data, steps.len, whole.data, whole.len);
    smx_buf_reset(&steps);
    ASSERT_EQ(
        in_steps(&envd_entries_response_table, "{\"entries\":[{\"name\":", 21, &steps, &count),
        -SMX_E_PROTOCOL);
    ASSERT_EQ(in_steps(&envd_entries_response_table, "{\"entries\":[]}", 14, &steps, &count), 0);
    ASSERT_EQ(in_steps(&envd_path_request_table, "{\"path\":\"\"}", 11, &steps, &count), 0);
    ASSERT_MEM(steps.data, steps.len, "\x0a\0", 2);
    smx_buf_done(&json);
    smx_buf_done(&whole);
    smx_buf_done(&steps);
}

TEST(every_table_has_its_numbers)
{
    char text[] = { 0x7a, 0 }; /* a field that nobody has: what is read is the empty message */

    for (size_t i = 0; envd_tables[i]; i++) {
        struct smx_buf out;
        struct smx_err err;

        smx_buf_init(&out, 65536);
        ASSERT_OK(envd_proto_read(envd_tables[i], text, sizeof text, &out, &err), &err);
        smx_buf_done(&out);
    }
}
