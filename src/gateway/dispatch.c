/* dispatch.c - one port for everything: decides by Host, fields and path which front end answers,
 * gives each request its id and writes its line to the log. The line has no query: that may hold
 * commands and tokens. */
#include "gateway/gateway.h"

#include <stdio.h>

#include "base/log.h"
#include "fetch/fetch.h"
#include "frontends/e2b/e2b.h"
#include "frontends/e2b_data/e2b_data.h"
#include "frontends/native/native.h"
#include "frontends/traffic/traffic.h"

static bool id_is_sane(struct smx_view v)
{
    if (!v.p || v.n == 0 || v.n > FRONTEND_ID_MAX)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                c == '-' || c == '_' || c == '.'))
            return false;
    }
    return true;
}

/* Unlike those of other gateways by a random start, and unlike each other for 2^64 requests: the
 * factor is odd. */
static uint64_t next_id(void)
{
    static uint64_t id;

    if (id == 0)
        id = smx_random_u64() | 1;
    id += UINT64_C(0x9e3779b97f4a7c15);
    return id;
}

static void write_id(char *out, uint64_t id)
{
    smx_strcpy(out, FRONTEND_ID_MAX, "req-");
    smx_hex_encode(out + 4, &id, sizeof id);
}

static void make_id(struct http_exchange *x, struct frontend_request *req)
{
    struct smx_view given = http_field(x, "X-Request-Id");

    if (id_is_sane(given))
        smx_view_copy(req->id, sizeof req->id, given);
    else
        write_id(req->id, next_id());
    http_add_field(x, "X-Request-Id", req->id);
}

enum where { TO_US, TO_ENVD, TO_PORT, TO_UNROUTED, REFUSED };

static enum where refuse(struct http_exchange *x, int status, const struct smx_err *err)
{
    proxy_fail_plain(x, status, err->msg);
    return REFUSED;
}

static enum where plane_of(const struct proxy_target *to)
{
    return to->port == PROXY_ENVD_PORT ? TO_ENVD : TO_PORT;
}

/* Some clients (PyPI e2b 2.15: connect) send the two fields to the control plane as well, which has
 * a host of its own at E2B. The agent has no such path, so nothing of its is taken away. */
static bool is_control_plane(struct smx_view path)
{
    return smx_view_eq(path, "/sandboxes") || smx_view_starts(path, "/sandboxes/") ||
           smx_view_eq(path, "/v2/sandboxes") || smx_view_starts(path, "/v2/sandboxes/");
}

/* By E2B's two fields. A Host that names a port is stronger: pages of a sandbox are served there,
 * and they may send any field. */
static enum where by_fields(struct http_exchange *x, struct proxy_target *ret)
{
    struct smx_err err = { 0 };

    if (proxy_by_fields(http_field(x, PROXY_ID_FIELD), http_field(x, PROXY_PORT_FIELD), ret, &err) <
        0)
        return refuse(x, 400, &err);
    if (ret->port == PROXY_ENVD_PORT && is_control_plane(http_path(x)))
        return TO_US;
    return plane_of(ret);
}

static enum where by_host(
    struct http_exchange *x, uint16_t port, const char *key, struct proxy_target *ret)
{
    struct smx_err err = { 0 };

    if (port == 0) {
        smx_err_set(&err, SMX_E_INVALID,
            "a host that names a port of a sandbox is <port from 1 to 65535>-<sandbox>.<domain>");
        return refuse(x, 400, &err);
    }
    *ret = (struct proxy_target){ .port = port };
    if (!smx_strcpy(ret->key, sizeof ret->key, key))
        ret->key[0] = '\0';
    return plane_of(ret);
}

/* Where Host, fields and path send the request; a Host that is not ours is refused and answered. */
static SMX_NOINLINE enum where find_destination(
    struct frontend *fe, struct http_exchange *x, struct proxy_target *ret)
{
    struct frontend_host host;
    struct smx_err err;
    char key[FRONTEND_HOST_MAX];
    uint16_t port;
    bool has_host = frontend_host_parse(http_host(x), &host);
    bool names_port = has_host && frontend_host_traffic(fe, &host, &port, key, sizeof key);
    bool fields = http_field(x, PROXY_ID_FIELD).p || http_field(x, PROXY_PORT_FIELD).p;

    if (!names_port && !fields && !e2b_data_unrouted(x))
        return TO_US;
    smx_err_init(&err);
    if (guard_peer_and_host(fe, x, has_host ? &host : NULL, &err) < 0)
        return refuse(x, 403, &err);
    if (names_port)
        return by_host(x, port, key, ret);
    return fields ? by_fields(x, ret) : TO_UNROUTED;
}

/* What is not ours by its path is E2B's control plane. */
static bool is_native(struct smx_view path)
{
    static const char *const ours[] = { "/metrics", "/healthz", "/readyz", "/version" };

    if (smx_view_starts(path, "/api/") || smx_view_eq(path, "/api"))
        return true;
    for (size_t i = 0; i < SMX_ARRAY_LEN(ours); i++)
        if (smx_view_eq(path, ours[i]))
            return true;
    return false;
}

/* A runtime of ours whose URL leads back here would ask itself without end. */
static bool loops(const struct frontend *fe, const struct http_exchange *x)
{
    struct smx_view via = http_field(x, FETCH_VIA);

    return via.p && smx_view_eq(via, core_instance_id(fe->core));
}

static void handle(struct frontend *fe, struct http_exchange *x)
{
    struct proxy_target to;

    if (loops(fe, x)) {
        e2b_fail(x, 508, "the request comes from this sandmux itself");
        return;
    }
    switch (find_destination(fe, x, &to)) {
    case TO_US:
        if (is_native(http_path(x)))
            native_handle(fe, x);
        else
            e2b_handle(fe, x);
        break;
    case TO_ENVD:
        e2b_data_handle(fe, x, &to);
        break;
    case TO_PORT:
        traffic_handle(fe, x, &to);
        break;
    case TO_UNROUTED:
        e2b_data_handle_unrouted(fe, x);
        break;
    case REFUSED:
        break;
    }
}

static SMX_NOINLINE void look_up_series(struct frontend *fe, struct frontend_counted *c)
{
    char status[16];
    const char *const by_status[] = { c->frontend, status }, *const by_frontend[] = { c->frontend };

    snprintf(status, sizeof status, "%d", c->status);
    c->requests = metrics_series(fe->requests, by_status);
    c->seconds = metrics_series(fe->seconds, by_frontend);
}

static SMX_NOINLINE void count(struct frontend *fe, const struct http_exchange *x,
    const struct frontend_request *req, uint64_t ns)
{
    int status = http_status(x);
    struct frontend_counted *c = &fe->counted[(unsigned)status % FRONTEND_COUNTED];

    if (c->frontend != req->frontend || c->status != status) {
        *c = (struct frontend_counted){ .frontend = req->frontend, .status = status };
        look_up_series(fe, c);
    }
    metrics_add(c->requests, 1);
    metrics_observe(c->seconds, (double)ns / 1e9);
}

static SMX_NOINLINE void log_request(
    const struct http_exchange *x, const struct frontend_request *req, uint64_t ns)
{
    struct smx_view method = http_head(x)->method_text, path = http_path(x);

    smx_log(req->quiet ? SMX_LOG_DEBUG : SMX_LOG_INFO,
        "request id=%s method=%.*s path=%.*s status=%d ms=%.1f bytes=%llu frontend=%s%s%s%s%s",
        req->id, (int)SMX_MIN(method.n, (size_t)16), method.p, (int)SMX_MIN(path.n, (size_t)256),
        path.p, http_status(x), (double)ns / 1e6, (unsigned long long)http_bytes_out(x),
        req->frontend, *req->sandbox ? " sandbox=" : "", req->sandbox, *req->key ? " key=" : "",
        req->key);
}

void dispatch(struct http_exchange *x, void *ctx)
{
    struct frontend_request req = { .frontend = "native", .started_ns = smx_now_ns() };
    struct frontend *fe = ctx;
    uint64_t ns;

    http_set_data(x, &req);
    make_id(x, &req);
    handle(fe, x);
    ns = smx_now_ns() - req.started_ns;
    count(fe, x, &req, ns);
    log_request(x, &req, ns);
    http_set_data(x, NULL);
}

void dispatch_metrics(struct frontend *fe)
{
    static const char *const by_status[] = { "frontend", "status", NULL }, *const by_frontend[] = {
        "frontend", NULL
    };
    struct metrics *m = core_metrics(fe->core);

    fe->requests = metrics_counter(
        m, "sandmux_http_requests_total", "Requests that were answered.", by_status);
    fe->seconds = metrics_histogram(m, "sandmux_http_request_duration_seconds",
        "Time from a request's head to the end of its reply; streams included.", by_frontend);
}
