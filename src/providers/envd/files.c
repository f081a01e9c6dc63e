/* files.c - looking at and changing the file tree over the envd protocol. */
#include "providers/envd/internal.h"

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
    take_entry(&reply.entry, ret);
    json_free(&envd_entry_response_table, &reply);
    return 0;
}

int envd_list_dir(struct provider_box *box, const char *path, const char *user, unsigned depth,
    struct provider_file_list *ret, uint64_t deadline, struct smx_err *err)
{
    struct envd_box *b = envd_box_of(box);
    SMX_CLEANUP(smx_freep) char *full = envd_path(b, path);
    struct envd_list_dir_request req = { .path = full, .depth = depth ? depth : 1, .brief = true };
    struct envd_entries_response reply = { 0 };
    struct envd_call call = { .route = ENVD_FS_LIST_DIR,
        .as_user = true,
        .user = user,
        .request_table = &envd_list_dir_request_table,
        .request = &req,
        .reply_table = &envd_entries_response_table,
        .reply = &reply,
        .not_found = SMX_E_FILE_NOT_FOUND };
    struct provider_file_list l = { 0 };
    int r;

    if (!full)
        return smx_err_oom(err);
    r = envd_call(b, &call, deadline, err);
    if (r < 0)
        return r;
    l.v = smx_alloc_array(reply.entries.n + 1, sizeof *l.v);
    for (size_t i = 0; i < reply.entries.n && l.v; i++)
        take_entry(&((struct envd_entry *)reply.entries.v)[i], &l.v[l.n++]);
    json_free(&envd_entries_response_table, &reply);
    if (!l.v)
        return smx_err_oom(err);
    *ret = l;
    return 0;
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
