/* idem.c - requests that may be sent twice. The record is written before the work begins, so that a
 * second request, also one after a crash, finds it. */
#include "core/internal.h"

enum { SCOPE_MAX = 255 };

/* A record whose process died after its sandbox was made: see store_idem_recover(). */
enum { STATUS_RUNNING = 0, STATUS_ADOPTED = 1 };

void core_idem_reply_done(struct core_idem_reply *r)
{
    smx_free(r->body);
    *r = (struct core_idem_reply){ 0 };
}

static int take_reply(
    const struct store_idem *rec, struct core_idem_reply *ret, struct smx_err *err)
{
    char *body = smx_alloc(rec->body_n + 1);

    if (!body)
        return smx_err_oom(err);
    memcpy(body, rec->body, rec->body_n);
    *ret = (struct core_idem_reply){ .status = rec->status, .body = body, .n = rec->body_n };
    smx_strcpy(ret->content_type, sizeof ret->content_type, rec->content_type);
    smx_strcpy(ret->sandbox_id, sizeof ret->sandbox_id, rec->sandbox_id);
    return rec->status == STATUS_ADOPTED ? CORE_IDEM_ADOPTED : CORE_IDEM_REPLAY;
}

int core_idem_begin(struct core *c, const char *scope, const char *key, const void *body, size_t n,
    struct core_idem_reply *ret, struct smx_err *err)
{
    struct store_idem rec = { .scope = scope, .key = key, .created_ms = smx_now_unix_ms() };
    SMX_CLEANUP(smx_freep) struct store_idem *found = NULL;
    size_t key_n = strlen(key);
    int r;

    if (key_n == 0 || key_n > CORE_IDEM_KEY_MAX || strlen(scope) > SCOPE_MAX)
        return smx_err_set(
            err, SMX_E_INVALID, "Idempotency-Key: must have 1 to %d bytes", CORE_IDEM_KEY_MAX);
    if (sha256(rec.hash, body, n) < 0)
        return smx_err_set(err, SMX_E_INTERNAL, "SHA-256 is not available");
    r = store_idem_begin(c->store, &rec, rec.created_ms - IDEM_KEPT_MS, &found, err);
    if (r != 0)
        return r < 0 ? r : CORE_IDEM_NEW;
    if (!smx_equal_ct(found->hash, rec.hash, sizeof rec.hash))
        return smx_err_set(err, SMX_E_UNPROCESSABLE_KEY,
            "this Idempotency-Key was used for a request with another body");
    if (found->status == STATUS_RUNNING)
        return smx_err_set(
            err, SMX_E_IN_PROGRESS, "the first request with this Idempotency-Key is still running");
    return take_reply(found, ret, err);
}

int core_idem_finish(struct core *c, const char *scope, const char *key,
    const struct core_idem_reply *reply, struct smx_err *err)
{
    struct store_idem rec = { .scope = scope,
        .key = key,
        .status = reply->status,
        .content_type = reply->content_type,
        .body = reply->body,
        .body_n = reply->n,
        .sandbox_id = reply->sandbox_id };

    if (reply->n > CORE_IDEM_BODY_MAX)
        return smx_err_set(
            err, SMX_E_TOO_LARGE, "a reply to be repeated may have %d bytes", CORE_IDEM_BODY_MAX);
    return store_idem_finish(c->store, &rec, err);
}

void core_idem_abort(struct core *c, const char *scope, const char *key)
{
    struct smx_err err = { 0 };

    store_idem_remove(c->store, scope, key, &err);
}
