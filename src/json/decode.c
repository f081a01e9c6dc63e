/* decode.c - a document into a struct, driven by a table and without a tree in between: every value
 * is converted where it stands, so memory is what the struct keeps. On failure the half-built
 * struct is freed and zeroed. No state outlives a call; threads may decode side by side. */
#include "json/json.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/mem.h"
#include "json/lex.h"

enum {
    DOUBLE_TEXT_MAX = 128,
    INTEGER_TEXT_MAX = 24,
    FIELDS_MAX = 64,
    EXPECTED = 3 /* fields that come next */
};

static int decode_object(
    struct json_in *in, const struct json_at *at, const struct json_table *t, void *base);

static int refuse_length(const struct json_in *in, const struct json_at *at, size_t n,
    const struct json_field *f, const char *unit)
{
    if (f->min > 0 && n < (uint64_t)f->min)
        return lex_refuse(in, at, "must have at least %lld %s", (long long)f->min, unit);
    if (f->max > 0 && n > (uint64_t)f->max)
        return lex_refuse(in, at, "must have at most %lld %s", (long long)f->max, unit);
    return 0;
}

/* Growing arrays stop before the element that is one too many. */
static int refuse_count(
    const struct json_in *in, const struct json_at *at, size_t n, const struct json_field *f)
{
    if (f->max > 0 && n >= (uint64_t)f->max)
        return lex_refuse(in, at, "must have at most %lld entries", (long long)f->max);
    return 0;
}

static int read_string(struct json_in *in, const struct json_at *at, struct lex_string *ret)
{
    if (lex_peek(in) != '"')
        return lex_refuse(in, at, "must be a string");
    return lex_string(in, ret);
}

static int decode_string(
    struct json_in *in, const struct json_at *at, const struct json_field *f, char **out)
{
    struct lex_string s;
    size_t n;
    int r = read_string(in, at, &s);

    if (r < 0)
        return r;
    *out = lex_dup(&s, &n);
    if (!*out)
        return smx_err_oom(in->err);
    return f ? refuse_length(in, at, n, f, "bytes") : 0;
}

static int decode_bool(struct json_in *in, const struct json_at *at, bool *out)
{
    char c = lex_peek(in);

    if (c != 't' && c != 'f')
        return lex_refuse(in, at, "must be true or false");
    *out = c == 't';
    return lex_word(in, *out ? "true" : "false");
}

static int refuse_range(
    const struct json_in *in, const struct json_at *at, const struct json_field *f)
{
    const char *what = f->kind == JSON_DOUBLE ? "a number" : "an integer";

    if (f->max != 0)
        return lex_refuse(
            in, at, "must be %s from %lld to %lld", what, (long long)f->min, (long long)f->max);
    if (f->min != 0)
        return lex_refuse(in, at, "must be %s of at least %lld", what, (long long)f->min);
    if (f->kind == JSON_U64)
        return lex_refuse(in, at, "must be an integer from 0 to 2^64 - 1");
    return lex_refuse(
        in, at, f->kind == JSON_I64 ? "must be an integer of 64 bits" : "must be a finite number");
}

/* The digits of a number without sign and leading zeros into text; the value is 0.text * 10 to the
 * *ret_power. False when there are too many. */
static bool significant_digits(
    struct smx_view number, char text[INTEGER_TEXT_MAX], size_t *ret_n, int64_t *ret_power)
{
    int64_t power = 0, exponent = 0;
    size_t n = 0, i = 0;
    bool behind = false;

    for (; i < number.n && number.p[i] != 'e' && number.p[i] != 'E'; i++) {
        char c = number.p[i];

        behind = behind || c == '.';
        if (c < '0' || c > '9')
            continue;
        power += behind ? (c == '0' && n == 0 ? -1 : 0) : (n > 0 || c != '0');
        if (n == 0 && c == '0')
            continue;
        if (n == INTEGER_TEXT_MAX)
            return false;
        text[n++] = c;
    }
    i += i + 1 < number.n && number.p[i + 1] == '+' ? 2 : 1;
    if (i < number.n && !smx_parse_i64((struct smx_view){ number.p + i, number.n - i }, &exponent))
        return false;
    *ret_n = n;
    return !__builtin_add_overflow(power, exponent, ret_power);
}

/* "1e3", "20.0" and the like as plain digits, which proto3 JSON takes for integers. False when it
 * is none, or not of 64 bits. */
static bool plain_integer(
    struct smx_view number, char text[INTEGER_TEXT_MAX + 1], struct smx_view *ret)
{
    size_t n, sign = *number.p == '-';
    int64_t power;

    if (!significant_digits(number, text + sign, &n, &power))
        return false;
    while (n > 0 && text[sign + n - 1] == '0')
        n--;
    if (n == 0) {
        *ret = (struct smx_view){ "0", 1 };
        return true;
    }
    if ((int64_t)n > power || power > INTEGER_TEXT_MAX)
        return false;
    memset(text + sign + n, '0', (size_t)power - n);
    if (sign)
        text[0] = '-';
    *ret = (struct smx_view){ text, sign + (size_t)power };
    return true;
}

/* The digits of a JSON number, or of a string where the row allows it. */
static int read_integer(struct json_in *in, const struct json_at *at, const struct json_field *f,
    char room[INTEGER_TEXT_MAX + 1], struct smx_view *ret)
{
    struct lex_string s;
    bool integer = true;
    char c = lex_peek(in);
    int r;

    if (c == '"' && (f->flags & JSON_LAX_INT)) {
        r = lex_string(in, &s);
        *ret = s.raw;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        r = lex_number(in, ret, &integer);
    } else {
        return refuse_range(in, at, f);
    }
    if (r < 0)
        return r;
    if (!integer && (f->flags & JSON_LAX_INT))
        integer = plain_integer(*ret, room, ret);
    return integer ? 0 : refuse_range(in, at, f);
}

static int decode_u64(
    struct json_in *in, const struct json_at *at, const struct json_field *f, uint64_t *out)
{
    struct smx_view text;
    char room[INTEGER_TEXT_MAX + 1];
    uint64_t v, max = f->max > 0 ? (uint64_t)f->max : UINT64_MAX;
    int r = read_integer(in, at, f, room, &text);

    if (r < 0)
        return r;
    if (!smx_parse_u64(text, max, &v) || (f->min > 0 && v < (uint64_t)f->min))
        return refuse_range(in, at, f);
    *out = v;
    return 0;
}

static int decode_i64(
    struct json_in *in, const struct json_at *at, const struct json_field *f, int64_t *out)
{
    bool bounded = f->min != 0 || f->max != 0;
    char room[INTEGER_TEXT_MAX + 1];
    struct smx_view text;
    int64_t v;
    int r = read_integer(in, at, f, room, &text);

    if (r < 0)
        return r;
    if (!smx_parse_i64(text, &v) || (bounded && v < f->min) || (f->max != 0 && v > f->max))
        return refuse_range(in, at, f);
    *out = v;
    return 0;
}

static int decode_double(
    struct json_in *in, const struct json_at *at, const struct json_field *f, double *out)
{
    char text[DOUBLE_TEXT_MAX], *point, c = lex_peek(in);
    struct smx_view number;
    bool integer, bounded = f->min != 0 || f->max != 0;
    double v;
    int r;

    if (c != '-' && !(c >= '0' && c <= '9'))
        return lex_refuse(in, at, "must be a number");
    r = lex_number(in, &number, &integer);
    if (r < 0)
        return r;
    if (!smx_view_copy(text, sizeof text, number))
        return lex_refuse(in, at, "has too many digits");
    point = strchr(text, '.');
    if (point) /* strtod reads what the program's locale says */
        *point = *localeconv()->decimal_point;
    v = strtod(text, NULL);
    if (!isfinite(v) || (bounded && v < (double)f->min) || (f->max != 0 && v > (double)f->max))
        return refuse_range(in, at, f);
    *out = v;
    return 0;
}

static int decode_bytes(struct json_in *in, const struct json_at *at, const struct json_field *f,
    struct json_bytes *out)
{
    SMX_CLEANUP(smx_freep) char *copy = NULL;
    struct smx_view text;
    struct lex_string s;
    ptrdiff_t n;
    int r = read_string(in, at, &s);

    if (r < 0)
        return r;
    text = s.raw;
    if (s.escaped) {
        copy = lex_dup(&s, &text.n);
        if (!copy)
            return smx_err_oom(in->err);
        text.p = copy;
    }
    out->data = smx_alloc(text.n / 4 * 3 + 3);
    if (!out->data)
        return smx_err_oom(in->err);
    n = smx_base64_decode(out->data, text.p, text.n);
    if (n < 0)
        return lex_refuse(in, at, "must be base64");
    out->n = (size_t)n;
    return refuse_length(in, at, out->n, f, "bytes");
}

/* Room for one more element of the given size; the new bytes are zero. */
static void *grow(void *v, size_t n, size_t *cap, size_t size)
{
    size_t bigger = *cap ? *cap * 2 : 4;
    char *p;

    if (v && n < *cap)
        return v;
    p = smx_realloc(v, bigger * size);
    if (!p)
        return NULL;
    memset(p + *cap * size, 0, (bigger - *cap) * size);
    *cap = bigger;
    return p;
}

static int decode_strings(struct json_in *in, const struct json_at *at, const struct json_field *f,
    struct json_strings *out)
{
    struct json_at inner = { .up = at };
    size_t cap = 0;
    int r;

    if (lex_peek(in) != '[')
        return lex_refuse(in, at, "must be an array of strings");
    r = lex_open(in, '[');
    for (bool first = true; r >= 0; first = false) {
        char **v = grow(out->v, out->n + 1, &cap, sizeof *v); /* one for the NULL */

        if (!v)
            return smx_err_oom(in->err);
        out->v = v;
        r = lex_next(in, ']', first);
        if (r <= 0)
            break;
        inner.index = out->n;
        r = refuse_count(in, at, out->n, f);
        if (r == 0)
            r = decode_string(in, &inner, /* f= */ NULL, &v[out->n++]);
    }
    return r < 0 ? r : refuse_length(in, at, out->n, f, "entries");
}

static int decode_map(
    struct json_in *in, const struct json_at *at, const struct json_field *f, struct json_map *out)
{
    size_t cap = 0, base = in->seen_n;
    int r;

    if (lex_peek(in) != '{')
        return lex_refuse(in, at, "must be an object of strings");
    out->set = true;
    r = lex_open(in, '{');
    for (bool first = true; r >= 0; first = false) {
        struct lex_string key;
        struct json_at inner = { .up = at };
        struct json_pair *v;

        r = lex_next(in, '}', first);
        if (r <= 0)
            break;
        r = refuse_count(in, at, out->n, f);
        if (r < 0 || (r = lex_key(in, &key)) < 0 || (r = lex_note_key(in, &key)) < 0)
            break;
        inner.key = key.raw;
        v = grow(out->v, out->n, &cap, sizeof *v);
        if (!v)
            return smx_err_oom(in->err);
        out->v = v;
        v += out->n++;
        v->key = lex_dup(&key, NULL);
        if (!v->key)
            return smx_err_oom(in->err);
        r = decode_string(in, &inner, /* f= */ NULL, &v->value);
    }
    return r < 0 ? r : lex_check_keys(in, at, base);
}

static int decode_array(struct json_in *in, const struct json_at *at, const struct json_field *f,
    struct json_array *out)
{
    struct json_at inner = { .up = at };
    size_t cap = 0, size = f->table->size;
    int r;

    if (lex_peek(in) != '[')
        return lex_refuse(in, at, "must be an array of objects");
    r = lex_open(in, '[');
    for (bool first = true; r >= 0; first = false) {
        void *v;

        r = lex_next(in, ']', first);
        if (r <= 0)
            break;
        r = refuse_count(in, at, out->n, f);
        if (r < 0)
            break;
        v = grow(out->v, out->n, &cap, size);
        if (!v)
            return smx_err_oom(in->err);
        out->v = v;
        inner.index = out->n++;
        r = decode_object(in, &inner, f->table, (char *)v + inner.index * size);
    }
    return r < 0 ? r : refuse_length(in, at, out->n, f, "entries");
}

static int decode_pointer(
    struct json_in *in, const struct json_at *at, const struct json_field *f, void **out)
{
    *out = smx_alloc(f->table->size);
    if (!*out)
        return smx_err_oom(in->err);
    return decode_object(in, at, f->table, *out);
}

/* The checked text without the white space between tokens. */
static int decode_raw(
    struct json_in *in, const struct json_at *at, const struct json_field *f, char **out)
{
    const char *p = in->p, *end;
    bool quoted = false;
    size_t n = 0;
    int r = lex_skip(in, at);

    if (r < 0)
        return r;
    end = in->p;
    *out = smx_alloc((size_t)(end - p) + 1);
    if (!*out)
        return smx_err_oom(in->err);
    for (; p < end; p++) {
        if (quoted && *p == '\\')
            (*out)[n++] = *p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (!quoted && strchr(" \n\r\t", *p))
            continue;
        (*out)[n++] = *p;
    }
    return refuse_length(in, at, n, f, "bytes");
}

static int decode_enum(
    struct json_in *in, const struct json_at *at, const struct json_field *f, int *out)
{
    SMX_CLEANUP(smx_freep) char *copy = NULL;
    struct lex_string s = { .escaped = false };
    char list[96] = "";
    size_t used = 0;
    int r = read_string(in, at, &s);

    if (r < 0)
        return r;
    if (s.escaped) {
        copy = lex_dup(&s, &s.raw.n);
        if (!copy)
            return smx_err_oom(in->err);
        s.raw.p = copy;
    }
    for (int i = 0; f->names[i]; i++) {
        if (smx_view_eq(s.raw, f->names[i])) {
            *out = i;
            return 0;
        }
    }
    for (int i = 0; f->names[i]; i++) {
        used += smx_strcpy(list + used, sizeof list - used, i ? ", " : "") ? (i ? 2 : 0) : 0;
        used += smx_strcpy(list + used, sizeof list - used, f->names[i]) ? strlen(f->names[i]) : 0;
    }
    return lex_refuse(in, at, "must be one of %s", list);
}

static int decode_value(
    struct json_in *in, const struct json_at *at, const struct json_field *f, void *out)
{
    switch (f->kind) {
    case JSON_STRING:
        return decode_string(in, at, f, out);
    case JSON_BOOL:
        return decode_bool(in, at, out);
    case JSON_U64:
        return decode_u64(in, at, f, out);
    case JSON_I64:
        return decode_i64(in, at, f, out);
    case JSON_DOUBLE:
        return decode_double(in, at, f, out);
    case JSON_BYTES:
        return decode_bytes(in, at, f, out);
    case JSON_OBJECT:
        return decode_object(in, at, f->table, out);
    case JSON_OBJECT_PTR:
        return decode_pointer(in, at, f, out);
    case JSON_STRINGS:
        return decode_strings(in, at, f, out);
    case JSON_MAP:
        return decode_map(in, at, f, out);
    case JSON_ARRAY:
        return decode_array(in, at, f, out);
    case JSON_RAW:
        return decode_raw(in, at, f, out);
    case JSON_ENUM:
        return decode_enum(in, at, f, out);
    }
    return smx_err_set(in->err, SMX_E_INTERNAL, "a table has an unknown kind");
}

static bool key_is(const struct smx_view key, const char *name)
{
    return name && strncmp(name, key.p, key.n) == 0 && name[key.n] == '\0';
}

/* Index of the field, t->n when there is none. Keys mostly come in the order of the table. */
static size_t find_field(const struct json_table *t, struct smx_view key, size_t hint)
{
    for (size_t i = 0; i < t->n; i++) {
        size_t at = hint + i < t->n ? hint + i : hint + i - t->n;

        if (key_is(key, t->fields[at].name) || key_is(key, t->fields[at].alias))
            return at;
    }
    return t->n;
}

/* As find_field(), for a key with escapes in it. */
static int find_escaped(
    struct json_in *in, const struct json_table *t, const struct lex_string *key, size_t *ret)
{
    SMX_CLEANUP(smx_freep) char *copy = NULL;
    struct smx_view text;

    copy = lex_dup(key, &text.n);
    if (!copy)
        return smx_err_oom(in->err);
    text.p = copy;
    *ret = find_field(t, text, 0);
    return 0;
}

static int decode_unknown(struct json_in *in, const struct json_at *at, const struct json_table *t,
    const struct lex_string *key)
{
    int r;

    if (!t->lax)
        return lex_refuse(in, at, "is not a known field");
    r = lex_note_key(in, key);
    return r < 0 ? r : lex_skip(in, at);
}

static int decode_field(struct json_in *in, const struct json_at *at, const struct json_field *f,
    void *base, uint64_t *given, uint64_t bit)
{
    int r;

    if (lex_peek(in) == 'n') {
        if (f->flags & JSON_REQUIRED)
            return lex_refuse(in, at, "is required and must not be null");
        return lex_word(in, "null");
    }
    r = decode_value(in, at, f, (char *)base + f->offset);
    if (r < 0)
        return r;
    *given |= bit;
    if (f->has)
        *(bool *)((char *)base + f->has - 1) = true;
    return 0;
}

/* Reads the key if it is the expected one, written plainly: names are nothing that needs a look at
 * each byte. */
static bool expected_key(struct json_in *in, const char *name, struct lex_string *ret)
{
    size_t n = strlen(name);
    const char *p = in->p;

    if ((size_t)(in->end - p) < n + 3 || p[0] != '"' || memcmp(p + 1, name, n) != 0 ||
        p[n + 1] != '"' || p[n + 2] != ':')
        return false;
    *ret = (struct lex_string){ .raw = { p + 1, n } };
    in->p = p + n + 3;
    return true;
}

/* "key": of an object; *ret_i is its field, or t->n. */
static int read_key(struct json_in *in, const struct json_table *t, size_t hint,
    struct lex_string *ret_key, size_t *ret_i)
{
    int r;

    for (*ret_i = hint; *ret_i < t->n && *ret_i < hint + EXPECTED; ++*ret_i)
        if (expected_key(in, t->fields[*ret_i].name, ret_key))
            return 0;
    r = lex_key(in, ret_key);
    if (r < 0)
        return r;
    *ret_i = find_field(t, ret_key->raw, hint);
    return *ret_i == t->n && ret_key->escaped ? find_escaped(in, t, ret_key, ret_i) : 0;
}

/* One "key": value of an object. */
static int decode_member(struct json_in *in, const struct json_at *up, const struct json_table *t,
    void *base, uint64_t seen[2], size_t *hint)
{
    struct json_at at = { .up = up };
    struct lex_string key;
    size_t i;
    int r = read_key(in, t, *hint, &key, &i);

    if (r < 0)
        return r;
    at.key = key.raw;
    if (i == t->n)
        return decode_unknown(in, &at, t, &key);
    if (seen[0] & UINT64_C(1) << i)
        return lex_refuse(in, &at, "is given twice");
    seen[0] |= UINT64_C(1) << i;
    *hint = i + 1 < t->n ? i + 1 : 0;
    return decode_field(in, &at, &t->fields[i], base, &seen[1], UINT64_C(1) << i);
}

static int check_required(
    const struct json_in *in, const struct json_at *up, const struct json_table *t, uint64_t given)
{
    for (size_t i = 0; i < t->n; i++) {
        struct json_at at = { .up = up };

        if (!(t->fields[i].flags & JSON_REQUIRED) || given & UINT64_C(1) << i)
            continue;
        at.key = smx_view_of(t->fields[i].name);
        return lex_refuse(in, &at, "is required");
    }
    return 0;
}

static int decode_object(
    struct json_in *in, const struct json_at *at, const struct json_table *t, void *base)
{
    uint64_t seen[2] = { 0, 0 }; /* which fields were there, which of them were not null */
    size_t hint = 0, keys = in->seen_n;
    int r;

    assert(t->n <= FIELDS_MAX);
    if (lex_peek(in) != '{')
        return lex_refuse(in, at, "must be an object");
    r = lex_open(in, '{');
    for (bool first = true; r >= 0; first = false) {
        r = lex_next(in, '}', first);
        if (r <= 0)
            break;
        r = decode_member(in, at, t, base, seen, &hint);
    }
    if (r == 0)
        r = lex_check_keys(in, at, keys);
    return r < 0 ? r : check_required(in, at, t, seen[1]);
}

static void free_map(struct json_map *m)
{
    for (size_t i = 0; i < m->n; i++) {
        smx_free(m->v[i].key);
        smx_free(m->v[i].value);
    }
    smx_free(m->v);
}

static void free_strings(struct json_strings *s)
{
    for (size_t i = 0; i < s->n; i++)
        smx_free(s->v[i]);
    smx_free(s->v);
}

static void free_array(const struct json_table *t, struct json_array *a)
{
    for (size_t i = 0; i < a->n; i++)
        json_free(t, (char *)a->v + i * t->size);
    smx_free(a->v);
}

static size_t field_size(const struct json_field *f)
{
    switch (f->kind) {
    case JSON_STRING:
    case JSON_RAW:
    case JSON_OBJECT_PTR:
        return sizeof(void *);
    case JSON_BYTES:
        return sizeof(struct json_bytes);
    case JSON_OBJECT:
        return f->table->size;
    case JSON_STRINGS:
        return sizeof(struct json_strings);
    case JSON_MAP:
        return sizeof(struct json_map);
    case JSON_ARRAY:
        return sizeof(struct json_array);
    case JSON_BOOL:
        return sizeof(bool);
    case JSON_U64:
    case JSON_I64:
        return sizeof(uint64_t);
    case JSON_DOUBLE:
        return sizeof(double);
    case JSON_ENUM:
        return sizeof(int);
    }
    return 0;
}

static void free_field(const struct json_field *f, void *at)
{
    void *pointer = f->kind == JSON_OBJECT_PTR ? *(void **)at : NULL;

    switch (f->kind) {
    case JSON_STRING:
    case JSON_RAW:
        smx_free(*(char **)at);
        break;
    case JSON_BYTES:
        smx_free(((struct json_bytes *)at)->data);
        break;
    case JSON_OBJECT:
        json_free(f->table, at);
        break;
    case JSON_OBJECT_PTR:
        json_free(f->table, pointer);
        smx_free(pointer);
        break;
    case JSON_STRINGS:
        free_strings(at);
        break;
    case JSON_MAP:
        free_map(at);
        break;
    case JSON_ARRAY:
        free_array(f->table, at);
        break;
    case JSON_BOOL:
    case JSON_U64:
    case JSON_I64:
    case JSON_DOUBLE:
    case JSON_ENUM:
        break;
    }
}

void json_free(const struct json_table *t, void *value)
{
    if (!value)
        return;
    for (size_t i = 0; i < t->n; i++)
        free_field(&t->fields[i], (char *)value + t->fields[i].offset);
    memset(value, 0, t->size);
}

/* The end of a document: only white space is left. Frees what decoding needed. */
static int finish(struct json_in *in, int r)
{
    smx_free(in->seen);
    if (r < 0)
        return r;
    lex_peek(in);
    return in->p == in->end ? 0 : lex_broken(in, "something follows the document");
}

static int check_document(struct json_in *in)
{
    size_t n = (size_t)(in->end - in->start);

    if (n > SMX_JSON_MAX)
        return smx_err_set(
            in->err, SMX_E_TOO_LARGE, "the JSON document exceeds %d bytes", SMX_JSON_MAX);
    lex_peek(in);
    return in->p == in->end ? lex_broken(in, "the document is empty") : 0;
}

int json_decode(
    const struct json_table *t, const char *data, size_t n, void *ret, struct smx_err *err)
{
    struct json_in in = { .start = data, .p = data, .end = data + n, .err = err };
    struct json_at root = { .up = NULL };
    int r = check_document(&in);

    memset(ret, 0, t->size);
    if (r == 0)
        r = decode_object(&in, &root, t, ret);
    r = finish(&in, r);
    if (r < 0)
        json_free(t, ret);
    return r;
}

int json_decode_field(
    const struct json_field *f, const char *data, size_t n, void *base, struct smx_err *err)
{
    struct json_in in = { .start = data, .p = data, .end = data + n, .err = err };
    struct json_at root = { .up = NULL }, at = { .up = &root, .key = smx_view_of(f->name) };
    uint64_t given;
    int r = check_document(&in);

    memset((char *)base + f->offset, 0, field_size(f));
    if (r == 0)
        r = decode_field(&in, &at, f, base, &given, 0);
    r = finish(&in, r);
    if (r < 0) {
        free_field(f, (char *)base + f->offset);
        memset((char *)base + f->offset, 0, field_size(f));
    }
    return r;
}
