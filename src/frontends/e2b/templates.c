/* templates.c - templates and teams. Templates are the current runtime's; the only team is this
 * server. What a template's builds were is not known here: each shows one that is ready. */
#include "frontends/e2b/internal.h"

#include <stdio.h>

#include "wire/envd/envd.h"

enum { UUID_SIZE = 37 };
static const char unknown_time[] = "1970-01-01T00:00:00.000Z";

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* 32 hexadecimal digits in the form of a UUID; too few are filled up. */
static void uuid_of(const char *hex, char out[UUID_SIZE])
{
    char digits[33] = "00000000000000000000000000000000";
    size_t n = 0;

    for (const char *p = hex; *p && n < 32; p++)
        if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'))
            digits[n++] = *p;
    digits[12] = '4';
    digits[16] = 'a';
    snprintf(out, UUID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8, digits + 12,
        digits + 16, digits + 20);
}

/* --- templates -------------------------------------------------------------------------------- */

struct shown {
    struct e2b_template t;
    char build[UUID_SIZE];
    char *names[2];
    struct smx_buf builds;
};

static void write_build(struct shown *s)
{
    struct json_writer w;

    smx_buf_init(&s->builds, 1024);
    json_writer_init(&w, &s->builds);
    json_array_begin(&w);
    json_object_begin(&w);
    json_kv_string(&w, "buildID", s->build);
    json_kv_string(&w, "status", "ready");
    json_kv_string(&w, "createdAt", unknown_time);
    json_kv_string(&w, "updatedAt", unknown_time);
    json_kv_string(&w, "finishedAt", unknown_time);
    json_kv_u64(&w, "cpuCount", s->t.cpu_count);
    json_kv_u64(&w, "memoryMB", s->t.memory_mb);
    json_kv_u64(&w, "diskSizeMB", s->t.disk_size_mb);
    json_kv_string(&w, "envdVersion", ENVD_VERSION);
    json_object_end(&w);
    json_array_end(&w);
}

static void show(struct shown *s, const struct provider_template *t, const char *instance)
{
    *s = (struct shown){ .names = { text(t->name), NULL } };
    uuid_of(*t->digest ? t->digest : instance, s->build);
    s->t = (struct e2b_template){ .template_id = text(t->name),
        .build_id = s->build,
        .cpu_count = (uint64_t)SMX_MAX(t->resources.cpu, 1.0),
        .memory_mb = t->resources.memory_mib,
        .disk_size_mb = t->resources.disk_mib,
        .is_public = true,
        .aliases = { s->names, 1 },
        .names = { s->names, 1 },
        .created_at = text(unknown_time),
        .updated_at = text(unknown_time),
        .build_count = 1,
        .envd_version = text(ENVD_VERSION),
        .build_status = text("ready") };
}

/* What a page that ends with this template gives its reader to go on with. */
enum { TOKEN_SIZE = (SMX_TEMPLATE_LEN_MAX + 2) / 3 * 4 + 1 };
static void token_of(const struct provider_template *t, char out[TOKEN_SIZE])
{
    size_t n = strlen(t->name);

    smx_base64_encode(out, t->name, n);
    out[smx_base64_size(n)] = '\0';
    for (char *p = out; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
}

static bool ends_with(const struct provider_template *t, const char *token)
{
    char own[TOKEN_SIZE];

    token_of(t, own);
    return smx_streq(own, token);
}

/* Some of a list: the entries from..end, with the token of the next page when there is one. */
struct part {
    size_t from, end;
};

static void reply_list(struct http_exchange *x, const struct core_templates *list,
    const struct part *part, struct core *core)
{
    char token[TOKEN_SIZE];
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, 4 * 1024 * 1024);
    json_writer_init(&w, &out);
    json_array_begin(&w);
    for (size_t i = part->from; i < part->end; i++) {
        struct shown s;

        show(&s, &list->v[i], core_instance_id(core));
        json_encode(&w, &e2b_template_table, &s.t);
    }
    json_array_end(&w);
    if (part->end > part->from && part->end < list->n) {
        token_of(&list->v[part->end - 1], token);
        http_add_field(x, "X-Next-Token", token);
    }
    e2b_reply_json(x, 200, &w);
    smx_buf_done(&out);
}

void e2b_templates(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct core_templates list = { 0 };
    struct smx_err err = { 0 };

    if (core_templates(fe->core, /* runtime= */ NULL, &list, &err) < 0)
        e2b_fail_err(x, &err);
    else
        reply_list(x, &list, &(struct part){ 0, list.n }, fe->core);
    smx_free(list.v);
}

/* A page begins behind the template that its token names. */
static int read_part(struct http_exchange *x, const struct core_templates *list, struct part *ret,
    struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *token = NULL;
    uint64_t limit = E2B_LIST_MAX;
    size_t from = 0;
    int r = http_query_u64(x, "limit", 1, E2B_LIST_MAX, &limit, err);

    if (r >= 0)
        r = http_query_string(x, "nextToken", &token, err);
    if (r < 0)
        return r;
    while (token && *token && from < list->n && !ends_with(&list->v[from], token))
        from++;
    if (token && *token && from++ == list->n)
        return smx_err_set(err, SMX_E_INVALID, "Invalid next token");
    *ret = (struct part){ from, from + SMX_MIN((size_t)limit, list->n - from) };
    return 0;
}

void e2b_templates_v2(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    struct core_templates list = { 0 };
    struct smx_err err = { 0 };
    struct part part;
    int r = core_templates(fe->core, /* runtime= */ NULL, &list, &err);

    if (r == 0)
        r = read_part(x, &list, &part, &err);
    if (r < 0)
        e2b_fail_err(x, &err);
    else
        reply_list(x, &list, &part, fe->core);
    smx_free(list.v);
}

/* By name, which is also the id; the list is the caller's to free. */
static int find(struct frontend *fe, const char *given, struct core_templates *list,
    const struct provider_template **ret, struct smx_err *err)
{
    char name[SMX_TEMPLATE_LEN_MAX + 1];
    int r = e2b_template_name(given, name, err);

    if (r == 0)
        r = core_templates(fe->core, /* runtime= */ NULL, list, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list->n; i++) {
        if (smx_streq(list->v[i].name, name)) {
            *ret = &list->v[i];
            return 0;
        }
    }
    return smx_err_set(err, SMX_E_TEMPLATE_NOT_FOUND, "template '%s' not found", name);
}

void e2b_template_get(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    struct frontend *fe = ctx;
    const struct provider_template *t = NULL;
    struct core_templates list = { 0 };
    struct smx_err err = { 0 };
    struct shown s;

    if (find(fe, params->v[0], &list, &t, &err) < 0) {
        e2b_fail_err(x, &err);
    } else {
        show(&s, t, core_instance_id(fe->core));
        write_build(&s);
        s.t.builds = s.builds.data;
        e2b_reply(x, 200, &e2b_template_table, &s.t);
        smx_buf_done(&s.builds);
    }
    smx_free(list.v);
}

void e2b_template_by_alias(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    const struct provider_template *t = NULL;
    struct core_templates list = { 0 };
    struct smx_err err = { 0 };

    if (find(ctx, params->v[0], &list, &t, &err) < 0) {
        e2b_fail_err(x, &err);
    } else {
        struct e2b_template_alias a = { .template_id = text(t->name), .is_public = true };

        e2b_reply(x, 200, &e2b_template_alias_table, &a);
    }
    smx_free(list.v);
}

/* --- teams ------------------------------------------------------------------------------------ */

/* Command lines keep the key that they find here. Keys are stored as hashes: all that can be given
 * back is the one that the caller came with. */
static char *own_key(const struct http_exchange *x)
{
    struct smx_view v = http_field(x, "Authorization");

    if (v.p && v.n > 7 && smx_view_ieq((struct smx_view){ v.p, 7 }, "bearer "))
        return smx_strndup(v.p + 7, v.n - 7);
    v = http_field(x, "X-API-KEY");
    return v.p ? smx_strndup(v.p, v.n) : smx_strdup("");
}

void e2b_teams(struct http_exchange *x, const struct http_params *params, void *ctx)
{
    SMX_CLEANUP(smx_freep) char *key = own_key(x);
    struct frontend *fe = ctx;
    char id[UUID_SIZE];
    struct e2b_team team = {
        .team_id = id, .name = text("sandmux"), .api_key = key, .is_default = true
    };
    struct json_writer w;
    struct smx_buf out;

    uuid_of(core_instance_id(fe->core), id);
    smx_buf_init(&out, 256 * 1024);
    json_writer_init(&w, &out);
    json_array_begin(&w);
    json_encode(&w, &e2b_team_table, &team);
    json_array_end(&w);
    e2b_reply_json(x, 200, &w);
    smx_buf_done(&out);
}
