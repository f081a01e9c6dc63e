/* random.h - bytes and ids from the kernel. */
#ifndef SMX_BASE_RANDOM_H
#define SMX_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void smx_random(
    void *data, size_t n); /* never fails: getrandom blocks only before the first seed */
uint64_t smx_random_u64(void);
enum { SMX_ID_LEN = 21 };
/* A sandbox id: 'i' and 20 characters of [a-z0-9], evenly distributed, and a NUL. */
void smx_id_make(char out[SMX_ID_LEN + 1]);
/* Nonzero when s has the form of an id. */
int smx_id_valid(const char *s);

#endif
