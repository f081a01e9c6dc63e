/* supervisor.h - `sandmux serve`: owns the state directory, opens what only root may open, starts
 * engine and gateway and starts them again when they die. */
#ifndef SMX_SUPERVISOR_SUPERVISOR_H
#define SMX_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>

#include "config/config.h"

struct supervisor_options {
    bool automatic; /* --auto: started by a client; unix socket only, ends when idle */
};

/* Runs until a signal, a request to stop or, when automatic, idleness ends it. Reports on stderr.
 * Return: exit status, 0 after an orderly end. */
int supervisor_main(const struct config *config, const struct supervisor_options *options);

/* Path of a program that belongs to this one, such as "sandmux-gateway". */
int supervisor_program(const char *program, char *path, size_t size, struct smx_err *err);

#endif
