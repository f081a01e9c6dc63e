/* test_decode.c - every kind, every flag and every refusal of the decoder. */
#include <limits.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/test.h"
#include "json/json.h"

static const char *const colours[] = { "red", "green", "blue", NULL };

struct inner {
    char *name;
    uint64_t n;
};
static const struct json_field inner_fields[] = {
    { "name", JSON_STRING, offsetof(struct inner, name), JSON_REQUIRED },
    { "n", JSON_U64, offsetof(struct inner, n), JSON_OPTIONAL, .min = 1, .max = 64 },
};
static JSON_TABLE(inner, inner);

struct lax {
    char *name;
};
static const struct json_field lax_fields[] = {
    { "name", JSON_STRING, offsetof(struct lax, name), JSON_OPTIONAL },
};
static JSON_TABLE(lax, lax, .lax = true);

struct outer {
    char *s, *raw, *secret;
    bool b, has_u, has_s;
    uint64_t u, lax_u;
    int64_t i, bounded;
    double d;
    struct json_bytes bytes;
    struct inner in;
    struct inner *ptr;
    struct json_strings strings;
    struct json_map map;
    struct json_array array;
    struct lax lax;
    int colour;
};
#define AT(member) offsetof(struct outer, member)
static const struct json_field outer_fields[] = {
    { "s", JSON_STRING, AT(s), JSON_OPTIONAL, .max = 8, .has = JSON_HAS(struct outer, has_s) },
    { "raw", JSON_RAW, AT(raw), JSON_OPTIONAL, .max = 64 },
    { "secret", JSON_STRING, AT(secret), JSON_SECRET, .min = 2 },
    { "b", JSON_BOOL, AT(b), JSON_OPTIONAL },
    { "u", JSON_U64, AT(u), JSON_OPTIONAL, .has = JSON_HAS(struct outer, has_u) },
    { "laxU", JSON_U64, AT(lax_u), JSON_LAX_INT, .alias = "lax_u" },
    { "i", JSON_I64, AT(i), JSON_OPTIONAL },
    { "bounded", JSON_I64, AT(bounded), JSON_OPTIONAL, .min = -5, .max = 5 },
    { "d", JSON_DOUBLE, AT(d), JSON_OPTIONAL },
    { "bytes", JSON_BYTES, AT(bytes), JSON_OPTIONAL, .max = 60 },
    { "in", JSON_OBJECT, AT(in), JSON_OPTIONAL, .table = &inner },
    { "ptr", JSON_OBJECT_PTR, AT(ptr), JSON_OPTIONAL, .table = &inner },
    { "strings", JSON_STRINGS, AT(strings), JSON_OPTIONAL, .min = 1, .max = 20 },
    { "map", JSON_MAP, AT(map), JSON_OPTIONAL, .max = 20 },
    { "array", JSON_ARRAY, AT(array), JSON_OPTIONAL, .table = &inner, .max = 20 },
    { "lax", JSON_OBJECT, AT(lax), JSON_OPTIONAL, .table = &lax },
    { "colour", JSON_ENUM, AT(colour), JSON_OPTIONAL, .names = colours },
};
static JSON_TABLE(outer, outer);

static int decode(const char *text, struct outer *v, struct smx_err *err)
{
    /* The exact bytes on the heap, so that the sanitizer sees a read past the end. */
    size_t n = strlen(text);
    char *copy = smx_alloc(n + !n);
    int r;

    memcpy(copy, text, n);
    *err = (struct smx_err){ 0 };
    r = json_decode(&outer, copy, n, v, err);
    smx_free(copy);
    return r;
}

TEST(every_kind_is_read)
{
    struct outer v;
    struct smx_err err;

    ASSERT_OK(decode(" {\"s\":\"a\\u00e9\\n\", \"raw\" : { \"x\" : [ 1 , \"a \\\" b\" ] } ,"
                     "\"secret\":\"xy\",\"b\":true,\"u\":18446744073709551615,\"lax_u\":\"12\","
                     "\"i\":-9223372036854775808,\"bounded\":-5,\"d\":-1.5e3,\"bytes\":\"aGk=\","
                     "\"in\":{\"name\":\"x\",\"n\":64},\"ptr\":{\"name\":\"\"},"
                     "\"strings\":[\"a\",\"\",\"c\"],\"map\":{\"k\":\"v\",\"\":\"e\"},"
                     "\"array\":[{\"name\":\"p\"},{\"name\":\"q\",\"n\":2}],\"colour\":\"blue\"}\n",
                  &v, &err),
        &err);
    ASSERT_STR(v.s, "a\xc3\xa9\n");
    ASSERT_STR(v.raw, "{\"x\":[1,\"a \\\" b\"]}");
    ASSERT_TRUE(v.b && v.has_u && v.has_s && v.u == UINT64_MAX && v.lax_u == 12);
    ASSERT_TRUE(v.i == INT64_MIN && v.bounded == -5 && v.d == -1500.0);
    ASSERT_MEM(v.bytes.data, v.bytes.n, "hi", 2);
    ASSERT_STR(v.in.name, "x");
    ASSERT_EQ(v.in.n, 64);
    ASSERT_STR(v.ptr->name, "");
    ASSERT_EQ(v.strings.n, 3);
    ASSERT_STR(v.strings.v[2], "c");
    ASSERT_TRUE(v.strings.v[3] == NULL);
    ASSERT_TRUE(v.map.set && v.map.n == 2);
    ASSERT_STR(v.map.v[1].value, "e");
    ASSERT_EQ(v.array.n, 2);
    ASSERT_EQ(((struct inner *)v.array.v)[1].n, 2);
    ASSERT_EQ(v.colour, 2);
    json_free(&outer, &v);
    ASSERT_TRUE(v.s == NULL);
}

TEST(proto3_integers_may_be_written_as_other_numbers)
{
    static const struct {
        const char *text;
        uint64_t want;
    } cases[] = { { "1.0", 1 }, { "20.000", 20 }, { "1e3", 1000 }, { "1E+3", 1000 },
        { "1.5e1", 15 }, { "500e-2", 5 }, { "0.001e3", 1 }, { "0.0", 0 }, { "0e-9", 0 },
        { "0e999", 0 }, { "-0.0", 0 }, { "1844674407370955161.5e1", UINT64_MAX } };
    static const char *const bad[] = { "1.5", "1e-1", "-1.0", "1e20", "1e99999999999999999999",
        "1e9223372036854775807", "0.5", "12345678901234567890123456.0" };
    struct outer v;
    struct smx_err err;
    char text[80];

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof text, "{\"laxU\":%s}", cases[i].text);
        ASSERT_OK(decode(text, &v, &err), &err);
        ASSERT_TRUE(v.lax_u == cases[i].want);
        json_free(&outer, &v);
    }
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof text, "{\"laxU\":%s}", bad[i]);
        ASSERT_EQ(decode(text, &v, &err), -SMX_E_INVALID);
        ASSERT_STR(err.msg, "laxU: must be an integer from 0 to 2^64 - 1");
    }
}

TEST(absent_and_null_are_the_same_and_told_from_zero)
{
    struct outer v;
    struct smx_err err;

    ASSERT_OK(
        decode("{\"s\":null,\"u\":null,\"strings\":null,\"map\":null,\"raw\":null}", &v, &err),
        &err);
    ASSERT_TRUE(!v.s && !v.has_s && !v.has_u && !v.strings.v && !v.map.set && !v.raw);
    ASSERT_OK(decode("{\"s\":\"\",\"u\":0,\"map\":{},\"bytes\":\"\"}", &v, &err), &err);
    ASSERT_TRUE(v.has_s && v.has_u && v.map.set && v.bytes.data && v.bytes.n == 0);
    json_free(&outer, &v);
}

#define LONG_KEY "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"

static const struct {
    const char *text, *message;
} refusals[] = {
    /* the document */
    { "", "invalid JSON at byte 0: the document is empty" },
    { " ", "invalid JSON at byte 1: the document is empty" },
    { "[]", "the JSON document must be an object" },
    { "null", "the JSON document must be an object" },
    { "\xef\xbb\xbf{}", "the JSON document must be an object" },
    { "{", "invalid JSON at byte 1: expected a key in double quotes" },
    { "{}x", "invalid JSON at byte 2: something follows the document" },
    { "{} {}", "invalid JSON at byte 3: something follows the document" },
    { "{,}", "invalid JSON at byte 1: expected a key in double quotes" },
    { "{\"u\":1,}", "invalid JSON at byte 7: expected a key in double quotes" },
    { "{\"u\":1 \"i\":2}", "invalid JSON at byte 7: expected ',' or '}'" },
    { "{\"u\":1]", "invalid JSON at byte 6: expected ',' or '}'" },
    { "{\"u\" 1}", "invalid JSON at byte 5: expected ':'" },
    { "{'u':1}", "invalid JSON at byte 1: expected a key in double quotes" },
    { "{u:1}", "invalid JSON at byte 1: expected a key in double quotes" },
    { "{\"u\":1}/**/", "invalid JSON at byte 7: something follows the document" },
    { "{\"u\":}", "u: must be an integer from 0 to 2^64 - 1" },
    { "{\"strings\":[\"a\",]}", "strings[1]: must be a string" },
    { "{\"strings\":[\"a\"", "invalid JSON at byte 15: expected ',' or ']'" },
    { "{\"b\":tru}", "invalid JSON at byte 5: expected a value" },
    { "{\"b\":truex}", "invalid JSON at byte 9: expected ',' or '}'" },
    { "{\"b\":nul}", "invalid JSON at byte 5: expected a value" },
    { "{\"raw\":NaN}", "invalid JSON at byte 7: expected a value" },
    /* strings */
    { "{\"s\":\"a", "invalid JSON at byte 7: the string does not end" },
    { "{\"s\":\"a\\", "invalid JSON at byte 8: the string does not end" },
    { "{\"s\":\"a\nb\"}",
        "invalid JSON at byte 7: a control character in a string must be escaped" },
    { "{\"s\":\"\\x\"}", "invalid JSON at byte 7: unknown escape in a string" },
    { "{\"s\":\"\\u12\"}", "invalid JSON at byte 7: \\u needs four hexadecimal digits" },
    { "{\"s\":\"\\u12g4\"}", "invalid JSON at byte 7: \\u needs four hexadecimal digits" },
    { "{\"s\":\"\\u0000\"}", "invalid JSON at byte 7: NUL is not allowed in a string" },
    { "{\"raw\":[\"\\u0000\"]}", "invalid JSON at byte 10: NUL is not allowed in a string" },
    { "{\"s\":\"\\udc00\"}", "invalid JSON at byte 7: a low surrogate without a high one" },
    { "{\"s\":\"\\ud800\"}", "invalid JSON at byte 12: a high surrogate without a low one" },
    { "{\"s\":\"\\ud800\\ue000\"}", "invalid JSON at byte 12: a high surrogate without a low one" },
    { "{\"s\":\"\\ud800\\u0041\"}", "invalid JSON at byte 12: a high surrogate without a low one" },
    { "{\"s\":\"\xc0\x80\"}", "invalid JSON at byte 6: the string is not UTF-8" },
    { "{\"s\":\"\xe2\x82\"}", "invalid JSON at byte 6: the string is not UTF-8" },
    { "{\"s\":\"123456789\"}", "s: must have at most 8 bytes" },
    { "{\"secret\":\"x\"}", "secret: must have at least 2 bytes" },
    { "{\"s\":1}", "s: must be a string" },
    { "{\"s\":[\"a\"]}", "s: must be a string" },
    /* numbers */
    { "{\"u\":-1}", "u: must be an integer from 0 to 2^64 - 1" },
    { "{\"u\":18446744073709551616}", "u: must be an integer from 0 to 2^64 - 1" },
    { "{\"u\":1.0}", "u: must be an integer from 0 to 2^64 - 1" },
    { "{\"u\":1e2}", "u: must be an integer from 0 to 2^64 - 1" },
    { "{\"u\":\"1\"}", "u: must be an integer from 0 to 2^64 - 1" },
    { "{\"u\":true}", "u: must be an integer from 0 to 2^64 - 1" },
    { "{\"laxU\":\"\"}", "laxU: must be an integer from 0 to 2^64 - 1" },
    { "{\"laxU\":\"+1\"}", "laxU: must be an integer from 0 to 2^64 - 1" },
    { "{\"laxU\":\"1 \"}", "laxU: must be an integer from 0 to 2^64 - 1" },
    { "{\"i\":9223372036854775808}", "i: must be an integer of 64 bits" },
    { "{\"i\":-9223372036854775809}", "i: must be an integer of 64 bits" },
    { "{\"bounded\":6}", "bounded: must be an integer from -5 to 5" },
    { "{\"bounded\":-6}", "bounded: must be an integer from -5 to 5" },
    { "{\"in\":{\"name\":\"a\",\"n\":65}}", "in.n: must be an integer from 1 to 64" },
    { "{\"in\":{\"name\":\"a\",\"n\":0}}", "in.n: must be an integer from 1 to 64" },
    { "{\"u\":01}", "invalid JSON at byte 6: expected ',' or '}'" },
    { "{\"u\":+1}", "u: must be an integer from 0 to 2^64 - 1" },
    { "{\"u\":-}", "invalid JSON at byte 6: expected a digit" },
    { "{\"d\":1.}", "invalid JSON at byte 7: expected a digit behind the point" },
    { "{\"d\":.5}", "d: must be a number" },
    { "{\"d\":1e}", "invalid JSON at byte 7: expected a digit in the exponent" },
    { "{\"d\":1e999}", "d: must be a finite number" },
    { "{\"d\":0x10}", "invalid JSON at byte 6: expected ',' or '}'" },
    { "{\"d\":\"1\"}", "d: must be a number" },
    /* the rest */
    { "{\"b\":1}", "b: must be true or false" },
    { "{\"b\":\"true\"}", "b: must be true or false" },
    { "{\"bytes\":\"a\"}", "bytes: must be base64" },
    { "{\"bytes\":\"a!==\"}", "bytes: must be base64" },
    { "{\"bytes\":\"a===\"}", "bytes: must be base64" },
    { "{\"bytes\":{}}", "bytes: must be a string" },
    { "{\"in\":[]}", "in: must be an object" },
    { "{\"in\":{}}", "in.name: is required" },
    { "{\"in\":{\"name\":null}}", "in.name: is required and must not be null" },
    { "{\"ptr\":{}}", "ptr.name: is required" },
    { "{\"strings\":{}}", "strings: must be an array of strings" },
    { "{\"strings\":[]}", "strings: must have at least 1 entries" },
    { "{\"strings\":[null]}", "strings[0]: must be a string" },
    { "{\"strings\":[\"a\",2]}", "strings[1]: must be a string" },
    { "{\"map\":[]}", "map: must be an object of strings" },
    { "{\"map\":{\"a\":1}}", "map.a: must be a string" },
    { "{\"map\":{\"a\":null}}", "map.a: must be a string" },
    { "{\"array\":{}}", "array: must be an array of objects" },
    { "{\"array\":[{\"name\":\"a\"},{}]}", "array[1].name: is required" },
    { "{\"array\":[{\"name\":\"a\"},3]}", "array[1]: must be an object" },
    { "{\"colour\":\"pink\"}", "colour: must be one of red, green, blue" },
    { "{\"colour\":2}", "colour: must be a string" },
    /* keys */
    { "{\"z\":1}", "z: is not a known field" },
    { "{\"in\":{\"name\":\"a\",\"z\":1}}", "in.z: is not a known field" },
    { "{\"s\\u0073\":1}", "s\\u0073: is not a known field" },
    { "{\"\":1}", "\"\": is not a known field" },
    { "{\"u\":1,\"u\":2}", "u: is given twice" },
    { "{\"u\":null,\"u\":2}", "u: is given twice" },
    { "{\"u\":1,\"\\u0075\":2}", "\\u0075: is given twice" },
    { "{\"laxU\":1,\"lax_u\":1}", "lax_u: is given twice" },
    { "{\"map\":{\"a\":\"1\",\"\\u0061\":\"2\"}}", "map: has a key twice" },
    { "{\"lax\":{\"y\":1,\"y\":2}}", "lax: has a key twice" },
    { "{\"raw\":{\"a\":{\"b\":1,\"b\":2}}}", "raw.a: has a key twice" },
    { "{\"" LONG_KEY "\":1}",
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk: is not a known field" },
};

TEST(every_refusal_names_the_place)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(refusals); i++) {
        struct outer v, zero = { 0 };
        struct smx_err err;
        int r = decode(refusals[i].text, &v, &err);

        ASSERT_STR(err.msg, refusals[i].message);
        ASSERT_EQ(r, -SMX_E_INVALID);
        ASSERT_MEM(&v, sizeof v, &zero, sizeof zero);
    }
}

TEST(escaped_keys_and_lax_tables)
{
    struct outer v;
    struct smx_err err;

    ASSERT_OK(decode("{\"\\u0073\":\"\\ud83d\\ude00\\/\\\"\",\"lax\":{\"q\":[{},[],-0.1e-2,true,"
                     "false,null],\"name\":\"x\"}}",
                  &v, &err),
        &err);
    ASSERT_STR(v.s, "\xf0\x9f\x98\x80/\"");
    ASSERT_STR(v.lax.name, "x");
    json_free(&outer, &v);
    ASSERT_OK(decode("{\"bytes\":\"a\\u0047k=\"}", &v, &err), &err);
    ASSERT_MEM(v.bytes.data, v.bytes.n, "hi", 2);
    json_free(&outer, &v);
}

TEST(a_document_may_be_one_value_of_a_row)
{
    const struct json_field *array = &outer_fields[14], *map = &outer_fields[13];
    struct smx_err err = { 0 };
    struct outer v = { .u = 7 };

    ASSERT_OK(json_decode_field(array, " [{\"name\":\"a\"}] ", 16, &v, &err), &err);
    ASSERT_TRUE(v.u == 7 && v.array.n == 1);
    ASSERT_OK(json_decode_field(map, "null", 4, &v, &err), &err);
    ASSERT_EQ(v.map.set, false);
    json_free(&outer, &v);
    ASSERT_EQ(json_decode_field(array, "[{\"name\":\"a\"},{}]", 17, &v, &err), -SMX_E_INVALID);
    ASSERT_STR(err.msg, "array[1].name: is required");
    ASSERT_TRUE(v.array.n == 0 && !v.array.v);
    ASSERT_EQ(json_decode_field(map, "{}x", 3, &v, &err), -SMX_E_INVALID);
    ASSERT_EQ(v.map.set, false);
    ASSERT_EQ(json_decode_field(map, "", 0, &v, &err), -SMX_E_INVALID);
}

TEST(a_nul_between_tokens_is_refused)
{
    struct outer v;
    struct smx_err err = { 0 };

    ASSERT_EQ(json_decode(&outer, "{\0}", 3, &v, &err), -SMX_E_INVALID);
    ASSERT_EQ(json_decode(&outer, "{}\0", 3, &v, &err), -SMX_E_INVALID);
    ASSERT_EQ(json_decode(&outer, "{\"s\":\"\\\0\"}", 9, &v, &err), -SMX_E_INVALID);
    ASSERT_EQ(json_decode(&outer, "{\"s\":\"a\0b\"}", 11, &v, &err), -SMX_E_INVALID);
    ASSERT_EQ(json_decode(&outer, "\0", 1, &v, &err), -SMX_E_INVALID);
}

TEST(depth_and_size_are_capped)
{
    struct smx_err err = { 0 };
    struct outer v;
    char text[2 * SMX_JSON_DEPTH_MAX + 32];

    for (int depth = SMX_JSON_DEPTH_MAX - 1; depth <= SMX_JSON_DEPTH_MAX; depth++) {
        size_t n = (size_t)snprintf(text, sizeof text, "{\"raw\":");
        int want = depth < SMX_JSON_DEPTH_MAX ? 0 : -SMX_E_INVALID;

        memset(text + n, '[', (size_t)depth);
        memset(text + n + depth, ']', (size_t)depth);
        snprintf(text + n + 2 * depth, 2, "}");
        ASSERT_EQ(decode(text, &v, &err), want);
        json_free(&outer, &v);
    }
    ASSERT_STR(err.msg, "the JSON document is nested deeper than 32");
    ASSERT_EQ(json_decode(&outer, "", SMX_JSON_MAX + (size_t)1, &v, &err), -SMX_E_TOO_LARGE);
}

TEST(neighbours_are_not_depth)
{
    struct smx_err err;
    struct outer v;
    struct smx_buf b;
    int r;

    smx_buf_init(&b, 4096);
    smx_buf_append_str(&b, "{\"lax\":{\"list\":[0");
    for (int i = 0; i < SMX_JSON_DEPTH_MAX; i++)
        smx_buf_append_str(&b, ",{},[]");
    smx_buf_append_str(&b, "]}}");
    r = decode(b.data, &v, &err);
    smx_buf_done(&b);
    ASSERT_OK(r, &err);
    json_free(&outer, &v);
}

TEST(lists_stop_at_their_limit)
{
    static const struct {
        const char *begin, *entry, *end;
    } forms[] = {
        { "{\"strings\":[", "\"a%d\"", "]}" },
        { "{\"array\":[", "{\"name\":\"a%d\"}", "]}" },
        { "{\"map\":{", "\"a%d\":\"\"", "}}" },
    };

    for (size_t form = 0; form < SMX_ARRAY_LEN(forms); form++)
        for (int count = 19; count <= 21; count++) {
            struct smx_buf b;
            struct smx_err err;
            struct outer v;
            int r;

            smx_buf_init(&b, 4096);
            smx_buf_append_str(&b, forms[form].begin);
            for (int i = 0; i < count; i++) {
                const char *number = strchr(forms[form].entry, '%');

                smx_buf_append_str(&b, i ? "," : "");
                smx_buf_append(&b, forms[form].entry, (size_t)(number - forms[form].entry));
                smx_buf_appendf(&b, "%d%s", i, number + 2);
            }
            smx_buf_append_str(&b, forms[form].end);
            r = decode(b.data, &v, &err);
            smx_buf_done(&b);
            ASSERT_EQ(r, count <= 20 ? 0 : -SMX_E_INVALID);
            if (r < 0)
                ASSERT_TRUE(strstr(err.msg, "must have at most 20 entries") != NULL);
            json_free(&outer, &v);
        }
}

TEST(many_distinct_keys_are_no_duplicates)
{
    struct smx_buf b;
    struct smx_err err = { 0 };
    struct outer v;
    int first, second;

    smx_buf_init(&b, SMX_JSON_MAX);
    smx_buf_append_str(&b, "{\"lax\":{");
    for (int i = 0; i < 50000; i++)
        smx_buf_appendf(&b, "\"k%d\":%d,", i, i);
    smx_buf_append_str(&b, "\"name\":\"x\"}}");
    first = json_decode(&outer, b.data, b.len, &v, &err);
    json_free(&outer, &v);
    b.len -= strlen("\"name\":\"x\"}}");
    smx_buf_append_str(&b, "\"k777\":0}}");
    second = json_decode(&outer, b.data, b.len, &v, &err);
    smx_buf_done(&b);
    ASSERT_EQ(first, 0);
    ASSERT_EQ(second, -SMX_E_INVALID);
    ASSERT_STR(err.msg, "lax: has a key twice");
}

TEST(every_cut_of_a_document_is_an_error)
{
    static const char text[] = "{\"s\":\"a\\u00e9\",\"raw\":{\"x\":[1,\"b\"]},\"b\":true,\"i\":-1,"
                               "\"bytes\":\"aGk=\",\"ptr\":{\"name\":\"\"},\"strings\":[\"a\"],"
                               "\"map\":{\"k\":\"v\"},\"array\":[{\"name\":\"p\"}]}";
    struct smx_err err;
    struct outer v;
    char cut[sizeof text];

    for (size_t n = 0; n < sizeof text - 1; n++) {
        memcpy(cut, text, n);
        cut[n] = '\0';
        ASSERT_EQ(decode(cut, &v, &err), -SMX_E_INVALID);
    }
}

TEST(no_memory_is_an_error_and_leaks_nothing)
{
    static const char text[] =
        "{\"s\":\"a\",\"raw\":{\"x\\u0041\":[1]},\"bytes\":\"\\u0061Gk=\",\"\\u0069\":1,"
        "\"in\":{\"name\":\"x\"},\"ptr\":{\"name\":\"y\"},"
        "\"strings\":[\"1\",\"2\",\"3\",\"4\",\"5\"],\"map\":{\"k\":\"v\",\"\\u006c\":\"w\"},"
        "\"array\":[{\"name\":\"p\"},{\"name\":\"q\"}],\"colour\":\"blue\"}";
    struct smx_err err = { 0 };
    struct outer v, zero = { 0 };
    unsigned n = 0;
    int r;

    do {
        smx_mem_fail_after(++n);
        r = json_decode(&outer, text, sizeof text - 1, &v, &err);
        smx_mem_fail_after(0);
        if (r < 0) {
            ASSERT_EQ(r, -SMX_E_NO_MEMORY);
            ASSERT_MEM(&v, sizeof v, &zero, sizeof zero);
        }
    } while (r < 0);
    ASSERT_INT(n, >, 20);
    json_free(&outer, &v);
}
