/* fuzz_tar.c - any bytes as a tar stream, whole and in pieces: the same entries both times, and
 * names that are strings. The first byte is the size of the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
    unsigned entries, ends;
    uint64_t bytes, names;
};

static int on_entry(const struct tar_entry *e, void *arg, struct smx_err *err)
{
    struct tally *t = arg;

    (void)err;
    if (strnlen(e->path, sizeof e->path) == sizeof e->path || !e->path[0] ||
        strnlen(e->link, sizeof e->link) == sizeof e->link || e->mtime_ns > 999999999)
        abort();
    t->entries++;
    t->names += strlen(e->path) + strlen(e->link);
    return 0;
}

static int on_data(const void *data, size_t n, void *arg, struct smx_err *err)
{
    (void)data;
    (void)err;
    ((struct tally *)arg)->bytes += n;
    return 0;
}

static int on_end(void *arg, struct smx_err *err)
{
    (void)err;
    ((struct tally *)arg)->ends++;
    return 0;
}

static int run(const uint8_t *data, size_t size, size_t piece, struct tally *t)
{
    struct tar_sink sink = { on_entry, on_data, on_end, t };
    struct tar_reader *r = calloc(1, sizeof *r);
    struct smx_err err = { 0 };
    int e = 0;

    memset(t, 0, sizeof *t);
    if (!r)
        abort();
    tar_reader_init(r, &sink);
    for (size_t at = 0; e == 0 && at < size; at += piece)
        e = tar_read(r, data + at, size - at < piece ? size - at : piece, &err);
    if (e == 0)
        e = tar_read_end(r, &err);
    tar_reader_done(r);
    free(r);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tally whole, parts;
    size_t piece;
    int a, b;

    if (size == 0)
        return 0;
    piece = data[0] ? data[0] : 256;
    a = run(data + 1, size - 1, size, &whole);
    b = run(data + 1, size - 1, piece, &parts);
    if (a != b || memcmp(&whole, &parts, sizeof whole) != 0)
        abort();
    return 0;
}
