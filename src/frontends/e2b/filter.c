/* filter.c - the metadata filter of lists and the tokens of their pages. Pure.
 *
 * Clients encode keys and values twice, some once, before the whole is encoded as a query value.
 * So after the query was decoded and split, each part is taken as it reads after one decoding and
 * after two; either may match. */
#include "frontends/e2b/internal.h"

#include <stdio.h>

enum { PAIRS_MAX = SMX_METADATA_ENTRIES_MAX, PART_MAX = 3 * SMX_METADATA_VALUE_MAX };

struct e2b_filter_pair {
    char *key[2], *value[2]; /* decoded once, and twice */
};

static char *decode(struct smx_view v)
{
    struct smx_buf out;

    smx_buf_init(&out, PART_MAX);
    smx_buf_append(&out, "", 0);
    if (!h1_percent_decode(v, /* form= */ true, &out)) {
        smx_buf_reset(&out);
        smx_buf_append(&out, v.p, v.n);
    }
    return smx_buf_steal(&out);
}

/* Both readings; an escape that is none is left as it is. */
static int decode_both(struct smx_view v, char *ret[2], struct smx_err *err)
{
    if (v.n >= PART_MAX)
        return smx_err_set(err, SMX_E_INVALID, "metadata: a key or value is too long");
    ret[0] = v.n ? decode(v) : smx_strdup("");
    if (ret[0])
        ret[1] = *ret[0] ? decode(smx_view_of(ret[0])) : smx_strdup("");
    return ret[0] && ret[1] ? 0 : smx_err_oom(err);
}

void e2b_filter_done(struct e2b_metadata_filter *f)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t j = 0; j < 2; j++) {
            smx_free(f->v[i].key[j]);
            smx_free(f->v[i].value[j]);
        }
    }
    smx_free(f->v);
    *f = (struct e2b_metadata_filter){ 0 };
}

static int add(struct e2b_metadata_filter *f, struct smx_view part, struct smx_err *err)
{
    const char *eq = memchr(part.p, '=', part.n);
    size_t key_n = eq ? (size_t)(eq - part.p) : part.n;
    struct smx_view value = { part.p + part.n, 0 };
    struct e2b_filter_pair *pair;
    int r;

    if (f->n == PAIRS_MAX)
        return smx_err_set(err, SMX_E_INVALID, "metadata: at most %d pairs", PAIRS_MAX);
    pair = &f->v[f->n++];
    if (eq)
        value = (struct smx_view){ eq + 1, part.n - key_n - 1 };
    r = decode_both((struct smx_view){ part.p, key_n }, pair->key, err);
    return r < 0 ? r : decode_both(value, pair->value, err);
}

int e2b_filter_parse(const char *text, struct e2b_metadata_filter *ret, struct smx_err *err)
{
    struct e2b_metadata_filter f = { .v = smx_alloc_array(PAIRS_MAX, sizeof *f.v) };
    int r = f.v ? 0 : smx_err_oom(err);

    while (r == 0 && *text) {
        size_t n = strcspn(text, "&");

        if (n > 0)
            r = add(&f, (struct smx_view){ text, n }, err);
        text += n + (text[n] == '&');
    }
    if (r < 0) {
        e2b_filter_done(&f);
        return r;
    }
    *ret = f;
    return 0;
}

static bool either(char *const v[2], const char *s)
{
    return smx_streq(v[0], s) || smx_streq(v[1], s);
}

bool e2b_filter_matches(const struct e2b_metadata_filter *f, const struct sandbox *sb)
{
    for (size_t i = 0; i < f->n; i++) {
        bool found = false;

        for (size_t j = 0; j < sb->n_metadata && !found; j++)
            found = either(f->v[i].key, sb->metadata[j].key) &&
                    either(f->v[i].value, sb->metadata[j].value);
        if (!found)
            return false;
    }
    return true;
}

/* --- tokens: base64url of "<time>__<id>", with "__asc" behind it in ascending order ------------
 */

void e2b_token_write(char out[E2B_TOKEN_SIZE], int64_t created_ns, const char *id, bool asc)
{
    char time[SMX_RFC3339_SIZE], text[100];
    size_t n;

    smx_rfc3339_format_ns(time, created_ns);
    n = (size_t)snprintf(text, sizeof text, "%s__%s%s", time, id, asc ? "__asc" : "");
    smx_base64_encode(out, text, n);
    out[smx_base64_size(n)] = '\0';
    for (char *p = out; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
}

bool e2b_token_read(const char *token, int64_t *ret_ns, char ret_id[SMX_ID_LEN + 1], bool *ret_asc)
{
    char text[E2B_TOKEN_SIZE], *id, *order;
    size_t n = strlen(token);
    ptrdiff_t len = n < E2B_TOKEN_SIZE ? smx_base64_decode(text, token, n) : -1;

    if (len <= 0 || memchr(text, '\0', (size_t)len))
        return false;
    text[len] = '\0';
    id = strstr(text, "__");
    if (!id)
        return false;
    *id = '\0';
    id += 2;
    order = strstr(id, "__");
    if (order) {
        *order = '\0';
        if (!smx_streq(order + 2, "asc"))
            return false;
    }
    *ret_asc = order != NULL;
    return smx_id_valid(id) && smx_rfc3339_parse_ns(text, ret_ns) &&
           smx_strcpy(ret_id, SMX_ID_LEN + 1, id);
}
