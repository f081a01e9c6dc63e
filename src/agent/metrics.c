/* metrics.c - readings of /proc and of the root file system. Values that cannot be read are 0. */
#include "agent/metrics.h"

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

/* Percent of all processors since the previous reading; since boot at the first. */
static double cpu_used(struct metrics *m)
{
    unsigned long long v[8] = { 0 };
    uint64_t total = 0, idle, busy, total_delta, busy_delta, hundredths;
    char text[512];

    if (!read_text("/proc/stat", text, sizeof text) ||
        sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3],
            &v[4], &v[5], &v[6], &v[7]) < 5)
        return 0;
    for (int i = 0; i < 8; i++)
        total += v[i];
    idle = v[3] + v[4];
    busy = total - idle;
    total_delta = total - m->total;
    busy_delta = busy - m->busy;
    m->total = total;
    m->busy = busy;
    if (total_delta == 0 || busy_delta > total_delta)
        return 0;
    hundredths = busy_delta * 10000 / total_delta; /* no more digits than the protocol's examples */
    return (double)hundredths / 100;
}

/* Bytes of a row of /proc/meminfo. */
static uint64_t meminfo(const char *text, const char *name)
{
    const char *row = strstr(text, name);
    unsigned long long kib = 0;

    if (row && sscanf(row + strlen(name), ": %llu", &kib) != 1)
        kib = 0;
    return kib * 1024;
}

static void read_memory(struct envd_metrics *ret)
{
    char text[4096];
    uint64_t available;

    if (!read_text("/proc/meminfo", text, sizeof text))
        return;
    ret->mem_total = meminfo(text, "MemTotal");
    available = meminfo(text, "MemAvailable");
    ret->mem_used = ret->mem_total > available ? ret->mem_total - available : 0;
    ret->mem_cache = meminfo(text, "\nCached");
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

void metrics_read(struct metrics *m, struct envd_metrics *ret)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    memset(ret, 0, sizeof *ret);
    ret->ts = smx_now_unix_ms() / 1000;
    ret->cpu_count = n > 0 ? (uint64_t)n : 1;
    ret->cpu_used_pct = cpu_used(m);
    read_memory(ret);
    read_disk(ret);
}
