/* spawn.h - starting a command: a clone that shares our memory until it executes, so that its cost
 * does not depend on our size, and that runs beside us: we never wait for it. (With CLONE_VFORK a
 * child stopped by the sandbox's root at the wrong moment would stop the agent for good.) */
#ifndef SMX_AGENT_SPAWN_H
#define SMX_AGENT_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/users.h"
#include "io/io.h"
#include "json/json.h"

enum { SPAWN_FAILED = 126, SPAWN_NOT_FOUND = 127 };

struct spawn_spec {
    const char *cmd; /* without '/': looked up in PATH of envp */
    const struct json_strings *args;
    char *const *envp;
    const char *cwd;
    const struct agent_user *user;
    int fds[3]; /* become 0, 1, 2; none of them below 3. Borrowed */
    bool tty;   /* fds[0] becomes the controlling terminal */
};

/* Once, before the first start: descriptors and limits that children get or must not get.
 * @score_fd: our oom_score_adj, taken; -1: opened here. */
void spawn_init(struct io_loop *loop, int score_fd);
/* Starts it in a session of its own. A command that is not there ends with SPAWN_NOT_FOUND, one
 * that cannot be executed with SPAWN_FAILED, after one line on its stderr. -SMX_E_NO_MEMORY: no
 * room, or the process limit is reached. The child is reaped by the caller. */
int spawn_start(const struct spawn_spec *spec, pid_t *ret_pid, struct smx_err *err);
/* Checks that the user may enter the directory. -SMX_E_FILE_NOT_FOUND: not there; -SMX_E_INVALID:
 * not a directory or no permission. */
int spawn_check_cwd(const char *cwd, const struct agent_user *user, struct smx_err *err);

#endif
