/* h1_query.c - percent-encoding and query strings. Pure: no I/O, any thread. */
#include "http/h1_scan.h"

/* The next decoded byte (0..255) at *i, or -1 for a bad escape. */
static int next_byte(struct smx_view in, bool form, size_t *i)
{
    char c = in.p[(*i)++];
    int high, low;

    if (c == '+' && form)
        return ' ';
    if (c != '%')
        return (unsigned char)c;
    if (in.n - *i < 2)
        return -1;
    high = h1_hex_digit(in.p[*i]);
    low = h1_hex_digit(in.p[*i + 1]);
    *i += 2;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool h1_percent_decode(struct smx_view in, bool form, struct smx_buf *out)
{
    size_t i = 0;

    if (smx_buf_reserve(out, in.n) < 0)
        return false;
    while (i < in.n) {
        int b = next_byte(in, form, &i);

        if (b <= 0)
            return false;
        smx_buf_append_char(out, (char)b);
    }
    return true;
}

void h1_percent_encode(struct smx_buf *out, const char *s, size_t n, const char *keep)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        char escape[3] = { '%', hex[c >> 4], hex[c & 15] };

        if (h1_is(s[i], H1C_SAFE) || (keep && c && strchr(keep, c)))
            smx_buf_append_char(out, s[i]);
        else
            smx_buf_append(out, escape, sizeof escape);
    }
}

static bool name_matches(struct smx_view encoded, const char *name)
{
    size_t i = 0;

    for (; i < encoded.n; name++) {
        int b = next_byte(encoded, /* form= */ true, &i);

        if (b <= 0 || b != (unsigned char)*name)
            return false;
    }
    return *name == '\0';
}

bool h1_query_get(struct smx_view query, const char *name, size_t nth, struct smx_view *ret)
{
    while (query.n > 0) {
        const char *amp = memchr(query.p, '&', query.n);
        size_t n = amp ? (size_t)(amp - query.p) : query.n;
        const char *eq = n ? memchr(query.p, '=', n) : NULL;
        size_t name_n = eq ? (size_t)(eq - query.p) : n;

        if (n > 0 && name_matches((struct smx_view){ query.p, name_n }, name) && nth-- == 0) {
            *ret = (struct smx_view){ eq ? eq + 1 : query.p + n, eq ? n - name_n - 1 : 0 };
            return true;
        }
        n += amp ? 1 : 0;
        query.p += n;
        query.n -= n;
    }
    return false;
}
