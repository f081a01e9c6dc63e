/* kill.c - process trees by /proc. A child that left the session (setsid) is found as a descendant,
 * a child whose parent died as a member of the session. All are collected before the first is
 * killed: the death of a parent hides the children that left the session. */
#include "agent/kill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

enum { ROUNDS = 16 };

struct row {
    pid_t pid, parent, session;
    bool doomed, dead;
};
struct rows {
    struct row *v;
    size_t n, room;
};

/* pid (comm) state ppid pgrp session ...; comm may hold anything, so from the last ')'. */
static bool read_row(int proc, const char *name, struct row *ret)
{
    char path[32], text[512], *close;
    int parent, group, session;
    uint64_t pid;
    char state;
    ssize_t n;

    if (!smx_parse_u64(smx_view_of(name), INT32_MAX, &pid))
        return false;
    snprintf(path, sizeof path, "%.10s/stat", name);
    SMX_CLEANUP(smx_closep) int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    close = strrchr(text, ')');
    if (!close || sscanf(close + 1, " %c %d %d %d", &state, &parent, &group, &session) != 4)
        return false;
    *ret = (struct row){ .pid = (pid_t)pid,
        .parent = parent,
        .session = session,
        .dead = state == 'Z' || state == 'X' };
    return true;
}

static bool add_row(struct rows *r, const struct row *row)
{
    if (r->n == r->room) {
        size_t room = r->room ? r->room * 2 : 64;
        struct row *v = smx_realloc(r->v, room * sizeof *v);

        if (!v)
            return false;
        r->v = v;
        r->room = room;
    }
    r->v[r->n++] = *row;
    return true;
}

static void list_processes(struct rows *r)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    struct row row;

    if (!dir)
        return;
    while ((e = readdir(dir)))
        if (read_row(dirfd(dir), e->d_name, &row) && !add_row(r, &row))
            break;
    closedir(dir);
}

static int by_pid(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool has_doomed_parent(const struct rows *r, const struct row *row)
{
    struct row key = { .pid = row->parent };
    const struct row *parent = bsearch(&key, r->v, r->n, sizeof key, by_pid);

    return parent && parent->doomed;
}

static void mark(struct rows *r, pid_t leader)
{
    bool more = true;

    if (r->n > 0)
        qsort(r->v, r->n, sizeof *r->v, by_pid);
    for (size_t i = 0; i < r->n; i++)
        r->v[i].doomed = r->v[i].pid == leader || r->v[i].session == leader;
    while (more && r->n > 0) {
        more = false;
        for (size_t i = 0; i < r->n; i++) {
            if (!r->v[i].doomed && has_doomed_parent(r, &r->v[i]))
                r->v[i].doomed = more = true;
        }
    }
}

void kill_tree(pid_t leader)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct rows r = { 0 };
        size_t killed = 0;

        list_processes(&r);
        mark(&r, leader);
        for (size_t i = 0; i < r.n; i++)
            if (r.v[i].doomed && !r.v[i].dead && r.v[i].pid != getpid() &&
                kill(r.v[i].pid, SIGKILL) == 0)
                killed++;
        smx_free(r.v);
        kill(leader, SIGKILL);
        kill(-leader, SIGKILL);
        if (killed == 0)
            break;
    }
}

void kill_signal_name(int signo, char text[KILL_NAME_SIZE])
{
    /* What ends a process by default; the rest by number. */
    static const struct {
        int signo;
        const char *name;
    } names[] = { { SIGHUP, "hangup" }, { SIGINT, "interrupt" }, { SIGQUIT, "quit" },
        { SIGILL, "illegal instruction" }, { SIGTRAP, "trace/breakpoint trap" },
        { SIGABRT, "aborted" }, { SIGBUS, "bus error" }, { SIGFPE, "floating point exception" },
        { SIGKILL, "killed" }, { SIGUSR1, "user defined signal 1" },
        { SIGSEGV, "segmentation fault" }, { SIGUSR2, "user defined signal 2" },
        { SIGPIPE, "broken pipe" }, { SIGALRM, "alarm clock" }, { SIGTERM, "terminated" },
        { SIGSTKFLT, "stack fault" }, { SIGXCPU, "CPU time limit exceeded" },
        { SIGXFSZ, "file size limit exceeded" }, { SIGVTALRM, "virtual timer expired" },
        { SIGPROF, "profiling timer expired" }, { SIGIO, "I/O possible" },
        { SIGPWR, "power failure" }, { SIGSYS, "bad system call" } };

    snprintf(text, KILL_NAME_SIZE, "signal %d", signo);
    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++)
        if (names[i].signo == signo)
            smx_strcpy(text, KILL_NAME_SIZE, names[i].name);
}
