/* map.h - a hash table from strings to pointers, open addressing, seeded per table against chosen
 * keys. Keys are borrowed: they live in the value and must not change while it is in the table. */
#ifndef SMX_BASE_MAP_H
#define SMX_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct smx_map_slot {
    const char *key; /* NULL: empty */
    void *value;     /* NULL with a key: deleted */
    uint64_t hash;
};

struct smx_map {
    struct smx_map_slot *slots;
    size_t cap, used, count;
    uint64_t seed[2];
};

void smx_map_init(struct smx_map *m);
void smx_map_done(struct smx_map *m); /* values are the caller's */
void *smx_map_get(const struct smx_map *m, const char *key);
/* 0, -SMX_E_EXISTS (nothing changed) or -SMX_E_NO_MEMORY. value is not NULL. */
int smx_map_put(struct smx_map *m, const char *key, void *value) SMX_MUST_USE;
void *smx_map_remove(struct smx_map *m, const char *key); /* the value, or NULL */
/* Iterates: *pos starts at 0; NULL at the end. Removing the returned key is allowed, adding is not.
 */
void *smx_map_next(const struct smx_map *m, size_t *pos);

#endif
