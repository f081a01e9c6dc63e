/* fuzz_rpc.c - any bytes as a stream of envelopes; each payload is also read as an error. */
#include <stdint.h>
#include <stdlib.h>

#include "rpc/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    struct smx_err err = { 0 };
    struct rpc_envelope e;
    ptrdiff_t used;

    while ((used = rpc_parse(p, size, &e, &err)) > 0) {
        if (e.data != p + RPC_HEAD || e.n != (size_t)used - RPC_HEAD || (size_t)used > size)
            abort();
        rpc_read_error(e.data, e.n, &err);
        p += used;
        size -= (size_t)used;
    }
    rpc_read_error(p, size, &err);
    return 0;
}
