/* files.c - looking at and changing the file tree over the envd protocol. */
#include "providers/envd/internal.h"

#include "wire/envd/brief.h"

enum { FAIR_RECORD = 256 };

static enum provider_file_type type_of(int type)
{
    switch ((enum envd_file_type)type) {
    case ENVD_TYPE_FILE:
        return PROVIDER_FILE_REGULAR;
    case ENVD_TYPE_DIRECTORY:
        return PROVIDER_FILE_DIRECTORY;
    case ENVD_TYPE_SYMLINK:
    case ENVD_TYPE_UNSPECIFIED:
    case ENVD_TYPE_COUNT_:
        break;
    }
    return PROVIDER_FILE_OTHER;
}

static int check_entry(const struct envd_entry *e, struct smx_err *err)
{
    if (e->name && e->path)
        return 0;
    return smx_err_set(err, SMX_E_PROTOCOL, "the sandbox named a file without its path");
}

/* Moves the strings over. */
static void take_entry(struct envd_entry *e, struct provider_file *ret)
{
    int64_t mtime = 0;

    if (e->modified_time)
        smx_rfc3339_parse(e->modified_time, &mtime);
    *ret = (struct provider_file){ .name = smx_take(&e->name),
        .path = smx_take(&e->path),
        .symlink_target = smx_take(&e->symlink_target),
        .owner = smx_take(&e->owner),
        .group = smx_take(&e->group),
        .permissions = smx_take(&e->permissions),
        .type = type_of(e->type),
        .size_bytes = e->size > 0 ? (uint64_t)e->size : 0,
        .mode = (uint32_t)e->mode,
        .mtime_unix_ms = mtime };
    if (ret->type == PROVIDER_FILE_OTHER && ret->symlink_target)
        ret->type = PROVIDER_FILE_SYMLINK;
}

int envd_stat(struct provider_box *box, const char *path, const char *user,
    struct provider_file *ret, uint64_t deadline, struct smx_err *err)
{
    struct envd_box *b = envd_box_of(box);
    SMX_CLEANUP(smx_freep) char *full = envd_path(b, path);
    struct envd_path_request req = { .path = full };
    struct envd_entry_response reply = { 0 };
    struct envd_call call = { .route = ENVD_FS_STAT,
        .as_user = true,
        .user = user,
        .request_table = &envd_path_request_table,
        .request = &req,
        .reply_table = &envd_entry_response_table,
        .reply = &reply,
        .not_found = SMX_E_FILE_NOT_FOUND };
    int r;

    if (!full)
        return smx_err_oom(err);
    r = envd_call(b, &call, deadline, err);
    if (r < 0)
        return r;
    r = check_entry(&reply.entry, err);
    if (r == 0)
        take_entry(&reply.entry, ret);
    json_free(&envd_entry_response_table, &reply);
    return r;
}

static int list_of_json(
    struct envd_entries_response *reply, struct provider_file_list *ret, struct smx_err *err)
{
    struct envd_entry *v = reply->entries.v;
    struct provider_file_list l = { 0 };

    for (size_t i = 0; i < reply->entries.n; i++)
        if (check_entry(&v[i], err) < 0)
            return -SMX_E_PROTOCOL;
    l.v = smx_alloc_array(reply->entries.n + 1, sizeof *l.v);
    for (; l.v && l.n < reply->entries.n; l.n++)
        take_entry(&v[l.n], &l.v[l.n]);
    if (!l.v)
        return smx_err_oom(err);
    *ret = l;
    return 0;
}

/* The text is the caller's buffer, which outlives the entry and is nobody else's. */
static char *text_of(struct smx_view v)
{
    return envd_str(v.p);
}

static void take_brief(const struct envd_brief *e, struct provider_file *ret)
{
    *ret = (struct provider_file){ .name = strrchr(text_of(e->path), '/') + 1,
        .path = text_of(e->path),
        .symlink_target = text_of(e->target),
        .owner = text_of(e->owner),
        .group = text_of(e->group),
        .type = type_of(e->type),
        .size_bytes = e->size,
        .mode = e->mode,
        .mtime_unix_ms = e->mtime_unix_ms };
    if (ret->type == PROVIDER_FILE_OTHER && ret->symlink_target)
        ret->type = PROVIDER_FILE_SYMLINK;
}

static int add_brief(struct provider_file_list *l, size_t *room, const struct envd_brief *e)
{
    if (l->n == *room) {
        size_t more = *room ? *room * 2 : 64;
        struct provider_file *v = smx_realloc(l->v, more * sizeof *v);

        if (!v)
            return -SMX_E_NO_MEMORY;
        l->v = v;
        *room = more;
    }
    take_brief(e, &l->v[l->n++]);
    return 0;
}

/* Takes what the buffer holds. */
static int list_of_records(
    struct smx_buf *records, struct provider_file_list *ret, struct smx_err *err)
{
    SMX_CLEANUP(provider_file_list_done) struct provider_file_list l = { 0 };
    size_t n = records->len, room = 0;
    struct envd_brief e;
    ptrdiff_t used;

    l.text = smx_buf_steal(records);
    if (!l.text)
        return smx_err_oom(err);
    for (const char *p = l.text; n > 0; p += used, n -= (size_t)used) {
        used = envd_brief_parse(p, n, &e);
        if (used < 0)
            return smx_err_set(err, SMX_E_PROTOCOL, "the sandbox's list of files makes no sense");
        if (add_brief(&l, &room, &e) < 0)
            return smx_err_oom(err);
        io_fair(FAIR_RECORD);
    }
    *ret = l;
    l = (struct provider_file_list){ 0 };
    return 0;
}

int envd_list_dir(struct provider_box *box, const char *path, const char *user, unsigned depth,
    struct provider_file_list *ret, uint64_t deadline, struct smx_err *err)
{
    struct envd_box *b = envd_box_of(box);
    SMX_CLEANUP(smx_freep) char *full = envd_path(b, path);
    SMX_CLEANUP(smx_buf_done) struct smx_buf records = { 0 };
    struct envd_list_dir_request req = { .path = full, .depth = depth ? depth : 1, .brief = true };
    struct envd_entries_response reply = { 0 };
    struct envd_call call = { .route = ENVD_FS_LIST_DIR,
        .as_user = true,
        .user = user,
        .request_table = &envd_list_dir_request_table,
        .request = &req,
        .reply_table = &envd_entries_response_table,
        .reply = &reply,
        .other_type = ENVD_BRIEF_TYPE,
        .other = &records,
        .not_found = SMX_E_FILE_NOT_FOUND };
    int r;

    if (!full)
        return smx_err_oom(err);
    smx_buf_init(&records, SMX_RPC_ENVELOPE_MAX);
    r = envd_call(b, &call, deadline, err);
    if (r == 0)
        r = records.data ? list_of_records(&records, ret, err) : list_of_json(&reply, ret, err);
    json_free(&envd_entries_response_table, &reply);
    return r;
}

static int on_path(struct provider_box *box, const char *route, const char *path, const char *user,
    uint64_t deadline, struct smx_err *err)
{
    struct envd_box *b = envd_box_of(box);
    SMX_CLEANUP(smx_freep) char *full = envd_path(b, path);
    struct envd_path_request req = { .path = full };
    struct envd_call call = { .route = route,
        .as_user = true,
        .user = user,
        .request_table = &envd_path_request_table,
        .request = &req,
        .not_found = SMX_E_FILE_NOT_FOUND };

    return full ? envd_call(b, &call, deadline, err) : smx_err_oom(err);
}

int envd_make_dir(struct provider_box *box, const char *path, const char *user, uint64_t deadline,
    struct smx_err *err)
{
    return on_path(box, ENVD_FS_MAKE_DIR, path, user, deadline, err);
}

int envd_remove(struct provider_box *box, const char *path, const char *user, uint64_t deadline,
    struct smx_err *err)
{
    return on_path(box, ENVD_FS_REMOVE, path, user, deadline, err);
}

int envd_move(struct provider_box *box, const char *from, const char *to, const char *user,
    uint64_t deadline, struct smx_err *err)
{
    struct envd_box *b = envd_box_of(box);
    SMX_CLEANUP(smx_freep) char *source = envd_path(b, from);
    SMX_CLEANUP(smx_freep) char *destination = envd_path(b, to);
    struct envd_move_request req = { .source = source, .destination = destination };
    struct envd_call call = { .route = ENVD_FS_MOVE,
        .as_user = true,
        .user = user,
        .request_table = &envd_move_request_table,
        .request = &req,
        .not_found = SMX_E_FILE_NOT_FOUND };

    return source && destination ? envd_call(b, &call, deadline, err) : smx_err_oom(err);
}
