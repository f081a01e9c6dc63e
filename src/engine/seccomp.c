/* seccomp.c - see seccomp.h. One table is the policy; the rest turns it into a filter.
 *
 * Rules: another architecture (32 bit, x32) does not exist; a call newer than the newest one that
 * was looked at does not exist (ENOSYS: libraries fall back); what the table names is refused; the
 * rest is allowed. The table refuses what is a way out or a wide attack surface and that no
 * ordinary program needs: mounts, namespaces, keys, tracing of the kernel, loading of code into it.
 * no_new_privs stays off, so that set-user-id programs of a template work. */
#include "engine/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "the list of system calls was not looked at for this architecture"
#endif

enum {
    NEWEST_CALL = 462, /* mseal, Linux 6.10; the numbers are those of every architecture */
    GROUP = 8,
};

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define NAMESPACES                                                                                \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
        CLONE_NEWNET)

enum rule {
    ALWAYS,          /* refused */
    IF_BITS,         /* refused when argument has one of the bits of value */
    IF_BITS_BUT_ALL, /* the same, but all 32 bits set is a question and allowed */
    IF_EQUAL,        /* refused when argument is value */
    IF_NOT_IN, /* refused unless argument is one of the bits' numbers (value: a mask of 0..63) */
};

struct row {
    int call;
    enum rule rule;
    int os_errno;
    unsigned argument;
    unsigned long long value;
};

#define NO(call)                        \
    {                                   \
        SYS_##call, ALWAYS, EPERM, 0, 0 \
    }
#define GONE(call)                       \
    {                                    \
        SYS_##call, ALWAYS, ENOSYS, 0, 0 \
    }

static const struct row policy[] = {
    /* mounts and roots */
    NO(mount),
    NO(umount2),
    NO(pivot_root),
    NO(open_tree),
    NO(move_mount),
    NO(fsopen),
    NO(fsconfig),
    NO(fsmount),
    NO(fspick),
    NO(mount_setattr),
    NO(swapon),
    NO(swapoff),
    NO(quotactl),
    NO(quotactl_fd),
    NO(acct),
    NO(nfsservctl),
    NO(open_by_handle_at),
    NO(fanotify_init),
    /* namespaces: clone3 hides its flags behind a pointer, its callers fall back to clone */
    NO(setns),
    GONE(clone3),
    { SYS_unshare, IF_BITS, EPERM, 0, NAMESPACES | CLONE_NEWTIME },
    { SYS_clone, IF_BITS, EPERM, 0, NAMESPACES },
    /* keys are not separated by namespaces */
    NO(add_key),
    NO(request_key),
    NO(keyctl),
    /* the kernel's own programs, traces, modules */
    NO(bpf),
    NO(perf_event_open),
    NO(userfaultfd),
    NO(io_uring_setup),
    NO(io_uring_enter),
    NO(io_uring_register),
    NO(kexec_load),
    NO(kexec_file_load),
    NO(init_module),
    NO(finit_module),
    NO(delete_module),
    NO(lookup_dcookie),
    NO(syslog),
    NO(reboot),
    NO(vhangup),
    /* the host's clock and memory */
    NO(settimeofday),
    NO(clock_settime),
    NO(adjtimex),
    NO(clock_adjtime),
    NO(mbind),
    NO(set_mempolicy),
    NO(set_mempolicy_home_node),
    NO(migrate_pages),
    NO(move_pages),
#if defined(__x86_64__)
    NO(iopl),
    NO(ioperm),
    NO(modify_ldt),
    NO(uselib),
    NO(ustat),
    NO(sysfs),
    NO(_sysctl),
    NO(create_module),
    NO(get_kernel_syms),
    NO(query_module),
#endif
    /* execution domains: only the default, and to ask for the present one */
    { SYS_personality, IF_BITS_BUT_ALL, EPERM, 0, 0xfffdfff7 },
    /* input pushed into a terminal that somebody else reads */
    { SYS_ioctl, IF_EQUAL, EPERM, 1, 0x5412 /* TIOCSTI */ },
    { SYS_ioctl, IF_EQUAL, EPERM, 1, 0x541c /* TIOCLINUX */ },
    { SYS_socket, IF_NOT_IN, EAFNOSUPPORT, 0,
        1ULL << AF_UNIX | 1ULL << AF_INET | 1ULL << AF_INET6 | 1ULL << AF_NETLINK },
    { SYS_socketpair, IF_NOT_IN, EAFNOSUPPORT, 0, 1ULL << AF_UNIX },
};

static void put(struct seccomp_filter *f, struct sock_filter insn)
{
    if (f->n < SECCOMP_INSNS_MAX)
        f->insns[f->n] = insn;
    f->n++;
}

#define LOAD(offset) ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset)))
#define JUMP(op, k, yes, no) \
    ((struct sock_filter)BPF_JUMP(BPF_JMP | (op) | BPF_K, (k), (yes), (no)))
#define RETURN(v) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (v)))
#define REFUSE(e) RETURN(SECCOMP_RET_ERRNO | (unsigned)(e))
#define ALLOW RETURN(SECCOMP_RET_ALLOW)
#define DATA(member) ((unsigned)offsetof(struct seccomp_data, member))

/* Low half of argument n (both architectures are little-endian). The kernel takes int-sized flags
 * and numbers from it only. */
static unsigned low_half(unsigned argument)
{
    return DATA(args) + argument * 8;
}

static void put_not_in(struct seccomp_filter *f, const struct row *row)
{
    for (unsigned v = 0; v < 64; v++) {
        if (row->value & (1ULL << v)) {
            put(f, JUMP(BPF_JEQ, v, 0, 1));
            put(f, ALLOW);
        }
    }
    put(f, REFUSE(row->os_errno));
}

/* The accumulator holds the call's number on entry, and again when the row does not apply: every
 * row is closed by itself, since a call may have several. */
static void put_row(struct seccomp_filter *f, const struct row *row)
{
    unsigned start;

    put(f, JUMP(BPF_JEQ, (unsigned)row->call, 0, 1));
    start = f->n; /* the jump before it gets its distance at the end */
    if (row->rule != ALWAYS)
        put(f, LOAD(low_half(row->argument)));
    if (row->rule == IF_BITS_BUT_ALL)
        put(f, JUMP(BPF_JEQ, UINT32_MAX, 2, 0));
    if (row->rule == IF_BITS || row->rule == IF_BITS_BUT_ALL)
        put(f, JUMP(BPF_JSET, (unsigned)row->value, 0, 1));
    if (row->rule == IF_EQUAL)
        put(f, JUMP(BPF_JEQ, (unsigned)row->value, 0, 1));
    if (row->rule == IF_NOT_IN)
        put_not_in(f, row);
    else
        put(f, REFUSE(row->os_errno));
    if (row->rule != ALWAYS && row->rule != IF_NOT_IN)
        put(f, LOAD(DATA(nr)));
    if (start <= SECCOMP_INSNS_MAX)
        f->insns[start - 1].jf = (unsigned char)(f->n - start);
}

static int by_call(const void *a, const void *b)
{
    const struct row *x = *(const struct row *const *)a, *y = *(const struct row *const *)b;

    return x->call != y->call ? (x->call > y->call) - (x->call < y->call) : (x > y) - (x < y);
}

/* Rows of one group: skipped as a whole by calls above it, closed by "allowed". */
static void put_group(struct seccomp_filter *f, const struct row **rows, size_t n, int next_call)
{
    unsigned start;

    put(f, JUMP(BPF_JGE, (unsigned)next_call, 0, 0));
    start = f->n;
    for (size_t i = 0; i < n; i++)
        put_row(f, rows[i]);
    put(f, ALLOW);
    if (start <= SECCOMP_INSNS_MAX)
        f->insns[start - 1].jt = (unsigned char)(f->n - start);
}

/* In groups by number: when a filter is loaded the kernel runs it for every call there is. */
static void put_policy(struct seccomp_filter *f)
{
    const struct row *rows[SMX_ARRAY_LEN(policy)];
    size_t n = SMX_ARRAY_LEN(policy);

    for (size_t i = 0; i < n; i++)
        rows[i] = &policy[i];
    qsort(rows, n, sizeof rows[0], by_call);
    for (size_t i = 0, end; i < n; i = end) {
        end = SMX_MIN(i + GROUP, n);
        while (end < n && rows[end]->call == rows[end - 1]->call)
            end++;
        put_group(f, rows + i, end - i, end < n ? rows[end]->call : NEWEST_CALL + 1);
    }
}

int seccomp_filter_build(struct seccomp_filter *f, struct smx_err *err)
{
    f->n = 0;
    put(f, LOAD(DATA(arch)));
    put(f, JUMP(BPF_JEQ, NATIVE_ARCH, 1, 0));
    put(f, REFUSE(ENOSYS));
    put(f, LOAD(DATA(nr)));
    put(f, JUMP(BPF_JGT, NEWEST_CALL, 0, 1)); /* x32 numbers are above it too */
    put(f, REFUSE(ENOSYS));
    put_policy(f);
    put(f, ALLOW);
    if (f->n > SECCOMP_INSNS_MAX)
        return smx_err_set(err, SMX_E_INTERNAL, "the system call filter is too long");
    return 0;
}

int seccomp_filter_load(struct seccomp_filter *f, struct smx_err *err)
{
    struct sock_fprog prog = { .len = f->n, .filter = f->insns };

    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
        return smx_err_errno(err, errno, "loading the system call filter");
    return 0;
}
