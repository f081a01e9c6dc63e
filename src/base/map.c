/* map.c - see map.h. The hash is SipHash-1-3 with a random key a table: callers choose our keys. */
#include "base/map.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"

enum { MAP_FIRST_CAP = 16 };

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTL(v[1], 13) ^ v[0];
    v[0] = ROTL(v[0], 32);
    v[2] += v[3];
    v[3] = ROTL(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTL(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTL(v[1], 17) ^ v[2];
    v[2] = ROTL(v[2], 32);
}

static uint64_t sip_hash(const uint64_t seed[2], const char *key)
{
    size_t len = strlen(key), left = len;
    uint64_t v[4] = { seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
        seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573 };
    uint64_t block;

    for (; left >= 8; left -= 8, key += 8) {
        memcpy(&block, key, 8);
        v[3] ^= block;
        sip_round(v);
        v[0] ^= block;
    }
    block = (uint64_t)len << 56;
    for (size_t i = 0; i < left; i++)
        block |= (uint64_t)(unsigned char)key[i] << (8 * i);
    v[3] ^= block;
    sip_round(v);
    v[0] ^= block;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void smx_map_init(struct smx_map *m)
{
    memset(m, 0, sizeof *m);
    smx_random(m->seed, sizeof m->seed);
}

void smx_map_done(struct smx_map *m)
{
    smx_free(m->slots);
    m->slots = NULL;
    m->cap = m->used = m->count = 0;
}

static struct smx_map_slot *find(const struct smx_map *m, const char *key, uint64_t hash)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct smx_map_slot *s = &m->slots[i];

        if (!s->key)
            return NULL;
        if (s->value && s->hash == hash && strcmp(s->key, key) == 0)
            return s;
    }
}

void *smx_map_get(const struct smx_map *m, const char *key)
{
    struct smx_map_slot *s = find(m, key, sip_hash(m->seed, key));

    return s ? s->value : NULL;
}

static void insert(struct smx_map *m, struct smx_map_slot slot)
{
    size_t i = slot.hash & (m->cap - 1);

    while (m->slots[i].key)
        i = (i + 1) & (m->cap - 1);
    m->slots[i] = slot;
    m->used++;
    m->count++;
}

static int rehash(struct smx_map *m, size_t cap)
{
    struct smx_map old = *m;

    m->slots = smx_alloc_array(cap, sizeof *m->slots);
    if (!m->slots) {
        m->slots = old.slots;
        return -SMX_E_NO_MEMORY;
    }
    m->cap = cap;
    m->used = m->count = 0;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].value)
            insert(m, old.slots[i]);
    smx_free(old.slots);
    return 0;
}

int smx_map_put(struct smx_map *m, const char *key, void *value)
{
    uint64_t hash = sip_hash(m->seed, key);

    if (find(m, key, hash))
        return -SMX_E_EXISTS;
    if ((m->used + 1) * 4 > m->cap * 3) {
        size_t cap = m->cap ? m->cap : MAP_FIRST_CAP;
        int r;

        while ((m->count + 1) * 2 > cap)
            cap *= 2;
        r = rehash(m, cap);
        if (r < 0)
            return r;
    }
    insert(m, (struct smx_map_slot){ .key = key, .value = value, .hash = hash });
    return 0;
}

void *smx_map_remove(struct smx_map *m, const char *key)
{
    struct smx_map_slot *s = find(m, key, sip_hash(m->seed, key));
    void *value;

    if (!s)
        return NULL;
    value = s->value;
    s->value = NULL;
    s->key = ""; /* the key's memory may go with the value; a deleted slot is never compared */
    m->count--;
    return value;
}

void *smx_map_next(const struct smx_map *m, size_t *pos)
{
    while (*pos < m->cap) {
        struct smx_map_slot *s = &m->slots[(*pos)++];

        if (s->value)
            return s->value;
    }
    return NULL;
}
