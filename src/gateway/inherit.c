/* inherit.c - descriptors from the supervisor or from systemd, as sd_listen_fds(3) describes. The
 * variables are removed, so that no child could take them for its own. */
#include "gateway/gateway.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "gateway/control.h"

enum { FIRST_FD = 3 };

static bool read_count(size_t *ret, struct smx_err *err)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t p, n;

    *ret = 0;
    if (!pid || !fds || !smx_parse_u64(smx_view_of(pid), UINT64_MAX, &p) || p != (uint64_t)getpid())
        return true;
    if (!smx_parse_u64(smx_view_of(fds), INHERITED_MAX, &n)) {
        smx_err_set(err, SMX_E_INVALID, "LISTEN_FDS must be a number up to %d", INHERITED_MAX);
        return false;
    }
    *ret = (size_t)n;
    return true;
}

static bool is_unix_socket(int fd)
{
    int domain = 0;
    socklen_t size = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

static void take(struct inherited *in, int fd, struct smx_view name)
{
    smx_fd_set_cloexec(fd, /* on= */ true, /* err= */ NULL);
    if (smx_view_eq(name, CONTROL_FD_NAME)) {
        in->control = fd;
    } else if (smx_view_eq(name, ENGINE_FD_NAME)) {
        in->engine = fd;
    } else if (smx_view_eq(name, TLS_CERT_FD_NAME)) {
        in->tls_cert = fd;
    } else if (smx_view_eq(name, TLS_KEY_FD_NAME)) {
        in->tls_key = fd;
    } else {
        in->is_tls[in->n] = smx_view_eq(name, TLS_FD_NAME);
        in->is_unix[in->n] = is_unix_socket(fd);
        in->listeners[in->n++] = fd;
    }
}

int inherit_fds(struct inherited *ret, struct smx_err *err)
{
    const char *names = getenv("LISTEN_FDNAMES");
    size_t n;

    *ret = (struct inherited){ .control = -1, .engine = -1, .tls_cert = -1, .tls_key = -1 };
    if (!read_count(&n, err))
        return -SMX_E_INVALID;
    for (size_t i = 0; i < n; i++) {
        size_t len = names ? strcspn(names, ":") : 0;

        take(ret, FIRST_FD + (int)i, (struct smx_view){ names ? names : "", len });
        if (names)
            names += len + (names[len] == ':');
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return 0;
}

void inherit_close(struct inherited *in)
{
    smx_close(smx_take_fd(&in->control));
    smx_close(smx_take_fd(&in->engine));
    smx_close(smx_take_fd(&in->tls_cert));
    smx_close(smx_take_fd(&in->tls_key));
    for (size_t i = 0; i < in->n; i++)
        smx_close(smx_take_fd(&in->listeners[i]));
}
