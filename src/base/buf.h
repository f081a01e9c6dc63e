/* buf.h - a growing byte buffer that cannot be unbounded: its maximum is given at init. The bytes
 * are always followed by a NUL. Overflowing the maximum or the heap leaves the content as it was
 * and sets @failed, which sticks, so that a chain of appends can be checked once at its end. */
#ifndef SMX_BASE_BUF_H
#define SMX_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct smx_buf {
    char *data; /* NULL while nothing was allocated */
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
    bool no_memory; /* that is why */
};

void smx_buf_init(struct smx_buf *b, size_t max);
void smx_buf_done(struct smx_buf *b);
/* Room for n more bytes behind len; 0, -SMX_E_TOO_LARGE or -SMX_E_NO_MEMORY. */
int smx_buf_reserve(struct smx_buf *b, size_t n);
int smx_buf_append(struct smx_buf *b, const void *data, size_t n);
int smx_buf_append_str(struct smx_buf *b, const char *s);
int smx_buf_append_char(struct smx_buf *b, char c);
int smx_buf_appendf(struct smx_buf *b, const char *fmt, ...) SMX_PRINTF(2, 3);
/* Drops n bytes from the front. */
void smx_buf_consume(struct smx_buf *b, size_t n);
void smx_buf_reset(struct smx_buf *b); /* len 0, failed cleared, memory kept */
/* 0, or the error that made an append fail. */
int smx_buf_check(const struct smx_buf *b, struct smx_err *err);
/* The content as a string that the caller frees; the buffer is empty afterwards. NULL when failed.
 */
char *smx_buf_steal(struct smx_buf *b);

#endif
