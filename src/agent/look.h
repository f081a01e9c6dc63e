/* look.h - what lstat() says of the names in the working directory. */
#ifndef SMX_AGENT_LOOK_H
#define SMX_AGENT_LOOK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct look {
    int error; /* an errno value, then nothing else counts; 0 */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    int64_t size;
    struct timespec mtime;
};
/* One path, links not followed; also ret->error. */
int look_at(const char *path, struct look *ret);
/* Several at once, on two processors where there are two and it is worth it. */
void look_at_all(char *const *paths, size_t n, struct look *ret);

#endif
