/* places.c - where a daemon keeps its state and its socket. Root has /var/lib/sandmux and
 * /run/sandmux, others the XDG directories; a profile and a project (the directory of its .env) add
 * a part of their own. A state directory given by hand holds its socket itself. */
#include "config/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

uint64_t config_hash(const char *s)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
    return h;
}

/* The directory below which state lies: false when there is no home to put it in. */
static bool state_base(char *out, size_t size)
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n;

    if (geteuid() == 0)
        n = snprintf(out, size, "/var/lib/sandmux");
    else if (xdg && *xdg == '/')
        n = snprintf(out, size, "%s/sandmux", xdg);
    else if (home && *home == '/')
        n = snprintf(out, size, "%s/.local/state/sandmux", home);
    else
        return false;
    return n > 0 && (size_t)n < size;
}

/* The directory of sockets; empty: beside the state. */
static void run_base(char *out, size_t size)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");

    *out = 0;
    if (geteuid() == 0)
        snprintf(out, size, "/run/sandmux");
    else if (xdg && *xdg == '/')
        snprintf(out, size, "%s/sandmux", xdg);
}

/* "project-0123456789abcdef" for a .env, "project-default" without one. */
static void project_name(const struct config *c, char *out, size_t size)
{
    const char *path = config_dotenv_path(c);

    if (path)
        snprintf(out, size, "%016llx", (unsigned long long)config_hash(path));
    else
        snprintf(out, size, "default");
}

/* What distinguishes this daemon below the base: "", "profiles/dev", "projects/<hash>", or both. */
static void parts(
    const struct config *c, bool automatic, char *dir, size_t dir_size, char *sock, size_t size)
{
    const char *profile = config_get(c, CONFIG_PROFILE);
    char project[32] = "";

    if (automatic)
        project_name(c, project, sizeof project);
    snprintf(dir, dir_size, "%s%s%s%s", profile ? "/profiles/" : "", profile ? profile : "",
        automatic ? "/projects/" : "", project);
    snprintf(sock, size, "%s%s%s%s", profile ? profile : "sandmux", automatic ? "-project-" : "",
        project, ".sock");
}

static int place_socket(const struct config *c, const char *run, const char *name,
    struct config_places *ret, struct smx_err *err)
{
    const char *given = config_get(c, CONFIG_SOCKET);
    char path[2048];

    if (given)
        snprintf(path, sizeof path, "%s", given);
    else if (config_origin(c, CONFIG_STATE_DIR) != CONFIG_FALLBACK || !*run)
        snprintf(path, sizeof path, "%s/sandmux.sock", ret->state_dir);
    else
        snprintf(path, sizeof path, "%s/%s", run, name);
    if (smx_strcpy(ret->socket, sizeof ret->socket, path))
        return 0;
    return smx_err_set(err, SMX_E_INVALID,
        "the path of the unix socket has %zu bytes, the kernel takes %d: set SANDMUX_SOCKET to a "
        "shorter one",
        strlen(path), CONFIG_SOCKET_MAX - 1);
}

int config_places(
    const struct config *c, bool automatic, struct config_places *ret, struct smx_err *err)
{
    const char *given = config_get(c, CONFIG_STATE_DIR);
    char base[900], dir[128], name[128], run[900];
    int n;

    parts(c, automatic, dir, sizeof dir, name, sizeof name);
    run_base(run, sizeof run);
    if (given)
        n = snprintf(ret->state_dir, sizeof ret->state_dir, "%s", given);
    else if (state_base(base, sizeof base))
        n = snprintf(ret->state_dir, sizeof ret->state_dir, "%s%s", base, dir);
    else
        return smx_err_set(err, SMX_E_INVALID,
            "no place for the state: set SANDMUX_STATE_DIR, XDG_STATE_HOME or HOME");
    if (n < 0 || (size_t)n >= sizeof ret->state_dir)
        return smx_err_set(err, SMX_E_INVALID, "the path of the state directory is too long");
    snprintf(ret->instance, sizeof ret->instance, "%016llx",
        (unsigned long long)config_hash(ret->state_dir));
    return place_socket(c, run, name, ret, err);
}
