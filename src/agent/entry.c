/* entry.c - EntryInfo from the file system. Runs on the loop's thread and never waits for anything
 * but the file system's metadata. */
#include "agent/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "agent/pathname.h"
#include "base/str.h"
#include "wire/envd/brief.h"

enum { XATTR_NAMES_MAX = 8192, XATTR_VALUE_MAX = 4096, XATTRS_MAX = 64, NUMBER_SIZE = 24 };

void entry_mode_text(mode_t mode, char text[ENTRY_MODE_SIZE])
{
    static const char rwx[] = "rwxrwxrwx";
    char *p = text;

    if (S_ISDIR(mode))
        *p++ = 'd';
    if (S_ISLNK(mode))
        *p++ = 'L';
    if (S_ISBLK(mode) || S_ISCHR(mode))
        *p++ = 'D';
    if (S_ISFIFO(mode))
        *p++ = 'p';
    if (S_ISSOCK(mode))
        *p++ = 'S';
    if (mode & S_ISUID)
        *p++ = 'u';
    if (mode & S_ISGID)
        *p++ = 'g';
    if (S_ISCHR(mode))
        *p++ = 'c';
    if (mode & S_ISVTX)
        *p++ = 't';
    if (p == text)
        *p++ = '-';
    for (int i = 0; i < 9; i++)
        *p++ = mode & (0400u >> i) ? rwx[i] : '-';
    *p = '\0';
}

static void put_digits(char *p, int n, uint64_t v)
{
    while (n-- > 0) {
        p[n] = (char)('0' + v % 10);
        v /= 10;
    }
}

/* What clients can read as a date: the years 1 to 9999. */
static time_t within_years(time_t t)
{
    const time_t first = -62135596800, last = 253402300799;

    return SMX_MIN(SMX_MAX(t, first), last);
}

/* "2026-11-25T" of a day since 1970; the last one is kept: files of a directory are often of one
 * day. */
static const char *day_text(time_t day)
{
    static char text[] = "1970-01-01T";
    static time_t last;
    time_t t = day * 86400;
    struct tm tm;

    if (day == last || !gmtime_r(&t, &tm))
        return text;
    put_digits(text, 4, (uint64_t)tm.tm_year + 1900);
    put_digits(text + 5, 2, (uint64_t)tm.tm_mon + 1);
    put_digits(text + 8, 2, (uint64_t)tm.tm_mday);
    last = day;
    return text;
}

void entry_time_text(struct timespec t, char text[ENTRY_TIME_SIZE])
{
    time_t at = within_years(t.tv_sec), second = at % 86400, day = at / 86400;
    int digits = t.tv_nsec % 1000 ? 9 : t.tv_nsec % 1000000 ? 6 : t.tv_nsec ? 3 : 0;
    char *p;

    if (second < 0) {
        second += 86400;
        day--;
    }
    p = stpcpy(text, day_text(day));
    memcpy(p, "00:00:00", 8);
    put_digits(p, 2, (uint64_t)second / 3600);
    put_digits(p + 3, 2, (uint64_t)second / 60 % 60);
    put_digits(p + 6, 2, (uint64_t)second % 60);
    p += 8;
    if (digits > 0) {
        char nanos[10];

        put_digits(nanos, 9, (uint64_t)t.tv_nsec);
        *p++ = '.';
        memcpy(p, nanos, (size_t)digits);
        p += digits;
    }
    *p++ = 'Z';
    *p = '\0';
}

static enum envd_file_type type_of(mode_t mode)
{
    if (S_ISREG(mode))
        return ENVD_TYPE_FILE;
    if (S_ISDIR(mode))
        return ENVD_TYPE_DIRECTORY;
    if (S_ISLNK(mode))
        return ENVD_TYPE_SYMLINK;
    return ENVD_TYPE_UNSPECIFIED;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_xattr(struct json_writer *w, const char *path, const char *name)
{
    char value[XATTR_VALUE_MAX];
    ssize_t n = lgetxattr(path, name, value, sizeof value);

    if (n < 0)
        return;
    json_key(w, name + strlen(ENTRY_XATTR_PREFIX));
    json_string_n(w, value, (size_t)n);
}

static void write_metadata(struct json_writer *w, const char *path)
{
    char names[XATTR_NAMES_MAX];
    const char *ours[XATTRS_MAX];
    ssize_t size = llistxattr(path, names, sizeof names);
    size_t n = 0;

    for (ssize_t at = 0; at < size && n < XATTRS_MAX; at += (ssize_t)strlen(names + at) + 1)
        if (smx_starts(names + at, ENTRY_XATTR_PREFIX))
            ours[n++] = names + at;
    if (n == 0)
        return;
    qsort(ours, n, sizeof *ours, by_name);
    json_key(w, "metadata");
    json_object_begin(w);
    for (size_t i = 0; i < n; i++)
        write_xattr(w, path, ours[i]);
    json_object_end(w);
}

/* Where a link leads: fully resolved, or its own text when it leads nowhere. */
static void resolve_link(
    const char *path, char target[PATH_MAX], enum envd_file_type *ret_type, mode_t *ret_mode)
{
    struct stat st;
    ssize_t n;

    *ret_type = ENVD_TYPE_UNSPECIFIED;
    *ret_mode = 0;
    if (realpath(path, target) && stat(target, &st) == 0) {
        *ret_type = type_of(st.st_mode);
        *ret_mode = st.st_mode;
        return;
    }
    n = readlink(path, target, PATH_MAX - 1);
    target[n > 0 ? n : 0] = '\0';
}

static void write_owner(struct json_writer *w, struct users *u, const struct look *l)
{
    char number[USERS_NUMBER_SIZE], text[ENTRY_TIME_SIZE];

    json_kv_string(w, "owner", users_name(u, l->uid, number));
    json_kv_string(w, "group", users_group(u, l->gid, number));
    entry_time_text(l->mtime, text);
    json_kv_string(w, "modifiedTime", text);
}

static const char *number_text(uint64_t v, char text[NUMBER_SIZE])
{
    char *p = text + NUMBER_SIZE - 1;

    *p = '\0';
    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return p;
}

static void write_target(struct json_writer *w, const char *target)
{
    json_kv_string(w, "symlinkTarget", target);
    json_kv_bool(w, "isSymlink", true);
}

static void write_fields(struct json_writer *w, struct users *u, const struct entry_want *want)
{
    const struct look *l = want->look;
    enum envd_file_type type = type_of(l->mode);
    char target[PATH_MAX], text[ENTRY_MODE_SIZE], size[NUMBER_SIZE];
    mode_t mode = l->mode;

    if (S_ISLNK(l->mode))
        resolve_link(want->path, target, &type, &mode);
    json_kv_string(w, "name", path_base(want->path));
    if (type != ENVD_TYPE_UNSPECIFIED)
        json_kv_string(w, "type", envd_file_type_names[type]);
    json_kv_string(w, "path", want->path);
    if (l->size > 0) {
        json_key(w, "size");
        json_string(w, number_text((uint64_t)l->size, size));
    }
    if (mode & 0777)
        json_kv_u64(w, "mode", mode & 0777);
    if (!want->brief) {
        entry_mode_text(l->mode, text);
        json_kv_string(w, "permissions", text);
    }
    write_owner(w, u, l);
    if (S_ISLNK(l->mode))
        write_target(w, target);
    else if (!want->brief)
        write_metadata(w, want->at);
}

void entry_write(struct json_writer *w, struct users *u, const struct entry_want *want)
{
    json_object_begin(w);
    write_fields(w, u, want);
    json_object_end(w);
}

/* Milliseconds since 1970, rounded down. */
static int64_t unix_ms(struct timespec t)
{
    return within_years(t.tv_sec) * INT64_C(1000) + t.tv_nsec / 1000000;
}

void entry_append(struct smx_buf *out, struct users *u, const struct entry_want *want)
{
    char target[PATH_MAX], owner[USERS_NUMBER_SIZE], group[USERS_NUMBER_SIZE];
    const struct look *l = want->look;
    struct envd_brief e = { .path = smx_view_of(want->path),
        .owner = smx_view_of(users_name(u, l->uid, owner)),
        .group = smx_view_of(users_group(u, l->gid, group)),
        .type = type_of(l->mode),
        .size = l->size > 0 ? (uint64_t)l->size : 0,
        .mtime_unix_ms = unix_ms(l->mtime) };
    mode_t mode = l->mode;

    if (S_ISLNK(l->mode)) {
        resolve_link(want->path, target, &e.type, &mode);
        e.target = smx_view_of(target);
    }
    e.mode = mode & 0777;
    envd_brief_append(out, &e);
}

int entry_write_path(struct json_writer *w, struct users *u, const char *path)
{
    struct look look;

    errno = look_at(path, &look);
    if (errno != 0)
        return -1;
    entry_write(w, u, &(struct entry_want){ .path = path, .at = path, .look = &look });
    return 0;
}
