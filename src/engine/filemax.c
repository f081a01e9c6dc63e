/* filemax.c - see filemax.h. */
#include "engine/filemax.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

static const char node[] = "/proc/sys/fs/file-max";

unsigned long filemax_raised(unsigned long now)
{
    return now < LONG_MAX / 2 ? LONG_MAX - now : 0;
}

/* LONG_MAX itself is what systemd writes. */
unsigned long filemax_restored(unsigned long now)
{
    return now > LONG_MAX / 2 && now < LONG_MAX ? LONG_MAX - now : 0;
}

static bool read_now(unsigned long *ret)
{
    SMX_CLEANUP(smx_closep) int fd = open(node, O_RDONLY | O_CLOEXEC);
    char text[32];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    uint64_t value;

    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n <= 0 || !smx_parse_u64((struct smx_view){ text, (size_t)n }, ULONG_MAX, &value))
        return false;
    *ret = (unsigned long)value;
    return true;
}

/* Under the lock that all engines of the host share. */
static void change(struct slots *s, unsigned long (*to)(unsigned long now))
{
    struct smx_err err = { 0 };
    unsigned long now, then;
    char text[32];

    flock(s->lock_fd, LOCK_EX);
    then = read_now(&now) ? to(now) : 0;
    snprintf(text, sizeof text, "%lu", then);
    if (then > 0 && smx_write_node_at(AT_FDCWD, node, text, &err) < 0)
        smx_warn("fs.file-max stays at %lu: %s", now, err.msg);
    flock(s->lock_fd, LOCK_UN);
}

void filemax_raise(struct slots *s)
{
    change(s, filemax_raised);
}

void filemax_restore(struct slots *s)
{
    if (!slots_of_others(s))
        change(s, filemax_restored);
}
