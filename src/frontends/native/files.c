/* files.c - files as entries: list, stat, make, move, remove, multipart upload. Their content is in
 * content.c. Paths go to the agent as they are: what is inside a sandbox is resolved inside. */
#include "frontends/native/content.h"

#include "http/multipart.h"

enum { LIST_MAX_BYTES = 64 * 1024 * 1024 };

/* --- entries ---------------------------------------------------------------------------------- */

static const char *type_name(enum provider_file_type t)
{
    switch (t) {
    case PROVIDER_FILE_REGULAR:
        return "file";
    case PROVIDER_FILE_DIRECTORY:
        return "dir";
    case PROVIDER_FILE_SYMLINK:
        return "symlink";
    case PROVIDER_FILE_OTHER:
        return "other";
    }
    return "other";
}

void native_write_file(struct json_writer *w, const struct provider_file *f)
{
    char time[SMX_RFC3339_SIZE];
    char mode[] = { (char)('0' + (f->mode >> 9 & 7)), (char)('0' + (f->mode >> 6 & 7)),
        (char)('0' + (f->mode >> 3 & 7)), (char)('0' + (f->mode & 7)), '\0' };
    struct native_file n = { .name = f->name,
        .path = f->path,
        .is_dir = f->type == PROVIDER_FILE_DIRECTORY,
        .size = f->size_bytes,
        .mod_time = time,
        .permissions = mode,
        .type = (char *)(uintptr_t)type_name(f->type), /* tables own what they decode only */
        .target = f->symlink_target,
        .owner = f->owner,
        .group = f->group };

    smx_rfc3339_format(time, f->mtime_unix_ms);
    native_file_encode(w, &n);
}

static void reply_list(struct http_exchange *x, const struct provider_file_list *list)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, LIST_MAX_BYTES);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "files");
    json_array_begin(&w);
    for (size_t i = 0; i < list->n; i++)
        native_write_file(&w, &list->v[i]);
    json_array_end(&w);
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

static void reply_stat(
    struct http_exchange *x, struct provider_box *box, const char *path, struct smx_err *err)
{
    struct provider_file f = { 0 };
    struct json_writer w;
    struct smx_buf out;

    if (provider_stat(box, path, /* user= */ NULL, &f, native_deadline(), err) < 0) {
        native_fail(x, err);
        return;
    }
    smx_buf_init(&out, SMX_JSON_MAX);
    json_writer_init(&w, &out);
    native_write_file(&w, &f);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
    provider_file_done(&f);
}

void native_file_list(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    SMX_CLEANUP(smx_freep) char *path = NULL;
    struct provider_file_list list = { 0 };
    struct smx_err err = { 0 };
    uint64_t depth = 1;
    bool one = false;
    int r = native_query_path(x, &path, &err);

    if (r == 0)
        r = http_query_u64(x, "depth", 1, 64, &depth, &err);
    if (r >= 0)
        r = http_query_bool(x, "stat", &one, &err);
    if (r >= 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r == 0 && one) {
        reply_stat(x, use.box, path, &err);
        return;
    }
    if (r == 0)
        r = provider_list_dir(
            use.box, path, /* user= */ NULL, (unsigned)depth, &list, native_deadline(), &err);
    if (r < 0)
        native_fail(x, &err);
    else
        reply_list(x, &list);
    provider_file_list_done(&list);
}

/* --- changes ---------------------------------------------------------------------------------- */

void native_file_make_dir(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    SMX_CLEANUP(smx_freep) char *path = NULL;
    struct provider_file f = { 0 };
    struct smx_err err = { 0 };
    int status = 201, r = native_query_path(x, &path, &err);

    if (r == 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r == 0)
        r = provider_make_dir(use.box, path, /* user= */ NULL, native_deadline(), &err);
    if (r == -SMX_E_EXISTS) { /* there already: fine when it is a directory */
        status = 200;
        r = provider_stat(use.box, path, /* user= */ NULL, &f, native_deadline(), &err);
        if (r == 0 && f.type != PROVIDER_FILE_DIRECTORY)
            r = smx_err_set(&err, SMX_E_EXISTS, "%.200s exists and is not a directory", path);
        provider_file_done(&f);
    }
    if (r < 0)
        native_fail(x, &err);
    else
        http_reply(x, status, NATIVE_JSON, "{}", 2);
}

void native_file_move(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    struct native_move req;
    struct smx_err err = { 0 };
    int r = dialect_body(x, &native_move_table, SMX_HTTP_JSON_BODY_MAX, &req, NULL, &err);

    if (r == 0)
        r = native_check_path("from", req.from, &err);
    if (r == 0)
        r = native_check_path("to", req.to, &err);
    if (r == 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r == 0)
        r = provider_move(use.box, req.from, req.to, /* user= */ NULL, native_deadline(), &err);
    if (r < 0)
        native_fail(x, &err);
    else
        http_reply(x, 200, NATIVE_JSON, "{}", 2);
    json_free(&native_move_table, &req);
}

/* Without recursive only files and empty directories go. */
static int check_removable(
    struct provider_box *box, const char *path, bool recursive, struct smx_err *err)
{
    struct provider_file_list list = { 0 };
    struct provider_file f = { 0 };
    int r = provider_stat(box, path, /* user= */ NULL, &f, native_deadline(), err);
    bool dir = r == 0 && f.type == PROVIDER_FILE_DIRECTORY && !f.symlink_target;

    provider_file_done(&f);
    if (r < 0 || !dir || recursive)
        return r;
    r = provider_list_dir(box, path, /* user= */ NULL, 1, &list, native_deadline(), err);
    if (r == 0 && list.n > 0)
        r = smx_err_set(err, SMX_E_EXISTS, "directory %.150s is not empty; add recursive=1", path);
    provider_file_list_done(&list);
    return r;
}

void native_file_delete(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    SMX_CLEANUP(smx_freep) char *path = NULL;
    struct smx_err err = { 0 };
    bool recursive = false;
    int r = native_query_path(x, &path, &err);

    if (r == 0)
        r = http_query_bool(x, "recursive", &recursive, &err);
    if (r >= 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r == 0)
        r = check_removable(use.box, path, recursive, &err);
    if (r == 0)
        r = provider_remove(use.box, path, /* user= */ NULL, native_deadline(), &err);
    if (r < 0)
        native_fail(x, &err);
    else
        dialect_no_content(x);
}

/* --- multipart: field "path", then "file" ------------------------------------------------------
 */

struct upload {
    struct http_exchange *x;
    struct provider_box *box;
    char path[SMX_PATH_MAX];
    size_t files;
    uint64_t bytes;
};

static ssize_t pull_body(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct upload *u = ctx;

    return http_body_read(u->x, data, n, smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS), err);
}

static ssize_t pull_part(void *ctx, void *data, size_t n, struct smx_err *err)
{
    return multipart_read(ctx, data, n, err);
}

static int take_path(struct upload *u, struct multipart *m, struct smx_err *err)
{
    size_t used = 0;
    ssize_t n;

    while ((n = multipart_read(m, u->path + used, sizeof u->path - used, err)) > 0) {
        used += (size_t)n;
        if (used == sizeof u->path)
            return smx_err_set(
                err, SMX_E_INVALID, "path: longer than %zu bytes", sizeof u->path - 1);
    }
    if (n < 0)
        return (int)n;
    u->path[used] = 0;
    if (strlen(u->path) != used)
        return smx_err_set(err, SMX_E_INVALID, "path: contains a NUL byte");
    return 0;
}

static int take_file(
    struct upload *u, struct multipart *m, const struct multipart_part *part, struct smx_err *err)
{
    uint64_t bytes = 0;
    int r;

    if (!*u->path && part->filename)
        smx_strcpy(u->path, sizeof u->path, part->filename);
    if (!*u->path)
        return smx_err_set(err, SMX_E_INVALID, "path: the field must come before the file");
    r = native_check_path("path", u->path, err);
    if (r < 0)
        return r;
    r = native_store(u->box, u->path, UINT64_MAX, pull_part, m, &bytes, err);
    u->bytes += bytes;
    u->files += r == 0;
    u->path[0] = 0;
    return r;
}

static int take_parts(struct upload *u, struct multipart *m, struct smx_err *err)
{
    struct multipart_part part;
    int r;

    while ((r = multipart_next(m, &part, err)) > 0) {
        if (smx_streq(part.name, "path"))
            r = take_path(u, m, err);
        else if (smx_streq(part.name, "file"))
            r = take_file(u, m, &part, err);
        else
            r = smx_err_set(err, SMX_E_INVALID, "%.100s: unknown field", part.name);
        if (r < 0)
            return r;
    }
    if (r == 0 && u->files == 0)
        r = smx_err_set(err, SMX_E_INVALID, "file: the form has no such part");
    return r;
}

void native_file_upload(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    SMX_CLEANUP(multipart_freep) struct multipart *m = NULL;
    struct upload *u = http_alloc(x, sizeof *u);
    struct smx_err err = { 0 };
    struct smx_view type = http_field(x, "Content-Type");
    int r = u ? 0 : smx_err_oom(&err);

    if (r == 0)
        r = multipart_new(type.p ? type : SMX_VIEW(""), pull_body, u, &m, &err);
    if (r == 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r == 0) {
        *u = (struct upload){ .x = x, .box = use.box };
        r = take_parts(u, m, &err);
    }
    if (r < 0)
        native_fail(x, &err);
    else
        native_reply_size(x, 200, u->bytes);
}
