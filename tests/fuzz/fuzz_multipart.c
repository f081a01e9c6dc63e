/* fuzz_multipart.c - any bytes as a multipart body with the boundary "B"; the first byte says how
 * many come at a time. Parts and bytes do not depend on it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
    const char *p;
    size_t n, step;
};

struct result {
    size_t parts, bytes;
    uint64_t sum;
    int code;
};

static void require(bool truth)
{
    if (!truth)
        abort();
}

static ssize_t pull(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct source *s = ctx;
    size_t take = SMX_MIN(SMX_MIN(n, s->n), s->step);

    memcpy(data, s->p, take);
    s->p += take;
    s->n -= take;
    return (ssize_t)take;
}

static void note(struct result *r, const void *data, size_t n)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < n; i++)
        r->sum = r->sum * 31 + p[i];
    r->bytes += n;
}

static struct result run(const char *text, size_t n, size_t step)
{
    struct source s = { text, n, step };
    struct result r = { 0 };
    struct multipart_part part;
    struct multipart *m = NULL;
    struct smx_err err;
    char data[64];
    ssize_t got = 0;

    r.code = multipart_new(SMX_VIEW("multipart/form-data; boundary=B"), pull, &s, &m, &err);
    while (r.code >= 0 && (r.code = multipart_next(m, &part, &err)) > 0) {
        r.parts++;
        note(&r, part.name, strlen(part.name));
        note(&r, part.filename ? part.filename : "-", part.filename ? strlen(part.filename) : 1);
        while ((got = multipart_read(m, data, sizeof data, &err)) > 0)
            note(&r, data, (size_t)got);
        if (got < 0)
            r.code = (int)got;
    }
    multipart_free(m);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, split;

    if (size < 1 || size > 65536)
        return 0;
    whole = run((const char *)data + 1, size - 1, size);
    split = run((const char *)data + 1, size - 1, (size_t)data[0] + 1);
    require(whole.code == split.code && (whole.code == 0 || whole.code == -SMX_E_INVALID));
    if (whole.code == 0)
        require(whole.parts == split.parts && whole.bytes == split.bytes && whole.sum == split.sum);
    return 0;
}
