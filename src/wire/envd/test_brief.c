/* test_brief.c - records of entries there and back, and what the parser must refuse. */
#include "base/mem.h"
#include "base/test.h"
#include "wire/envd/brief.h"

enum { HEAD = 32, MAX = 1 << 20 };

static const struct envd_brief file = { .path = SMX_VIEW("/w/a"),
    .owner = SMX_VIEW("root"),
    .group = SMX_VIEW("0"),
    .type = ENVD_TYPE_FILE,
    .mode = 0644,
    .size = UINT64_C(1) << 40,
    .mtime_unix_ms = -1 };

static ptrdiff_t parse(const struct smx_buf *b, struct envd_brief *ret)
{
    return envd_brief_parse(b->data, b->len, ret);
}

TEST(records_one_behind_the_other)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf b = { 0 };
    struct envd_brief link = file, got;
    ptrdiff_t first, second;

    link.target = SMX_VIEW("");
    link.path = SMX_VIEW("/\xff\n");
    link.type = ENVD_TYPE_UNSPECIFIED;
    smx_buf_init(&b, MAX);
    envd_brief_append(&b, &file);
    envd_brief_append(&b, &link);
    first = parse(&b, &got);
    ASSERT_EQ(first, HEAD + 5 + 1 + 5 + 2);
    ASSERT_STR(got.path.p, "/w/a");
    ASSERT_STR(got.owner.p, "root");
    ASSERT_STR(got.group.p, "0");
    ASSERT_TRUE(!got.target.p && got.type == ENVD_TYPE_FILE && got.mode == 0644);
    ASSERT_TRUE(got.size == UINT64_C(1) << 40 && got.mtime_unix_ms == -1);
    second = envd_brief_parse(b.data + first, b.len - (size_t)first, &got);
    ASSERT_EQ(first + second, b.len);
    ASSERT_STR(got.path.p, "/\xff\n");
    ASSERT_TRUE(got.target.p && got.target.n == 0 && got.type == ENVD_TYPE_UNSPECIFIED);
}

TEST(a_record_cut_anywhere_is_refused)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf b = { 0 };
    struct envd_brief got;

    smx_buf_init(&b, MAX);
    envd_brief_append(&b, &file);
    for (size_t n = 0; n < b.len; n++) {
        SMX_CLEANUP(smx_freep) char *cut = smx_alloc(n + 1); /* a sanitizer sees what is beyond */

        memcpy(cut, b.data, n);
        ASSERT_EQ(envd_brief_parse(cut, n, &got), -SMX_E_PROTOCOL);
    }
}

/* One byte of the record that is not as it must be. */
TEST(what_no_entry_can_be_is_refused)
{
    static const struct {
        size_t at;
        char value;
    } bad[] = { { 0, 0 }, { 0, 3 }, { 0, 5 }, { 1, 1 }, { 2, 1 }, { 4, 3 }, { 6, 2 }, { 9, 2 },
        { 10, ENVD_TYPE_COUNT_ }, { 10, -1 }, { 11, 2 }, { 12, 1 }, { 15, 1 }, { HEAD, 'x' },
        { HEAD, 0 }, { HEAD + 3, '/' }, { HEAD + 4, 'x' }, { HEAD + 5, 'x' } };
    struct envd_brief got;

    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        SMX_CLEANUP(smx_buf_done) struct smx_buf b = { 0 };

        smx_buf_init(&b, MAX);
        envd_brief_append(&b, &file);
        b.data[bad[i].at] = bad[i].value;
        ASSERT_EQ(parse(&b, &got), -SMX_E_PROTOCOL);
    }
}

TEST(a_text_only_a_link_has_is_refused_without_one)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf b = { 0 };
    struct envd_brief link = file, got;

    link.target = SMX_VIEW("/t");
    smx_buf_init(&b, MAX);
    envd_brief_append(&b, &link);
    ASSERT_EQ(parse(&b, &got), b.len);
    ASSERT_STR(got.target.p, "/t");
    b.data[11] = 0;
    ASSERT_EQ(parse(&b, &got), -SMX_E_PROTOCOL);
}

TEST(a_text_too_long_is_cut)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf b = { 0 };
    SMX_CLEANUP(smx_freep) char *text = smx_alloc(100000);
    struct envd_brief e = file, got;

    memset(text, 'x', 100000);
    e.owner = (struct smx_view){ text, 100000 };
    smx_buf_init(&b, MAX);
    envd_brief_append(&b, &e);
    ASSERT_EQ(parse(&b, &got), b.len);
    ASSERT_EQ(got.owner.n, UINT16_MAX - 1);
    ASSERT_STR(got.group.p, "0");
}

TEST(a_full_buffer_gets_no_half_record)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf b = { 0 };

    smx_buf_init(&b, HEAD + 3);
    envd_brief_append(&b, &file);
    ASSERT_TRUE(b.failed && b.len == 0);
}
