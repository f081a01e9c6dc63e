/* test_ws.c - both roles against each other over a socket pair, and a server against frames made by
 * hand. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/test_util.h"
#include "ws/ws.h"

/* --- handshake --- */

TEST(accept_key_of_the_rfc)
{
    char out[WS_ACCEPT_SIZE];

    ws_accept_make(SMX_VIEW("dGhlIHNhbXBsZSBub25jZQ=="), out);
    ASSERT_STR(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    ASSERT_TRUE(ws_accept_matches(SMX_VIEW("dGhlIHNhbXBsZSBub25jZQ=="), smx_view_of(out)));
    ASSERT_FALSE(ws_accept_matches(SMX_VIEW("dGhlIHNhbXBsZSBub25jZQ=="), SMX_VIEW("s3pPLMB")));
    ASSERT_FALSE(
        ws_accept_matches(SMX_VIEW("dGhlIHNhbXBsZSBub25jZQ=="), (struct smx_view){ NULL, 0 }));
}

TEST(made_keys_are_valid_and_differ)
{
    char a[WS_KEY_SIZE], b[WS_KEY_SIZE];
    int status = 0;

    ws_key_make(a);
    ws_key_make(b);
    ASSERT_TRUE(strcmp(a, b) != 0);
    ASSERT_EQ(ws_check_request(smx_view_of(a), SMX_VIEW("13"), &status, NULL), 0);
}

TEST(request_fields_are_checked)
{
    static const struct {
        const char *key, *version;
        int status;
    } rows[] = {
        { "dGhlIHNhbXBsZSBub25jZQ==", "13", 0 },
        { "dGhlIHNhbXBsZSBub25jZQ==", "8", 426 },
        { "dGhlIHNhbXBsZSBub25jZQ==", "013", 426 },
        { "dGhlIHNhbXBsZSBub25jZQ==", NULL, 426 },
        { NULL, "13", 400 },
        { "", "13", 400 },
        { "dGhlIHNhbXBsZSBub25jZQ", "13", 400 },
        { "dGhlIHNhbXBsZSBub25jZQ=", "13", 400 },
        { "dGhlIHNhbXBsZSBub25jZR==", "13", 400 },
        { "dGhlIHNhbXBsZSBub25jZSEh", "13", 400 },
        { "dGhlIHNhbXBsZSBub25jZ!==", "13", 400 },
        { "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZQ==", "13", 400 },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        struct smx_view none = { NULL, 0 };
        int status = 0;
        int r = ws_check_request(rows[i].key ? smx_view_of(rows[i].key) : none,
            rows[i].version ? smx_view_of(rows[i].version) : none, &status, NULL);

        ASSERT_EQ(r, rows[i].status ? -SMX_E_INVALID : 0);
        ASSERT_EQ(status, rows[i].status);
    }
}

/* --- two roles --- */

struct duo {
    struct io_fd fd[2];
    struct ws server, client;
};

static void duo_init(struct duo *d)
{
    struct smx_view none = { NULL, 0 };
    struct smx_err err = { 0 };
    int fds[2];

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ASSERT_OK(io_fd_init(&d->fd[0], fds[0], &err), &err);
    ASSERT_OK(io_fd_init(&d->fd[1], fds[1], &err), &err);
    ASSERT_OK(ws_init(&d->server, &d->fd[0], none, WS_SERVER, &err), &err);
    ASSERT_OK(ws_init(&d->client, &d->fd[1], none, WS_CLIENT, &err), &err);
}

static void duo_done(struct duo *d)
{
    ws_done(&d->server);
    ws_done(&d->client);
    io_fd_done(&d->fd[0]);
    io_fd_done(&d->fd[1]);
}

struct sending {
    struct ws *ws;
    const char *data;
    size_t n;
    int r;
};

static void send_one(void *arg)
{
    struct sending *s = arg;

    s->r = ws_send(s->ws, WS_BINARY, s->data, s->n, NULL);
}

FIBER_TEST(payloads_of_every_length_form)
{
    static const size_t sizes[] = { 0, 1, 125, 126, 127, 65535, 65536, 900000, SMX_WS_MESSAGE_MAX };
    char *data = smx_alloc(SMX_WS_MESSAGE_MAX);

    for (size_t i = 0; i < SMX_WS_MESSAGE_MAX; i++)
        data[i] = (char)(i * 7 + i / 253);
    for (size_t i = 0; i < SMX_ARRAY_LEN(sizes) * 2; i++) {
        struct duo d;
        struct ws_message m = { .n = 9 };
        struct smx_err err = { 0 };
        struct sending s = { .data = data, .n = sizes[i / 2], .r = 9 };

        duo_init(&d);
        s.ws = i % 2 ? &d.server : &d.client;
        spawn("send", send_one, &s);
        ASSERT_OK(ws_recv(i % 2 ? &d.client : &d.server, &m, in_ms(10000), &err), &err);
        ASSERT_EQ(m.opcode, WS_BINARY);
        ASSERT_MEM(m.data, m.n, data, s.n);
        join_all();
        ASSERT_EQ(s.r, 0);
        duo_done(&d);
    }
    smx_free(data);
}

FIBER_TEST(messages_follow_each_other)
{
    struct duo d;
    struct ws_message m;
    struct smx_err err = { 0 };
    char text[32];

    duo_init(&d);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "message %d", i);
        ASSERT_OK(ws_send(&d.client, WS_TEXT, text, strlen(text), &err), &err);
    }
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "message %d", i);
        ASSERT_OK(ws_recv(&d.server, &m, in_ms(5000), &err), &err);
        ASSERT_EQ(m.opcode, WS_TEXT);
        ASSERT_STR(m.data, text);
    }
    ASSERT_EQ(ws_recv(&d.server, &m, in_ms(1), &err), -SMX_E_TIMEOUT);
    ASSERT_OK(ws_send(&d.client, WS_TEXT, "late", 4, &err), &err);
    ASSERT_OK(ws_recv(&d.server, &m, in_ms(5000), &err), &err);
    ASSERT_STR(m.data, "late");
    duo_done(&d);
}

FIBER_TEST(close_is_answered_and_ends_both_directions)
{
    struct duo d;
    struct ws_message m;
    struct smx_err err = { 0 };

    duo_init(&d);
    ASSERT_OK(ws_close(&d.client, 4001, "bye", &err), &err);
    ASSERT_EQ(ws_send(&d.client, WS_TEXT, "x", 1, &err), -SMX_E_CLOSED);
    ASSERT_EQ(ws_close(&d.client, 1000, "", &err), -SMX_E_CLOSED);
    ASSERT_OK(ws_recv(&d.server, &m, in_ms(5000), &err), &err);
    ASSERT_EQ(m.opcode, WS_CLOSE);
    ASSERT_EQ(m.close_code, 4001);
    ASSERT_STR(m.data, "bye");
    ASSERT_EQ(m.n, 3);
    ASSERT_EQ(ws_recv(&d.server, &m, in_ms(5000), &err), -SMX_E_CLOSED);
    ASSERT_EQ(ws_send(&d.server, WS_TEXT, "x", 1, &err), -SMX_E_CLOSED);
    ASSERT_OK(ws_recv(&d.client, &m, in_ms(5000), &err), &err);
    ASSERT_EQ(m.close_code, 4001);
    ASSERT_STR(m.data, "");
    duo_done(&d);
}

FIBER_TEST(close_without_code_and_long_reasons)
{
    struct duo d;
    struct ws_message m;
    struct smx_err err = { 0 };
    char reason[201];

    duo_init(&d);
    ASSERT_OK(ws_close(&d.client, 1005, "", &err), &err);
    ASSERT_OK(ws_recv(&d.server, &m, in_ms(5000), &err), &err);
    ASSERT_EQ(m.close_code, 1005);
    ASSERT_EQ(m.n, 0);
    duo_done(&d);
    for (size_t i = 0; i < 200; i += 2)
        memcpy(reason + i, "\xc3\xa9", 2);
    reason[200] = '\0';
    duo_init(&d);
    ASSERT_OK(ws_close(&d.server, 1011, reason, &err), &err);
    ASSERT_OK(ws_recv(&d.client, &m, in_ms(5000), &err), &err);
    ASSERT_EQ(m.close_code, 1011);
    ASSERT_MEM(m.data, m.n, reason, 122);
    duo_done(&d);
}

FIBER_TEST(eof_without_close_is_closed)
{
    struct duo d;
    struct ws_message m;
    struct smx_err err = { 0 };

    duo_init(&d);
    io_fd_done(&d.fd[1]);
    ASSERT_EQ(ws_recv(&d.server, &m, in_ms(5000), &err), -SMX_E_CLOSED);
    ASSERT_EQ(ws_recv(&d.server, &m, in_ms(5000), &err), -SMX_E_CLOSED);
    ASSERT_EQ(ws_send(&d.server, WS_TEXT, "x", 1, &err), -SMX_E_CLOSED);
    duo_done(&d);
}

struct receiving {
    struct ws *ws;
    size_t n, messages;
    int r;
};

static void receive_all(void *arg)
{
    struct receiving *c = arg;
    struct ws_message m;

    while ((c->r = ws_recv(c->ws, &m, in_ms(10000), NULL)) == 0 && m.opcode != WS_CLOSE) {
        c->n += m.n;
        c->messages++;
        io_yield();
    }
}

/* A ping that comes while the other fiber is in the middle of a large frame is answered behind it,
 * and never inside of it. */
FIBER_TEST(pings_are_answered_while_another_fiber_sends)
{
    enum { N = 900000, ROUNDS = 5 };
    struct duo d;
    struct receiving server = { 0 }, client = { 0 };
    char *data = smx_alloc(N);
    uint64_t before;

    duo_init(&d);
    server.ws = &d.server;
    client.ws = &d.client;
    before = d.client.heard_ns;
    spawn("server", receive_all, &server);
    spawn("client", receive_all, &client);
    for (int i = 0; i < ROUNDS; i++) {
        struct sending s = { .ws = &d.server, .data = data, .n = N, .r = 9 };

        spawn("send", send_one, &s);
        io_yield();
        for (int k = 0; k < 3; k++)
            ASSERT_EQ(ws_ping(&d.client, NULL), 0);
        while (s.r == 9)
            io_yield();
        ASSERT_EQ(s.r, 0);
    }
    ASSERT_EQ(ws_close(&d.server, 1000, "", NULL), 0);
    join_all();
    ASSERT_EQ(client.messages, ROUNDS);
    ASSERT_EQ(client.n, (size_t)N * ROUNDS);
    ASSERT_EQ(server.messages, 0);
    ASSERT_TRUE(d.client.heard_ns > before);
    smx_free(data);
    duo_done(&d);
}

FIBER_TEST(linger_waits_for_the_peer)
{
    struct duo d;
    struct receiving client = { 0 };
    struct smx_err err = { 0 };

    duo_init(&d);
    client.ws = &d.client;
    ASSERT_OK(ws_send(&d.client, WS_TEXT, "unread", 6, &err), &err);
    ASSERT_OK(ws_close(&d.server, 1000, "done", &err), &err);
    spawn("client", receive_all, &client);
    ws_linger(&d.server, in_ms(5000));
    ASSERT_TRUE(d.server.close_received);
    join_all();
    ASSERT_EQ(client.r, 0);
    duo_done(&d);
}

FIBER_TEST(no_memory_is_an_error)
{
    struct smx_err err = { 0 };
    struct duo d;
    struct ws ws;

    duo_init(&d);
    smx_mem_fail_after(1);
    ASSERT_EQ(ws_init(&ws, &d.fd[0], SMX_VIEW("early"), WS_SERVER, &err), -SMX_E_NO_MEMORY);
    smx_mem_fail_after(1);
    ASSERT_EQ(ws_send(&d.client, WS_TEXT, "x", 1, &err), -SMX_E_NO_MEMORY);
    duo_done(&d);
}

/* --- frames made by hand --- */

/* Appends a masked frame (mask 1 2 3 4) with head byte b0. */
static void frame(struct smx_buf *b, unsigned b0, const char *data, size_t n)
{
    static const unsigned char mask[4] = { 1, 2, 3, 4 };

    smx_buf_append_char(b, (char)b0);
    if (n < 126) {
        smx_buf_append_char(b, (char)(0x80 | n));
    } else {
        smx_buf_append_char(b, (char)(0x80 | 126));
        smx_buf_append_char(b, (char)(n >> 8));
        smx_buf_append_char(b, (char)n);
    }
    smx_buf_append(b, mask, 4);
    for (size_t i = 0; i < n; i++)
        smx_buf_append_char(b, (char)((unsigned char)data[i] ^ mask[i % 4]));
}

struct hand {
    struct io_fd fd;
    int peer;
    struct ws ws;
    struct smx_buf b;
};

static void hand_init(struct hand *h)
{
    int fds[2];

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    h->peer = fds[1];
    ASSERT_EQ(io_fd_init(&h->fd, fds[0], NULL), 0);
    smx_buf_init(&h->b, 2 * SMX_WS_MESSAGE_MAX);
}

/* All that was appended becomes the early bytes of a server (early) or is sent to it. */
static void hand_start(struct hand *h, bool early)
{
    struct smx_view v = { h->b.data, early ? h->b.len : 0 };

    ASSERT_EQ(ws_init(&h->ws, &h->fd, v, WS_SERVER, NULL), 0);
    if (!early)
        ASSERT_EQ(smx_write_full(h->peer, h->b.data, h->b.len), 0);
    smx_buf_reset(&h->b);
}

/* What the server wrote, up to n bytes. */
static size_t hand_answer(struct hand *h, unsigned char *out, size_t n)
{
    ssize_t r = recv(h->peer, out, n, MSG_DONTWAIT);

    return r < 0 ? 0 : (size_t)r;
}

static void hand_done(struct hand *h)
{
    ws_done(&h->ws);
    io_fd_done(&h->fd);
    smx_close(h->peer);
    smx_buf_done(&h->b);
}

FIBER_TEST(fragments_with_pings_between_them)
{
    for (int early = 0; early < 2; early++) {
        struct hand h;
        struct ws_message m;
        struct smx_err err = { 0 };
        unsigned char out[64];

        hand_init(&h);
        frame(&h.b, 0x01, "Hel", 3);
        frame(&h.b, 0x89, "are you there", 13);
        frame(&h.b, 0x00, "lo \xc3", 4);
        frame(&h.b, 0x8a, "", 0);
        frame(&h.b, 0x80, "\xa9!", 2);
        frame(&h.b, 0x82, "next", 4);
        hand_start(&h, early);
        ASSERT_OK(ws_recv(&h.ws, &m, in_ms(5000), &err), &err);
        ASSERT_EQ(m.opcode, WS_TEXT);
        ASSERT_STR(m.data, "Hello \xc3\xa9!");
        ASSERT_OK(ws_recv(&h.ws, &m, in_ms(5000), &err), &err);
        ASSERT_EQ(m.opcode, WS_BINARY);
        ASSERT_STR(m.data, "next");
        ASSERT_EQ(hand_answer(&h, out, sizeof out), 15);
        ASSERT_EQ(out[0], 0x8a);
        ASSERT_EQ(out[1], 13);
        ASSERT_MEM(out + 2, 13, "are you there", 13);
        hand_done(&h);
    }
}

/* It goes out behind the frame that was under way, without another send. */
FIBER_TEST(pong_waits_for_the_sender)
{
    enum { N = 900000, EXPECTED = 10 + N + 6 };
    struct hand h;
    struct ws_message m;
    struct sending s = { .data = smx_alloc(N), .n = N, .r = 9 };
    unsigned char *out = smx_alloc(EXPECTED + 100);
    size_t n = 0;

    hand_init(&h);
    hand_start(&h, /* early= */ false);
    s.ws = &h.ws;
    spawn("send", send_one, &s);
    io_yield();
    ASSERT_EQ(s.r, 9);
    frame(&h.b, 0x89, "ping", 4);
    ASSERT_EQ(smx_write_full(h.peer, h.b.data, h.b.len), 0);
    ASSERT_EQ(ws_recv(&h.ws, &m, in_ms(5), NULL), -SMX_E_TIMEOUT);
    ASSERT_EQ(s.r, 9);
    while (n < EXPECTED && s.r != -SMX_E_TIMEOUT) {
        n += hand_answer(&h, out + n, EXPECTED + 100 - n);
        io_yield();
    }
    ASSERT_EQ(n, EXPECTED);
    ASSERT_MEM(out + 10 + N, 6,
        "\x8a\x04"
        "ping",
        6);
    smx_free(out);
    smx_free((void *)(uintptr_t)s.data);
    join_all();
    hand_done(&h);
}

FIBER_TEST(bytes_one_at_a_time)
{
    struct hand h;
    struct ws_message m;
    char data[300];
    size_t n;

    memset(data, 'x', sizeof data);
    hand_init(&h);
    frame(&h.b, 0x82, data, sizeof data);
    n = h.b.len;
    ASSERT_EQ(ws_init(&h.ws, &h.fd, (struct smx_view){ NULL, 0 }, WS_SERVER, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        ASSERT_EQ(ws_recv(&h.ws, &m, 0, NULL), -SMX_E_TIMEOUT);
        ASSERT_EQ(write(h.peer, h.b.data + i, 1), 1);
    }
    ASSERT_EQ(ws_recv(&h.ws, &m, in_ms(5000), NULL), 0);
    ASSERT_MEM(m.data, m.n, data, sizeof data);
    hand_done(&h);
}

/* Raw bytes, the code of the close that answers them, and ours. */
#define BAD(bytes, code, error)                  \
    {                                            \
        bytes, sizeof(bytes) - 1, code, -(error) \
    }
static const struct bad_row {
    const char *bytes;
    size_t n;
    unsigned code;
    int r;
} bad_rows[] = {
    BAD("\x81\x03"
        "abc",
        1002, SMX_E_PROTOCOL), /* not masked */
    BAD("\xc1\x80"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* RSV1 */
    BAD("\xa1\x80"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* RSV2 */
    BAD("\x91\x80"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* RSV3 */
    BAD("\x83\x80"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* opcode 3 */
    BAD("\x8b\x80"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* opcode 11 */
    BAD("\x80\x80"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* continuation of nothing */
    BAD("\x01\x80"
        "\1\2\3\4"
        "\x81\x80"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* new message inside */
    BAD("\x09\x80"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* fragmented ping */
    BAD("\x89\xfe\x00\x7e"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* ping of 126 bytes */
    BAD("\x82\xfe\x00\x05"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* longer form than needed */
    BAD("\x82\xff\0\0\0\0\0\0\x7f\xff"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL),
    BAD("\x82\xff\x80\0\0\0\0\1\0\0"
        "\1\2\3\4",
        1002, SMX_E_PROTOCOL), /* the top bit */
    BAD("\x82\xff\0\0\0\0\0\x10\0\1"
        "\1\2\3\4"
        "x",
        1009, SMX_E_TOO_LARGE), /* limit + 1 */
    BAD("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"
        "\1\2\3\4"
        "x",
        1009, SMX_E_TOO_LARGE),
    BAD("\x81\x81"
        "\0\0\0\0"
        "\xff",
        1007, SMX_E_PROTOCOL), /* no UTF-8 */
    BAD("\x81\x82"
        "\0\0\0\0"
        "\xc3"
        "a",
        1007, SMX_E_PROTOCOL),
    BAD("\x01\x81"
        "\0\0\0\0"
        "\xc3"
        "\x80\x80"
        "\0\0\0\0",
        1007, SMX_E_PROTOCOL), /* cut in two */
    BAD("\x88\x81"
        "\0\0\0\0"
        "\x03",
        1002, SMX_E_PROTOCOL), /* half a code */
    BAD("\x88\x82"
        "\0\0\0\0"
        "\x03\xed",
        1002, SMX_E_PROTOCOL), /* 1005 */
    BAD("\x88\x82"
        "\0\0\0\0"
        "\x03\xee",
        1002, SMX_E_PROTOCOL), /* 1006 */
    BAD("\x88\x82"
        "\0\0\0\0"
        "\x00\x01",
        1002, SMX_E_PROTOCOL), /* 1 */
    BAD("\x88\x82"
        "\0\0\0\0"
        "\x13\x88",
        1002, SMX_E_PROTOCOL), /* 5000 */
    BAD("\x88\x83"
        "\0\0\0\0"
        "\x03\xe8"
        "\xff",
        1007, SMX_E_PROTOCOL),
};

FIBER_TEST(broken_frames_are_refused_with_the_right_code)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad_rows); i++) {
        const struct bad_row *row = &bad_rows[i];
        struct hand h;
        struct ws_message m;
        struct smx_err err = { 0 };
        unsigned char out[128];
        size_t n;

        hand_init(&h);
        smx_buf_append(&h.b, row->bytes, row->n);
        hand_start(&h, i % 2);
        if (ws_recv(&h.ws, &m, in_ms(5000), &err) != row->r)
            smx_test_fail(__FILE__, __LINE__, "row %zu: %s", i, err.msg);
        n = hand_answer(&h, out, sizeof out);
        if (n < 4 || out[0] != 0x88 || (unsigned)(out[2] << 8 | out[3]) != row->code)
            smx_test_fail(__FILE__, __LINE__, "row %zu: answer of %zu bytes, code %d", i, n,
                n < 4 ? 0 : out[2] << 8 | out[3]);
        ASSERT_EQ(ws_recv(&h.ws, &m, in_ms(5000), &err), -SMX_E_CLOSED);
        ASSERT_EQ(ws_send(&h.ws, WS_TEXT, "x", 1, &err), -SMX_E_CLOSED);
        ASSERT_EQ(hand_answer(&h, out, sizeof out), 0);
        hand_done(&h);
    }
}

/* Each fragment is small enough, their sum is not. */
FIBER_TEST(fragments_share_one_limit)
{
    struct hand h;
    struct ws_message m;
    struct smx_err err = { 0 };
    char *data = smx_alloc(60000);
    size_t sent = 0;

    hand_init(&h);
    for (unsigned b0 = 0x02; sent <= SMX_WS_MESSAGE_MAX; b0 = 0x00, sent += 60000)
        frame(&h.b, b0, data, 60000);
    hand_start(&h, /* early= */ true);
    ASSERT_EQ(ws_recv(&h.ws, &m, in_ms(5000), &err), -SMX_E_TOO_LARGE);
    hand_done(&h);
    smx_free(data);
}

/* A client must not accept a masked frame. */
FIBER_TEST(client_refuses_masked_frames)
{
    struct hand h;
    struct ws_message m;
    struct smx_err err = { 0 };

    hand_init(&h);
    frame(&h.b, 0x81, "abc", 3);
    ASSERT_EQ(ws_init(&h.ws, &h.fd, (struct smx_view){ h.b.data, h.b.len }, WS_CLIENT, &err), 0);
    ASSERT_EQ(ws_recv(&h.ws, &m, in_ms(5000), &err), -SMX_E_PROTOCOL);
    hand_done(&h);
}

/* A client that announces much and sends nothing costs nothing. */
FIBER_TEST(announced_bytes_cost_no_memory)
{
    struct hand h;
    struct ws_message m;

    hand_init(&h);
    smx_buf_append(&h.b,
        "\x82\xff\0\0\0\0\0\x10\0\0"
        "\1\2\3\4"
        "x",
        15);
    hand_start(&h, /* early= */ true);
    ASSERT_EQ(ws_recv(&h.ws, &m, in_ms(1), NULL), -SMX_E_TIMEOUT);
    ASSERT_INT(h.ws.in.cap, <, 8192);
    hand_done(&h);
}
