/* fuzz_engine.c - what a hostile gateway may send to the engine, what an engine may answer, and the
 * record that an engine reads back. The first byte picks the table. */
#include <assert.h>
#include <stdint.h>

#include "base/random.h"
#include "engine/meta.h"
#include "wire/engine/engine_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(const char *text, size_t n)
{
    struct engine_request req;
    struct smx_err err = { 0 };

    if (engine_request_decode(text, n, &req, &err) < 0) {
        assert(!req.id && !req.create && !req.after);
        return;
    }
    assert(req.seq > 0 && req.op >= 0 && req.op < ENGINE_OP_COUNT_);
    assert(!req.id || smx_id_valid(req.id));
    assert(req.op != ENGINE_OP_CREATE || (req.id && req.create));
    assert(req.op != ENGINE_OP_CONNECT_PORT || (req.port >= 1 && req.port <= 65535));
    json_free(&engine_request_table, &req);
}

/* What can be read can be written and read again. */
static void reply(const char *text, size_t n)
{
    struct engine_reply r, again;
    struct smx_buf buf;
    struct smx_err err = { 0 };

    if (engine_reply_decode(text, n, &r, &err) < 0)
        return;
    smx_buf_init(&buf, 8 * 1024 * 1024);
    if (json_encode_to(&buf, &engine_reply_table, &r, &err) == 0) {
        assert(engine_reply_decode(buf.data, buf.len, &again, &err) == 0);
        assert(again.seq == r.seq && again.sandboxes.n == r.sandboxes.n);
        json_free(&engine_reply_table, &again);
    }
    smx_buf_done(&buf);
    json_free(&engine_reply_table, &r);
}

static void record(const char *text, size_t n)
{
    struct meta m;

    if (json_decode(&meta_table, text, n, &m, NULL) < 0)
        return;
    assert(m.id && m.template && m.generation && m.hostname && m.boot_id && m.slot >= -1);
    json_free(&meta_table, &m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;

    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        request(text, size - 1);
    else if (data[0] % 3 == 1)
        reply(text, size - 1);
    else
        record(text, size - 1);
    return 0;
}
