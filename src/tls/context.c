/* context.c - certificate and key of a listener, and the rules of its connections. A new pair makes
 * a new SSL_CTX; connections hold the one they began with. Loop thread only. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/mem.h"
#include "tls/priv.h"

enum { CHAIN_MAX = 16 };

int tls_failed(struct smx_err *err, enum smx_code code, const char *doing)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    bool memory = ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;

    ERR_clear_error();
    if (memory)
        return smx_err_oom(err);
    return smx_err_set(err, code, "%s: %s", doing, reason ? reason : "no reason given");
}

/* --- rules ----------------------------------------------------------------------------------- */

/* Takes http/1.1 where the client offers anything. */
static int choose_protocol(SSL *ssl SMX_UNUSED, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned int in_len, void *arg SMX_UNUSED)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int set_rules(SSL_CTX *ssl)
{
    static const unsigned char id[] = "sandmux";

    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1); /* a record's head and body in one system call */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_session_id_context(ssl, id, sizeof id - 1) == 1 &&
           SSL_CTX_set_cipher_list(ssl, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1;
}

/* --- reading PEM ----------------------------------------------------------------------------- */

static BIO *reader(struct smx_view text)
{
    return BIO_new_mem_buf(text.p ? text.p : "", (int)SMX_MIN(text.n, (size_t)INT32_MAX));
}

/* A question for a passphrase has no answer here; it is remembered. */
static int no_passphrase(
    char *out SMX_UNUSED, int size SMX_UNUSED, int writing SMX_UNUSED, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static int use_key(SSL_CTX *ssl, const struct tls_pair *pair, struct smx_err *err)
{
    bool asked = false;
    BIO *bio = reader(pair->key);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;
    int r = 0;

    BIO_free(bio);
    if (asked)
        r = smx_err_set(err, SMX_E_INVALID,
            "the key in %s is encrypted: store it without a passphrase (openssl pkey -in FILE -out "
            "NEW), readable by its owner alone",
            pair->key_name);
    else if (!key)
        r = smx_err_set(err, SMX_E_INVALID, "%s holds no private key in PEM form", pair->key_name);
    else if (X509_check_private_key(SSL_CTX_get0_certificate(ssl), key) != 1)
        r = smx_err_set(err, SMX_E_INVALID,
            "the key in %s does not belong to the certificate in %s", pair->key_name,
            pair->cert_name);
    else if (SSL_CTX_use_PrivateKey(ssl, key) != 1)
        r = tls_failed(err, SMX_E_INVALID, "using the TLS key");
    EVP_PKEY_free(key);
    ERR_clear_error();
    return r;
}

/* The chain behind the server's own certificate. */
static int use_chain(SSL_CTX *ssl, BIO *bio, const char *name, struct smx_err *err)
{
    X509 *x;

    for (int i = 0; (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)); i++) {
        if (i < CHAIN_MAX && SSL_CTX_add0_chain_cert(ssl, x) == 1)
            continue;
        X509_free(x);
        return smx_err_set(err, SMX_E_INVALID,
            "the certificates behind the first one in %s cannot be used (at most %d)", name,
            CHAIN_MAX);
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return smx_err_set(err, SMX_E_INVALID, "%s holds a damaged certificate", name);
    ERR_clear_error();
    return 0;
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int use_cert(
    SSL_CTX *ssl, const struct tls_pair *pair, struct tls_context *times, struct smx_err *err)
{
    BIO *bio = reader(pair->cert);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    int r = 0;

    if (!x) {
        r = smx_err_set(err, SMX_E_INVALID, "%s holds no certificate in PEM form", pair->cert_name);
    } else if (SSL_CTX_use_certificate(ssl, x) != 1) {
        r = tls_failed(err, SMX_E_INVALID, pair->cert_name);
    } else {
        times->begins = seconds_of(X509_get0_notBefore(x));
        times->expires = seconds_of(X509_get0_notAfter(x));
        r = use_chain(ssl, bio, pair->cert_name, err);
    }
    X509_free(x);
    BIO_free(bio);
    ERR_clear_error();
    return r;
}

/* --- life ------------------------------------------------------------------------------------ */

int tls_context_new(struct tls_context **ret, struct smx_err *err)
{
    struct tls_context *c = smx_alloc(sizeof *c);

    if (!c)
        return smx_err_oom(err);
    *ret = c;
    return 0;
}

void tls_context_free(struct tls_context *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ssl);
    smx_free(c);
}

int tls_context_load(struct tls_context *c, const struct tls_pair *pair, struct smx_err *err)
{
    struct tls_context next = { .ssl = SSL_CTX_new(TLS_server_method()) };
    int r = 0;

    if (!next.ssl || !set_rules(next.ssl))
        r = tls_failed(err, SMX_E_INTERNAL, "setting TLS up");
    if (r == 0)
        r = use_cert(next.ssl, pair, &next, err);
    if (r == 0)
        r = use_key(next.ssl, pair, err);
    if (r < 0) {
        SSL_CTX_free(next.ssl);
        return r;
    }
    SSL_CTX_free(c->ssl);
    *c = next;
    return 0;
}

int64_t tls_context_expires(const struct tls_context *c)
{
    return c->expires;
}

int64_t tls_context_begins(const struct tls_context *c)
{
    return c->begins;
}
