/* test_look.c - many names looked at: the same answers with a second thread and without one. */
#include "agent/look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"

enum { NAMES = 1000, NOBODY = 65534 };

struct fixture {
    char dir[64], names[NAMES][16], *paths[NAMES];
    struct look looks[NAMES];
};

/* Name i is a file of i bytes; each seventh is a link, each eleventh is missing. */
static bool make(struct fixture *f)
{
    snprintf(f->dir, sizeof f->dir, "/tmp/smx-test-look-XXXXXX");
    if (!mkdtemp(f->dir) || chmod(f->dir, 0755) < 0 || chdir(f->dir) < 0)
        return false;
    for (int i = 0; i < NAMES; i++) {
        int fd;

        snprintf(f->names[i], sizeof f->names[i], "n%d", i);
        f->paths[i] = f->names[i];
        if (i % 11 == 0)
            continue;
        if (i % 7 == 0 && symlink("/nowhere", f->names[i]) < 0)
            return false;
        if (i % 7 == 0)
            continue;
        fd = open(f->names[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, i) < 0 || close(fd) < 0)
            return false;
    }
    return true;
}

static void clear(struct fixture *f)
{
    for (int i = 0; i < NAMES; i++)
        unlink(f->names[i]);
    if (chdir("/") < 0 || rmdir(f->dir) < 0)
        perror(f->dir);
}

/* Index of the first wrong answer; NAMES: none. */
static int wrong(const struct fixture *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct look *l = &f->looks[i];
        struct stat st;

        if (lstat(f->names[i], &st) < 0
                ? l->error != errno
                : l->error != 0 || l->mode != st.st_mode || l->uid != st.st_uid ||
                      l->gid != st.st_gid || l->size != st.st_size ||
                      memcmp(&l->mtime, &st.st_mtim, sizeof l->mtime) != 0)
            return (int)i;
    }
    return NAMES;
}

static int look_at_first(struct fixture *f, size_t n)
{
    memset(f->looks, 0xee, sizeof f->looks);
    look_at_all(f->paths, n, f->looks);
    return wrong(f, n);
}

/* In a child where the kernel refuses one more thread. */
static int look_alone(struct fixture *f)
{
    static const struct rlimit none = { 0, 0 };
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(2);
        _exit(setrlimit(RLIMIT_NPROC, &none) < 0 || look_at_first(f, NAMES) != NAMES);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

TEST(every_name_gets_what_lstat_says)
{
    static struct fixture f;
    static const size_t counts[] = { 0, 1, 17, 191, 192, 193, 999, NAMES };

    ASSERT_TRUE(make(&f));
    for (size_t i = 0; i < SMX_ARRAY_LEN(counts); i++)
        ASSERT_EQ(look_at_first(&f, counts[i]), NAMES);
    for (int i = 0; i < 50; i++)
        ASSERT_EQ(look_at_first(&f, NAMES), NAMES);
    ASSERT_EQ(look_alone(&f), 0);
    clear(&f);
}
