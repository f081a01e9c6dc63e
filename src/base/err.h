/* err.h - filling struct smx_err. All functions accept err == NULL and return a negative code, so
 * that a failing path is one line: return smx_err_set(err, SMX_E_INVALID, "cpu must be 1 to %u",
 * max); */
#ifndef SMX_BASE_ERR_H
#define SMX_BASE_ERR_H

#include "base/cleanup.h"
#include "sandmux/error.h"

/* Returns -code. The message replaces what was there. */
int smx_err_set(struct smx_err *err, enum smx_code code, const char *fmt, ...) SMX_PRINTF(3, 4);
/* Translates an errno value into a code; the message gets ": <strerror>" appended. Returns -code.
 */
int smx_err_errno(struct smx_err *err, int os_errno, const char *fmt, ...) SMX_PRINTF(3, 4);
/* Puts "context: " before the message; sets code r when err was empty. Returns r, which is
 * negative. */
int smx_err_wrap(struct smx_err *err, int r, const char *fmt, ...) SMX_PRINTF(3, 4);
/* -SMX_E_NO_MEMORY with the standard sentence. */
int smx_err_oom(struct smx_err *err);
void smx_err_clear(struct smx_err *err);
/* For a variable of the caller's on a path where every request passes: no code, an empty message,
 * and the room behind it is left as it is. */
static inline void smx_err_init(struct smx_err *err)
{
    err->code = SMX_OK;
    err->os_errno = 0;
    err->msg[0] = '\0';
}
/* The code that an errno value means to our callers. */
enum smx_code smx_code_from_errno(int os_errno);

#endif
