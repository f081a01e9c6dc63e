/* round_trip.h - a message that a table accepts must be one again when it was written by it. */
#pragma once

#include <stdlib.h>

#include "base/mem.h"
#include "json/json.h"

static void round_trip(const struct json_table *t, const char *text, size_t n)
{
    void *value = smx_alloc(t->size), *again = smx_alloc(t->size);
    struct smx_buf out;

    if (!value || !again)
        abort();
    smx_buf_init(&out, 16 << 20);
    if (json_decode(t, text, n, value, /* err= */ NULL) == 0) {
        if (json_encode_to(&out, t, value, /* err= */ NULL) == 0) {
            if (json_decode(t, out.data, out.len, again, /* err= */ NULL) < 0)
                abort();
            json_free(t, again);
        }
        json_free(t, value);
    }
    smx_buf_done(&out);
    smx_free(value);
    smx_free(again);
}
