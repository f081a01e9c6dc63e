/* runtime.c - sandmux/runtime.h: where sandboxes are made, and whether that works. */
#include <stdio.h>

#include "sandmux/runtime.h"

static int show(struct smx_client *client, struct smx_err *err)
{
    struct smx_runtime_status *status;
    char *version;
    int r = smx_runtime_status(client, &status, err);

    if (r < 0)
        return r;
    printf("current: %s (%s)\n", status->current,
        status->configured ? "configured" : "not configured");
    for (size_t i = 0; i < status->n_available; i++) {
        r = smx_runtime_validate(client, status->available[i], /* ret_json= */ NULL, err);
        if (r < 0)
            break;
        printf("%s: %s\n", status->available[i], r ? "configured" : "not configured");
    }
    smx_runtime_status_free(status);
    if (r >= 0)
        r = smx_runtime_health(client, /* ret_json= */ NULL, err);
    if (r < 0)
        return r;
    printf("%s\n", r ? "healthy" : "unhealthy");
    r = smx_server_version(client, &version, /* ret_json= */ NULL, err);
    if (r < 0)
        return r;
    printf("daemon %s\n", version);
    smx_text_free(version);
    return 0;
}

int main(void)
{
    struct smx_client *client;
    struct smx_err err;
    int r;

    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    r = show(client, &err);
    if (r < 0)
        fprintf(stderr, "%s\n", err.msg);
    smx_client_close(client);
    return r < 0;
}
