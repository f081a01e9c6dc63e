/* native.h - the native API: curl, the command line, libsandmux and the dashboard. docs/api.md
 * describes it; the bodies are the tables of wire/native. */
#ifndef SMX_FRONTENDS_NATIVE_NATIVE_H
#define SMX_FRONTENDS_NATIVE_NATIVE_H

#include "frontends/frontend.h"

/* [parks] answers the exchange, whatever its path is (404 in the native shape). */
void native_handle(struct frontend *fe, struct http_exchange *x);
/* [parks] answers with a problem body, or {"detail"} below /api/runtime. */
void native_fail(struct http_exchange *x, const struct smx_err *err);
/* Body of a reply to what was no request at all. */
void native_error_body(
    int status, const char *message, struct smx_buf *out, const char **ret_content_type, void *ctx);

#endif
