/* registry.c - the sandboxes in memory: objects, indexes by id, name and the provider's id, lists.
 * An object in the registry has a reference of the registry's; one that was deleted lives on until
 * its last user lets go. */
#include "core/internal.h"

#include <stdio.h>

/* --- pairs --------------------------------------------------------------------------------- */

void pairs_free(struct json_pair *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        smx_free(v[i].key);
        smx_free(v[i].value);
    }
    smx_free(v);
}

int pairs_copy(struct json_pair **ret, const struct json_pair *v, size_t n)
{
    struct json_pair *copy;

    *ret = NULL;
    if (n == 0)
        return 0;
    copy = smx_alloc_array(n, sizeof *copy);
    if (!copy)
        return -SMX_E_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        copy[i].key = smx_strdup(v[i].key);
        copy[i].value = smx_strdup(v[i].value);
        if (!copy[i].key || !copy[i].value) {
            pairs_free(copy, n);
            return -SMX_E_NO_MEMORY;
        }
    }
    *ret = copy;
    return 0;
}

char *pairs_encode(const struct json_pair *v, size_t n, struct smx_err *err)
{
    struct smx_buf buf;
    struct json_writer w;

    smx_buf_init(&buf, SMX_JSON_MAX);
    json_writer_init(&w, &buf);
    json_object_begin(&w);
    for (size_t i = 0; i < n; i++)
        json_kv_string(&w, v[i].key, v[i].value);
    json_object_end(&w);
    if (json_writer_end(&w, err) < 0) {
        smx_buf_done(&buf);
        return NULL;
    }
    return smx_buf_steal(&buf);
}

struct pairs_holder {
    struct json_map map;
};
static const struct json_field pairs_field = {
    "pairs",
    JSON_MAP,
    offsetof(struct pairs_holder, map),
    JSON_REQUIRED,
};

int pairs_decode(const char *json, struct json_pair **ret, size_t *ret_n, struct smx_err *err)
{
    struct pairs_holder h = { 0 };
    int r = json_decode_field(&pairs_field, json, strlen(json), &h, err);

    if (r < 0)
        return r;
    *ret = h.map.v;
    *ret_n = h.map.n;
    return 0;
}

/* --- objects ------------------------------------------------------------------------------- */

int sbx_new(struct core *c, struct core_rt *rt, struct sbx **ret, struct smx_err *err)
{
    struct sbx *b = smx_alloc(sizeof *b);

    if (!b)
        return smx_err_oom(err);
    b->refs = 1;
    b->core = c;
    b->rt = rt;
    b->pub.runtime = rt->cfg.name;
    b->pub.state = b->row_state = SANDBOX_CREATING;
    smx_list_init(&b->all);
    smx_list_init(&b->halts);
    io_sem_init(&b->lock, 1);
    io_event_init(&b->log.pulse);
    lifetime_timer_init(b);
    *ret = b;
    return 0;
}

struct sandbox *sandbox_ref(struct sandbox *sb)
{
    sbx_of(sb)->refs++;
    return sb;
}

void sandbox_unref(struct sandbox *sb)
{
    struct sbx *b;

    if (!sb)
        return;
    b = sbx_of(sb);
    if (--b->refs > 0)
        return;
    io_timer_disarm(&b->expiry);
    io_timer_disarm(&b->push);
    provider_detach(b->box);
    pairs_free(b->env, b->n_env);
    pairs_free(sb->metadata, sb->n_metadata);
    smx_free(b->metadata_json);
    smx_free(b->idem_scope);
    smx_free(b->idem_key);
    smx_free(sb->name);
    smx_free(sb->template);
    smx_free(sb->project_id);
    smx_free(sb->dialect);
    log_done(&b->log);
    samples_done(&b->samples);
    smx_free(b);
}

void sbx_detach(struct sbx *b)
{
    if (b->uses + b->holds > 0) {
        b->detach = true;
        return;
    }
    provider_detach(smx_take(&b->box));
    b->detach = false;
}

/* --- indexes ------------------------------------------------------------------------------- */

/* The list stays in the order of serials; rows get theirs in the order of the calls, almost always
 * at the end. */
static void insert_by_serial(struct core *c, struct sbx *b)
{
    struct smx_list *at = c->all.prev;

    while (b->pub.serial != 0 && at != &c->all &&
           SMX_LIST_ENTRY(at, struct sbx, all)->pub.serial > b->pub.serial)
        at = at->prev;
    smx_list_add(at->next, &b->all);
}

int sbx_add(struct sbx *b, struct smx_err *err)
{
    struct core *c = b->core;
    int r;

    if (b->pub.name &&
        (smx_map_get(&c->by_name, b->pub.name) || smx_map_get(&c->by_id, b->pub.name)))
        return smx_err_set(err, SMX_E_EXISTS, "the name '%s' is taken", b->pub.name);
    r = smx_map_put(&c->by_id, b->pub.id, b);
    if (r < 0)
        return r == -SMX_E_EXISTS ? smx_err_set(err, SMX_E_INTERNAL, "an id came twice")
                                  : smx_err_oom(err);
    if (b->pub.name && smx_map_put(&c->by_name, b->pub.name, b) < 0) {
        smx_map_remove(&c->by_id, b->pub.id);
        return smx_err_oom(err);
    }
    insert_by_serial(c, b);
    b->registered = true;
    b->rt->living++;
    sandbox_ref(&b->pub);
    return 0;
}

int sbx_index_provider_id(struct sbx *b, struct smx_err *err)
{
    int r = smx_map_put(&b->rt->by_provider_id, b->pub.provider_id, b);

    if (r == -SMX_E_NO_MEMORY)
        return smx_err_oom(err);
    if (!smx_streq(b->pub.provider_id, b->pub.id)) {
        b->alias[0] = b->pub.provider_id;
        b->pub.aliases = b->alias;
    }
    return 0;
}

static void unindex_name(struct sbx *b)
{
    if (b->pub.name && smx_map_get(&b->core->by_name, b->pub.name) == b)
        smx_map_remove(&b->core->by_name, b->pub.name);
}

int sbx_rename(struct sbx *b, const char *name, struct smx_err *err)
{
    struct core *c = b->core;
    char *copy = NULL;

    if (name && b->pub.name && smx_streq(name, b->pub.name))
        return 0;
    if (name && (smx_map_get(&c->by_name, name) || smx_map_get(&c->by_id, name)))
        return smx_err_set(err, SMX_E_EXISTS, "the name '%s' is taken", name);
    if (name) {
        copy = smx_strdup(name);
        if (!copy || smx_map_put(&c->by_name, copy, b) < 0) {
            smx_free(copy);
            return smx_err_oom(err);
        }
    }
    unindex_name(b);
    smx_free(b->pub.name);
    b->pub.name = copy;
    return 0;
}

void sbx_remove(struct sbx *b)
{
    if (!b->registered)
        return;
    b->registered = false;
    b->rt->living--;
    unindex_name(b);
    smx_map_remove(&b->core->by_id, b->pub.id);
    if (smx_map_get(&b->rt->by_provider_id, b->pub.provider_id) == b)
        smx_map_remove(&b->rt->by_provider_id, b->pub.provider_id);
    smx_list_del(&b->all);
    sandbox_unref(&b->pub);
}

/* --- look-up ------------------------------------------------------------------------------- */

struct sbx *registry_look_up(struct core *c, const char *key)
{
    struct sbx *b = smx_map_get(&c->by_id, key);

    if (!b)
        b = smx_map_get(&c->by_name, key);
    for (size_t i = 0; !b && i < c->n_rt; i++)
        b = smx_map_get(&c->rt[i].by_provider_id, key);
    return b;
}

int core_find(struct core *c, const char *key, struct sandbox **ret, struct smx_err *err)
{
    struct sbx *b = registry_look_up(c, key);

    if (!b || b->pub.state == SANDBOX_DELETED)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox '%.80s' not found", key);
    lifetime_refresh(b);
    *ret = sandbox_ref(&b->pub);
    return 0;
}

static bool matches(const struct core_filter *f, const struct sandbox *sb)
{
    if (sb->serial == 0 || sb->state == SANDBOX_DELETED)
        return false;
    if (f->has_state && sb->state != f->state)
        return false;
    if (f->runtime && !smx_streq(sb->runtime, f->runtime))
        return false;
    return !f->project_id || (sb->project_id && smx_streq(sb->project_id, f->project_id));
}

int core_list(
    struct core *c, const struct core_filter *f, struct core_page *ret, struct smx_err *err)
{
    size_t limit = f->limit ? f->limit : SMX_LIST_DEFAULT;
    struct core_page page = { 0 };
    uint64_t after = 0;

    if (limit > SMX_LIST_MAX)
        return smx_err_set(err, SMX_E_INVALID, "limit: must be at most %d", SMX_LIST_MAX);
    if (f->cursor && !smx_parse_u64(smx_view_of(f->cursor), UINT64_MAX, &after))
        return smx_err_set(err, SMX_E_INVALID, "cursor: not one of this server");
    page.v = smx_alloc_array(limit, sizeof *page.v);
    if (!page.v)
        return smx_err_oom(err);
    SMX_LIST_FOREACH(it, &c->all) {
        struct sbx *b = SMX_LIST_ENTRY(it, struct sbx, all);

        if (b->pub.serial <= after || !matches(f, &b->pub))
            continue;
        if (page.n == limit) {
            snprintf(page.next_cursor, sizeof page.next_cursor, "%llu",
                (unsigned long long)page.v[limit - 1]->serial);
            break;
        }
        lifetime_refresh(b);
        page.v[page.n++] = sandbox_ref(&b->pub);
    }
    *ret = page;
    return 0;
}

int core_each(struct core *c, core_each_fn *fn, void *arg)
{
    int n = 0;

    SMX_LIST_FOREACH(it, &c->all) {
        struct sbx *b = SMX_LIST_ENTRY(it, struct sbx, all);

        if (b->pub.serial == 0 || b->pub.state == SANDBOX_DELETED)
            continue;
        lifetime_refresh(b);
        n++;
        if (!fn(&b->pub, arg))
            break;
    }
    return n;
}

void core_page_done(struct core_page *p)
{
    for (size_t i = 0; i < p->n; i++)
        sandbox_unref(p->v[i]);
    smx_free(p->v);
    *p = (struct core_page){ 0 };
}
