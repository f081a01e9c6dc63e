/* seccomp.h - the list of system calls that a sandbox may not make, compiled once at start. */
#ifndef SMX_ENGINE_SECCOMP_H
#define SMX_ENGINE_SECCOMP_H

#include <linux/filter.h>

#include "base/err.h"

enum { SECCOMP_INSNS_MAX = 512 };

struct seccomp_filter {
    struct sock_filter insns[SECCOMP_INSNS_MAX];
    unsigned short n;
};

int seccomp_filter_build(struct seccomp_filter *f, struct smx_err *err);
/* Child, the last thing before exec; needs CAP_SYS_ADMIN in its user namespace. */
int seccomp_filter_load(struct seccomp_filter *f, struct smx_err *err);

#endif
