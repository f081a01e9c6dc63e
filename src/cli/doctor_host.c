/* doctor_host.c - what the local runtime needs of the machine. Each check reads; none changes a
 * thing. */
#include "cli/doctor.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { KERNEL_MAJOR = 5, KERNEL_MINOR = 19, MEMORY_MIN_MIB = 512 };

/* A small file as text; false when it cannot be read. */
static bool slurp(const char *path, struct smx_buf *b)
{
    smx_buf_init(b, 256 * 1024);
    if (smx_read_file_at(AT_FDCWD, path, b, /* err= */ NULL) == 0 && b->data)
        return true;
    smx_buf_done(b);
    return false;
}

/* The number that follows a word at the start of a line. */
static bool field_u64(const char *text, const char *word, unsigned base, uint64_t *ret)
{
    const char *at = strstr(text, word);
    uint64_t v = 0;
    bool any = false;

    if (!at)
        return false;
    for (at += strlen(word); *at == ' ' || *at == '\t'; at++)
        ;
    for (;; at++, any = true) {
        unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
                         : *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a' + 10)
                                                    : 99;

        if (digit >= base)
            break;
        v = v * base + digit;
    }
    *ret = v;
    return any;
}

void doctor_privilege(struct cli *cli, struct doctor_result *r)
{
    static const struct {
        unsigned bit;
        const char *name;
    } needed[] = { { 0, "CAP_CHOWN" }, { 1, "CAP_DAC_OVERRIDE" }, { 5, "CAP_KILL" },
        { 6, "CAP_SETGID" }, { 7, "CAP_SETUID" }, { 12, "CAP_NET_ADMIN" }, { 18, "CAP_SYS_CHROOT" },
        { 21, "CAP_SYS_ADMIN" } };
    struct smx_buf b;
    uint64_t caps = 0;

    if (geteuid() != 0) {
        doctor_set(r, DOCTOR_WARN,
            "Run the daemon as root for local sandboxes, or configure E2B or Daytona.",
            "not root: the local runtime is not available");
        return;
    }
    if (slurp("/proc/self/status", &b)) {
        field_u64(b.data, "CapEff:", 16, &caps);
        smx_buf_done(&b);
    }
    for (size_t i = 0; i < SMX_ARRAY_LEN(needed); i++) {
        if (!(caps >> needed[i].bit & 1)) {
            doctor_set(r, DOCTOR_BAD,
                "In a container: start it with that capability, or run sandmux on the host.",
                "root without %s cannot make sandboxes", needed[i].name);
            return;
        }
    }
    doctor_set(r, DOCTOR_OK, "", "root");
}

void doctor_kernel(struct cli *cli, struct doctor_result *r)
{
    struct utsname u;
    unsigned major = 0, minor = 0;

    if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
        doctor_set(r, DOCTOR_BAD, "", "the kernel's version cannot be read");
    else if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR))
        doctor_set(r, DOCTOR_BAD, "Boot a newer kernel, or configure E2B or Daytona.",
            "kernel %s; local sandboxes need %d.%d (idmapped overlay mounts)", u.release,
            KERNEL_MAJOR, KERNEL_MINOR);
    else
        doctor_set(r, DOCTOR_OK, "", "kernel %s", u.release);
}

void doctor_userns(struct cli *cli, struct doctor_result *r)
{
    struct smx_buf b;
    uint64_t max = 0;

    if (!slurp("/proc/sys/user/max_user_namespaces", &b)) {
        doctor_set(r, DOCTOR_BAD, "Use a kernel with CONFIG_USER_NS.",
            "the kernel has no user namespaces");
        return;
    }
    field_u64(b.data, "", 10, &max);
    smx_buf_done(&b);
    if (max == 0)
        doctor_set(r, DOCTOR_BAD, "sysctl user.max_user_namespaces=15000",
            "user namespaces are switched off");
    else
        doctor_set(r, DOCTOR_OK, "", "user namespaces, at most %llu", (unsigned long long)max);
}

void doctor_overlay(struct cli *cli, struct doctor_result *r)
{
    struct smx_buf b;
    bool found = false;

    if (slurp("/proc/filesystems", &b)) {
        found = strstr(b.data, "\toverlay\n") != NULL;
        smx_buf_done(&b);
    }
    if (found)
        doctor_set(r, DOCTOR_OK, "", "overlay file system");
    else
        doctor_set(r, DOCTOR_BAD, "modprobe overlay", "the kernel does not offer overlay");
}

void doctor_cgroups(struct cli *cli, struct doctor_result *r)
{
    static const char *const v1[] = { "memory", "cpu", "pids", "freezer" };
    char path[64];

    if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) {
        if (access("/sys/fs/cgroup/cgroup.procs", W_OK) == 0)
            doctor_set(r, DOCTOR_OK, "", "cgroup v2");
        else
            doctor_set(r, geteuid() ? DOCTOR_WARN : DOCTOR_BAD,
                "Mount /sys/fs/cgroup writable (in a container: --cgroupns=private, privileged).",
                "cgroup v2 is read-only here");
        return;
    }
    for (size_t i = 0; i < SMX_ARRAY_LEN(v1); i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", v1[i]);
        if (access(path, W_OK) < 0) {
            doctor_set(r, DOCTOR_WARN,
                "Mount it below /sys/fs/cgroup; without it limits are rlimits only (soft).",
                "no writable cgroup controller '%s'", v1[i]);
            return;
        }
    }
    doctor_set(r, DOCTOR_OK, "", "cgroup v1 with memory, cpu, pids and freezer");
}

void doctor_seccomp(struct cli *cli, struct doctor_result *r)
{
    if (access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0)
        doctor_set(r, DOCTOR_OK, "", "seccomp filters");
    else
        doctor_set(r, DOCTOR_BAD, "Use a kernel with CONFIG_SECCOMP_FILTER.",
            "the kernel has no seccomp filters");
}

void doctor_memory(struct cli *cli, struct doctor_result *r)
{
    struct smx_buf b;
    uint64_t kib = 0;

    if (slurp("/proc/meminfo", &b)) {
        field_u64(b.data, "MemAvailable:", 10, &kib);
        smx_buf_done(&b);
    }
    if (kib / 1024 < MEMORY_MIN_MIB)
        doctor_set(r, DOCTOR_WARN, "End what uses memory, or give sandboxes less (--memory).",
            "%llu MiB of memory are free", (unsigned long long)kib / 1024);
    else
        doctor_set(r, DOCTOR_OK, "", "%llu MiB of memory are free", (unsigned long long)kib / 1024);
}
