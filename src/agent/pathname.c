/* pathname.c - lexical path handling. Pure; any thread. */
#include "agent/pathname.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* Drops the last component of what was written so far; false when there is none to drop. */
static bool drop_last(const char *path, size_t start, size_t *len)
{
    size_t n = *len;

    while (n > start && path[n - 1] != '/')
        n--;
    if (n == start && *len == start)
        return false;
    if (*len - n == 2 && path[n] == '.' && path[n + 1] == '.')
        return false; /* a ".." that was kept */
    *len = n > start ? n - 1 : start;
    return true;
}

static void append_part(char *path, size_t start, size_t *len, const char *part, size_t n)
{
    if (*len > start)
        path[(*len)++] = '/';
    memmove(path + *len, part, n);
    *len += n;
}

void path_clean(char *path)
{
    size_t start = path[0] == '/' ? 1 : 0, len = start;
    const char *p = path;

    while (*p) {
        size_t n;

        p += strspn(p, "/");
        n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            if (!drop_last(path, start, &len) && start == 0)
                append_part(path, start, &len, p, n);
        } else if (n > 0 && !(n == 1 && p[0] == '.')) {
            append_part(path, start, &len, p, n);
        }
        p += n;
    }
    if (len == 0)
        path[len++] = '.';
    path[len] = '\0';
}

int path_resolve(const char *path, const char *home, const char *workdir, const char *user_name,
    char **ret, struct smx_err *err)
{
    const char *base = workdir && *workdir ? workdir : home;
    char *full;

    if (path[0] == '~' && path[1] != '\0' && path[1] != '/')
        return smx_err_set(err, SMX_E_INVALID,
            "failed to expand path '%.80s' for user '%s': cannot expand user-specific home dir",
            path, user_name);
    if (path[0] == '~')
        full = smx_asprintf("%s/%s", home, path + 1);
    else if (path[0] == '/')
        full = smx_strdup(path);
    else
        full = smx_asprintf("%s/%s", base, path);
    if (!full)
        return smx_err_oom(err);
    path_clean(full);
    *ret = full;
    return 0;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return path;
    return slash[1] ? slash + 1 : path;
}
