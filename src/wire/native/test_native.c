/* test_native.c - the native API's messages: what requests refuse, what replies keep. */
#include "base/mem.h"
#include "base/test.h"
#include "wire/native/native.h"

static int decode(const struct json_table *t, const char *text, void *ret, struct smx_err *err)
{
    return json_decode(t, text, strlen(text), ret, err);
}

TEST(every_table_reads_an_empty_object_or_names_what_is_missing)
{
    static const struct json_table *const tables[] = { &native_create_table, &native_patch_table,
        &native_sandbox_table, &native_sandbox_list_table, &native_exec_table,
        &native_exec_result_table, &native_problem_table, &native_exec_event_table,
        &native_ws_control_table, &native_process_list_table, &native_file_list_table,
        &native_move_table, &native_preview_table, &native_log_line_table, &native_stats_table,
        &native_event_table, &native_template_list_table, &native_key_create_table,
        &native_key_table, &native_key_list_table, &native_switch_table,
        &native_switch_result_table, &native_runtime_status_table, &native_runtime_validation_table,
        &native_runtime_health_table, &native_version_table, &native_ready_table,
        &native_error_body_table };
    char value[1024];

    for (size_t i = 0; i < SMX_ARRAY_LEN(tables); i++) {
        struct smx_err err = { 0 };
        int r;

        ASSERT_INT(tables[i]->size, <=, sizeof value);
        r = decode(tables[i], "{}", value, &err);
        ASSERT_TRUE(r == 0 || (r == -SMX_E_INVALID && strstr(err.msg, "required")));
        if (r == 0)
            json_free(tables[i], value);
        ASSERT_EQ(decode(tables[i], "[]", value, &err), -SMX_E_INVALID);
    }
}

TEST(create_is_strict_and_hides_the_password)
{
    struct native_create c;
    struct smx_err err = { 0 };

    ASSERT_OK(decode(&native_create_table,
                  "{\"template\":\"base\",\"timeout_s\":0,\"env\":{\"A\":\"1\"},"
                  "\"resources\":{\"cpu\":2},\"password\":\"s3cret\"}",
                  &c, &err),
        &err);
    ASSERT_STR(c.template_name, "base");
    ASSERT_TRUE(c.has_timeout);
    ASSERT_EQ(c.timeout_s, 0);
    ASSERT_EQ(c.env.n, 1);
    ASSERT_EQ(c.resources.cpu, 2);
    json_free(&native_create_table, &c);
    ASSERT_EQ(decode(&native_create_table, "{\"tmplate\":\"x\"}", &c, &err), -SMX_E_INVALID);
    ASSERT_TRUE(strstr(err.msg, "tmplate"));
    ASSERT_EQ(decode(&native_create_table, "{\"timeout_s\":-1}", &c, &err), -SMX_E_INVALID);
    ASSERT_EQ(decode(&native_create_table, "{\"timeout_s\":1.5}", &c, &err), -SMX_E_INVALID);
    ASSERT_EQ(
        decode(&native_create_table, "{\"resources\":{\"cpu\":-1}}", &c, &err), -SMX_E_INVALID);
    ASSERT_TRUE(strstr(err.msg, "resources.cpu"));
    ASSERT_EQ(decode(&native_create_table, "{\"password\":17}", &c, &err), -SMX_E_INVALID);
    ASSERT_FALSE(strstr(err.msg, "17"));
}

TEST(absent_and_null_lifetimes_are_told_from_none)
{
    struct native_patch p;
    struct smx_err err = { 0 };

    ASSERT_OK(decode(&native_patch_table, "{}", &p, &err), &err);
    ASSERT_FALSE(p.has_timeout || p.metadata.set);
    ASSERT_OK(decode(&native_patch_table, "{\"timeout_s\":null}", &p, &err), &err);
    ASSERT_FALSE(p.has_timeout);
    ASSERT_OK(decode(&native_patch_table, "{\"metadata\":{}}", &p, &err), &err);
    ASSERT_TRUE(p.metadata.set);
    json_free(&native_patch_table, &p);
}

TEST(a_file_is_written_as_its_table_says)
{
    static char plain[] = "plain text of a name", empty[] = "", quote[] = "a\"b",
                utf8[] = "\xc3\xa4", bad[] = "\xff";
    char *const values[] = { plain, empty, quote, utf8, bad, NULL };
    const size_t n = SMX_ARRAY_LEN(values);

    for (size_t member = 0; member < 8; member++) {
        for (size_t i = 0; i < 2 * n; i++) {
            char *t[8] = { plain, plain, plain, plain, i < n ? empty : plain, i < n ? NULL : plain,
                plain, plain };
            struct smx_buf fast, table;
            struct json_writer w[2];

            t[member] = values[i % n];
            struct native_file f = { t[0], t[1], i % 2, i == 3 ? UINT64_MAX : i * 7, t[2], t[3],
                t[4], t[5], t[6], t[7] };

            smx_buf_init(&fast, 4096);
            smx_buf_init(&table, 4096);
            json_writer_init(&w[0], &fast);
            json_writer_init(&w[1], &table);
            for (int k = 0; k < 2; k++)
                json_array_begin(&w[k]);
            for (int k = 0; k < 2; k++) {
                native_file_encode(&w[0], &f);
                json_encode(&w[1], &native_file_table, &f);
            }
            for (int k = 0; k < 2; k++)
                json_array_end(&w[k]);
            ASSERT_STR(fast.data, table.data);
            ASSERT_EQ(fast.len, table.len);
            smx_buf_done(&fast);
            smx_buf_done(&table);
        }
    }
}

TEST(a_file_that_does_not_fit_is_an_error)
{
    static char text[] = "name";
    struct native_file f = { .name = text, .path = text, .mod_time = text, .permissions = text };
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 40);
    json_writer_init(&w, &out);
    native_file_encode(&w, &f);
    ASSERT_EQ(json_writer_end(&w, &err), -SMX_E_TOO_LARGE);
    smx_buf_done(&out);
}

TEST(command_is_text_or_argv)
{
    static const struct {
        const char *raw, *shell;
        size_t argc;
    } good[] = { { "\"ls | wc\"", "ls | wc", 0 }, { "[\"ls\",\"-l\",\"\"]", NULL, 3 },
        { "[\"two  words'\\\"$\"]", NULL, 1 } };
    static const char *const bad[] = { "\"\"", "[]", "[\"\"]", "[\"\",\"x\"]", "17", "null", "{}",
        "[1]", "[\"a\",[\"b\"]]", "true", "\"a\\u0000b\"", "" };
    struct native_command c;
    struct smx_err err = { 0 };

    for (size_t i = 0; i < SMX_ARRAY_LEN(good); i++) {
        ASSERT_OK(native_command_decode(good[i].raw, &c, &err), &err);
        ASSERT_EQ(c.argv.n, good[i].argc);
        if (good[i].shell)
            ASSERT_STR(c.shell, good[i].shell);
        else
            ASSERT_FALSE(c.shell);
        native_command_done(&c);
    }
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        ASSERT_EQ(native_command_decode(bad[i], &c, &err), -SMX_E_INVALID);
        ASSERT_TRUE(strstr(err.msg, "command"));
    }
    ASSERT_EQ(native_command_decode(NULL, &c, &err), -SMX_E_INVALID);
}

TEST(command_allocation_failures_are_errors)
{
    for (unsigned n = 1; n < 8; n++) {
        struct native_command c;
        struct smx_err err = { 0 };
        int r;

        smx_mem_fail_after(n);
        r = native_command_decode("[\"ls\",\"-l\"]", &c, &err);
        smx_mem_fail_after(0);
        ASSERT_TRUE(r == 0 || r == -SMX_E_NO_MEMORY);
        if (r == 0)
            native_command_done(&c);
    }
}

TEST(output_lines_keep_every_byte)
{
    static const struct {
        const char *data;
        size_t n;
        const char *line;
    } cases[] = {
        { "hi\n", 3, "{\"stdout\":\"hi\\n\"}\n" },
        { "\xe2\x82\xac", 3, "{\"stdout\":\"\xe2\x82\xac\"}\n" },
        { "\xe2\x82", 2, "{\"stdout_b64\":\"4oI=\"}\n" },
        { "a\0b", 3, "{\"stdout_b64\":\"YQBi\"}\n" },
        { "\xff", 1, "{\"stdout_b64\":\"/w==\"}\n" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct native_exec_event e;
        struct smx_err err = { 0 };
        struct smx_buf b;

        smx_buf_init(&b, 4096);
        native_output_line(&b, "stdout", cases[i].data, cases[i].n);
        ASSERT_STR(b.data, cases[i].line);
        ASSERT_OK(json_decode(&native_exec_event_table, b.data, b.len - 1, &e, &err), &err);
        if (e.stdout_text)
            ASSERT_MEM(e.stdout_text, strlen(e.stdout_text), cases[i].data, cases[i].n);
        else
            ASSERT_MEM(e.stdout_b64.data, e.stdout_b64.n, cases[i].data, cases[i].n);
        json_free(&native_exec_event_table, &e);
        smx_buf_done(&b);
    }
}

TEST(signals_by_name_and_number)
{
    static const struct {
        const char *text;
        int number;
    } good[] = { { "SIGINT", 2 }, { "INT", 2 }, { "2", 2 }, { "64", 64 }, { "SIGKILL", 9 },
        { "WINCH", 28 } };
    static const char *const bad[] = { "", "0", "65", "-1", "int", "SIG", "SIGNOPE", "9 ", " 9",
        "99999999999999999999" };
    struct smx_err err = { 0 };
    int n;

    for (size_t i = 0; i < SMX_ARRAY_LEN(good); i++) {
        ASSERT_OK(native_signal_parse(good[i].text, &n, &err), &err);
        ASSERT_EQ(n, good[i].number);
    }
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++)
        ASSERT_EQ(native_signal_parse(bad[i], &n, &err), -SMX_E_INVALID);
}

TEST(a_newer_servers_reply_is_read)
{
    struct native_sandbox s;
    struct smx_err err = { 0 };

    ASSERT_OK(decode(&native_sandbox_table,
                  "{\"id\":\"i1\",\"name\":null,\"state\":\"running\",\"shiny\":[1,{}],"
                  "\"capabilities\":{\"pause\":true},\"resources\":{\"cpu\":2,\"gpu\":1}}",
                  &s, &err),
        &err);
    ASSERT_FALSE(s.name);
    ASSERT_STR(s.capabilities, "{\"pause\":true}");
    json_free(&native_sandbox_table, &s);
    ASSERT_EQ(decode(&native_sandbox_table, "{\"state\":\"running\"}", &s, &err), -SMX_E_INVALID);
}
