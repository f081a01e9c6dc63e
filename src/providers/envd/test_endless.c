/* test_endless.c - the envd client against an agent that does not end, or begins twice. */
#include "providers/envd/test_scripted.h"

/* Says the same again and again on the connection that was dialled last, until that is closed. */
struct endless {
    struct scripted *s;
    const char *text;
    size_t n;
    uint64_t pause_ms; /* 0: as much as goes */
};

static void endless_main(void *arg)
{
    struct endless *e = arg;

    while (e->s->dials == 0)
        io_yield();
    while (io_write(&e->s->peer, e->text, e->n, 10000, /* err= */ NULL) == 0)
        if (e->pause_ms)
            io_sleep_until(in_ms(e->pause_ms));
}

#define CHUNK_OF_NOTHING "7\r\n\0\0\0\0\2{}\r\n"
#define END "{\"event\":{\"end\":{\"exitCode\":3,\"exited\":true,\"status\":\"exit status 3\"}}}"

/* A stream whose last envelope came, and more bytes behind it. */
static void expect_end_before(const char *text, uint64_t pause_ms)
{
    static const char *const messages[] = { START, END, "{}", NULL };
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    struct provider_process_spec spec = { .argv = true_argv };
    struct provider_stream *p = NULL;
    struct provider_event ev = { 0 };

    script(&reply, messages);
    SCRIPTED(s, reply.data, reply.len - strlen("0\r\n\r\n"));
    s.keep_open = true;
    struct endless e = { &s, text, strlen(text), pause_ms };
    spawn("endless", endless_main, &e);
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    while (ev.kind != PROVIDER_EVENT_END)
        ASSERT_OK(provider_stream_next(p, &ev, in_ms(2000), &s.err), &s.err);
    ASSERT_EQ(ev.exit_code, 3);
    provider_stream_close(p);
    join_all();
    ASSERT_EQ(s.idle.n, 0);
}

FIBER_TEST(what_follows_the_end_is_not_waited_for)
{
    expect_end_before("1\r\nx\r\n", 20);
    expect_end_before("100\r\n", 0);
    expect_end_before("0\r\nmore: trailers\r\n", 20);
}

static void expect_no_start(const char *text, size_t n)
{
    struct provider_process_spec spec = { .argv = true_argv };
    struct provider_stream *p = NULL;

    SCRIPTED(s, STREAM_HEAD, strlen(STREAM_HEAD));
    s.keep_open = true;
    struct endless e = { &s, text, n, 0 };
    spawn("endless", endless_main, &e);
    ASSERT_EQ(provider_process_start(BOX(s), &spec, &p, in_ms(300), &s.err), -SMX_E_TIMEOUT);
    join_all();
}

FIBER_TEST(events_of_nothing_do_not_outlast_the_deadline)
{
    static const char keepalive[] = "1f\r\n\0\0\0\0\x1a{\"event\":{\"keepalive\":{}}}\r\n";

    expect_no_start(CHUNK_OF_NOTHING, sizeof CHUNK_OF_NOTHING - 1);
    expect_no_start(keepalive, sizeof keepalive - 1);
}

FIBER_TEST(a_process_starts_once)
{
    static const char *const messages[] = { START, START, END, "{}", NULL };
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    struct provider_process_spec spec = { .argv = true_argv };
    struct provider_stream *p = NULL;
    struct provider_event ev = { 0 };

    script(&reply, messages);
    SCRIPTED(s, reply.data, reply.len);
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    ASSERT_OK(provider_stream_next(p, &ev, in_ms(2000), &s.err), &s.err);
    ASSERT_EQ(ev.kind, PROVIDER_EVENT_START);
    ASSERT_EQ(provider_stream_next(p, &ev, in_ms(2000), &s.err), -SMX_E_PROTOCOL);
    provider_stream_close(p);
}

FIBER_TEST(the_answer_to_an_upload_has_an_end)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct provider_writer *w = NULL;

    SCRIPTED(s, head, sizeof head - 1);
    s.keep_open = true;
    struct endless e = { &s, "4\r\nmore\r\n", 9, 0 };
    spawn("endless", endless_main, &e);
    ASSERT_OK(provider_write_open(BOX(s), "x", NULL, 3, &w, in_ms(2000), &s.err), &s.err);
    ASSERT_OK(provider_write(w, "abc", 3, &s.err), &s.err);
    ASSERT_EQ(provider_write_commit(w, SMX_FOREVER, &s.err), -SMX_E_TOO_LARGE);
    join_all();
}
