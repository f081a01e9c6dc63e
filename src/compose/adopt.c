/* adopt.c - what an earlier gateway left in a sandbox: the directories of sessions, and their
 * commands that still run, which carry "session/<session>/<command>" as their tag. Output from then
 * on is read; what was written meanwhile is lost, as it is for everybody who is not connected. The
 * sandbox writes where it likes: directories beyond SESSIONS_MAX are not looked at, and take
 * nothing from the others. */
#include "compose/internal.h"

static struct session *find(struct sandbox_sessions *ss, const char *id, size_t n)
{
    SMX_LIST_FOREACH(node, &ss->sessions) {
        struct session *s = SMX_LIST_ENTRY(node, struct session, node);

        if (strlen(s->id) == n && memcmp(s->id, id, n) == 0)
            return s;
    }
    return NULL;
}

static int adopt_dirs(struct sandbox_sessions *ss, struct provider_box *box, struct smx_err *err)
{
    struct provider_file_list list = { 0 };
    int r = provider_list_dir(box, SESSION_DIR, /* user= */ NULL, 1, &list,
        smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS), err);

    if (r == -SMX_E_FILE_NOT_FOUND || r == -SMX_E_INVALID)
        return 0;
    for (size_t i = 0; i < list.n && r == 0 && ss->n < SESSIONS_MAX; i++) {
        const struct provider_file *f = &list.v[i];
        struct session *s;

        if (f->type != PROVIDER_FILE_DIRECTORY || f->symlink_target || !session_id_valid(f->name) ||
            find(ss, f->name, strlen(f->name)))
            continue;
        s = session_add(ss, f->name, err);
        if (!s)
            r = -(int)err->code;
        else
            s->made = true;
        if (s && f->owner && !smx_streq(f->owner, "root"))
            smx_strcpy(s->user, sizeof s->user, f->owner);
    }
    provider_file_list_done(&list);
    return r;
}

/* "session/<session>/<command>" of a session that is known; *ret_command points into it. */
static struct session *of_tag(
    struct sandbox_sessions *ss, const char *tag, const char **ret_command)
{
    const char *id, *slash;

    if (!tag || !smx_starts(tag, "session/"))
        return NULL;
    id = tag + strlen("session/");
    slash = strchr(id, '/');
    if (!slash || strlen(slash + 1) != SESSION_COMMAND_ID_SIZE - 1)
        return NULL;
    *ret_command = slash + 1;
    return find(ss, id, (size_t)(slash - id));
}

static const char *last_of(char *const *argv)
{
    const char *last = "";

    for (; argv && *argv; argv++)
        last = *argv;
    return last;
}

/* Appends what is left of a file, up to the buffer's maximum. */
static int read_file(struct provider_box *box, const char *path, struct smx_buf *out)
{
    uint64_t total, deadline = smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS);
    struct provider_reader *reader;
    ssize_t n = 1;
    int r = provider_read_open(box, path, /* user= */ NULL, 0, out->max, &reader, &total, deadline,
        /* err= */ NULL);

    if (r < 0)
        return r;
    while (n > 0 && r == 0 && out->len < out->max) {
        r = smx_buf_reserve(out, 1);
        if (r == 0)
            n = provider_read(reader, out->data + out->len, out->cap - out->len, deadline,
                /* err= */ NULL);
        out->len += r == 0 && n > 0 ? (size_t)n : 0;
    }
    provider_read_close(reader);
    return n < 0 ? (int)n : r;
}

/* A shell that read its command wrote it down, behind its id. NULL: it still waits for one, and
 * ends now that nobody can give it any. */
static char *text_of(struct provider_box *box, const struct session *s, const char *id)
{
    SMX_CLEANUP(smx_freep) char *path = smx_asprintf("%s/now", s->dir);
    size_t n = strlen(id);
    struct smx_buf text;
    char *ret = NULL;

    smx_buf_init(&text, n + SESSION_AHEAD_COMMAND_MAX + 1);
    if (path && read_file(box, path, &text) == 0 && text.len > n && memcmp(text.data, id, n) == 0)
        ret = smx_strndup(text.data + n, strnlen(text.data + n, text.len - n));
    smx_buf_done(&text);
    return ret;
}

/* One that ended just now, or that the heap has no room for, is passed over. */
static void adopt_process(struct compose *c, struct sandbox_sessions *ss, struct provider_box *box,
    const struct provider_process *p)
{
    struct smx_err err = { 0 };
    struct provider_stream *stream;
    struct session_command *cmd;
    SMX_CLEANUP(smx_freep) char *kept = NULL;
    const char *id = NULL, *text = last_of(p->argv);
    struct session *s = of_tag(ss, p->tag, &id);

    if (s && !*text) {
        kept = text_of(box, s, id);
        text = kept;
    }
    if (!s || !text ||
        provider_process_connect(
            box, p->pid, &stream, smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS), &err) < 0)
        return;
    cmd = command_add(s, id, text, /* async= */ true, &err);
    if (!cmd) {
        provider_stream_close(stream);
        return;
    }
    cmd->pid = p->pid;
    command_pump(c, ss->sb, s, cmd, stream, /* has_turn= */ false, &err);
}

int sessions_adopt(struct compose *c, struct sandbox_sessions *ss, struct smx_err *err)
{
    struct provider_process_list list = { 0 };
    struct provider_box *box;
    int r = sandbox_use_begin(ss->sb, &box, err);

    if (r < 0)
        return r;
    r = adopt_dirs(ss, box, err);
    if (r == 0 && ss->n > 0)
        r = provider_processes(box, &list, smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS), err);
    for (size_t i = 0; i < list.n && r == 0; i++)
        adopt_process(c, ss, box, &list.v[i]);
    provider_process_list_done(&list);
    sandbox_use_end(ss->sb);
    return r;
}
