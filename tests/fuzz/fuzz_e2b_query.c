/* fuzz_e2b_query.c - what E2B's front end reads from queries and paths: the first byte chooses a
 * metadata filter, a page token or a template's name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/e2b/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a filter says, a sandbox without metadata matches only the empty one. */
static void filter(const char *text)
{
    struct e2b_metadata_filter f = { 0 };
    struct sandbox none = { 0 };

    if (e2b_filter_parse(text, &f, /* err= */ NULL) < 0)
        return;
    if (e2b_filter_matches(&f, &none) != (f.n == 0))
        abort();
    e2b_filter_done(&f);
}

/* What is read can be written, and is then read as the same. */
static void token(const char *text)
{
    char id[SMX_ID_LEN + 1], again_id[SMX_ID_LEN + 1], again[E2B_TOKEN_SIZE];
    int64_t ns, again_ns;
    bool asc, again_asc;

    if (!e2b_token_read(text, &ns, id, &asc))
        return;
    e2b_token_write(again, ns, id, asc);
    if (!e2b_token_read(again, &again_ns, again_id, &again_asc) || again_ns != ns ||
        again_asc != asc || !smx_streq(id, again_id))
        abort();
}

static void template_name(const char *text)
{
    char name[SMX_TEMPLATE_LEN_MAX + 1], again[SMX_TEMPLATE_LEN_MAX + 1];

    if (e2b_template_name(text, name, /* err= */ NULL) < 0)
        return;
    if (!*name || e2b_template_name(name, again, /* err= */ NULL) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size < 1)
        return 0;
    text = smx_strndup((const char *)data + 1, size - 1);
    if (!text)
        abort();
    if (data[0] % 3 == 0)
        filter(text);
    else if (data[0] % 3 == 1)
        token(text);
    else
        template_name(text);
    smx_free(text);
    return 0;
}
