/* sandbox.c - sandmux/sandbox.h: the life of a sandbox. */
#include <stdio.h>

#include "sandmux/sandbox.h"

static int show_line(const struct smx_log_line *line, void *arg)
{
    (void)arg;
    printf("log: %s\n", line->message);
    return 0;
}

static int live(struct smx_client *client, const char *id, struct smx_err *err)
{
    struct smx_sandbox_patch patch = { .has_timeout = 1, .timeout_s = 600 };
    struct smx_sandbox_stats stats;
    struct smx_sandbox *now;
    int r = smx_sandbox_patch(client, id, &patch, &now, err);

    if (r < 0)
        return r;
    printf("ends at %s\n", now->expires_at);
    smx_sandbox_free(now);
    r = smx_sandbox_stats(client, id, &stats, err);
    if (r < 0)
        return r;
    printf("%llu processes\n", (unsigned long long)stats.pids);
    r = smx_sandbox_pause(client, id, &now, err);
    if (r < 0)
        return r;
    printf("%s\n", now->state);
    smx_sandbox_free(now);
    r = smx_sandbox_resume(client, id, /* ret_sandbox= */ NULL, err);
    if (r < 0)
        return r;
    return smx_sandbox_logs(client, id, /* tail= */ 10, /* follow= */ 0, show_line, NULL, err);
}

int main(void)
{
    static const struct smx_pair env[] = { { "GREETING", "hello" } };
    struct smx_sandbox_spec spec = { .template_name = "base", .env = env, .n_env = 1 };
    struct smx_client *client;
    struct smx_sandbox *sandbox;
    struct smx_sandbox_list *list;
    struct smx_err err;
    int r;

    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    r = smx_sandbox_create(client, &spec, &sandbox, &err);
    if (r == 0) {
        printf("%s is %s on %s\n", sandbox->id, sandbox->state, sandbox->runtime);
        r = live(client, sandbox->id, &err);
        if (smx_sandbox_delete(client, sandbox->id, /* missing_ok= */ 0, r < 0 ? NULL : &err) < 0)
            r = -1;
        smx_sandbox_free(sandbox);
    }
    if (r == 0)
        r = smx_sandbox_list(client, /* filter= */ NULL, &list, &err);
    if (r == 0) {
        printf("%zu sandboxes are left\n", list->n);
        smx_sandbox_list_free(list);
    }
    if (r < 0)
        fprintf(stderr, "%s\n", err.msg);
    smx_client_close(client);
    return r < 0;
}
