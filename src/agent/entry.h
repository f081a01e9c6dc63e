/* entry.h - what the protocol says about a file: EntryInfo. */
#ifndef SMX_AGENT_ENTRY_H
#define SMX_AGENT_ENTRY_H

#include <sys/stat.h>

#include "agent/look.h"
#include "agent/users.h"
#include "json/json.h"

/* What an entry is written from. A link counts as what it leads to, with its own size and
 * permissions. @at: how to reach the path: the path itself, which is absolute, or its name when its
 * directory is the working directory. */
struct entry_want {
    const char *path, *at;
    const struct look *look; /* of it, without error */
    bool brief;
};
/* As an object. */
void entry_write(struct json_writer *w, struct users *u, const struct entry_want *want);
/* As a record (wire/envd/brief.h), which says what a brief object says. */
void entry_append(struct smx_buf *out, struct users *u, const struct entry_want *want);
/* Looks at the path and writes its object, all of it. -1 with errno when it cannot be looked at
 * (nothing was written). */
int entry_write_path(struct json_writer *w, struct users *u, const char *path);

enum { ENTRY_MODE_SIZE = 32, ENTRY_TIME_SIZE = 40 };
/* "-rw-r--r--", "drwxr-xr-x", "Lrwxrwxrwx", "dtrwxrwxrwx": letters of what it is, nine of the mode.
 */
void entry_mode_text(mode_t mode, char text[ENTRY_MODE_SIZE]);
/* RFC 3339 in UTC with 0, 3, 6 or 9 digits of fraction. */
void entry_time_text(struct timespec t, char text[ENTRY_TIME_SIZE]);

/* Extended attributes of ours: "user.e2b.<key>". */
#define ENTRY_XATTR_PREFIX "user.e2b."

#endif
