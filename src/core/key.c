/* key.c - API keys and what the server signs with. A key is shown once, when it is made; what is
 * kept is its SHA-256. Keys have 160 random bits, so a plain hash is enough: there is nothing to
 * guess. All are in memory, by hash; a look-up tells nothing by its time but about the hash. */
#include "core/internal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>

#include "base/log.h"

struct key_entry {
    struct store_key row;
    char hash[65];
    int64_t saved_used_ms;
};

enum { USED_SAVE_MS = 60000, KEYS_MAX = 10000, TOKEN_BYTES = 30 };

int sha256(unsigned char out[32], const void *data, size_t n)
{
    return EVP_Digest(data, n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -SMX_E_INTERNAL;
}

/* --- server secrets ------------------------------------------------------------------------ */

static int secret_text(
    struct core *c, const char *key, size_t bytes, char out[65], struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *value = NULL;
    unsigned char random[32];
    struct store_setting v = { key, out };
    int r = store_setting_get(c->store, key, &value, err);

    if (r < 0)
        return r;
    if (value && strlen(value) == 2 * bytes) {
        smx_strcpy(out, 65, value);
        return 0;
    }
    smx_random(random, bytes);
    smx_hex_encode(out, random, bytes);
    return store_setting_put(c->store, &v, 1, /* event= */ NULL, STORE_DURABLE, err);
}

/* Keyed once: what OpenSSL looks up for each one-shot HMAC costs more than a create should. */
static int mac_make(struct core *c)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end() };
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    c->mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    EVP_MAC_free(hmac);
    return c->mac && EVP_MAC_init(c->mac, c->secret, sizeof c->secret, params) == 1
               ? 0
               : -SMX_E_INTERNAL;
}

int secrets_load(struct core *c, struct smx_err *err)
{
    char text[65];
    int r = secret_text(c, "instance", 16, text, err);

    if (r < 0)
        return r;
    smx_strcpy(c->instance, sizeof c->instance, text);
    r = secret_text(c, "secret", 32, text, err);
    if (r == 0) {
        r = sha256(c->secret, text, strlen(text));
        if (r == 0)
            r = mac_make(c);
        if (r < 0)
            smx_err_set(err, SMX_E_INTERNAL, "SHA-256 is not available");
    }
    OPENSSL_cleanse(text, sizeof text);
    return r;
}

/* One that could not be made matches nothing. */
static void derive(const struct sandbox *sb, const char *label, char out[SANDBOX_TOKEN_SIZE])
{
    const struct core *c = sbx_of_const(sb)->core;
    unsigned char mac[EVP_MAX_MD_SIZE];
    char text[64];
    size_t n = 0;
    int len = snprintf(text, sizeof text, "%s:%s:%u", label, sb->id, sb->generation);

    if (EVP_MAC_init(c->mac, /* key= */ NULL, 0, /* params= */ NULL) != 1 ||
        EVP_MAC_update(c->mac, (const unsigned char *)text, (size_t)len) != 1 ||
        EVP_MAC_final(c->mac, mac, &n, sizeof mac) != 1 || n < TOKEN_BYTES)
        smx_random(mac, TOKEN_BYTES);
    smx_base64_encode(out, mac, TOKEN_BYTES); /* 240 bits, 40 characters, no padding */
    out[40] = '\0';
    for (char *p = out; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
}

static bool equal(const char *token, const char *want)
{
    return strlen(token) == strlen(want) && smx_equal_ct(token, want, strlen(want));
}

/* Made once: every request of the data plane asks, and who looks for the maker of a signature asks
 * for all sandboxes. */
static const char *access_token(const struct sandbox *sb)
{
    struct sbx *b = sbx_of((struct sandbox *)(uintptr_t)sb);

    if (b->access_generation != sb->generation) {
        derive(sb, "sandbox", b->access);
        b->access_generation = sb->generation;
    }
    return b->access;
}

void sandbox_token(const struct sandbox *sb, char out[SANDBOX_TOKEN_SIZE])
{
    memcpy(out, access_token(sb), SANDBOX_TOKEN_SIZE);
}

bool sandbox_token_check(const struct sandbox *sb, const char *token)
{
    return equal(token, access_token(sb));
}

void sandbox_traffic_token(const struct sandbox *sb, char out[SANDBOX_TOKEN_SIZE])
{
    derive(sb, "traffic", out);
}

bool sandbox_traffic_token_check(const struct sandbox *sb, const char *token)
{
    char want[SANDBOX_TOKEN_SIZE];

    derive(sb, "traffic", want);
    return equal(token, want);
}

/* --- keys ---------------------------------------------------------------------------------- */

static void show(const struct key_entry *e, struct core_key *ret)
{
    *ret = (struct core_key){ .created_unix_ms = e->row.created_ms,
        .last_used_unix_ms = e->row.used_ms };
    smx_strcpy(ret->id, sizeof ret->id, e->row.id);
    smx_strcpy(ret->name, sizeof ret->name, e->row.name);
    smx_strcpy(ret->prefix, sizeof ret->prefix, e->row.prefix);
}

static int remember(struct core *c, const struct store_key *row, struct key_entry **ret)
{
    struct key_entry *e = smx_alloc(sizeof *e);

    if (!e)
        return -SMX_E_NO_MEMORY;
    e->row = *row;
    e->saved_used_ms = row->used_ms;
    smx_hex_encode(e->hash, row->hash, sizeof row->hash);
    if (smx_map_put(&c->keys, e->hash, e) < 0) {
        smx_free(e);
        return -SMX_E_NO_MEMORY;
    }
    if (ret)
        *ret = e;
    return 0;
}

int keys_load(struct core *c, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) struct store_key *v = NULL;
    size_t n = 0;
    int r = store_key_all(c->store, &v, &n, err);

    for (size_t i = 0; i < n && r == 0; i++)
        if (remember(c, &v[i], NULL) < 0)
            r = smx_err_oom(err);
    return r;
}

void keys_done(struct core *c)
{
    struct key_entry *e;
    size_t pos = 0;

    while ((e = smx_map_next(&c->keys, &pos)))
        smx_free(e);
    smx_map_done(&c->keys);
    EVP_MAC_CTX_free(c->mac);
    c->mac = NULL;
}

static int make_secret(char secret[CORE_KEY_SIZE], unsigned char hash[32], struct smx_err *err)
{
    unsigned char random[20];

    smx_random(random, sizeof random);
    memcpy(secret, "e2b_", 4);
    smx_hex_encode(secret + 4, random, sizeof random);
    OPENSSL_cleanse(random, sizeof random);
    if (sha256(hash, secret, CORE_KEY_SIZE - 1) < 0)
        return smx_err_set(err, SMX_E_INTERNAL, "SHA-256 is not available");
    return 0;
}

static bool name_ok(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    return n >= 1 && n <= CORE_KEY_NAME_MAX && smx_utf8_valid(name, n);
}

int core_key_create(struct core *c, const char *name, struct core_key *ret,
    char ret_secret[CORE_KEY_SIZE], struct smx_err *err)
{
    struct store_key row = { .created_ms = smx_now_unix_ms() };
    char secret[CORE_KEY_SIZE];
    unsigned char id[6];
    struct key_entry *e = NULL;
    int r;

    if (!name_ok(name))
        return smx_err_set(
            err, SMX_E_INVALID, "name: must be 1 to %d printable bytes", CORE_KEY_NAME_MAX);
    if (c->keys.count >= KEYS_MAX)
        return smx_err_set(
            err, SMX_E_QUOTA, "there are %d API keys already, which is the most", KEYS_MAX);
    r = make_secret(secret, row.hash, err);
    if (r < 0)
        return r;
    smx_random(id, sizeof id);
    smx_hex_encode(row.id, id, sizeof id);
    smx_strcpy(row.name, sizeof row.name, name);
    snprintf(row.prefix, sizeof row.prefix, "%.8s...", secret);
    r = store_key_put(c->store, &row, err);
    smx_info("audit op=key.create key=%s result=%s", row.id,
        r == 0 ? "ok" : smx_code_name((enum smx_code) - r));
    if (r == 0 && remember(c, &row, &e) < 0)
        r = smx_err_oom(err);
    if (r == 0) {
        show(e, ret);
        memcpy(ret_secret, secret, sizeof secret);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    return r;
}

int core_key_list(struct core *c, struct core_key **ret, size_t *ret_n, struct smx_err *err)
{
    struct core_key *v = smx_alloc_array(c->keys.count + 1, sizeof *v);
    struct key_entry *e;
    size_t pos = 0, n = 0;

    if (!v)
        return smx_err_oom(err);
    while ((e = smx_map_next(&c->keys, &pos))) {
        struct core_key k;
        size_t at = n++;

        show(e, &k);
        for (; at > 0 && v[at - 1].created_unix_ms > k.created_unix_ms; at--)
            v[at] = v[at - 1];
        v[at] = k;
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

int core_key_revoke(struct core *c, const char *id, struct smx_err *err)
{
    struct key_entry *e;
    size_t pos = 0;
    int r = store_key_remove(c->store, id, err);

    if (r < 0)
        return r;
    smx_info("audit op=key.revoke key=%s result=ok", id);
    while ((e = smx_map_next(&c->keys, &pos))) {
        if (smx_streq(e->row.id, id)) {
            smx_map_remove(&c->keys, e->hash);
            OPENSSL_cleanse(e, sizeof *e);
            smx_free(e);
            break;
        }
    }
    return 0;
}

struct used {
    struct core *c;
    char id[16];
    int64_t ms;
};

static void used_fiber(void *arg)
{
    SMX_CLEANUP(smx_freep) struct used *u = arg;
    struct smx_err err = { 0 };

    if (store_key_used(u->c->store, u->id, u->ms, &err) < 0)
        smx_debug("the last use of a key was not written: %s", err.msg);
}

/* The time of the last use goes to the store once a minute at most. */
static void note_use(struct core *c, struct key_entry *e)
{
    struct used *u;

    e->row.used_ms = smx_now_unix_ms();
    if (e->row.used_ms - e->saved_used_ms < USED_SAVE_MS)
        return;
    e->saved_used_ms = e->row.used_ms;
    u = smx_alloc(sizeof *u);
    if (!u)
        return;
    u->c = c;
    u->ms = e->row.used_ms;
    smx_strcpy(u->id, sizeof u->id, e->row.id);
    if (core_task(c, "key-used", used_fiber, u) < 0)
        smx_free(u);
}

bool core_key_check(struct core *c, const char *secret, struct core_key *ret)
{
    unsigned char hash[32];
    char hex[65];
    struct key_entry *e;

    if (strlen(secret) != CORE_KEY_SIZE - 1 || sha256(hash, secret, CORE_KEY_SIZE - 1) < 0)
        return false;
    smx_hex_encode(hex, hash, sizeof hash);
    e = smx_map_get(&c->keys, hex);
    if (!e)
        return false;
    note_use(c, e);
    if (ret)
        show(e, ret);
    return true;
}

size_t core_key_count(struct core *c)
{
    return c->keys.count;
}
