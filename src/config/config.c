/* config.c - loads the settings: flags, environment, .env, fallbacks, in this order of rank. The
 * table is expanded here once; a struct config is read-only after config_load(), so that several
 * threads may read it. */
#include "config/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum { PROFILE_PORT_FIRST = 18000, PROFILE_PORTS = 10000, TLS_PORT = 8443 };

#define NAME CONFIG_NAME
#define LISTEN CONFIG_LISTEN_AT
#define PATH CONFIG_PATH
#define BOOL CONFIG_BOOL
#define STRING CONFIG_STRING
#define LOG_LEVEL CONFIG_LEVEL
#define U64 CONFIG_U64
#define SECRET CONFIG_SECRET
#define DAEMON CONFIG_DAEMON
#define CLIENT CONFIG_CLIENT
#define BOTH CONFIG_BOTH

static const struct config_setting settings[] = {
#define SMX_SETTING(                                                                 \
    symbol, name_, env_, alias_, flag_, type_, fallback_, min_, max_, flags_, help_) \
    { .name = name_,                                                                 \
        .env = env_,                                                                 \
        .alias = alias_,                                                             \
        .flag = flag_,                                                               \
        .fallback = fallback_,                                                       \
        .help = help_,                                                               \
        .type = type_,                                                               \
        .min = min_,                                                                 \
        .max = max_,                                                                 \
        .flags = flags_ },
#include "config/settings.def"
#undef SMX_SETTING
};

_Static_assert(SMX_ARRAY_LEN(settings) == CONFIG_COUNT_, "a key without a row");

const struct config_setting *config_setting(enum config_key key)
{
    return &settings[key];
}

int config_flag_find(const char *flag)
{
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        if (settings[i].flag && smx_streq(settings[i].flag, flag))
            return i;
    }
    return -1;
}

int config_env_find(const char *name, bool *ret_alias)
{
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        bool alias = settings[i].alias && smx_streq(settings[i].alias, name);

        if (alias || smx_streq(settings[i].env, name)) {
            *ret_alias = alias;
            return i;
        }
    }
    return -1;
}

int config_warn(struct config *c, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (c->n_warnings == CONFIG_WARNINGS_MAX)
        return 0;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->warnings[c->n_warnings] = smx_strdup(text);
    if (!c->warnings[c->n_warnings])
        return -SMX_E_NO_MEMORY;
    c->n_warnings++;
    return 0;
}

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
        struct config_value *v = &c->v[i];
        bool pinned;

        if (v->text && *v->text)
            continue;
        if (v->text && v->origin == CONFIG_FLAG)
            return smx_err_set(err, SMX_E_INVALID, "flag %s needs a value", settings[i].flag);
        smx_free(smx_take(&v->text));
        pinned = v->pinned;
        v->origin = CONFIG_FALLBACK;
        if (settings[i].fallback && set_value(c, i, settings[i].fallback, CONFIG_FALLBACK) < 0)
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
        smx_err_wrap(err, r, "%s", where.data ? where.data : settings[i].name);
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

bool config_same(const struct config *a, const struct config *b, enum config_key key)
{
    const char *x = a->v[key].text, *y = b->v[key].text;

    return x == y || (x && y && smx_streq(x, y));
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        if (c->v[i].text && (settings[i].flags & CONFIG_SECRET))
            explicit_bzero(c->v[i].text, strlen(c->v[i].text));
        smx_free(c->v[i].text);
    }
    for (size_t i = 0; i < c->n_warnings; i++)
        smx_free(c->warnings[i]);
    smx_free(c->dotenv_path);
    smx_free(c);
}

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
    const struct config_setting *s = &settings[key];
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
    return settings[key].flags & CONFIG_SECRET ? "***" : c->v[key].text;
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
        env[n] = smx_asprintf("%s=%s", settings[i].env, c->v[i].text);
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

bool config_listen(
    const struct config *c, enum config_key key, char *host, size_t size, uint16_t *ret_port)
{
    const char *text = c->v[key].text;

    return text && !smx_streq(text, "none") && config_parse_listen(text, host, size, ret_port);
}
