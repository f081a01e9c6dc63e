/* tls.c - https for the client. OpenSSL is loaded when the first https URL is used: who does not
 * use one neither links nor loads it. The server's name and its authority are always checked; there
 * is no way to turn that off. Bytes go through a BIO of ours, because OpenSSL's own would raise
 * SIGPIPE. A connection is used by one thread at a time; who shares one (process.c) holds a lock.
 * After a fork the child frees its copy without a word to the other side. */
#include "client/internal.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Every function that is used: looked up by name, typed by OpenSSL's headers. */
#define OPENSSL_FUNCTIONS(F)            \
    F(TLS_client_method)                \
    F(SSL_CTX_new)                      \
    F(SSL_CTX_free)                     \
    F(SSL_CTX_ctrl)                     \
    F(SSL_CTX_set_verify)               \
    F(SSL_CTX_set_default_verify_paths) \
    F(SSL_CTX_load_verify_file)         \
    F(SSL_new)                          \
    F(SSL_free)                         \
    F(SSL_ctrl)                         \
    F(SSL_set_bio)                      \
    F(SSL_set1_host)                    \
    F(SSL_get0_param)                   \
    F(SSL_set_connect_state)            \
    F(SSL_do_handshake)                 \
    F(SSL_get_error)                    \
    F(SSL_get_verify_result)            \
    F(SSL_read)                         \
    F(SSL_write)                        \
    F(SSL_peek)                         \
    F(SSL_shutdown)                     \
    F(X509_VERIFY_PARAM_set1_ip_asc)    \
    F(X509_verify_cert_error_string)    \
    F(ERR_clear_error)                  \
    F(ERR_peek_last_error)              \
    F(ERR_reason_error_string)          \
    F(BIO_get_new_index)                \
    F(BIO_meth_new)                     \
    F(BIO_meth_set_write)               \
    F(BIO_meth_set_read)                \
    F(BIO_meth_set_ctrl)                \
    F(BIO_new)                          \
    F(BIO_set_data)                     \
    F(BIO_get_data)                     \
    F(BIO_set_init)                     \
    F(BIO_set_flags)                    \
    F(BIO_clear_flags)

static struct {
#define F(name) __typeof__(&(name)) p_##name;
    OPENSSL_FUNCTIONS(F)
#undef F
    BIO_METHOD *socket;
    bool ready;
} lib;

struct client_tls {
    SSL *ssl;
    int fd; /* borrowed */
    bool failed;
};

/* --- the library ----------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *data, int n)
{
    const struct client_tls *t = lib.p_BIO_get_data(bio);
    ssize_t r = send(t->fd, data, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);

    lib.p_BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        lib.p_BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY);
    return (int)r;
}

static int bio_read(BIO *bio, char *data, int n)
{
    const struct client_tls *t = lib.p_BIO_get_data(bio);
    ssize_t r = recv(t->fd, data, (size_t)n, MSG_DONTWAIT);

    lib.p_BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        lib.p_BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
    return (int)r;
}

static long bio_ctrl(BIO *bio SMX_UNUSED, int cmd, long n SMX_UNUSED, void *p SMX_UNUSED)
{
    return cmd == BIO_CTRL_FLUSH;
}

static void load_library(void)
{
    void *handle = dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL);
    bool all = handle != NULL;

#define F(name)                                        \
    if (all) {                                         \
        void *symbol = dlsym(handle, #name);           \
                                                       \
        memcpy(&lib.p_##name, &symbol, sizeof symbol); \
        all = symbol != NULL;                          \
    }
    OPENSSL_FUNCTIONS(F)
#undef F
    if (!all)
        return;
    lib.socket = lib.p_BIO_meth_new(lib.p_BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sandmux");
    lib.ready = lib.socket && lib.p_BIO_meth_set_write(lib.socket, bio_write) == 1 &&
                lib.p_BIO_meth_set_read(lib.socket, bio_read) == 1 &&
                lib.p_BIO_meth_set_ctrl(lib.socket, bio_ctrl) == 1;
}

/* --- a handle's context ---------------------------------------------------------------------- */

static int set_up(SSL_CTX *ctx, const char *ca_file, struct smx_err *err)
{
    lib.p_SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
    lib.p_SSL_CTX_ctrl(ctx, SSL_CTRL_MODE,
        SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
    lib.p_SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    lib.p_SSL_CTX_set_default_verify_paths(ctx); /* the system's; SSL_CERT_FILE and SSL_CERT_DIR */
    if (!ca_file || lib.p_SSL_CTX_load_verify_file(ctx, ca_file) == 1)
        return 0;
    lib.p_ERR_clear_error();
    if (access(ca_file, R_OK) < 0)
        return smx_err_errno(err, errno, "reading SANDMUX_CA %s", ca_file);
    return smx_err_set(
        err, SMX_E_INVALID, "SANDMUX_CA: %s holds no certificate in PEM form", ca_file);
}

int client_tls_open(struct smx_client *c, const char *ca_file, struct smx_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    SSL_CTX *ctx;
    int r;

    pthread_once(&once, load_library);
    if (!lib.ready)
        return smx_err_set(err, SMX_E_UNSUPPORTED,
            "https needs OpenSSL 3 (libssl.so.3), which is not installed here; use the unix "
            "socket, or install the package libssl3");
    ctx = lib.p_SSL_CTX_new(lib.p_TLS_client_method());
    if (!ctx)
        return smx_err_oom(err);
    r = set_up(ctx, ca_file, err);
    if (r < 0) {
        lib.p_SSL_CTX_free(ctx);
        return r;
    }
    c->tls = ctx;
    return 0;
}

void client_tls_close(struct smx_client *c)
{
    if (c->tls)
        lib.p_SSL_CTX_free(c->tls);
    c->tls = NULL;
}

/* --- connecting ------------------------------------------------------------------------------ */

static bool is_address(const char *host)
{
    unsigned char a[16];

    return inet_pton(AF_INET, host, a) == 1 || inet_pton(AF_INET6, host, a) == 1;
}

/* The name that the certificate has to carry. */
static bool set_name(SSL *ssl, const char *host)
{
    char name[sizeof((struct endpoint *)NULL)->host];

    if (is_address(host))
        return lib.p_X509_VERIFY_PARAM_set1_ip_asc(lib.p_SSL_get0_param(ssl), host) == 1;
    smx_strcpy(name, sizeof name, host);
    if (smx_ends(name, "."))
        name[strlen(name) - 1] = '\0';
    return lib.p_SSL_set1_host(ssl, name) == 1 &&
           lib.p_SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name) == 1;
}

static struct client_tls *tls_new(struct smx_client *c, int fd)
{
    struct client_tls *t = smx_alloc(sizeof *t);
    BIO *bio;

    if (!t)
        return NULL;
    t->fd = fd;
    t->ssl = lib.p_SSL_new(c->tls);
    bio = t->ssl ? lib.p_BIO_new(lib.socket) : NULL;
    if (bio) {
        lib.p_BIO_set_data(bio, t);
        lib.p_BIO_set_init(bio, 1);
        lib.p_SSL_set_bio(t->ssl, bio, bio);
        lib.p_SSL_set_connect_state(t->ssl);
        if (set_name(t->ssl, c->at.host))
            return t;
    }
    if (t->ssl)
        lib.p_SSL_free(t->ssl);
    smx_free(t);
    return NULL;
}

static int refused_by_us(const struct smx_client *c, long why, struct smx_err *err)
{
    const char *host = c->at.host;

    switch (why) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return smx_err_set(
            err, SMX_E_UNAVAILABLE, "the certificate of %s is for another name", host);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return smx_err_set(err, SMX_E_UNAVAILABLE, "the certificate of %s has expired", host);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return smx_err_set(err, SMX_E_UNAVAILABLE,
            "the certificate of %s is not valid yet; look at the clocks", host);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return smx_err_set(err, SMX_E_UNAVAILABLE,
            "the certificate of %s is signed by an authority that is not trusted here; "
            "name the authority's file in SANDMUX_CA",
            host);
    default:
        return smx_err_set(err, SMX_E_UNAVAILABLE, "the certificate of %s is refused: %s", host,
            lib.p_X509_verify_cert_error_string(why));
    }
}

static int handshake_failed(const struct smx_client *c, SSL *ssl, int kind, struct smx_err *err)
{
    long why = lib.p_SSL_get_verify_result(ssl);
    unsigned long e = lib.p_ERR_peek_last_error();
    const char *reason = e ? lib.p_ERR_reason_error_string(e) : NULL;

    lib.p_ERR_clear_error();
    if (why != X509_V_OK)
        return refused_by_us(c, why, err);
    if (kind == SSL_ERROR_SYSCALL || ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return smx_err_set(
            err, SMX_E_UNAVAILABLE, "%s closed the connection in the TLS handshake", c->at.host);
    if (ERR_GET_REASON(e) == SSL_R_WRONG_VERSION_NUMBER || ERR_GET_REASON(e) == SSL_R_HTTP_REQUEST)
        return smx_err_set(err, SMX_E_UNAVAILABLE,
            "what answers at %s:%u does not speak TLS; is it http:// ?", c->at.host, c->at.port);
    return smx_err_set(err, SMX_E_UNAVAILABLE, "TLS handshake with %s: %s", c->at.host,
        reason ? reason : "failed");
}

static int shake(
    struct smx_client *c, struct client_tls *t, uint64_t deadline_ns, struct smx_err *err)
{
    for (;;) {
        int r, kind, w;

        lib.p_ERR_clear_error();
        r = lib.p_SSL_do_handshake(t->ssl);
        if (r == 1)
            return 0;
        kind = lib.p_SSL_get_error(t->ssl, r);
        if (kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE)
            return handshake_failed(c, t->ssl, kind, err);
        w = client_wait_fd(
            t->fd, kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline_ns, &c->interrupt, err);
        if (w < 0)
            return w;
    }
}

int client_tls_connect(struct smx_client *c, int fd, uint64_t deadline_ns, struct client_tls **ret,
    struct smx_err *err)
{
    struct client_tls *t = tls_new(c, fd);
    int r;

    if (!t)
        return smx_err_oom(err);
    r = shake(c, t, deadline_ns, err);
    if (r < 0) {
        t->failed = true;
        client_tls_free(t, /* say_goodbye= */ false);
        return r;
    }
    *ret = t;
    return 0;
}

void client_tls_free(struct client_tls *t, bool say_goodbye)
{
    if (!t)
        return;
    if (say_goodbye && !t->failed)
        lib.p_SSL_shutdown(t->ssl);
    lib.p_ERR_clear_error();
    lib.p_SSL_free(t->ssl);
    smx_free(t);
}

/* --- bytes ----------------------------------------------------------------------------------- */

static ssize_t result(struct client_tls *t, int r)
{
    int os_errno = errno;

    if (r > 0)
        return r;
    switch (lib.p_SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_SYSCALL:
        t->failed = true;
        errno = os_errno ? os_errno : ECONNRESET;
        break;
    default:
        t->failed = true;
        errno = ECONNRESET; /* cut off, or damaged */
        break;
    }
    lib.p_ERR_clear_error();
    return -1;
}

ssize_t client_tls_send(struct client_tls *t, const void *data, size_t n)
{
    ssize_t r;

    lib.p_ERR_clear_error();
    errno = 0;
    r = result(t, lib.p_SSL_write(t->ssl, data, (int)SMX_MIN(n, (size_t)INT32_MAX)));
    if (r != 0)
        return r;
    errno = EPIPE;
    return -1;
}

ssize_t client_tls_recv(struct client_tls *t, void *data, size_t n)
{
    lib.p_ERR_clear_error();
    errno = 0;
    return result(t, lib.p_SSL_read(t->ssl, data, (int)SMX_MIN(n, (size_t)INT32_MAX)));
}

bool client_tls_quiet(struct client_tls *t)
{
    char byte;

    lib.p_ERR_clear_error();
    errno = 0;
    return result(t, lib.p_SSL_peek(t->ssl, &byte, 1)) < 0 && errno == EAGAIN;
}
