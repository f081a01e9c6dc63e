/* session.c - sandmux/session.h: a shell session, its state, a command in the background. */
#include <stdio.h>

#include "sandmux/sandbox.h"
#include "sandmux/session.h"

static int run(
    struct smx_client *client, const char *sandbox, const char *command, struct smx_err *err)
{
    struct smx_session_exec spec = { .command = command };
    struct smx_session_result *result;
    int r = smx_session_exec(client, sandbox, "work", &spec, &result, err);

    if (r < 0)
        return r;
    printf(
        "%s -> %d: %.*s\n", command, result->exit_code, (int)result->output_bytes, result->output);
    smx_session_result_free(result);
    return 0;
}

static int print(int stream, const void *data, size_t bytes, void *arg)
{
    (void)arg;
    fwrite(data, 1, bytes, stream == 1 ? stdout : stderr);
    return 0;
}

static int run_async(struct smx_client *client, const char *sandbox, struct smx_err *err)
{
    struct smx_session_exec spec = { .command = "read line; echo got $line", .async = 1 };
    struct smx_session_result *result;
    int code, r = smx_session_exec(client, sandbox, "work", &spec, &result, err);

    if (r < 0)
        return r;
    r = smx_session_input(client, sandbox, "work", result->cmd_id, "it\n", 3, /* eof= */ 1, err);
    if (r == 0)
        r = smx_session_follow(
            client, sandbox, "work", result->cmd_id, print, /* arg= */ NULL, &code, err);
    smx_session_result_free(result);
    return r;
}

static int use(struct smx_client *client, const char *sandbox, struct smx_err *err)
{
    struct smx_session_spec spec = { .id = "work" };
    int r = smx_session_create(client, sandbox, &spec, /* ret_created= */ NULL, err);

    if (r == 0)
        r = run(client, sandbox, "cd /usr; V=5", err);
    if (r == 0)
        r = run(client, sandbox, "pwd; echo $V", err);
    if (r == 0)
        r = run_async(client, sandbox, err);
    return r < 0 ? r : smx_session_delete(client, sandbox, "work", err);
}

int main(void)
{
    struct smx_client *client;
    struct smx_sandbox_spec spec = { .name = NULL };
    struct smx_sandbox *sandbox;
    struct smx_err err;
    int r;

    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    r = smx_sandbox_create(client, &spec, &sandbox, &err);
    if (r == 0) {
        r = use(client, sandbox->id, &err);
        smx_sandbox_delete(client, sandbox->id, /* missing_ok= */ 1, r < 0 ? NULL : &err);
        smx_sandbox_free(sandbox);
    }
    if (r < 0)
        fprintf(stderr, "%s\n", err.msg);
    smx_client_close(client);
    return r < 0;
}
