/* doctor.h - one check of this machine, for doctor_*.c. */
#ifndef SMX_CLI_DOCTOR_H
#define SMX_CLI_DOCTOR_H

#include "cli/cli.h"

enum doctor_status {
    DOCTOR_OK,
    DOCTOR_WARN, /* works, but something is off without it */
    DOCTOR_BAD,  /* stands in the way */
};

struct doctor_result {
    enum doctor_status status;
    char detail[320], fix[320]; /* fix: what to do; empty when ok */
};

typedef void(doctor_fn)(struct cli *cli, struct doctor_result *r);

void doctor_set(struct doctor_result *r, enum doctor_status status, const char *fix,
    const char *detail, ...) SMX_PRINTF(4, 5);

/* doctor_host.c: what the local runtime needs of the machine */
doctor_fn doctor_privilege, doctor_kernel, doctor_userns, doctor_overlay, doctor_cgroups,
    doctor_seccomp, doctor_memory;

#endif
