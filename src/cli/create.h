/* create.h - a sandbox from the options of create and run. */
#ifndef SMX_CLI_CREATE_H
#define SMX_CLI_CREATE_H

#include "cli/cli.h"
#include "sandmux/sandbox.h"

/* 0, or the exit status of a failure that was reported. */
int create_sandbox(struct cli *cli, struct smx_sandbox **ret_sandbox);

#endif
