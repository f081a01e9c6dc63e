/* h1_reply.c - parses the head of an upstream's reply, as strictly as a request: an upstream that
 * frames its reply ambiguously could smuggle a second one to the next client. One thing is taken
 * that is refused from clients: lines that end with LF alone, which a server made of echo and nc
 * sends; nothing of it goes on, for a head is written anew. Pure: no I/O. */
#include "http/h1_scan.h"

static int scan_status(struct h1_scan *s, struct h1_head *head)
{
    int status = 0;

    if (s->end - s->p < 4)
        return 0;
    for (int i = 1; i < 4; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return h1_refuse(s, 502, "the status is not a number of three digits");
        status = status * 10 + (s->p[i] - '0');
    }
    if (s->p[0] != ' ' || status < 100)
        return h1_refuse(s, 502, "a malformed status line");
    head->status = status;
    s->p += 4;
    return 1;
}

static int scan_reason(struct h1_scan *s, struct h1_head *head)
{
    const char *from = s->p, *p;

    if (from == s->end)
        return 0;
    if (*from != ' ' && !h1_ends_line(s, *from))
        return h1_refuse(s, 502, "a malformed status line");
    if (*from == ' ')
        from++;
    for (p = from; p < s->end && h1_is(*p, H1C_VALUE); p++)
        continue;
    if (p < s->end && !h1_ends_line(s, *p))
        return h1_refuse(s, 502, "a control character or a bare LF in the status line");
    head->reason = (struct smx_view){ from, (size_t)(p - from) };
    s->p = p;
    return h1_scan_crlf(s);
}

static bool bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

static int finish_reply(struct h1_scan *s, struct h1_head *head, const struct h1_known *known,
    enum h1_method request_method)
{
    int r;

    head->framing = H1_UNTIL_CLOSE;
    head->content_length = 0;
    r = h1_scan_framing(s, head, known);
    if (r < 0)
        return r;
    head->keep_alive = !known->close && (head->minor > 0 || known->keep_alive);
    head->upgrade = known->connection_upgrade && known->upgrade.n > 0;
    head->expect_continue = false;
    if (request_method == H1_HEAD) {
        head->framing = H1_NO_BODY;
    } else if (bodiless(head->status)) {
        /* Some servers send the announced body all the same; do not take it for the next reply. */
        if (head->status != 304 && (head->framing == H1_CHUNKED || head->content_length > 0))
            head->keep_alive = false;
        head->framing = H1_NO_BODY;
    }
    if (head->framing == H1_UNTIL_CLOSE)
        head->keep_alive = false;
    return 1;
}

ptrdiff_t h1_parse_reply(const char *data, size_t n, enum h1_method request_method,
    struct h1_head *head, struct smx_err *err)
{
    struct h1_scan s = { data, data + n, err, SMX_E_PROTOCOL, 502, /* bare_lf= */ true };
    struct h1_known known;
    int r = h1_scan_version(&s, head);

    if (r > 0)
        r = scan_status(&s, head);
    if (r > 0)
        r = scan_reason(&s, head);
    if (r > 0)
        r = h1_scan_fields(&s, head, &known);
    if (r > 0)
        r = finish_reply(&s, head, &known, request_method);
    if (r >= 0 && (r > 0 ? (size_t)(s.p - data) > SMX_HTTP_HEAD_MAX : n >= SMX_HTTP_HEAD_MAX))
        r = h1_refuse(&s, 502, "the head of the reply is too large");
    return r > 0 ? s.p - data : r;
}
