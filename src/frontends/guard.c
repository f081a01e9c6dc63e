/* guard.c - who may call. The unix socket: root, the uid that started the daemon, members of the
 * group `sandmux`. TCP: a Host that is ours (a page that rebinds its name to 127.0.0.1 sends its
 * own), for changes an Origin that is exactly the request's own site, and keys: required where
 * configured; RUNTIME_API_TOKEN, once set, for every change. Secrets are compared in constant time
 * and never appear in a message. */
#include "frontends/frontend.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

enum { GROUPS_MAX = 64 };

static bool in_group(const struct http_peer *peer)
{
    const struct group *g = getgrnam("sandmux");
    const struct passwd *pw;
    gid_t groups[GROUPS_MAX], wanted;
    int n = GROUPS_MAX;

    if (!g)
        return false;
    wanted = g->gr_gid;
    if (peer->gid == wanted)
        return true;
    pw = getpwuid(peer->uid);
    if (!pw || getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
        return false;
    for (int i = 0; i < n; i++) {
        if (groups[i] == wanted)
            return true;
    }
    return false;
}

static int check_unix(const struct frontend *fe, const struct http_peer *peer, struct smx_err *err)
{
    if (peer->uid == 0 || peer->uid == fe->daemon_uid || peer->uid == geteuid())
        return 0;
    if (fe->daemon_uid == 0 && !fe->automatic && in_group(peer))
        return 0;
    return smx_err_set(err, SMX_E_FORBIDDEN,
        "uid %d may not use this daemon; it serves root, the user who started it and the group "
        "'sandmux'",
        (int)peer->uid);
}

int guard_peer_and_host(const struct frontend *fe, const struct http_exchange *x,
    const struct frontend_host *host, struct smx_err *err)
{
    const struct http_peer *peer = http_peer(x);

    if (peer->unix_socket)
        return check_unix(fe, peer, err);
    if (!host)
        return smx_err_set(err, SMX_E_FORBIDDEN, "the Host field names no host");
    if (frontend_host_known(fe, host) || (host->numeric && fe->require_keys))
        return 0;
    return smx_err_set(err, SMX_E_FORBIDDEN,
        "Host '%.100s' is not served here; allow it with --domain (SANDMUX_DOMAIN)", host->name);
}

/* "https://name:port" of the request itself, as a browser writes it. */
static bool is_own_origin(const struct http_exchange *x, struct smx_view origin)
{
    bool secure = http_peer(x)->secure;
    const char *scheme = secure ? "https://" : "http://";
    uint16_t usual = secure ? 443 : 80;
    struct frontend_host own, theirs;

    if (!smx_view_starts(origin, scheme))
        return false;
    origin.p += strlen(scheme);
    origin.n -= strlen(scheme);
    if (!frontend_host_parse(origin, &theirs) || !frontend_host_parse(http_host(x), &own))
        return false;
    return smx_streq(own.name, theirs.name) &&
           (own.port ? own.port : usual) == (theirs.port ? theirs.port : usual);
}

/* The credential of the request: Authorization: Bearer, or X-API-KEY. */
static struct smx_view credential(const struct http_exchange *x)
{
    struct smx_view v = http_field(x, "Authorization");

    if (v.p && v.n > 7 && smx_view_ieq((struct smx_view){ v.p, 7 }, "bearer "))
        return (struct smx_view){ v.p + 7, v.n - 7 };
    return http_field(x, "X-API-KEY");
}

/* The length of a secret is no secret. */
static bool is_secret(struct smx_view given, const char *secret)
{
    return given.p && secret && given.n == strlen(secret) && smx_equal_ct(given.p, secret, given.n);
}

static bool is_key(const struct frontend *fe, struct http_exchange *x, struct smx_view given)
{
    struct core_key key;
    char text[CORE_KEY_SIZE];

    if (!given.p || !smx_view_copy(text, sizeof text, given) ||
        !core_key_check(fe->core, text, &key))
        return false;
    if (frontend_request(x))
        smx_strcpy(frontend_request(x)->key, sizeof frontend_request(x)->key, key.id);
    return true;
}

static int check_credential(
    const struct frontend *fe, struct http_exchange *x, enum guard_need need, struct smx_err *err)
{
    bool token_needed = fe->runtime_token && need == GUARD_CHANGE;
    struct smx_view given = credential(x);

    if (need == GUARD_OPEN || (!fe->require_keys && !token_needed))
        return 0;
    if (is_secret(given, fe->runtime_token) || is_key(fe, x, given))
        return 0;
    http_add_field(x, "WWW-Authenticate", "Bearer");
    if (!given.p)
        return smx_err_set(err, SMX_E_UNAUTHORIZED,
            token_needed
                ? "changes need RUNTIME_API_TOKEN or an API key as 'Authorization: Bearer'"
                : "an API key is required: 'Authorization: Bearer KEY' or 'X-API-KEY: KEY'");
    return smx_err_set(err, SMX_E_UNAUTHORIZED, "this API key is not valid");
}

int guard_check(
    const struct frontend *fe, struct http_exchange *x, enum guard_need need, struct smx_err *err)
{
    struct smx_view origin = http_field(x, "Origin");
    struct frontend_host host;
    bool has_host = frontend_host_parse(http_host(x), &host);
    int r = guard_peer_and_host(fe, x, has_host ? &host : NULL, err);

    if (r < 0 || http_peer(x)->unix_socket)
        return r;
    r = check_credential(fe, x, need, err);
    if (r < 0 || need != GUARD_CHANGE || !origin.p || fe->require_keys)
        return r;
    if (is_own_origin(x, origin))
        return 0;
    return smx_err_set(err, SMX_E_FORBIDDEN,
        "a page of another origin may not change anything here; with --require-keys it may, with a "
        "key");
}

void guard_cors(const struct frontend *fe, struct http_exchange *x, const struct guard_cors *fields)
{
    if (!fe->require_keys || !http_field(x, "Origin").p)
        return;
    http_add_field(x, "Access-Control-Allow-Origin", "*");
    http_add_field(x, "Access-Control-Expose-Headers", fields->exposed);
    if (http_head(x)->method != H1_OPTIONS)
        return;
    http_add_field(x, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    http_add_field(x, "Access-Control-Allow-Headers", fields->allowed);
    http_add_field(x, "Access-Control-Max-Age", "600");
}
