/* exec.h - how a request to run something is checked and written: exec_request.c. */
#ifndef SMX_CLIENT_EXEC_H
#define SMX_CLIENT_EXEC_H

#include "client/internal.h"
#include "sandmux/process.h"

int exec_check(const struct smx_exec_spec *spec, struct smx_err *err);
/* The members that every form has: command, cwd, user, env, timeout_s. */
void exec_write(struct json_writer *w, const struct smx_exec_spec *spec);

#endif
