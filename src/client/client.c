/* client.c - the handle: opening, closing, and raw requests through it. All of it but the idle
 * connections is constant after opening. */
#include "client/internal.h"

const char *smx_library_version(void)
{
    return SMX_VERSION;
}

static int copy_text(char **to, const char *from, struct smx_err *err)
{
    if (!from)
        return 0;
    *to = smx_strdup(from);
    return *to ? 0 : smx_err_oom(err);
}

static int set_up(struct smx_client *c, const struct smx_client_config *config, struct smx_err *err)
{
    int r;

    c->timeout_ms = config->timeout_ms ? config->timeout_ms : CLIENT_TIMEOUT_MS;
    c->flags = config->flags;
    c->interrupt = (struct client_interrupt){ config->interrupt, config->interrupt_arg };
    r = copy_text(&c->program, config->program, err);
    if (r == 0)
        r = copy_text(&c->api_key, config->api_key, err);
    return r == 0 ? client_lookup(c, config, err) : r;
}

int smx_client_open(
    const struct smx_client_config *config, struct smx_client **ret_client, struct smx_err *err)
{
    static const struct smx_client_config none = { 0 };
    struct smx_client *c = smx_alloc(sizeof *c);
    int r;

    if (!c)
        return smx_err_oom(err);
    smx_err_clear(err);
    r = set_up(c, config ? config : &none, err);
    if (r < 0) {
        smx_client_close(c);
        return r;
    }
    *ret_client = c;
    return 0;
}

void smx_client_close(struct smx_client *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CLIENT_IDLE_MAX; i++)
        conn_free(atomic_exchange(&c->idle[i], NULL));
    client_tls_close(c);
    smx_free(c->url);
    smx_free(c->api_key);
    smx_free(c->program);
    smx_free(c);
}

const char *smx_client_url(const struct smx_client *c)
{
    return c->url;
}

/* --- raw requests -------------------------------------------------------------------------------
 */

struct reply_box {
    struct smx_reply pub;
    struct smx_buf body;
    char type[128];
};

int smx_request(struct smx_client *c, const char *method, const char *path, const char *body,
    struct smx_reply **ret_reply, struct smx_err *err)
{
    struct call call = { .method = method, .path = path, .body = body };
    struct reply_box *box = NULL;
    struct conn *conn = NULL;
    int r;

    if (!h1_token_valid(smx_view_of(method)) || path[0] != '/' || strpbrk(path, " \r\n\t"))
        return smx_err_set(err, SMX_E_INVALID, "not a request: %s %s", method, path);
    call.n = body ? strlen(body) : 0;
    r = call_start(c, &call, &conn, err);
    if (r < 0)
        return r;
    box = smx_alloc(sizeof *box);
    if (!box) {
        conn_free(conn);
        return smx_err_oom(err);
    }
    smx_buf_init(&box->body, CLIENT_REPLY_MAX);
    smx_strcpy(box->type, sizeof box->type, conn->content_type);
    r = conn_body_all(conn, &box->body, err);
    box->pub = (struct smx_reply){ .status = conn->status,
        .content_type = box->type,
        .body = box->body.data ? box->body.data : "",
        .bytes = box->body.len };
    client_give(c, conn);
    if (r < 0)
        smx_reply_free(&box->pub);
    else
        *ret_reply = &box->pub;
    return r;
}

int smx_reply_check(const struct smx_reply *reply, struct smx_err *err)
{
    return reply->status < 400 ? 0 : call_error(reply->status, reply->body, reply->bytes, err);
}

void smx_reply_free(struct smx_reply *reply)
{
    struct reply_box *box = SMX_CONTAINER_OF(reply, struct reply_box, pub);

    if (!reply)
        return;
    smx_buf_done(&box->body);
    smx_free(box);
}
