/* issue.c - a private authority and server certificates signed by it: EC P-256 keys, SHA-256. What
 * strict verifiers want is there (key usage, key identifiers, no CA bit in a leaf). Blocking, no
 * state. */
#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "tls/priv.h"

enum {
    PEM_MAX = 64 * 1024,
    DAY_S = 24 * 60 * 60,
    CA_DAYS = 3650,
    LEAF_DAYS = 825, /* the most that Apple's verifiers take */
    SERIAL_BITS = 126,
    NAMES_MAX = 4096,
};

void tls_issued_init(struct tls_issued *i)
{
    smx_buf_init(&i->cert, PEM_MAX);
    smx_buf_init(&i->key, PEM_MAX);
}

void tls_issued_done(struct tls_issued *i)
{
    if (i->key.data)
        explicit_bzero(i->key.data, i->key.cap);
    smx_buf_done(&i->cert);
    smx_buf_done(&i->key);
}

/* --- PEM ------------------------------------------------------------------------------------- */

static int keep(BIO *bio, struct smx_buf *out)
{
    char *text;
    long n = BIO_get_mem_data(bio, &text);

    return n > 0 ? smx_buf_append(out, text, (size_t)n) : -SMX_E_NO_MEMORY;
}

static int write_pair(X509 *x, EVP_PKEY *key, struct tls_issued *ret, struct smx_err *err)
{
    BIO *cert = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_secmem());
    bool ok = cert && secret && PEM_write_bio_X509(cert, x) == 1 &&
              PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1 &&
              keep(cert, &ret->cert) == 0 && keep(secret, &ret->key) == 0;

    BIO_free(cert);
    BIO_free(secret);
    return ok ? 0 : tls_failed(err, SMX_E_INTERNAL, "writing a certificate");
}

static X509 *read_cert(struct smx_view pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p ? pem.p : "", (int)SMX_MIN(pem.n, (size_t)PEM_MAX));
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return x;
}

static EVP_PKEY *read_key(struct smx_view pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p ? pem.p : "", (int)SMX_MIN(pem.n, (size_t)PEM_MAX));
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;

    BIO_free(bio);
    return key;
}

/* --- making ---------------------------------------------------------------------------------- */

static bool set_serial(X509 *x)
{
    BIGNUM *bn = BN_new();
    bool ok = bn && BN_rand(bn, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));

    BN_free(bn);
    return ok;
}

static bool set_name(X509_NAME *name, const char *text)
{
    return X509_NAME_add_entry_by_txt(
               name, "CN", MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0) == 1;
}

static bool add_extension(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;

    X509_EXTENSION_free(e);
    return ok;
}

/* Everything but names, extensions and signature. Clocks may differ by a day. */
static X509 *begin(EVP_PKEY *key, long days)
{
    X509 *x = X509_new();

    if (x && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
        X509_gmtime_adj(X509_getm_notBefore(x), -(long)DAY_S) &&
        X509_gmtime_adj(X509_getm_notAfter(x), days * DAY_S) && X509_set_pubkey(x, key) == 1)
        return x;
    X509_free(x);
    return NULL;
}

/* Two authorities in one bundle are told apart by their names. */
static bool name_ca(X509 *x)
{
    unsigned char id[4];
    char hex[2 * sizeof id + 1], text[64];

    if (RAND_bytes(id, sizeof id) != 1)
        return false;
    smx_hex_encode(hex, id, sizeof id);
    snprintf(text, sizeof text, "sandmux private CA %s", hex);
    return set_name(X509_get_subject_name(x), text) &&
           X509_set_issuer_name(x, X509_get_subject_name(x)) == 1;
}

int tls_issue_ca(struct tls_issued *ret, struct smx_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? begin(key, CA_DAYS) : NULL;
    X509V3_CTX ctx;
    int r = -1;

    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    if (x && name_ca(x) &&
        add_extension(x, &ctx, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_extension(x, &ctx, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_extension(x, &ctx, NID_subject_key_identifier, "hash") &&
        X509_sign(x, key, EVP_sha256()) > 0)
        r = write_pair(x, key, ret, err);
    else
        r = tls_failed(err, SMX_E_INTERNAL, "making a certificate authority");
    X509_free(x);
    EVP_PKEY_free(key);
    return r;
}

/* Labels of 1 to 63 letters, digits, '-' and '_' with dots between them; the first may be '*'. */
static bool is_domain(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *label = smx_starts(name, "*.") ? name + 2 : name;

    for (;;) {
        size_t n = strspn(label, allowed);

        if (n == 0 || n > 63 || label[0] == '-' || label[n - 1] == '-')
            return false;
        if (label[n] != '.')
            return label[n] == '\0';
        label += n + 1;
    }
}

/* "DNS:a,IP:::1"; a name may hold only what cannot end it. */
static int alternative_names(
    const char *const *names, size_t n, struct smx_buf *out, struct smx_err *err)
{
    unsigned char address[16];

    for (size_t i = 0; i < n; i++) {
        bool ip = inet_pton(AF_INET, names[i], address) == 1 ||
                  inet_pton(AF_INET6, names[i], address) == 1;

        if (!ip && !is_domain(names[i]))
            return smx_err_set(err, SMX_E_INVALID,
                "'%.80s' is neither a domain in lower case nor an address", names[i]);
        smx_buf_appendf(out, "%s%s:%s", i ? "," : "", ip ? "IP" : "DNS", names[i]);
    }
    return smx_buf_check(out, err);
}

static bool finish_leaf(X509 *x, X509 *ca, EVP_PKEY *ca_key, const char *cn, const char *names)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, ca, x, NULL, NULL, 0);
    return set_name(X509_get_subject_name(x), cn) &&
           X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 &&
           add_extension(x, &ctx, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(x, &ctx, NID_key_usage, "critical,digitalSignature") &&
           add_extension(x, &ctx, NID_ext_key_usage, "serverAuth") &&
           add_extension(x, &ctx, NID_subject_key_identifier, "hash") &&
           add_extension(x, &ctx, NID_authority_key_identifier, "keyid:always") &&
           add_extension(x, &ctx, NID_subject_alt_name, names) &&
           X509_sign(x, ca_key, EVP_sha256()) > 0;
}

static int issue(X509 *ca, EVP_PKEY *ca_key, const char *cn, const char *names,
    struct tls_issued *ret, struct smx_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? begin(key, LEAF_DAYS) : NULL;
    int r = -1;

    if (x && finish_leaf(x, ca, ca_key, cn, names))
        r = write_pair(x, key, ret, err);
    else
        r = tls_failed(err, SMX_E_INTERNAL, "making a certificate");
    X509_free(x);
    EVP_PKEY_free(key);
    return r;
}

int tls_issue_leaf(const struct tls_issued *ca, const char *const *names, size_t n,
    struct tls_issued *ret, struct smx_err *err)
{
    X509 *x = read_cert((struct smx_view){ ca->cert.data, ca->cert.len });
    EVP_PKEY *key = read_key((struct smx_view){ ca->key.data, ca->key.len });
    struct smx_buf text;
    int r;

    smx_buf_init(&text, NAMES_MAX);
    r = alternative_names(names, n, &text, err);
    if (r == 0 && (!x || !key || X509_check_private_key(x, key) != 1))
        r = smx_err_set(err, SMX_E_INVALID,
            "certificate and key of the authority are damaged or do not belong together");
    if (r == 0) /* a name of more than 64 bytes does not fit here, and is not looked at either */
        r = issue(x, key, strlen(names[0]) <= 64 ? names[0] : "sandmux", text.data, ret, err);
    ERR_clear_error();
    X509_free(x);
    EVP_PKEY_free(key);
    smx_buf_done(&text);
    return r;
}

bool tls_issued_by(struct smx_view cert_pem, struct smx_view ca_pem)
{
    X509 *x = read_cert(cert_pem), *ca = read_cert(ca_pem);
    bool yes = x && ca && X509_verify(x, X509_get0_pubkey(ca)) == 1;

    ERR_clear_error();
    X509_free(x);
    X509_free(ca);
    return yes;
}
