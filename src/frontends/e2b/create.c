/* create.c - POST /sandboxes and POST /v2/sandboxes. Version 1 has a shorter default time and
 * leaves envd open unless it is asked to secure it; version 2 always secures it.
 *
 * A reply that may be repeated for an Idempotency-Key is kept without its tokens, which are derived
 * from the sandbox anew. Without such a key nobody can ask again: a sandbox whose client went away
 * before it was told the id is deleted. */
#include "frontends/e2b/internal.h"

#include <arpa/inet.h>

struct create { /* one request */
    struct frontend *fe;
    struct http_exchange *x;
    bool v2;
    struct e2b_new_sandbox req;
    struct smx_buf raw;
    char template[SMX_TEMPLATE_LEN_MAX + 1];
    char *key, *dialect;
};

static const char *scope_of(const struct create *c)
{
    return c->v2 ? "e2b POST /v2/sandboxes" : "e2b POST /sandboxes";
}

/* --- checks ----------------------------------------------------------------------------------- */

static bool is_address(const char *s)
{
    char host[64];
    unsigned char bin[16];
    size_t n = strcspn(s, "/");
    uint64_t bits = 0;

    if (!smx_view_copy(host, sizeof host, (struct smx_view){ s, n }))
        return false;
    if (s[n] == '/' && !smx_parse_u64(smx_view_of(s + n + 1), 128, &bits))
        return false;
    return inet_pton(AF_INET, host, bin) == 1 ? bits <= 32 : inet_pton(AF_INET6, host, bin) == 1;
}

static int check_rules(const struct e2b_network *n, struct smx_err *err)
{
    bool all = false;

    for (size_t i = 0; i < n->deny_out.n; i++) {
        all = all || smx_streq(n->deny_out.v[i], "0.0.0.0/0");
        if (!is_address(n->deny_out.v[i]))
            return smx_err_set(err, SMX_E_INVALID,
                "invalid network egress: denyOut entry '%.80s' is no IP address or CIDR",
                n->deny_out.v[i]);
    }
    for (size_t i = 0; i < n->allow_out.n && !all; i++)
        if (!is_address(n->allow_out.v[i]))
            return smx_err_set(err, SMX_E_INVALID,
                "invalid network egress: allowOut entry '%.80s' is a domain, which needs "
                "'0.0.0.0/0' in denyOut",
                n->allow_out.v[i]);
    return 0;
}

static bool is_given(const char *json)
{
    return json && !smx_streq(json, "{}") && !smx_streq(json, "[]") && !smx_streq(json, "null");
}

static int check_network(const struct create *c, struct smx_err *err)
{
    const struct e2b_network *n = c->req.network;
    const struct {
        bool given;
        const char *name;
    } missing[] = { { n && is_given(n->rules), "network.rules" },
        { n && is_given(n->egress_proxy), "network.egressProxy" },
        { n && is_given(n->https_ports), "network.httpsPorts" },
        { n && is_given(n->dns_servers), "network.dnsServers" },
        { n && n->mask_request_host && *n->mask_request_host, "network.maskRequestHost" } };

    if (!n)
        return 0;
    if (n->has_allow_public_traffic && !n->allow_public_traffic && !c->v2 && !c->req.secure)
        return smx_err_set(err, SMX_E_INVALID,
            "network.allowPublicTraffic: false needs a secure sandbox: set secure to true");
    for (size_t i = 0; i < SMX_ARRAY_LEN(missing); i++)
        if (missing[i].given)
            return smx_err_set(
                err, SMX_E_UNSUPPORTED, "%s is not served by this server", missing[i].name);
    return check_rules(n, err);
}

/* What is passed on unread is an object all the same. */
static int check_object(const char *json, const char *name, struct smx_err *err)
{
    if (!json || *json == '{' || smx_streq(json, "null"))
        return 0;
    return smx_err_set(err, SMX_E_INVALID, "%s: must be an object", name);
}

static int check(struct create *c, struct smx_err *err)
{
    struct e2b_new_sandbox *req = &c->req;
    int r = e2b_template_name(req->template_id, c->template, err);

    if (!req->has_timeout)
        req->timeout = c->v2 ? E2B_TIMEOUT_V2_S : E2B_TIMEOUT_V1_S;
    if (r == 0)
        r = e2b_check_timeout(c->fe, req->timeout, err);
    if (r < 0)
        return r;
    if (req->has_auto_pause_memory && !req->auto_pause_memory && !req->auto_pause)
        return smx_err_set(
            err, SMX_E_INVALID, "autoPauseMemory: false is only allowed together with autoPause");
    if (req->has_auto_pause_memory && !req->auto_pause_memory && req->auto_resume &&
        req->auto_resume->enabled)
        return smx_err_set(
            err, SMX_E_INVALID, "autoPauseMemory: false is not allowed together with autoResume");
    if (check_object(req->mcp, "mcp", err) < 0 || check_object(req->iam, "iam", err) < 0)
        return -SMX_E_INVALID;
    if (req->volume_mounts.n > 0)
        return smx_err_set(err, SMX_E_UNSUPPORTED, "volumeMounts: this server has no volumes");
    if (is_given(req->iam))
        return smx_err_set(err, SMX_E_UNSUPPORTED, "iam: this server has no workload identities");
    return check_network(c, err);
}

/* --- making ----------------------------------------------------------------------------------- */

/* Never NULL afterwards: that it is there says who made the sandbox (its ports are public). */
static int make_dialect(struct create *c, struct smx_err *err)
{
    struct e2b_kept kept = { .allow_internet_access = c->req.allow_internet_access,
        .has_allow_internet_access = c->req.has_allow_internet_access };
    struct smx_buf network, out;
    int r = 0;

    if (!c->req.network && !c->req.has_allow_internet_access) {
        c->dialect = smx_strdup("{}");
        return c->dialect ? 0 : smx_err_oom(err);
    }
    smx_buf_init(&network, SANDBOX_DIALECT_MAX);
    smx_buf_init(&out, SANDBOX_DIALECT_MAX);
    if (c->req.network)
        r = json_encode_to(&network, &e2b_network_table, c->req.network, err);
    kept.network = network.data;
    if (r == 0)
        r = json_encode_to(&out, &e2b_kept_table, &kept, err);
    if (r == 0)
        c->dialect = smx_buf_steal(&out);
    smx_buf_done(&network);
    smx_buf_done(&out);
    return r;
}

static enum sandbox_on_timeout on_timeout(const struct e2b_new_sandbox *req)
{
    if (!req->auto_pause)
        return SANDBOX_KILL;
    return req->has_auto_pause_memory && !req->auto_pause_memory ? SANDBOX_STOP : SANDBOX_PAUSE;
}

/* The core names fields as its own interface does. */
static void use_own_words(const struct create *c, struct smx_err *err)
{
    char msg[sizeof err->msg];

    if (err->code == SMX_E_TEMPLATE_NOT_FOUND) {
        smx_err_set(err, SMX_E_TEMPLATE_NOT_FOUND, "template '%s' not found", c->template);
    } else if (err->code == SMX_E_INVALID && smx_starts(err->msg, "env:")) {
        smx_strcpy(msg, sizeof msg, err->msg + 4);
        smx_err_set(err, SMX_E_INVALID, "envVars:%s", msg);
    }
}

static int create(struct create *c, struct sandbox **ret, struct smx_err *err)
{
    const struct e2b_new_sandbox *req = &c->req;
    const struct e2b_network *n = req->network;
    struct core_create_spec spec = { .template = c->template,
        .metadata = req->metadata.v,
        .n_metadata = req->metadata.n,
        .env = req->env.v,
        .n_env = req->env.n,
        .has_timeout = true,
        .timeout_s = (uint64_t)req->timeout,
        .on_timeout = on_timeout(req),
        .auto_resume = req->auto_resume && req->auto_resume->enabled,
        .open_envd = !c->v2 && !req->secure,
        .private_traffic = n && n->has_allow_public_traffic && !n->allow_public_traffic,
        .idempotency_scope = c->key ? scope_of(c) : NULL,
        .idempotency_key = c->key };
    int r = make_dialect(c, err);

    if (r < 0)
        return r;
    spec.dialect = c->dialect;
    r = core_create(c->fe->core, &spec, ret, err);
    if (r < 0)
        use_own_words(c, err);
    if (r == 0)
        smx_strcpy(
            frontend_request(c->x)->sandbox, sizeof frontend_request(c->x)->sandbox, (*ret)->id);
    return r;
}

/* --- idempotency ------------------------------------------------------------------------------ */

static int remember(struct create *c, const struct sandbox *sb, struct smx_err *err)
{
    struct core_idem_reply reply = { .status = 201 };
    struct e2b_shown s;
    struct smx_buf out;
    int r;

    e2b_show(&s, sb);
    s.sandbox.envd_access_token = s.sandbox.traffic_access_token = NULL;
    smx_buf_init(&out, CORE_IDEM_BODY_MAX);
    r = json_encode_to(&out, &e2b_sandbox_table, &s.sandbox, err);
    if (r == 0) {
        smx_strcpy(reply.content_type, sizeof reply.content_type, DIALECT_JSON);
        smx_strcpy(reply.sandbox_id, sizeof reply.sandbox_id, sb->id);
        reply.body = out.data;
        reply.n = out.len;
        r = core_idem_finish(c->fe->core, scope_of(c), c->key, &reply, err);
    }
    smx_buf_done(&out);
    e2b_shown_done(&s);
    return r;
}

/* Of a sandbox that is gone by now the reply has no tokens. */
static int replay(struct create *c, int how, struct core_idem_reply *reply, struct smx_err *err)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    int r = core_find(c->fe->core, reply->sandbox_id, &sb, err);

    http_add_field(c->x, "Idempotent-Replayed", "true");
    if (r == 0 && how == CORE_IDEM_ADOPTED)
        r = remember(c, sb, err);
    if (r == 0)
        e2b_reply_sandbox(c->x, 201, sb);
    else if (how == CORE_IDEM_REPLAY)
        http_reply(c->x, reply->status, reply->content_type, reply->body, reply->n);
    else
        return r;
    return 0;
}

static int create_once(struct create *c, struct sandbox **ret, struct smx_err *err)
{
    struct core_idem_reply reply = { 0 };
    int r = core_idem_begin(
        c->fe->core, scope_of(c), c->key, c->raw.data ? c->raw.data : "", c->raw.len, &reply, err);

    if (r == CORE_IDEM_NEW) {
        r = create(c, ret, err);
        if (r < 0)
            core_idem_abort(c->fe->core, scope_of(c), c->key);
        else
            r = remember(c, *ret, err);
    } else if (r > 0) {
        r = replay(c, r, &reply, err);
        core_idem_reply_done(&reply);
    }
    return r;
}

static bool is_key(struct smx_view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (!((v.p[i] >= 'a' && v.p[i] <= 'z') || (v.p[i] >= '0' && v.p[i] <= '9') ||
                v.p[i] == '-'))
            return false;
    return v.n > 0 && v.n <= CORE_IDEM_KEY_MAX;
}

static int take_key(struct create *c, struct smx_err *err)
{
    struct smx_view field = http_field(c->x, "Idempotency-Key");

    if (!field.p)
        return 0;
    if (!is_key(field))
        return smx_err_set(err, SMX_E_INVALID,
            "Idempotency-Key: must have 1 to %d of a-z, 0-9 and '-'", CORE_IDEM_KEY_MAX);
    c->key = smx_strndup(field.p, field.n);
    return c->key ? 0 : smx_err_oom(err);
}

static bool client_is_gone(const struct create *c)
{
    const struct io_fd *fd = http_fd(c->x);

    return fd && (fd->ready & IO_HUP) != 0;
}

static void answer(struct create *c, struct sandbox *sb)
{
    struct smx_err err = { 0 };

    if (c->key || !client_is_gone(c))
        e2b_reply_sandbox(c->x, 201, sb);
    else if (sandbox_delete(sb, &err) < 0)
        e2b_fail_err(c->x, &err);
    else
        e2b_fail(c->x, 499, "the client went away; its sandbox was deleted");
}

static void handle(struct frontend *fe, struct http_exchange *x, bool v2)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct create c = { .fe = fe, .x = x, .v2 = v2 };
    struct smx_err err = { 0 };
    int r = e2b_body(x, &e2b_new_sandbox_table, &c.req, &c.raw, &err);

    if (r == 0)
        r = check(&c, &err);
    if (r == 0)
        r = take_key(&c, &err);
    if (r == 0)
        r = c.key ? create_once(&c, &sb, &err) : create(&c, &sb, &err);
    if (r < 0)
        e2b_fail_err(x, &err);
    else if (sb)
        answer(&c, sb);
    smx_buf_done(&c.raw);
    smx_free(c.key);
    smx_free(c.dialect);
    json_free(&e2b_new_sandbox_table, &c.req);
}

void e2b_create_v1(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    handle(ctx, x, /* v2= */ false);
}

void e2b_create_v2(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    handle(ctx, x, /* v2= */ true);
}
