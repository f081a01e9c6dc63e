/* box.c - a sandbox at E2B and the way to its data plane: the proxy in front of it wants to know by
 * fields or by host name which sandbox and port is meant, and the sandbox's token. */
#include "providers/e2b/internal.h"

#include <stdio.h>

enum { CHECK_MS = 20000 };
static const char workspace[] = "/workspace";

/* --- what is known of it ------------------------------------------------------------------- */

static bool is_token(const char *s)
{
    size_t n = 0;

    for (; s[n]; n++)
        if (s[n] <= ' ' || s[n] > '~')
            return false;
    return n <= E2B_TOKEN_MAX;
}

static bool is_domain(const char *s)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:";

    return *s && strlen(s) <= E2B_DOMAIN_MAX && s[strspn(s, allowed)] == '\0';
}

static void forget_fields(struct provider_box *box)
{
    SMX_LIST_FOREACH(it, &box->fields)
        smx_buf_reset(&SMX_LIST_ENTRY(it, struct port_fields, link)->lines);
}

int e2b_box_learn(struct provider_box *box, char **access_token, char **traffic_token,
    char **domain, struct smx_err *err)
{
    if ((*access_token && !is_token(*access_token)) ||
        (traffic_token && *traffic_token && !is_token(*traffic_token)))
        return smx_err_set(err, SMX_E_PROTOCOL, "E2B sent a token that is none");
    if (*domain && **domain && !is_domain(*domain))
        return smx_err_set(err, SMX_E_PROTOCOL, "E2B sent a domain that is none");
    forget_fields(box);
    if (*access_token) {
        smx_free(box->access_token);
        box->access_token = smx_take(access_token);
    }
    if (traffic_token && *traffic_token) {
        smx_free(box->traffic_token);
        box->traffic_token = smx_take(traffic_token);
    }
    if (*domain && **domain) {
        smx_free(box->domain);
        box->domain = smx_take(domain);
    }
    box->known = true;
    return 0;
}

int e2b_look(struct e2b *e, const char *id, struct e2b_sandbox_detail *ret, uint64_t deadline,
    struct smx_err *err)
{
    char path[PROVIDER_ID_MAX + 32];
    struct e2b_call call = {
        .method = "GET", .path = path, .reply_table = &e2b_sandbox_detail_table, .reply = ret
    };
    int r;

    snprintf(path, sizeof path, "/sandboxes/%s", id);
    r = e2b_call(e, &call, deadline, err);
    if (r == 0 && (!e2b_id_valid(ret->sandbox_id) || !smx_starts(id, ret->sandbox_id))) {
        json_free(&e2b_sandbox_detail_table, ret);
        r = smx_err_set(err, SMX_E_PROTOCOL, "E2B answered with another sandbox");
    }
    return r;
}

static const char *metadata_of(const struct json_map *m, const char *key)
{
    for (size_t i = 0; i < m->n; i++)
        if (smx_streq(m->v[i].key, key))
            return m->v[i].value;
    return "";
}

void e2b_info(const struct e2b_sandbox_detail *d, struct provider_info *ret)
{
    *ret = (struct provider_info){ .state = d->state == E2B_PAUSED ? PROVIDER_BOX_PAUSED
                                                                   : PROVIDER_BOX_RUNNING,
        .resources = { .cpu = (double)d->cpu_count,
            .memory_mib = d->memory_mb,
            .disk_mib = d->disk_size_mb },
        .limits_hard = true,
        .internet = !d->has_allow_internet_access || d->allow_internet_access };
    smx_strcpy(ret->provider_id, sizeof ret->provider_id, d->sandbox_id);
    smx_strcpy(ret->id, sizeof ret->id, metadata_of(&d->metadata, E2B_META_ID));
    smx_strcpy(ret->token, sizeof ret->token, metadata_of(&d->metadata, E2B_META_TOKEN));
    if (d->state == E2B_RUNNING && d->end_at)
        smx_rfc3339_parse(d->end_at, &ret->expires_unix_ms);
}

/* [parks] After a restart of ours the token is E2B's to tell. */
static int get_to_know(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    struct e2b_sandbox_detail d = { 0 };
    int r = box->known ? 0 : e2b_look(box->e, box->id, &d, deadline, err);

    if (r < 0 || box->known)
        return r;
    r = e2b_box_learn(box, &d.envd_access_token, /* traffic_token= */ NULL, &d.domain, err);
    json_free(&e2b_sandbox_detail_table, &d);
    return r;
}

/* --- connections --------------------------------------------------------------------------- */

static bool has_shared_host(const char *domain)
{
    static const char *const domains[] = { "e2b.app", "e2b.dev", "e2b.pro", "e2b-staging.dev" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(domains); i++)
        if (smx_streq(domain, domains[i]))
            return true;
    return false;
}

static char *origin_of(const struct provider_box *box, uint16_t port)
{
    const struct e2b_config *cfg = box->e->cfg;
    const char *domain = box->domain ? box->domain : cfg->domain;

    if (cfg->sandbox_url)
        return smx_strdup(cfg->sandbox_url);
    if (port == E2B_ENVD_PORT && has_shared_host(domain))
        return smx_asprintf("https://sandbox.%s", domain);
    return smx_asprintf("https://%u-%s.%s", (unsigned)port, box->id, domain);
}

static void write_fields(
    const struct provider_box *box, uint16_t port, const char *origin, struct smx_buf *lines)
{
    const char *host = strstr(origin, "://") + 3;
    char text[16];

    snprintf(text, sizeof text, "%u", (unsigned)port);
    h1_write_field(lines, "Host", (struct smx_view){ host, strcspn(host, "/") });
    h1_write_field(lines, "E2b-Sandbox-Id", smx_view_of(box->id));
    h1_write_field(lines, "E2b-Sandbox-Port", smx_view_of(text));
    h1_write_field(lines, FETCH_VIA, smx_view_of(box->e->host.instance));
    if (port == E2B_ENVD_PORT && box->access_token)
        h1_write_field(lines, "X-Access-Token", smx_view_of(box->access_token));
    if (port != E2B_ENVD_PORT && box->traffic_token)
        h1_write_field(lines, "E2b-Traffic-Access-Token", smx_view_of(box->traffic_token));
}

static struct port_fields *fields_of(struct provider_box *box, uint16_t port)
{
    struct port_fields *f;

    SMX_LIST_FOREACH(it, &box->fields) {
        f = SMX_LIST_ENTRY(it, struct port_fields, link);
        if (f->port == port)
            return f;
    }
    f = smx_alloc(sizeof *f);
    if (!f)
        return NULL;
    f->port = port;
    smx_buf_init(&f->lines, 4 * E2B_TOKEN_MAX);
    smx_list_add(&box->fields, &f->link);
    return f;
}

static int dial(struct envd_box *b, uint16_t to_port, struct http_client *to, uint64_t deadline,
    struct smx_err *err)
{
    struct provider_box *box = (struct provider_box *)(void *)b;
    uint16_t port = to_port ? to_port : E2B_ENVD_PORT;
    SMX_CLEANUP(smx_freep) char *origin = NULL;
    struct port_fields *f;
    int r = get_to_know(box, deadline, err);

    if (r < 0)
        return r;
    origin = origin_of(box, port);
    f = fields_of(box, port);
    if (!origin || !f)
        return smx_err_oom(err);
    if (f->lines.len == 0)
        write_fields(box, port, origin, &f->lines);
    r = smx_buf_check(&f->lines, err);
    if (r == 0)
        r = fetch_dial(box->e->fetch, origin, to, deadline, err);
    if (r == 0)
        to->always = &f->lines;
    return r;
}

/* --- the proxy says that it is gone ----------------------------------------------------------- */

struct check {
    struct e2b *e;
    char id[PROVIDER_ID_MAX + 1];
    bool overdue;
};

static struct provider_box *find_box(struct e2b *e, const char *id)
{
    SMX_LIST_FOREACH(it, &e->boxes)
        if (smx_streq(SMX_LIST_ENTRY(it, struct provider_box, all)->id, id))
            return SMX_LIST_ENTRY(it, struct provider_box, all);
    return NULL;
}

/* It may be a closed port or a slow start: the control plane knows. */
static void check_fiber(void *arg)
{
    SMX_CLEANUP(smx_freep) struct check *c = arg;
    struct e2b *e = c->e;
    struct e2b_sandbox_detail d = { 0 };
    struct smx_err err = { 0 };
    int r = e2b_look(e, c->id, &d, smx_deadline_in_ms(CHECK_MS), &err);
    struct provider_box *box = find_box(e, c->id);

    if (box)
        box->checking = false;
    if (r == -SMX_E_SANDBOX_NOT_FOUND)
        e->host.changed(e->host.ctx, c->id, PROVIDER_BOX_GONE, c->overdue ? "expired" : "lost");
    else if (r == 0 && d.state == E2B_PAUSED)
        e->host.changed(e->host.ctx, c->id, PROVIDER_BOX_PAUSED, "");
    json_free(&e2b_sandbox_detail_table, &d);
}

static void missing(struct envd_box *b)
{
    struct provider_box *box = (struct provider_box *)(void *)b;
    struct check *c = box->checking ? NULL : smx_alloc(sizeof *c);

    if (!c)
        return;
    c->e = box->e;
    c->overdue = box->armed_unix_ms != 0 && box->armed_unix_ms <= smx_now_unix_ms();
    smx_strcpy(c->id, sizeof c->id, box->id);
    box->checking = e2b_task(box->e, "e2b check", check_fiber, c) == 0;
    if (!box->checking)
        smx_free(c);
}

/* --- life ---------------------------------------------------------------------------------- */

int e2b_box_new(struct e2b *e, const char *id, struct provider_box **ret, struct smx_err *err)
{
    struct provider_box *box;

    if (!e2b_id_valid(id))
        return smx_err_set(err, SMX_E_PROTOCOL, "E2B sent a sandbox id that is none");
    box = smx_alloc(sizeof *box);
    if (!box)
        return smx_err_oom(err);
    envd_box_init(&box->envd, &e2b_provider, &e->idle);
    box->envd.dial = dial;
    box->envd.missing = missing;
    box->envd.base = workspace;
    box->envd.user = "root";
    box->e = e;
    box->running = true;
    smx_strcpy(box->id, sizeof box->id, id);
    smx_list_init(&box->fields);
    smx_list_add(&e->boxes, &box->all);
    *ret = box;
    return 0;
}

void e2b_box_free(struct provider_box *box)
{
    envd_box_forget(&box->envd);
    smx_list_del(&box->all);
    SMX_LIST_FOREACH_SAFE(it, &box->fields) {
        struct port_fields *f = SMX_LIST_ENTRY(it, struct port_fields, link);

        smx_buf_done(&f->lines);
        smx_free(f);
    }
    smx_free(box->access_token);
    smx_free(box->traffic_token);
    smx_free(box->domain);
    smx_free(box);
}
