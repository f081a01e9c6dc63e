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

/* --- RFC 3339. Days are counted by arithmetic: lists of files have thousands of times. -----------
 */

enum { SECONDS_A_DAY = 86400, DAYS_TO_1970 = 719468, DAYS_IN_400_YEARS = 146097 };

struct date {
    int64_t year;
    unsigned month, day;
};

/* Years begin in March here, so that the leap day is their last. */
static struct date date_of(int64_t days)
{
    int64_t z = days + DAYS_TO_1970;
    int64_t era = (z >= 0 ? z : z - (DAYS_IN_400_YEARS - 1)) / DAYS_IN_400_YEARS;
    unsigned in_era = (unsigned)(z - era * DAYS_IN_400_YEARS);
    unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * in_year + 2) / 153;
    struct date d = { .year = era * 400 + year,
        .month = month < 10 ? month + 3 : month - 9,
        .day = in_year - (153 * month + 2) / 5 + 1 };

    d.year += d.month <= 2;
    return d;
}

static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
    unsigned in_era = (unsigned)(y - era * 400);
    unsigned in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * DAYS_IN_400_YEARS + in_era * 365 + in_era / 4 - in_era / 100 + in_year -
           DAYS_TO_1970;
}

static char *put_digits(char *p, unsigned n, uint64_t v)
{
    for (unsigned i = n; i-- > 0; v /= 10)
        p[i] = (char)('0' + v % 10);
    return p + n;
}

/* "2026-11-23T23:02:53"; returns its end. Years beyond four digits become 1970. */
static char *format_seconds(char out[SMX_RFC3339_SIZE], int64_t seconds)
{
    int64_t days = seconds / SECONDS_A_DAY - (seconds % SECONDS_A_DAY < 0);
    unsigned second = (unsigned)(seconds - days * SECONDS_A_DAY);
    struct date d = date_of(days);
    char *p = out;

    if (d.year < 0 || d.year > 9999)
        return format_seconds(out, 0);
    p = put_digits(p, 4, (uint64_t)d.year);
    *p++ = '-';
    p = put_digits(p, 2, d.month);
    *p++ = '-';
    p = put_digits(p, 2, d.day);
    *p++ = 'T';
    p = put_digits(p, 2, second / 3600);
    *p++ = ':';
    p = put_digits(p, 2, second / 60 % 60);
    *p++ = ':';
    return put_digits(p, 2, second % 60);
}

/* ".042Z", or "Z" without digits. */
static void put_fraction(char *p, unsigned digits, uint64_t v)
{
    if (digits > 0) {
        *p++ = '.';
        p = put_digits(p, digits, v);
    }
    *p++ = 'Z';
    *p = '\0';
}

void smx_rfc3339_format(char out[SMX_RFC3339_SIZE], int64_t unix_ms)
{
    int64_t seconds = unix_ms / 1000, ms = unix_ms % 1000;

    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    put_fraction(format_seconds(out, seconds), 3, (uint64_t)ms);
}

void smx_rfc3339_format_s(char out[SMX_RFC3339_SIZE], int64_t unix_ms)
{
    put_fraction(format_seconds(out, unix_ms / 1000), 0, 0);
}

void smx_rfc3339_format_ns(char out[SMX_RFC3339_SIZE], int64_t unix_ns)
{
    int64_t ns = unix_ns < 0 ? 0 : unix_ns;

    put_fraction(
        format_seconds(out, ns / (int64_t)SMX_NS_PER_S), 9, (uint64_t)(ns % (int64_t)SMX_NS_PER_S));
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

/* Exactly n digits and the character behind them ('\0': any); moves *p behind both. */
static bool take_number(const char **p, unsigned n, char behind, unsigned *ret)
{
    unsigned v = 0;

    for (; n > 0; n--, ++*p) {
        if (**p < '0' || **p > '9')
            return false;
        v = v * 10 + (unsigned)(**p - '0');
    }
    *ret = v;
    return behind == '\0' || *(*p)++ == behind;
}

static bool parse_date(const char **p, int64_t *ret_days)
{
    unsigned year, month, day;
    struct date d;

    if (!take_number(p, 4, '-', &year) || !take_number(p, 2, '-', &month) ||
        !take_number(p, 2, 'T', &day) || month < 1 || month > 12)
        return false;
    *ret_days = days_of(year, month, day);
    d = date_of(*ret_days);
    return d.month == month && d.day == day; /* no 31st of a short month */
}

bool smx_rfc3339_parse_ns(const char *s, int64_t *ret_unix_ns)
{
    unsigned hour, minute, second;
    int64_t ns = 0, seconds, days;
    const char *p = s;
    int offset;

    if (!parse_date(&p, &days) || !take_number(&p, 2, ':', &hour) ||
        !take_number(&p, 2, ':', &minute) || !take_number(&p, 2, '\0', &second) || hour > 23 ||
        minute > 59 || second > 60)
        return false;
    if (*p == '.') {
        int scale = 100000000;

        for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
            ns += (int64_t)(*p - '0') * scale;
    }
    if (!parse_offset(p, &offset))
        return false;
    seconds = days * SECONDS_A_DAY + hour * 3600 + minute * 60 + second - offset;
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
