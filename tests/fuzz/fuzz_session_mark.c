/* fuzz_session_mark.c - the end mark of a session's command in bytes that come in pieces: nothing
 * is lost or made up, however the stream is cut. */
#include <assert.h>
#include <string.h>

#include "compose/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int give(void *arg, const char *data, size_t n)
{
    return smx_buf_append(arg, data, n);
}

static void run(const char *data, size_t n, size_t step, struct smx_buf *out, struct mark *m)
{
    smx_buf_init(out, 2 * n + 64);
    mark_init(m, "0123456789abcdef");
    for (size_t at = 0; at < n; at += step)
        mark_feed(m, data + at, SMX_MIN(step, n - at), give, out);
    mark_flush(m, give, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mark whole, cut;
    struct smx_buf a, b;
    size_t step = size > 0 ? 1 + data[0] % 7 : 1;

    run((const char *)data, size, size + 1, &a, &whole);
    run((const char *)data, size, step, &b, &cut);
    assert(whole.ended == cut.ended && whole.done == cut.done && a.len == b.len);
    assert(a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
    assert(whole.ended || a.len == size);
    assert(!whole.ended || (whole.exit_code >= 0 && whole.exit_code <= 999));
    smx_buf_done(&a);
    smx_buf_done(&b);
    return 0;
}
