/* fuzz_dotenv.c - any bytes as a .env: every pair has a well-formed name, lines only grow. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/dotenv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int pair(const char *key, const char *value, unsigned line, void *arg)
{
    unsigned *last = arg;

    if (!*key ||
        strspn(key, "_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") !=
            strlen(key) ||
        line <= *last || strlen(value) > DOTENV_FILE_MAX)
        abort();
    *last = line;
    return 0;
}

static int malformed(unsigned line, const char *why, void *arg)
{
    unsigned *last = arg;

    if (line <= *last || !*why)
        abort();
    *last = line;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned last = 0;
    struct dotenv_sink sink = { pair, malformed, &last };

    if (size > 0 && size < DOTENV_FILE_MAX)
        dotenv_parse((const char *)data, size, &sink);
    return 0;
}
