/* settings.c - the table of settings, expanded from settings.def, and how a row is found. */
#include "base/str.h"
#include "config/internal.h"

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
