/* programs.c - finds the programs that belong to this one: beside it (a build directory), in
 * ../libexec/sandmux, or in /usr/libexec/sandmux. They are opened once: what runs after an upgrade
 * on disk is still the build that the supervisor belongs to. */
#include "supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

static int own_dir(char *out, size_t size, struct smx_err *err)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    char *slash;

    if (n < 0)
        return smx_err_errno(err, errno, "reading /proc/self/exe");
    out[n] = 0;
    slash = strrchr(out, '/');
    if (slash)
        *slash = 0;
    return 0;
}

static int find(const char *dir, const char *program, char *path, size_t size, struct smx_err *err)
{
    snprintf(path, size, "%s/%s", dir, program);
    if (access(path, X_OK) == 0)
        return 0;
    snprintf(path, size, "%s/../libexec/sandmux/%s", dir, program);
    if (access(path, X_OK) == 0)
        return 0;
    snprintf(path, size, "/usr/libexec/sandmux/%s", program);
    if (access(path, X_OK) == 0)
        return 0;
    return smx_err_set(err, SMX_E_UNAVAILABLE,
        "%s is neither beside this program nor in ../libexec/sandmux: build or install it",
        program);
}

static int open_program(struct keeper *k, const char *dir, struct smx_err *err)
{
    char path[PATH_MAX];
    int r = find(dir, k->program, path, sizeof path, err);

    if (r < 0)
        return r;
    k->exec_fd = open(path, O_RDONLY | O_CLOEXEC);
    return k->exec_fd < 0 ? smx_err_errno(err, errno, "opening %s", path) : 0;
}

int programs_find(struct supervisor *s, struct smx_err *err)
{
    char dir[1024];
    int r = own_dir(dir, sizeof dir, err);

    if (r == 0)
        r = open_program(&s->gateway, dir, err);
    if (r == 0 && s->root)
        r = open_program(&s->engine, dir, err);
    if (r == 0 && s->root)
        r = find(dir, "sandmux-agent", s->agent, sizeof s->agent, err);
    return r;
}

int supervisor_program(const char *program, char *path, size_t size, struct smx_err *err)
{
    char dir[1024];
    int r = own_dir(dir, sizeof dir, err);

    return r < 0 ? r : find(dir, program, path, size, err);
}
