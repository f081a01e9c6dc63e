/* runtimes.c - from the settings to the runtimes that the core may use. daytona is known by name:
 * its configuration is judged and shown; this version has no client for it, and says so. local
 * works where the supervisor runs as root and gave us its engine. */
#include "gateway/gateway.h"

#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "providers/e2b/e2b.h"
#include "providers/local/local.h"

static struct local_config local;
static struct e2b_config e2b;

/* JSON pairs want text that may be written to; the core only reads it. */
static void pair(struct json_pair *p, const char *key, const char *value)
{
    memcpy(&p->key, &key, sizeof key);
    memcpy(&p->value, &value, sizeof value);
}

static const char *yes_no(bool v)
{
    return v ? "true" : "false";
}

/* An empty value is as good as none. */
static const char *text_of(const struct gateway *g, enum config_key key)
{
    const char *v = config_get(g->config, key);

    return v && *v ? v : NULL;
}

static bool require(const struct gateway *g, struct core_runtime_config *rt, enum config_key key)
{
    size_t n = 0;

    if (text_of(g, key))
        return true;
    while (rt->missing[n])
        n++;
    rt->missing[n] = config_setting(key)->env;
    return false;
}

static void fill_daytona(struct gateway *g, struct core_runtime_config *rt, struct json_pair *info)
{
    static const enum config_key needed[] = { CONFIG_DAYTONA_API_KEY, CONFIG_DAYTONA_SERVER_URL,
        CONFIG_DAYTONA_TARGET };

    rt->name = "daytona";
    rt->configured = true;
    for (size_t i = 0; i < SMX_ARRAY_LEN(needed); i++)
        rt->configured &= require(g, rt, needed[i]);
    rt->unavailable = "this version has no client for Daytona";
    pair(&info[0], "daytona_configured", yes_no(config_get(g->config, CONFIG_DAYTONA_API_KEY)));
    pair(&info[1], "daytona_server", config_get(g->config, CONFIG_DAYTONA_SERVER_URL));
    pair(&info[2], "daytona_target", config_get(g->config, CONFIG_DAYTONA_TARGET));
    rt->info = info;
    rt->n_info = 3;
}

static void fill_e2b(struct gateway *g, struct core_runtime_config *rt, struct json_pair *info)
{
    e2b = (struct e2b_config){ .api_key = text_of(g, CONFIG_E2B_API_KEY),
        .template = text_of(g, CONFIG_E2B_TEMPLATE),
        .domain = text_of(g, CONFIG_E2B_DOMAIN),
        .api_url = text_of(g, CONFIG_E2B_API_URL),
        .sandbox_url = text_of(g, CONFIG_E2B_SANDBOX_URL),
        .ca_file = text_of(g, CONFIG_CA_FILE) };
    if (!e2b.template)
        e2b.template = "base";
    if (!e2b.domain)
        e2b.domain = "e2b.app";
    rt->name = "e2b";
    rt->configured = require(g, rt, CONFIG_E2B_API_KEY);
    rt->ops = &e2b_provider;
    rt->capabilities = E2B_CAPABILITIES;
    rt->config = &e2b;
    rt->default_template = e2b.template;
    pair(&info[0], "e2b_configured", yes_no(rt->configured));
    pair(&info[1], "e2b_template", e2b.template);
    rt->info = info;
    rt->n_info = 2;
}

static void fill_local(struct gateway *g, struct core_runtime_config *rt, struct json_pair *info)
{
    bool usable = g->fe.daemon_uid == 0;

    rt->name = "local";
    rt->configured = true;
    if (usable) {
        local.engine_fd = smx_take_fd(&g->inherited.engine);
        rt->ops = &local_provider;
        rt->config = &local;
    } else {
        rt->unavailable = "local sandboxes need the daemon to run as root: start it with sudo, "
                          "or as a system service";
    }
    pair(&info[0], "local_configured", yes_no(usable));
    rt->info = info;
    rt->n_info = 1;
}

/* "host:port" that leads to a listener of ours. */
static bool is_our_address(const struct gateway *g, struct smx_view text, bool secure)
{
    uint16_t own = secure ? g->fe.tls_port : g->fe.port, usual = secure ? 443 : 80;
    struct frontend_host h;

    return own != 0 && frontend_host_parse(text, &h) && (h.port ? h.port : usual) == own &&
           (frontend_host_known(&g->fe, &h) || (*g->fe.host && smx_streq(h.name, g->fe.host)));
}

/* True for http://localhost:PORT and its like with our own port: `sandmux env` exports that. */
static bool is_ourselves(const struct gateway *g, const char *url)
{
    bool secure = url && smx_starts(url, "https://");

    if (!secure && (!url || !smx_starts(url, "http://")))
        return false;
    url += secure ? 8 : 7;
    return is_our_address(g, (struct smx_view){ url, strcspn(url, "/?") }, secure);
}

/* Where HTTPS is served it exports the domain alone. */
static bool e2b_is_ourselves(const struct gateway *g)
{
    const char *url = config_get(g->config, CONFIG_E2B_API_URL);
    const char *domain = config_get(g->config, CONFIG_E2B_DOMAIN);

    if (url)
        return is_ourselves(g, url);
    return domain && is_our_address(g, smx_view_of(domain), /* secure= */ true);
}

/* The documented default is daytona; a machine without any cloud key works all the same. */
static const char *default_runtime(const struct gateway *g)
{
    if (config_get(g->config, CONFIG_DAYTONA_API_KEY) &&
        !is_ourselves(g, config_get(g->config, CONFIG_DAYTONA_SERVER_URL)))
        return "daytona";
    if (config_get(g->config, CONFIG_E2B_API_KEY) && !e2b_is_ourselves(g))
        return "daytona";
    return "local";
}

void runtimes_fill(struct gateway *g, struct core_config *cc)
{
    fill_daytona(g, &cc->runtimes[0], g->info[0]);
    fill_e2b(g, &cc->runtimes[1], g->info[1]);
    fill_local(g, &cc->runtimes[2], g->info[2]);
    cc->n_runtimes = 3;
    cc->runtime_setting = config_get(g->config, CONFIG_RUNTIME);
    cc->runtime_default = default_runtime(g);
}

void runtimes_engine(struct gateway *g, int fd)
{
    struct provider *p = core_provider(g->fe.core, "local");

    if (p)
        local_engine_attach(p, fd);
    else
        smx_close(fd);
}
