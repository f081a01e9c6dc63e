/** sandmux/runtime.h - where sandboxes are made: status, switch, checks, versions. */
#ifndef SANDMUX_RUNTIME_H
#define SANDMUX_RUNTIME_H

#include "sandmux/sandmux.h"

#ifdef __cplusplus
extern "C" {
#endif

/** struct smx_runtime_status - free with smx_runtime_status_free(). @json: the daemon's answer,
 * with the capabilities of each runtime */
struct smx_runtime_status {
    const char *current;
    const char *const *available;
    size_t n_available;
    int configured;
    const char *json;
};
SMX_API int smx_runtime_status(
    struct smx_client *client, struct smx_runtime_status **ret_status, struct smx_err *err);
SMX_API void smx_runtime_status_free(struct smx_runtime_status *status);

/** struct smx_runtime_switch - free with smx_runtime_switch_free(). @warnings: such as sandboxes
 * that stay where they are */
struct smx_runtime_switch {
    const char *message, *previous, *current;
    const char *const *warnings;
    size_t n_warnings;
    const char *json;
};
/** smx_runtime_switch() - make new sandboxes there from now on, in every process at once.
 * Return: 0; -SMX_E_INVALID: no such runtime; -SMX_E_NOT_CONFIGURED. */
SMX_API int smx_runtime_switch(struct smx_client *client, const char *runtime,
    struct smx_runtime_switch **ret_switch, struct smx_err *err);
/** enum smx_switch_flag - SMX_SWITCH_DRY_RUN: only say whether it would work.  SMX_SWITCH_LIVE: ask
 * the provider first.  SMX_SWITCH_FORCE: do not, whatever else was asked. */
enum smx_switch_flag { SMX_SWITCH_DRY_RUN = 1, SMX_SWITCH_LIVE = 2, SMX_SWITCH_FORCE = 4 };
/** smx_runtime_switch_with() - the same with flags, 0 or SMX_SWITCH_s. */
SMX_API int smx_runtime_switch_with(struct smx_client *client, const char *runtime, unsigned flags,
    struct smx_runtime_switch **ret_switch, struct smx_err *err);
SMX_API void smx_runtime_switch_free(struct smx_runtime_switch *sw);

/** smx_runtime_validate() - is that runtime configured? @ret_json: the daemon's answer, or NULL;
 * free with smx_text_free() Return: 1 yes, 0 no; -SMX_E_INVALID: no such runtime. */
SMX_API int smx_runtime_validate(
    struct smx_client *client, const char *runtime, char **ret_json, struct smx_err *err);
/** smx_runtime_validate_live() - the same, and does its provider accept the key and have the
 * template? Makes nothing. Return: 1 yes to both, 0 no; @ret_json has the reason in "live". */
SMX_API int smx_runtime_validate_live(
    struct smx_client *client, const char *runtime, char **ret_json, struct smx_err *err);
/** smx_runtime_health() - does the current runtime answer? @ret_json as above. Return: 1 yes, 0 no.
 */
SMX_API int smx_runtime_health(struct smx_client *client, char **ret_json, struct smx_err *err);
/** smx_runtime_health_of() - the same of a runtime by name; NULL: the current one. */
SMX_API int smx_runtime_health_of(
    struct smx_client *client, const char *runtime, char **ret_json, struct smx_err *err);
/** smx_ready() - can the daemon create sandboxes? @ret_json: every check. Return: 1 yes, 0 no. */
SMX_API int smx_ready(struct smx_client *client, char **ret_json, struct smx_err *err);
/** smx_server_version() - the daemon's version, as it says it. @ret_json may be NULL. */
SMX_API int smx_server_version(
    struct smx_client *client, char **ret_version, char **ret_json, struct smx_err *err);
SMX_API void smx_text_free(char *text);

#ifdef __cplusplus
}
#endif
#endif
