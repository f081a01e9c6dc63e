/* test_engine.c - the parts of the engine that need no privilege: trees, slots, records, the system
 * call filter (run by a small interpreter) and control group files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/test.h"
#include "engine/meta.h"
#include "engine/filemax.h"
#include "engine/seccomp.h"
#include "engine/skeleton.h"
#include "engine/slots.h"
#include "engine/template.h"
#include "engine/tree.h"

static int scratch(char path[64])
{
    snprintf(path, 64, "/tmp/test-engine-XXXXXX");
    return mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

static int put_file(int at, const char *name, size_t n)
{
    SMX_CLEANUP(smx_closep) int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    static const char zeros[4096];

    for (; fd >= 0 && n > 0; n -= SMX_MIN(n, sizeof zeros))
        if (smx_write_full(fd, zeros, SMX_MIN(n, sizeof zeros)) < 0)
            return -1;
    return fd < 0 ? -1 : 0;
}

/* --- trees -------------------------------------------------------------------------------------
 */

/* d/d/d/... depth levels below name, a file at the bottom. */
static int make_deep(int at, const char *name, int depth)
{
    int fd = dup(at), r = 0;

    for (int i = 0; r == 0 && i < depth; i++) {
        int next = -1;

        if (mkdirat(fd, i ? "d" : name, 0755) == 0)
            next = openat(fd, i ? "d" : name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        smx_close(fd);
        fd = next;
        r = fd < 0 ? -1 : 0;
    }
    if (r == 0)
        r = put_file(fd, "bottom", 100000);
    smx_close(fd);
    return r;
}

TEST(a_tree_is_removed_at_any_depth)
{
    char path[64];
    SMX_CLEANUP(smx_closep) int fd = scratch(path);

    ASSERT_EQ(mkdirat(fd, "t", 0755), 0);
    ASSERT_EQ(make_deep(fd, "t/deep", 3000), 0);
    ASSERT_EQ(mkdirat(fd, "t/a", 0), 0);
    ASSERT_EQ(put_file(fd, "t/file", 10), 0);
    ASSERT_EQ(tree_remove(fd, "t"), 0);
    ASSERT_TRUE(faccessat(fd, "t", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT);
    ASSERT_EQ(tree_remove(fd, "t"), 0);
    rmdir(path);
}

TEST(removing_follows_no_link)
{
    char path[64];
    SMX_CLEANUP(smx_closep) int fd = scratch(path);

    ASSERT_EQ(mkdirat(fd, "kept", 0755), 0);
    ASSERT_EQ(put_file(fd, "kept/file", 1), 0);
    ASSERT_EQ(mkdirat(fd, "t", 0755), 0);
    ASSERT_EQ(symlinkat("../kept", fd, "t/link"), 0);
    ASSERT_EQ(symlinkat("kept", fd, "top"), 0);
    ASSERT_EQ(tree_remove(fd, "t"), 0);
    ASSERT_EQ(tree_remove(fd, "top"), 0);
    ASSERT_EQ(faccessat(fd, "kept/file", F_OK, 0), 0);
    ASSERT_EQ(tree_remove(fd, "kept"), 0);
    rmdir(path);
}

TEST(usage_counts_below_the_deepest_level)
{
    char path[64];
    SMX_CLEANUP(smx_closep) int fd = scratch(path);
    uint64_t flat, deep;

    ASSERT_EQ(tree_usage(fd, "t"), 0);
    ASSERT_EQ(mkdirat(fd, "t", 0755), 0);
    ASSERT_EQ(put_file(fd, "t/f", 300000), 0);
    ASSERT_EQ(linkat(fd, "t/f", fd, "t/g", 0), 0);
    ASSERT_EQ(symlinkat("/usr", fd, "t/usr"), 0);
    flat = tree_usage(fd, "t");
    ASSERT_INT(flat, >=, 300000);
    ASSERT_INT(flat, <, 400000);
    if (geteuid() != 0)
        SKIP("file handles are root's");
    ASSERT_EQ(make_deep(fd, "t/deep", 700), 0);
    deep = tree_usage(fd, "t");
    ASSERT_INT(deep, >=, flat + 700 * 4096 / 2 + 100000);
    ASSERT_INT(deep, <, UINT64_MAX / 4);
    ASSERT_EQ(tree_remove(fd, "t"), 0);
    rmdir(path);
}

/* --- slots -------------------------------------------------------------------------------------
 */

static bool use_one(int slot, void *arg)
{
    return slot == *(int *)arg;
}

TEST(slots_belong_to_one_owner_until_it_lets_go)
{
    char path[64], run[96], mine[96];
    SMX_CLEANUP(smx_closep) SMX_UNUSED int fd = scratch(path);
    struct slots a, b;
    struct smx_err err = { 0 };
    int first = -1, second = -1, other = -1;

    snprintf(run, sizeof run, "%s/run", path);
    snprintf(mine, sizeof mine, "%s/state", path);
    ASSERT_EQ(mkdir(mine, 0700), 0);
    ASSERT_OK(slots_open(&a, run, mine, &err), &err);
    ASSERT_OK(slots_open(&b, run, "/nonexistent/state", &err), &err);
    ASSERT_OK(slot_take(&a, &first, &err), &err);
    ASSERT_OK(slot_take(&a, &second, &err), &err);
    ASSERT_OK(slot_take(&b, &other, &err), &err);
    ASSERT_TRUE(first != second && other != first && other != second);
    ASSERT_TRUE(
        slot_base(second) >= slot_agent(first) + 1 || slot_base(first) > slot_agent(second));
    slot_release(&a, other); /* not ours: stays */
    ASSERT_EQ(faccessat(b.dir_fd, "2", F_OK, AT_SYMLINK_NOFOLLOW), 0);
    ASSERT_OK(slots_sweep(&a, use_one, &second, &err), &err);
    ASSERT_TRUE(faccessat(a.dir_fd, "0", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
    ASSERT_EQ(faccessat(a.dir_fd, "1", F_OK, AT_SYMLINK_NOFOLLOW), 0);
    ASSERT_TRUE(faccessat(a.dir_fd, "2", F_OK, AT_SYMLINK_NOFOLLOW) < 0); /* owner is gone */
    slots_close(&a);
    slots_close(&b);
    ASSERT_EQ(tree_remove(AT_FDCWD, path), 0);
}

TEST(the_last_id_fits)
{
    ASSERT_TRUE((uint64_t)SLOT_FIRST_ID + (uint64_t)SLOT_COUNT * (SLOT_IDS + 1) < UINT32_MAX);
    ASSERT_TRUE(slot_agent(SLOT_COUNT - 1) < UINT32_MAX - 1);
}

/* --- records -----------------------------------------------------------------------------------
 */

TEST(a_record_is_read_as_it_was_written)
{
    char path[64], id[] = "i0123456789abcdefghij", name[] = "base", boot[] = "b";
    SMX_CLEANUP(smx_closep) int fd = scratch(path);
    struct meta m = { .format = META_FORMAT,
        .id = id,
        .template = name,
        .generation = name,
        .hostname = id,
        .boot_id = boot,
        .state = ENGINE_STATE_PAUSED,
        .has_deadline = true,
        .deadline_ns = UINT64_C(9007199254740993),
        .pid = 7,
        .slot = -1 };
    struct meta back = { 0 };
    struct smx_err err = { 0 };

    ASSERT_OK(meta_prepare(fd, &m, &err), &err);
    ASSERT_TRUE(meta_read(fd, &back, &err) < 0); /* not before it counts */
    ASSERT_OK(meta_commit(fd, &err), &err);
    ASSERT_OK(meta_read(fd, &back, &err), &err);
    ASSERT_STR(back.id, id);
    ASSERT_EQ(back.state, ENGINE_STATE_PAUSED);
    ASSERT_TRUE(back.has_deadline && back.deadline_ns == UINT64_C(9007199254740993));
    ASSERT_EQ(back.slot, -1);
    json_free(&meta_table, &back);
    ASSERT_EQ(tree_remove(AT_FDCWD, path), 0);
}

TEST(a_process_is_told_from_its_successor)
{
    ASSERT_TRUE(process_start_time(getpid()) > 0);
    ASSERT_EQ(process_start_time(getpid()), process_start_time(getpid()));
    ASSERT_TRUE(process_start_time(1) != process_start_time(getpid()));
    ASSERT_EQ(process_start_time(-1), 0);
}

/* --- the system call filter --------------------------------------------------------------------
 */

/* The instructions that the filter uses; anything else fails the test. */
static unsigned run_filter(const struct seccomp_filter *f, const struct seccomp_data *data)
{
    unsigned a = 0;

    for (unsigned pc = 0; pc < f->n; pc++) {
        const struct sock_filter *i = &f->insns[pc];

        if (i->code == (BPF_LD | BPF_W | BPF_ABS))
            memcpy(&a, (const char *)data + i->k, sizeof a);
        else if (i->code == (BPF_JMP | BPF_JEQ | BPF_K))
            pc += a == i->k ? i->jt : i->jf;
        else if (i->code == (BPF_JMP | BPF_JGT | BPF_K))
            pc += a > i->k ? i->jt : i->jf;
        else if (i->code == (BPF_JMP | BPF_JGE | BPF_K))
            pc += a >= i->k ? i->jt : i->jf;
        else if (i->code == (BPF_JMP | BPF_JSET | BPF_K))
            pc += a & i->k ? i->jt : i->jf;
        else if (i->code == (BPF_RET | BPF_K))
            return i->k;
        else
            break;
    }
    return 0;
}

#define REFUSED(e) (SECCOMP_RET_ERRNO | (e))

struct filter_case {
    int call;
    unsigned long long args[2];
    unsigned result;
};

static const struct filter_case filter_cases[] = {
    { SYS_read, { 0 }, SECCOMP_RET_ALLOW },
    { SYS_execve, { 0 }, SECCOMP_RET_ALLOW },
    { SYS_execveat, { 0 }, SECCOMP_RET_ALLOW },
    { SYS_setresuid, { 0 }, SECCOMP_RET_ALLOW },
    { SYS_chroot, { 0 }, SECCOMP_RET_ALLOW },
    { SYS_ptrace, { 0 }, SECCOMP_RET_ALLOW },
    { SYS_mount, { 0 }, REFUSED(EPERM) },
    { SYS_bpf, { 0 }, REFUSED(EPERM) },
    { SYS_keyctl, { 0 }, REFUSED(EPERM) },
    { SYS_io_uring_setup, { 0 }, REFUSED(EPERM) },
    { SYS_setns, { 0 }, REFUSED(EPERM) },
    { SYS_clone3, { 0 }, REFUSED(ENOSYS) },
    { 462, { 0 }, SECCOMP_RET_ALLOW },
    { 463, { 0 }, REFUSED(ENOSYS) },
    { 0x40000000 | 39, { 0 }, REFUSED(ENOSYS) },
    { -1, { 0 }, REFUSED(ENOSYS) },
    { SYS_clone, { SIGCHLD }, SECCOMP_RET_ALLOW },
    { SYS_clone, { CLONE_VM | CLONE_THREAD }, SECCOMP_RET_ALLOW },
    { SYS_clone, { SIGCHLD | CLONE_NEWUSER }, REFUSED(EPERM) },
    { SYS_clone, { CLONE_NEWNS }, REFUSED(EPERM) },
    { SYS_clone, { 0xff00000000ULL | SIGCHLD }, SECCOMP_RET_ALLOW },
    { SYS_unshare, { CLONE_FILES | CLONE_FS }, SECCOMP_RET_ALLOW },
    { SYS_unshare, { CLONE_NEWNET }, REFUSED(EPERM) },
    { SYS_unshare, { 0x80 }, REFUSED(EPERM) },
    { SYS_personality, { 0 }, SECCOMP_RET_ALLOW },
    { SYS_personality, { 0xffffffff }, SECCOMP_RET_ALLOW },
    { SYS_personality, { 8 }, SECCOMP_RET_ALLOW },
    { SYS_personality, { 0x40000 }, REFUSED(EPERM) },
    { SYS_personality, { 0xfffffffe }, REFUSED(EPERM) },
    { SYS_ioctl, { 0, 0x5401 }, SECCOMP_RET_ALLOW },
    { SYS_ioctl, { 0, 0x5412 }, REFUSED(EPERM) },
    { SYS_ioctl, { 0, 0x100005412ULL }, REFUSED(EPERM) },
    { SYS_ioctl, { 0, 0x541c }, REFUSED(EPERM) },
    { SYS_socket, { AF_UNIX }, SECCOMP_RET_ALLOW },
    { SYS_socket, { AF_INET6 }, SECCOMP_RET_ALLOW },
    { SYS_socket, { AF_NETLINK }, SECCOMP_RET_ALLOW },
    { SYS_socket, { AF_VSOCK }, REFUSED(EAFNOSUPPORT) },
    { SYS_socket, { AF_ALG }, REFUSED(EAFNOSUPPORT) },
    { SYS_socket, { 4096 }, REFUSED(EAFNOSUPPORT) },
    { SYS_socketpair, { AF_UNIX }, SECCOMP_RET_ALLOW },
    { SYS_socketpair, { AF_INET }, REFUSED(EAFNOSUPPORT) },
};

/* What is written tells what was there before. */
TEST(the_number_of_open_files_is_put_back_as_it_was)
{
    static const unsigned long rows[] = { 1, 8192, 2466174, 1UL << 40 };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        unsigned long raised = filemax_raised(rows[i]);

        ASSERT_TRUE(raised > LONG_MAX / 2 && raised <= LONG_MAX);
        ASSERT_EQ(filemax_raised(raised), 0); /* by whoever comes next */
        ASSERT_EQ(filemax_restored(raised), rows[i]);
        ASSERT_EQ(filemax_restored(rows[i]), 0);
    }
    ASSERT_EQ(filemax_raised(LONG_MAX), 0);
    ASSERT_EQ(filemax_restored(LONG_MAX), 0);
}

TEST(others_with_ranges_are_seen)
{
    char path[64], mine[80], other[80], gone[80];
    SMX_CLEANUP(smx_closep) int dir = scratch(path);
    struct slots s = { .dir_fd = -1 }, t = { .dir_fd = -1 }, u = { .dir_fd = -1 };
    struct smx_err err = { 0 };
    int slot = -1;

    ASSERT_TRUE(dir >= 0);
    snprintf(mine, sizeof mine, "%s/mine", path);
    snprintf(other, sizeof other, "%s/other", path);
    snprintf(gone, sizeof gone, "%s/gone", path);
    ASSERT_EQ(mkdir(mine, 0700), 0);
    ASSERT_EQ(mkdir(other, 0700), 0);
    ASSERT_OK(slots_open(&s, path, mine, &err), &err);
    ASSERT_OK(slots_open(&t, path, other, &err), &err);
    ASSERT_OK(slots_open(&u, path, gone, &err), &err);
    ASSERT_OK(slot_take(&s, &slot, &err), &err);
    ASSERT_OK(slot_take(&u, &slot, &err), &err);
    ASSERT_FALSE(slots_of_others(&s));
    ASSERT_TRUE(slots_of_others(&t));
    ASSERT_OK(slot_take(&t, &slot, &err), &err);
    ASSERT_TRUE(slots_of_others(&s));
    slots_close(&s);
    slots_close(&t);
    slots_close(&u);
    ASSERT_EQ(tree_remove(AT_FDCWD, path), 0);
}

TEST(the_filter_decides_as_the_table_says)
{
    struct seccomp_filter f;
    struct smx_err err = { 0 };

    ASSERT_OK(seccomp_filter_build(&f, &err), &err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(filter_cases); i++) {
        struct seccomp_data data = { .nr = filter_cases[i].call, .arch = f.insns[1].k };
        unsigned got;

        data.args[0] = filter_cases[i].args[0];
        data.args[1] = filter_cases[i].args[1];
        got = run_filter(&f, &data);
        if (got != filter_cases[i].result)
            smx_test_fail(__FILE__, __LINE__, "call %d, case %zu: %#x instead of %#x",
                filter_cases[i].call, i, got, filter_cases[i].result);
    }
}

TEST(another_architecture_does_not_exist)
{
    struct seccomp_filter f;
    struct smx_err err = { 0 };
    struct seccomp_data data = { .nr = SYS_read, .arch = AUDIT_ARCH_I386 };

    ASSERT_OK(seccomp_filter_build(&f, &err), &err);
    ASSERT_EQ(run_filter(&f, &data), REFUSED(ENOSYS));
}

/* --- template and skeletons --------------------------------------------------------------------
 */

TEST(the_base_template_is_built_once_and_whole)
{
    char path[64];
    SMX_CLEANUP(smx_closep) int fd = scratch(path);
    struct template a, b;
    struct smx_err err = { 0 };
    struct stat st, again;

    if (geteuid() != 0)
        SKIP("needs root");
    ASSERT_OK(template_base_open(fd, &a, &err), &err);
    ASSERT_EQ(fstatat(a.fd, "home/user/.profile", &st, 0), 0);
    ASSERT_EQ(st.st_uid, 1000);
    ASSERT_EQ(fstatat(a.fd, "tmp", &st, 0), 0);
    ASSERT_EQ(st.st_mode & 07777, 01777);
    ASSERT_EQ(fstatat(a.fd, "etc/shadow", &st, 0), 0);
    ASSERT_EQ(st.st_mode & 0777, 0640);
    ASSERT_EQ(fstatat(a.fd, "bin", &st, AT_SYMLINK_NOFOLLOW), 0);
    ASSERT_TRUE(S_ISLNK(st.st_mode));
    ASSERT_EQ(fstat(a.fd, &st), 0);
    ASSERT_EQ(mkdirat(fd, "base/new-1", 0755), 0); /* of an engine that was killed */
    ASSERT_OK(template_base_open(fd, &b, &err), &err);
    ASSERT_EQ(fstat(b.fd, &again), 0);
    ASSERT_TRUE(st.st_ino == again.st_ino);
    ASSERT_TRUE(faccessat(fd, "base/new-1", F_OK, 0) < 0);
    ASSERT_STR(a.generation, b.generation);
    template_close(&a);
    template_close(&b);
    ASSERT_EQ(tree_remove(AT_FDCWD, path), 0);
}

TEST(a_skeleton_is_marked_when_it_is_whole)
{
    char path[64];
    SMX_CLEANUP(smx_closep) int fd = scratch(path);
    static const char *const names[] = { "s/upper/etc/hosts", "s/upper/etc/hostname", "s/work",
        "s/upper/run/e2b/.E2B_SANDBOX", "s/upper/run/e2b/.E2B_SANDBOX_ID",
        "s/upper/run/e2b/.E2B_TEMPLATE_ID", "s/meta.new" };

    ASSERT_EQ(skeleton_make(fd, "s"), 0);
    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++)
        ASSERT_EQ(faccessat(fd, names[i], F_OK, 0), 0);
    ASSERT_EQ(skeleton_make(fd, "s"), -EEXIST);
    ASSERT_EQ(tree_remove(AT_FDCWD, path), 0);
}
