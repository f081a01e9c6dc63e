/* brief.c - records of entries: a head of fixed size, little-endian, then the texts. The parser
 * trusts nothing: it reads what a sandbox's agent sent. */
#include "wire/envd/brief.h"

#include <endian.h>
#include <string.h>

enum { MODE_MAX = 0777, TEXTS = 4, TEXT_MAX = UINT16_MAX - 1 };

/* Lengths are without the NUL. */
struct head {
    uint16_t text[TEXTS]; /* path, target, owner, group */
    uint16_t mode;
    uint8_t type, is_link;
    uint32_t unused; /* zero */
    uint64_t size, mtime_unix_ms;
};
_Static_assert(sizeof(struct head) == 32, "no padding");

static char *put_text(char *p, struct smx_view v, uint16_t *ret_length)
{
    size_t n = SMX_MIN(v.n, (size_t)TEXT_MAX);

    *ret_length = htole16((uint16_t)n);
    if (n > 0)
        memcpy(p, v.p, n);
    p[n] = '\0';
    return p + n + 1;
}

void envd_brief_append(struct smx_buf *out, const struct envd_brief *e)
{
    struct head h = { .mode = htole16(e->mode),
        .type = (uint8_t)e->type,
        .is_link = e->target.p != NULL,
        .size = htole64(e->size),
        .mtime_unix_ms = htole64((uint64_t)e->mtime_unix_ms) };
    char *p;

    if (smx_buf_reserve(out, sizeof h + e->path.n + e->target.n + e->owner.n + e->group.n + TEXTS) <
        0)
        return;
    p = out->data + out->len;
    p = put_text(p + sizeof h, e->path, &h.text[0]);
    p = put_text(p, e->target, &h.text[1]);
    p = put_text(p, e->owner, &h.text[2]);
    p = put_text(p, e->group, &h.text[3]);
    memcpy(out->data + out->len, &h, sizeof h);
    out->len = (size_t)(p - out->data);
    *p = '\0';
}

/* The texts, which must lie inside and end where the head says. */
static const char *take_texts(
    const struct head *h, const char *p, const char *end, struct smx_view v[TEXTS])
{
    for (int i = 0; i < TEXTS; i++) {
        size_t n = le16toh(h->text[i]);

        if ((size_t)(end - p) <= n || memchr(p, '\0', n + 1) != p + n)
            return NULL;
        v[i] = (struct smx_view){ p, n };
        p += n + 1;
    }
    return p;
}

static bool acceptable(const struct head *h, const struct smx_view v[TEXTS])
{
    const struct smx_view *path = &v[0], *target = &v[1];

    return path->n > 1 && path->p[0] == '/' && path->p[path->n - 1] != '/' &&
           h->type < ENVD_TYPE_COUNT_ && le16toh(h->mode) <= MODE_MAX && h->is_link <= 1 &&
           (h->is_link || target->n == 0) && h->unused == 0;
}

ptrdiff_t envd_brief_parse(const char *data, size_t n, struct envd_brief *ret)
{
    struct smx_view v[TEXTS];
    const char *end;
    struct head h;

    if (n < sizeof h)
        return -SMX_E_PROTOCOL;
    memcpy(&h, data, sizeof h);
    end = take_texts(&h, data + sizeof h, data + n, v);
    if (!end || !acceptable(&h, v))
        return -SMX_E_PROTOCOL;
    *ret = (struct envd_brief){ .path = v[0],
        .target = h.is_link ? v[1] : (struct smx_view){ 0 },
        .owner = v[2],
        .group = v[3],
        .type = (enum envd_file_type)h.type,
        .mode = le16toh(h.mode),
        .size = le64toh(h.size),
        .mtime_unix_ms = (int64_t)le64toh(h.mtime_unix_ms) };
    return end - data;
}
