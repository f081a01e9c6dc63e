/* mime.h - Content-Type and Content-Disposition of a file that is sent. */
#ifndef SMX_AGENT_MIME_H
#define SMX_AGENT_MIME_H

#include "base/buf.h"

/* By the name's extension, else by the first bytes. Static string. */
const char *mime_type(const char *name, const void *head, size_t n);
/* inline; filename=name, quoted or percent-encoded where needed. */
void mime_disposition(struct smx_buf *out, const char *name);

#endif
