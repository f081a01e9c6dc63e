/* transfer.c - contents of files over envd's plain HTTP: bodies of any size pass through, nothing
 * is kept. */
#include "providers/envd/internal.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"

enum {
    TARGET_MAX = 3 * SMX_PATH_MAX + 1024,
    FIELDS_MAX = 1024,
    ANSWER_MS = 2000,
    ANSWER_MAX = 64 * 1024
};

struct provider_reader {
    struct provider_handle handle;
    struct envd_conn *conn;
    struct http_file file; /* what is left of it */
    bool is_file;          /* else the bytes come by the connection */
};

struct provider_writer {
    struct provider_handle handle;
    struct envd_conn *conn;
};

/* "/files?path=...&username=..." */
static int target(const struct envd_box *b, const char *path, const char *user, struct smx_buf *out,
    struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *full = envd_path(b, path);

    if (!full)
        return smx_err_oom(err);
    if (strlen(full) >= SMX_PATH_MAX)
        return smx_err_set(err, SMX_E_INVALID, "path: must have less than %d bytes", SMX_PATH_MAX);
    smx_buf_append_str(out, ENVD_FILES "?path=");
    h1_percent_encode(out, full, strlen(full), "/");
    user = envd_user(b, user);
    if (user) {
        smx_buf_append_str(out, "&username=");
        h1_percent_encode(out, user, strlen(user), "");
    }
    return smx_buf_check(out, err);
}

static int send_request(struct envd_box *b, enum h1_method method, const char *path,
    const char *user, const struct smx_buf *fields, uint64_t length, struct envd_conn **ret,
    uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf to = { 0 };
    struct envd_conn *c = NULL;
    int r;

    smx_buf_init(&to, TARGET_MAX);
    r = target(b, path, user, &to, err);
    if (r == 0)
        r = envd_conn_get(b, &c, deadline, err);
    if (r < 0)
        return r;
    r = http_client_send(
        &c->http, method, (struct smx_view){ to.data, to.len }, fields, length, err);
    if (r < 0) {
        envd_conn_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

/* --- reading ------------------------------------------------------------------------------- */

static void range_field(struct smx_buf *fields, uint64_t offset, uint64_t length)
{
    if (length == UINT64_MAX || length > UINT64_MAX - offset)
        smx_buf_appendf(fields, "Range: bytes=%llu-\r\n", (unsigned long long)offset);
    else
        smx_buf_appendf(fields, "Range: bytes=%llu-%llu\r\n", (unsigned long long)offset,
            (unsigned long long)(offset + length - 1));
}

/* "bytes 0-9/100": 100; UINT64_MAX when it does not say. */
static uint64_t total_of(const struct h1_head *head, const struct http_file *file)
{
    struct smx_view v = h1_get(head, "Content-Range");
    const char *slash = v.p ? memchr(v.p, '/', v.n) : NULL;
    uint64_t total = UINT64_MAX;

    if (slash)
        smx_parse_u64((struct smx_view){ slash + 1, (size_t)(v.p + v.n - slash - 1) },
            UINT64_MAX - 1, &total);
    else if (file->length > 0)
        total = file->length;
    else if (head->status == 200 && head->framing != H1_CHUNKED && head->framing != H1_UNTIL_CLOSE)
        total = head->content_length;
    return total;
}

struct read_request {
    const struct smx_buf *target;
    uint64_t offset, length;
    bool plain; /* the bytes, no descriptor */
};

static int send_read(const struct read_request *q, struct envd_conn *c, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf fields = { 0 };
    int r;

    smx_buf_init(&fields, FIELDS_MAX);
    if (q->offset > 0 || q->length != UINT64_MAX)
        range_field(&fields, q->offset, q->length);
    if (!q->plain)
        (void)http_client_ask_file(&c->http, &fields); /* a failure is that of fields */
    r = smx_buf_check(&fields, err);
    if (r < 0)
        return r;
    return http_client_send(
        &c->http, H1_GET, (struct smx_view){ q->target->data, q->target->len }, &fields, 0, err);
}

/* Up to the head of the reply; a descriptor that cannot be used is given up for bytes. */
static int begin_read(const struct read_request *q, struct envd_conn *c, struct h1_head *head,
    struct http_file *file, uint64_t deadline, struct smx_err *err)
{
    struct read_request again = *q;
    int r = send_read(q, c, err), got;

    if (r == 0)
        r = http_client_head(&c->http, head, deadline, err);
    if (r < 0)
        return r;
    got = http_client_file(&c->http, head, file);
    again.plain = true;
    if (got == -SMX_E_UNSUPPORTED && !q->plain && http_client_reusable(&c->http))
        return begin_read(&again, c, head, file, deadline, err);
    return got >= 0 ? 0 : smx_err_set(err, SMX_E_PROTOCOL, "the sandbox's file cannot be read");
}

int envd_read_open(struct provider_box *box, const char *path, const char *user, uint64_t offset,
    uint64_t length, struct provider_reader **ret, uint64_t *ret_total, uint64_t deadline,
    struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf to = { 0 };
    struct read_request q = { &to, offset, length, /* plain= */ false };
    struct envd_box *b = envd_box_of(box);
    bool ranged = offset > 0 || length != UINT64_MAX;
    struct provider_reader *rd;
    struct envd_conn *c = NULL;
    struct h1_head head;
    int r;

    if (length == 0)
        return smx_err_set(err, SMX_E_INVALID, "length: must be at least 1");
    rd = smx_alloc(sizeof *rd);
    smx_buf_init(&to, TARGET_MAX);
    r = rd ? target(b, path, user, &to, err) : smx_err_oom(err);
    if (r == 0)
        r = envd_conn_get(b, &c, deadline, err);
    if (r == 0)
        r = begin_read(&q, c, &head, &rd->file, deadline, err);
    if (r == 0 && head.status != (ranged ? 206 : 200))
        r = envd_http_error(c, head.status, deadline, err);
    if (r < 0) {
        if (rd && rd->file.length > 0)
            smx_close(rd->file.fd);
        if (c)
            envd_conn_put(c);
        smx_free(rd);
        return r;
    }
    rd->handle.ops = b->handle.ops;
    rd->conn = c;
    rd->is_file = rd->file.length > 0;
    *ret_total = total_of(&head, &rd->file);
    *ret = rd;
    return 0;
}

struct file_read {
    const struct http_file *file;
    void *data;
    size_t n;
    ssize_t got;
};

static void read_work(void *arg)
{
    struct file_read *w = arg;

    w->got = pread(w->file->fd, w->data, w->n, (off_t)w->file->offset);
}

static ssize_t read_from_file(struct provider_reader *rd, void *data, size_t n, struct smx_err *err)
{
    struct http_file *f = &rd->file;
    struct file_read w = { f, data, (size_t)SMX_MIN(n, f->length), 0 };
    int r = w.n > 0 ? io_work(read_work, &w, err) : 0;

    if (r < 0)
        return r;
    if (w.got < 0 || (w.got == 0 && w.n > 0))
        return smx_err_set(err, SMX_E_CLOSED, "the file became shorter while it was read");
    f->offset += (uint64_t)w.got;
    f->length -= (uint64_t)w.got;
    return w.got;
}

ssize_t envd_read(
    struct provider_reader *rd, void *data, size_t n, uint64_t deadline, struct smx_err *err)
{
    if (rd->is_file)
        return read_from_file(rd, data, n, err);
    return http_client_read(&rd->conn->http, data, n, deadline, err);
}

int envd_read_file(struct provider_reader *rd, struct provider_content *ret)
{
    if (!rd->is_file)
        return 0;
    *ret = (struct provider_content){ rd->file.fd, rd->file.offset, rd->file.length,
        &rd->conn->http.fd };
    return 1;
}

void envd_read_close(struct provider_reader *rd)
{
    if (rd->is_file)
        smx_close(rd->file.fd);
    envd_conn_put(rd->conn);
    smx_free(rd);
}

/* --- writing ------------------------------------------------------------------------------- */

int envd_write_open(struct provider_box *box, const char *path, const char *user, uint64_t length,
    struct provider_writer **ret, uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf fields = { 0 };
    struct provider_writer *w = smx_alloc(sizeof *w);
    int r;

    if (!w)
        return smx_err_oom(err);
    smx_buf_init(&fields, FIELDS_MAX);
    r = envd_fields(&fields, "application/octet-stream", /* user= */ NULL, err);
    if (r == 0)
        r = send_request(envd_box_of(box), H1_POST, path, user, &fields,
            length == UINT64_MAX ? HTTP_CHUNKED : length, &w->conn, deadline, err);
    if (r < 0) {
        smx_free(w);
        return r;
    }
    w->handle.ops = envd_box_of(box)->handle.ops;
    *ret = w;
    return 0;
}

static int read_answer(struct provider_writer *w, uint64_t deadline, struct smx_err *err)
{
    SMX_CLEANUP(smx_buf_done) struct smx_buf body = { 0 };
    struct h1_head head;
    int r = http_client_head(&w->conn->http, &head, deadline, err);

    if (r < 0)
        return r;
    if (head.status != 200)
        return envd_http_error(w->conn, head.status, deadline, err);
    smx_buf_init(&body, ANSWER_MAX); /* of no interest, and not without an end */
    return http_client_read_all(&w->conn->http, &body, deadline, err);
}

/* envd says why and hangs up before it has read all: the answer is worth more than "broken pipe".
 */
int envd_write(struct provider_writer *w, const void *data, size_t n, struct smx_err *err)
{
    int r = http_client_write(&w->conn->http, data, n, err);
    struct smx_err why = { 0 };
    int answer;

    if (r != -SMX_E_CLOSED)
        return r;
    answer = read_answer(w, smx_deadline_in_ms(ANSWER_MS), &why);
    if (answer >= 0 || answer == -SMX_E_CLOSED || answer == -SMX_E_TIMEOUT)
        return r;
    if (err)
        *err = why;
    return answer;
}

int envd_write_commit(struct provider_writer *w, uint64_t deadline, struct smx_err *err)
{
    int r = http_client_finish(&w->conn->http, err);

    if (r == 0 || r == -SMX_E_CLOSED)
        r = read_answer(w, deadline, err);
    envd_conn_put(w->conn);
    smx_free(w);
    return r;
}

void envd_write_abort(struct provider_writer *w)
{
    envd_conn_close(w->conn);
    smx_free(w);
}
