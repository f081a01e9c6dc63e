/* cmd_env.c - env: the variables by which a program reaches the daemon that runs, as lines for a
 * shell. For E2B's SDK there are two ways: by URLs, or, where the daemon serves HTTPS for a domain
 * whose names resolve here, by that domain alone, as the SDK reaches E2B itself. */
#include "cli/cli.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "config/config.h"
#include "json/json.h"
#include "sandmux/keys.h"
#include "sandmux/runtime.h"

enum { VARIABLES_MAX = 12, VALUE_MAX = 4352 };

/* Where no key is asked for, SDKs want one all the same; older ones look at its form. */
static const char any_key[] = "e2b_0000000000000000000000000000000000000000";

struct variable {
    const char *name;
    bool unset; /* it would win over the others */
    char value[VALUE_MAX];
};

struct facts { /* what the daemon says of itself */
    uint64_t port, tls_port;
    char *host, *domain, *tls_cert;
    bool require_keys, automatic;
};
static const struct json_field facts_table_fields[] = {
    { "port", JSON_U64, offsetof(struct facts, port), JSON_OPTIONAL },
    { "tls_port", JSON_U64, offsetof(struct facts, tls_port), JSON_OPTIONAL },
    { "host", JSON_STRING, offsetof(struct facts, host), JSON_OPTIONAL },
    { "domain", JSON_STRING, offsetof(struct facts, domain), JSON_OPTIONAL },
    { "tls_cert", JSON_STRING, offsetof(struct facts, tls_cert), JSON_OPTIONAL },
    { "require_keys", JSON_BOOL, offsetof(struct facts, require_keys), JSON_OPTIONAL },
    { "automatic", JSON_BOOL, offsetof(struct facts, automatic), JSON_OPTIONAL },
};
static JSON_TABLE(facts_table, facts, .lax = true);

struct env {
    struct facts facts;
    struct variable *v; /* VARIABLES_MAX */
    size_t n;
};

static struct variable *add(struct env *e, const char *name)
{
    struct variable *v = &e->v[e->n++];

    v->name = name;
    return v;
}

static void add_value(struct env *e, const char *name, const char *value)
{
    smx_strcpy(add(e, name)->value, VALUE_MAX, value);
}

/* --- writing --------------------------------------------------------------------------------- */

enum shell { SH, FISH, POWERSHELL, DOTENV };
static const char *const shell_names[] = { "sh", "fish", "powershell", "dotenv" };

static void quoted(const char *value, enum shell shell)
{
    const char *inner = shell == SH ? "'\\''" : shell == POWERSHELL ? "''" : "\\'";

    cli_out("'", 1);
    for (const char *p = value; *p; p++) {
        if (*p == '\'')
            cli_out(inner, strlen(inner));
        else if (*p == '\\' && shell == FISH)
            cli_out("\\\\", 2);
        else
            cli_out(p, 1);
    }
    cli_out("'", 1);
}

static void write_variable(const struct variable *v, enum shell shell)
{
    static const struct {
        const char *set, *to, *unset, *end;
    } forms[] = { { "export ", "=", "unset ", "" }, { "set -gx ", " ", "set -e ", "" },
        { "$Env:", " = ", "Remove-Item Env:", " -ErrorAction SilentlyContinue" },
        { "", "=", "", "=" } };

    cli_outf("%s%s", v->unset ? forms[shell].unset : forms[shell].set, v->name);
    if (v->unset) {
        cli_outf("%s\n", forms[shell].end);
        return;
    }
    cli_outf("%s", forms[shell].to);
    quoted(v->value, shell);
    cli_out("\n", 1);
}

static int write_json(struct cli *cli, const struct env *e)
{
    struct smx_buf b;
    struct json_writer w;
    int r;

    smx_buf_init(&b, 256 * 1024);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    for (size_t i = 0; i < e->n; i++) {
        if (!e->v[i].unset)
            json_kv_string(&w, e->v[i].name, e->v[i].value);
    }
    json_object_end(&w);
    r = json_writer_end(&w, &cli->err) < 0 ? cli_fail(cli) : 0;
    if (r == 0)
        cli_out_line(b.data);
    smx_buf_done(&b);
    return r;
}

/* --- asking the daemon ----------------------------------------------------------------------- */

static int read_facts(struct cli *cli, struct facts *ret)
{
    char *json = NULL, *version = NULL;
    int r = smx_server_version(cli->client, &version, &json, &cli->err);

    if (r == 0)
        r = json_decode(&facts_table, json, strlen(json), ret, &cli->err);
    smx_text_free(version);
    smx_text_free(json);
    return r < 0 ? cli_fail(cli) : 0;
}

/* A daemon that a client started listens on no port until somebody wants one. */
static int ask_for_port(struct cli *cli, struct facts *f)
{
    struct smx_reply *reply = NULL;
    int r =
        smx_request(cli->client, "POST", "/api/daemon/listen", /* body= */ NULL, &reply, &cli->err);

    if (r < 0)
        return cli_fail(cli);
    if (reply->status >= 400)
        r = smx_err_set(&cli->err, SMX_E_UNAVAILABLE,
            "the daemon at %s has no TCP port; start one with 'sandmux serve'",
            smx_client_url(cli->client));
    smx_reply_free(reply);
    if (r < 0)
        return cli_fail(cli);
    json_free(&facts_table, f);
    r = read_facts(cli, f);
    if (r == 0)
        cli_note("sandmux: this daemon ends by itself when it is idle; 'sandmux serve' starts one "
                 "that stays");
    return r;
}

/* Base URL of plain HTTP: the one that was given, or the listener's. */
static int plain_url(struct cli *cli, struct facts *f, char *out, size_t size)
{
    const char *own = smx_client_url(cli->client);
    const char *host;
    int r = 0;

    if (smx_starts(own, "http://")) {
        smx_strcpy(out, size, own);
        if (smx_ends(out, "/"))
            out[strlen(out) - 1] = '\0';
        return 0;
    }
    if (f->port == 0)
        r = ask_for_port(cli, f);
    host = f->host && *f->host && !smx_streq(f->host, "0.0.0.0") && !smx_streq(f->host, "::")
               ? f->host
               : "127.0.0.1";
    snprintf(
        out, size, strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u", host, (unsigned)f->port);
    return r;
}

static int api_key(struct cli *cli, const struct env *e, char *out)
{
    const char *own = getenv("SANDMUX_API_KEY");
    struct smx_key_list *keys;

    if (own && *own) {
        smx_strcpy(out, VALUE_MAX, own);
        return 0;
    }
    if (!e->facts.require_keys) {
        smx_strcpy(out, VALUE_MAX, any_key);
        return 0;
    }
    if (smx_key_create(cli->client, "sandmux env", &keys, &cli->err) < 0)
        return cli_fail(cli);
    smx_strcpy(out, VALUE_MAX, keys->items[0].key);
    smx_key_list_free(keys);
    return 0;
}

/* --- E2B's SDK ------------------------------------------------------------------------------- */

static bool resolves(const char *domain)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }; /* also on a machine without network */
    struct addrinfo *list = NULL;
    char name[300];

    snprintf(name, sizeof name, "api.%s", domain);
    if (getaddrinfo(name, "443", &hints, &list) != 0)
        return false;
    freeaddrinfo(list);
    return true;
}

/* Verifiers take no wildcard of one label: *.localhost is none. */
static bool by_domain(struct cli *cli, const struct facts *f)
{
    bool possible = f->tls_port && f->domain && strchr(f->domain, '.');

    if (!possible || cli_flag(cli, "no-tls"))
        return false;
    if (cli_flag(cli, "tls") || resolves(f->domain))
        return true;
    cli_note("sandmux: api.%s does not resolve here, so the URLs are printed; --tls prints the "
             "domain all the same",
        f->domain);
    return false;
}

static bool beside(const char *cert, const char *name, char *out)
{
    const char *slash = strrchr(cert, '/');
    int n = snprintf(out, VALUE_MAX, "%.*s/%s", slash ? (int)(slash - cert) : 0, cert, name);

    return slash && n > 0 && n < VALUE_MAX && access(out, R_OK) == 0;
}

/* A certificate of 'sandmux tls init' has its authority beside it; others are trusted already. */
static void add_authority(struct env *e)
{
    const char *cert = e->facts.tls_cert;
    char path[VALUE_MAX];

    if (!cert || !beside(cert, "ca.pem", path))
        return;
    add_value(e, "NODE_EXTRA_CA_CERTS", path);
    beside(cert, "bundle.pem", path);
    if (access(path, R_OK) != 0)
        beside(cert, "ca.pem", path);
    add_value(e, "SSL_CERT_FILE", path);
}

static void add_domain(struct env *e)
{
    struct variable *v = add(e, "E2B_DOMAIN");

    if (e->facts.tls_port == 443)
        smx_strcpy(v->value, VALUE_MAX, e->facts.domain);
    else
        snprintf(v->value, VALUE_MAX, "%s:%u", e->facts.domain, (unsigned)e->facts.tls_port);
    add(e, "E2B_API_URL")->unset = true;
    add(e, "E2B_SANDBOX_URL")->unset = true;
    add_authority(e);
}

static int add_urls(struct cli *cli, struct env *e)
{
    char url[VALUE_MAX];
    const char *domain;
    int r = plain_url(cli, &e->facts, url, sizeof url);

    if (r != 0)
        return r;
    domain = e->facts.domain ? e->facts.domain : "localhost";
    add_value(e, "E2B_API_URL", url);
    add_value(e, "E2B_SANDBOX_URL", url);
    snprintf(add(e, "E2B_DOMAIN")->value, VALUE_MAX, "%s:%u", domain, (unsigned)e->facts.port);
    return 0;
}

static int fill_e2b(struct cli *cli, struct env *e)
{
    int r = 0;

    if (by_domain(cli, &e->facts))
        add_domain(e);
    else
        r = add_urls(cli, e);
    return r != 0 ? r : api_key(cli, e, add(e, "E2B_API_KEY")->value);
}

/* Our own clients: the place of the daemon, and a key where one has to be sent. */
static int fill_own(struct cli *cli, struct env *e)
{
    add_value(e, "SANDMUX_URL", smx_client_url(cli->client));
    if (!e->facts.require_keys || smx_starts(smx_client_url(cli->client), "unix:"))
        return 0;
    return api_key(cli, e, add(e, "SANDMUX_API_KEY")->value);
}

/* --- env ------------------------------------------------------------------------------------- */

static int read_shell(struct cli *cli, enum shell *ret)
{
    const char *name = cli_value(cli, "shell");

    *ret = SH;
    if (!name)
        return 0;
    for (size_t i = 0; i < SMX_ARRAY_LEN(shell_names); i++) {
        if (smx_streq(name, shell_names[i])) {
            *ret = (enum shell)i;
            return 0;
        }
    }
    return cli_usage(cli, "--shell knows sh, fish, powershell and dotenv, not '%s'", name);
}

static int print_env(struct cli *cli, const struct env *e, enum shell shell)
{
    if (cli->json)
        return write_json(cli, e);
    for (size_t i = 0; i < e->n; i++)
        write_variable(&e->v[i], shell);
    return CLI_OK;
}

int cmd_env(struct cli *cli)
{
    static struct variable variables[VARIABLES_MAX];
    const char *sdk = cli_value(cli, "sdk");
    struct env e = { .v = variables };
    enum shell shell;
    int r = read_shell(cli, &shell);

    if (r == 0 && sdk && !smx_streq(sdk, "e2b") && !smx_streq(sdk, "sandmux"))
        r = cli_usage(cli, "--sdk knows e2b and sandmux, not '%s'", sdk);
    if (r == 0 && cli_flag(cli, "tls") && cli_flag(cli, "no-tls"))
        r = cli_usage(cli, "give either --tls or --no-tls, not both");
    if (r == 0)
        r = cli_connect(cli);
    if (r == 0)
        r = read_facts(cli, &e.facts);
    if (r != 0)
        return r;
    r = sdk && smx_streq(sdk, "e2b") ? fill_e2b(cli, &e) : fill_own(cli, &e);
    if (r == 0)
        r = print_env(cli, &e, shell);
    json_free(&facts_table, &e.facts);
    explicit_bzero(variables, sizeof variables);
    return r;
}
