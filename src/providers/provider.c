/* provider.c - dispatch to a runtime's tables: a NULL slot is -SMX_E_UNSUPPORTED here, so that no
 * provider needs stubs and no caller a check. No state of its own; one loop's thread. */
#include "providers/provider.h"

#include "base/mem.h"

struct provider {
    const struct provider_ops *ops;
    void *impl;
};

static const char *const cap_names[PROVIDER_CAP_COUNT_] = {
#define PROVIDER_CAP(symbol, name, meaning) [PROVIDER_##symbol] = name,
#include "providers/capabilities.def"
#undef PROVIDER_CAP
};

const char *provider_cap_name(enum provider_cap cap)
{
    return cap < PROVIDER_CAP_COUNT_ ? cap_names[cap] : "";
}

static int unsupported(const struct provider_ops *ops, const char *what, struct smx_err *err)
{
    return smx_err_set(err, SMX_E_UNSUPPORTED, "runtime '%s' cannot %s", ops->name, what);
}

static const struct provider_ops *ops_of(const void *handle)
{
    return ((const struct provider_handle *)handle)->ops;
}

/* Calls slot of table with the given arguments, or says what the runtime cannot do. */
#define CALL(ops, table, slot, what, ...) \
    ((table) && (table)->slot ? (table)->slot(__VA_ARGS__) : unsupported(ops, what, err))
#define BOX_CALL(box, slot, what, ...) CALL(ops_of(box), ops_of(box), slot, what, box, __VA_ARGS__)
#define DATA_CALL(h, slot, what, ...) CALL(ops_of(h), ops_of(h)->data, slot, what, h, __VA_ARGS__)

int provider_open(const struct provider_ops *ops, struct io_loop *loop, const void *config,
    const struct provider_host *host, struct provider **ret, struct smx_err *err)
{
    struct provider *p;
    int r;

    if (ops->version != PROVIDER_VERSION)
        return smx_err_set(err, SMX_E_INVALID, "runtime '%s' speaks interface version %d, not %d",
            ops->name, ops->version, PROVIDER_VERSION);
    p = smx_alloc(sizeof *p);
    if (!p)
        return smx_err_oom(err);
    p->ops = ops;
    r = ops->open(loop, config, host, &p->impl, err);
    if (r < 0) {
        smx_free(p);
        return smx_err_wrap(err, r, "opening runtime '%s'", ops->name);
    }
    *ret = p;
    return 0;
}

void provider_close(struct provider *p)
{
    if (!p)
        return;
    p->ops->close(p->impl);
    smx_free(p);
}

void *provider_impl(struct provider *p)
{
    return p->impl;
}

uint64_t provider_capabilities(struct provider *p)
{
    return p->ops->capabilities ? p->ops->capabilities(p->impl) : 0;
}

bool provider_can(struct provider *p, enum provider_cap cap)
{
    return (provider_capabilities(p) & PROVIDER_BIT(cap)) != 0;
}

bool provider_is_remote(const struct provider *p)
{
    return p->ops->remote;
}

int provider_validate(
    struct provider *p, struct provider_check *ret, uint64_t deadline, struct smx_err *err)
{
    return CALL(
        p->ops, p->ops, validate, "validate its configuration", p->impl, ret, deadline, err);
}

int provider_probe(struct provider *p, uint64_t deadline, struct smx_err *err)
{
    return p->ops->probe(p->impl, deadline, err);
}

int provider_create(struct provider *p, const struct provider_create_spec *spec,
    struct provider_info *ret, struct provider_box **ret_box, uint64_t deadline,
    struct smx_err *err)
{
    return p->ops->create(p->impl, spec, ret, ret_box, deadline, err);
}

int provider_attach(struct provider *p, const struct provider_info *info,
    const struct json_pair *env, size_t n_env, struct provider_box **ret_box, struct smx_err *err)
{
    return CALL(
        p->ops, p->ops, attach, "take a sandbox up again", p->impl, info, env, n_env, ret_box, err);
}

void provider_detach(struct provider_box *box)
{
    if (box && ops_of(box)->detach)
        ops_of(box)->detach(box);
}

int provider_lookup(struct provider *p, const char *provider_id, struct provider_info *ret,
    uint64_t deadline, struct smx_err *err)
{
    return CALL(
        p->ops, p->ops, lookup, "look one sandbox up", p->impl, provider_id, ret, deadline, err);
}

int provider_start(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return BOX_CALL(box, start, "start a stopped sandbox", deadline, err);
}

int provider_stop(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return BOX_CALL(box, stop, "stop a sandbox and keep its files", deadline, err);
}

int provider_pause(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return BOX_CALL(box, pause, "pause a sandbox", deadline, err);
}

int provider_resume(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return BOX_CALL(box, resume, "resume a sandbox", deadline, err);
}

int provider_kill(
    struct provider *p, const char *provider_id, uint64_t deadline, struct smx_err *err)
{
    return p->ops->kill(p->impl, provider_id, deadline, err);
}

int provider_set_deadline(
    struct provider_box *box, int64_t expires_unix_ms, uint64_t deadline, struct smx_err *err)
{
    return BOX_CALL(box, set_deadline, "end a sandbox by itself", expires_unix_ms, deadline, err);
}

int provider_stats(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err)
{
    return BOX_CALL(box, stats, "tell the use of resources", ret, deadline, err);
}

int provider_sample(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err)
{
    return BOX_CALL(box, sample, "be sampled", ret, deadline, err);
}

int provider_list(struct provider *p, struct provider_info **ret, size_t *ret_n, uint64_t deadline,
    struct smx_err *err)
{
    return p->ops->list(p->impl, ret, ret_n, deadline, err);
}

int provider_templates(struct provider *p, struct provider_template **ret, size_t *ret_n,
    uint64_t deadline, struct smx_err *err)
{
    return CALL(
        p->ops, p->ops, templates, "list its templates", p->impl, ret, ret_n, deadline, err);
}

bool provider_shed(struct provider *p)
{
    return p->ops->shed && p->ops->shed(p->impl);
}

int provider_process_start(struct provider_box *box, const struct provider_process_spec *spec,
    struct provider_stream **ret, uint64_t deadline, struct smx_err *err)
{
    if (spec->ret_socket)
        *spec->ret_socket = -1;
    return DATA_CALL(box, start, "run processes", spec, ret, deadline, err);
}

int provider_process_connect(struct provider_box *box, uint32_t pid, struct provider_stream **ret,
    uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, connect, "join running processes", pid, ret, deadline, err);
}

int provider_stream_next(
    struct provider_stream *s, struct provider_event *ret, uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(s, next, "stream output", ret, deadline, err);
}

struct io_fd *provider_stream_fd(struct provider_stream *s, bool *ret_buffered)
{
    const struct provider_data_ops *d = ops_of(s)->data;

    *ret_buffered = false;
    return d->stream_fd ? d->stream_fd(s, ret_buffered) : NULL;
}

void provider_stream_close(struct provider_stream *s)
{
    if (s)
        ops_of(s)->data->stream_close(s);
}

int provider_write_stdin(struct provider_box *box, uint32_t pid, bool tty, const void *data,
    size_t n, uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, write_stdin, "take input", pid, tty, data, n, deadline, err);
}

int provider_close_stdin(
    struct provider_box *box, uint32_t pid, uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, close_stdin, "close the input of a process", pid, deadline, err);
}

int provider_resize(struct provider_box *box, uint32_t pid, uint16_t cols, uint16_t rows,
    uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, resize, "resize terminals", pid, cols, rows, deadline, err);
}

int provider_signal(
    struct provider_box *box, uint32_t pid, int signo, uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, signal, "signal processes", pid, signo, deadline, err);
}

int provider_processes(struct provider_box *box, struct provider_process_list *ret,
    uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, processes, "list processes", ret, deadline, err);
}

int provider_stat(struct provider_box *box, const char *path, const char *user,
    struct provider_file *ret, uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, stat, "look files up", path, user, ret, deadline, err);
}

int provider_list_dir(struct provider_box *box, const char *path, const char *user, unsigned depth,
    struct provider_file_list *ret, uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, list_dir, "list directories", path, user, depth, ret, deadline, err);
}

int provider_make_dir(struct provider_box *box, const char *path, const char *user,
    uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, make_dir, "make directories", path, user, deadline, err);
}

int provider_move(struct provider_box *box, const char *from, const char *to, const char *user,
    uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, move, "move files", from, to, user, deadline, err);
}

int provider_remove(struct provider_box *box, const char *path, const char *user, uint64_t deadline,
    struct smx_err *err)
{
    return DATA_CALL(box, remove, "remove files", path, user, deadline, err);
}

int provider_read_open(struct provider_box *box, const char *path, const char *user,
    uint64_t offset, uint64_t length, struct provider_reader **ret, uint64_t *ret_total,
    uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(
        box, read_open, "read files", path, user, offset, length, ret, ret_total, deadline, err);
}

ssize_t provider_read(
    struct provider_reader *r, void *data, size_t n, uint64_t deadline, struct smx_err *err)
{
    return ops_of(r)->data->read(r, data, n, deadline, err);
}

int provider_read_file(struct provider_reader *r, struct provider_content *ret)
{
    const struct provider_data_ops *data = ops_of(r)->data;

    return data->read_file ? data->read_file(r, ret) : 0;
}

void provider_read_close(struct provider_reader *r)
{
    if (r)
        ops_of(r)->data->read_close(r);
}

int provider_write_open(struct provider_box *box, const char *path, const char *user,
    uint64_t length, struct provider_writer **ret, uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, write_open, "write files", path, user, length, ret, deadline, err);
}

int provider_write(struct provider_writer *w, const void *data, size_t n, struct smx_err *err)
{
    return ops_of(w)->data->write(w, data, n, err);
}

int provider_write_commit(struct provider_writer *w, uint64_t deadline, struct smx_err *err)
{
    return ops_of(w)->data->write_commit(w, deadline, err);
}

void provider_write_abort(struct provider_writer *w)
{
    if (w)
        ops_of(w)->data->write_abort(w);
}

int provider_dial(struct provider_box *box, uint16_t port, struct http_client *to,
    uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, dial, "connect to ports", port, to, deadline, err);
}

int provider_envd_get(
    struct provider_box *box, struct http_client **ret, uint64_t deadline, struct smx_err *err)
{
    return DATA_CALL(box, envd_get, "relay the envd protocol", ret, deadline, err);
}

void provider_envd_put(struct provider_box *box, struct http_client *c)
{
    if (c)
        ops_of(box)->data->envd_put(box, c);
}

void provider_process_list_done(struct provider_process_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        smx_free(l->v[i].tag);
        smx_free(l->v[i].cwd);
        for (char **a = l->v[i].argv; a && *a; a++)
            smx_free(*a);
        smx_free(l->v[i].argv);
    }
    smx_free(l->v);
    *l = (struct provider_process_list){ 0 };
}

void provider_file_done(struct provider_file *f)
{
    smx_free(f->name);
    smx_free(f->path);
    smx_free(f->symlink_target);
    smx_free(f->owner);
    smx_free(f->group);
    smx_free(f->permissions);
    *f = (struct provider_file){ 0 };
}

void provider_file_list_done(struct provider_file_list *l)
{
    for (size_t i = 0; i < l->n && !l->text; i++)
        provider_file_done(&l->v[i]);
    smx_free(l->text);
    smx_free(l->v);
    *l = (struct provider_file_list){ 0 };
}
