/* fuzz_h1_chunked.c - any bytes as a chunked body; the first byte says where it is split. The
 * result does not depend on the split, and decoding in place gives the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4096 };

struct result {
    char body[INPUT_MAX];
    size_t n, used;
    bool done, failed;
};

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void decode(const char *text, size_t n, size_t step, struct result *r)
{
    struct h1_chunked c;

    memset(r, 0, sizeof *r);
    h1_chunked_init(&c);
    while (r->used < n && !c.done) {
        size_t take = n - r->used < step ? n - r->used : step, used = 0;
        struct smx_err err;
        ptrdiff_t made = h1_chunked_read(&c, text + r->used, take, r->body + r->n, &used, &err);

        if (made < 0) {
            r->failed = true;
            return;
        }
        require(used <= take && (used == take || c.done) && (size_t)made <= used);
        r->used += used;
        r->n += (size_t)made;
    }
    r->done = c.done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct result whole, split;
    char copy[INPUT_MAX];
    struct h1_chunked c;
    struct smx_err err;
    size_t used;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    decode((const char *)data + 1, size - 1, size, &whole);
    decode((const char *)data + 1, size - 1, (size_t)data[0] + 1, &split);
    require(whole.failed == split.failed && whole.done == split.done);
    if (whole.failed)
        return 0;
    require(whole.n == split.n && whole.used == split.used);
    require(memcmp(whole.body, split.body, whole.n) == 0);
    memcpy(copy, data + 1, size - 1);
    h1_chunked_init(&c);
    require(h1_chunked_read(&c, copy, size - 1, copy, &used, &err) == (ptrdiff_t)whole.n);
    require(memcmp(copy, whole.body, whole.n) == 0);
    return 0;
}
