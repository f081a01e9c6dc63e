/* data.c - files of the runtime in memory: absolute paths in a list. One loop's thread. */
#include "providers/fake/internal.h"

struct fake_file {
    struct smx_list link;
    char *path; /* absolute */
    bool directory;
    struct smx_buf content;
    int64_t mtime_unix_ms;
};

enum { FILE_MAX = 64 * 1024 * 1024, CHUNK = 4096 };

struct fake_vm *fake_running(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    struct fake_vm *vm;
    bool go;

    if (fake_call(box->cloud, FAKE_DATA, deadline, &go, err) < 0)
        return NULL;
    vm = fake_vm_find(box->cloud, box->provider_id);
    if (!vm)
        smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox not found at the fake runtime");
    else if (vm->info.state != PROVIDER_BOX_RUNNING)
        smx_err_set(err, SMX_E_STATE, "the sandbox does not run");
    else
        return vm;
    return NULL;
}

/* --- files --------------------------------------------------------------------------------- */

static void file_free(struct fake_file *f)
{
    smx_list_del(&f->link);
    smx_buf_done(&f->content);
    smx_free(f->path);
    smx_free(f);
}

void fake_files_free(struct fake_vm *vm)
{
    SMX_LIST_FOREACH_SAFE(it, &vm->files)
        file_free(SMX_LIST_ENTRY(it, struct fake_file, link));
}

uint64_t fake_files_bytes(const struct fake_vm *vm)
{
    uint64_t n = 0;

    SMX_LIST_FOREACH(it, &vm->files)
        n += SMX_LIST_ENTRY(it, struct fake_file, link)->content.len;
    return n;
}

static char *absolute(const char *path)
{
    return *path == '/' ? smx_strdup(path)
           : *path      ? smx_asprintf("/workspace/%s", path)
                        : smx_strdup("/workspace");
}

static struct fake_file *file_find(struct fake_vm *vm, const char *path)
{
    SMX_LIST_FOREACH(it, &vm->files) {
        struct fake_file *f = SMX_LIST_ENTRY(it, struct fake_file, link);

        if (smx_streq(f->path, path))
            return f;
    }
    return NULL;
}

bool fake_is_directory(struct fake_vm *vm, const char *path)
{
    static const char *const always[] = { "/", "/tmp", "/workspace", "/home/user", "/root" };
    const struct fake_file *f = file_find(vm, path);

    for (size_t i = 0; i < SMX_ARRAY_LEN(always); i++)
        if (smx_streq(path, always[i]))
            return true;
    return f && f->directory;
}

static int missing(const char *path, struct smx_err *err)
{
    return smx_err_set(err, SMX_E_FILE_NOT_FOUND, "file not found: %.100s", path);
}

/* The file of that name, made when it is missing, with its parents. */
static struct fake_file *file_make(struct fake_vm *vm, const char *path, bool directory)
{
    struct fake_file *f = file_find(vm, path);
    const char *slash = strrchr(path, '/');

    if (f)
        return f;
    if (slash && slash != path) {
        SMX_CLEANUP(smx_freep) char *parent = smx_strndup(path, (size_t)(slash - path));

        if (!parent || !file_make(vm, parent, /* directory= */ true))
            return NULL;
    }
    f = smx_alloc(sizeof *f);
    if (!f)
        return NULL;
    f->path = smx_strdup(path);
    if (!f->path) {
        smx_free(f);
        return NULL;
    }
    f->directory = directory;
    f->mtime_unix_ms = smx_now_unix_ms();
    smx_buf_init(&f->content, FILE_MAX);
    smx_list_add(&vm->files, &f->link);
    return f;
}

static int describe(const struct fake_file *f, struct provider_file *ret, struct smx_err *err)
{
    *ret = (struct provider_file){ .name = smx_strdup(strrchr(f->path, '/') + 1),
        .path = smx_strdup(f->path),
        .owner = smx_strdup("root"),
        .group = smx_strdup("root"),
        .permissions = smx_strdup(f->directory ? "drwxr-xr-x" : "-rw-r--r--"),
        .type = f->directory ? PROVIDER_FILE_DIRECTORY : PROVIDER_FILE_REGULAR,
        .size_bytes = f->content.len,
        .mode = f->directory ? 0755 : 0644,
        .mtime_unix_ms = f->mtime_unix_ms };
    if (ret->name && ret->path && ret->owner && ret->group && ret->permissions)
        return 0;
    provider_file_done(ret);
    return smx_err_oom(err);
}

/* What most file calls begin with. */
struct target {
    struct fake_vm *vm;
    char *path;
    struct fake_file *file;
};

static int resolve(struct provider_box *box, const char *path, uint64_t deadline,
    struct target *ret, struct smx_err *err)
{
    ret->vm = fake_running(box, deadline, err);
    if (!ret->vm)
        return -(int)err->code;
    ret->path = absolute(path);
    if (!ret->path)
        return smx_err_oom(err);
    ret->file = file_find(ret->vm, ret->path);
    return 0;
}

static void target_done(struct target *t)
{
    smx_free(t->path);
}
#define TARGET(t) SMX_CLEANUP(target_done) struct target t = { 0 }

static int fake_stat(struct provider_box *box, const char *path, const char *user,
    struct provider_file *ret, uint64_t deadline, struct smx_err *err)
{
    TARGET(t);
    int r = resolve(box, path, deadline, &t, err);

    if (r < 0)
        return r;
    return t.file ? describe(t.file, ret, err) : missing(path, err);
}

static bool within(const char *path, const char *dir, unsigned depth)
{
    size_t n = strlen(dir);
    unsigned levels = 1;

    if (strncmp(path, dir, n) != 0 || path[n] != '/')
        return false;
    for (const char *p = path + n + 1; *p; p++)
        levels += *p == '/';
    return levels <= depth;
}

static int fake_list_dir(struct provider_box *box, const char *path, const char *user,
    unsigned depth, struct provider_file_list *ret, uint64_t deadline, struct smx_err *err)
{
    struct provider_file_list l = { 0 };
    size_t count = 0;
    TARGET(t);
    int r = resolve(box, path, deadline, &t, err);

    if (r == 0 && !t.file && !smx_streq(t.path, "/workspace"))
        r = missing(path, err);
    if (r == 0 && t.file && !t.file->directory)
        r = smx_err_set(err, SMX_E_INVALID, "path is not a directory: %.100s", path);
    if (r < 0)
        return r;
    SMX_LIST_FOREACH(it, &t.vm->files)
        count++;
    l.v = smx_alloc_array(count + 1, sizeof *l.v);
    if (!l.v)
        return smx_err_oom(err);
    SMX_LIST_FOREACH(it, &t.vm->files) {
        const struct fake_file *f = SMX_LIST_ENTRY(it, struct fake_file, link);

        if (r == 0 && within(f->path, t.path, depth ? depth : 1))
            r = describe(f, &l.v[l.n++], err);
    }
    if (r < 0) {
        provider_file_list_done(&l);
        return r;
    }
    *ret = l;
    return 0;
}

static int fake_make_dir(struct provider_box *box, const char *path, const char *user,
    uint64_t deadline, struct smx_err *err)
{
    TARGET(t);
    int r = resolve(box, path, deadline, &t, err);

    if (r < 0)
        return r;
    if (t.file)
        return smx_err_set(err, SMX_E_EXISTS, "directory already exists: %.100s", path);
    return file_make(t.vm, t.path, /* directory= */ true) ? 0 : smx_err_oom(err);
}

static int fake_move(struct provider_box *box, const char *from, const char *to, const char *user,
    uint64_t deadline, struct smx_err *err)
{
    TARGET(t);
    struct fake_file *old;
    char *path;
    int r = resolve(box, from, deadline, &t, err);

    if (r < 0)
        return r;
    if (!t.file)
        return missing(from, err);
    path = absolute(to);
    if (!path)
        return smx_err_oom(err);
    old = file_find(t.vm, path);
    if (old && old != t.file)
        file_free(old);
    smx_free(t.file->path);
    t.file->path = path;
    return 0;
}

static int fake_remove(struct provider_box *box, const char *path, const char *user,
    uint64_t deadline, struct smx_err *err)
{
    TARGET(t);
    int r = resolve(box, path, deadline, &t, err);

    if (r < 0)
        return r;
    SMX_LIST_FOREACH_SAFE(it, &t.vm->files) {
        struct fake_file *f = SMX_LIST_ENTRY(it, struct fake_file, link);

        if (smx_streq(f->path, t.path) || within(f->path, t.path, UINT32_MAX))
            file_free(f);
    }
    return 0;
}

/* --- reading and writing ------------------------------------------------------------------- */

struct provider_reader {
    struct provider_handle handle;
    struct smx_buf content;
};

static int fake_read_open(struct provider_box *box, const char *path, const char *user,
    uint64_t offset, uint64_t length, struct provider_reader **ret, uint64_t *ret_total,
    uint64_t deadline, struct smx_err *err)
{
    struct provider_reader *rd;
    size_t n;
    TARGET(t);
    int r = resolve(box, path, deadline, &t, err);

    if (r < 0)
        return r;
    if (!t.file)
        return missing(path, err);
    if (t.file->directory || offset > t.file->content.len)
        return smx_err_set(err, SMX_E_INVALID, "path is a directory, or the offset past the end");
    rd = smx_alloc(sizeof *rd);
    if (!rd)
        return smx_err_oom(err);
    rd->handle.ops = &fake_provider;
    smx_buf_init(&rd->content, FILE_MAX);
    n = t.file->content.len - (size_t)offset;
    n = length < n ? (size_t)length : n;
    if (n > 0 && smx_buf_append(&rd->content, t.file->content.data + offset, n) < 0) {
        smx_free(rd);
        return smx_err_oom(err);
    }
    *ret_total = t.file->content.len;
    *ret = rd;
    return 0;
}

static ssize_t fake_read(
    struct provider_reader *rd, void *data, size_t n, uint64_t deadline, struct smx_err *err)
{
    n = SMX_MIN(n, SMX_MIN(rd->content.len, (size_t)CHUNK));
    if (n > 0)
        memcpy(data, rd->content.data, n);
    smx_buf_consume(&rd->content, n);
    return (ssize_t)n;
}

static void fake_read_close(struct provider_reader *rd)
{
    smx_buf_done(&rd->content);
    smx_free(rd);
}

struct provider_writer {
    struct provider_handle handle;
    struct provider_box *box;
    char *path;
    struct smx_buf content;
};

static int fake_write_open(struct provider_box *box, const char *path, const char *user,
    uint64_t length, struct provider_writer **ret, uint64_t deadline, struct smx_err *err)
{
    struct provider_writer *w;
    TARGET(t);
    int r = resolve(box, path, deadline, &t, err);

    if (r < 0)
        return r;
    if (t.file && t.file->directory)
        return smx_err_set(err, SMX_E_INVALID, "path is a directory: %.100s", path);
    w = smx_alloc(sizeof *w);
    if (!w)
        return smx_err_oom(err);
    w->handle.ops = &fake_provider;
    w->box = box;
    w->path = smx_take(&t.path);
    smx_buf_init(&w->content, FILE_MAX);
    *ret = w;
    return 0;
}

static int fake_write(struct provider_writer *w, const void *data, size_t n, struct smx_err *err)
{
    return smx_buf_append(&w->content, data, n) < 0 ? smx_buf_check(&w->content, err) : 0;
}

static void fake_write_abort(struct provider_writer *w)
{
    smx_buf_done(&w->content);
    smx_free(w->path);
    smx_free(w);
}

static int fake_write_commit(struct provider_writer *w, uint64_t deadline, struct smx_err *err)
{
    struct fake_vm *vm = fake_running(w->box, deadline, err);
    struct fake_file *f = vm ? file_make(vm, w->path, /* directory= */ false) : NULL;
    int r = vm ? 0 : -(int)err->code;

    if (vm && !f)
        r = smx_err_oom(err);
    if (f) {
        smx_buf_done(&f->content);
        f->content = w->content;
        smx_buf_init(&w->content, 0);
        f->mtime_unix_ms = smx_now_unix_ms();
    }
    fake_write_abort(w);
    return r;
}

const struct provider_data_ops fake_data = { .start = fake_process_start,
    .next = fake_process_next,
    .stream_close = fake_process_close,
    .write_stdin = fake_write_stdin,
    .close_stdin = fake_close_stdin,
    .resize = fake_resize,
    .signal = fake_signal,
    .processes = fake_processes,
    .stat = fake_stat,
    .list_dir = fake_list_dir,
    .make_dir = fake_make_dir,
    .move = fake_move,
    .remove = fake_remove,
    .read_open = fake_read_open,
    .read = fake_read,
    .read_close = fake_read_close,
    .write_open = fake_write_open,
    .write = fake_write,
    .write_commit = fake_write_commit,
    .write_abort = fake_write_abort };
