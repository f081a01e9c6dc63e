/* template.c - see template.h.
 *
 * The tree is made from one table under a temporary name and renamed when it is whole. Its name is
 * a hash of the table and of the time stamps of what was copied from the host, so an upgrade of the
 * host makes a new one and sandboxes that stand on the old one keep it. On disk ids start at 0: the
 * mount of each sandbox shifts them. */
#include "engine/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"
#include "engine/tree.h"

enum { USER_ID = 1000, COPY_DEPTH_MAX = 8, COPY_STEP = 1 << 20 };

enum kind {
    DIRECTORY,
    TEXT,      /* a file with this content */
    LINK,      /* a symbolic link to this */
    SAME_LINK, /* the host's symbolic link of that name, when it has one */
    COPY,      /* the host's file or tree of that name, when it has one */
};

struct entry {
    enum kind kind;
    const char *path; /* relative to the root */
    unsigned mode;
    unsigned owner;
    const char *text;
};

static const char passwd_text[] = "root:x:0:0:root:/root:/bin/bash\n"
                                  "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
                                  "bin:x:2:2:bin:/bin:/usr/sbin/nologin\n"
                                  "sys:x:3:3:sys:/dev:/usr/sbin/nologin\n"
                                  "mail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n"
                                  "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
                                  "user:x:1000:1000:user:/home/user:/bin/bash\n"
                                  "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
static const char group_text[] = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\n"
                                 "disk:x:6:\nmail:x:8:\nwww-data:x:33:\nutmp:x:43:\nstaff:x:50:\n"
                                 "users:x:100:\nuser:x:1000:\nnogroup:x:65534:\n";
static const char hosts_text[] = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n";
static const char nsswitch_text[] = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
                                    "networks: files\nprotocols: files\nservices: files\n"
                                    "ethers: files\nrpc: files\n";
/* Nothing answers there, and at once: a look-up without a network fails fast. */
static const char resolv_text[] = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
static const char profile_text[] =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PATH\n"
    "if [ -n \"$BASH_VERSION\" ] && [ -r /etc/bash.bashrc ]; then . /etc/bash.bashrc; fi\n"
    "for part in /etc/profile.d/*.sh; do [ -r \"$part\" ] && . \"$part\"; done\nunset part\n";
static const char bashrc_text[] = "case $- in *i*) ;; *) return ;; esac\nPS1='\\u@\\h:\\w\\$ '\n";
/* It leaves status 0 behind: a login shell begins with it, and `exit` alone ends with it. */
static const char home_profile_text[] =
    "if [ -n \"$BASH_VERSION\" ] && [ -r ~/.bashrc ]; then . ~/.bashrc; fi\n"
    "if [ -d ~/.local/bin ]; then PATH=~/.local/bin:$PATH; fi\n";
static const char home_bashrc_text[] =
    "case $- in *i*) ;; *) return ;; esac\nalias ll='ls -l'\nHISTCONTROL=ignoreboth\n";
static const char shells_text[] = "/bin/sh\n/bin/bash\n/usr/bin/sh\n/usr/bin/bash\n";
static const char shadow_text[] = "root:*:19000:0:99999:7:::\nuser:*:19000:0:99999:7:::\n";

#define DIR_ROOT(p)                 \
    {                               \
        DIRECTORY, p, 0755, 0, NULL \
    }
#define FILE_ROOT(p, t)     \
    {                       \
        TEXT, p, 0644, 0, t \
    }
#define COPY_OF(p)          \
    {                       \
        COPY, p, 0, 0, NULL \
    }

static const struct entry base_entries[] = {
    { SAME_LINK, "bin", 0, 0, NULL },
    { SAME_LINK, "sbin", 0, 0, NULL },
    { SAME_LINK, "lib", 0, 0, NULL },
    { SAME_LINK, "lib32", 0, 0, NULL },
    { SAME_LINK, "lib64", 0, 0, NULL },
    { SAME_LINK, "libx32", 0, 0, NULL },
    DIR_ROOT("usr"),
    DIR_ROOT("dev"),
    DIR_ROOT("proc"),
    DIR_ROOT("sys"),
    DIR_ROOT("run"),
    { DIRECTORY, "run/lock", 01777, 0, NULL },
    DIR_ROOT("mnt"),
    DIR_ROOT("media"),
    DIR_ROOT("opt"),
    DIR_ROOT("srv"),
    DIR_ROOT("workspace"),
    { DIRECTORY, "tmp", 01777, 0, NULL },
    { DIRECTORY, "root", 0700, 0, NULL },
    FILE_ROOT("root/.profile", home_profile_text),
    FILE_ROOT("root/.bashrc", home_bashrc_text),
    DIR_ROOT("home"),
    { DIRECTORY, "home/user", 0755, USER_ID, NULL },
    { TEXT, "home/user/.profile", 0644, USER_ID, home_profile_text },
    { TEXT, "home/user/.bashrc", 0644, USER_ID, home_bashrc_text },
    DIR_ROOT("var"),
    DIR_ROOT("var/cache"),
    DIR_ROOT("var/lib"),
    DIR_ROOT("var/local"),
    DIR_ROOT("var/log"),
    DIR_ROOT("var/mail"),
    DIR_ROOT("var/opt"),
    DIR_ROOT("var/spool"),
    { DIRECTORY, "var/tmp", 01777, 0, NULL },
    { LINK, "var/run", 0, 0, "/run" },
    { LINK, "var/lock", 0, 0, "/run/lock" },
    DIR_ROOT("etc"),
    FILE_ROOT("etc/passwd", passwd_text),
    FILE_ROOT("etc/group", group_text),
    { TEXT, "etc/shadow", 0640, 0, shadow_text },
    FILE_ROOT("etc/hosts", hosts_text),
    FILE_ROOT("etc/nsswitch.conf", nsswitch_text),
    FILE_ROOT("etc/resolv.conf", resolv_text),
    FILE_ROOT("etc/profile", profile_text),
    FILE_ROOT("etc/bash.bashrc", bashrc_text),
    FILE_ROOT("etc/shells", shells_text),
    FILE_ROOT("etc/host.conf", "multi on\n"),
    FILE_ROOT("etc/hostname", "sandbox\n"),
    FILE_ROOT("etc/timezone", "Etc/UTC\n"),
    DIR_ROOT("etc/profile.d"),
    DIR_ROOT("etc/opt"),
    DIR_ROOT("etc/ssl"),
    { LINK, "etc/mtab", 0, 0, "../proc/self/mounts" },
    { LINK, "etc/os-release", 0, 0, "../usr/lib/os-release" },
    { LINK, "etc/localtime", 0, 0, "/usr/share/zoneinfo/Etc/UTC" },
    COPY_OF("etc/debian_version"),
    COPY_OF("etc/alternatives"),
    COPY_OF("etc/ld.so.cache"),
    COPY_OF("etc/ld.so.conf"),
    COPY_OF("etc/ld.so.conf.d"),
    COPY_OF("etc/ssl/certs"),
    COPY_OF("etc/ssl/openssl.cnf"),
    COPY_OF("etc/services"),
    COPY_OF("etc/protocols"),
    COPY_OF("etc/rpc"),
    COPY_OF("etc/mime.types"),
    COPY_OF("etc/magic"),
    COPY_OF("etc/inputrc"),
    COPY_OF("etc/terminfo"),
    COPY_OF("etc/fonts"),
    COPY_OF("etc/perl"),
    COPY_OF("etc/python3"),
    COPY_OF("etc/python3.9"),
    COPY_OF("etc/python3.10"),
    COPY_OF("etc/python3.11"),
    COPY_OF("etc/python3.12"),
    COPY_OF("etc/python3.13"),
    COPY_OF("etc/python3.14"),
};

/* --- its name -------------------------------------------------------------------------------- */

static void hash_bytes(uint64_t *h, const void *data, size_t n)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < n; i++)
        *h = (*h ^ p[i]) * UINT64_C(1099511628211);
}

static void hash_host(uint64_t *h, const char *path)
{
    char full[PATH_MAX];
    struct stat st;

    snprintf(full, sizeof full, "/%s", path);
    if (lstat(full, &st) < 0)
        return;
    hash_bytes(h, &st.st_mtim, sizeof st.st_mtim);
    hash_bytes(h, &st.st_size, sizeof st.st_size);
    hash_bytes(h, &st.st_mode, sizeof st.st_mode);
}

static void base_generation(char out[TEMPLATE_GENERATION_SIZE])
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < SMX_ARRAY_LEN(base_entries); i++) {
        const struct entry *e = &base_entries[i];

        hash_bytes(&h, e->path, strlen(e->path) + 1);
        hash_bytes(&h, &e->mode, sizeof e->mode);
        hash_bytes(&h, &e->owner, sizeof e->owner);
        if (e->text)
            hash_bytes(&h, e->text, strlen(e->text));
        if (e->kind == COPY || e->kind == SAME_LINK)
            hash_host(&h, e->path);
    }
    snprintf(out, TEMPLATE_GENERATION_SIZE, "%016llx", (unsigned long long)h);
}

/* --- building -------------------------------------------------------------------------------- */

static int copy_data(int from, int to)
{
    ssize_t n;

    do
        n = sendfile(to, from, NULL, COPY_STEP);
    while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -errno : 0;
}

static int copy_file(int from_at, const char *from, int to_at, const char *to)
{
    SMX_CLEANUP(smx_closep) int in = openat(from_at, from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    SMX_CLEANUP(smx_closep) int out = -1;
    struct stat st;

    if (in < 0 || fstat(in, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return 0;
    out = openat(to_at, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0755);
    return out < 0 ? -errno : copy_data(in, out);
}

/* A link that stays within what the sandbox sees is kept; any other becomes the file behind it. */
static bool link_works_inside(int at, const char *name, char target[PATH_MAX])
{
    char real[PATH_MAX], self[64];
    ssize_t n = readlinkat(at, name, target, PATH_MAX - 1);
    SMX_CLEANUP(smx_closep) int fd = openat(at, name, O_PATH | O_CLOEXEC);

    if (n <= 0)
        return false;
    target[n] = '\0';
    if (fd < 0) /* dangling: as it is */
        return true;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    n = readlink(self, real, sizeof real - 1);
    real[n > 0 ? n : 0] = '\0';
    return smx_starts(real, "/usr/") || smx_starts(real, "/etc/ssl/") ||
           smx_starts(real, "/etc/alternatives/");
}

static int copy_any(int from_at, const char *from, int to_at, const char *to, unsigned depth);

static int copy_dir(int from_at, const char *from, int to_at, const char *to, unsigned depth)
{
    int fd = openat(from_at, from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    SMX_CLEANUP(smx_closep) int out = -1;
    int r = 0;

    if (!d) {
        smx_close(fd);
        return -errno;
    }
    if (mkdirat(to_at, to, 0755) < 0 && errno != EEXIST)
        r = -errno;
    out = openat(to_at, to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r == 0 && out < 0)
        r = -errno;
    for (struct dirent *de; r == 0 && (de = readdir(d)) != NULL;)
        if (!smx_streq(de->d_name, ".") && !smx_streq(de->d_name, ".."))
            r = copy_any(fd, de->d_name, out, de->d_name, depth + 1);
    closedir(d);
    return r;
}

/* What the host lacks, or root may not read, is left out. */
static int copy_any(int from_at, const char *from, int to_at, const char *to, unsigned depth)
{
    char target[PATH_MAX];
    struct stat st;

    if (depth > COPY_DEPTH_MAX || fstatat(from_at, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (S_ISLNK(st.st_mode) && link_works_inside(from_at, from, target))
        return symlinkat(target, to_at, to) < 0 ? -errno : 0;
    if (S_ISDIR(st.st_mode))
        return copy_dir(from_at, from, to_at, to, depth);
    return copy_file(from_at, from, to_at, to);
}

static int make_text(int root, const struct entry *e)
{
    SMX_CLEANUP(smx_closep)
    int fd = openat(root, e->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : smx_write_full(fd, e->text, strlen(e->text));
}

static int same_link(int root, int host, const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(host, path, target, sizeof target - 1);

    if (n <= 0)
        return 0;
    target[n] = '\0';
    return symlinkat(target, root, path) < 0 ? -errno : 0;
}

static int make_entry(int root, int host, const struct entry *e)
{
    int r = 0;

    switch (e->kind) {
    case DIRECTORY:
        r = mkdirat(root, e->path, 0700) < 0 ? -errno : 0;
        break;
    case TEXT:
        r = make_text(root, e);
        break;
    case LINK:
        return symlinkat(e->text, root, e->path) < 0 ? -errno : 0;
    case SAME_LINK:
        return same_link(root, host, e->path);
    case COPY:
        return copy_any(host, e->path, root, e->path, 0);
    }
    if (r == 0 && fchownat(root, e->path, e->owner, e->owner, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    if (r == 0 && fchmodat(root, e->path, e->mode, 0) < 0)
        r = -errno;
    return r;
}

static int fill(int root, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int host = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (host < 0 || fchmod(root, 0755) < 0)
        return smx_err_errno(err, errno, "opening the host's root directory");
    for (size_t i = 0; i < SMX_ARRAY_LEN(base_entries); i++) {
        int r = make_entry(root, host, &base_entries[i]);

        if (r < 0)
            return smx_err_errno(err, -r, "template base: making /%s", base_entries[i].path);
    }
    return 0;
}

static int build(int base, const char *generation, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int root = -1;
    mode_t mask = umask(0022);
    char temporary[32];
    int r;

    snprintf(temporary, sizeof temporary, "new-%016llx", (unsigned long long)smx_random_u64());
    if (mkdirat(base, temporary, 0755) < 0) {
        r = smx_err_errno(err, errno, "making the template base");
        umask(mask);
        return r;
    }
    root = openat(base, temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    r = root < 0 ? smx_err_errno(err, errno, "making the template base") : fill(root, err);
    umask(mask);
    if (r == 0 && renameat(base, temporary, base, generation) < 0 && errno != EEXIST &&
        errno != ENOTEMPTY)
        r = smx_err_errno(err, errno, "naming the template base");
    tree_remove(base, temporary);
    return r;
}

/* Half-made trees of engines that were killed meanwhile. */
static void remove_unfinished(int base)
{
    int fd = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d) {
        smx_close(fd);
        return;
    }
    for (struct dirent *de; (de = readdir(d)) != NULL;)
        if (smx_starts(de->d_name, "new-"))
            tree_remove(base, de->d_name);
    closedir(d);
}

int template_base_open(int templates_fd, struct template *ret, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int base = -1;
    struct template t = { .name = "base", .fd = -1, .host_usr = true };
    int r;

    if (mkdirat(templates_fd, "base", 0755) < 0 && errno != EEXIST)
        return smx_err_errno(err, errno, "making the template base");
    base = openat(templates_fd, "base", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (base < 0)
        return smx_err_errno(err, errno, "opening the template base");
    remove_unfinished(base);
    base_generation(t.generation);
    t.fd = openat(base, t.generation, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (t.fd < 0) {
        r = build(base, t.generation, err);
        if (r < 0)
            return r;
        t.fd = openat(base, t.generation, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (t.fd < 0)
        return smx_err_errno(err, errno, "opening the template base");
    *ret = t;
    return 0;
}

void template_close(struct template *t)
{
    smx_close(t->fd);
    t->fd = -1;
}
