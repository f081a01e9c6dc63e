/* fs_rpc.h - the calls of filesystem.Filesystem but the watches. */
#ifndef SMX_AGENT_FS_RPC_H
#define SMX_AGENT_FS_RPC_H

#include "agent/call.h"

call_fn fs_rpc_stat, fs_rpc_list_dir, fs_rpc_make_dir, fs_rpc_move, fs_rpc_remove;

/* Decodes, finds the user and resolves the path. Files of the call belong to the user from here on
 * (until the fiber parks). On RPC_OK the caller frees *ret_path. */
enum rpc_code fs_path(struct call *c, const char *path, char **ret_path);
/* call_decode(), but a NUL in a path is what the kernel would say of it: invalid argument,
 * internal. */
enum rpc_code fs_decode(struct call *c, const struct json_table *table, void *ret);

#endif
