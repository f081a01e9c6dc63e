/* env.h - the environment of a command: PATH, HOME, USER, LOGNAME and E2B_SANDBOX*, then what /init
 * set, then what the request says; a later value replaces an earlier one. */
#ifndef SMX_AGENT_ENV_H
#define SMX_AGENT_ENV_H

#include "agent/users.h"
#include "json/json.h"
#include "wire/envd/envd.h"

#define ENV_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* One block that the caller frees: the NULL-terminated array and, behind it, its strings.
 * -SMX_E_INVALID: a name that is empty or has '=' in it; -SMX_E_TOO_LARGE: past SMX_ENV_*_MAX. */
int env_build(const struct agent_user *user, const struct envd_init_request *settings,
    const struct json_map *request, char ***ret, struct smx_err *err);
/* -SMX_E_INVALID or -SMX_E_TOO_LARGE as above. */
int env_check(const struct json_map *m, struct smx_err *err);
/* What every command gets, as members of an object: E2B_SANDBOX* and what /init set. */
void env_write_globals(struct json_writer *w, const struct envd_init_request *settings);

#endif
