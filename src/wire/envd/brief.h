/* brief.h - a directory's entries as sandmux's agent tells them to sandmux: not E2B's protocol. Who
 * asks ListDir with "Accept: ENVD_BRIEF_TYPE" may get a body of that type instead of JSON: records
 * one behind the other, nothing before or after. Errors are those of ListDir. No I/O. */
#ifndef SMX_WIRE_ENVD_BRIEF_H
#define SMX_WIRE_ENVD_BRIEF_H

#include "base/buf.h"
#include "wire/envd/envd.h"

#define ENVD_BRIEF_TYPE "application/x-sandmux-entries"

/* One entry. In a record each text ends with a NUL and has none inside. */
struct envd_brief {
    struct smx_view path;         /* absolute, with a name at its end; any bytes, not just UTF-8 */
    struct smx_view target;       /* p NULL: not a link */
    struct smx_view owner, group; /* names or numbers */
    enum envd_file_type type;     /* of what a link leads to */
    uint16_t mode;                /* permission bits: 0777 at most */
    uint64_t size;
    int64_t mtime_unix_ms;
};
/* Texts longer than a record may hold are cut. A failure sticks in the buffer. */
void envd_brief_append(struct smx_buf *out, const struct envd_brief *e);
/* The first record; the views point into data, each followed by its NUL. Returns the bytes it takes
 * or -SMX_E_PROTOCOL: it is cut short or says what no entry can be. */
ptrdiff_t envd_brief_parse(const char *data, size_t n, struct envd_brief *ret);

#endif
