/* fuzz_proxy.c - any bytes as Host, as E2B's two fields and as a path: what names a sandbox and a
 * port does so within bounds, and no spelling of an internal route gets by. The input is four
 * lines. */
#include <stdint.h>
#include <stdlib.h>

#include "frontends/e2b_data/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static struct smx_view line(struct smx_view *rest)
{
    const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    struct smx_view v = { rest->p, end ? (size_t)(end - rest->p) : rest->n };

    rest->p += v.n + (end != NULL);
    rest->n -= v.n + (end != NULL);
    return v;
}

static void check_host(struct smx_view field)
{
    static const struct frontend fe = { .domains = { "localhost", "box.example" } };
    struct frontend_host host;
    char key[FRONTEND_HOST_MAX];
    uint16_t port;

    if (!frontend_host_parse(field, &host))
        return;
    require(host.name[0] && strlen(host.name) < sizeof host.name);
    require(!strpbrk(host.name, "/@%?# \t\r\n"));
    if (!frontend_host_traffic(&fe, &host, &port, key, sizeof key))
        return;
    require((port == 0 || key[0]) && frontend_host_known(&fe, &host));
}

static void check_fields(struct smx_view id, struct smx_view port)
{
    struct proxy_target to;
    struct smx_err err = { 0 };

    if (proxy_by_fields(id, port, &to, &err) < 0) {
        require(err.code == SMX_E_INVALID && err.msg[0]);
        return;
    }
    require(to.port > 0 && to.fields && strlen(to.key) == id.n);
    require(strspn(to.key, "abcdefghijklmnopqrstuvwxyz0123456789-._") == id.n);
}

/* A path that is internal stays so when it is escaped once more or begun with dots. */
static void check_path(struct smx_view path)
{
    struct smx_buf b;

    if (path.n > 8192 || !path_is_internal(path))
        return;
    smx_buf_init(&b, 64 * 1024);
    smx_buf_append_str(&b, "/x/.././/");
    smx_buf_append(&b, path.p, path.n);
    require(path_is_internal((struct smx_view){ b.data, b.len }));
    smx_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_view rest = { (const char *)data, size };
    struct smx_view host = line(&rest), id = line(&rest), port = line(&rest);

    check_host(host);
    check_fields(id, port);
    check_path(rest);
    return 0;
}
