/* h1_scan.c - field lines and framing, common to requests and replies.
 *
 * One pass over the bytes, no allocation. Lines end with CR LF, in replies with LF, too; a field
 * line is a token, a colon and a value of visible characters. Fields that decide where a message
 * ends may stand once only. Pure: no I/O, any thread. */
#include "http/h1_scan.h"

#include <strings.h>

int h1_refuse(struct h1_scan *s, int status, const char *why)
{
    s->status = status;
    return smx_err_set(s->err, s->code, "%s", why);
}

int h1_scan_crlf(struct h1_scan *s)
{
    if (s->p == s->end)
        return 0;
    if (s->bare_lf && *s->p == '\n') {
        s->p++;
        return 1;
    }
    if (*s->p != '\r')
        return h1_refuse(s, 400, "a line of the head does not end with CR LF");
    if (s->end - s->p < 2)
        return 0;
    if (s->p[1] != '\n')
        return h1_refuse(s, 400, "a bare CR in the head");
    s->p += 2;
    return 1;
}

int h1_scan_version(struct h1_scan *s, struct h1_head *head)
{
    static const char prefix[] = "HTTP/";
    size_t n = (size_t)(s->end - s->p);

    if (memcmp(s->p, prefix, SMX_MIN(n, 5)) != 0)
        return h1_refuse(s, 400, "the protocol version is missing or is not HTTP");
    if (n < 8)
        return 0;
    if (s->p[5] < '0' || s->p[5] > '9' || s->p[6] != '.' || s->p[7] < '0' || s->p[7] > '9')
        return h1_refuse(s, 400, "the protocol version is malformed");
    if (s->p[5] != '1' || s->p[7] > '1')
        return h1_refuse(s, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    head->minor = s->p[7] - '0';
    s->p += 8;
    return 1;
}

static bool port_valid(const char *p, size_t n)
{
    uint64_t port;

    return n == 0 || (n <= 5 && smx_parse_u64((struct smx_view){ p, n }, 65535, &port));
}

static bool ipv6_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
           c == '.';
}

bool h1_authority_valid(struct smx_view v)
{
    size_t i = 0;

    if (v.n > 0 && v.p[0] == '[') {
        for (i = 1; i < v.n && ipv6_char(v.p[i]); i++)
            continue;
        if (i < 3 || i >= v.n || v.p[i] != ']')
            return false;
        i++;
    } else {
        while (i < v.n && h1_is(v.p[i], H1C_HOST))
            i++;
        if (i == 0 && v.n > 0)
            return false;
    }
    if (i == v.n)
        return true;
    return v.p[i] == ':' && port_valid(v.p + i + 1, v.n - i - 1);
}

bool h1_list_next(struct smx_view *list, struct smx_view *ret)
{
    const char *comma;
    size_t n;

    if (list->n == 0)
        return false;
    comma = memchr(list->p, ',', list->n);
    n = comma ? (size_t)(comma - list->p) : list->n;
    *ret = (struct smx_view){ list->p, n };
    n += comma ? 1 : 0;
    list->p += n;
    list->n -= n;
    while (ret->n > 0 && (ret->p[0] == ' ' || ret->p[0] == '\t'))
        ret->p++, ret->n--;
    while (ret->n > 0 && (ret->p[ret->n - 1] == ' ' || ret->p[ret->n - 1] == '\t'))
        ret->n--;
    return true;
}

static void note_connection(struct h1_known *known, struct smx_view list)
{
    struct smx_view token;

    while (h1_list_next(&list, &token)) {
        if (smx_view_ieq(token, "close"))
            known->close = true;
        else if (smx_view_ieq(token, "keep-alive"))
            known->keep_alive = true;
        else if (smx_view_ieq(token, "upgrade"))
            known->connection_upgrade = true;
    }
}

static bool name_is(const struct h1_field *f, const char *lower)
{
    return strncasecmp(f->name.p, lower, f->name.n) == 0;
}

/* The length of the name picks the candidate, so that most fields cost one comparison of numbers.
 */
static void note_field(struct h1_known *known, const struct h1_field *f)
{
    switch (f->name.n) {
    case 4:
        if (name_is(f, "host"))
            known->host = f->value, known->hosts++;
        break;
    case 6:
        if (name_is(f, "expect"))
            known->expect = f->value, known->expects++;
        break;
    case 7:
        if (name_is(f, "upgrade"))
            known->upgrade = f->value;
        break;
    case 10:
        if (name_is(f, "connection"))
            note_connection(known, f->value);
        break;
    case 14:
        if (name_is(f, "content-length"))
            known->length = f->value, known->lengths++;
        break;
    case 17:
        if (name_is(f, "transfer-encoding"))
            known->encoding = f->value, known->encodings++;
        break;
    default:
        break;
    }
}

static int scan_name(struct h1_scan *s, struct h1_field *f)
{
    const char *p = s->p;

    while (p < s->end && h1_is(*p, H1C_TOKEN))
        p++;
    if (p == s->end)
        return 0;
    if (*p != ':' || p == s->p) {
        if (p == s->p && (*p == ' ' || *p == '\t'))
            return h1_refuse(s, 400, "a folded field line");
        return h1_refuse(s, 400, "a malformed field name in the head");
    }
    f->name = (struct smx_view){ s->p, (size_t)(p - s->p) };
    s->p = p + 1;
    return 1;
}

static int scan_value(struct h1_scan *s, struct h1_field *f)
{
    const char *from = s->p, *to;

    while (from < s->end && (*from == ' ' || *from == '\t'))
        from++;
    for (to = from; to < s->end && h1_is(*to, H1C_VALUE); to++)
        continue;
    if (to < s->end && !h1_ends_line(s, *to))
        return h1_refuse(s, 400, "a control character or a bare LF in a field value");
    s->p = to;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    f->value = (struct smx_view){ from, (size_t)(to - from) };
    return h1_scan_crlf(s);
}

int h1_scan_fields(struct h1_scan *s, struct h1_head *head, struct h1_known *known)
{
    struct h1_field f;
    int r;

    memset(known, 0, sizeof *known);
    head->n = 0;
    for (;;) {
        if (s->p < s->end && h1_ends_line(s, *s->p))
            return h1_scan_crlf(s);
        r = scan_name(s, &f);
        if (r > 0)
            r = scan_value(s, &f);
        if (r <= 0)
            return r;
        if (head->n == head->room)
            return h1_refuse(s, 431, "too many fields in the head");
        head->fields[head->n++] = f;
        note_field(known, &f);
    }
}

int h1_scan_framing(struct h1_scan *s, struct h1_head *head, const struct h1_known *known)
{
    if (known->encodings > 0) {
        if (known->lengths > 0)
            return h1_refuse(s, 400, "both Content-Length and Transfer-Encoding");
        if (known->encodings > 1)
            return h1_refuse(s, 400, "Transfer-Encoding stands more than once");
        if (head->minor == 0)
            return h1_refuse(s, 400, "Transfer-Encoding in HTTP/1.0");
        if (!smx_view_ieq(known->encoding, "chunked"))
            return h1_refuse(s, 501, "a Transfer-Encoding other than chunked");
        head->framing = H1_CHUNKED;
        return 1;
    }
    if (known->lengths == 0)
        return 0;
    if (known->lengths > 1)
        return h1_refuse(s, 400, "Content-Length stands more than once");
    if (!smx_parse_u64(known->length, INT64_MAX, &head->content_length))
        return h1_refuse(s, 400, "Content-Length is not a number, or too large");
    head->framing = H1_LENGTH;
    return 1;
}
