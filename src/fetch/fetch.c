/* fetch.c - curl's multi interface on the loop.
 *
 * curl tells which sockets it waits for; they are kept in an epoll descriptor of our own, which is
 * one more descriptor to the loop. A fiber, the driver, runs while there are transfers: it waits
 * for that descriptor and for curl's timers and calls curl, which calls back into the transfers.
 * They only fill buffers and set events there; whoever waits goes on in a fiber of its own. */
#include "fetch/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/log.h"

enum { KEPT_CONNECTIONS = 64, KEEPALIVE_IDLE_S = 30, KEEPALIVE_STEP_S = 10 };

struct watched { /* a socket of curl's */
    struct fetch_multi *multi;
    curl_socket_t fd;
};

/* --- what curl asks for -------------------------------------------------------------------- */

static int forget_socket(struct fetch_multi *m, curl_socket_t fd, struct watched *w)
{
    epoll_ctl(m->f->events.fd, EPOLL_CTL_DEL, fd, NULL); /* gone already when it was closed */
    curl_multi_assign(m->curl, fd, NULL);
    smx_free(w);
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct fetch_multi *m = ctx;
    struct watched *w = socket_ctx;
    struct epoll_event ev = { 0 };

    if (what == CURL_POLL_REMOVE)
        return forget_socket(m, fd, w);
    if (!w) {
        w = smx_alloc(sizeof *w);
        if (!w)
            return -1;
        *w = (struct watched){ .multi = m, .fd = fd };
        curl_multi_assign(m->curl, fd, w);
    }
    ev.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    ev.data.ptr = w;
    if (epoll_ctl(m->f->events.fd, EPOLL_CTL_ADD, fd, &ev) < 0 && errno == EEXIST)
        epoll_ctl(m->f->events.fd, EPOLL_CTL_MOD, fd, &ev);
    return 0;
}

static int on_timer(CURLM *curl, long timeout_ms, void *ctx)
{
    struct fetch_multi *m = ctx;

    m->timer_ns = timeout_ms < 0 ? SMX_FOREVER : smx_deadline_in_ms((uint64_t)timeout_ms);
    io_event_set(&m->f->kick);
    return 0;
}

/* --- the driver ---------------------------------------------------------------------------- */

static void collect(struct fetch_multi *m)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(m->curl, &left))) {
        struct fetch_wait *w = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&w);
        w->result = msg->data.result;
        w->over = true;
        m->f->active--;
        io_event_set(&w->done);
    }
}

static void act(struct fetch_multi *m, curl_socket_t fd, int mask)
{
    int running;

    curl_multi_socket_action(m->curl, fd, mask, &running);
    collect(m);
}

/* One event at a time: what curl does for one may take away the socket of the next. The loop tells
 * when there are more. */
static void on_event(struct fetch *f)
{
    struct epoll_event ev;
    const struct watched *w;
    int mask;

    if (epoll_wait(f->events.fd, &ev, 1, 0) != 1)
        return;
    w = ev.data.ptr;
    mask = (ev.events & EPOLLIN ? CURL_CSELECT_IN : 0) |
           (ev.events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
           (ev.events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    act(w->multi, w->fd, mask);
}

static uint64_t next_timer(const struct fetch *f)
{
    uint64_t next = SMX_FOREVER;

    SMX_LIST_FOREACH(it, &f->multis)
        next = SMX_MIN(next, SMX_LIST_ENTRY(it, struct fetch_multi, node)->timer_ns);
    return next;
}

static void on_timers(struct fetch *f)
{
    uint64_t now = smx_now_ns();

    SMX_LIST_FOREACH(it, &f->multis) {
        struct fetch_multi *m = SMX_LIST_ENTRY(it, struct fetch_multi, node);

        if (m->timer_ns > now)
            continue;
        m->timer_ns = SMX_FOREVER;
        act(m, CURL_SOCKET_TIMEOUT, 0);
    }
}

static void drive(void *arg)
{
    struct fetch *f = arg;

    while (f->active > 0) {
        struct io_wait w[2] = { { .fd = &f->events, .events = IO_READ }, { .event = &f->kick } };

        if (io_wait(w, SMX_ARRAY_LEN(w), next_timer(f)) == -SMX_E_CANCELLED)
            break; /* the loop ends, and with it all who wait */
        io_event_clear(&f->kick);
        if (w[0].ready)
            on_event(f);
        on_timers(f);
    }
    f->driving = false;
    io_event_set(&f->quiet);
}

static int start_driver(struct fetch *f, struct smx_err *err)
{
    int r = f->driving ? 0 : io_fiber_spawn(f->loop, "fetch", drive, f, NULL, err);

    if (r < 0)
        return r;
    f->driving = true;
    io_event_clear(&f->quiet);
    io_event_set(&f->kick);
    return 0;
}

/* --- handles ------------------------------------------------------------------------------- */

static int prepare(struct fetch *f, CURL *easy)
{
    CURLcode r = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");

    if (r == CURLE_OK && f->ca_file)
        r = curl_easy_setopt(easy, CURLOPT_CAINFO, f->ca_file);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L); /* a peer that vanished is noticed */
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_STEP_S);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    return r == CURLE_OK ? 0 : -SMX_E_NO_MEMORY;
}

/* A handle that is used again keeps what all calls have in common. */
CURL *fetch_easy_get(struct fetch *f)
{
    CURL *easy;

    if (f->n_spare > 0)
        return f->spare[--f->n_spare];
    easy = curl_easy_init();
    if (easy && prepare(f, easy) < 0) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    return easy;
}

void fetch_easy_put(struct fetch *f, CURL *easy)
{
    if (f->n_spare == FETCH_SPARE)
        curl_easy_cleanup(easy);
    else
        f->spare[f->n_spare++] = easy;
}

/* --- transfers ----------------------------------------------------------------------------- */

int fetch_run(struct fetch_multi *m, CURL *easy, struct fetch_wait *w, bool keep, uint64_t deadline,
    struct smx_err *err)
{
    struct fetch *f = m->f;
    int r;

    io_event_init(&w->done);
    w->over = false;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, w);
    f->active++;
    r = start_driver(f, err);
    if (r == 0 && curl_multi_add_handle(m->curl, easy) != CURLM_OK)
        r = smx_err_oom(err);
    if (r == 0) {
        act(m, CURL_SOCKET_TIMEOUT, 0); /* a kept connection takes the request at once */
        r = io_event_wait(&w->done, deadline);
        if (r < 0 || !keep)
            curl_multi_remove_handle(m->curl, easy);
    }
    if (!w->over) {
        f->active--;
        io_event_set(&f->kick);
    }
    return r;
}

const char *fetch_origin(const char *url, char out[128])
{
    const char *rest = strstr(url, "://"), *at, *p = rest ? rest + 3 : url;
    size_t n = strcspn(p, "/?#");

    at = memchr(p, '@', n);
    if (at) {
        n -= (size_t)(at + 1 - p);
        p = at + 1;
    }
    snprintf(out, 128, "%.*s%.*s", rest ? (int)(rest + 3 - url) : 0, url,
        (int)SMX_MIN(n, (size_t)100), p);
    return out;
}

int fetch_unreached(
    const char *url, CURLcode result, const struct fetch_wait *w, struct smx_err *err)
{
    char origin[128];

    return smx_err_set(err, SMX_E_UNAVAILABLE, "%s cannot be reached: %s",
        fetch_origin(url, origin), w->message[0] ? w->message : curl_easy_strerror(result));
}

/* --- life ---------------------------------------------------------------------------------- */

int fetch_multi_init(struct fetch_multi *m, struct fetch *f, struct smx_err *err)
{
    m->f = f;
    m->timer_ns = SMX_FOREVER;
    smx_list_init(&m->node);
    m->curl = curl_multi_init();
    if (!m->curl)
        return smx_err_oom(err);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    smx_list_add(&f->multis, &m->node);
    return 0;
}

void fetch_multi_done(struct fetch_multi *m)
{
    smx_list_del(&m->node);
    curl_multi_cleanup(m->curl);
    m->curl = NULL;
}

static int begin_curl(struct smx_err *err)
{
    static bool begun; /* once a process, before there are threads of its own */

    if (!begun && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return smx_err_set(err, SMX_E_INTERNAL, "libcurl does not start");
    begun = true;
    return 0;
}

static int fill(struct fetch *f, const struct fetch_config *cfg, struct smx_err *err)
{
    int fd, r = begin_curl(err);

    if (r < 0)
        return r;
    if (cfg->via)
        f->via = smx_asprintf(FETCH_VIA ": %s", cfg->via);
    if (cfg->ca_file)
        f->ca_file = smx_strdup(cfg->ca_file);
    if ((cfg->via && !f->via) || (cfg->ca_file && !f->ca_file))
        return smx_err_oom(err);
    r = fetch_multi_init(&f->calls, f, err);
    if (r < 0)
        return r;
    fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating an epoll descriptor");
    return io_fd_init(&f->events, fd, err);
}

int fetch_new(const struct fetch_config *cfg, struct fetch **ret, struct smx_err *err)
{
    struct fetch *f = smx_alloc(sizeof *f);
    int r;

    if (!f)
        return smx_err_oom(err);
    f->loop = io_loop_self();
    f->events.fd = -1;
    smx_list_init(&f->multis);
    io_event_init(&f->kick);
    io_event_init(&f->quiet);
    r = fill(f, cfg, err);
    if (r < 0) {
        fetch_free(f);
        return r;
    }
    *ret = f;
    return 0;
}

void fetch_free(struct fetch *f)
{
    if (!f)
        return;
    io_shield_begin();
    if (f->driving)
        io_event_wait(&f->quiet, SMX_FOREVER);
    io_shield_end();
    while (f->n_spare > 0)
        curl_easy_cleanup(f->spare[--f->n_spare]);
    if (f->calls.curl)
        fetch_multi_done(&f->calls);
    io_fd_done(&f->events);
    smx_free(f->via);
    smx_free(f->ca_file);
    smx_free(f);
}
