/* host.h - the engine's place on the host: its directories, and the lock that makes it the only
 * engine of them. */
#ifndef SMX_ENGINE_HOST_H
#define SMX_ENGINE_HOST_H

#include "engine/engine.h"

/* Opens or makes the directories below the state directory, takes the lock (ending an engine whose
 * supervisor died) and makes the state directory the working one. Blocking: before the loop. */
int host_open(struct engine *e, struct smx_err *err);
void host_close(struct engine *e);

#endif
