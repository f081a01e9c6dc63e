/* str.h - strict conversions and small string helpers. Parsers accept exactly what they document:
 * no sign, space or trailing byte is skipped. */
#ifndef SMX_BASE_STR_H
#define SMX_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct smx_view {
    const char *p;
    size_t n;
};

#define SMX_VIEW(literal) ((struct smx_view){ (literal), sizeof(literal) - 1 })

static inline struct smx_view smx_view_of(const char *s)
{
    return (struct smx_view){ s, strlen(s) };
}

static inline bool smx_streq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool smx_view_eq(struct smx_view v, const char *s);
bool smx_view_ieq(struct smx_view v, const char *s); /* ASCII case folded */
bool smx_view_starts(struct smx_view v, const char *prefix);
bool smx_starts(const char *s, const char *prefix);
bool smx_ends(const char *s, const char *suffix);
/* Copies with truncation, always terminated; false when it was cut. */
bool smx_strcpy(char *dst, size_t size, const char *src);
bool smx_view_copy(char *dst, size_t size, struct smx_view v);

/* Decimal digits only, no leading '+', at most max; false otherwise. */
bool smx_parse_u64(struct smx_view v, uint64_t max, uint64_t *ret);
bool smx_parse_i64(struct smx_view v, int64_t *ret);
bool smx_parse_bool(const char *s, bool *ret); /* 1 0 true false yes no on off, any case */

/* Length of the sequence that data begins with (n > 0), 0 when it is not UTF-8. */
size_t smx_utf8_step(const void *data, size_t n);
bool smx_utf8_valid(const void *data, size_t n);
/* Compares in time that depends on n only. */
bool smx_equal_ct(const void *a, const void *b, size_t n);

void smx_hex_encode(char *dst, const void *data, size_t n); /* 2n + 1 bytes */

/* Encoded length without the NUL. */
static inline size_t smx_base64_size(size_t n)
{
    return (n + 2) / 3 * 4;
}
/* Standard alphabet with padding; writes smx_base64_size(n) bytes, no NUL. */
void smx_base64_encode(char *dst, const void *data, size_t n);
/* Accepts standard and URL alphabets, padded or not; dst has room for n / 4 * 3 + 3. Returns bytes
 * or -1. */
ptrdiff_t smx_base64_decode(void *dst, const char *src, size_t n);

/* Sandbox names, profiles, template names: [a-z0-9][a-z0-9._-]{0,62} */
bool smx_name_valid(const char *s);

#endif
