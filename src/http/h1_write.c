/* h1_write.c - writes heads into a capped buffer. What could split a message is an assertion here:
 * callers check what comes from outside with h1_value_valid(). Pure: no I/O, any thread. */
#include "http/h1_scan.h"

#include <assert.h>

const char *h1_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } table[] = { { 200, "OK" }, { 404, "Not Found" }, { 201, "Created" }, { 204, "No Content" },
        { 400, "Bad Request" }, { 100, "Continue" }, { 101, "Switching Protocols" },
        { 103, "Early Hints" }, { 202, "Accepted" }, { 203, "Non-Authoritative Information" },
        { 205, "Reset Content" }, { 206, "Partial Content" }, { 300, "Multiple Choices" },
        { 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" },
        { 304, "Not Modified" }, { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
        { 401, "Unauthorized" }, { 402, "Payment Required" }, { 403, "Forbidden" },
        { 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 408, "Request Timeout" },
        { 409, "Conflict" }, { 410, "Gone" }, { 411, "Length Required" },
        { 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" }, { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" }, { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" }, { 423, "Locked" }, { 425, "Too Early" },
        { 426, "Upgrade Required" }, { 428, "Precondition Required" }, { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" }, { 499, "Client Closed Request" },
        { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
        { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" }, { 507, "Insufficient Storage" } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(table); i++)
        if (table[i].status == status)
            return table[i].reason;
    return "";
}

void h1_write_status(struct smx_buf *out, int status)
{
    char line[] = "HTTP/1.1 000 ";

    assert(status >= 100 && status <= 999);
    line[9] = (char)('0' + status / 100);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    smx_buf_append(out, line, sizeof line - 1);
    smx_buf_append_str(out, h1_reason(status));
    smx_buf_append(out, "\r\n", 2);
}

static bool target_valid(struct smx_view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (!h1_is(v.p[i], H1C_TARGET))
            return false;
    return v.n > 0;
}

void h1_write_request(struct smx_buf *out, const char *method, struct smx_view target)
{
    assert(h1_token_valid(smx_view_of(method)) && target_valid(target));
    smx_buf_append_str(out, method);
    smx_buf_append_char(out, ' ');
    smx_buf_append(out, target.p, target.n);
    smx_buf_append_str(out, " HTTP/1.1\r\n");
}

static char *put(char *to, const char *from, size_t n)
{
    if (n > 0)
        memcpy(to, from, n);
    return to + n;
}

void h1_write_field(struct smx_buf *out, const char *name, struct smx_view value)
{
    size_t n = strlen(name);
    char *p;

    assert(h1_token_valid(smx_view_of(name)) && h1_value_valid(value));
    if (smx_buf_reserve(out, n + value.n + 4) < 0)
        return;
    p = put(out->data + out->len, name, n);
    p = put(p, ": ", 2);
    p = put(p, value.p, value.n);
    put(p, "\r\n", sizeof "\r\n"); /* with its NUL */
    out->len += n + value.n + 4;
}

void h1_write_end(struct smx_buf *out)
{
    smx_buf_append(out, "\r\n", 2);
}
