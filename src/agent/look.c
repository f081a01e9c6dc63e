/* look.c - lstat() of many names.
 *
 * Most of a long list's time is the kernel's look at each name, so a second processor takes a part
 * of it: a thread that begins and ends inside look_at_all(), for the agent has none otherwise. It
 * shares everything with ours, also the thread's own storage, and so it makes raw system calls only
 * and touches no memory but the job; a thread, unlike a child, cannot be stopped by the sandbox's
 * root. Names are handed out in small pieces: if the second processor is busy, we do them all. */
#include "agent/look.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/raw.h"
#include "base/mem.h"

enum { PIECE = 16, WORTH_A_THREAD = 192, STACK_SIZE = 16 * 1024 };

struct job {
    char *const *paths;
    struct look *looks;
    size_t n, next; /* next: of both threads */
    int running;    /* the second thread; cleared by the kernel at its end */
};

int look_at(const char *path, struct look *ret)
{
    struct stat st;
    long r = raw_syscall(SYS_newfstatat, AT_FDCWD, (long)path, (long)&st, AT_SYMLINK_NOFOLLOW, 0);

    if (r < 0) {
        ret->error = (int)-r;
        return ret->error;
    }
    ret->error = 0;
    ret->mode = st.st_mode;
    ret->uid = st.st_uid;
    ret->gid = st.st_gid;
    ret->size = st.st_size;
    ret->mtime = st.st_mtim;
    return 0;
}

static void work(struct job *j)
{
    size_t at;

    while ((at = __atomic_fetch_add(&j->next, PIECE, __ATOMIC_RELAXED)) < j->n)
        for (size_t i = at; i < j->n && i < at + PIECE; i++)
            look_at(j->paths[i], &j->looks[i]);
}

static int second_main(void *arg)
{
    work(arg);
    raw_syscall(SYS_exit, 0, 0, 0, 0, 0); /* of this thread: returning would end the agent */
    return 0;
}

static bool two_processors(void)
{
#ifdef __SANITIZE_THREAD__ /* it keeps its own state of a thread where ours is shared */
    return false;
#else
    static int count;
    cpu_set_t set;

    if (count == 0)
        count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 1;
#endif
}

static void begin_second(struct job *j, char *stack)
{
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                      CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;

    j->running = 1;
    if (clone(second_main, stack + STACK_SIZE, flags, j, /* parent_tid= */ NULL, /* tls= */ NULL,
            &j->running) < 0)
        j->running = 0; /* the sandbox's limit of processes: we are enough */
}

static void end_second(struct job *j)
{
    while (__atomic_load_n(&j->running, __ATOMIC_ACQUIRE))
        raw_syscall(SYS_futex, (long)&j->running, FUTEX_WAIT, 1, 0, 0); /* no time limit */
}

void look_at_all(char *const *paths, size_t n, struct look *ret)
{
    struct job j = { .paths = paths, .looks = ret, .n = n };
    SMX_CLEANUP(smx_freep) char *stack = NULL;

    if (n >= WORTH_A_THREAD && two_processors())
        stack = smx_alloc(STACK_SIZE);
    if (stack)
        begin_second(&j, stack);
    work(&j);
    end_second(&j);
}
