/* users.c - parser and cache of /etc/passwd and /etc/group. Rows point into the text of the files,
 * which is split in place; a change of either file (device, inode, size or times) drops the cache
 * of that file. One thread. */
#include "agent/users.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

struct users_row {
    const char *name, *home;
    uid_t uid;
    gid_t gid;
};
struct groups_row {
    const char *name;
    char *members; /* comma list */
    gid_t gid;
};

void agent_user_done(struct agent_user *u)
{
    smx_free(u->name);
    smx_free(u->home);
    smx_free(u->groups);
    *u = (struct agent_user){ 0 };
}

void users_init(struct users *u, const char *passwd_path, const char *group_path)
{
    *u = (struct users){ .passwd_path = passwd_path, .group_path = group_path };
}

static void drop_passwd(struct users *u)
{
    smx_free(u->rows);
    smx_free(u->passwd_text);
    u->rows = NULL;
    u->passwd_text = NULL;
    u->nrows = u->last_row = 0;
}

static void drop_group(struct users *u)
{
    smx_free(u->groups);
    smx_free(u->group_text);
    u->groups = NULL;
    u->group_text = NULL;
    u->ngroups = u->last_group = 0;
}

void users_done(struct users *u)
{
    drop_passwd(u);
    drop_group(u);
}

/* True when the file is another one than the stamp says; the stamp is moved on. */
static bool changed(const char *path, struct users_stamp *stamp)
{
    struct users_stamp now;
    struct stat st;

    memset(&now, 0, sizeof now);
    if (stat(path, &st) == 0) {
        now.dev = st.st_dev;
        now.ino = st.st_ino;
        now.size = st.st_size;
        now.mtime = st.st_mtim;
        now.ctime = st.st_ctim;
    }
    if (memcmp(&now, stamp, sizeof now) == 0)
        return false;
    *stamp = now;
    return true;
}

/* The content as a string, NULL when there is none that can be used. */
static char *read_text(const char *path)
{
    SMX_CLEANUP(smx_closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    char *text;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
        st.st_size > SMX_AGENT_PASSWD_MAX)
        return NULL;
    text = smx_alloc((size_t)st.st_size + 1);
    if (!text)
        return NULL;
    n = smx_read_full(fd, text, (size_t)st.st_size);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static size_t count_lines(const char *text)
{
    size_t n = 1;

    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

/* Splits at ':' in place; returns the number of fields, at most max. */
static size_t split(char *line, char **fields, size_t max)
{
    size_t n = 0;

    while (n < max) {
        fields[n++] = line;
        line = strchr(line, ':');
        if (!line)
            break;
        *line++ = '\0';
    }
    return n;
}

static bool parse_id(const char *text, uint32_t *ret)
{
    uint64_t v;

    if (!smx_parse_u64(smx_view_of(text), UINT32_MAX - 1, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

static void load_passwd(struct users *u)
{
    char *next, *fields[7];

    drop_passwd(u);
    u->passwd_text = read_text(u->passwd_path);
    if (!u->passwd_text)
        return;
    u->rows = smx_alloc_array(count_lines(u->passwd_text), sizeof *u->rows);
    for (char *line = u->passwd_text; u->rows && line; line = next) {
        struct users_row *row = &u->rows[u->nrows];

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (split(line, fields, 7) < 6 || !*fields[0] || !parse_id(fields[2], &row->uid) ||
            !parse_id(fields[3], &row->gid))
            continue;
        row->name = fields[0];
        row->home = fields[5][0] == '/' ? fields[5] : "/";
        u->nrows++;
    }
}

static void load_group(struct users *u)
{
    char *next, *fields[4];

    drop_group(u);
    u->group_text = read_text(u->group_path);
    if (!u->group_text)
        return;
    u->groups = smx_alloc_array(count_lines(u->group_text), sizeof *u->groups);
    for (char *line = u->group_text; u->groups && line; line = next) {
        struct groups_row *row = &u->groups[u->ngroups];
        size_t n;

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        n = split(line, fields, 4);
        if (n < 3 || !*fields[0] || !parse_id(fields[2], &row->gid))
            continue;
        row->name = fields[0];
        row->members = n == 4 ? fields[3] : NULL;
        u->ngroups++;
    }
}

void users_refresh(struct users *u)
{
    if (changed(u->passwd_path, &u->passwd_stamp))
        load_passwd(u);
    if (changed(u->group_path, &u->group_stamp))
        load_group(u);
}

static bool is_member(const char *members, const char *name)
{
    size_t len = strlen(name);

    while (members && *members) {
        size_t n = strcspn(members, ",");

        if (n == len && memcmp(members, name, n) == 0)
            return true;
        members += n + (members[n] == ',');
    }
    return false;
}

static int fill_groups(const struct users *u, struct agent_user *ret)
{
    size_t n = 1;

    for (size_t i = 0; i < u->ngroups; i++)
        n += is_member(u->groups[i].members, ret->name);
    n = SMX_MIN(n, (size_t)SMX_AGENT_GROUPS_MAX);
    ret->groups = smx_alloc_array(n, sizeof *ret->groups);
    if (!ret->groups)
        return -SMX_E_NO_MEMORY;
    ret->groups[0] = ret->gid;
    ret->ngroups = 1;
    for (size_t i = 0; i < u->ngroups && ret->ngroups < n; i++)
        if (u->groups[i].gid != ret->gid && is_member(u->groups[i].members, ret->name))
            ret->groups[ret->ngroups++] = u->groups[i].gid;
    return 0;
}

int users_find(struct users *u, const char *name, struct agent_user *ret, struct smx_err *err)
{
    struct agent_user found = { 0 };

    users_refresh(u);
    for (size_t i = 0; i < u->nrows; i++) {
        const struct users_row *row = &u->rows[i];

        if (!smx_streq(row->name, name))
            continue;
        found.name = smx_strdup(row->name);
        found.home = smx_strdup(row->home);
        found.uid = row->uid;
        found.gid = row->gid;
        if (!found.name || !found.home || fill_groups(u, &found) < 0) {
            agent_user_done(&found);
            return smx_err_oom(err);
        }
        *ret = found;
        return 0;
    }
    return smx_err_set(err, SMX_E_UNAUTHORIZED, "invalid username: '%s'", name);
}

static const char *number_text(uint32_t id, char number[USERS_NUMBER_SIZE])
{
    snprintf(number, USERS_NUMBER_SIZE, "%u", id);
    return number;
}

const char *users_name(struct users *u, uid_t uid, char number[USERS_NUMBER_SIZE])
{
    if (u->last_row < u->nrows && u->rows[u->last_row].uid == uid)
        return u->rows[u->last_row].name;
    for (size_t i = 0; i < u->nrows; i++) {
        if (u->rows[i].uid == uid) {
            u->last_row = i;
            return u->rows[i].name;
        }
    }
    return number_text(uid, number);
}

const char *users_group(struct users *u, gid_t gid, char number[USERS_NUMBER_SIZE])
{
    if (u->last_group < u->ngroups && u->groups[u->last_group].gid == gid)
        return u->groups[u->last_group].name;
    for (size_t i = 0; i < u->ngroups; i++) {
        if (u->groups[i].gid == gid) {
            u->last_group = i;
            return u->groups[i].name;
        }
    }
    return number_text(gid, number);
}
