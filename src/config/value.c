/* value.c - checks a setting's value against its row. Messages say what is allowed and never repeat
 * a secret. */
#include "config/internal.h"

#include <arpa/inet.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static bool numeric_host(const char *host)
{
    unsigned char addr[16];

    return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

/* "8000", "127.0.0.1:8000", "[::1]:8000", "localhost:8000". */
bool config_parse_listen(const char *text, char *host, size_t size, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':'), *digits = colon ? colon + 1 : text;
    struct smx_view h = { "127.0.0.1", 9 };
    uint64_t port;

    if (!smx_parse_u64(smx_view_of(digits), 65535, &port))
        return false;
    if (colon)
        h = (struct smx_view){ text, (size_t)(colon - text) };
    if (h.n >= 2 && h.p[0] == '[' && h.p[h.n - 1] == ']')
        h = (struct smx_view){ h.p + 1, h.n - 2 };
    if (smx_view_eq(h, "localhost"))
        h = SMX_VIEW("127.0.0.1");
    if (!smx_view_copy(host, size, h) || !numeric_host(host))
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

static int check_u64(const struct config_setting *s, const char *text, struct smx_err *err)
{
    uint64_t v;

    if (smx_parse_u64(smx_view_of(text), s->max, &v) && v >= s->min)
        return 0;
    return smx_err_set(err, SMX_E_INVALID, "must be an integer from %llu to %llu",
        (unsigned long long)s->min, (unsigned long long)s->max);
}

static int check_path(char **text, const char *cwd, struct smx_err *err)
{
    char *absolute;

    if (**text == '/')
        return 0;
    absolute = smx_asprintf("%s/%s", smx_streq(cwd, "/") ? "" : cwd, *text);
    if (!absolute)
        return smx_err_oom(err);
    smx_free(*text);
    *text = absolute;
    return 0;
}

static int check_listen(const char *text, struct smx_err *err)
{
    char host[64];
    uint16_t port;

    if (smx_streq(text, "none") || config_parse_listen(text, host, sizeof host, &port))
        return 0;
    return smx_err_set(
        err, SMX_E_INVALID, "must be a numeric address and port such as 127.0.0.1:8000, or none");
}

/* No value may carry a line break or NUL into a header or a log line. */
static bool has_control(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    }
    return false;
}

int config_check(enum config_key key, char **text, const char *cwd, struct smx_err *err)
{
    const struct config_setting *s = config_setting(key);
    enum smx_log_level level;
    bool b;

    if (has_control(*text))
        return smx_err_set(err, SMX_E_INVALID, "must not contain control characters");
    switch (s->type) {
    case CONFIG_STRING:
        return 0;
    case CONFIG_BOOL:
        return smx_parse_bool(*text, &b) ? 0
                                         : smx_err_set(err, SMX_E_INVALID, "must be true or false");
    case CONFIG_U64:
        return check_u64(s, *text, err);
    case CONFIG_NAME:
        return smx_name_valid(*text)
                   ? 0
                   : smx_err_set(err, SMX_E_INVALID, "must match [a-z0-9][a-z0-9._-]{0,62}");
    case CONFIG_LISTEN_AT:
        return check_listen(*text, err);
    case CONFIG_PATH:
        return check_path(text, cwd, err);
    case CONFIG_LEVEL:
        return smx_log_level_parse(*text, &level)
                   ? 0
                   : smx_err_set(err, SMX_E_INVALID, "must be error, warn, info or debug");
    }
    return smx_err_set(err, SMX_E_INTERNAL, "setting without a type");
}
