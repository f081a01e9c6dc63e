/* archive.c - a sandbox's files as a stream of tar: GET saves, PUT unpacks. What goes wrong behind
 * the first byte of a GET breaks the reply off: a client never takes a part for the whole. */
#include "compose/archive.h"
#include "frontends/native/content.h"

static int send(void *arg, const void *data, size_t n)
{
    struct http_exchange *x = arg;

    if (http_started(x))
        return http_write(x, data, n);
    return http_start_with(x, 200, "application/x-tar", HTTP_CHUNKED, data, n);
}

/* NULL: the usual ones. A path is absolute, since an archive has no directory to start at. */
static int query_path(struct http_exchange *x, char **ret, struct smx_err *err)
{
    int r = http_query_string(x, "path", ret, err);

    if (r < 0 || !*ret)
        return r;
    if (**ret != '/')
        return smx_err_set(err, SMX_E_INVALID, "path: must be absolute");
    return native_check_path("path", *ret, err);
}

void native_archive_get(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    SMX_CLEANUP(smx_freep) char *path = NULL;
    struct smx_err err = { 0 };
    int r = query_path(x, &path, &err);

    if (r == 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r == 0) {
        const char *const one[] = { path, NULL };

        native_watch_client(x);
        r = archive_save(
            use.box, path ? one : archive_paths, send, x, /* ret_changed= */ NULL, &err);
        native_unwatch_client(x);
    }
    if (r == 0 && !http_started(x)) /* whoever is called tar in there */
        r = smx_err_set(&err, SMX_E_IO, "tar in the sandbox wrote no archive");
    if (r == 0)
        http_finish(x);
    else
        native_fail(x, &err);
}

static ssize_t take(void *arg, void *data, size_t n, struct smx_err *err)
{
    return http_body_read(arg, data, n, smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS), err);
}

void native_archive_put(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    struct smx_err err = { 0 };
    uint64_t bytes = 0;
    int r = native_use_begin(ctx, x, params, &use, &err);

    if (r == 0)
        r = archive_load(use.box, take, x, &bytes, &err);
    if (r < 0)
        native_fail(x, &err);
    else
        native_reply_size(x, 200, bytes);
}
