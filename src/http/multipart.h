/* multipart.h - multipart/form-data (RFC 7578) read part by part from a pull source in constant
 * memory. Strict: the boundary has 1 to 70 characters, part heads are bounded, every part ends with
 * its boundary; a body that ends early is -SMX_E_CLOSED or -SMX_E_INVALID, never a shorter file. */
#ifndef SMX_HTTP_MULTIPART_H
#define SMX_HTTP_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* 1..n bytes, 0 at the end, or a negative code. May park. */
typedef ssize_t(multipart_source_fn)(void *ctx, void *data, size_t n, struct smx_err *err);

enum {
    MULTIPART_BOUNDARY_MAX = 70,
    MULTIPART_HEAD_MAX = 8 * 1024, /* of one part */
    MULTIPART_NAME_MAX = 255,
    MULTIPART_FILENAME_MAX = 4096
};

/* Names are unescaped (\" and \\ of a quoted string), otherwise the bytes as sent; they are valid
 * UTF-8 without control characters. */
struct multipart_part {
    const char *name;         /* "" when there is none */
    const char *filename;     /* NULL: not a file */
    const char *content_type; /* "" when there is none */
};

struct multipart;
/* content_type: the request's field, "multipart/form-data; boundary=...". -SMX_E_INVALID when it is
 * not that. */
int multipart_new(struct smx_view content_type, multipart_source_fn *source, void *ctx,
    struct multipart **ret, struct smx_err *err);
void multipart_free(struct multipart *m);
SMX_DEFINE_CLEANUP(struct multipart, multipart_free)
/* [parks] 1: *ret is the next part (what was left of the one before is skipped), valid until the
 * next call; 0: no more parts; or a negative code, which sticks. */
int multipart_next(struct multipart *m, struct multipart_part *ret, struct smx_err *err);
/* [parks] 1..n bytes of the part, 0 at its end, or a negative code. */
ssize_t multipart_read(struct multipart *m, void *data, size_t n, struct smx_err *err);

#endif
