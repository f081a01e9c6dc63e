/* get.c - what is read of a loaded configuration: values, where they came from, and what a child is
 * given of them. */
#include "base/mem.h"
#include "base/str.h"
#include "config/internal.h"

const char *config_get(const struct config *c, enum config_key key)
{
    return c->v[key].text;
}

bool config_bool(const struct config *c, enum config_key key)
{
    bool v = false;

    if (c->v[key].text)
        smx_parse_bool(c->v[key].text, &v);
    return v;
}

uint64_t config_u64(const struct config *c, enum config_key key)
{
    uint64_t v = 0;

    if (c->v[key].text)
        smx_parse_u64(smx_view_of(c->v[key].text), UINT64_MAX, &v);
    return v;
}

enum config_origin config_origin(const struct config *c, enum config_key key)
{
    return c->v[key].origin;
}

int config_origin_text(const struct config *c, enum config_key key, struct smx_buf *out)
{
    const struct config_value *v = &c->v[key];
    const struct config_setting *s = config_setting(key);
    const char *env = v->by_alias ? s->alias : s->env;

    switch (v->origin) {
    case CONFIG_FALLBACK:
        return smx_buf_append_str(out, "default");
    case CONFIG_DOTENV:
        return smx_buf_appendf(out, "%s in %s:%u", env, c->dotenv_path, v->line);
    case CONFIG_ENVIRONMENT:
        return smx_buf_appendf(out, "environment %s", env);
    case CONFIG_FLAG:
        return smx_buf_appendf(out, "flag %s", s->flag);
    }
    return -SMX_E_INTERNAL;
}

const char *config_shown(const struct config *c, enum config_key key)
{
    if (!c->v[key].text)
        return "";
    return config_setting(key)->flags & CONFIG_SECRET ? "***" : c->v[key].text;
}

const char *config_warning(const struct config *c, size_t i)
{
    return i < c->n_warnings ? c->warnings[i] : NULL;
}

const char *config_dotenv_path(const struct config *c)
{
    return c->dotenv_path;
}

int config_env(const struct config *c, char ***ret, struct smx_err *err)
{
    char **env = smx_alloc_array(CONFIG_COUNT_ + 1, sizeof *env);
    size_t n = 0;

    if (!env)
        return smx_err_oom(err);
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        if (c->v[i].origin == CONFIG_FALLBACK || !c->v[i].text)
            continue;
        env[n] = smx_asprintf("%s=%s", config_setting(i)->env, c->v[i].text);
        if (!env[n++]) {
            config_env_free(env);
            return smx_err_oom(err);
        }
    }
    *ret = env;
    return 0;
}

void config_env_free(char **env)
{
    for (char **p = env; p && *p; p++)
        smx_free(*p);
    smx_free(env);
}

bool config_same(const struct config *a, const struct config *b, enum config_key key)
{
    const char *x = a->v[key].text, *y = b->v[key].text;

    return x == y || (x && y && smx_streq(x, y));
}

bool config_listen(
    const struct config *c, enum config_key key, char *host, size_t size, uint16_t *ret_port)
{
    const char *text = c->v[key].text;

    return text && !smx_streq(text, "none") && config_parse_listen(text, host, size, ret_port);
}
