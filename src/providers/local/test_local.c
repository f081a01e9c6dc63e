/* test_local.c - the engine's client against an engine that is played: replies out of order, late
 * or missing, an engine that goes away and comes back. */
#include "providers/local/internal.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "io/test_util.h"

enum { LATE_MS = 100 };

/* The engine of a test: one fiber answers requests as the fields say. */
struct engine {
    struct io_fd fd;
    struct http_server *agent; /* serves the descriptors of connect_agent */
    unsigned ops[ENGINE_OP_COUNT_];
    int swallow;      /* this op gets no answer */
    int late;         /* this op is answered after LATE_MS */
    int die_at;       /* at this op the connection closes, once */
    unsigned failing; /* creates that fail with this many left */
    char last_id[32], last_token[64];
    uint64_t last_deadline_ms;
    bool last_has_deadline;
    unsigned boxes; /* for list */
    unsigned newer; /* added to the version */
    bool running;
    bool mute; /* creates and starts bring no connection */
    /* what the agent was told */
    char init_body[512];
    unsigned inits;
    unsigned agents; /* connections to it */
};

struct told {
    unsigned changed, resets, logs;
    char id[64], reason[64];
    enum provider_box_state state;
};

struct bench {
    struct engine e;
    struct told told;
    struct provider *p;
    struct smx_err err;
};

/* --- the agent ----------------------------------------------------------------------------------
 */

static void agent_handler(struct http_exchange *x, void *ctx)
{
    struct engine *e = ctx;
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    struct smx_err err;

    smx_buf_init(&body, sizeof e->init_body - 1);
    (void)http_body_all(x, &body, &err);
    if (smx_view_eq(http_path(x), "/init")) {
        e->inits++;
        smx_strcpy(e->init_body, sizeof e->init_body, body.data ? body.data : "");
        http_reply(x, 204, NULL, NULL, 0);
        return;
    }
    http_reply(x, 200, "application/json", "{\"processes\":[{\"pid\":5}]}", 25);
}

/* --- the engine ---------------------------------------------------------------------------------
 */

static void fill_sandbox(struct engine *e, struct engine_sandbox *s, const char *id)
{
    *s = (struct engine_sandbox){ .id = (char *)(uintptr_t)id,
        .token = e->last_token,
        .state = ENGINE_STATE_RUNNING,
        .resources = { .cpu_milli = 1500, .memory_mib = 256 } };
}

static void send_reply(struct engine *e, const struct engine_reply *reply, int fd)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf buf = { 0 };
    struct smx_err err;

    smx_buf_init(&buf, SMX_ENGINE_MESSAGE_MAX);
    if (json_encode_to(&buf, &engine_reply_table, reply, &err) == 0)
        (void)io_send_fds(&e->fd, buf.data, buf.len, &fd, fd >= 0, in_ms(1000), &err);
}

static void answer_list(
    struct engine *e, const struct engine_request *q, struct engine_reply *reply)
{
    static struct engine_sandbox page[2];
    static char ids[8][32];
    unsigned from = q->after ? (unsigned)(q->after[20] - '0') + 1 : 0, n = 0;

    for (unsigned i = from; i < e->boxes && n < 2; i++) {
        snprintf(ids[i], sizeof ids[i], "iaaaaaaaaaaaaaaaaaaa%u", i);
        fill_sandbox(e, &page[n++], ids[i]);
    }
    reply->sandboxes = (struct json_array){ .v = page, .n = n };
    if (from + n < e->boxes)
        reply->next = ids[from + n - 1];
}

static int connect_to_agent(struct engine *e, const struct engine_request *q)
{
    struct smx_err err;
    int sv[2];

    if (q->op == ENGINE_OP_CONNECT_PORT ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -1;
    e->agents++;
    (void)http_server_serve_fd(e->agent, sv[1], "agent", &err);
    return sv[0];
}

static void answer(struct engine *e, const struct engine_request *q)
{
    static char hard[] = "hard", base[] = "base", closed[] = "port_closed", full[] = "out_of_disk";
    char *templates[] = { base, NULL };
    struct engine_hello hello = { .version = ENGINE_WIRE_VERSION + e->newer,
        .ready = true,
        .pause = true,
        .limits = hard,
        .templates = { .v = templates, .n = 1 } };
    struct engine_stats stats = { .pids = 3, .ooms = 1 };
    struct engine_reply reply = { .seq = q->seq };
    struct engine_sandbox s;
    SMX_CLEANUP(smx_closep) int fd = -1;

    fill_sandbox(e, &s, q->id ? q->id : "");
    if (q->op == ENGINE_OP_HELLO)
        reply.hello = &hello;
    else if (q->op == ENGINE_OP_LIST)
        answer_list(e, q, &reply);
    else if (q->op == ENGINE_OP_STATS)
        reply.stats = &stats;
    else if (q->op == ENGINE_OP_CONNECT_PORT)
        reply.error = closed;
    else if (q->op == ENGINE_OP_CREATE && e->failing > 0 && e->failing--)
        reply.error = full;
    else if (q->op == ENGINE_OP_CONNECT_AGENT)
        fd = connect_to_agent(e, q);
    else
        reply.sandbox = &s;
    if (reply.sandbox && !e->mute && (q->op == ENGINE_OP_CREATE || q->op == ENGINE_OP_START))
        fd = connect_to_agent(e, q);
    send_reply(e, &reply, fd);
}

static void engine_fiber(void *arg)
{
    struct engine *e = arg;
    char buf[8192];
    struct smx_err err;

    for (;;) {
        size_t nfds = 0;
        ssize_t n = io_recv_fds(&e->fd, buf, sizeof buf, NULL, &nfds, SMX_FOREVER, &err);
        struct engine_request q;

        if (n <= 0 || engine_request_decode(buf, (size_t)n, &q, &err) < 0)
            break;
        e->ops[q.op]++;
        if (q.id)
            smx_strcpy(e->last_id, sizeof e->last_id, q.id);
        if (q.create && q.create->token)
            smx_strcpy(e->last_token, sizeof e->last_token, q.create->token);
        e->last_has_deadline = q.has_deadline;
        e->last_deadline_ms = q.deadline_ms;
        if (q.op == e->die_at) {
            e->die_at = -1;
            json_free(&engine_request_table, &q);
            break;
        }
        if (q.op == e->late)
            io_sleep_until(in_ms(LATE_MS));
        if (q.op != e->swallow)
            answer(e, &q);
        json_free(&engine_request_table, &q);
    }
    io_fd_done(&e->fd);
    e->running = false;
}

/* A connection to an engine that runs now; the gateway's end. */
static int engine_start(struct bench *b)
{
    int sv[2];
    struct smx_err err;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
        return -1;
    (void)io_fd_init(&b->e.fd, sv[0], &err);
    b->e.running = true;
    spawn("engine", engine_fiber, &b->e);
    return sv[1];
}

static void on_changed(void *ctx, const char *id, enum provider_box_state state, const char *reason)
{
    struct told *t = ctx;

    t->changed++;
    t->state = state;
    smx_strcpy(t->id, sizeof t->id, id);
    smx_strcpy(t->reason, sizeof t->reason, reason);
}

static void on_log(void *ctx, const char *id, const char *line)
{
    ((struct told *)ctx)->logs++;
}

static void on_reset(void *ctx)
{
    ((struct told *)ctx)->resets++;
}

static void bench_open(struct bench *b)
{
    struct http_server_config agent = { .handler = agent_handler, .ctx = &b->e };
    struct provider_host host = {
        .ctx = &b->told, .changed = on_changed, .log = on_log, .reset = on_reset
    };
    struct local_config cfg = { .engine_fd = -1 };

    memset(b, 0, sizeof *b);
    b->e.swallow = b->e.late = b->e.die_at = -1;
    ASSERT_OK(http_server_new(io_loop_self(), &agent, &b->e.agent, &b->err), &b->err);
    cfg.engine_fd = engine_start(b);
    ASSERT_OK(provider_open(&local_provider, io_loop_self(), &cfg, &host, &b->p, &b->err), &b->err);
}

static void bench_done(struct bench *b)
{
    provider_close(b->p);
    while (b->e.running)
        io_yield();
    http_server_drain(b->e.agent, in_ms(100));
    http_server_free(b->e.agent);
}
#define BENCH(b)                                    \
    SMX_CLEANUP(bench_done) struct bench b = { 0 }; \
    bench_open(&b)

static int make(struct bench *b, struct provider_info *info, struct provider_box **box)
{
    static char key[] = "FOO", value[] = "bar";
    static const struct json_pair env = { key, value };
    struct provider_create_spec spec = { .id = "iaaaaaaaaaaaaaaaaaaaa",
        .token = "0123456789abcdef0123456789abcdef",
        .template = "base",
        .resources = { .cpu = 1.5 },
        .env = &env,
        .n_env = 1,
        .expires_unix_ms = smx_now_unix_ms() + 60000 };

    return provider_create(b->p, &spec, info, box, in_ms(5000), &b->err);
}

/* --- tests --------------------------------------------------------------------------------------
 */

/* Its asker was told that it failed; the registry would go on showing what is not there. */
FIBER_TEST(a_change_that_is_answered_too_late_makes_the_host_look)
{
    BENCH(b);
    struct provider_info info;
    struct provider_box *box = NULL;
    struct provider_stats stats;
    unsigned before;

    ASSERT_OK(make(&b, &info, &box), &b.err);
    before = b.told.resets;
    b.e.late = ENGINE_OP_STATS;
    ASSERT_EQ(provider_stats(box, &stats, in_ms(LATE_MS / 4), &b.err), -SMX_E_TIMEOUT);
    io_sleep_until(in_ms(2 * LATE_MS));
    ASSERT_EQ(b.told.resets, before); /* it changed nothing */
    b.e.late = ENGINE_OP_DELETE;
    ASSERT_EQ(provider_kill(b.p, info.provider_id, in_ms(LATE_MS / 4), &b.err), -SMX_E_TIMEOUT);
    ASSERT_EQ(b.told.resets, before);
    while (b.told.resets == before)
        io_sleep_until(in_ms(1));
    b.e.late = -1;
    provider_detach(box);
}

FIBER_TEST(create_sets_the_agent_up)
{
    struct provider_info info = { 0 };
    struct provider_box *box = NULL;
    struct provider_process_list l = { 0 };
    struct provider_stats stats = { 0 };
    struct http_client to;

    BENCH(b);
    ASSERT_OK(make(&b, &info, &box), &b.err);
    ASSERT_STR(info.provider_id, "iaaaaaaaaaaaaaaaaaaaa");
    ASSERT_STR(info.token, "0123456789abcdef0123456789abcdef");
    ASSERT_TRUE(info.limits_hard && info.resources.cpu > 1.49 && info.resources.cpu < 1.51);
    ASSERT_TRUE(b.e.ops[ENGINE_OP_CREATE] == 1 && b.e.inits == 1);
    ASSERT_TRUE(strstr(b.e.init_body, "\"FOO\":\"bar\"") != NULL);
    ASSERT_TRUE(strstr(b.e.init_body, "\"E2B_SANDBOX_ID\":\"") != NULL);
    ASSERT_TRUE(strstr(b.e.init_body, "\"defaultUser\":\"user\"") != NULL);
    ASSERT_TRUE(strstr(b.e.init_body, "defaultWorkdir") == NULL);
    ASSERT_OK(provider_processes(box, &l, in_ms(1000), &b.err), &b.err);
    ASSERT_EQ(l.v[0].pid, 5);
    provider_process_list_done(&l);
    ASSERT_EQ(b.e.ops[ENGINE_OP_CONNECT_AGENT], 0); /* the one that came with it served both */
    ASSERT_OK(provider_stats(box, &stats, in_ms(1000), &b.err), &b.err);
    ASSERT_TRUE(stats.pids == 3 && stats.oom_kills == 1);
    ASSERT_EQ(provider_dial(box, 80, &to, in_ms(1000), &b.err), -SMX_E_PORT_CLOSED);
    ASSERT_OK(provider_set_deadline(box, 0, in_ms(1000), &b.err), &b.err);
    ASSERT_FALSE(b.e.last_has_deadline);
    ASSERT_OK(provider_set_deadline(box, smx_now_unix_ms() + 5000, in_ms(1000), &b.err), &b.err);
    ASSERT_TRUE(
        b.e.last_has_deadline && b.e.last_deadline_ms > 4000 && b.e.last_deadline_ms <= 5000);
    ASSERT_TRUE(provider_can(b.p, PROVIDER_PAUSE_RESUME));
    provider_detach(box);
}

FIBER_TEST(idle_connections_are_given_up_when_descriptors_are_short)
{
    struct provider_info info = { 0 };
    struct provider_box *box = NULL;
    struct provider_process_list l = { 0 };

    BENCH(b);
    ASSERT_OK(make(&b, &info, &box), &b.err);
    ASSERT_TRUE(provider_shed(b.p));
    ASSERT_FALSE(provider_shed(b.p));
    ASSERT_OK(provider_processes(box, &l, in_ms(1000), &b.err), &b.err);
    provider_process_list_done(&l);
    ASSERT_EQ(b.e.ops[ENGINE_OP_CONNECT_AGENT], 1);
    provider_detach(box);
}

FIBER_TEST(start_sets_the_agent_up_again)
{
    struct provider_info info = { 0 };
    struct provider_box *box = NULL;

    BENCH(b);
    ASSERT_OK(make(&b, &info, &box), &b.err);
    ASSERT_OK(provider_stop(box, in_ms(1000), &b.err), &b.err);
    ASSERT_OK(provider_start(box, in_ms(1000), &b.err), &b.err);
    ASSERT_EQ(b.e.inits, 2);
    ASSERT_EQ(b.e.agents, 2); /* the old connection was of the old agent */
    ASSERT_EQ(b.e.ops[ENGINE_OP_CONNECT_AGENT], 0);
    ASSERT_TRUE(strstr(b.e.init_body, "\"FOO\":\"bar\"") != NULL);
    provider_detach(box);
}

FIBER_TEST(a_create_that_brings_no_connection_asks_for_one)
{
    struct provider_info info = { 0 };
    struct provider_box *box = NULL;

    BENCH(b);
    b.e.mute = true;
    ASSERT_OK(make(&b, &info, &box), &b.err);
    ASSERT_TRUE(b.e.inits == 1 && b.e.ops[ENGINE_OP_CONNECT_AGENT] == 1);
    ASSERT_OK(provider_stop(box, in_ms(1000), &b.err), &b.err);
    ASSERT_OK(provider_start(box, in_ms(1000), &b.err), &b.err);
    ASSERT_TRUE(b.e.inits == 2 && b.e.ops[ENGINE_OP_CONNECT_AGENT] == 2);
    provider_detach(box);
}

FIBER_TEST(an_error_of_the_engine_keeps_its_code)
{
    struct provider_info info = { 0 };
    struct provider_box *box = NULL;

    BENCH(b);
    b.e.failing = 1;
    ASSERT_EQ(make(&b, &info, &box), -SMX_E_DISK_FULL);
    ASSERT_TRUE(box == NULL);
    ASSERT_EQ(b.e.ops[ENGINE_OP_CREATE], 1);
}

FIBER_TEST(lists_come_in_pages)
{
    SMX_CLEANUP(smx_freep) struct provider_info *v = NULL;
    size_t n = 0;

    BENCH(b);
    b.e.boxes = 5;
    ASSERT_OK(provider_list(b.p, &v, &n, in_ms(1000), &b.err), &b.err);
    ASSERT_EQ(n, 5);
    ASSERT_STR(v[0].provider_id, "iaaaaaaaaaaaaaaaaaaa0");
    ASSERT_STR(v[4].provider_id, "iaaaaaaaaaaaaaaaaaaa4");
    ASSERT_EQ(b.e.ops[ENGINE_OP_LIST], 3);
}

static void next_engine(void *arg)
{
    struct bench *b = arg;

    while (b->e.running)
        io_yield();
    io_sleep_until(in_ms(10));
    local_engine_attach(b->p, engine_start(b));
}

FIBER_TEST(a_look_up_is_asked_again_of_the_next_engine)
{
    SMX_CLEANUP(smx_freep) struct provider_info *v = NULL;
    size_t n = 0;

    BENCH(b);
    b.e.boxes = 1;
    b.e.die_at = ENGINE_OP_LIST;
    spawn("next-engine", next_engine, &b);
    ASSERT_OK(provider_list(b.p, &v, &n, in_ms(5000), &b.err), &b.err);
    ASSERT_EQ(n, 1);
    ASSERT_EQ(b.e.ops[ENGINE_OP_LIST], 2);
    while (b.told.resets == 0)
        io_yield();
    ASSERT_EQ(b.told.resets, 1);
}

FIBER_TEST(a_create_begins_again_at_the_next_engine)
{
    struct provider_info info = { 0 };
    struct provider_box *box = NULL;

    BENCH(b);
    b.e.die_at = ENGINE_OP_CREATE;
    spawn("next-engine", next_engine, &b);
    ASSERT_OK(make(&b, &info, &box), &b.err);
    ASSERT_EQ(b.e.ops[ENGINE_OP_CREATE], 2);
    ASSERT_EQ(b.e.ops[ENGINE_OP_DELETE], 1);
    provider_detach(box);
}

FIBER_TEST(a_stop_that_met_the_end_of_the_engine_is_ambiguous)
{
    struct provider_info info = { 0 };
    struct provider_box *box = NULL;

    BENCH(b);
    ASSERT_OK(make(&b, &info, &box), &b.err);
    b.e.die_at = ENGINE_OP_STOP;
    ASSERT_EQ(provider_stop(box, in_ms(1000), &b.err), -SMX_E_AMBIGUOUS);
    ASSERT_EQ(provider_pause(box, in_ms(5), &b.err), -SMX_E_UNAVAILABLE); /* none runs now */
    ASSERT_EQ(provider_probe(b.p, in_ms(5), &b.err), -SMX_E_UNAVAILABLE);
    provider_detach(box);
}

FIBER_TEST(a_request_without_an_answer_times_out)
{
    struct provider_info info = { 0 };
    struct provider_box *box = NULL;

    BENCH(b);
    ASSERT_OK(make(&b, &info, &box), &b.err);
    b.e.swallow = ENGINE_OP_PAUSE;
    ASSERT_EQ(provider_pause(box, in_ms(5), &b.err), -SMX_E_TIMEOUT);
    b.e.swallow = -1;
    ASSERT_OK(provider_pause(box, in_ms(1000), &b.err), &b.err);
    provider_detach(box);
}

static size_t open_fds(void)
{
    size_t n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

FIBER_TEST(late_and_foreign_answers_leave_no_descriptor)
{
    static char nobody[] = "nobody";
    size_t before;

    BENCH(b);
    before = open_fds();
    for (uint64_t seq = 900; seq < 910; seq++) {
        struct engine_reply reply = { .seq = seq, .next = nobody };

        send_reply(&b.e, &reply, 0);
    }
    (void)io_send_fds(&b.e.fd, "not json", 8, (const int[]){ 0 }, 1, in_ms(1000), &b.err);
    ASSERT_OK(provider_probe(b.p, in_ms(1000), &b.err), &b.err); /* all were read */
    ASSERT_EQ(open_fds(), before);
}

FIBER_TEST(events_are_told)
{
    struct engine_sandbox s;
    struct engine_reply ended = { .event = ENGINE_EVENT_ENDED, .sandbox = &s };
    struct engine_reply oom = { .event = ENGINE_EVENT_OOM, .sandbox = &s };

    BENCH(b);
    fill_sandbox(&b.e, &s, "iaaaaaaaaaaaaaaaaaaaa");
    s.state = ENGINE_STATE_STOPPED;
    s.reason = ENGINE_REASON_DISK_FULL;
    send_reply(&b.e, &oom, -1);
    send_reply(&b.e, &ended, -1);
    ASSERT_OK(provider_probe(b.p, in_ms(1000), &b.err), &b.err);
    ASSERT_EQ(b.told.changed, 1);
    ASSERT_EQ(b.told.logs, 1);
    ASSERT_EQ(b.told.state, PROVIDER_BOX_STOPPED);
    ASSERT_STR(b.told.reason, "disk_full");
    ASSERT_STR(b.told.id, "iaaaaaaaaaaaaaaaaaaaa");
}

FIBER_TEST(another_version_is_unavailable)
{
    struct provider_check check = { 0 };

    BENCH(b);
    ASSERT_OK(provider_validate(b.p, &check, in_ms(1000), &b.err), &b.err);
    ASSERT_TRUE(check.ok);
    b.e.newer = 1;
    ASSERT_EQ(provider_validate(b.p, &check, in_ms(1000), &b.err), -SMX_E_UNAVAILABLE);
    ASSERT_TRUE(strstr(b.err.msg, "must be of one build") != NULL);
}
