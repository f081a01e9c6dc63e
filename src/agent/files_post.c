/* files_post.c - POST /files: one raw body, or the parts named "file" of a form, plain or gzip. */
#include "agent/files.h"

#include <ctype.h>
#include <string.h>

#include "agent/gunzip.h"
#include "agent/pathname.h"
#include "agent/upload.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

enum { METADATA_KEY_MAX = 246, METADATA_BYTES_MAX = 4096, REPLY_MAX = 16 * 1024 * 1024 };
#define METADATA_PREFIX "x-metadata-"

struct post {
    struct agent *agent;
    struct http_exchange *x;
    struct files_target target;
    struct json_map metadata;
    struct gunzip *gunzip; /* NULL: the body is not compressed */
    struct json_writer w;
    struct smx_buf reply;
    struct smx_map written; /* paths of this request */
    struct upload_error err;
};

static ssize_t read_body(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct post *p = ctx;

    return http_body_read(p->x, data, n, smx_deadline_in_ms(SMX_HTTP_STREAM_TIMEOUT_MS), err);
}

static ssize_t read_source(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct post *p = ctx;

    return p->gunzip ? gunzip_read(p->gunzip, data, n, err) : read_body(p, data, n, err);
}

/* The content could not be read to its end. */
static int fail_source(struct post *p, const struct smx_err *err, const char *doing)
{
    if (err->code == SMX_E_TIMEOUT)
        return upload_fail(&p->err, 408, "%s: timed out", doing);
    if (p->gunzip && err->code == SMX_E_PROTOCOL)
        return upload_fail(&p->err, 400, "error decompressing request body: %s", err->msg);
    return upload_fail(&p->err, 500, "%s: %s", doing, err->msg);
}

/* --- metadata ---------------------------------------------------------------------------- */

/* A key that is given twice has the value that came last. */
static void drop_same(struct json_map *m)
{
    struct json_pair *last = &m->v[m->n - 1];

    for (struct json_pair *p = m->v; p < last; p++) {
        if (!smx_streq(p->key, last->key))
            continue;
        smx_free(p->key);
        smx_free(p->value);
        *p = *last;
        m->n--;
        return;
    }
}

static int add_metadata(struct post *p, const struct h1_field *f, size_t *bytes)
{
    const size_t prefix = sizeof METADATA_PREFIX - 1;
    char *key = smx_strndup(f->name.p + prefix, f->name.n - prefix);
    char *value = smx_strndup(f->value.p, f->value.n);

    p->metadata.v[p->metadata.n++] = (struct json_pair){ key, value };
    if (!key || !value)
        return upload_fail(&p->err, 429, "out of memory");
    for (char *c = key; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    drop_same(&p->metadata);
    for (size_t i = 0; i < f->value.n; i++) {
        unsigned char c = (unsigned char)value[i];

        if (c < 0x20 || c > 0x7e)
            return upload_fail(&p->err, 400,
                "invalid metadata: metadata value for key \"%.80s\" contains non-printable-ASCII "
                "byte 0x%02x at offset %zu",
                key, c, i);
    }
    *bytes += strlen(key) + f->value.n;
    if (!*key || strlen(key) > METADATA_KEY_MAX)
        return upload_fail(
            &p->err, 400, "invalid metadata: a key must have 1 to %d characters", METADATA_KEY_MAX);
    if (*bytes > METADATA_BYTES_MAX)
        return upload_fail(
            &p->err, 400, "invalid metadata: more than %d bytes", METADATA_BYTES_MAX);
    return 0;
}

static int read_metadata(struct post *p)
{
    const struct h1_head *head = http_head(p->x);
    size_t bytes = 0;

    p->metadata.v = smx_alloc_array(head->n + 1, sizeof *p->metadata.v);
    if (!p->metadata.v)
        return upload_fail(&p->err, 429, "out of memory");
    for (size_t i = 0; i < head->n; i++) {
        struct smx_view name = head->fields[i].name;

        name.n = SMX_MIN(name.n, sizeof METADATA_PREFIX - 1);
        if (!smx_view_ieq(name, METADATA_PREFIX))
            continue;
        if (add_metadata(p, &head->fields[i], &bytes) < 0)
            return -1;
    }
    return 0;
}

static void free_metadata(struct post *p)
{
    for (size_t i = 0; i < p->metadata.n; i++) {
        smx_free(p->metadata.v[i].key);
        smx_free(p->metadata.v[i].value);
    }
    smx_free(p->metadata.v);
}

/* --- one file ---------------------------------------------------------------------------- */

static void report(struct post *p, const char *path)
{
    json_object_begin(&p->w);
    if (p->metadata.n > 0) {
        json_key(&p->w, "metadata");
        json_object_begin(&p->w);
        for (size_t i = 0; i < p->metadata.n; i++)
            json_kv_string(&p->w, p->metadata.v[i].key, p->metadata.v[i].value);
        json_object_end(&p->w);
    }
    json_kv_string(&p->w, "name", path_base(path));
    json_kv_string(&p->w, "path", path);
    json_kv_string(&p->w, "type", "file");
    json_object_end(&p->w);
}

/* source NULL: the request's body itself. */
static int store(struct post *p, const char *path, multipart_source_fn *source, void *ctx)
{
    struct upload u;
    struct smx_err source_err = { 0 };
    int r = upload_open(
        &u, p->agent, p->x, path, &p->target.user, /* whole= */ p->gunzip != NULL, &p->err);

    if (r == 0)
        r = source ? upload_pull(&u, source, ctx, &p->err, &source_err)
                   : upload_body(&u, &p->err, &source_err);
    if (r == -2)
        r = fail_source(p, &source_err, "error reading the content");
    if (r == 0)
        r = upload_finish(&u, &p->err);
    upload_done(&u);
    if (r == 0)
        r = upload_metadata(path, &p->metadata, &p->err);
    if (r == 0)
        report(p, path);
    return r;
}

static int post_raw(struct post *p)
{
    if (!p->target.given)
        return upload_fail(&p->err, 400, "path query parameter is required for raw body upload");
    return store(p, p->target.path, p->gunzip ? read_source : NULL, p);
}

/* --- forms ------------------------------------------------------------------------------- */

static ssize_t read_part(void *ctx, void *data, size_t n, struct smx_err *err)
{
    return multipart_read(ctx, data, n, err);
}

static int store_part(struct post *p, struct multipart *m, const char *filename)
{
    struct smx_err err = { 0 };
    char *path = NULL;
    int r;

    if (p->target.given && *p->target.given)
        filename = p->target.given;
    if (path_resolve(filename ? filename : "", p->target.user.home,
            p->agent->settings.default_workdir, p->target.user.name, &path, &err) < 0)
        return upload_fail(&p->err, 400, "error resolving path: %s", err.msg);
    r = smx_map_put(&p->written, path, path); /* the table owns it from here on */
    if (r < 0) {
        upload_fail(&p->err, r == -SMX_E_EXISTS ? 400 : 429,
            "you cannot upload multiple files to the same path '%.100s' in one upload request, "
            "only the first specified file was uploaded",
            path);
        smx_free(path);
        return -1;
    }
    return store(p, path, read_part, m);
}

static int post_form(struct post *p, struct smx_view type)
{
    SMX_CLEANUP(multipart_freep) struct multipart *m = NULL;
    struct multipart_part part;
    struct smx_err err = { 0 };
    int r = multipart_new(type, read_source, p, &m, &err);

    if (r < 0)
        return upload_fail(&p->err, 500, "error parsing multipart form: %s", err.msg);
    while ((r = multipart_next(m, &part, &err)) > 0) {
        if (!smx_streq(part.name, "file"))
            continue;
        if (store_part(p, m, part.filename) < 0)
            return -1;
        if (p->reply.failed) /* and so are the paths that are kept bounded */
            return upload_fail(&p->err, 429, "the list of files is too long");
    }
    return r < 0 ? fail_source(p, &err, "error reading form") : 0;
}

static void free_written(struct post *p)
{
    size_t pos = 0;
    char *path;

    while ((path = smx_map_next(&p->written, &pos)))
        smx_free(path);
    smx_map_done(&p->written);
}

/* --- the request ------------------------------------------------------------------------- */

static int open_encoding(struct post *p)
{
    struct smx_view coding = http_field(p->x, "Content-Encoding");
    struct smx_err err = { 0 };

    if (!coding.p || coding.n == 0 || smx_view_ieq(coding, "identity"))
        return 0;
    if (!smx_view_ieq(coding, "gzip"))
        return upload_fail(&p->err, 400,
            "error decompressing request body: unsupported Content-Encoding: %.*s, supported: "
            "[gzip]",
            (int)SMX_MIN(coding.n, 40), coding.p);
    if (gunzip_new(read_body, p, &p->gunzip, &err) < 0)
        return upload_fail(&p->err, 429, "%s", err.msg);
    return 0;
}

static int post(struct post *p)
{
    struct smx_view type = http_field(p->x, "Content-Type");
    size_t n = 0;

    while (n < type.n && type.p[n] != ';' && type.p[n] != ' ')
        n++;
    if (read_metadata(p) < 0 || open_encoding(p) < 0)
        return -1;
    if (type.p && smx_view_ieq((struct smx_view){ type.p, n }, "multipart/form-data"))
        return post_form(p, type);
    if (type.p && smx_view_ieq((struct smx_view){ type.p, n }, "application/octet-stream"))
        return post_raw(p);
    return upload_fail(&p->err, 400,
        "unsupported content type: %.*s, expected multipart/form-data or application/octet-stream",
        (int)SMX_MIN(type.n, 100), type.p ? type.p : "");
}

void files_post(struct agent *a, struct http_exchange *x)
{
    struct post p = { .agent = a, .x = x };
    int r;

    if (!files_target(a, x, &p.target))
        return;
    smx_map_init(&p.written);
    smx_buf_init(&p.reply, REPLY_MAX);
    json_writer_init(&p.w, &p.reply);
    json_array_begin(&p.w);
    r = post(&p);
    json_array_end(&p.w);
    if (r < 0)
        files_error(x, p.err.status, "%s", p.err.message);
    else if (p.reply.failed)
        files_error(x, 429, "out of memory");
    else
        http_reply(x, 200, "text/plain; charset=utf-8", p.reply.data, p.reply.len);
    gunzip_free(p.gunzip);
    free_written(&p);
    free_metadata(&p);
    smx_buf_done(&p.reply);
    files_target_done(&p.target);
}
