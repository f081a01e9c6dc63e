/* observe.c - looking at a sandbox: preview URL, log, statistics. Streams end when the sandbox is
 * deleted or the client goes away. */
#include "frontends/native/internal.h"

#include <stdio.h>

enum { STATS_EVERY_MS = 1000, LINE_ROOM = 8 * 1024 };

/* --- preview ---------------------------------------------------------------------------------- */

/* HTTPS for who came by HTTPS, and where there is nothing else. */
static int make_url(struct frontend *fe, const struct sandbox *sb, unsigned port, bool secure,
    char *out, size_t size, struct smx_err *err)
{
    const char *domain = fe->domains[1] ? fe->domains[1] : fe->domains[0];
    const char *scheme = "http";
    unsigned own, usual = 80;
    int n;

    if (fe->tls_port && (secure || !fe->port)) {
        scheme = "https";
        usual = 443;
        own = fe->tls_port;
    } else {
        int r = fe->port ? 0 : fe->open_port(fe, err);

        if (r < 0)
            return r;
        own = fe->port;
    }
    n = snprintf(out, size, "%s://%u-%s.%s", scheme, port, sb->id, domain);
    if (own != usual && n > 0 && (size_t)n < size)
        snprintf(out + n, size - (size_t)n, ":%u", own);
    return 0;
}

void native_preview(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    char url[FRONTEND_HOST_MAX + 64], token[SANDBOX_TOKEN_SIZE];
    struct native_preview preview = { url, token };
    struct smx_err err = { 0 };
    uint64_t port = 0;
    int r = http_query_u64(x, "port", 1, 65535, &port, &err);

    if (r == 0)
        r = smx_err_set(&err, SMX_E_INVALID, "port: the query must name a port from 1 to 65535");
    if (r > 0)
        r = native_find(ctx, x, params, &sb, &err);
    if (r == 0)
        r = make_url(ctx, sb, (unsigned)port, http_peer(x)->secure, url, sizeof url, &err);
    if (r < 0) {
        native_fail(x, &err);
        return;
    }
    sandbox_token(sb, token);
    native_reply(x, 200, &native_preview_table, &preview);
}

/* --- log -------------------------------------------------------------------------------------- */

static SMX_NOINLINE int write_log_line(struct http_exchange *x, const struct sandbox_log_line *line)
{
    bool process = smx_starts(line->text, "process ");
    char time[SMX_RFC3339_SIZE], source[16], text[SANDBOX_LOG_LINE_MAX];
    struct native_log_line n = { .time = time, .source = source, .message = text };
    struct smx_buf out;
    int r;

    smx_rfc3339_format(time, line->unix_ms);
    smx_strcpy(source, sizeof source, process ? "process" : "lifecycle");
    smx_strcpy(text, sizeof text, line->text);
    smx_buf_init(&out, LINE_ROOM);
    json_encode_to(&out, &native_log_line_table, &n, /* err= */ NULL);
    smx_buf_append_char(&out, '\n');
    r = http_write(x, out.data, out.len);
    smx_buf_done(&out);
    return r;
}

/* The number of the first line to show so that `tail` are left; lines are few and in memory. */
static uint64_t skip_to_tail(struct sandbox *sb, uint64_t tail)
{
    struct sandbox_log_line *line = smx_alloc(sizeof *line);
    uint64_t seq = 0, last = 0;

    while (line && sandbox_log_next(sb, &seq, line, 0, NULL) == 0)
        last = seq;
    smx_free(line);
    return last > tail ? last - tail : 0;
}

static int send_log(struct http_exchange *x, struct sandbox *sb, uint64_t seq, bool follow)
{
    struct sandbox_log_line *line = smx_alloc(sizeof *line);
    int r = line ? http_start(x, 200, NATIVE_NDJSON, HTTP_CHUNKED) : -SMX_E_NO_MEMORY;

    while (r == 0) {
        r = sandbox_log_next(sb, &seq, line, 0, NULL);
        if (r == -SMX_E_TIMEOUT && follow) {
            http_trim(x);
            r = sandbox_log_next(sb, &seq, line, SMX_FOREVER, NULL);
        }
        if (r == 0)
            r = write_log_line(x, line);
    }
    smx_free(line);
    return r;
}

struct log_query {
    struct sandbox *sb; /* a reference */
    uint64_t seq;
    bool follow;
};

static SMX_NOINLINE int read_log_query(struct http_exchange *x, const struct http_params *params,
    struct frontend *fe, struct log_query *q)
{
    struct smx_err err = { 0 };
    uint64_t tail = UINT64_MAX;
    int r = http_query_bool(x, "follow", &q->follow, &err);

    if (r >= 0)
        r = http_query_u64(x, "tail", 0, SANDBOX_LOG_LINES, &tail, &err);
    if (r >= 0)
        r = native_find(fe, x, params, &q->sb, &err);
    q->follow &= http_head(x)->method != H1_HEAD;
    if (r < 0)
        native_fail(x, &err);
    else if (tail != UINT64_MAX)
        q->seq = skip_to_tail(q->sb, tail);
    return r;
}

void native_logs(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend_endless endless;
    struct log_query q = { 0 };
    int r = read_log_query(x, params, ctx, &q);

    if (r < 0)
        return;
    native_endless_begin(ctx, x, &endless);
    r = send_log(x, q.sb, q.seq, q.follow);
    native_endless_end(x, &endless);
    if (r == -SMX_E_TIMEOUT || r == -SMX_E_SANDBOX_NOT_FOUND)
        http_finish(x);
    else
        http_abort(x);
    sandbox_unref(q.sb);
}

/* --- statistics ------------------------------------------------------------------------------- */

static int encode_stats(const struct provider_stats *s, struct smx_buf *out, struct smx_err *err)
{
    char time[SMX_RFC3339_SIZE];
    struct native_stats n = { .time = time,
        .cpu_ms = s->cpu_ns / SMX_NS_PER_MS,
        .has_cpu = !s->brief,
        .has_pids = !s->brief,
        .has_net = !s->brief,
        .memory_bytes = s->memory_bytes,
        .memory_limit_bytes = s->memory_limit_bytes,
        .disk_bytes = s->disk_bytes,
        .disk_limit_bytes = s->disk_limit_bytes,
        .pids = s->pids,
        .pids_limit = s->pids_limit,
        .net_rx_bytes = s->net_rx_bytes,
        .net_tx_bytes = s->net_tx_bytes };

    smx_rfc3339_format(time, smx_now_unix_ms());
    return json_encode_to(out, &native_stats_table, &n, err);
}

static int send_stats(struct http_exchange *x, struct sandbox *sb, struct smx_buf *out)
{
    struct provider_stats stats;
    int r = http_start(x, 200, NATIVE_NDJSON, HTTP_CHUNKED);

    while (r == 0) {
        smx_buf_append_char(out, '\n');
        r = http_write(x, out->data, out->len);
        if (r == 0)
            r = io_sleep_until(smx_deadline_in_ms(STATS_EVERY_MS));
        if (r == 0)
            r = sandbox_stats(sb, &stats, /* err= */ NULL);
        smx_buf_reset(out);
        if (r == 0)
            r = encode_stats(&stats, out, /* err= */ NULL);
    }
    return r;
}

static void stream_stats(
    struct frontend *fe, struct http_exchange *x, struct sandbox *sb, struct smx_buf *out)
{
    struct frontend_endless endless;
    int r;

    native_endless_begin(fe, x, &endless);
    r = send_stats(x, sb, out);
    native_endless_end(x, &endless);
    if (r == -SMX_E_SANDBOX_NOT_FOUND || r == -SMX_E_STATE)
        http_finish(x);
    else
        http_abort(x);
}

void native_stats(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct provider_stats stats;
    struct smx_err err = { 0 };
    struct smx_buf out;
    bool follow = false;
    int r = http_query_bool(x, "follow", &follow, &err);

    smx_buf_init(&out, LINE_ROOM);
    if (r >= 0)
        r = native_find(ctx, x, params, &sb, &err);
    if (r == 0)
        r = sandbox_stats(sb, &stats, &err);
    if (r == 0)
        r = encode_stats(&stats, &out, &err);
    if (r < 0)
        native_fail(x, &err);
    else if (follow && http_head(x)->method != H1_HEAD)
        stream_stats(ctx, x, sb, &out);
    else
        http_reply(x, 200, NATIVE_JSON, out.data, out.len);
    smx_buf_done(&out);
}
