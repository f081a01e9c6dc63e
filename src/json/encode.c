/* encode.c - a struct into JSON, driven by the table that decodes it. Fields flagged secret come
 * out as "***" whatever they hold. */
#include "json/json.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"

enum presence { PRESENT, ABSENT, EMPTY };

static bool all_zero(const void *p, size_t n)
{
    const unsigned char *c = p;

    return n == 0 || (c[0] == 0 && memcmp(c, c + 1, n - 1) == 0);
}

/* ABSENT: there is no value at all (a NULL pointer). EMPTY: zero, false, "" or no entries. */
static enum presence value_presence(const struct json_field *f, const void *at)
{
    const struct json_bytes *bytes = at;
    const char *const *text = at;

    switch (f->kind) {
    case JSON_STRING:
    case JSON_RAW:
        return !*text ? ABSENT : **text ? PRESENT : EMPTY;
    case JSON_BYTES:
        return !bytes->data ? ABSENT : bytes->n ? PRESENT : EMPTY;
    case JSON_OBJECT_PTR:
        return *text ? PRESENT : ABSENT;
    case JSON_BOOL:
        return *(const bool *)at ? PRESENT : EMPTY;
    case JSON_U64:
    case JSON_I64:
        return *(const uint64_t *)at ? PRESENT : EMPTY;
    case JSON_DOUBLE:
        return *(const double *)at != 0 ? PRESENT : EMPTY;
    case JSON_ENUM:
        return *(const int *)at ? PRESENT : EMPTY;
    case JSON_OBJECT:
        return all_zero(at, f->table->size) ? EMPTY : PRESENT;
    case JSON_STRINGS:
        return ((const struct json_strings *)at)->n ? PRESENT : EMPTY;
    case JSON_MAP:
        return ((const struct json_map *)at)->n ? PRESENT : EMPTY;
    case JSON_ARRAY:
        return ((const struct json_array *)at)->n ? PRESENT : EMPTY;
    }
    return ABSENT;
}

/* Entries of a list that was never set: null where the row says so. */
static bool list_is_null(const struct json_field *f, const void *at)
{
    if (f->kind == JSON_STRINGS)
        return !((const struct json_strings *)at)->v;
    if (f->kind == JSON_MAP)
        return !((const struct json_map *)at)->set && !((const struct json_map *)at)->v;
    return false;
}

static void encode_strings(struct json_writer *w, const struct json_strings *s)
{
    json_array_begin(w);
    for (size_t i = 0; i < s->n; i++)
        json_string(w, s->v[i]);
    json_array_end(w);
}

static void encode_map(struct json_writer *w, const struct json_map *m)
{
    json_object_begin(w);
    for (size_t i = 0; i < m->n; i++)
        json_kv_string(w, m->v[i].key, m->v[i].value);
    json_object_end(w);
}

static void encode_array(
    struct json_writer *w, const struct json_table *t, const struct json_array *a)
{
    json_array_begin(w);
    for (size_t i = 0; i < a->n; i++)
        json_encode(w, t, (const char *)a->v + i * t->size);
    json_array_end(w);
}

static void encode_integer(struct json_writer *w, const struct json_field *f, const void *at)
{
    struct smx_buf *out = w->out;
    bool quoted = f->flags & JSON_INT_AS_STRING;

    if (quoted)
        smx_buf_append_char(out, '"');
    if (f->kind == JSON_U64)
        json_u64(w, *(const uint64_t *)at);
    else
        json_i64(w, *(const int64_t *)at);
    if (quoted)
        smx_buf_append_char(out, '"');
}

static void encode_enum(struct json_writer *w, const struct json_field *f, int v)
{
    int n = 0;

    while (f->names[n])
        n++;
    assert(v >= 0 && v < n);
    json_string(w, f->names[v]);
}

static void encode_value(struct json_writer *w, const struct json_field *f, const void *at)
{
    const struct json_bytes *bytes = at;

    switch (f->kind) {
    case JSON_STRING:
        json_string(w, *(const char *const *)at);
        break;
    case JSON_RAW:
        json_raw(w, *(const char *const *)at);
        break;
    case JSON_BOOL:
        json_bool(w, *(const bool *)at);
        break;
    case JSON_U64:
    case JSON_I64:
        encode_integer(w, f, at);
        break;
    case JSON_DOUBLE:
        json_double(w, *(const double *)at);
        break;
    case JSON_BYTES:
        json_base64(w, bytes->data, bytes->n);
        break;
    case JSON_OBJECT:
        json_encode(w, f->table, at);
        break;
    case JSON_OBJECT_PTR:
        json_encode(w, f->table, *(const void *const *)at);
        break;
    case JSON_STRINGS:
        encode_strings(w, at);
        break;
    case JSON_MAP:
        encode_map(w, at);
        break;
    case JSON_ARRAY:
        encode_array(w, f->table, at);
        break;
    case JSON_ENUM:
        encode_enum(w, f, *(const int *)at);
        break;
    }
}

static void encode_field(struct json_writer *w, const struct json_field *f, const char *base)
{
    const void *at = base + f->offset;
    enum presence there = value_presence(f, at);

    if (f->has && !*(const bool *)(base + f->has - 1))
        there = ABSENT;
    if (f->flags & JSON_NULLABLE_OUT && list_is_null(f, at))
        there = ABSENT;
    if (there == ABSENT) {
        if (f->flags & JSON_NULLABLE_OUT)
            json_kv_null(w, f->name);
        return;
    }
    if (there == EMPTY && f->flags & JSON_OMIT_ZERO)
        return;
    json_key(w, f->name);
    if (f->flags & JSON_SECRET)
        json_string(w, "***");
    else
        encode_value(w, f, at);
}

void json_encode(struct json_writer *w, const struct json_table *t, const void *value)
{
    json_object_begin(w);
    for (size_t i = 0; i < t->n; i++)
        encode_field(w, &t->fields[i], value);
    json_object_end(w);
}

int json_encode_to(
    struct smx_buf *out, const struct json_table *t, const void *value, struct smx_err *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_encode(&w, t, value);
    return json_writer_end(&w, err);
}
