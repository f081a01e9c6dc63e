/* fetch.c - one call of src/fetch beside the same call with libcurl's easy interface, over a kept
 * connection each, taken in turn. Usage: fetch URL N [FIELD...]; one line of JSON, medians. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fetch/fetch.h"

enum { MAX = 100000, REPLY_MAX = 4 * 1024 * 1024 };

struct run {
    const char *url;
    const char *const *fields;
    size_t n;
    CURL *easy;
    uint64_t *ours, *theirs;
    int failed;
};

static size_t drop(char *data, size_t size, size_t n, void *ctx)
{
    return size * n;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double median_us(uint64_t *v, size_t n)
{
    qsort(v, n, sizeof *v, compare);
    return (double)v[n / 2] / 1000;
}

static uint64_t ours(struct fetch *f, struct run *r)
{
    SMX_CLEANUP(fetch_reply_done) struct fetch_reply reply = { 0 };
    struct fetch_request req = { .method = "GET",
        .url = r->url,
        .fields = r->fields,
        .reply_max = REPLY_MAX,
        .repeatable = true };
    struct smx_err err = { 0 };
    uint64_t begun = smx_now_ns();

    if (fetch_call(f, &req, &reply, smx_deadline_in_ms(10000), &err) < 0 || reply.status != 200)
        r->failed++;
    return smx_now_ns() - begun;
}

static uint64_t theirs(struct run *r)
{
    uint64_t begun = smx_now_ns();

    r->failed += curl_easy_perform(r->easy) != CURLE_OK;
    return smx_now_ns() - begun;
}

static void measure(void *arg)
{
    struct fetch_config cfg = { .via = "bench" };
    struct run *r = arg;
    struct smx_err err = { 0 };
    struct fetch *f = NULL;

    if (fetch_new(&cfg, &f, &err) < 0) {
        r->failed++;
        return;
    }
    ours(f, r);
    theirs(r);
    for (size_t i = 0; i < r->n; i++) {
        r->ours[i] = ours(f, r);
        r->theirs[i] = theirs(r);
    }
    fetch_free(f);
}

int main(int argc, char **argv)
{
    struct run r = { .url = argc > 2 ? argv[1] : NULL,
        .n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0,
        .fields = argc > 3 ? (const char *const *)argv + 3 : NULL };
    struct curl_slist *fields = NULL;
    struct io_loop *loop = NULL;
    struct smx_err err = { 0 };

    if (!r.url || r.n == 0 || r.n > MAX) {
        fprintf(stderr, "usage: fetch URL N [FIELD...]\n");
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    r.easy = curl_easy_init();
    r.ours = smx_alloc_array(r.n, sizeof *r.ours);
    r.theirs = smx_alloc_array(r.n, sizeof *r.theirs);
    for (int i = 3; i < argc; i++)
        fields = curl_slist_append(fields, argv[i]);
    fields = curl_slist_append(fields, "User-Agent: sandmux/" SMX_VERSION); /* the same request */
    fields = curl_slist_append(fields, "Accept: application/json");
    fields = curl_slist_append(fields, "Sandmux-Via: bench");
    curl_easy_setopt(r.easy, CURLOPT_URL, r.url);
    curl_easy_setopt(r.easy, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(r.easy, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(r.easy, CURLOPT_NOSIGNAL, 1L);
    if (!r.ours || !r.theirs || io_loop_new(&loop, &err) < 0 ||
        io_fiber_spawn(loop, "measure", measure, &r, /* ret_fiber= */ NULL, &err) < 0 ||
        io_loop_run(loop, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("{\"ours_us\": %.1f, \"curl_us\": %.1f, \"failed\": %d}\n", median_us(r.ours, r.n),
        median_us(r.theirs, r.n), r.failed);
    io_loop_free(loop);
    curl_easy_cleanup(r.easy);
    curl_slist_free_all(fields);
    smx_free(r.ours);
    smx_free(r.theirs);
    return r.failed ? 1 : 0;
}
