/* gunzip.c - inflate behind a pull interface. One input buffer, zlib's own window; nothing else. */
#include "agent/gunzip.h"

#include <zlib.h>

#include "base/mem.h"

enum { INPUT_SIZE = 16 * 1024, WINDOW_GZIP = 15 + 16 };

struct gunzip {
    z_stream z;
    multipart_source_fn *source;
    void *ctx;
    bool source_ended;
    bool in_member; /* a member has begun and not ended */
    bool any;       /* one was complete */
    unsigned char input[INPUT_SIZE];
};

static void *z_alloc(void *ctx, unsigned items, unsigned size)
{
    return smx_alloc_array(items, size);
}

static void z_free(void *ctx, void *p)
{
    smx_free(p);
}

int gunzip_new(multipart_source_fn *source, void *ctx, struct gunzip **ret, struct smx_err *err)
{
    struct gunzip *g = smx_alloc(sizeof *g);

    if (!g)
        return smx_err_oom(err);
    g->z.zalloc = z_alloc;
    g->z.zfree = z_free;
    if (inflateInit2(&g->z, WINDOW_GZIP) != Z_OK) {
        smx_free(g);
        return smx_err_oom(err);
    }
    g->source = source;
    g->ctx = ctx;
    *ret = g;
    return 0;
}

void gunzip_free(struct gunzip *g)
{
    if (!g)
        return;
    inflateEnd(&g->z);
    smx_free(g);
}

static int fill(struct gunzip *g, struct smx_err *err)
{
    ssize_t n;

    if (g->z.avail_in > 0 || g->source_ended)
        return 0;
    n = g->source(g->ctx, g->input, sizeof g->input, err);
    if (n < 0)
        return (int)n;
    g->source_ended = n == 0;
    g->z.next_in = g->input;
    g->z.avail_in = (unsigned)n;
    return 0;
}

static int inflate_some(struct gunzip *g, struct smx_err *err)
{
    int z;

    if (!g->in_member) {
        inflateReset(&g->z);
        g->in_member = true;
    }
    z = inflate(&g->z, Z_NO_FLUSH);
    if (z == Z_STREAM_END) {
        g->in_member = false;
        g->any = true;
        return 0;
    }
    if (z == Z_MEM_ERROR)
        return smx_err_oom(err);
    if (z != Z_OK && z != Z_BUF_ERROR)
        return smx_err_set(err, SMX_E_PROTOCOL, "invalid gzip data");
    return 0;
}

ssize_t gunzip_read(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct gunzip *g = ctx;
    int r;

    g->z.next_out = data;
    g->z.avail_out = (unsigned)SMX_MIN(n, (size_t)(1u << 30));
    n = g->z.avail_out;
    while (g->z.avail_out == n) {
        r = fill(g, err);
        if (r < 0)
            return r;
        if (g->z.avail_in == 0 && !g->in_member && g->any)
            return 0;
        if (g->z.avail_in == 0)
            return smx_err_set(err, SMX_E_PROTOCOL, "unexpected end of the gzip data");
        r = inflate_some(g, err);
        if (r < 0)
            return r;
    }
    return (ssize_t)(n - g->z.avail_out);
}
