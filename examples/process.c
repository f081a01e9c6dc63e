/* process.c - sandmux/process.h: a command to its end, and a conversation with one that runs. */
#include <stdio.h>
#include <string.h>

#include "sandmux/process.h"
#include "sandmux/sandbox.h"

static int collect(struct smx_client *client, const char *id, struct smx_err *err)
{
    struct smx_exec_spec spec = { .shell = "echo $((6 * 7)); echo oops >&2; exit 3",
        .timeout_ms = 10000 };
    struct smx_exec_result *result;
    int r = smx_exec(client, id, &spec, &result, err);

    if (r < 0)
        return r;
    printf("exit code %d, stdout %sstderr %s", result->exit_code, result->stdout_data,
        result->stderr_data);
    smx_exec_result_free(result);
    return 0;
}

static int talk(struct smx_process *process, struct smx_err *err)
{
    static const char text[] = "one\ntwo\n";
    struct smx_process_event event;
    int r;

    if (smx_process_write(process, text, strlen(text), /* timeout_ms= */ 5000, err) < 0 ||
        smx_process_close_stdin(process, err) < 0)
        return -1;
    while ((r = smx_process_next(process, /* timeout_ms= */ 10000, &event, err)) > 0) {
        if (event.kind == SMX_PROCESS_STDOUT)
            printf("got %.*s", (int)event.bytes, (const char *)event.data);
        else if (event.kind == SMX_PROCESS_EXITED)
            printf("it ended with %d\n", event.exit_code);
    }
    return r;
}

static int converse(struct smx_client *client, const char *id, struct smx_err *err)
{
    static const char *const argv[] = { "tr", "a-z", "A-Z", NULL };
    struct smx_exec_spec spec = { .argv = argv };
    struct smx_process *process;
    int r = smx_process_start(client, id, &spec, &process, err);

    if (r < 0)
        return r;
    r = talk(process, err);
    smx_process_free(process);
    return r;
}

int main(void)
{
    struct smx_client *client;
    struct smx_sandbox *sandbox;
    struct smx_err err;
    int r;

    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    r = smx_sandbox_create(client, /* spec= */ &(struct smx_sandbox_spec){ 0 }, &sandbox, &err);
    if (r == 0) {
        r = collect(client, sandbox->id, &err);
        if (r == 0)
            r = converse(client, sandbox->id, &err);
        smx_sandbox_delete(client, sandbox->id, /* missing_ok= */ 1, /* err= */ NULL);
        smx_sandbox_free(sandbox);
    }
    if (r < 0)
        fprintf(stderr, "%s\n", err.msg);
    smx_client_close(client);
    return r < 0;
}
