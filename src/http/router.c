/* router.c - finds the row of a table for a path. Literal segments are compared as sent; parameters
 * are split first and decoded then, so that "%2F" stays inside one. Pure: no I/O, any thread. */
#include "http/server.h"

#include <assert.h>
#include <stdio.h>

#include "http/h1_scan.h"

/* Takes the next segment, without its slash, off a path that starts with one. */
static struct smx_view take_segment(struct smx_view *path)
{
    const char *start = path->p + 1;
    const char *slash = path->n > 1 ? memchr(start, '/', path->n - 1) : NULL;
    size_t n = slash ? (size_t)(slash - start) : path->n - 1;

    path->p = start + n;
    path->n -= n + 1;
    return (struct smx_view){ start, n };
}

/* The byte at in.p[*i], decoded; *i moves on. 0 for a NUL or a bad escape. */
static int next_byte(struct smx_view in, size_t *i)
{
    int high, low;

    if (in.p[*i] != '%')
        return (unsigned char)in.p[(*i)++];
    if (in.n - *i <= 2)
        return 0;
    high = h1_hex_digit(in.p[*i + 1]);
    low = h1_hex_digit(in.p[*i + 2]);
    *i += 3;
    return high < 0 || low < 0 ? 0 : high * 16 + low;
}

/* Writes a segment and its NUL; returns where the next one goes. The escapes were checked. */
static char *decode(struct smx_view in, char *out)
{
    for (size_t i = 0; i < in.n;)
        *out++ = (char)next_byte(in, &i);
    *out++ = '\0';
    return out;
}

size_t http_params_bytes(struct smx_view path)
{
    return sizeof(struct http_params) + path.n + HTTP_PARAMS_MAX;
}

static bool path_valid(struct smx_view path)
{
    for (size_t i = 0; i < path.n;)
        if (next_byte(path, &i) == 0)
            return false;
    return path.n > 0 && path.p[0] == '/';
}

/* 1 match, 0 none, -1 a parameter that is too long. */
static int match(const char *pattern, struct smx_view path, struct http_params *params)
{
    struct smx_view rest = smx_view_of(pattern);
    char *at = params->text;

    params->n = 0;
    while (rest.n > 0 && path.n > 0) {
        struct smx_view want = take_segment(&rest), have = take_segment(&path);

        if (want.n > 0 && want.p[0] == '{') {
            assert(params->n < HTTP_PARAMS_MAX);
            if (have.n == 0)
                return 0;
            params->v[params->n++] = at;
            at = decode(have, at);
            if ((size_t)(at - params->v[params->n - 1]) > HTTP_SEGMENT_MAX + 1)
                return -1;
        } else if (want.n != have.n || memcmp(want.p, have.p, want.n) != 0) {
            return 0;
        }
    }
    return rest.n == 0 && path.n == 0;
}

static const char *method_name(enum h1_method m)
{
    switch (m) {
    case H1_GET:
        return "GET, HEAD";
    case H1_HEAD:
        return "HEAD";
    case H1_POST:
        return "POST";
    case H1_PUT:
        return "PUT";
    case H1_PATCH:
        return "PATCH";
    case H1_DELETE:
        return "DELETE";
    case H1_OPTIONS:
        return "OPTIONS";
    case H1_OTHER:
        break;
    }
    return "";
}

static void allow_add(char *allow, size_t size, enum h1_method m)
{
    size_t n = strlen(allow);

    if (n < size)
        snprintf(allow + n, size - n, "%s%s", n ? ", " : "", method_name(m));
}

enum http_match http_route_find(const struct http_route *routes, size_t n, enum h1_method method,
    struct smx_view path, const struct http_route **ret, struct http_params *params, char *allow,
    size_t allow_size)
{
    bool found = false;

    if (!path_valid(path))
        return HTTP_MATCH_BAD_PATH;
    if (allow_size > 0)
        allow[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        int r = match(routes[i].pattern, path, params);

        if (r < 0)
            return HTTP_MATCH_BAD_PATH;
        if (r == 0)
            continue;
        if (routes[i].method == method || (method == H1_HEAD && routes[i].method == H1_GET)) {
            *ret = &routes[i];
            return HTTP_MATCH_OK;
        }
        found = true;
        allow_add(allow, allow_size, routes[i].method);
    }
    return found ? HTTP_MATCH_NO_METHOD : HTTP_MATCH_NO_PATH;
}
