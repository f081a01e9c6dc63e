/* mem.h - the only door to the heap. Memory is zeroed; failure is NULL and an error for the caller
 * to return. smx_mem_fail_after() makes the n-th allocation of this thread fail (tests). */
#ifndef SMX_BASE_MEM_H
#define SMX_BASE_MEM_H

#include <stddef.h>

#include "base/cleanup.h"

void *smx_alloc(size_t size) SMX_MUST_USE;
void *smx_alloc_array(size_t count, size_t size) SMX_MUST_USE; /* NULL on overflow too */
void *smx_realloc(
    void *p, size_t size) SMX_MUST_USE; /* new bytes are not zeroed; p is kept on failure */
char *smx_strdup(const char *s) SMX_MUST_USE;
char *smx_strndup(const char *s, size_t n) SMX_MUST_USE;
char *smx_asprintf(const char *fmt, ...) SMX_PRINTF(1, 2) SMX_MUST_USE;
void smx_free(void *p);

/* 1 fails the next allocation, 0 switches injection off. */
void smx_mem_fail_after(unsigned n);

static inline void smx_freep(void *pp)
{
    smx_free(*(void **)pp);
}

#endif
