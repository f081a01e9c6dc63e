/* request.c - what handlers read from a request: the sandbox of the path, paths of the query. */
#include "frontends/native/internal.h"

enum { COMPONENT_MAX = 255 };

int native_find(struct frontend *fe, struct http_exchange *x, const struct http_params *params,
    struct sandbox **ret, struct smx_err *err)
{
    struct frontend_request *req = frontend_request(x);
    int r = core_find(fe->core, params->v[0], ret, err);

    if (r == 0 && req)
        smx_strcpy(req->sandbox, sizeof req->sandbox, (*ret)->id);
    return r;
}

int native_use_begin(struct frontend *fe, struct http_exchange *x, const struct http_params *params,
    struct native_use *ret, struct smx_err *err)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    int r = native_find(fe, x, params, &sb, err);

    if (r == 0)
        r = sandbox_use_begin(sb, &ret->box, err);
    if (r == 0)
        ret->sb = smx_take(&sb);
    return r;
}

void native_use_end(struct native_use *use)
{
    if (!use->sb)
        return;
    sandbox_use_end(use->sb);
    sandbox_unref(smx_take(&use->sb));
    use->box = NULL;
}

int native_check_path(const char *name, const char *path, struct smx_err *err)
{
    if (!*path)
        return smx_err_set(err, SMX_E_INVALID, "%s: must name a path", name);
    if (strlen(path) >= SMX_PATH_MAX)
        return smx_err_set(err, SMX_E_INVALID, "%s: longer than %d bytes", name, SMX_PATH_MAX - 1);
    while (*path) {
        size_t n = strcspn(path, "/");

        if (n > COMPONENT_MAX)
            return smx_err_set(err, SMX_E_INVALID, "%s: a name in it is longer than %d bytes", name,
                COMPONENT_MAX);
        path += n + (path[n] == '/');
    }
    return 0;
}

int native_query_path(struct http_exchange *x, char **ret, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *path = NULL;
    int r = http_query_string(x, "path", &path, err);

    if (r < 0)
        return r;
    r = native_check_path("path", path ? path : "", err);
    if (r < 0)
        return r;
    *ret = smx_take(&path);
    return 0;
}

uint64_t native_deadline(void)
{
    return smx_deadline_in_ms(NATIVE_CALL_TIMEOUT_MS);
}

static void cancel_fiber(void *fiber)
{
    io_fiber_cancel(fiber);
}

void native_watch_client(struct http_exchange *x)
{
    io_fd_on_hup(http_fd(x), cancel_fiber, io_fiber_self());
}

void native_unwatch_client(struct http_exchange *x)
{
    io_fd_on_hup(http_fd(x), /* fn= */ NULL, /* arg= */ NULL);
}

void native_endless_begin(struct frontend *fe, struct http_exchange *x, struct frontend_endless *e)
{
    frontend_endless_begin(fe, e);
    native_watch_client(x);
}

void native_endless_end(struct http_exchange *x, struct frontend_endless *e)
{
    native_unwatch_client(x);
    frontend_endless_end(e);
}
