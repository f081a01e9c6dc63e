/* identity.h - whose files the agent creates, and what it may become. The agent's own uid is not
 * mapped in the sandbox, so a file-system id that was left cannot be taken again: the last one
 * simply stays until the next call needs another. */
#ifndef SMX_AGENT_IDENTITY_H
#define SMX_AGENT_IDENTITY_H

#include <stdbool.h>

#include "agent/users.h"

/* Reads our ids and capabilities; once, at start. */
void identity_init(void);
/* False when a process of ours could not run as that user. */
bool identity_can_be(const struct agent_user *u);
/* Makes what this thread creates belong to the user; access is still not checked. */
int identity_fs(const struct agent_user *u, struct smx_err *err);
/* Gives an open file to the user; nothing to do when it is theirs or we may not. */
void identity_give(int fd, const struct agent_user *u);
/* May the user enter the directory, by their own permissions? */
bool identity_may_enter(const char *dir, const struct agent_user *u);
/* May we switch users at all? */
bool identity_privileged(void);

#endif
