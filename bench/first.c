/* first.c - create -> first exec result -> delete, one after the other over one kept connection to
 * the gateway; the peer of engine.c's cycles and, like it, in C: what a client in a slower language
 * needs for itself is not the gateway's.
 * first HOST PORT N prints one JSON line: microseconds from the create to the exec's result. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum { REPLY_MAX = 64 * 1024, ID_MAX = 64, WARM = 3, REST_S = 2 };

static int fd = -1;
static char reply[REPLY_MAX];

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench first: %s\n", what);
    exit(1);
}

static void dial(const char *host, const char *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t)bench_number(port)) };
    int one = 1;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        fail("connecting");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Where the body begins once the whole reply is there, else NULL. */
static const char *whole(size_t got)
{
    const char *end = strstr(reply, "\r\n\r\n"), *field = strcasestr(reply, "\r\ncontent-length:");
    size_t need = field && end && field < end ? (size_t)strtol(field + 17, NULL, 10) : 0;

    return end && got >= (size_t)(end + 4 - reply) + need ? end + 4 : NULL;
}

/* The body of a reply of class 2xx. */
static const char *call(const char *method, const char *target, const char *body)
{
    char text[1024];
    const char *found = NULL;
    size_t got = 0;
    int n = snprintf(text, sizeof text,
        "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n%s",
        method, target, strlen(body), body);

    if (write(fd, text, (size_t)n) != n)
        fail("writing");
    while (!found) {
        ssize_t r = read(fd, reply + got, sizeof reply - 1 - got);

        if (r <= 0)
            fail("the connection broke");
        got += (size_t)r;
        reply[got] = '\0';
        found = whole(got);
    }
    if (reply[9] != '2')
        fail(reply);
    return found;
}

static void create(char id[ID_MAX])
{
    const char *found = strstr(call("POST", "/api/sandboxes", "{}"), "\"id\":\"");
    size_t n = found ? strcspn(found + 6, "\"") : 0;

    if (n == 0 || n >= ID_MAX)
        fail("the reply names no sandbox");
    memcpy(id, found + 6, n);
    id[n] = '\0';
}

static double cycle(void)
{
    char id[ID_MAX], target[ID_MAX + 32];
    double begun = bench_now_us(), taken;

    create(id);
    snprintf(target, sizeof target, "/api/sandboxes/%s/exec", id);
    if (!strstr(call("POST", target, "{\"command\":[\"/usr/bin/true\"]}"), "\"exit_code\":0"))
        fail("the command did not run");
    taken = bench_now_us() - begun;
    snprintf(target, sizeof target, "/api/sandboxes/%s", id);
    call("DELETE", target, "");
    return taken;
}

int main(int argc, char **argv)
{
    double *samples, begun;
    size_t n;

    if (argc != 4)
        return 2;
    n = (size_t)bench_number(argv[3]);
    samples = calloc(n, sizeof *samples);
    if (!samples)
        return 1;
    dial(argv[1], argv[2]);
    sleep(REST_S); /* from rest, as engine.c: the kernel still takes apart what ran before */
    for (size_t i = 0; i < WARM; i++)
        cycle();
    begun = bench_now_us();
    for (size_t i = 0; i < n; i++)
        samples[i] = cycle();
    bench_print(samples, n, 0, bench_now_us() - begun);
    free(samples);
    return 0;
}
