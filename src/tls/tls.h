/* tls.h - TLS for connections that we accept, and the certificates of `sandmux tls init`. OpenSSL
 * behind a filter of io.h: readers and writers of the descriptor notice nothing. TLS 1.2 and 1.3
 * with forward secrecy, no compression, no renegotiation, no early data; ALPN speaks http/1.1;
 * sessions resume by tickets, the server keeps none. */
#ifndef SMX_TLS_TLS_H
#define SMX_TLS_TLS_H

#include "base/buf.h"
#include "base/err.h"
#include "io/io.h"

/* --- what a listener serves with ------------------------------------------------------------- */

struct tls_context;

/* A certificate with its chain, and its key, as PEM text; the names are for messages. All are
 * borrowed for the call. */
struct tls_pair {
    struct smx_view cert, key;
    const char *cert_name, *key_name;
};

int tls_context_new(struct tls_context **ret, struct smx_err *err);
void tls_context_free(struct tls_context *c); /* connections go on */
SMX_DEFINE_CLEANUP(struct tls_context, tls_context_free)
/* Connections from now on are served with this pair; on failure the old one stays.
 * -SMX_E_INVALID: one sentence that says which file is wrong, and how. */
int tls_context_load(struct tls_context *c, const struct tls_pair *pair, struct smx_err *err);
/* When the certificate that is served ends, and begins to hold; seconds since 1970. 0: none. */
int64_t tls_context_expires(const struct tls_context *c);
int64_t tls_context_begins(const struct tls_context *c);

/* [parks] the server's side of a handshake, until the deadline. 0: the descriptor has its filter.
 * -SMX_E_INVALID: the client speaks plain HTTP; nothing was read or sent. Else the connection is
 * good for nothing but closing. */
int tls_accept(struct tls_context *c, struct io_fd *fd, uint64_t deadline_ns, struct smx_err *err);

/* --- issue.c: certificates of our own -------------------------------------------------------- */

/* PEM text; keys are wiped by tls_issued_done(). */
struct tls_issued {
    struct smx_buf cert, key;
};
void tls_issued_init(struct tls_issued *i);
void tls_issued_done(struct tls_issued *i);
/* A private authority, valid for ten years. */
int tls_issue_ca(struct tls_issued *ret, struct smx_err *err);
/* A server's certificate for names (DNS names, wildcards, addresses), signed by the authority. */
int tls_issue_leaf(const struct tls_issued *ca, const char *const *names, size_t n,
    struct tls_issued *ret, struct smx_err *err);
/* True when the certificate was signed with the authority's key. */
bool tls_issued_by(struct smx_view cert_pem, struct smx_view ca_pem);

#endif
