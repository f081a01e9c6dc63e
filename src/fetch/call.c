/* call.c - one call: request, reply, and when it may be sent again. */
#include "fetch/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/random.h"
#include "base/str.h"

enum {
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 5000,
    RETRY_AFTER_MAX_S = 3600,
    LINES_MAX = 256,
    KEPT_S = 118, /* how long a connection may have idled */
    FRESH_S = 20  /* the same for a request that must not be sent twice */
};

/* One attempt. */
struct attempt {
    struct fetch_wait wait;
    const struct fetch_request *req;
    struct fetch_reply *reply;
    size_t given; /* of the request's body */
    unsigned lines;
    const char *refused; /* why we ended it ourselves; NULL: we did not */
    bool sent;           /* something went out */
};

/* --- curl calls us ------------------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct attempt *a = ctx;

    if (smx_buf_append(&a->reply->body, data, size * n) == 0)
        return size * n;
    a->refused = "its body is too long";
    return 0;
}

static size_t on_head(char *data, size_t size, size_t n, void *ctx)
{
    struct attempt *a = ctx;
    struct smx_buf *head = &a->reply->head;

    if (n > 5 && memcmp(data, "HTTP/", 5) == 0)
        smx_buf_reset(head); /* what came before was interim */
    if (a->lines++ < LINES_MAX && smx_buf_append(head, data, size * n) == 0)
        return size * n;
    a->refused = "its head is too long";
    return 0;
}

static size_t on_send(char *to, size_t size, size_t n, void *ctx)
{
    struct attempt *a = ctx;
    size_t take = SMX_MIN(size * n, a->req->n - a->given);

    memcpy(to, (const char *)a->req->body + a->given, take);
    a->given += take;
    return take;
}

static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct attempt *a = ctx;

    if (origin != SEEK_SET || offset < 0 || (size_t)offset > a->req->n)
        return CURL_SEEKFUNC_FAIL;
    a->given = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* --- setting up ---------------------------------------------------------------------------- */

static bool add(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = line ? curl_slist_append(*list, line) : NULL;

    *list = more ? more : *list;
    return more != NULL;
}

static bool add_fields(
    const struct fetch *f, const struct fetch_request *req, struct curl_slist **list)
{
    bool ok = add(list, "Expect:") && add(list, "User-Agent: sandmux/" SMX_VERSION) &&
              add(list, "Accept: application/json");

    if (f->via)
        ok = ok && add(list, f->via);
    for (size_t i = 0; req->fields && req->fields[i]; i++)
        ok = ok && add(list, req->fields[i]);
    if (req->body) {
        char type[128];

        snprintf(type, sizeof type, "Content-Type: %s",
            req->content_type ? req->content_type : "application/octet-stream");
        ok = ok && add(list, type);
    }
    return ok;
}

/* curl sends a request again by itself when a kept connection turns out to be dead. Without a way
 * back to the body's beginning it cannot, once it has sent of it: so a request that is not
 * repeatable has none. */
static void set_body(CURL *easy, struct attempt *a)
{
    const struct fetch_request *req = a->req;

    curl_easy_setopt(easy, req->body ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->n);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_READDATA, a);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, req->repeatable ? on_seek : NULL);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, a);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)(req->repeatable ? KEPT_S : FRESH_S));
}

static int set_up(
    struct fetch *f, CURL *easy, struct attempt *a, struct curl_slist **fields, struct smx_err *err)
{
    a->wait.message[0] = '\0';
    set_body(easy, a);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, a->wait.message);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, a);
    if (!add_fields(f, a->req, fields) ||
        curl_easy_setopt(easy, CURLOPT_URL, a->req->url) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, a->req->method) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *fields) != CURLE_OK)
        return smx_err_oom(err);
    return 0;
}

/* --- how it went --------------------------------------------------------------------------- */

static enum smx_code code_of(CURLcode c)
{
    switch ((int)c) {
    case CURLE_OPERATION_TIMEDOUT:
        return SMX_E_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return SMX_E_NO_MEMORY;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_FAIL_REWIND:
        return SMX_E_CLOSED;
    default:
        return SMX_E_PROTOCOL;
    }
}

static int failed(const struct attempt *a, enum smx_code code, const char *why, struct smx_err *err)
{
    char origin[128];

    fetch_origin(a->req->url, origin);
    if (code == SMX_E_CANCELLED || code == SMX_E_NO_MEMORY || a->req->repeatable)
        return smx_err_set(err, code, "%s %s: %s", a->req->method, origin, why);
    return smx_err_set(err, SMX_E_AMBIGUOUS,
        "%s %s: the request was sent and there is no proper answer: %s", a->req->method, origin,
        why);
}

/* curl takes the end of a connection within the head for the end of the head. */
static bool head_is_whole(const struct fetch_reply *r)
{
    return r->head.data && (strstr(r->head.data, "\r\n\r\n") || strstr(r->head.data, "\n\n"));
}

static int judge(CURL *easy, const struct attempt *a, int run, struct smx_err *err)
{
    const struct fetch_wait *w = &a->wait;

    if (run < 0 && run != -SMX_E_TIMEOUT)
        return failed(a, (enum smx_code) - run, "given up", err);
    if (!a->sent && (run < 0 || w->result != CURLE_OK))
        return fetch_unreached(a->req->url, run < 0 ? CURLE_OPERATION_TIMEDOUT : w->result, w, err);
    if (run < 0)
        return failed(a, SMX_E_TIMEOUT, "it took too long to answer", err);
    if (a->refused)
        return failed(a, SMX_E_PROTOCOL, a->refused, err);
    if (w->result != CURLE_OK)
        return failed(
            a, code_of(w->result), w->message[0] ? w->message : curl_easy_strerror(w->result), err);
    if (!head_is_whole(a->reply))
        return failed(a, SMX_E_CLOSED, "the connection was closed within the reply's head", err);
    return 0;
}

static void read_result(CURL *easy, struct attempt *a)
{
    const char *type = NULL;
    long status = 0, sent = 0;
    size_t n = 0;

    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    a->sent = sent > 0;
    a->reply->status = (int)status;
    for (; type && type[n] && type[n] != ';' && n + 1 < sizeof a->reply->type; n++)
        a->reply->type[n] = (char)tolower((unsigned char)type[n]);
    while (n > 0 && a->reply->type[n - 1] == ' ')
        n--;
    a->reply->type[n] = '\0';
}

static int attempt(struct fetch *f, struct attempt *a, uint64_t deadline, struct smx_err *err)
{
    struct curl_slist *fields = NULL;
    CURL *easy = fetch_easy_get(f);
    int r, run;

    if (!easy)
        return smx_err_oom(err);
    smx_buf_reset(&a->reply->body);
    smx_buf_reset(&a->reply->head);
    r = set_up(f, easy, a, &fields, err);
    if (r == 0) {
        run = fetch_run(&f->calls, easy, &a->wait, /* keep= */ false, deadline, err);
        read_result(easy, a);
        r = judge(easy, a, run, err);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    fetch_easy_put(f, easy);
    curl_slist_free_all(fields);
    return r;
}

/* --- sending again ------------------------------------------------------------------------- */

bool fetch_field(const struct fetch_reply *r, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    const char *p = r->head.data, *end;

    for (; p && (end = strchr(p, '\n')); p = end + 1) {
        const char *from = p + n + 1, *to = end;

        if (strncasecmp(p, name, n) != 0 || p[n] != ':')
            continue;
        while (from < to && (*from == ' ' || *from == '\t'))
            from++;
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
        return smx_view_copy(out, size, (struct smx_view){ from, (size_t)(to - from) });
    }
    return false;
}

static bool retry_after(const struct fetch_reply *r, uint64_t *ret_ms)
{
    char text[24];
    uint64_t s;

    if (!fetch_field(r, "Retry-After", text, sizeof text) ||
        !smx_parse_u64(smx_view_of(text), RETRY_AFTER_MAX_S, &s))
        return false;
    *ret_ms = s * 1000;
    return true;
}

/* May it be sent again after result r, and how long is the wait at least? */
static bool again(
    const struct fetch_request *req, const struct fetch_reply *reply, int r, uint64_t *ret_ms)
{
    int s = reply->status;

    *ret_ms = 0;
    if (r == -SMX_E_UNAVAILABLE)
        return true;
    if (r < 0)
        return req->repeatable && r == -SMX_E_CLOSED;
    if ((s == 429 || s == 503) && retry_after(reply, ret_ms))
        return true;
    return req->repeatable && (s == 429 || s == 502 || s == 503 || s == 504);
}

/* Doubling, and by half at random, so that many who failed together do not come back together. */
static uint64_t distance_ms(unsigned attempts)
{
    uint64_t full = SMX_MIN((uint64_t)BACKOFF_MS << attempts, (uint64_t)BACKOFF_MAX_MS);

    return full / 2 + smx_random_u64() % (full / 2 + 1);
}

int fetch_call(struct fetch *f, const struct fetch_request *req, struct fetch_reply *ret,
    uint64_t deadline, struct smx_err *err)
{
    memset(ret, 0, sizeof *ret);
    smx_buf_init(&ret->body, req->reply_max);
    smx_buf_init(&ret->head, FETCH_HEAD_MAX);
    for (;;) {
        struct attempt a = { .req = req, .reply = ret };
        int r = attempt(f, &a, deadline, err);
        uint64_t wait_ms, until;

        ret->attempts++;
        if (req->once || ret->attempts >= FETCH_ATTEMPTS || !again(req, ret, r, &wait_ms))
            return r;
        until = smx_deadline_in_ms(wait_ms + distance_ms(ret->attempts));
        if (until >= deadline || io_sleep_until(until) < 0)
            return r;
    }
}

void fetch_reply_done(struct fetch_reply *r)
{
    smx_buf_done(&r->body);
    smx_buf_done(&r->head);
}
