/* tar_write.c - see tar.h. Owners are root's: who unpacks decides. Pure, any thread. */
#include "cli/tar.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum { OCTAL_11 = 11 };

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == TAR_BLOCK, "a tar header is one block");

static const char type_letters[] = { '0', '5', '2', '1' };

/* Octal digits with a NUL behind; false when the value needs more. */
static bool octal(char *out, size_t digits, uint64_t v)
{
    for (size_t i = digits; i > 0; i--, v >>= 3)
        out[i - 1] = (char)('0' + (v & 7));
    out[digits] = '\0';
    return v == 0;
}

static void fill(struct header *h, const struct tar_entry *e, char type, uint64_t size)
{
    unsigned sum = 0;

    memset(h, 0, sizeof *h);
    memcpy(h->name, e->path, SMX_MIN(strlen(e->path), sizeof h->name));
    memcpy(h->link, e->link, SMX_MIN(strlen(e->link), sizeof h->link));
    octal(h->mode, 7, e->mode & 07777U);
    octal(h->uid, 7, 0);
    octal(h->gid, 7, 0);
    octal(h->size, OCTAL_11, size);
    octal(h->mtime, OCTAL_11, e->mtime_s > 0 ? (uint64_t)e->mtime_s : 0);
    h->type = type;
    memcpy(h->magic, "ustar", 6);
    memcpy(h->version, "00", 2);
    memcpy(h->user, "root", 5);
    memcpy(h->group, "root", 5);
    memset(h->sum, ' ', sizeof h->sum);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += ((const unsigned char *)h)[i];
    octal(h->sum, 6, sum);
}

/* "<length> key=value\n", where the length counts itself. */
static void record(struct smx_buf *out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, n = rest + 1;
    char digits[24];

    while ((size_t)snprintf(digits, sizeof digits, "%zu", n) + rest != n)
        n++;
    smx_buf_appendf(out, "%s %s=%s\n", digits, key, value);
}

static void pax_records(struct smx_buf *out, const struct tar_entry *e)
{
    char text[48];

    if (strlen(e->path) > sizeof((struct header *)NULL)->name)
        record(out, "path", e->path);
    if (strlen(e->link) > sizeof((struct header *)NULL)->link)
        record(out, "linkpath", e->link);
    if (e->size > 077777777777ULL) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)e->size);
        record(out, "size", text);
    }
    if (e->mtime_ns || e->mtime_s < 0 || e->mtime_s > 077777777777LL) {
        /* A time before 1970 counts its fraction backwards. */
        bool before = e->mtime_s < 0 && e->mtime_ns;
        int64_t s = before ? e->mtime_s + 1 : e->mtime_s;
        uint32_t ns = before ? 1000000000U - e->mtime_ns : e->mtime_ns;

        snprintf(text, sizeof text, "%s%lld.%09u", before && s == 0 ? "-" : "", (long long)s, ns);
        record(out, "mtime", text);
    }
}

static int append_block(struct smx_buf *out, const struct header *h)
{
    return smx_buf_append(out, h, sizeof *h);
}

static void append_zeros(struct smx_buf *out, size_t n)
{
    static const char zeros[TAR_BLOCK];

    smx_buf_append(out, zeros, n);
}

int tar_write_header(struct smx_buf *out, const struct tar_entry *e, struct smx_err *err)
{
    struct smx_buf pax;
    struct header h;

    smx_buf_init(&pax, TAR_EXTENDED_MAX);
    pax_records(&pax, e);
    if (pax.len > 0) {
        static const struct tar_entry name = { .path = "pax", .mode = 0644 };

        fill(&h, &name, 'x', pax.len);
        append_block(out, &h);
        smx_buf_append(out, pax.data, pax.len);
        append_zeros(out, tar_padding(pax.len));
    }
    if (pax.failed)
        out->failed = true;
    smx_buf_done(&pax);
    fill(&h, e, type_letters[e->type], e->type == TAR_FILE ? e->size : 0);
    append_block(out, &h);
    return smx_buf_check(out, err);
}

size_t tar_padding(uint64_t size)
{
    return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

int tar_write_end(struct smx_buf *out, struct smx_err *err)
{
    append_zeros(out, TAR_BLOCK);
    append_zeros(out, TAR_BLOCK);
    return smx_buf_check(out, err);
}
