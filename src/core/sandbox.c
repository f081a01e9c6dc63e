/* sandbox.c - the states of a sandbox and the operations that change them.
 *
 *               create()            pause()          resume()
 *   creating ------------> running ---------> pausing -> paused -----+
 *      |                    ^   |                                    |
 *      |            start() |   | stop()                             v
 *      |     starting <--- stopped <--- stopping <--- running     running
 *      v                                                    (any) --> error
 *   deleting <--- delete(), expiry: from every state but deleted
 *      |
 *      v
 *   deleted     gone at the provider; the row stays as a record, look-ups say not found
 *
 * transition            made by                       what is guaranteed then
 * -> creating           core_create()                 the row, with the token, is written
 * -> running            core_create(), start, resume  the provider said so; a box is attached
 * -> pausing, stopping,
 *    starting           the calls below               nobody else moves it: the lock is held
 * -> paused, stopped    the calls below, recovery     lifetime suspended, files kept
 * -> deleting           delete, expiry, failed create only deleted, or what it was, follows
 * -> deleted            the same                      kill() returned success
 *
 * sandbox_move() is the only writer of a state. A move that records a fact (MOVE_FACT) is made in
 * memory even when the row cannot be written; the row is then dirty and written later. */
#include "core/internal.h"

#include <stdio.h>

#include "base/log.h"

/* --- the table ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned next;
} states[SANDBOX_STATE_COUNT_] = {
#define N(s) (1u << SANDBOX_##s)
#define CORE_STATE(symbol, wire, allowed, invariant) [SANDBOX_##symbol] = { wire, allowed },
#undef N
#include "core/states.def"
#undef CORE_STATE
};

const char *sandbox_state_name(enum sandbox_state s)
{
    return states[s].name;
}

bool sandbox_state_parse(const char *name, enum sandbox_state *ret)
{
    for (unsigned i = 0; i < SANDBOX_STATE_COUNT_; i++) {
        if (smx_streq(states[i].name, name)) {
            *ret = (enum sandbox_state)i;
            return true;
        }
    }
    return false;
}

bool sandbox_state_allows(enum sandbox_state from, enum sandbox_state to)
{
    return (states[from].next & (1u << to)) != 0;
}

/* --- the row ------------------------------------------------------------------------------- */

void sandbox_fill_row(
    const struct sbx *b, enum sandbox_state state, const char *reason, struct store_sandbox *row)
{
    const struct sandbox *sb = &b->pub;

    *row = (struct store_sandbox){ .serial = sb->serial,
        .token = b->token,
        .name = sb->name,
        .runtime = sb->runtime,
        .provider_id = sb->provider_id,
        .state = states[state].name,
        .template = sb->template,
        .project_id = sb->project_id,
        .metadata = b->metadata_json ? b->metadata_json : "{}",
        .env = "{}",
        .idem_scope = b->idem_scope,
        .idem_key = b->idem_key,
        .created_ms = sb->created_unix_ms,
        .updated_ms = sb->updated_unix_ms,
        .used_ms = sb->last_used_unix_ms,
        .expires_ms = sb->expires_unix_ms,
        .armed_ms = b->armed_unix_ms,
        .lifetime = (int)sb->lifetime,
        .lifetime_s = sb->lifetime_s,
        .cpu = sb->resources.cpu,
        .memory_mib = sb->resources.memory_mib,
        .disk_mib = sb->resources.disk_mib,
        .pids = sb->resources.pids,
        .limits_hard = sb->limits_hard,
        .internet = sb->internet,
        .reason = reason,
        .generation = sb->generation,
        .created_ns = sb->created_unix_ns,
        .on_timeout = (int)sb->on_timeout,
        .auto_resume = sb->auto_resume,
        .open_envd = sb->open_envd,
        .private_traffic = sb->private_traffic,
        .dialect = sb->dialect };
    smx_strcpy(row->id, sizeof row->id, sb->id);
}

static void fill_event(const struct sbx *b, const char *from, const char *to, const char *reason,
    struct store_event *e)
{
    *e = (struct store_event){ .at_ms = b->pub.updated_unix_ms };
    smx_strcpy(e->type, sizeof e->type, "sandbox.state");
    smx_strcpy(e->sandbox_id, sizeof e->sandbox_id, b->pub.id);
    smx_strcpy(e->name, sizeof e->name, b->pub.name ? b->pub.name : "");
    smx_strcpy(e->runtime, sizeof e->runtime, b->pub.runtime);
    smx_strcpy(e->from, sizeof e->from, from);
    smx_strcpy(e->to, sizeof e->to, to);
    smx_strcpy(e->reason, sizeof e->reason, reason);
}

/* The engine's directory is the truth for local sandboxes; of a cloud's the row is all we have. */
static unsigned durability(const struct sbx *b)
{
    return smx_streq(b->pub.runtime, "local") ? 0 : STORE_DURABLE;
}

static int write_row(struct sbx *b, enum sandbox_state state, const char *reason, bool with_event,
    struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *env = NULL;
    struct store_sandbox row;
    struct store_event event;
    bool insert = b->pub.serial == 0;
    int r;

    sandbox_fill_row(b, state, reason, &row);
    if (insert) { /* later writes leave the column alone */
        env = pairs_encode(b->env, b->n_env, err);
        if (!env)
            return -SMX_E_NO_MEMORY;
        row.env = env;
    }
    fill_event(b, insert ? "" : states[b->row_state].name, states[state].name, reason, &event);
    r = store_sandbox_put(b->core->store, &row, with_event ? &event : NULL, durability(b), err);
    if (r == 0)
        b->pub.serial = row.serial;
    return r;
}

static bool halts(enum sandbox_state s)
{
    return s == SANDBOX_PAUSED || s == SANDBOX_STOPPING || s == SANDBOX_STOPPED;
}

static void halt(struct sbx *b)
{
    while (!smx_list_empty(&b->halts)) {
        struct sandbox_halt *h = SMX_LIST_ENTRY(b->halts.next, struct sandbox_halt, node);

        smx_list_del(&h->node);
        h->fn(h);
    }
}

int sandbox_move(
    struct sbx *b, enum sandbox_state next, const char *reason, unsigned flags, struct smx_err *err)
{
    enum sandbox_state from = b->pub.state;
    int64_t before = b->pub.updated_unix_ms;
    char text[PROVIDER_REASON_MAX + 1]; /* reason may be the field that is written below */
    int r;

    smx_strcpy(text, sizeof text, reason ? reason : "");
    if (b->pub.serial != 0 && !sandbox_state_allows(from, next))
        return smx_err_set(err, SMX_E_STATE, "sandbox '%s' is %s and cannot become %s", b->pub.id,
            states[from].name, states[next].name);
    b->pub.updated_unix_ms = smx_now_unix_ms();
    r = write_row(b, next, text, /* with_event= */ true, err);
    if (r < 0 && !(flags & MOVE_FACT)) {
        b->pub.updated_unix_ms = before;
        return r;
    }
    b->dirty = r < 0;
    if (r < 0)
        smx_error("sandbox %s is %s but its row could not be written: %s", b->pub.id,
            states[next].name, err ? err->msg : "");
    else
        b->row_state = next;
    b->pub.state = next;
    if (halts(next))
        halt(b);
    smx_strcpy(b->pub.reason, sizeof b->pub.reason, text);
    sandbox_logf(&b->pub, "state %s%s%s", states[next].name, *text ? ": " : "", text);
    return 0;
}

int sandbox_save(struct sbx *b, struct smx_err *err)
{
    return write_row(b, b->pub.state, b->pub.reason, /* with_event= */ false, err);
}

/* True when a row was written: there may be more. */
static bool flush_one(struct core *c)
{
    SMX_LIST_FOREACH(it, &c->all) {
        struct sbx *b = SMX_LIST_ENTRY(it, struct sbx, all);
        struct smx_err err;
        int r;

        if (!b->dirty || !io_sem_try(&b->lock))
            continue;
        sandbox_ref(&b->pub);
        r = write_row(b, b->pub.state, b->pub.reason, b->row_state != b->pub.state, &err);
        if (r == 0) {
            b->dirty = false;
            b->row_state = b->pub.state;
        }
        if (r == 0 && b->pub.state == SANDBOX_DELETED)
            sbx_remove(b);
        sandbox_unlock(b);
        return r == 0; /* the list may have changed meanwhile */
    }
    return false;
}

void sandbox_flush_dirty(struct core *c)
{
    while (!c->closing && flush_one(c))
        continue;
}

/* --- the lock ------------------------------------------------------------------------------ */

int sandbox_lock(struct sbx *b, struct smx_err *err)
{
    int r = io_sem_acquire(&b->lock, smx_deadline_in_ms(CHANGE_TIMEOUT_MS));

    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "waiting for sandbox '%s', which is %s",
            b->pub.id, states[b->pub.state].name);
    sandbox_ref(&b->pub);
    return 0;
}

void sandbox_unlock(struct sbx *b)
{
    b->moved_ns = smx_now_ns();
    io_sem_release(&b->lock);
    sandbox_unref(&b->pub);
}

/* --- operations ---------------------------------------------------------------------------- */

int sandbox_refuse(const struct sbx *b, const char *what, struct smx_err *err)
{
    if (b->pub.state == SANDBOX_DELETED)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox '%s' not found", b->pub.id);
    return smx_err_set(err, SMX_E_STATE, "sandbox '%s' is %s and cannot be %s", b->pub.id,
        states[b->pub.state].name, what);
}

typedef int(change_fn)(struct provider_box *box, uint64_t deadline, struct smx_err *err);

struct change {
    const char *op, *done; /* "stop", "stopped" */
    enum sandbox_state via, to;
    change_fn *call;
};

static int not_attached(const struct sbx *b, struct smx_err *err)
{
    return smx_err_set(err, SMX_E_UNAVAILABLE,
        "runtime '%s' cannot be reached, so sandbox '%s' cannot be used: %s", b->pub.runtime,
        b->pub.id, b->rt->why[0] ? b->rt->why : "it is not answering");
}

/* Pause and stop suspend a lifetime, resume and start arm it anew; a runtime that ends sandboxes by
 * itself is told. */
static void change_lifetime(struct sbx *b, bool runs)
{
    struct smx_err err = { 0 };
    int r = 0;

    if (runs)
        lifetime_arm(b);
    else
        lifetime_suspend(b);
    if (provider_can(b->rt->provider, PROVIDER_AUTO_CLEANUP))
        r = provider_set_deadline(
            b->box, b->pub.expires_unix_ms, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), &err);
    if (r < 0)
        smx_warn("sandbox %s: its new deadline did not reach the runtime: %s", b->pub.id, err.msg);
}

/* from -> via -> to, or back to from when the provider refuses. The lock is held. */
static int change_for(
    struct sbx *b, const struct change *ch, const char *reason, struct smx_err *err)
{
    enum sandbox_state from = b->pub.state;
    uint64_t begun = smx_now_ns();
    struct smx_err ignored = { 0 };
    int r;

    if (!b->box)
        return not_attached(b, err);
    r = sandbox_move(b, ch->via, "", 0, err);
    if (r < 0)
        return r;
    io_shield_begin();
    r = ch->call(b->box, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), err);
    if (r == 0)
        change_lifetime(b, ch->to == SANDBOX_RUNNING);
    sandbox_move(b, r == 0 ? ch->to : from, r == 0 ? reason : "", MOVE_FACT, &ignored);
    io_shield_end();
    core_account(b, ch->op, r, begun);
    core_audit(b, ch->op, r);
    b->doubtful = r == -SMX_E_AMBIGUOUS || r == -SMX_E_TIMEOUT;
    if (b->doubtful)
        recovery_start(b->rt); /* the provider tells which of both it is */
    return r;
}

/* What the provider has; UNKNOWN when it is not in its list. */
static int ask_state(struct sbx *b, struct provider_info *ret, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(CHANGE_TIMEOUT_MS);
    struct provider_info *all = NULL;
    size_t n = 0;
    int r = provider_lookup(b->rt->provider, b->pub.provider_id, ret, deadline, err);

    if (r == -SMX_E_SANDBOX_NOT_FOUND) {
        ret->state = PROVIDER_BOX_GONE;
        return 0;
    }
    if (r != -SMX_E_UNSUPPORTED)
        return r;
    r = provider_list(b->rt->provider, &all, &n, deadline, err);
    for (size_t i = 0; i < n && r == 0; i++)
        if (smx_streq(all[i].provider_id, b->pub.provider_id))
            *ret = all[i];
    smx_free(all);
    return r;
}

/* Who asks again before recovery has looked is not told that it is so already. The lock is held. */
static int settle_doubt(struct sbx *b, struct smx_err *err)
{
    struct provider_info info = { .state = PROVIDER_BOX_UNKNOWN };
    int r;

    if (!b->doubtful)
        return 0;
    r = b->rt->provider ? ask_state(b, &info, err) : not_attached(b, err);
    if (r < 0)
        return r;
    sandbox_follow(b, info.state, info.state == PROVIDER_BOX_GONE ? "lost" : info.reason);
    b->doubtful = info.state == PROVIDER_BOX_UNKNOWN;
    return 0;
}

static int change(struct sbx *b, const struct change *ch, struct smx_err *err)
{
    return change_for(b, ch, "", err);
}

static const struct change starting = { "start", "started", SANDBOX_STARTING, SANDBOX_RUNNING,
    provider_start };
static const struct change resuming = { "resume", "resumed", SANDBOX_STARTING, SANDBOX_RUNNING,
    provider_resume };
static const struct change stopping = { "stop", "stopped", SANDBOX_STOPPING, SANDBOX_STOPPED,
    provider_stop };
static const struct change pausing = { "pause", "paused", SANDBOX_PAUSING, SANDBOX_PAUSED,
    provider_pause };

int sandbox_start_locked(struct sbx *b, struct smx_err *err)
{
    int r = settle_doubt(b, err);

    if (r < 0)
        return r;
    switch (b->pub.state) {
    case SANDBOX_RUNNING:
        return 0;
    case SANDBOX_PAUSED:
        return change(b, &resuming, err);
    case SANDBOX_STOPPED:
    case SANDBOX_ARCHIVED:
    case SANDBOX_ERROR:
        return change(b, &starting, err);
    case SANDBOX_CREATING:
    case SANDBOX_STARTING:
    case SANDBOX_PAUSING:
    case SANDBOX_STOPPING:
    case SANDBOX_ARCHIVING:
        return not_attached(b, err); /* nobody moves it: recovery waits for the provider */
    case SANDBOX_DELETING:
    case SANDBOX_DELETED:
    case SANDBOX_STATE_COUNT_:
        break;
    }
    return sandbox_refuse(b, "started", err);
}

int sandbox_start(struct sandbox *sb, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r = sandbox_lock(b, err);

    if (r < 0)
        return r;
    r = sandbox_start_locked(b, err);
    sandbox_unlock(b);
    return r;
}

/* One of the plain changes: a success when it is there already. */
static int simple(struct sandbox *sb, const struct change *ch, unsigned from, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r = sandbox_lock(b, err);

    if (r < 0)
        return r;
    r = settle_doubt(b, err);
    if (r < 0 || sb->state == ch->to)
        r = SMX_MIN(r, 0);
    else if (from & (1u << sb->state))
        r = change(b, ch, err);
    else
        r = sandbox_refuse(b, ch->done, err);
    sandbox_unlock(b);
    return r;
}

int sandbox_stop_locked(struct sbx *b, struct smx_err *err)
{
    return change(b, &stopping, err);
}

int sandbox_stop(struct sandbox *sb, struct smx_err *err)
{
    return simple(sb, &stopping, 1u << SANDBOX_RUNNING | 1u << SANDBOX_PAUSED, err);
}

int sandbox_pause(struct sandbox *sb, struct smx_err *err)
{
    return simple(sb, &pausing, 1u << SANDBOX_RUNNING, err);
}

int sandbox_pause_once(struct sandbox *sb, bool memory, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r = sandbox_lock(b, err);

    if (r < 0)
        return r;
    if (sb->state == SANDBOX_RUNNING)
        r = change(b, memory ? &pausing : &stopping, err);
    else
        r = sandbox_refuse(b, "paused", err);
    sandbox_unlock(b);
    return r;
}

int sandbox_resume(struct sandbox *sb, struct smx_err *err)
{
    int r = adopt_verify_anew(sbx_of(sb), err); /* it may have been paused without us */

    return r < 0 ? r : simple(sb, &resuming, 1u << SANDBOX_PAUSED, err);
}

/* --- deleting ------------------------------------------------------------------------------ */

/* What a row that could not be written would still say is told at the next start; the provider's
 * answer decides then, as now. */
static void forget(struct sbx *b, const char *reason)
{
    struct smx_err err = { 0 };

    sandbox_move(b, SANDBOX_DELETED, reason, MOVE_FACT, &err);
    sbx_detach(b);
    if (!b->dirty)
        sbx_remove(b);
    io_event_set(&b->log.pulse);
}

int sandbox_delete_locked(struct sbx *b, const char *reason, struct smx_err *err)
{
    enum sandbox_state from = b->pub.state;
    int64_t expires = b->pub.expires_unix_ms;
    uint64_t begun = smx_now_ns();
    struct smx_err ignored = { 0 };
    int r;

    if (from == SANDBOX_DELETED)
        return sandbox_refuse(b, "deleted", err);
    if (!b->rt->provider)
        return not_attached(b, err);
    io_shield_begin();
    if (from != SANDBOX_DELETING) /* and until then it shows when it ends */
        sandbox_move(b, SANDBOX_DELETING, reason, MOVE_FACT, &ignored);
    lifetime_suspend(b);
    r = provider_kill(
        b->rt->provider, b->pub.provider_id, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), err);
    if (r == 0) {
        forget(b, reason);
    } else if (sandbox_state_allows(SANDBOX_DELETING, from)) {
        b->pub.expires_unix_ms = expires;
        sandbox_move(b, from, "", MOVE_FACT, &ignored);
        if (expires != 0)
            lifetime_resume(b);
    }
    io_shield_end();
    core_account(b, "delete", r, begun);
    core_audit(b, *reason && !smx_streq(reason, "deleted") ? reason : "delete", r);
    return r;
}

int sandbox_delete(struct sandbox *sb, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r = sandbox_lock(b, err);

    if (r < 0)
        return r;
    r = sandbox_delete_locked(b, "deleted", err);
    sandbox_unlock(b);
    return r;
}

/* A runtime with a timer of its own may have been first; recovery then takes its state over. */
int sandbox_expire_locked(struct sbx *b, struct smx_err *err)
{
    const struct change *ch = b->pub.on_timeout == SANDBOX_STOP ? &stopping : &pausing;
    int r;

    if (b->pub.on_timeout == SANDBOX_KILL)
        return sandbox_delete_locked(b, "expired", err);
    if (b->pub.state != SANDBOX_RUNNING) {
        lifetime_suspend(b);
        return 0;
    }
    r = change_for(b, ch, "expired", err);
    if (r == -SMX_E_STATE)
        recovery_start(b->rt);
    return r;
}

/* --- what the provider says ---------------------------------------------------------------- */

static void follow_to(struct sbx *b, enum sandbox_state next, const char *reason)
{
    struct smx_err err = { 0 };

    if (b->pub.state == next)
        return;
    if (next == SANDBOX_RUNNING) {
        if (sandbox_move(b, next, reason, MOVE_FACT, &err) == 0)
            lifetime_resume(b);
        return;
    }
    lifetime_suspend(b);
    sandbox_move(b, next, reason, MOVE_FACT, &err);
}

void sandbox_follow(struct sbx *b, enum provider_box_state state, const char *reason)
{
    if (b->pub.state == SANDBOX_DELETED)
        return;
    switch (state) {
    case PROVIDER_BOX_RUNNING:
        follow_to(b, SANDBOX_RUNNING, reason);
        break;
    case PROVIDER_BOX_PAUSED:
        follow_to(b, SANDBOX_PAUSED, reason);
        break;
    case PROVIDER_BOX_STOPPED:
        follow_to(b, SANDBOX_STOPPED, reason);
        break;
    case PROVIDER_BOX_GONE:
        if (b->pub.state != SANDBOX_DELETING && b->pub.state != SANDBOX_CREATING) {
            struct smx_err err = { 0 };

            sandbox_move(b, SANDBOX_DELETING, reason, MOVE_FACT, &err);
        }
        lifetime_suspend(b);
        forget(b, *reason ? reason : "lost");
        break;
    case PROVIDER_BOX_UNKNOWN:
        break;
    }
}

/* --- patch --------------------------------------------------------------------------------- */

static int patch_metadata(struct sbx *b, const struct core_patch *p, struct smx_err *err)
{
    char *json = pairs_encode(p->metadata, p->n_metadata, err);
    struct json_pair *copy;

    if (!json)
        return -SMX_E_NO_MEMORY;
    if (pairs_copy(&copy, p->metadata, p->n_metadata) < 0) {
        smx_free(json);
        return smx_err_oom(err);
    }
    pairs_free(b->pub.metadata, b->pub.n_metadata);
    smx_free(b->metadata_json);
    b->pub.metadata = copy;
    b->pub.n_metadata = p->n_metadata;
    b->metadata_json = json;
    return 0;
}

static int patch_check(const struct sbx *b, const struct core_patch *p, struct smx_err *err)
{
    if (b->pub.state == SANDBOX_DELETED || b->pub.state == SANDBOX_DELETING)
        return sandbox_refuse(b, "changed", err);
    if (p->name && *p->name && !smx_name_valid(p->name))
        return smx_err_set(err, SMX_E_INVALID,
            "name: must be 1 to %d of a-z, 0-9, '.', '_', '-', beginning with a letter or digit",
            SMX_NAME_LEN_MAX);
    return p->has_metadata ? metadata_check(p->metadata, p->n_metadata, err) : 0;
}

int sandbox_patch_locked(struct sbx *b, const struct core_patch *p, struct smx_err *err)
{
    int r = patch_check(b, p, err);

    if (r == 0 && p->name)
        r = sbx_rename(b, *p->name ? p->name : NULL, err);
    if (r == 0 && p->has_metadata)
        r = patch_metadata(b, p, err);
    if (r < 0)
        return r;
    if (p->has_timeout) {
        lifetime_set(b, /* has_timeout= */ true, p->timeout_s);
        lifetime_arm(b);
        if (b->box && b->pub.state != SANDBOX_STOPPED &&
            provider_can(b->rt->provider, PROVIDER_AUTO_CLEANUP))
            r = provider_set_deadline(
                b->box, b->pub.expires_unix_ms, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), err);
        if (r < 0)
            return r;
    }
    b->pub.updated_unix_ms = smx_now_unix_ms();
    r = sandbox_save(b, err);
    if (r < 0)
        b->dirty = true; /* it holds in memory and will be written when the store takes it */
    return r;
}

int sandbox_patch(struct sandbox *sb, const struct core_patch *p, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r = sandbox_lock(b, err);

    if (r < 0)
        return r;
    r = sandbox_patch_locked(b, p, err);
    sandbox_unlock(b);
    return r;
}

/* --- use ----------------------------------------------------------------------------------- */

int sandbox_use_begin(struct sandbox *sb, struct provider_box **ret_box, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);

    if (sb->state != SANDBOX_RUNNING)
        return sandbox_refuse(b, "used", err);
    if (b->closed)
        return smx_err_set(err, SMX_E_STATE, "sandbox '%s' %s", sb->id, b->closed);
    if (!b->box || b->detach)
        return not_attached(b, err);
    b->uses++;
    sandbox_ref(sb);
    lifetime_touch(b);
    *ret_box = b->box;
    return 0;
}

void sandbox_use_end(struct sandbox *sb)
{
    struct sbx *b = sbx_of(sb);

    lifetime_touch(b);
    b->uses--;
    if (b->uses + b->holds == 0 && b->detach)
        sbx_detach(b);
    sandbox_unref(sb);
}

int sandbox_hold_begin(struct sandbox *sb, struct provider_box **ret_box, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);

    if (sb->state != SANDBOX_RUNNING)
        return sandbox_refuse(b, "used", err);
    if (!b->box || b->detach)
        return not_attached(b, err);
    b->holds++;
    sandbox_ref(sb);
    *ret_box = b->box;
    return 0;
}

void sandbox_hold_end(struct sandbox *sb)
{
    struct sbx *b = sbx_of(sb);

    b->holds--;
    if (b->uses + b->holds == 0 && b->detach)
        sbx_detach(b);
    sandbox_unref(sb);
}

int sandbox_halt_begin(struct sandbox *sb, struct sandbox_halt *h, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);

    if (halts(sb->state))
        return sandbox_refuse(b, "used", err);
    smx_list_add(&b->halts, &h->node);
    return 0;
}

int sandbox_stats(struct sandbox *sb, struct provider_stats *ret, struct smx_err *err)
{
    struct provider_box *box;
    int r = sandbox_use_begin(sb, &box, err);

    if (r < 0)
        return r;
    r = provider_stats(box, ret, smx_deadline_in_ms(PROBE_TIMEOUT_MS), err);
    sandbox_use_end(sb);
    return r;
}
