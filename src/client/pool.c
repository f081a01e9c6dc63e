/* pool.c - connections of a handle: a new one, the idle ones. The slots are atomic pointers, so
 * taking and giving need no lock. */
#include "client/internal.h"

#include <unistd.h>

int client_connect(
    struct smx_client *c, uint64_t deadline_ns, struct conn **ret, struct smx_err *err)
{
    uint64_t soon = smx_deadline_in_ms(CLIENT_CONNECT_MS);
    int fd = -1, r;

    deadline_ns = SMX_MIN(deadline_ns, soon);
    r = endpoint_connect(&c->at, deadline_ns, &c->interrupt, &fd, err);

    if (r == -SMX_E_CANCELLED)
        return r;
    if (r < 0 && r != -SMX_E_TIMEOUT && c->may_start)
        r = client_start(c, &fd, err);
    else if (r < 0) {
        struct smx_err cause = err ? *err : (struct smx_err){ 0 };

        return smx_err_set(
            err, SMX_E_UNAVAILABLE, "no daemon answers at %s (%s)", c->url, cause.msg);
    }
    r = r < 0 ? r : conn_new(fd, ret, err);
    if (r < 0 || !c->at.secure)
        return r;
    r = client_tls_connect(c, fd, deadline_ns, &(*ret)->tls, err);
    if (r < 0)
        conn_free(smx_take(ret));
    return r;
}

int client_take(struct smx_client *c, struct conn **ret, bool *ret_fresh, struct smx_err *err)
{
    for (size_t i = 0; i < CLIENT_IDLE_MAX; i++) {
        struct conn *conn = atomic_load(&c->idle[i]);

        if (conn)
            conn = atomic_exchange(&c->idle[i], NULL);
        if (conn && conn_usable(conn)) {
            *ret = conn;
            *ret_fresh = false;
            return 0;
        }
        conn_free(conn);
    }
    *ret_fresh = true;
    return client_connect(c, SMX_FOREVER, ret, err);
}

void client_give(struct smx_client *c, struct conn *conn)
{
    if (!conn)
        return;
    if (!conn->keep || !conn->finished || conn->at != conn->end || conn->pid != getpid()) {
        conn_free(conn);
        return;
    }
    conn->last_used_ns = smx_now_ns();
    for (size_t i = 0; i < CLIENT_IDLE_MAX; i++) {
        struct conn *empty = NULL;

        if (atomic_compare_exchange_strong(&c->idle[i], &empty, conn))
            return;
    }
    conn_free(conn);
}
