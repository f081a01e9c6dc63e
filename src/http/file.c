/* file.c - replies whose body is a file: instead of the bytes the server hands over a descriptor,
 * on the unix socket that both share, and we send from it (io_send_file()). Who sends it may be
 * hostile: a descriptor is used only when reading from it cannot wait for its owner. It must be a
 * regular file, open for reading only, on a file system that a sandbox cannot answer for, and hold
 * the range that was announced. Anything else is asked for again, as bytes. Loop thread only. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fd.h"
#include "base/foreign.h"
#include "http/client.h"

static bool unix_socket(int fd)
{
    socklen_t size = sizeof(int);
    int domain = 0;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

bool http_client_passes(const struct http_client *c)
{
    return !c->fd.filter_ops && unix_socket(c->fd.fd);
}

/* From now on everything that is read from there may bring some, asked for or not. */
static bool takes_descriptors(struct http_client *c)
{
    if (io_fd_distrusted(&c->fd))
        return true;
    io_fd_distrust(&c->fd);
    return smx_pass_rights(c->fd.fd, 1) == 0;
}

int http_client_ask_file(struct http_client *c, struct smx_buf *fields)
{
    if (http_client_passes(c) && takes_descriptors(c)) {
        c->takes_file = true;
        h1_write_field(fields, H1_DESCRIPTOR, SMX_VIEW("1"));
    }
    return fields->failed ? -SMX_E_NO_MEMORY : 0;
}

void http_client_drop_file(struct http_client *c)
{
    if (c->passed)
        smx_close_foreign((int[]){ c->passed - 1 }, 1);
    c->passed = 0;
}

/* "offset length" */
static bool parse(struct smx_view v, struct http_file *ret)
{
    const char *space = memchr(v.p, ' ', v.n);
    size_t n = space ? (size_t)(space - v.p) : 0;

    return space && smx_parse_u64((struct smx_view){ v.p, n }, INT64_MAX, &ret->offset) &&
           smx_parse_u64((struct smx_view){ space + 1, v.n - n - 1 }, INT64_MAX, &ret->length) &&
           ret->length > 0;
}

/* Overlay: the files of a sandbox, which are the host's disk below. */
static bool known_file_system(int fd)
{
    struct statfs s;

    return fstatfs(fd, &s) == 0 && (s.f_type == OVERLAYFS_SUPER_MAGIC || s.f_type == TMPFS_MAGIC);
}

static bool sendable(const struct http_file *f)
{
    int flags = fcntl(f->fd, F_GETFL);
    struct stat st;

    return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY && !(flags & (O_PATH | O_DIRECT)) &&
           fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode) && known_file_system(f->fd) &&
           f->offset <= (uint64_t)st.st_size && f->length <= (uint64_t)st.st_size - f->offset;
}

int http_client_file(struct http_client *c, const struct h1_head *head, struct http_file *ret)
{
    struct smx_view v = h1_get(head, H1_DESCRIPTOR);
    struct http_file f = { .fd = c->passed - 1 };

    if (!v.p)
        return 0;
    c->passed = 0;
    if (parse(v, &f) && c->body.done && sendable(&f)) {
        *ret = f;
        return 1;
    }
    if (f.fd >= 0)
        smx_close_foreign(&f.fd, 1);
    if (c->body.done)
        return -SMX_E_UNSUPPORTED;
    c->failed = true;
    return -SMX_E_PROTOCOL;
}
