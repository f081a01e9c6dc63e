/* metrics.c - a registry of counters, gauges and histograms and its text form. Families and series
 * are never removed, so callers may keep pointers to them. One thread. */
#include "core/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

static const double bounds[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60 };
enum { BOUNDS = SMX_ARRAY_LEN(bounds), KEY_MAX = 512 };

enum kind { COUNTER, GAUGE, HISTOGRAM };
static const char *const kind_names[] = { "counter", "gauge", "histogram" };

struct metrics_series {
    struct smx_list link;
    enum kind kind;
    char *key; /* k1="v1",k2="v2": what stands between the braces */
    double value;
    uint64_t count;
    uint64_t bucket[]; /* BOUNDS of them for a histogram, not cumulative */
};

struct metrics_family {
    struct smx_list link;
    const char *name, *help;
    const char *const *labels;
    size_t n_labels;
    enum kind kind;
    struct smx_map by_key;
    struct smx_list series;
};

struct collector {
    struct smx_list link;
    void (*fn)(void *ctx);
    void *ctx;
};

struct metrics {
    struct smx_map by_name;
    struct smx_list families, collectors;
};

int metrics_new(struct metrics **ret, struct smx_err *err)
{
    struct metrics *m = smx_alloc(sizeof *m);

    if (!m)
        return smx_err_oom(err);
    smx_map_init(&m->by_name);
    smx_list_init(&m->families);
    smx_list_init(&m->collectors);
    *ret = m;
    return 0;
}

static void family_free(struct metrics_family *f)
{
    SMX_LIST_FOREACH_SAFE(it, &f->series) {
        struct metrics_series *s = SMX_LIST_ENTRY(it, struct metrics_series, link);

        smx_free(s->key);
        smx_free(s);
    }
    smx_map_done(&f->by_key);
    smx_free(f);
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    SMX_LIST_FOREACH_SAFE(it, &m->families)
        family_free(SMX_LIST_ENTRY(it, struct metrics_family, link));
    SMX_LIST_FOREACH_SAFE(it, &m->collectors)
        smx_free(SMX_LIST_ENTRY(it, struct collector, link));
    smx_map_done(&m->by_name);
    smx_free(m);
}

static struct metrics_family *family(struct metrics *m, enum kind kind, const char *name,
    const char *help, const char *const *labels)
{
    struct metrics_family *f = smx_map_get(&m->by_name, name);

    if (f) {
        assert(f->kind == kind);
        return f;
    }
    f = smx_alloc(sizeof *f);
    if (!f)
        return NULL;
    *f = (struct metrics_family){ .name = name, .help = help, .labels = labels, .kind = kind };
    while (labels && labels[f->n_labels])
        f->n_labels++;
    assert(f->n_labels <= METRICS_LABELS_MAX);
    smx_map_init(&f->by_key);
    smx_list_init(&f->series);
    if (smx_map_put(&m->by_name, name, f) < 0) {
        family_free(f);
        return NULL;
    }
    smx_list_add(&m->families, &f->link);
    return f;
}

struct metrics_family *metrics_counter(
    struct metrics *m, const char *name, const char *help, const char *const *labels)
{
    assert(smx_ends(name, "_total"));
    return family(m, COUNTER, name, help, labels);
}

struct metrics_family *metrics_gauge(
    struct metrics *m, const char *name, const char *help, const char *const *labels)
{
    return family(m, GAUGE, name, help, labels);
}

struct metrics_family *metrics_histogram(
    struct metrics *m, const char *name, const char *help, const char *const *labels)
{
    return family(m, HISTOGRAM, name, help, labels);
}

/* A label's value with backslash, quote and newline escaped; cut where room ends. */
static size_t put_value(char *out, size_t room, const char *v)
{
    size_t n = 0;

    for (; *v && n + 3 < room; v++) {
        if (*v == '\\' || *v == '"' || *v == '\n')
            out[n++] = '\\';
        out[n++] = *v == '\n' ? 'n' : *v;
    }
    out[n] = '\0';
    return n;
}

static void make_key(const struct metrics_family *f, const char *const *values, char key[KEY_MAX])
{
    size_t n = 0;

    key[0] = '\0';
    for (size_t i = 0; i < f->n_labels && n + 80 < KEY_MAX; i++) {
        n += (size_t)snprintf(key + n, KEY_MAX - n, "%s%.40s=\"", i ? "," : "", f->labels[i]);
        n += put_value(key + n, SMX_MIN((size_t)96, KEY_MAX - n - 2), values ? values[i] : "other");
        key[n++] = '"';
        key[n] = '\0';
    }
}

struct metrics_series *metrics_series(struct metrics_family *f, const char *const *values)
{
    char key[KEY_MAX];
    struct metrics_series *s;

    if (!f)
        return NULL;
    make_key(f, values, key);
    s = smx_map_get(&f->by_key, key);
    if (s)
        return s;
    if (values && f->by_key.count >= METRICS_SERIES_MAX)
        return metrics_series(f, /* values= */ NULL);
    s = smx_alloc(sizeof *s + (f->kind == HISTOGRAM ? sizeof(uint64_t) * BOUNDS : 0));
    if (!s)
        return NULL;
    s->kind = f->kind;
    s->key = smx_strdup(key);
    if (!s->key || smx_map_put(&f->by_key, s->key, s) < 0) {
        smx_free(s->key);
        smx_free(s);
        return NULL;
    }
    smx_list_add(&f->series, &s->link);
    return s;
}

void metrics_add(struct metrics_series *s, double v)
{
    if (s)
        s->value += v;
}

void metrics_set(struct metrics_series *s, double v)
{
    if (s)
        s->value = v;
}

void metrics_observe(struct metrics_series *s, double v)
{
    size_t i = 0;

    if (!s)
        return;
    while (i < BOUNDS && v > bounds[i])
        i++;
    if (i < BOUNDS)
        s->bucket[i]++;
    s->count++;
    s->value += v;
}

double metrics_value(const struct metrics_series *s)
{
    if (!s)
        return 0;
    return s->kind == HISTOGRAM ? (double)s->count : s->value;
}

int metrics_on_collect(struct metrics *m, void (*fn)(void *ctx), void *ctx)
{
    struct collector *c = smx_alloc(sizeof *c);

    if (!c)
        return -SMX_E_NO_MEMORY;
    c->fn = fn;
    c->ctx = ctx;
    smx_list_add(&m->collectors, &c->link);
    return 0;
}

static void write_number(struct smx_buf *out, double v)
{
    if (v == floor(v) && fabs(v) < 1e15)
        smx_buf_appendf(out, "%.0f\n", v);
    else
        smx_buf_appendf(out, "%.9g\n", v);
}

static void write_histogram(
    struct smx_buf *out, const struct metrics_family *f, const struct metrics_series *s)
{
    const char *comma = *s->key ? "," : "";
    uint64_t sum = 0;

    for (size_t i = 0; i < BOUNDS; i++) {
        sum += s->bucket[i];
        smx_buf_appendf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", f->name, s->key, comma, bounds[i],
            (unsigned long long)sum);
    }
    smx_buf_appendf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", f->name, s->key, comma,
        (unsigned long long)s->count);
    smx_buf_appendf(out, "%s_sum%s%s%s ", f->name, *s->key ? "{" : "", s->key, *s->key ? "}" : "");
    write_number(out, s->value);
    smx_buf_appendf(out, "%s_count%s%s%s %llu\n", f->name, *s->key ? "{" : "", s->key,
        *s->key ? "}" : "", (unsigned long long)s->count);
}

static void write_family(struct smx_buf *out, const struct metrics_family *f)
{
    if (smx_list_empty(&f->series))
        return;
    smx_buf_appendf(
        out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, kind_names[f->kind]);
    SMX_LIST_FOREACH(it, &f->series) {
        const struct metrics_series *s = SMX_LIST_ENTRY(it, struct metrics_series, link);

        if (f->kind == HISTOGRAM) {
            write_histogram(out, f, s);
            continue;
        }
        smx_buf_appendf(out, "%s%s%s%s ", f->name, *s->key ? "{" : "", s->key, *s->key ? "}" : "");
        write_number(out, s->value);
    }
}

int metrics_write(struct metrics *m, struct smx_buf *out)
{
    SMX_LIST_FOREACH(it, &m->collectors) {
        struct collector *c = SMX_LIST_ENTRY(it, struct collector, link);

        c->fn(c->ctx);
    }
    SMX_LIST_FOREACH(it, &m->families)
        write_family(out, SMX_LIST_ENTRY(it, struct metrics_family, link));
    return smx_buf_check(out, NULL);
}
