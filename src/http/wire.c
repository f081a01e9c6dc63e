/* wire.c - see wire.h. Reading: wait first, take a buffer then, so that ten thousand idle
 * connections hold no buffer. The pool is thread-local; a loop has one thread. */
#include "http/wire.h"

#include <assert.h>

#include "base/fd.h"
#include "base/mem.h"

/* --- pool --- */

/* A request holds a buffer for moments only, so that a few serve all connections. */
enum { POOL_KEPT = 4 };
struct pool {
    char *free[POOL_KEPT];
    size_t n;
};
static _Thread_local struct pool buffers, blocks;

static char *pool_get(struct pool *p, size_t size)
{
    return p->n > 0 ? p->free[--p->n] : smx_alloc(size);
}

static void pool_put(struct pool *p, char *buffer)
{
    if (buffer && p->n < POOL_KEPT)
        p->free[p->n++] = buffer;
    else
        smx_free(buffer);
}

char *http_pool_get(void)
{
    return pool_get(&buffers, HTTP_POOL_SIZE);
}

void http_pool_put(char *buffer)
{
    pool_put(&buffers, buffer);
}

char *http_block_get(void)
{
    return pool_get(&blocks, HTTP_BLOCK_SIZE);
}

void http_block_put(char *buffer)
{
    pool_put(&blocks, buffer);
}

int http_pool_buf_init(struct smx_buf *b, size_t max)
{
    smx_buf_init(b, max);
    b->data = http_pool_get();
    if (!b->data)
        return -SMX_E_NO_MEMORY;
    b->cap = HTTP_POOL_SIZE;
    b->data[0] = '\0';
    return 0;
}

void http_pool_buf_done(struct smx_buf *b)
{
    if (b->cap == HTTP_POOL_SIZE)
        http_pool_put(b->data);
    else
        smx_free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

/* --- bytes read ahead --- */

enum { FILL_MIN = 1024, PARSE_STEP = 4096 };

void http_in_done(struct http_in *in)
{
    if (in->cap == HTTP_POOL_SIZE)
        http_pool_put(in->data);
    else
        smx_free(in->data);
    memset(in, 0, sizeof *in);
}

void http_in_consume(struct http_in *in, size_t n)
{
    assert(n <= http_in_size(in));
    in->pos += n;
    if (in->pos == in->len)
        http_in_done(in);
}

size_t http_in_take(struct http_in *in, void *data, size_t n)
{
    n = SMX_MIN(n, http_in_size(in));
    if (n > 0) {
        memcpy(data, in->data + in->pos, n);
        http_in_consume(in, n);
    }
    return n;
}

/* Room for n bytes behind len. */
static int in_reserve(struct http_in *in, size_t n)
{
    size_t cap = SMX_MAX(in->cap, (size_t)HTTP_POOL_SIZE);
    char *data;

    if (!in->data) {
        in->data = http_pool_get();
        in->cap = in->data ? HTTP_POOL_SIZE : 0;
        if (!in->data)
            return -SMX_E_NO_MEMORY;
    }
    if (in->pos > 0) {
        memmove(in->data, in->data + in->pos, in->len - in->pos);
        in->len -= in->pos;
        in->pos = 0;
    }
    while (cap - in->len < n)
        cap *= 2;
    if (cap == in->cap)
        return 0;
    data = smx_realloc(in->data, cap);
    if (!data)
        return -SMX_E_NO_MEMORY;
    in->data = data;
    in->cap = cap;
    return 0;
}

int http_in_put_back(struct http_in *in, const char *data, size_t n)
{
    assert(http_in_size(in) == 0);
    if (n == 0)
        return 0;
    if (in_reserve(in, n) < 0)
        return -SMX_E_NO_MEMORY;
    memcpy(in->data, data, n);
    in->len = n;
    return 0;
}

void http_in_trim(struct http_in *in)
{
    size_t n = http_in_size(in);
    char *data;

    if (n == 0 || n >= in->cap / 2)
        return;
    data = smx_alloc(n);
    if (!data)
        return;
    memcpy(data, in->data + in->pos, n);
    http_in_done(in);
    in->data = data;
    in->len = in->cap = n;
}

int http_in_wait(struct http_in *in, struct io_fd *fd, struct io_fd *watch, uint64_t deadline_ns,
    struct smx_err *err)
{
    struct io_wait w[2] = { { .fd = fd, .events = IO_READ }, { .fd = watch, .events = IO_HUP } };
    int r;

    if (in->readable)
        return 0;
    r = io_wait(w, watch ? 2 : 1, deadline_ns);
    if (r < 0)
        return smx_err_set(err, (enum smx_code) - r, "waiting for the other side");
    if (!w[0].ready)
        return smx_err_set(err, SMX_E_CANCELLED, "the client left");
    in->readable = true;
    return 0;
}

/* The first descriptor is kept, others are closed. */
static ssize_t read_passed(
    struct http_in *in, struct io_fd *fd, int *passed, uint64_t deadline_ns, struct smx_err *err)
{
    int got = *passed - 1;
    ssize_t n = io_read_passed(fd, in->data + in->len, in->cap - in->len, &got, deadline_ns, err);

    *passed = got + 1;
    return n;
}

static ssize_t fill(struct http_in *in, struct io_fd *fd, struct io_fd *watch, int *passed,
    uint64_t deadline_ns, struct smx_err *err)
{
    ssize_t n = http_in_wait(in, fd, watch, deadline_ns, err);

    if (n < 0)
        return n;
    if (in_reserve(in, FILL_MIN) < 0)
        return smx_err_oom(err);
    in->readable = false;
    n = passed ? read_passed(in, fd, passed, deadline_ns, err)
               : io_read(fd, in->data + in->len, in->cap - in->len, deadline_ns, err);
    if (n > 0)
        in->len += (size_t)n;
    else if (http_in_size(in) == 0)
        http_in_done(in);
    return n;
}

ssize_t http_in_fill(struct http_in *in, struct io_fd *fd, struct io_fd *watch,
    uint64_t deadline_ns, struct smx_err *err)
{
    return fill(in, fd, watch, /* passed= */ NULL, deadline_ns, err);
}

/* --- heads --- */

static _Thread_local struct h1_field field_room[SMX_HTTP_HEADERS_MAX];

void http_message_done(struct http_message *m)
{
    smx_free(m->block);
    memset(m, 0, sizeof *m);
}

static const char *moved(const char *p, const char *from, char *to)
{
    return p ? to + (p - from) : NULL;
}

/* Copies fields and text into one block of their exact size. */
static int message_own(struct http_message *m, const char *text, size_t n)
{
    size_t table = m->head.n * sizeof(struct h1_field);
    struct h1_field *fields = smx_alloc(table + n);
    char *copy = (char *)fields + table;

    if (!fields)
        return -SMX_E_NO_MEMORY;
    memcpy(copy, text, n);
    for (size_t i = 0; i < m->head.n; i++) {
        const struct h1_field *f = &m->head.fields[i];

        fields[i].name = (struct smx_view){ moved(f->name.p, text, copy), f->name.n };
        fields[i].value = (struct smx_view){ moved(f->value.p, text, copy), f->value.n };
    }
    m->head.fields = fields;
    m->head.room = m->head.n;
    m->head.method_text.p = moved(m->head.method_text.p, text, copy);
    m->head.target.p = moved(m->head.target.p, text, copy);
    m->head.reason.p = moved(m->head.reason.p, text, copy);
    m->block = fields;
    return 0;
}

/* A head that trickles in is parsed again when a line has ended or much has come. */
static bool worth_parsing(const struct http_in *in)
{
    size_t n = http_in_size(in);

    return n > in->scanned &&
           (in->scanned == 0 || n - in->scanned >= PARSE_STEP || n >= SMX_HTTP_HEAD_MAX ||
               memchr(in->data + in->pos + in->scanned, '\n', n - in->scanned));
}

/* 1 with the head taken off, 0 incomplete, or a negative code. */
static int parse_in(struct http_in *in, const struct http_head_want *want, struct http_message *ret,
    int *ret_status, struct smx_err *err)
{
    struct http_message m = { .head = { .fields = field_room, .room = SMX_HTTP_HEADERS_MAX } };
    struct smx_view v = http_in_view(in);
    ptrdiff_t n;

    if (!worth_parsing(in))
        return 0;
    n = want->reply ? h1_parse_reply(v.p, v.n, want->method, &m.head, err)
                    : h1_parse_request(v.p, v.n, &m.head, ret_status, err);
    in->scanned = v.n;
    if (n <= 0)
        return (int)n;
    if (message_own(&m, v.p, (size_t)n) < 0) {
        *ret_status = 503;
        return smx_err_oom(err);
    }
    in->scanned = 0;
    http_in_consume(in, (size_t)n);
    *ret = m;
    return 1;
}

int http_in_head(struct http_in *in, struct io_fd *fd, const struct http_head_want *want,
    struct http_message *ret, int *ret_status, struct smx_err *err)
{
    for (;;) {
        int r = parse_in(in, want, ret, ret_status, err);
        ssize_t n;

        if (r != 0)
            return r;
        n = fill(in, fd, want->watch, want->passed, want->deadline_ns, err);
        *ret_status = n == -SMX_E_TIMEOUT ? 408 : n == -SMX_E_NO_MEMORY ? 503 : 0;
        if (n < 0)
            return (int)n;
        if (n == 0 && http_in_size(in) == 0)
            return 0;
        if (n == 0)
            return smx_err_set(err, SMX_E_CLOSED, "the connection ended within a head");
    }
}

/* --- bodies --- */

void http_body_init(struct http_body *b, const struct h1_head *head)
{
    b->framing = head->framing;
    b->left = head->framing == H1_LENGTH ? head->content_length : 0;
    b->failed = false;
    b->done = head->framing == H1_NO_BODY || (head->framing == H1_LENGTH && b->left == 0);
    h1_chunked_init(&b->chunked);
}

/* Undecoded bytes: those read ahead first. */
static ssize_t fetch_raw(struct http_in *in, struct io_fd *fd, struct io_fd *watch, void *data,
    size_t n, uint64_t deadline_ns, struct smx_err *err)
{
    if (http_in_size(in) > 0)
        return (ssize_t)http_in_take(in, data, n);
    if (watch) {
        int r = http_in_wait(in, fd, watch, deadline_ns, err);

        if (r < 0)
            return r;
    }
    in->readable = false;
    return io_read(fd, data, n, deadline_ns, err);
}

static ssize_t cut_short(struct smx_err *err)
{
    return smx_err_set(err, SMX_E_CLOSED, "the connection ended within a body");
}

/* Some body bytes, or 0 when only framing came. */
static ssize_t fetch_some_chunked(struct http_body *b, struct http_in *in, struct io_fd *fd,
    struct io_fd *watch, char *data, size_t n, uint64_t deadline_ns, struct smx_err *err)
{
    struct smx_view ahead = http_in_view(in);
    ssize_t got, made;
    size_t used;

    if (ahead.n > 0) {
        made = h1_chunked_read(&b->chunked, ahead.p, SMX_MIN(n, ahead.n), data, &used, err);
        if (made >= 0)
            http_in_consume(in, used);
        return made;
    }
    got = fetch_raw(in, fd, watch, data, n, deadline_ns, err);
    if (got <= 0)
        return got < 0 ? got : cut_short(err);
    made = h1_chunked_read(&b->chunked, data, (size_t)got, data, &used, err);
    if (made >= 0 && http_in_put_back(in, data + used, (size_t)got - used) < 0)
        return smx_err_oom(err);
    return made;
}

static ssize_t fetch_chunked(struct http_body *b, struct http_in *in, struct io_fd *fd,
    struct io_fd *watch, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err)
{
    ssize_t made;

    do
        made = fetch_some_chunked(b, in, fd, watch, data, n, deadline_ns, err);
    while (made == 0 && !b->chunked.done);
    b->done = b->chunked.done;
    return made;
}

static ssize_t fetch_plain(struct http_body *b, struct http_in *in, struct io_fd *fd,
    struct io_fd *watch, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err)
{
    ssize_t got;

    if (b->framing == H1_LENGTH && b->left < n)
        n = (size_t)b->left;
    got = fetch_raw(in, fd, watch, data, n, deadline_ns, err);
    if (got == 0 && b->framing == H1_LENGTH)
        return cut_short(err);
    if (got == 0)
        b->done = true;
    if (got > 0 && b->framing == H1_LENGTH) {
        b->left -= (uint64_t)got;
        b->done = b->left == 0;
    }
    return got;
}

ssize_t http_body_fetch(struct http_body *b, struct http_in *in, struct io_fd *fd,
    struct io_fd *watch, void *data, size_t n, uint64_t deadline_ns, struct smx_err *err)
{
    ssize_t got;

    if (b->done || n == 0)
        return 0;
    if (b->failed)
        return smx_err_set(err, SMX_E_CLOSED, "the body failed before");
    if (b->framing == H1_CHUNKED)
        got = fetch_chunked(b, in, fd, watch, data, n, deadline_ns, err);
    else
        got = fetch_plain(b, in, fd, watch, data, n, deadline_ns, err);
    if (got < 0 && got != -SMX_E_TIMEOUT)
        b->failed = true;
    return got;
}
