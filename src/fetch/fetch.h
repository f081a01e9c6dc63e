/* fetch.h - the only outgoing HTTP of sandmux: libcurl's multi interface on the loop. Names,
 * proxies (by the environment, as curl reads it), TLS and its verification are curl's business;
 * nothing is redirected. HTTP/1.1, connections are kept and shared by all calls to the same origin.
 *
 * Threading: one loop's thread. Calls park the calling fiber and end with it: a cancelled one drops
 * its connection. Errors tell whether anything can have been done at the other side:
 * -SMX_E_UNAVAILABLE nothing was sent; -SMX_E_AMBIGUOUS a request that must not be sent twice was,
 * and no whole reply came. For repeatable requests: -SMX_E_TIMEOUT, -SMX_E_CLOSED (cut short),
 * -SMX_E_PROTOCOL (not HTTP, or more than was allowed for). No message holds a field or a body. */
#ifndef SMX_FETCH_FETCH_H
#define SMX_FETCH_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/client.h"

struct fetch;

#define FETCH_VIA "Sandmux-Via" /* names the sandmux that sends; see core_instance_id() */

struct fetch_config {
    const char *via;     /* value of FETCH_VIA in every request; NULL: none */
    const char *ca_file; /* certificates to trust; NULL: the system's */
};
int fetch_new(const struct fetch_config *cfg, struct fetch **ret, struct smx_err *err);
void fetch_free(struct fetch *f); /* [parks] accepts NULL; no call may be under way */

enum {
    FETCH_HEAD_MAX = 64 * 1024,
    FETCH_CONNECT_TIMEOUT_MS = 10000,
    FETCH_ATTEMPTS = 4, /* of one call, where sending again is safe */
};

struct fetch_request {
    const char *method, *url;
    const char *const *fields; /* "Name: value", NULL-terminated; NULL none. May be secrets */
    const char *content_type;  /* of the body */
    const void *body;          /* NULL: none */
    size_t n;
    size_t reply_max; /* bytes of a reply's body */
    bool repeatable;  /* sending it twice does no more than sending it once */
    bool once;        /* a sign of life: the first outcome counts */
};
struct fetch_reply {
    int status;
    char type[64];       /* media type without parameters, lower case; empty when there is none */
    struct smx_buf body; /* terminated by a NUL */
    struct smx_buf head; /* raw lines */
    unsigned attempts;
};
/* [parks] any status is a success. Sent again, at growing and random distances and never past the
 * deadline: when no connection could be made; when 429 or 503 came with a Retry-After, which is
 * kept to; and, for repeatable requests, on 429, 502, 503, 504 and connections that broke. */
int fetch_call(struct fetch *f, const struct fetch_request *req, struct fetch_reply *ret,
    uint64_t deadline, struct smx_err *err);
void fetch_reply_done(struct fetch_reply *r);
/* The value of a reply's field, trimmed; false when it has none or it does not fit. */
bool fetch_field(const struct fetch_reply *r, const char *name, char *out, size_t size);

/* [parks] a connection of its own to the origin of url, TLS included, as an HTTP client. */
int fetch_dial(struct fetch *f, const char *url, struct http_client *to, uint64_t deadline,
    struct smx_err *err);

#endif
