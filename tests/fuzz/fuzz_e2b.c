/* fuzz_e2b.c - the first byte chooses a table of E2B's control plane, the rest is its message; what
 * is accepted must survive a round trip. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "round_trip.h"
#include "wire/e2b/e2b.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void list(const struct json_table *t, const char *text, size_t n)
{
    struct json_array v = { 0 };

    if (e2b_list_decode(t, text, n, &v, /* err= */ NULL) == 0)
        e2b_list_free(t, &v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = 0;

    while (e2b_tables[n])
        n++;
    if (size < 1)
        return 0;
    round_trip(e2b_tables[data[0] % n], (const char *)data + 1, size - 1);
    list(e2b_tables[data[0] % n], (const char *)data + 1, size - 1);
    return 0;
}
