/* proto.c - see proto.h. The numbers of the fields stand beside the rows of the JSON tables, by
 * name; everything else follows from the kind of the row. Nesting is as deep as the tables are. */
#include "wire/envd/proto.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum {
    VARINT_MAX = 10,
    ROWS_MAX = 12,
    LIST_MAX = 1024,
    KEY_NUMBER = 1,
    VALUE_NUMBER = 2,
    STEP = 64 * 1024
};

/* How a number or a text travels that is not what its kind says. */
enum form { PLAIN, ZIGZAG, TIMESTAMP };

struct number {
    const char *name; /* of the row; NULL ends them */
    unsigned char number;
    unsigned char form;
};
struct shape {
    const char *table;
    struct number rows[ROWS_MAX];
};

static const struct shape shapes[] = {
    { "envd_process_config", { { "cmd", 1 }, { "args", 2 }, { "envs", 3 }, { "cwd", 4 } } },
    { "envd_pty_size", { { "cols", 1 }, { "rows", 2 } } },
    { "envd_pty", { { "size", 1 } } },
    { "envd_start_request", { { "process", 1 }, { "pty", 2 }, { "tag", 3 }, { "stdin", 4 } } },
    { "envd_selector", { { "pid", 1 }, { "tag", 2 } } },
    { "envd_connect_request", { { "process", 1 } } },
    { "envd_input", { { "stdin", 1 }, { "pty", 2 } } },
    { "envd_send_input_request", { { "process", 1 }, { "input", 2 } } },
    { "envd_stream_input_start", { { "process", 1 } } },
    { "envd_stream_input_data", { { "input", 2 } } },
    { "envd_stream_input_request", { { "start", 1 }, { "data", 2 }, { "keepalive", 3 } } },
    { "envd_send_signal_request", { { "process", 1 }, { "signal", 2 } } },
    { "envd_close_stdin_request", { { "process", 1 } } },
    { "envd_update_request", { { "process", 1 }, { "pty", 2 } } },
    { "envd_process_info", { { "config", 1 }, { "pid", 2 }, { "tag", 3 } } },
    { "envd_list_response", { { "processes", 1 } } },
    { "envd_start_event", { { "pid", 1 } } },
    { "envd_data_event", { { "stdout", 1 }, { "stderr", 2 }, { "pty", 3 } } },
    { "envd_end_event",
        { { "exitCode", 1, ZIGZAG }, { "exited", 2 }, { "status", 3 }, { "error", 4 } } },
    { "envd_process_event", { { "start", 1 }, { "data", 2 }, { "end", 3 }, { "keepalive", 4 } } },
    { "envd_event_message", { { "event", 1 } } },
    { "envd_entry",
        { { "name", 1 }, { "type", 2 }, { "path", 3 }, { "size", 4 }, { "mode", 5 },
            { "permissions", 6 }, { "owner", 7 }, { "group", 8 }, { "modifiedTime", 9, TIMESTAMP },
            { "symlinkTarget", 10 }, { "metadata", 11 } } },
    { "envd_path_request", { { "path", 1 } } },
    { "envd_list_dir_request", { { "path", 1 }, { "depth", 2 } } },
    { "envd_move_request", { { "source", 1 }, { "destination", 2 } } },
    { "envd_entry_response", { { "entry", 1 } } },
    { "envd_entries_response", { { "entries", 1 } } },
    { "envd_watch_request",
        { { "path", 1 }, { "recursive", 2 }, { "includeEntry", 3 }, { "allowNetworkMounts", 4 } } },
    { "envd_fs_event", { { "name", 1 }, { "type", 2 }, { "entry", 3 } } },
    { "envd_watch_message", { { "start", 1 }, { "filesystem", 2 }, { "keepalive", 3 } } },
    { "envd_create_watcher_response", { { "watcherId", 1 } } },
    { "envd_watcher_request", { { "watcherId", 1 } } },
    { "envd_watcher_events_response", { { "events", 1 } } },
};

static const struct shape *shape_of(const struct json_table *t)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(shapes); i++)
        if (smx_streq(shapes[i].table, t->name))
            return &shapes[i];
    return NULL; /* a message without fields */
}

static const struct number *number_of(const struct shape *s, const char *name)
{
    for (size_t i = 0; s && i < ROWS_MAX && s->rows[i].name; i++)
        if (smx_streq(s->rows[i].name, name))
            return &s->rows[i];
    return NULL; /* not in the binary form */
}

/* --- reading ----------------------------------------------------------------------------- */

struct part {
    uint64_t number;
    unsigned type;
    uint64_t value;        /* VARINT */
    struct smx_view bytes; /* BYTES */
};

static bool take_varint(struct smx_view *m, uint64_t *ret)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < VARINT_MAX && i < m->n; i++) {
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
    case VARINT:
        return take_varint(m, &ret->value);
    case BYTES:
        return take_varint(m, &n) && take_bytes(m, n, &ret->bytes);
    case FIXED64:
        return take_bytes(m, 8, &skipped);
    case FIXED32:
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
static bool next_of(
    struct smx_view *m, const struct json_field *f, const struct number *row, struct part *ret)
{
    unsigned type = is_number(f->kind) ? VARINT : BYTES;
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

static int read_strings(const struct json_field *f, const struct number *row, struct smx_view m,
    struct json_writer *w, struct smx_err *err)
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
        if (p.type == BYTES && p.number == KEY_NUMBER)
            ret->key = p.bytes;
        if (p.type == BYTES && p.number == VALUE_NUMBER)
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
static int read_map(const struct json_field *f, const struct number *row, struct smx_view m,
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

static int read_field(const struct json_field *f, const struct number *row, struct smx_view m,
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
    const struct shape *s = shape_of(t);
    int r = is_message(m) ? 0 : malformed(err);

    json_object_begin(w);
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        const struct number *row = number_of(s, t->fields[i].name);

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

/* --- writing ----------------------------------------------------------------------------- */

static size_t varint_text(uint64_t v, char text[VARINT_MAX])
{
    size_t n = 0;

    for (; v > 0x7f; v >>= 7)
        text[n++] = (char)(v | 0x80);
    text[n++] = (char)v;
    return n;
}

static void put_varint(struct smx_buf *out, uint64_t v)
{
    char text[VARINT_MAX];

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
    put_key(out, number, VARINT);
    put_varint(out, v);
}

static void put_bytes(struct smx_buf *out, unsigned number, const void *data, size_t n)
{
    put_key(out, number, BYTES);
    put_varint(out, n);
    smx_buf_append(out, data, n);
}

/* Everything from start on gets its length before it. */
static void close_message(struct smx_buf *out, size_t start)
{
    char text[VARINT_MAX];
    size_t n = out->len - start, size = varint_text(n, text);

    if (out->failed || smx_buf_append(out, text, size) < 0)
        return;
    memmove(out->data + start + size, out->data + start, n);
    memcpy(out->data + start, text, size);
}

static void put_pair(struct smx_buf *out, unsigned number, const struct json_pair *p)
{
    size_t start;

    put_key(out, number, BYTES);
    start = out->len;
    put_bytes(out, KEY_NUMBER, p->key, strlen(p->key));
    put_bytes(out, VALUE_NUMBER, p->value, strlen(p->value));
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
    put_key(out, number, BYTES);
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

    put_key(out, number, BYTES);
    start = out->len;
    append_message(out, t, value);
    close_message(out, start);
}

static void put_list(
    struct smx_buf *out, const struct json_field *f, const struct number *row, const void *at)
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

static void put_text(struct smx_buf *out, const struct number *row, const char *text)
{
    if (!text)
        return;
    if (row->form == TIMESTAMP)
        put_time(out, row->number, text);
    else
        put_bytes(out, row->number, text, strlen(text));
}

static void put_field(
    struct smx_buf *out, const struct json_field *f, const struct number *row, const void *at)
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
        put_number(out, row->number, row->form == ZIGZAG ? zigzag(v) : (uint64_t)v);
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
    const struct shape *s = shape_of(t);

    for (size_t i = 0; i < t->n; i++) {
        const struct number *row = number_of(s, t->fields[i].name);

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
        smx_buf_reserve(out, base64.n + 3 * (1 + VARINT_MAX)) < 0)
        return false;
    put_key(out, 1, BYTES);
    event = out->len;
    put_key(out, 2, BYTES);
    data = out->len;
    put_key(out, stream + 1u, BYTES);
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
    const struct number *row;
    int r = 0;

    if (begin == 0)
        return envd_proto_append(out, table, json, n, err);
    row = number_of(shape_of(table), table->fields[0].name);
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
