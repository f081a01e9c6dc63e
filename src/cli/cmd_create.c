/* cmd_create.c - create, and the making of sandboxes that run shares with it. */
#include "cli/create.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

struct request {
    struct smx_sandbox_spec spec;
    struct cli_pairs env, metadata;
    struct smx_buf password;
};

/* From a variable, or the first line of a file or of stdin; never an argument. */
static int read_password(struct cli *cli, struct request *q)
{
    const char *path = cli_value(cli, "password-file"), *name = cli_value(cli, "password-env");

    if (path && name)
        return cli_usage(cli, "give either --password-file or --password-env, not both");
    if (name) {
        q->spec.password = getenv(name);
        return q->spec.password && q->spec.password[0]
                   ? 0
                   : cli_usage(cli, "the variable of --password-env is not set");
    }
    if (!path)
        return 0;
    if (smx_streq(path, "-"))
        path = "/dev/stdin";
    if (smx_read_file_at(AT_FDCWD, path, &q->password, &cli->err) < 0)
        return cli_fail(cli);
    if (q->password.data)
        q->password.data[strcspn(q->password.data, "\r\n")] = '\0';
    q->spec.password = q->password.data ? q->password.data : "";
    return q->spec.password[0] ? 0 : cli_usage(cli, "the password is empty");
}

static int read_limits(struct cli *cli, struct smx_sandbox_spec *spec)
{
    const char *lifetime = cli_value(cli, "lifetime");
    uint64_t ms;
    int status = 0;

    cli_number(cli, "cpu", 1024, &spec->resources.cpu, &status);
    cli_number(cli, "memory", 1 << 24, &spec->resources.memory_mib, &status);
    cli_number(cli, "disk", 1 << 30, &spec->resources.disk_mib, &status);
    if (status != 0 || !lifetime)
        return status;
    if (!cli_duration_ms(lifetime, &ms))
        return cli_usage(cli, "--lifetime must be a time such as 90, 10m or 2h, or 0");
    spec->has_timeout = 1;
    spec->timeout_s = (ms + 999) / 1000;
    return 0;
}

static int read_request(struct cli *cli, struct request *q)
{
    int r;

    q->spec.template_name = cli_value(cli, "template");
    q->spec.runtime = cli_value(cli, "runtime");
    q->spec.project_id = cli_value(cli, "project");
    q->spec.name = cli_value(cli, "name");
    r = read_limits(cli, &q->spec);
    if (r == 0)
        r = read_password(cli, q);
    if (r == 0)
        r = cli_pairs(cli, "env", "env-file", &q->env);
    if (r == 0)
        r = cli_pairs(cli, "metadata", /* file_option= */ NULL, &q->metadata);
    q->spec.env = q->env.v;
    q->spec.n_env = q->env.n;
    q->spec.metadata = q->metadata.v;
    q->spec.n_metadata = q->metadata.n;
    return r;
}

static int send_request(struct cli *cli, const struct request *q, struct smx_sandbox **ret)
{
    int r;

    if (cli_flag(cli, "ensure") && !q->spec.name)
        return cli_usage(cli, "--ensure needs --name");
    cli_wait_start("creating the sandbox");
    if (cli_flag(cli, "ensure"))
        r = smx_sandbox_ensure(cli->client, q->spec.name, &q->spec, ret, &cli->err);
    else
        r = smx_sandbox_create(cli->client, &q->spec, ret, &cli->err);
    cli_wait_end();
    return r < 0 ? cli_fail(cli) : 0;
}

int create_sandbox(struct cli *cli, struct smx_sandbox **ret_sandbox)
{
    struct request q = { 0 };
    int r;

    smx_buf_init(&q.password, SMX_METADATA_VALUE_MAX);
    r = read_request(cli, &q);
    if (r == 0)
        r = cli_connect(cli);
    if (r == 0)
        r = send_request(cli, &q, ret_sandbox);
    cli_pairs_free(&q.env);
    cli_pairs_free(&q.metadata);
    smx_buf_done(&q.password);
    return r;
}

int cmd_create(struct cli *cli)
{
    struct smx_sandbox *sandbox = NULL;
    int r = create_sandbox(cli, &sandbox);

    if (r != 0)
        return r;
    cli_out_line(cli->json ? sandbox->json : sandbox->id);
    smx_sandbox_free(sandbox);
    return 0;
}
