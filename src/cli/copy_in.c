/* copy_in.c - a folder of ours into a sandbox: walked without following links below the folder that
 * was named, packed as pax, unpacked by the sandbox's tar. Names that are linked more than once
 * become hard links again. What is neither file, folder nor link is left out with a note. */
#include "cli/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum { READ_SIZE = 64 * 1024, DEPTH_MAX = 200 };

/* A file with several names: the first of them. */
struct first_name {
    char key[48]; /* device and inode */
    struct smx_list in_list;
    char path[];
};

struct packer {
    struct copy_pipe pipe;
    struct cli *cli;
    struct cli_progress *progress;
    struct smx_map names;
    struct smx_list name_list;
    struct tar_entry entry;
    char data[READ_SIZE];
};

static int fail_at(struct packer *p, const char *what)
{
    return smx_err_errno(&p->cli->err, errno, "%s %s", what, p->entry.path);
}

static int send_header(struct packer *p)
{
    struct smx_buf b;
    int r;

    smx_buf_init(&b, TAR_EXTENDED_MAX + 4 * TAR_BLOCK);
    r = tar_write_header(&b, &p->entry, &p->cli->err);
    if (r == 0)
        r = copy_pipe_send(&p->pipe, b.data, b.len);
    smx_buf_done(&b);
    return r;
}

static int send_zeros(struct packer *p, uint64_t n)
{
    int r = 0;

    memset(p->data, 0, sizeof p->data);
    for (; r == 0 && n > 0; n -= SMX_MIN(n, sizeof p->data))
        r = copy_pipe_send(&p->pipe, p->data, (size_t)SMX_MIN(n, sizeof p->data));
    return r;
}

/* Exactly as many bytes as the header says, whatever happens to the file meanwhile. */
static int send_content(struct packer *p, int fd, uint64_t size)
{
    uint64_t left = size;
    int r = 0;

    while (r == 0 && left > 0) {
        ssize_t n = read(fd, p->data, (size_t)SMX_MIN(left, sizeof p->data));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_at(p, "reading");
        if (n == 0) {
            cli_note("sandmux: %s became shorter while it was copied", p->entry.path);
            r = send_zeros(p, left);
            break;
        }
        r = copy_pipe_send(&p->pipe, p->data, (size_t)n);
        left -= (uint64_t)n;
        cli_progress_add(p->progress, (uint64_t)n);
    }
    return r == 0 ? send_zeros(p, tar_padding(size)) : r;
}

/* 1: the file was sent before and entry.link names it; 0: not yet. */
static int seen_before(struct packer *p, const struct stat *st)
{
    char key[48];
    size_t n = strlen(p->entry.path);
    struct first_name *f;

    if (st->st_nlink < 2)
        return 0;
    snprintf(key, sizeof key, "%llx:%llx", (unsigned long long)st->st_dev,
        (unsigned long long)st->st_ino);
    f = smx_map_get(&p->names, key);
    if (f) {
        smx_strcpy(p->entry.link, sizeof p->entry.link, f->path);
        return 1;
    }
    f = smx_alloc(sizeof *f + n + 1);
    if (!f)
        return smx_err_oom(&p->cli->err);
    memcpy(f->key, key, sizeof key);
    memcpy(f->path, p->entry.path, n + 1);
    smx_list_add(&p->name_list, &f->in_list);
    return smx_map_put(&p->names, f->key, f) < 0 ? smx_err_oom(&p->cli->err) : 0;
}

static void set_entry(struct packer *p, enum tar_type type, const struct stat *st)
{
    p->entry.type = type;
    p->entry.size = type == TAR_FILE ? (uint64_t)st->st_size : 0;
    p->entry.mode = st->st_mode & 07777;
    p->entry.mtime_s = st->st_mtim.tv_sec;
    p->entry.mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
    p->entry.link[0] = '\0';
}

static int send_file(struct packer *p, int dir_fd, const char *name)
{
    SMX_CLEANUP(smx_closep)
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    int r;

    if (fd < 0)
        return fail_at(p, "opening");
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return smx_err_set(
            &p->cli->err, SMX_E_BUSY, "%s changed while it was copied", p->entry.path);
    set_entry(p, TAR_FILE, &st);
    r = seen_before(p, &st);
    if (r < 0)
        return r;
    if (r > 0) {
        p->entry.type = TAR_HARDLINK;
        p->entry.size = 0;
        return send_header(p);
    }
    r = send_header(p);
    return r == 0 ? send_content(p, fd, (uint64_t)st.st_size) : r;
}

static int send_link(struct packer *p, int dir_fd, const char *name, const struct stat *st)
{
    ssize_t n;

    set_entry(p, TAR_SYMLINK, st);
    n = readlinkat(dir_fd, name, p->entry.link, sizeof p->entry.link - 1);
    if (n < 0)
        return fail_at(p, "reading link");
    p->entry.link[n] = '\0';
    return send_header(p);
}

static int send_dir(struct packer *p, int fd, unsigned depth);

static int send_name(struct packer *p, int dir_fd, const char *name, unsigned depth)
{
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_at(p, "looking at");
    if (S_ISDIR(st.st_mode)) {
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        return fd < 0 ? fail_at(p, "opening") : send_dir(p, fd, depth + 1);
    }
    if (S_ISREG(st.st_mode))
        return send_file(p, dir_fd, name);
    if (S_ISLNK(st.st_mode))
        return send_link(p, dir_fd, name, &st);
    cli_note("sandmux: %s is neither file, folder nor link: left out", p->entry.path);
    return 0;
}

static int send_entries(struct packer *p, DIR *dir, unsigned depth)
{
    size_t base = strlen(p->entry.path);
    struct dirent *d;
    int r = 0;

    while (r == 0 && (errno = 0, d = readdir(dir))) {
        if (smx_streq(d->d_name, ".") || smx_streq(d->d_name, ".."))
            continue;
        if (base + 1 + strlen(d->d_name) >= sizeof p->entry.path)
            return smx_err_set(&p->cli->err, SMX_E_TOO_LARGE,
                "a path below %.60s... has more than %d bytes", p->entry.path, TAR_PATH_MAX - 1);
        snprintf(p->entry.path + base, sizeof p->entry.path - base, "/%s", d->d_name);
        r = send_name(p, dirfd(dir), d->d_name, depth);
        p->entry.path[base] = '\0';
    }
    return r == 0 && errno ? fail_at(p, "reading folder") : r;
}

/* Takes fd. The name of the folder stands in entry.path. */
static int send_dir(struct packer *p, int fd, unsigned depth)
{
    struct stat st;
    DIR *dir;
    int r;

    if (depth > DEPTH_MAX) {
        smx_close(fd);
        return smx_err_set(
            &p->cli->err, SMX_E_TOO_LARGE, "folders are nested more than %d deep", DEPTH_MAX);
    }
    dir = fdopendir(fd);
    if (!dir) {
        smx_close(fd);
        return fail_at(p, "opening");
    }
    if (fstat(fd, &st) < 0) {
        closedir(dir);
        return fail_at(p, "looking at");
    }
    set_entry(p, TAR_DIR, &st);
    r = send_header(p);
    if (r == 0)
        r = send_entries(p, dir, depth);
    closedir(dir);
    return r;
}

static int send_all(struct packer *p, const char *from)
{
    int fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
    struct smx_buf end;

    smx_strcpy(p->entry.path, sizeof p->entry.path, ".");
    if (fd < 0)
        return smx_err_errno(&p->cli->err, errno, "opening %s", from);
    r = send_dir(p, fd, 0);
    if (r < 0)
        return r;
    smx_buf_init(&end, 2 * TAR_BLOCK);
    r = tar_write_end(&end, &p->cli->err);
    if (r == 0)
        r = copy_pipe_send(&p->pipe, end.data, end.len);
    smx_buf_done(&end);
    return r;
}

static void packer_free(struct packer *p)
{
    copy_pipe_done(&p->pipe);
    SMX_LIST_FOREACH_SAFE(it, &p->name_list) {
        smx_free(SMX_LIST_ENTRY(it, struct first_name, in_list));
    }
    smx_map_done(&p->names);
    smx_free(p);
}

int copy_folder_in(struct cli *cli, const char *from, const char *id, const char *to,
    struct cli_progress *progress)
{
    const char *const argv[] = { "tar", "-xpf", "-", "-C", to, NULL };
    struct packer *p = smx_alloc(sizeof *p);
    int r;

    if (!p)
        return smx_err_oom(&cli->err);
    p->cli = cli;
    p->progress = progress;
    smx_map_init(&p->names);
    smx_list_init(&p->name_list);
    r = copy_pipe_start(&p->pipe, cli, id, argv);
    if (r == 0)
        r = send_all(p, from);
    if (r == 0)
        r = copy_pipe_finish(&p->pipe);
    packer_free(p);
    return r;
}
