/* sandbox_more.c - what else a sandbox has: previews of ports, its log, its use of resources. */
#include "client/internal.h"

#include "sandmux/sandbox.h"

#define ROOT "/api/sandboxes"

/* --- preview ------------------------------------------------------------------------------------
 */

struct preview_box {
    struct smx_preview pub;
    struct native_preview wire;
};

int smx_sandbox_preview(struct smx_client *c, const char *id, unsigned port,
    struct smx_preview **ret_preview, struct smx_err *err)
{
    struct preview_box *b = smx_alloc(sizeof *b);
    struct call call = { .method = "GET" };
    struct smx_buf path;
    int r;

    if (!b)
        return smx_err_oom(err);
    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, ROOT, id, "/preview", err);
    if (r == 0) {
        call_query_u64(&path, "port", port);
        call.path = path.data;
        r = call_json(c, &call, &native_preview_table, &b->wire, /* ret_json= */ NULL, err);
    }
    smx_buf_done(&path);
    if (r < 0) {
        smx_free(b);
        return r;
    }
    b->pub = (struct smx_preview){ b->wire.url, b->wire.token };
    *ret_preview = &b->pub;
    return 0;
}

void smx_preview_free(struct smx_preview *preview)
{
    struct preview_box *b = SMX_CONTAINER_OF(preview, struct preview_box, pub);

    if (!preview)
        return;
    json_free(&native_preview_table, &b->wire);
    smx_free(b);
}

/* --- log ----------------------------------------------------------------------------------------
 */

struct log_sink {
    smx_log_fn *fn;
    void *arg;
};

static int log_line(char *line, size_t n, void *arg, struct smx_err *err)
{
    const struct log_sink *sink = arg;
    struct native_log_line wire;
    int r = json_decode(&native_log_line_table, line, n, &wire, err);

    if (r < 0)
        return smx_err_wrap(err, r, "log of the sandbox");
    r = sink->fn(&(struct smx_log_line){ wire.time, wire.source, wire.message, line }, sink->arg);
    json_free(&native_log_line_table, &wire);
    return r;
}

int smx_sandbox_logs(struct smx_client *c, const char *id, uint64_t tail, int follow,
    smx_log_fn *fn, void *arg, struct smx_err *err)
{
    struct log_sink sink = { fn, arg };
    struct call call = { .method = "GET", .accept = NATIVE_NDJSON };
    struct conn *conn = NULL;
    struct smx_buf path;
    int r;

    call.timeout_ms = follow ? UINT64_MAX : 0;
    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, ROOT, id, "/logs", err);
    if (r == 0) {
        if (tail)
            call_query_u64(&path, "tail", tail);
        call_query(&path, "follow", follow ? "1" : NULL);
        call.path = path.data;
        r = call_open(c, &call, &conn, err);
    }
    if (r == 0)
        r = call_lines(conn, log_line, &sink, err);
    client_give(c, conn);
    smx_buf_done(&path);
    return r;
}

/* --- use of resources ---------------------------------------------------------------------------
 */

int smx_sandbox_stats(
    struct smx_client *c, const char *id, struct smx_sandbox_stats *ret_stats, struct smx_err *err)
{
    struct call call = { .method = "GET" };
    struct native_stats s;
    struct smx_buf path;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, ROOT, id, "/stats", err);
    if (r == 0) {
        call.path = path.data;
        r = call_json(c, &call, &native_stats_table, &s, /* ret_json= */ NULL, err);
    }
    smx_buf_done(&path);
    if (r < 0)
        return r;
    *ret_stats = (struct smx_sandbox_stats){ .cpu_ms = s.cpu_ms,
        .brief = !s.has_cpu,
        .memory_bytes = s.memory_bytes,
        .memory_limit_bytes = s.memory_limit_bytes,
        .disk_bytes = s.disk_bytes,
        .disk_limit_bytes = s.disk_limit_bytes,
        .pids = s.pids,
        .pids_limit = s.pids_limit,
        .net_rx_bytes = s.net_rx_bytes,
        .net_tx_bytes = s.net_tx_bytes };
    json_free(&native_stats_table, &s);
    return 0;
}
