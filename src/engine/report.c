/* report.c - what this host can do, found by trying, for "hello" and "doctor". */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"

/* The tables describe both directions of the wire, so their strings are not const. */
static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

struct needed_cap {
    int cap;
    const char *name;
};

static const struct needed_cap needed_caps[] = {
    { CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },
    { CAP_SETUID, "CAP_SETUID" },
    { CAP_SETGID, "CAP_SETGID" },
    { CAP_SETPCAP, "CAP_SETPCAP" },
    { CAP_MKNOD, "CAP_MKNOD" },
    { CAP_CHOWN, "CAP_CHOWN" },
    { CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE" },
    { CAP_FOWNER, "CAP_FOWNER" },
    { CAP_KILL, "CAP_KILL" },
    { CAP_NET_ADMIN, "CAP_NET_ADMIN" },
};

__attribute__((format(printf, 6, 7))) static void add(struct report *r, const char *name, bool ok,
    bool required, const char *hint, const char *fmt, ...)
{
    va_list ap;

    if (r->n == REPORT_CHECKS_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(r->texts[r->n], sizeof r->texts[r->n], fmt, ap);
    va_end(ap);
    r->checks[r->n] = (struct engine_check){ .name = text_of(name),
        .ok = ok,
        .required = required,
        .detail = r->texts[r->n],
        .hint = ok ? NULL : text_of(hint) };
    r->n++;
}

static void check_privilege(struct report *r)
{
    const char *missing = geteuid() == 0 ? NULL : "root";

    for (size_t i = 0; !missing && i < SMX_ARRAY_LEN(needed_caps); i++)
        if (prctl(PR_CAPBSET_READ, needed_caps[i].cap) != 1)
            missing = needed_caps[i].name;
    add(r, "privilege", !missing, /* required= */ true,
        "Start the server as root; in a container give it the capability that is missing.",
        missing ? "%s is missing" : "%s", missing ? missing : "root with what it needs");
}

static void check_kernel(struct report *r)
{
    struct utsname u;
    unsigned major = 0, minor = 0;

    uname(&u);
    sscanf(u.release, "%u.%u", &major, &minor);
    add(r, "kernel", major > 6 || (major == 6 && minor >= 1) || (major == 5 && minor >= 19),
        /* required= */ true,
        "Use Linux 5.19 or newer: older ones cannot shift the ids of overlays.", "Linux %s",
        u.release);
}

static void check_namespaces(struct engine *e, struct report *r)
{
    struct smx_err err = { 0 };
    struct userns u;
    int x = userns_take(&e->userns, &u, &err);
    bool idmap = false;

    if (x == 0) {
        idmap = mounts_can_idmap(e->boxes_fd, u.fd);
        e->idmap_usr = false;
        x = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (x >= 0)
            e->idmap_usr = mounts_can_idmap(x, u.fd);
        smx_close(x);
        smx_close(u.fd);
        slot_release(&e->slots, u.slot);
        x = 0;
    }
    add(r, "user namespaces", x == 0, /* required= */ true,
        "Allow them: sysctl user.max_user_namespaces above 0.", "%s", x == 0 ? "work" : err.msg);
    add(r, "shifted ids", idmap, /* required= */ true,
        "Put the state directory on ext4, xfs or btrfs.",
        idmap ? "the state directory's file system can"
              : "the state directory's file system cannot");
    add(r, "shifted /usr", e->idmap_usr, /* required= */ false,
        "Files of /usr show as owned by nobody inside.", e->idmap_usr ? "works" : "does not work");
}

static bool overlay_there(void)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf buf;

    smx_buf_init(&buf, 16384);
    if (smx_read_file_at(AT_FDCWD, "/proc/filesystems", &buf, NULL) < 0)
        return false;
    if (buf.data && strstr(buf.data, "\toverlay\n"))
        return true;
    return access("/sys/module/overlay", F_OK) == 0;
}

static void check_limits(struct engine *e, struct report *r)
{
    unsigned has = e->cgroups.has;
    static const char hint[] =
        "Mount the control group hierarchies and let the server write there; "
        "until then this limit is soft.";

    add(r, "control groups", e->cgroups.n > 0, /* required= */ false, hint, "layout: %s",
        e->cgroups.layout);
    add(r, "memory limit", has & CG_MEMORY, /* required= */ false, hint, "%s",
        has & CG_MEMORY ? "hard" : "soft: per process");
    add(r, "cpu limit", has & CG_CPU, /* required= */ false, hint, "%s",
        has & CG_CPU ? "hard" : "none");
    add(r, "process limit", has & CG_PIDS, /* required= */ false, hint, "%s",
        has & CG_PIDS ? "hard" : "soft: per user");
    add(r, "pause", has & CG_FREEZE, /* required= */ false, hint, "%s",
        has & CG_FREEZE ? "by the freezer" : "not possible");
    add(r, "fast joining", e->cgroups.dynmods_fd >= 0 || e->cgroups.n == 0, /* required= */ false,
        "Creating sandboxes takes about 10 ms longer on an idle host.", "%s",
        e->cgroups.dynmods_fd >= 0 ? "favordynmods is in force" : "favordynmods is not known");
}

static void check_files(struct engine *e, struct report *r)
{
    struct stat st;
    struct smx_err err = { 0 };
    int x;

    add(r, "overlay", overlay_there(), /* required= */ true, "Load the module: modprobe overlay.",
        "%s", overlay_there() ? "known to the kernel" : "not known to the kernel");
    x = fstat(e->agent_fd, &st);
    add(r, "agent", x == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0001), /* required= */ true,
        "Install sandmux-agent beside sandmux-engine, executable for everybody.", "%.100s",
        e->cfg.agent_path ? e->cfg.agent_path : "(none)");
    x = lstat("/bin", &st);
    add(r, "template base", e->base.fd >= 0 && x == 0 && S_ISLNK(st.st_mode), /* required= */ true,
        "The host needs /bin, /sbin and /lib as links into /usr (Debian: package usrmerge).",
        "generation %s", e->base.generation);
    x = disk_check_reserve(e, &err);
    add(r, "disk", x == 0, /* required= */ false, "Free disk space on the host.", "%s",
        x == 0 ? "above the host's reserve; limits are soft: looked at by the engine" : err.msg);
}

void report_checks(struct engine *e, struct report *r)
{
    r->n = 0;
    check_privilege(r);
    check_kernel(r);
    check_namespaces(e, r);
    check_limits(e, r);
    check_files(e, r);
}

static void most_of(struct engine *e, struct engine_resources *ret)
{
    struct sysinfo si;
    struct statvfs st;

    if (sysinfo(&si) == 0)
        ret->memory_mib = (uint64_t)si.totalram * si.mem_unit >> 20;
    if (fstatvfs(e->boxes_fd, &st) == 0)
        ret->disk_mib = st.f_blocks * st.f_frsize >> 20;
    ret->cpu_milli = (uint64_t)get_nprocs() * 1000;
    ret->pids = 32768;
}

void report_probe(struct engine *e)
{
    struct report *r = smx_alloc(sizeof *r);

    smx_free(e->why);
    e->why = NULL;
    if (!r)
        return;
    report_checks(e, r);
    most_of(e, &e->most);
    for (size_t i = 0; i < r->n && !e->why; i++)
        if (r->checks[i].required && !r->checks[i].ok)
            e->why = smx_asprintf("%s: %s", r->checks[i].name, r->checks[i].detail);
    smx_free(r);
}

void report_hello(struct engine *e, struct engine_hello *ret)
{
    static char *templates[] = { NULL, NULL };
    unsigned hard = CG_MEMORY | CG_CPU | CG_PIDS;

    templates[0] = e->base.name;
    *ret = (struct engine_hello){ .version = ENGINE_WIRE_VERSION,
        .instance = text_of(e->cfg.instance),
        .build = text_of(SMX_VERSION),
        .ready = !e->why,
        .why = e->why,
        .limits = text_of((e->cgroups.has & hard) == hard ? "hard" : "soft"),
        .disk = text_of("soft"),
        .cgroup = text_of(e->cgroups.layout),
        .pause = e->cgroups.has & CG_FREEZE,
        .idmap = e->idmap_usr,
        .sandboxes = e->boxes.count,
        .defaults = e->cfg.defaults,
        .templates = { .v = templates, .n = 1 } };
    ret->max = e->most;
}
