/* content.h - a file's bytes, shared by PUT and multipart upload. */
#ifndef SMX_FRONTENDS_NATIVE_CONTENT_H
#define SMX_FRONTENDS_NATIVE_CONTENT_H

#include "frontends/native/internal.h"

typedef ssize_t(native_source_fn)(void *ctx, void *data, size_t n, struct smx_err *err);

/* [parks] a source's bytes become the file at path: whole, or the call fails. */
int native_store(struct provider_box *box, const char *path, uint64_t length,
    native_source_fn *source, void *ctx, uint64_t *ret_bytes, struct smx_err *err);
void native_write_file(struct json_writer *w, const struct provider_file *f);
/* [parks] {"size": bytes} */
void native_reply_size(struct http_exchange *x, int status, uint64_t bytes);

/* "bytes=..." of one range. 1: *ret_first, *ret_last are absolute (last may be past the end);
 * 0: no range that we serve: the whole file; -1: cannot be satisfied. */
int native_range_parse(
    struct smx_view field, uint64_t size, uint64_t *ret_first, uint64_t *ret_last);

#endif
