/* base64.c - see str.h. Standard output of every sandbox passes here, so both directions work on
 * vectors of 16 bytes where the CPU has SSSE3 (asked at run time); the plain loops do the rest and
 * everything elsewhere. The vector code splits three bytes into four six-bit fields by one shuffle
 * and two multiplications, and maps fields to digits by a 16-entry table of offsets, which is the
 * method of W. Mula and D. Lemire, "Faster Base64 Encoding and Decoding Using AVX2 Instructions".
 */
#include "base/str.h"

#if defined(__x86_64__)
#include <tmmintrin.h>
#define HAVE_VECTORS 1
#define WITH_SSSE3 __attribute__((target("ssse3")))
#else
#define HAVE_VECTORS 0
#endif

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#if HAVE_VECTORS

/* Encodes blocks of 12 bytes while 16 may be read; returns the bytes done. */
WITH_SSSE3 static size_t encode_blocks(char *dst, const unsigned char *p, size_t n)
{
    const __m128i spread = _mm_set_epi8(10, 11, 9, 10, 7, 8, 6, 7, 4, 5, 3, 4, 1, 2, 0, 1);
    const __m128i offsets = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
        '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    size_t i = 0;

    for (; n - i >= 16; i += 12, dst += 16) {
        __m128i v =
            _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + i)), spread);
        __m128i odd = _mm_and_si128(v, _mm_set1_epi32(0x0fc0fc00));
        __m128i even = _mm_and_si128(v, _mm_set1_epi32(0x003f03f0));
        __m128i fields = _mm_or_si128(_mm_mulhi_epu16(odd, _mm_set1_epi32(0x04000040)),
            _mm_mullo_epi16(even, _mm_set1_epi32(0x01000010)));
        __m128i class = _mm_subs_epu8(fields, _mm_set1_epi8(51)); /* 0 letters, 1..12 the others */
        __m128i upper = _mm_cmpgt_epi8(_mm_set1_epi8(26), fields);

        class = _mm_or_si128(class, _mm_and_si128(upper, _mm_set1_epi8(13)));
        _mm_storeu_si128(
            (__m128i *)(void *)dst, _mm_add_epi8(fields, _mm_shuffle_epi8(offsets, class)));
    }
    return i;
}

static inline WITH_SSSE3 __m128i in_range(__m128i v, char low, char high)
{
    return _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8((char)(low - 1))),
        _mm_cmpgt_epi8(_mm_set1_epi8((char)(high + 1)), v));
}

/* Decodes blocks of 16 digits while 16 bytes may be written; stops before a block that holds
 * anything but digits of the standard alphabet. Returns the digits read. */
WITH_SSSE3 static size_t decode_blocks(unsigned char *dst, const char *src, size_t n)
{
    const __m128i pack = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    size_t i = 0;

    for (; n - i >= 24; i += 16, dst += 12) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(src + i));
        __m128i upper = in_range(v, 'A', 'Z'), lower = in_range(v, 'a', 'z');
        __m128i number = in_range(v, '0', '9'), plus = _mm_cmpeq_epi8(v, _mm_set1_epi8('+'));
        __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('/'));
        __m128i known = _mm_or_si128(
            _mm_or_si128(upper, lower), _mm_or_si128(number, _mm_or_si128(plus, slash)));
        __m128i shift = _mm_and_si128(upper, _mm_set1_epi8(-'A'));

        if (_mm_movemask_epi8(known) != 0xffff)
            break;
        shift = _mm_or_si128(shift, _mm_and_si128(lower, _mm_set1_epi8(26 - 'a')));
        shift = _mm_or_si128(shift, _mm_and_si128(number, _mm_set1_epi8(52 - '0')));
        shift = _mm_or_si128(shift, _mm_and_si128(plus, _mm_set1_epi8(62 - '+')));
        shift = _mm_or_si128(shift, _mm_and_si128(slash, _mm_set1_epi8(63 - '/')));
        v = _mm_maddubs_epi16(_mm_add_epi8(v, shift), _mm_set1_epi32(0x01400140));
        v = _mm_madd_epi16(v, _mm_set1_epi32(0x00011000));
        _mm_storeu_si128((__m128i *)(void *)dst, _mm_shuffle_epi8(v, pack));
    }
    return i;
}

static size_t encode_fast(char *dst, const unsigned char *p, size_t n)
{
    return n >= 16 && __builtin_cpu_supports("ssse3") ? encode_blocks(dst, p, n) : 0;
}

static size_t decode_fast(unsigned char *dst, const char *src, size_t n)
{
    return n >= 24 && __builtin_cpu_supports("ssse3") ? decode_blocks(dst, src, n) : 0;
}

#else

static size_t encode_fast(char *dst, const unsigned char *p, size_t n)
{
    return 0;
}

static size_t decode_fast(unsigned char *dst, const char *src, size_t n)
{
    return 0;
}

#endif

void smx_base64_encode(char *dst, const void *data, size_t n)
{
    const unsigned char *p = data;
    size_t done = encode_fast(dst, p, n);

    p += done;
    n -= done;
    dst += done / 3 * 4;
    for (; n >= 3; n -= 3, p += 3, dst += 4) {
        unsigned v = (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];

        dst[0] = digits[v >> 18];
        dst[1] = digits[v >> 12 & 63];
        dst[2] = digits[v >> 6 & 63];
        dst[3] = digits[v & 63];
    }
    if (n > 0) {
        unsigned v = (unsigned)p[0] << 16 | (n == 2 ? (unsigned)p[1] << 8 : 0);

        dst[0] = digits[v >> 18];
        dst[1] = digits[v >> 12 & 63];
        dst[2] = n == 2 ? digits[v >> 6 & 63] : '=';
        dst[3] = '=';
    }
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

ptrdiff_t smx_base64_decode(void *dst, const char *src, size_t n)
{
    unsigned char *out = dst;
    size_t len = n, done;
    unsigned bits = 0, acc = 0;

    while (len > 0 && n - len < 2 && src[len - 1] == '=')
        len--;
    if (len % 4 == 1 || (len != n && n % 4 != 0))
        return -1;
    done = decode_fast(out, src, len);
    out += done / 4 * 3;
    for (size_t i = done; i < len; i++) {
        int v = digit_value(src[i]);

        if (v < 0)
            return -1;
        acc = acc << 6 | (unsigned)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *out++ = (unsigned char)(acc >> bits);
            acc &= (1u << bits) - 1;
        }
    }
    return out - (unsigned char *)dst;
}
