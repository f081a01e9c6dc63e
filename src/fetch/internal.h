/* internal.h - shared by the files of src/fetch. */
#ifndef SMX_FETCH_INTERNAL_H
#define SMX_FETCH_INTERNAL_H

#include <curl/curl.h>

#include "base/list.h"
#include "base/mem.h"
#include "fetch/fetch.h"

enum { FETCH_SPARE = 16 };

/* One multi handle with its timer. Calls share one; each dialled connection has its own, so that no
 * other transfer's housekeeping closes it. */
struct fetch_multi {
    struct fetch *f;
    CURLM *curl;
    uint64_t timer_ns; /* SMX_FOREVER: none */
    struct smx_list node;
};

struct fetch {
    struct io_loop *loop;
    struct fetch_multi calls;
    struct smx_list multis;
    struct io_fd events; /* an epoll descriptor with curl's sockets */
    struct io_event kick, quiet;
    size_t active; /* transfers that curl is not done with */
    bool driving;
    CURL *spare[FETCH_SPARE]; /* handles to be used again */
    size_t n_spare;
    char *via, *ca_file; /* via: the whole line; NULL none */
};

/* A transfer from the side of the fiber that waits for it. */
struct fetch_wait {
    struct io_event done;
    bool over; /* curl is done with it */
    CURLcode result;
    char message[CURL_ERROR_SIZE];
};

/* fetch.c */
int fetch_multi_init(struct fetch_multi *m, struct fetch *f, struct smx_err *err);
void fetch_multi_done(struct fetch_multi *m);
/* A handle with what every transfer has in common; NULL: no memory. What a call sets, each call
 * sets; pointers are taken out again before it is put back. */
CURL *fetch_easy_get(struct fetch *f);
void fetch_easy_put(struct fetch *f, CURL *easy);
/* [parks] until the transfer is over: 0, w->result says how; or -SMX_E_TIMEOUT, -SMX_E_CANCELLED.
 * The handle has left the multi unless keep. */
int fetch_run(struct fetch_multi *m, CURL *easy, struct fetch_wait *w, bool keep, uint64_t deadline,
    struct smx_err *err);
/* "https://host:port" of a URL, for messages: no path, no credentials. */
const char *fetch_origin(const char *url, char out[128]);
/* A failure before anything was sent. */
int fetch_unreached(
    const char *url, CURLcode result, const struct fetch_wait *w, struct smx_err *err);

#endif
