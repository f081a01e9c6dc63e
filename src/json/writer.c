/* writer.c - JSON text into a capped buffer. The writer keeps commas and nesting right by itself;
 * whatever bytes a string has, the output is valid UTF-8. Failures stick in the buffer. */
#include "json/json.h"

#include <assert.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "json/lex.h"

enum { LEVELS_MAX = 64 };

void json_writer_init(struct json_writer *w, struct smx_buf *out)
{
    *w = (struct json_writer){ .out = out };
}

int json_writer_end(struct json_writer *w, struct smx_err *err)
{
    assert(w->depth == 0 && !w->has_key);
    return smx_buf_check(w->out, err);
}

static uint64_t level_bit(const struct json_writer *w)
{
    return UINT64_C(1) << w->depth;
}

static void put_comma(struct json_writer *w)
{
    if (w->comma & level_bit(w))
        smx_buf_append_char(w->out, ',');
    w->comma |= level_bit(w);
}

bool json_plain(struct smx_view v)
{
    return lex_plain_run(v.p, v.n) == v.n;
}

void json_value_begin(struct json_writer *w)
{
    bool in_object = w->object & level_bit(w);

    assert(!in_object || w->has_key);
    if (!in_object && w->depth > 0)
        put_comma(w);
    w->has_key = false;
}

static void open_level(struct json_writer *w, char bracket, bool object)
{
    json_value_begin(w);
    assert(w->depth + 1 < LEVELS_MAX);
    smx_buf_append_char(w->out, bracket);
    w->depth++;
    w->comma &= ~level_bit(w);
    if (object)
        w->object |= level_bit(w);
    else
        w->object &= ~level_bit(w);
}

static void close_level(struct json_writer *w, char bracket, SMX_UNUSED bool object)
{
    assert(w->depth > 0 && !w->has_key && object == !!(w->object & level_bit(w)));
    w->depth--;
    smx_buf_append_char(w->out, bracket);
}

void json_object_begin(struct json_writer *w)
{
    open_level(w, '{', true);
}

void json_object_end(struct json_writer *w)
{
    close_level(w, '}', true);
}

void json_array_begin(struct json_writer *w)
{
    open_level(w, '[', false);
}

void json_array_end(struct json_writer *w)
{
    close_level(w, ']', false);
}

static void put_escaped(struct smx_buf *out, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(from, c) : NULL;
    char text[6] = { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] };

    if (at) {
        text[1] = to[at - from];
        smx_buf_append(out, text, 2);
    } else {
        smx_buf_append(out, text, sizeof text);
    }
}

/* The usual case: nothing to escape, and there is room for it. */
static void put_plain(struct smx_buf *out, const char *s, size_t n)
{
    char *p = out->data + out->len;

    *p = '"';
    if (n > 0)
        memcpy(p + 1, s, n);
    p[n + 1] = '"';
    p[n + 2] = '\0';
    out->len += n + 2;
}

static void put_string(struct smx_buf *out, const char *s, size_t n)
{
    size_t run = lex_plain_run(s, n);

    if (smx_buf_reserve(out, n + 2) < 0)
        return;
    if (run == n) {
        put_plain(out, s, n);
        return;
    }
    smx_buf_append_char(out, '"');
    while (run < n) {
        size_t step;

        run += lex_plain_run(s + run, n - run);
        if (run == n)
            break;
        step = (unsigned char)s[run] >= 0x80 ? smx_utf8_step(s + run, n - run) : 0;
        if (step > 0) {
            run += step;
            continue;
        }
        smx_buf_append(out, s, run);
        if ((unsigned char)s[run] >= 0x80)
            smx_buf_append(out, "\xef\xbf\xbd", 3);
        else
            put_escaped(out, (unsigned char)s[run]);
        s += run + 1;
        n -= run + 1;
        run = 0;
    }
    smx_buf_append(out, s, run);
    smx_buf_append_char(out, '"');
}

void json_key(struct json_writer *w, const char *key)
{
    size_t n = strlen(key);
    struct smx_buf *out = w->out;
    bool comma = w->comma & level_bit(w);

    assert(w->object & level_bit(w) && !w->has_key);
    w->has_key = true;
    if (lex_plain_run(key, n) == n && smx_buf_reserve(out, n + 3 + comma) == 0) {
        if (comma)
            out->data[out->len++] = ',';
        put_plain(out, key, n);
        out->data[out->len++] = ':';
        out->data[out->len] = '\0';
        w->comma |= level_bit(w);
        return;
    }
    put_comma(w);
    put_string(out, key, n);
    smx_buf_append_char(out, ':');
}

void json_string_n(struct json_writer *w, const char *s, size_t n)
{
    json_value_begin(w);
    put_string(w->out, s, n);
}

void json_string(struct json_writer *w, const char *s)
{
    if (s)
        json_string_n(w, s, strlen(s));
    else
        json_null(w);
}

void json_base64(struct json_writer *w, const void *data, size_t n)
{
    size_t size = smx_base64_size(n);
    struct smx_buf *out = w->out;

    json_value_begin(w);
    if (smx_buf_reserve(out, size + 2) < 0)
        return;
    out->data[out->len] = '"';
    smx_base64_encode(out->data + out->len + 1, data, n);
    out->len += size + 2;
    out->data[out->len - 1] = '"';
    out->data[out->len] = '\0';
}

static void put_digits(struct smx_buf *out, uint64_t v, bool negative)
{
    char text[24], *p = text + sizeof text;

    do
        *--p = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    if (negative)
        *--p = '-';
    smx_buf_append(out, p, (size_t)(text + sizeof text - p));
}

void json_u64(struct json_writer *w, uint64_t v)
{
    json_value_begin(w);
    put_digits(w->out, v, false);
}

void json_i64(struct json_writer *w, int64_t v)
{
    json_value_begin(w);
    put_digits(w->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
}

void json_double(struct json_writer *w, double v)
{
    char text[40], *point;

    if (!isfinite(v)) {
        json_null(w);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    point = strstr(text, localeconv()->decimal_point);
    if (point)
        *point = '.';
    json_value_begin(w);
    smx_buf_append_str(w->out, text);
}

void json_bool(struct json_writer *w, bool v)
{
    json_value_begin(w);
    smx_buf_append_str(w->out, v ? "true" : "false");
}

void json_null(struct json_writer *w)
{
    json_value_begin(w);
    smx_buf_append(w->out, "null", 4);
}

void json_raw(struct json_writer *w, const char *text)
{
    json_value_begin(w);
    smx_buf_append_str(w->out, text);
}

void json_kv_string(struct json_writer *w, const char *key, const char *v)
{
    json_key(w, key);
    json_string(w, v);
}

void json_kv_u64(struct json_writer *w, const char *key, uint64_t v)
{
    json_key(w, key);
    json_u64(w, v);
}

void json_kv_i64(struct json_writer *w, const char *key, int64_t v)
{
    json_key(w, key);
    json_i64(w, v);
}

void json_kv_bool(struct json_writer *w, const char *key, bool v)
{
    json_key(w, key);
    json_bool(w, v);
}

void json_kv_null(struct json_writer *w, const char *key)
{
    json_key(w, key);
    json_null(w);
}
