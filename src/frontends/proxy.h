/* proxy.h - what stands in front of the ports of a sandbox: which sandbox and port a request names,
 * whether it can be used now, what of a request is for us and not for the sandbox, and what is
 * answered when it does not work. Shared by the front ends for ports and for envd. */
#ifndef SMX_FRONTENDS_PROXY_H
#define SMX_FRONTENDS_PROXY_H

#include "frontends/frontend.h"
#include "http/client.h"

enum { PROXY_ENVD_PORT = 49983, PROXY_DROP_MAX = 10 };

#define PROXY_ID_FIELD "E2b-Sandbox-Id"
#define PROXY_PORT_FIELD "E2b-Sandbox-Port"
#define PROXY_TOKEN_FIELD "X-Access-Token"
#define PROXY_TRAFFIC_TOKEN_FIELD "e2b-traffic-access-token"
/* What a caller from elsewhere than this host presents for a port: sandbox_token(), as this field
 * or, for a browser, once as the query parameter below, which becomes a cookie. */
#define PROXY_OWN_TOKEN_FIELD "X-Sandmux-Token"
#define PROXY_OWN_TOKEN_QUERY "sandmux_token"

struct proxy_target {
    uint16_t port;
    bool fields;                    /* named by E2B's fields, not by the Host */
    char key[SMX_NAME_LEN_MAX + 1]; /* of a sandbox; longer ones are nobody's */
};

/* E2B's two fields. -SMX_E_INVALID: one is missing or makes no sense. Pure. */
int proxy_by_fields(
    struct smx_view id, struct smx_view port, struct proxy_target *ret, struct smx_err *err);
/* By id, name or alias, or by what stands before the first '-': E2B's hosts may end in
 * "-<client>". -SMX_E_SANDBOX_NOT_FOUND. */
int proxy_find(struct frontend *fe, struct http_exchange *x, const struct proxy_target *to,
    struct sandbox **ret, struct smx_err *err);
/* 0: it runs, or a call resumes it; -SMX_E_STATE. Does not park: call it before the caller's token
 * is looked at, and proxy_wake() afterwards. */
int proxy_usable(const struct sandbox *sb, struct smx_err *err);
int proxy_wake(struct sandbox *sb, struct smx_err *err); /* [parks] */

/* True when a token of this sandbox was presented in that field. */
bool proxy_token(const struct http_exchange *x, const char *field, const struct sandbox *sb);
/* Fields of the request that stay here; v is for struct http_relay. */
struct proxy_drop {
    const char *v[PROXY_DROP_MAX + 1];
    size_t n;
};
void proxy_drop_ours(struct proxy_drop *d); /* routing and what nobody else would call a field */
void proxy_drop_add(struct proxy_drop *d, const char *field); /* static string */

/* [parks] http_relay(); what ends only with its client (WebSockets, watches) does not hold up an
 * orderly end. A sandbox that is paused or stopped meanwhile disconnects its clients, as E2B's do:
 * what is frozen would else keep them waiting without a word. */
int proxy_relay(struct frontend *fe, struct http_exchange *x, struct sandbox *sb,
    struct http_client *c, const struct http_relay *opts, struct smx_err *err);
/* Whether a relay failed with the loss of the connection to the sandbox. */
bool proxy_is_lost(int r);
/* What such a relay failed with, as the sandbox's state explains it. */
int proxy_explain(int r, const struct sandbox *sb, struct smx_err *err);

/* Answers for the sandbox, or breaks off a reply that began. sb NULL: there is none. Callers that
 * speak E2B's dialect (fields, envd, sandboxes made by it) get exactly the bodies of E2B's proxy,
 * which its clients compare; browsers a page; others a problem with the same members. */
void proxy_fail(struct http_exchange *x, const struct proxy_target *to, const struct sandbox *sb,
    const struct smx_err *err);
/* {"code","message"}, E2B's shape of every other error. */
void proxy_fail_plain(struct http_exchange *x, int status, const char *message);

#endif
