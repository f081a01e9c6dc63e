/* peer.c - who is at the other end of a connection, and how many connections each TCP address has.
 * Loop thread only. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/mem.h"
#include "http/conn.h"

static void peer_of_unix(struct http_peer *p, int fd)
{
    struct ucred cred;
    socklen_t size = sizeof cred;

    p->unix_socket = true;
    p->uid = (uid_t)-1;
    p->gid = (gid_t)-1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
        return;
    p->uid = cred.uid;
    p->gid = cred.gid;
    p->pid = cred.pid;
}

static void peer_of_ipv4(struct http_peer *p, const struct in_addr *a)
{
    p->loopback = ntohl(a->s_addr) >> 24 == 127;
    inet_ntop(AF_INET, a, p->address, sizeof p->address);
}

static void peer_of_ipv6(struct http_peer *p, const struct in6_addr *a)
{
    struct in_addr v4;

    if (IN6_IS_ADDR_V4MAPPED(a)) {
        memcpy(&v4, &a->s6_addr[12], sizeof v4);
        peer_of_ipv4(p, &v4);
        return;
    }
    p->loopback = IN6_IS_ADDR_LOOPBACK(a);
    inet_ntop(AF_INET6, a, p->address, sizeof p->address);
}

void http_peer_init(struct http_peer *p, int fd, const char *tag)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } a = { .sa.sa_family = AF_UNSPEC };
    socklen_t size = sizeof a;

    memset(p, 0, sizeof *p);
    p->tag = tag;
    if (getpeername(fd, &a.sa, &size) < 0)
        return;
    if (a.sa.sa_family == AF_UNIX)
        peer_of_unix(p, fd);
    else if (a.sa.sa_family == AF_INET)
        peer_of_ipv4(p, &a.in.sin_addr);
    else if (a.sa.sa_family == AF_INET6)
        peer_of_ipv6(p, &a.in6.sin6_addr);
}

bool http_peer_count_up(struct http_server *s, struct http_conn *c)
{
    size_t limit = s->cfg.connections_per_peer;
    struct http_peer_count *count;

    if (c->peer.unix_socket || (limit == 0 && c->peer.loopback))
        return true;
    if (limit == 0)
        limit = SMX_HTTP_CONNECTIONS_PER_PEER;
    count = smx_map_get(&s->peers, c->peer.address);
    if (!count) {
        count = smx_alloc(sizeof *count);
        if (!count)
            return false;
        memcpy(count->address, c->peer.address, sizeof count->address);
        if (smx_map_put(&s->peers, count->address, count) < 0) {
            smx_free(count);
            return false;
        }
    }
    if (count->n >= limit)
        return false;
    count->n++;
    c->count = count;
    return true;
}

void http_peer_count_down(struct http_conn *c)
{
    if (!c->count || --c->count->n > 0)
        return;
    smx_map_remove(&c->server->peers, c->count->address);
    smx_free(c->count);
    c->count = NULL;
}
