/* h1_request.c - parses the head of a request. Pure: no I/O, any thread. */
#include "http/h1_scan.h"

#include <strings.h>

enum { METHOD_MAX = 32 };

enum h1_method h1_method_parse(struct smx_view text)
{
    static const char *const names[] = { [H1_GET] = "GET",
        [H1_HEAD] = "HEAD",
        [H1_POST] = "POST",
        [H1_PUT] = "PUT",
        [H1_PATCH] = "PATCH",
        [H1_DELETE] = "DELETE",
        [H1_OPTIONS] = "OPTIONS" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++)
        if (smx_view_eq(text, names[i]))
            return (enum h1_method)i;
    return H1_OTHER;
}

static int scan_method(struct h1_scan *s, struct h1_head *head)
{
    const char *p = s->p;

    while (p < s->end && h1_is(*p, H1C_TOKEN) && p - s->p <= METHOD_MAX)
        p++;
    if (p - s->p > METHOD_MAX)
        return h1_refuse(s, 501, "an unknown method");
    if (p == s->end)
        return 0;
    if (*p != ' ' || p == s->p)
        return h1_refuse(s, 400, "a malformed request line");
    head->method_text = (struct smx_view){ s->p, (size_t)(p - s->p) };
    head->method = h1_method_parse(head->method_text);
    if (head->method == H1_OTHER && smx_view_eq(head->method_text, "CONNECT"))
        return h1_refuse(s, 501, "CONNECT is not served");
    s->p = p + 1;
    return 1;
}

static int scan_target(struct h1_scan *s, struct h1_head *head)
{
    const char *p = s->p;

    while (p < s->end && h1_is(*p, H1C_TARGET))
        p++;
    if (p - s->p > SMX_HTTP_TARGET_MAX)
        return h1_refuse(s, 414, "the request target is too long");
    if (p == s->end)
        return 0;
    if (*p != ' ' || p == s->p)
        return h1_refuse(s, 400, "a malformed request line or an illegal byte in its target");
    head->target = (struct smx_view){ s->p, (size_t)(p - s->p) };
    s->p = p + 1;
    return 1;
}

/* The authority of an absolute target; p NULL in other forms. */
static struct smx_view target_authority(struct smx_view target)
{
    size_t skip = 0, n;

    if (target.n >= 7 && strncasecmp(target.p, "http://", 7) == 0)
        skip = 7;
    else if (target.n >= 8 && strncasecmp(target.p, "https://", 8) == 0)
        skip = 8;
    if (skip == 0)
        return (struct smx_view){ NULL, 0 };
    for (n = 0; skip + n < target.n; n++)
        if (target.p[skip + n] == '/' || target.p[skip + n] == '?')
            break;
    return (struct smx_view){ target.p + skip, n };
}

static int check_target(struct h1_scan *s, const struct h1_head *head, const struct h1_known *known)
{
    struct smx_view authority;

    if (head->target.p[0] == '/')
        return 1;
    if (smx_view_eq(head->target, "*"))
        return head->method == H1_OPTIONS
                   ? 1
                   : h1_refuse(s, 400, "the target * goes with OPTIONS only");
    authority = target_authority(head->target);
    if (authority.n == 0 || !h1_authority_valid(authority))
        return h1_refuse(s, 400, "the request target is neither a path nor an http URL");
    if (known->hosts > 0 &&
        (authority.n != known->host.n || strncasecmp(authority.p, known->host.p, authority.n) != 0))
        return h1_refuse(s, 400, "the request target and Host name different servers");
    return 1;
}

static int check_host(struct h1_scan *s, const struct h1_head *head, const struct h1_known *known)
{
    if (known->hosts > 1)
        return h1_refuse(s, 400, "Host stands more than once");
    if (known->hosts == 0)
        return head->minor == 0 ? 1 : h1_refuse(s, 400, "Host is missing");
    if (!h1_authority_valid(known->host))
        return h1_refuse(s, 400, "Host is malformed");
    return 1;
}

static int check_expect(struct h1_scan *s, struct h1_head *head, const struct h1_known *known)
{
    head->expect_continue = false;
    if (known->expects == 0 || head->minor == 0)
        return 1;
    if (known->expects > 1 || !smx_view_ieq(known->expect, "100-continue"))
        return h1_refuse(s, 417, "an expectation other than 100-continue");
    head->expect_continue =
        head->framing == H1_CHUNKED || (head->framing == H1_LENGTH && head->content_length > 0);
    return 1;
}

static int finish_request(struct h1_scan *s, struct h1_head *head, const struct h1_known *known)
{
    int r = check_host(s, head, known);

    if (r > 0)
        r = check_target(s, head, known);
    if (r < 0)
        return r;
    head->framing = H1_NO_BODY;
    head->content_length = 0;
    r = h1_scan_framing(s, head, known);
    if (r < 0)
        return r;
    head->keep_alive = !known->close && (head->minor > 0 || known->keep_alive);
    head->upgrade = head->minor > 0 && known->connection_upgrade && known->upgrade.n > 0;
    return check_expect(s, head, known);
}

static int scan_request(struct h1_scan *s, struct h1_head *head, bool *ret_line_done)
{
    struct h1_known known;
    int r = 1;

    if (s->p < s->end && *s->p == '\r') /* one empty line ahead of a request: RFC 9112 2.2 */
        r = h1_scan_crlf(s);
    if (r > 0)
        r = scan_method(s, head);
    if (r > 0)
        r = scan_target(s, head);
    if (r > 0)
        r = h1_scan_version(s, head);
    if (r > 0)
        r = h1_scan_crlf(s);
    if (r <= 0)
        return r;
    *ret_line_done = true;
    r = h1_scan_fields(s, head, &known);
    return r > 0 ? finish_request(s, head, &known) : r;
}

ptrdiff_t h1_parse_request(
    const char *data, size_t n, struct h1_head *head, int *ret_status, struct smx_err *err)
{
    struct h1_scan s = { data, data + n, err, SMX_E_INVALID, 400, /* bare_lf= */ false };
    bool line_done = false;
    int r = scan_request(&s, head, &line_done);

    if (r == 0 && n >= SMX_HTTP_HEAD_MAX)
        r = line_done ? h1_refuse(&s, 431, "the head is too large")
                      : h1_refuse(&s, 414, "the request line is too long");
    if (r > 0 && s.p - data > SMX_HTTP_HEAD_MAX)
        r = h1_refuse(&s, 431, "the head is too large");
    if (r < 0)
        *ret_status = s.status;
    return r > 0 ? s.p - data : r;
}
