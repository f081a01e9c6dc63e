/* test_client.c - the parts of libsandmux that need no daemon: frames, URLs, error bodies, paths.
 */
#include "base/test.h"
#include "client/exec.h"

/* --- frames -------------------------------------------------------------------------------------
 */

static ptrdiff_t parse(const char *data, size_t n, struct frame *f, struct smx_err *err)
{
    return frame_parse(data, n, /* max= */ 1000000, f, err);
}

TEST(frames_are_whole_at_every_split)
{
    static const size_t sizes[] = { 0, 1, 125, 126, 127, 65535, 65536, 70000 };

    for (size_t i = 0; i < SMX_ARRAY_LEN(sizes); i++) {
        SMX_CLEANUP(smx_freep) char *wire = smx_alloc(sizes[i] + 10);
        size_t n = sizes[i], head = 2;
        struct smx_err err = { 0 };
        struct frame f;

        wire[0] = (char)0x82;
        if (n < 126) {
            wire[1] = (char)n;
        } else if (n < 65536) {
            wire[1] = 126;
            wire[2] = (char)(n >> 8);
            wire[3] = (char)n;
            head = 4;
        } else {
            wire[1] = 127;
            wire[7] = (char)(n >> 16);
            wire[8] = (char)(n >> 8);
            wire[9] = (char)n;
            head = 10;
        }
        for (size_t k = 0; k<head + n; k += n> 1000 && k > 20 ? 997 : 1)
            ASSERT_EQ(parse(wire, k, &f, &err), 0);
        ASSERT_EQ(parse(wire, head + n, &f, &err), head + n);
        ASSERT_EQ(f.n, n);
        ASSERT_EQ(f.opcode, FRAME_BINARY);
        ASSERT_TRUE(f.fin);
    }
}

TEST(bad_frames_are_refused)
{
    static const struct {
        const char *data;
        size_t n;
        int code;
    } cases[] = {
        { "\xc2\x00", 2, SMX_E_PROTOCOL },                      /* reserved bit */
        { "\x82\x80", 2, SMX_E_PROTOCOL },                      /* masked by a server */
        { "\x83\x00", 2, SMX_E_PROTOCOL },                      /* unknown opcode */
        { "\x8b\x00", 2, SMX_E_PROTOCOL },                      /* unknown control opcode */
        { "\x08\x00", 2, SMX_E_PROTOCOL },                      /* fragmented close */
        { "\x89\x7e\x00\x7e", 4, SMX_E_PROTOCOL },              /* long ping */
        { "\x82\x7e\x00\x7d", 4, SMX_E_PROTOCOL },              /* 125 in two bytes */
        { "\x82\x7f\0\0\0\0\0\0\xff\xff", 10, SMX_E_PROTOCOL }, /* 65535 in eight */
        { "\x82\x7f\x7f\0\0\0\0\0\0\0", 10, SMX_E_TOO_LARGE },
        { "\x82\x7f\0\0\0\0\0\x10\0\0", 10, SMX_E_TOO_LARGE },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct smx_err err = { 0 };
        struct frame f;

        ASSERT_EQ(parse(cases[i].data, cases[i].n, &f, &err), -(int)cases[i].code);
    }
}

TEST(own_frames_are_masked_and_carry_every_byte)
{
    static const size_t sizes[] = { 0, 1, 7, 8, 9, 125, 126, 65535, 65536, 100001 };

    for (size_t i = 0; i < SMX_ARRAY_LEN(sizes); i++) {
        SMX_CLEANUP(smx_freep) char *data = smx_alloc(sizes[i] + 1);
        size_t n = sizes[i], head = n < 126 ? 6 : n < 65536 ? 8 : 14;
        struct smx_buf b;

        for (size_t k = 0; k < n; k++)
            data[k] = (char)(k * 7 + (k >> 8));
        smx_buf_init(&b, 200000);
        ASSERT_EQ(frame_append(&b, FRAME_TEXT, data, n), 0);
        ASSERT_EQ(b.len, head + n);
        ASSERT_EQ((unsigned char)b.data[0], 0x81);
        ASSERT_TRUE(b.data[1] & 0x80);
        for (size_t k = 0; k < n; k++)
            ASSERT_EQ((char)(b.data[head + k] ^ b.data[head - 4 + k % 4]), data[k]);
        smx_buf_done(&b);
    }
}

TEST(handshake_answer_of_rfc_6455)
{
    char accept[FRAME_ACCEPT_SIZE], key[FRAME_KEY_SIZE], other[FRAME_KEY_SIZE];

    frame_accept("dGhlIHNhbXBsZSBub25jZQ==", accept);
    ASSERT_STR(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    frame_key(key);
    frame_key(other);
    ASSERT_EQ(strlen(key), 24);
    ASSERT_TRUE(strcmp(key, other) != 0);
}

/* --- where to -----------------------------------------------------------------------------------
 */

TEST(urls)
{
    static const struct {
        const char *url, *host;
        unsigned port;
    } good[] = { { "http://127.0.0.1:8000", "127.0.0.1", 8000 }, { "http://box/", "box", 80 },
        { "http://[::1]:9", "::1", 9 }, { "http://[::1]", "::1", 80 } };
    static const char *const bad[] = { "", "box", "http://", "http://:80",
        "http://h:", "http://h:0", "http://h:65536", "http://h:1x", "http://[::1", "http://[::1]x",
        "http://h/path", "http://h?q", "ftp://h", "http://h\r\nX: y" };
    struct smx_err err = { 0 };
    struct endpoint e;

    for (size_t i = 0; i < SMX_ARRAY_LEN(good); i++) {
        ASSERT_OK(endpoint_parse(good[i].url, &e, &err), &err);
        ASSERT_STR(e.host, good[i].host);
        ASSERT_EQ(e.port, good[i].port);
    }
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++)
        ASSERT_EQ(endpoint_parse(bad[i], &e, &err), -SMX_E_INVALID);
    ASSERT_FALSE(e.secure);
    ASSERT_EQ(endpoint_parse("https://[::1]", &e, &err), 0);
    ASSERT_STR(e.host, "::1");
    ASSERT_EQ(e.port, 443);
    ASSERT_TRUE(e.secure);
    ASSERT_EQ(endpoint_parse("https://h:8443/", &e, &err), 0);
    ASSERT_EQ(e.port, 8443);
    ASSERT_EQ(endpoint_parse("https://", &e, &err), -SMX_E_INVALID);
    ASSERT_OK(endpoint_parse("unix:/run/x.sock", &e, &err), &err);
    ASSERT_STR(e.path, "/run/x.sock");
    ASSERT_OK(endpoint_parse("unix:///run/x.sock", &e, &err), &err);
    ASSERT_STR(e.path, "/run/x.sock");
}

TEST(a_socket_path_that_the_kernel_cannot_take_is_refused)
{
    char path[160] = "unix:/";
    struct smx_err err = { 0 };
    struct endpoint e;

    memset(path + 6, 'x', 120);
    ASSERT_EQ(endpoint_parse(path, &e, &err), -SMX_E_INVALID);
    ASSERT_TRUE(strstr(err.msg, "107"));
}

TEST(paths_are_escaped)
{
    struct smx_err err = { 0 };
    struct smx_buf b;

    smx_buf_init(&b, 4096);
    ASSERT_OK(call_path(&b, "/api/sandboxes", "a/b c?", "/files", &err), &err);
    call_query(&b, "path", "/a b#c%20d?&+=.txt");
    call_query(&b, "none", NULL);
    call_query_u64(&b, "depth", 3);
    ASSERT_STR(
        b.data, "/api/sandboxes/a%2Fb%20c%3F/files?path=/a%20b%23c%2520d%3F%26%2B%3D.txt&depth=3");
    smx_buf_reset(&b);
    ASSERT_EQ(call_path(&b, "/api/sandboxes", "", "/files", &err), -SMX_E_INVALID);
    smx_buf_done(&b);
}

/* --- errors -------------------------------------------------------------------------------------
 */

TEST(error_bodies)
{
    static const struct {
        int status;
        const char *body;
        enum smx_code code;
        const char *text;
    } cases[] = {
        { 404, "{\"code\":\"sandbox_not_found\",\"detail\":\"sandbox 'x' not found\"}",
            SMX_E_SANDBOX_NOT_FOUND, "sandbox 'x' not found" },
        { 400, "{\"detail\":\"Runtime 'e2b' is not properly configured\"}", SMX_E_NOT_CONFIGURED,
            "Runtime 'e2b' is not properly configured" },
        { 422,
            "{\"detail\":[{\"loc\":[\"body\",\"runtime\"],\"msg\":\"required\",\"type\":\"x\"}]}",
            SMX_E_INVALID, "required" },
        { 409, "{}", SMX_E_STATE, "State conflict" },
        { 502, "<html>", SMX_E_UNAVAILABLE, "the daemon answered 502 Bad Gateway" },
        { 500, "", SMX_E_INTERNAL, "the daemon answered 500 Internal Server Error" },
        { 418, "{\"code\":\"made_up\",\"detail\":17}", SMX_E_INTERNAL, "Internal error" },
        { 400, "{\"code\":\"invalid_request\",\"detail\":\"two\\nlines\\u001b\"}", SMX_E_INVALID,
            "two lines " },
        { 404, "{\"detail\":[]}", SMX_E_NOT_FOUND, "Not found" },
        { 404, "{\"detail\":{\"a\":1}}", SMX_E_NOT_FOUND, "Not found" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct smx_err err = { 0 };

        ASSERT_EQ(call_error(cases[i].status, cases[i].body, strlen(cases[i].body), &err),
            -(int)cases[i].code);
        ASSERT_EQ(err.code, cases[i].code);
        ASSERT_STR(err.msg, cases[i].text);
    }
}

TEST(error_bodies_without_memory_are_still_errors)
{
    static const char body[] = "{\"code\":\"sandbox_not_found\",\"detail\":\"gone\"}";

    for (unsigned n = 1; n < 12; n++) {
        struct smx_err err = { 0 };
        int r;

        smx_mem_fail_after(n);
        r = call_error(404, body, strlen(body), &err);
        smx_mem_fail_after(0);
        ASSERT_INT(r, <, 0);
        ASSERT_TRUE(err.msg[0]);
    }
}

/* --- exec requests ------------------------------------------------------------------------------
 */

TEST(exec_requests)
{
    static const char *const argv[] = { "printf", "%s", "two  words", NULL };
    static const char *const none[] = { NULL };
    static const struct smx_pair env[] = { { "C", "'\"$HOME\\" }, { "E", "" }, { "N", NULL } };
    struct smx_exec_spec spec = { .argv = argv, .env = env, .n_env = 3, .timeout_ms = 1500 };
    struct smx_err err = { 0 };
    struct json_writer w;
    struct smx_buf b;

    smx_buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    exec_write(&w, &spec);
    json_object_end(&w);
    ASSERT_STR(b.data, "{\"command\":[\"printf\",\"%s\",\"two  words\"],\"env\":{\"C\":\"'\\\"$HOME"
                       "\\\\\",\"E\":\"\",\"N\":\"\"},\"timeout_s\":1.5}");
    smx_buf_done(&b);
    ASSERT_OK(exec_check(&spec, &err), &err);
    spec.shell = "x";
    ASSERT_EQ(exec_check(&spec, &err), -SMX_E_INVALID);
    spec.argv = none;
    ASSERT_OK(exec_check(&spec, &err), &err);
    spec.shell = NULL;
    ASSERT_EQ(exec_check(&spec, &err), -SMX_E_INVALID);
}
