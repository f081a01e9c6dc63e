/* dial.c - connections of one's own: curl finds the address, passes proxies and speaks TLS, then
 * the connection is handed over as a descriptor with a filter. Each has a multi handle of its own
 * for as long as it lives: in a shared one, looking after idle connections would close it. */
#include "fetch/internal.h"

#include <errno.h>

#include "base/fd.h"
#include "base/str.h"

struct tunnel {
    struct fetch_multi multi;
    struct fetch_wait wait;
    CURL *easy;
    bool ours; /* the descriptor is the io_fd's: curl must not close it */
};

static int close_socket(void *ctx, curl_socket_t fd)
{
    const struct tunnel *t = ctx;

    if (!t->ours)
        smx_close(fd);
    return 0;
}

static void tunnel_free(void *filter)
{
    struct tunnel *t = filter;

    if (t->easy) {
        curl_multi_remove_handle(t->multi.curl, t->easy);
        curl_easy_cleanup(t->easy);
    }
    if (t->multi.curl)
        fetch_multi_done(&t->multi);
    smx_free(t);
}

static ssize_t tunnel_read(void *filter, void *data, size_t n)
{
    struct tunnel *t = filter;
    size_t got = 0;
    CURLcode r = curl_easy_recv(t->easy, data, n, &got);

    if (r == CURLE_OK)
        return (ssize_t)got;
    errno = r == CURLE_AGAIN ? EAGAIN : ECONNRESET;
    return -1;
}

static ssize_t tunnel_write(void *filter, const void *data, size_t n)
{
    struct tunnel *t = filter;
    size_t sent = 0;
    CURLcode r = curl_easy_send(t->easy, data, n, &sent);

    if (r == CURLE_OK)
        return (ssize_t)sent;
    errno = r == CURLE_AGAIN ? EAGAIN : EPIPE;
    return -1;
}

static const struct io_filter_ops tunnel_ops = {
    .read = tunnel_read, .write = tunnel_write, .free = tunnel_free
};

static int connect_tunnel(struct tunnel *t, const char *url, uint64_t deadline, struct smx_err *err)
{
    int r;

    t->wait.message[0] = '\0';
    if (curl_easy_setopt(t->easy, CURLOPT_URL, url) != CURLE_OK)
        return smx_err_oom(err);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->wait.message);
    curl_easy_setopt(t->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(t->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
    curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETDATA, t);
    r = fetch_run(&t->multi, t->easy, &t->wait, /* keep= */ true, deadline, err);
    if (r < 0 && r != -SMX_E_TIMEOUT)
        return smx_err_set(err, (enum smx_code) - r, "connecting");
    if (r < 0 || t->wait.result != CURLE_OK)
        return fetch_unreached(
            url, r < 0 ? CURLE_OPERATION_TIMEDOUT : t->wait.result, &t->wait, err);
    return 0;
}

/* The connected socket becomes the client's; t is used up. */
static int hand_over(struct tunnel *t, const char *url, struct http_client *to, struct smx_err *err)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    int r;

    curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (fd == CURL_SOCKET_BAD) {
        tunnel_free(t);
        return smx_err_set(err, SMX_E_UNAVAILABLE, "the connection was closed at once");
    }
    t->ours = true;
    r = http_client_init(to, fd, err);
    if (r < 0 || smx_starts(url, "http:")) /* nothing of curl's is between us and the bytes */
        tunnel_free(t);
    else
        io_fd_filter(&to->fd, &tunnel_ops, t);
    return r;
}

int fetch_dial(struct fetch *f, const char *url, struct http_client *to, uint64_t deadline,
    struct smx_err *err)
{
    struct tunnel *t = smx_alloc(sizeof *t);
    int r = t ? fetch_multi_init(&t->multi, f, err) : smx_err_oom(err);

    if (t && r == 0) {
        t->easy = fetch_easy_get(f);
        r = t->easy ? connect_tunnel(t, url, deadline, err) : smx_err_oom(err);
    }
    if (r == 0)
        return hand_over(t, url, to, err);
    if (t)
        tunnel_free(t);
    return r;
}
