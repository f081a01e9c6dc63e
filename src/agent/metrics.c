/* metrics.c - readings of /proc and of the root file system. Values that cannot be read are 0. */
#include "agent/metrics.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

static bool read_text(const char *path, char *text, size_t size)
{
    SMX_CLEANUP(smx_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : smx_read_full(fd, text, size - 1);

    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* --- processes ---------------------------------------------------------------------------------
 */

struct usage {
    uint64_t ticks; /* of processor time: of all that live, and of the children they waited for */
    uint64_t pages; /* resident and not shared with a file */
};

/* The command's name is the process's own: its end is the last parenthesis. */
static void add_ticks(const char *stat, struct usage *u)
{
    unsigned long long v[4];
    const char *p = strrchr(stat, ')');

    if (p && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu",
                 &v[0], &v[1], &v[2], &v[3]) == 4)
        u->ticks += v[0] + v[1] + v[2] + v[3];
}

static void add_process(const char *pid, struct usage *u)
{
    unsigned long long resident, shared;
    char path[64], text[1024];

    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    if (read_text(path, text, sizeof text))
        add_ticks(text, u);
    snprintf(path, sizeof path, "/proc/%.20s/statm", pid);
    if (read_text(path, text, sizeof text) &&
        sscanf(text, "%*u %llu %llu", &resident, &shared) == 2 && resident > shared)
        u->pages += resident - shared;
}

static struct usage add_up(void)
{
    struct usage u = { 0 };
    DIR *dir = opendir("/proc");
    struct dirent *e;

    while (dir && (e = readdir(dir)))
        if (isdigit((unsigned char)e->d_name[0]))
            add_process(e->d_name, &u);
    if (dir)
        closedir(dir);
    return u;
}

/* Percent of the processors since the previous reading; 0 at the first. */
static double cpu_used(struct metrics *m, uint64_t ticks, uint64_t milli)
{
    uint64_t now = smx_now_ns(), hz = (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t spent_ns = now - m->at_ns, busy = ticks > m->ticks ? ticks - m->ticks : 0;
    bool first = m->at_ns == 0;
    uint64_t hundredths;

    m->ticks = ticks;
    m->at_ns = now;
    if (first || spent_ns == 0 || hz == 0 || milli == 0)
        return 0;
    /* no more digits than the protocol's examples */
    hundredths =
        (uint64_t)((double)busy / (double)hz * 1e9 / (double)spent_ns * 1e7 / (double)milli);
    return (double)SMX_MIN(hundredths, UINT64_C(10000)) / 100;
}

/* --- memory and disk ---------------------------------------------------------------------------
 */

/* Bytes of a row of /proc/meminfo. */
static uint64_t meminfo(const char *text, const char *name)
{
    const char *row = strstr(text, name);
    unsigned long long kib = 0;

    if (row && sscanf(row + strlen(name), ": %llu", &kib) != 1)
        kib = 0;
    return kib * 1024;
}

static void read_host_memory(struct envd_metrics *ret)
{
    char text[4096];
    uint64_t available;

    if (!read_text("/proc/meminfo", text, sizeof text))
        return;
    ret->mem_total = meminfo(text, "MemTotal");
    available = meminfo(text, "MemAvailable");
    ret->mem_used = ret->mem_total > available ? ret->mem_total - available : 0;
    ret->mem_cache = meminfo(text, "\nCached");
}

/* Files in memory count, too. */
static uint64_t tmpfs_bytes(const char *path)
{
    struct statvfs v;

    return statvfs(path, &v) == 0 ? (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize : 0;
}

static void read_memory(uint64_t limit, uint64_t pages, struct envd_metrics *ret)
{
    if (limit > 0) {
        ret->mem_total = limit;
        ret->mem_used =
            SMX_MIN(pages * (uint64_t)sysconf(_SC_PAGESIZE) + tmpfs_bytes("/dev/shm"), limit);
    } else {
        read_host_memory(ret);
    }
    ret->mem_total_mib = ret->mem_total >> 20;
    ret->mem_used_mib = ret->mem_used >> 20;
}

static void read_disk(struct envd_metrics *ret)
{
    struct statvfs v;

    if (statvfs("/", &v) < 0)
        return;
    ret->disk_total = (uint64_t)v.f_blocks * v.f_frsize;
    ret->disk_used = (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
}

void metrics_read(
    struct metrics *m, const struct envd_init_request *limits, struct envd_metrics *ret)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t online = n > 0 ? (uint64_t)n : 1;
    uint64_t milli = limits->cpu_milli ? limits->cpu_milli : online * 1000;
    struct usage u = add_up();

    memset(ret, 0, sizeof *ret);
    ret->ts = smx_now_unix_ms() / 1000;
    ret->cpu_count = (milli + 999) / 1000;
    ret->cpu_used_pct = cpu_used(m, u.ticks, milli);
    read_memory(limits->memory_bytes, u.pages, ret);
    read_disk(ret);
}
