/* fuzz_json.c - any bytes into a table with every kind; what is accepted must survive a round trip.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct value {
    char *s, *raw;
    bool b, has;
    uint64_t u, lax;
    int64_t i;
    double d;
    struct json_bytes bytes;
    struct json_strings strings;
    struct json_map map;
    struct value *inner;
    struct json_array array;
    int e;
};
static const char *const names[] = { "a", "b", NULL };
static const struct json_table value_table;
#define AT(member) offsetof(struct value, member)
static const struct json_field value_fields[] = {
    { "s", JSON_STRING, AT(s), JSON_OPTIONAL },
    { "raw", JSON_RAW, AT(raw), JSON_OPTIONAL },
    { "b", JSON_BOOL, AT(b), JSON_OPTIONAL },
    { "u", JSON_U64, AT(u), JSON_NULLABLE_OUT, .has = JSON_HAS(struct value, has) },
    { "laxU", JSON_U64, AT(lax), JSON_LAX_INT | JSON_INT_AS_STRING, .alias = "lax_u" },
    { "i", JSON_I64, AT(i), JSON_OPTIONAL },
    { "d", JSON_DOUBLE, AT(d), JSON_OPTIONAL },
    { "bytes", JSON_BYTES, AT(bytes), JSON_OPTIONAL },
    { "strings", JSON_STRINGS, AT(strings), JSON_OMIT_ZERO },
    { "map", JSON_MAP, AT(map), JSON_OMIT_ZERO },
    { "inner", JSON_OBJECT_PTR, AT(inner), JSON_OPTIONAL, .table = &value_table },
    { "array", JSON_ARRAY, AT(array), JSON_OMIT_ZERO, .table = &value_table },
    { "e", JSON_ENUM, AT(e), JSON_OPTIONAL, .names = names },
};
static const struct json_table value_table = { "value", sizeof(struct value), value_fields,
    sizeof value_fields / sizeof value_fields[0], .lax = true };

static void write_out(const struct value *v, struct smx_buf *out)
{
    struct smx_err err = { 0 };

    smx_buf_init(out, 64 << 20);
    if (json_encode_to(out, &value_table, v, &err) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_err err = { 0 };
    struct smx_buf first, second;
    struct value v;

    if (json_decode(&value_table, (const char *)data, size, &v, &err) < 0)
        return 0;
    write_out(&v, &first);
    json_free(&value_table, &v);
    if (first.len > SMX_JSON_MAX) { /* what was left out comes back as zeros: the text may grow */
        smx_buf_done(&first);
        return 0;
    }
    if (json_decode(&value_table, first.data, first.len, &v, &err) < 0)
        abort();
    write_out(&v, &second);
    json_free(&value_table, &v);
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
        abort();
    smx_buf_done(&first);
    smx_buf_done(&second);
    return 0;
}
