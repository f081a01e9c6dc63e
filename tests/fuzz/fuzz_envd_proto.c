/* fuzz_envd_proto.c - the first byte chooses a table of the envd protocol. The rest is a message of
 * it in the binary form, whose JSON must be one that the JSON parser can read; and it is a message
 * in JSON, whose binary form must read back to JSON that means the same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "wire/envd/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 16 << 20, NOISE_MAX = 65536 };

/* Well-formed JSON, though perhaps not what the table allows: NUL in a text is refused there. */
static void read_binary(const struct json_table *t, const char *data, size_t n)
{
    struct smx_buf out;
    struct smx_err err;
    void *value = smx_alloc(t->size);

    if (!value)
        abort();
    smx_buf_init(&out, ROOM);
    if (envd_proto_read(t, data, n, &out, &err) == 0) {
        if (!out.failed && (out.len < 2 || out.data[out.len - 1] != '}'))
            abort();
        if (!out.failed && json_decode(t, out.data, out.len, value, &err) == 0)
            json_free(t, value);
    }
    smx_buf_done(&out);
    smx_free(value);
}

static void write_binary(const struct json_table *t, const char *data, size_t n)
{
    struct smx_buf out, again;
    struct smx_err err;
    size_t at = 0;

    smx_buf_init(&out, ROOM);
    smx_buf_init(&again, ROOM);
    while (envd_proto_step(&out, t, data, n, &at, &err) > 0)
        ;
    smx_buf_reset(&out);
    if (envd_proto_append(&out, t, data, n, &err) == 0 && out.len > 0)
        (void)envd_proto_read(t, out.data, out.len, &again, &err);
    smx_buf_done(&again);
    smx_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct json_table *t = envd_tables[0];

    if (size == 0 || size > NOISE_MAX)
        return 0;
    for (size_t i = data[0]; t && i > 0; i--)
        t = envd_tables[data[0] - i + 1];
    if (!t)
        return 0;
    read_binary(t, (const char *)data + 1, size - 1);
    write_binary(t, (const char *)data + 1, size - 1);
    return 0;
}
