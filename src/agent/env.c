/* env.c - environment blocks. Pure; any thread. */
#include "agent/env.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

enum { FIXED = 7, PAIRS_MAX = FIXED + 2 * SMX_ENV_ENTRIES_MAX };

int env_check(const struct json_map *m, struct smx_err *err)
{
    size_t bytes = 0;

    if (m->n > SMX_ENV_ENTRIES_MAX)
        return smx_err_set(
            err, SMX_E_TOO_LARGE, "more than %d environment variables", SMX_ENV_ENTRIES_MAX);
    for (size_t i = 0; i < m->n; i++) {
        const char *key = m->v[i].key;

        if (!*key || strchr(key, '='))
            return smx_err_set(
                err, SMX_E_INVALID, "'%.80s' is no name of an environment variable", key);
        bytes += strlen(key) + (m->v[i].value ? strlen(m->v[i].value) : 0) + 2;
    }
    if (bytes > SMX_ENV_BYTES_MAX)
        return smx_err_set(
            err, SMX_E_TOO_LARGE, "environment variables of more than %d bytes", SMX_ENV_BYTES_MAX);
    return 0;
}

static bool given(const char *s)
{
    return s && *s;
}

struct pairs {
    struct {
        const char *key, *value;
    } v[PAIRS_MAX];
    size_t n, bytes;
};

static void put(struct pairs *p, const char *key, const char *value)
{
    size_t i = 0;

    while (i < p->n && !smx_streq(p->v[i].key, key))
        i++;
    if (i < p->n)
        p->bytes -= strlen(key) + strlen(p->v[i].value) + 2;
    else
        p->n++;
    p->v[i].key = key;
    p->v[i].value = value ? value : "";
    p->bytes += strlen(key) + strlen(p->v[i].value) + 2;
}

static char **block_of(const struct pairs *p)
{
    size_t table = (p->n + 1) * sizeof(char *);
    char **block = smx_alloc(table + p->bytes);
    char *at = (char *)block + table;

    for (size_t i = 0; block && i < p->n; i++) {
        size_t key = strlen(p->v[i].key), value = strlen(p->v[i].value);

        block[i] = at;
        memcpy(at, p->v[i].key, key);
        at[key] = '=';
        memcpy(at + key + 1, p->v[i].value, value + 1);
        at += key + value + 2;
    }
    return block;
}

int env_build(const struct agent_user *user, const struct envd_init_request *settings,
    const struct json_map *request, char ***ret, struct smx_err *err)
{
    const struct json_map *global = &settings->env_vars;
    SMX_CLEANUP(smx_freep) struct pairs *p = NULL;
    char **block;
    int r;

    if ((r = env_check(global, err)) < 0 || (r = env_check(request, err)) < 0)
        return r;
    p = smx_alloc(sizeof *p);
    if (!p)
        return smx_err_oom(err);
    put(p, "PATH", ENV_DEFAULT_PATH);
    put(p, "HOME", user->home);
    put(p, "USER", user->name);
    put(p, "LOGNAME", user->name);
    put(p, "E2B_SANDBOX", "true");
    if (given(settings->sandbox_id))
        put(p, "E2B_SANDBOX_ID", settings->sandbox_id);
    if (given(settings->template_id))
        put(p, "E2B_TEMPLATE_ID", settings->template_id);
    for (size_t i = 0; i < global->n; i++)
        put(p, global->v[i].key, global->v[i].value);
    for (size_t i = 0; i < request->n; i++)
        put(p, request->v[i].key, request->v[i].value);
    block = block_of(p);
    if (!block)
        return smx_err_oom(err);
    *ret = block;
    return 0;
}

void env_write_globals(struct json_writer *w, const struct envd_init_request *settings)
{
    const char *const fixed[][2] = { { "E2B_SANDBOX", "true" },
        { "E2B_SANDBOX_ID", settings->sandbox_id }, { "E2B_TEMPLATE_ID", settings->template_id } };
    const struct json_map *m = &settings->env_vars;

    for (size_t i = 0; i < SMX_ARRAY_LEN(fixed); i++) {
        bool replaced = false;

        for (size_t k = 0; k < m->n && !replaced; k++)
            replaced = smx_streq(m->v[k].key, fixed[i][0]);
        if (given(fixed[i][1]) && !replaced)
            json_kv_string(w, fixed[i][0], fixed[i][1]);
    }
    for (size_t k = 0; k < m->n; k++)
        json_kv_string(w, m->v[k].key, m->v[k].value);
}
