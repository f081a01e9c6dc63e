/* processes.c - the processes that a sandbox's agent started: list, signal. The shells that wait
 * for a session's next command are not among them. */
#include "compose/session.h"
#include "frontends/native/internal.h"

#include <signal.h>

static void write_process(struct json_writer *w, const struct provider_process *p)
{
    struct native_process n = { .pid = p->pid, .tag = p->tag, .cwd = p->cwd };

    if (p->argv && p->argv[0]) {
        n.cmd = p->argv[0];
        n.args.v = p->argv + 1;
        while (n.args.v[n.args.n])
            n.args.n++;
    }
    json_encode(w, &native_process_table, &n);
}

static void reply_list(struct frontend *fe, const struct sandbox *sb, struct http_exchange *x,
    const struct provider_process_list *list)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, SMX_JSON_MAX * 4);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "processes");
    json_array_begin(&w);
    for (size_t i = 0; i < list->n; i++)
        if (!session_shell_waits(fe->compose, sb, list->v[i].pid))
            write_process(&w, &list->v[i]);
    json_array_end(&w);
    json_object_end(&w);
    native_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

void native_process_list(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    struct provider_process_list list = { 0 };
    struct smx_err err = { 0 };
    int r = native_use_begin(ctx, x, params, &use, &err);

    if (r == 0)
        r = provider_processes(use.box, &list, native_deadline(), &err);
    if (r < 0)
        native_fail(x, &err);
    else
        reply_list(ctx, use.sb, x, &list);
    provider_process_list_done(&list);
}

int native_query_signal(struct http_exchange *x, int *ret, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *text = NULL;
    int r = http_query_string(x, "signal", &text, err);

    *ret = SIGKILL;
    if (r == 0 && text)
        r = native_signal_parse(text, ret, err);
    return r;
}

void native_process_signal(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    struct smx_err err = { 0 };
    uint64_t pid = 0;
    int signo, r = native_query_signal(x, &signo, &err);

    if (r == 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r == 0 && (!smx_parse_u64(smx_view_of(params->v[1]), UINT32_MAX, &pid) || pid == 0))
        r = smx_err_set(&err, SMX_E_PROCESS_NOT_FOUND, "process '%.32s' not found", params->v[1]);
    if (r == 0)
        r = provider_signal(use.box, (uint32_t)pid, signo, native_deadline(), &err);
    if (r < 0)
        native_fail(x, &err);
    else
        dialect_no_content(x);
}
