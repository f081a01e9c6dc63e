/* buf.c - see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { BUF_FIRST_CAP = 256 };

void smx_buf_init(struct smx_buf *b, size_t max)
{
    memset(b, 0, sizeof *b);
    b->max = max;
}

void smx_buf_done(struct smx_buf *b)
{
    smx_free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

int smx_buf_reserve(struct smx_buf *b, size_t n)
{
    size_t cap = b->cap ? b->cap : BUF_FIRST_CAP;
    char *data;

    if (n > b->max || b->len > b->max - n) {
        b->failed = true;
        return -SMX_E_TOO_LARGE;
    }
    if (b->data && b->len + n < b->cap)
        return 0;
    while (cap <= b->len + n)
        cap *= 2;
    data = smx_realloc(b->data, cap);
    if (!data) {
        b->failed = b->no_memory = true;
        return -SMX_E_NO_MEMORY;
    }
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0';
    return 0;
}

int smx_buf_append(struct smx_buf *b, const void *data, size_t n)
{
    int r = smx_buf_reserve(b, n);

    if (r < 0)
        return r;
    if (n > 0)
        memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
    return 0;
}

int smx_buf_append_str(struct smx_buf *b, const char *s)
{
    return smx_buf_append(b, s, strlen(s));
}

int smx_buf_append_char(struct smx_buf *b, char c)
{
    if (b->data && b->len + 1 < b->cap && b->len < b->max) {
        b->data[b->len++] = c;
        b->data[b->len] = '\0';
        return 0;
    }
    return smx_buf_append(b, &c, 1);
}

int smx_buf_appendf(struct smx_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n, r;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return -SMX_E_INTERNAL;
    r = smx_buf_reserve(b, (size_t)n);
    if (r < 0)
        return r;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

void smx_buf_consume(struct smx_buf *b, size_t n)
{
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->data, b->data + n, b->len);
    b->data[b->len] = '\0';
}

void smx_buf_reset(struct smx_buf *b)
{
    b->len = 0;
    b->failed = b->no_memory = false;
    if (b->data)
        b->data[0] = '\0';
}

int smx_buf_check(const struct smx_buf *b, struct smx_err *err)
{
    if (!b->failed)
        return 0;
    if (b->no_memory)
        return smx_err_oom(err);
    return smx_err_set(err, SMX_E_TOO_LARGE, "the result exceeds %zu bytes", b->max);
}

char *smx_buf_steal(struct smx_buf *b)
{
    char *s;

    if (b->failed || smx_buf_reserve(b, 0) < 0)
        return NULL;
    s = b->data;
    b->data = NULL;
    b->len = b->cap = 0;
    return s;
}
