/* proto_write.c - replies, which are JSON of our own writing, in the binary form: decoded by their
 * table and written field by field; output of processes and long lists take shorter ways. Pure, any
 * thread. */
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "wire/envd/proto_internal.h"

enum { STEP = 64 * 1024 };

static size_t varint_text(uint64_t v, char text[PROTO_VARINT_MAX])
{
    size_t n = 0;

    for (; v > 0x7f; v >>= 7)
        text[n++] = (char)(v | 0x80);
    text[n++] = (char)v;
    return n;
}

static void put_varint(struct smx_buf *out, uint64_t v)
{
    char text[PROTO_VARINT_MAX];

    smx_buf_append(out, text, varint_text(v, text));
}

static void put_key(struct smx_buf *out, unsigned number, unsigned type)
{
    put_varint(out, number << 3 | type);
}

static void put_number(struct smx_buf *out, unsigned number, uint64_t v)
{
    if (v == 0)
        return;
    put_key(out, number, PROTO_VARINT);
    put_varint(out, v);
}

static void put_bytes(struct smx_buf *out, unsigned number, const void *data, size_t n)
{
    put_key(out, number, PROTO_BYTES);
    put_varint(out, n);
    smx_buf_append(out, data, n);
}

/* Everything from start on gets its length before it. */
static void close_message(struct smx_buf *out, size_t start)
{
    char text[PROTO_VARINT_MAX];
    size_t n = out->len - start, size = varint_text(n, text);

    if (out->failed || smx_buf_append(out, text, size) < 0)
        return;
    memmove(out->data + start + size, out->data + start, n);
    memcpy(out->data + start, text, size);
}

static void put_pair(struct smx_buf *out, unsigned number, const struct json_pair *p)
{
    size_t start;

    put_key(out, number, PROTO_BYTES);
    start = out->len;
    put_bytes(out, PROTO_KEY, p->key, strlen(p->key));
    put_bytes(out, PROTO_VALUE, p->value, strlen(p->value));
    close_message(out, start);
}

/* "2026-11-25T01:02:03.123Z" as seconds and nanoseconds. */
static void put_time(struct smx_buf *out, unsigned number, const char *text)
{
    struct tm tm = { 0 };
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    uint64_t nanos = 0, scale = 100000000;
    size_t start;

    if (!end)
        return;
    for (const char *p = *end == '.' ? end + 1 : ""; *p >= '0' && *p <= '9'; p++, scale /= 10)
        nanos += (uint64_t)(*p - '0') * scale;
    put_key(out, number, PROTO_BYTES);
    start = out->len;
    put_number(out, 1, (uint64_t)timegm(&tm));
    put_number(out, 2, nanos);
    close_message(out, start);
}

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static void append_message(struct smx_buf *out, const struct json_table *t, const void *value);

static void put_message(
    struct smx_buf *out, unsigned number, const struct json_table *t, const void *value)
{
    size_t start;

    put_key(out, number, PROTO_BYTES);
    start = out->len;
    append_message(out, t, value);
    close_message(out, start);
}

static void put_list(
    struct smx_buf *out, const struct json_field *f, const struct proto_number *row, const void *at)
{
    const struct json_strings *strings = at;
    const struct json_array *array = at;
    const struct json_map *map = at;

    for (size_t i = 0; f->kind == JSON_STRINGS && i < strings->n; i++)
        put_bytes(out, row->number, strings->v[i], strlen(strings->v[i]));
    for (size_t i = 0; f->kind == JSON_MAP && i < map->n; i++)
        put_pair(out, row->number, &map->v[i]);
    for (size_t i = 0; f->kind == JSON_ARRAY && i < array->n; i++)
        put_message(out, row->number, f->table, (const char *)array->v + i * f->table->size);
}

static void put_text(struct smx_buf *out, const struct proto_number *row, const char *text)
{
    if (!text)
        return;
    if (row->form == PROTO_TIMESTAMP)
        put_time(out, row->number, text);
    else
        put_bytes(out, row->number, text, strlen(text));
}

static void put_field(
    struct smx_buf *out, const struct json_field *f, const struct proto_number *row, const void *at)
{
    const struct json_bytes *bytes = at;
    const void *const *pointer = at;
    int64_t v;

    switch (f->kind) {
    case JSON_STRING:
        put_text(out, row, *(char *const *)at);
        break;
    case JSON_BYTES:
        if (bytes->data)
            put_bytes(out, row->number, bytes->data, bytes->n);
        break;
    case JSON_BOOL:
        put_number(out, row->number, *(const bool *)at);
        break;
    case JSON_U64:
        put_number(out, row->number, *(const uint64_t *)at);
        break;
    case JSON_I64:
        v = *(const int64_t *)at;
        put_number(out, row->number, row->form == PROTO_ZIGZAG ? zigzag(v) : (uint64_t)v);
        break;
    case JSON_ENUM: /* its names stand in the order of its numbers */
        put_number(out, row->number, (uint64_t) * (const int *)at);
        break;
    case JSON_OBJECT:
        put_message(out, row->number, f->table, at);
        break;
    case JSON_OBJECT_PTR:
        if (*pointer)
            put_message(out, row->number, f->table, *pointer);
        break;
    case JSON_STRINGS:
    case JSON_MAP:
    case JSON_ARRAY:
        put_list(out, f, row, at);
        break;
    case JSON_DOUBLE:
    case JSON_RAW:
        break; /* no reply has one */
    }
}

static void append_message(struct smx_buf *out, const struct json_table *t, const void *value)
{
    const struct proto_shape *s = proto_shape_of(t);

    for (size_t i = 0; i < t->n; i++) {
        const struct proto_number *row = proto_number_of(s, t->fields[i].name);

        if (row)
            put_field(out, &t->fields[i], row, (const char *)value + t->fields[i].offset);
    }
}

/* {"event":{"data":{"stdout":...}}} */
static bool append_data(struct smx_buf *out, const char *json, size_t n)
{
    enum envd_stream stream;
    struct smx_view base64;
    size_t event, data, start;
    ptrdiff_t len;

    if (!envd_data_event_parse(json, n, &stream, &base64) ||
        smx_buf_reserve(out, base64.n + 3 * (1 + PROTO_VARINT_MAX)) < 0)
        return false;
    put_key(out, 1, PROTO_BYTES);
    event = out->len;
    put_key(out, 2, PROTO_BYTES);
    data = out->len;
    put_key(out, stream + 1u, PROTO_BYTES);
    start = out->len;
    len = smx_base64_decode(out->data + start, base64.p, base64.n);
    out->len += len > 0 ? (size_t)len : 0;
    close_message(out, start);
    close_message(out, data);
    close_message(out, event);
    return true;
}

int envd_proto_append(struct smx_buf *out, const struct json_table *table, const char *json,
    size_t n, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) void *value = NULL;
    int r;

    if (table == &envd_event_message_table && append_data(out, json, n))
        return 0;
    value = smx_alloc(table->size);
    if (!value)
        return smx_err_oom(err);
    r = json_decode(table, json, n, value, err);
    if (r < 0)
        return r;
    append_message(out, table, value);
    json_free(table, value);
    return smx_buf_check(out, err);
}

/* --- lists ------------------------------------------------------------------------------- */

/* The bytes of {"name":[ that the document begins with; 0 when it does not. */
static size_t list_begins(const struct json_table *t, const char *json, size_t n)
{
    size_t name = t->n == 1 && t->fields[0].kind == JSON_ARRAY ? strlen(t->fields[0].name) : 0;

    if (name == 0 || n < name + 6 || memcmp(json, "{\"", 2) != 0 ||
        memcmp(json + 2, t->fields[0].name, name) != 0 || memcmp(json + 2 + name, "\":[{", 4) != 0)
        return 0;
    return name + 5;
}

/* From a brace to the one that closes it; 0 when there is none. */
static size_t object_size(const char *p, size_t n)
{
    size_t depth = 0;
    bool text = false;

    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\\' && text)
            i++;
        else if (p[i] == '"')
            text = !text;
        else if (p[i] == '{' && !text)
            depth++;
        else if (p[i] == '}' && !text && --depth == 0)
            return i + 1;
    }
    return 0;
}

static int append_element(struct smx_buf *out, const struct json_field *f, unsigned number,
    const char *json, size_t n, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) void *value = smx_alloc(f->table->size);
    int r;

    if (!value)
        return smx_err_oom(err);
    r = json_decode(f->table, json, n, value, err);
    if (r < 0)
        return r;
    put_message(out, number, f->table, value);
    json_free(f->table, value);
    return smx_buf_check(out, err);
}

int envd_proto_step(struct smx_buf *out, const struct json_table *table, const char *json, size_t n,
    size_t *at, struct smx_err *err)
{
    size_t begin = list_begins(table, json, n), size, stop;
    const struct proto_number *row;
    int r = 0;

    if (begin == 0)
        return envd_proto_append(out, table, json, n, err);
    row = proto_number_of(proto_shape_of(table), table->fields[0].name);
    *at = SMX_MAX(*at, begin);
    stop = *at + STEP;
    while (r == 0 && row && *at < SMX_MIN(n, stop) && json[*at] == '{') {
        size = object_size(json + *at, n - *at);
        if (size == 0)
            return smx_err_set(err, SMX_E_PROTOCOL, "a list ends early");
        r = append_element(out, &table->fields[0], row->number, json + *at, size, err);
        *at += size;
        *at += *at < n && json[*at] == ',';
    }
    return r < 0 ? r : *at < n && json[*at] == '{';
}
