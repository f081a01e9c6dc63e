/* path.c - keeps envd's internal routes from callers: whatever spelling of one a request uses,
 * escapes, doubled slashes and dots included. Pure. */
#include "frontends/e2b_data/internal.h"

#include "http/h1.h"

enum { DECODE_ROUNDS = 4, SEGMENT_MAX = 16 };

static const char *const internal[] = { "init", "freeze", "unfreeze", "collapse", "fsfreeze",
    "fsthaw", "upgrade" };

/* The only segment that is left of a path once dots are resolved, in lower case; "" when there are
 * more or none. Longer ones than any route are cut, which makes them nobody's. */
struct walk {
    unsigned depth;
    char first[SEGMENT_MAX];
};

static void step(struct walk *w, struct smx_view segment)
{
    if (segment.n == 0 || smx_view_eq(segment, "."))
        return;
    if (smx_view_eq(segment, "..")) {
        w->depth -= w->depth > 0;
        return;
    }
    if (w->depth++ == 0 && !smx_view_copy(w->first, sizeof w->first, segment))
        w->first[0] = '\0';
}

static bool is_internal(struct smx_view path)
{
    struct walk w = { 0 };

    while (path.n > 0) {
        const char *slash = memchr(path.p, '/', path.n);
        size_t n = slash ? (size_t)(slash - path.p) : path.n;

        step(&w, (struct smx_view){ path.p, n });
        n += slash != NULL;
        path.p += n;
        path.n -= n;
    }
    for (size_t i = 0; i < SMX_ARRAY_LEN(internal); i++)
        if (w.depth == 1 && smx_view_ieq(smx_view_of(w.first), internal[i]))
            return true;
    return false;
}

static bool backslashes_to_slashes(struct smx_buf *b)
{
    bool found = false;

    for (size_t i = 0; i < b->len; i++)
        if (b->data[i] == '\\') {
            b->data[i] = '/';
            found = true;
        }
    return found;
}

/* Decodes once more; false when nothing is left to decode or it cannot be. */
static bool decode(struct smx_buf *from, struct smx_buf *to)
{
    smx_buf_reset(to);
    return memchr(from->data, '%', from->len) &&
           h1_percent_decode((struct smx_view){ from->data, from->len }, /* form= */ false, to);
}

static bool is_internal_decoded(struct smx_view path)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf a = { 0 };
    SMX_CLEANUP(smx_buf_done) struct smx_buf b = { 0 };
    struct smx_buf *now = &a, *next = &b;

    smx_buf_init(&a, SMX_HTTP_TARGET_MAX + 1);
    smx_buf_init(&b, SMX_HTTP_TARGET_MAX + 1);
    if (smx_buf_append(&a, path.p, path.n) < 0)
        return true; /* nothing to check it with: refused */
    for (int i = 0; i < DECODE_ROUNDS; i++) {
        struct smx_buf *swap = now;

        backslashes_to_slashes(now);
        if (is_internal((struct smx_view){ now->data, now->len }))
            return true;
        if (!decode(now, next))
            return false;
        now = next;
        next = swap;
    }
    return false;
}

bool path_is_internal(struct smx_view path)
{
    if (path.n == 0)
        return false;
    if (!memchr(path.p, '%', path.n) && !memchr(path.p, '\\', path.n))
        return is_internal(path);
    return is_internal_decoded(path);
}
