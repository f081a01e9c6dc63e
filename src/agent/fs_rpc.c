/* fs_rpc.c - filesystem.Filesystem. Metadata calls run at once on the loop's thread; a walk yields
 * between directories; removing a tree or a large file runs in a child. */
#include "agent/fs_rpc.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/entry.h"
#include "agent/filework.h"
#include "agent/identity.h"
#include "agent/pathname.h"
#include "agent/tree.h"
#include "base/limits.h"
#include "base/mem.h"
#include "wire/envd/brief.h"

enum { REMOVE_INLINE_BLOCKS = 64 * 1024, FAIR_ENTRY = 2048, LOOKS = 1024 };

enum rpc_code fs_decode(struct call *c, const struct json_table *table, void *ret)
{
    enum rpc_code code = call_decode(c, table, ret);

    if (code == RPC_INVALID_ARGUMENT && memmem(c->msg.p, c->msg.n, "\\u0000", 6))
        return call_fail(
            c, RPC_INTERNAL, "error getting file info: a path with NUL: invalid argument");
    return code;
}

enum rpc_code fs_path(struct call *c, const char *path, char **ret_path)
{
    struct agent_user user;
    enum rpc_code code = call_user(c, &user);
    int r;

    if (code != RPC_OK)
        return code;
    r = path_resolve(path ? path : "", user.home, c->agent->settings.default_workdir, user.name,
        ret_path, &c->err);
    if (r == 0 && identity_fs(&user, &c->err) < 0) {
        smx_free(smx_take(ret_path));
        r = -SMX_E_FORBIDDEN;
    }
    agent_user_done(&user);
    return r == 0 ? RPC_OK : call_error(c);
}

static enum rpc_code internal(struct call *c, const char *doing, const char *path, int e)
{
    return call_fail(c, e == ENOSPC || e == EDQUOT ? RPC_RESOURCE_EXHAUSTED : RPC_INTERNAL,
        "%s: %.120s: %s", doing, path, strerror(e));
}

/* {"entry": ...} of the path. */
static enum rpc_code reply_entry(struct call *c, const char *path)
{
    struct json_writer w;
    size_t before = c->out.len;

    users_refresh(&c->agent->users);
    json_writer_init(&w, &c->out);
    json_object_begin(&w);
    json_key(&w, "entry");
    if (entry_write_path(&w, &c->agent->users, path) < 0) {
        int e = errno;

        c->out.len = before;
        if (e == ENOENT)
            return call_fail(c, RPC_NOT_FOUND, "file not found: %.120s: %s", path, strerror(e));
        return internal(c, "error getting file info", path, e);
    }
    json_object_end(&w);
    return RPC_OK;
}

/* Decodes a request that is just a path. */
static enum rpc_code one_path(struct call *c, char **ret_path, bool *ret_empty)
{
    struct envd_path_request request;
    enum rpc_code code = fs_decode(c, &envd_path_request_table, &request);

    if (code != RPC_OK)
        return code;
    if (ret_empty)
        *ret_empty = !request.path || !*request.path;
    code = fs_path(c, request.path, ret_path);
    json_free(&envd_path_request_table, &request);
    return code;
}

enum rpc_code fs_rpc_stat(struct call *c)
{
    SMX_CLEANUP(smx_freep) char *path = NULL;
    enum rpc_code code = one_path(c, &path, /* ret_empty= */ NULL);

    return code == RPC_OK ? reply_entry(c, path) : code;
}

enum rpc_code fs_rpc_make_dir(struct call *c)
{
    SMX_CLEANUP(smx_freep) char *path = NULL;
    enum rpc_code code = one_path(c, &path, /* ret_empty= */ NULL);
    struct stat st;
    int e;

    if (code != RPC_OK)
        return code;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return call_fail(c, RPC_ALREADY_EXISTS, "directory already exists: %.180s", path);
        return call_fail(
            c, RPC_INVALID_ARGUMENT, "path already exists but it is not a directory: %.160s", path);
    }
    if (errno != ENOENT)
        return internal(c, "error getting file info", path, errno);
    e = tree_make(path);
    if (e != 0)
        return internal(c, "error creating directory", path, e);
    return reply_entry(c, path);
}

/* --- Move -------------------------------------------------------------------------------- */

struct moving {
    const char *from, *to;
};

static int move_work(void *arg)
{
    const struct moving *m = arg;

    return tree_move_across(m->from, m->to);
}

static enum rpc_code move_across(struct call *c, const char *from, const char *to)
{
    struct moving m = { from, to };
    int e = 0;

    if (filework_run(c->agent, c->x, c->deadline_ns, move_work, &m, &e, &c->err) < 0)
        return call_error(c);
    return e != 0 ? internal(c, "error moving to", to, e) : reply_entry(c, to);
}

static enum rpc_code move(struct call *c, const char *from, const char *to)
{
    struct stat st;
    int e;

    if (lstat(from, &st) < 0) {
        if (errno == ENOENT)
            return call_fail(
                c, RPC_NOT_FOUND, "source file not found: %.120s: %s", from, strerror(errno));
        return internal(c, "error getting file info", from, errno);
    }
    e = tree_make_parent(to);
    if (e != 0)
        return internal(c, "error creating the directories of", to, e);
    if (rename(from, to) == 0)
        return reply_entry(c, to);
    if (errno == EXDEV)
        return move_across(c, from, to);
    return internal(c, "error renaming to", to, errno);
}

enum rpc_code fs_rpc_move(struct call *c)
{
    struct envd_move_request request;
    SMX_CLEANUP(smx_freep) char *from = NULL;
    SMX_CLEANUP(smx_freep) char *to = NULL;
    enum rpc_code code = fs_decode(c, &envd_move_request_table, &request);

    if (code != RPC_OK)
        return code;
    code = fs_path(c, request.source, &from);
    if (code == RPC_OK)
        code = fs_path(c, request.destination, &to);
    json_free(&envd_move_request_table, &request);
    return code == RPC_OK ? move(c, from, to) : code;
}

/* --- Remove ------------------------------------------------------------------------------ */

static int remove_work(void *arg)
{
    return tree_remove(arg);
}

enum rpc_code fs_rpc_remove(struct call *c)
{
    SMX_CLEANUP(smx_freep) char *path = NULL;
    bool empty = false;
    enum rpc_code code = one_path(c, &path, &empty);
    struct stat st;
    int e = 0, r = 0;

    if (code != RPC_OK)
        return code;
    if (empty)
        return call_fail(
            c, RPC_INVALID_ARGUMENT, "an empty path means the home directory: name it");
    if (smx_streq(path, "/"))
        return call_fail(c, RPC_INVALID_ARGUMENT, "the root directory cannot be removed");
    if (lstat(path, &st) < 0)
        e = errno;
    else if (S_ISDIR(st.st_mode) || st.st_blocks > REMOVE_INLINE_BLOCKS)
        r = filework_run(c->agent, c->x, c->deadline_ns, remove_work, path, &e, &c->err);
    else
        e = tree_remove(path);
    if (r < 0)
        return call_error(c);
    if (e != 0 && e != ENOENT)
        return internal(c, "error removing file or directory", path, e);
    return RPC_OK;
}

/* --- ListDir ----------------------------------------------------------------------------- */

/* One directory of a walk that is under way. */
struct level {
    struct tree_names names;
    size_t next;
    size_t path_len; /* of the directory */
};
struct walk {
    struct call *call;
    struct json_writer w;
    struct smx_buf path;
    struct level *levels;
    size_t depth, room, max_depth;
    /* Of the innermost level where nothing is entered: its names from first on, looked at at once
     */
    struct look *looks;
    size_t first, n_looks;
    bool brief;
    bool records; /* the reply's form: wire/envd/brief.h */
};

/* Whose directory is the working directory: names are looked up from there, which spares the kernel
 * the whole path for each entry. Another walk may take it whenever a fiber parks. */
static const struct walk *cwd_walk;
static size_t cwd_depth;

/* How to reach the entry of that name now: the name, or the path if there is no entering. */
static const char *reach(struct walk *k, const struct level *l, const char *name)
{
    char *end = k->path.data + l->path_len;
    char kept = *end;

    if (cwd_walk == k && cwd_depth == k->depth)
        return name;
    *end = '\0';
    cwd_walk = chdir(l->path_len > 1 ? k->path.data : "/") == 0 ? k : NULL;
    cwd_depth = k->depth;
    *end = kept;
    return cwd_walk ? name : k->path.data;
}

static void leave(const struct walk *k)
{
    if (cwd_walk == k && chdir("/") == 0)
        cwd_walk = NULL;
}

static enum rpc_code enter(struct walk *k)
{
    struct level *l;
    int e;

    if (k->depth == k->room) {
        size_t room = k->room ? k->room * 2 : 4;

        l = smx_realloc(k->levels, room * sizeof *l);
        if (!l)
            return call_fail(k->call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        k->levels = l;
        k->room = room;
    }
    l = &k->levels[k->depth];
    *l = (struct level){ .path_len = k->path.len };
    k->n_looks = 0;
    if (cwd_walk == k)
        cwd_walk = NULL;
    e = tree_names_read(k->path.data, &l->names);
    if (e == ENOMEM)
        return call_fail(k->call, RPC_RESOURCE_EXHAUSTED, "out of memory");
    if (e != 0 && k->depth == 0)
        return internal(k->call, "error reading directory", k->path.data, e);
    k->depth++; /* one that vanished meanwhile is empty */
    return RPC_OK;
}

/* What there is at the next name of a directory; NULL when it has vanished. */
static const struct look *look(struct walk *k, struct level *l, const char *at, struct look *one)
{
    bool here = at != k->path.data, leaf = k->depth == k->max_depth;
    size_t i = l->next - 1;

    if (leaf && here && !k->looks)
        k->looks = smx_alloc_array(LOOKS, sizeof *k->looks);
    if (!leaf || !here || !k->looks)
        return look_at(at, one) == 0 ? one : NULL;
    if (i - k->first >= k->n_looks) {
        k->first = i;
        k->n_looks = SMX_MIN(l->names.n - i, (size_t)LOOKS);
        look_at_all(l->names.v + i, k->n_looks, k->looks);
    }
    return k->looks[i - k->first].error == 0 ? &k->looks[i - k->first] : NULL;
}

static enum rpc_code visit(struct walk *k, struct level *l)
{
    const char *name = l->names.v[l->next++];
    struct entry_want want;
    struct look one;

    io_fair(FAIR_ENTRY);
    k->path.len = l->path_len;
    if (k->path.len > 1)
        smx_buf_append_char(&k->path, '/');
    smx_buf_append_str(&k->path, name);
    if (k->path.failed || k->call->out.failed)
        return call_fail(k->call, RPC_RESOURCE_EXHAUSTED, "the list is too long");
    want = (struct entry_want){ .path = k->path.data, .at = reach(k, l, name), .brief = k->brief };
    want.look = look(k, l, want.at, &one);
    if (!want.look)
        return RPC_OK;
    if (k->records)
        entry_append(&k->call->out, &k->call->agent->users, &want);
    else
        entry_write(&k->w, &k->call->agent->users, &want);
    return S_ISDIR(want.look->mode) && k->depth < k->max_depth ? enter(k) : RPC_OK;
}

static enum rpc_code walk(struct walk *k)
{
    enum rpc_code code = enter(k);

    while (code == RPC_OK && k->depth > 0) {
        struct level *l = &k->levels[k->depth - 1];

        if (l->next < l->names.n) {
            code = visit(k, l);
        } else {
            tree_names_done(&l->names);
            k->depth--;
        }
    }
    while (k->depth > 0)
        tree_names_done(&k->levels[--k->depth].names);
    leave(k);
    return code;
}

static enum rpc_code walk_json(struct walk *k)
{
    enum rpc_code code;

    json_writer_init(&k->w, &k->call->out);
    json_object_begin(&k->w);
    json_key(&k->w, "entries");
    json_array_begin(&k->w);
    code = walk(k);
    json_array_end(&k->w);
    json_object_end(&k->w);
    return code;
}

static enum rpc_code walk_records(struct walk *k)
{
    k->call->out_type = ENVD_BRIEF_TYPE;
    return walk(k);
}

static enum rpc_code list(
    struct call *c, const char *path, const struct envd_list_dir_request *request)
{
    struct smx_view accept = http_field(c->x, "Accept");
    struct walk k = { .call = c,
        .max_depth = request->depth ? request->depth : 1,
        .brief = request->brief,
        .records = !c->web && accept.p && smx_view_eq(accept, ENVD_BRIEF_TYPE) };
    enum rpc_code code;
    struct stat st;

    if (stat(path, &st) < 0) {
        if (errno == ENOENT)
            return call_fail(c, RPC_NOT_FOUND, "path not found: %.120s: %s", path, strerror(errno));
        if (errno == ELOOP)
            return call_fail(c, RPC_FAILED_PRECONDITION, "%.120s: %s", path, strerror(errno));
        return internal(c, "error getting path info", path, errno);
    }
    if (!S_ISDIR(st.st_mode))
        return call_fail(c, RPC_INVALID_ARGUMENT, "path is not a directory: %.180s", path);
    users_refresh(&c->agent->users);
    smx_buf_init(&k.path, SMX_PATH_MAX + NAME_MAX);
    smx_buf_append_str(&k.path, path);
    code = k.records ? walk_records(&k) : walk_json(&k);
    smx_buf_done(&k.path);
    smx_free(k.levels);
    smx_free(k.looks);
    return code;
}

enum rpc_code fs_rpc_list_dir(struct call *c)
{
    struct envd_list_dir_request request;
    SMX_CLEANUP(smx_freep) char *path = NULL;
    enum rpc_code code = fs_decode(c, &envd_list_dir_request_table, &request);

    if (code != RPC_OK)
        return code;
    code = fs_path(c, request.path, &path);
    if (code == RPC_OK)
        code = list(c, path, &request);
    json_free(&envd_list_dir_request_table, &request);
    return code;
}
