/* conn.h - the insides of server, connection and exchange. Private to src/http. */
#ifndef SMX_HTTP_CONN_H
#define SMX_HTTP_CONN_H

#include "base/map.h"
#include "http/server.h"
#include "http/wire.h"

enum http_reply_state { HTTP_NONE, HTTP_STREAMING, HTTP_DONE };

struct http_exchange {
    struct http_conn *conn;
    struct http_message request;
    struct http_body body;
    struct http_arena *arena;
    void *data;
    struct smx_buf extra; /* fields queued for the reply, raw lines */
    enum http_reply_state state;
    int status;
    uint64_t left_out; /* announced and not written yet; HTTP_CHUNKED: unknown */
    uint64_t bytes_out;
    bool body_failed, continue_sent;
    bool relayed; /* the body goes to an upstream, which also says when to continue */
    bool chunked, head_only, until_close;
    bool close; /* after the reply */
    bool broken, aborted, upgraded;
    int passed; /* one more than the descriptor that came with the head; 0: none did */
};

struct http_peer_count {
    size_t n;
    char address[48];
};

struct http_conn {
    struct io_fd fd;
    struct http_server *server;
    const struct http_secure *secure; /* NULL: plain */
    struct io_fiber *fiber;
    struct smx_list all;  /* in server->conns */
    struct smx_list idle; /* in server->idle, or linked to itself */
    uint64_t idle_since_ns;
    struct http_in in;
    struct http_peer_count *count; /* NULL: not limited */
    struct http_peer peer;
    struct http_exchange x;
};

struct http_listener {
    struct io_fd fd;
    struct http_server *server;
    struct io_fiber *fiber;
    struct smx_list node;
    const char *tag;
    const struct http_secure *secure; /* NULL: plain */
};

struct http_server {
    struct io_loop *loop;
    struct http_server_config cfg;
    struct smx_list listeners, conns, idle; /* idle: least recently used first */
    size_t nconns, nfibers;
    struct smx_map peers;
    struct io_event quiet; /* set while there are no connections and no accept fibers */
    int spare_fd;          /* given up for a moment to answer a client when descriptors are out */
    bool draining, freed;
    time_t stamp_time;
    size_t stamp_len;
    char stamp[128]; /* "Server: ...\r\nDate: ...\r\n", made once a second */
    size_t date_at;  /* where "Date:" starts in it */
};

/* server.c */
void http_server_unref_fiber(struct http_server *s); /* the last one frees a freed server */

/* conn.c: takes fd and adopts the connection, or refuses it with an answer. */
int http_conn_start(struct http_server *s, int fd, const char *tag,
    const struct http_secure *secure, struct smx_err *err);
/* Answers 503 without a fiber and closes. */
void http_conn_turn_away(struct http_server *s, int fd, const char *why);

/* peer.c */
void http_peer_init(struct http_peer *p, int fd, const char *tag);
/* False when the peer has its connections already. */
bool http_peer_count_up(struct http_server *s, struct http_conn *c);
void http_peer_count_down(struct http_conn *c);

/* exchange.c */
void http_exchange_init(struct http_exchange *x, struct http_conn *c);
void http_exchange_done(struct http_exchange *x);

/* reply.c */
enum {
    HTTP_HEAD_RELAYED = 1,     /* Server and Date stand in the fields, if at all */
    HTTP_HEAD_KEEP_LENGTH = 2, /* a reply without body: Content-Length stands in the fields */
    HTTP_HEAD_WHOLE = 4,       /* nobody will read the rest of the request body */
    HTTP_HEAD_FILE = 8         /* the descriptor goes with it */
};
struct http_reply_head {
    int status;
    const char *content_type;     /* NULL none */
    const struct smx_buf *fields; /* more raw lines; NULL none */
    uint64_t length;
    unsigned flags;
    int file;
};
/* [parks] starts a streamed reply. */
int http_reply_start(struct http_exchange *x, const struct http_reply_head *h);
/* [parks] an interim reply: 100 or 103 with raw fields (or NULL). */
int http_reply_interim(struct http_exchange *x, int status, const struct smx_buf *fields);
/* The body of an error that no handler answers. */
void http_reply_error_text(const struct http_server *s, int status, const char *message,
    struct smx_buf *out, const char **ret_type);

/* client.c */
struct http_client_request {
    struct smx_view method, target;
    enum h1_method kind;
    const struct smx_buf *fields; /* raw lines; NULL none */
    uint64_t length;              /* or HTTP_CHUNKED */
    bool no_body;                 /* then no framing field is sent */
    const void *body;             /* first bytes of the body, sent with the head */
    size_t n;
    int passed; /* one more than a descriptor that goes with it; 0: none does */
};
struct http_client;
int http_client_request(
    struct http_client *c, const struct http_client_request *q, struct smx_err *err);
/* [parks] like http_client_head(), but gives 1xx heads, too. */
int http_client_any_head(
    struct http_client *c, struct h1_head *ret, uint64_t deadline_ns, struct smx_err *err);

#endif
