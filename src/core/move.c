/* move.c - a sandbox changes its machine. The new machine is made as a sandbox of its own; once it
 * has all that the old one has, the two exchange machines in one transaction, and the other one is
 * deleted with the old machine. So every machine has a row at every moment, and a crash leaves
 * either side whole. */
#include "core/internal.h"

enum { QUIET_MS = 10000, LOOK_MS = 20 };

const struct json_pair *sandbox_env(const struct sandbox *sb, size_t *ret_n)
{
    *ret_n = sbx_of_const(sb)->n_env;
    return sbx_of_const(sb)->env;
}

/* holds: of those too. */
static int wait_quiet(const struct sbx *b, bool holds, struct smx_err *err)
{
    uint64_t deadline = smx_deadline_in_ms(QUIET_MS);
    int r = 0;

    while (r == 0 && b->uses + (holds ? b->holds : 0) > 0) {
        if (smx_now_ns() >= deadline)
            return smx_err_set(err, SMX_E_STATE,
                "sandbox '%s' is in use by %u calls or open streams; end them first", b->pub.id,
                b->uses + b->holds);
        r = io_sleep_until(smx_deadline_in_ms(LOOK_MS));
    }
    return r < 0 ? smx_err_set(err, (enum smx_code) - r, "waiting for the end of calls") : 0;
}

int sandbox_close_door(struct sandbox *sb, const char *why, struct smx_err *err)
{
    struct sbx *b = sbx_of(sb);
    int r;

    if (sb->state != SANDBOX_RUNNING)
        return sandbox_refuse(b, "moved", err);
    if (b->closed)
        return smx_err_set(err, SMX_E_STATE, "sandbox '%s' %s", sb->id, b->closed);
    b->closed = why;
    r = wait_quiet(b, /* holds= */ false, err);
    if (r < 0)
        b->closed = NULL;
    return r;
}

void sandbox_open_again(struct sandbox *sb)
{
    sbx_of(sb)->closed = NULL;
}

/* --- the exchange ----------------------------------------------------------------------------- */

/* What belongs to the machine and not to the sandbox. */
struct machine {
    struct core_rt *rt;
    struct provider_box *box;
    char provider_id[PROVIDER_ID_MAX + 1], token[PROVIDER_TOKEN_LEN + 1];
    struct provider_resources resources;
    bool limits_hard, internet;
    uint64_t capabilities;
};

static void take_machine(struct sbx *b, struct machine *m)
{
    *m = (struct machine){ .rt = b->rt,
        .box = b->box,
        .resources = b->pub.resources,
        .limits_hard = b->pub.limits_hard,
        .internet = b->pub.internet,
        .capabilities = b->pub.capabilities };
    smx_strcpy(m->provider_id, sizeof m->provider_id, b->pub.provider_id);
    smx_strcpy(m->token, sizeof m->token, b->token);
    if (smx_map_get(&b->rt->by_provider_id, b->pub.provider_id) == b)
        smx_map_remove(&b->rt->by_provider_id, b->pub.provider_id);
    b->rt->living--;
}

static void give_machine(struct sbx *b, const struct machine *m)
{
    struct smx_err err = { 0 };

    b->rt = m->rt;
    b->box = m->box;
    b->pub.runtime = m->rt->cfg.name;
    b->pub.resources = m->resources;
    b->pub.limits_hard = m->limits_hard;
    b->pub.internet = m->internet;
    b->pub.capabilities = m->capabilities;
    smx_strcpy(b->pub.provider_id, sizeof b->pub.provider_id, m->provider_id);
    smx_strcpy(b->token, sizeof b->token, m->token);
    b->pub.aliases = NULL;
    b->rt->living++;
    if (sbx_index_provider_id(b, &err) < 0)
        b->pub.aliases = NULL; /* found by its id; recovery finds it by its token */
}

static void exchange(struct sbx *a, struct sbx *b)
{
    struct machine of_a, of_b;

    take_machine(a, &of_a);
    take_machine(b, &of_b);
    give_machine(a, &of_b);
    give_machine(b, &of_a);
}

static int write_both(struct sbx *a, struct sbx *b, const char *from, struct smx_err *err)
{
    struct store_sandbox row_a, row_b;
    struct store_event event = { .at_ms = smx_now_unix_ms() };

    a->pub.updated_unix_ms = event.at_ms;
    sandbox_fill_row(a, a->pub.state, a->pub.reason, &row_a);
    sandbox_fill_row(b, b->pub.state, b->pub.reason, &row_b);
    smx_strcpy(event.type, sizeof event.type, "sandbox.moved");
    smx_strcpy(event.sandbox_id, sizeof event.sandbox_id, a->pub.id);
    smx_strcpy(event.name, sizeof event.name, a->pub.name ? a->pub.name : "");
    smx_strcpy(event.runtime, sizeof event.runtime, a->pub.runtime);
    smx_strcpy(event.from, sizeof event.from, from);
    smx_strcpy(event.to, sizeof event.to, a->pub.runtime);
    return store_sandbox_put_both(a->core->store, &row_a, &row_b, &event, STORE_DURABLE, err);
}

static int check(const struct sbx *b, struct smx_err *err)
{
    if (b->pub.state != SANDBOX_RUNNING || !b->box || b->detach)
        return smx_err_set(err, SMX_E_STATE,
            "sandbox '%s' stopped while it was moved; nothing has changed", b->pub.id);
    if (b->uses + b->holds > 0)
        return smx_err_set(
            err, SMX_E_STATE, "sandbox '%s' is still in use; nothing has changed", b->pub.id);
    return 0;
}

/* The new machine ends when the sandbox does, whoever watches it. */
static int move_deadline(struct sbx *to, int64_t expires_unix_ms, struct smx_err *err)
{
    if (!provider_can(to->rt->provider, PROVIDER_AUTO_CLEANUP))
        return 0;
    return provider_set_deadline(
        to->box, expires_unix_ms, smx_deadline_in_ms(CHANGE_TIMEOUT_MS), err);
}

static int exchange_locked(struct sbx *a, struct sbx *b, struct smx_err *err)
{
    const char *from = a->pub.runtime;
    int r = move_deadline(b, a->pub.expires_unix_ms, err);

    if (r == 0)
        r = wait_quiet(a, /* holds= */ true, err);
    if (r == 0)
        r = wait_quiet(b, /* holds= */ true, err);
    if (r == 0)
        r = check(a, err);
    if (r == 0)
        r = check(b, err);
    if (r < 0)
        return r;
    exchange(a, b);
    r = write_both(a, b, from, err);
    if (r < 0)
        exchange(a, b);
    else
        sandbox_logf(&a->pub, "moved from %s to %s", from, a->pub.runtime);
    return r;
}

int sandbox_exchange(struct sandbox *a, struct sandbox *b, struct smx_err *err)
{
    struct sbx *first = sbx_of(a), *second = sbx_of(b);
    int r = sandbox_lock(first, err);

    if (r < 0)
        return r;
    r = sandbox_lock(second, err);
    if (r == 0) {
        io_shield_begin();
        r = exchange_locked(first, second, err);
        io_shield_end();
        sandbox_unlock(second);
    }
    sandbox_unlock(first);
    return r;
}
