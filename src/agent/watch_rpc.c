/* watch_rpc.c - the watches of filesystem.Filesystem. A polled watcher has a fiber of its own that
 * keeps its directories watched and its events as text until they are fetched; it lives until it is
 * removed. Names, entries and types are written by one function for both kinds. */
#include "agent/watch_rpc.h"

#include <string.h>

#include "agent/entry.h"
#include "agent/fs_rpc.h"
#include "agent/stream_clock.h"
#include "agent/watch.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"

enum { EVENTS_BYTES_MAX = 4 * 1024 * 1024, FLUSH_BYTES = 64 * 1024 };

struct watcher {
    struct smx_list node;
    struct agent *agent;
    struct watch watch;
    struct io_fiber *fiber;
    char id[SMX_ID_LEN + 1];
    bool include_entry, lost, removed;
    struct smx_buf events; /* an array, not closed yet; empty for none */
    size_t n;
};

/* {"name": ..., "type": ..., "entry": ...} */
static void write_event(struct json_writer *w, struct agent *a, const struct watch *watch,
    enum envd_fs_event_type type, const char *name, bool include_entry)
{
    SMX_CLEANUP(smx_freep) char *path = NULL;
    struct smx_buf *out = w->out;
    size_t before;

    json_object_begin(w);
    json_kv_string(w, "name", name);
    json_kv_string(w, "type", envd_fs_event_names[type]);
    if (include_entry && type != ENVD_EVENT_REMOVE && type != ENVD_EVENT_RENAME) {
        struct json_writer saved = *w;

        path = smx_streq(name, ".")
                   ? smx_strdup(watch->root)
                   : smx_asprintf("%s%s%s", watch->root, watch->root[1] ? "/" : "", name);
        before = out->len;
        json_key(w, "entry");
        if (!path || entry_write_path(w, &a->users, path) < 0) {
            out->len = before; /* it is gone again */
            *w = saved;
        }
    }
    json_object_end(w);
}

/* --- the stream -------------------------------------------------------------------------- */

struct watch_stream {
    struct call *call;
    struct watch watch;
    bool include_entry;
    int result; /* of what stream_event sent */
    struct smx_buf out;
};

static int send_text(struct watch_stream *s, const char *text)
{
    size_t start = rpc_begin(&s->out, 0);

    smx_buf_append_str(&s->out, text);
    rpc_end(&s->out, start);
    return 0;
}

/* Sends what was collected. */
static int flush(struct watch_stream *s)
{
    int r = 0;

    if (s->out.failed)
        return smx_err_oom(&s->call->err);
    if (s->out.len > 0)
        r = call_stream_write(s->call, s->out.data, s->out.len);
    smx_buf_done(&s->out);
    return r;
}

/* [parks] a tree that was moved in is many events: they go out in pieces. */
static void stream_event(void *ctx, enum envd_fs_event_type type, const char *name)
{
    struct watch_stream *s = ctx;
    struct json_writer w;
    size_t start;

    if (s->result < 0)
        return;
    start = rpc_begin(&s->out, 0);
    json_writer_init(&w, &s->out);
    json_object_begin(&w);
    json_key(&w, "filesystem");
    write_event(&w, s->call->agent, &s->watch, type, name, s->include_entry);
    json_object_end(&w);
    rpc_end(&s->out, start);
    if (s->out.len < FLUSH_BYTES && !s->out.failed)
        return;
    s->result = flush(s);
    io_fair(FLUSH_BYTES);
}

static void stream_end(struct watch_stream *s, int r)
{
    if (r == -SMX_E_TIMEOUT)
        call_stream_end(s->call, RPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    else if (r == -SMX_E_QUOTA || r == -SMX_E_NO_MEMORY)
        call_stream_end(s->call, RPC_RESOURCE_EXHAUSTED, s->call->err.msg);
    else
        http_abort(s->call->x);
}

static void stream_run(struct watch_stream *s, struct stream_clock *clock)
{
    int r;

    send_text(s, "{\"start\":{}}");
    r = call_stream_begin(s->call, &s->out);
    smx_buf_done(&s->out);
    while (r == 0) {
        bool sent = s->out.len > 0;

        r = flush(s);
        if (sent)
            stream_clock_sent(clock);
        if (r == 0)
            r = watch_next(&s->watch, http_fd(s->call->x), stream_clock_next(clock), stream_event,
                s, &s->call->err);
        if (s->result < 0)
            r = s->result;
        if (r != -SMX_E_TIMEOUT)
            continue;
        switch (stream_clock_due(clock)) {
        case STREAM_DEADLINE:
            break;
        case STREAM_KEEPALIVE:
            r = send_text(s, "{\"keepalive\":{}}");
            break;
        case STREAM_TRIM:
            http_trim(s->call->x);
            r = 0;
            break;
        case STREAM_NOTHING:
            r = 0;
            break;
        }
    }
    stream_end(s, r);
    smx_buf_done(&s->out);
}

/* --- opening ----------------------------------------------------------------------------- */

static enum rpc_code open_watch(struct call *c, struct watch *w, bool *ret_include_entry)
{
    struct envd_watch_request request;
    SMX_CLEANUP(smx_freep) char *path = NULL;
    enum rpc_code code = fs_decode(c, &envd_watch_request_table, &request);

    if (code != RPC_OK)
        return code;
    *ret_include_entry = request.include_entry;
    code = fs_path(c, request.path, &path);
    if (code == RPC_OK && watch_open(w, path, request.recursive, request.allow_network_mounts,
                              &c->agent->watches, &c->err) < 0)
        code = call_error(c);
    json_free(&envd_watch_request_table, &request);
    users_refresh(&c->agent->users);
    return code;
}

enum rpc_code watch_rpc_watch_dir(struct call *c)
{
    struct watch_stream s = { .call = c };
    struct stream_clock clock;
    enum rpc_code code = stream_clock_init(&clock, c);

    if (code == RPC_OK)
        code = open_watch(c, &s.watch, &s.include_entry);
    if (code != RPC_OK)
        return code;
    smx_buf_init(&s.out, EVENTS_BYTES_MAX);
    stream_run(&s, &clock);
    watch_close(&s.watch);
    return RPC_OK;
}

/* --- polled watchers --------------------------------------------------------------------- */

static void keep_event(void *ctx, enum envd_fs_event_type type, const char *name)
{
    struct watcher *w = ctx;
    struct json_writer json;

    if (w->n >= SMX_AGENT_WATCHER_EVENTS_MAX || w->events.failed) {
        w->lost = true;
        return;
    }
    smx_buf_append_char(&w->events, w->n++ > 0 ? ',' : '[');
    json_writer_init(&json, &w->events);
    write_event(&json, w->agent, &w->watch, type, name, w->include_entry);
}

static void watcher_fiber(void *arg)
{
    struct watcher *w = arg;
    struct smx_err err;
    int r = 0;

    while (r == 0 || r == -SMX_E_QUOTA) {
        r = watch_next(&w->watch, /* hup= */ NULL, SMX_FOREVER, keep_event, w, &err);
        w->lost |= r == -SMX_E_QUOTA;
    }
    if (!w->removed) {
        smx_list_del(&w->node);
        w->agent->nwatchers--;
    }
    watch_close(&w->watch);
    smx_buf_done(&w->events);
    smx_free(w);
}

static enum rpc_code start_watcher(struct call *c, struct watcher *w)
{
    enum rpc_code code = open_watch(c, &w->watch, &w->include_entry);
    struct json_writer json;

    if (code != RPC_OK)
        return code;
    w->agent = c->agent;
    smx_buf_init(&w->events, EVENTS_BYTES_MAX);
    smx_id_make(w->id);
    w->id[0] = 'w';
    if (io_fiber_spawn(c->agent->loop, "watcher", watcher_fiber, w, &w->fiber, &c->err) < 0) {
        watch_close(&w->watch);
        return RPC_RESOURCE_EXHAUSTED;
    }
    smx_list_add(&c->agent->watchers, &w->node);
    c->agent->nwatchers++;
    json_writer_init(&json, &c->out);
    json_object_begin(&json);
    json_kv_string(&json, "watcherId", w->id);
    json_object_end(&json);
    return RPC_OK;
}

enum rpc_code watch_rpc_create_watcher(struct call *c)
{
    struct watcher *w;
    enum rpc_code code;

    if (c->agent->nwatchers >= SMX_AGENT_WATCHERS_MAX)
        return call_fail(
            c, RPC_RESOURCE_EXHAUSTED, "more than %d watchers", SMX_AGENT_WATCHERS_MAX);
    w = smx_alloc(sizeof *w);
    if (!w)
        return call_fail(c, RPC_RESOURCE_EXHAUSTED, "out of memory");
    code = start_watcher(c, w);
    if (code != RPC_OK)
        smx_free(w);
    return code;
}

static enum rpc_code find_watcher(struct call *c, struct watcher **ret)
{
    struct envd_watcher_request request;
    enum rpc_code code = call_decode(c, &envd_watcher_request_table, &request);

    if (code != RPC_OK)
        return code;
    *ret = NULL;
    SMX_LIST_FOREACH(it, &c->agent->watchers) {
        struct watcher *w = SMX_LIST_ENTRY(it, struct watcher, node);

        if (request.watcher_id && smx_streq(w->id, request.watcher_id))
            *ret = w;
    }
    if (!*ret)
        code = call_fail(c, RPC_NOT_FOUND, "watcher with id %.100s not found",
            request.watcher_id ? request.watcher_id : "");
    json_free(&envd_watcher_request_table, &request);
    return code;
}

static void reply_events(struct call *c, const char *array)
{
    struct json_writer w;

    json_writer_init(&w, &c->out);
    json_object_begin(&w);
    json_key(&w, "events");
    json_raw(&w, array);
    json_object_end(&w);
}

enum rpc_code watch_rpc_get_watcher_events(struct call *c)
{
    struct watcher *w;
    enum rpc_code code = find_watcher(c, &w);

    if (code != RPC_OK)
        return code;
    if (w->lost)
        code = call_fail(c, RPC_RESOURCE_EXHAUSTED,
            "more changes than a watcher keeps (%d): some were lost", SMX_AGENT_WATCHER_EVENTS_MAX);
    else if (w->n > 0 && smx_buf_append_char(&w->events, ']') == 0)
        reply_events(c, w->events.data);
    smx_buf_done(&w->events);
    smx_buf_reset(&w->events);
    w->lost = false;
    w->n = 0;
    return code;
}

enum rpc_code watch_rpc_remove_watcher(struct call *c)
{
    struct watcher *w;
    enum rpc_code code = find_watcher(c, &w);

    if (code != RPC_OK)
        return code;
    w->removed = true;
    smx_list_del(&w->node);
    c->agent->nwatchers--;
    io_fiber_cancel(w->fiber);
    return RPC_OK;
}
