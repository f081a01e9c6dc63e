/* events.c - the stream of events: server-sent events, taken up again by number when it breaks. */
#include "client/internal.h"

#include <time.h>

#include "sandmux/events.h"

enum { RETRY_MAX = 10, RETRY_MS = 200 };

struct follower {
    smx_event_fn *fn;
    void *arg;
    uint64_t last; /* number of the last event that was given on */
    bool moved;    /* since the last attempt */
    bool opened;   /* the stream: a time-out is silence */
    struct smx_buf data;
};

static int give_event(struct follower *f, struct smx_err *err)
{
    struct native_event w;
    int r;

    if (f->data.len == 0)
        return 0;
    r = json_decode(&native_event_table, f->data.data, f->data.len, &w, err);
    if (r < 0)
        return smx_err_wrap(err, r, "stream of events");
    f->last = w.seq;
    f->moved = true;
    r = f->fn(&(struct smx_event){ w.seq, w.time, w.type, w.sandbox_id, w.runtime, w.state,
                  w.previous_state, w.reason, w.detail, f->data.data },
        f->arg);
    json_free(&native_event_table, &w);
    smx_buf_reset(&f->data);
    return r;
}

/* Only "data" matters: the number and the type stand in it too. An event ends with an empty line,
 * which call_lines() does not give on, so it ends where its one data line does. */
static int event_line(char *line, size_t n, void *arg, struct smx_err *err)
{
    struct follower *f = arg;

    if (n > 0 && line[n - 1] == '\r')
        line[--n] = '\0';
    if (!smx_starts(line, "data:"))
        return 0;
    line += line[5] == ' ' ? 6 : 5;
    if (smx_buf_append_str(&f->data, line) < 0)
        return smx_buf_check(&f->data, err);
    return give_event(f, err);
}

static int follow_once(
    struct smx_client *c, struct follower *f, uint64_t quiet_ms, struct smx_err *err)
{
    struct call call = { .method = "GET", .accept = "text/event-stream" };
    struct conn *conn = NULL;
    struct smx_buf path;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    smx_buf_append_str(&path, "/api/events");
    call_query_u64(&path, "since", f->last);
    call.path = path.data;
    r = smx_buf_check(&path, err);
    if (r == 0)
        r = call_open(c, &call, &conn, err);
    if (r == 0) { /* from here on silence is counted, not the whole time */
        conn->deadline_ns = SMX_FOREVER;
        conn->idle_ms = quiet_ms == UINT64_MAX ? 0 : quiet_ms;
        f->opened = true;
        r = call_lines(conn, event_line, f, err);
    }
    if (conn)
        conn->keep = false;
    client_give(c, conn);
    smx_buf_done(&path);
    return r;
}

int smx_events_follow(struct smx_client *c, uint64_t since, uint64_t quiet_ms, smx_event_fn *fn,
    void *arg, struct smx_err *err)
{
    struct follower f = { .fn = fn, .arg = arg, .last = since };
    int r;

    smx_buf_init(&f.data, SMX_JSON_MAX);
    for (unsigned tries = 0;; tries++) {
        struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };

        f.moved = f.opened = false;
        smx_buf_reset(&f.data);
        r = follow_once(c, &f, quiet_ms, err);
        if (f.moved)
            tries = 0;
        if ((r != 0 && r != -SMX_E_CLOSED && r != -SMX_E_UNAVAILABLE) || tries >= RETRY_MAX)
            break;
        nanosleep(&pause, NULL);
    }
    smx_buf_done(&f.data);
    return r == -SMX_E_TIMEOUT && f.opened ? 0 : r;
}
