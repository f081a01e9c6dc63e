/* mem.c - allocation with injected failures. The counter is thread-local. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 1024 };

static _Thread_local unsigned fail_after;

void smx_mem_fail_after(unsigned n)
{
    fail_after = n;
}

static int must_fail(void)
{
    return fail_after > 0 && --fail_after == 0;
}

/* Small blocks are zeroed here: glibc's calloc() does not take from the thread's own cache, and
 * what is freed while that is full goes the long way, too. */
void *smx_alloc(size_t size)
{
    void *p;

    if (must_fail())
        return NULL;
    if (size > SMALL)
        return calloc(1, size);
    p = malloc(size ? size : 1);
    if (p)
        memset(p, 0, size);
    return p;
}

void *smx_alloc_array(size_t count, size_t size)
{
    if (must_fail())
        return NULL;
    return calloc(count ? count : 1, size ? size : 1);
}

void *smx_realloc(void *p, size_t size)
{
    return must_fail() ? NULL : realloc(p, size ? size : 1);
}

char *smx_strdup(const char *s)
{
    return smx_strndup(s, strlen(s));
}

char *smx_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = smx_alloc(len + 1);

    if (copy)
        memcpy(copy, s, len);
    return copy;
}

char *smx_asprintf(const char *fmt, ...)
{
    va_list ap;
    char *s;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    s = smx_alloc((size_t)n + 1);
    if (!s)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

void smx_free(void *p)
{
    free(p);
}
