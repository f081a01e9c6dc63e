/* str.c - see str.h. Pure; no locale is consulted. */
#include "base/str.h"

#include <ctype.h>
#include <strings.h>

#include "base/cleanup.h"

enum { NAME_MAX_LEN = 63 };

bool smx_view_eq(struct smx_view v, const char *s)
{
    return v.n == strlen(s) && memcmp(v.p, s, v.n) == 0;
}

bool smx_view_ieq(struct smx_view v, const char *s)
{
    return v.n == strlen(s) && strncasecmp(v.p, s, v.n) == 0;
}

bool smx_view_starts(struct smx_view v, const char *prefix)
{
    size_t n = strlen(prefix);

    return v.n >= n && memcmp(v.p, prefix, n) == 0;
}

bool smx_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool smx_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

bool smx_view_copy(char *dst, size_t size, struct smx_view v)
{
    size_t n = v.n < size ? v.n : size - 1;

    memcpy(dst, v.p, n);
    dst[n] = '\0';
    return n == v.n;
}

bool smx_strcpy(char *dst, size_t size, const char *src)
{
    return smx_view_copy(dst, size, smx_view_of(src));
}

bool smx_parse_u64(struct smx_view v, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    if (v.n == 0)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        unsigned digit = (unsigned char)v.p[i] - (unsigned)'0';

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value > max)
        return false;
    *ret = value;
    return true;
}

bool smx_parse_i64(struct smx_view v, int64_t *ret)
{
    bool negative = v.n > 0 && v.p[0] == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t value;

    if (negative)
        v = (struct smx_view){ v.p + 1, v.n - 1 };
    if (!smx_parse_u64(v, limit, &value))
        return false;
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool smx_parse_bool(const char *s, bool *ret)
{
    static const char *const yes[] = { "1", "true", "yes", "on" };
    static const char *const no[] = { "0", "false", "no", "off" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(yes); i++) {
        if (strcasecmp(s, yes[i]) == 0 || strcasecmp(s, no[i]) == 0) {
            *ret = strcasecmp(s, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

size_t smx_utf8_step(const void *data, size_t n)
{
    const unsigned char *p = data;
    unsigned char c = p[0];
    unsigned char low = 0x80, high = 0xbf;
    size_t len;

    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        len = 2;
    else if (c >= 0xe0 && c <= 0xef)
        len = 3;
    else if (c >= 0xf0 && c <= 0xf4)
        len = 4;
    else
        return 0;
    if (c == 0xe0)
        low = 0xa0;
    else if (c == 0xed)
        high = 0x9f;
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f;
    if (n < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* Bytes at the front that are ASCII, in steps of eight: most text is. */
static size_t ascii_run(const unsigned char *p, size_t n)
{
    size_t i = 0;
    uint64_t word;

    for (; i + sizeof word <= n; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    return i;
}

bool smx_utf8_valid(const void *data, size_t n)
{
    const unsigned char *p = data;

    while (n > 0) {
        size_t step = ascii_run(p, n);

        if (step == 0)
            step = smx_utf8_step(p, n);

        if (step == 0)
            return false;
        p += step;
        n -= step;
    }
    return true;
}

bool smx_equal_ct(const void *a, const void *b, size_t n)
{
    const volatile unsigned char *x = a, *y = b;
    unsigned char diff = 0;

    for (size_t i = 0; i < n; i++)
        diff |= (unsigned char)(x[i] ^ y[i]);
    return diff == 0;
}

void smx_hex_encode(char *dst, const void *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;

    for (size_t i = 0; i < n; i++) {
        dst[2 * i] = digits[p[i] >> 4];
        dst[2 * i + 1] = digits[p[i] & 15];
    }
    dst[2 * n] = '\0';
}

bool smx_name_valid(const char *s)
{
    size_t n = strlen(s);

    if (n == 0 || n > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool alnum = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');

        if (!alnum && (i == 0 || !strchr("._-", s[i])))
            return false;
    }
    return true;
}
