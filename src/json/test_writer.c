/* test_writer.c - the writer, and structs written by the table that reads them. */
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/str.h"
#include "base/test.h"
#include "json/json.h"

TEST(writer_places_commas_and_nesting)
{
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf b;

    smx_buf_init(&b, 1000);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    json_kv_string(&w, "a", "x");
    json_kv_string(&w, "null", NULL);
    json_key(&w, "list");
    json_array_begin(&w);
    json_u64(&w, UINT64_MAX);
    json_i64(&w, INT64_MIN);
    json_array_begin(&w);
    json_array_end(&w);
    json_object_begin(&w);
    json_kv_bool(&w, "t", true);
    json_kv_null(&w, "n");
    json_object_end(&w);
    json_raw(&w, "[1]");
    json_bool(&w, false);
    json_array_end(&w);
    json_kv_i64(&w, "i", -7);
    json_kv_u64(&w, "u", 0);
    json_object_end(&w);
    ASSERT_OK(json_writer_end(&w, &err), &err);
    ASSERT_STR(b.data, "{\"a\":\"x\",\"null\":null,\"list\":[18446744073709551615,"
                       "-9223372036854775808,[],{\"t\":true,\"n\":null},[1],false],"
                       "\"i\":-7,\"u\":0}");
    smx_buf_done(&b);
}

TEST(strings_are_escaped_and_always_utf8)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } rows[] = {
        { "", 0, "\"\"" },
        { "plain text of more than eight bytes", 35, "\"plain text of more than eight bytes\"" },
        { "\"\\/\b\f\n\r\t", 8, "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
        { "a\0b\x1f\x7f", 5, "\"a\\u0000b\\u001f\x7f\"" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
        { "\xff", 1, "\"\xef\xbf\xbd\"" },
        { "x\xc3", 2, "\"x\xef\xbf\xbd\"" },
        { "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
        { "12345678\n12345678\"", 18, "\"12345678\\n12345678\\\"\"" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        struct json_writer w;
        struct smx_buf b;

        smx_buf_init(&b, 1000);
        json_writer_init(&w, &b);
        json_string_n(&w, rows[i].bytes, rows[i].n);
        ASSERT_STR(b.data, rows[i].text);
        smx_buf_done(&b);
    }
}

TEST(doubles_are_short_and_exact)
{
    static const struct {
        double v;
        const char *text;
    } rows[] = {
        { 0, "0" },
        { -1.5, "-1.5" },
        { 0.1, "0.1" },
        { 1e300, "1e+300" },
        { 1.0 / 3, "0.3333333333333333" },
        { NAN, "null" },
        { -INFINITY, "null" },
        { 5e-324, "4.94065645841247e-324" },
        { 1795474973.042, "1795474973.042" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        struct json_writer w;
        struct smx_buf b;

        smx_buf_init(&b, 100);
        json_writer_init(&w, &b);
        json_double(&w, rows[i].v);
        ASSERT_STR(b.data, rows[i].text);
        smx_buf_done(&b);
    }
}

/* As a value and as a key: a byte to escape at each place, or two of them. */
TEST(an_escape_at_each_place_of_texts_of_each_length)
{
    static const char special[] = "\"\\\n\x1f";

    for (size_t n = 1; n <= 34; n++) {
        for (size_t at = 0; at < n * n * 4; at++) {
            size_t one = at % n, two = at / n % n;
            char text[40], want[128], *p = want;
            struct json_writer w;
            struct smx_buf b;

            memset(text, 'x', n);
            text[n] = '\0';
            text[one] = text[two] = special[at / n / n];
            for (size_t i = 0; i < n; i++)
                p = stpcpy(p, text[i] == 'x'      ? "x"
                              : text[i] == '\n'   ? "\\n"
                              : text[i] == '\x1f' ? "\\u001f"
                              : text[i] == '"'    ? "\\\""
                                                  : "\\\\");
            smx_buf_init(&b, 1000);
            json_writer_init(&w, &b);
            json_object_begin(&w);
            json_kv_string(&w, text, text);
            json_object_end(&w);
            ASSERT_EQ(b.len, 2 * strlen(want) + 7);
            ASSERT_EQ(memcmp(b.data + 2, want, strlen(want)), 0);
            ASSERT_EQ(memcmp(b.data + 5 + strlen(want), want, strlen(want)), 0);
            smx_buf_done(&b);
        }
    }
}

TEST(base64_of_every_length_is_what_the_plain_loop_gives)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char data[200];

    smx_random(data, sizeof data);
    for (size_t n = 0; n <= sizeof data; n++) {
        struct json_writer w;
        struct smx_buf b;

        smx_buf_init(&b, 1000);
        json_writer_init(&w, &b);
        json_base64(&w, data, n);
        ASSERT_EQ(b.len, smx_base64_size(n) + 2);
        for (size_t i = 0; i < n * 8 / 6; i++) {
            size_t bit = i * 6;
            unsigned pair =
                (unsigned)data[bit / 8] << 8 | (bit / 8 + 1 < n ? data[bit / 8 + 1] : 0);

            ASSERT_EQ(b.data[i + 1], digits[pair >> (10 - bit % 8) & 63]);
        }
        smx_buf_done(&b);
    }
}

TEST(a_full_buffer_is_reported_once_at_the_end)
{
    for (size_t max = 0; max < 40; max++) {
        struct smx_err err = { 0 };
        struct json_writer w;
        struct smx_buf b;
        int r;

        smx_buf_init(&b, max);
        json_writer_init(&w, &b);
        json_object_begin(&w);
        json_kv_string(&w, "k", "0123456789\n");
        json_key(&w, "b");
        json_base64(&w, "abcdef", 6);
        json_object_end(&w);
        r = json_writer_end(&w, &err);
        ASSERT_INT(b.len, <=, max);
        ASSERT_EQ(
            r, max < strlen("{\"k\":\"0123456789\\n\",\"b\":\"YWJjZGVm\"}") ? -SMX_E_TOO_LARGE : 0);
        smx_buf_done(&b);
    }
}

struct sub {
    uint64_t n;
};
static const struct json_field sub_fields[] = {
    { "n", JSON_U64, offsetof(struct sub, n), JSON_OPTIONAL },
};
static JSON_TABLE(sub, sub);

static const char *const names[] = { "zero", "one", NULL };

struct all {
    char *s, *nullable, *secret, *raw, *omitted;
    bool b, has;
    uint64_t u, as_text;
    int64_t i;
    double d;
    struct json_bytes bytes;
    struct sub sub, empty;
    struct sub *ptr;
    struct json_strings strings, no_strings;
    struct json_map map;
    struct json_array array;
    int e;
};
#define AT(member) offsetof(struct all, member)
static const struct json_field all_fields[] = {
    { "s", JSON_STRING, AT(s), JSON_OPTIONAL },
    { "nullable", JSON_STRING, AT(nullable), JSON_NULLABLE_OUT },
    { "secret", JSON_STRING, AT(secret), JSON_SECRET },
    { "raw", JSON_RAW, AT(raw), JSON_OPTIONAL },
    { "omitted", JSON_STRING, AT(omitted), JSON_OMIT_ZERO },
    { "b", JSON_BOOL, AT(b), JSON_OMIT_ZERO },
    { "u", JSON_U64, AT(u), JSON_NULLABLE_OUT, .has = JSON_HAS(struct all, has) },
    { "asText", JSON_U64, AT(as_text), JSON_INT_AS_STRING | JSON_LAX_INT },
    { "i", JSON_I64, AT(i), JSON_OPTIONAL },
    { "d", JSON_DOUBLE, AT(d), JSON_OMIT_ZERO },
    { "bytes", JSON_BYTES, AT(bytes), JSON_OPTIONAL },
    { "sub", JSON_OBJECT, AT(sub), JSON_OPTIONAL, .table = &sub },
    { "empty", JSON_OBJECT, AT(empty), JSON_OMIT_ZERO, .table = &sub },
    { "ptr", JSON_OBJECT_PTR, AT(ptr), JSON_OPTIONAL, .table = &sub },
    { "strings", JSON_STRINGS, AT(strings), JSON_OPTIONAL },
    { "noStrings", JSON_STRINGS, AT(no_strings), JSON_NULLABLE_OUT },
    { "map", JSON_MAP, AT(map), JSON_OPTIONAL },
    { "array", JSON_ARRAY, AT(array), JSON_OPTIONAL, .table = &sub },
    { "e", JSON_ENUM, AT(e), JSON_OPTIONAL, .names = names },
};
static JSON_TABLE(all, all);

static int text_of(const struct all *v, struct smx_buf *b)
{
    struct smx_err err = { 0 };

    smx_buf_init(b, 4096);
    return json_encode_to(b, &all, v, &err);
}

TEST(an_empty_struct_shows_what_each_flag_does)
{
    struct all v = { 0 };
    struct smx_buf b;

    ASSERT_EQ(text_of(&v, &b), 0);
    ASSERT_STR(b.data, "{\"nullable\":null,\"u\":null,\"asText\":\"0\",\"i\":0,\"sub\":{\"n\":0},"
                       "\"strings\":[],\"noStrings\":null,\"map\":{},\"array\":[],\"e\":\"zero\"}");
    smx_buf_done(&b);
}

TEST(what_is_written_is_read_back)
{
    static const char text[] =
        "{\"s\":\"\",\"nullable\":\"x\",\"raw\":{\"k\":[1,null]},\"b\":true,\"u\":0,"
        "\"asText\":\"18446744073709551615\",\"i\":-1,\"d\":0.1,\"bytes\":\"AP8=\","
        "\"sub\":{\"n\":1},\"empty\":{\"n\":2},\"ptr\":{\"n\":3},\"strings\":[\"a\",\"\"],"
        "\"noStrings\":[],\"map\":{\"k\":\"v\"},\"array\":[{\"n\":4},{\"n\":5}],\"e\":\"one\"}";
    struct smx_err err = { 0 };
    struct smx_buf b;
    struct all v;

    ASSERT_OK(json_decode(&all, text, sizeof text - 1, &v, &err), &err);
    ASSERT_EQ(text_of(&v, &b), 0);
    json_free(&all, &v);
    ASSERT_STR(b.data, text);
    smx_buf_done(&b);
}

TEST(a_secret_is_never_written)
{
    static char planted[] = "hunter2";
    struct all v = { .secret = planted };
    struct smx_buf b;

    ASSERT_EQ(text_of(&v, &b), 0);
    ASSERT_TRUE(strstr(b.data, "\"secret\":\"***\"") != NULL);
    ASSERT_TRUE(strstr(b.data, planted) == NULL);
    smx_buf_done(&b);
}
