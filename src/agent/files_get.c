/* files_get.c - GET /files. A regular file goes out by splice, a small one in one write with its
 * head; anything that may block, or that does not know its size (FIFO, device, a file of /proc), is
 * read by a child and sent in chunks. */
#include "agent/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "agent/coding.h"
#include "agent/files_when.h"
#include "agent/filework.h"
#include "agent/identity.h"
#include "agent/mime.h"
#include "agent/pathname.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"

enum { SMALL_MAX = 64 * 1024, SNIFF = 512, MESSAGE_MAX = 4600 };

/* --- shared with POST -------------------------------------------------------------------- */

void files_error(struct http_exchange *x, int status, const char *fmt, ...)
{
    SMX_CLEANUP(smx_freep) char *message = smx_alloc(MESSAGE_MAX);
    struct envd_http_error e = { .code = status, .message = message };
    struct smx_buf out;
    va_list ap;

    smx_buf_init(&out, SMX_HTTP_JSON_BODY_MAX);
    if (message) {
        va_start(ap, fmt);
        vsnprintf(message, MESSAGE_MAX, fmt, ap);
        va_end(ap);
    }
    (void)json_encode_to(&out, &envd_http_error_table, &e, /* err= */ NULL);
    smx_buf_append_char(&out, '\n');
    http_add_field(x, "X-Content-Type-Options", "nosniff");
    http_reply(x, status, "application/json; charset=utf-8", out.data, out.len);
    smx_buf_done(&out);
}

int files_status(int os_errno)
{
    switch (os_errno) {
    case ENOENT:
        return 404;
    case ENOSPC:
    case EDQUOT:
        return 507;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return 429;
    default:
        return 500;
    }
}

static void reply_bad_parameter(
    struct http_exchange *x, const char *name, const struct smx_err *err)
{
    char text[320];
    int n = snprintf(text, sizeof text, "Invalid format for parameter %s: %s\n", name, err->msg);

    http_add_field(x, "X-Content-Type-Options", "nosniff");
    http_reply(x, 400, "text/plain; charset=utf-8", text, (size_t)n);
}

void files_target_done(struct files_target *t)
{
    agent_user_done(&t->user);
    smx_free(t->given);
    smx_free(t->path);
    *t = (struct files_target){ 0 };
}

bool files_target(struct agent *a, struct http_exchange *x, struct files_target *ret)
{
    SMX_CLEANUP(smx_freep) char *username = NULL;
    struct files_target t = { 0 };
    struct smx_err err = { 0 };

    if (http_query_string(x, "username", &username, &err) < 0) {
        reply_bad_parameter(x, "username", &err);
    } else if (http_query_string(x, "path", &t.given, &err) < 0) {
        reply_bad_parameter(x, "path", &err);
    } else if (agent_user_find(a, username, &t.user, &err) < 0) {
        files_error(x, 401, "error looking up user '%s': unknown user", username ? username : "");
    } else if (path_resolve(t.given ? t.given : "", t.user.home, a->settings.default_workdir,
                   t.user.name, &t.path, &err) < 0) {
        files_error(x, 400, "error expanding and resolving path '%s': %s", t.given, err.msg);
    } else if (identity_fs(&t.user, &err) < 0) {
        files_error(x, 403, "%s", err.msg);
    } else {
        *ret = t;
        return true;
    }
    files_target_done(&t);
    return false;
}

/* --- headers ----------------------------------------------------------------------------- */

static void add_common_fields(struct http_exchange *x, const char *path)
{
    struct smx_buf disposition;

    smx_buf_init(&disposition, SMX_PATH_MAX * 4);
    mime_disposition(&disposition, path_base(path));
    if (!disposition.failed)
        http_add_field(x, "Content-Disposition", disposition.data);
    smx_buf_done(&disposition);
}

static void reply_bad_range(struct http_exchange *x, const struct stat *st)
{
    static const char text[] = "invalid range: failed to overlap\n";
    char value[48];

    snprintf(value, sizeof value, "bytes */%lld", (long long)st->st_size);
    http_add_field(x, "Content-Range", value);
    http_add_field(x, "X-Content-Type-Options", "nosniff");
    http_reply(x, 416, "text/plain; charset=utf-8", text, sizeof text - 1);
}

/* --- regular files ----------------------------------------------------------------------- */

/* A range is of the file's own bytes: it is answered plainly where that is acceptable. */
static bool packs(const struct http_exchange *x, const struct files_range *r)
{
    return coding_choose(http_field(x, "Accept-Encoding")) == CODING_GZIP && !r->partial;
}

static void add_last_modified(struct http_exchange *x, const struct stat *st)
{
    char date[FILES_DATE_SIZE];

    files_date_text(st->st_mtime, date);
    http_add_field(x, "Last-Modified", date);
}

static void add_file_fields(
    struct http_exchange *x, const struct stat *st, const struct files_range *r)
{
    char value[96];

    if (!packs(x, r))
        http_add_field(x, "Accept-Ranges", "bytes");
    add_last_modified(x, st);
    if (!r->partial)
        return;
    snprintf(value, sizeof value, "bytes %llu-%llu/%lld", (unsigned long long)r->first,
        (unsigned long long)(r->first + r->n - 1), (long long)st->st_size);
    http_add_field(x, "Content-Range", value);
}

static void send_small(
    struct http_exchange *x, int fd, int status, const char *type, const struct files_range *r)
{
    SMX_CLEANUP(smx_freep) char *data = smx_alloc(r->n + 1);
    ssize_t n = data ? pread(fd, data, r->n, (off_t)r->first) : -1;

    if (n < 0)
        files_error(x, 500, "error reading file: %s", data ? strerror(errno) : "out of memory");
    else
        http_reply(x, status, type, data, (size_t)n);
}

/* Takes fd. */
static void send_large(
    struct http_exchange *x, int fd, int status, const char *type, const struct files_range *r)
{
    struct io_fd file;
    struct smx_err err;

    if (lseek(fd, (off_t)r->first, SEEK_SET) < 0 || io_fd_init(&file, smx_take_fd(&fd), &err) < 0) {
        smx_close(fd);
        files_error(x, 500, "error reading file: %s", strerror(errno));
        return;
    }
    if (http_start(x, status, type, r->n) == 0 && http_write_from(x, &file, r->n) == 0)
        http_finish(x);
    else
        http_abort(x);
    io_fd_done(&file);
}

/* --- compressed ------------------------------------------------------------------------------- */

/* [parks] compresses and sends what it is given. */
struct packer {
    struct http_exchange *x;
    struct gzip *z;
    struct smx_buf out;
};

static int pack(struct packer *p, const void *data, size_t n, bool last)
{
    int r = gzip_add(p->z, data, n, last, &p->out, /* err= */ NULL);

    if (r == 0)
        r = http_write(p->x, p->out.data, p->out.len);
    smx_buf_reset(&p->out);
    io_fair(n);
    return r;
}

static int pack_file(struct packer *p, int fd, const struct files_range *r)
{
    SMX_CLEANUP(smx_freep) char *data = smx_alloc(SMALL_MAX);
    uint64_t done = 0;
    int result = data ? 0 : -SMX_E_NO_MEMORY;

    while (result == 0 && done < r->n) {
        size_t want = (size_t)SMX_MIN(r->n - done, (uint64_t)SMALL_MAX);
        ssize_t n = pread(fd, data, want, (off_t)(r->first + done));

        if (n <= 0)
            return -SMX_E_CLOSED;
        done += (uint64_t)n;
        result = pack(p, data, (size_t)n, done == r->n);
    }
    return result;
}

/* Chunked: nobody knows how long it will be. A file that is empty has a gzip form, too. */
static void send_packed(
    struct http_exchange *x, int fd, int status, const char *type, const struct files_range *r)
{
    struct packer p = { .x = x };
    int result = gzip_new(&p.z, /* err= */ NULL);

    if (result < 0) {
        files_error(x, 429, "out of memory");
        return;
    }
    smx_buf_init(&p.out, 4 * SMALL_MAX);
    http_add_field(x, "Content-Encoding", "gzip");
    result = http_start(x, status, type, HTTP_CHUNKED);
    if (result == 0)
        result = r->n > 0 ? pack_file(&p, fd, r) : pack(&p, "", 0, /* last= */ true);
    if (result == 0)
        http_finish(x);
    else
        http_abort(x);
    gzip_free(p.z);
    smx_buf_done(&p.out);
}

/* --- regular files, all ways -------------------------------------------------------------------
 */

static void send_regular(struct http_exchange *x, const char *path, int *fd, const struct stat *st)
{
    struct files_range r = files_range(x, st);
    enum files_condition condition = files_condition(x, st);
    char head[SNIFF];
    ssize_t n = pread(*fd, head, sizeof head, 0);
    const char *type = mime_type(path_base(path), head, n > 0 ? (size_t)n : 0);
    int status = r.partial ? 206 : 200;

    add_common_fields(x, path);
    if (condition != FILES_SEND) {
        add_last_modified(x, st);
        http_reply(x, condition == FILES_NOT_MODIFIED ? 304 : 412, /* content_type= */ NULL, "", 0);
        return;
    }
    if (r.refused) {
        reply_bad_range(x, st);
        return;
    }
    add_file_fields(x, st, &r);
    if (packs(x, &r))
        send_packed(x, *fd, status, type, &r);
    else if (r.n <= SMALL_MAX)
        send_small(x, *fd, status, type, &r);
    else if (http_wants_descriptor(x))
        (void)http_reply_descriptor(x, status, type, *fd, r.first, r.n); /* the gateway reads on */
    else
        send_large(x, smx_take_fd(fd), status, type, &r);
}

/* --- everything else, by a child --------------------------------------------------------- */

struct reading {
    const char *path;
    int out;
};

static int read_work(void *arg)
{
    static char data[64 * 1024];
    const struct reading *w = arg;
    int fd = open(w->path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return errno;
    while ((n = read(fd, data, sizeof data)) != 0) {
        if (n < 0)
            return errno;
        if (smx_write_full(w->out, data, (size_t)n) < 0)
            return EPIPE;
    }
    return 0;
}

/* Waits for the first bytes: the reply's status depends on whether there are any. */
static ssize_t read_piece(struct http_exchange *x, struct io_fd *pipe, char *data, size_t n)
{
    struct io_wait w[2] = { { .fd = pipe, .events = IO_READ },
        { .fd = http_fd(x), .events = IO_HUP } };

    if (io_wait(w, 2, SMX_FOREVER) < 0 || !w[0].ready)
        return -SMX_E_CANCELLED;
    return io_read(pipe, data, n, SMX_FOREVER, /* err= */ NULL);
}

static void send_pipe(struct http_exchange *x, const char *path, struct io_fd *pipe,
    struct filework *work, char *data, size_t room)
{
    ssize_t n = read_piece(x, pipe, data, room);
    int e = 0;

    if (n < 0 || (n == 0 && filework_wait(work, x, &e) < 0)) {
        http_abort(x);
        return;
    }
    if (e != 0) {
        files_error(x, files_status(e), "error reading file '%s': %s", path, strerror(e));
        return;
    }
    add_common_fields(x, path);
    if (http_start(x, 200, mime_type(path_base(path), data, (size_t)n), HTTP_CHUNKED) < 0)
        return;
    while (n > 0) {
        if (http_write(x, data, (size_t)n) < 0)
            break;
        n = read_piece(x, pipe, data, room);
    }
    if (n == 0 && filework_wait(work, x, &e) == 0 && e == 0)
        http_finish(x);
    else
        http_abort(x);
}

static void send_by_child(struct agent *a, struct http_exchange *x, const char *path)
{
    SMX_CLEANUP(filework_freep) struct filework *work = NULL;
    SMX_CLEANUP(smx_freep) char *data = smx_alloc(SMALL_MAX);
    struct reading reading = { .path = path };
    struct smx_err err = { 0 };
    struct io_fd pipe;
    int p[2], r;

    if (!data || pipe2(p, O_CLOEXEC) < 0) {
        files_error(x, 429, "too many open files");
        return;
    }
    reading.out = p[1];
    r = filework_start(a, read_work, &reading, (int[]){ p[1], -1 }, &work, &err);
    smx_close(p[1]);
    if (r < 0) {
        smx_close(p[0]);
        files_error(x, 429, "%s", err.msg);
        return;
    }
    if (io_fd_init(&pipe, p[0], &err) < 0) {
        files_error(x, 429, "%s", err.msg);
        return;
    }
    send_pipe(x, path, &pipe, work, data, SMALL_MAX);
    io_fd_done(&pipe);
}

/* Files that say 0 and have content: what the kernel makes up. */
static bool size_unknown(int fd)
{
    struct statfs s;

    if (fstatfs(fd, &s) < 0)
        return true;
    return s.f_type == PROC_SUPER_MAGIC || s.f_type == SYSFS_MAGIC ||
           s.f_type == CGROUP_SUPER_MAGIC || s.f_type == CGROUP2_SUPER_MAGIC ||
           s.f_type == DEBUGFS_MAGIC || s.f_type == TRACEFS_MAGIC || s.f_type == SECURITYFS_MAGIC;
}

static void send_file(struct agent *a, struct http_exchange *x, const char *path)
{
    SMX_CLEANUP(smx_closep)
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 && errno == ENOENT) {
        files_error(x, 404, "path '%s' does not exist", path);
    } else if (fd < 0) {
        int e = errno;

        files_error(x, files_status(e), "error opening file '%s': %s", path, strerror(e));
    } else if (fstat(fd, &st) < 0) {
        files_error(x, 500, "error getting file info: %s", strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        files_error(x, 400, "path '%s' is a directory", path);
    } else if (S_ISREG(st.st_mode) && (st.st_size > 0 || !size_unknown(fd))) {
        send_regular(x, path, &fd, &st);
    } else {
        smx_close(smx_take_fd(&fd));
        send_by_child(a, x, path);
    }
}

void files_get(struct agent *a, struct http_exchange *x)
{
    struct files_target t;

    if (!files_target(a, x, &t))
        return;
    http_add_field(x, "Vary", "Accept-Encoding");
    if (coding_choose(http_field(x, "Accept-Encoding")) == CODING_NONE)
        files_error(x, 406,
            "error parsing Accept-Encoding: no acceptable encoding found, supported: [gzip]");
    else
        send_file(a, x, t.path);
    files_target_done(&t);
}
