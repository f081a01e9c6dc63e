/* load.c - one HTTP request, sent again and again over kept connections.
 * load [-c CONNECTIONS] [-n TOTAL] [-s STATUS] HOST PORT METHOD TARGET [BODY] prints one JSON line.
 * BODY is JSON. A reply of another status, or a broken connection, counts as an error. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum { REPLY_MAX = 1 << 20 };

struct conn {
    int fd;
    double sent_at;
    size_t len,
        need; /* bytes of this reply so far; all it will have, 0 while the head is incomplete */
    char *reply;
};

static char request[1 << 16];
static size_t request_len, errors;
static char want_status[8] = "200";

static int dial(const char *host, const char *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t)bench_number(port)) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (inet_pton(AF_INET, host, &a.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void send_request(struct conn *c)
{
    c->len = c->need = 0;
    c->sent_at = bench_now_us();
    if (write(c->fd, request, request_len) != (ssize_t)request_len) {
        perror("write");
        exit(1);
    }
}

/* Finds the length of the whole reply once its head is there. */
static void parse_head(struct conn *c)
{
    char *end, *field;

    c->reply[c->len] = '\0';
    end = strstr(c->reply, "\r\n\r\n");
    if (!end)
        return;
    field = strcasestr(c->reply, "\r\ncontent-length:");
    if (field && field < end)
        c->need = (size_t)(end + 4 - c->reply) + (size_t)strtol(field + 17, NULL, 10);
    else
        c->need = (size_t)(end + 4 - c->reply);
    if (strncmp(c->reply + 9, want_status, 3) != 0)
        errors++;
}

/* True when the reply is whole. */
static bool receive(struct conn *c)
{
    ssize_t n = read(c->fd, c->reply + c->len, REPLY_MAX - c->len - 1);

    if (n <= 0) {
        fprintf(stderr, "the connection broke: %s\n", n ? strerror(errno) : "end of file");
        exit(1);
    }
    c->len += (size_t)n;
    if (c->need == 0)
        parse_head(c);
    return c->need > 0 && c->len >= c->need;
}

static void build_request(int argc, char **argv)
{
    const char *body = argc > 4 ? argv[4] : "";
    int n = snprintf(request, sizeof request,
        "%s %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n%s",
        argv[2], argv[3], "localhost", argv[1], strlen(body), body);

    request_len = (size_t)n;
}

static void run(struct conn *conns, size_t n_conns, size_t total, int epoll, double *samples)
{
    size_t sent = 0, done = 0;

    for (; sent < n_conns && sent < total; sent++)
        send_request(&conns[sent]);
    while (done < total) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);

        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;

            if (!receive(c))
                continue;
            samples[done++] = bench_now_us() - c->sent_at;
            if (sent < total) {
                sent++;
                send_request(c);
            }
        }
    }
}

int main(int argc, char **argv)
{
    size_t n_conns = 1, total = 1000;
    int opt, epoll = epoll_create1(0);
    struct conn *conns;
    double *samples, begin;

    while ((opt = getopt(argc, argv, "+c:n:s:")) != -1) {
        if (opt == 'c')
            n_conns = (size_t)bench_number(optarg);
        else if (opt == 'n')
            total = (size_t)bench_number(optarg);
        else if (opt == 's')
            snprintf(want_status, sizeof want_status, "%s", optarg);
        else
            return 2;
    }
    if (argc - optind < 4)
        return 2;
    build_request(argc - optind, argv + optind);
    conns = calloc(n_conns, sizeof *conns);
    samples = calloc(total, sizeof *samples);
    for (size_t i = 0; i < n_conns; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = &conns[i] };

        conns[i].fd = dial(argv[optind], argv[optind + 1]);
        conns[i].reply = malloc(REPLY_MAX);
        epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &e);
    }
    begin = bench_now_us();
    run(conns, n_conns, total, epoll, samples);
    bench_print(samples, total, errors, bench_now_us() - begin);
    return errors > 0;
}
