/* skeleton.h - directories of sandboxes made ahead of time: STATE/engine/pool/<name> with all that
 * a new sandbox's directory holds, so that a create renames one instead of making seven files
 * (making one costs 15 us on a fresh ext4 and 700 us on one where many were just deleted). */
#ifndef SMX_ENGINE_SKELETON_H
#define SMX_ENGINE_SKELETON_H

#include "base/err.h"

enum { SKELETONS_MAX = 128, SKELETON_NAME_SIZE = 24 };

struct hands;

struct skeletons {
    int pool_fd, boxes_fd;
    struct hands *hands;
    char names[SKELETONS_MAX][SKELETON_NAME_SIZE];
    unsigned n;
};

/* Takes over what an earlier engine left whole in the pool; the rest of it is removed. [parks] */
int skeletons_start(struct skeletons *s, int pool_fd, int boxes_fd, struct hands *hands);
/* [parks] Makes one more; 1 when the pool is full. */
int skeletons_fill(struct skeletons *s, struct smx_err *err);
/* [parks] The name of a whole directory in the pool that is the caller's now. */
int skeleton_pick(struct skeletons *s, char name[SKELETON_NAME_SIZE], struct smx_err *err);
/* What the files inside tell of the sandbox. */
struct skeleton_names {
    const char *id, *hostname, *template;
};
/* Makes it sandboxes/<id>. */
int skeleton_use(
    struct skeletons *s, const char *name, const struct skeleton_names *names, struct smx_err *err);

/* Blocking; in a helper process: makes pool/<name> whole. 0 or -errno. */
int skeleton_make(int pool_fd, const char *name);

#endif
