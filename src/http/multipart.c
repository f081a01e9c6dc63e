/* multipart.c - see multipart.h.
 *
 * A window slides over the body. Part data is given out up to the first byte that may belong to a
 * delimiter (CR LF "--" boundary, and behind it a blank, a line end or "--"); what looks like one
 * and is not, such as a line that only begins with the boundary, goes out as data. The window holds
 * a part's head whole; it never grows. One fiber at a time. */
#include "http/multipart.h"

#include <assert.h>
#include <strings.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/h1.h"

enum {
    WINDOW = 16 * 1024,
    PREAMBLE_MAX = 8 * 1024, /* text before the first part, which nobody sends */
    PARTS_MAX = 128 * 1024,
    DELIMITER_MAX = MULTIPART_BOUNDARY_MAX + 4
};

enum state { START, IN_PART, AFTER_PART, END, FAILED };

struct multipart {
    multipart_source_fn *source;
    void *ctx;
    enum state state;
    bool source_ended;
    size_t parts;
    size_t delimiter_n;
    char delimiter[DELIMITER_MAX + 1]; /* CR LF "--" boundary */
    size_t pos, len;                   /* window[pos..len) is not used yet */
    char name[MULTIPART_NAME_MAX + 1];
    char filename[MULTIPART_FILENAME_MAX + 1];
    char content_type[256];
    char window[WINDOW];
};

static int refuse(struct multipart *m, struct smx_err *err, const char *why)
{
    m->state = FAILED;
    return smx_err_set(err, SMX_E_INVALID, "multipart body: %s", why);
}

/* --- parameters of a field: ; name=value or ; name="quoted" --- */

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct smx_view *v)
{
    while (v->n > 0 && blank(v->p[0]))
        v->p++, v->n--;
}

/* Unquotes into out. Browsers send \ in file names as it is: only \" and \\ are escapes. */
static bool take_quoted(struct smx_view *v, char *out, size_t size)
{
    size_t at = 0;

    v->p++, v->n--;
    while (v->n > 0 && v->p[0] != '"') {
        if (v->p[0] == '\\' && v->n > 1 && (v->p[1] == '"' || v->p[1] == '\\'))
            v->p++, v->n--;
        if (at + 1 >= size)
            return false;
        out[at++] = v->p[0];
        v->p++, v->n--;
    }
    out[at] = '\0';
    if (v->n == 0)
        return false;
    v->p++, v->n--;
    return true;
}

static bool take_token(struct smx_view *v, char *out, size_t size)
{
    size_t n = 0;

    while (n < v->n && v->p[n] != ';' && v->p[n] != '"' && !blank(v->p[n]))
        n++;
    if (n == 0 || !smx_view_copy(out, size, (struct smx_view){ v->p, n }))
        return false;
    v->p += n, v->n -= n;
    return true;
}

/* The next parameter: 1, 0 at the end, -1 malformed or too long. A name longer than its room is no
 * name that we know. */
static int take_parameter(
    struct smx_view *v, char *name, size_t name_size, char *value, size_t value_size)
{
    size_t n = 0;

    skip_blanks(v);
    if (v->n == 0)
        return 0;
    if (v->p[0] != ';')
        return -1;
    v->p++, v->n--;
    skip_blanks(v);
    if (v->n == 0)
        return 0;
    while (n < v->n && v->p[n] != '=' && v->p[n] != ';' && !blank(v->p[n]))
        n++;
    if (n == 0 || n == v->n || v->p[n] != '=')
        return -1;
    smx_view_copy(name, name_size, (struct smx_view){ v->p, n });
    v->p += n + 1, v->n -= n + 1;
    if (v->n > 0 && v->p[0] == '"')
        return take_quoted(v, value, value_size) ? 1 : -1;
    return take_token(v, value, value_size) ? 1 : -1;
}

static bool boundary_valid(const char *s)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] >= 0x7f)
            return false;
    return n > 0 && s[n - 1] != ' ';
}

static int read_boundary(struct multipart *m, struct smx_view type, struct smx_err *err)
{
    static const char media[] = "multipart/form-data";
    char name[16], value[256], boundary[MULTIPART_BOUNDARY_MAX + 1] = "";
    int r;

    if (type.n < sizeof media - 1 || strncasecmp(type.p, media, sizeof media - 1) != 0)
        return smx_err_set(err, SMX_E_INVALID, "Content-Type must be multipart/form-data");
    type.p += sizeof media - 1, type.n -= sizeof media - 1;
    while ((r = take_parameter(&type, name, sizeof name, value, sizeof value)) > 0) {
        if (strcasecmp(name, "boundary") != 0)
            continue;
        if (boundary[0] || !boundary_valid(value) || !smx_strcpy(boundary, sizeof boundary, value))
            r = -1;
        if (r < 0)
            break;
    }
    if (r < 0 || !boundary[0])
        return smx_err_set(
            err, SMX_E_INVALID, "Content-Type has no boundary of 1 to 70 characters");
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary, strlen(boundary) + 1);
    m->delimiter_n = strlen(m->delimiter);
    return 0;
}

int multipart_new(struct smx_view content_type, multipart_source_fn *source, void *ctx,
    struct multipart **ret, struct smx_err *err)
{
    SMX_CLEANUP(multipart_freep) struct multipart *m = smx_alloc(sizeof *m);
    int r;

    if (!m)
        return smx_err_oom(err);
    r = read_boundary(m, content_type, err);
    if (r < 0)
        return r;
    m->source = source;
    m->ctx = ctx;
    /* The first delimiter may stand without its CR LF: pretend that one came. */
    memcpy(m->window, "\r\n", 2);
    m->len = 2;
    *ret = smx_take(&m);
    return 0;
}

void multipart_free(struct multipart *m)
{
    smx_free(m);
}

/* --- window --- */

/* Reads more into the window: 1, or a negative code; the end of the source is an error here. */
static int fill(struct multipart *m, struct smx_err *err)
{
    ssize_t n = 0;

    if (m->pos > 0) {
        memmove(m->window, m->window + m->pos, m->len - m->pos);
        m->len -= m->pos;
        m->pos = 0;
    }
    assert(m->len < WINDOW);
    if (!m->source_ended)
        n = m->source(m->ctx, m->window + m->len, WINDOW - m->len, err);
    if (n < 0) {
        m->state = FAILED;
        return (int)n;
    }
    m->source_ended = n == 0;
    if (n == 0)
        return refuse(m, err, "it ends before its last boundary");
    m->len += (size_t)n;
    return 1;
}

/* What stands behind a boundary decides whether it is one: 1 yes, 0 no, -1 not seen yet. */
static int is_delimiter(const char *after, const char *end)
{
    if (after == end)
        return -1;
    if (*after == '-')
        return end - after < 2 ? -1 : after[1] == '-';
    return blank(*after) || *after == '\r';
}

/* Bytes at the cursor that certainly are data, before a delimiter or the beginning of one. */
static size_t data_before_delimiter(const struct multipart *m, bool *ret_found)
{
    const char *p = m->window + m->pos, *end = m->window + m->len;
    const char *cr = p;

    *ret_found = false;
    while (cr < end && (cr = memchr(cr, '\r', (size_t)(end - cr)))) {
        size_t n = SMX_MIN((size_t)(end - cr), m->delimiter_n);
        int is = memcmp(cr, m->delimiter, n) != 0 ? 0 : is_delimiter(cr + n, end);

        if (is != 0) {
            *ret_found = is > 0;
            return (size_t)(cr - p);
        }
        cr++;
    }
    return (size_t)(end - p);
}

/* --- parts --- */

static bool text_valid(const char *s)
{
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return smx_utf8_valid(s, strlen(s));
}

/* The form of RFC 8187, in which clients write names that are not ASCII: UTF-8''a%20b. */
static bool read_extended(struct multipart *m, const char *value)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf out = { 0 };
    const char *text = strncasecmp(value, "utf-8'", 6) == 0 ? strchr(value + 6, '\'') : NULL;

    smx_buf_init(&out, MULTIPART_FILENAME_MAX);
    return text && h1_percent_decode(smx_view_of(text + 1), /* form= */ false, &out) &&
           smx_strcpy(m->filename, sizeof m->filename, out.data ? out.data : "");
}

static int read_disposition(
    struct multipart *m, struct smx_view v, struct multipart_part *part, struct smx_err *err)
{
    static const char kind[] = "form-data";
    char name[16], value[MULTIPART_FILENAME_MAX + 1];
    bool named = false, plain = false, extended = false;
    int r;

    if (v.n < sizeof kind - 1 || strncasecmp(v.p, kind, sizeof kind - 1) != 0)
        return refuse(m, err, "a part's Content-Disposition is not form-data");
    v.p += sizeof kind - 1, v.n -= sizeof kind - 1;
    while ((r = take_parameter(&v, name, sizeof name, value, sizeof value)) > 0) {
        if (strcasecmp(name, "name") == 0) {
            if (named || !smx_strcpy(m->name, sizeof m->name, value))
                return refuse(m, err, "a part's name is given twice or too long");
            named = true;
        } else if (strcasecmp(name, "filename") == 0) {
            if (plain || (!extended && !smx_strcpy(m->filename, sizeof m->filename, value)))
                return refuse(m, err, "a part's filename is given twice or too long");
            plain = true;
        } else if (strcasecmp(name, "filename*") == 0) { /* the better one of two */
            if (extended || !read_extended(m, value))
                return refuse(m, err, "a part's filename* is given twice or cannot be read");
            extended = true;
        }
    }
    if (r < 0)
        return refuse(m, err, "a part's Content-Disposition is malformed or too long");
    part->filename = plain || extended ? m->filename : NULL;
    if (!text_valid(m->name) || (part->filename && !text_valid(m->filename)))
        return refuse(m, err, "a part's name is not UTF-8 or has control characters");
    return 0;
}

static int read_field(struct multipart *m, struct smx_view line, struct multipart_part *part,
    bool *disposed, struct smx_err *err)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct smx_view name, value;

    if (!colon || colon == line.p || blank(colon[-1]) || blank(line.p[0]))
        return refuse(m, err, "a malformed field in the head of a part");
    if (memchr(line.p, '\0', line.n) || memchr(line.p, '\r', line.n) ||
        memchr(line.p, '\n', line.n))
        return refuse(m, err, "a control character in the head of a part");
    name = (struct smx_view){ line.p, (size_t)(colon - line.p) };
    value = (struct smx_view){ colon + 1, line.n - name.n - 1 };
    skip_blanks(&value);
    if (smx_view_ieq(name, "content-type")) {
        smx_view_copy(m->content_type, sizeof m->content_type, value);
    } else if (smx_view_ieq(name, "content-disposition")) {
        if (*disposed)
            return refuse(m, err, "a part has two Content-Dispositions");
        *disposed = true;
        return read_disposition(m, value, part, err);
    } else if (smx_view_ieq(name, "content-transfer-encoding") && !smx_view_ieq(value, "binary") &&
               !smx_view_ieq(value, "8bit") && !smx_view_ieq(value, "7bit")) {
        return refuse(m, err, "a part has a Content-Transfer-Encoding"); /* RFC 7578 4.7 */
    }
    return 0;
}

/* A line of the head without its CR LF, taken off the window. */
static int take_line(
    struct multipart *m, size_t *head_bytes, struct smx_view *ret, struct smx_err *err)
{
    for (;;) {
        const char *p = m->window + m->pos;
        const char *lf = memmem(p, m->len - m->pos, "\r\n", 2);
        int r;

        if (lf && *head_bytes + (size_t)(lf - p) + 2 <= MULTIPART_HEAD_MAX) {
            *ret = (struct smx_view){ p, (size_t)(lf - p) };
            m->pos += ret->n + 2;
            *head_bytes += ret->n + 2;
            return 1;
        }
        if (lf || *head_bytes + m->len - m->pos > MULTIPART_HEAD_MAX)
            return refuse(m, err, "the head of a part is too large");
        r = fill(m, err);
        if (r < 0)
            return r;
    }
}

static int read_head(struct multipart *m, struct multipart_part *part, struct smx_err *err)
{
    struct smx_view line;
    size_t bytes = 0;
    bool disposed = false;
    int r;

    m->name[0] = m->filename[0] = m->content_type[0] = '\0';
    *part = (struct multipart_part){ .name = m->name, .content_type = m->content_type };
    for (;;) {
        r = take_line(m, &bytes, &line, err);
        if (r < 0)
            return r;
        if (line.n == 0)
            break;
        r = read_field(m, line, part, &disposed, err);
        if (r < 0)
            return r;
    }
    if (!disposed)
        return refuse(m, err, "a part has no Content-Disposition");
    return 1;
}

/* Behind a delimiter: 1 another part follows, 0 it was the last, or a negative code. */
static int after_delimiter(struct multipart *m, struct smx_err *err)
{
    size_t bytes = 0;
    struct smx_view line;
    int r = 1;

    while (m->len - m->pos < 2 && r > 0)
        r = fill(m, err);
    if (r < 0)
        return r;
    if (memcmp(m->window + m->pos, "--", 2) == 0) {
        m->state = END;
        return 0;
    }
    r = take_line(m, &bytes, &line, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < line.n; i++) /* RFC 2046: blanks may stand here */
        if (!blank(line.p[i]))
            return refuse(m, err, "a boundary is not followed by a line end");
    if (++m->parts > PARTS_MAX)
        return refuse(m, err, "it has too many parts");
    return 1;
}

/* Everything behind the last boundary is read and dropped, so that the connection can go on. */
static int skip_epilogue(struct multipart *m, struct smx_err *err)
{
    ssize_t n = 1;

    while (!m->source_ended && n > 0)
        n = m->source(m->ctx, m->window, WINDOW, err);
    m->pos = m->len = 0;
    m->source_ended = true;
    if (n < 0)
        m->state = FAILED;
    return n < 0 ? (int)n : 0;
}

static int skip_to_delimiter(struct multipart *m, size_t max, struct smx_err *err)
{
    char drop[1024];
    size_t total = 0;
    ssize_t n;

    while ((n = multipart_read(m, drop, sizeof drop, err)) > 0) {
        total += (size_t)n;
        if (total > max)
            return refuse(m, err, "no boundary where one is due");
    }
    return (int)n;
}

int multipart_next(struct multipart *m, struct multipart_part *ret, struct smx_err *err)
{
    int r;

    if (m->state == FAILED)
        return smx_err_set(err, SMX_E_INVALID, "multipart body: it failed before");
    if (m->state == END)
        return 0;
    r = skip_to_delimiter(m, m->state == START ? PREAMBLE_MAX : SIZE_MAX, err);
    if (r == 0)
        r = after_delimiter(m, err);
    if (r == 0)
        return skip_epilogue(m, err);
    if (r > 0)
        r = read_head(m, ret, err);
    if (r > 0)
        m->state = IN_PART;
    return r;
}

ssize_t multipart_read(struct multipart *m, void *data, size_t n, struct smx_err *err)
{
    bool found = false;
    size_t have = 0;
    int r = 1;

    if (m->state == FAILED)
        return smx_err_set(err, SMX_E_INVALID, "multipart body: it failed before");
    if (m->state == AFTER_PART || m->state == END || n == 0)
        return 0;
    while (r > 0 && (have = data_before_delimiter(m, &found)) == 0 && !found)
        r = fill(m, err);
    if (r < 0)
        return r;
    if (have == 0) {
        m->pos += m->delimiter_n;
        m->state = AFTER_PART;
        return 0;
    }
    have = SMX_MIN(have, n);
    memcpy(data, m->window + m->pos, have);
    m->pos += have;
    return (ssize_t)have;
}
