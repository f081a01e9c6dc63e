/* native_file.c - an entry of a list of files as text. Lists have thousands of entries, and writing
 * them by the table is most of what the gateway does for one: the usual entry, whose texts need no
 * escape, is put together here, by the rules of native_file_table, which writes all others. */
#include <string.h>

#include "wire/native/native.h"

enum { MEMBERS = 8, DIGITS_MAX = 20, REST_MAX = 192 }; /* rest: keys, quotes and numbers */

static inline char *put(char *p, struct smx_view v)
{
    memcpy(p, v.p, v.n);
    return p + v.n;
}

/* key: with what stands before the text. Left out where it is empty. */
static inline char *put_some(char *p, struct smx_view key, struct smx_view v)
{
    if (v.n == 0)
        return p;
    p = put(put(p, key), v);
    *p++ = '"';
    return p;
}

static char *put_number(char *p, uint64_t v)
{
    char text[DIGITS_MAX], *at = text + sizeof text;

    do
        *--at = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    return put(p, (struct smx_view){ at, (size_t)(text + sizeof text - at) });
}

void native_file_encode(struct json_writer *w, const struct native_file *f)
{
    const char *const texts[MEMBERS] = { f->name, f->path, f->mod_time, f->permissions, f->type,
        f->target, f->owner, f->group };
    struct smx_view v[MEMBERS];
    size_t n = REST_MAX;
    bool plain = f->name && f->path && f->mod_time && f->permissions;
    char *p;

    for (int i = 0; i < MEMBERS && plain; i++) {
        v[i] = smx_view_of(texts[i] ? texts[i] : "");
        plain = json_plain(v[i]);
        n += v[i].n;
    }
    if (!plain) {
        json_encode(w, &native_file_table, f);
        return;
    }
    json_value_begin(w);
    if (smx_buf_reserve(w->out, n) < 0)
        return;
    p = w->out->data + w->out->len;
    p = put(put(p, SMX_VIEW("{\"name\":\"")), v[0]);
    p = put(put(p, SMX_VIEW("\",\"path\":\"")), v[1]);
    p = put(p, f->is_dir ? SMX_VIEW("\",\"is_dir\":true") : SMX_VIEW("\",\"is_dir\":false"));
    p = put_number(put(p, SMX_VIEW(",\"size\":")), f->size);
    p = put(put(p, SMX_VIEW(",\"mod_time\":\"")), v[2]);
    p = put(put(p, SMX_VIEW("\",\"permissions\":\"")), v[3]);
    *p++ = '"';
    p = put_some(p, SMX_VIEW(",\"type\":\""), v[4]);
    p = put_some(p, SMX_VIEW(",\"target\":\""), v[5]);
    p = put_some(p, SMX_VIEW(",\"owner\":\""), v[6]);
    p = put_some(p, SMX_VIEW(",\"group\":\""), v[7]);
    *p++ = '}';
    *p = '\0';
    w->out->len = (size_t)(p - w->out->data);
}
