/** sandmux/keys.h - API keys of the daemon. */
#ifndef SANDMUX_KEYS_H
#define SANDMUX_KEYS_H

#include "sandmux/sandmux.h"

#ifdef __cplusplus
extern "C" {
#endif

/** struct smx_key - @key: the secret itself, only from smx_key_create()  @prefix: its first letters
 */
struct smx_key {
    const char *id, *name, *prefix, *created_at, *last_used_at, *key;
};
struct smx_key_list {
    const struct smx_key *items;
    size_t n;
    const char *json;
};

/** smx_key_create() - make a key. @name: for people, or NULL  @ret_list: one item, whose secret is
 * not shown again; free with smx_key_list_free() */
SMX_API int smx_key_create(struct smx_client *client, const char *name,
    struct smx_key_list **ret_list, struct smx_err *err);
SMX_API int smx_key_list(
    struct smx_client *client, struct smx_key_list **ret_list, struct smx_err *err);
/** smx_key_revoke() - from now on refused. Return: 0; -SMX_E_NOT_FOUND. */
SMX_API int smx_key_revoke(struct smx_client *client, const char *id, struct smx_err *err);
SMX_API void smx_key_list_free(struct smx_key_list *list);

#ifdef __cplusplus
}
#endif
#endif
