/* test_child.c - children and signals. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "io/test_util.h"

/* Arguments of exec are not const for reasons of history only. */
#define ARG(literal) ((char *)(uintptr_t)(literal))

static int start_program(struct io_child *c, char *const *argv, const int *fds, size_t nfds)
{
    struct io_child_spec spec = {
        .path = argv[0], .exec_fd = -1, .argv = argv, .fds = fds, .nfds = nfds
    };

    return io_child_spawn(c, &spec, /* err= */ NULL);
}

static int start(struct io_child *c, const char *script, const int *fds, size_t nfds)
{
    char *argv[] = { ARG("/bin/sh"), ARG("-c"), ARG(script), NULL };

    return start_program(c, argv, fds, nfds);
}

static const int quiet[] = { -1, -1, -1 };

FIBER_TEST(exit_code_is_reported)
{
    struct io_child c;
    int status = 0;

    ASSERT_EQ(start(&c, "exit 7", quiet, 3), 0);
    ASSERT_TRUE(c.pid > 0);
    ASSERT_EQ(io_child_wait(&c, &status, SMX_FOREVER), 0);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_EQ(WEXITSTATUS(status), 7);
    ASSERT_EQ(io_child_wait(&c, &status, 0), 0);
    ASSERT_EQ(WEXITSTATUS(status), 7);
    ASSERT_EQ(io_child_signal(&c, SIGTERM), -SMX_E_PROCESS_NOT_FOUND);
    io_child_done(&c);
    ASSERT_EQ(c.pid, -1);
}

FIBER_TEST(death_by_signal_is_reported)
{
    struct io_child c;
    int status = 0;

    ASSERT_EQ(start(&c, "sleep 100", quiet, 3), 0);
    ASSERT_EQ(io_child_wait(&c, &status, in_ms(5)), -SMX_E_TIMEOUT);
    ASSERT_EQ(io_child_signal(&c, SIGTERM), 0);
    ASSERT_EQ(io_child_wait(&c, &status, SMX_FOREVER), 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_EQ(WTERMSIG(status), SIGTERM);
    io_child_done(&c);
}

static int exec_error(const char *path, struct smx_err *err)
{
    char *argv[] = { ARG("x"), NULL };
    struct io_child_spec spec = { .path = path, .argv = argv, .fds = quiet, .nfds = 3 };
    struct io_child c;
    int r = io_child_spawn(&c, &spec, err);

    if (r == 0)
        io_child_done(&c);
    return c.pid == -1 && waitpid(-1, NULL, WNOHANG) == -1 ? r : 0;
}

FIBER_TEST(exec_failure_is_reported_and_leaves_nothing)
{
    struct smx_err err = { 0 };

    ASSERT_EQ(exec_error("/no/such/program", &err), -SMX_E_NOT_FOUND);
    ASSERT_EQ(err.os_errno, ENOENT);
    ASSERT_TRUE(strstr(err.msg, "/no/such/program") != NULL);
    ASSERT_EQ(exec_error("/etc/passwd", &err), -SMX_E_FORBIDDEN);
    ASSERT_EQ(err.os_errno, EACCES);
}

static int refuse(void *arg)
{
    return *(int *)arg;
}

FIBER_TEST(prepare_gives_up_with_its_errno)
{
    char *argv[] = { ARG("true"), NULL };
    int code = EDQUOT;
    struct io_child_spec spec = {
        .path = "/bin/true", .argv = argv, .fds = quiet, .nfds = 3, .prepare = refuse, .arg = &code
    };
    struct smx_err err = { 0 };
    struct io_child c;

    ASSERT_EQ(io_child_spawn(&c, &spec, &err), -SMX_E_DISK_FULL);
    ASSERT_EQ(err.os_errno, EDQUOT);
    ASSERT_EQ(c.pid, -1);
}

/* Everything a program printed, through a pipe. */
static void output_of(char *const *argv, char *out, size_t size)
{
    int p[2] = { -1, -1 }, status;
    struct io_child c;
    struct io_fd f;
    size_t n = 0;
    ssize_t r;

    ASSERT_EQ(pipe2(p, O_CLOEXEC), 0);
    ASSERT_EQ(start_program(&c, argv, (int[]){ -1, p[1], -1 }, 3), 0);
    smx_close(p[1]);
    ASSERT_EQ(io_fd_init(&f, p[0], /* err= */ NULL), 0);
    while (n + 1 < size && (r = io_read(&f, out + n, size - 1 - n, in_ms(10000), NULL)) > 0)
        n += (size_t)r;
    out[n] = '\0';
    ASSERT_EQ(io_child_wait(&c, &status, SMX_FOREVER), 0);
    io_child_done(&c);
    io_fd_done(&f);
}

/* Also descriptors that are not close-on-exec stay ours. The listing's own is the fourth. */
FIBER_TEST(no_descriptor_leaks_into_a_child)
{
    char out[256] = "";
    int leak = open("/dev/null", O_RDONLY), high = fcntl(leak, F_DUPFD, 500);

    output_of((char *[]){ ARG("/bin/ls"), ARG("/proc/self/fd"), NULL }, out, sizeof out);
    ASSERT_STR(out, "0\n1\n2\n3\n");
    smx_close(leak);
    smx_close(high);
}

/* A file with that content, unlinked. */
static int file_with(const char *text)
{
    char path[] = "/tmp/sandmux-test-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    unlink(path);
    if (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        smx_test_fail(__FILE__, __LINE__, "writing '%s'", path);
    return fd;
}

/* Ours are 0 for output and 1 for input; the child's 0 <- 1, 1 <- 0 and 2 <- 0. */
FIBER_TEST(descriptors_may_trade_places)
{
    int in = file_with("in"), out = file_with(""), status = -1;
    int saved[2] = { fcntl(0, F_DUPFD_CLOEXEC, 10), fcntl(1, F_DUPFD_CLOEXEC, 10) };
    struct io_child c;
    char text[16] = "";

    fflush(stdout);
    dup2(out, 0);
    dup2(in, 1);
    if (start(&c, "cat; echo err >&2", (int[]){ 1, 0, 0 }, 3) == 0) {
        io_child_wait(&c, &status, SMX_FOREVER);
        io_child_done(&c);
    }
    dup2(saved[0], 0);
    dup2(saved[1], 1);
    smx_close(saved[0]);
    smx_close(saved[1]);
    ASSERT_EQ(status, 0);
    ASSERT_EQ(pread(out, text, sizeof text, 0), 6);
    ASSERT_STR(text, "inerr\n");
    smx_close(in);
    smx_close(out);
}

static void nothing(int signo)
{
    (void)signo;
}

FIBER_TEST(child_starts_with_default_unblocked_signals)
{
    char out[256] = "";
    sigset_t set, old;

    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, nothing);
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, &old);
    output_of((char *[]){ ARG("/bin/grep"), ARG("-E"), ARG("Sig(Blk|Ign)"),
                  ARG("/proc/self/status"), NULL },
        out, sizeof out);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    ASSERT_STR(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

FIBER_TEST(environment_is_ours_or_what_is_given)
{
    char *argv[] = { ARG("sh"), ARG("-c"), ARG("test \"$A-$B\" = 1-"), NULL };
    char *envp[] = { ARG("A=1"), NULL };
    struct io_child_spec spec = {
        .path = "/bin/sh", .argv = argv, .envp = envp, .fds = quiet, .nfds = 3
    };
    struct io_child c;
    int status = -1;

    setenv("B", "2", 1);
    ASSERT_EQ(io_child_spawn(&c, &spec, /* err= */ NULL), 0);
    ASSERT_EQ(io_child_wait(&c, &status, SMX_FOREVER), 0);
    io_child_done(&c);
    ASSERT_EQ(status, 0);
    ASSERT_EQ(start(&c, "test \"$B\" = 2", quiet, 3), 0);
    ASSERT_EQ(io_child_wait(&c, &status, SMX_FOREVER), 0);
    io_child_done(&c);
    ASSERT_EQ(status, 0);
}

FIBER_TEST(program_by_descriptor)
{
    char *argv[] = { ARG("false"), NULL };
    struct io_child_spec spec = {
        .exec_fd = open("/bin/false", O_PATH | O_CLOEXEC), .argv = argv, .fds = quiet, .nfds = 3
    };
    struct io_child c;
    int status = 0;

    ASSERT_EQ(io_child_spawn(&c, &spec, /* err= */ NULL), 0);
    ASSERT_EQ(io_child_wait(&c, &status, SMX_FOREVER), 0);
    ASSERT_EQ(WEXITSTATUS(status), 1);
    io_child_done(&c);
    smx_close(spec.exec_fd);
}

FIBER_TEST(done_kills_and_reaps)
{
    struct io_child c;
    pid_t pid;

    ASSERT_EQ(start(&c, "sleep 100", quiet, 3), 0);
    pid = c.pid;
    io_child_done(&c);
    ASSERT_EQ(kill(pid, 0), -1);
    ASSERT_EQ(errno, ESRCH);
    io_child_done(&c);
}

struct shared_child {
    struct io_child child;
    int r, status;
};

static void wait_child(void *arg)
{
    struct shared_child *s = arg;

    s->r = io_child_wait(&s->child, &s->status, SMX_FOREVER);
}

FIBER_TEST(done_cancels_who_waits_for_the_child)
{
    struct shared_child s = { .r = 9 };

    ASSERT_EQ(start(&s.child, "sleep 100", quiet, 3), 0);
    spawn("wait", wait_child, &s);
    io_yield();
    io_child_done(&s.child);
    join_all();
    ASSERT_EQ(s.r, -SMX_E_CANCELLED);
}

FIBER_TEST(fifty_children_at_once)
{
    struct shared_child s[50];

    for (int i = 0; i < 50; i++) {
        char script[32];

        snprintf(script, sizeof script, "exit %d", i);
        ASSERT_EQ(start(&s[i].child, script, quiet, 3), 0);
        spawn("wait", wait_child, &s[i]);
    }
    join_all();
    for (int i = 0; i < 50; i++) {
        ASSERT_EQ(s[i].r, 0);
        ASSERT_EQ(WEXITSTATUS(s[i].status), i);
        io_child_done(&s[i].child);
    }
}

FIBER_TEST(too_many_descriptors_are_refused)
{
    struct io_child c;
    int fds[IO_CHILD_FDS_MAX + 1] = { 0 };

    ASSERT_EQ(start(&c, "true", fds, IO_CHILD_FDS_MAX + 1), -SMX_E_INVALID);
    io_child_done(&c);
}

FIBER_TEST(signals_are_readable)
{
    static const int wanted[] = { SIGUSR1, SIGHUP };
    struct io_signals s;
    struct smx_err err = { 0 };

    ASSERT_OK(io_signals_init(&s, wanted, 2, &err), &err);
    ASSERT_EQ(io_signals_next(&s, in_ms(1)), -SMX_E_TIMEOUT);
    kill(getpid(), SIGUSR1);
    ASSERT_EQ(io_signals_next(&s, SMX_FOREVER), SIGUSR1);
    kill(getpid(), SIGHUP);
    kill(getpid(), SIGUSR1);
    ASSERT_EQ(io_signals_next(&s, SMX_FOREVER), SIGHUP);
    ASSERT_EQ(io_signals_next(&s, SMX_FOREVER), SIGUSR1);
    ASSERT_EQ(io_signals_next(&s, in_ms(1)), -SMX_E_TIMEOUT);
    io_signals_done(&s);
}
