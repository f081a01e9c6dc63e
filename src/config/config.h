/* config.h - settings and places. One table (settings.def) names every setting; its value is the
 * first of: flag, environment, .env (found by walking up from the working directory), fallback. An
 * empty value in the environment or .env means the fallback. Values do not change after
 * config_load(); secrets are marked and never printed by anything here. */
#ifndef SMX_CONFIG_CONFIG_H
#define SMX_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum config_key {
#define SMX_SETTING(symbol, ...) CONFIG_##symbol,
#include "config/settings.def"
#undef SMX_SETTING
    CONFIG_COUNT_
};

enum config_type {
    CONFIG_STRING,
    CONFIG_BOOL,
    CONFIG_U64,
    CONFIG_NAME,      /* smx_name_valid() */
    CONFIG_LISTEN_AT, /* numeric address:port, [v6]:port, a bare port, or "none" */
    CONFIG_PATH,      /* absolute after loading */
    CONFIG_LEVEL,
};

enum { CONFIG_SECRET = 1, CONFIG_DAEMON = 2, CONFIG_CLIENT = 4, CONFIG_BOTH = 6 };

struct config_setting {
    const char *name, *env, *alias, *flag, *fallback, *help; /* alias, flag, fallback: or NULL */
    enum config_type type;
    uint64_t min, max;
    unsigned flags;
};
/* The row of a key; rows never change. */
const struct config_setting *config_setting(enum config_key key);
/* Row number of a flag such as "--listen", or -1. */
int config_flag_find(const char *flag);

enum config_origin { CONFIG_FALLBACK, CONFIG_DOTENV, CONFIG_ENVIRONMENT, CONFIG_FLAG };

struct config_input {
    const char *flags[CONFIG_COUNT_]; /* values of flags that were given; borrowed for the call */
    char *const *env;                 /* NULL: the process's environment */
    const char *cwd;                  /* where the walk for .env starts; NULL: working directory */
    bool no_dotenv;
};

struct config;
/* -SMX_E_INVALID names the setting and where its bad value came from, never a secret's value. */
int config_load(const struct config_input *in, struct config **ret, struct smx_err *err);
void config_free(struct config *c);
SMX_DEFINE_CLEANUP(struct config, config_free)

/* What config_load() would give now that .env may have changed: flags and environment as they were,
 * the file read anew. */
int config_reload(const struct config *c, struct config **ret, struct smx_err *err);
/* True when the value of that key is the same in both. */
bool config_same(const struct config *a, const struct config *b, enum config_key key);

/* NULL when there is neither a value nor a fallback. Borrowed from c. */
const char *config_get(const struct config *c, enum config_key key);
bool config_bool(const struct config *c, enum config_key key);
uint64_t config_u64(const struct config *c, enum config_key key);
enum config_origin config_origin(const struct config *c, enum config_key key);
/* "flag --listen", "environment SANDMUX_LISTEN", "/app/.env:3", "default". */
int config_origin_text(const struct config *c, enum config_key key, struct smx_buf *out);
/* What a person may read: the value, "***" for a secret, "" for none. */
const char *config_shown(const struct config *c, enum config_key key);
/* Lines worth a warning, such as a malformed line of .env; NULL past the last. */
const char *config_warning(const struct config *c, size_t i);
/* Path of the .env that was read, or NULL. */
const char *config_dotenv_path(const struct config *c);
/* "NAME=value" of every setting that is not at its fallback, to be handed to a child that loads it
 * without a .env: NULL-terminated, freed with config_env_free(). */
int config_env(const struct config *c, char ***ret, struct smx_err *err);
void config_env_free(char **env);

/* Address of a CONFIG_LISTEN_AT value. False for "none". */
bool config_listen(
    const struct config *c, enum config_key key, char *host, size_t size, uint16_t *ret_port);

/* --- places -------------------------------------------------------------------------------- */

enum { CONFIG_SOCKET_MAX = 108 }; /* with the NUL: what a sockaddr_un holds */
struct config_places {
    char state_dir[1024];
    char socket[CONFIG_SOCKET_MAX];
    char instance[64]; /* names this daemon among several of a host: letters, digits, '-' */
};
/* Where the daemon of this configuration lives. automatic: the one that a client starts for the
 * project (the directory of .env), else the one `sandmux serve` owns. -SMX_E_INVALID: the path of
 * the socket is too long (the message names it and what to set). Nothing is created. */
int config_places(
    const struct config *c, bool automatic, struct config_places *ret, struct smx_err *err);

#endif
