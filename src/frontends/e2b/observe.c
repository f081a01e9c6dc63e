/* observe.c - metrics and logs of sandboxes. Both come from what the core keeps in memory; neither
 * is a use of the sandbox. */
#include "frontends/e2b/internal.h"

#include <stdio.h>

/* --- metrics ---------------------------------------------------------------------------------- */

enum { STALE_MS = 60 * 1000 }; /* such a sample is of a runtime that is looked at when asked */

static void write_metric(
    struct json_writer *w, const struct sandbox *sb, const struct sandbox_sample *s)
{
    char time[SMX_RFC3339_SIZE];
    struct e2b_metric m = { .timestamp = time,
        .timestamp_unix = s->unix_ms / 1000,
        .cpu_count = (uint64_t)SMX_MAX(sb->resources.cpu, 1.0),
        .cpu_used_pct = (double)(int64_t)(s->cpu_pct * 100 + 0.5) / 100,
        .mem_used = s->memory_bytes,
        .mem_total = sb->resources.memory_mib << 20,
        .disk_used = s->disk_bytes,
        .disk_total = sb->resources.disk_mib << 20 };

    smx_rfc3339_format(time, s->unix_ms);
    json_encode(w, &e2b_metric_table, &m);
}

/* What is asked for most is the present: a running one is looked at now. */
static void refresh(struct sandbox *sb)
{
    struct smx_err err = { 0 };

    sandbox_sample(sb, &err);
}

struct range {
    uint64_t start_s, end_s; /* both in it */
};

static int read_range(struct http_exchange *x, struct range *ret, struct smx_err *err)
{
    const uint64_t most = UINT64_C(1) << 40;
    int r;

    *ret = (struct range){ .end_s = most };
    r = http_query_u64(x, "start", 0, most, &ret->start_s, err);
    if (r >= 0)
        r = http_query_u64(x, "end", 0, most, &ret->end_s, err);
    return r < 0 ? r : 0;
}

void e2b_metrics(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct sandbox_sample *v = http_alloc(x, SANDBOX_SAMPLES * sizeof *v);
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf out;
    struct range range;
    size_t n = 0;
    int r = read_range(x, &range, &err);

    if (r == 0 && !v)
        r = smx_err_oom(&err);
    if (r == 0)
        r = e2b_find(ctx, x, params->v[0], &sb, &err);
    if (r < 0) {
        e2b_fail_err(x, &err);
        return;
    }
    refresh(sb);
    n = sandbox_samples(
        sb, (int64_t)range.start_s * 1000, (int64_t)range.end_s * 1000 + 999, v, SANDBOX_SAMPLES);
    smx_buf_init(&out, 1024 * 1024);
    json_writer_init(&w, &out);
    json_array_begin(&w);
    for (size_t i = 0; i < n; i++)
        write_metric(&w, sb, &v[i]);
    json_array_end(&w);
    e2b_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

/* The newest sample of one of several; who is not there is left out. */
static void write_newest(
    struct frontend *fe, struct http_exchange *x, struct json_writer *w, const char *id)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct sandbox_sample v[SANDBOX_SAMPLES];
    struct smx_err err = { 0 };
    size_t n;

    if (e2b_find(fe, x, id, &sb, &err) < 0)
        return;
    n = sandbox_samples(sb, 0, INT64_MAX, v, SANDBOX_SAMPLES);
    if (n == 0 || v[n - 1].unix_ms < smx_now_unix_ms() - STALE_MS) {
        refresh(sb);
        n = sandbox_samples(sb, 0, INT64_MAX, v, SANDBOX_SAMPLES);
    }
    if (n == 0)
        return;
    json_key(w, sb->id);
    write_metric(w, sb, &v[n - 1]);
}

/* "a,b", or the parameter several times, as one list. */
static int read_ids(struct http_exchange *x, struct smx_buf *ret, struct smx_err *err)
{
    struct smx_view v;

    for (size_t nth = 0; h1_query_get(http_query(x), "sandbox_ids", nth, &v); nth++) {
        if (nth > 0)
            smx_buf_append_char(ret, ',');
        if (!h1_percent_decode(v, /* form= */ true, ret))
            return smx_err_set(err, SMX_E_INVALID, "sandbox_ids: not a valid percent-encoding");
    }
    return smx_buf_check(ret, err);
}

static int wrong_ids(struct smx_err *err)
{
    return smx_err_set(
        err, SMX_E_INVALID, "sandbox_ids: must name 1 to %d sandboxes", E2B_METRICS_IDS_MAX);
}

struct id_list {
    char *v[E2B_METRICS_IDS_MAX];
    size_t n;
};

/* Cuts text up; what is empty or there already is left out. */
static int split_ids(char *text, struct id_list *ret, struct smx_err *err)
{
    size_t given = 0;

    for (char *id = text, *next; id && *id; id = next) {
        bool known = *id == ',';

        next = id + strcspn(id, ",");
        if (*next)
            *next++ = '\0';
        for (size_t i = 0; i < ret->n && !known; i++)
            known = smx_streq(ret->v[i], id);
        if (*id && ++given > E2B_METRICS_IDS_MAX)
            return wrong_ids(err);
        if (!known)
            ret->v[ret->n++] = id;
    }
    return ret->n > 0 ? 0 : wrong_ids(err);
}

static void reply_newest(struct frontend *fe, struct http_exchange *x, const struct id_list *ids)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 1024 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "sandboxes");
    json_object_begin(&w);
    for (size_t i = 0; i < ids->n; i++)
        write_newest(fe, x, &w, ids->v[i]);
    json_object_end(&w);
    json_object_end(&w);
    e2b_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

void e2b_metrics_of_many(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct id_list ids = { .n = 0 };
    struct smx_err err = { 0 };
    struct smx_buf text;
    int r;

    smx_buf_init(&text, SMX_HTTP_HEAD_MAX);
    r = read_ids(x, &text, &err);
    if (r == 0)
        r = split_ids(text.data, &ids, &err);
    if (r < 0)
        e2b_fail_err(x, &err);
    else
        reply_newest(ctx, x, &ids);
    smx_buf_done(&text);
}

/* --- logs ------------------------------------------------------------------------------------- */

struct log_query {
    uint64_t start_ms, end_ms; /* both in it */
    uint64_t limit;
    bool backward;
    enum e2b_level level; /* at least */
    char *search;         /* NULL: all */
};

struct lines {
    struct sandbox_log_line *v;
    size_t n;
};

/* Whatever is in the ring, oldest first. */
static int collect(struct sandbox *sb, struct lines *ret, struct smx_err *err)
{
    struct smx_err end = { 0 };
    uint64_t seq = 0;

    ret->v = smx_alloc_array(SANDBOX_LOG_LINES, sizeof *ret->v);
    if (!ret->v)
        return smx_err_oom(err);
    while (ret->n < SANDBOX_LOG_LINES &&
           sandbox_log_next(sb, &seq, &ret->v[ret->n], /* deadline_ns= */ 0, &end) == 0)
        ret->n++;
    return 0;
}

/* Our log knows no levels: what it tells of is information. */
static bool wanted(const struct log_query *q, const struct sandbox_log_line *line)
{
    uint64_t ms = line->unix_ms > 0 ? (uint64_t)line->unix_ms : 0;

    return ms >= q->start_ms && ms <= q->end_ms && q->level <= E2B_INFO &&
           (!q->search || strstr(line->text, q->search));
}

/* The lines of the reply, moved to the front in its order. */
static void choose(struct lines *l, const struct log_query *q)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++)
        if (wanted(q, &l->v[i]))
            l->v[n++] = l->v[i];
    for (size_t i = 0; q->backward && i < n / 2; i++) {
        struct sandbox_log_line swap = l->v[i];

        l->v[i] = l->v[n - 1 - i];
        l->v[n - 1 - i] = swap;
    }
    l->n = SMX_MIN(n, (size_t)q->limit);
}

static void write_entry(struct json_writer *w, const struct sandbox_log_line *line)
{
    char time[SMX_RFC3339_SIZE], logger[] = "logger", us[] = "sandmux";
    struct json_pair field = { logger, us };
    struct e2b_log_entry e = { .timestamp = time,
        .message = (char *)(uintptr_t)line->text,
        .level = E2B_INFO,
        .fields = { &field, 1, true } };

    smx_rfc3339_format(time, line->unix_ms);
    json_encode(w, &e2b_log_entry_table, &e);
}

/* Command lines parse the line as JSON. */
static void write_line(struct json_writer *w, const struct sandbox_log_line *line)
{
    char time[SMX_RFC3339_SIZE];
    struct json_writer inner;
    struct smx_buf text;

    smx_buf_init(&text, 8 * SANDBOX_LOG_LINE_MAX);
    json_writer_init(&inner, &text);
    smx_rfc3339_format(time, line->unix_ms);
    json_object_begin(&inner);
    json_kv_string(&inner, "timestamp", time);
    json_kv_string(&inner, "level", "info");
    json_kv_string(&inner, "logger", "sandmux");
    json_kv_string(&inner, "message", line->text);
    json_object_end(&inner);
    json_object_begin(w);
    json_kv_string(w, "timestamp", time);
    json_kv_string(w, "line", text.data ? text.data : "{}");
    json_object_end(w);
    smx_buf_done(&text);
}

static void reply_logs(struct http_exchange *x, const struct lines *l, bool v2)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 4 * 1024 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "logs");
    json_array_begin(&w);
    for (size_t i = 0; i < l->n; i++) {
        if (v2)
            write_entry(&w, &l->v[i]);
        else
            write_line(&w, &l->v[i]);
    }
    json_array_end(&w);
    if (!v2) {
        json_key(&w, "logEntries");
        json_array_begin(&w);
        for (size_t i = 0; i < l->n; i++)
            write_entry(&w, &l->v[i]);
        json_array_end(&w);
    }
    json_object_end(&w);
    e2b_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

static int read_v1(struct http_exchange *x, struct log_query *q, struct smx_err *err)
{
    int r = http_query_u64(x, "start", 0, INT64_MAX, &q->start_ms, err);

    if (r >= 0)
        r = http_query_u64(x, "limit", 0, E2B_LOGS_MAX, &q->limit, err);
    return r < 0 ? r : 0;
}

static int read_level(struct http_exchange *x, struct log_query *q, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *level = NULL;
    int r = http_query_string(x, "level", &level, err);

    for (int i = 0; level && e2b_level_names[i]; i++) {
        if (smx_streq(level, e2b_level_names[i])) {
            q->level = (enum e2b_level)i;
            return 0;
        }
    }
    return r < 0 || !level ? r
                           : smx_err_set(err, SMX_E_INVALID,
                                 "level: must be 'debug', 'info', 'warn' or 'error'");
}

/* Forward: from the cursor on, oldest first. Backward: up to it, newest first. */
static int read_v2(struct http_exchange *x, struct log_query *q, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *direction = NULL;
    uint64_t cursor = 0;
    int has_cursor = http_query_u64(x, "cursor", 0, INT64_MAX, &cursor, err), r = has_cursor;

    if (r >= 0)
        r = http_query_u64(x, "limit", 0, E2B_LOGS_MAX, &q->limit, err);
    if (r >= 0)
        r = http_query_string(x, "direction", &direction, err);
    if (r >= 0)
        r = http_query_string(x, "search", &q->search, err);
    if (r >= 0)
        r = read_level(x, q, err);
    if (r < 0)
        return r;
    q->backward = direction && smx_streq(direction, "backward");
    if (direction && !q->backward && !smx_streq(direction, "forward"))
        return smx_err_set(err, SMX_E_INVALID, "direction: must be 'forward' or 'backward'");
    if (has_cursor && q->backward)
        q->end_ms = cursor;
    else if (has_cursor)
        q->start_ms = cursor;
    return 0;
}

static void handle_logs(
    struct http_exchange *x, const struct http_params *params, struct frontend *fe, bool v2)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL;
    struct log_query q = { .end_ms = INT64_MAX, .limit = E2B_LOGS_MAX };
    struct lines lines = { 0 };
    struct smx_err err = { 0 };
    int r = v2 ? read_v2(x, &q, &err) : read_v1(x, &q, &err);

    if (r == 0)
        r = e2b_find(fe, x, params->v[0], &sb, &err);
    if (r == 0)
        r = collect(sb, &lines, &err);
    if (r == 0) {
        choose(&lines, &q);
        reply_logs(x, &lines, v2);
    } else {
        e2b_fail_err(x, &err);
    }
    smx_free(lines.v);
    smx_free(q.search);
}

void e2b_logs_v1(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    handle_logs(x, params, ctx, /* v2= */ false);
}

void e2b_logs_v2_of(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    handle_logs(x, params, ctx, /* v2= */ true);
}
