/* fuzz_coding.c - any bytes as an Accept-Encoding field; and through gzip and back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/coding.h"
#include "agent/gunzip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t read_view(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct smx_view *v = ctx;

    n = n < v->n ? n : v->n;
    memcpy(data, v->p, n);
    *v = (struct smx_view){ v->p + n, v->n - n };
    return (ssize_t)n;
}

static void there_and_back(const char *data, size_t size)
{
    struct gunzip *in = NULL;
    struct gzip *out = NULL;
    struct smx_view packed;
    struct smx_buf b;
    char back[512];
    size_t at = 0;
    ssize_t n;

    smx_buf_init(&b, 64 << 20);
    if (gzip_new(&out, NULL) < 0 || gzip_add(out, data, size / 2, false, &b, NULL) < 0 ||
        gzip_add(out, data + size / 2, size - size / 2, true, &b, NULL) < 0)
        abort();
    packed = (struct smx_view){ b.data, b.len };
    if (gunzip_new(read_view, &packed, &in, NULL) < 0)
        abort();
    while ((n = gunzip_read(in, back, sizeof back, NULL)) > 0) {
        if ((size_t)n > size - at || memcmp(back, data + at, (size_t)n) != 0)
            abort();
        at += (size_t)n;
    }
    if (n < 0 || at != size)
        abort();
    gunzip_free(in);
    gzip_free(out);
    smx_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char none[1];
    const char *text = size ? (const char *)data : none;

    (void)coding_choose((struct smx_view){ text, size });
    there_and_back(text, size);
    return 0;
}
