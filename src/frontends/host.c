/* host.c - reads the Host field and says what it names: ourselves, a port of a sandbox, or somebody
 * else (DNS rebinding). Pure. */
#include "frontends/frontend.h"

#include <arpa/inet.h>

static bool parse_port(struct smx_view v, uint16_t *ret)
{
    uint64_t port;

    if (!smx_parse_u64(v, 65535, &port))
        return false;
    *ret = (uint16_t)port;
    return true;
}

/* Splits "name", "name:port", "[v6]", "[v6]:port". */
static bool split(struct smx_view f, struct smx_view *name, uint16_t *port)
{
    size_t end;

    *port = 0;
    if (f.n > 0 && f.p[0] == '[') {
        const char *close = memchr(f.p, ']', f.n);

        if (!close)
            return false;
        *name = (struct smx_view){ f.p + 1, (size_t)(close - f.p) - 1 };
        end = (size_t)(close - f.p) + 1;
    } else {
        const char *colon = memchr(f.p, ':', f.n);

        end = colon ? (size_t)(colon - f.p) : f.n;
        *name = (struct smx_view){ f.p, end };
    }
    if (end == f.n)
        return true;
    return f.p[end] == ':' && parse_port((struct smx_view){ f.p + end + 1, f.n - end - 1 }, port);
}

static bool host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == ':';
}

static void classify(struct frontend_host *h)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, h->name, &v4) == 1) {
        h->numeric = true;
        h->loopback = (ntohl(v4.s_addr) >> 24) == 127;
    } else if (inet_pton(AF_INET6, h->name, &v6) == 1) {
        h->numeric = true;
        h->loopback = IN6_IS_ADDR_LOOPBACK(&v6);
    }
}

static bool parse(struct smx_view field, struct frontend_host *ret)
{
    struct frontend_host h = { 0 };
    struct smx_view name;

    if (!split(field, &name, &h.port) || name.n == 0)
        return false;
    if (name.p[name.n - 1] == '.') /* the root's dot */
        name.n--;
    if (name.n == 0 || memchr(name.p, '\0', name.n) || !smx_view_copy(h.name, sizeof h.name, name))
        return false;
    for (char *p = h.name; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
        if (!host_char(*p))
            return false;
    }
    classify(&h);
    *ret = h;
    return true;
}

/* A request is asked for its host several times, and the next request mostly names the same one. */
static _Thread_local struct {
    char text[FRONTEND_HOST_MAX];
    size_t n; /* 0: nothing yet */
    struct frontend_host host;
} last;

static bool parse_anew(struct smx_view field, struct frontend_host *ret)
{
    if (!parse(field, ret))
        return false;
    if (field.n <= sizeof last.text) {
        memcpy(last.text, field.p, field.n);
        last.n = field.n;
        last.host = *ret;
    }
    return true;
}

bool frontend_host_parse(struct smx_view field, struct frontend_host *ret)
{
    if (!field.p || field.n == 0)
        return false;
    if (field.n != last.n || memcmp(field.p, last.text, field.n) != 0)
        return parse_anew(field, ret);
    ret->port = last.host.port;
    ret->numeric = last.host.numeric;
    ret->loopback = last.host.loopback;
    memcpy(ret->name, last.host.name, strlen(last.host.name) + 1);
    return true;
}

/* Length of the part before ".<domain>"; 0 when it is the domain itself, SIZE_MAX when it is
 * neither. */
static size_t below(const char *name, const char *domain)
{
    size_t n = strlen(name), d = strlen(domain);

    if (smx_streq(name, domain))
        return 0;
    if (n > d + 1 && name[n - d - 1] == '.' && smx_streq(name + n - d, domain))
        return n - d - 1;
    return SIZE_MAX;
}

bool frontend_host_known(const struct frontend *fe, const struct frontend_host *h)
{
    if (h->numeric)
        return h->loopback;
    for (const char *const *d = fe->domains; *d; d++) {
        if (below(h->name, *d) != SIZE_MAX)
            return true;
    }
    return false;
}

bool frontend_host_traffic(const struct frontend *fe, const struct frontend_host *h,
    uint16_t *ret_port, char *key, size_t size)
{
    size_t digits = strspn(h->name, "0123456789"), n = SIZE_MAX;

    for (const char *const *d = fe->domains; *d; d++) /* one domain may lie below another */
        n = SMX_MIN(n, below(h->name, *d));
    if (n == 0 || n == SIZE_MAX || digits == 0 || digits >= n || h->name[digits] != '-')
        return false;
    if (digits + 1 == n || !parse_port((struct smx_view){ h->name, digits }, ret_port))
        *ret_port = 0;
    return smx_view_copy(key, size, (struct smx_view){ h->name + digits + 1, n - digits - 1 });
}
