/* fuzz_h1_request.c - any bytes as the head of a request: what is accepted has valid parts inside
 * the buffer, and no prefix of it is accepted as something else. */
#include <stdint.h>
#include <stdlib.h>

#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static bool inside(struct smx_view v, const char *text, size_t n)
{
    return v.p >= text && v.p + v.n <= text + n;
}

static void check(const struct h1_head *h, const char *text, size_t n)
{
    require(inside(h->method_text, text, n) && h1_token_valid(h->method_text));
    require(inside(h->target, text, n) && h->target.n > 0);
    require(h->minor == 0 || h->minor == 1);
    require(h->minor == 1 || h->framing != H1_CHUNKED);
    require(h->framing != H1_UNTIL_CLOSE && h->n <= h->room);
    require(h->framing != H1_LENGTH || h1_get(h, "content-length").p);
    require(!(h1_get(h, "content-length").p && h1_get(h, "transfer-encoding").p));
    for (size_t i = 0; i < h->n; i++) {
        require(inside(h->fields[i].name, text, n) && h1_token_valid(h->fields[i].name));
        require(inside(h->fields[i].value, text, n) && h1_value_valid(h->fields[i].value));
        h1_hop_by_hop(h, h->fields[i].name);
    }
}

static ptrdiff_t parse(const char *text, size_t n, struct h1_head *h)
{
    static struct h1_field fields[SMX_HTTP_HEADERS_MAX];
    struct smx_err err;
    int status = 0;
    ptrdiff_t r;

    *h = (struct h1_head){ .fields = fields, .room = SMX_HTTP_HEADERS_MAX };
    r = h1_parse_request(text, n, h, &status, &err);
    require(r <= (ptrdiff_t)n && (r >= 0 || (status >= 400 && status < 600)));
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct h1_head h;
    ptrdiff_t r = parse(text, size, &h);

    if (r > 0) {
        check(&h, text, (size_t)r);
        require(parse(text, (size_t)r, &h) == r);
        require(parse(text, (size_t)r - 1, &h) == 0);
        require(parse(text, (size_t)r / 2, &h) == 0);
    }
    return 0;
}
