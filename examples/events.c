/* events.c - sandmux/events.h: what has happened so far. */
#include <stdio.h>

#include "sandmux/events.h"
#include "sandmux/sandbox.h"

static int show(const struct smx_event *event, void *arg)
{
    (void)arg;
    printf("%llu %s %s %s\n", (unsigned long long)event->seq, event->type,
        event->sandbox_id ? event->sandbox_id : "-", event->state ? event->state : "-");
    return 0;
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
    r = smx_sandbox_create(client, &(struct smx_sandbox_spec){ 0 }, &sandbox, &err);
    if (r == 0) {
        smx_sandbox_delete(client, sandbox->id, /* missing_ok= */ 1, /* err= */ NULL);
        smx_sandbox_free(sandbox);
        r = smx_events_follow(client, /* since= */ 0, /* quiet_ms= */ 500, show, NULL, &err);
    }
    if (r < 0)
        fprintf(stderr, "%s\n", err.msg);
    smx_client_close(client);
    return r < 0;
}
