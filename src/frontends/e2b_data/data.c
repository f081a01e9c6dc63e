/* data.c - E2B's data plane: checks who calls and relays to the sandbox's envd. Bytes of bodies are
 * not looked at; what the agent answers is the answer. Order of the checks: preflights of browsers,
 * internal routes, whether there is such a sandbox, the caller's token, then a paused sandbox that
 * wants to be resumed is. The token of the sandbox is the only credential: an API key opens
 * nothing here and is not asked for. Runs on the fiber of its connection.
 * Source: E2B's protocol as observed, see docs/protocols/e2b.md. */
#include "frontends/e2b_data/internal.h"

enum { CONNECT_TIMEOUT_MS = 10000, END_POLLS = 25, END_POLL_MS = 20, HEADERS_MAX = 1024 };

/* --- browsers -----------------------------------------------------------------------------------
 */

/* Pages of any origin may call: they need the token. */
static SMX_NOINLINE void add_cors(struct http_exchange *x)
{
    if (!http_field(x, "Origin").p)
        return;
    http_add_field(x, "Access-Control-Allow-Origin", "*");
    http_add_field(x, "Access-Control-Expose-Headers",
        "Content-Disposition, Content-Length, Content-Range, Accept-Ranges, ETag, Last-Modified, "
        "Location, Cache-Control, X-Content-Type-Options, X-Request-Id");
}

static bool is_preflight(const struct http_exchange *x)
{
    return http_head(x)->method == H1_OPTIONS && http_field(x, "Origin").p &&
           http_field(x, "Access-Control-Request-Method").p;
}

static SMX_NOINLINE void answer_preflight(struct http_exchange *x)
{
    struct smx_view asked = http_field(x, "Access-Control-Request-Headers");
    char names[HEADERS_MAX];

    if (!asked.p || !smx_view_copy(names, sizeof names, asked))
        smx_strcpy(names, sizeof names, "*");
    http_add_field(x, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    http_add_field(x, "Access-Control-Allow-Headers", names);
    http_add_field(x, "Access-Control-Max-Age", "7200");
    http_reply(x, 204, /* content_type= */ NULL, "", 0);
}

/* --- who calls ----------------------------------------------------------------------------------
 */

static int refuse(struct http_exchange *x, const struct smx_err *err)
{
    proxy_fail_plain(x, err->code == SMX_E_INVALID ? 400 : 401, err->msg);
    return 0;
}

static int check_signature(
    const struct http_exchange *x, const struct sandbox *sb, struct smx_err *err)
{
    SMX_CLEANUP(sign_done) struct sign_request s = { 0 };
    int r = sign_parse(x, &s, err);

    return r < 0 ? r : sign_check(&s, sb, err);
}

static int check_token(const struct http_exchange *x, const struct sandbox *sb, struct smx_err *err)
{
    enum h1_method method = http_head(x)->method;
    bool reads = method == H1_GET || method == H1_HEAD;
    bool given = http_field(x, PROXY_TOKEN_FIELD).n > 0;
    bool files = smx_view_eq(http_path(x), "/files") && (reads || method == H1_POST);

    if (sb->open_envd || (reads && smx_view_eq(http_path(x), "/health")) ||
        (given && proxy_token(x, PROXY_TOKEN_FIELD, sb)))
        return 0;
    if (files && given)
        return smx_err_set(
            err, SMX_E_UNAUTHORIZED, "access token present in header but does not match");
    if (files)
        return check_signature(x, sb, err);
    return smx_err_set(err, SMX_E_UNAUTHORIZED,
        "unauthorized access, please provide a valid access token or method signing if supported");
}

/* 1: go on; 0: answered. */
static SMX_NOINLINE int admit(struct http_exchange *x, const struct sandbox *sb)
{
    struct smx_err err = { 0 };

    return check_token(x, sb, &err) < 0 ? refuse(x, &err) : 1;
}

/* --- relay --------------------------------------------------------------------------------------
 */

/* A sandbox whose end was the engine's doing stops answering a moment before we hear of it. */
static void wait_for_news(const struct sandbox *sb)
{
    for (int i = 0; i < END_POLLS && sb->state == SANDBOX_RUNNING; i++)
        if (io_sleep_until(smx_deadline_in_ms(END_POLL_MS)) < 0)
            return;
}

static SMX_NOINLINE int explain(int r, const struct sandbox *sb, struct smx_err *err)
{
    if (!proxy_is_lost(r))
        return r;
    wait_for_news(sb);
    if (r == -SMX_E_CLOSED)
        smx_err_set(err, SMX_E_CLOSED, "the sandbox closed the connection without an answer");
    return proxy_explain(r, sb, err);
}

static SMX_NOINLINE void fill_drop(const struct http_exchange *x, struct proxy_drop *d)
{
    struct smx_view user = http_field(x, "Authorization");

    proxy_drop_ours(d);
    proxy_drop_add(d, PROXY_TOKEN_FIELD);
    proxy_drop_add(d, "X-API-KEY");
    proxy_drop_add(d, "Cookie");
    if (user.p && !(user.n > 6 && smx_view_ieq((struct smx_view){ user.p, 6 }, "basic ")))
        proxy_drop_add(d, "Authorization"); /* an API key; Basic names the user inside */
}

static int relay_to(struct frontend *fe, struct http_exchange *x, struct sandbox *sb,
    struct provider_box *box, struct smx_err *err)
{
    struct proxy_drop *drop = http_alloc(x, sizeof *drop);
    struct http_client *c = NULL;
    struct http_relay opts = { .drop = drop ? drop->v : NULL,
        .files = smx_view_eq(http_path(x), "/files"),
        .tap = account_open(x, sb) };
    int r;

    if (!drop)
        return smx_err_oom(err);
    fill_drop(x, drop);
    r = provider_envd_get(box, &c, smx_deadline_in_ms(CONNECT_TIMEOUT_MS), err);
    if (r < 0)
        return r;
    r = proxy_relay(fe, x, sb, c, &opts, err);
    provider_envd_put(box, c);
    return r;
}

static int relay(
    struct frontend *fe, struct http_exchange *x, struct sandbox *sb, struct smx_err *err)
{
    struct provider_box *box;
    int r = proxy_wake(sb, err);

    if (r == 0)
        r = sandbox_use_begin(sb, &box, err);
    if (r < 0)
        return r;
    r = relay_to(fe, x, sb, box, err);
    sandbox_use_end(sb);
    return r < 0 && !http_started(x) ? explain(r, sb, err) : r;
}

static void serve(
    struct frontend *fe, struct http_exchange *x, const struct proxy_target *to, struct sandbox *sb)
{
    struct smx_err err = { 0 };
    int r = proxy_usable(sb, &err);

    if (r == 0)
        r = admit(x, sb);
    if (r > 0)
        r = relay(fe, x, sb, &err);
    if (r < 0)
        proxy_fail(x, to, sb, &err);
}

/* True when it was answered. */
static bool answered_here(struct http_exchange *x)
{
    frontend_request(x)->frontend = "e2b-data";
    frontend_request(x)->quiet = smx_view_eq(http_path(x), "/health");
    add_cors(x);
    if (is_preflight(x))
        answer_preflight(x);
    else if (path_is_internal(http_path(x)))
        proxy_fail_plain(x, 404, "there is no such route");
    else
        return false;
    return true;
}

static SMX_NOINLINE struct sandbox *find(
    struct frontend *fe, struct http_exchange *x, const struct proxy_target *to)
{
    struct sandbox *sb = NULL;
    struct smx_err err = { 0 };

    if (proxy_find(fe, x, to, &sb, &err) < 0)
        proxy_fail(x, to, /* sb= */ NULL, &err);
    return sb;
}

void e2b_data_handle(struct frontend *fe, struct http_exchange *x, const struct proxy_target *to)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;

    if (answered_here(x))
        return;
    sb = find(fe, x, to);
    if (sb)
        serve(fe, x, to, sb);
}

/* --- signed URLs --------------------------------------------------------------------------------
 */

static bool is_signed(const struct http_exchange *x)
{
    enum h1_method method = http_head(x)->method;
    struct smx_view signature;

    return (method == H1_GET || method == H1_HEAD || method == H1_POST || method == H1_OPTIONS) &&
           smx_view_eq(http_path(x), "/files") &&
           h1_query_get(http_query(x), "signature", 0, &signature);
}

/* PyPI e2b 2.10 to 2.26 send nothing but the token after connect(), when a setting names the URL of
 * the data plane. It belongs to one sandbox, so it names that as well. */
static bool is_token_only(const struct http_exchange *x)
{
    static const char *const services[] = { "/process.Process/", "/filesystem.Filesystem/" };
    struct smx_view path = http_path(x);

    if (http_field(x, PROXY_TOKEN_FIELD).n == 0)
        return false;
    for (size_t i = 0; i < SMX_ARRAY_LEN(services); i++)
        if (smx_view_starts(path, services[i]))
            return true;
    return smx_view_eq(path, "/files") || smx_view_eq(path, "/health");
}

bool e2b_data_unrouted(const struct http_exchange *x)
{
    return is_signed(x) || is_token_only(x) ||
           (is_preflight(x) &&
               h1_has_token(http_head(x), "Access-Control-Request-Headers", PROXY_ID_FIELD));
}

static struct sandbox *found(
    struct http_exchange *x, struct proxy_target *to, struct sandbox *taken)
{
    *to = (struct proxy_target){ .port = PROXY_ENVD_PORT };
    if (taken) {
        smx_strcpy(to->key, sizeof to->key, taken->id);
        smx_strcpy(frontend_request(x)->sandbox, sizeof frontend_request(x)->sandbox, taken->id);
    }
    return taken;
}

struct holder {
    const struct http_exchange *x;
    struct sandbox *found;
};

static bool try_token(struct sandbox *sb, void *arg)
{
    struct holder *h = arg;

    if (proxy_token(h->x, PROXY_TOKEN_FIELD, sb))
        h->found = sandbox_ref(sb);
    return h->found == NULL;
}

/* The sandbox whose token it is; NULL: answered, as for one that is gone. */
static SMX_NOINLINE struct sandbox *find_holder(
    struct frontend *fe, struct http_exchange *x, struct proxy_target *to)
{
    struct holder h = { .x = x };
    struct smx_err err = { 0 };

    core_each(fe->core, try_token, &h);
    if (found(x, to, h.found))
        return h.found;
    smx_err_set(&err, SMX_E_SANDBOX_NOT_FOUND, "no sandbox has this token");
    proxy_fail(x, to, /* sb= */ NULL, &err);
    return NULL;
}

/* The sandbox that signed; NULL: answered. */
static SMX_NOINLINE struct sandbox *find_signer(
    struct frontend *fe, struct http_exchange *x, struct proxy_target *to)
{
    SMX_CLEANUP(sign_done) struct sign_request s = { 0 };
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };
    int r = sign_parse(x, &s, &err);

    if (r == 0)
        sb = sign_find(fe->core, &s);
    if (r == 0 && !sb)
        r = smx_err_set(&err, SMX_E_UNAUTHORIZED, "invalid signature");
    if (r == 0)
        r = sign_check_time(&s, &err);
    if (r < 0) {
        refuse(x, &err);
        return NULL;
    }
    return found(x, to, smx_take(&sb));
}

void e2b_data_handle_unrouted(struct frontend *fe, struct http_exchange *x)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct proxy_target to;

    if (answered_here(x))
        return;
    /* A file that is opened in a browser would be a page of our own site, with our API in reach. */
    http_add_field(x, "Content-Security-Policy", "sandbox");
    sb = is_signed(x) ? find_signer(fe, x, &to) : find_holder(fe, x, &to);
    if (sb)
        serve(fe, x, &to, sb);
}
