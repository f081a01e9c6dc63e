/* procfs.c - see procfs.h. One instance a process; single-threaded. */
#include "engine/procfs.h"

#include <fcntl.h>
#include <sys/mount.h>

#include "base/fd.h"

enum { USES_MAX = 32 };

static int instance = -1;
static unsigned uses;

static int make(void)
{
    SMX_CLEANUP(smx_closep) int fs = fsopen("proc", FSOPEN_CLOEXEC);
    int fd = -1;

    if (fs >= 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
    return fd >= 0 ? fd : open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int procfs_private(void)
{
    if (instance >= 0 && ++uses < USES_MAX)
        return instance;
    smx_close(instance);
    instance = make();
    uses = 0;
    return instance;
}

void procfs_forget(void)
{
    instance = -1;
}
