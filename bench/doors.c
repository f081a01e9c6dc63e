/* doors.c - what E2B's door costs over the native one for the same call, without a network: both
 * front ends in this process over a runtime in memory, a pair of connected sockets before them and
 * the clock inside the handler, so that parsing heads and waking clients are not counted and what
 * is shared (core, store, writing the reply) is in both. Calls alternate between the doors.
 *
 * Usage: doors [N]; prints one line of JSON, medians in microseconds. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "bench.h"
#include "core/core.h"
#include "frontends/e2b/e2b.h"
#include "frontends/native/native.h"
#include "http/client.h"
#include "providers/fake/fake.h"

enum { DOORS = 2, CALLS = 3, HELD = 50, BODY_MAX = 1 << 20 };
static const char *const call_names[CALLS] = { "create", "get", "kill" };

struct bench {
    size_t n, done[DOORS][CALLS];
    double *us[DOORS][CALLS];
    char dir[64];
    struct fake_cloud cloud;
    struct frontend fe;
    struct http_server *server;
    struct http_client client;
    struct smx_buf body;
    int door, call;
};

static void fail(const char *what, const struct smx_err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->msg);
    exit(1);
}

static void handler(struct http_exchange *x, void *ctx)
{
    struct bench *b = ctx;
    struct frontend_request req = { .id = "req-1" };
    double begun, us;

    http_set_data(x, &req);
    begun = bench_now_us();
    if (b->door == 0)
        native_handle(&b->fe, x);
    else
        e2b_handle(&b->fe, x);
    us = bench_now_us() - begun;
    http_set_data(x, NULL);
    if (b->call >= 0)
        b->us[b->door][b->call][b->done[b->door][b->call]++] = us;
}

static void open_site(struct bench *b)
{
    struct core_config core = { .loop = io_loop_self(),
        .state_dir = b->dir,
        .runtimes = { { .name = "local",
            .ops = &fake_provider,
            .config = &b->cloud,
            .configured = true } },
        .n_runtimes = 1,
        .runtime_default = "local" };
    struct http_server_config http = { .handler = handler, .ctx = b };
    struct smx_err err = { 0 };
    int fds[2];

    fake_cloud_init(&b->cloud);
    smx_buf_init(&b->body, BODY_MAX);
    if (core_open(&core, &b->fe.core, &err) < 0)
        fail("opening", &err);
    b->fe.loop = io_loop_self();
    b->fe.domains[0] = "localhost";
    b->fe.daemon_uid = geteuid();
    smx_list_init(&b->fe.endless);
    if (http_server_new(io_loop_self(), &http, &b->server, &err) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
        http_server_serve_fd(b->server, fds[0], "unix", &err) < 0 ||
        http_client_init(&b->client, fds[1], &err) < 0)
        fail("serving", &err);
}

static void close_site(struct bench *b)
{
    http_client_done(&b->client);
    http_server_drain(b->server, smx_deadline_in_ms(1000));
    http_server_free(b->server);
    core_close(b->fe.core);
    fake_cloud_done(&b->cloud);
    smx_buf_done(&b->body);
}

static int ask(struct bench *b, enum h1_method method, const char *target, const char *body)
{
    struct h1_head head = { 0 };
    struct smx_err err = { 0 };
    struct smx_buf fields;
    size_t n = body ? strlen(body) : 0;
    uint64_t deadline = smx_deadline_in_ms(10000);

    smx_buf_init(&fields, 4096);
    h1_write_field(&fields, "Host", SMX_VIEW("localhost"));
    smx_buf_reset(&b->body);
    if (http_client_send_all(
            &b->client, method, smx_view_of(target), &fields, body ? body : "", n, &err) < 0 ||
        http_client_head(&b->client, &head, deadline, &err) < 0 ||
        http_client_read_all(&b->client, &b->body, deadline, &err) < 0)
        fail(target, &err);
    smx_buf_done(&fields);
    return head.status;
}

/* The id in a reply: the first value that has the form of one. */
static void take_id(const struct bench *b, char id[SMX_ID_LEN + 1])
{
    for (const char *p = b->body.data; p && (p = strchr(p, '"')); p++) {
        smx_view_copy(id, SMX_ID_LEN + 1, (struct smx_view){ p + 1, SMX_ID_LEN });
        if (smx_id_valid(id))
            return;
    }
    fprintf(stderr, "no id in %s\n", b->body.data);
    exit(1);
}

static void one_round(struct bench *b, int door, bool counted)
{
    static const char *const create[DOORS] = { "/api/sandboxes", "/v2/sandboxes" };
    static const char *const body[DOORS] = {
        "{\"template\":\"base\",\"timeout_s\":300,\"metadata\":{\"a\":\"b\"},\"env\":{\"A\":\"1\"}"
        "}",
        "{\"templateID\":\"base\",\"timeout\":300,\"metadata\":{\"a\":\"b\"},\"envVars\":{\"A\":"
        "\"1\"}}"
    };
    static const char *const one[DOORS] = { "/api/sandboxes/", "/sandboxes/" };
    static const enum h1_method methods[CALLS] = { H1_POST, H1_GET, H1_DELETE };
    static const int wanted[CALLS] = { 201, 200, 204 };
    char target[64], id[SMX_ID_LEN + 1] = "";

    b->door = door;
    for (int call = 0; call < CALLS; call++) {
        int status;

        b->call = counted ? call : -1;
        snprintf(target, sizeof target, "%s%s", one[door], id);
        status = ask(b, methods[call], call ? target : create[door], call ? NULL : body[door]);
        if (status != wanted[call]) {
            fprintf(stderr, "%s: status %d\n", call_names[call], status);
            exit(1);
        }
        if (call == 0)
            take_id(b, id);
    }
}

static void run(void *arg)
{
    struct bench *b = arg;

    open_site(b);
    for (size_t i = 0; i < HELD; i++)
        one_round(b, (int)(i % DOORS), /* counted= */ false);
    for (size_t i = 0; i < DOORS * b->n; i++)
        one_round(b, (int)(i % DOORS), /* counted= */ true);
    close_site(b);
}

static void print(struct bench *b)
{
    printf("{");
    for (int call = 0; call < CALLS; call++) {
        double p50[DOORS];

        for (int door = 0; door < DOORS; door++) {
            qsort(b->us[door][call], b->n, sizeof(double), bench_compare);
            p50[door] = bench_percentile(b->us[door][call], b->n, .5);
        }
        printf("%s\"%s\":{\"native_us\":%.2f,\"e2b_us\":%.2f,\"over_us\":%.2f}", call ? "," : "",
            call_names[call], p50[0], p50[1], p50[1] - p50[0]);
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    static struct bench b = { .dir = "/tmp/smx-bench-doors-XXXXXX" };
    static const char *const files[] = { "/gateway.db", "/gateway.db-wal", "/gateway.db-shm",
        "/lock", "" };
    struct io_loop *loop = NULL;
    struct smx_err err = { 0 };
    char path[128];

    smx_log_init("doors", SMX_LOG_ERROR); /* a line a create would be measured, too */
    b.n = argc > 1 ? (size_t)bench_number(argv[1]) : 2000;
    for (int i = 0; i < DOORS * CALLS; i++)
        b.us[i / CALLS][i % CALLS] = calloc(b.n, sizeof(double));
    if (!mkdtemp(b.dir) || io_loop_new(&loop, &err) < 0 ||
        io_fiber_spawn(loop, "bench", run, &b, NULL, &err) < 0 || io_loop_run(loop, &err) < 0)
        fail("doors", &err);
    io_loop_free(loop);
    print(&b);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s%s", b.dir, files[i]);
        remove(path);
    }
    return 0;
}
