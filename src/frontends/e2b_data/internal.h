/* internal.h - shared by the files of the data plane. */
#ifndef SMX_FRONTENDS_E2B_DATA_INTERNAL_H
#define SMX_FRONTENDS_E2B_DATA_INTERNAL_H

#include "frontends/e2b_data/e2b_data.h"

/* path.c: pure */

/* True when the path is, in any spelling, a route of envd that only the server itself may call. */
bool path_is_internal(struct smx_view path);

/* sign.c */

enum { SIGN_SIZE = 48 };

/* What a signature covers, as the request names it. Strings are owned: sign_done(). */
struct sign_request {
    const char *operation; /* "read" or "write" */
    char *path, *username; /* decoded; "" when absent */
    char *signature;       /* NULL: absent */
    bool expires;
    int64_t expiration_unix_s;
};
/* -SMX_E_INVALID: a parameter that cannot be read. */
int sign_parse(const struct http_exchange *x, struct sign_request *ret, struct smx_err *err);
void sign_done(struct sign_request *s);
SMX_DEFINE_CLEANUP(struct sign_request, sign_done)
/* "v1_" and the hash for a sandbox's token. False: no hash to be had. */
bool sign_make(const struct sign_request *s, const char *token, char out[SIGN_SIZE]);
/* For many tokens: the part before the token is hashed once. NULL when the heap is empty. */
struct sign_hash;
struct sign_hash *sign_hash_new(const struct sign_request *s);
void sign_hash_free(struct sign_hash *h); /* accepts NULL */
bool sign_hash_matches(struct sign_hash *h, const char *token);
/* 0: the signature is the sandbox's and holds; -SMX_E_UNAUTHORIZED with envd's own sentences. */
int sign_check(const struct sign_request *s, const struct sandbox *sb, struct smx_err *err);
int sign_check_time(const struct sign_request *s, struct smx_err *err);
/* Which living sandbox's token made the signature, as a new reference; NULL: none. */
struct sandbox *sign_find(struct core *c, const struct sign_request *s);

#endif
