/* proto_read.c - requests in the binary form become JSON. A message is looked through once for each
 * row of its table, so that what is repeated or unknown takes no memory; nesting is as deep as the
 * tables are. The bytes are a stranger's. Pure, any thread. */
#include <string.h>

#include "base/mem.h"
#include "wire/envd/proto_internal.h"

enum { LIST_MAX = 1024 };

struct part {
    uint64_t number;
    unsigned type;
    uint64_t value;        /* PROTO_VARINT */
    struct smx_view bytes; /* PROTO_BYTES */
};

static bool take_varint(struct smx_view *m, uint64_t *ret)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < PROTO_VARINT_MAX && i < m->n; i++) {
        unsigned char c = (unsigned char)m->p[i];

        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c & 0x80)
            continue;
        *m = (struct smx_view){ m->p + i + 1, m->n - i - 1 };
        *ret = v;
        return true;
    }
    return false;
}

static bool take_bytes(struct smx_view *m, uint64_t n, struct smx_view *ret)
{
    if (n > m->n)
        return false;
    *ret = (struct smx_view){ m->p, (size_t)n };
    *m = (struct smx_view){ m->p + n, m->n - (size_t)n };
    return true;
}

/* The next field; false when the bytes are none. */
static bool take_part(struct smx_view *m, struct part *ret)
{
    struct smx_view skipped;
    uint64_t key, n;

    if (!take_varint(m, &key) || key >> 3 == 0)
        return false;
    *ret = (struct part){ .number = key >> 3, .type = key & 7 };
    switch (ret->type) {
    case PROTO_VARINT:
        return take_varint(m, &ret->value);
    case PROTO_BYTES:
        return take_varint(m, &n) && take_bytes(m, n, &ret->bytes);
    case PROTO_FIXED64:
        return take_bytes(m, 8, &skipped);
    case PROTO_FIXED32:
        return take_bytes(m, 4, &skipped);
    default: /* groups, which proto3 does not have */
        return false;
    }
}

static bool is_message(struct smx_view m)
{
    struct part p;

    while (m.n > 0)
        if (!take_part(&m, &p))
            return false;
    return true;
}

static int malformed(struct smx_err *err)
{
    return smx_err_set(err, SMX_E_INVALID, "proto: the bytes are no message of this type");
}

static bool is_number(enum json_kind kind)
{
    return kind == JSON_BOOL || kind == JSON_U64 || kind == JSON_RAW;
}

/* The next one of a field in a message that is one; false at its end. */
static bool next_of(struct smx_view *m, const struct json_field *f, const struct proto_number *row,
    struct part *ret)
{
    unsigned type = is_number(f->kind) ? PROTO_VARINT : PROTO_BYTES;
    struct part p;

    while (m->n > 0 && take_part(m, &p)) {
        if (p.number != row->number || p.type != type)
            continue;
        *ret = p;
        return true;
    }
    return false;
}

static int read_message(
    const struct json_table *t, struct smx_view m, struct json_writer *w, struct smx_err *err);

static int read_text(
    struct smx_view v, const char *name, struct json_writer *w, struct smx_err *err)
{
    if (!smx_utf8_valid(v.p, v.n))
        return smx_err_set(err, SMX_E_INVALID, "proto: field '%s' is not UTF-8", name);
    json_string_n(w, v.p, v.n);
    return 0;
}

static int read_value(
    const struct json_field *f, const struct part *p, struct json_writer *w, struct smx_err *err)
{
    switch (f->kind) {
    case JSON_STRING:
    case JSON_STRINGS:
        return read_text(p->bytes, f->name, w, err);
    case JSON_BYTES:
        json_base64(w, p->bytes.p, p->bytes.n);
        return 0;
    case JSON_BOOL:
        json_bool(w, p->value != 0);
        return 0;
    case JSON_U64: /* requests have numbers of 32 bits only */
        json_u64(w, (uint32_t)p->value);
        return 0;
    case JSON_RAW: /* an enum */
        json_i64(w, (int32_t)p->value);
        return 0;
    case JSON_OBJECT:
    case JSON_OBJECT_PTR:
        return read_message(f->table, p->bytes, w, err);
    case JSON_I64:
    case JSON_DOUBLE:
    case JSON_MAP:
    case JSON_ARRAY:
    case JSON_ENUM:
        break;
    }
    return malformed(err); /* no request has one */
}

static int too_many(const struct json_field *f, struct smx_err *err)
{
    return smx_err_set(
        err, SMX_E_INVALID, "proto: field '%s' has more than %d entries", f->name, LIST_MAX);
}

static int read_strings(const struct json_field *f, const struct proto_number *row,
    struct smx_view m, struct json_writer *w, struct smx_err *err)
{
    struct part p;
    size_t n = 0;
    int r = 0;

    json_key(w, f->name);
    json_array_begin(w);
    while (r == 0 && next_of(&m, f, row, &p))
        r = ++n > LIST_MAX ? too_many(f, err) : read_value(f, &p, w, err);
    if (r == 0)
        json_array_end(w);
    return r;
}

struct pair {
    struct smx_view key, value;
};

/* Key and value of an entry; what is left out is empty. */
static bool read_pair(struct smx_view m, struct pair *ret)
{
    struct part p;

    *ret = (struct pair){ { "", 0 }, { "", 0 } };
    while (m.n > 0) {
        if (!take_part(&m, &p))
            return false;
        if (p.type == PROTO_BYTES && p.number == PROTO_KEY)
            ret->key = p.bytes;
        if (p.type == PROTO_BYTES && p.number == PROTO_VALUE)
            ret->value = p.bytes;
    }
    return true;
}

static bool comes_again(const struct pair *p, const struct pair *end)
{
    for (const struct pair *q = p + 1; q < end; q++)
        if (q->key.n == p->key.n && memcmp(q->key.p, p->key.p, p->key.n) == 0)
            return true;
    return false;
}

static int write_pair(
    const struct pair *p, const struct json_field *f, struct json_writer *w, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *name = NULL;

    if (!smx_utf8_valid(p->key.p, p->key.n) || memchr(p->key.p, '\0', p->key.n))
        return smx_err_set(err, SMX_E_INVALID, "proto: a key of field '%s' is no text", f->name);
    name = smx_strndup(p->key.p, p->key.n);
    if (!name)
        return smx_err_oom(err);
    json_key(w, name);
    return read_text(p->value, f->name, w, err);
}

/* Of a key that comes more than once the last value counts. */
static int read_map(const struct json_field *f, const struct proto_number *row, struct smx_view m,
    struct json_writer *w, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) struct pair *pairs = smx_alloc_array(LIST_MAX, sizeof *pairs);
    struct part p;
    size_t n = 0;
    int r = 0;

    if (!pairs)
        return smx_err_oom(err);
    while (next_of(&m, f, row, &p)) {
        if (n == LIST_MAX)
            return too_many(f, err);
        if (!read_pair(p.bytes, &pairs[n++]))
            return malformed(err);
    }
    json_key(w, f->name);
    json_object_begin(w);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (!comes_again(&pairs[i], pairs + n))
            r = write_pair(&pairs[i], f, w, err);
    if (r == 0)
        json_object_end(w);
    return r;
}

static int read_field(const struct json_field *f, const struct proto_number *row, struct smx_view m,
    struct json_writer *w, struct smx_err *err)
{
    struct part p, last;
    bool any = false;

    if (f->kind == JSON_STRINGS)
        return read_strings(f, row, m, w, err);
    if (f->kind == JSON_MAP)
        return read_map(f, row, m, w, err);
    for (; next_of(&m, f, row, &p); any = true)
        last = p;
    if (!any)
        return 0;
    json_key(w, f->name);
    return read_value(f, &last, w, err);
}

static int read_message(
    const struct json_table *t, struct smx_view m, struct json_writer *w, struct smx_err *err)
{
    const struct proto_shape *s = proto_shape_of(t);
    int r = is_message(m) ? 0 : malformed(err);

    json_object_begin(w);
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        const struct proto_number *row = proto_number_of(s, t->fields[i].name);

        if (row)
            r = read_field(&t->fields[i], row, m, w, err);
    }
    if (r == 0)
        json_object_end(w);
    return r;
}

int envd_proto_read(const struct json_table *table, const void *data, size_t n, struct smx_buf *out,
    struct smx_err *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    return read_message(table, (struct smx_view){ data, n }, &w, err);
}
