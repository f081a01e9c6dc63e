/* mounts.c - the file systems of a new sandbox, made in a mount namespace of its own by a helper
 * process that is the host's root; only /proc is mounted by the sandbox's own first process.
 *
 * Invariants: the namespace is private before anything is mounted; the lower layer, the upper layer
 * and /usr are shown with ids shifted into the slot's range, so that nothing on disk depends on the
 * slot; the overlay is mounted under a file system id inside that range, since the kernel makes its
 * work directory under it and an unmapped id would silently leave the overlay read-only. Everything
 * is nodev but /dev, which holds six nodes; everything but the overlay is nosuid. */
#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/mounts.h"

enum {
    OPTIONS_SIZE = 256,
    TTY_GROUP = 5,
    TERMINALS_MAX = 256, /* of one sandbox; the kernel has some 3 000 for all together */
    DEV_KEPT_BACK_MIB = 8
};

static int mount_error(struct smx_err *err, const char *what)
{
    return smx_err_errno(err, errno, "mounting %s", what);
}

/* A detached copy of one mount with these attributes; -1 with errno. */
static int clone_mount(int at, const char *path, int userns_fd, uint64_t attributes)
{
    struct mount_attr attr = { .attr_set = attributes, .propagation = MS_PRIVATE };
    int fd = open_tree(at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

    if (fd < 0)
        return -1;
    if (userns_fd >= 0) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (uint64_t)userns_fd;
    }
    if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0) {
        smx_close(fd);
        return -1;
    }
    return fd;
}

bool mounts_can_idmap(int dir_fd, int userns_fd)
{
    int fd = clone_mount(dir_fd, "", userns_fd, 0);

    smx_close(fd);
    return fd >= 0;
}

/* Shows the tree at path on the directory to. */
static int attach(
    const char *path, const char *to, int userns_fd, uint64_t attributes, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = clone_mount(AT_FDCWD, path, userns_fd, attributes);

    if (fd < 0 || move_mount(fd, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return mount_error(err, to);
    return 0;
}

/* Relative names keep the state directory's path, whatever is in it, out of the options. */
static int mount_root(const struct mounts_plan *p, struct smx_err *err)
{
    static const char options[] =
        "lowerdir=mnt/lower,upperdir=mnt/box/upper,workdir=mnt/box/work,redirect_dir=on,xino=off";
    int r;

    r = attach(p->lower, "mnt/lower", p->userns.fd, MOUNT_ATTR_RDONLY, err);
    if (r == 0)
        r = attach(p->box, "mnt/box", p->userns.fd, 0, err);
    if (r < 0)
        return r;
    if (mount("overlay", "mnt/root", "overlay", MS_NODEV, options) < 0)
        return mount_error(err, "the overlay");
    return chdir("mnt/root") < 0 ? mount_error(err, "the overlay") : 0;
}

/* An overlay that could not make its work directory is read-only without a word. */
static int check_writable(struct smx_err *err)
{
    struct statvfs st;

    if (statvfs(".", &st) < 0)
        return mount_error(err, "the overlay");
    if (st.f_flag & ST_RDONLY)
        return smx_err_set(err, SMX_E_UNAVAILABLE, "the sandbox's upper layer is read-only");
    return 0;
}

static int mount_usr(const struct mounts_plan *p, struct smx_err *err)
{
    if (!p->host_usr)
        return 0;
    return attach("/usr", "usr", p->idmap_usr ? p->userns.fd : -1,
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, err);
}

struct node {
    const char *name;
    unsigned major, minor;
};

static const struct node nodes[] = {
    { "dev/null", 1, 3 },
    { "dev/zero", 1, 5 },
    { "dev/full", 1, 7 },
    { "dev/random", 1, 8 },
    { "dev/urandom", 1, 9 },
    { "dev/tty", 5, 0 },
};

static const char *const dev_links[][2] = {
    { "/proc/self/fd", "dev/fd" },
    { "/proc/self/fd/0", "dev/stdin" },
    { "/proc/self/fd/1", "dev/stdout" },
    { "/proc/self/fd/2", "dev/stderr" },
    { "pts/ptmx", "dev/ptmx" },
};

static int fill_dev(struct smx_err *err)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(nodes); i++)
        if (mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0)
            return smx_err_errno(err, errno, "making /%s", nodes[i].name);
    for (size_t i = 0; i < SMX_ARRAY_LEN(dev_links); i++)
        if (symlink(dev_links[i][0], dev_links[i][1]) < 0)
            return smx_err_errno(err, errno, "making /%s", dev_links[i][1]);
    if (mkdir("dev/pts", 0755) < 0 || mkdir("dev/shm", 01777) < 0)
        return smx_err_errno(err, errno, "making /dev/pts and /dev/shm");
    return 0;
}

/* /dev and /dev/shm are one file system, bounded by the memory limit (its pages are charged to the
 * sandbox): each file system more costs every memory control group of the host a little. An eighth
 * of the memory is kept back: who fills the rest gets ENOSPC. Without it an upload that fills it
 * would end the agent, which then is the only process that the kernel can kill for memory. */
static unsigned long long dev_mib(uint64_t memory_mib)
{
    return memory_mib - SMX_MAX(memory_mib / 8, SMX_MIN(memory_mib / 2, DEV_KEPT_BACK_MIB));
}

static int mount_dev(const struct mounts_plan *p, struct smx_err *err)
{
    unsigned base = (unsigned)slot_base(p->userns.slot);
    char options[OPTIONS_SIZE];
    int r;

    snprintf(options, sizeof options, "mode=755,uid=%u,gid=%u,size=%lluM,nr_inodes=65536", base,
        base, dev_mib(p->memory_mib));
    if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, options) < 0)
        return mount_error(err, "/dev");
    r = fill_dev(err);
    if (r < 0)
        return r;
    snprintf(options, sizeof options, "newinstance,ptmxmode=0666,mode=0620,uid=%u,gid=%u,max=%d",
        base, base + TTY_GROUP, TERMINALS_MAX);
    if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, options) < 0)
        return mount_error(err, "/dev/pts");
    return 0;
}

int mounts_resize_dev(uint64_t memory_mib, struct smx_err *err)
{
    char options[OPTIONS_SIZE];

    snprintf(options, sizeof options, "size=%lluM", dev_mib(memory_mib));
    if (mount("tmpfs", "/dev", NULL, MS_REMOUNT | MS_NOSUID | MS_NOEXEC, options) < 0)
        return mount_error(err, "/dev with its size");
    return 0;
}

/* Files of /proc that tell of the host or act on it. */
static const char *const hidden_files[] = {
    "proc/kcore",
    "proc/keys",
    "proc/timer_list",
    "proc/sysrq-trigger",
    "proc/kmsg",
    "proc/sched_debug",
    "proc/latency_stats",
};

static const char *const read_only[] = { "proc/sys", "proc/bus", "proc/fs", "proc/irq" };
static const char *const hidden_dirs[] = { "proc/acpi", "proc/scsi" };

/* Shows /dev/null in the place of a file that is there. */
static int hide_file(const char *what, struct smx_err *err)
{
    if (mount("dev/null", what, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
        return mount_error(err, what);
    return 0;
}

/* Shows a tree read-only, and without anything that runs, in the place of a directory that is
 * there. Taking down a copy that was of no use would wait for all processors. */
static int show_read_only(const char *with, const char *what, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;

    if (faccessat(AT_FDCWD, what, F_OK, 0) < 0 && errno == ENOENT)
        return 0;
    fd = clone_mount(AT_FDCWD, with, -1,
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (fd < 0 || move_mount(fd, "", AT_FDCWD, what, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return mount_error(err, what);
    return 0;
}

int mounts_proc(struct smx_err *err)
{
    int r = 0;

    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return mount_error(err, "/proc");
    for (size_t i = 0; r == 0 && i < SMX_ARRAY_LEN(hidden_files); i++)
        r = hide_file(hidden_files[i], err);
    for (size_t i = 0; r == 0 && i < SMX_ARRAY_LEN(hidden_dirs); i++)
        r = show_read_only("sys", hidden_dirs[i], err);
    for (size_t i = 0; r == 0 && i < SMX_ARRAY_LEN(read_only); i++)
        r = show_read_only(read_only[i], read_only[i], err);
    return r;
}

static int change_root(struct smx_err *err)
{
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return smx_err_errno(err, errno, "changing the root directory");
    return 0;
}

static int mount_all(const struct mounts_plan *p, struct smx_err *err)
{
    int r = mount_root(p, err);

    if (r == 0)
        r = check_writable(err);
    if (r == 0)
        r = mount_usr(p, err);
    if (r == 0)
        r = mount_dev(p, err);
    return r == 0 ? change_root(err) : r;
}

int mounts_make(const struct mounts_plan *p, struct smx_err *err)
{
    uid_t base = slot_base(p->userns.slot);
    int r;

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return mount_error(err, "/ privately");
    if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
        return smx_err_errno(err, errno, "setting securebits");
    umask(0);
    setfsuid(base);
    setfsgid(base);
    r = mount_all(p, err);
    setfsuid(0);
    setfsgid(0);
    umask(0022);
    prctl(PR_SET_SECUREBITS, 0);
    return r;
}
