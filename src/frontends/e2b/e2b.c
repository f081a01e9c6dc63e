/* e2b.c - the routes of E2B's control plane, who may call them, and what is not served. A row's
 * flags say what the guard asks for and, for what is missing here, which sentence says so. */
#include "frontends/e2b/internal.h"

#include <stdio.h>

enum missing {
    FORK = 1,
    SNAPSHOTS,
    NETWORK,
    BUILDS,
    TAGS,
    PUBLISHING,
    CATALOGUE,
    VOLUMES,
    SECRETS,
    API_KEYS,
    TEAM_METRICS,
    CLUSTER,
};

static const char *const missing_text[] = {
    [FORK] = "Forking sandboxes is not served by this server",
    [SNAPSHOTS] = "Snapshots are not served by this server",
    [NETWORK] = "Changing the network of a sandbox is not served by this server",
    [BUILDS] = "Building templates is not served by this server",
    [TAGS] = "Tags of templates are not served by this server",
    [PUBLISHING] = "Changing and deleting templates is not served by this server",
    [CATALOGUE] =
        "A catalogue of templates is not served by this server; GET /templates lists them",
    [VOLUMES] = "Volumes are not served by this server",
    [SECRETS] = "Secrets are not served by this server",
    [API_KEYS] = "API keys are made with 'sandmux keys create', not here",
    [TEAM_METRICS] = "Metrics of teams are not served by this server",
    [CLUSTER] = "This server has no nodes to administer",
};

static e2b_handler_fn health, not_here;

#define S "/sandboxes/{id}"
#define T "/templates/{id}"
#define NOT_HERE(method, pattern, what)                                                     \
    {                                                                                       \
        method, pattern, not_here,                                                          \
            ((method) == H1_GET ? GUARD_READ : GUARD_CHANGE) | (unsigned)(what)*DIALECT_OWN \
    }

static const struct http_route routes[] = {
    { H1_GET, "/health", health, GUARD_OPEN | DIALECT_QUIET },
    { H1_POST, "/v2/sandboxes", e2b_create_v2, GUARD_CHANGE },
    { H1_POST, "/sandboxes", e2b_create_v1, GUARD_CHANGE },
    { H1_GET, "/v2/sandboxes", e2b_list_v2, GUARD_READ },
    { H1_GET, "/sandboxes", e2b_list_v1, GUARD_READ },
    { H1_GET, "/sandboxes/metrics", e2b_metrics_of_many, GUARD_READ },
    { H1_GET, S, e2b_get, GUARD_CHANGE }, /* shows the token, which lets run commands */
    { H1_DELETE, S, e2b_kill, GUARD_CHANGE },
    { H1_POST, S "/connect", e2b_connect_v1, GUARD_CHANGE },
    { H1_POST, "/v2" S "/connect", e2b_connect_v2, GUARD_CHANGE },
    { H1_POST, S "/timeout", e2b_set_timeout, GUARD_CHANGE },
    { H1_POST, S "/refreshes", e2b_refreshes, GUARD_CHANGE },
    { H1_POST, S "/pause", e2b_pause_sandbox, GUARD_CHANGE },
    { H1_POST, S "/resume", e2b_resume_sandbox, GUARD_CHANGE },
    { H1_GET, S "/metrics", e2b_metrics, GUARD_READ },
    { H1_GET, S "/logs", e2b_logs_v1, GUARD_READ },
    { H1_GET, "/v2" S "/logs", e2b_logs_v2_of, GUARD_READ },
    { H1_GET, "/teams", e2b_teams, GUARD_READ },
    { H1_GET, "/templates", e2b_templates, GUARD_READ },
    { H1_GET, "/v2/templates", e2b_templates_v2, GUARD_READ },
    { H1_GET, "/templates/aliases/{alias}", e2b_template_by_alias, GUARD_READ },
    { H1_GET, T, e2b_template_get, GUARD_READ },
    NOT_HERE(H1_POST, S "/fork", FORK),
    NOT_HERE(H1_POST, S "/snapshots", SNAPSHOTS),
    NOT_HERE(H1_GET, "/snapshots", SNAPSHOTS),
    NOT_HERE(H1_PUT, S "/network", NETWORK),
    NOT_HERE(H1_POST, "/templates/tags", TAGS),
    NOT_HERE(H1_DELETE, "/templates/tags", TAGS),
    NOT_HERE(H1_POST, "/v3/templates", BUILDS),
    NOT_HERE(H1_POST, "/v2/templates", BUILDS),
    NOT_HERE(H1_POST, "/templates", BUILDS),
    NOT_HERE(H1_POST, T, BUILDS),
    NOT_HERE(H1_GET, T "/files/{hash}", BUILDS),
    NOT_HERE(H1_POST, T "/builds/{build}", BUILDS),
    NOT_HERE(H1_POST, "/v2" T "/builds/{build}", BUILDS),
    NOT_HERE(H1_GET, T "/builds/{build}/status", BUILDS),
    NOT_HERE(H1_GET, T "/builds/{build}/logs", BUILDS),
    NOT_HERE(H1_PATCH, T, PUBLISHING),
    NOT_HERE(H1_PATCH, "/v2" T, PUBLISHING),
    NOT_HERE(H1_DELETE, T, PUBLISHING),
    NOT_HERE(H1_GET, T "/tags", TAGS),
    NOT_HERE(H1_GET, T "/tags/count", TAGS),
    NOT_HERE(H1_GET, T "/tags/{tag}/assignments", TAGS),
    NOT_HERE(H1_GET, T "/exists", CATALOGUE),
    NOT_HERE(H1_GET, T "/groups", CATALOGUE),
    NOT_HERE(H1_GET, "/default-templates", CATALOGUE),
    NOT_HERE(H1_GET, "/volumes", VOLUMES),
    NOT_HERE(H1_POST, "/volumes", VOLUMES),
    NOT_HERE(H1_GET, "/volumes/{id}", VOLUMES),
    NOT_HERE(H1_DELETE, "/volumes/{id}", VOLUMES),
    NOT_HERE(H1_GET, "/secrets", SECRETS),
    NOT_HERE(H1_POST, "/secrets", SECRETS),
    NOT_HERE(H1_GET, "/secrets/{id}", SECRETS),
    NOT_HERE(H1_POST, "/secrets/{id}", SECRETS),
    NOT_HERE(H1_DELETE, "/secrets/{id}", SECRETS),
    NOT_HERE(H1_GET, "/api-keys", API_KEYS),
    NOT_HERE(H1_POST, "/api-keys", API_KEYS),
    NOT_HERE(H1_PATCH, "/api-keys/{id}", API_KEYS),
    NOT_HERE(H1_DELETE, "/api-keys/{id}", API_KEYS),
    NOT_HERE(H1_POST, "/access-tokens", API_KEYS),
    NOT_HERE(H1_DELETE, "/access-tokens/{id}", API_KEYS),
    NOT_HERE(H1_GET, "/teams/{id}/metrics", TEAM_METRICS),
    NOT_HERE(H1_GET, "/teams/{id}/metrics/max", TEAM_METRICS),
    NOT_HERE(H1_GET, "/nodes", CLUSTER),
    NOT_HERE(H1_GET, "/nodes/{id}", CLUSTER),
    NOT_HERE(H1_POST, "/nodes/{id}", CLUSTER),
};

static void health(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    dialect_no_content(x);
}

/* For a row that says what is missing. */
static void not_here(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct smx_err err = { 0 };

    smx_err_set(&err, SMX_E_UNSUPPORTED, "%s",
        missing_text[frontend_request(x)->route->flags / DIALECT_OWN]);
    e2b_fail_err(x, &err);
}

/* --- refusals --------------------------------------------------------------------------------- */

static bool below(struct smx_view path, const char *top)
{
    size_t n = strlen(top);

    return smx_view_starts(path, top) && (path.n == n || path.p[n] == '/');
}

static void fail_match(struct http_exchange *x, enum http_match match, const char *allow)
{
    struct smx_view path = http_path(x);
    struct smx_err err = { 0 };

    if (match == HTTP_MATCH_NO_METHOD) {
        http_add_field(x, "Allow", allow);
        smx_err_set(&err, SMX_E_METHOD_NOT_ALLOWED, "this path takes %s", allow);
    } else if (match == HTTP_MATCH_BAD_PATH) {
        smx_err_set(&err, SMX_E_INVALID, "path: not a valid percent-encoding");
    } else if (below(path, "/instances") || below(path, "/envs")) {
        smx_err_set(
            &err, SMX_E_INVALID, "Endpoints are deprecated: use /sandboxes and /templates instead");
    } else if (below(path, "/volumecontent")) {
        smx_err_set(&err, SMX_E_UNSUPPORTED, "%s", missing_text[VOLUMES]);
    } else if (below(path, "/admin")) {
        smx_err_set(&err, SMX_E_UNSUPPORTED, "%s", missing_text[CLUSTER]);
    } else {
        smx_err_set(&err, SMX_E_NOT_FOUND, "no resource at '%.*s'",
            (int)SMX_MIN(path.n, (size_t)100), path.p);
    }
    e2b_fail_err(x, &err);
}

/* "e2b_" and hexadecimal digits: what clients of the first generations insist on. */
static bool is_key_form(struct smx_view v)
{
    if (!smx_view_starts(v, "e2b_") || v.n == 4)
        return false;
    for (size_t i = 4; i < v.n; i++)
        if (!((v.p[i] >= '0' && v.p[i] <= '9') || (v.p[i] >= 'a' && v.p[i] <= 'f')))
            return false;
    return true;
}

static void fail_guard(struct http_exchange *x, const struct smx_err *err)
{
    struct smx_view key = http_field(x, "X-API-KEY");

    if (err->code != SMX_E_UNAUTHORIZED)
        e2b_fail_err(x, err);
    else if (key.p && !is_key_form(key))
        e2b_fail(x, 401, "Invalid API key format");
    else if (key.p)
        e2b_fail(x, 401, "Invalid API key: 'sandmux keys create' makes one");
    else
        e2b_fail_err(x, err);
}

/* --- dispatch --------------------------------------------------------------------------------- */

const struct dialect e2b_dialect = {
    .name = "e2b",
    .routes = routes,
    .n = SMX_ARRAY_LEN(routes),
    .cors = { .exposed = "X-Request-Id, X-Next-Token, X-Total-Running, Retry-After, Should-Retry",
        .allowed = "*, Authorization" },
    .fail = e2b_fail_err,
    .fail_guard = fail_guard,
    .fail_match = fail_match,
};

void e2b_handle(struct frontend *fe, struct http_exchange *x)
{
    dialect_handle(&e2b_dialect, fe, x);
}
