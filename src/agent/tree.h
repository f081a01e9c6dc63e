/* tree.h - directory trees: making, removing and walking them. Paths are absolute and clean. */
#ifndef SMX_AGENT_TREE_H
#define SMX_AGENT_TREE_H

#include "base/err.h"

/* mkdir -p with mode 0755; what is made belongs to the thread's file-system ids. 0 or an errno
 * value (ENOTDIR: a component is no directory). */
int tree_make(const char *path);
/* tree_make() of the directory that the path stands in. */
int tree_make_parent(const char *path);
/* rm -rf without following links; 0 or an errno value; missing is fine. It may change the working
 * directory and take long when the path is a directory: in a child only. */
int tree_remove(const char *path);

/* A move where rename() says EXDEV: copies beside the destination (modes, owners, times and user
 * attributes too), renames the copy into place, removes the source. 0 or an errno value; after a
 * failure the destination is as it was. In a child only. */
int tree_move_across(const char *from, const char *to);

/* Sorted names of a directory; *ret is one block that the caller frees. 0 or an errno value. */
struct tree_names {
    char **v;
    size_t n;
};
int tree_names_read(const char *path, struct tree_names *ret);
void tree_names_done(struct tree_names *t);

#endif
