/* sample.c - what sandboxes use, seen every few seconds: a short history of each in memory, in a
 * ring that grows from nothing to SANDBOX_SAMPLES. Looking costs a bounded share of the machine:
 * BUDGET sandboxes a second in turn, so with many the samples are further apart. Looking is no use:
 * it extends no lifetime.
 *
 * Only runtimes that can be asked cheaply are looked at by themselves; a sandbox of another one has
 * the samples that were asked for. */
#include "core/internal.h"

enum { TICK_MS = 1000, BUDGET = 40, FRESH_MS = 1000, SAMPLE_TIMEOUT_MS = 2000, ROOM_FIRST = 8 };

struct kept {
    int64_t unix_ms;
    uint64_t memory_bytes, disk_bytes;
    float cpu_pct;
};

void samples_done(struct samples *s)
{
    smx_free(s->v);
}

static bool make_room(struct samples *s)
{
    size_t room = s->room ? 2 * s->room : ROOM_FIRST;
    struct kept *v;

    if (s->n < s->room || s->room == SANDBOX_SAMPLES)
        return true;
    v = smx_alloc_array(room, sizeof *v);
    if (!v)
        return s->room > 0;
    for (size_t i = 0; i < s->n; i++)
        v[i] = s->v[(s->first + i) % s->room];
    smx_free(s->v);
    s->v = v;
    s->room = room;
    s->first = 0;
    return true;
}

/* Of all its cores since the last look, in percent. A restart begins at 0 again. */
static float cpu_since(const struct sbx *b, const struct provider_stats *st, int64_t now_ms)
{
    const struct samples *s = &b->samples;
    double cores = st->cpu_limit > 0 ? st->cpu_limit : b->pub.resources.cpu;
    int64_t begun = s->at_unix_ms ? s->at_unix_ms : b->pub.created_unix_ms;
    uint64_t used = st->cpu_ns >= s->cpu_ns ? st->cpu_ns - s->cpu_ns : st->cpu_ns;

    if (now_ms <= begun || !(cores > 0))
        return 0;
    return (float)((double)used / 1e6 / (double)(now_ms - begun) / cores * 100);
}

void samples_keep(struct sbx *b, const struct provider_stats *st)
{
    struct samples *s = &b->samples;
    int64_t now = smx_now_unix_ms();
    float cpu = st->brief ? (float)st->cpu_pct : cpu_since(b, st, now);

    s->cpu_ns = st->cpu_ns;
    s->at_unix_ms = now;
    if (!make_room(s))
        return;
    if (s->n == s->room) {
        s->first = (s->first + 1) % s->room;
        s->n--;
    }
    s->v[(s->first + s->n++) % s->room] = (struct kept){ .unix_ms = now,
        .memory_bytes = st->memory_bytes,
        .disk_bytes = st->disk_bytes,
        .cpu_pct = cpu };
}

/* One look; its box stays meanwhile, also when the sandbox goes. asked: somebody wants to know, so
 * that it may cost what it costs. */
static int look(struct sbx *b, bool asked, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(SAMPLE_TIMEOUT_MS);
    struct provider_stats st = { 0 };
    struct provider_box *box;
    int r;

    if (b->pub.state != SANDBOX_RUNNING || !b->box || b->detach || b->sampling)
        return 0;
    r = sandbox_hold_begin(&b->pub, &box, err);
    if (r < 0)
        return r;
    b->sampling = true;
    r = provider_sample(box, &st, deadline, err);
    if (r == -SMX_E_UNSUPPORTED && asked)
        r = provider_stats(box, &st, deadline, err);
    b->sampling = false;
    if (r == 0)
        samples_keep(b, &st);
    sandbox_hold_end(&b->pub);
    return r;
}

int sandbox_sample(struct sandbox *sb, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);

    if (smx_now_unix_ms() - b->samples.at_unix_ms < FRESH_MS)
        return 0;
    return look(b, /* asked= */ true, err);
}

size_t sandbox_samples(const struct sandbox *sb, int64_t from_unix_ms, int64_t to_unix_ms,
    struct sandbox_sample *ret, size_t n)
{
    const struct samples *s = &sbx_of_const(sb)->samples;
    size_t found = 0;

    for (size_t i = 0; i < s->n && found < n; i++) {
        const struct kept *k = &s->v[(s->first + i) % s->room];

        if (k->unix_ms >= from_unix_ms && k->unix_ms <= to_unix_ms)
            ret[found++] = (struct sandbox_sample){ .unix_ms = k->unix_ms,
                .cpu_pct = (double)k->cpu_pct,
                .memory_bytes = k->memory_bytes,
                .disk_bytes = k->disk_bytes };
    }
    return found;
}

/* --- in turn ---------------------------------------------------------------------------------- */

static bool is_due(const struct sbx *b, int64_t now)
{
    return b->pub.state == SANDBOX_RUNNING && b->box && !b->sampling && !b->rt->no_samples &&
           now - b->samples.at_unix_ms >= SANDBOX_SAMPLE_MS - TICK_MS / 2;
}

/* The next ones after the cursor that are due, each with a reference. */
static size_t choose(struct core *c, struct sbx *v[BUDGET])
{
    int64_t now = smx_now_unix_ms();
    size_t n = 0;

    for (int round = 0; round < 2; round++) {
        SMX_LIST_FOREACH(it, &c->all) {
            struct sbx *b = SMX_LIST_ENTRY(it, struct sbx, all);
            bool behind = b->pub.serial > c->sampled_last;

            if (n == BUDGET)
                return n;
            if (behind == (round == 0) && is_due(b, now)) {
                sandbox_ref(&b->pub);
                v[n++] = b;
            }
        }
    }
    return n;
}

static void sample_some(struct core *c)
{
    struct sbx *v[BUDGET];
    size_t n = choose(c, v);

    for (size_t i = 0; i < n; i++) {
        struct smx_err err = { 0 };

        if (!c->closing && look(v[i], /* asked= */ false, &err) == -SMX_E_UNSUPPORTED)
            v[i]->rt->no_samples = true;
        c->sampled_last = v[i]->pub.serial;
        sandbox_unref(&v[i]->pub);
    }
}

void samples_fiber(void *arg)
{
    struct core *c = arg;

    while (!c->closing && io_event_wait(&c->stop, smx_deadline_in_ms(TICK_MS)) == -SMX_E_TIMEOUT)
        sample_some(c);
}
