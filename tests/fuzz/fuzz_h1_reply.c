/* fuzz_h1_reply.c - any bytes as the head of a reply; the first byte picks the request's method. */
#include <stdint.h>
#include <stdlib.h>

#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static ptrdiff_t parse(const char *text, size_t n, enum h1_method method, struct h1_head *h)
{
    static struct h1_field fields[SMX_HTTP_HEADERS_MAX];
    struct smx_err err;

    *h = (struct h1_head){ .fields = fields, .room = SMX_HTTP_HEADERS_MAX };
    return h1_parse_reply(text, n, method, h, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    struct h1_head h;
    enum h1_method method;
    ptrdiff_t r;

    if (size == 0)
        return 0;
    method = (enum h1_method)(data[0] % (H1_OTHER + 1));
    r = parse(text, size - 1, method, &h);
    require(r <= (ptrdiff_t)size - 1);
    if (r <= 0)
        return 0;
    require(h.status >= 100 && h.status <= 999 && h1_value_valid(h.reason));
    require(method != H1_HEAD || h.framing == H1_NO_BODY);
    require(h.framing != H1_UNTIL_CLOSE || !h.keep_alive);
    for (size_t i = 0; i < h.n; i++)
        require(h1_token_valid(h.fields[i].name) && h1_value_valid(h.fields[i].value));
    require(parse(text, (size_t)r - 1, method, &h) == 0);
    return 0;
}
