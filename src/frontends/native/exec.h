/* exec.h - the running of one command, shared by the JSON, NDJSON and WebSocket forms. */
#ifndef SMX_FRONTENDS_NATIVE_EXEC_H
#define SMX_FRONTENDS_NATIVE_EXEC_H

#include "frontends/native/internal.h"

int native_check_env(const struct json_map *env, struct smx_err *err);
/* Bytes at the end that begin a UTF-8 character without ending it (0 to 3). */
size_t native_utf8_tail(const unsigned char *p, size_t n);

/* Text of one stream: a character that is cut at a chunk's end waits for its rest. */
struct native_text {
    char held[4];
    size_t n;
};
/* Appends the NDJSON line of what can be said now; end: also what was held back. */
int native_text_line(struct native_text *t, const char *key, const void *data, size_t n, bool end,
    struct smx_buf *out, struct smx_err *err);

#endif
