/* config.c - loads the settings: flags, environment, .env, fallbacks, in this order of rank. A
 * struct config is read-only after config_load(), so that several threads may read it. */
#include "config/internal.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { PROFILE_PORT_FIRST = 18000, PROFILE_PORTS = 10000, TLS_PORT = 8443 };

static int set_value(struct config *c, int key, const char *text, enum config_origin origin)
{
    c->v[key].text = smx_strdup(text);
    c->v[key].origin = origin;
    c->v[key].pinned = origin == CONFIG_FLAG || origin == CONFIG_ENVIRONMENT;
    return c->v[key].text ? 0 : -SMX_E_NO_MEMORY;
}

/* The variable's own name beats its alias, in whatever order they stand. */
static int read_environment(struct config *c, char *const *env, bool alias_pass)
{
    for (; *env; env++) {
        const char *eq = strchr(*env, '=');
        char name[64];
        bool alias = false;
        int key;

        if (!eq ||
            !smx_view_copy(name, sizeof name, (struct smx_view){ *env, (size_t)(eq - *env) }))
            continue;
        key = config_env_find(name, &alias);
        if (key < 0 || alias != alias_pass || c->v[key].text)
            continue;
        if (set_value(c, key, eq + 1, CONFIG_ENVIRONMENT) < 0)
            return -SMX_E_NO_MEMORY;
        c->v[key].by_alias = alias;
    }
    return 0;
}

static int read_flags(struct config *c, const struct config_input *in)
{
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        if (in->flags[i] && set_value(c, i, in->flags[i], CONFIG_FLAG) < 0)
            return -SMX_E_NO_MEMORY;
    }
    return 0;
}

/* An empty value means the fallback; a flag must not be empty. */
static int fill_fallbacks(struct config *c, struct smx_err *err)
{
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        const struct config_setting *s = config_setting(i);
        struct config_value *v = &c->v[i];
        bool pinned;

        if (v->text && *v->text)
            continue;
        if (v->text && v->origin == CONFIG_FLAG)
            return smx_err_set(err, SMX_E_INVALID, "flag %s needs a value", s->flag);
        smx_free(smx_take(&v->text));
        pinned = v->pinned;
        v->origin = CONFIG_FALLBACK;
        if (s->fallback && set_value(c, i, s->fallback, CONFIG_FALLBACK) < 0)
            return smx_err_oom(err);
        v->pinned = pinned;
    }
    return 0;
}

/* A profile has a port of its own, always the same, unless one is named. */
static int place_profile(struct config *c, struct smx_err *err)
{
    struct config_value *listen = &c->v[CONFIG_LISTEN];
    const char *profile = c->v[CONFIG_PROFILE].text;
    char *text;

    if (!profile || listen->origin != CONFIG_FALLBACK)
        return 0;
    text = smx_asprintf(
        "127.0.0.1:%u", PROFILE_PORT_FIRST + (unsigned)(config_hash(profile) % PROFILE_PORTS));
    if (!text)
        return smx_err_oom(err);
    smx_free(listen->text);
    listen->text = text;
    return 0;
}

/* HTTPS at the address of HTTP; 10000 above a profile's own port. */
static int place_tls(struct config *c, struct smx_err *err)
{
    struct config_value *tls = &c->v[CONFIG_TLS_LISTEN];
    const char *profile = c->v[CONFIG_PROFILE].text, *listen = c->v[CONFIG_LISTEN].text;
    unsigned port = TLS_PORT;
    char host[64];
    uint16_t unused;

    if (tls->text || !c->v[CONFIG_TLS_CERT].text)
        return 0;
    if (profile)
        port =
            PROFILE_PORT_FIRST + PROFILE_PORTS + (unsigned)(config_hash(profile) % PROFILE_PORTS);
    if (!listen || !config_parse_listen(listen, host, sizeof host, &unused))
        smx_strcpy(host, sizeof host, "127.0.0.1");
    tls->text = smx_asprintf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    return tls->text ? 0 : smx_err_oom(err);
}

static int check_values(struct config *c, const char *cwd, struct smx_err *err)
{
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        struct smx_buf where;
        int r;

        if (!c->v[i].text)
            continue;
        r = config_check((enum config_key)i, &c->v[i].text, cwd, err);
        if (r == 0)
            continue;
        smx_buf_init(&where, 4096);
        config_origin_text(c, (enum config_key)i, &where);
        smx_err_wrap(err, r, "%s", where.data ? where.data : config_setting(i)->name);
        smx_buf_done(&where);
        return r;
    }
    return 0;
}

static int load(struct config *c, const struct config_input *in, struct smx_err *err)
{
    char cwd[4096];
    const char *where = in->cwd;
    char *const *env = in->env ? in->env : environ;
    int r;

    if (!where)
        where = getcwd(cwd, sizeof cwd) ? cwd : "/";
    if (read_flags(c, in) < 0 || read_environment(c, env, /* alias_pass= */ false) < 0 ||
        read_environment(c, env, /* alias_pass= */ true) < 0)
        return smx_err_oom(err);
    if (!in->no_dotenv) {
        r = config_read_dotenv(c, where, err);
        if (r < 0)
            return r;
    }
    r = fill_fallbacks(c, err);
    if (r == 0)
        r = place_profile(c, err);
    if (r == 0)
        r = place_tls(c, err);
    return r < 0 ? r : check_values(c, where, err);
}

int config_load(const struct config_input *in, struct config **ret, struct smx_err *err)
{
    SMX_CLEANUP(config_freep) struct config *c = smx_alloc(sizeof *c);
    int r;

    if (!c)
        return smx_err_oom(err);
    r = load(c, in, err);
    if (r < 0)
        return r;
    *ret = smx_take(&c);
    return 0;
}

/* The pinned values of an earlier load; an empty one again means the fallback. */
static int copy_pinned(const struct config *from, struct config *c)
{
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        const struct config_value *v = &from->v[i];
        bool empty = v->origin == CONFIG_FALLBACK;

        if (!v->pinned)
            continue;
        if (set_value(c, i, empty ? "" : v->text, empty ? CONFIG_ENVIRONMENT : v->origin) < 0)
            return -SMX_E_NO_MEMORY;
        c->v[i].by_alias = v->by_alias;
    }
    return 0;
}

static int reload(const struct config *from, struct config *c, struct smx_err *err)
{
    char dir[4096] = "/";
    char *slash;
    int r;

    if (from->dotenv_path && smx_strcpy(dir, sizeof dir, from->dotenv_path)) {
        slash = strrchr(dir, '/');
        slash[slash == dir] = 0;
    }
    if (copy_pinned(from, c) < 0)
        return smx_err_oom(err);
    r = from->dotenv_path ? config_read_dotenv(c, dir, err) : 0;
    if (r == 0)
        r = fill_fallbacks(c, err);
    if (r == 0)
        r = place_profile(c, err);
    if (r == 0)
        r = place_tls(c, err);
    return r < 0 ? r : check_values(c, dir, err);
}

int config_reload(const struct config *from, struct config **ret, struct smx_err *err)
{
    SMX_CLEANUP(config_freep) struct config *c = smx_alloc(sizeof *c);
    int r;

    if (!c)
        return smx_err_oom(err);
    r = reload(from, c, err);
    if (r < 0)
        return r;
    *ret = smx_take(&c);
    return 0;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        if (c->v[i].text && (config_setting(i)->flags & CONFIG_SECRET))
            explicit_bzero(c->v[i].text, strlen(c->v[i].text));
        smx_free(c->v[i].text);
    }
    for (size_t i = 0; i < c->n_warnings; i++)
        smx_free(c->warnings[i]);
    smx_free(c->dotenv_path);
    smx_free(c);
}
