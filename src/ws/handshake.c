/* handshake.c - the keys of the WebSocket opening handshake (RFC 6455, section 4). No state. */
#include <openssl/evp.h>

#include "base/random.h"
#include "ws/ws.h"

/* RFC 6455, section 1.3: the GUID that a server appends to the key. */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

enum { KEY_BYTES = 16, SHA1_BYTES = 20 };

void ws_key_make(char out[WS_KEY_SIZE])
{
    unsigned char key[KEY_BYTES];

    smx_random(key, sizeof key);
    smx_base64_encode(out, key, sizeof key);
    out[WS_KEY_SIZE - 1] = '\0';
}

void ws_accept_make(struct smx_view key, char out[WS_ACCEPT_SIZE])
{
    unsigned char hash[EVP_MAX_MD_SIZE] = { 0 };
    char text[WS_KEY_SIZE + sizeof GUID];
    size_t n = SMX_MIN(key.n, (size_t)WS_KEY_SIZE);

    memcpy(text, key.p, n);
    memcpy(text + n, GUID, sizeof GUID - 1);
    EVP_Digest(text, n + sizeof GUID - 1, hash, NULL, EVP_sha1(), NULL);
    smx_base64_encode(out, hash, SHA1_BYTES);
    out[WS_ACCEPT_SIZE - 1] = '\0';
}

bool ws_accept_matches(struct smx_view key, struct smx_view accept)
{
    char expected[WS_ACCEPT_SIZE];

    ws_accept_make(key, expected);
    return accept.p && smx_view_eq(accept, expected);
}

/* 16 bytes in canonical base64: encoding them again gives the same. */
static bool key_valid(struct smx_view key)
{
    char text[WS_KEY_SIZE] = "", again[WS_KEY_SIZE] = "";
    unsigned char raw[WS_KEY_SIZE];

    if (!key.p || key.n != WS_KEY_SIZE - 1)
        return false;
    memcpy(text, key.p, key.n);
    if (smx_base64_decode(raw, text, key.n) != KEY_BYTES)
        return false;
    smx_base64_encode(again, raw, KEY_BYTES);
    return smx_streq(text, again);
}

int ws_check_request(
    struct smx_view key, struct smx_view version, int *ret_status, struct smx_err *err)
{
    if (!version.p || !smx_view_eq(version, "13")) {
        *ret_status = 426;
        return smx_err_set(err, SMX_E_INVALID, "only version 13 of WebSocket is spoken here");
    }
    if (!key_valid(key)) {
        *ret_status = 400;
        return smx_err_set(err, SMX_E_INVALID, "Sec-WebSocket-Key must be 16 bytes in base64");
    }
    return 0;
}
