/* tree.h - walks over directories that a sandbox filled: nothing is followed, no path leaves the
 * directory, depth and names are hostile. Blocking; called in helper processes. */
#ifndef SMX_ENGINE_TREE_H
#define SMX_ENGINE_TREE_H

#include <stdint.h>

/* Removes name below dirfd with all in it; 0 also when it is not there, else -errno of the first
 * thing that could not be removed (the rest is removed all the same). */
int tree_remove(int dirfd, const char *name);
/* Disk space that a directory takes, in bytes; 0 when it is not there. */
uint64_t tree_usage(int dirfd, const char *name);

#endif
