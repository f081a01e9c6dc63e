/* frontend.h - what every front end works with: the core, who may call (guard.c), which sandbox a
 * Host names (host.c), and a request's own record. A front end only translates between a wire and
 * the core; it keeps no state of its own. All of it runs on fibers of one loop. */
#ifndef SMX_FRONTENDS_FRONTEND_H
#define SMX_FRONTENDS_FRONTEND_H

#include "compose/session.h"
#include "core/core.h"
#include "http/server.h"

enum {
    FRONTEND_DOMAINS_MAX = 8,
    FRONTEND_ID_MAX = 64,
    FRONTEND_HOST_MAX = 256,
    FRONTEND_COUNTED = 32,
};

/* The series of one front end and status, so that a request does not look them up by name. */
struct frontend_counted {
    const char *frontend; /* NULL: free */
    int status;
    struct metrics_series *requests, *seconds;
};

/* Owned by the gateway, one for its life. */
struct frontend {
    struct io_loop *loop;
    struct core *core;
    struct compose *compose; /* sessions */
    struct http_server *server;
    const char
        *domains[FRONTEND_DOMAINS_MAX + 1]; /* lower case, NULL-terminated; localhost first */
    bool require_keys;
    const char *runtime_token; /* secret, or NULL */
    uid_t daemon_uid;          /* who started the daemon */
    bool automatic;            /* started by a client */
    unsigned restarts;         /* of the gateway by its supervisor */
    /* Port by which browsers reach us, for preview URLs; 0: no TCP listener yet. open_port makes
     * one on loopback (automatic daemons open none at start). */
    uint16_t port;
    char host[64];        /* numeric address of that listener; empty: none */
    uint16_t tls_port;    /* of the HTTPS listener; 0: there is none */
    const char *tls_cert; /* its certificate's file, where the daemon was started; or NULL */
    int (*open_port)(struct frontend *fe, struct smx_err *err);
    /* Ends the daemon in an orderly way; sandboxes stay. */
    void (*stop)(struct frontend *fe);
    struct metrics_family *requests, *seconds; /* by front end and status; by front end */
    struct frontend_counted counted[FRONTEND_COUNTED];
    struct smx_list endless; /* of struct frontend_endless */
};

/* A stream that ends only with its client (events, a log that is followed): an orderly end does not
 * wait for it. On the stream's own frame. */
struct frontend_endless {
    struct smx_list node;
    struct io_fiber *fiber;
};
static inline void frontend_endless_begin(struct frontend *fe, struct frontend_endless *e)
{
    e->fiber = io_fiber_self();
    smx_list_add(&fe->endless, &e->node);
}
static inline void frontend_endless_end(struct frontend_endless *e)
{
    smx_list_del(&e->node);
}
/* Cancels their fibers. */
static inline void frontend_end_endless(struct frontend *fe)
{
    SMX_LIST_FOREACH(node, &fe->endless)
        io_fiber_cancel(SMX_LIST_ENTRY(node, struct frontend_endless, node)->fiber);
}

/* A request's record, from dispatch to the log line; http_data() of the exchange. */
struct frontend_request {
    char id[FRONTEND_ID_MAX + 1];   /* X-Request-Id */
    const char *frontend;           /* "native", "traffic"; static */
    char sandbox[SMX_ID_LEN + 1];   /* which one it was about, for the log */
    char key[CORE_KEY_ID_SIZE];     /* API key that was used, or empty */
    const struct http_route *route; /* that answers; NULL before it is found */
    uint64_t started_ns;
    bool quiet; /* health and metrics: logged at debug */
};
static inline struct frontend_request *frontend_request(const struct http_exchange *x)
{
    return http_data(x);
}

/* --- host.c: the Host field ------------------------------------------------------------------ */

struct frontend_host {
    char name[FRONTEND_HOST_MAX]; /* lower case, without port and brackets */
    uint16_t port;                /* 0: none given */
    bool numeric, loopback;       /* an address; one of loopback */
};
/* False when it is not a host. */
bool frontend_host_parse(struct smx_view field, struct frontend_host *ret);
/* localhost, *.localhost, a loopback address, a configured domain or below one. */
bool frontend_host_known(const struct frontend *fe, const struct frontend_host *h);
/* "<port>-<key>.<domain>": true, with the port and the id, name or alias of a sandbox. The port is
 * 0 when it is none or no sandbox is named: such a host is no other's either. */
bool frontend_host_traffic(const struct frontend *fe, const struct frontend_host *h,
    uint16_t *ret_port, char *key, size_t size);

/* --- guard.c: who may call ------------------------------------------------------------------- */

enum guard_need {
    GUARD_OPEN,   /* health: anybody who may connect */
    GUARD_READ,   /* a key where keys are required */
    GUARD_CHANGE, /* mutations and WebSockets: also Origin and RUNTIME_API_TOKEN */
};
/* 0; -SMX_E_UNAUTHORIZED: nothing or nothing valid was presented; -SMX_E_FORBIDDEN: this caller,
 * Host or Origin may not. Call it before anything else looks at the request. */
int guard_check(
    const struct frontend *fe, struct http_exchange *x, enum guard_need need, struct smx_err *err);
/* Peer and Host only: what holds for sandbox traffic too. */
int guard_peer_and_host(const struct frontend *fe, const struct http_exchange *x,
    const struct frontend_host *host, struct smx_err *err);
/* Adds the fields that let pages of other origins call with a key; no effect without require_keys.
 */
struct guard_cors {
    const char *exposed, *allowed; /* fields of replies and of requests */
};
void guard_cors(
    const struct frontend *fe, struct http_exchange *x, const struct guard_cors *fields);

#endif
