/* api.c - one call to E2B's control plane: key, body, and what its answers mean. Replies are
 * hostile: sizes are capped, tables decide what is taken, texts are cleaned before they are shown.
 * Loop thread only. */
#include "providers/e2b/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

enum { REPLY_MAX = SMX_JSON_MAX, BODY_MAX = 1024 * 1024, TEXT_MAX = 160 };

bool e2b_id_valid(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return n > 0 && n <= PROVIDER_ID_MAX && id[n] == '\0' && id[0] != '-';
}

/* --- refusals ------------------------------------------------------------------------------ */

/* What the server said, fit to be shown; empty when it said nothing, or our key. */
static void read_text(struct e2b *e, const struct fetch_reply *reply, char text[TEXT_MAX + 1])
{
    struct e2b_error said = { 0 };
    struct smx_err ignored;
    size_t n = 0;

    text[0] = '\0';
    if (json_decode(&e2b_error_table, reply->body.data ? reply->body.data : "", reply->body.len,
            &said, &ignored) < 0)
        return;
    if (said.message && !strstr(said.message, e->cfg->api_key)) {
        for (const char *p = said.message; *p && n < TEXT_MAX; p++)
            text[n++] = (char)((unsigned char)*p < ' ' || *p == 127 ? ' ' : *p);
        text[n] = '\0';
    }
    json_free(&e2b_error_table, &said);
}

static bool speaks_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcasestr(text, *words))
            return true;
    return false;
}

static enum smx_code too_many(const char *text)
{
    static const char *const words[] = { "concurrent", "maximum", "limit", "quota", NULL };

    return speaks_of(text, words) && !strcasestr(text, "rate limit") ? SMX_E_QUOTA
                                                                     : SMX_E_RATE_LIMITED;
}

static enum smx_code code_of(const struct e2b_call *c, int status, const char *text)
{
    switch (status) {
    case 400:
    case 422:
        return SMX_E_INVALID;
    case 401:
    case 403:
        return SMX_E_E2B_KEY;
    case 402:
        return SMX_E_QUOTA;
    case 404:
    case 405:
        return c->not_found ? c->not_found : SMX_E_SANDBOX_NOT_FOUND;
    case 409:
        return SMX_E_STATE;
    case 413:
        return SMX_E_TOO_LARGE;
    case 429:
        return too_many(text);
    case 508:
        return SMX_E_LOOP;
    default:
        break;
    }
    if (status >= 500 && c->not_repeatable)
        return SMX_E_AMBIGUOUS; /* it may have been made before something failed */
    if (status == 504)
        return SMX_E_TIMEOUT;
    return status >= 500 ? SMX_E_UNAVAILABLE : SMX_E_PROTOCOL;
}

static int refused(
    struct e2b *e, const struct e2b_call *c, const struct fetch_reply *reply, struct smx_err *err)
{
    char text[TEXT_MAX + 1];

    read_text(e, reply, text);
    return smx_err_set(err, code_of(c, reply->status, text), "E2B refused with status %d%s%s",
        reply->status, *text ? ": " : "", text);
}

bool e2b_no_route(const struct e2b_call *c, const struct smx_err *err)
{
    static const char *const things[] = { "template", "sandbox", "doesn't exist", NULL };

    return c->status == 405 || (c->status == 404 && !speaks_of(err->msg, things));
}

/* --- calls --------------------------------------------------------------------------------- */

static int nonsense(const struct e2b_call *c, const char *why, struct smx_err *err)
{
    return smx_err_set(err, c->not_repeatable ? SMX_E_AMBIGUOUS : SMX_E_PROTOCOL,
        "E2B's answer makes no sense: %s", why);
}

static int read_reply(
    const struct e2b_call *c, const struct fetch_reply *reply, struct smx_err *err)
{
    const char *data = reply->body.data ? reply->body.data : "";
    struct smx_err why = { 0 };
    int r;

    if (!c->reply_table)
        return 0;
    if (!smx_streq(reply->type, "application/json"))
        return nonsense(c, *reply->type ? "it is not JSON" : "it has no type", err);
    r = c->list ? e2b_list_decode(c->reply_table, data, reply->body.len, c->reply, &why)
                : json_decode(c->reply_table, data, reply->body.len, c->reply, &why);
    if (r == -SMX_E_NO_MEMORY)
        return smx_err_oom(err);
    return r < 0 ? nonsense(c, why.msg, err) : 0;
}

static int send(struct e2b *e, struct e2b_call *c, const char *url, const struct smx_buf *body,
    struct fetch_reply *reply, uint64_t deadline, struct smx_err *err)
{
    char key[128];
    const char *fields[] = { e->key_field, NULL, NULL };
    struct fetch_request req = { .method = c->method,
        .url = url,
        .fields = fields,
        .content_type = "application/json",
        .body = c->body_table ? body->data : NULL,
        .n = body->len,
        .reply_max = REPLY_MAX,
        .repeatable = !c->not_repeatable,
        .once = c->once };

    if (c->idempotency_key) {
        snprintf(key, sizeof key, "Idempotency-Key: %s", c->idempotency_key);
        fields[1] = key;
    }
    return fetch_call(e->fetch, &req, reply, deadline, err);
}

int e2b_call(struct e2b *e, struct e2b_call *c, uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *url = smx_asprintf("%s%s", e->api_url, c->path);
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    SMX_CLEANUP(fetch_reply_done) struct fetch_reply reply = { 0 };
    int r = url ? 0 : smx_err_oom(err);

    c->status = 0;
    c->next[0] = '\0';
    smx_buf_init(&body, BODY_MAX);
    if (r == 0 && c->body_table)
        r = json_encode_to(&body, c->body_table, c->body, err);
    if (r == 0)
        r = send(e, c, url, &body, &reply, deadline, err);
    if (r < 0)
        return r;
    c->status = reply.status;
    if (reply.status < 200 || reply.status > 299)
        return refused(e, c, &reply, err);
    fetch_field(&reply, "X-Next-Token", c->next, sizeof c->next);
    return read_reply(c, &reply, err);
}
