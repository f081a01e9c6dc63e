/* bench.h - clock, percentiles and the one line of JSON that bench programs print. */
#ifndef SMX_BENCH_H
#define SMX_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double bench_now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static inline long bench_number(const char *text)
{
    char *end;
    long v = strtol(text, &end, 10);

    if (*end || v < 1) {
        fprintf(stderr, "'%s' is not a positive number\n", text);
        exit(2);
    }
    return v;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static inline double bench_percentile(const double *sorted, size_t n, double p)
{
    return n ? sorted[(size_t)((double)(n - 1) * p)] : 0;
}

static inline void bench_print(double *samples, size_t n, size_t errors, double elapsed_us)
{
    qsort(samples, n, sizeof *samples, bench_compare);
    printf("{\"n\": %zu, \"errors\": %zu, \"p50_us\": %.1f, \"p95_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f, \"rate\": %.1f}\n",
        n, errors, bench_percentile(samples, n, 0.5), bench_percentile(samples, n, 0.95),
        bench_percentile(samples, n, 0.99), bench_percentile(samples, n, 1),
        elapsed_us > 0 ? (double)n * 1e6 / elapsed_us : 0);
}

#endif
