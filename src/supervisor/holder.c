/* holder.c - names the process that listens on a TCP port, from /proc: the port's socket inode in
 * /proc/net/tcp{,6}, then the process that has it open. Best effort: without the right to look into
 * other users' processes the answer is empty. */
#include "supervisor/internal.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { TABLE_MAX = 8 * 1024 * 1024, TCP_LISTEN_STATE = 0x0a };

static unsigned long long listening_inode(const char *line, uint16_t port)
{
    unsigned local, state;
    unsigned long long inode;

    if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*d %*d %llu",
            &local, &state, &inode) != 3)
        return 0;
    return local == port && state == TCP_LISTEN_STATE ? inode : 0;
}

static unsigned long long find_inode(const char *table, uint16_t port)
{
    struct smx_buf text;
    unsigned long long inode = 0;

    smx_buf_init(&text, TABLE_MAX);
    if (smx_read_file_at(AT_FDCWD, table, &text, NULL) == 0 && text.data) {
        for (char *line = text.data; line && !inode; line = strchr(line, '\n')) {
            line += *line == '\n';
            inode = listening_inode(line, port);
        }
    }
    smx_buf_done(&text);
    return inode;
}

/* True when some descriptor below dir is that socket. */
static bool has_socket(const char *dir, const char *want)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    bool found = false;

    while (d && !found && (e = readdir(d))) {
        char target[64];
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);

        if (n > 0) {
            target[n] = 0;
            found = smx_streq(target, want);
        }
    }
    if (d)
        closedir(d);
    return found;
}

static void describe(const char *pid, char *out, size_t size)
{
    char path[64], name[32] = "?";
    struct smx_buf text;

    smx_buf_init(&text, 256);
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    if (smx_read_file_at(AT_FDCWD, path, &text, NULL) == 0 && text.len)
        snprintf(name, sizeof name, "%.*s", (int)strcspn(text.data, "\n"), text.data);
    smx_buf_done(&text);
    snprintf(out, size, "%.20s (%s)", pid, name);
}

static void find_process(unsigned long long inode, char *out, size_t size)
{
    DIR *proc = opendir("/proc");
    struct dirent *e;
    char want[64];

    snprintf(want, sizeof want, "socket:[%llu]", inode);
    while (proc && !*out && (e = readdir(proc))) {
        char dir[64];

        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        snprintf(dir, sizeof dir, "/proc/%.20s/fd", e->d_name);
        if (has_socket(dir, want))
            describe(e->d_name, out, size);
    }
    if (proc)
        closedir(proc);
}

void holder_of_port(uint16_t port, char *out, size_t size)
{
    unsigned long long inode = find_inode("/proc/net/tcp", port);

    *out = 0;
    if (!inode)
        inode = find_inode("/proc/net/tcp6", port);
    if (inode)
        find_process(inode, out, size);
}
