/* test_tls.c - handshakes, streams, ends and attacks; pairs of files that do not fit; certificates
 * of our own. */
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "http/server.h"
#include "io/test_streams.h"
#include "tls/test_dial.h"

/* --- two ends -------------------------------------------------------------------------------- */

struct ends {
    struct pair p; /* a: the server's */
    SSL_CTX *client;
    uint64_t deadline_ns;
    int server_r, client_r;
    struct smx_err server_err, client_err;
};

static void accept_run(void *arg)
{
    struct ends *e = arg;

    e->server_r = tls_accept(test_certs()->context, &e->p.a, e->deadline_ns, &e->server_err);
    if (e->server_r < 0)
        io_close_write(&e->p.a);
}

static void connect_run(void *arg)
{
    struct ends *e = arg;

    e->client_r =
        test_connect(&e->p.b, e->client ? e->client : test_certs()->client, &e->client_err);
    if (e->client_r < 0)
        io_close_write(&e->p.b);
}

/* Both handshakes, over TCP. */
static void meet(struct ends *e)
{
    tcp_pair(&e->p);
    e->deadline_ns = in_ms(5000);
    spawn("server", accept_run, e);
    spawn("client", connect_run, e);
    join_all();
}

static SSL *ssl_of(struct io_fd *fd)
{
    return *(SSL **)fd->filter; /* the first field of the filter */
}

static SSL_CTX *other_client(int min, int max)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_security_level(c, 0);
    SSL_CTX_set_min_proto_version(c, min);
    SSL_CTX_set_max_proto_version(c, max);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    return trust(c, &test_certs()->ca) ? c : NULL;
}

static void tell(struct io_fd *from, struct io_fd *to, const char *text)
{
    char buf[64] = "";

    ASSERT_EQ(io_write(from, text, strlen(text), 1000, NULL), 0);
    ASSERT_EQ(io_read(to, buf, sizeof buf - 1, in_ms(1000), NULL), strlen(text));
    ASSERT_STR(buf, text);
}

FIBER_TEST(both_sides_talk_and_nothing_of_it_is_on_the_wire)
{
    struct ends e = { .client_r = 1 };
    char seen[512];
    ssize_t n;

    meet(&e);
    ASSERT_OK(e.server_r, &e.server_err);
    ASSERT_OK(e.client_r, &e.client_err);
    ASSERT_STR(SSL_get_version(ssl_of(&e.p.b)), "TLSv1.3");
    tell(&e.p.b, &e.p.a, "question");
    tell(&e.p.a, &e.p.b, "answer");
    ASSERT_EQ(io_write(&e.p.a, "plain secret", 12, 1000, NULL), 0);
    n = recv(e.p.b.fd, seen, sizeof seen, MSG_PEEK);
    ASSERT_INT(n, >, 12);
    ASSERT_TRUE(memmem(seen, (size_t)n, "secret", 6) == NULL);
    pair_done(&e.p);
}

FIBER_TEST(only_tls_12_and_13_with_forward_secrecy)
{
    static const struct {
        int min, max;
        const char *ciphers, *version;
    } rows[] = {
        { TLS1_3_VERSION, TLS1_3_VERSION, NULL, "TLSv1.3" },
        { TLS1_2_VERSION, TLS1_2_VERSION, NULL, "TLSv1.2" },
        { TLS1_1_VERSION, TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL },
        { TLS1_VERSION, TLS1_VERSION, "ALL:@SECLEVEL=0", NULL },
        { TLS1_2_VERSION, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0", NULL },
        { TLS1_2_VERSION, TLS1_2_VERSION, "AES128-GCM-SHA256", NULL },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        SSL_CTX *client = other_client(rows[i].min, rows[i].max);
        struct ends e = { .client = client };

        if (rows[i].ciphers)
            ASSERT_EQ(SSL_CTX_set_cipher_list(client, rows[i].ciphers), 1);
        meet(&e);
        if (rows[i].version) {
            ASSERT_OK(e.client_r, &e.client_err);
            ASSERT_STR(SSL_get_version(ssl_of(&e.p.a)), rows[i].version);
            ASSERT_EQ(SSL_get_current_compression(ssl_of(&e.p.a)) == NULL, 1);
        } else {
            ASSERT_EQ(e.server_r, -SMX_E_PROTOCOL);
            ASSERT_INT(e.client_r, <, 0);
        }
        pair_done(&e.p);
        SSL_CTX_free(client);
    }
}

FIBER_TEST(http11_is_chosen_and_a_client_that_offers_only_others_is_refused)
{
    static const struct {
        const char *offer;
        bool taken;
    } rows[] = { { "\x02h2\x08http/1.1", true }, { "\x08http/1.1", true }, { "\x02h2", false } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        SSL_CTX *client = other_client(TLS1_2_VERSION, TLS1_3_VERSION);
        struct ends e = { .client = client };
        const unsigned char *chosen = NULL;
        unsigned n = 0;

        SSL_CTX_set_alpn_protos(
            client, (const unsigned char *)rows[i].offer, (unsigned)strlen(rows[i].offer));
        meet(&e);
        ASSERT_EQ(e.server_r, rows[i].taken ? 0 : -SMX_E_PROTOCOL);
        if (rows[i].taken) {
            SSL_get0_alpn_selected(ssl_of(&e.p.b), &chosen, &n);
            ASSERT_MEM(chosen, n, "http/1.1", 8);
        }
        pair_done(&e.p);
        SSL_CTX_free(client);
    }
}

FIBER_TEST(a_client_that_does_not_trust_the_authority_leaves)
{
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    struct ends e = { .client = client };

    SSL_CTX_set_verify(client, SSL_VERIFY_PEER, NULL);
    meet(&e);
    ASSERT_EQ(e.client_r, -SMX_E_PROTOCOL);
    pair_done(&e.p);
    SSL_CTX_free(client);
}

static SSL_SESSION *session;

static int keep_session(SSL *ssl SMX_UNUSED, SSL_SESSION *s)
{
    SSL_SESSION_free(session);
    session = s;
    return 1;
}

/* By a ticket that the client holds: the server stores nothing. */
FIBER_TEST(sessions_are_resumed)
{
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

    for (size_t i = 0; i < SMX_ARRAY_LEN(versions); i++) {
        SSL_CTX *client = other_client(versions[i], versions[i]);
        struct ends e = { .client = client }, again = { .deadline_ns = in_ms(5000) };
        SSL *ssl = SSL_new(client);

        SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(client, keep_session);
        meet(&e);
        tell(&e.p.a, &e.p.b, "the ticket comes before this");
        ASSERT_FALSE(SSL_session_reused(ssl_of(&e.p.a)));
        ASSERT_TRUE(session != NULL);
        pair_done(&e.p);
        tcp_pair(&again.p);
        spawn("server", accept_run, &again);
        SSL_set_connect_state(ssl);
        SSL_set_session(ssl, session);
        ASSERT_EQ(tls_handshake(&again.p.b, ssl, in_ms(5000), NULL), 0);
        join_all();
        ASSERT_TRUE(SSL_session_reused(ssl_of(&again.p.a)));
        pair_done(&again.p);
        SSL_SESSION_free(session);
        session = NULL;
        SSL_CTX_free(client);
    }
}

/* --- streams --------------------------------------------------------------------------------- */

FIBER_TEST(streams_arrive_whole_over_tls)
{
    enum { N = 3 * 1000 * 1000 };
    struct ends e = { .client_r = 1 };
    struct stream s = { .n = N };
    size_t seen;

    meet(&e);
    s.fd = &e.p.a;
    spawn("writer", write_stream, &s);
    seen = read_stream(&e.p.b);
    ASSERT_EQ(seen, N);
    join_all();
    ASSERT_EQ(s.r, 0);
    pair_done(&e.p);
}

FIBER_TEST(keys_are_renewed_when_the_client_asks)
{
    struct ends e = { .client_r = 1 };

    meet(&e);
    for (int i = 0; i < 3; i++) {
        ASSERT_EQ(SSL_key_update(ssl_of(&e.p.b), SSL_KEY_UPDATE_REQUESTED), 1);
        tell(&e.p.b, &e.p.a, "with a new key");
        tell(&e.p.a, &e.p.b, "so here");
    }
    pair_done(&e.p);
}

FIBER_TEST(renegotiation_is_refused)
{
    SSL_CTX *client = other_client(TLS1_2_VERSION, TLS1_2_VERSION);
    struct ends e = { .client = client };
    SSL *ssl;
    char c;

    meet(&e);
    ASSERT_EQ(e.server_r, 0);
    ssl = ssl_of(&e.p.b);
    ASSERT_EQ(SSL_renegotiate(ssl), 1);
    SSL_do_handshake(ssl); /* sends the wish */
    ASSERT_EQ(io_read(&e.p.a, &c, 1, in_ms(20), NULL), -SMX_E_TIMEOUT);
    ASSERT_EQ(SSL_do_handshake(ssl), -1);
    ASSERT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    pair_done(&e.p);
    SSL_CTX_free(client);
}

/* --- ends ------------------------------------------------------------------------------------ */

FIBER_TEST(an_end_is_an_end_and_a_cut_is_an_error)
{
    for (int cut = 0; cut < 2; cut++) {
        struct ends e = { .client_r = 1 };
        char c;

        meet(&e);
        if (cut)
            shutdown(e.p.b.fd, SHUT_WR);
        else
            ASSERT_EQ(io_close_write(&e.p.b), 0);
        for (int i = 0; i < 2; i++)
            ASSERT_EQ(io_read(&e.p.a, &c, 1, in_ms(1000), NULL), cut ? -SMX_E_CLOSED : 0);
        if (!cut) /* half closed: the other direction goes on */
            tell(&e.p.a, &e.p.b, "still here");
        pair_done(&e.p);
    }
}

FIBER_TEST(a_connection_that_is_closed_says_goodbye_unless_it_is_to_be_reset)
{
    for (int reset = 0; reset < 2; reset++) {
        struct linger hard = { .l_onoff = 1 };
        struct ends e = { .client_r = 1 };
        char c;

        meet(&e);
        if (reset)
            setsockopt(e.p.a.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        io_fd_done(&e.p.a);
        ASSERT_EQ(io_read(&e.p.b, &c, 1, in_ms(1000), NULL), reset ? -SMX_E_CLOSED : 0);
        pair_done(&e.p);
    }
}

FIBER_TEST(damaged_records_end_the_connection)
{
    struct ends e = { .client_r = 1 };
    char c;

    meet(&e);
    ASSERT_EQ(send(e.p.b.fd, "\x17\x03\x03\x00\x14zzzzzzzzzzzzzzzzzzzz", 25, 0), 25);
    ASSERT_EQ(io_read(&e.p.a, &c, 1, in_ms(1000), NULL), -SMX_E_CLOSED);
    ASSERT_EQ(io_write(&e.p.a, "x", 1, 1000, NULL), -SMX_E_CLOSED);
    pair_done(&e.p);
}

/* --- hostile handshakes ---------------------------------------------------------------------- */

struct attack {
    struct pair p;
    const char *bytes;
    size_t n;
    unsigned every_ms; /* byte by byte */
};

static void attack_run(void *arg)
{
    struct attack *a = arg;
    size_t piece = a->every_ms ? 1 : a->n;

    for (size_t i = 0; i < a->n; i += piece) {
        if (io_write(&a->p.b, a->bytes + i, piece, 1000, NULL) < 0)
            return;
        if (a->every_ms && io_sleep_until(in_ms(a->every_ms)) < 0)
            return;
    }
}

static int attacked(const char *bytes, size_t n, unsigned every_ms, unsigned within_ms)
{
    struct attack a = { .bytes = bytes, .n = n, .every_ms = every_ms };
    int r;

    tcp_pair(&a.p);
    spawn("attack", attack_run, &a);
    r = tls_accept(test_certs()->context, &a.p.a, in_ms(within_ms), NULL);
    io_fd_done(&a.p.a);
    join_all();
    pair_done(&a.p);
    return r;
}

FIBER_TEST(hostile_handshakes_end)
{
    static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    static char zeros[70000];

    ASSERT_EQ(attacked("", 0, 0, 20), -SMX_E_TIMEOUT);                   /* silent */
    ASSERT_EQ(attacked(hello, sizeof hello - 1, 0, 20), -SMX_E_TIMEOUT); /* half a hello */
    ASSERT_EQ(attacked(hello, sizeof hello - 1, 5, 20), -SMX_E_TIMEOUT); /* it trickles */
    ASSERT_EQ(attacked(zeros, sizeof zeros, 0, 1000), -SMX_E_PROTOCOL);
    ASSERT_EQ(attacked("\x16\x03\x01\xff\xff\x01", 6, 0, 1000), -SMX_E_PROTOCOL); /* huge record */
    ASSERT_EQ(attacked("\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9, 0, 1000),
        -SMX_E_PROTOCOL); /* a hello of 16 MiB */
    ASSERT_EQ(attacked("SSH-2.0-x\r\n", 11, 0, 1000), -SMX_E_INVALID);
    ASSERT_EQ(attacked("\x80\x2e\x01\x03\x01", 5, 0, 20), -SMX_E_TIMEOUT); /* SSLv2's beginning */
}

FIBER_TEST(a_client_that_leaves_in_the_handshake_is_gone)
{
    for (int reset = 0; reset < 2; reset++) {
        struct linger hard = { .l_onoff = 1 };
        struct pair p;

        tcp_pair(&p);
        ASSERT_EQ(io_write(&p.b, "\x16\x03\x01", 3, 1000, NULL), 0);
        if (reset)
            setsockopt(p.b.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        io_fd_done(&p.b);
        ASSERT_EQ(tls_accept(test_certs()->context, &p.a, in_ms(1000), NULL),
            reset ? -SMX_E_CLOSED : -SMX_E_PROTOCOL);
        pair_done(&p);
    }
}

/* --- a listener of http ---------------------------------------------------------------------- */

static void say_who(struct http_exchange *x, void *ctx SMX_UNUSED)
{
    const char *text = http_peer(x)->secure ? "secure" : "plain";

    http_reply(x, 200, "text/plain", text, strlen(text));
}

static size_t read_all(struct io_fd *c, char *out, size_t size)
{
    size_t n = 0;
    ssize_t r;

    while (n + 1 < size && (r = io_read(c, out + n, size - n - 1, in_ms(2000), NULL)) > 0)
        n += (size_t)r;
    out[n] = 0;
    return n;
}

static struct http_server *secure_server(uint16_t *ret_port, uint64_t handshake_ms)
{
    struct http_server_config cfg = { .handler = say_who,
        .head_timeout_ms = 200,
        .handshake_timeout_ms = handshake_ms,
        .linger_timeout_ms = 100 };
    struct http_server *s = NULL;
    char host[64];
    int fd;

    if (!test_certs() || http_server_new(io_loop_self(), &cfg, &s, NULL) < 0 ||
        io_listen_tcp("127.0.0.1", 0, &fd, NULL) < 0 ||
        io_local_address(fd, host, sizeof host, ret_port, NULL) < 0 ||
        http_server_listen_secure(s, fd, "tls", test_secure(), NULL) < 0)
        return NULL;
    return s;
}

static int dial_port(uint16_t port, struct io_fd *ret)
{
    int fd, r = io_connect_tcp("127.0.0.1", port, &fd, in_ms(1000), NULL);

    return r < 0 ? r : io_fd_init(ret, fd, NULL);
}

FIBER_TEST(a_listener_serves_https_and_answers_plain_http_with_a_400)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    struct io_fd c;
    uint16_t port = 0;
    struct http_server *s = secure_server(&port, 5000);
    char reply[2048];

    for (int plain = 0; plain < 2; plain++) {
        ASSERT_EQ(dial_port(port, &c), 0);
        if (!plain)
            ASSERT_EQ(test_connect(&c, test_certs()->client, NULL), 0);
        ASSERT_EQ(io_write(&c, request, sizeof request - 1, 1000, NULL), 0);
        read_all(&c, reply, sizeof reply);
        ASSERT_TRUE(smx_starts(reply, plain ? "HTTP/1.1 400 Bad Request\r\n" : "HTTP/1.1 200 OK"));
        ASSERT_TRUE(strstr(reply, plain ? "HTTPS" : "\r\n\r\nsecure") != NULL);
        io_fd_done(&c);
    }
    http_server_drain(s, in_ms(1000));
    http_server_free(s);
}

/* Neither a slow nor a broken handshake leaves a connection behind. */
FIBER_TEST(handshakes_that_come_to_nothing_cost_nothing_lasting)
{
    struct io_fd c[8];
    uint16_t port = 0;
    struct http_server *s = secure_server(&port, 50);

    for (size_t i = 0; i < SMX_ARRAY_LEN(c); i++) {
        ASSERT_EQ(dial_port(port, &c[i]), 0);
        if (i % 2)
            ASSERT_EQ(io_write(&c[i], i % 4 == 1 ? "\x16\x03" : "\0\0\0\0\0\0", 2, 1000, NULL), 0);
    }
    for (int i = 0; i < 200 && http_server_connections(s) > 0; i++)
        io_sleep_until(in_ms(5));
    ASSERT_EQ(http_server_connections(s), 0);
    http_server_drain(s, in_ms(1000));
    http_server_free(s);
    for (size_t i = 0; i < SMX_ARRAY_LEN(c); i++)
        io_fd_done(&c[i]);
}

FIBER_TEST(an_end_does_not_wait_for_handshakes)
{
    struct io_fd silent, half;
    uint16_t port = 0;
    struct http_server *s = secure_server(&port, 3600 * 1000);

    ASSERT_EQ(dial_port(port, &silent), 0);
    ASSERT_EQ(dial_port(port, &half), 0);
    ASSERT_EQ(io_write(&half, "\x16\x03\x01", 3, 1000, NULL), 0);
    while (http_server_connections(s) < 2)
        io_sleep_until(in_ms(1));
    http_server_drain(s, SMX_FOREVER);
    ASSERT_EQ(http_server_connections(s), 0);
    http_server_free(s);
    io_fd_done(&silent);
    io_fd_done(&half);
}

/* --- pairs of files -------------------------------------------------------------------------- */

/* The leaf's key behind a passphrase, in the form of today or of old. */
static void encrypt_key(bool old, struct smx_buf *out)
{
    const struct smx_buf *plain = &test_certs()->leaf.key;
    BIO *in = BIO_new_mem_buf(plain->data, (int)plain->len), *made = BIO_new(BIO_s_mem());
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    char *text;
    long n;

    if (old)
        PEM_write_bio_PrivateKey_traditional(
            made, key, EVP_aes_128_cbc(), (const unsigned char *)"word", 4, NULL, NULL);
    else
        PEM_write_bio_PKCS8PrivateKey(made, key, EVP_aes_128_cbc(), "word", 4, NULL, NULL);
    n = BIO_get_mem_data(made, &text);
    smx_buf_append(out, text, (size_t)n);
    BIO_free(in);
    BIO_free(made);
    EVP_PKEY_free(key);
}

#define ENCRYPTED                                                                                 \
    "the key in key.pem is encrypted: store it without a passphrase (openssl pkey -in FILE -out " \
    "NEW), readable by its owner alone"

TEST(a_pair_that_does_not_fit_is_refused_in_one_sentence_and_the_old_one_stays)
{
    struct test_certs *t = test_certs();
    SMX_CLEANUP(tls_context_freep) struct tls_context *c = NULL;
    struct tls_pair good = test_pair(&t->leaf);
    static const struct smx_view none = { "", 0 };
    struct smx_buf locked[2];
    struct {
        struct smx_view cert, key;
        const char *message;
    } rows[] = {
        { none, good.key, "cert.pem holds no certificate in PEM form" },
        { good.key, good.key, "cert.pem holds no certificate in PEM form" },
        { good.cert, none, "key.pem holds no private key in PEM form" },
        { good.cert, good.cert, "key.pem holds no private key in PEM form" },
        { good.cert, { t->ca.key.data, t->ca.key.len },
            "the key in key.pem does not belong to the certificate in cert.pem" },
        { good.cert, none, ENCRYPTED },
        { good.cert, none, ENCRYPTED },
        { { good.cert.p, good.cert.n - 60 }, good.key,
            "cert.pem holds no certificate in PEM form" },
    };
    struct smx_err err;

    for (size_t i = 0; i < 2; i++) {
        smx_buf_init(&locked[i], 65536);
        encrypt_key(i == 1, &locked[i]);
        rows[5 + i].key = (struct smx_view){ locked[i].data, locked[i].len };
    }
    ASSERT_EQ(tls_context_new(&c, &err), 0);
    ASSERT_OK(tls_context_load(c, &good, &err), &err);
    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        struct tls_pair bad = good;
        SSL_CTX *before = c->ssl;

        bad.cert = rows[i].cert;
        bad.key = rows[i].key;
        ASSERT_EQ(tls_context_load(c, &bad, &err), -SMX_E_INVALID);
        ASSERT_STR(err.msg, rows[i].message);
        ASSERT_TRUE(c->ssl == before);
    }
    ASSERT_EQ(ERR_peek_error(), 0);
    smx_buf_done(&locked[0]);
    smx_buf_done(&locked[1]);
}

TEST(a_chain_is_taken_and_a_damaged_one_refused)
{
    struct test_certs *t = test_certs();
    SMX_CLEANUP(tls_context_freep) struct tls_context *c = NULL;
    struct tls_pair pair = test_pair(&t->leaf);
    STACK_OF(X509) *chain = NULL;
    struct smx_buf both;
    struct smx_err err;

    ASSERT_EQ(tls_context_new(&c, &err), 0);
    for (int damaged = 0; damaged < 2; damaged++) {
        smx_buf_init(&both, 65536);
        smx_buf_append(&both, t->leaf.cert.data, t->leaf.cert.len);
        smx_buf_append(&both, t->ca.cert.data, t->ca.cert.len);
        if (damaged)
            both.data[t->leaf.cert.len + 60] = '!';
        pair.cert = (struct smx_view){ both.data, both.len };
        ASSERT_EQ(tls_context_load(c, &pair, &err), damaged ? -SMX_E_INVALID : 0);
        SSL_CTX_get0_chain_certs(c->ssl, &chain);
        ASSERT_EQ(sk_X509_num(chain), 1);
        smx_buf_done(&both);
    }
    ASSERT_STR(err.msg, "cert.pem holds a damaged certificate");
}

/* New connections get the new certificate, old ones go on. */
FIBER_TEST(a_new_pair_is_served_without_ending_connections)
{
    static const char *const names[] = { "api.sandmux.test" };
    struct test_certs *t = test_certs();
    struct tls_issued next;
    struct tls_pair old = test_pair(&t->leaf), pair;
    struct ends e = { .client_r = 1 }, f = { .client_r = 1 };
    X509 *a, *b;

    tls_issued_init(&next);
    ASSERT_EQ(tls_issue_leaf(&t->ca, names, 1, &next, NULL), 0);
    pair = test_pair(&next);
    meet(&e);
    ASSERT_EQ(tls_context_load(t->context, &pair, NULL), 0);
    meet(&f);
    ASSERT_EQ(f.client_r, 0);
    tell(&e.p.a, &e.p.b, "old");
    tell(&f.p.a, &f.p.b, "new");
    a = SSL_get1_peer_certificate(ssl_of(&e.p.b));
    b = SSL_get1_peer_certificate(ssl_of(&f.p.b));
    ASSERT_INT(X509_cmp(a, b), !=, 0);
    X509_free(a);
    X509_free(b);
    pair_done(&e.p);
    pair_done(&f.p);
    ASSERT_EQ(tls_context_load(t->context, &old, NULL), 0);
    tls_issued_done(&next);
}

/* --- certificates of our own ----------------------------------------------------------------- */

static X509 *parse(const struct smx_buf *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    BIO_free(bio);
    return x;
}

static int verify(X509 *leaf, X509 *ca, const char *host)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;
    int e;

    X509_STORE_add_cert(store, ca);
    X509_STORE_CTX_init(ctx, store, leaf, NULL);
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    if (strspn(host, "0123456789.:") == strlen(host))
        X509_VERIFY_PARAM_set1_ip_asc(param, host);
    else
        X509_VERIFY_PARAM_set1_host(param, host, 0);
    e = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return e;
}

TEST(a_strict_verifier_takes_our_certificates_for_their_names_only)
{
    static const char *const names[] = { "sandmux.test", "*.sandmux.test", "localhost", "127.0.0.1",
        "::1" };
    static const struct {
        const char *host;
        int want;
    } rows[] = { { "sandmux.test", X509_V_OK }, { "api.sandmux.test", X509_V_OK },
        { "49983-i0.sandmux.test", X509_V_OK }, { "localhost", X509_V_OK },
        { "127.0.0.1", X509_V_OK }, { "::1", X509_V_OK },
        { "a.b.sandmux.test", X509_V_ERR_HOSTNAME_MISMATCH },
        { "sandmux.example", X509_V_ERR_HOSTNAME_MISMATCH },
        { "127.0.0.2", X509_V_ERR_IP_ADDRESS_MISMATCH } };
    struct tls_issued leaf;
    struct smx_err err = { 0 };
    X509 *x, *ca;

    tls_issued_init(&leaf);
    ASSERT_OK(tls_issue_leaf(&test_certs()->ca, names, 5, &leaf, &err), &err);
    x = parse(&leaf.cert);
    ca = parse(&test_certs()->ca.cert);
    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++)
        ASSERT_EQ(verify(x, ca, rows[i].host), rows[i].want);
    X509_free(x);
    X509_free(ca);
    tls_issued_done(&leaf);
}

TEST(an_authority_signs_only_with_its_own_key_and_for_names_that_are_names)
{
    static const char *const bad[] = { "", "Upper.test", "a,DNS:evil.test", "x/y", "a:b", "a b" };
    struct test_certs *t = test_certs();
    static const char *const fine[] = { "a.test" };
    struct tls_issued leaf, other;
    struct smx_err err = { 0 };
    struct smx_view cert = { t->leaf.cert.data, t->leaf.cert.len };

    tls_issued_init(&leaf);
    tls_issued_init(&other);
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++)
        ASSERT_EQ(tls_issue_leaf(&t->ca, &bad[i], 1, &leaf, &err), -SMX_E_INVALID);
    ASSERT_EQ(leaf.cert.len, 0);
    ASSERT_OK(tls_issue_ca(&other, &err), &err);
    ASSERT_TRUE(tls_issued_by(cert, (struct smx_view){ t->ca.cert.data, t->ca.cert.len }));
    ASSERT_FALSE(tls_issued_by(cert, (struct smx_view){ other.cert.data, other.cert.len }));
    ASSERT_FALSE(tls_issued_by(SMX_VIEW("x"), SMX_VIEW("y")));
    smx_buf_reset(&other.key);
    smx_buf_append(&other.key, t->ca.key.data, t->ca.key.len);
    ASSERT_EQ(tls_issue_leaf(&other, fine, 1, &leaf, &err), -SMX_E_INVALID);
    tls_issued_done(&leaf);
    tls_issued_done(&other);
}
