/* files_when.c - see files_when.h. */
#include "agent/files_when.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Dates have four digits for the year: a file from before or after them says the first or last. */
void files_date_text(time_t t, char text[FILES_DATE_SIZE])
{
    static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
        "Oct", "Nov", "Dec" };
    const time_t first = -62135596800, last = 253402300799;
    struct tm tm = { 0 };

    t = SMX_MIN(SMX_MAX(t, first), last);
    gmtime_r(&t, &tm);
    snprintf(text, FILES_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
        tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* The three forms of a date that RFC 9110 knows. */
static bool parse_date(struct smx_view v, time_t *ret)
{
    static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %d %H:%M:%S %Y" };
    char text[FILES_DATE_SIZE];

    if (!v.p || !smx_view_copy(text, sizeof text, v))
        return false;
    for (size_t i = 0; i < SMX_ARRAY_LEN(forms); i++) {
        struct tm tm = { 0 };
        const char *end = strptime(text, forms[i], &tm);

        if (!end || *end)
            continue;
        *ret = timegm(&tm);
        return true;
    }
    return false;
}

enum files_condition files_condition(const struct http_exchange *x, const struct stat *st)
{
    struct smx_view match = http_field(x, "If-Match"), none = http_field(x, "If-None-Match");
    time_t since;

    if (match.p ? !smx_view_eq(match, "*")
                : parse_date(http_field(x, "If-Unmodified-Since"), &since) && st->st_mtime > since)
        return FILES_CONDITION_FAILED;
    if (none.p ? smx_view_eq(none, "*")
               : parse_date(http_field(x, "If-Modified-Since"), &since) && st->st_mtime <= since)
        return FILES_NOT_MODIFIED;
    return FILES_SEND;
}

/* A position past every file is one, however many digits it has. */
static bool parse_position(struct smx_view v, uint64_t *ret)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
    if (!smx_parse_u64(v, INT64_MAX, ret))
        *ret = INT64_MAX;
    return v.n > 0;
}

static bool parse_range(struct smx_view v, uint64_t size, struct files_range *r)
{
    const char *dash;
    uint64_t first, last = UINT64_MAX;

    if (!smx_view_starts(v, "bytes="))
        return false;
    v = (struct smx_view){ v.p + 6, v.n - 6 };
    dash = memchr(v.p, '-', v.n);
    if (!dash)
        return false;
    struct smx_view a = { v.p, (size_t)(dash - v.p) }, b = { dash + 1, v.n - a.n - 1 };
    if (b.n > 0 && !parse_position(b, &last))
        return false;
    if (a.n == 0) { /* the last n bytes */
        if (b.n == 0 || last == 0)
            return false;
        first = last < size ? size - last : 0;
        last = UINT64_MAX;
    } else if (!parse_position(a, &first) || first >= size || last < first) {
        return false;
    }
    r->first = first;
    r->n = SMX_MIN(last, size - 1) - first + 1;
    r->partial = true;
    return true;
}

struct files_range files_range(const struct http_exchange *x, const struct stat *st)
{
    struct files_range r = { .n = (uint64_t)st->st_size };
    struct smx_view v = http_field(x, "Range"), condition = http_field(x, "If-Range");
    time_t date;

    if (!v.p || st->st_size == 0 || memchr(v.p, ',', v.n))
        return r;
    if (condition.p && !(parse_date(condition, &date) && date == st->st_mtime))
        return r;
    r.refused = !parse_range(v, (uint64_t)st->st_size, &r);
    return r;
}
