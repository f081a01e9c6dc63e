/* test_threads.c - one handle and many threads, one process and two threads, a fork, and no memory,
 * against a server in this process that answers just enough. Runs under ThreadSanitizer too. */
#include "base/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/exec.h"
#include "sandmux/files.h"
#include "sandmux/sandbox.h"

enum { THREADS = 8, CALLS = 100, ECHO_BYTES = 2 * 1024 * 1024 };

/* --- the server ---------------------------------------------------------------------------------
 */

struct server {
    char dir[64], url[96];
    int fd;
    pthread_t thread;
    atomic_uint connections;
};

static bool send_text(int fd, const char *text)
{
    return smx_write_full(fd, text, strlen(text)) == 0;
}

/* The frame that the client sent comes back as output on channel 1. */
static bool echo_frame(int fd, const char *data, size_t n, const unsigned char *key)
{
    SMX_CLEANUP(smx_freep) char *out = smx_alloc(n + 16);
    size_t head = 2;

    if (!out)
        return false;
    out[0] = (char)0x82;
    if (n + 1 < 126) {
        out[1] = (char)(n + 1);
    } else {
        out[1] = 127;
        for (unsigned i = 0; i < 8; i++)
            out[2 + i] = (char)((uint64_t)(n + 1) >> (56 - 8 * i));
        head = 10;
        if (n + 1 < 65536) {
            out[1] = 126;
            out[2] = (char)((n + 1) >> 8);
            out[3] = (char)(n + 1);
            head = 4;
        }
    }
    out[head++] = NATIVE_WS_STDOUT;
    for (size_t i = 0; i < n; i++)
        out[head + i] = (char)(data[i] ^ (char)key[i % 4]);
    return smx_write_full(fd, out, head + n) == 0;
}

static void echo_all(int fd)
{
    unsigned char h[14];

    while (smx_read_full(fd, h, 2) == 2) {
        size_t n = h[1] & 0x7f, wide = n == 126 ? 2 : n == 127 ? 8 : 0;
        SMX_CLEANUP(smx_freep) char *data = NULL;

        if (smx_read_full(fd, h + 2, wide + 4) != (ssize_t)(wide + 4))
            return;
        for (size_t i = 0; i < wide; i++)
            n = i == 0 ? h[2] : n << 8 | h[2 + i];
        data = smx_alloc(n + 1);
        if (!data || smx_read_full(fd, data, n) != (ssize_t)n)
            return;
        if ((h[0] & 15) == FRAME_CLOSE)
            return;
        if ((h[0] & 15) == FRAME_TEXT ? !send_text(fd, "\x81\x0c{\"start\":{}}")
                                      : !echo_frame(fd, data, n, h + 2 + wide))
            return;
    }
}

static void upgrade(int fd, const char *head)
{
    const char *key = strstr(head, "Sec-WebSocket-Key: ");
    char accept[FRAME_ACCEPT_SIZE], reply[256];

    frame_accept(key + strlen("Sec-WebSocket-Key: "), accept);
    snprintf(reply, sizeof reply,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\n\r\n",
        accept);
    if (send_text(fd, reply))
        echo_all(fd);
}

static bool send_body(int fd, const char *head)
{
    static const struct {
        const char *path, *body;
    } bodies[] = {
        { "/files?", "{\"files\":[{\"name\":\"a\",\"size\":3,\"permissions\":\"0640\"},"
                     "{\"name\":\"b\",\"is_dir\":true}]}" },
        { "/exec", "{\"start\":{\"pid\":7}}\n{\"stdout\":\"hi\"}\n{\"stderr_b64\":\"/w==\"}\n"
                   "{\"exit\":{\"exit_code\":3}}\n" },
        { "/api/sandboxes?", "{\"items\":[{\"id\":\"i1\",\"state\":\"running\",\"metadata\":"
                             "{\"k\":\"v\"}}],\"next_cursor\":\"c\"}" },
        { "/api/sandboxes/", "{\"id\":\"i1\",\"state\":\"running\",\"aliases\":[\"x\"],"
                             "\"metadata\":{\"k\":\"v\"},\"capabilities\":{\"a\":true}}" },
        { "", "{}" },
    };
    char reply[512];
    size_t i = 0;

    while (!strstr(head, bodies[i].path))
        i++;
    snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(bodies[i].body), bodies[i].body);
    return send_text(fd, reply);
}

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char head[4096];
    size_t n = 0;
    ssize_t r;

    while ((r = recv(fd, head + n, sizeof head - 1 - n, 0)) > 0) {
        n += (size_t)r;
        head[n] = '\0';
        if (!strstr(head, "\r\n\r\n"))
            continue;
        n = 0;
        if (strstr(head, "/silent"))
            continue;
        if (strstr(head, "Upgrade: websocket")) {
            upgrade(fd, head);
            break;
        }
        if (!send_body(fd, head))
            break;
    }
    smx_close(fd);
    return NULL;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd;

    while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t t;

        s->connections++;
        if (pthread_create(&t, NULL, serve_one, (void *)(intptr_t)fd) == 0)
            pthread_detach(t);
    }
    return NULL;
}

static bool server_start(struct server *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    memset(s, 0, sizeof *s);
    smx_strcpy(s->dir, sizeof s->dir, "/tmp/smx-client-XXXXXX");
    if (!mkdtemp(s->dir))
        return false;
    snprintf(s->url, sizeof s->url, "unix:%s/s", s->dir);
    smx_strcpy(addr.sun_path, sizeof addr.sun_path, s->url + 5);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return bind(s->fd, (struct sockaddr *)&addr, sizeof addr) == 0 && listen(s->fd, 64) == 0 &&
           pthread_create(&s->thread, NULL, serve, s) == 0;
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    smx_close(s->fd);
    unlink(s->url + 5);
    rmdir(s->dir);
}

/* --- one handle, many threads -------------------------------------------------------------------
 */

struct caller {
    struct smx_client *client;
    unsigned good;
};

static void *call_often(void *arg)
{
    struct caller *c = arg;

    for (unsigned i = 0; i < CALLS; i++) {
        struct smx_reply *reply = NULL;

        if (smx_request(c->client, "GET", "/x", /* body= */ NULL, &reply, /* err= */ NULL) == 0 &&
            reply->status == 200 && smx_streq(reply->body, "{}"))
            c->good++;
        smx_reply_free(reply);
    }
    return NULL;
}

TEST(many_threads_share_a_handle_and_its_connections)
{
    struct smx_client_config config = { 0 };
    struct caller callers[THREADS];
    struct smx_client *client = NULL;
    struct smx_err err = { 0 };
    pthread_t threads[THREADS];
    struct server s;

    ASSERT_TRUE(server_start(&s));
    config.url = s.url;
    ASSERT_OK(smx_client_open(&config, &client, &err), &err);
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){ client, 0 };
        ASSERT_EQ(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < THREADS; i++)
        ASSERT_EQ(callers[i].good, CALLS);
    ASSERT_INT(s.connections, <=, THREADS);
    smx_client_close(client);
    server_stop(&s);
}

TEST(a_child_does_not_use_its_parents_connections)
{
    struct smx_client_config config = { 0 };
    struct smx_client *client = NULL;
    struct smx_err err = { 0 };
    struct caller c;
    struct server s;
    int status = -1;
    pid_t pid;

    ASSERT_TRUE(server_start(&s));
    config.url = s.url;
    ASSERT_OK(smx_client_open(&config, &client, &err), &err);
    c = (struct caller){ client, 0 };
    call_often(&c);
    pid = fork();
    if (pid == 0) {
        c.good = 0;
        call_often(&c);
        _exit(c.good == CALLS ? 0 : 1);
    }
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_EQ(status, 0);
    ASSERT_EQ(s.connections, 2);
    call_often(&c);
    ASSERT_EQ(c.good, 2 * CALLS);
    ASSERT_EQ(s.connections, 2);
    smx_client_close(client);
    server_stop(&s);
}

/* --- an end before the answer -------------------------------------------------------------------
 */

static int third_time(void *arg)
{
    return ++*(unsigned *)arg == 3;
}

TEST(a_call_that_waits_ends_when_the_caller_says_so)
{
    unsigned asked = 0;
    struct smx_client_config config = { .interrupt = third_time, .interrupt_arg = &asked };
    struct smx_client *client = NULL;
    struct smx_reply *reply = NULL;
    struct smx_err err = { 0 };
    struct server s;

    ASSERT_TRUE(server_start(&s));
    config.url = s.url;
    ASSERT_OK(smx_client_open(&config, &client, &err), &err);
    ASSERT_EQ(smx_request(client, "GET", "/silent", NULL, &reply, &err), -SMX_E_CANCELLED);
    ASSERT_EQ(err.code, SMX_E_CANCELLED);
    ASSERT_EQ(asked, 3);
    ASSERT_OK(smx_request(client, "GET", "/x", NULL, &reply, &err), &err);
    ASSERT_EQ(smx_reply_check(reply, &err), 0);
    smx_reply_free(reply);
    smx_client_close(client);
    server_stop(&s);
}

/* --- without memory -----------------------------------------------------------------------------
 */

static int use_sandbox(struct smx_client *client, struct smx_err *err)
{
    struct smx_sandbox *sandbox = NULL;
    int r = smx_sandbox_get(client, "i1", &sandbox, err);

    if (r == 0 && (!smx_streq(sandbox->id, "i1") || sandbox->n_metadata != 1))
        return 1;
    smx_sandbox_free(sandbox);
    return r;
}

static int use_list(struct smx_client *client, struct smx_err *err)
{
    struct smx_sandbox_filter filter = { .limit = 1 };
    struct smx_sandbox_list *list = NULL;
    int r = smx_sandbox_list(client, &filter, &list, err);

    if (r == 0 && (list->n != 1 || !smx_streq(list->next_cursor, "c")))
        return 1;
    smx_sandbox_list_free(list);
    return r;
}

static int use_files(struct smx_client *client, struct smx_err *err)
{
    struct smx_file_list *files = NULL;
    int r = smx_file_list(client, "i1", "/", 1, &files, err);

    if (r == 0 && (files->n != 2 || files->items[0].permissions != 0640))
        return 1;
    smx_file_list_free(files);
    return r;
}

static int use_exec(struct smx_client *client, struct smx_err *err)
{
    struct smx_exec_spec spec = { .shell = "x", .stdin_data = "in", .stdin_bytes = 2 };
    struct smx_exec_result *result = NULL;
    int r = smx_exec(client, "i1", &spec, &result, err);

    if (r == 0 && (result->exit_code != 3 || !smx_streq(result->stdout_data, "hi") ||
                      result->stderr_bytes != 1))
        return 1;
    smx_exec_result_free(result);
    return r;
}

TEST(every_failing_allocation_is_an_error_and_leaves_the_handle_whole)
{
    static int (*const uses[])(
        struct smx_client *, struct smx_err *) = { use_sandbox, use_list, use_files, use_exec };
    struct smx_client_config config = { 0 };
    struct smx_client *client = NULL;
    struct smx_err err = { 0 };
    struct server s;

    ASSERT_TRUE(server_start(&s));
    config.url = s.url;
    ASSERT_OK(smx_client_open(&config, &client, &err), &err);
    for (size_t u = 0; u < SMX_ARRAY_LEN(uses); u++) {
        int r = -1;

        for (unsigned n = 1; n < 200 && r < 0; n++) {
            smx_mem_fail_after(n);
            r = uses[u](client, &err);
            smx_mem_fail_after(0);
            /* a buffer does not tell its own end from that of memory */
            ASSERT_TRUE(r == 0 || r == -SMX_E_NO_MEMORY || r == -SMX_E_TOO_LARGE);
        }
        ASSERT_EQ(r, 0); /* once there are fewer allocations than n */
        ASSERT_EQ(uses[u](client, &err), 0);
    }
    smx_client_close(client);
    server_stop(&s);
}

/* --- one process, a reader and a writer ---------------------------------------------------------
 */

static void *write_much(void *arg)
{
    SMX_CLEANUP(smx_freep) char *data = smx_alloc(ECHO_BYTES);
    size_t done = 0;

    for (size_t i = 0; data && i < ECHO_BYTES; i++)
        data[i] = (char)(i * 31 + (i >> 9));
    while (data && done < ECHO_BYTES) {
        ssize_t n = smx_process_write(arg, data + done, SMX_MIN(ECHO_BYTES - done, 70001U),
            /* timeout_ms= */ 60000, /* err= */ NULL);

        if (n < 0)
            break;
        done += (size_t)n;
    }
    return NULL;
}

TEST(one_thread_reads_while_another_writes)
{
    static const char *const argv[] = { "cat", NULL };
    struct smx_exec_spec spec = { .argv = argv };
    struct smx_client_config config = { 0 };
    struct smx_client *client = NULL;
    struct smx_process *process = NULL;
    struct smx_process_event e;
    struct smx_err err = { 0 };
    struct server s;
    pthread_t writer;
    size_t got = 0;
    bool same = true;

    ASSERT_TRUE(server_start(&s));
    config.url = s.url;
    ASSERT_OK(smx_client_open(&config, &client, &err), &err);
    ASSERT_OK(smx_process_start(client, "box", &spec, &process, &err), &err);
    smx_client_close(client);
    ASSERT_EQ(smx_process_next(process, 60000, &e, &err), 1);
    ASSERT_EQ(e.kind, SMX_PROCESS_STARTED);
    ASSERT_EQ(smx_process_next(process, 20, &e, &err), -SMX_E_TIMEOUT);
    ASSERT_EQ(pthread_create(&writer, NULL, write_much, process), 0);
    while (got < ECHO_BYTES) {
        ASSERT_OK(smx_process_next(process, 60000, &e, &err), &err);
        for (size_t i = 0; i < e.bytes; i++, got++)
            same = same && ((const char *)e.data)[i] == (char)(got * 31 + (got >> 9));
    }
    pthread_join(writer, NULL);
    ASSERT_TRUE(same);
    smx_process_free(process);
    server_stop(&s);
}
