/* users.h - the sandbox's own users and groups, from its /etc/passwd and /etc/group. The files
 * belong to the sandbox and may hold anything: they are read only while regular and small, and what
 * does not parse is skipped. */
#ifndef SMX_AGENT_USERS_H
#define SMX_AGENT_USERS_H

#include <sys/types.h>
#include <time.h>

#include "base/err.h"

/* Identity to run or write as. Strings are owned; release with agent_user_done(). */
struct agent_user {
    char *name, *home;
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary, the primary one first */
    size_t ngroups;
};
void agent_user_done(struct agent_user *u);

struct users_stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};
struct users_row;
struct groups_row;
struct users {
    const char *passwd_path, *group_path; /* static strings */
    struct users_stamp passwd_stamp, group_stamp;
    char *passwd_text, *group_text; /* rows point into these */
    struct users_row *rows;
    struct groups_row *groups;
    size_t nrows, ngroups;
    size_t last_row, last_group; /* where the previous look-up by number ended */
};
void users_init(struct users *u, const char *passwd_path, const char *group_path);
void users_done(struct users *u);
/* Reads the files again if they changed. Look-ups below use what the last refresh saw. */
void users_refresh(struct users *u);
/* -SMX_E_UNAUTHORIZED "invalid username: 'x'" when there is no such user; refreshes first. */
int users_find(struct users *u, const char *name, struct agent_user *ret, struct smx_err *err);

enum { USERS_NUMBER_SIZE = 12 };
/* Names, or the number as text in @number when nobody has it. Valid until the next refresh. */
const char *users_name(struct users *u, uid_t uid, char number[USERS_NUMBER_SIZE]);
const char *users_group(struct users *u, gid_t gid, char number[USERS_NUMBER_SIZE]);

#endif
