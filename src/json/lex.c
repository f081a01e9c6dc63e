/* lex.c - the tokens of JSON, strictly RFC 8259; see lex.h. Runs of plain ASCII are scanned eight
 * bytes at a time, because most bytes that pass here are base64. No state outlives a call and no
 * locale is consulted. */
#include "json/lex.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"

enum { PATH_TEXT_MAX = 120, KEY_TEXT_MAX = 48 };

/* Cuts a key for a message without splitting a character. */
static int key_text_len(struct smx_view key)
{
    size_t n = SMX_MIN(key.n, (size_t)KEY_TEXT_MAX);

    while (n > 0 && n < key.n && ((unsigned char)key.p[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

static size_t path_text(char *out, size_t size, const struct json_at *at)
{
    size_t n = 0;
    int r;

    if (!at || !at->up)
        return 0;
    n = path_text(out, size, at->up);
    if (at->key.p && at->key.n == 0)
        r = snprintf(out + n, size - n, "%s\"\"", n ? "." : "");
    else if (at->key.p)
        r = snprintf(out + n, size - n, "%s%.*s", n ? "." : "", key_text_len(at->key), at->key.p);
    else
        r = snprintf(out + n, size - n, "[%zu]", at->index);
    if (r < 0 ||
        (size_t)r >= size - n) { /* no room for this step: the message has the outer ones */
        out[n] = '\0';
        return n;
    }
    return n + (size_t)r;
}

int lex_refuse(const struct json_in *in, const struct json_at *at, const char *fmt, ...)
{
    char path[PATH_TEXT_MAX] = "", text[PATH_TEXT_MAX];
    va_list ap;

    path_text(path, sizeof path, at);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return smx_err_set(
        in->err, SMX_E_INVALID, "%s%s%s", path, path[0] ? ": " : "the JSON document ", text);
}

int lex_broken(const struct json_in *in, const char *why)
{
    return smx_err_set(
        in->err, SMX_E_INVALID, "invalid JSON at byte %zu: %s", (size_t)(in->p - in->start), why);
}

char lex_peek(struct json_in *in)
{
    while (in->p < in->end && (*in->p == ' ' || *in->p == '\n' || *in->p == '\r' || *in->p == '\t'))
        in->p++;
    return in->p < in->end ? *in->p : '\0';
}

int lex_expect(struct json_in *in, char c)
{
    char why[] = "expected ' '";

    if (lex_peek(in) != c || in->p == in->end) {
        why[10] = c;
        return lex_broken(in, why);
    }
    in->p++;
    return 0;
}

int lex_word(struct json_in *in, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(in->end - in->p) < n || memcmp(in->p, word, n) != 0)
        return lex_broken(in, "expected a value");
    in->p += n;
    return 0;
}

/* High bit of each byte that is below 0x20, a quote, a backslash or not ASCII. A borrow may mark
 * bytes above a true one as well; the lowest mark is always true. */
static uint64_t special_bytes(uint64_t v)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
    uint64_t quote = v ^ (ones * '"'), back = v ^ (ones * '\\');

    return ((v - ones * 0x20) | (quote - ones) | (back - ones) | v) & high;
}

/* The same for less than eight bytes, each read into one word: what is behind the end is marked, or
 * a byte stands there twice. */
static size_t short_plain_run(const char *p, size_t n)
{
    uint32_t first, last;
    uint64_t v = 0, marks;
    size_t at;

    if (n < sizeof first) {
        for (size_t i = 0; i < n; i++)
            v |= (uint64_t)(unsigned char)p[i] << (8 * i);
        return (size_t)__builtin_ctzll(special_bytes(v)) / 8;
    }
    memcpy(&first, p, sizeof first);
    memcpy(&last, p + n - sizeof last, sizeof last);
    marks = special_bytes(le32toh(first) | (uint64_t)le32toh(last) << 32);
    if (!marks)
        return n;
    at = (size_t)__builtin_ctzll(marks) / 8;
    return at < sizeof first ? at : n - 2 * sizeof last + at;
}

size_t lex_plain_run(const char *p, size_t n)
{
    size_t i = 0;
    uint64_t v, marks;

    for (; n - i >= sizeof v; i += sizeof v) {
        memcpy(&v, p + i, sizeof v);
        marks = special_bytes(le64toh(v));
        if (marks)
            return i + (size_t)__builtin_ctzll(marks) / 8;
    }
    if (i == n)
        return n;
    if (n < sizeof v)
        return short_plain_run(p, n);
    memcpy(&v, p + n - sizeof v, sizeof v); /* begins with bytes that are known to be plain */
    marks = special_bytes(le64toh(v));
    return marks ? n - sizeof v + (size_t)__builtin_ctzll(marks) / 8 : n;
}

/* Value of four hex digits, -1 when they are not. */
static int hex4(const char *p, const char *end)
{
    int v = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];

        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v << 4 | ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* in->p is behind a backslash. */
static int check_escape(struct json_in *in)
{
    int unit, low;

    if (in->p == in->end)
        return lex_broken(in, "the string does not end");
    if (*in->p != 'u') {
        if (!*in->p || !strchr("\"\\/bfnrt", *in->p))
            return lex_broken(in, "unknown escape in a string");
        in->p++;
        return 0;
    }
    unit = hex4(in->p + 1, in->end);
    if (unit < 0)
        return lex_broken(in, "\\u needs four hexadecimal digits");
    if (unit == 0)
        return lex_broken(in, "NUL is not allowed in a string");
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return lex_broken(in, "a low surrogate without a high one");
    in->p += 5;
    if (unit < 0xd800 || unit > 0xdbff)
        return 0;
    low =
        in->end - in->p >= 6 && in->p[0] == '\\' && in->p[1] == 'u' ? hex4(in->p + 2, in->end) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return lex_broken(in, "a high surrogate without a low one");
    in->p += 6;
    return 0;
}

int lex_string(struct json_in *in, struct lex_string *ret)
{
    const char *start;
    int r = lex_expect(in, '"');

    if (r < 0)
        return r;
    start = in->p;
    ret->escaped = false;
    for (;;) {
        unsigned char c;
        size_t step;

        in->p += lex_plain_run(in->p, (size_t)(in->end - in->p));
        if (in->p == in->end)
            return lex_broken(in, "the string does not end");
        c = (unsigned char)*in->p;
        if (c == '"')
            break;
        if (c < 0x20)
            return lex_broken(in, "a control character in a string must be escaped");
        if (c == '\\') {
            ret->escaped = true;
            in->p++;
            r = check_escape(in);
            if (r < 0)
                return r;
            continue;
        }
        step = smx_utf8_step(in->p, (size_t)(in->end - in->p));
        if (step == 0)
            return lex_broken(in, "the string is not UTF-8");
        in->p += step;
    }
    ret->raw = (struct smx_view){ start, (size_t)(in->p - start) };
    in->p++;
    return 0;
}

static size_t put_utf8(char *dst, unsigned c)
{
    if (c < 0x80) {
        dst[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        dst[0] = (char)(0xc0 | c >> 6);
        dst[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        dst[0] = (char)(0xe0 | c >> 12);
        dst[1] = (char)(0x80 | (c >> 6 & 63));
        dst[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    dst[0] = (char)(0xf0 | c >> 18);
    dst[1] = (char)(0x80 | (c >> 12 & 63));
    dst[2] = (char)(0x80 | (c >> 6 & 63));
    dst[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* p is at the 'u' of a checked escape; returns the bytes read. */
static size_t unescape_unicode(const char *p, const char *end, char *dst, size_t *n)
{
    unsigned c = (unsigned)hex4(p + 1, end);

    if (c < 0xd800 || c > 0xdbff) {
        *n += put_utf8(dst + *n, c);
        return 5;
    }
    c = 0x10000 + ((c - 0xd800) << 10) + ((unsigned)hex4(p + 7, end) - 0xdc00);
    *n += put_utf8(dst + *n, c);
    return 11;
}

size_t lex_unescape(char *dst, const struct lex_string *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = s->raw.p, *end = p + s->raw.n;
    size_t n = 0;

    while (p < end) {
        const char *back = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((back ? back : end) - p);

        memmove(dst + n, p, run);
        n += run;
        p += run;
        if (p == end)
            break;
        p++;
        if (*p == 'u')
            p += unescape_unicode(p, end, dst, &n);
        else
            dst[n++] = to[strchr(from, *p++) - from];
    }
    return n;
}

char *lex_dup(const struct lex_string *s, size_t *ret_n)
{
    char *copy = smx_alloc(s->raw.n + 1);
    size_t n = s->raw.n;

    if (!copy)
        return NULL;
    if (s->escaped)
        n = lex_unescape(copy, s);
    else
        memcpy(copy, s->raw.p, n);
    copy[n] = '\0';
    if (ret_n)
        *ret_n = n;
    return copy;
}

static bool skip_digits(struct json_in *in)
{
    const char *start = in->p;

    while (in->p < in->end && *in->p >= '0' && *in->p <= '9')
        in->p++;
    return in->p > start;
}

static bool skip_char(struct json_in *in, char c)
{
    if (in->p == in->end || *in->p != c)
        return false;
    in->p++;
    return true;
}

int lex_number(struct json_in *in, struct smx_view *ret, bool *ret_integer)
{
    const char *start = in->p;
    bool integer = true, zero;

    skip_char(in, '-');
    zero = in->p < in->end && *in->p == '0';
    if (!(zero ? skip_char(in, '0') : skip_digits(in)))
        return lex_broken(in, "expected a digit");
    if (skip_char(in, '.')) {
        integer = false;
        if (!skip_digits(in))
            return lex_broken(in, "expected a digit behind the point");
    }
    if (skip_char(in, 'e') || skip_char(in, 'E')) {
        integer = false;
        if (!skip_char(in, '+'))
            skip_char(in, '-');
        if (!skip_digits(in))
            return lex_broken(in, "expected a digit in the exponent");
    }
    *ret = (struct smx_view){ start, (size_t)(in->p - start) };
    *ret_integer = integer;
    return 0;
}

int lex_open(struct json_in *in, char bracket)
{
    int r = lex_expect(in, bracket);

    if (r < 0)
        return r;
    if (++in->depth > SMX_JSON_DEPTH_MAX)
        return smx_err_set(in->err, SMX_E_INVALID, "the JSON document is nested deeper than %d",
            SMX_JSON_DEPTH_MAX);
    return 0;
}

int lex_next(struct json_in *in, char closing, bool first)
{
    char c = lex_peek(in);

    if (c == closing && in->p < in->end) {
        in->p++;
        in->depth--;
        return 0;
    }
    if (first)
        return 1;
    if (c != ',')
        return lex_broken(in, closing == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    in->p++;
    return 1;
}

int lex_key(struct json_in *in, struct lex_string *ret)
{
    int r;

    if (lex_peek(in) != '"')
        return lex_broken(in, "expected a key in double quotes");
    r = lex_string(in, ret);
    return r < 0 ? r : lex_expect(in, ':');
}

/* FNV-1a. A collision makes one hostile document be refused, nothing else. */
static uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
    return h;
}

int lex_note_key(struct json_in *in, const struct lex_string *key)
{
    SMX_CLEANUP(smx_freep) char *copy = NULL;
    struct smx_view text = key->raw;

    if (key->escaped) { /* "a" and "\u0061" are the same key */
        copy = lex_dup(key, &text.n);
        if (!copy)
            return smx_err_oom(in->err);
        text.p = copy;
    }
    if (in->seen_n == in->seen_cap) {
        size_t cap = in->seen_cap ? in->seen_cap * 2 : 32;
        uint64_t *grown = smx_realloc(in->seen, cap * sizeof *grown);

        if (!grown)
            return smx_err_oom(in->err);
        in->seen = grown;
        in->seen_cap = cap;
    }
    in->seen[in->seen_n++] = hash_bytes(text.p, text.n);
    return 0;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

int lex_check_keys(struct json_in *in, const struct json_at *at, size_t base)
{
    size_t n = in->seen_n - base;
    uint64_t *v;

    in->seen_n = base;
    if (n < 2)
        return 0;
    v = in->seen + base;
    qsort(v, n, sizeof *v, compare_u64);
    for (size_t i = 1; i < n; i++)
        if (v[i] == v[i - 1])
            return lex_refuse(in, at, "has a key twice");
    return 0;
}

static int skip_object(struct json_in *in, const struct json_at *at)
{
    size_t base = in->seen_n;
    int r = lex_open(in, '{');

    for (bool first = true; r >= 0; first = false) {
        struct lex_string key;
        struct json_at inner = { .up = at };

        r = lex_next(in, '}', first);
        if (r <= 0)
            break;
        r = lex_key(in, &key);
        if (r < 0)
            break;
        inner.key = key.raw;
        r = lex_note_key(in, &key);
        if (r == 0)
            r = lex_skip(in, &inner);
    }
    return r < 0 ? r : lex_check_keys(in, at, base);
}

static int skip_array(struct json_in *in, const struct json_at *at)
{
    struct json_at inner = { .up = at };
    int r = lex_open(in, '[');

    for (bool first = true; r >= 0; first = false) {
        r = lex_next(in, ']', first);
        if (r <= 0)
            break;
        r = lex_skip(in, &inner);
        inner.index++;
    }
    return r;
}

int lex_skip(struct json_in *in, const struct json_at *at)
{
    struct lex_string s;
    struct smx_view number;
    bool integer;

    switch (lex_peek(in)) {
    case '{':
        return skip_object(in, at);
    case '[':
        return skip_array(in, at);
    case '"':
        return lex_string(in, &s);
    case 't':
        return lex_word(in, "true");
    case 'f':
        return lex_word(in, "false");
    case 'n':
        return lex_word(in, "null");
    case '-':
    case '0' ... '9':
        return lex_number(in, &number, &integer);
    default:
        return lex_broken(in, "expected a value");
    }
}
