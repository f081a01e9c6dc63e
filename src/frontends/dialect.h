/* dialect.h - what the front ends with routes of their own do alike: which row answers a request
 * and who may ask for it, bodies and replies by tables. A struct dialect is what differs between
 * them. A handler has the router's shape; its ctx is the struct frontend. */
#ifndef SMX_FRONTENDS_DIALECT_H
#define SMX_FRONTENDS_DIALECT_H

#include "frontends/frontend.h"
#include "json/json.h"

/* Flags of a route: its enum guard_need, and these. From DIALECT_OWN on they are the dialect's. */
enum { DIALECT_QUIET = 16 /* not worth a line in the log */, DIALECT_OWN = 256 };

#define DIALECT_JSON "application/json"
#define DIALECT_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE"

/* Static, one a front end. */
struct dialect {
    const char *name; /* of the front end, in the log and the metrics */
    const struct http_route *routes;
    size_t n;
    struct guard_cors cors;
    /* All of them answer. allow: the methods that the path takes. */
    void (*fail)(struct http_exchange *x, const struct smx_err *err);
    void (*fail_guard)(struct http_exchange *x, const struct smx_err *err);
    void (*fail_match)(struct http_exchange *x, enum http_match match, const char *allow);
};

/* [parks] answers the exchange, whatever it asks for. */
void dialect_handle(const struct dialect *d, struct frontend *fe, struct http_exchange *x);

/* [parks] the body by a table; an empty one is {}. *raw (may be NULL) gets the text. */
int dialect_body(struct http_exchange *x, const struct json_table *table, size_t max, void *ret,
    struct smx_buf *raw, struct smx_err *err);
/* [parks] value encoded by its table. */
void dialect_reply(const struct dialect *d, struct http_exchange *x, int status,
    const struct json_table *table, const void *value);
/* [parks] a JSON text that was written with a json_writer; an incomplete one becomes a 500. */
void dialect_reply_json(
    const struct dialect *d, struct http_exchange *x, int status, struct json_writer *w);
void dialect_no_content(struct http_exchange *x);

/* The HTTP status of an error, in each dialect. */
struct dialect_status {
    int native, e2b;
};
struct dialect_status dialect_status(enum smx_code code);

#endif
