/* gateway.h - the unprivileged daemon: one loop, the core, the front ends. Private to this room. */
#ifndef SMX_GATEWAY_GATEWAY_H
#define SMX_GATEWAY_GATEWAY_H

#include "config/config.h"
#include "frontends/frontend.h"
#include "tls/tls.h"

enum { INHERITED_MAX = 16, RUNTIMES_INFO_MAX = 4 };

/* Descriptors that came by LISTEN_FDS; -1 where there was none. */
struct inherited {
    int control, engine, tls_cert, tls_key;
    int listeners[INHERITED_MAX];
    bool is_unix[INHERITED_MAX], is_tls[INHERITED_MAX];
    size_t n;
};

struct gateway {
    struct config *config;
    struct frontend fe;
    struct io_loop *loop;
    const char *state_dir;
    struct inherited inherited;
    struct io_fd control; /* fd -1: no supervisor of ours */
    struct io_event stop; /* set: end in an orderly way */
    struct io_event idle_stop;
    bool supervisor_gone;
    struct tls_context *tls; /* NULL: no certificate */
    struct http_secure secure;
    char *domains; /* owns what fe.domains point to */
    struct json_pair info[3][RUNTIMES_INFO_MAX];
    uint64_t last_busy_ns;
    uint64_t engine_starts;
    struct metrics_series *g_connections, *g_fds, *g_fibers, *g_restarts, *g_engines, *g_expiry;
    struct metrics_series *c_shaken, *c_plain, *c_failed;
    int exit_status;
};

/* inherit.c: -SMX_E_INVALID when the variables make no sense */
int inherit_fds(struct inherited *ret, struct smx_err *err);
void inherit_close(struct inherited *in);

/* runtimes.c: borrows from g for as long as the core lives */
void runtimes_fill(struct gateway *g, struct core_config *cc);
/* What the gateway got anew from its supervisor. Takes fd. */
void runtimes_engine(struct gateway *g, int fd);

/* dispatch.c: the server's handler; ctx is the struct frontend */
void dispatch(struct http_exchange *x, void *ctx);
void dispatch_metrics(struct frontend *fe);

/* secure.c: certificate and key as the supervisor handed them on. -SMX_E_INVALID says what is wrong
 * with them. */
int secure_open(struct gateway *g, struct smx_err *err);
void secure_metrics(struct gateway *g);
/* They have changed: serves them, or says why not and serves the old ones. Borrows both. */
void secure_reload(struct gateway *g, int cert_fd, int key_fd);

/* tls_init.c: `sandmux tls init`, argv from "tls-init" on: exit status */
int tls_init_main(int argc, char **argv);

/* control.c: a fiber for the supervisor, one for idleness */
void control_run(void *gateway);
void control_tell(struct gateway *g, const char *word);
void idle_run(void *gateway);

#endif
