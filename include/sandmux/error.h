/** sandmux/error.h - errors of libsandmux.
 * Every call returns 0 or -SMX_E_<code>; details are in a caller-owned struct that needs no
 * clean-up. */
#ifndef SANDMUX_ERROR_H
#define SANDMUX_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Marks what the shared library exports. */
#define SMX_API __attribute__((visibility("default")))

enum smx_code {
    SMX_OK = 0,
#define SMX_ERROR(symbol, name, retryable, title, hint) SMX_E_##symbol,
#include "errors.def" /* beside this header */
#undef SMX_ERROR
    SMX_E_COUNT_
};

/** struct smx_err - what went wrong. @code: never SMX_OK after a failure  @os_errno: errno or 0
 * @msg: one sentence in UTF-8, without newline, cut to fit. */
struct smx_err {
    enum smx_code code;
    int os_errno;
    char msg[240];
};

/** smx_code_name() - wire name such as "sandbox_not_found"; static string, never NULL. */
SMX_API const char *smx_code_name(enum smx_code code);
/** smx_code_title() - short title for people; static string. */
SMX_API const char *smx_code_title(enum smx_code code);
/** smx_code_hint() - what to do next; static string. */
SMX_API const char *smx_code_hint(enum smx_code code);
/** smx_code_retryable() - 1 if the same call may succeed later without a change. */
SMX_API int smx_code_retryable(enum smx_code code);
/** smx_code_from_name() - inverse of smx_code_name(); SMX_E_INTERNAL when unknown. */
SMX_API enum smx_code smx_code_from_name(const char *name);

#ifdef __cplusplus
}
#endif
#endif
