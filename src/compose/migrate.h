/* migrate.h - a sandbox moves to another runtime and keeps its id, its name and its lifetime. Files
 * move (archive_paths and the state of sessions), processes do not. */
#ifndef SMX_COMPOSE_MIGRATE_H
#define SMX_COMPOSE_MIGRATE_H

#include "compose/session.h"

struct migrate_spec {
    const char *runtime;  /* where to */
    const char *template; /* there; NULL: the one it has here */
};
/* [parks] calls are refused while it lasts. The copy is compared with the original by a digest over
 * names, types, modes, owners, times and content before anything is given up; after a failure the
 * sandbox is where it was and works on. -SMX_E_INVALID: it is there already; -SMX_E_STATE: it does
 * not run, or is in use; -SMX_E_NOT_CONFIGURED; what creating and archives say. Runs to its end
 * when the caller is cancelled. */
int sandbox_migrate(
    struct compose *c, struct sandbox *sb, const struct migrate_spec *spec, struct smx_err *err);

#endif
