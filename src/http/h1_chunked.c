/* h1_chunked.c - decoder of chunked bodies, a push state machine: bytes may arrive split anywhere.
 * Extensions are skipped and bounded by SMX_HTTP_CHUNK_LINE_MAX a line; trailers are checked like
 * field lines, bounded by SMX_HTTP_TRAILER_MAX in all, and dropped. Pure: no I/O, any thread. */
#include "http/h1_scan.h"

enum state {
    SIZE,       /* digits of the chunk size; line counts them */
    EXTENSION,  /* behind ';' */
    SIZE_LF,    /* after the CR of the size line */
    DATA,       /* left bytes to come */
    DATA_CR,    /* CR LF behind the data */
    DATA_LF,    /* */
    LINE_START, /* of a trailer line, or the empty line */
    NAME,       /* of a trailer */
    VALUE,      /* of a trailer */
    VALUE_LF,   /* after its CR */
    END_LF      /* after the CR of the empty line */
};

enum { DIGITS_MAX = 15 }; /* below 2^60: no overflow, and more than anybody sends */

void h1_chunked_init(struct h1_chunked *c)
{
    memset(c, 0, sizeof *c);
}

static bool step_size(struct h1_chunked *c, char b)
{
    int digit = h1_hex_digit(b);

    if (digit >= 0) {
        c->left = c->left * 16 + (unsigned)digit;
        return ++c->line <= DIGITS_MAX;
    }
    if (c->line == 0)
        return false;
    c->state = b == ';' ? EXTENSION : SIZE_LF;
    return b == ';' || b == '\r';
}

static bool step_extension(struct h1_chunked *c, char b)
{
    if (b == '\r') {
        c->state = SIZE_LF;
        return true;
    }
    return h1_is(b, H1C_VALUE) && ++c->line <= SMX_HTTP_CHUNK_LINE_MAX;
}

static bool step_size_lf(struct h1_chunked *c, char b)
{
    c->state = c->left > 0 ? DATA : LINE_START;
    c->line = 0;
    return b == '\n';
}

static bool step_line_start(struct h1_chunked *c, char b)
{
    c->state = b == '\r' ? END_LF : NAME;
    return b == '\r' || (h1_is(b, H1C_TOKEN) && ++c->line <= SMX_HTTP_TRAILER_MAX);
}

static bool step_name(struct h1_chunked *c, char b)
{
    if (b == ':')
        c->state = VALUE;
    return (b == ':' || h1_is(b, H1C_TOKEN)) && ++c->line <= SMX_HTTP_TRAILER_MAX;
}

static bool step_value(struct h1_chunked *c, char b)
{
    if (b == '\r')
        c->state = VALUE_LF;
    return (b == '\r' || h1_is(b, H1C_VALUE)) && ++c->line <= SMX_HTTP_TRAILER_MAX;
}

/* One byte of framing; false when it is not allowed here. */
static bool step(struct h1_chunked *c, char b)
{
    switch ((enum state)c->state) {
    case SIZE:
        return step_size(c, b);
    case EXTENSION:
        return step_extension(c, b);
    case SIZE_LF:
        return step_size_lf(c, b);
    case DATA:
        break; /* the caller's */
    case DATA_CR:
        c->state = DATA_LF;
        return b == '\r';
    case DATA_LF:
        c->state = SIZE;
        return b == '\n';
    case LINE_START:
        return step_line_start(c, b);
    case NAME:
        return step_name(c, b);
    case VALUE:
        return step_value(c, b);
    case VALUE_LF:
        c->state = LINE_START;
        return b == '\n';
    case END_LF:
        c->done = true;
        return b == '\n';
    }
    return false;
}

ptrdiff_t h1_chunked_read(struct h1_chunked *c, const char *data, size_t n, char *out,
    size_t *ret_used, struct smx_err *err)
{
    size_t used = 0, made = 0, take;

    while (used < n && !c->done) {
        if (c->state != DATA) {
            if (!step(c, data[used++]))
                return smx_err_set(err, SMX_E_PROTOCOL, "a chunked body is malformed");
            continue;
        }
        take = c->left < n - used ? (size_t)c->left : n - used;
        memmove(out + made, data + used, take);
        used += take;
        made += take;
        c->left -= take;
        if (c->left == 0)
            c->state = DATA_CR;
    }
    *ret_used = used;
    return (ptrdiff_t)made;
}
