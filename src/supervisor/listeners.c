/* listeners.c - opens the listening sockets, which outlive every gateway: a restart refuses no
 * connection. TCP beyond loopback is refused without keys. The unix socket is ours to replace: the
 * lock of the state directory is held. */
#include "supervisor/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

enum { BACKLOG = 4096 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t make_address(union address *a, const char *host, uint16_t port)
{
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
        return sizeof a->v4;
    }
    inet_pton(AF_INET6, host, &a->v6.sin6_addr);
    a->v6.sin6_family = AF_INET6;
    a->v6.sin6_port = htons(port);
    return sizeof a->v6;
}

static bool is_loopback(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

static int listen_failed(const char *host, uint16_t port, const char *flag, struct smx_err *err)
{
    int e = errno;
    char holder[64];

    if (e != EADDRINUSE)
        return smx_err_errno(err, e, "listening on %s:%u", host, (unsigned)port);
    holder_of_port(port, holder, sizeof holder);
    return smx_err_set(err, SMX_E_BUSY,
        "port %u on %s is in use by %s; stop it, or choose another port with %s", (unsigned)port,
        host, *holder ? holder : "another process", flag);
}

static int listen_tcp(const union address *a, socklen_t len, const char *host, uint16_t port,
    const char *flag, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    int on = 1;

    fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return smx_err_errno(err, errno, "making a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &a->any, len) < 0 || listen(fd, BACKLOG) < 0)
        return listen_failed(host, port, flag, err);
    return smx_take_fd(&fd);
}

static void note_url(struct supervisor *s, int fd, const char *scheme, const char *host)
{
    union address a;
    socklen_t len = sizeof a;
    uint16_t port = 0;

    if (getsockname(fd, &a.any, &len) == 0)
        port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    snprintf(s->url, sizeof s->url, strchr(host, ':') ? "%s://[%s]:%u" : "%s://%s:%u", scheme, host,
        (unsigned)port);
}

static int open_address(
    struct supervisor *s, enum config_key key, const char *scheme, int *ret_fd, struct smx_err *err)
{
    char host[64];
    union address a;
    socklen_t len;
    uint16_t port;
    int r;

    if (s->automatic || !config_listen(s->config, key, host, sizeof host, &port))
        return 0;
    len = make_address(&a, host, port);
    if (!is_loopback(&a) && !config_bool(s->config, CONFIG_REQUIRE_KEYS))
        return smx_err_set(err, SMX_E_FORBIDDEN,
            "%s is not a loopback address: anybody who reaches it could run code; add "
            "--require-keys and make a key with 'sandmux keys create'",
            host);
    if (!is_loopback(&a) && key == CONFIG_LISTEN)
        smx_warn("plain HTTP beyond loopback: keys and data travel in the clear listen=%s; "
                 "--tls-cert and --tls-key serve HTTPS",
            host);
    r = listen_tcp(&a, len, host, port, config_setting(key)->flag, err);
    if (r < 0)
        return r;
    *ret_fd = r;
    if (!*s->url)
        note_url(s, r, scheme, host);
    return 0;
}

/* A socket that somebody still answers on belongs to another daemon (SANDMUX_SOCKET given twice).
 */
static bool answers(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)addr, (socklen_t)sizeof *addr) == 0;

    smx_close(fd);
    return yes;
}

/* The mode is the guard: root, the daemon's uid, and the group `sandmux` where there is one. */
static void share_with_group(const char *path)
{
    const struct group *g = geteuid() == 0 ? getgrnam("sandmux") : NULL;

    if (g && lchown(path, 0, g->gr_gid) == 0)
        chmod(path, 0660);
    else
        chmod(path, 0600);
}

static void make_parent(const char *path)
{
    char dir[CONFIG_SOCKET_MAX];
    char *slash;

    smx_strcpy(dir, sizeof dir, path);
    slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = 0;
        mkdir(dir, geteuid() == 0 ? 0755 : 0700);
    }
}

static int open_unix(struct supervisor *s, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    const char *path = s->places.socket;
    mode_t old;
    int r;

    smx_strcpy(addr.sun_path, sizeof addr.sun_path, path);
    if (answers(&addr))
        return smx_err_set(
            err, SMX_E_BUSY, "another daemon answers on %s; choose another with --socket", path);
    make_parent(path);
    unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return smx_err_errno(err, errno, "making a socket");
    old = umask(0177);
    r = bind(fd, (const struct sockaddr *)&addr, (socklen_t)sizeof addr);
    umask(old);
    if (r < 0 || listen(fd, BACKLOG) < 0)
        return smx_err_errno(err, errno, "listening on %s", path);
    share_with_group(path);
    s->unix_fd = smx_take_fd(&fd);
    return 0;
}

int listeners_open(struct supervisor *s, struct smx_err *err)
{
    int r = open_address(s, CONFIG_LISTEN, "http", &s->tcp_fd, err);

    if (r == 0 && s->tls.now.cert >= 0)
        r = open_address(s, CONFIG_TLS_LISTEN, "https", &s->tls_fd, err);
    return r < 0 ? r : open_unix(s, err);
}

void listeners_close(struct supervisor *s)
{
    if (s->unix_fd >= 0)
        unlink(s->places.socket);
    smx_close(s->unix_fd);
    smx_close(s->tcp_fd);
    smx_close(s->tls_fd);
    s->unix_fd = s->tcp_fd = s->tls_fd = -1;
}
