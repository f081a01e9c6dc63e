/* test_envd.c - the envd client against canned replies: what a good agent says, and what a hostile
 * one may say. */
#include <errno.h>
#include <unistd.h>

#include "providers/envd/test_scripted.h"
#include "wire/envd/brief.h"

/* --- processes ----------------------------------------------------------------------------------
 */

FIBER_TEST(a_process_from_start_to_end)
{
    static const char *const messages[] = { START, "{\"event\":{\"data\":{\"stdout\":\"aGkK\"}}}",
        "{\"event\":{\"keepalive\":{}}}", "{\"event\":{\"data\":{\"stderr\":\"\"}}}",
        "{ \"event\" : { \"data\" : { \"pty\" : \"aGkK\" } } }",
        "{\"event\":{\"end\":{\"exitCode\":3,\"exited\":true,\"status\":\"exit status 3\"}}}", "{}",
        NULL };
    static const enum provider_event_kind kinds[] = { PROVIDER_EVENT_START, PROVIDER_EVENT_STDOUT,
        PROVIDER_EVENT_STDERR, PROVIDER_EVENT_PTY, PROVIDER_EVENT_END };
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    struct provider_process_spec spec = { .argv = true_argv };
    struct provider_stream *p = NULL;
    struct provider_event e = { 0 };

    script(&reply, messages);
    SCRIPTED(s, reply.data, reply.len);
    s.keep_open = true;
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(kinds); i++) {
        ASSERT_OK(provider_stream_next(p, &e, in_ms(2000), &s.err), &s.err);
        ASSERT_EQ(e.kind, kinds[i]);
        ASSERT_EQ(e.pid, 7);
        if (i == 1 || i == 3)
            ASSERT_MEM(e.data, e.n, "hi\n", 3);
    }
    ASSERT_EQ(e.exit_code, 3);
    ASSERT_EQ(provider_stream_next(p, &e, in_ms(2000), &s.err), -SMX_E_CLOSED);
    provider_stream_close(p);
    ASSERT_EQ(s.box.n_kept, 1); /* the connection is used again */
}

/* --- output by a socket ---------------------------------------------------------------------- */

#define WITH_FIELD(what)                                                                     \
    "HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nSandmux-Descriptor: " what \
    "\r\nTransfer-Encoding: chunked\r\n\r\n"

/* The reply of script() with a field in its head. */
static void script_with_field(struct smx_buf *out, const char *const *json)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf plain = { 0 };
    size_t head = strlen(STREAM_HEAD);

    script(&plain, json);
    smx_buf_init(out, 1024 * 1024);
    smx_buf_append_str(out, WITH_FIELD("stdout"));
    smx_buf_append(out, plain.data + head, plain.len - head);
}

static const char *const quiet[] = { START,
    "{\"event\":{\"end\":{\"exited\":true,\"status\":\"exit status 0\"}}}", "{}", NULL };

/* What came with the request at the agent's side; -1: nothing. */
static int passed_to(struct scripted *s, struct smx_buf *request)
{
    size_t nfds = 1;
    int fd = -1;
    ssize_t n;

    smx_buf_init(request, 65536);
    if (smx_buf_reserve(request, 4096) < 0)
        return -1;
    n = io_recv_fds(&s->peer, request->data, 4096, &fd, &nfds, in_ms(2000), NULL);
    request->len = (size_t)SMX_MAX(n, 0);
    request->data[request->len] = '\0';
    return nfds == 1 ? fd : -1;
}

/* Linux 6.16 */
static bool rights_can_be_refused(void)
{
    int sv[2], no = 0;
    bool can;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return false;
    can = setsockopt(sv[0], SOL_SOCKET, 83, &no, sizeof no) == 0;
    smx_close(sv[0]);
    smx_close(sv[1]);
    return can;
}

FIBER_TEST(output_by_a_socket)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    SMX_CLEANUP(smx_buf_done) struct smx_buf request = { 0 };
    int ours = -1, theirs;
    struct provider_process_spec spec = { .argv = true_argv, .ret_socket = &ours };
    struct provider_stream *p = NULL;
    struct provider_event e = { 0 };
    char text[8] = "";

    script_with_field(&reply, quiet);
    SCRIPTED(s, reply.data, reply.len);
    s.keep_open = true;
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    theirs = passed_to(&s, &request);
    if (!rights_can_be_refused()) {
        ASSERT_TRUE(theirs == -1 && ours == -1);
        provider_stream_close(p);
        return;
    }
    ASSERT_TRUE(strcasestr(request.data, "sandmux-descriptor: stdout") != NULL);
    ASSERT_INT(theirs, >=, 0);
    ASSERT_EQ(smx_send_fds(theirs, "x", 1, &theirs, 1), -EPERM); /* bytes only */
    ASSERT_INT(ours, >=, 0);
    ASSERT_EQ(smx_write_full(theirs, "hello", 5), 0);
    ASSERT_EQ(read(theirs, text, 1), 0); /* nothing ever comes the other way */
    smx_close(theirs);
    ASSERT_EQ(smx_read_full(ours, text, sizeof text), 5); /* nobody else holds the other end */
    ASSERT_STR(text, "hello");
    smx_close(ours);
    for (int i = 0; i < 2; i++)
        ASSERT_OK(provider_stream_next(p, &e, in_ms(2000), &s.err), &s.err);
    ASSERT_EQ(e.kind, PROVIDER_EVENT_END);
    provider_stream_close(p);
}

/* Input: what the process writes to its stdin is not kept for anybody. */
FIBER_TEST(input_by_a_socket)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    SMX_CLEANUP(smx_buf_done) struct smx_buf request = { 0 };
    int ours = -1, theirs;
    struct provider_process_spec spec = {
        .argv = true_argv, .stdin_open = true, .ret_socket = &ours
    };
    struct provider_stream *p = NULL;
    char text[8] = "";

    script_with_field(&reply, quiet);
    SCRIPTED(s, reply.data, reply.len);
    s.keep_open = true;
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    theirs = passed_to(&s, &request);
    ASSERT_TRUE(strcasestr(request.data, "sandmux-descriptor: stdin") != NULL);
    ASSERT_EQ(smx_write_full(ours, "hello", 5), 0);
    smx_close(ours);
    ASSERT_EQ(smx_read_full(theirs, text, sizeof text), 5);
    ASSERT_EQ(send(theirs, "x", 1, MSG_NOSIGNAL), -1);
    smx_close(theirs);
    provider_stream_close(p);
}

/* An agent of an older release, or another one: all is as ever. */
FIBER_TEST(a_socket_that_is_not_used_is_given_up)
{
    static const char *const messages[] = { START, "{\"event\":{\"data\":{\"stdout\":\"aGkK\"}}}",
        "{\"event\":{\"end\":{\"exited\":true,\"status\":\"exit status 0\"}}}", "{}", NULL };
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    int ours = 99;
    struct provider_process_spec spec = { .argv = true_argv, .ret_socket = &ours };
    struct provider_stream *p = NULL;
    struct provider_event e = { 0 };

    script(&reply, messages);
    SCRIPTED(s, reply.data, reply.len);
    s.keep_open = true;
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    ASSERT_EQ(ours, -1);
    for (int i = 0; i < 2; i++)
        ASSERT_OK(provider_stream_next(p, &e, in_ms(2000), &s.err), &s.err);
    ASSERT_EQ(e.kind, PROVIDER_EVENT_STDOUT);
    provider_stream_close(p);
}

FIBER_TEST(a_start_that_fails_leaves_no_socket)
{
    static const char refused[] = "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n";
    int ours = 99;
    struct provider_process_spec spec = { .argv = true_argv, .ret_socket = &ours };
    struct provider_stream *p = NULL;

    SCRIPTED(s, refused, sizeof refused - 1);
    ASSERT_INT(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), <, 0);
    ASSERT_EQ(ours, -1);
    spec.argv = (const char *const[]){ "", NULL };
    ours = 99;
    ASSERT_EQ(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), -SMX_E_INVALID);
    ASSERT_EQ(ours, -1);
}

FIBER_TEST(ends_by_signal_and_by_time)
{
    static const struct {
        const char *end;
        uint64_t timeout_ms;
        int code, signal;
        bool timed_out;
    } cases[] = {
        { "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: killed\"}}}", 0, 137, 9,
            false },
        { "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: terminated\"}}}", 5, 143, 15,
            false },
        { "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: segmentation fault (core "
          "dumped)\"}}}",
            0, 139, 11, false },
        { "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: signal 34\"}}}", 0, 162, 34,
            false },
        { "{\"event\":{\"end\":{\"exitCode\":-1}}}", 0, 137, 9, false },
        { "{\"event\":{\"end\":{\"exited\":true}}}", 0, 0, 0, false },
        { NULL, 5, 137, 9, true },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        static const char late[] =
            "{\"error\":{\"code\":\"deadline_exceeded\",\"message\":\"too late\"}}";
        const char *const with_end[] = { START, cases[i].end, "{}", NULL };
        const char *const by_time[] = { START, late, NULL };
        SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
        struct provider_process_spec spec = { .argv = true_argv,
            .timeout_ms = cases[i].timeout_ms };
        struct provider_stream *p = NULL;
        struct provider_event e = { 0 };

        script(&reply, cases[i].end ? with_end : by_time);
        SCRIPTED(s, reply.data, reply.len);
        ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
        ASSERT_OK(provider_stream_next(p, &e, in_ms(2000), &s.err), &s.err);
        ASSERT_OK(provider_stream_next(p, &e, in_ms(2000), &s.err), &s.err);
        ASSERT_EQ(e.kind, PROVIDER_EVENT_END);
        ASSERT_EQ(e.exit_code, cases[i].code);
        ASSERT_EQ(e.signal, cases[i].signal);
        ASSERT_EQ(e.timed_out, cases[i].timed_out);
        provider_stream_close(p);
    }
}

FIBER_TEST(a_start_that_fails_says_why)
{
    static const struct {
        const char *end;
        int code;
        const char *text;
    } cases[] = {
        { "{\"error\":{\"code\":\"invalid_argument\",\"message\":\"cwd '/x' does not exist\"}}",
            SMX_E_INVALID, "cwd '/x' does not exist" },
        { "{\"error\":{\"code\":\"unauthenticated\",\"message\":\"invalid username: 'x'\"}}",
            SMX_E_INVALID, "invalid username" },
        { "{\"error\":{\"code\":\"resource_exhausted\",\"message\":\"no more processes\"}}",
            SMX_E_QUOTA, "no more processes" },
        { "{\"error\":{\"code\":\"not_found\"}}", SMX_E_PROCESS_NOT_FOUND, "not_found" },
        { "{}", SMX_E_PROTOCOL, "without" },
        { "[]", SMX_E_INTERNAL, "" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        const char *const messages[] = { cases[i].end, NULL };
        SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
        struct provider_process_spec spec = { .argv = true_argv };
        struct provider_stream *p = NULL;
        int r;

        script(&reply, messages);
        SCRIPTED(s, reply.data, reply.len);
        r = provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err);
        ASSERT_TRUE(p == NULL);
        if (cases[i].code != SMX_E_INTERNAL)
            ASSERT_EQ(r, -cases[i].code);
        ASSERT_TRUE(r < 0);
        ASSERT_EQ(s.err.code, -r);
        if (!strstr(s.err.msg, cases[i].text))
            smx_test_fail(__FILE__, __LINE__, "no '%s' in: %s", cases[i].text, s.err.msg);
    }
}

FIBER_TEST(streams_that_break_the_protocol)
{
    static const char *const replies[] = {
        "",
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "garbage\r\n\r\n",
        STREAM_HEAD,
        STREAM_HEAD "5\r\n\x00\xff\xff\xff\xff\r\n0\r\n\r\n",
        STREAM_HEAD "zz\r\n",
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(replies); i++) {
        struct provider_process_spec spec = { .argv = true_argv };
        struct provider_stream *p = NULL;

        SCRIPTED(
            s, replies[i], i == 5 ? sizeof STREAM_HEAD - 1 + 3 + 5 + 2 + 5 : strlen(replies[i]));
        ASSERT_TRUE(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err) < 0);
        ASSERT_TRUE(s.err.code != SMX_OK && s.err.msg[0]);
        ASSERT_EQ(s.box.n_kept, 0);
    }
}

FIBER_TEST(a_sandbox_that_goes_away_in_the_middle)
{
    static const char *const messages[] = { START, "{}", NULL };
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    struct provider_process_spec spec = { .argv = true_argv };
    struct provider_stream *p = NULL;
    struct provider_event e;

    script(&reply, messages);
    SCRIPTED(s, reply.data, reply.len - 5 - (2 + 7 + 2) - 1);
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    ASSERT_OK(provider_stream_next(p, &e, in_ms(2000), &s.err), &s.err);
    ASSERT_EQ(provider_stream_next(p, &e, in_ms(2000), &s.err), -SMX_E_CLOSED);
    provider_stream_close(p);
}

FIBER_TEST(a_silent_stream_times_out_and_goes_on)
{
    static const char *const messages[] = { START, "{}", NULL };
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    SMX_CLEANUP(smx_buf_done) struct smx_buf more = { 0 };
    struct provider_process_spec spec = { .argv = true_argv };
    struct provider_stream *p = NULL;
    struct provider_event e;
    bool buffered = true;

    script(&reply, messages);
    smx_buf_init(&more, 1024);
    envelope(&more, 0, "{\"event\":{\"data\":{\"stdout\":\"aGkK\"}}}");
    SCRIPTED(s, reply.data, reply.len - 5 - (3 + 7 + 2));
    s.keep_open = true;
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    ASSERT_OK(provider_stream_next(p, &e, in_ms(2000), &s.err), &s.err);
    ASSERT_EQ(provider_stream_next(p, &e, in_ms(5), &s.err), -SMX_E_TIMEOUT);
    ASSERT_TRUE(provider_stream_fd(p, &buffered) != NULL);
    ASSERT_FALSE(buffered);
    ASSERT_OK(io_write(&s.peer, more.data, more.len, 1000, &s.err), &s.err);
    ASSERT_OK(provider_stream_next(p, &e, in_ms(2000), &s.err), &s.err);
    ASSERT_MEM(e.data, e.n, "hi\n", 3);
    provider_stream_close(p);
    ASSERT_EQ(s.box.n_kept, 0); /* it was not read to its end */
}

/* --- calls --------------------------------------------------------------------------------------
 */

#define JSON_REPLY(status, text) \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" text

FIBER_TEST(answers_of_unary_calls)
{
    static const struct {
        const char *reply;
        int r;
        const char *text;
    } cases[] = {
        { JSON_REPLY("200 OK",
              "{\"entry\":{\"name\":\"x\",\"type\":\"FILE_TYPE_FILE\",\"path\":\"/x\","
              "\"size\":\"12\",\"mode\":420,\"permissions\":\"-rw-r--r--\","
              "\"owner\":\"root\",\"group\":\"root\"}}"),
            0, "" },
        { JSON_REPLY(
              "404 Not Found", "{\"code\":\"not_found\",\"message\":\"file not found: /x\"}"),
            -SMX_E_FILE_NOT_FOUND, "file not found: /x" },
        { JSON_REPLY("409 Conflict", "{\"code\":\"already_exists\",\"message\":\"there\"}"),
            -SMX_E_EXISTS, "there" },
        { JSON_REPLY("401 Unauthorized", "{\"code\":\"unauthenticated\",\"message\":\"who\"}"),
            -SMX_E_INVALID, "who" },
        { JSON_REPLY("500 Oops", "{\"code\":\"internal\",\"message\":\"/a/b: Not a directory\"}"),
            -SMX_E_INVALID, "/a/b" },
        { JSON_REPLY("500 Oops",
              "{\"code\":\"internal\",\"message\":\"open /usr/x: read-only file system\"}"),
            -SMX_E_FORBIDDEN, "/usr/x" },
        { JSON_REPLY("500 Oops", "{\"code\":\"internal\",\"message\":\"it broke\"}"),
            -SMX_E_INTERNAL, "it broke" },
        { JSON_REPLY("200 OK", "not json"), -SMX_E_PROTOCOL, "makes no sense" },
        { JSON_REPLY("200 OK", ""), -SMX_E_PROTOCOL, "makes no sense" },
        { JSON_REPLY("500 Oops", "<html>"), -SMX_E_PROTOCOL, "status 500" },
        { "", -SMX_E_CLOSED, "" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct provider_file f = { 0 };

        SCRIPTED(s, cases[i].reply, strlen(cases[i].reply));
        ASSERT_EQ(provider_stat(BOX(s), "x", NULL, &f, in_ms(2000), &s.err), cases[i].r);
        if (cases[i].r == 0) {
            ASSERT_EQ(f.size_bytes, 12);
            ASSERT_EQ(f.mode, 0644);
            ASSERT_EQ(f.type, PROVIDER_FILE_REGULAR);
            provider_file_done(&f);
        } else {
            ASSERT_TRUE(strstr(s.err.msg, cases[i].text) != NULL);
        }
    }
}

/* A reply of records: how many entries they must give, or an error. */
static int list_of(const struct smx_buf *records, struct provider_file_list *ret)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    struct scripted s;
    int r;

    smx_buf_init(&reply, 1024 * 1024);
    smx_buf_appendf(&reply, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
        ENVD_BRIEF_TYPE, records->len);
    smx_buf_append(&reply, records->data ? records->data : "", records->len);
    scripted_init(&s, reply.data, reply.len);
    r = provider_list_dir(BOX(s), "x", NULL, 1, ret, in_ms(2000), &s.err);
    scripted_done(&s);
    return r;
}

FIBER_TEST(a_list_of_records)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf records = { 0 };
    struct envd_brief e = { .path = SMX_VIEW("/w/a"),
        .owner = SMX_VIEW("me"),
        .group = SMX_VIEW("us"),
        .type = ENVD_TYPE_DIRECTORY,
        .mode = 0755,
        .size = 9,
        .mtime_unix_ms = 1234 };
    struct provider_file_list l = { 0 };

    smx_buf_init(&records, 1024 * 1024);
    ASSERT_EQ(list_of(&records, &l), 0);
    ASSERT_EQ(l.n, 0);
    provider_file_list_done(&l);
    for (int i = 0; i < 500; i++)
        envd_brief_append(&records, &e);
    e.type = ENVD_TYPE_UNSPECIFIED;
    e.target = SMX_VIEW("nowhere");
    envd_brief_append(&records, &e);
    ASSERT_EQ(list_of(&records, &l), 0);
    ASSERT_EQ(l.n, 501);
    ASSERT_STR(l.v[499].name, "a");
    ASSERT_STR(l.v[499].path, "/w/a");
    ASSERT_STR(l.v[499].owner, "me");
    ASSERT_STR(l.v[499].group, "us");
    ASSERT_TRUE(l.v[499].type == PROVIDER_FILE_DIRECTORY && !l.v[499].symlink_target);
    ASSERT_TRUE(l.v[499].mode == 0755 && l.v[499].size_bytes == 9);
    ASSERT_EQ(l.v[499].mtime_unix_ms, 1234);
    ASSERT_EQ(l.v[500].type, PROVIDER_FILE_SYMLINK);
    ASSERT_STR(l.v[500].symlink_target, "nowhere");
    provider_file_list_done(&l);
    records.data[records.len - 1] = 'x';
    ASSERT_EQ(list_of(&records, &l), -SMX_E_PROTOCOL);
}

/* What the client sent on its last connection; the zeros of envelopes become dots. */
static void sent(struct scripted *s, char *out, size_t size)
{
    ssize_t n = recv(s->peer.fd, out, size - 1, MSG_DONTWAIT);

    n = n > 0 ? n : 0;
    for (ssize_t i = 0; i < n; i++)
        if (out[i] == '\0')
            out[i] = '.';
    out[n] = '\0';
}

#define ROOT_FIELD "Authorization: Basic cm9vdDo=\r\n" /* "root:" */

FIBER_TEST(who_names_nothing_is_root_in_the_workspace)
{
    static const char *const messages[] = { START, "{}", NULL };
    SMX_CLEANUP(smx_buf_done) struct smx_buf reply = { 0 };
    struct provider_process_spec spec = { .argv = true_argv };
    struct provider_stream *p = NULL;
    struct provider_reader *r = NULL;
    struct provider_file f = { 0 };
    uint64_t total;
    char text[4096];

    script(&reply, messages);
    SCRIPTED(s, reply.data, reply.len);
    s.box.user = "root";
    ASSERT_OK(provider_process_start(BOX(s), &spec, &p, in_ms(2000), &s.err), &s.err);
    provider_stream_close(p);
    sent(&s, text, sizeof text);
    ASSERT_TRUE(strstr(text, ROOT_FIELD) && strstr(text, "\"cwd\":\"/workspace\""));
    provider_stat(BOX(s), "x", NULL, &f, in_ms(2000), &s.err);
    sent(&s, text, sizeof text);
    ASSERT_TRUE(strstr(text, ROOT_FIELD) && strstr(text, "\"/workspace/x\""));
    provider_stat(BOX(s), "x", "user", &f, in_ms(2000), &s.err);
    sent(&s, text, sizeof text);
    ASSERT_TRUE(strstr(text, "Basic dXNlcjo=") != NULL);
    provider_read_open(BOX(s), "x", NULL, 0, UINT64_MAX, &r, &total, in_ms(2000), &s.err);
    sent(&s, text, sizeof text);
    ASSERT_TRUE(strstr(text, "path=/workspace/x&username=root ") != NULL);
    provider_read_close(r);
}

FIBER_TEST(answers_of_file_transfers)
{
    static const struct {
        const char *reply;
        int r;
    } reads[] = {
        { "HTTP/1.1 206 Partial\r\nContent-Range: bytes 1-2/5\r\nContent-Length: 2\r\n\r\nbc", 0 },
        { JSON_REPLY("404 Not Found", "{\"code\":404,\"message\":\"path '/x' does not exist\"}"),
            -SMX_E_FILE_NOT_FOUND },
        { JSON_REPLY("400 Bad", "{\"code\":400,\"message\":\"path '/x' is a directory\"}"),
            -SMX_E_INVALID },
        { JSON_REPLY("416 Range", "{}"), -SMX_E_INVALID },
        { JSON_REPLY("200 OK", "whole although a part was asked for"), -SMX_E_PROTOCOL },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(reads); i++) {
        struct provider_reader *rd = NULL;
        uint64_t total = 0;
        char data[8];

        SCRIPTED(s, reads[i].reply, strlen(reads[i].reply));
        ASSERT_EQ(provider_read_open(BOX(s), "x", NULL, 1, 2, &rd, &total, in_ms(2000), &s.err),
            reads[i].r);
        if (reads[i].r < 0)
            continue;
        ASSERT_EQ(total, 5);
        ASSERT_EQ(provider_read(rd, data, sizeof data, in_ms(2000), &s.err), 2);
        ASSERT_EQ(provider_read(rd, data, sizeof data, in_ms(2000), &s.err), 0);
        provider_read_close(rd);
    }
}

FIBER_TEST(a_cut_download_is_no_success)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    struct provider_reader *rd = NULL;
    uint64_t total = 0;
    char data[16];

    SCRIPTED(s, reply, sizeof reply - 1);
    ASSERT_OK(
        provider_read_open(BOX(s), "x", NULL, 0, UINT64_MAX, &rd, &total, in_ms(2000), &s.err),
        &s.err);
    ASSERT_EQ(total, 10);
    ASSERT_EQ(provider_read(rd, data, sizeof data, in_ms(2000), &s.err), 3);
    ASSERT_EQ(provider_read(rd, data, sizeof data, in_ms(2000), &s.err), -SMX_E_CLOSED);
    provider_read_close(rd);
}

FIBER_TEST(a_full_disk_is_told_by_the_commit)
{
    static const char reply[] = JSON_REPLY("507 Full", "{\"code\":507,\"message\":\"no space\"}");
    struct provider_writer *w = NULL;

    SCRIPTED(s, reply, sizeof reply - 1);
    ASSERT_OK(provider_write_open(BOX(s), "x", NULL, UINT64_MAX, &w, in_ms(2000), &s.err), &s.err);
    ASSERT_OK(provider_write(w, "abc", 3, &s.err), &s.err);
    ASSERT_EQ(provider_write_commit(w, in_ms(2000), &s.err), -SMX_E_DISK_FULL);
}

FIBER_TEST(arguments_that_cannot_be_sent)
{
    static char path[SMX_PATH_MAX + 10], user[400];
    static const char *const none[] = { NULL };
    struct provider_process_spec spec = { .argv = none };
    struct provider_stream *p = NULL;
    struct provider_reader *rd = NULL;
    struct provider_file f;
    uint64_t total;

    memset(path, 'x', sizeof path - 1);
    memset(user, 'u', sizeof user - 1);
    SCRIPTED(s, "", 0);
    ASSERT_EQ(provider_process_start(BOX(s), &spec, &p, in_ms(10), &s.err), -SMX_E_INVALID);
    ASSERT_EQ(provider_stat(BOX(s), "x", user, &f, in_ms(10), &s.err), -SMX_E_INVALID);
    ASSERT_EQ(provider_read_open(BOX(s), path, NULL, 0, 1, &rd, &total, in_ms(10), &s.err),
        -SMX_E_INVALID);
    ASSERT_EQ(provider_read_open(BOX(s), "x", NULL, 0, 0, &rd, &total, in_ms(10), &s.err),
        -SMX_E_INVALID);
    ASSERT_EQ(provider_signal(BOX(s), 1, 65, in_ms(10), &s.err), -SMX_E_INVALID);
    ASSERT_EQ(s.dials, 0);
}

FIBER_TEST(idle_connections_are_bounded)
{
    static const char reply[] = "HTTP/1.1 204 No Content\r\n\r\n";
    struct http_client *c[ENVD_IDLE_PER_BOX + 4];

    SCRIPTED(s, reply, sizeof reply - 1);
    s.keep_open = true;
    for (size_t i = 0; i < SMX_ARRAY_LEN(c); i++)
        ASSERT_OK(provider_envd_get(BOX(s), &c[i], in_ms(1000), &s.err), &s.err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(c); i++) {
        struct h1_head head;

        ASSERT_OK(
            http_client_send_all(c[i], H1_GET, SMX_VIEW("/health"), NULL, NULL, 0, &s.err) == 0 ||
                    i + 1 < SMX_ARRAY_LEN(c)
                ? 0
                : -1,
            &s.err);
        (void)http_client_head(c[i], &head, in_ms(1000), &s.err);
        provider_envd_put(BOX(s), c[i]);
    }
    ASSERT_TRUE(s.idle.n <= ENVD_IDLE_PER_BOX);
    envd_idle_close(&s.idle, 0);
    ASSERT_EQ(s.idle.n, 0);
    ASSERT_EQ(s.box.n_kept, 0);
}

FIBER_TEST(files_without_a_path_are_none)
{
    static const char *const entries[] = { "{}", "{\"name\":\"x\"}", "{\"path\":\"/x\"}",
        "{\"name\":null,\"path\":\"/x\"}" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(entries); i++) {
        struct provider_file_list l = { 0 };
        struct provider_file f = { 0 };
        char body[256], reply[512];
        int n;

        snprintf(body, sizeof body,
            "{\"entry\":%s,\"entries\":[{\"name\":\"a\",\"path\":\"/a\"},%s]}", entries[i],
            entries[i]);
        n = snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
            strlen(body), body);
        SCRIPTED(s, reply, (size_t)n);
        ASSERT_EQ(provider_stat(BOX(s), "x", NULL, &f, in_ms(2000), &s.err), -SMX_E_PROTOCOL);
        ASSERT_EQ(
            provider_list_dir(BOX(s), "x", NULL, 1, &l, in_ms(2000), &s.err), -SMX_E_PROTOCOL);
    }
}
