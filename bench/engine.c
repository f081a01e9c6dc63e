/* engine.c - measures sandmux-engine alone, over its own protocol: create -> first exec result ->
 * delete one after the other, a burst of creates, and many sandboxes held at once. Starts the
 * program with a state directory below /tmp and deletes every sandbox at the end.
 *
 * Usage: engine BUILD cycles N GAP_MS [ROOMS] | burst N [ROOMS] | hold N
 * ROOMS: how many the engine keeps ready; 0 makes everything when it is asked. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/random.h"
#include "base/str.h"
#include "bench.h"
#include "wire/engine/engine_wire.h"

enum { MESSAGE = 192 * 1024, TEXT = 1024, WARM = 5, STEP = 100 };

static int gate = -1;
static pid_t engine = -1;
static char state[64];
static unsigned long long seq;

/* Tells the engine to delete every sandbox and to end. */
static void shut_down(void)
{
    static const char text[] = "{\"seq\":1,\"op\":\"shutdown\",\"all\":true}";
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", state);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        send(fd, text, sizeof text - 1, MSG_NOSIGNAL) < 0)
        kill(engine, SIGTERM);
    smx_close(fd);
    while (waitpid(engine, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench engine: %s: %s\n", what, strerror(errno));
    if (engine > 0)
        shut_down();
    exit(1);
}

/* --- protocol ----------------------------------------------------------------------------------
 */

static void request(const char *op, const char *rest)
{
    char text[TEXT];
    int n = snprintf(text, sizeof text, "{\"seq\":%llu,\"op\":\"%s\"%s}", ++seq, op, rest);

    if (send(gate, text, (size_t)n, 0) < 0)
        fail(op);
}

/* Any next reply; its descriptor or -1. Events are skipped. */
static int await(void)
{
    static char text[MESSAGE];
    int fd = -1;

    for (;;) {
        size_t nfds = 1;
        ssize_t n = smx_recv_fds(gate, text, sizeof text - 1, &fd, &nfds);

        if (n <= 0)
            fail("the engine is gone");
        text[n] = '\0';
        if (strstr(text, "\"error\"")) {
            fprintf(stderr, "bench engine: %s\n", text);
            errno = 0;
            fail("refused");
        }
        if (strncmp(text, "{\"seq\":0,", 9) != 0)
            return nfds > 0 ? fd : -1;
    }
}

static int call(const char *op, const char *id, const char *rest)
{
    char fields[TEXT];

    snprintf(fields, sizeof fields, ",\"id\":\"%s\"%s", id, rest);
    request(op, fields);
    return await();
}

/* Runs /bin/true through the agent and waits for the end of its stream. */
static void exec_true(int fd)
{
    static const char body[] = "{\"process\":{\"cmd\":\"/bin/true\",\"args\":[],\"cwd\":\"/\"}}";
    char text[TEXT];
    size_t n = sizeof body - 1, got = 0;
    int head = snprintf(text, sizeof text,
        "POST /process.Process/Start HTTP/1.1\r\nHost: x\r\n"
        "Content-Type: application/connect+json\r\n"
        "Authorization: Basic cm9vdDo=\r\nContent-Length: %zu\r\n\r\n",
        n + 5);

    text[head] = '\0';
    text[head + 1] = text[head + 2] = text[head + 3] = '\0';
    text[head + 4] = (char)n;
    memcpy(text + head + 5, body, n);
    smx_fd_set_nonblock(fd, false, NULL);
    if (smx_write_full(fd, text, (size_t)head + 5 + n) < 0)
        fail("writing to the agent");
    while (got < 5 || memcmp(text + got - 5, "0\r\n\r\n", 5) != 0) {
        ssize_t r = read(fd, text + got, sizeof text - got);

        if (r <= 0)
            fail("reading from the agent");
        got += (size_t)r;
    }
    if (!memmem(text, got, "\"exited\":true", 13))
        fail("the command did not run");
}

/* --- the program -------------------------------------------------------------------------------
 */

static void start(const char *build, const char *rooms)
{
    char program[TEXT], agent[TEXT], number[16], instance[32];
    int pair[2];

    snprintf(state, sizeof state, "/tmp/smx-bench-engine-XXXXXX");
    if (!mkdtemp(state) || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        fail("starting");
    snprintf(program, sizeof program, "%s/sandmux-engine", build);
    snprintf(agent, sizeof agent, "%s/sandmux-agent", build);
    snprintf(instance, sizeof instance, "bench-%d", (int)getpid());
    snprintf(number, sizeof number, "%d", pair[1]);
    engine = fork();
    if (engine == 0) {
        setenv("SANDMUX_LOG_LEVEL", "warn", 1);
        execl(program, "sandmux-engine", "--state-dir", state, "--instance", instance, "--agent",
            agent, "--gateway-fd", number, rooms ? "--rooms" : NULL, rooms, NULL);
        _exit(127);
    }
    smx_close(pair[1]);
    gate = pair[0];
    request("hello", ",\"version\":1");
    await();
}

static void stop(void)
{
    pid_t rm;

    shut_down();
    rm = fork();
    if (rm == 0) {
        execlp("rm", "rm", "-rf", state, NULL);
        _exit(127);
    }
    while (rm > 0 && waitpid(rm, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void rest_ms(long ms)
{
    struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&ts, NULL);
}

/* --- measurements ------------------------------------------------------------------------------
 */

static void print_set(const char *name, double *v, size_t n)
{
    qsort(v, n, sizeof *v, bench_compare);
    printf("\"%s\": {\"p50_us\": %.0f, \"p95_us\": %.0f, \"min_us\": %.0f}", name,
        bench_percentile(v, n, .5), bench_percentile(v, n, .95), v[0]);
}

static void cycles(size_t n, long gap_ms)
{
    double *v = calloc(n * 3, sizeof *v), *create = v, *first = v + n, *delete = v + 2 * n;

    rest_ms(1500); /* what is made ahead of time */
    for (size_t i = 0; v && i < n + WARM; i++) {
        char id[SMX_ID_LEN + 1];
        double t0, t1, t2, t3;
        int fd;

        smx_id_make(id);
        t0 = bench_now_us();
        fd = call("create", id, ",\"create\":{}");
        t1 = bench_now_us();
        exec_true(fd);
        t2 = bench_now_us();
        close(fd);
        call("delete", id, "");
        t3 = bench_now_us();
        if (i >= WARM) {
            create[i - WARM] = t1 - t0;
            first[i - WARM] = t2 - t0;
            delete[i - WARM] = t3 - t2;
        }
        rest_ms(gap_ms);
    }
    printf("{\"n\": %zu, ", n);
    print_set("create", create, n);
    printf(", ");
    print_set("first_exec", first, n);
    printf(", ");
    print_set("delete", delete, n);
    printf("}\n");
    free(v);
}

/* Sends n requests at once and waits for all replies; milliseconds. */
static double crowd(const char *op, char (*ids)[SMX_ID_LEN + 1], size_t n, const char *rest)
{
    double begun = bench_now_us();
    char fields[TEXT];

    for (size_t i = 0; i < n; i++) {
        snprintf(fields, sizeof fields, ",\"id\":\"%s\"%s", ids[i], rest);
        request(op, fields);
    }
    for (size_t i = 0; i < n; i++)
        smx_close(await());
    return (bench_now_us() - begun) / 1000;
}

static void burst(size_t n)
{
    char(*ids)[SMX_ID_LEN + 1] = calloc(n, sizeof *ids);
    double create, delete;

    if (!ids)
        return;
    rest_ms(3000); /* what is made ahead of time */
    for (size_t i = 0; i < n; i++)
        smx_id_make(ids[i]);
    create = crowd("create", ids, n, ",\"create\":{}");
    delete = crowd("delete", ids, n, "");
    printf("{\"n\": %zu, \"create_ms\": %.1f, \"delete_ms\": %.1f}\n", n, create, delete);
    free(ids);
}

static long free_kib(void)
{
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "MemFree:", 8) == 0)
            kib = strtol(line + 8, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

static void hold(size_t n)
{
    char(*ids)[SMX_ID_LEN + 1] = calloc(n, sizeof *ids);
    double *v = calloc(n, sizeof *v);
    long before = free_kib();

    for (size_t i = 0; ids && v && i < n; i++) {
        double t0 = bench_now_us();
        int fd;

        smx_id_make(ids[i]);
        fd = call("create", ids[i], ",\"create\":{\"resources\":{\"memory_mib\":64}}");
        v[i] = bench_now_us() - t0;
        smx_close(fd);
    }
    printf("{\"n\": %zu, \"kib_each\": %.0f", n, (double)(before - free_kib()) / (double)n);
    for (size_t i = 0; i + STEP <= n; i += SMX_MAX(n / 6 / STEP * STEP, (size_t)STEP)) {
        char name[32];

        snprintf(name, sizeof name, "create_from_%zu", i);
        printf(", ");
        print_set(name, v + i, STEP);
    }
    printf(", \"delete_ms\": %.0f}\n", crowd("delete", ids, SMX_MIN(n, (size_t)500), ""));
    for (size_t i = 500; i < n; i++)
        call("delete", ids[i], "");
    free(ids);
    free(v);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("usage: engine BUILD cycles N GAP_MS [ROOMS] | burst N [ROOMS] | hold N\n", stderr);
        return 2;
    }
    start(argv[1], argc > (strcmp(argv[2], "cycles") == 0 ? 5 : 4) ? argv[argc - 1] : NULL);
    if (strcmp(argv[2], "cycles") == 0 && argc >= 5)
        cycles((size_t)bench_number(argv[3]), strtol(argv[4], NULL, 10));
    else if (strcmp(argv[2], "burst") == 0)
        burst((size_t)bench_number(argv[3]));
    else if (strcmp(argv[2], "hold") == 0)
        hold((size_t)bench_number(argv[3]));
    stop();
    return 0;
}
