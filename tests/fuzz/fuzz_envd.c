/* fuzz_envd.c - the first byte chooses a table of the envd protocol, the rest is its message; what
 * is accepted must survive a round trip. The short cut for data events must agree with its table.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "round_trip.h"
#include "wire/envd/envd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_data_event(const char *text, size_t n)
{
    enum envd_stream stream;
    struct smx_view base64;
    char *bytes;
    ptrdiff_t len;

    if (!envd_data_event_parse(text, n, &stream, &base64))
        return;
    bytes = smx_alloc(base64.n / 4 * 3 + 3);
    if (!bytes)
        abort();
    len = smx_base64_decode(bytes, base64.p, base64.n);
    if (len >= 0) {
        struct envd_event_message m;

        if (json_decode(&envd_event_message_table, text, n, &m, /* err= */ NULL) == 0)
            json_free(&envd_event_message_table, &m);
    }
    smx_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = 0;

    while (envd_tables[n])
        n++;
    if (size == 0)
        return 0;
    round_trip(envd_tables[data[0] % n], (const char *)data + 1, size - 1);
    check_data_event((const char *)data + 1, size - 1);
    return 0;
}
