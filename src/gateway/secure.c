/* secure.c - what the HTTPS listener serves with. Certificate and key come from the supervisor as
 * files in memory, at the start and whenever they have changed on disk; a pair that makes no sense
 * ends the start, and later changes nothing. Keys are wiped from our buffers. */
#include "gateway/gateway.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/control.h"

enum { SOON_S = 14 * 24 * 60 * 60 };

/* The descriptor's offset is shared with whoever has it, too: it stays untouched. */
static int read_memory(int fd, struct smx_buf *out, struct smx_err *err)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return smx_err_errno(err, errno, "reading the TLS files");
    if (smx_buf_reserve(out, (size_t)st.st_size) < 0)
        return smx_err_set(err, SMX_E_TOO_LARGE, "a TLS file is too large");
    n = pread(fd, out->data, (size_t)st.st_size, 0);
    if (n < 0)
        return smx_err_errno(err, errno, "reading the TLS files");
    out->len = (size_t)n;
    return 0;
}

static void format_day(int64_t unix_s, char out[16])
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, 16, "%Y-%m-%d", &tm);
}

/* A certificate that is not valid now is served all the same: it is the clients' to refuse. */
static void note_validity(const struct gateway *g, const char *name)
{
    int64_t now = (int64_t)time(NULL), ends = tls_context_expires(g->tls);
    char begin[16], end[16];

    format_day(tls_context_begins(g->tls), begin);
    format_day(ends, end);
    if (ends < now)
        smx_warn("the certificate in %s expired on %s: clients will refuse it", name, end);
    else if (tls_context_begins(g->tls) > now)
        smx_warn("the certificate in %s is valid from %s on: clients will refuse it", name, begin);
    else if (ends < now + SOON_S)
        smx_warn("the certificate in %s expires on %s: renew it", name, end);
    else
        smx_info("HTTPS is served certificate=%s expires=%s", name, end);
}

static const char *name_of(const struct gateway *g, enum config_key key, const char *otherwise)
{
    const char *name = config_get(g->config, key);

    return name ? name : otherwise;
}

static int load(struct gateway *g, int cert_fd, int key_fd, struct smx_err *err)
{
    struct tls_pair pair = { .cert_name = name_of(g, CONFIG_TLS_CERT, "the TLS certificate"),
        .key_name = name_of(g, CONFIG_TLS_KEY, "the TLS key") };
    struct smx_buf cert, key;
    int r;

    smx_buf_init(&cert, SMX_TLS_FILE_MAX + 1);
    smx_buf_init(&key, SMX_TLS_FILE_MAX + 1);
    r = read_memory(cert_fd, &cert, err);
    if (r == 0)
        r = read_memory(key_fd, &key, err);
    pair.cert = (struct smx_view){ cert.data, cert.len };
    pair.key = (struct smx_view){ key.data, key.len };
    if (r == 0)
        r = tls_context_load(g->tls, &pair, err);
    if (r == 0)
        note_validity(g, pair.cert_name);
    if (key.data)
        explicit_bzero(key.data, key.cap);
    smx_buf_done(&cert);
    smx_buf_done(&key);
    return r;
}

/* [parks] */
static int accept_secure(void *gateway, struct io_fd *fd, uint64_t deadline_ns, struct smx_err *err)
{
    struct gateway *g = gateway;
    int r = tls_accept(g->tls, fd, deadline_ns, err);

    if (r == 0)
        metrics_add(g->c_shaken, 1);
    else if (r == -SMX_E_INVALID)
        metrics_add(g->c_plain, 1);
    else if (r != -SMX_E_CANCELLED)
        metrics_add(g->c_failed, 1);
    return r;
}

int secure_open(struct gateway *g, struct smx_err *err)
{
    int r;

    g->secure = (struct http_secure){ .accept = accept_secure, .ctx = g };
    if (g->inherited.tls_cert < 0 || g->inherited.tls_key < 0)
        return g->fe.tls_port ? smx_err_set(err, SMX_E_INVALID,
                                    "a listener for HTTPS was handed on without a certificate")
                              : 0;
    r = tls_context_new(&g->tls, err);
    if (r == 0)
        r = load(g, g->inherited.tls_cert, g->inherited.tls_key, err);
    if (r == 0)
        g->fe.tls_cert = config_get(g->config, CONFIG_TLS_CERT);
    return r;
}

void secure_reload(struct gateway *g, int cert_fd, int key_fd)
{
    struct smx_err err = { 0 };

    if (g->tls && load(g, cert_fd, key_fd, &err) == 0) {
        control_tell(g, CONTROL_TLS_TAKEN);
        return;
    }
    smx_warn("%s; the certificate from before is served on", err.msg);
    control_tell(g, CONTROL_TLS_REFUSED);
}

void secure_metrics(struct gateway *g)
{
    static const char *const labels[] = { "result", NULL };
    struct metrics *m = core_metrics(g->fe.core);
    struct metrics_family *f;

    if (!g->tls)
        return;
    f = metrics_counter(m, "sandmux_tls_handshakes_total",
        "TLS handshakes by their result: ok, plain (HTTP was spoken), failed.", labels);
    g->c_shaken = metrics_series(f, (const char *const[]){ "ok" });
    g->c_plain = metrics_series(f, (const char *const[]){ "plain" });
    g->c_failed = metrics_series(f, (const char *const[]){ "failed" });
    g->g_expiry =
        metrics_series(metrics_gauge(m, "sandmux_tls_certificate_expiry_seconds",
                           "When the certificate that is served expires, in seconds since 1970.",
                           /* labels= */ NULL),
            /* values= */ NULL);
}
