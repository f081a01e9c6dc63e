/* internal.h - what the files of config share. */
#ifndef SMX_CONFIG_INTERNAL_H
#define SMX_CONFIG_INTERNAL_H

#include "config/config.h"

struct config_value {
    char *text; /* owned; NULL: not set anywhere */
    enum config_origin origin;
    unsigned line; /* CONFIG_DOTENV */
    bool by_alias; /* CONFIG_ENVIRONMENT, CONFIG_DOTENV */
    bool pinned;   /* named by a flag or the environment, even if empty: .env cannot set it */
};

enum { CONFIG_WARNINGS_MAX = 32 };

struct config {
    struct config_value v[CONFIG_COUNT_];
    char *dotenv_path; /* NULL: none read */
    char *warnings[CONFIG_WARNINGS_MAX];
    size_t n_warnings;
};

/* Row whose variable or alias is name, or -1. */
int config_env_find(const char *name, bool *ret_alias);
/* Finds and reads .env; fills values that are not set yet. Unreadable files make a warning only. */
int config_read_dotenv(struct config *c, const char *cwd, struct smx_err *err);
/* Checks and normalises the value of a row; *text may be replaced. */
int config_check(enum config_key key, char **text, const char *cwd, struct smx_err *err);
/* FNV-1a: names of projects and instances, ports of profiles. */
uint64_t config_hash(const char *s);
bool config_parse_listen(const char *text, char *host, size_t size, uint16_t *ret_port);

#endif
