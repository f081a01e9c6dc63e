/* test_base.c - buffers, strings, errors, maps, files. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "base/test.h"
#include "base/clock.h"

TEST(buffer_stops_at_its_maximum)
{
    struct smx_buf b;
    struct smx_err err = { 0 };

    smx_buf_init(&b, 5);
    ASSERT_EQ(smx_buf_append(&b, "abc", 3), 0);
    ASSERT_EQ(smx_buf_append(&b, "def", 3), -SMX_E_TOO_LARGE);
    ASSERT_STR(b.data, "abc");
    ASSERT_EQ(smx_buf_check(&b, &err), -SMX_E_TOO_LARGE);
    smx_buf_reset(&b);
    ASSERT_EQ(smx_buf_append(&b, "12345", 5), 0);
    smx_buf_consume(&b, 2);
    ASSERT_STR(b.data, "345");
    smx_buf_done(&b);
}

TEST(buffer_survives_a_failed_allocation)
{
    struct smx_err err = { 0 };
    struct smx_buf b;

    smx_buf_init(&b, 1 << 20);
    ASSERT_EQ(smx_buf_append(&b, "x", 1), 0);
    smx_mem_fail_after(1);
    ASSERT_EQ(smx_buf_reserve(&b, 100000), -SMX_E_NO_MEMORY);
    smx_mem_fail_after(0);
    ASSERT_STR(b.data, "x");
    ASSERT_EQ(smx_buf_check(&b, &err), -SMX_E_NO_MEMORY); /* not "too large" */
    smx_buf_reset(&b);
    ASSERT_EQ(smx_buf_reserve(&b, 2 << 20), -SMX_E_TOO_LARGE);
    ASSERT_EQ(smx_buf_check(&b, &err), -SMX_E_TOO_LARGE);
    smx_buf_done(&b);
}

TEST(numbers_are_parsed_strictly)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } rows[] = {
        { "0", true, 0 },
        { "18446744073709551615", true, UINT64_MAX },
        { "18446744073709551616", false, 0 },
        { "", false, 0 },
        { "+1", false, 0 },
        { " 1", false, 0 },
        { "1 ", false, 0 },
        { "0x5", false, 0 },
        { "-1", false, 0 },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        uint64_t v = 0;

        ASSERT_EQ(smx_parse_u64(smx_view_of(rows[i].text), UINT64_MAX, &v), rows[i].ok);
        if (rows[i].ok)
            ASSERT_TRUE(v == rows[i].value);
    }
}

TEST(utf8_is_checked_at_every_place_of_a_long_text)
{
    char text[64];

    for (size_t i = 0; i < sizeof text; i++) {
        memset(text, 'a', sizeof text);
        ASSERT_TRUE(smx_utf8_valid(text, sizeof text));
        text[i] = (char)0xff;
        ASSERT_FALSE(smx_utf8_valid(text, sizeof text));
        ASSERT_TRUE(smx_utf8_valid(text, i));
    }
}

TEST(utf8_table)
{
    ASSERT_TRUE(smx_utf8_valid("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    ASSERT_FALSE(smx_utf8_valid("\xc0\x80", 2));         /* overlong */
    ASSERT_FALSE(smx_utf8_valid("\xed\xa0\x80", 3));     /* surrogate */
    ASSERT_FALSE(smx_utf8_valid("\xf4\x90\x80\x80", 4)); /* past U+10FFFF */
    ASSERT_FALSE(smx_utf8_valid("\xe2\x82", 2));         /* cut */
}

TEST(base64_round_trip_of_every_length)
{
    unsigned char data[64], back[96];
    char text[96];

    smx_random(data, sizeof data);
    for (size_t n = 0; n <= sizeof data; n++) {
        smx_base64_encode(text, data, n);
        ASSERT_EQ(smx_base64_decode(back, text, smx_base64_size(n)), n);
        ASSERT_MEM(back, n, data, n);
    }
    ASSERT_EQ(smx_base64_decode(back, "_-8", 3), 2);
    ASSERT_EQ(smx_base64_decode(back, "a", 1), -1);
    ASSERT_EQ(smx_base64_decode(back, "ab!d", 4), -1);
    ASSERT_EQ(smx_base64_decode(back, "=", 1), -1);
}

TEST(base64_refuses_a_foreign_byte_anywhere)
{
    char text[120];
    unsigned char back[96];

    for (size_t i = 0; i < sizeof text; i++) {
        memset(text, 'Q', sizeof text);
        ASSERT_EQ(smx_base64_decode(back, text, sizeof text), 90);
        text[i] = '_';
        ASSERT_EQ(smx_base64_decode(back, text, sizeof text), 90);
        text[i] = '\x80';
        ASSERT_EQ(smx_base64_decode(back, text, sizeof text), -1);
        text[i] = '@';
        ASSERT_EQ(smx_base64_decode(back, text, sizeof text), -1);
    }
}

TEST(base64_stays_in_the_room_it_is_given)
{
    for (size_t n = 0; n <= 160;
         n += 4) { /* heap blocks of exact size: a sanitizer watches the ends */
        char *text = smx_alloc(n + !n);
        unsigned char *data = smx_alloc(n / 4 * 3 + 3), *whole = smx_alloc(n / 4 * 3 + 1);
        ptrdiff_t got;

        memset(text, 'Q', n);
        got = smx_base64_decode(data, text, n);
        memcpy(whole, data, n / 4 * 3);
        smx_base64_encode(text, whole, n / 4 * 3);
        smx_free(whole);
        smx_free(data);
        smx_free(text);
        ASSERT_EQ(got, n / 4 * 3);
    }
}

TEST(names_and_ids)
{
    char id[SMX_ID_LEN + 1];

    smx_id_make(id);
    ASSERT_TRUE(smx_id_valid(id));
    ASSERT_TRUE(smx_name_valid(id));
    ASSERT_TRUE(smx_name_valid("a.b_c-1"));
    ASSERT_FALSE(smx_name_valid(""));
    ASSERT_FALSE(smx_name_valid("-a"));
    ASSERT_FALSE(smx_name_valid("A"));
    ASSERT_FALSE(smx_name_valid("../x"));
}

TEST(errors_carry_context_and_reason)
{
    struct smx_err err = { 0 };
    int r = smx_err_errno(&err, 2, "opening '%s'", "x");

    ASSERT_EQ(r, -SMX_E_NOT_FOUND);
    r = smx_err_wrap(&err, r, "starting");
    ASSERT_STR(err.msg, "starting: opening 'x': No such file or directory");
    ASSERT_EQ(smx_code_from_name("timeout"), SMX_E_TIMEOUT);
    ASSERT_EQ(smx_err_set(NULL, SMX_E_BUSY, "no detail wanted"), -SMX_E_BUSY);
    smx_err_clear(NULL);
    smx_err_clear(&err);
    ASSERT_EQ(err.code, SMX_OK);
}

TEST(map_finds_what_was_put_and_forgets_what_was_removed)
{
    enum { N = 2000 };
    static char keys[N][16];
    struct smx_map m;

    smx_map_init(&m);
    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        ASSERT_EQ(smx_map_put(&m, keys[i], keys[i]), 0);
    }
    ASSERT_EQ(smx_map_put(&m, "k7", &m), -SMX_E_EXISTS);
    for (int i = 0; i < N; i += 2)
        ASSERT_TRUE(smx_map_remove(&m, keys[i]) == keys[i]);
    for (int i = 0; i < N; i++)
        ASSERT_TRUE(smx_map_get(&m, keys[i]) == (i % 2 ? keys[i] : NULL));
    ASSERT_EQ(m.count, N / 2);
    smx_map_done(&m);
}

TEST(map_does_not_grow_by_put_and_remove)
{
    struct smx_map m;

    smx_map_init(&m);
    for (int i = 0; i < 10000; i++) {
        ASSERT_EQ(smx_map_put(&m, "same", &m), 0);
        ASSERT_TRUE(smx_map_remove(&m, "same") == &m);
    }
    ASSERT_INT(m.cap, <=, 32);
    smx_map_done(&m);
}

TEST(times_round_trip)
{
    char text[SMX_RFC3339_SIZE];
    int64_t back;

    smx_rfc3339_format(text, INT64_C(1795474973042));
    ASSERT_TRUE(smx_rfc3339_parse(text, &back));
    ASSERT_EQ(back, INT64_C(1795474973042));
    ASSERT_FALSE(smx_rfc3339_parse("yesterday", &back));
    smx_rfc3339_format_ns(text, INT64_C(1795474973042013007));
    ASSERT_STR(text, "2026-11-23T23:02:53.042013007Z");
    ASSERT_TRUE(smx_rfc3339_parse_ns(text, &back));
    ASSERT_EQ(back, INT64_C(1795474973042013007));
    ASSERT_TRUE(smx_rfc3339_parse_ns("2026-11-24T00:52:53.5+02:30", &back));
    ASSERT_EQ(back, INT64_C(1795472573500000000));
    ASSERT_FALSE(smx_rfc3339_parse_ns("2026-11-24T00:52:53+2:3x", &back));
    ASSERT_FALSE(smx_rfc3339_parse_ns("9999999-11-24T00:52:53Z", &back));
    ASSERT_TRUE(smx_deadline_in_ms(UINT64_MAX) == SMX_FOREVER);
}

/* Every day of six centuries, against the C library. */
TEST(dates_are_those_of_the_calendar)
{
    for (int64_t day = -36525; day < 200000; day++) {
        char ours[SMX_RFC3339_SIZE], theirs[SMX_RFC3339_SIZE];
        time_t t = (time_t)(day * 86400 + (day * 7919 % 86400 + 86400) % 86400);
        int64_t back = 0;
        struct tm tm;

        strftime(theirs, sizeof theirs, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&t, &tm));
        smx_rfc3339_format(ours, (int64_t)t * 1000);
        ASSERT_STR(ours, theirs);
        ASSERT_EQ(smx_rfc3339_parse(ours, &back), t >= 0 && t < INT64_MAX / 1000000000);
        ASSERT_TRUE(back == 0 || back == (int64_t)t * 1000);
    }
}

TEST(dates_that_are_none)
{
    static const char *const bad[] = { "", "2026", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
        "2026-01-00T00:00:00Z", "2026-1-05T00:00:00Z", "2026-01-05 00:00:00Z",
        "2026-01-05T24:00:00Z", "2026-01-05T00:60:00Z", "2026-01-05T00:00:61Z",
        "2026-01-05T00:00:00", "2026-01-05T00:00:00ZZ", "2026-01-05T00:00Z", "-026-01-05T00:00:00Z",
        "1969-12-31T23:59:59Z" };
    int64_t back;

    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++)
        ASSERT_FALSE(smx_rfc3339_parse(bad[i], &back));
    ASSERT_TRUE(smx_rfc3339_parse("2024-02-29T00:00:00Z", &back));
    ASSERT_TRUE(smx_rfc3339_parse("2016-12-31T23:59:60Z", &back)); /* a leap second */
    ASSERT_EQ(back, INT64_C(1483228800000));
}

TEST(atomic_write_replaces_the_whole_file)
{
    char dir[] = "/tmp/smx-base-XXXXXX";
    struct smx_err err = { 0 };
    struct smx_buf b;
    struct stat st;
    int fd;

    ASSERT_TRUE(mkdtemp(dir) != NULL);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_OK(smx_write_file_atomic_at(fd, "f", "old content", 11, 0600, &err), &err);
    ASSERT_OK(smx_write_file_atomic_at(fd, "f", "new", 3, 0600, &err), &err);
    smx_buf_init(&b, 100);
    ASSERT_OK(smx_read_file_at(fd, "f", &b, &err), &err);
    ASSERT_STR(b.data, "new");
    ASSERT_EQ(fstatat(fd, "f.tmp", &st, 0), -1);
    smx_buf_done(&b);
    unlinkat(fd, "f", 0);
    smx_close(fd);
    rmdir(dir);
}
