/* keys.c - sandmux/keys.h: make a key, list keys, revoke it. */
#include <stdio.h>

#include "sandmux/keys.h"

static int list(struct smx_client *client, struct smx_err *err)
{
    struct smx_key_list *keys;
    int r = smx_key_list(client, &keys, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < keys->n; i++)
        printf("%s %s\n", keys->items[i].id, keys->items[i].name ? keys->items[i].name : "-");
    smx_key_list_free(keys);
    return 0;
}

int main(void)
{
    struct smx_client *client;
    struct smx_key_list *made;
    struct smx_err err;
    int r;

    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    r = smx_key_create(client, "example", &made, &err);
    if (r == 0) {
        printf("keep it, it is shown once: %s\n", made->items[0].key);
        r = list(client, &err);
        if (r == 0)
            r = smx_key_revoke(client, made->items[0].id, &err);
        smx_key_list_free(made);
    }
    if (r < 0)
        fprintf(stderr, "%s\n", err.msg);
    smx_client_close(client);
    return r < 0;
}
