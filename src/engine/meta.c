/* meta.c - see meta.h. Replaced by rename, so a reader sees the old content or the new. It is not
 * synced: against the end of the engine the page cache is enough, and after the end of the host a
 * record that never reached the disk is a sandbox that never was. */
#include "engine/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/str.h"

enum { META_MAX = 16 * 1024, STAT_SIZE = 1024, START_TIME_FIELD = 22 };

#define ROW(member, k, ...)                                                                \
    {                                                                                      \
        .name = #member, .kind = (k), .offset = offsetof(struct meta, member), __VA_ARGS__ \
    }

static const struct json_field meta_table_fields[] = {
    ROW(format, JSON_U64, .flags = JSON_REQUIRED, .min = META_FORMAT, .max = META_FORMAT),
    ROW(id, JSON_STRING, .flags = JSON_REQUIRED),
    ROW(token, JSON_STRING, .flags = JSON_OMIT_ZERO),
    ROW(template, JSON_STRING, .flags = JSON_REQUIRED),
    ROW(generation, JSON_STRING, .flags = JSON_REQUIRED),
    ROW(hostname, JSON_STRING, .flags = JSON_REQUIRED),
    ROW(state, JSON_ENUM, .flags = JSON_REQUIRED, .names = engine_state_names),
    ROW(reason, JSON_ENUM, .flags = JSON_REQUIRED, .names = engine_reason_names),
    ROW(resources, JSON_OBJECT, .flags = JSON_REQUIRED, .table = &engine_resources_table),
    ROW(created_unix_ms, JSON_U64),
    ROW(deadline_ns, JSON_U64, .has = JSON_HAS(struct meta, has_deadline)),
    ROW(deadline_unix_ms, JSON_U64),
    ROW(at_expiry, JSON_ENUM, .flags = JSON_OMIT_ZERO, .names = engine_at_expiry_names),
    ROW(boot_id, JSON_STRING, .flags = JSON_REQUIRED),
    ROW(pid, JSON_U64, .max = INT32_MAX),
    ROW(start_time, JSON_U64),
    ROW(slot, JSON_I64, .flags = JSON_REQUIRED, .min = -1, .max = INT32_MAX),
    ROW(group, JSON_STRING, .flags = JSON_OMIT_ZERO),
};
JSON_TABLE(meta_table, meta, .lax = true);

/* One that was begun and never came to count. What was truncated, even an empty file, ext4 writes
 * to the disk when it is closed: 0.1 ms of each create. */
static int make_empty(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    return st.st_size > 0 && ftruncate(fd, 0) < 0 ? -errno : 0;
}

int meta_prepare(int box_fd, const struct meta *m, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    SMX_CLEANUP(smx_buf_done) struct smx_buf buf;
    int r;

    smx_buf_init(&buf, META_MAX);
    r = json_encode_to(&buf, &meta_table, m, err);
    if (r < 0)
        return r;
    fd = openat(box_fd, "meta.new", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating the record of sandbox '%s'", m->id);
    r = make_empty(fd);
    if (r == 0)
        r = smx_write_full(fd, buf.data, buf.len);
    return r < 0 ? smx_err_errno(err, -r, "writing the record of sandbox '%s'", m->id) : 0;
}

int meta_commit(int box_fd, struct smx_err *err)
{
    if (renameat(box_fd, "meta.new", box_fd, "meta.json") < 0)
        return smx_err_errno(err, errno, "writing a sandbox's record");
    return 0;
}

int meta_write(int box_fd, const struct meta *m, struct smx_err *err)
{
    int r = meta_prepare(box_fd, m, err);

    return r < 0 ? r : meta_commit(box_fd, err);
}

int meta_read(int box_fd, struct meta *ret, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf buf;
    int r;

    smx_buf_init(&buf, META_MAX);
    r = smx_read_file_at(box_fd, "meta.json", &buf, err);
    return r < 0 ? r : json_decode(&meta_table, buf.data, buf.len, ret, err);
}

void host_boot_id(char out[BOOT_ID_SIZE])
{
    SMX_CLEANUP(smx_closep)
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : smx_read_full(fd, out, BOOT_ID_SIZE - 1);

    out[n > 0 ? n : 0] = '\0';
}

uint64_t process_start_time(pid_t pid)
{
    char path[64], text[STAT_SIZE];
    SMX_CLEANUP(smx_closep) int fd = -1;
    const char *p;
    uint64_t v = 0;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : smx_read_full(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    p = strrchr(text, ')'); /* the name before it may hold anything; field 3 follows */
    for (int field = 2; p && field < START_TIME_FIELD; field++)
        p = strchr(p + 1, ' ');
    if (p)
        smx_parse_u64((struct smx_view){ p + 1, strcspn(p + 1, " \n") }, UINT64_MAX, &v);
    return v;
}
