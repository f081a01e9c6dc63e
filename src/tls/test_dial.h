/* test_dial.h - connections with TLS for tests: a certificate made once, the client's side of the
 * handshake, and dial() for the tests of http, which then run over TLS. */
#ifndef SMX_TLS_TEST_DIAL_H
#define SMX_TLS_TEST_DIAL_H

#include "tls/priv.h"

struct test_certs {
    struct tls_issued ca, leaf;
    struct tls_context *context;
    SSL_CTX *client; /* trusts the authority */
};

static inline struct tls_pair test_pair(const struct tls_issued *i)
{
    return (struct tls_pair){ .cert = { i->cert.data, i->cert.len },
        .key = { i->key.data, i->key.len },
        .cert_name = "cert.pem",
        .key_name = "key.pem" };
}

static inline bool trust(SSL_CTX *client, const struct tls_issued *ca)
{
    BIO *bio = BIO_new_mem_buf(ca->cert.data, (int)ca->cert.len);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    bool ok = x && X509_STORE_add_cert(SSL_CTX_get_cert_store(client), x) == 1;

    X509_free(x);
    BIO_free(bio);
    return ok;
}

/* Lives as long as the process. */
static inline struct test_certs *test_certs(void)
{
    static const char *const names[] = { "sandmux.test", "*.sandmux.test", "127.0.0.1" };
    static struct test_certs c;
    struct smx_err err = { 0 };
    struct tls_pair pair;

    if (c.client)
        return &c;
    tls_issued_init(&c.ca);
    tls_issued_init(&c.leaf);
    if (tls_issue_ca(&c.ca, &err) < 0 || tls_issue_leaf(&c.ca, names, 3, &c.leaf, &err) < 0 ||
        tls_context_new(&c.context, &err) < 0)
        return NULL;
    pair = test_pair(&c.leaf);
    if (tls_context_load(c.context, &pair, &err) < 0)
        return NULL;
    c.client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(c.client, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(c.client, SSL_VERIFY_PEER, NULL);
    return trust(c.client, &c.ca) ? &c : NULL;
}

static inline int test_accept(
    void *ctx, struct io_fd *fd, uint64_t deadline_ns, struct smx_err *err)
{
    return tls_accept(ctx, fd, deadline_ns, err);
}

static inline const struct http_secure *test_secure(void)
{
    static struct http_secure secure = { .accept = test_accept };

    secure.ctx = test_certs()->context;
    return &secure;
}

/* [parks] the client's side on a connected descriptor. */
static inline int test_connect(struct io_fd *fd, SSL_CTX *client, struct smx_err *err)
{
    char name[] = "api.sandmux.test";
    SSL *ssl = SSL_new(client);

    SSL_set_connect_state(ssl);
    SSL_set1_host(ssl, name);
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name);
    return tls_handshake(fd, ssl, smx_deadline_in_ms(5000), err);
}

static inline int dial(struct http_server *s, struct io_fd *ret)
{
    int sv[2];

    if (!test_certs() || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -1;
    if (http_server_serve_secure_fd(s, sv[0], "test", test_secure(), /* err= */ NULL) < 0) {
        smx_close(sv[1]);
        return -1;
    }
    if (io_fd_init(ret, sv[1], /* err= */ NULL) < 0)
        return -1;
    return test_connect(ret, test_certs()->client, /* err= */ NULL);
}

#endif
