/* keep.c - lifetimes at E2B. Every sandbox has a time out there, so that all end when we are gone
 * for good. It is asked for in chunks of at most an hour, which every plan allows; the keeper asks
 * again while a sandbox is to live longer than E2B knows. */
#include "providers/e2b/internal.h"

#include <stdio.h>

#include "base/log.h"

enum { CALL_MS = 20000, ROUNDS_A_CHUNK = 4, SOON_MS = 1000, RETRY_MS = 30000 };

/* --- fibers of ours ------------------------------------------------------------------------ */

int e2b_task(struct e2b *e, const char *name, io_fiber_fn *fn, void *arg)
{
    return io_tasks_start(&e->tasks, e->loop, name, fn, arg);
}

void e2b_tasks_end(struct e2b *e)
{
    e->closing = true;
    io_timer_disarm(&e->keep);
    io_tasks_end(&e->tasks);
}

/* --- time outs ----------------------------------------------------------------------------- */

int64_t e2b_timeout_s(struct e2b *e, int64_t expires_unix_ms)
{
    int64_t left = (expires_unix_ms - smx_now_unix_ms() + 999) / 1000;

    if (expires_unix_ms == 0 || left > (int64_t)e->chunk_s)
        return (int64_t)e->chunk_s;
    return left > 0 ? left : 1;
}

static bool lives_longer(const struct provider_box *box)
{
    return box->running && (box->never || box->wanted_unix_ms > box->armed_unix_ms);
}

static bool is_due(const struct provider_box *box)
{
    int64_t half = (int64_t)box->e->chunk_s * 1000 / 2;

    return lives_longer(box) && box->armed_unix_ms - smx_now_unix_ms() < half;
}

static void arm_keeper(struct e2b *e, uint64_t ms)
{
    if (!e->keeping && !e->closing && e->keep.heap_index == SIZE_MAX &&
        io_timer_arm(&e->keep, e->loop, smx_deadline_in_ms(ms)) < 0)
        smx_error("no memory to keep sandboxes at E2B alive");
}

static uint64_t round_ms(const struct e2b *e)
{
    return e->chunk_s * 1000 / ROUNDS_A_CHUNK;
}

void e2b_attached(struct provider_box *box, int64_t expires_unix_ms)
{
    box->never = expires_unix_ms == 0;
    box->wanted_unix_ms = expires_unix_ms;
    box->armed_unix_ms = 0; /* whatever E2B knows: it is told anew */
    io_timer_disarm(&box->e->keep);
    arm_keeper(box->e, SMX_MIN((uint64_t)SOON_MS, round_ms(box->e)));
}

void e2b_armed(struct provider_box *box, int64_t expires_unix_ms)
{
    box->never = expires_unix_ms == 0;
    box->wanted_unix_ms = expires_unix_ms;
    box->armed_unix_ms = smx_now_unix_ms() + 1000 * e2b_timeout_s(box->e, expires_unix_ms);
    if (lives_longer(box))
        arm_keeper(box->e, round_ms(box->e));
}

static int ask(
    struct e2b *e, const char *id, int64_t timeout_s, uint64_t deadline, struct smx_err *err)
{
    struct e2b_timeout req = { .timeout = timeout_s };
    char path[PROVIDER_ID_MAX + 32];
    struct e2b_call call = {
        .method = "POST", .path = path, .body_table = &e2b_timeout_table, .body = &req
    };

    snprintf(path, sizeof path, "/sandboxes/%s/timeout", id);
    return e2b_call(e, &call, deadline, err);
}

/* One that is paused has no end there, and E2B says that it does not run; it may have been resumed
 * behind our back. */
int e2b_set_deadline(
    struct provider_box *box, int64_t expires_unix_ms, uint64_t deadline, struct smx_err *err)
{
    int r = ask(box->e, box->id, e2b_timeout_s(box->e, expires_unix_ms), deadline, err);

    if (r == -SMX_E_SANDBOX_NOT_FOUND && !box->running)
        r = 0;
    else if (r == 0)
        box->running = true;
    if (r == 0)
        e2b_armed(box, expires_unix_ms);
    return r;
}

/* --- the keeper ---------------------------------------------------------------------------- */

static struct provider_box *find(struct e2b *e, const char *id)
{
    SMX_LIST_FOREACH(it, &e->boxes) {
        struct provider_box *box = SMX_LIST_ENTRY(it, struct provider_box, all);

        if (id ? smx_streq(box->id, id) : is_due(box))
            return box;
    }
    return NULL;
}

/* The box may go while E2B is asked. False: no use going on now. */
static bool extend(struct e2b *e, const struct provider_box *due)
{
    char id[PROVIDER_ID_MAX + 1];
    int64_t wanted = due->never ? 0 : due->wanted_unix_ms;
    struct smx_err err = { 0 };
    struct provider_box *box;
    int r;

    smx_strcpy(id, sizeof id, due->id);
    r = ask(e, id, e2b_timeout_s(e, wanted), smx_deadline_in_ms(CALL_MS), &err);
    box = find(e, id);
    if (r < 0)
        smx_warn("the time out of sandbox '%s' at E2B was not extended: %s", id, err.msg);
    if (box && r == 0) {
        e2b_armed(box, box->never ? 0 : box->wanted_unix_ms);
    } else if (box && r == -SMX_E_SANDBOX_NOT_FOUND) {
        box->running = false;
        box->envd.missing(&box->envd);
    }
    return r == 0 || r == -SMX_E_SANDBOX_NOT_FOUND;
}

static void keep(void *arg)
{
    struct e2b *e = arg;
    struct provider_box *due;
    bool more = false, well = true;

    while (!e->closing && well && (due = find(e, NULL)))
        well = extend(e, due);
    e->keeping = false;
    SMX_LIST_FOREACH(it, &e->boxes)
        more |= lives_longer(SMX_LIST_ENTRY(it, struct provider_box, all));
    if (more)
        arm_keeper(e, well ? round_ms(e) : SMX_MIN((uint64_t)RETRY_MS, round_ms(e)));
}

static void on_timer(void *arg)
{
    struct e2b *e = arg;

    e->keeping = true;
    if (e2b_task(e, "e2b keeper", keep, e) == 0)
        return;
    e->keeping = false;
    arm_keeper(e, RETRY_MS);
}

void e2b_keeper_init(struct e2b *e)
{
    smx_list_init(&e->boxes);
    io_timer_init(&e->keep, on_timer, e);
    io_tasks_init(&e->tasks);
}
