/* pipe.c - bytes both ways between two connections, on one fiber. A direction reads only when what
 * it read before is written: a slow reader stops the writer, and a silent pipe holds no buffer. An
 * end of one side is passed on as a half close; the other side may then be silent for
 * SMX_HTTP_STREAM_TIMEOUT_MS at most, because a peer that is gone for good cannot be told from one
 * that only listens. Loop thread only. */
#include <errno.h>

#include "http/client.h"

struct way {
    struct io_fd *from, *to;
    char *data; /* held only while something is in it */
    size_t pos, len;
    bool ended, shut;
};

static void drop_buffer(struct way *w)
{
    http_block_put(w->data);
    w->data = NULL;
    w->pos = w->len = 0;
}

/* Writes what it can without waiting; false when the connection broke. */
static bool push(struct way *w)
{
    while (w->pos < w->len) {
        ssize_t n = io_try_write(w->to, w->data + w->pos, w->len - w->pos);

        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        w->pos += (size_t)n;
    }
    drop_buffer(w);
    if (w->ended && !w->shut) {
        w->shut = true;
        io_close_write(w->to);
    }
    return true;
}

/* Something is there to read. */
static bool pull(struct way *w)
{
    ssize_t n;

    w->data = http_block_get();
    if (!w->data)
        return false;
    n = io_read(w->from, w->data, HTTP_BLOCK_SIZE, SMX_FOREVER, /* err= */ NULL);
    if (n < 0)
        return false;
    w->len = (size_t)n;
    w->ended = n == 0;
    return push(w);
}

static bool full(const struct way *w)
{
    return w->pos < w->len;
}

static unsigned events(const struct way *out, const struct way *in)
{
    return (unsigned)(!full(out) && !out->ended ? IO_READ : 0) |
           (unsigned)(full(in) ? IO_WRITE : 0);
}

/* One wait and what came of it; false at the end. */
static bool step(struct way *ab, struct way *ba)
{
    struct io_wait w[2] = { { .fd = ab->from, .events = events(ab, ba) },
        { .fd = ba->from, .events = events(ba, ab) } };
    bool timed = ab->ended || ba->ended || full(ab) || full(ba);
    int r = io_wait(w, 2, timed ? smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS) : SMX_FOREVER);

    if (r < 0)
        return false;
    if ((w[1].ready & IO_WRITE && !push(ab)) || (w[0].ready & IO_WRITE && !push(ba)))
        return false;
    if (w[0].ready & IO_READ && !full(ab) && !pull(ab))
        return false;
    if (w[1].ready & IO_READ && !full(ba) && !pull(ba))
        return false;
    return !(ab->shut && ba->shut);
}

void http_pipe(struct io_fd *a, struct io_fd *b, struct smx_view early)
{
    struct way ab = { .from = a, .to = b }, ba = { .from = b, .to = a };
    bool go_on = true;

    if (early.n > 0)
        go_on = io_write(b, early.p, early.n, SMX_HTTP_STREAM_TIMEOUT_MS, /* err= */ NULL) == 0;
    while (go_on)
        go_on = step(&ab, &ba);
    drop_buffer(&ab);
    drop_buffer(&ba);
}
