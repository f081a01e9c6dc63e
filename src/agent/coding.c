/* coding.c - see coding.h. Speed before size: level 1. */
#include "agent/coding.h"

#include <zlib.h>

#include "base/mem.h"

enum { LEVEL = 1, WINDOW_GZIP = 15 + 16, MEMORY = 8, ROOM = 16 * 1024, WEIGHT_ONE = 1000 };

/* --- Accept-Encoding -------------------------------------------------------------------------- */

static struct smx_view trim(struct smx_view v)
{
    while (v.n > 0 && (*v.p == ' ' || *v.p == '\t')) {
        v.p++;
        v.n--;
    }
    while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

/* Up to the separator; *rest is what is behind it. */
static struct smx_view cut(struct smx_view *rest, char separator)
{
    const char *at = rest->n > 0 ? memchr(rest->p, separator, rest->n) : NULL;
    size_t n = at ? (size_t)(at - rest->p) : rest->n;
    struct smx_view head = { rest->p, n };

    n += at != NULL;
    *rest = (struct smx_view){ rest->p + n, rest->n - n };
    return trim(head);
}

/* "q=0.5" in thousandths; 1 when there is none or it cannot be read. */
static int weight_of(struct smx_view parameters)
{
    int weight = 0, scale = WEIGHT_ONE;

    while (parameters.n > 0) {
        struct smx_view p = cut(&parameters, ';');

        if (p.n < 3 || (p.p[0] | 0x20) != 'q' || p.p[1] != '=')
            continue;
        for (size_t i = 2; i < p.n && scale > 0; i++) {
            if (p.p[i] == '.')
                continue;
            if (p.p[i] < '0' || p.p[i] > '9')
                return WEIGHT_ONE;
            weight += (p.p[i] - '0') * scale;
            scale /= 10;
        }
        return weight;
    }
    return WEIGHT_ONE;
}

enum coding coding_choose(struct smx_view accept)
{
    int gzip = -1, identity = -1, any = -1; /* weights; -1: not named */
    bool others = false;

    while (accept.p && accept.n > 0) {
        struct smx_view item = cut(&accept, ','), name = cut(&item, ';');
        int weight = weight_of(item);

        if (smx_view_ieq(name, "gzip") || smx_view_ieq(name, "x-gzip"))
            gzip = weight;
        else if (smx_view_ieq(name, "identity"))
            identity = weight;
        else if (smx_view_eq(name, "*"))
            any = weight;
        else
            others = others || (name.n > 0 && weight > 0);
    }
    if (identity == 0 || (identity < 0 && any == 0))
        return gzip > 0 || (gzip < 0 && any > 0) ? CODING_GZIP : CODING_NONE;
    return gzip > 0 && gzip > identity && !others ? CODING_GZIP : CODING_IDENTITY;
}

/* --- gzip ------------------------------------------------------------------------------------- */

struct gzip {
    z_stream z;
};

static void *z_alloc(void *ctx, unsigned items, unsigned size)
{
    return smx_alloc_array(items, size);
}

static void z_free(void *ctx, void *p)
{
    smx_free(p);
}

int gzip_new(struct gzip **ret, struct smx_err *err)
{
    struct gzip *g = smx_alloc(sizeof *g);

    if (!g)
        return smx_err_oom(err);
    g->z.zalloc = z_alloc;
    g->z.zfree = z_free;
    if (deflateInit2(&g->z, LEVEL, Z_DEFLATED, WINDOW_GZIP, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
        smx_free(g);
        return smx_err_oom(err);
    }
    *ret = g;
    return 0;
}

int gzip_add(
    struct gzip *g, const void *data, size_t n, bool last, struct smx_buf *out, struct smx_err *err)
{
    g->z.next_in = (unsigned char *)(uintptr_t)data;
    g->z.avail_in = (unsigned)n;
    do {
        if (smx_buf_reserve(out, ROOM) < 0)
            return smx_buf_check(out, err);
        g->z.next_out = (unsigned char *)out->data + out->len;
        g->z.avail_out = ROOM;
        deflate(&g->z, last ? Z_FINISH : Z_NO_FLUSH);
        out->len += ROOM - g->z.avail_out;
        out->data[out->len] = '\0';
    } while (g->z.avail_out == 0);
    return 0;
}

void gzip_free(struct gzip *g)
{
    if (!g)
        return;
    deflateEnd(&g->z);
    smx_free(g);
}
