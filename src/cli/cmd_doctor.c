/* cmd_doctor.c - doctor: every check, in the order in which a new user meets them. The daemon is
 * asked when one runs; none is started for it. */
#include "cli/doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "config/config.h"
#include "json/json.h"
#include "sandmux/runtime.h"
#include "wire/native/native.h"

enum { DISK_MIN_MIB = 2048 };

void doctor_set(
    struct doctor_result *r, enum doctor_status status, const char *fix, const char *detail, ...)
{
    va_list args;

    r->status = status;
    smx_strcpy(r->fix, sizeof r->fix, fix);
    va_start(args, detail);
    vsnprintf(r->detail, sizeof r->detail, detail, args);
    va_end(args);
}

/* --- what is installed and set ------------------------------------------------------------------
 */

static bool program_there(const char *self, const char *relative, const char *name)
{
    char path[4200];

    snprintf(
        path, sizeof path, "%.*s/%s%s", (int)(strrchr(self, '/') - self), self, relative, name);
    return access(path, X_OK) == 0;
}

static void check_programs(struct cli *cli, struct doctor_result *r)
{
    static const char *const names[] = { "sandmux-gateway", "sandmux-engine", "sandmux-agent" };
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0) {
        doctor_set(r, DOCTOR_BAD, "Mount /proc.", "/proc/self/exe cannot be read");
        return;
    }
    self[n] = '\0';
    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++) {
        if (!program_there(self, "", names[i]) &&
            !program_there(self, "../libexec/sandmux/", names[i])) {
            doctor_set(r, DOCTOR_BAD, "Run 'make build' or install the package again.",
                "%s is neither beside %s nor in libexec", names[i], self);
            return;
        }
    }
    doctor_set(r, DOCTOR_OK, "", "gateway, engine and agent are there");
}

static int load(struct doctor_result *r, struct config **ret)
{
    struct config_input in = { 0 };
    struct smx_err err = { 0 };

    if (config_load(&in, ret, &err) == 0)
        return 0;
    doctor_set(r, DOCTOR_BAD, "Correct the setting that is named.", "%s", err.msg);
    return -1;
}

static void check_settings(struct cli *cli, struct doctor_result *r)
{
    SMX_CLEANUP(config_freep) struct config *config = NULL;

    if (load(r, &config) < 0)
        return;
    if (config_warning(config, 0))
        doctor_set(r, DOCTOR_WARN, "'sandmux config show --origin' shows what was read.", "%s",
            config_warning(config, 0));
    else if (config_dotenv_path(config))
        doctor_set(r, DOCTOR_OK, "", "settings from %s", config_dotenv_path(config));
    else
        doctor_set(r, DOCTOR_OK, "", "no .env; settings from the environment and defaults");
}

/* Free space where the state directory is or will be. */
static void check_disk(struct cli *cli, struct doctor_result *r)
{
    SMX_CLEANUP(config_freep) struct config *config = NULL;
    struct config_places places;
    struct smx_err err = { 0 };
    struct statvfs fs;
    uint64_t mib;
    char *slash;

    if (load(r, &config) < 0)
        return;
    if (config_places(config, /* automatic= */ false, &places, &err) < 0) {
        doctor_set(r, DOCTOR_BAD, "Set SANDMUX_STATE_DIR or SANDMUX_SOCKET.", "%s", err.msg);
        return;
    }
    while (statvfs(places.state_dir, &fs) < 0) {
        slash = strrchr(places.state_dir, '/');
        if (!slash || slash == places.state_dir)
            break;
        *slash = '\0';
    }
    mib = (uint64_t)fs.f_bavail * fs.f_frsize / (1024 * 1024);
    if (fs.f_flag & ST_RDONLY)
        doctor_set(r, DOCTOR_BAD, "Set SANDMUX_STATE_DIR to a place that can be written.",
            "%s is read-only", places.state_dir);
    else if (mib < DISK_MIN_MIB)
        doctor_set(r, DOCTOR_WARN, "Free some, or set SANDMUX_STATE_DIR to another file system.",
            "%llu MiB are free at %s", (unsigned long long)mib, places.state_dir);
    else
        doctor_set(
            r, DOCTOR_OK, "", "%llu MiB are free at %s", (unsigned long long)mib, places.state_dir);
}

/* --- the daemon ---------------------------------------------------------------------------------
 */

static bool running(struct cli *cli)
{
    struct smx_client_config config = { .url = cli_value(cli, "url"),
        .flags = SMX_CLIENT_NO_START };
    struct smx_err err = { 0 };

    return cli->client || smx_client_open(&config, &cli->client, &err) == 0;
}

static int try_port(const char *host, uint16_t port)
{
    SMX_CLEANUP(smx_closep) int fd = -1;
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    bool is_v6 = inet_pton(AF_INET6, host, &v6.sin6_addr) == 1;
    int on = 1;

    if (!is_v6 && inet_pton(AF_INET, host, &v4.sin_addr) != 1)
        return EADDRNOTAVAIL;
    fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4,
            is_v6 ? sizeof v6 : sizeof v4) < 0)
        return errno;
    return 0;
}

static void check_port(struct cli *cli, struct doctor_result *r)
{
    SMX_CLEANUP(config_freep) struct config *config = NULL;
    char host[64];
    uint16_t port;
    int failure;

    if (load(r, &config) < 0)
        return;
    if (!config_listen(config, CONFIG_LISTEN, host, sizeof host, &port) || port == 0) {
        doctor_set(r, DOCTOR_OK, "", "no fixed port is asked for");
        return;
    }
    failure = try_port(host, port);
    if (failure == 0)
        doctor_set(r, DOCTOR_OK, "", "%s:%u is free", host, port);
    else if (failure == EADDRINUSE && running(cli))
        doctor_set(r, DOCTOR_OK, "", "%s:%u is in use, and a daemon is running", host, port);
    else if (failure == EADDRINUSE)
        doctor_set(r, DOCTOR_WARN, "End its holder ('ss -ltnp' names it), or set SANDMUX_LISTEN.",
            "%s:%u is in use by something else", host, port);
    else
        doctor_set(r, DOCTOR_BAD, "Set SANDMUX_LISTEN to an address of this machine.", "%s:%u: %s",
            host, port, strerror(failure));
}

/* Whether the files are there; the daemon says whether they make sense. */
static void check_tls(struct cli *cli, struct doctor_result *r)
{
    static const enum config_key files[] = { CONFIG_TLS_CERT, CONFIG_TLS_KEY };
    SMX_CLEANUP(config_freep) struct config *config = NULL;
    size_t set = 0;

    if (load(r, &config) < 0)
        return;
    for (size_t i = 0; i < SMX_ARRAY_LEN(files); i++) {
        const char *path = config_get(config, files[i]);

        set += path != NULL;
        if (!path || access(path, R_OK) == 0)
            continue;
        doctor_set(r, DOCTOR_BAD, "Correct the path, or make both files with 'sandmux tls init'.",
            "%s %s: %s", config_setting(files[i])->env, path, strerror(errno));
        return;
    }
    if (set == 1)
        doctor_set(r, DOCTOR_BAD, "Set both SANDMUX_TLS_CERT and SANDMUX_TLS_KEY.",
            "one of certificate and key is not set");
    else if (set == 0)
        doctor_set(r, DOCTOR_OK, "", "no certificate is set; HTTPS is off");
    else
        doctor_set(r, DOCTOR_OK, "", "HTTPS at %s with %s", config_get(config, CONFIG_TLS_LISTEN),
            config_get(config, CONFIG_TLS_CERT));
}

/* The first check of /readyz that is not ok. */
static void first_failure(const char *json, struct doctor_result *r)
{
    struct native_ready ready;

    doctor_set(r, DOCTOR_WARN, "See 'sandmux status'.", "the daemon cannot create sandboxes now");
    if (json_decode(&native_ready_table, json, strlen(json), &ready, /* err= */ NULL) < 0)
        return;
    for (size_t i = 0; i < ready.checks.n; i++) {
        const struct native_check *c = (const struct native_check *)ready.checks.v + i;

        if (!c->ok) {
            doctor_set(r, DOCTOR_WARN, c->hint ? c->hint : "See 'sandmux status'.", "%s: %s",
                c->name, c->detail ? c->detail : "not ok");
            break;
        }
    }
    json_free(&native_ready_table, &ready);
}

static void check_daemon(struct cli *cli, struct doctor_result *r)
{
    struct smx_err err = { 0 };
    char *json = NULL;
    int ready;

    if (!running(cli)) {
        doctor_set(r, DOCTOR_OK, "", "no daemon is running; the next command starts one");
        return;
    }
    ready = smx_ready(cli->client, &json, &err);
    if (ready < 0)
        doctor_set(r, DOCTOR_BAD, smx_code_hint(err.code), "%s", err.msg);
    else if (ready == 0)
        first_failure(json, r);
    else
        doctor_set(
            r, DOCTOR_OK, "", "a daemon at %s can create sandboxes", smx_client_url(cli->client));
    smx_text_free(json);
}

/* --- all of them --------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    doctor_fn *run;
} checks[] = {
    { "privilege", doctor_privilege },
    { "kernel", doctor_kernel },
    { "namespaces", doctor_userns },
    { "overlay", doctor_overlay },
    { "cgroups", doctor_cgroups },
    { "seccomp", doctor_seccomp },
    { "memory", doctor_memory },
    { "programs", check_programs },
    { "settings", check_settings },
    { "disk", check_disk },
    { "port", check_port },
    { "tls", check_tls },
    { "daemon", check_daemon },
};

static const char *const status_names[] = { "ok", "warning", "problem" };

static void show(const char *name, const struct doctor_result *r)
{
    static const char *const colors[] = { "\033[32m", "\033[33m", "\033[31m" };
    bool color = cli_color(STDOUT_FILENO);

    cli_outf("%s%-8s%s %-11s %s\n", color ? colors[r->status] : "", status_names[r->status],
        color ? "\033[0m" : "", name, r->detail);
    if (r->status != DOCTOR_OK && r->fix[0])
        cli_outf("%21s-> %s\n", "", r->fix);
}

static void write_result(struct json_writer *w, const char *name, const struct doctor_result *r)
{
    json_object_begin(w);
    json_kv_string(w, "name", name);
    json_kv_string(w, "status", status_names[r->status]);
    json_kv_string(w, "detail", r->detail);
    json_kv_string(w, "fix", r->fix);
    json_object_end(w);
}

int cmd_doctor(struct cli *cli)
{
    bool good = true;
    struct smx_buf b;
    struct json_writer w;

    smx_buf_init(&b, 64 * 1024);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    json_key(&w, "checks");
    json_array_begin(&w);
    for (size_t i = 0; i < SMX_ARRAY_LEN(checks); i++) {
        struct doctor_result r = { 0 };

        checks[i].run(cli, &r);
        good = good && r.status != DOCTOR_BAD;
        if (!cli->json)
            show(checks[i].name, &r);
        write_result(&w, checks[i].name, &r);
    }
    json_array_end(&w);
    json_kv_bool(&w, "ok", good);
    json_object_end(&w);
    if (json_writer_end(&w, /* err= */ NULL) == 0 && cli->json)
        cli_out_line(b.data);
    smx_buf_done(&b);
    return good ? CLI_OK : CLI_FAILED;
}
