/* process_list.c - processes by pid, without a stream. */
#include "client/internal.h"

#include "sandmux/process.h"

struct list_box {
    struct smx_process_list pub;
    struct native_process_list wire;
    struct smx_process_info *items;
    char *json;
};

/* argv joined by blanks into the row's own first string. */
static int join(struct native_process *row, struct smx_err *err)
{
    struct smx_buf b;

    smx_buf_init(&b, 2 * SMX_ARGS_BYTES_MAX);
    smx_buf_append_str(&b, row->cmd ? row->cmd : "");
    for (size_t i = 0; i < row->args.n; i++) {
        smx_buf_append_char(&b, ' ');
        smx_buf_append_str(&b, row->args.v[i]);
    }
    smx_free(row->cmd);
    row->cmd = smx_buf_steal(&b);
    smx_buf_done(&b);
    return row->cmd ? 0 : smx_err_oom(err);
}

static int fill_list(struct list_box *l, struct smx_err *err)
{
    struct native_process *v = l->wire.processes.v;
    size_t n = l->wire.processes.n;

    l->items = smx_alloc_array(n + 1, sizeof *l->items);
    if (!l->items)
        return smx_err_oom(err);
    for (size_t i = 0; i < n; i++) {
        int r = join(&v[i], err);

        if (r < 0)
            return r;
        l->items[i] = (struct smx_process_info){ v[i].pid, v[i].tag, v[i].cmd, v[i].cwd };
    }
    l->pub = (struct smx_process_list){ l->items, n, l->json };
    return 0;
}

int smx_process_list(
    struct smx_client *c, const char *id, struct smx_process_list **ret_list, struct smx_err *err)
{
    struct list_box *l = smx_alloc(sizeof *l);
    struct call call = { .method = "GET" };
    struct smx_buf path;
    int r;

    if (!l)
        return smx_err_oom(err);
    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, "/api/sandboxes", id, "/processes", err);
    if (r == 0) {
        call.path = path.data;
        r = call_json(c, &call, &native_process_list_table, &l->wire, &l->json, err);
    }
    smx_buf_done(&path);
    if (r == 0)
        r = fill_list(l, err);
    if (r < 0)
        smx_process_list_free(&l->pub);
    else
        *ret_list = &l->pub;
    return r;
}

void smx_process_list_free(struct smx_process_list *list)
{
    struct list_box *l = SMX_CONTAINER_OF(list, struct list_box, pub);

    if (!list)
        return;
    json_free(&native_process_list_table, &l->wire);
    smx_free(l->items);
    smx_free(l->json);
    smx_free(l);
}

int smx_process_kill(
    struct smx_client *c, const char *id, uint64_t pid, int signo, struct smx_err *err)
{
    struct call call = { .method = "DELETE" };
    struct smx_buf path;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, "/api/sandboxes", id, "/processes/", err);
    if (r == 0) {
        smx_buf_appendf(&path, "%llu", (unsigned long long)pid);
        call_query_u64(&path, "signal", (uint64_t)signo);
        call.path = path.data;
        r = smx_buf_check(&path, err);
    }
    if (r == 0)
        r = call_json(c, &call, /* table= */ NULL, /* ret= */ NULL, /* ret_json= */ NULL, err);
    smx_buf_done(&path);
    return r;
}
