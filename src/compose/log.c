/* log.c - the output of one command: bytes in the order they came, and which stream each run of
 * them belongs to. Bounded: beyond SESSION_LOG_MAX the older half goes. Pure. */
#include "compose/internal.h"

enum { PIECES_FIRST = 16, PIECES_MAX = 64 * 1024 };

void session_log_init(struct session_log *l)
{
    *l = (struct session_log){ 0 };
    smx_buf_init(&l->bytes, SESSION_LOG_MAX);
}

void session_log_done(struct session_log *l)
{
    l->dropped += l->bytes.len;
    smx_buf_done(&l->bytes);
    smx_free(smx_take(&l->pieces));
    l->n_pieces = l->room = 0;
}

static void drop(struct session_log *l, size_t n)
{
    size_t i = 0, left = n;

    while (i < l->n_pieces && l->pieces[i].n <= left)
        left -= l->pieces[i++].n;
    if (i < l->n_pieces)
        l->pieces[i].n -= left;
    memmove(l->pieces, l->pieces + i, (l->n_pieces - i) * sizeof *l->pieces);
    l->n_pieces -= i;
    smx_buf_consume(&l->bytes, n);
    l->dropped += n;
}

static int piece_room(struct session_log *l)
{
    size_t room = l->room ? 2 * l->room : PIECES_FIRST;
    struct session_piece *v;

    if (l->n_pieces < l->room)
        return 0;
    v = smx_realloc(l->pieces, room * sizeof *v);
    if (!v)
        return -SMX_E_NO_MEMORY;
    l->pieces = v;
    l->room = room;
    return 0;
}

int session_log_add(struct session_log *l, enum session_stream s, const char *data, size_t n)
{
    struct session_piece *last;
    int r;

    if (n == 0)
        return 0;
    n = SMX_MIN(n, (size_t)SESSION_LOG_MAX / 2);
    if (l->bytes.len + n > SESSION_LOG_MAX || l->n_pieces == PIECES_MAX)
        drop(l, l->bytes.len / 2 + 1);
    last = l->n_pieces ? &l->pieces[l->n_pieces - 1] : NULL;
    if (last && last->stream == s) {
        r = smx_buf_append(&l->bytes, data, n);
        last->n += r == 0 ? n : 0;
        return r;
    }
    r = piece_room(l);
    if (r == 0)
        r = smx_buf_append(&l->bytes, data, n);
    if (r == 0)
        l->pieces[l->n_pieces++] = (struct session_piece){ s, n };
    return r;
}

int session_log_read(const struct session_log *l, unsigned stream, struct smx_buf *out)
{
    size_t at = 0;
    int r = 0;

    for (size_t i = 0; i < l->n_pieces && r == 0; i++) {
        if (stream == 0 || l->pieces[i].stream == stream)
            r = smx_buf_append(out, l->bytes.data + at, l->pieces[i].n);
        at += l->pieces[i].n;
    }
    return r;
}

bool session_log_next(const struct session_log *l, uint64_t *offset,
    enum session_stream *ret_stream, struct smx_view *ret)
{
    uint64_t at = l->dropped;

    *offset = SMX_MAX(*offset, at);
    for (size_t i = 0; i < l->n_pieces; at += l->pieces[i++].n) {
        size_t skip;

        if (*offset >= at + l->pieces[i].n)
            continue;
        skip = (size_t)(*offset - at);
        *ret = (struct smx_view){ l->bytes.data + (at - l->dropped) + skip, l->pieces[i].n - skip };
        *ret_stream = l->pieces[i].stream;
        *offset += ret->n;
        return true;
    }
    return false;
}
