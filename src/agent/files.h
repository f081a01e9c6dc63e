/* files.h - GET and POST /files, POST /files/compose: bytes of files, in constant memory. */
#ifndef SMX_AGENT_FILES_H
#define SMX_AGENT_FILES_H

#include "agent/agent.h"

void files_get(struct agent *a, struct http_exchange *x);
void files_post(struct agent *a, struct http_exchange *x);
void files_compose(struct agent *a, struct http_exchange *x);

/* {"code": status, "message": ...} */
void files_error(struct http_exchange *x, int status, const char *fmt, ...) SMX_PRINTF(3, 4);
/* The status that an errno value of a file call means: 404, 507, 500. */
int files_status(int os_errno);
/* The user and the path that the query names. Replies itself and returns false when it cannot be.
 * *ret_given: the query has a path (NULL otherwise; it may be empty). */
struct files_target {
    struct agent_user user;
    char *given, *path; /* path: of given, or of the empty path */
};
bool files_target(struct agent *a, struct http_exchange *x, struct files_target *ret);
void files_target_done(struct files_target *t);

#endif
