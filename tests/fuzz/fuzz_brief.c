/* fuzz_brief.c - any bytes as records of entries; what is accepted is written again and must be the
 * same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "wire/envd/brief.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    struct envd_brief e;
    ptrdiff_t used;

    while ((used = envd_brief_parse(p, size, &e)) > 0) {
        struct smx_buf again;

        if ((size_t)used > size || e.path.p < p || e.group.p + e.group.n >= p + used)
            abort();
        smx_buf_init(&again, (size_t)used + 1);
        envd_brief_append(&again, &e);
        if (again.failed || again.len != (size_t)used || memcmp(again.data, p, again.len) != 0)
            abort();
        smx_buf_done(&again);
        p += used;
        size -= (size_t)used;
    }
    return 0;
}
