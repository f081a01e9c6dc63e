/* fuzz_envd_client.c - the gateway's client of the envd protocol against whatever an agent may
 * send: the first byte chooses the call, the rest is what the connection holds. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "providers/envd/client.h"
#include "wire/envd/envd.h"

enum { INPUT_MAX = 64 * 1024, EVENTS_MAX = 1000, CALL_MS = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern bool checksum;

struct agent {
    struct envd_box box; /* first */
    struct envd_idle idle;
    const uint8_t *data;
    size_t n;
    int peer;
};

static int dial(struct envd_box *b, uint16_t port, struct http_client *to, uint64_t deadline,
    struct smx_err *err)
{
    struct agent *a = (struct agent *)(void *)b;
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return smx_err_set(err, SMX_E_IO, "socketpair");
    (void)smx_write_full(sv[1], a->data, a->n);
    shutdown(sv[1], SHUT_WR);
    smx_close(a->peer);
    a->peer = sv[1];
    return http_client_init(to, sv[0], err);
}

static const struct provider_ops ops = {
    .version = PROVIDER_VERSION, .name = "fuzz", .data = &envd_data_ops
};

bool checksum;

static void try_process(struct provider_box *box)
{
    static const char *const argv[] = { "x", NULL };
    struct provider_process_spec spec = { .argv = argv, .timeout_ms = 1 };
    struct provider_stream *s = NULL;
    struct provider_event e;
    struct smx_err err;

    if (provider_process_start(box, &spec, &s, smx_deadline_in_ms(CALL_MS), &err) < 0)
        return;
    for (unsigned i = 0; i < EVENTS_MAX; i++) {
        if (provider_stream_next(s, &e, smx_deadline_in_ms(CALL_MS), &err) < 0)
            break;
        if (e.n > 0)
            checksum = smx_utf8_valid(e.data, e.n); /* reads all of it */
    }
    provider_stream_close(s);
}

static void try_read(struct provider_box *box)
{
    struct provider_reader *r = NULL;
    struct smx_err err;
    uint64_t total;
    char buf[1000];

    if (provider_read_open(
            box, "x", NULL, 0, UINT64_MAX, &r, &total, smx_deadline_in_ms(CALL_MS), &err) < 0)
        return;
    while (provider_read(r, buf, sizeof buf, smx_deadline_in_ms(CALL_MS), &err) > 0)
        continue;
    provider_read_close(r);
}

static void try_write(struct provider_box *box)
{
    struct provider_writer *w = NULL;
    struct smx_err err;

    if (provider_write_open(box, "x", NULL, 3, &w, smx_deadline_in_ms(CALL_MS), &err) < 0)
        return;
    (void)provider_write(w, "abc", 3, &err);
    (void)provider_write_commit(w, smx_deadline_in_ms(CALL_MS), &err);
}

static void try_lists(struct provider_box *box)
{
    struct provider_process_list processes = { 0 };
    struct provider_file_list files = { 0 };
    struct provider_file file = { 0 };
    struct smx_err err;
    uint64_t deadline = smx_deadline_in_ms(CALL_MS);

    if (provider_processes(box, &processes, deadline, &err) == 0)
        provider_process_list_done(&processes);
    if (provider_list_dir(box, "x", "u", 2, &files, deadline, &err) == 0)
        provider_file_list_done(&files);
    if (provider_stat(box, "x", NULL, &file, deadline, &err) == 0)
        provider_file_done(&file);
    (void)envd_setup(
        (struct envd_box *)(void *)box, &(struct envd_init_request){ 0 }, deadline, &err);
}

static void fiber(void *arg)
{
    struct agent *a = arg;
    struct provider_box *box = (struct provider_box *)(void *)&a->box;

    envd_idle_init(&a->idle, io_loop_self());
    envd_box_init(&a->box, &ops, &a->idle);
    a->box.dial = dial;
    a->box.base = "/workspace";
    switch (a->n ? a->data[0] % 4 : 0) {
    case 0:
        a->data += a->n > 0;
        a->n -= a->n > 0;
        try_process(box);
        break;
    case 1:
        a->data++, a->n--;
        try_read(box);
        break;
    case 2:
        a->data++, a->n--;
        try_write(box);
        break;
    default:
        a->data++, a->n--;
        try_lists(box);
        break;
    }
    envd_box_forget(&a->box);
    envd_idle_done(&a->idle);
    smx_close(a->peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct agent a = { .data = data, .n = SMX_MIN(size, (size_t)INPUT_MAX), .peer = -1 };
    struct io_loop *loop = NULL;
    struct smx_err err;

    if (io_loop_new(&loop, &err) < 0)
        return 0;
    if (io_fiber_spawn(loop, "fuzz", fiber, &a, /* ret_fiber= */ NULL, &err) == 0)
        io_loop_run(loop, &err);
    io_loop_free(loop);
    return 0;
}
