/* h1_head.c - looking into a parsed head. Pure: no I/O, any thread. */
#include "http/h1_scan.h"

#include <strings.h>

struct smx_view h1_get(const struct h1_head *head, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < head->n; i++) {
        const struct h1_field *f = &head->fields[i];

        if (f->name.n == n && strncasecmp(f->name.p, name, n) == 0)
            return f->value;
    }
    return (struct smx_view){ NULL, 0 };
}

static bool list_has(struct smx_view list, struct smx_view token)
{
    struct smx_view item;

    while (h1_list_next(&list, &item))
        if (item.n == token.n && strncasecmp(item.p, token.p, token.n) == 0)
            return true;
    return false;
}

static bool head_has_token(const struct h1_head *head, const char *name, struct smx_view token)
{
    for (size_t i = 0; i < head->n; i++)
        if (smx_view_ieq(head->fields[i].name, name) && list_has(head->fields[i].value, token))
            return true;
    return false;
}

bool h1_has_token(const struct h1_head *head, const char *name, const char *token)
{
    return head_has_token(head, name, smx_view_of(token));
}

bool h1_hop_by_hop(const struct h1_head *head, struct smx_view name)
{
    static const char *const always[] = { "connection", "keep-alive", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "proxy-authenticate", "proxy-authorization",
        H1_DESCRIPTOR };
    static const char *const never[] = { "host", "content-length", "content-type", "authorization",
        "cookie", "set-cookie" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(always); i++)
        if (smx_view_ieq(name, always[i]))
            return true;
    /* Naming these in Connection would take from the next hop what decides about the message. */
    for (size_t i = 0; i < SMX_ARRAY_LEN(never); i++)
        if (smx_view_ieq(name, never[i]))
            return false;
    return head_has_token(head, "connection", name);
}

bool h1_value_valid(struct smx_view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (!h1_is(v.p[i], H1C_VALUE))
            return false;
    return true;
}

bool h1_token_valid(struct smx_view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (!h1_is(v.p[i], H1C_TOKEN))
            return false;
    return v.n > 0;
}
