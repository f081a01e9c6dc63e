/* sign.c - signed URLs of files: "v1_" and the unpadded base64 of the SHA-256 of
 * path:operation:username:token, with :expiration behind it when there is one. A URL names no
 * sandbox, so without routing the signature is tried against the token of each: one hash of a short
 * string a sandbox, and the part before the token is hashed once. Signatures are compared in
 * constant time.
 * Source: E2B's protocol as observed, see docs/protocols/e2b.md. */
#include "frontends/e2b_data/internal.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"

enum { HASH_BYTES = 32, SIGNATURE_LEN = 3 + 43 };

struct sign_hash {
    EVP_MD_CTX *before, *work;
    const char *wanted; /* the signature, SIGNATURE_LEN long; NULL: none matches */
    char after[32];     /* ":<expiration>", or empty */
};

/* --- the request --------------------------------------------------------------------------------
 */

void sign_done(struct sign_request *s)
{
    if (!s)
        return;
    smx_free(s->path);
    smx_free(s->username);
    smx_free(s->signature);
    *s = (struct sign_request){ 0 };
}

static int parse_expiration(struct sign_request *s, const char *text, struct smx_err *err)
{
    s->expires = text != NULL;
    if (!text || smx_parse_i64(smx_view_of(text), &s->expiration_unix_s))
        return 0;
    return smx_err_set(
        err, SMX_E_INVALID, "the parameter signature_expiration must be a time in seconds");
}

/* '+' of base64 that nobody escaped arrives as a space. */
static void repair(char *signature)
{
    for (; signature && *signature; signature++)
        if (*signature == ' ')
            *signature = '+';
}

int sign_parse(const struct http_exchange *x, struct sign_request *ret, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *expiration = NULL;
    struct sign_request s = { .operation = http_head(x)->method == H1_POST ? "write" : "read" };
    int r = http_query_string(x, "path", &s.path, err);

    if (r >= 0)
        r = http_query_string(x, "username", &s.username, err);
    if (r >= 0)
        r = http_query_string(x, "signature", &s.signature, err);
    if (r >= 0)
        r = http_query_string(x, "signature_expiration", &expiration, err);
    if (r >= 0)
        r = parse_expiration(&s, expiration, err);
    if (r >= 0 && !s.path && !(s.path = smx_strdup("")))
        r = smx_err_oom(err);
    if (r >= 0 && !s.username && !(s.username = smx_strdup("")))
        r = smx_err_oom(err);
    if (r < 0) {
        sign_done(&s);
        return r;
    }
    repair(s.signature);
    *ret = s;
    return 0;
}

/* --- hashing ------------------------------------------------------------------------------------
 */

static bool begin(EVP_MD_CTX *ctx, const struct sign_request *s)
{
    return EVP_DigestInit_ex(ctx, EVP_sha256(), /* impl= */ NULL) == 1 &&
           EVP_DigestUpdate(ctx, s->path, strlen(s->path)) == 1 &&
           EVP_DigestUpdate(ctx, ":", 1) == 1 &&
           EVP_DigestUpdate(ctx, s->operation, strlen(s->operation)) == 1 &&
           EVP_DigestUpdate(ctx, ":", 1) == 1 &&
           EVP_DigestUpdate(ctx, s->username, strlen(s->username)) == 1 &&
           EVP_DigestUpdate(ctx, ":", 1) == 1;
}

struct sign_hash *sign_hash_new(const struct sign_request *s)
{
    struct sign_hash *h = smx_alloc(sizeof *h);

    if (!h)
        return NULL;
    h->before = EVP_MD_CTX_new();
    h->work = EVP_MD_CTX_new();
    h->wanted = s->signature && strlen(s->signature) == SIGNATURE_LEN ? s->signature : NULL;
    if (s->expires)
        snprintf(h->after, sizeof h->after, ":%" PRId64, s->expiration_unix_s);
    if (h->before && h->work && begin(h->before, s))
        return h;
    sign_hash_free(h);
    return NULL;
}

void sign_hash_free(struct sign_hash *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->before);
    EVP_MD_CTX_free(h->work);
    smx_free(h);
}
SMX_DEFINE_CLEANUP(struct sign_hash, sign_hash_free)

static bool finish(struct sign_hash *h, const char *token, char out[SIGN_SIZE])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    char text[SIGN_SIZE];

    if (EVP_MD_CTX_copy_ex(h->work, h->before) != 1 ||
        EVP_DigestUpdate(h->work, token, strlen(token)) != 1 ||
        EVP_DigestUpdate(h->work, h->after, strlen(h->after)) != 1 ||
        EVP_DigestFinal_ex(h->work, hash, /* ret_len= */ NULL) != 1)
        return false;
    smx_base64_encode(text, hash, HASH_BYTES);
    snprintf(out, SIGN_SIZE, "v1_%.43s", text); /* without the one '=' of padding */
    return true;
}

bool sign_make(const struct sign_request *s, const char *token, char out[SIGN_SIZE])
{
    SMX_CLEANUP(sign_hash_freep) struct sign_hash *h = sign_hash_new(s);

    return h && finish(h, token, out);
}

bool sign_hash_matches(struct sign_hash *h, const char *token)
{
    char made[SIGN_SIZE];

    return h->wanted && finish(h, token, made) && smx_equal_ct(made, h->wanted, SIGNATURE_LEN);
}

/* --- checking -----------------------------------------------------------------------------------
 */

int sign_check_time(const struct sign_request *s, struct smx_err *err)
{
    if (!s->expires || s->expiration_unix_s >= smx_now_unix_ms() / 1000)
        return 0;
    return smx_err_set(err, SMX_E_UNAUTHORIZED, "signature is already expired");
}

int sign_check(const struct sign_request *s, const struct sandbox *sb, struct smx_err *err)
{
    SMX_CLEANUP(sign_hash_freep) struct sign_hash *h = NULL;
    char token[SANDBOX_TOKEN_SIZE];

    if (!s->signature)
        return smx_err_set(err, SMX_E_UNAUTHORIZED, "missing signature query parameter");
    h = sign_hash_new(s);
    if (!h)
        return smx_err_oom(err);
    sandbox_token(sb, token);
    if (!sign_hash_matches(h, token))
        return smx_err_set(err, SMX_E_UNAUTHORIZED, "invalid signature");
    return sign_check_time(s, err);
}

struct search {
    struct sign_hash *hash;
    struct sandbox *found;
};

static bool try_one(struct sandbox *sb, void *arg)
{
    struct search *s = arg;
    char token[SANDBOX_TOKEN_SIZE];

    sandbox_token(sb, token);
    if (sign_hash_matches(s->hash, token))
        s->found = sandbox_ref(sb);
    return s->found == NULL;
}

struct sandbox *sign_find(struct core *c, const struct sign_request *s)
{
    SMX_CLEANUP(sign_hash_freep) struct sign_hash *h = sign_hash_new(s);
    struct search search = { .hash = h };

    if (h && h->wanted)
        core_each(c, try_one, &search);
    return search.found;
}
