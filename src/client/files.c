/* files.c - files of a sandbox: whole ones are streamed by /files/content, entries listed by
 * /files. */
#include "client/internal.h"

#include <stdio.h>

#include "sandmux/files.h"

#define ROOT "/api/sandboxes"

/* Silence of a transfer that ends it; a transfer as a whole may take as long as it takes. */
enum { TRANSFER_IDLE_MS = 120000, ALL_FIRST = 64 * 1024 };

static int file_path(
    struct smx_buf *out, const char *id, const char *suffix, const char *path, struct smx_err *err)
{
    int r;

    smx_buf_init(out, SMX_HTTP_HEAD_MAX);
    if (!path || !path[0])
        return smx_err_set(err, SMX_E_INVALID, "the path must not be empty");
    r = call_path(out, ROOT, id, suffix, err);
    if (r < 0)
        return r;
    call_query(out, "path", path);
    return smx_buf_check(out, err);
}

/* --- entries ------------------------------------------------------------------------------------
 */

struct list_box {
    struct smx_file_list pub;
    struct native_file_list wire;
    struct smx_file *items;
    char *json;
};

static unsigned octal(const char *s)
{
    unsigned v = 0;

    for (; s && *s >= '0' && *s <= '7'; s++)
        v = v * 8 + (unsigned)(*s - '0');
    return v & 07777;
}

static int fill_list(struct list_box *l, struct smx_err *err)
{
    const struct native_file *v = l->wire.files.v;
    size_t n = l->wire.files.n;

    l->items = smx_alloc_array(n + 1, sizeof *l->items);
    if (!l->items)
        return smx_err_oom(err);
    for (size_t i = 0; i < n; i++)
        l->items[i] = (struct smx_file){ .name = v[i].name,
            .path = v[i].path,
            .type = v[i].type     ? v[i].type
                    : v[i].is_dir ? "dir"
                                  : "file",
            .target = v[i].target,
            .mod_time = v[i].mod_time,
            .owner = v[i].owner,
            .group = v[i].group,
            .is_dir = v[i].is_dir,
            .bytes = v[i].size,
            .permissions = octal(v[i].permissions) };
    l->pub = (struct smx_file_list){ l->items, n, l->json };
    return 0;
}

static int list(struct smx_client *c, struct smx_buf *path, struct smx_file_list **ret_list,
    struct smx_err *err)
{
    struct call call = { .method = "GET", .path = path->data };
    struct list_box *l = smx_alloc(sizeof *l);
    int r;

    if (!l)
        return smx_err_oom(err);
    r = smx_buf_check(path, err);
    if (r == 0)
        r = call_json(c, &call, &native_file_list_table, &l->wire, &l->json, err);
    if (r == 0)
        r = fill_list(l, err);
    if (r < 0)
        smx_file_list_free(&l->pub);
    else
        *ret_list = &l->pub;
    return r;
}

int smx_file_list(struct smx_client *c, const char *id, const char *path, unsigned depth,
    struct smx_file_list **ret_list, struct smx_err *err)
{
    struct smx_buf b;
    int r = file_path(&b, id, "/files", path, err);

    if (r == 0) {
        if (depth > 1)
            call_query_u64(&b, "depth", depth);
        r = list(c, &b, ret_list, err);
    }
    smx_buf_done(&b);
    return r;
}

/* One entry comes as it is, not as a list. */
static int stat_entry(
    struct smx_client *c, const struct smx_buf *path, struct list_box *l, struct smx_err *err)
{
    struct call call = { .method = "GET", .path = path->data };
    struct native_file *entry = smx_alloc(sizeof *entry);
    int r;

    if (!entry)
        return smx_err_oom(err);
    r = call_json(c, &call, &native_file_table, entry, &l->json, err);
    if (r < 0) {
        smx_free(entry);
        return r;
    }
    l->wire.files = (struct json_array){ .v = entry, .n = 1 };
    return fill_list(l, err);
}

int smx_file_stat(struct smx_client *c, const char *id, const char *path,
    struct smx_file_list **ret_list, struct smx_err *err)
{
    struct list_box *l = smx_alloc(sizeof *l);
    struct smx_buf b;
    int r;

    if (!l)
        return smx_err_oom(err);
    r = file_path(&b, id, "/files", path, err);
    if (r == 0) {
        call_query(&b, "stat", "1");
        r = smx_buf_check(&b, err);
    }
    if (r == 0)
        r = stat_entry(c, &b, l, err);
    smx_buf_done(&b);
    if (r < 0)
        smx_file_list_free(&l->pub);
    else
        *ret_list = &l->pub;
    return r;
}

void smx_file_list_free(struct smx_file_list *files)
{
    struct list_box *l = SMX_CONTAINER_OF(files, struct list_box, pub);

    if (!files)
        return;
    json_free(&native_file_list_table, &l->wire);
    smx_free(l->items);
    smx_free(l->json);
    smx_free(l);
}

/* --- reading ------------------------------------------------------------------------------------
 */

int smx_file_read(struct smx_client *c, const char *id, const char *path, uint64_t offset,
    uint64_t bytes, smx_file_sink_fn *sink, void *arg, struct smx_err *err)
{
    struct call call = {
        .method = "GET", .accept = "*/*", .timeout_ms = UINT64_MAX, .idle_ms = TRANSFER_IDLE_MS
    };
    struct conn *conn = NULL;
    struct smx_buf b;
    char range[64] = "";
    int r = file_path(&b, id, "/files/content", path, err);

    if (bytes)
        snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)offset,
            (unsigned long long)(offset + bytes - 1));
    else if (offset)
        snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)offset);
    call.path = b.data;
    call.range = range[0] ? range : NULL;
    if (r == 0)
        r = call_open(c, &call, &conn, err);
    if (r == 0)
        r = call_drain(conn, sink, arg, err);
    client_give(c, conn);
    smx_buf_done(&b);
    return r;
}

static int sink_buffer(const void *data, size_t bytes, void *arg)
{
    return smx_buf_append(arg, data, bytes);
}

int smx_file_read_all(struct smx_client *c, const char *id, const char *path, size_t max_bytes,
    char **ret_data, size_t *ret_bytes, struct smx_err *err)
{
    struct smx_buf b;
    size_t bytes;
    int r;

    smx_buf_init(&b, max_bytes);
    r = smx_file_read(c, id, path, /* offset= */ 0, /* bytes= */ 0, sink_buffer, &b, err);
    if (r == -SMX_E_TOO_LARGE)
        r = smx_err_set(err, SMX_E_TOO_LARGE, "%s has more than %zu bytes", path, max_bytes);
    bytes = b.len;
    if (r == 0) {
        char *data = b.data ? smx_buf_steal(&b) : smx_strdup("");

        if (!data)
            r = smx_err_oom(err);
        else {
            *ret_data = data;
            *ret_bytes = bytes;
        }
    }
    smx_buf_done(&b);
    return r;
}

void smx_file_data_free(char *data)
{
    smx_free(data);
}

/* --- writing ------------------------------------------------------------------------------------
 */

static int plain(struct smx_client *c, const char *method, const struct smx_buf *path,
    const struct smx_buf *body, struct smx_err *err)
{
    struct call call = { .method = method, .path = path->data };

    if (body) {
        call.body = body->data;
        call.n = body->len;
    }
    return call_json(c, &call, /* table= */ NULL, /* ret= */ NULL, /* ret_json= */ NULL, err);
}

int smx_file_write(struct smx_client *c, const char *id, const char *path, uint64_t bytes,
    unsigned mode, smx_file_source_fn *source, void *arg, struct smx_err *err)
{
    struct call call = { .method = "PUT",
        .content_type = "application/octet-stream",
        .source = source,
        .source_arg = arg,
        .source_bytes = bytes,
        .timeout_ms = UINT64_MAX,
        .idle_ms = TRANSFER_IDLE_MS };
    struct smx_buf b;
    char octal_mode[8];
    int r = file_path(&b, id, "/files/content", path, err);

    if (r == 0 && mode) {
        snprintf(octal_mode, sizeof octal_mode, "%04o", mode & 07777U);
        call_query(&b, "mode", octal_mode);
        r = smx_buf_check(&b, err);
    }
    call.path = b.data;
    if (r == 0)
        r = call_json(c, &call, /* table= */ NULL, /* ret= */ NULL, /* ret_json= */ NULL, err);
    smx_buf_done(&b);
    return r;
}

static ssize_t source_memory(void *data, size_t room, void *arg)
{
    struct smx_view *left = arg;
    size_t n = SMX_MIN(room, left->n);

    memcpy(data, left->p, n);
    left->p += n;
    left->n -= n;
    return (ssize_t)n;
}

int smx_file_write_all(struct smx_client *c, const char *id, const char *path, const void *data,
    size_t bytes, unsigned mode, struct smx_err *err)
{
    struct smx_view left = { bytes ? data : "", bytes };

    return smx_file_write(c, id, path, bytes, mode, source_memory, &left, err);
}

/* --- names --------------------------------------------------------------------------------------
 */

int smx_file_mkdir(struct smx_client *c, const char *id, const char *path, struct smx_err *err)
{
    struct smx_buf b;
    int r = file_path(&b, id, "/files", path, err);

    if (r == 0)
        r = plain(c, "PUT", &b, /* body= */ NULL, err);
    smx_buf_done(&b);
    return r;
}

int smx_file_remove(
    struct smx_client *c, const char *id, const char *path, int recursive, struct smx_err *err)
{
    struct smx_buf b;
    int r = file_path(&b, id, "/files", path, err);

    if (r == 0) {
        call_query(&b, "recursive", recursive ? "1" : NULL);
        r = plain(c, "DELETE", &b, /* body= */ NULL, err);
    }
    smx_buf_done(&b);
    return r;
}

int smx_file_move(
    struct smx_client *c, const char *id, const char *from, const char *to, struct smx_err *err)
{
    struct smx_buf path, body;
    struct json_writer w;
    int r = text_check("from", from, err);

    if (r == 0)
        r = text_check("to", to, err);
    if (r < 0)
        return r;
    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    r = call_path(&path, ROOT, id, "/files/move", err);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_kv_string(&w, "from", from);
    json_kv_string(&w, "to", to);
    json_object_end(&w);
    if (r == 0)
        r = json_writer_end(&w, err);
    if (r == 0)
        r = plain(c, "POST", &path, &body, err);
    smx_buf_done(&path);
    smx_buf_done(&body);
    return r;
}
