/* archive.c - tar streams out of and into a sandbox. */
#include "client/internal.h"

#include "sandmux/archive.h"

#define ROOT "/api/sandboxes"

/* tar may read long before it writes, and unpack long after the last byte. */
enum { ARCHIVE_IDLE_MS = 600000 };

int smx_archive_save(struct smx_client *c, const char *sandbox, const char *path,
    smx_file_sink_fn *sink, void *arg, struct smx_err *err)
{
    struct call call = {
        .method = "GET", .accept = "*/*", .timeout_ms = UINT64_MAX, .idle_ms = ARCHIVE_IDLE_MS
    };
    struct conn *conn = NULL;
    struct smx_buf b;
    int r;

    smx_buf_init(&b, SMX_HTTP_HEAD_MAX);
    r = call_path(&b, ROOT, sandbox, "/archive", err);
    call_query(&b, "path", path);
    call.path = b.data;
    if (r == 0)
        r = call_open(c, &call, &conn, err);
    if (r == 0)
        r = call_drain(conn, sink, arg, err);
    client_give(c, conn);
    smx_buf_done(&b);
    return r;
}

int smx_archive_load(struct smx_client *c, const char *sandbox, uint64_t bytes,
    smx_file_source_fn *source, void *arg, struct smx_err *err)
{
    struct call call = { .method = "PUT",
        .content_type = "application/x-tar",
        .source = source,
        .source_arg = arg,
        .source_bytes = bytes,
        .timeout_ms = UINT64_MAX,
        .idle_ms = ARCHIVE_IDLE_MS };
    struct smx_buf b;
    int r;

    smx_buf_init(&b, SMX_HTTP_HEAD_MAX);
    r = call_path(&b, ROOT, sandbox, "/archive", err);
    call.path = b.data;
    if (r == 0)
        r = call_json(c, &call, /* table= */ NULL, /* ret= */ NULL, /* ret_json= */ NULL, err);
    smx_buf_done(&b);
    return r;
}
