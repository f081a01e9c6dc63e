/* err.c - error details and the error table. No state, no heap; safe in every thread and under OOM.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct code_row {
    const char *name;
    const char *title;
    const char *hint;
    int retryable;
};

static const struct code_row codes[SMX_E_COUNT_] = {
    [SMX_OK] = { "ok", "OK", "", 0 },
#define SMX_ERROR(symbol, name, retryable, title, hint) \
    [SMX_E_##symbol] = { name, title, hint, retryable },
#include "base/errors.def"
#undef SMX_ERROR
};

static const struct code_row *code_row(enum smx_code code)
{
    unsigned index = (unsigned)code;

    return &codes[index < SMX_E_COUNT_ ? index : SMX_E_INTERNAL];
}

const char *smx_code_name(enum smx_code code)
{
    return code_row(code)->name;
}

const char *smx_code_title(enum smx_code code)
{
    return code_row(code)->title;
}

const char *smx_code_hint(enum smx_code code)
{
    return code_row(code)->hint;
}

int smx_code_retryable(enum smx_code code)
{
    return code_row(code)->retryable;
}

enum smx_code smx_code_from_name(const char *name)
{
    for (unsigned i = 0; i < SMX_E_COUNT_; i++)
        if (strcmp(codes[i].name, name) == 0)
            return (enum smx_code)i;
    return SMX_E_INTERNAL;
}

static void SMX_PRINTF(2, 0) set_message(struct smx_err *err, const char *fmt, va_list ap)
{
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
}

int smx_err_set(struct smx_err *err, enum smx_code code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -(int)code;
    err->code = code;
    err->os_errno = 0;
    va_start(ap, fmt);
    set_message(err, fmt, ap);
    va_end(ap);
    return -(int)code;
}

enum smx_code smx_code_from_errno(int os_errno)
{
    switch (os_errno) {
    case ENOENT:
        return SMX_E_NOT_FOUND;
    case EEXIST:
        return SMX_E_EXISTS;
    case ENOMEM:
        return SMX_E_NO_MEMORY;
    case ENOSPC:
    case EDQUOT:
        return SMX_E_DISK_FULL;
    case ETIMEDOUT:
        return SMX_E_TIMEOUT;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
        return SMX_E_CLOSED;
    case ECONNREFUSED:
        return SMX_E_UNAVAILABLE;
    case EADDRINUSE:
    case EBUSY:
        return SMX_E_BUSY;
    case EACCES:
    case EPERM:
        return SMX_E_FORBIDDEN;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
        return SMX_E_INVALID;
    default:
        return SMX_E_IO;
    }
}

int smx_err_errno(struct smx_err *err, int os_errno, const char *fmt, ...)
{
    enum smx_code code = smx_code_from_errno(os_errno);
    va_list ap;
    size_t len;

    if (!err)
        return -(int)code;
    err->code = code;
    err->os_errno = os_errno;
    va_start(ap, fmt);
    set_message(err, fmt, ap);
    va_end(ap);
    len = strlen(err->msg);
    snprintf(err->msg + len, sizeof err->msg - len, ": %s", strerror(os_errno));
    return -(int)code;
}

int smx_err_wrap(struct smx_err *err, int r, const char *fmt, ...)
{
    char old[sizeof err->msg];
    va_list ap;
    size_t len;

    if (!err)
        return r;
    memcpy(old, err->msg, sizeof old);
    if (err->code == SMX_OK) {
        err->code = (enum smx_code) - r;
        snprintf(old, sizeof old, "%s", smx_code_title(err->code));
    }
    va_start(ap, fmt);
    set_message(err, fmt, ap);
    va_end(ap);
    len = strlen(err->msg);
    snprintf(err->msg + len, sizeof err->msg - len, ": %s", old);
    return r;
}

int smx_err_oom(struct smx_err *err)
{
    return smx_err_set(err, SMX_E_NO_MEMORY, "out of memory");
}

void smx_err_clear(struct smx_err *err)
{
    if (err)
        memset(err, 0, sizeof *err);
}
