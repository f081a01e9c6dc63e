/* client.h - the client of the envd protocol: the data plane of every runtime whose sandboxes speak
 * it. A provider's box begins with a struct envd_box and says how to connect; envd_data_ops is then
 * its data plane.
 *
 * Connections are kept and used again, by one call or stream at a time; idle ones are closed after
 * ENVD_IDLE_MS, the least recently used first when there are too many. */
#ifndef SMX_PROVIDERS_ENVD_CLIENT_H
#define SMX_PROVIDERS_ENVD_CLIENT_H

#include "providers/provider.h"

enum { ENVD_IDLE_MS = 10000, ENVD_IDLE_PER_BOX = 64, ENVD_IDLE_MAX = 1024 };

/* The idle connections of a provider. */
struct envd_idle {
    struct io_loop *loop;
    struct smx_list lru; /* of struct envd_conn, the longest idle first */
    size_t n;
    struct io_timer sweep;
    uint64_t keep_ms; /* ENVD_IDLE_MS unless the owner says otherwise */
};
void envd_idle_init(struct envd_idle *i, struct io_loop *loop);
void envd_idle_done(struct envd_idle *i); /* no box may be left */
/* Closes all but the keep most recently used: descriptors are short. */
void envd_idle_close(struct envd_idle *i, size_t keep);

struct envd_box {
    struct provider_handle handle; /* first */
    struct envd_idle *idle;
    struct smx_list kept; /* of struct envd_conn, the most recently used last */
    size_t n_kept;
    /* [parks] connects an HTTP client that is not initialised yet; port 0: envd itself. */
    int (*dial)(struct envd_box *b, uint16_t port, struct http_client *to, uint64_t deadline,
        struct smx_err *err);
    /* What envd is told when the caller named nothing, because its own defaults are for those who
     * speak its protocol: where relative paths and processes start, and who they belong to. Static;
     * NULL: envd's own. */
    const char *base, *user;
    /* A proxy before the sandbox says that there is none behind it. Does not park; NULL: no proxy.
     */
    void (*missing)(struct envd_box *b);
};
void envd_box_init(struct envd_box *b, const struct provider_ops *ops, struct envd_idle *idle);
void envd_box_forget(struct envd_box *b); /* closes its idle connections: it was stopped or moved */
/* Takes fd, a connection to envd that nobody has used yet, for the next call; closes it when it
 * cannot be kept. */
void envd_box_connected(struct envd_box *b, int fd);

/* [parks] the settings that envd keeps for the processes to come. */
struct envd_init_request;
int envd_setup(struct envd_box *b, const struct envd_init_request *settings, uint64_t deadline,
    struct smx_err *err);

struct envd_metrics;
/* [parks] what envd measures. */
int envd_read_metrics(
    struct envd_box *b, struct envd_metrics *ret, uint64_t deadline, struct smx_err *err);

extern const struct provider_data_ops envd_data_ops;

#endif
