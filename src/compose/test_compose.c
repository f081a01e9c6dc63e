/* test_compose.c - the parts of sessions that need no sandbox: end marks in streams that come in
 * pieces, and the log. Sessions as a whole are tested in real ones: tests/integration/native. */
#include "base/test.h"
#include "compose/internal.h"

#define ID "0123456789abcdef"

static int to_buf(void *arg, const char *data, size_t n)
{
    return smx_buf_append(arg, data, n);
}

static void check(const char *in, size_t n, const char *want, bool found, int code)
{
    for (size_t step = 1; step <= n; step++) {
        struct smx_buf out;
        struct mark m;

        smx_buf_init(&out, 4096);
        mark_init(&m, ID);
        for (size_t at = 0; at < n; at += step)
            ASSERT_EQ(mark_feed(&m, in + at, SMX_MIN(step, n - at), to_buf, &out), 0);
        mark_flush(&m, to_buf, &out);
        ASSERT_EQ(m.done, found);
        if (found)
            ASSERT_EQ(m.exit_code, code);
        ASSERT_STR(out.data ? out.data : "", want);
        smx_buf_done(&out);
    }
}
#define CHECK(in, want, found, code) check(in, sizeof(in) - 1, want, found, code)

TEST(marks_are_found_however_the_bytes_are_cut)
{
    CHECK("\036" ID ":0\036", "", true, 0);
    CHECK("out\n\036" ID ":7\036", "out\n", true, 7);
    CHECK("\036\036" ID ":255\036", "\036", true, 255);
    CHECK("a\036b\036" ID ":12\036", "a\036b", true, 12);
    CHECK("\036" ID "\036" ID ":1\036", "\036" ID, true, 1);
}

TEST(what_only_looks_like_a_mark_is_output)
{
    CHECK("\036", "\036", false, 0);
    CHECK("\036" ID ":", "\036" ID ":", false, 0);
    CHECK("\036" ID ":\036", "\036" ID ":\036", false, 0);
    CHECK("\036" ID ":1234\036", "\036" ID ":1234\036", false, 0);
    CHECK("\0360123456789abcdee:0\036", "\0360123456789abcdee:0\036", false, 0);
    CHECK("\036" ID ":1x\036", "\036" ID ":1x\036", false, 0);
}

TEST(the_first_mark_ends_the_output_and_the_second_all)
{
    static const char both[] = "a\036" ID ";7\036late\036" ID ":7\036";
    struct smx_buf out;
    struct mark m;

    smx_buf_init(&out, 4096);
    mark_init(&m, ID);
    ASSERT_EQ(mark_feed(&m, both, 25, to_buf, &out), 0);
    ASSERT_TRUE(m.ended && !m.done);
    ASSERT_EQ(m.exit_code, 7);
    ASSERT_EQ(mark_feed(&m, both + 25, sizeof both - 1 - 25, to_buf, &out), 0);
    ASSERT_TRUE(m.done);
    ASSERT_STR(out.data, "a");
    smx_buf_done(&out);
    CHECK("a\036" ID ";0\036x\036" ID ":0\036y", "a", true, 0);
}

TEST(output_behind_a_mark_is_of_others)
{
    CHECK("a\036" ID ":0\036late", "a", true, 0);
}

static void add(struct session_log *l, enum session_stream s, const char *text)
{
    ASSERT_EQ(session_log_add(l, s, text, strlen(text)), 0);
}

static void expect(const struct session_log *l, unsigned stream, const char *want)
{
    struct smx_buf out;

    smx_buf_init(&out, SESSION_LOG_MAX + 1);
    ASSERT_EQ(session_log_read(l, stream, &out), 0);
    ASSERT_STR(out.data ? out.data : "", want);
    smx_buf_done(&out);
}

TEST(a_log_keeps_streams_apart_and_merged)
{
    struct session_log l;

    session_log_init(&l);
    add(&l, SESSION_STDOUT, "a");
    add(&l, SESSION_STDOUT, "b");
    add(&l, SESSION_STDERR, "E");
    add(&l, SESSION_STDOUT, "c");
    ASSERT_EQ(l.n_pieces, 3);
    expect(&l, SESSION_STDOUT, "abc");
    expect(&l, SESSION_STDERR, "E");
    expect(&l, 0, "abEc");
    session_log_done(&l);
}

TEST(a_log_is_read_on_from_where_a_reader_was)
{
    enum session_stream stream;
    struct session_log l;
    struct smx_view v;
    uint64_t at = 0;

    session_log_init(&l);
    ASSERT_FALSE(session_log_next(&l, &at, &stream, &v));
    add(&l, SESSION_STDOUT, "ab");
    ASSERT_TRUE(session_log_next(&l, &at, &stream, &v));
    ASSERT_TRUE(smx_view_eq(v, "ab"));
    add(&l, SESSION_STDOUT, "c");
    add(&l, SESSION_STDERR, "d");
    ASSERT_TRUE(session_log_next(&l, &at, &stream, &v));
    ASSERT_TRUE(smx_view_eq(v, "c"));
    ASSERT_EQ(stream, SESSION_STDOUT);
    ASSERT_TRUE(session_log_next(&l, &at, &stream, &v));
    ASSERT_TRUE(smx_view_eq(v, "d"));
    ASSERT_EQ(stream, SESSION_STDERR);
    ASSERT_EQ(at, 4);
    ASSERT_FALSE(session_log_next(&l, &at, &stream, &v));
    session_log_done(&l);
}

TEST(a_log_is_bounded_and_keeps_the_newest)
{
    static char block[1024 * 1024];
    enum session_stream stream;
    struct session_log l;
    struct smx_view v;
    uint64_t at = 0;

    session_log_init(&l);
    for (unsigned i = 0; i < 40; i++) {
        memset(block, 'a' + (int)(i % 26), sizeof block);
        ASSERT_EQ(
            session_log_add(&l, i % 2 ? SESSION_STDOUT : SESSION_STDERR, block, sizeof block), 0);
        ASSERT_TRUE(l.bytes.len <= SESSION_LOG_MAX);
    }
    ASSERT_EQ(l.dropped + l.bytes.len, 40 * sizeof block);
    ASSERT_EQ(l.bytes.data[l.bytes.len - 1], 'a' + 39 % 26);
    ASSERT_TRUE(session_log_next(&l, &at, &stream, &v)); /* goes on with the oldest kept */
    ASSERT_EQ(at - v.n, l.dropped);
    session_log_done(&l);
}

TEST(a_log_of_single_bytes_is_bounded_too)
{
    struct session_log l;

    session_log_init(&l);
    for (unsigned i = 0; i < 300000; i++)
        ASSERT_EQ(session_log_add(&l, 1 + i % 2, "x", 1), 0);
    ASSERT_TRUE(l.n_pieces <= 64 * 1024);
    ASSERT_EQ(l.dropped + l.bytes.len, 300000);
    session_log_done(&l);
}
