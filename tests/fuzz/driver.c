/* driver.c - a main for fuzz targets without libFuzzer: replays the files of a corpus directory,
 * and of each file its beginnings and a fixed number of one-byte changes, the same ones in every
 * run. A fault shows as a crash or a sanitizer's report; an empty corpus is a failure. Prints TAP.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"

enum { INPUT_MAX = 1 << 20, CUTS = 64, CHANGES = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each input is a heap block of its exact size, so that a read past the end is seen. */
static void run(const char *data, size_t n)
{
    uint8_t *copy = smx_alloc(n ? n : 1);

    if (!copy)
        abort();
    if (n > 0)
        memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    smx_free(copy);
}

static void run_cuts(const char *data, size_t n)
{
    size_t step = n / CUTS + 1;

    for (size_t len = 0; len < n; len += step)
        run(data, len);
}

static void run_changes(char *data, size_t n)
{
    static const char bytes[] = "\0\xff\x80\"\\{}[]:,0-.\r\n /%=;";
    uint32_t seed = (uint32_t)n;

    for (int i = 0; i < CHANGES && n > 0; i++) {
        size_t at;
        char old;

        seed = seed * 1664525 + 1013904223;
        at = (seed >> 8) % n;
        old = data[at];
        data[at] = i % 2 ? bytes[(seed >> 4) % (sizeof bytes - 1)] : (char)(old ^ 1 << i / 2 % 8);
        run(data, n);
        data[at] = old;
    }
}

static int replay(int dir, const char *name)
{
    struct smx_err err = { 0 };
    struct smx_buf b;
    int r;

    smx_buf_init(&b, INPUT_MAX);
    r = smx_read_file_at(dir, name, &b, &err);
    if (r < 0) {
        printf("# %s: %s\n", name, err.msg);
    } else {
        run(b.data, b.len);
        run_cuts(b.data, b.len);
        run_changes(b.data, b.len);
    }
    smx_buf_done(&b);
    return r;
}

int main(int argc, char **argv)
{
    const char *program = strrchr(argv[0], '/');
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    int inputs = 0, bad = 0;

    if (!dir) {
        printf("Bail out! usage: %s CORPUS (%s)\n", argv[0], strerror(errno));
        return 1;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        inputs++;
        bad += replay(dirfd(dir), e->d_name) < 0;
    }
    closedir(dir);
    bad += inputs == 0;
    printf("1..1\n%s 1 - %s: %d inputs\n", bad ? "not ok" : "ok", program ? program + 1 : argv[0],
        inputs);
    return bad > 0;
}
