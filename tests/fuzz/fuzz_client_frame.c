/* fuzz_client_frame.c - any bytes as WebSocket frames of a server: what is taken lies in the input,
 * and a shorter input is never taken as more. */
#include <stdint.h>
#include <stdlib.h>

#include "client/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    struct smx_err err = { 0 };
    struct frame f, again;
    ptrdiff_t used;

    while ((used = frame_parse(p, size, 70000, &f, &err)) > 0) {
        if ((size_t)used > size || f.n > 70000 || f.data < p || f.data + f.n != p + used)
            abort();
        if (frame_parse(p, (size_t)used - 1, 70000, &again, &err) > 0)
            abort();
        p += used;
        size -= (size_t)used;
    }
    return 0;
}
