/* cgroup.c - see cgroup.h.
 *
 * Invariants: a group exists under the same name in every hierarchy of the table; the v1 freezer is
 * used only where v2 has none, because a SIGKILL to what it froze waits for the thaw.
 *
 * Joining a group takes a lock that waits for an RCU grace period (8 ms on an idle host) unless
 * some hierarchy is mounted with "favordynmods": a detached mount of a named hierarchy, held as a
 * descriptor, is enough and shows up nowhere. */
#include "engine/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/str.h"

enum {
    NODE_MAX = 8192,
    PATH_SIZE = 128,
    LINE_SIZE = 2048,
    PIDS_MAX = 256 * 1024,
    DYNMODS_TRIES = 10,
    DYNMODS_WAIT_NS = 20 * 1000 * 1000
};

struct controller {
    const char *name;
    unsigned bit;
};

static const struct controller controllers[] = {
    { "memory", CG_MEMORY },
    { "cpu", CG_CPU },
    { "pids", CG_PIDS },
    { "freezer", CG_FREEZE },
    { "cpuacct", CG_ACCT },
};

/* --- finding out ----------------------------------------------------------------------------- */

static bool has_word(const char *list, const char *word, const char *separators)
{
    size_t n = strlen(word);

    for (const char *p = list; (p = strstr(p, word)) != NULL; p += n) {
        bool starts = p == list || strchr(separators, p[-1]);

        if (starts && (!p[n] || strchr(separators, p[n])))
            return true;
    }
    return false;
}

/* The bits that a v1 mount with these super block options serves. */
static unsigned v1_serves(const char *options)
{
    unsigned bits = 0;

    for (size_t i = 0; i < SMX_ARRAY_LEN(controllers); i++)
        if (has_word(options, controllers[i].name, ", \n"))
            bits |= controllers[i].bit;
    return bits;
}

static int open_or_make(int at, const char *name)
{
    if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
        return -1;
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Reads a small node; false when it is not there. */
static bool read_node(int at, const char *path, char *text, size_t size)
{
    SMX_CLEANUP(smx_closep) int fd = openat(at, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : smx_read_full(fd, text, size - 1);

    text[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* Lets the children of a v2 directory have memory, cpu and pids; the bits that they got. */
static unsigned delegate(int dir)
{
    static const char *const names[] = { "memory", "cpu", "pids" };
    char have[512], text[32];
    unsigned bits = 0;

    if (!read_node(dir, "cgroup.controllers", have, sizeof have))
        return 0;
    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++) {
        snprintf(text, sizeof text, "+%s", names[i]);
        if (has_word(have, names[i], " \n") &&
            smx_write_node_at(dir, "cgroup.subtree_control", text, NULL) == 0)
            bits |= v1_serves(names[i]);
    }
    return bits;
}

static unsigned v2_serves(int root, int top, int dir)
{
    unsigned bits = delegate(root) & delegate(top) & delegate(dir);

    bits |= CG_ACCT; /* cpu.stat of v2 needs no controller */
    if (faccessat(dir, "cgroup.freeze", W_OK, 0) == 0)
        bits |= CG_FREEZE;
    if (faccessat(dir, "cgroup.kill", W_OK, 0) == 0)
        bits |= CG_KILL;
    return bits;
}

/* Opens <mount>/sandmux/<instance> and keeps what it serves beyond what others serve already. */
static void add_hierarchy(struct cgroups *cg, const char *mount_point, unsigned serves, bool v2)
{
    SMX_CLEANUP(smx_closep) int root = open(mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    SMX_CLEANUP(smx_closep) int top = -1;
    SMX_CLEANUP(smx_closep) int dir = -1;

    if (root < 0 || cg->n == CG_HIERARCHIES_MAX)
        return;
    top = open_or_make(root, "sandmux");
    if (top < 0)
        return;
    dir = open_or_make(top, cg->instance);
    if (dir < 0)
        return;
    if (v2) {
        serves = v2_serves(root, top, dir);
        cg->unified = (int)cg->n;
    }
    cg->has |= serves;
    cg->h[cg->n++] = (struct cgroup_hierarchy){
        .fd = smx_take_fd(&dir), .top_fd = smx_take_fd(&top), .serves = serves, .v2 = v2
    };
}

struct mount_line {
    char point[512];
    char type[32];
    char options[512];
};

/* "36 35 98:0 /root /point opts optional... - type source super-options" */
static bool parse_mount(const char *line, struct mount_line *m)
{
    const char *dash = strstr(line, " - ");

    if (!dash || sscanf(line, "%*s %*s %*s %*s %511s", m->point) != 1)
        return false;
    return sscanf(dash + 3, "%31s %*s %511s", m->type, m->options) == 2;
}

typedef void(mount_fn)(struct cgroups *cg, const struct mount_line *m);

static int each_cgroup_mount(struct cgroups *cg, mount_fn *fn)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[LINE_SIZE];
    struct mount_line m;

    if (!f)
        return -errno;
    while (fgets(line, sizeof line, f))
        if (parse_mount(line, &m) && smx_starts(m.type, "cgroup"))
            fn(cg, &m);
    fclose(f);
    return 0;
}

static void add_v2(struct cgroups *cg, const struct mount_line *m)
{
    if (smx_streq(m->type, "cgroup2") && cg->unified < 0)
        add_hierarchy(cg, m->point, 0, /* v2= */ true);
}

static void add_v1(struct cgroups *cg, const struct mount_line *m)
{
    unsigned serves = v1_serves(m->options) & ~cg->has;

    if (smx_streq(m->type, "cgroup") && serves)
        add_hierarchy(cg, m->point, serves, /* v2= */ false);
}

static const char *layout_of(const struct cgroups *cg)
{
    if (cg->n == 0)
        return "none";
    if (cg->unified < 0)
        return "v1";
    return cg->n == 1 ? "v2" : "hybrid";
}

/* *ret_again: the kernel knows the option and did not take it now. */
static int try_dynmods(bool *ret_again)
{
    SMX_CLEANUP(smx_closep) int fs = fsopen("cgroup", FSOPEN_CLOEXEC);

    *ret_again = false;
    if (fs < 0 || fsconfig(fs, FSCONFIG_SET_FLAG, "none", NULL, 0) < 0 ||
        fsconfig(fs, FSCONFIG_SET_STRING, "name", "sandmux", 0) < 0 ||
        fsconfig(fs, FSCONFIG_SET_FLAG, "favordynmods", NULL, 0) < 0)
        return -1;
    *ret_again = true;
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return fsmount(fs, FSMOUNT_CLOEXEC, 0);
}

/* The hierarchy of an engine that has just ended may still be on its way out. */
static int hold_dynmods(void)
{
    bool again = true;
    int fd = -1;

    for (unsigned i = 0; i < DYNMODS_TRIES && again && fd < 0; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){ .tv_nsec = DYNMODS_WAIT_NS }, NULL);
        fd = try_dynmods(&again);
    }
    return fd;
}

int cgroups_init(struct cgroups *cg, const char *instance, struct smx_err *err)
{
    *cg = (struct cgroups){ .unified = -1, .dynmods_fd = -1 };
    if (!smx_name_valid(instance))
        return smx_err_set(err, SMX_E_INVALID, "instance: not a valid name");
    smx_strcpy(cg->instance, sizeof cg->instance, instance);
    each_cgroup_mount(cg, add_v2);
    each_cgroup_mount(cg, add_v1);
    cg->layout = layout_of(cg);
    cg->dynmods_fd = hold_dynmods();
    return 0;
}

void cgroups_done(struct cgroups *cg, bool remove)
{
    for (unsigned i = 0; i < cg->n; i++) {
        int root = remove ? openat(cg->h[i].top_fd, "..", O_PATH | O_CLOEXEC) : -1;

        if (remove)
            unlinkat(cg->h[i].top_fd, cg->instance, AT_REMOVEDIR);
        if (root >= 0)
            unlinkat(root, "sandmux", AT_REMOVEDIR);
        smx_close(root);
        smx_close(cg->h[i].fd);
        smx_close(cg->h[i].top_fd);
    }
    smx_close(cg->dynmods_fd);
    *cg = (struct cgroups){ .unified = -1, .dynmods_fd = -1 };
}

/* --- one group ------------------------------------------------------------------------------- */

static const struct cgroup_hierarchy *serving(const struct cgroups *cg, unsigned bit)
{
    for (unsigned i = 0; i < cg->n; i++)
        if (cg->h[i].serves & bit)
            return &cg->h[i];
    return NULL;
}

static int write_node(
    const struct cgroup_hierarchy *h, const char *id, const char *node, const char *text)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s/%s", id, node);
    errno = 0;
    return smx_write_node_at(h->fd, path, text, NULL) < 0 ? -(errno ? errno : EIO) : 0;
}

static bool read_group(
    const struct cgroup_hierarchy *h, const char *id, const char *node, char *text, size_t size)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s/%s", id, node);
    return read_node(h->fd, path, text, size);
}

int cgroup_prepare(struct cgroups *cg, const char *id, int *ret_fd, struct smx_err *err)
{
    *ret_fd = -1;
    if (cg->unified < 0 || cg->dynmods_fd >= 0)
        return 0;
    *ret_fd = open_or_make(cg->h[cg->unified].fd, id);
    if (*ret_fd < 0)
        return smx_err_errno(err, errno, "making the control group");
    return 0;
}

struct limit {
    unsigned bit;
    bool v2;
    bool optional;
    const char *node;
    char value[32];
};

static int set_limits(
    struct cgroups *cg, const char *id, const struct engine_resources *res, struct smx_err *err)
{
    unsigned long long mem = res->memory_mib << 20, quota = res->cpu_milli * 100;
    struct limit limits[] = {
        { .bit = CG_MEMORY, .node = "memory.limit_in_bytes" },
        { .bit = CG_MEMORY, .node = "memory.memsw.limit_in_bytes", .optional = true },
        { .bit = CG_MEMORY, .v2 = true, .node = "memory.max" },
        { .bit = CG_MEMORY, .v2 = true, .node = "memory.swap.max", .optional = true },
        { .bit = CG_CPU, .node = "cpu.cfs_quota_us" },
        { .bit = CG_CPU, .v2 = true, .node = "cpu.max" },
        { .bit = CG_PIDS, .node = "pids.max" },
        { .bit = CG_PIDS, .v2 = true, .node = "pids.max" },
    };

    for (int i = 0; i < 3; i++)
        snprintf(limits[i].value, sizeof limits[i].value, "%llu", mem);
    smx_strcpy(limits[3].value, sizeof limits[3].value, "0");
    snprintf(limits[4].value, sizeof limits[4].value, "%llu", quota);
    snprintf(limits[5].value, sizeof limits[5].value, "%llu 100000", quota);
    for (int i = 6; i < 8; i++)
        snprintf(limits[i].value, sizeof limits[i].value, "%llu", (unsigned long long)res->pids);
    for (size_t i = 0; i < SMX_ARRAY_LEN(limits); i++) {
        const struct cgroup_hierarchy *h = serving(cg, limits[i].bit);
        int r = h && h->v2 == limits[i].v2 ? write_node(h, id, limits[i].node, limits[i].value) : 0;

        if (r < 0 && !limits[i].optional)
            return smx_err_errno(err, -r, "setting %s to %s", limits[i].node, limits[i].value);
    }
    return 0;
}

int cgroup_add(struct cgroups *cg, const char *id, const struct engine_resources *res, pid_t pid,
    bool in_v2, struct smx_err *err)
{
    char number[16];
    int r;

    snprintf(number, sizeof number, "%d", (int)pid);
    for (unsigned i = 0; i < cg->n; i++)
        if (mkdirat(cg->h[i].fd, id, 0755) < 0 && errno != EEXIST)
            return smx_err_errno(err, errno, "making a control group");
    r = set_limits(cg, id, res, err);
    for (unsigned i = 0; r == 0 && i < cg->n; i++) {
        if (cg->h[i].v2 && in_v2)
            continue;
        r = write_node(&cg->h[i], id, "cgroup.procs", number);
        if (r < 0)
            r = smx_err_errno(err, -r, "joining a control group");
    }
    return r;
}

int cgroup_freeze(struct cgroups *cg, const char *id, bool on, struct smx_err *err)
{
    const struct cgroup_hierarchy *h = serving(cg, CG_FREEZE);
    int r;

    if (!h)
        return smx_err_set(err, SMX_E_UNSUPPORTED, "this host has no freezer control group");
    if (h->v2)
        r = write_node(h, id, "cgroup.freeze", on ? "1" : "0");
    else
        r = write_node(h, id, "freezer.state", on ? "FROZEN" : "THAWED");
    return r < 0 ? smx_err_errno(err, -r, "%s", on ? "freezing" : "thawing") : 0;
}

int cgroup_frozen(struct cgroups *cg, const char *id)
{
    const struct cgroup_hierarchy *h = serving(cg, CG_FREEZE);
    char text[256];

    if (!h || !read_group(h, id, h->v2 ? "cgroup.events" : "freezer.state", text, sizeof text))
        return -ENOENT;
    return strstr(text, h->v2 ? "frozen 1" : "FROZEN") != NULL;
}

int cgroup_signal(struct cgroups *cg, const char *id, int signo, pid_t except)
{
    char path[PATH_SIZE], line[32];
    int fd, count = 0;
    FILE *f;

    if (cg->n == 0)
        return -ENOENT;
    snprintf(path, sizeof path, "%s/cgroup.procs", id);
    fd = openat(cg->h[0].fd, path, O_RDONLY | O_CLOEXEC);
    f = fd < 0 ? NULL : fdopen(fd, "r");
    if (!f) {
        smx_close(fd);
        return -ENOENT;
    }
    while (count < PIDS_MAX && fgets(line, sizeof line, f)) {
        uint64_t pid;

        line[strcspn(line, "\n")] = '\0';
        if (!smx_parse_u64(smx_view_of(line), INT32_MAX, &pid) || pid == 0 || (pid_t)pid == except)
            continue;
        count++;
        if (signo > 0)
            kill((pid_t)pid, signo);
    }
    fclose(f);
    return count;
}

void cgroup_kill(struct cgroups *cg, const char *id)
{
    const struct cgroup_hierarchy *h = serving(cg, CG_KILL);

    if (h && write_node(h, id, "cgroup.kill", "1") == 0)
        return;
    /* Processes that fork meanwhile: pid 1 is among the killed and takes its namespace along. */
    for (int i = 0; i < 3 && cgroup_signal(cg, id, SIGKILL, 0) > 0; i++)
        cgroup_freeze(cg, id, /* on= */ false, NULL);
}

int cgroup_remove(struct cgroups *cg, const char *id)
{
    int r = 0;

    for (unsigned i = 0; i < cg->n; i++)
        if (unlinkat(cg->h[i].fd, id, AT_REMOVEDIR) < 0 && errno != ENOENT)
            r = -errno;
    return r;
}

/* --- figures --------------------------------------------------------------------------------- */

static bool node_u64(
    const struct cgroup_hierarchy *h, const char *id, const char *node, uint64_t *ret)
{
    char text[64];

    if (!read_group(h, id, node, text, sizeof text))
        return false;
    text[strcspn(text, "\n")] = '\0';
    return smx_parse_u64(smx_view_of(text), UINT64_MAX, ret);
}

/* The number after key in a flat keyed file. */
static bool keyed_u64(const struct cgroup_hierarchy *h, const char *id, const char *node,
    const char *key, uint64_t *ret)
{
    char text[NODE_MAX];
    size_t n = strlen(key);

    if (!read_group(h, id, node, text, sizeof text))
        return false;
    for (char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t len = strcspn(line, "\n");

        if (len > n + 1 && strncmp(line, key, n) == 0 && line[n] == ' ')
            return smx_parse_u64((struct smx_view){ line + n + 1, len - n - 1 }, UINT64_MAX, ret);
    }
    return false;
}

static uint64_t word_u64(const char *w, size_t n, const char *key)
{
    size_t k = strlen(key);
    uint64_t v;

    if (n <= k || strncmp(w, key, k) != 0)
        return 0;
    return smx_parse_u64((struct smx_view){ w + k, n - k }, UINT64_MAX, &v) ? v : 0;
}

/* Adds up rbytes= and wbytes= of io.stat. */
static void v2_io(const struct cgroup_hierarchy *h, const char *id, struct engine_stats *st)
{
    char text[NODE_MAX];

    if (!read_group(h, id, "io.stat", text, sizeof text))
        return;
    for (const char *w = text; *w; w += *w != '\0') {
        size_t n = strcspn(w, " \n");

        st->io_read_bytes += word_u64(w, n, "rbytes=");
        st->io_write_bytes += word_u64(w, n, "wbytes=");
        w += n;
    }
}

void cgroup_stats(struct cgroups *cg, const char *id, struct engine_stats *st)
{
    const struct cgroup_hierarchy *h = serving(cg, CG_MEMORY);
    uint64_t usec;

    if (h) {
        node_u64(h, id, h->v2 ? "memory.current" : "memory.usage_in_bytes", &st->memory_bytes);
        node_u64(
            h, id, h->v2 ? "memory.peak" : "memory.max_usage_in_bytes", &st->memory_peak_bytes);
        st->ooms = cgroup_ooms(cg, id);
    }
    h = serving(cg, CG_PIDS);
    if (h)
        node_u64(h, id, "pids.current", &st->pids);
    h = serving(cg, CG_ACCT);
    if (h && !h->v2)
        node_u64(h, id, "cpuacct.usage", &st->cpu_ns);
    else if (h && keyed_u64(h, id, "cpu.stat", "usage_usec", &usec))
        st->cpu_ns = usec * 1000;
    if (cg->unified >= 0)
        v2_io(&cg->h[cg->unified], id, st);
}

uint64_t cgroup_ooms(struct cgroups *cg, const char *id)
{
    const struct cgroup_hierarchy *h = serving(cg, CG_MEMORY);
    uint64_t n = 0;

    if (h)
        keyed_u64(h, id, h->v2 ? "memory.events" : "memory.oom_control", "oom_kill", &n);
    return n;
}

void cgroup_each(struct cgroups *cg, cgroup_each_fn *fn, void *arg)
{
    for (unsigned i = 0; i < cg->n; i++) {
        int fd = openat(cg->h[i].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);

        if (!d) {
            smx_close(fd);
            continue;
        }
        for (struct dirent *de; (de = readdir(d)) != NULL;)
            if (de->d_type == DT_DIR &&
                (smx_id_valid(de->d_name) || smx_starts(de->d_name, CG_READY)))
                fn(de->d_name, arg);
        closedir(d);
    }
}
