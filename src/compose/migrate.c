/* migrate.c - a twin is made on the other runtime, the files go over through a bounded pipe between
 * two fibers, both sides are compared, the two exchange machines (core/move.c), the twin goes with
 * the old machine. A twin that a crash left behind is removed at the next start. */
#include "compose/migrate.h"

#include "base/log.h"
#include "compose/archive.h"
#include "compose/internal.h"

enum { PIPE_BYTES = 1024 * 1024, TWIN_LIFETIME_S = 3600 };

static char twin_key[] = "sandmux_twin_of";
static const char *const paths[] = { "/workspace", "/home", "/root", SESSION_DIR, NULL };

/* --- the pipe between the two fibers ---------------------------------------------------------- */

struct pipe {
    struct smx_buf buf;
    struct io_event readable, writable, over;
    struct provider_box *from;
    struct smx_err err; /* of the saving side */
    int result;
    bool saved, broken; /* broken: nobody reads on */
};

static int put(void *arg, const void *data, size_t n)
{
    struct pipe *p = arg;

    while (p->buf.len > 0 && p->buf.len + n > PIPE_BYTES && !p->broken) {
        io_event_clear(&p->writable);
        io_event_wait(&p->writable, SMX_FOREVER);
    }
    if (p->broken)
        return -SMX_E_CANCELLED;
    if (smx_buf_append(&p->buf, data, n) < 0)
        return -SMX_E_NO_MEMORY;
    io_event_set(&p->readable);
    return 0;
}

static void save_run(void *arg)
{
    struct pipe *p = arg;

    p->result = archive_save(p->from, paths, put, p, /* ret_changed= */ NULL, &p->err);
    p->saved = true;
    io_event_set(&p->readable);
    io_event_set(&p->over);
}

static ssize_t get(void *arg, void *data, size_t n, struct smx_err *err)
{
    struct pipe *p = arg;

    while (p->buf.len == 0 && !p->saved) {
        io_event_clear(&p->readable);
        io_event_wait(&p->readable, SMX_FOREVER);
    }
    if (p->buf.len == 0 && p->result < 0) {
        *err = p->err;
        return p->result;
    }
    n = SMX_MIN(n, p->buf.len);
    memcpy(data, p->buf.data, n);
    smx_buf_consume(&p->buf, n);
    io_event_set(&p->writable);
    return (ssize_t)n;
}

static int copy(struct provider_box *from, struct provider_box *to, struct smx_err *err)
{
    struct pipe p = { .from = from };
    uint64_t bytes;
    int r;

    smx_buf_init(&p.buf, 8 * PIPE_BYTES);
    io_event_init(&p.readable);
    io_event_init(&p.writable);
    io_event_init(&p.over);
    r = io_fiber_spawn(io_loop_self(), "migrate", save_run, &p, /* ret_fiber= */ NULL, err);
    if (r == 0) {
        r = archive_load(to, get, &p, &bytes, err);
        p.broken = true;
        io_event_set(&p.writable);
        io_event_wait(&p.over, SMX_FOREVER);
    }
    smx_buf_done(&p.buf);
    return r;
}

static int compare(struct provider_box *from, struct provider_box *to, struct smx_err *err)
{
    char there[ARCHIVE_DIGEST_SIZE], here[ARCHIVE_DIGEST_SIZE];
    int r = archive_digest(from, paths, here, err);

    if (r == 0)
        r = archive_digest(to, paths, there, err);
    if (r == 0 && !smx_streq(here, there))
        r = smx_err_set(err, SMX_E_STATE,
            "the copy differs from the original: something in the sandbox writes to its files; end "
            "it and try again");
    return r;
}

/* --- steps ------------------------------------------------------------------------------------ */

static int make_twin(struct compose *c, struct sandbox *sb, const struct migrate_spec *spec,
    struct sandbox **ret, struct smx_err *err)
{
    struct json_pair note = { twin_key, sb->id };
    struct core_create_spec twin = { .template = spec->template ? spec->template : sb->template,
        .runtime = spec->runtime,
        .project_id = sb->project_id,
        .metadata = &note,
        .n_metadata = 1,
        .has_timeout = true,
        .timeout_s = TWIN_LIFETIME_S,
        .machine_id = sb->id };

    twin.env = sandbox_env(sb, &twin.n_env);
    return core_create(c->core, &twin, ret, err);
}

static int move_files(struct sandbox *from, struct sandbox *to, struct smx_err *err)
{
    struct provider_box *box, *twin_box;
    int r = sandbox_hold_begin(from, &box, err);

    if (r < 0)
        return r;
    r = sandbox_hold_begin(to, &twin_box, err);
    if (r == 0) {
        r = copy(box, twin_box, err);
        if (r == 0)
            r = compare(box, twin_box, err);
        sandbox_hold_end(to);
    }
    sandbox_hold_end(from);
    return r;
}

static void remove_twin(struct sandbox *twin)
{
    struct smx_err err = { 0 };

    if (sandbox_delete(twin, &err) < 0)
        smx_warn("what a migration left on '%s' will be removed later: %s", twin->runtime, err.msg);
}

static int migrate(
    struct compose *c, struct sandbox *sb, const struct migrate_spec *spec, struct smx_err *err)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *twin = NULL;
    int r = sandbox_close_door(sb, "is being moved to another runtime", err);

    if (r < 0)
        return r;
    sessions_leave(c, sb);
    r = make_twin(c, sb, spec, &twin, err);
    if (r == 0)
        r = sandbox_close_door(twin, "is part of a migration", err);
    if (r == 0)
        r = move_files(sb, twin, err);
    if (r == 0)
        r = sandbox_exchange(sb, twin, err);
    sandbox_open_again(sb);
    if (twin)
        remove_twin(twin);
    return r;
}

int sandbox_migrate(
    struct compose *c, struct sandbox *sb, const struct migrate_spec *spec, struct smx_err *err)
{
    struct core_runtime rt;
    int r = core_runtime_get(c->core, spec->runtime, &rt, err);

    if (r < 0)
        return r;
    if (smx_streq(sb->runtime, rt.name))
        return smx_err_set(
            err, SMX_E_INVALID, "runtime: sandbox '%s' is on '%s' already", sb->id, rt.name);
    if (!rt.configured)
        return smx_err_set(
            err, SMX_E_NOT_CONFIGURED, "Runtime '%s' is not properly configured", rt.name);
    sandbox_ref(sb);
    io_shield_begin(); /* whoever waits for it: half a migration is none */
    r = migrate(c, sb, spec, err);
    io_shield_end();
    sandbox_unref(sb);
    return r;
}

/* --- after a crash ---------------------------------------------------------------------------- */

static bool find_twin(struct sandbox *sb, void *arg)
{
    struct sandbox **ret = arg;

    for (size_t i = 0; i < sb->n_metadata; i++)
        if (smx_streq(sb->metadata[i].key, twin_key))
            *ret = sandbox_ref(sb);
    return !*ret;
}

/* One that cannot be removed now ends with its lifetime. False: there is none, or no more can be
 * done. */
static bool sweep_one(struct compose *c)
{
    SMX_CLEANUP(sandbox_unrefp) struct sandbox *twin = NULL;
    struct smx_err err = { 0 };

    core_each(c->core, find_twin, &twin);
    if (!twin)
        return false;
    smx_info(
        "removing what an interrupted migration left: sandbox %s on '%s'", twin->id, twin->runtime);
    return sandbox_delete(twin, &err) == 0;
}

void migrations_sweep(void *arg)
{
    struct compose *c = arg;

    while (sweep_one(c))
        continue;
    c->sweeper = NULL;
    io_event_set(&c->swept);
}
