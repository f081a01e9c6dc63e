/* coding.h - gzip of replies: whether a client wants it, and the compressor. */
#ifndef SMX_AGENT_CODING_H
#define SMX_AGENT_CODING_H

#include "base/buf.h"
#include "base/str.h"

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_NONE /* neither is acceptable */ };
/* Of an Accept-Encoding field (p NULL: absent). gzip only for who names it and nothing else besides
 * identity, which must not be preferred: libraries offer "gzip, deflate" unasked, and bytes that
 * come from the same machine arrive sooner as they are. Or when identity is refused. */
enum coding coding_choose(struct smx_view accept);

struct gzip;
int gzip_new(struct gzip **ret, struct smx_err *err);
/* Appends what comes out; last: the stream ends with data. */
int gzip_add(struct gzip *z, const void *data, size_t n, bool last, struct smx_buf *out,
    struct smx_err *err);
void gzip_free(struct gzip *z); /* accepts NULL */
SMX_DEFINE_CLEANUP(struct gzip, gzip_free)

#endif
