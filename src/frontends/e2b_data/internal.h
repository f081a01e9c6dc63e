/* internal.h - shared by the files of the data plane. */
#ifndef SMX_FRONTENDS_E2B_DATA_INTERNAL_H
#define SMX_FRONTENDS_E2B_DATA_INTERNAL_H

#include "frontends/e2b_data/e2b_data.h"
#include "http/client.h"
#include "rpc/rpc.h"

/* account.c */

enum account_what { ACCOUNT_STARTED, ACCOUNT_ENDED };
struct account;
typedef void(account_tell_fn)(struct account *a, enum account_what what);
enum { ACCOUNT_TEXT_MAX = 256 };
struct account {
    struct http_tap tap; /* first */
    account_tell_fn *tell;
    struct sandbox *sb; /* borrowed: the relay ends before its use does */
    bool starts;        /* Start, not Connect */
    bool asked, replied, over, exited;
    uint32_t pid; /* 0: not told yet */
    int exit_code;
    char program[64], status[48]; /* plain text */
    /* the message that passes: the request's, then those of the reply */
    unsigned char head[RPC_HEAD];
    uint8_t head_n;
    uint16_t text_n;
    uint32_t left;
    char text[ACCOUNT_TEXT_MAX + 1];
};
/* Without a sandbox: tell hears of it. */
void account_init(struct account *a, account_tell_fn *tell);
/* For the relay of a stream that starts or joins a process: logs its start and its end with the
 * sandbox, which outlives the relay. NULL: not such a stream, or no memory for it. Memory of x. */
struct http_tap *account_open(struct http_exchange *x, struct sandbox *sb);

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
