/* gunzip.h - a gzip stream read through a pull source. Strict: a stream that is cut, damaged or
 * followed by something that is no gzip member is an error, never a shorter file. */
#ifndef SMX_AGENT_GUNZIP_H
#define SMX_AGENT_GUNZIP_H

#include "http/multipart.h"

struct gunzip;
/* source and ctx are borrowed. */
int gunzip_new(multipart_source_fn *source, void *ctx, struct gunzip **ret, struct smx_err *err);
void gunzip_free(struct gunzip *g);
SMX_DEFINE_CLEANUP(struct gunzip, gunzip_free)
/* [parks] a multipart_source_fn with the struct gunzip as its ctx. -SMX_E_PROTOCOL: no gzip. */
ssize_t gunzip_read(void *g, void *data, size_t n, struct smx_err *err);

#endif
