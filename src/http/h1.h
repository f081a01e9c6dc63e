/* h1.h - strict HTTP/1.1 heads, chunked bodies and head writing, without I/O. Used on both sides:
 * requests of clients, replies of upstreams. What two parsers might read differently is refused
 * (see docs/protocols/http.md, the probe table).
 *
 * Views point into the parsed buffer and live as long as it does. */
#ifndef SMX_HTTP_H1_H
#define SMX_HTTP_H1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

enum h1_method { H1_GET, H1_HEAD, H1_POST, H1_PUT, H1_PATCH, H1_DELETE, H1_OPTIONS, H1_OTHER };

struct h1_field {
    struct smx_view name, value; /* value without surrounding blanks */
};

enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE /* replies only */ };

struct h1_head {
    enum h1_method method;
    struct smx_view method_text, target; /* requests; target as sent */
    int status;                          /* replies */
    struct smx_view reason;
    int minor; /* HTTP/1.<minor> */
    enum h1_framing framing;
    uint64_t content_length; /* H1_LENGTH, and a HEAD reply's announced length */
    bool keep_alive, expect_continue, upgrade;
    struct h1_field *fields; /* caller's room */
    size_t n, room;
};

/* Bytes of the head, 0 when it is incomplete, or a negative code; *ret_status is then the HTTP
 * status to answer with (400, 414, 417, 431, 501, 505). */
ptrdiff_t h1_parse_request(
    const char *data, size_t n, struct h1_head *head, int *ret_status, struct smx_err *err);
/* request_method: framing depends on it (HEAD has no body). 1xx heads are returned like others. */
ptrdiff_t h1_parse_reply(const char *data, size_t n, enum h1_method request_method,
    struct h1_head *head, struct smx_err *err);
/* First field of that name; NULL view (p == NULL) when absent. */
struct smx_view h1_get(const struct h1_head *head, const char *name);
/* True when a comma list field (Connection, Upgrade, ...) contains the token, ASCII case folded. */
bool h1_has_token(const struct h1_head *head, const char *name, const char *token);
/* Between an agent and its gateway only, so it is hop by hop: the client takes a descriptor in
 * place of the body; the reply has an empty body and a descriptor: "<offset> <length>" of the body.
 */
#define H1_DESCRIPTOR "sandmux-descriptor"
enum h1_method h1_method_parse(struct smx_view text);
bool h1_hop_by_hop(
    const struct h1_head *head, struct smx_view name); /* incl. those that Connection names */

/* Chunked decoder: a push state machine. */
struct h1_chunked {
    uint64_t left;
    unsigned state, line;
    bool done;
};
void h1_chunked_init(struct h1_chunked *c);
/* Takes bytes from data; body bytes are moved to the front of out (may equal data). *ret_used:
 * input consumed. Returns body bytes, or a negative code on bad framing. c->done after the last
 * chunk and its trailers. */
ptrdiff_t h1_chunked_read(struct h1_chunked *c, const char *data, size_t n, char *out,
    size_t *ret_used, struct smx_err *err);

/* Percent-decodes a path or a query value; '+' is a space when form. False on a bad escape or NUL.
 */
bool h1_percent_decode(struct smx_view in, bool form, struct smx_buf *out);
void h1_percent_encode(
    struct smx_buf *out, const char *s, size_t n, const char *keep); /* unreserved and keep stay */
/* The value of the first (nth = 0) query parameter of that name; false when absent. Not decoded. */
bool h1_query_get(struct smx_view query, const char *name, size_t nth, struct smx_view *ret);

const char *h1_reason(int status);
/* Field values with CR, LF or NUL are an assertion: callers check what comes from outside with
 * h1_value_valid(). */
bool h1_value_valid(struct smx_view v);
bool h1_token_valid(struct smx_view v);
void h1_write_status(struct smx_buf *out, int status);
void h1_write_request(struct smx_buf *out, const char *method, struct smx_view target);
void h1_write_field(struct smx_buf *out, const char *name, struct smx_view value);
void h1_write_end(struct smx_buf *out); /* the empty line */

#endif
