/* test_multipart.c - multipart/form-data from sources that give any number of bytes at a time. */
#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"
#include "http/multipart.h"

#define TYPE "multipart/form-data; boundary=XyZ"

struct source {
    const char *p;
    size_t n, step;
};

static ssize_t pull(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct source *s = ctx;
    size_t take = SMX_MIN(SMX_MIN(n, s->n), s->step);

    memcpy(data, s->p, take);
    s->p += take;
    s->n -= take;
    return (ssize_t)take;
}

/* Reads everything into one text: name|filename|type|data; and the final code. */
static int transcript(
    const char *type, const char *body, size_t n, size_t step, struct smx_buf *out)
{
    struct source s = { body, n, step };
    SMX_CLEANUP(multipart_freep) struct multipart *m = NULL;
    struct multipart_part part;
    char data[7];
    ssize_t got;
    int r = multipart_new(smx_view_of(type), pull, &s, &m, /* err= */ NULL);

    while (r >= 0 && (r = multipart_next(m, &part, /* err= */ NULL)) > 0) {
        smx_buf_appendf(
            out, "%s|%s|%s|", part.name, part.filename ? part.filename : "-", part.content_type);
        while ((got = multipart_read(m, data, sizeof data, /* err= */ NULL)) > 0)
            smx_buf_append(out, data, (size_t)got);
        smx_buf_append_char(out, '\n');
        if (got < 0)
            return (int)got;
    }
    return r;
}

struct good {
    const char *type, *body, *want;
};

static const struct good good[] = {
    { TYPE, "--XyZ--", "" },
    { TYPE, "--XyZ--\r\nepilogue", "" },
    { TYPE, "--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--XyZ--\r\n",
        "a|-||value\n" },
    { TYPE,
        "preamble\r\n--XyZ \t\r\ncontent-disposition:form-data;name=a;filename=b.txt\r\n"
        "Content-Type: text/plain\r\n\r\n\r\n--XyZ--",
        "a|b.txt|text/plain|\n" },
    { "Multipart/Form-Data; charset=x; Boundary=\"X yZ\"",
        "--X yZ\r\nContent-Disposition: form-data; name=\"\xc3\xa4\"; "
        "filename=\"q\\\"u\\\\o \xe2\x82\xac.txt\"\r\n\r\n"
        "\r\n\r\n--X yz\r\n-\r--X yZ\r\n\r\r\n--X yZ\r\n"
        "Content-Disposition: form-data; name=\"f\"; filename=\"C:\\dir\\x\"\r\n\r\n1\r\n--X yZ--",
        "\xc3\xa4|q\"u\\o \xe2\x82\xac.txt||\r\n\r\n--X yz\r\n-\r--X yZ\r\n\r\n"
        "f|C:\\dir\\x||1\n" },
    { TYPE,
        "--XyZ\r\nContent-Disposition: form-data; filename=\"a;b=c\"; name=\"\"\r\n"
        "X-Other: 1\r\n\r\n--XyZ\r\n\r\n--XyZ--",
        "|a;b=c||--XyZ\r\n\n" },
    { TYPE, /* names of RFC 8187 */
        "--XyZ\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''%e2%82%AC%20r%2Fx"
        "\r\n\r\n1"
        "\r\n--XyZ\r\nContent-Disposition: form-data; name=b; filename*=utf-8'en'x; filename=y"
        "\r\n\r\n2\r\n--XyZ\r\nContent-Disposition: form-data; name=c; filename=\"_\"; "
        "filename*=\"UTF-8''%C3%a4\"\r\n\r\n3\r\n--XyZ--",
        "a|\xe2\x82\xac r/x||1\nb|x||2\nc|\xc3\xa4||3\n" },
    { TYPE, /* lines that only begin like the boundary */
        "--XyZa\r\n--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"
        "1\r\n--XyZ2\r\n--XyZ-\r\n--XyZ-3-\r\n--XyZ\n\r\n--XyZ--\r\n",
        "a|-||1\r\n--XyZ2\r\n--XyZ-\r\n--XyZ-3-\r\n--XyZ\n\n" },
};

TEST(parts_are_read_at_every_step)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(good); i++) {
        for (size_t step = 1; step <= strlen(good[i].body) + 1; step++) {
            struct smx_buf out;
            int r;

            smx_buf_init(&out, 4096);
            smx_buf_append(&out, "", 0);
            r = transcript(good[i].type, good[i].body, strlen(good[i].body), step, &out);
            if (r != 0 || strcmp(out.data, good[i].want) != 0)
                smx_test_fail(
                    __FILE__, __LINE__, "case %zu, step %zu: %d, %s", i, step, r, out.data);
            smx_buf_done(&out);
        }
    }
}

/* However short, a body without its last boundary is an error, never a shorter file. */
TEST(truncated_bodies_are_errors)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(good); i++) {
        const char *end = strrchr(good[i].body, '-');

        for (size_t n = 0; n < (size_t)(end - good[i].body); n++) {
            struct smx_buf out;

            smx_buf_init(&out, 4096);
            ASSERT_EQ(transcript(good[i].type, good[i].body, n, 5, &out), -SMX_E_INVALID);
            smx_buf_done(&out);
        }
    }
}

struct bad {
    const char *name, *type, *body;
};
#define PART "--XyZ\r\nContent-Disposition: form-data; name=\"a\""

static const struct bad bad[] = {
    { "no multipart", "text/plain", "" },
    { "mixed", "multipart/mixed; boundary=XyZ", "" },
    { "no boundary", "multipart/form-data", "--\r\n" },
    { "empty boundary", "multipart/form-data; boundary=", "" },
    { "empty quoted boundary", "multipart/form-data; boundary=\"\"", "" },
    { "open quote", "multipart/form-data; boundary=\"XyZ", "" },
    { "two boundaries", "multipart/form-data; boundary=a; boundary=b", "" },
    { "boundary ends with a blank", "multipart/form-data; boundary=\"a \"", "" },
    { "boundary with a control byte", "multipart/form-data; boundary=\"a\x01\"", "" },
    { "boundary of 71 bytes",
        "multipart/form-data; boundary="
        "12345678901234567890123456789012345678901234567890123456789012345678901",
        "" },
    { "nothing", TYPE, "" },
    { "other boundary", TYPE, "--abc\r\n\r\n" },
    { "text behind a boundary", TYPE, "--XyZ a\r\n" PART "\r\n\r\n\r\n--XyZ--" },
    { "no disposition", TYPE, "--XyZ\r\nContent-Type: a/b\r\n\r\nx\r\n--XyZ--" },
    { "no head", TYPE, "--XyZ\r\n\r\nx\r\n--XyZ--" },
    { "attachment", TYPE, "--XyZ\r\nContent-Disposition: attachment\r\n\r\nx\r\n--XyZ--" },
    { "two dispositions", TYPE, PART "\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XyZ--" },
    { "two names", TYPE, PART "; name=b\r\n\r\nx\r\n--XyZ--" },
    { "two filenames", TYPE, PART "; filename=b; filename=c\r\n\r\nx\r\n--XyZ--" },
    { "two extended filenames", TYPE,
        PART "; filename*=utf-8''b; filename*=utf-8''c\r\n\r\nx\r\n--XyZ--" },
    { "extended, another charset", TYPE, PART "; filename*=latin1''b\r\n\r\nx\r\n--XyZ--" },
    { "extended, no language", TYPE, PART "; filename*=utf-8'b\r\n\r\nx\r\n--XyZ--" },
    { "extended, bad escape", TYPE, PART "; filename*=utf-8''%4\r\n\r\nx\r\n--XyZ--" },
    { "extended, NUL", TYPE, PART "; filename*=utf-8''a%00b\r\n\r\nx\r\n--XyZ--" },
    { "extended, LF", TYPE, PART "; filename*=utf-8''a%0ab\r\n\r\nx\r\n--XyZ--" },
    { "extended, not UTF-8", TYPE, PART "; filename*=utf-8''%ff\r\n\r\nx\r\n--XyZ--" },
    { "control character", TYPE, PART "; filename=\"a\x1b\"\r\n\r\nx\r\n--XyZ--" },
    { "bare LF", TYPE, PART "; filename=\"a\nb\"\r\n\r\nx\r\n--XyZ--" },
    { "bare CR", TYPE, PART "; filename=\"a\rb\"\r\n\r\nx\r\n--XyZ--" },
    { "not UTF-8", TYPE, PART "; filename=\"\xff\"\r\n\r\nx\r\n--XyZ--" },
    { "open quote in a part", TYPE, PART "; filename=\"a\r\n\r\nx\r\n--XyZ--" },
    { "folded field", TYPE, PART "\r\n b\r\n\r\nx\r\n--XyZ--" },
    { "field without colon", TYPE, PART "\r\nabc\r\n\r\nx\r\n--XyZ--" },
    { "blank before the colon", TYPE, PART "\r\nabc : d\r\n\r\nx\r\n--XyZ--" },
    { "base64", TYPE, PART "\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--XyZ--" },
};

TEST(malformed_bodies_are_refused)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        struct smx_buf out;
        int r;

        smx_buf_init(&out, 4096);
        r = transcript(bad[i].type, bad[i].body, strlen(bad[i].body), 1000, &out);
        if (r != -SMX_E_INVALID)
            smx_test_fail(__FILE__, __LINE__, "%s: %d", bad[i].name, r);
        smx_buf_done(&out);
    }
}

TEST(a_nul_in_a_part_head_is_refused)
{
    static const char body[] = PART "; filename=\"a\0b\"\r\n\r\nx\r\n--XyZ--";
    struct smx_buf out;

    smx_buf_init(&out, 4096);
    ASSERT_EQ(transcript(TYPE, body, sizeof body - 1, 1000, &out), -SMX_E_INVALID);
    smx_buf_done(&out);
}

static int transcript_of(const char *head, const char *unit, size_t times, const char *tail)
{
    struct smx_buf body, out;
    int r;

    smx_buf_init(&body, 8 * 1024 * 1024);
    smx_buf_init(&out, 8 * 1024 * 1024);
    smx_buf_append_str(&body, head);
    for (size_t i = 0; i < times; i++)
        smx_buf_append_str(&body, unit);
    smx_buf_append_str(&body, tail);
    r = transcript(TYPE, body.data, body.len, 4096, &out);
    smx_buf_done(&body);
    smx_buf_done(&out);
    return r;
}

TEST(part_heads_names_and_counts_are_bounded)
{
    const char *end = "\r\n\r\nx\r\n--XyZ--";
    const char *part = PART "\r\n\r\nx\r\n";

    ASSERT_EQ(transcript_of(PART "\r\nX: ", "a", 8000, end), 0);
    ASSERT_EQ(transcript_of(PART "\r\nX: ", "a", MULTIPART_HEAD_MAX, end), -SMX_E_INVALID);
    ASSERT_EQ(transcript_of(PART, "\r\nX: a", MULTIPART_HEAD_MAX / 4, end), -SMX_E_INVALID);
    ASSERT_EQ(transcript_of(PART "; filename=\"", "a", 4096, "\"\r\n\r\nx\r\n--XyZ--"), 0);
    ASSERT_EQ(
        transcript_of(PART "; filename=\"", "a", 4097, "\"\r\n\r\nx\r\n--XyZ--"), -SMX_E_INVALID);
    ASSERT_EQ(transcript_of("", part, 100000, "--XyZ--"), 0);
    ASSERT_EQ(transcript_of("", part, 132000, "--XyZ--"), -SMX_E_INVALID);
    ASSERT_EQ(transcript_of("", "junk", 10000, part), -SMX_E_INVALID);
    ASSERT_EQ(transcript_of(PART "\r\n\r\n", "\r\n--Xy", 200000, "\r\n--XyZ--"), 0);
}

TEST(unread_parts_are_skipped)
{
    static const char body[] = PART "\r\n\r\nfirst\r\n" PART "2\"\r\n\r\nx\r\n--XyZ--";
    struct source s = { body, sizeof body - 1, 3 };
    SMX_CLEANUP(multipart_freep) struct multipart *m = NULL;
    struct multipart_part part;
    struct smx_err err;
    char data[1];

    ASSERT_OK(multipart_new(SMX_VIEW(TYPE), pull, &s, &m, &err), &err);
    ASSERT_EQ(multipart_next(m, &part, &err), 1);
    ASSERT_EQ(multipart_read(m, data, 1, &err), 1);
    ASSERT_EQ(multipart_next(m, &part, &err), -SMX_E_INVALID); /* name="a"2" */
    ASSERT_EQ(multipart_next(m, &part, &err), -SMX_E_INVALID); /* and it sticks */
    ASSERT_EQ(multipart_read(m, data, 1, &err), -SMX_E_INVALID);
}

static ssize_t broken(void *ctx, void *data, size_t n, struct smx_err *err)
{
    return smx_err_set(err, SMX_E_CLOSED, "gone");
}

TEST(an_error_of_the_source_is_passed_on)
{
    SMX_CLEANUP(multipart_freep) struct multipart *m = NULL;
    struct multipart_part part;
    struct smx_err err;

    ASSERT_OK(multipart_new(SMX_VIEW(TYPE), broken, NULL, &m, &err), &err);
    ASSERT_EQ(multipart_next(m, &part, &err), -SMX_E_CLOSED);
    ASSERT_STR(err.msg, "gone");
}
