/* lifecycle.c - one sandbox: looking, ending, its time, pausing, connecting. What a sandbox may do
 * is the core's business; here are E2B's statuses and texts. */
#include "frontends/e2b/internal.h"

/* The core's words for what is missing or asleep are not E2B's. */
static void fail(struct http_exchange *x, const char *key, struct smx_err *err)
{
    if (err->code == SMX_E_SANDBOX_NOT_FOUND)
        e2b_not_found(key, err);
    e2b_fail_err(x, err);
}

void e2b_get(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };
    struct e2b_shown s;

    if (e2b_find(ctx, x, params->v[0], &sb, &err) < 0) {
        e2b_fail_err(x, &err);
        return;
    }
    e2b_show_detail(&s, sb);
    e2b_reply(x, 200, &e2b_sandbox_detail_table, &s.detail);
    e2b_shown_done(&s);
}

void e2b_kill(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct smx_err err = { 0 };
    int r = e2b_find(ctx, x, params->v[0], &sb, &err);

    if (r == 0)
        r = sandbox_delete(sb, &err);
    if (r < 0)
        fail(x, params->v[0], &err);
    else
        dialect_no_content(x);
}

/* --- time ------------------------------------------------------------------------------------- */

/* Calls about time are for sandboxes that run: any other is "not found" to their clients. */
static int find_running(struct frontend *fe, struct http_exchange *x, const char *key,
    struct sandbox **ret, struct smx_err *err)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    enum e2b_state state = E2B_PAUSED;
    int r = e2b_find(fe, x, key, &sb, err);

    if (r < 0)
        return r;
    if (!e2b_state_of(sb, &state) || state != E2B_RUNNING)
        return e2b_not_found(key, err);
    *ret = smx_take(&sb);
    return 0;
}

static int set_exactly(struct sandbox *sb, int64_t timeout_s, struct smx_err *err)
{
    struct core_patch patch = { .has_timeout = true, .timeout_s = (uint64_t)timeout_s };

    return timeout_s == 0 ? sandbox_expire(sb, err) : sandbox_patch(sb, &patch, err);
}

void e2b_set_timeout(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct e2b_timeout req;
    struct smx_err err = { 0 };
    int r = e2b_body(x, &e2b_timeout_table, &req, /* raw= */ NULL, &err);

    if (r == 0 && req.timeout != 0)
        r = e2b_check_timeout(ctx, req.timeout, &err);
    if (r == 0)
        r = find_running(ctx, x, params->v[0], &sb, &err);
    if (r == 0)
        r = set_exactly(sb, req.timeout, &err);
    if (r == -SMX_E_STATE)
        r = e2b_not_found(params->v[0], &err);
    if (r < 0)
        fail(x, params->v[0], &err);
    else
        dialect_no_content(x);
    json_free(&e2b_timeout_table, &req);
}

void e2b_refreshes(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct e2b_refresh req;
    struct smx_err err = { 0 };
    int r = e2b_body(x, &e2b_refresh_table, &req, /* raw= */ NULL, &err);

    if (r == 0 && (req.duration < 0 || req.duration > E2B_REFRESH_MAX_S))
        r = smx_err_set(
            &err, SMX_E_INVALID, "duration: must be from 0 to %d seconds", E2B_REFRESH_MAX_S);
    if (r == 0)
        r = find_running(ctx, x, params->v[0], &sb, &err);
    if (r == 0)
        r = sandbox_extend(sb, (uint64_t)SMX_MAX(req.duration, (int64_t)E2B_TIMEOUT_V1_S), &err);
    if (r == -SMX_E_STATE)
        r = e2b_not_found(params->v[0], &err);
    if (r < 0)
        fail(x, params->v[0], &err);
    else
        dialect_no_content(x);
    json_free(&e2b_refresh_table, &req);
}

/* --- pausing and connecting ------------------------------------------------------------------- */

static bool is_paused(const struct sandbox *sb)
{
    enum e2b_state state = E2B_RUNNING;

    return !e2b_state_of(sb, &state) || state == E2B_PAUSED;
}

/* A second pause is refused, also when it waited for the first. */
static int pause_once(struct sandbox *sb, bool memory, struct smx_err *err)
{
    int r = is_paused(sb) ? -SMX_E_STATE : sandbox_pause_once(sb, memory, err);

    if (r == -SMX_E_STATE && is_paused(sb))
        return smx_err_set(
            err, SMX_E_STATE, "Error pausing sandbox - sandbox '%s' is already paused", sb->id);
    return r;
}

void e2b_pause_sandbox(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct e2b_pause req;
    struct smx_err err = { 0 };
    int r = e2b_body(x, &e2b_pause_table, &req, /* raw= */ NULL, &err);

    if (r == 0)
        r = e2b_find(ctx, x, params->v[0], &sb, &err);
    if (r == 0)
        r = pause_once(sb, !req.has_memory || req.memory, &err);
    if (r < 0)
        fail(x, params->v[0], &err);
    else
        dialect_no_content(x);
    json_free(&e2b_pause_table, &req);
}

/* 200: it ran already; 201: it was started. */
static int connect(
    struct sandbox *sb, int64_t timeout_s, bool memory, int *ret_status, struct smx_err *err)
{
    bool started = false;
    int r = sandbox_connect(sb, (uint64_t)timeout_s, !memory, &started, err);

    *ret_status = started ? 201 : 200;
    return r;
}

static void handle_connect(
    struct http_exchange *x, const struct http_params *params, struct frontend *fe, bool v2)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct e2b_connect req;
    struct smx_err err = { 0 };
    int status = 200;
    int r = e2b_body(x, &e2b_connect_table, &req, /* raw= */ NULL, &err);

    if (r == 0 && !req.has_timeout && !v2)
        r = smx_err_set(&err, SMX_E_INVALID, "timeout: is required");
    if (r == 0)
        r = e2b_check_timeout(fe, req.has_timeout ? req.timeout : E2B_TIMEOUT_V2_S, &err);
    if (r == 0)
        r = e2b_find(fe, x, params->v[0], &sb, &err);
    if (r == 0)
        r = connect(sb, req.has_timeout ? req.timeout : E2B_TIMEOUT_V2_S,
            !req.has_memory || req.memory, &status, &err);
    if (r < 0)
        fail(x, params->v[0], &err);
    else
        e2b_reply_sandbox(x, status, sb);
    json_free(&e2b_connect_table, &req);
}

void e2b_connect_v1(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    handle_connect(x, params, ctx, /* v2= */ false);
}

void e2b_connect_v2(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    handle_connect(x, params, ctx, /* v2= */ true);
}

/* What is being paused is waited for, and resumed then. */
static int resume(struct sandbox *sb, const struct e2b_resume *req, struct smx_err *err)
{
    int64_t timeout_s = req->has_timeout ? req->timeout : E2B_TIMEOUT_V1_S;
    int status;

    if (sb->state == SANDBOX_RUNNING)
        return smx_err_set(err, SMX_E_STATE, "Sandbox '%s' is already running", sb->id);
    return connect(sb, timeout_s, !req->has_memory || req->memory, &status, err);
}

void e2b_resume_sandbox(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct e2b_resume req;
    struct smx_err err = { 0 };
    int r = e2b_body(x, &e2b_resume_table, &req, /* raw= */ NULL, &err);

    if (r == 0)
        r = e2b_check_timeout(ctx, req.has_timeout ? req.timeout : E2B_TIMEOUT_V1_S, &err);
    if (r == 0)
        r = e2b_find(ctx, x, params->v[0], &sb, &err);
    if (r == 0)
        r = resume(sb, &req, &err);
    if (r < 0)
        fail(x, params->v[0], &err);
    else
        e2b_reply_sandbox(x, 201, sb);
    json_free(&e2b_resume_table, &req);
}
