/* wait.c - waiting for a descriptor with a deadline, and asking the caller whether to go on. */
#include "client/internal.h"

#include <errno.h>
#include <poll.h>

static int cancelled(struct smx_err *err)
{
    return smx_err_set(err, SMX_E_CANCELLED, "the call was cancelled");
}

int client_interrupted(const struct client_interrupt *i, struct smx_err *err)
{
    if (!i->fn || i->fn(i->arg) == 0)
        return 0;
    return cancelled(err);
}

const struct client_interrupt client_never = { .fn = NULL };

/* The inner one is asked until it has said yes, and not again: it may have left an exception
 * behind. */
static int linger_ask(void *arg)
{
    struct client_linger *l = arg;

    if (!l->wanted && l->inner.fn(l->inner.arg) != 0) {
        l->wanted = true;
        l->until_ns = smx_deadline_in_ms(CLIENT_LINGER_MS);
    }
    return l->wanted && (l->known || smx_now_ns() >= l->until_ns);
}

struct client_interrupt client_linger(struct client_linger *l, const struct client_interrupt *i)
{
    *l = (struct client_linger){ .inner = *i };
    return i->fn ? (struct client_interrupt){ linger_ask, l } : client_never;
}

int client_linger_known(struct client_linger *l, struct smx_err *err)
{
    l->known = true;
    return l->wanted ? cancelled(err) : 0;
}

int client_poll_ms(uint64_t deadline_ns, const struct client_interrupt *i)
{
    uint64_t now = smx_now_ns();
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
    uint64_t ms = left / SMX_NS_PER_MS + (left % SMX_NS_PER_MS != 0);

    if (i->fn)
        return (int)SMX_MIN(ms, CLIENT_TICK_MS);
    return deadline_ns == SMX_FOREVER ? -1 : (int)SMX_MIN(ms, 1000000);
}

int client_wait_fd(
    int fd, int events, uint64_t deadline_ns, const struct client_interrupt *i, struct smx_err *err)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = (short)events };
        int r = poll(&p, 1, client_poll_ms(deadline_ns, i));

        if (r > 0)
            return p.revents;
        if (r < 0 && errno != EINTR)
            return smx_err_errno(err, errno, "waiting for the daemon");
        if (client_interrupted(i, err) < 0)
            return -SMX_E_CANCELLED;
        if (r == 0 && deadline_ns != SMX_FOREVER && smx_now_ns() >= deadline_ns)
            return smx_err_set(err, SMX_E_TIMEOUT, "the daemon did not answer in time");
    }
}
