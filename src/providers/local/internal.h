/* internal.h - the gateway's view of the engine: its connection, and the boxes. */
#ifndef SMX_PROVIDERS_LOCAL_INTERNAL_H
#define SMX_PROVIDERS_LOCAL_INTERNAL_H

#include "base/mem.h"
#include "providers/envd/client.h"
#include "providers/local/local.h"
#include "wire/engine/engine_wire.h"

enum { LOCAL_RECONNECT_MS = 15000, LOCAL_TEMPLATES_MAX = 16, LOCAL_LEFT_MAX = 16 };

struct local {
    struct io_loop *loop;
    struct provider_host host;
    struct envd_idle idle;
    /* The engine's connection: a reader fiber owns fd while it is up. */
    struct io_fd fd;
    struct io_event up;      /* set while connected */
    struct io_event changed; /* pulse: connected or lost */
    struct io_sem writer;
    struct smx_list pending; /* of struct pending, waiting for replies */
    uint64_t last_seq;
    uint64_t left[LOCAL_LEFT_MAX]; /* the last changes that nobody waits for any more */
    size_t n_left;                 /* ever */
    uint64_t epoch;                /* counts connections */
    bool closing;
    unsigned fibers; /* readers and greeters */
    struct io_event no_fibers;
    char *in; /* SMX_ENGINE_MESSAGE_MAX bytes of the reader */
    /* What the engine said of itself, from the last hello. */
    bool known, ready, pause, limits_hard;
    char why[160];
    struct engine_resources defaults;
    char templates[LOCAL_TEMPLATES_MAX][SMX_TEMPLATE_LEN_MAX + 1];
    size_t n_templates;
};

struct provider_box {
    struct envd_box envd; /* first */
    struct local *l;
    char id[SMX_ID_LEN + 1];
    struct json_pair *env;
    size_t n_env;
};

/* engine.c */
int engine_connection_init(struct local *l, struct smx_err *err);
void engine_connection_done(struct local *l); /* [parks] */
/* Takes fd. first: the host knows that it has to look itself. */
void engine_connection_attach(struct local *l, int fd, bool first);
/* [parks] one request; *ret is to be freed with json_free(&engine_reply_table) after success.
 * ret_fd: NULL when the op brings none; -1 when a create or start did not. Waits up to
 * LOCAL_RECONNECT_MS for an engine. A request that can be asked again is, when its connection
 * breaks; another is -SMX_E_AMBIGUOUS. */
int engine_ask(struct local *l, struct engine_request *req, struct engine_reply *ret, int *ret_fd,
    uint64_t deadline, struct smx_err *err);
/* [parks] hello, remembered in l */
int engine_greet(struct local *l, uint64_t deadline, struct smx_err *err);
void local_info(const struct local *l, const struct engine_sandbox *s, struct provider_info *ret);

#endif
