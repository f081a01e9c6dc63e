/* events.c - GET /api/events: every change of state and runtime event as server-sent events. The
 * number of an event is its id, so that a client that comes back with Last-Event-ID misses nothing
 * that the journal still has. Without since or Last-Event-ID the stream begins now. */
#include "frontends/native/internal.h"

enum { EVENT_ROOM = 4 * 1024 };
static const char keepalive[] = ": keepalive\n\n";

/* A string of our own for the table, or NULL when empty. */
static char *set(char *text)
{
    return *text ? text : NULL;
}

static int write_event(struct http_exchange *x, struct core_event *ev)
{
    bool about_sandbox = *ev->sandbox_id;
    char time[SMX_RFC3339_SIZE];
    struct native_event n = { .seq = ev->seq,
        .time = time,
        .type = ev->type,
        .sandbox_id = set(ev->sandbox_id),
        .runtime = set(ev->runtime),
        .state = about_sandbox ? set(ev->to) : NULL,
        .previous_state = about_sandbox ? set(ev->from) : NULL,
        .reason = set(ev->reason),
        .detail = about_sandbox ? set(ev->name) : set(ev->to) };
    struct smx_buf out;
    int r;

    smx_rfc3339_format(time, ev->unix_ms);
    smx_buf_init(&out, EVENT_ROOM);
    smx_buf_appendf(&out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)ev->seq, ev->type);
    json_encode_to(&out, &native_event_table, &n, /* err= */ NULL);
    smx_buf_append_str(&out, "\n\n");
    r = out.failed ? -SMX_E_NO_MEMORY : http_write(x, out.data, out.len);
    smx_buf_done(&out);
    return r;
}

static int read_since(
    struct frontend *fe, struct http_exchange *x, uint64_t *ret, struct smx_err *err)
{
    struct smx_view last = http_field(x, "Last-Event-ID");
    int r;

    *ret = core_events_last(fe->core);
    r = http_query_u64(x, "since", 0, UINT64_MAX, ret, err);
    if (r < 0)
        return r;
    if (last.p && last.n > 0 && !smx_parse_u64(last, UINT64_MAX, ret))
        return smx_err_set(err, SMX_E_INVALID, "Last-Event-ID: must be a number");
    return 0;
}

static SMX_NOINLINE int next_event(struct frontend *fe, struct http_exchange *x, uint64_t *since)
{
    struct core_event ev; /* on a frame that is gone while the stream is silent */
    int r = core_events_next(fe->core, since, &ev, 0, /* err= */ NULL);

    return r == 0 ? write_event(x, &ev) : r;
}

static SMX_NOINLINE int await_event(struct frontend *fe, struct http_exchange *x, uint64_t *since)
{
    struct core_event *ev = smx_alloc(sizeof *ev);
    int r;

    if (!ev)
        return -SMX_E_NO_MEMORY;
    http_trim(x);
    r = core_events_next(fe->core, since, ev, smx_deadline_in_ms(NATIVE_TICK_MS), /* err= */ NULL);
    if (r == 0)
        r = write_event(x, ev);
    else if (r == -SMX_E_TIMEOUT)
        r = http_write(x, keepalive, sizeof keepalive - 1);
    smx_free(ev);
    return r;
}

/* Everything up to the first event; negative: it was answered or the client is gone. */
static SMX_NOINLINE int begin(struct frontend *fe, struct http_exchange *x, uint64_t *since)
{
    struct smx_err err = { 0 };
    int r = read_since(fe, x, since, &err);

    if (r < 0) {
        native_fail(x, &err);
        return r;
    }
    http_add_field(x, "Cache-Control", "no-store");
    r = http_start(x, 200, "text/event-stream", HTTP_CHUNKED);
    if (r < 0)
        return r;
    if (http_head(x)->method == H1_HEAD) {
        http_finish(x);
        return -SMX_E_CLOSED;
    }
    return http_write(x, ": sandmux\n\n", 11);
}

void native_events(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend_endless endless;
    uint64_t since;
    int r = begin(ctx, x, &since);

    if (r < 0)
        return;
    native_endless_begin(ctx, x, &endless);
    while (r == 0) {
        r = next_event(ctx, x, &since);
        if (r == -SMX_E_TIMEOUT)
            r = await_event(ctx, x, &since);
    }
    native_endless_end(x, &endless);
    http_abort(x);
}
