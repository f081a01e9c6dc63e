/* tar_read.c - see tar.h. A push state machine: bytes may be split anywhere. Pure, any thread. What
 * is not understood is refused, never guessed: a wrong checksum, a number that is none, a name with
 * NUL rules or length that do not fit. */
#include "cli/tar.h"

#include <string.h>

#include "base/str.h"

enum {
    NAME = 0,
    NAME_N = 100,
    MODE = 100,
    SIZE = 124,
    MTIME = 136,
    SUM = 148,
    TYPE = 156,
    LINK = 157,
    MAGIC = 257,
    PREFIX = 345,
    PREFIX_N = 155,
};

static int broken(struct smx_err *err, const char *what)
{
    return smx_err_set(err, SMX_E_PROTOCOL, "bad tar stream: %s", what);
}

/* --- numbers and names --------------------------------------------------------------------------
 */

/* Octal with blanks around it, or GNU's big-endian form with the high bit set. */
static bool number(const char *p, size_t n, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    size_t i = 0;

    if ((unsigned char)p[0] == 0x80) {
        for (i = 1; i < n; i++) {
            if (v >> 56)
                return false;
            v = v << 8 | (unsigned char)p[i];
        }
    } else {
        while (i < n && p[i] == ' ')
            i++;
        for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
            if (v >> 61)
                return false;
            v = v << 3 | (unsigned)(p[i] - '0');
        }
        for (; i < n; i++)
            if (p[i] != ' ' && p[i] != '\0')
                return false;
    }
    *ret = v;
    return v <= max;
}

/* GNU writes times before 1970 as a negative big-endian number. */
static bool mtime_number(const char *p, int64_t *ret)
{
    uint64_t v = 0;
    bool ok = true;

    if ((unsigned char)p[0] == 0xff)
        for (size_t i = 4; i < 12; i++)
            v = v << 8 | (unsigned char)p[i];
    else
        ok = number(p, 12, INT64_MAX, &v);
    *ret = (int64_t)v;
    return ok;
}

static bool checksum_ok(const char *block)
{
    uint64_t want;
    unsigned sum = 0;

    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= SUM && i < SUM + 8 ? ' ' : (unsigned char)block[i];
    return number(block + SUM, 8, UINT64_MAX, &want) && want == sum;
}

static void plain_name(char *out, const char *p, size_t n)
{
    size_t len = strnlen(p, n);

    memcpy(out, p, len);
    out[len] = '\0';
}

static void ustar_path(struct tar_entry *e, const char *block)
{
    size_t n = 0;

    if (memcmp(block + MAGIC, "ustar\0", 6) == 0 && block[PREFIX]) {
        n = strnlen(block + PREFIX, PREFIX_N);
        memcpy(e->path, block + PREFIX, n);
        e->path[n++] = '/';
    }
    plain_name(e->path + n, block + NAME, NAME_N);
}

/* --- extended headers ---------------------------------------------------------------------------
 */

static bool take_name(char *out, const char *p, size_t n)
{
    if (n == 0 || n >= TAR_PATH_MAX || memchr(p, '\0', n))
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

/* "-12.345678901": seconds and nanoseconds, the latter always counted forwards. */
static bool take_time(struct tar_entry *e, struct smx_view v)
{
    bool negative = v.n > 0 && v.p[0] == '-';
    const char *dot;
    uint64_t s, ns = 0;
    size_t digits = 0;

    if (negative)
        v = (struct smx_view){ v.p + 1, v.n - 1 };
    dot = memchr(v.p, '.', v.n);
    if (!smx_parse_u64(
            (struct smx_view){ v.p, dot ? (size_t)(dot - v.p) : v.n }, INT64_MAX / 4, &s))
        return false;
    for (const char *p = dot ? dot + 1 : v.p + v.n; p < v.p + v.n; p++, digits++) {
        if (*p < '0' || *p > '9')
            return false;
        if (digits < 9)
            ns = ns * 10 + (uint64_t)(*p - '0');
    }
    for (; digits < 9; digits++)
        ns *= 10;
    e->mtime_s = negative ? -(int64_t)s - (ns > 0) : (int64_t)s;
    e->mtime_ns = (uint32_t)(negative && ns > 0 ? 1000000000 - ns : ns);
    return true;
}

static bool take_record(struct tar_reader *r, struct smx_view key, struct smx_view value)
{
    if (smx_view_eq(key, "path"))
        return r->long_path = take_name(r->entry.path, value.p, value.n);
    if (smx_view_eq(key, "linkpath"))
        return r->long_link = take_name(r->entry.link, value.p, value.n);
    if (smx_view_eq(key, "size"))
        return r->pax_size = smx_parse_u64(value, INT64_MAX, &r->entry.size);
    if (smx_view_eq(key, "mtime"))
        return r->pax_mtime = take_time(&r->entry, value);
    return true; /* owners, access times and what others invented */
}

/* "<length> <key>=<value>\n" after one another. */
static int take_pax(struct tar_reader *r, struct smx_err *err)
{
    const char *p = r->text.data ? r->text.data : "";
    size_t left = r->text.len;

    while (left > 0) {
        const char *blank = memchr(p, ' ', left);
        const char *equals;
        uint64_t n;
        size_t head;

        if (!blank || !smx_parse_u64((struct smx_view){ p, (size_t)(blank - p) }, left, &n))
            return broken(err, "pax record without a length");
        head = (size_t)(blank - p) + 1;
        if (n < head + 2 || p[n - 1] != '\n')
            return broken(err, "pax record of a wrong length");
        equals = memchr(p + head, '=', (size_t)n - head);
        if (!equals || !take_record(r, (struct smx_view){ p + head, (size_t)(equals - p) - head },
                           (struct smx_view){ equals + 1, (size_t)(p + n - 1 - (equals + 1)) }))
            return broken(err, "pax record with a bad value");
        p += n;
        left -= (size_t)n;
    }
    return 0;
}

/* GNU's long names: the text with a NUL at its end. */
static int take_long_name(struct tar_reader *r, char *out, bool *ret_set, struct smx_err *err)
{
    size_t n = r->text.len;

    while (n > 0 && r->text.data[n - 1] == '\0')
        n--;
    *ret_set = take_name(out, r->text.data ? r->text.data : "", n);
    return *ret_set ? 0 : broken(err, "name too long");
}

static int end_extended(struct tar_reader *r, struct smx_err *err)
{
    char type = r->extended;
    int n = 0;

    r->extended = 0;
    if (type == 'x')
        n = take_pax(r, err);
    else if (type == 'L')
        n = take_long_name(r, r->entry.path, &r->long_path, err);
    else if (type == 'K')
        n = take_long_name(r, r->entry.link, &r->long_link, err);
    smx_buf_reset(&r->text);
    return n;
}

/* --- headers ------------------------------------------------------------------------------------
 */

static enum tar_type type_of(char letter)
{
    switch (letter) {
    case '\0':
    case '0':
    case '7':
        return TAR_FILE;
    case '1':
        return TAR_HARDLINK;
    case '2':
        return TAR_SYMLINK;
    case '5':
        return TAR_DIR;
    default:
        return TAR_OTHER;
    }
}

static int take_entry(struct tar_reader *r, uint64_t size, struct smx_err *err)
{
    struct tar_entry *e = &r->entry;
    uint64_t mode;
    int64_t mtime;

    if (!number(r->block + MODE, 8, UINT32_MAX, &mode) || !mtime_number(r->block + MTIME, &mtime))
        return broken(err, "a number that is none");
    if (!r->long_path)
        ustar_path(e, r->block);
    if (!r->long_link)
        plain_name(e->link, r->block + LINK, NAME_N);
    if (!r->pax_mtime) {
        e->mtime_s = mtime;
        e->mtime_ns = 0;
    }
    e->type = type_of(r->block[TYPE]);
    e->mode = (mode_t)(mode & 07777);
    r->data = r->pax_size ? e->size : size;
    r->skip = tar_padding(r->data);
    e->size = r->data;
    if (!e->path[0])
        return broken(err, "an entry without a name");
    if (e->type != TAR_FILE && e->type != TAR_OTHER && r->data > 0)
        return broken(err, "data where there can be none");
    r->long_path = r->long_link = r->pax_size = r->pax_mtime = false;
    r->open = true;
    return r->sink->entry(e, r->sink->arg, err);
}

static int take_header(struct tar_reader *r, struct smx_err *err)
{
    static const char zeros[TAR_BLOCK];
    uint64_t size;

    if (memcmp(r->block, zeros, TAR_BLOCK) == 0) {
        r->ended = ++r->empty >= 2;
        return 0;
    }
    if (r->empty > 0 || !checksum_ok(r->block))
        return broken(err, "a header with a wrong checksum");
    if (!number(r->block + SIZE, 12, INT64_MAX, &size))
        return broken(err, "a size that is none");
    if (!strchr("xgLK", r->block[TYPE]) || !r->block[TYPE])
        return take_entry(r, size, err);
    if (size > TAR_EXTENDED_MAX)
        return broken(err, "an extended header that is too long");
    r->extended = r->block[TYPE];
    r->data = size;
    r->skip = tar_padding(size);
    return 0;
}

/* --- the stream ---------------------------------------------------------------------------------
 */

void tar_reader_init(struct tar_reader *r, const struct tar_sink *sink)
{
    memset(r, 0, sizeof *r);
    r->sink = sink;
    smx_buf_init(&r->text, TAR_EXTENDED_MAX);
}

void tar_reader_done(struct tar_reader *r)
{
    smx_buf_done(&r->text);
}

/* Data and padding have all come: tells it. */
static int settle(struct tar_reader *r, struct smx_err *err)
{
    if (r->data > 0 || r->skip > 0)
        return 0;
    if (r->extended)
        return end_extended(r, err);
    if (!r->open)
        return 0;
    r->open = false;
    return r->sink->end(r->sink->arg, err);
}

/* Consumes some of data: their number, or a negative code. */
static ssize_t step(struct tar_reader *r, const char *data, size_t n, struct smx_err *err)
{
    size_t part;
    int e = 0;

    if (r->ended) /* blocking factor: zeros up to the end of the record */
        return (ssize_t)n;
    if (r->data > 0) {
        part = (size_t)SMX_MIN(r->data, n);
        r->data -= part;
        if (r->extended)
            e = smx_buf_append(&r->text, data, part) < 0 ? smx_buf_check(&r->text, err) : 0;
        else
            e = r->sink->data(data, part, r->sink->arg, err);
    } else if (r->skip > 0) {
        part = SMX_MIN(r->skip, n);
        r->skip -= part;
    } else {
        part = SMX_MIN(TAR_BLOCK - r->have, n);
        memcpy(r->block + r->have, data, part);
        r->have += part;
        if (r->have < TAR_BLOCK)
            return (ssize_t)part;
        r->have = 0;
        e = take_header(r, err);
    }
    if (e == 0)
        e = settle(r, err);
    return e < 0 ? e : (ssize_t)part;
}

int tar_read(struct tar_reader *r, const void *data, size_t n, struct smx_err *err)
{
    const char *p = data;

    while (n > 0) {
        ssize_t used = step(r, p, n, err);

        if (used < 0)
            return (int)used;
        p += used;
        n -= (size_t)used;
    }
    return 0;
}

int tar_read_end(struct tar_reader *r, struct smx_err *err)
{
    if (r->ended)
        return 0;
    return smx_err_set(err, SMX_E_PROTOCOL, "the tar stream was cut");
}
