/* session.c - the sessions of all sandboxes, by sandbox. The gateway's memory is a cache of what
 * lies in the sandbox: the first look at a sandbox that is older than this gateway reads it
 * (adopt.c). */
#include "compose/internal.h"

#include <signal.h>

/* --- life ------------------------------------------------------------------------------------- */

int compose_new(struct core *core, struct compose **ret, struct smx_err *err)
{
    struct compose *c = smx_alloc(sizeof *c);
    int r;

    if (!c)
        return smx_err_oom(err);
    c->core = core;
    c->started_unix_ms = smx_now_unix_ms();
    smx_map_init(&c->sandboxes);
    smx_list_init(&c->pumps);
    io_event_init(&c->no_pumps);
    io_event_set(&c->no_pumps);
    io_event_init(&c->swept);
    r = io_fiber_spawn(io_loop_self(), "migrations", migrations_sweep, c, &c->sweeper, err);
    if (r < 0) {
        smx_map_done(&c->sandboxes);
        smx_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void session_unref(struct session *s)
{
    if (!s || --s->refs > 0)
        return;
    commands_drop(s);
    smx_free(s);
}

static void drop_session(struct sandbox_sessions *ss, struct session *s)
{
    s->deleted = true;
    smx_list_del(&s->node);
    ss->n--;
    commands_drop(s);
    session_unref(s);
}

static void drop_sandbox(struct compose *c, struct sandbox_sessions *ss)
{
    smx_map_remove(&c->sandboxes, ss->sb->id);
    SMX_LIST_FOREACH_SAFE(node, &ss->sessions)
        drop_session(ss, SMX_LIST_ENTRY(node, struct session, node));
    sandbox_unref(ss->sb);
    smx_free(ss);
}

void compose_free(struct compose *c)
{
    struct sandbox_sessions *ss;
    size_t pos = 0;

    if (!c)
        return;
    if (c->sweeper)
        io_fiber_cancel(c->sweeper);
    io_shield_begin();
    io_event_wait(&c->swept, SMX_FOREVER);
    io_shield_end();
    pumps_end(c);
    while ((ss = smx_map_next(&c->sandboxes, &pos)))
        drop_sandbox(c, ss);
    smx_map_done(&c->sandboxes);
    smx_free(c);
}

/* --- look-up ---------------------------------------------------------------------------------- */

/* Sandboxes that are gone take their sessions along. */
static void sweep(struct compose *c)
{
    struct sandbox_sessions *ss;
    size_t pos = 0;

    while ((ss = smx_map_next(&c->sandboxes, &pos)))
        if (ss->sb->state == SANDBOX_DELETED && ss->users == 0)
            drop_sandbox(c, ss);
}

static int add_sandbox(struct compose *c, struct sandbox *sb, struct sandbox_sessions **ret)
{
    struct sandbox_sessions *ss;

    sweep(c);
    ss = smx_alloc(sizeof *ss);
    if (!ss)
        return -SMX_E_NO_MEMORY;
    ss->sb = sandbox_ref(sb);
    ss->loaded = sb->created_unix_ms >= c->started_unix_ms;
    smx_list_init(&ss->sessions);
    io_sem_init(&ss->loading, 1);
    if (smx_map_put(&c->sandboxes, ss->sb->id, ss) < 0) {
        sandbox_unref(ss->sb);
        smx_free(ss);
        return -SMX_E_NO_MEMORY;
    }
    *ret = ss;
    return 0;
}

static int load(struct compose *c, struct sandbox_sessions *ss, struct smx_err *err)
{
    int r;

    if (ss->loaded)
        return 0;
    ss->users++;
    r = io_sem_acquire(&ss->loading, smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS));
    if (r == 0) {
        r = ss->loaded ? 0 : sessions_adopt(c, ss, err);
        ss->loaded = r == 0;
        io_sem_release(&ss->loading);
    } else {
        smx_err_set(err, (enum smx_code) - r, "waiting for the sandbox's sessions");
    }
    ss->users--;
    return r;
}

int sessions_of(
    struct compose *c, struct sandbox *sb, struct sandbox_sessions **ret, struct smx_err *err)
{
    struct sandbox_sessions *ss = smx_map_get(&c->sandboxes, sb->id);

    if (!ss && add_sandbox(c, sb, &ss) < 0)
        return smx_err_oom(err);
    *ret = ss;
    return load(c, ss, err);
}

static struct session *look_up(struct sandbox_sessions *ss, const char *id)
{
    SMX_LIST_FOREACH(node, &ss->sessions) {
        struct session *s = SMX_LIST_ENTRY(node, struct session, node);

        if (smx_streq(s->id, id))
            return s;
    }
    return NULL;
}

/* One that is being made has a first command: its making. */
static int await_made(struct session *s, struct smx_err *err)
{
    int r;

    if (s->made)
        return 0;
    r = io_sem_acquire(&s->turn, SMX_FOREVER);
    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "waiting for session '%s'", s->id);
    io_sem_release(&s->turn);
    if (s->made)
        return 0;
    return smx_err_set(err, SMX_E_NOT_FOUND, "session '%s' not found: it could not be made", s->id);
}

int session_find(struct compose *c, struct sandbox *sb, const char *id, struct session **ret,
    struct smx_err *err)
{
    struct sandbox_sessions *ss;
    struct session *s;
    int r = sessions_of(c, sb, &ss, err);

    if (r < 0)
        return r;
    s = look_up(ss, id);
    if (!s)
        return smx_err_set(err, SMX_E_NOT_FOUND, "session '%.64s' not found", id);
    s->refs++;
    r = await_made(s, err);
    if (r < 0) {
        session_unref(s);
        return r;
    }
    *ret = s;
    return 0;
}

void sessions_leave(struct compose *c, struct sandbox *sb)
{
    struct sandbox_sessions *ss = smx_map_get(&c->sandboxes, sb->id);

    pumps_leave(c, sb);
    if (ss)
        ss->loaded = false;
}

/* --- create ----------------------------------------------------------------------------------- */

bool session_id_valid(const char *id)
{
    size_t n = strlen(id);

    if (n == 0 || n > SESSION_ID_MAX || *id == '.')
        return false;
    return strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int check_spec(const struct session_spec *spec, struct smx_err *err)
{
    if (!spec->id || !session_id_valid(spec->id))
        return smx_err_set(err, SMX_E_INVALID,
            "id: must be 1 to %d letters, digits, '_', '-' and '.', not beginning with '.'",
            SESSION_ID_MAX);
    if (spec->user && strlen(spec->user) > 32)
        return smx_err_set(err, SMX_E_INVALID, "user: longer than 32 bytes");
    if (spec->shell && !smx_streq(spec->shell, "bash") && !smx_streq(spec->shell, "sh"))
        return smx_err_set(err, SMX_E_INVALID, "shell: must be 'bash' or 'sh'");
    return 0;
}

struct session *session_add(struct sandbox_sessions *ss, const char *id, struct smx_err *err)
{
    struct session *s;

    if (ss->n >= SESSIONS_MAX) {
        smx_err_set(err, SMX_E_QUOTA, "the sandbox has %d sessions already", SESSIONS_MAX);
        return NULL;
    }
    s = smx_alloc(sizeof *s);
    if (!s) {
        smx_err_oom(err);
        return NULL;
    }
    s->refs = 1;
    smx_strcpy(s->id, sizeof s->id, id);
    smx_strcpy(s->dir, sizeof s->dir, SESSION_DIR "/");
    smx_strcpy(s->dir + strlen(s->dir), sizeof s->dir - strlen(s->dir), id);
    io_sem_init(&s->turn, 1);
    io_event_init(&s->saved);
    io_event_set(&s->saved);
    smx_list_init(&s->commands);
    smx_list_add(&ss->sessions, &s->node);
    ss->n++;
    return s;
}

/* The directory, its first state, and which shell there is. */
static int make(struct provider_box *box, struct session *s, const struct session_spec *spec,
    struct smx_err *err)
{
    const char *const argv[] = { "sh", "-c", session_script_make, "sh", s->dir,
        spec->shell ? spec->shell : "", session_script_bash, session_script_sh, NULL };
    struct provider_process_spec process = {
        .argv = argv, .user = *s->user ? s->user : NULL, .cwd = spec->cwd
    };
    struct smx_buf out;
    int code = 0, r;

    smx_buf_init(&out, 4096);
    r = run_to_end(box, &process, &out, &code, err);
    if (r == 0 && code == 3)
        r = smx_err_set(err, SMX_E_UNSUPPORTED, "there is no bash in this sandbox");
    else if (r == 0 && (code != 0 || !out.data))
        r = smx_err_set(err, SMX_E_IO, "'%s' cannot be made, or there is no shell", s->dir);
    else if (r == 0)
        s->plain_sh = !smx_starts(out.data, "bash");
    smx_buf_done(&out);
    return r;
}

static int make_in(
    struct sandbox *sb, struct session *s, const struct session_spec *spec, struct smx_err *err)
{
    struct provider_box *box;
    int r = sandbox_use_begin(sb, &box, err);

    if (r < 0)
        return r;
    r = make(box, s, spec, err);
    sandbox_use_end(sb);
    return r;
}

/* Others that ask for it meanwhile wait for its turn. */
static int create(struct compose *c, struct sandbox_sessions *ss, const struct session_spec *spec,
    struct smx_err *err)
{
    struct session *s = session_add(ss, spec->id, err);
    int r;

    if (!s)
        return -(int)err->code;
    if (spec->user)
        smx_strcpy(s->user, sizeof s->user, spec->user);
    s->refs++;
    ss->users++;
    io_sem_try(&s->turn);
    r = make_in(ss->sb, s, spec, err);
    s->made = r == 0;
    shell_ahead(c, ss->sb, s);
    io_sem_release(&s->turn);
    if (r < 0 && !s->deleted)
        drop_session(ss, s);
    ss->users--;
    session_unref(s);
    return r;
}

int session_create(struct compose *c, struct sandbox *sb, const struct session_spec *spec,
    bool *ret_created, struct smx_err *err)
{
    SMX_CLEANUP(session_unrefp) struct session *there = NULL;
    struct sandbox_sessions *ss;
    int r = check_spec(spec, err);

    if (r == 0 && !(sb->capabilities & PROVIDER_BIT(PROVIDER_SESSIONS)))
        r = smx_err_set(err, SMX_E_UNSUPPORTED, "runtime '%s' has no shell sessions", sb->runtime);
    if (r == 0)
        r = session_find(c, sb, spec->id, &there, err);
    *ret_created = r == -SMX_E_NOT_FOUND;
    if (r != -SMX_E_NOT_FOUND)
        return r;
    r = sessions_of(c, sb, &ss, err);
    return r < 0 ? r : create(c, ss, spec, err);
}

/* --- delete and list -------------------------------------------------------------------------- */

static int end_all(struct provider_box *box, struct session *s, struct smx_err *err)
{
    const char *const argv[] = { "sh", "-c", session_script_end, "sh", s->id, s->dir, NULL };
    struct provider_process_spec process = { .argv = argv };
    struct smx_buf out;
    int code, r;

    SMX_LIST_FOREACH(node, &s->commands) {
        struct session_command *cmd = SMX_LIST_ENTRY(node, struct session_command, node);

        if (!cmd->ended && cmd->pid)
            provider_signal(box, cmd->pid, SIGKILL, smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS),
                /* err= */ NULL);
    }
    smx_buf_init(&out, 1024);
    r = run_to_end(box, &process, &out, &code, err);
    smx_buf_done(&out);
    return r;
}

int session_delete(struct compose *c, struct sandbox *sb, const char *id, struct smx_err *err)
{
    SMX_CLEANUP(session_unrefp) struct session *s = NULL;
    struct sandbox_sessions *ss;
    struct provider_box *box;
    int r = sandbox_use_begin(sb, &box, err);

    if (r < 0)
        return r;
    r = session_find(c, sb, id, &s, err);
    if (r == 0)
        r = sessions_of(c, sb, &ss, err);
    if (r == 0) {
        s->deleted = true;
        shell_ahead_end(s);
        r = end_all(box, s, err);
        s->deleted = r == 0;
    }
    if (r == 0 && !smx_list_empty(&s->node))
        drop_session(ss, s);
    sandbox_use_end(sb);
    return r;
}

int session_each(struct compose *c, struct sandbox *sb, void (*fn)(const char *id, void *arg),
    void *arg, struct smx_err *err)
{
    struct sandbox_sessions *ss;
    int r = sessions_of(c, sb, &ss, err);

    if (r < 0)
        return r;
    SMX_LIST_FOREACH(node, &ss->sessions)
        fn(SMX_LIST_ENTRY(node, struct session, node)->id, arg);
    return 0;
}

int session_each_command(struct compose *c, struct sandbox *sb, const char *id,
    void (*fn)(const struct session_command *cmd, void *arg), void *arg, struct smx_err *err)
{
    SMX_CLEANUP(session_unrefp) struct session *s = NULL;
    int r = session_find(c, sb, id, &s, err);

    if (r < 0)
        return r;
    SMX_LIST_FOREACH(node, &s->commands)
        fn(SMX_LIST_ENTRY(node, struct session_command, node), arg);
    return 0;
}
