/* keys.c - API keys. */
#include "client/internal.h"

#include "sandmux/keys.h"

#define ROOT "/api/keys"

struct list_box {
    struct smx_key_list pub;
    struct native_key_list wire;
    struct native_key one; /* of a creation */
    struct smx_key *items;
    char *json;
};

static void face(struct smx_key *to, const struct native_key *from)
{
    *to = (struct smx_key){ from->id, from->name, from->prefix, from->created_at,
        from->last_used_at, from->key };
}

static int fill_list(struct list_box *l, const struct native_key *v, size_t n, struct smx_err *err)
{
    l->items = smx_alloc_array(n + 1, sizeof *l->items);
    if (!l->items)
        return smx_err_oom(err);
    for (size_t i = 0; i < n; i++)
        face(&l->items[i], &v[i]);
    l->pub = (struct smx_key_list){ l->items, n, l->json };
    return 0;
}

static int write_create(struct smx_buf *out, const char *name, struct smx_err *err)
{
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    if (name)
        json_kv_string(&w, "name", name);
    json_object_end(&w);
    return json_writer_end(&w, err);
}

int smx_key_create(
    struct smx_client *c, const char *name, struct smx_key_list **ret_list, struct smx_err *err)
{
    struct call call = { .method = "POST", .path = ROOT };
    struct list_box *l = smx_alloc(sizeof *l);
    struct smx_buf body;
    int r;

    if (!l)
        return smx_err_oom(err);
    smx_buf_init(&body, SMX_HTTP_JSON_BODY_MAX);
    r = write_create(&body, name, err);
    call.body = body.data;
    call.n = body.len;
    if (r == 0)
        r = call_json(c, &call, &native_key_table, &l->one, &l->json, err);
    smx_buf_done(&body);
    if (r == 0)
        r = fill_list(l, &l->one, 1, err);
    if (r < 0)
        smx_key_list_free(&l->pub);
    else
        *ret_list = &l->pub;
    return r;
}

int smx_key_list(struct smx_client *c, struct smx_key_list **ret_list, struct smx_err *err)
{
    struct call call = { .method = "GET", .path = ROOT };
    struct list_box *l = smx_alloc(sizeof *l);
    int r;

    if (!l)
        return smx_err_oom(err);
    r = call_json(c, &call, &native_key_list_table, &l->wire, &l->json, err);
    if (r == 0)
        r = fill_list(l, l->wire.items.v, l->wire.items.n, err);
    if (r < 0)
        smx_key_list_free(&l->pub);
    else
        *ret_list = &l->pub;
    return r;
}

int smx_key_revoke(struct smx_client *c, const char *id, struct smx_err *err)
{
    struct call call = { .method = "DELETE" };
    struct smx_buf path;
    int r;

    smx_buf_init(&path, SMX_HTTP_HEAD_MAX);
    r = call_path(&path, ROOT, id, /* suffix= */ NULL, err);
    if (r == 0) {
        call.path = path.data;
        r = call_json(c, &call, /* table= */ NULL, /* ret= */ NULL, /* ret_json= */ NULL, err);
    }
    smx_buf_done(&path);
    return r;
}

void smx_key_list_free(struct smx_key_list *keys)
{
    struct list_box *l = SMX_CONTAINER_OF(keys, struct list_box, pub);

    if (!keys)
        return;
    json_free(&native_key_list_table, &l->wire);
    json_free(&native_key_table, &l->one);
    smx_free(l->items);
    smx_free(l->json);
    smx_free(l);
}
