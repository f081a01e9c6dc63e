/* dotenv.h - the grammar of .env files, without I/O. */
#ifndef SMX_CONFIG_DOTENV_H
#define SMX_CONFIG_DOTENV_H

#include <stddef.h>

#include "base/err.h"

enum { DOTENV_FILE_MAX = 1024 * 1024 };

struct dotenv_sink {
    /* Both strings live for the call only. Nonzero stops the parse and is returned. */
    int (*pair)(const char *key, const char *value, unsigned line, void *arg);
    /* A line that is no assignment; why is a static string that echoes nothing of it. */
    int (*malformed)(unsigned line, const char *why, void *arg);
    void *arg;
};

/* 0, -SMX_E_NO_MEMORY, or what the sink returned. */
int dotenv_parse(const char *data, size_t n, const struct dotenv_sink *sink);

#endif
