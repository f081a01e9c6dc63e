/* content.c - GET and PUT of a file's bytes, of any size in constant memory, with back-pressure
 * both ways. GET knows one Range; several in one request get the whole file, as RFC 9110 allows.
 * The bytes are a sandbox's: they are sent as a download, never as a page of our own site. */
#include "frontends/native/content.h"

#include <stdio.h>

/* --- range ------------------------------------------------------------------------------------ */

static int suffix_range(uint64_t want, uint64_t size, uint64_t *first, uint64_t *last)
{
    if (want == 0 || size == 0)
        return -1;
    *first = want < size ? size - want : 0;
    *last = size - 1;
    return 1;
}

int native_range_parse(
    struct smx_view field, uint64_t size, uint64_t *ret_first, uint64_t *ret_last)
{
    struct smx_view from, to;
    const char *dash;
    uint64_t a, b = UINT64_MAX;

    if (!field.p || !smx_view_starts(field, "bytes="))
        return 0;
    field.p += 6;
    field.n -= 6;
    dash = memchr(field.p, '-', field.n);
    if (!dash)
        return 0;
    from = (struct smx_view){ field.p, (size_t)(dash - field.p) };
    to = (struct smx_view){ dash + 1, field.n - from.n - 1 };
    if (from.n == 0)
        return smx_parse_u64(to, UINT64_MAX, &b) ? suffix_range(b, size, ret_first, ret_last) : 0;
    if (!smx_parse_u64(from, UINT64_MAX, &a) || (to.n && !smx_parse_u64(to, UINT64_MAX, &b)) ||
        b < a)
        return 0;
    if (a >= size)
        return -1;
    *ret_first = a;
    *ret_last = b < size ? b : size - 1;
    return 1;
}

/* --- GET ---------------------------------------------------------------------------------------
 */

/* RFC 5987 form, so that any name survives. */
static void add_disposition(struct http_exchange *x, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct smx_buf b;

    smx_buf_init(&b, 4 * SMX_PATH_MAX);
    smx_buf_append_str(&b, "attachment; filename*=UTF-8''");
    h1_percent_encode(&b, name, strlen(name), "");
    if (!b.failed)
        http_add_field(x, "Content-Disposition", b.data);
    smx_buf_done(&b);
}

static void add_fields(struct http_exchange *x, const char *path)
{
    add_disposition(x, path);
    http_add_field(x, "Accept-Ranges", "bytes");
    http_add_field(x, "X-Content-Type-Options", "nosniff");
}

/* Straight from the file, when the sandbox has handed it over. */
static bool send_as_file(struct http_exchange *x, struct provider_reader *reader, uint64_t length)
{
    struct provider_content f;

    if (provider_read_file(reader, &f) <= 0)
        return false;
    if (f.length == length && http_write_file(x, f.fd, f.offset, length, f.watch) == 0)
        http_finish(x);
    else
        http_abort(x);
    return true;
}

static void send_content(struct http_exchange *x, struct provider_reader *reader, uint64_t length)
{
    char *chunk;
    ssize_t n;

    if (send_as_file(x, reader, length))
        return;
    chunk = smx_alloc(NATIVE_CHUNK);
    n = chunk ? 1 : -SMX_E_NO_MEMORY;
    while (n > 0 && length > 0) {
        n = provider_read(reader, chunk, SMX_MIN((uint64_t)NATIVE_CHUNK, length),
            smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS), /* err= */ NULL);
        if (n > 0 && http_write(x, chunk, (size_t)n) < 0)
            n = -SMX_E_CLOSED;
        if (n > 0 && length != UINT64_MAX)
            length -= (uint64_t)n;
    }
    smx_free(chunk);
    if (n < 0 || (length > 0 && length != UINT64_MAX)) /* the file shrank under us: show the cut */
        http_abort(x);
    else
        http_finish(x);
}

struct span {
    uint64_t first, length, size; /* length UINT64_MAX: to the end */
    bool partial;
};

static void answer_content(struct http_exchange *x, struct provider_box *box, const char *path,
    const struct span *span, struct smx_err *err)
{
    struct provider_reader *reader = NULL;
    uint64_t total = UINT64_MAX, length = span->length;
    char text[96];
    int r = provider_read_open(box, path, /* user= */ NULL, span->first, span->length, &reader,
        &total, native_deadline(), err);

    if (r < 0) {
        native_fail(x, err);
        return;
    }
    add_fields(x, path);
    if (span->partial) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)span->first,
            (unsigned long long)(span->first + span->length - 1), (unsigned long long)span->size);
        http_add_field(x, "Content-Range", text);
    } else if (total != UINT64_MAX) {
        length = total;
    }
    if (http_start(x, span->partial ? 206 : 200, "application/octet-stream",
            length == UINT64_MAX ? HTTP_CHUNKED : length) == 0)
        send_content(x, reader, length);
    provider_read_close(reader);
}

static void answer_unsatisfiable(struct http_exchange *x, uint64_t size)
{
    struct smx_err err = { 0 };
    char text[64];

    snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)size);
    http_add_field(x, "Content-Range", text);
    smx_err_set(&err, SMX_E_INVALID, "Range: the file has %llu bytes", (unsigned long long)size);
    native_fail_status(x, 416, &err);
}

static void answer_head(struct http_exchange *x, const char *path, const struct provider_file *f)
{
    add_fields(x, path);
    if (http_start(x, 200, "application/octet-stream", f->size_bytes) == 0)
        http_finish(x);
}

/* HEAD and Range need the size first; a plain GET does not pay for it. */
static void answer_sized(
    struct http_exchange *x, struct provider_box *box, const char *path, struct smx_err *err)
{
    struct span span = { .length = UINT64_MAX };
    struct provider_file f = { 0 };
    uint64_t last = 0;
    int r = provider_stat(box, path, /* user= */ NULL, &f, native_deadline(), err);

    if (r == 0 && f.type == PROVIDER_FILE_DIRECTORY)
        r = smx_err_set(err, SMX_E_INVALID, "path: %.200s is a directory", path);
    if (r < 0) {
        native_fail(x, err);
        return;
    }
    span.size = f.size_bytes;
    if (http_head(x)->method == H1_HEAD) {
        answer_head(x, path, &f);
    } else {
        r = native_range_parse(http_field(x, "Range"), span.size, &span.first, &last);
        span.partial = r > 0;
        if (span.partial)
            span.length = last - span.first + 1;
        if (r < 0)
            answer_unsatisfiable(x, span.size);
        else
            answer_content(x, box, path, &span, err);
    }
    provider_file_done(&f);
}

void native_file_get(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    static const struct span whole = { .length = UINT64_MAX };
    NATIVE_USE(use);
    SMX_CLEANUP(smx_freep) char *path = NULL;
    struct smx_err err = { 0 };
    int r = native_query_path(x, &path, &err);

    if (r == 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r < 0)
        native_fail(x, &err);
    else if (http_head(x)->method == H1_HEAD ||
             (http_field(x, "Range").p && !http_field(x, "If-Range").p))
        answer_sized(x, use.box, path, &err);
    else
        answer_content(x, use.box, path, &whole, &err);
}

/* --- PUT ---------------------------------------------------------------------------------------
 */

static int copy_in(struct provider_writer *w, native_source_fn *source, void *ctx,
    uint64_t *ret_bytes, struct smx_err *err)
{
    char *chunk = smx_alloc(NATIVE_CHUNK);
    ssize_t n = chunk ? 0 : smx_err_oom(err);
    int r = 0;

    while (chunk && r == 0 && (n = source(ctx, chunk, NATIVE_CHUNK, err)) > 0) {
        r = provider_write(w, chunk, (size_t)n, err);
        *ret_bytes += (uint64_t)n;
    }
    smx_free(chunk);
    return n < 0 ? (int)n : r;
}

int native_store(struct provider_box *box, const char *path, uint64_t length,
    native_source_fn *source, void *ctx, uint64_t *ret_bytes, struct smx_err *err)
{
    struct provider_writer *w = NULL;
    int r = provider_write_open(box, path, /* user= */ NULL, length, &w, native_deadline(), err);

    if (r == 0)
        r = copy_in(w, source, ctx, ret_bytes, err);
    if (r < 0) {
        provider_write_abort(w);
        return r;
    }
    return provider_write_commit(w, native_deadline(), err);
}

static ssize_t pull_body(void *ctx, void *data, size_t n, struct smx_err *err)
{
    return http_body_read(ctx, data, n, smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS), err);
}

void native_reply_size(struct http_exchange *x, int status, uint64_t bytes)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 256);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_u64(&w, "size", bytes);
    json_object_end(&w);
    native_reply_json(x, status, &w);
    smx_buf_done(&out);
}

static int read_mode(struct http_exchange *x, char mode[8], struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *text = NULL;
    int r = http_query_string(x, "mode", &text, err);

    mode[0] = 0;
    if (r < 0 || !text)
        return r;
    if (strlen(text) < 3 || strlen(text) > 4 || strspn(text, "01234567") != strlen(text))
        return smx_err_set(err, SMX_E_INVALID, "mode: must be octal digits such as 0644");
    smx_strcpy(mode, 8, text);
    return 0;
}

/* There is no file call for modes: chmod in the sandbox does it. */
static int set_mode(
    struct provider_box *box, const char *path, const char *mode, struct smx_err *err)
{
    const char *argv[] = { "chmod", mode, "--", path, NULL };
    struct provider_process_spec spec = { .argv = argv, .timeout_ms = NATIVE_CALL_TIMEOUT_MS };
    SMX_CLEANUP(provider_stream_closep) struct provider_stream *s = NULL;
    struct provider_event ev = { 0 };
    int r = provider_process_start(box, &spec, &s, native_deadline(), err);

    while (r == 0 && ev.kind != PROVIDER_EVENT_END)
        r = provider_stream_next(s, &ev, native_deadline(), err);
    if (r == 0 && ev.exit_code != 0)
        r = smx_err_set(err, SMX_E_FORBIDDEN, "the mode of %.150s could not be set", path);
    return r;
}

static bool exists(struct provider_box *box, const char *path)
{
    struct provider_file f = { 0 };
    bool there = provider_stat(box, path, /* user= */ NULL, &f, native_deadline(), NULL) == 0;

    provider_file_done(&f);
    return there;
}

void native_file_put(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    NATIVE_USE(use);
    SMX_CLEANUP(smx_freep) char *path = NULL;
    const struct h1_head *head = http_head(x);
    struct smx_err err = { 0 };
    uint64_t bytes = 0;
    bool there = false;
    char mode[8];
    int r = native_query_path(x, &path, &err);

    if (r == 0)
        r = read_mode(x, mode, &err);
    if (r == 0)
        r = native_use_begin(ctx, x, params, &use, &err);
    if (r == 0) {
        there = exists(use.box, path);
        r = native_store(use.box, path,
            head->framing == H1_LENGTH    ? head->content_length
            : head->framing == H1_CHUNKED ? UINT64_MAX
                                          : 0,
            pull_body, x, &bytes, &err);
    }
    if (r == 0 && *mode)
        r = set_mode(use.box, path, mode, &err);
    if (r < 0)
        native_fail(x, &err);
    else
        native_reply_size(x, there ? 200 : 201, bytes);
}
