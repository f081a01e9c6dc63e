/* request.c - what handlers read from a request: bodies by tables, which sandbox, which template,
 * how long. */
#include "frontends/e2b/internal.h"

int e2b_body(struct http_exchange *x, const struct json_table *table, void *ret,
    struct smx_buf *raw, struct smx_err *err)
{
    return dialect_body(x, table, SMX_HTTP_JSON_BODY_MAX, ret, raw, err);
}

int e2b_not_found(const char *key, struct smx_err *err)
{
    return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND,
        "Sandbox \"%.80s\" doesn't exist or you don't have access to it", key);
}

/* What a sandbox could be called here: also to tell "not there" from "no id". */
static bool could_be_a_key(const char *key)
{
    size_t n = strlen(key);

    for (size_t i = 0; i < n; i++) {
        char c = key[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (i > 0 && strchr("._-", c))))
            return false;
    }
    return n > 0 && n <= PROVIDER_ID_MAX;
}

/* Old clients send "<id>-<clientID>". */
static int find_without_client(struct core *core, const char *key, struct sandbox **ret)
{
    char id[SMX_ID_LEN + 1];
    size_t n = strcspn(key, "-");

    if (key[n] == '\0' || n > SMX_ID_LEN)
        return -SMX_E_SANDBOX_NOT_FOUND;
    smx_view_copy(id, sizeof id, (struct smx_view){ key, n });
    return core_find(core, id, ret, /* err= */ NULL);
}

int e2b_find(struct frontend *fe, struct http_exchange *x, const char *key, struct sandbox **ret,
    struct smx_err *err)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct frontend_request *req = frontend_request(x);
    enum e2b_state ignored;

    if (core_find(fe->core, key, &sb, /* err= */ NULL) < 0 &&
        find_without_client(fe->core, key, &sb) < 0)
        return could_be_a_key(key) ? e2b_not_found(key, err)
                                   : smx_err_set(err, SMX_E_INVALID, "Invalid sandbox ID");
    if (!e2b_state_of(sb, &ignored))
        return e2b_not_found(key, err);
    if (req)
        smx_strcpy(req->sandbox, sizeof req->sandbox, sb->id);
    *ret = smx_take(&sb);
    return 0;
}

int e2b_check_timeout(const struct frontend *fe, int64_t timeout_s, struct smx_err *err)
{
    uint64_t set = core_max_lifetime_s(fe->core), max = set ? set : E2B_LIFETIME_MAX_S;

    if (timeout_s <= 0)
        return smx_err_set(err, SMX_E_INVALID, "Timeout must be greater than 0");
    if ((uint64_t)timeout_s <= max)
        return 0;
    if (max % 3600 == 0)
        return smx_err_set(err, SMX_E_INVALID, "Timeout cannot be greater than %llu hours",
            (unsigned long long)(max / 3600));
    return smx_err_set(
        err, SMX_E_INVALID, "Timeout cannot be greater than %llu seconds", (unsigned long long)max);
}

static bool is_template_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
           c == '/' || c == ':';
}

/* Of characters that may be in one: the parts are there, each once. */
static bool is_reference(const char *s)
{
    const char *slash = strchr(s, '/'), *alias = slash ? slash + 1 : s, *colon = strchr(s, ':');

    for (const char *p = s; *p; p++)
        if (!is_template_char(*p))
            return false;
    if (slash == s || strchr(alias, '/') || *alias == '\0' || *alias == ':')
        return false;
    return !colon || (colon > alias && colon[1] && !strchr(colon + 1, ':'));
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* "[namespace/]alias[:tag]"; without a tag and with the tag "default" it is the same one. */
int e2b_template_name(const char *given, char out[SMX_TEMPLATE_LEN_MAX + 1], struct smx_err *err)
{
    size_t n = 0;
    char *tag;

    while (is_space(*given))
        given++;
    for (const char *p = given; *p && n < SMX_TEMPLATE_LEN_MAX; p++)
        out[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
    while (n > 0 && is_space(out[n - 1]))
        n--;
    out[n] = '\0';
    tag = strchr(out, ':');
    if (tag && smx_streq(tag, ":default"))
        *tag = '\0';
    if (!is_reference(out) || strlen(given) > SMX_TEMPLATE_LEN_MAX)
        return smx_err_set(
            err, SMX_E_INVALID, "Invalid template reference: '%.80s' is not a name", given);
    return 0;
}
