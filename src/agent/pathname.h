/* pathname.h - how the file calls and working directories read a path. Lexical only: links are the
 * kernel's business. */
#ifndef SMX_AGENT_PATHNAME_H
#define SMX_AGENT_PATHNAME_H

#include "base/err.h"

/* Cleans in place: no doubled slashes, no "." and no ".." that a component can absorb; "/" for an
 * absolute path that vanishes, "." for a relative one. */
void path_clean(char *path);
/* "": workdir or home; "~", "~/x": home; "~other": -SMX_E_INVALID; relative: below workdir or home;
 * absolute: itself. Cleaned; the caller frees. @workdir may be NULL. */
int path_resolve(const char *path, const char *home, const char *workdir, const char *user_name,
    char **ret, struct smx_err *err);
/* The last component: points into path; "/" for the root. */
const char *path_base(const char *path);

#endif
