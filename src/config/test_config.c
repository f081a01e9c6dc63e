/* test_config.c - the grammar of .env (R1, report 17), ranks of sources, checks, places. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/test.h"
#include "config/config.h"
#include "config/dotenv.h"

struct seen {
    struct smx_buf text;
};

static int see_pair(const char *key, const char *value, unsigned line, void *arg)
{
    struct seen *s = arg;

    return smx_buf_appendf(&s->text, "%u:%s=<%s>;", line, key, value);
}

static int see_malformed(unsigned line, const char *why, void *arg)
{
    struct seen *s = arg;

    return smx_buf_appendf(&s->text, "%u!;", line);
}

static const struct {
    const char *text, *want;
} grammar[] = {
    { "", "" },
    { "A=1", "1:A=<1>;" },
    { "A=1\n", "1:A=<1>;" },
    { "\xef\xbb\xbf"
      "A=1\r\nB=2\r\n",
        "1:A=<1>;2:B=<2>;" },
    { "A=1\rB=2", "1:A=<1>;2:B=<2>;" },
    { "# c\n\n  # d\nA=1", "4:A=<1>;" },
    { "export A=1\nexport  KEY = value\n", "1:A=<1>;2:KEY=<value>;" },
    { "export=1", "1:export=<1>;" },
    { "export\tA\t=\t1\t\n", "1:A=<1>;" },
    { "A = 'x # y' # c", "1:A=<x # y>;" },
    { "A=\"a\\nb\\\"c\\\\\"", "1:A=<a\nb\"c\\>;" },
    { "A='a\\nb\\'c'", "1:A=<a\\nb'c>;" },
    { "A=x#y", "1:A=<x#y>;" },
    { "A=x #y", "1:A=<x>;" },
    { "A=#y", "1:A=<#y>;" },
    { "A= # c", "1:A=<>;" },
    { "A=", "1:A=<>;" },
    { "A=\nB=2", "1:A=<>;2:B=<2>;" },
    { "A=$B ${C}", "1:A=<$B ${C}>;" },
    { "A='one\ntwo'\nB=2", "1:A=<one\ntwo>;3:B=<2>;" },
    { "A=\"one\r\ntwo\"\r\nB=2", "1:A=<one\ntwo>;3:B=<2>;" },
    { "A='open\nB=2", "1!;2:B=<2>;" },
    { "A='x' y\nB=2", "1!;2:B=<2>;" },
    { "nonsense\nB=2", "1!;2:B=<2>;" },
    { "=1\n1A=2\n-\nB=2", "1!;2!;3!;4:B=<2>;" },
    { "export A\nB=2", "1!;2:B=<2>;" },
    { "A=a=b", "1:A=<a=b>;" },
    { "A=\"", "1!;" },
    { "A='\\", "1!;" },
};

TEST(dotenv_grammar)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(grammar); i++) {
        struct seen s;
        struct dotenv_sink sink = { see_pair, see_malformed, &s };

        smx_buf_init(&s.text, 65536);
        ASSERT_EQ(dotenv_parse(grammar[i].text, strlen(grammar[i].text), &sink), 0);
        ASSERT_STR(s.text.data ? s.text.data : "", grammar[i].want);
        smx_buf_done(&s.text);
    }
}

TEST(dotenv_nul_is_malformed)
{
    struct seen s;
    struct dotenv_sink sink = { see_pair, see_malformed, &s };

    smx_buf_init(&s.text, 65536);
    ASSERT_EQ(dotenv_parse("A=x\0y\nB=2", 9, &sink), 0);
    ASSERT_STR(s.text.data, "1!;2:B=<2>;");
    smx_buf_done(&s.text);
}

TEST(dotenv_out_of_memory_is_an_error)
{
    struct seen s;
    struct dotenv_sink sink = { see_pair, see_malformed, &s };

    smx_buf_init(&s.text, 65536);
    smx_mem_fail_after(1);
    ASSERT_EQ(dotenv_parse("A=1", 3, &sink), -SMX_E_NO_MEMORY);
    smx_mem_fail_after(0);
    smx_buf_done(&s.text);
}

/* A directory with a/b and a .env in it. */
struct place {
    char dir[64], sub[80], file[80];
};

static void place_make(struct place *p, const char *dotenv)
{
    snprintf(p->dir, sizeof p->dir, "/tmp/smx-config-XXXXXX");
    if (!mkdtemp(p->dir))
        abort();
    snprintf(p->sub, sizeof p->sub, "%s/sub", p->dir);
    snprintf(p->file, sizeof p->file, "%s/.env", p->dir);
    mkdir(p->sub, 0700);
    if (dotenv)
        smx_write_file_atomic_at(AT_FDCWD, p->file, dotenv, strlen(dotenv), 0600, NULL);
}

static void place_remove(struct place *p)
{
    unlink(p->file);
    rmdir(p->sub);
    rmdir(p->dir);
}

static char *const no_env[] = { NULL };

static int load_at(
    struct place *p, char *const *env, const char *listen, struct config **ret, struct smx_err *err)
{
    struct config_input in = { .env = env ? env : no_env, .cwd = p->sub };

    in.flags[CONFIG_LISTEN] = listen;
    return config_load(&in, ret, err);
}

static const char *origin(const struct config *c, enum config_key key, char *out, size_t size)
{
    struct smx_buf b;

    smx_buf_init(&b, 4096);
    config_origin_text(c, key, &b);
    smx_strcpy(out, size, b.data ? b.data : "");
    smx_buf_done(&b);
    return out;
}

TEST(flag_beats_environment_beats_dotenv_beats_fallback)
{
    char *const env[] = { (char[]){ "SANDMUX_LISTEN=127.0.0.1:2" }, NULL };
    SMX_CLEANUP(config_freep) struct config *a = NULL, *b = NULL, *c = NULL, *d = NULL;
    struct smx_err err = { 0 };
    struct place p;
    char text[128], want[128];

    place_make(&p, "X=1\nSANDMUX_LISTEN=127.0.0.1:3\n");
    ASSERT_OK(load_at(&p, env, "127.0.0.1:1", &a, &err), &err);
    ASSERT_OK(load_at(&p, env, NULL, &b, &err), &err);
    ASSERT_OK(load_at(&p, NULL, NULL, &c, &err), &err);
    snprintf(want, sizeof want, "SANDMUX_LISTEN in %s:2", p.file);
    place_remove(&p);
    place_make(&p, NULL);
    ASSERT_OK(load_at(&p, NULL, NULL, &d, &err), &err);
    ASSERT_STR(config_get(a, CONFIG_LISTEN), "127.0.0.1:1");
    ASSERT_STR(origin(a, CONFIG_LISTEN, text, sizeof text), "flag --listen");
    ASSERT_STR(config_get(b, CONFIG_LISTEN), "127.0.0.1:2");
    ASSERT_STR(origin(b, CONFIG_LISTEN, text, sizeof text), "environment SANDMUX_LISTEN");
    ASSERT_STR(config_get(c, CONFIG_LISTEN), "127.0.0.1:3");
    ASSERT_STR(origin(c, CONFIG_LISTEN, text, sizeof text), want);
    ASSERT_STR(config_get(d, CONFIG_LISTEN), "127.0.0.1:8000");
    ASSERT_STR(origin(d, CONFIG_LISTEN, text, sizeof text), "default");
    place_remove(&p);
}

TEST(empty_environment_means_fallback_even_over_dotenv)
{
    char *const env[] = { (char[]){ "E2B_TEMPLATE_ID=" }, NULL };
    SMX_CLEANUP(config_freep) struct config *c = NULL;
    struct smx_err err = { 0 };
    struct place p;

    place_make(&p, "E2B_TEMPLATE_ID=other\n");
    ASSERT_OK(load_at(&p, env, NULL, &c, &err), &err);
    ASSERT_STR(config_get(c, CONFIG_E2B_TEMPLATE), "base");
    place_remove(&p);
}

TEST(name_beats_alias_and_last_line_wins)
{
    SMX_CLEANUP(config_freep) struct config *c = NULL, *d = NULL;
    struct smx_err err = { 0 };
    struct place p;

    place_make(&p, "DAYTONA_SERVER_URL=a\nDAYTONA_API_URL=b\nDAYTONA_TARGET=x\nDAYTONA_TARGET=y");
    ASSERT_OK(load_at(&p, NULL, NULL, &c, &err), &err);
    ASSERT_STR(config_get(c, CONFIG_DAYTONA_SERVER_URL), "a");
    ASSERT_STR(config_get(c, CONFIG_DAYTONA_TARGET), "y");
    place_remove(&p);
    place_make(&p, "DAYTONA_API_URL=b\n");
    ASSERT_OK(load_at(&p, NULL, NULL, &d, &err), &err);
    ASSERT_STR(config_get(d, CONFIG_DAYTONA_SERVER_URL), "b");
    place_remove(&p);
}

TEST(malformed_line_is_a_warning_that_echoes_nothing)
{
    SMX_CLEANUP(config_freep) struct config *c = NULL;
    struct smx_err err = { 0 };
    struct place p;
    char want[160];

    place_make(&p, "\nE2B_API_KEY='sekret\nSANDBOX_RUNTIME=local\n");
    ASSERT_OK(load_at(&p, NULL, NULL, &c, &err), &err);
    snprintf(want, sizeof want, "%s:2: quote is not closed; the line is ignored", p.file);
    ASSERT_STR(config_warning(c, 0), want);
    ASSERT_TRUE(config_warning(c, 1) == NULL);
    ASSERT_STR(config_get(c, CONFIG_RUNTIME), "local");
    ASSERT_TRUE(config_get(c, CONFIG_E2B_API_KEY) == NULL);
    place_remove(&p);
}

TEST(foreign_dotenv_is_ignored_with_a_warning)
{
    SMX_CLEANUP(config_freep) struct config *c = NULL;
    struct smx_err err = { 0 };
    struct place p;

    if (geteuid() != 0)
        SKIP("needs root to give a file away");
    place_make(&p, "SANDBOX_RUNTIME=local\n");
    ASSERT_EQ(chown(p.file, 12345, 0), 0);
    ASSERT_OK(load_at(&p, NULL, NULL, &c, &err), &err);
    ASSERT_TRUE(config_get(c, CONFIG_RUNTIME) == NULL);
    ASSERT_TRUE(strstr(config_warning(c, 0), "owned by neither the caller nor root") != NULL);
    place_remove(&p);
}

TEST(a_fifo_or_folder_called_dotenv_does_not_hold_us)
{
    SMX_CLEANUP(config_freep) struct config *c = NULL, *d = NULL;
    struct smx_err err = { 0 };
    struct place p;

    place_make(&p, NULL);
    ASSERT_EQ(mkfifo(p.file, 0600), 0);
    ASSERT_OK(load_at(&p, NULL, NULL, &c, &err), &err);
    ASSERT_TRUE(strstr(config_warning(c, 0), "not a regular file") != NULL);
    unlink(p.file);
    mkdir(p.file, 0700);
    ASSERT_OK(load_at(&p, NULL, NULL, &d, &err), &err);
    ASSERT_TRUE(strstr(config_warning(d, 0), "not a regular file") != NULL);
    rmdir(p.file);
    place_remove(&p);
}

static const struct {
    enum config_key key;
    const char *value, *message;
} bad[] = {
    { CONFIG_LISTEN, "nowhere:1", "numeric address" },
    { CONFIG_LISTEN, "127.0.0.1:65536", "numeric address" },
    { CONFIG_LISTEN, "127.0.0.1:-1", "numeric address" },
    { CONFIG_LISTEN, "", "needs a value" },
    { CONFIG_REQUIRE_KEYS, "perhaps", "true or false" },
    { CONFIG_MEMORY_MIB, "1", "16 to 16777216" },
    { CONFIG_MEMORY_MIB, "12x", "16 to 16777216" },
    { CONFIG_PROFILE, "../x", "must match" },
    { CONFIG_LOG_LEVEL, "loud", "error, warn" },
    { CONFIG_RUNTIME, "a\nb", "control" },
};

TEST(bad_values_are_refused_with_setting_and_origin)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        struct config_input in = { .env = no_env, .no_dotenv = true };
        struct config *c = NULL;
        struct smx_err err = { 0 };

        in.flags[bad[i].key] = bad[i].value;
        ASSERT_EQ(config_load(&in, &c, &err), -SMX_E_INVALID);
        if (!strstr(err.msg, bad[i].message))
            smx_test_fail(__FILE__, __LINE__, "%s: %s", bad[i].value, err.msg);
        ASSERT_TRUE(strstr(err.msg, config_setting(bad[i].key)->flag) != NULL);
    }
}

static const struct {
    const char *text, *host;
    unsigned port;
} listens[] = {
    { "9000", "127.0.0.1", 9000 },
    { "0.0.0.0:80", "0.0.0.0", 80 },
    { "localhost:0", "127.0.0.1", 0 },
    { "[::1]:8000", "::1", 8000 },
};

TEST(listen_forms)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(listens); i++) {
        struct config_input in = { .env = no_env, .no_dotenv = true };
        SMX_CLEANUP(config_freep) struct config *c = NULL;
        struct smx_err err = { 0 };
        char host[64];
        uint16_t port;

        in.flags[CONFIG_LISTEN] = listens[i].text;
        ASSERT_OK(config_load(&in, &c, &err), &err);
        ASSERT_TRUE(config_listen(c, CONFIG_LISTEN, host, sizeof host, &port));
        ASSERT_STR(host, listens[i].host);
        ASSERT_EQ(port, listens[i].port);
    }
}

TEST(secrets_are_not_shown_but_handed_to_children)
{
    char *const env[] = { (char[]){ "E2B_API_KEY=sekret" }, NULL };
    struct config_input in = { .env = env, .no_dotenv = true };
    SMX_CLEANUP(config_freep) struct config *c = NULL;
    struct smx_err err = { 0 };
    char **child = NULL;

    ASSERT_OK(config_load(&in, &c, &err), &err);
    ASSERT_STR(config_shown(c, CONFIG_E2B_API_KEY), "***");
    ASSERT_STR(config_shown(c, CONFIG_DAYTONA_API_KEY), "");
    ASSERT_OK(config_env(c, &child, &err), &err);
    ASSERT_STR(child[0], "E2B_API_KEY=sekret");
    ASSERT_TRUE(child[1] == NULL);
    config_env_free(child);
}

TEST(places_of_root_profile_and_project)
{
    struct config_input in = { .env = no_env, .no_dotenv = true };
    SMX_CLEANUP(config_freep) struct config *c = NULL, *d = NULL;
    struct config_places p, q;
    struct smx_err err = { 0 };

    if (geteuid() != 0)
        SKIP("looks at root's places");
    ASSERT_OK(config_load(&in, &c, &err), &err);
    ASSERT_OK(config_places(c, /* automatic= */ false, &p, &err), &err);
    ASSERT_STR(p.state_dir, "/var/lib/sandmux");
    ASSERT_STR(p.socket, "/run/sandmux/sandmux.sock");
    ASSERT_OK(config_places(c, /* automatic= */ true, &q, &err), &err);
    ASSERT_STR(q.state_dir, "/var/lib/sandmux/projects/default");
    ASSERT_FALSE(smx_streq(p.instance, q.instance));
    in.flags[CONFIG_PROFILE] = "dev";
    ASSERT_OK(config_load(&in, &d, &err), &err);
    ASSERT_OK(config_places(d, /* automatic= */ false, &p, &err), &err);
    ASSERT_FALSE(smx_streq(config_get(d, CONFIG_LISTEN), config_get(c, CONFIG_LISTEN)));
    ASSERT_STR(p.state_dir, "/var/lib/sandmux/profiles/dev");
    ASSERT_STR(p.socket, "/run/sandmux/dev.sock");
}

TEST(https_is_listened_for_beside_http_once_there_is_a_certificate)
{
    static const struct {
        const char *cert, *listen, *profile, *given, *want;
    } rows[] = {
        { NULL, NULL, NULL, NULL, NULL },
        { "/c.pem", NULL, NULL, NULL, "127.0.0.1:8443" },
        { "/c.pem", "0.0.0.0:80", NULL, NULL, "0.0.0.0:8443" },
        { "/c.pem", "[::]:80", NULL, NULL, "[::]:8443" },
        { "/c.pem", "none", NULL, NULL, "127.0.0.1:8443" },
        { "/c.pem", NULL, NULL, "none", "none" },
        { "/c.pem", NULL, NULL, "127.0.0.2:443", "127.0.0.2:443" },
        { "/c.pem", NULL, "dev", NULL, "127.0.0.1:" },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++) {
        struct config_input in = { .env = no_env, .no_dotenv = true };
        SMX_CLEANUP(config_freep) struct config *c = NULL;
        struct smx_err err = { 0 };
        const char *got;

        in.flags[CONFIG_TLS_CERT] = rows[i].cert;
        in.flags[CONFIG_LISTEN] = rows[i].listen;
        in.flags[CONFIG_PROFILE] = rows[i].profile;
        in.flags[CONFIG_TLS_LISTEN] = rows[i].given;
        ASSERT_OK(config_load(&in, &c, &err), &err);
        got = config_get(c, CONFIG_TLS_LISTEN);
        if (!rows[i].want)
            ASSERT_TRUE(got == NULL);
        else if (!rows[i].profile)
            ASSERT_STR(got, rows[i].want);
        else
            ASSERT_TRUE(smx_starts(got, rows[i].want) && !smx_ends(got, ":8443") &&
                        !smx_streq(got, config_get(c, CONFIG_LISTEN)));
    }
}

TEST(a_socket_path_beyond_the_kernels_limit_is_refused)
{
    struct config_input in = { .env = no_env, .no_dotenv = true };
    SMX_CLEANUP(config_freep) struct config *c = NULL, *d = NULL;
    struct config_places p;
    struct smx_err err = { 0 };
    char dir[97] = "/", longer[98] = "/";

    memset(dir + 1, 'x', sizeof dir - 3); /* 94 + "/sandmux.sock" = 107 bytes */
    dir[94] = 0;
    memset(longer + 1, 'x', 94);
    longer[95] = 0;
    in.flags[CONFIG_STATE_DIR] = dir;
    ASSERT_OK(config_load(&in, &c, &err), &err);
    ASSERT_OK(config_places(c, false, &p, &err), &err);
    ASSERT_EQ(strlen(p.socket), 107);
    in.flags[CONFIG_STATE_DIR] = longer;
    ASSERT_OK(config_load(&in, &d, &err), &err);
    ASSERT_EQ(config_places(d, false, &p, &err), -SMX_E_INVALID);
    ASSERT_TRUE(strstr(err.msg, "SANDMUX_SOCKET") != NULL);
}

TEST(reload_reads_the_file_anew_and_keeps_flags_and_environment)
{
    char *const env[] = { (char[]){ "E2B_TEMPLATE_ID=" }, (char[]){ "SANDBOX_RUNTIME=e2b" }, NULL };
    SMX_CLEANUP(config_freep) struct config *c = NULL, *d = NULL, *e = NULL;
    static const char text[] =
        "E2B_TEMPLATE_ID=x\nSANDBOX_RUNTIME=local\nSANDMUX_DOMAIN=b.example\n"
        "SANDMUX_LISTEN=127.0.0.1:9\n";
    struct smx_err err = { 0 };
    struct place p;

    place_make(&p, "SANDMUX_DOMAIN=a.example\n");
    ASSERT_OK(load_at(&p, env, "127.0.0.1:1", &c, &err), &err);
    smx_write_file_atomic_at(AT_FDCWD, p.file, text, sizeof text - 1, 0600, NULL);
    ASSERT_OK(config_reload(c, &d, &err), &err);
    ASSERT_STR(config_get(d, CONFIG_LISTEN), "127.0.0.1:1");
    ASSERT_STR(config_get(d, CONFIG_RUNTIME), "e2b");
    ASSERT_STR(config_get(d, CONFIG_E2B_TEMPLATE), "base");
    ASSERT_STR(config_get(d, CONFIG_DOMAIN), "b.example");
    ASSERT_TRUE(config_same(c, d, CONFIG_LISTEN) && !config_same(c, d, CONFIG_DOMAIN));
    smx_write_file_atomic_at(AT_FDCWD, p.file, "SANDMUX_LOG_LEVEL=loud\n", 23, 0600, NULL);
    ASSERT_EQ(config_reload(d, &e, &err), -SMX_E_INVALID);
    place_remove(&p);
}
