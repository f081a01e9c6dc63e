/* cmd_tls.c - tls init. The gateway makes the certificates, because it has OpenSSL and this program
 * does not: it would start several times slower. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "config/config.h"
#include "json/json.h"
#include "supervisor/supervisor.h"

enum { ANSWER_MAX = 256 * 1024 };

/* Verifiers take no wildcard directly below `localhost`. */
static const char usual_domain[] = "sandmux.localhost";

struct made {
    char *dir, *ca, *cert, *key, *bundle, *domain;
    bool new_authority;
    struct json_strings names;
};

static const struct json_field made_table_fields[] = {
    { "dir", JSON_STRING, offsetof(struct made, dir), JSON_OPTIONAL },
    { "ca", JSON_STRING, offsetof(struct made, ca), JSON_OPTIONAL },
    { "cert", JSON_STRING, offsetof(struct made, cert), JSON_OPTIONAL },
    { "key", JSON_STRING, offsetof(struct made, key), JSON_OPTIONAL },
    { "bundle", JSON_STRING, offsetof(struct made, bundle), JSON_OPTIONAL },
    { "domain", JSON_STRING, offsetof(struct made, domain), JSON_OPTIONAL },
    { "new_authority", JSON_BOOL, offsetof(struct made, new_authority), JSON_OPTIONAL },
    { "names", JSON_STRINGS, offsetof(struct made, names), JSON_OPTIONAL },
};
static JSON_TABLE(made_table, made, .lax = true);

/* --- the helper ------------------------------------------------------------------------------ */

static void become(const char *program, char *const *argv, int out)
{
    if (dup2(out, STDOUT_FILENO) >= 0)
        execv(program, argv);
    _exit(127);
}

/* Runs it to its end: its exit status, or a negative code. */
static int run_helper(
    const char *program, char *const *argv, struct smx_buf *answer, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int from = -1;
    SMX_CLEANUP(smx_closep) int to = -1;
    int fds[2], status = 0;
    pid_t pid;
    ssize_t n;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return smx_err_errno(err, errno, "starting %s", program);
    from = fds[0];
    to = fds[1];
    pid = fork();
    if (pid == 0)
        become(program, argv, to);
    smx_close(smx_take_fd(&to));
    if (pid < 0)
        return smx_err_errno(err, errno, "starting %s", program);
    do {
        if (smx_buf_reserve(answer, 4096) < 0)
            break;
        n = smx_read_full(from, answer->data + answer->len, 4096);
        answer->len += n > 0 ? (size_t)n : 0;
        answer->data[answer->len] = '\0';
    } while (n == 4096);
    smx_close(smx_take_fd(&from));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}

/* "<code>\n<sentence>\n" */
static int said_error(struct cli *cli, const struct smx_buf *answer)
{
    const char *text = answer->data ? answer->data : "";
    const char *nl = strchr(text, '\n');
    uint64_t code = 0;

    if (!nl ||
        !smx_parse_u64((struct smx_view){ text, (size_t)(nl - text) }, SMX_E_COUNT_ - 1, &code) ||
        code == 0)
        smx_err_set(&cli->err, SMX_E_INTERNAL, "the program that makes certificates failed");
    else
        smx_err_set(&cli->err, (enum smx_code)code, "%.*s", (int)strcspn(nl + 1, "\n"), nl + 1);
    return cli_fail(cli);
}

/* --- what is said ---------------------------------------------------------------------------- */

static void tell(const struct made *m)
{
    cli_outf("%s  %s\n", m->new_authority ? "made" : "kept", m->ca);
    cli_outf("made  %s for", m->cert);
    for (size_t i = 0; i < m->names.n; i++)
        cli_outf("%s %s", i ? "," : "", m->names.v[i]);
    cli_outf("\n\nServe with it; a daemon that does so already takes it over by itself:\n\n"
             "  sandmux serve --domain %s --tls-cert %s --tls-key %s\n",
        m->domain, m->cert, m->key);
    cli_outf(
        "\nLet clients trust it, as 'sandmux env --sdk e2b' prints it for a daemon that runs:\n"
        "\n  export NODE_EXTRA_CA_CERTS=%s\n  export SSL_CERT_FILE=%s\n",
        m->ca, m->bundle ? m->bundle : m->ca);
    cli_outf("\nWho has %s/ca-key.pem can speak for every name to these clients: it stays here.\n",
        m->dir);
}

static int finish(struct cli *cli, const struct smx_buf *answer)
{
    struct made m;

    if (json_decode(&made_table, answer->data, answer->len, &m, &cli->err) < 0)
        return cli_fail(cli);
    if (cli->json)
        cli_out(answer->data, answer->len);
    else
        tell(&m);
    json_free(&made_table, &m);
    return CLI_OK;
}

/* --- tls init -------------------------------------------------------------------------------- */

struct wish {
    char dir[PATH_MAX], domain[2048];
};

/* Where nothing is said: beside the state, for the domain that is served. */
static int find_wish(struct cli *cli, struct wish *ret)
{
    const char *dir = cli_value(cli, "dir"), *domain = cli_value(cli, "domain"), *set;
    SMX_CLEANUP(config_freep) struct config *config = NULL;
    struct config_input in = { 0 };
    struct config_places places;
    char cwd[PATH_MAX];
    int n;

    if (config_load(&in, &config, &cli->err) < 0 ||
        config_places(config, /* automatic= */ false, &places, &cli->err) < 0)
        return cli_fail(cli);
    set = config_get(config, CONFIG_DOMAIN);
    if (!domain)
        domain = set && !smx_streq(set, "localhost") ? set : usual_domain;
    if (!dir)
        n = snprintf(ret->dir, sizeof ret->dir, "%s/tls", places.state_dir);
    else if (*dir == '/')
        n = snprintf(ret->dir, sizeof ret->dir, "%s", dir);
    else
        n = snprintf(ret->dir, sizeof ret->dir, "%s/%s", getcwd(cwd, sizeof cwd) ? cwd : ".", dir);
    if (n < 0 || (size_t)n >= sizeof ret->dir || (dir && !*dir) ||
        !smx_strcpy(ret->domain, sizeof ret->domain, domain))
        return cli_usage(cli, "--dir or --domain is empty or too long");
    return 0;
}

int cmd_tls(struct cli *cli)
{
    char name[] = "sandmux-gateway", verb[] = "tls-init", dir[] = "--dir", domain[] = "--domain",
         force[] = "--force", program[PATH_MAX];
    struct wish wish;
    char *argv[] = { name, verb, dir, wish.dir, domain, wish.domain,
        cli_flag(cli, "force") ? force : NULL, NULL };
    struct smx_buf answer;
    int r;

    if (!smx_streq(cli->pos[0], "init"))
        return cli_usage(cli, "tls knows 'init', not '%s'", cli->pos[0]);
    r = find_wish(cli, &wish);
    if (r != 0)
        return r;
    if (supervisor_program(name, program, sizeof program, &cli->err) < 0)
        return cli_fail(cli);
    smx_buf_init(&answer, ANSWER_MAX);
    r = run_helper(program, argv, &answer, &cli->err);
    if (r < 0)
        r = cli_fail(cli);
    else
        r = r == 0 ? finish(cli, &answer) : said_error(cli, &answer);
    smx_buf_done(&answer);
    return r;
}
