/* h1_scan.h - what the parsers of requests and replies share: character classes, field lines and
 * message framing. Private to h1_*.c. */
#ifndef SMX_HTTP_H1_SCAN_H
#define SMX_HTTP_H1_SCAN_H

#include "http/h1.h"

enum {
    H1C_TOKEN = 1,  /* tchar of RFC 9110 5.6.2 */
    H1C_VALUE = 2,  /* VCHAR, obs-text, space and tab */
    H1C_TARGET = 4, /* visible ASCII but '#' */
    H1C_HOST = 8,   /* letters, digits, "-._~" */
    H1C_SAFE = 16   /* unreserved of RFC 3986: needs no percent-encoding */
};
extern const unsigned char h1_class[256];

static inline bool h1_is(char c, unsigned mask)
{
    return (h1_class[(unsigned char)c] & mask) != 0;
}

/* A cursor over a head, and where a refusal goes. */
struct h1_scan {
    const char *p, *end;
    struct smx_err *err;
    enum smx_code code; /* SMX_E_INVALID in requests, SMX_E_PROTOCOL in replies */
    int status;         /* to answer a refused request with */
    bool bare_lf;       /* LF alone ends a line, too: RFC 9112 2.2 */
};

/* The value of a hexadecimal digit, or -1. */
static inline int h1_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static inline bool h1_ends_line(const struct h1_scan *s, char c)
{
    return c == '\r' || (c == '\n' && s->bare_lf);
}

/* Sets status and message; returns -s->code. */
int h1_refuse(struct h1_scan *s, int status, const char *why);

/* The fields that decide about framing, gathered while the lines are read. */
struct h1_known {
    struct smx_view host, length, encoding, expect, upgrade;
    unsigned hosts, lengths, encodings, expects;
    bool close, keep_alive, connection_upgrade;
};

/* Reads the field lines and the empty line: 1 done, 0 incomplete, or a negative code. */
int h1_scan_fields(struct h1_scan *s, struct h1_head *head, struct h1_known *known);
/* Content-Length and Transfer-Encoding into head->framing and content_length; refuses what is
 * ambiguous. 1 when there was either, 0 when there was none. */
int h1_scan_framing(struct h1_scan *s, struct h1_head *head, const struct h1_known *known);
/* Takes the next element off a comma list, without its blanks; false at the end. */
bool h1_list_next(struct smx_view *list, struct smx_view *ret);
/* host [":" port]: a name, an IPv4 address or "[" IPv6 "]". May be empty. */
bool h1_authority_valid(struct smx_view v);
/* "HTTP/1.x" at the cursor: 1 and head->minor, 0 incomplete, or a negative code. */
int h1_scan_version(struct h1_scan *s, struct h1_head *head);
/* The end of a line at the cursor: 1, 0 incomplete, or a negative code. */
int h1_scan_crlf(struct h1_scan *s);

#endif
