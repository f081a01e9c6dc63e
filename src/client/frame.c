/* frame.c - WebSocket framing, the client's side, without I/O. Small enough to stand here: a
 * packaged library would be one more shared object to load before the command line program starts.
 * Frames from a server are unmasked and control frames short and whole (RFC 6455, section 5);
 * whatever breaks that is refused. */
#include "client/internal.h"

#include "base/random.h"

enum { FIN = 0x80, RSV = 0x70, OPCODE = 0x0f, MASKED = 0x80, CONTROL = 0x08, CONTROL_MAX = 125 };

static uint64_t big_endian(const unsigned char *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static bool opcode_known(unsigned opcode)
{
    return opcode <= FRAME_BINARY || (opcode >= FRAME_CLOSE && opcode <= FRAME_PONG);
}

ptrdiff_t frame_parse(
    const char *data, size_t n, size_t max, struct frame *ret, struct smx_err *err)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t head = 2;
    uint64_t len;

    if (n < 2)
        return 0;
    if ((p[0] & RSV) || (p[1] & MASKED) || !opcode_known(p[0] & OPCODE))
        return smx_err_set(err, SMX_E_PROTOCOL, "bad WebSocket frame");
    len = p[1];
    if ((p[0] & CONTROL) && (!(p[0] & FIN) || len > CONTROL_MAX))
        return smx_err_set(err, SMX_E_PROTOCOL, "bad WebSocket control frame");
    if (len >= 126) {
        size_t bytes = len == 126 ? 2 : 8;

        if (n < 2 + bytes)
            return 0;
        len = big_endian(p + 2, bytes);
        head += bytes;
        if (len < (bytes == 2 ? 126U : 65536U))
            return smx_err_set(err, SMX_E_PROTOCOL, "WebSocket length in too many bytes");
    }
    if (len > max)
        return smx_err_set(err, SMX_E_TOO_LARGE, "WebSocket frame of more than %zu bytes", max);
    if (n - head < len)
        return 0;
    ret->opcode = p[0] & OPCODE;
    ret->fin = p[0] & FIN;
    ret->data = data + head;
    ret->n = (size_t)len;
    return (ptrdiff_t)(head + len);
}

static void mask_into(char *to, const char *from, size_t n, const unsigned char key[4])
{
    uint64_t wide;
    unsigned char twice[8];
    size_t i = 0;

    memcpy(twice, key, 4);
    memcpy(twice + 4, key, 4);
    memcpy(&wide, twice, 8);
    for (; i + 8 <= n; i += 8) {
        uint64_t v;

        memcpy(&v, from + i, 8);
        v ^= wide;
        memcpy(to + i, &v, 8);
    }
    for (; i < n; i++)
        to[i] = (char)((unsigned char)from[i] ^ key[i & 3]);
}

int frame_append(struct smx_buf *out, unsigned opcode, const void *data, size_t n)
{
    unsigned char head[14] = { (unsigned char)(FIN | opcode) };
    size_t len = 2, wide = n < 126 ? 0 : n < 65536 ? 2 : 8;
    int r = smx_buf_reserve(out, n + sizeof head);

    if (r < 0)
        return r;
    head[1] = (unsigned char)(MASKED | (wide == 0 ? n : wide == 2 ? 126 : 127));
    for (size_t i = 0; i < wide; i++)
        head[len++] = (unsigned char)((uint64_t)n >> (8 * (wide - 1 - i)));
    smx_random(head + len, 4);
    len += 4;
    smx_buf_append(out, head, len);
    mask_into(out->data + out->len, data, n, head + len - 4);
    out->len += n;
    out->data[out->len] = '\0';
    return 0;
}

void frame_key(char key[FRAME_KEY_SIZE])
{
    unsigned char bytes[16];

    smx_random(bytes, sizeof bytes);
    smx_base64_encode(key, bytes, sizeof bytes);
    key[FRAME_KEY_SIZE - 1] = '\0';
}

/* --- SHA-1, of the handshake's 60 bytes only ----------------------------------------------------
 */

static uint32_t rotate(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

static uint32_t mix(unsigned i, uint32_t b, uint32_t c, uint32_t d)
{
    if (i < 20)
        return ((b & c) | (~b & d)) + 0x5a827999;
    if (i < 40)
        return (b ^ c ^ d) + 0x6ed9eba1;
    if (i < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void sha1_block(uint32_t h[5], const unsigned char block[64])
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)big_endian(block + 4 * (size_t)i, 4);
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t t = rotate(a, 5) + mix(i, b, c, d) + e + w[i];

        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void frame_accept(const char *key, char accept[FRAME_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[128] = { 0 }, digest[20];
    uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    size_t n = FRAME_KEY_SIZE - 1 + sizeof guid - 1; /* 60: two blocks with the padding */

    memcpy(text, key, FRAME_KEY_SIZE - 1);
    memcpy(text + FRAME_KEY_SIZE - 1, guid, sizeof guid - 1);
    text[n] = 0x80;
    text[126] = (unsigned char)((n * 8) >> 8);
    text[127] = (unsigned char)(n * 8);
    sha1_block(h, text);
    sha1_block(h, text + 64);
    for (size_t i = 0; i < 20; i++)
        digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
    smx_base64_encode(accept, digest, sizeof digest);
    accept[FRAME_ACCEPT_SIZE - 1] = '\0';
}
