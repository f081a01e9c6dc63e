/* client.c - sandmux/sandmux.h: connect, send a request of one's own, look at the reply.
 * Any daemon that is found is used; none running, one is started. */
#include <stdio.h>

#include "sandmux/sandmux.h"

int main(void)
{
    struct smx_client *client;
    struct smx_reply *reply;
    struct smx_err err;

    printf("libsandmux %s\n", smx_library_version());
    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("connected to %s\n", smx_client_url(client));
    if (smx_request(client, "GET", "/version", /* body= */ NULL, &reply, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        smx_client_close(client);
        return 1;
    }
    printf("%d %s %s\n", reply->status, reply->content_type, reply->body);
    smx_reply_free(reply);
    smx_client_close(client);
    return 0;
}
