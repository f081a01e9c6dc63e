/* metrics.h - counters, gauges and histograms with labels, and the Prometheus text form of them
 * (clean under `promtool check metrics`). One registry, one thread. A series is found once and kept
 * by the caller where it is hot; memory is bounded: past METRICS_SERIES_MAX label sets of a family,
 * observations go to one series whose labels are all "other". */
#ifndef SMX_CORE_METRICS_H
#define SMX_CORE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

enum { METRICS_LABELS_MAX = 4, METRICS_SERIES_MAX = 256 };

struct metrics;
struct metrics_family;
struct metrics_series;

int metrics_new(struct metrics **ret, struct smx_err *err);
void metrics_free(struct metrics *m);
SMX_DEFINE_CLEANUP(struct metrics, metrics_free)

/* Declares a family; names, help and labels (NULL-terminated array) are static strings. The same
 * name again gives the same family. Counters are named *_total; NULL when memory is short: all
 * calls below accept a NULL family or series and do nothing. */
struct metrics_family *metrics_counter(
    struct metrics *m, const char *name, const char *help, const char *const *labels);
struct metrics_family *metrics_gauge(
    struct metrics *m, const char *name, const char *help, const char *const *labels);
/* Latencies in seconds: buckets from 100 us to 60 s. */
struct metrics_family *metrics_histogram(
    struct metrics *m, const char *name, const char *help, const char *const *labels);

/* The series of those label values (as many as labels; NULL for a family without). */
struct metrics_series *metrics_series(struct metrics_family *f, const char *const *values);
void metrics_add(
    struct metrics_series *s, double v); /* counter, gauge; v may be negative for a gauge */
void metrics_set(struct metrics_series *s, double v);     /* gauge */
void metrics_observe(struct metrics_series *s, double v); /* histogram, seconds */
double metrics_value(const struct metrics_series *s);     /* counter, gauge; histograms: count */

/* Called before each exposition, to set gauges that are read rather than kept. */
int metrics_on_collect(struct metrics *m, void (*fn)(void *ctx), void *ctx);
int metrics_write(struct metrics *m, struct smx_buf *out);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
