/* control.c - the supervisor's pair, and idleness. A new engine's socket comes through the pair;
 * its end means that the supervisor is gone, and so are we: the next one wants listeners and
 * database. A daemon that a client started (--auto) ends when there was no connection for a while
 * and no sandbox runs. */
#include "gateway/gateway.h"

#include "base/fd.h"
#include "base/log.h"
#include "gateway/control.h"

static void on_message(struct gateway *g, const char *word, int *fds, size_t nfds)
{
    if (smx_streq(word, CONTROL_ENGINE) && nfds == 1) {
        smx_info("the engine was started anew");
        g->engine_starts++;
        runtimes_engine(g, smx_take_fd(&fds[0]));
    }
    if (smx_streq(word, CONTROL_TLS) && nfds == 2)
        secure_reload(g, fds[0], fds[1]);
    for (size_t i = 0; i < nfds; i++)
        smx_close(fds[i]);
}

void control_run(void *gateway)
{
    struct gateway *g = gateway;

    for (;;) {
        char word[CONTROL_MESSAGE_MAX + 1];
        int fds[SMX_FDS_MAX];
        size_t nfds = SMX_FDS_MAX;
        ssize_t n = io_recv_fds(
            &g->control, word, sizeof word - 1, fds, &nfds, SMX_FOREVER, /* err= */ NULL);

        if (n == -SMX_E_CANCELLED)
            return;
        if (n <= 0)
            break;
        word[n] = 0;
        on_message(g, word, fds, nfds);
    }
    smx_warn("the supervisor is gone; ending");
    g->supervisor_gone = true;
    io_event_set(&g->stop);
}

void control_tell(struct gateway *g, const char *word)
{
    if (g->control.fd >= 0)
        io_send_fds(&g->control, word, strlen(word), NULL, 0, smx_deadline_in_ms(1000), NULL);
}

/* --- idleness --------------------------------------------------------------------------------- */

static bool any_in_state(struct gateway *g, enum sandbox_state state)
{
    struct core_filter f = { .has_state = true, .state = state, .limit = 1 };
    struct core_page page = { 0 };
    bool any = core_list(g->fe.core, &f, &page, /* err= */ NULL) < 0 || page.n > 0;

    core_page_done(&page);
    return any;
}

/* Sandboxes that only lie on disk need nobody. */
static bool needs_us(enum sandbox_state s)
{
    return s != SANDBOX_STOPPED && s != SANDBOX_ARCHIVED && s != SANDBOX_ERROR &&
           s != SANDBOX_DELETED;
}

static bool is_busy(struct gateway *g)
{
    if (http_server_connections(g->fe.server) > 0)
        return true;
    for (int s = 0; s < SANDBOX_STATE_COUNT_; s++) {
        if (needs_us((enum sandbox_state)s) && any_in_state(g, (enum sandbox_state)s))
            return true;
    }
    return false;
}

void idle_run(void *gateway)
{
    struct gateway *g = gateway;
    uint64_t limit_ns = config_u64(g->config, CONFIG_AUTO_IDLE_S) * SMX_NS_PER_S;

    g->last_busy_ns = smx_now_ns();
    while (io_sleep_until(smx_deadline_in_ms(1000)) == 0) {
        if (is_busy(g))
            g->last_busy_ns = smx_now_ns();
        if (smx_now_ns() - g->last_busy_ns < limit_ns)
            continue;
        smx_info("idle; ending");
        control_tell(g, CONTROL_IDLE);
        io_event_set(&g->stop);
        return;
    }
}
