/* files_when.h - whether and which part of a file a GET asks for: preconditions and ranges of
 * RFC 9110, as far as a server without entity tags has them. Pure but for the request's fields. */
#ifndef SMX_AGENT_FILES_WHEN_H
#define SMX_AGENT_FILES_WHEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "http/server.h"

enum { FILES_DATE_SIZE = 40 };

enum files_condition { FILES_SEND, FILES_NOT_MODIFIED, FILES_CONDITION_FAILED };

struct files_range {
    uint64_t first, n;
    bool partial, refused;
};

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
void files_date_text(time_t t, char text[FILES_DATE_SIZE]);
/* If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since: in this order. No file has an
 * entity tag, so a tag never matches; "*" matches every file that is there. */
enum files_condition files_condition(const struct http_exchange *x, const struct stat *st);
/* One range of bytes. Several are answered with the whole file, and so is a range of an empty one.
 */
struct files_range files_range(const struct http_exchange *x, const struct stat *st);

#endif
