/* lookup.c - where the daemon is: a URL that was given, else the first socket that answers of the
 * project's, the user's and the system's, else the project's, where one is started. Runs while the
 * handle is opened, by one thread. */
#include "client/internal.h"

#include <unistd.h>

#include "config/config.h"

#define SYSTEM_SOCKET "/run/sandmux/sandmux.sock"

enum { PLACES_MAX = 3 };

struct places {
    char paths[PLACES_MAX][CONFIG_SOCKET_MAX];
    size_t n;
};

static void add_place(struct places *p, const char *path)
{
    for (size_t i = 0; i < p->n; i++)
        if (smx_streq(p->paths[i], path))
            return;
    smx_strcpy(p->paths[p->n++], CONFIG_SOCKET_MAX, path);
}

static int find_places(const struct config *cfg, struct places *ret, struct smx_err *err)
{
    struct config_places at;
    int r = config_places(cfg, /* automatic= */ true, &at, err);

    if (r < 0)
        return r;
    add_place(ret, at.socket);
    r = config_places(cfg, /* automatic= */ false, &at, err);
    if (r < 0)
        return r;
    add_place(ret, at.socket);
    if (!config_get(cfg, CONFIG_PROFILE) && config_origin(cfg, CONFIG_SOCKET) == CONFIG_FALLBACK &&
        config_origin(cfg, CONFIG_STATE_DIR) == CONFIG_FALLBACK)
        add_place(ret, SYSTEM_SOCKET);
    return 0;
}

static int set_url(struct smx_client *c, const char *url, struct smx_err *err)
{
    c->url = url ? smx_strdup(url) : smx_asprintf("unix:%s", c->at.path);
    return c->url ? 0 : smx_err_oom(err);
}

/* Keeps the descriptor as the first idle connection. */
static int keep(struct smx_client *c, int fd, struct smx_err *err)
{
    struct conn *conn;
    int r = conn_new(fd, &conn, err);

    if (r < 0)
        return r;
    conn->keep = conn->finished = true;
    client_give(c, conn);
    return 0;
}

static int use_url(
    struct smx_client *c, const char *url, const struct config *cfg, struct smx_err *err)
{
    struct conn *conn;
    int r = endpoint_parse(url, &c->at, err);

    if (r == 0 && c->at.secure)
        r = client_tls_open(c, config_get(cfg, CONFIG_CA), err);
    if (r == 0)
        r = set_url(c, url, err);
    if (r == 0)
        r = client_connect(c, SMX_FOREVER, &conn, err);
    if (r < 0)
        return r;
    conn->keep = conn->finished = true;
    client_give(c, conn);
    return 0;
}

static int nowhere(const struct places *p, struct smx_err *err)
{
    struct smx_buf list;
    int r;

    smx_buf_init(&list, 4 * CONFIG_SOCKET_MAX);
    for (size_t i = 0; i < p->n; i++)
        smx_buf_appendf(&list, "%s%s", i ? ", " : "", p->paths[i]);
    r = smx_err_set(err, SMX_E_UNAVAILABLE, "no daemon answers (looked at %s)", list.data);
    smx_buf_done(&list);
    return r;
}

static int use_places(struct smx_client *c, const struct places *p, struct smx_err *err)
{
    int fd = -1, r;

    for (size_t i = 0; i < p->n; i++) {
        r = endpoint_unix(p->paths[i], &c->at, err);
        if (r == 0)
            r = endpoint_connect(
                &c->at, smx_deadline_in_ms(CLIENT_CONNECT_MS), &c->interrupt, &fd, err);
        if (r == 0) {
            c->may_start = i == 0 && !(c->flags & SMX_CLIENT_NO_START);
            r = set_url(c, /* url= */ NULL, err);
            if (r == 0)
                return keep(c, fd, err);
            smx_close(fd);
            return r;
        }
    }
    if (c->flags & SMX_CLIENT_NO_START)
        return nowhere(p, err);
    r = endpoint_unix(p->paths[0], &c->at, err);
    if (r == 0)
        r = set_url(c, /* url= */ NULL, err);
    if (r == 0)
        r = client_start(c, &fd, err);
    c->may_start = true;
    return r == 0 ? keep(c, fd, err) : r;
}

int client_lookup(struct smx_client *c, const struct smx_client_config *config, struct smx_err *err)
{
    SMX_CLEANUP(config_freep) struct config *cfg = NULL;
    struct config_input in = { 0 };
    struct places places = { 0 };
    const char *url;
    int r = config_load(&in, &cfg, err);

    if (r < 0)
        return r;
    url = config->url ? config->url : config_get(cfg, CONFIG_URL);
    if (!c->api_key && config_get(cfg, CONFIG_API_KEY)) {
        c->api_key = smx_strdup(config_get(cfg, CONFIG_API_KEY));
        if (!c->api_key)
            return smx_err_oom(err);
    }
    if (c->api_key && !h1_value_valid(smx_view_of(c->api_key)))
        return smx_err_set(err, SMX_E_INVALID, "the API key has characters that no key has");
    if (url)
        return use_url(c, url, cfg, err);
    r = find_places(cfg, &places, err);
    return r < 0 ? r : use_places(c, &places, err);
}
