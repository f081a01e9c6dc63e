/* test_envd.c - the envd tables against messages as SDKs and envd write them. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/test.h"
#include "wire/envd/envd.h"

static int decode(const struct json_table *t, const char *text, void *ret, struct smx_err *err)
{
    return json_decode(t, text, strlen(text), ret, err);
}

/* Decodes and encodes again; the caller frees. */
static char *round_trip(const struct json_table *t, const char *text)
{
    char value[512];
    struct smx_buf out;
    struct smx_err err;

    if (t->size > sizeof value || decode(t, text, value, &err) < 0)
        return NULL;
    smx_buf_init(&out, 1 << 16);
    (void)json_encode_to(&out, t, value, &err);
    json_free(t, value);
    return smx_buf_steal(&out);
}

#define ASSERT_ROUND_TRIP(table, in, want)                              \
    do {                                                                \
        SMX_CLEANUP(smx_freep) char *got_ = round_trip(&(table), (in)); \
        ASSERT_STR(got_, want);                                         \
    } while (0)

TEST(start_as_the_sdk_sends_it)
{
    struct envd_start_request r;
    struct smx_err err;
    const char *text = "{\"process\":{\"cmd\":\"/bin/bash\",\"args\":[\"-l\",\"-c\",\"exit 3\"],"
                       "\"envs\":{\"A\":\"1\"},\"cwd\":\"/tmp\"},\"pty\":{\"size\":{\"cols\":80,"
                       "\"rows\":24}},\"tag\":\"t\",\"stdin\":false}";

    ASSERT_OK(decode(&envd_start_request_table, text, &r, &err), &err);
    ASSERT_STR(r.process.cmd, "/bin/bash");
    ASSERT_EQ(r.process.args.n, 3);
    ASSERT_STR(r.process.args.v[2], "exit 3");
    ASSERT_STR(r.process.envs.v[0].key, "A");
    ASSERT_STR(r.process.cwd, "/tmp");
    ASSERT_EQ(r.pty->size.cols, 80);
    ASSERT_EQ(r.pty->size.rows, 24);
    ASSERT_STR(r.tag, "t");
    ASSERT_TRUE(r.has_stdin && !r.stdin_open);
    json_free(&envd_start_request_table, &r);
    ASSERT_ROUND_TRIP(envd_start_request_table, text, text);
}

TEST(start_without_fields)
{
    struct envd_start_request r;
    struct smx_err err;

    ASSERT_OK(decode(&envd_start_request_table, "{\"process\":null,\"news\":[1]}", &r, &err), &err);
    ASSERT_TRUE(!r.process.cmd && !r.pty && !r.tag && !r.has_stdin);
    ASSERT_EQ(r.process.args.n, 0);
    json_free(&envd_start_request_table, &r);
}

TEST(start_refuses_wrong_types)
{
    static const char *const bad[] = { "{\"process\":{\"cmd\":5}}", "{\"process\":[]}",
        "{\"process\":{\"args\":\"x\"}}", "{\"process\":{\"envs\":{\"A\":1}}}",
        "{\"pty\":{\"size\":{\"cols\":-1}}}", "{\"stdin\":\"yes\"}", "{bad", "[]", "" };
    struct envd_start_request r;
    struct smx_err err;

    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++)
        ASSERT_INT(decode(&envd_start_request_table, bad[i], &r, &err), <, 0);
}

TEST(selector_by_pid_or_tag)
{
    struct envd_connect_request r;
    struct smx_err err;

    ASSERT_OK(
        decode(&envd_connect_request_table, "{\"process\":{\"pid\":\"42\"}}", &r, &err), &err);
    ASSERT_TRUE(r.process.has_pid && r.process.pid == 42 && !r.process.tag);
    json_free(&envd_connect_request_table, &r);
    ASSERT_ROUND_TRIP(envd_connect_request_table, "{\"process\":{\"tag\":\"x\"}}",
        "{\"process\":{\"tag\":\"x\"}}");
    ASSERT_ROUND_TRIP(
        envd_connect_request_table, "{\"process\":{\"pid\":42}}", "{\"process\":{\"pid\":42}}");
}

TEST(signals_by_name_or_number)
{
    ASSERT_EQ(envd_signal_parse("\"SIGNAL_SIGKILL\""), ENVD_SIGNAL_KILL);
    ASSERT_EQ(envd_signal_parse("\"SIGNAL_SIGTERM\""), ENVD_SIGNAL_TERM);
    ASSERT_EQ(envd_signal_parse("9"), ENVD_SIGNAL_KILL);
    ASSERT_EQ(envd_signal_parse("15"), ENVD_SIGNAL_TERM);
    ASSERT_EQ(envd_signal_parse("\"SIGNAL_UNSPECIFIED\""), ENVD_SIGNAL_NONE);
    ASSERT_EQ(envd_signal_parse("2"), ENVD_SIGNAL_NONE);
    ASSERT_EQ(envd_signal_parse(NULL), ENVD_SIGNAL_NONE);
}

TEST(input_is_bytes)
{
    struct envd_send_input_request r;
    struct smx_err err;

    ASSERT_OK(decode(&envd_send_input_request_table,
                  "{\"process\":{\"pid\":1},\"input\":{\"stdin\":\"AAEC/w==\"}}", &r, &err),
        &err);
    ASSERT_MEM(r.input.stdin_data.data, r.input.stdin_data.n, "\0\1\2\377", 4);
    ASSERT_TRUE(!r.input.pty_data.data);
    json_free(&envd_send_input_request_table, &r);
    ASSERT_INT(
        decode(&envd_send_input_request_table, "{\"input\":{\"stdin\":\"***\"}}", &r, &err), <, 0);
}

TEST(events_of_a_process)
{
    const char *end = "{\"event\":{\"end\":{\"exitCode\":3,\"exited\":true,"
                      "\"status\":\"exit status 3\",\"error\":\"exit status 3\"}}}";
    struct envd_event_message m;
    struct smx_err err;

    ASSERT_ROUND_TRIP(envd_event_message_table, "{\"event\":{\"start\":{\"pid\":1528}}}",
        "{\"event\":{\"start\":{\"pid\":1528}}}");
    ASSERT_ROUND_TRIP(envd_event_message_table, end, end);
    ASSERT_ROUND_TRIP(envd_event_message_table, "{\"event\":{\"keepalive\":{}}}",
        "{\"event\":{\"keepalive\":{}}}");
    ASSERT_OK(
        decode(&envd_event_message_table,
            "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: killed\"}}}", &m, &err),
        &err);
    ASSERT_EQ(m.event.end->exit_code, -1);
    ASSERT_FALSE(m.event.end->exited);
    json_free(&envd_event_message_table, &m);
}

TEST(data_event_without_tables)
{
    static const enum envd_stream streams[] = { ENVD_STDOUT, ENVD_STDERR, ENVD_PTY };
    struct smx_buf out;

    for (size_t i = 0; i < SMX_ARRAY_LEN(streams); i++) {
        for (size_t n = 0; n < 40; n++) {
            char data[40], back[64];
            enum envd_stream stream;
            struct smx_view text;

            memset(data, (int)(0xa0 + n), sizeof data);
            smx_buf_init(&out, envd_data_event_size(n));
            envd_data_event_append(&out, streams[i], data, n);
            ASSERT_FALSE(out.failed);
            ASSERT_TRUE(envd_data_event_parse(out.data, out.len, &stream, &text));
            ASSERT_EQ(stream, streams[i]);
            ASSERT_EQ(smx_base64_decode(back, text.p, text.n), (ptrdiff_t)n);
            ASSERT_EQ(memcmp(back, data, n), 0);
            smx_buf_done(&out);
        }
    }
}

/* Both ways of reading agree. */
TEST(data_event_equals_its_table)
{
    struct envd_event_message m;
    struct smx_buf out;
    struct smx_err err;

    smx_buf_init(&out, 1024);
    envd_data_event_append(&out, ENVD_STDERR, "err\n", 4);
    ASSERT_STR(out.data, "{\"event\":{\"data\":{\"stderr\":\"ZXJyCg==\"}}}");
    ASSERT_OK(json_decode(&envd_event_message_table, out.data, out.len, &m, &err), &err);
    ASSERT_MEM(m.event.data->stderr_data.data, m.event.data->stderr_data.n, "err\n", 4);
    json_free(&envd_event_message_table, &m);
    smx_buf_done(&out);
}

TEST(data_event_parse_refuses_other_forms)
{
    static const char *const other[] = { "", "{", "{\"event\":{\"data\":{\"stdout\":\"",
        "{\"event\":{\"data\":{\"stdout\":\"aGk=\"}}",
        "{\"event\":{\"data\":{\"stdout\":\"aGk=\",\"stderr\":\"aGk=\"}}}",
        "{\"event\": {\"data\":{\"stdout\":\"aGk=\"}}}", "{\"event\":{\"start\":{\"pid\":1}}}",
        "{\"event\":{\"data\":{\"other\":\"aGk=\"}}}" };
    enum envd_stream stream;
    struct smx_view text;

    for (size_t i = 0; i < SMX_ARRAY_LEN(other); i++)
        ASSERT_FALSE(envd_data_event_parse(other[i], strlen(other[i]), &stream, &text));
}

TEST(data_event_needs_its_room)
{
    struct smx_buf out;

    smx_buf_init(&out, 20);
    envd_data_event_append(&out, ENVD_STDOUT, "x", 1);
    ASSERT_TRUE(out.failed);
    smx_buf_done(&out);
}

TEST(entries)
{
    const char *text =
        "{\"entry\":{\"name\":\"bin\",\"type\":\"FILE_TYPE_DIRECTORY\",\"path\":\"/bin\","
        "\"size\":\"7\","
        "\"mode\":493,\"permissions\":\"Lrwxrwxrwx\",\"owner\":\"root\",\"group\":\"root\","
        "\"modifiedTime\":\"2025-05-20T00:00:00Z\",\"symlinkTarget\":\"/usr/bin\","
        "\"metadata\":{\"k\":\"v\"}}}";
    struct envd_entry_response r;
    struct smx_err err;

    ASSERT_ROUND_TRIP(envd_entry_response_table, text, text);
    ASSERT_OK(decode(&envd_entry_response_table, text, &r, &err), &err);
    ASSERT_EQ(r.entry.type, ENVD_TYPE_DIRECTORY);
    ASSERT_EQ(r.entry.size, 7);
    ASSERT_EQ(r.entry.mode, 0755);
    json_free(&envd_entry_response_table, &r);
}

TEST(snake_case_is_accepted)
{
    struct envd_watch_request r;
    struct smx_err err;

    ASSERT_OK(
        decode(&envd_watch_request_table,
            "{\"path\":\"/x\",\"include_entry\":true,\"allow_network_mounts\":true}", &r, &err),
        &err);
    ASSERT_TRUE(r.include_entry && r.allow_network_mounts && !r.recursive);
    json_free(&envd_watch_request_table, &r);
}

TEST(init_and_watch_messages)
{
    ASSERT_ROUND_TRIP(envd_init_request_table,
        "{\"envVars\":{\"A\":\"1\"},\"defaultUser\":\"user\",\"accessToken\":\"x\",\"timestamp\":"
        "\"2026-11-25T00:00:00Z\"}",
        "{\"envVars\":{\"A\":\"1\"},\"defaultUser\":\"user\"}");
    ASSERT_ROUND_TRIP(envd_watch_message_table,
        "{\"filesystem\":{\"name\":\"a\",\"type\":\"EVENT_TYPE_CREATE\"}}",
        "{\"filesystem\":{\"name\":\"a\",\"type\":\"EVENT_TYPE_CREATE\"}}");
    ASSERT_ROUND_TRIP(envd_watch_message_table, "{\"start\":{}}", "{\"start\":{}}");
}

TEST(every_table_reads_the_empty_object)
{
    char value[512];
    struct smx_err err;

    for (size_t i = 0; envd_tables[i]; i++) {
        ASSERT_TRUE(envd_tables[i]->size <= sizeof value);
        ASSERT_OK(decode(envd_tables[i], "{\"unknown\":{\"a\":[1,null]}}", value, &err), &err);
        json_free(envd_tables[i], value);
    }
}
