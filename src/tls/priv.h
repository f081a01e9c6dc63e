/* priv.h - what the files of src/tls and their tests share. */
#ifndef SMX_TLS_PRIV_H
#define SMX_TLS_PRIV_H

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/str.h"
#include "tls/tls.h"

struct tls_context {
    SSL_CTX *ssl; /* NULL until a pair was loaded */
    int64_t begins, expires;
};

/* Fills err with OpenSSL's own reason and empties its queue. */
int tls_failed(struct smx_err *err, enum smx_code code, const char *doing);

/* filter.c: [parks] runs the handshake of either side on a connected descriptor and puts the filter
 * in place. Takes ssl, also on failure. */
int tls_handshake(struct io_fd *fd, SSL *ssl, uint64_t deadline_ns, struct smx_err *err);

#endif
