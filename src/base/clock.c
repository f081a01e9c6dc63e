/* clock.c - see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t smx_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * SMX_NS_PER_S + (uint64_t)ts.tv_nsec;
}

int64_t smx_now_unix_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t smx_now_unix_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * (int64_t)SMX_NS_PER_S + ts.tv_nsec;
}

uint64_t smx_deadline_in_ms(uint64_t ms)
{
    uint64_t now = smx_now_ns();

    if (ms > (SMX_FOREVER - now) / SMX_NS_PER_MS)
        return SMX_FOREVER;
    return now + ms * SMX_NS_PER_MS;
}

static void format_seconds(char out[SMX_RFC3339_SIZE], time_t seconds)
{
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) || !strftime(out, SMX_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm))
        memcpy(out, "1970-01-01T00:00:00", sizeof "1970-01-01T00:00:00");
}

void smx_rfc3339_format(char out[SMX_RFC3339_SIZE], int64_t unix_ms)
{
    int64_t seconds = unix_ms / 1000, ms = unix_ms % 1000;
    size_t len;

    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    format_seconds(out, (time_t)seconds);
    len = strlen(out);
    snprintf(out + len, SMX_RFC3339_SIZE - len, ".%03dZ", (int)ms);
}

void smx_rfc3339_format_s(char out[SMX_RFC3339_SIZE], int64_t unix_ms)
{
    size_t len;

    format_seconds(out, (time_t)(unix_ms / 1000));
    len = strlen(out);
    snprintf(out + len, SMX_RFC3339_SIZE - len, "Z");
}

void smx_rfc3339_format_ns(char out[SMX_RFC3339_SIZE], int64_t unix_ns)
{
    int64_t ns = unix_ns < 0 ? 0 : unix_ns;
    size_t len;

    format_seconds(out, (time_t)(ns / (int64_t)SMX_NS_PER_S));
    len = strlen(out);
    snprintf(out + len, SMX_RFC3339_SIZE - len, ".%09dZ", (int)(ns % (int64_t)SMX_NS_PER_S));
}

/* "Z", "+02:00" */
static bool parse_offset(const char *p, int *ret_s)
{
    unsigned h, m;
    int n = 0;

    *ret_s = 0;
    if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0)
        return true;
    if ((*p != '+' && *p != '-') || sscanf(p + 1, "%2u:%2u%n", &h, &m, &n) != 2 ||
        p[1 + n] != '\0' || h > 23 || m > 59)
        return false;
    *ret_s = (int)(h * 3600 + m * 60) * (*p == '-' ? -1 : 1);
    return true;
}

bool smx_rfc3339_parse_ns(const char *s, int64_t *ret_unix_ns)
{
    struct tm tm = { 0 };
    const char *p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t ns = 0, seconds;
    int offset;

    if (!p)
        return false;
    if (*p == '.') {
        int scale = 100000000;

        for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
            ns += (int64_t)(*p - '0') * scale;
    }
    if (!parse_offset(p, &offset))
        return false;
    seconds = (int64_t)timegm(&tm) - offset;
    if (seconds < 0 || seconds > INT64_MAX / (int64_t)SMX_NS_PER_S - 1)
        return false;
    *ret_unix_ns = seconds * (int64_t)SMX_NS_PER_S + ns;
    return true;
}

bool smx_rfc3339_parse(const char *s, int64_t *ret_unix_ms)
{
    int64_t ns;

    if (!smx_rfc3339_parse_ns(s, &ns))
        return false;
    *ret_unix_ms = ns / (int64_t)SMX_NS_PER_MS;
    return true;
}
