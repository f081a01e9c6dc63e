/* template.h - root file systems that sandboxes start from. So far there is one, "base": the host's
 * /usr, read-only, under an /etc, /var and home directories of our own making. Nothing else of the
 * host is in it. */
#ifndef SMX_ENGINE_TEMPLATE_H
#define SMX_ENGINE_TEMPLATE_H

#include <stdbool.h>

#include "base/err.h"

enum { TEMPLATE_GENERATION_SIZE = 17 };

struct template
{
    char name[64];
    char generation[TEMPLATE_GENERATION_SIZE]; /* changes when the host's part changes */
    int fd;                                    /* its root directory */
    bool host_usr;                             /* /usr of the host is mounted over its own */
};

/* Opens templates_fd/base/<generation>, and builds it when it is not there. */
int template_base_open(int templates_fd, struct template *ret, struct smx_err *err);
void template_close(struct template *t);

#endif
