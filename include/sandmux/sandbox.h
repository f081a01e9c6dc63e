/** sandmux/sandbox.h - make, find, change and delete sandboxes.
 * Wherever an id is asked for, a name or an alias does too. */
#ifndef SANDMUX_SANDBOX_H
#define SANDMUX_SANDBOX_H

#include "sandmux/sandmux.h"

#ifdef __cplusplus
extern "C" {
#endif

/** struct smx_resources - limits; 0 in a request: the template's. */
struct smx_resources {
    uint64_t cpu, memory_mib, disk_mib;
};

/** struct smx_sandbox_spec - what to create; zero-filled is the default sandbox.
 * @template_name: NULL: the runtime's default  @runtime: NULL: the current one
 * @name: unique, [a-z0-9][a-z0-9._-]{0,62}, or NULL  @password: for the sandbox's desktop, or NULL
 * @timeout_s: lifetime, with @has_timeout: 0 none, else absolute; without: an hour from the last
 * use
 * @idempotency_key: NULL: the library makes one, so that a repeated request creates one sandbox */
struct smx_sandbox_spec {
    const char *template_name, *runtime, *name, *project_id, *password;
    const struct smx_pair *metadata;
    size_t n_metadata;
    const struct smx_pair *env;
    size_t n_env;
    int has_timeout;
    uint64_t timeout_s;
    struct smx_resources resources;
    const char *idempotency_key;
};

/** struct smx_sandbox - a sandbox as it was when the daemon answered; read-only, free with
 * smx_sandbox_free(). Strings that have no value are NULL.
 * @state: creating starting running pausing paused stopping stopped archiving archived error
 * deleting
 * @expires_at: NULL: never  @limits: "hard" or "soft"  @capabilities: JSON object of booleans
 * @reason: why it ended, such as "oom"  @recreated: smx_sandbox_ensure() made it again
 * @json: the daemon's answer */
struct smx_sandbox {
    const char *id, *name, *runtime, *provider_id, *state, *template_name, *project_id;
    const char *created_at, *updated_at, *expires_at;
    const char *limits, *capabilities, *reason;
    const char *const *aliases;
    size_t n_aliases;
    const struct smx_pair *metadata;
    size_t n_metadata;
    struct smx_resources resources;
    int internet, recreated;
    const char *json;
};

/** smx_sandbox_create() - make a sandbox; it is running when the call returns.
 * Return: 0; -SMX_E_TEMPLATE_NOT_FOUND; -SMX_E_EXISTS (name taken); -SMX_E_QUOTA;
 * -SMX_E_UNAVAILABLE; -SMX_E_INVALID; -SMX_E_TIMEOUT. */
SMX_API int smx_sandbox_create(struct smx_client *client, const struct smx_sandbox_spec *spec,
    struct smx_sandbox **ret_sandbox, struct smx_err *err);
/** smx_sandbox_ensure() - the running sandbox of that name: found, started or made. Concurrent
 * calls make one. @spec: for making it, or NULL. */
SMX_API int smx_sandbox_ensure(struct smx_client *client, const char *name,
    const struct smx_sandbox_spec *spec, struct smx_sandbox **ret_sandbox, struct smx_err *err);
/** smx_sandbox_get() - look one up. Return: 0; -SMX_E_SANDBOX_NOT_FOUND. */
SMX_API int smx_sandbox_get(struct smx_client *client, const char *id,
    struct smx_sandbox **ret_sandbox, struct smx_err *err);
/** smx_sandbox_start() _stop() _pause() _resume() - done when the call returns.
 * @ret_sandbox: the new state, or NULL
 * Return: 0; -SMX_E_SANDBOX_NOT_FOUND; -SMX_E_STATE; -SMX_E_UNSUPPORTED. */
SMX_API int smx_sandbox_start(struct smx_client *client, const char *id,
    struct smx_sandbox **ret_sandbox, struct smx_err *err);
SMX_API int smx_sandbox_stop(struct smx_client *client, const char *id,
    struct smx_sandbox **ret_sandbox, struct smx_err *err);
SMX_API int smx_sandbox_pause(struct smx_client *client, const char *id,
    struct smx_sandbox **ret_sandbox, struct smx_err *err);
SMX_API int smx_sandbox_resume(struct smx_client *client, const char *id,
    struct smx_sandbox **ret_sandbox, struct smx_err *err);
/** smx_sandbox_migrate() - move it to another runtime: it keeps id, name, lifetime and files, its
 * processes end. Calls to it are refused meanwhile; after a failure it is where it was.
 * @template_name: there, or NULL: the one it has  @ret_sandbox: the new state, or NULL
 * Return: 0; -SMX_E_INVALID: it is there already, or no such runtime; -SMX_E_NOT_CONFIGURED;
 * -SMX_E_STATE: it does not run or is in use; -SMX_E_TEMPLATE_NOT_FOUND. Takes as long as the files
 * take. */
SMX_API int smx_sandbox_migrate(struct smx_client *client, const char *id, const char *runtime,
    const char *template_name, struct smx_sandbox **ret_sandbox, struct smx_err *err);
/** smx_sandbox_delete() - gone with its files when the call returns.
 * @missing_ok: nonzero: one that is not there is a success
 * Return: 0; -SMX_E_SANDBOX_NOT_FOUND. */
SMX_API int smx_sandbox_delete(
    struct smx_client *client, const char *id, int missing_ok, struct smx_err *err);
SMX_API void smx_sandbox_free(struct smx_sandbox *sandbox);

/** struct smx_sandbox_patch - what to change. @name: NULL: as it is  @metadata: with @set_metadata:
 * replaces all  @timeout_s: with @has_timeout, from now */
struct smx_sandbox_patch {
    const char *name;
    int set_metadata;
    const struct smx_pair *metadata;
    size_t n_metadata;
    int has_timeout;
    uint64_t timeout_s;
};
SMX_API int smx_sandbox_patch(struct smx_client *client, const char *id,
    const struct smx_sandbox_patch *patch, struct smx_sandbox **ret_sandbox, struct smx_err *err);

/** struct smx_sandbox_filter - which to list; NULL and 0: all. @limit: per page  @cursor: of the
 * page before */
struct smx_sandbox_filter {
    const char *state, *runtime, *project_id, *cursor;
    uint64_t limit;
};
/** struct smx_sandbox_list - one page. @next_cursor: NULL at the end  @json: the daemon's answer */
struct smx_sandbox_list {
    struct smx_sandbox *const *items;
    size_t n;
    const char *next_cursor;
    const char *json;
};
SMX_API int smx_sandbox_list(struct smx_client *client, const struct smx_sandbox_filter *filter,
    struct smx_sandbox_list **ret_list, struct smx_err *err);
SMX_API void smx_sandbox_list_free(struct smx_sandbox_list *list);

/** struct smx_preview - where a port of the sandbox is reached. @token: NULL when none is needed */
struct smx_preview {
    const char *url, *token;
};
/** smx_sandbox_preview() - address of a port, 1 to 65535; free with smx_preview_free(). */
SMX_API int smx_sandbox_preview(struct smx_client *client, const char *id, unsigned port,
    struct smx_preview **ret_preview, struct smx_err *err);
SMX_API void smx_preview_free(struct smx_preview *preview);

/** struct smx_log_line - @source: lifecycle, process or start  @json: the line as it was sent */
struct smx_log_line {
    const char *time, *source, *message, *json;
};
/** smx_log_fn - called for each line; borrowed for the call; nonzero ends the stream. */
typedef int smx_log_fn(const struct smx_log_line *line, void *arg);
/** smx_sandbox_logs() - the log of a sandbox, oldest line first.
 * @tail: only the last so many; 0: all that are kept  @follow: nonzero: go on until the sandbox is
 * gone Return: 0 at the end; what @fn returned. */
SMX_API int smx_sandbox_logs(struct smx_client *client, const char *id, uint64_t tail, int follow,
    smx_log_fn *fn, void *arg, struct smx_err *err);

/** struct smx_sandbox_stats - use of resources now; @cpu_ms since the start. A limit of 0: none
 * known. @brief: the runtime tells of memory and disk alone; the rest is 0 */
struct smx_sandbox_stats {
    uint64_t cpu_ms;
    uint64_t memory_bytes, memory_limit_bytes;
    uint64_t disk_bytes, disk_limit_bytes;
    uint64_t pids, pids_limit;
    uint64_t net_rx_bytes, net_tx_bytes;
    int brief;
};
SMX_API int smx_sandbox_stats(struct smx_client *client, const char *id,
    struct smx_sandbox_stats *ret_stats, struct smx_err *err);

#ifdef __cplusplus
}
#endif
#endif
