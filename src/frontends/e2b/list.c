/* list.c - GET /sandboxes and GET /v2/sandboxes. A page is found by one walk over all sandboxes
 * that keeps the best limit + 1: what is deleted between two pages moves nothing. */
#include "frontends/e2b/internal.h"

#include <stdio.h>

struct query {
    struct e2b_metadata_filter metadata;
    bool states[2];                          /* by enum e2b_state */
    char template[SMX_TEMPLATE_LEN_MAX + 1]; /* empty: any */
    bool asc;
    int64_t after_ns; /* startedAfter; INT64_MIN: none */
    bool paged;
    int64_t token_ns;
    char token_id[SMX_ID_LEN + 1];
    size_t limit;
};

struct page {
    const struct query *q;
    struct sandbox *v[E2B_LIST_MAX + 1]; /* references, in the order of the reply */
    size_t n;
    size_t running; /* of all that match */
};

/* Whether a comes before b in the reply. */
static bool before(
    const struct query *q, int64_t a_ns, const char *a_id, int64_t b_ns, const char *b_id)
{
    if (a_ns != b_ns)
        return (a_ns < b_ns) == q->asc;
    return strcmp(a_id, b_id) < 0;
}

static bool matches(const struct query *q, const struct sandbox *sb)
{
    if (*q->template && !smx_streq(q->template, sb->template))
        return false;
    return sb->created_unix_ns > q->after_ns && e2b_filter_matches(&q->metadata, sb);
}

static void insert(struct page *p, struct sandbox *sb)
{
    const struct query *q = p->q;
    size_t at = p->n;

    while (at > 0 &&
           before(q, sb->created_unix_ns, sb->id, p->v[at - 1]->created_unix_ns, p->v[at - 1]->id))
        at--;
    if (at > q->limit)
        return;
    if (p->n > q->limit)
        sandbox_unref(p->v[--p->n]);
    memmove(&p->v[at + 1], &p->v[at], (p->n - at) * sizeof(struct sandbox *));
    p->v[at] = sandbox_ref(sb);
    p->n++;
}

static bool look(struct sandbox *sb, void *arg)
{
    struct page *p = arg;
    const struct query *q = p->q;
    enum e2b_state state;

    if (!e2b_state_of(sb, &state) || !matches(q, sb))
        return true;
    p->running += state == E2B_RUNNING;
    if (!q->states[state])
        return true;
    if (q->paged && !before(q, q->token_ns, q->token_id, sb->created_unix_ns, sb->id))
        return true;
    insert(p, sb);
    return true;
}

static void page_done(struct page *p)
{
    for (size_t i = 0; i < p->n; i++)
        sandbox_unref(p->v[i]);
}

/* --- reply ------------------------------------------------------------------------------------ */

static void write_one(struct json_writer *w, const struct sandbox *sb)
{
    struct e2b_shown s;

    e2b_show_listed(&s, sb);
    json_encode(w, &e2b_listed_sandbox_table, &s.listed);
    e2b_shown_done(&s);
}

static void reply_page(struct http_exchange *x, const struct page *p)
{
    size_t n = SMX_MIN(p->n, p->q->limit);
    char token[E2B_TOKEN_SIZE], total[24];
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 16 * 1024 * 1024);
    json_writer_init(&w, &out);
    json_array_begin(&w);
    for (size_t i = 0; i < n; i++)
        write_one(&w, p->v[i]);
    json_array_end(&w);
    if (p->n > n && n > 0) {
        e2b_token_write(token, p->v[n - 1]->created_unix_ns, p->v[n - 1]->id, p->q->asc);
        http_add_field(x, "X-Next-Token", token);
    }
    snprintf(total, sizeof total, "%zu", p->running);
    http_add_field(x, "X-Total-Running", total);
    e2b_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

/* --- query ------------------------------------------------------------------------------------ */

static int read_metadata(struct http_exchange *x, struct query *q, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *text = NULL;
    int r = http_query_string(x, "metadata", &text, err);

    return r < 0 || !text ? r : e2b_filter_parse(text, &q->metadata, err);
}

static int add_state(struct query *q, struct smx_view name, struct smx_err *err)
{
    for (unsigned i = 0; e2b_state_names[i]; i++) {
        if (smx_view_eq(name, e2b_state_names[i])) {
            q->states[i] = true;
            return 0;
        }
    }
    return smx_err_set(err, SMX_E_INVALID, "state: must be 'running', 'paused' or both");
}

/* "running,paused", or the parameter twice. */
static int read_states(struct http_exchange *x, struct query *q, struct smx_err *err)
{
    struct smx_view v;
    int r = 0;

    for (size_t nth = 0; r == 0 && h1_query_get(http_query(x), "state", nth, &v); nth++) {
        struct smx_buf b;
        const char *p;

        smx_buf_init(&b, 256);
        if (!h1_percent_decode(v, /* form= */ true, &b))
            r = smx_err_set(err, SMX_E_INVALID, "state: not a valid percent-encoding");
        for (p = r == 0 && b.data ? b.data : ""; r == 0 && *p; p += *p == ',') {
            size_t n = strcspn(p, ",");

            r = add_state(q, (struct smx_view){ p, n }, err);
            p += n;
        }
        smx_buf_done(&b);
    }
    if (!q->states[E2B_RUNNING] && !q->states[E2B_PAUSED])
        q->states[E2B_RUNNING] = q->states[E2B_PAUSED] = true;
    return r;
}

static int read_order(struct http_exchange *x, struct query *q, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *order = NULL;
    SMX_CLEANUP(smx_freep) char *after = NULL;
    int r = http_query_string(x, "order", &order, err);

    if (r == 0)
        r = http_query_string(x, "startedAfter", &after, err);
    if (r < 0)
        return r;
    if (order && !smx_streq(order, "asc") && !smx_streq(order, "desc"))
        return smx_err_set(err, SMX_E_INVALID, "order: must be 'asc' or 'desc'");
    q->asc = order && smx_streq(order, "asc");
    q->after_ns = INT64_MIN;
    for (char *p = after; p && *p; p++)
        *p = *p == ' ' ? '+' : *p; /* of an offset that was not encoded */
    if (after && !smx_rfc3339_parse_ns(after, &q->after_ns))
        return smx_err_set(err, SMX_E_INVALID, "startedAfter: must be a time as in RFC 3339");
    return 0;
}

static int read_page(struct http_exchange *x, struct query *q, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *token = NULL;
    SMX_CLEANUP(smx_freep) char *template = NULL;
    uint64_t limit = E2B_LIST_MAX;
    bool asc;
    int r = http_query_u64(x, "limit", 1, E2B_LIST_MAX, &limit, err);

    if (r >= 0)
        r = http_query_string(x, "nextToken", &token, err);
    if (r == 0)
        r = http_query_string(x, "template", &template, err);
    if (r < 0)
        return r;
    q->limit = (size_t)limit;
    q->paged = token && *token;
    if (q->paged && (!e2b_token_read(token, &q->token_ns, q->token_id, &asc) || asc != q->asc))
        return smx_err_set(err, SMX_E_INVALID, "Invalid next token");
    return template && *template ? e2b_template_name(template, q->template, err) : 0;
}

void e2b_list_v2(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct query q = { 0 };
    struct page p = { .q = &q };
    struct smx_err err = { 0 };
    int r = read_metadata(x, &q, &err);

    if (r == 0)
        r = read_states(x, &q, &err);
    if (r == 0)
        r = read_order(x, &q, &err);
    if (r == 0)
        r = read_page(x, &q, &err);
    if (r == 0) {
        core_each(fe->core, look, &p);
        reply_page(x, &p);
        page_done(&p);
    } else {
        e2b_fail_err(x, &err);
    }
    e2b_filter_done(&q.metadata);
}

/* --- version 1: running ones, all at once, newest first ----------------------------------------
 */

struct all {
    const struct query *q;
    struct sandbox **v;
    size_t n, room;
    bool failed;
};

static bool keep(struct sandbox *sb, void *arg)
{
    struct all *a = arg;
    enum e2b_state state;

    if (!e2b_state_of(sb, &state) || state != E2B_RUNNING || !matches(a->q, sb))
        return true;
    if (a->n == a->room) {
        size_t room = a->room ? 2 * a->room : 64;
        struct sandbox **v = smx_realloc(a->v, room * sizeof(struct sandbox *));

        a->failed = !v;
        if (!v)
            return false;
        a->v = v;
        a->room = room;
    }
    a->v[a->n++] = sandbox_ref(sb);
    return true;
}

static void reply_all(struct http_exchange *x, const struct all *a)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 64 * 1024 * 1024);
    json_writer_init(&w, &out);
    json_array_begin(&w);
    for (size_t i = a->n; i-- > 0;)
        write_one(&w, a->v[i]);
    json_array_end(&w);
    e2b_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

void e2b_list_v1(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct query q = { .after_ns = INT64_MIN };
    struct all a = { .q = &q };
    struct smx_err err = { 0 };
    int r = read_metadata(x, &q, &err);

    if (r == 0)
        core_each(fe->core, keep, &a);
    if (r == 0 && a.failed)
        r = smx_err_oom(&err);
    if (r < 0)
        e2b_fail_err(x, &err);
    else
        reply_all(x, &a);
    for (size_t i = 0; i < a.n; i++)
        sandbox_unref(a.v[i]);
    smx_free(a.v);
    e2b_filter_done(&q.metadata);
}
