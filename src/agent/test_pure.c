/* test_pure.c - the parts of the agent that need no loop: paths, environment, entries, types, gzip.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "agent/coding.h"
#include "agent/entry.h"
#include "agent/env.h"
#include "agent/gunzip.h"
#include "agent/mime.h"
#include "agent/pathname.h"
#include "agent/tree.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/test.h"

/* --- paths --- */

TEST(paths_are_cleaned)
{
    static const char *const cases[][2] = { { "/", "/" }, { "//", "/" }, { "/a//b/", "/a/b" },
        { "/a/./b/.", "/a/b" }, { "/a/../b", "/b" }, { "/../..", "/" }, { "/a/b/../..", "/" },
        { "a/..", "." }, { "../a", "../a" }, { "../../a/..", "../.." }, { "./.", "." },
        { "/...", "/..." }, { "/a/..b", "/a/..b" }, { "/.a/.", "/.a" } };
    char path[64];

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        smx_strcpy(path, sizeof path, cases[i][0]);
        path_clean(path);
        ASSERT_STR(path, cases[i][1]);
    }
}

TEST(paths_are_resolved)
{
    static const struct {
        const char *path, *workdir, *want;
    } cases[] = { { "", NULL, "/home/u" }, { "", "/work", "/work" }, { "x", NULL, "/home/u/x" },
        { "x", "/work", "/work/x" }, { "/etc//x", "/work", "/etc/x" }, { "~", "/work", "/home/u" },
        { "~/x/../y", NULL, "/home/u/y" }, { "../../..", NULL, "/" }, { "a~", NULL, "/home/u/a~" },
        { "x", "", "/home/u/x" } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        SMX_CLEANUP(smx_freep) char *got = NULL;
        struct smx_err err;

        ASSERT_OK(path_resolve(cases[i].path, "/home/u", cases[i].workdir, "u", &got, &err), &err);
        ASSERT_STR(got, cases[i].want);
    }
}

TEST(the_home_of_others_is_refused)
{
    struct smx_err err;
    char *got = NULL;

    ASSERT_EQ(path_resolve("~root/x", "/home/u", NULL, "u", &got, &err), -SMX_E_INVALID);
    ASSERT_TRUE(strstr(err.msg, "cannot expand user-specific home dir") != NULL);
    ASSERT_TRUE(got == NULL);
}

TEST(last_components)
{
    ASSERT_STR(path_base("/a/b"), "b");
    ASSERT_STR(path_base("/"), "/");
    ASSERT_STR(path_base("x"), "x");
}

/* --- environment --- */

static const struct agent_user someone = { .name = (char *)(uintptr_t) "u",
    .home = (char *)(uintptr_t) "/home/u" };

static bool has(char **env, const char *entry)
{
    for (; *env; env++)
        if (smx_streq(*env, entry))
            return true;
    return false;
}

static size_t count(char **env)
{
    size_t n = 0;

    while (env[n])
        n++;
    return n;
}

#define PAIR(k, v)                                     \
    {                                                  \
        (char *)(uintptr_t)(k), (char *)(uintptr_t)(v) \
    }

static int build(
    const struct json_map *global, const struct json_map *request, char ***ret, struct smx_err *err)
{
    struct envd_init_request settings = { .env_vars = *global };

    return env_build(&someone, &settings, request, ret, err);
}

TEST(a_command_learns_where_it_is)
{
    struct json_pair global[] = { PAIR("E2B_TEMPLATE_ID", "mine") };
    struct envd_init_request settings = { .env_vars = { global, 1, true },
        .sandbox_id = (char *)(uintptr_t) "i123",
        .template_id = (char *)(uintptr_t) "base" };
    SMX_CLEANUP(smx_freep) char **env = NULL;
    struct json_map none = { 0 };
    struct smx_err err;
    struct json_writer w;
    struct smx_buf out;

    ASSERT_OK(env_build(&someone, &settings, &none, &env, &err), &err);
    ASSERT_TRUE(has(env, "E2B_SANDBOX=true") && has(env, "E2B_SANDBOX_ID=i123"));
    ASSERT_TRUE(has(env, "E2B_TEMPLATE_ID=mine")); /* /init comes after */
    smx_buf_init(&out, 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    env_write_globals(&w, &settings);
    json_object_end(&w);
    ASSERT_STR(out.data,
        "{\"E2B_SANDBOX\":\"true\",\"E2B_SANDBOX_ID\":\"i123\",\"E2B_TEMPLATE_ID\":\"mine\"}");
    smx_buf_done(&out);
}

TEST(later_values_win)
{
    struct json_pair global[] = { PAIR("A", "global"), PAIR("HOME", "/g"), PAIR("B", "1") };
    struct json_pair request[] = { PAIR("A", "two  words\n'\"$\\"), PAIR("E", ""), PAIR("E", "x"),
        PAIR("X;id", "v"), PAIR("NULLED", NULL) };
    struct json_map g = { global, 3, true }, r = { request, 5, true };
    SMX_CLEANUP(smx_freep) char **env = NULL;
    struct smx_err err;

    ASSERT_OK(build(&g, &r, &env, &err), &err);
    ASSERT_TRUE(has(env, "A=two  words\n'\"$\\"));
    ASSERT_TRUE(has(env, "HOME=/g"));
    ASSERT_TRUE(has(env, "B=1"));
    ASSERT_TRUE(has(env, "E=x"));
    ASSERT_TRUE(has(env, "X;id=v"));
    ASSERT_TRUE(has(env, "NULLED="));
    ASSERT_TRUE(has(env, "USER=u") && has(env, "LOGNAME=u") && has(env, "E2B_SANDBOX=true"));
    ASSERT_TRUE(has(env, "PATH=" ENV_DEFAULT_PATH));
    ASSERT_EQ(count(env), 10);
}

TEST(names_that_are_none_are_refused)
{
    struct json_pair bad[] = { PAIR("A=B", "1") }, empty[] = { PAIR("", "1") };
    struct json_map none = { 0 }, b = { bad, 1, true }, e = { empty, 1, true };
    struct smx_err err;
    char **env = NULL;

    ASSERT_EQ(build(&none, &b, &env, &err), -SMX_E_INVALID);
    ASSERT_EQ(build(&none, &e, &env, &err), -SMX_E_INVALID);
    ASSERT_EQ(build(&b, &none, &env, &err), -SMX_E_INVALID);
    ASSERT_TRUE(env == NULL);
}

TEST(environments_are_bounded)
{
    static struct json_pair pairs[SMX_ENV_ENTRIES_MAX + 1];
    struct json_map many = { pairs, SMX_ENV_ENTRIES_MAX + 1, true }, none = { 0 };
    SMX_CLEANUP(smx_freep) char *big = smx_alloc(SMX_ENV_BYTES_MAX + 1);
    struct json_pair one = PAIR("A", big);
    struct json_map large = { &one, 1, true };
    struct smx_err err;
    char **env = NULL;

    memset(big, 'x', SMX_ENV_BYTES_MAX);
    for (size_t i = 0; i < SMX_ARRAY_LEN(pairs); i++)
        pairs[i] = (struct json_pair)PAIR("A", "1");
    ASSERT_EQ(build(&none, &many, &env, &err), -SMX_E_TOO_LARGE);
    ASSERT_EQ(build(&none, &large, &env, &err), -SMX_E_TOO_LARGE);
}

TEST(environment_without_memory)
{
    struct json_map none = { 0 };
    struct smx_err err;
    char **env = NULL;

    for (unsigned i = 1; i <= 2; i++) {
        smx_mem_fail_after(i);
        ASSERT_EQ(build(&none, &none, &env, &err), -SMX_E_NO_MEMORY);
        smx_mem_fail_after(0);
    }
}

/* --- codings --- */

TEST(gzip_is_for_those_who_ask_for_nothing_else)
{
    static const struct {
        const char *field;
        enum coding want;
    } cases[] = { { "gzip", CODING_GZIP }, { "GZIP", CODING_GZIP }, { "x-gzip", CODING_GZIP },
        { "gzip, identity;q=0", CODING_GZIP }, { "gzip;q=0.5, identity;q=0.1", CODING_GZIP },
        { " gzip ; q=1.0 ", CODING_GZIP }, { "*;q=0, gzip", CODING_GZIP },
        { "identity;q=0, *", CODING_GZIP }, { "identity;q=0, *;q=0.001", CODING_GZIP },
        { "identity;q=0, br, gzip", CODING_GZIP }, { "br;q=0, gzip", CODING_GZIP },
        { "", CODING_IDENTITY }, { "identity", CODING_IDENTITY },
        { "gzip, deflate", CODING_IDENTITY }, { "gzip, deflate, br, zstd", CODING_IDENTITY },
        { "gzip;q=0", CODING_IDENTITY }, { "gzip;q=0.000", CODING_IDENTITY },
        { "gzip;q=0.5, identity", CODING_IDENTITY }, { "br", CODING_IDENTITY },
        { "*", CODING_IDENTITY }, { ",,;;,", CODING_IDENTITY }, { "identity;q=0", CODING_NONE },
        { "*;q=0", CODING_NONE }, { "identity;q=0, br", CODING_NONE },
        { "gzip;q=0, *;q=0", CODING_NONE }, { "identity;q=0.0, gzip;q=0, *", CODING_NONE } };

    ASSERT_EQ(coding_choose((struct smx_view){ NULL, 0 }), CODING_IDENTITY);
    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++)
        ASSERT_EQ(coding_choose(smx_view_of(cases[i].field)), cases[i].want);
}

/* --- entries --- */

TEST(modes_as_text)
{
    static const struct {
        mode_t mode;
        const char *want;
    } cases[] = { { S_IFREG | 0644, "-rw-r--r--" }, { S_IFDIR | 0755, "drwxr-xr-x" },
        { S_IFLNK | 0777, "Lrwxrwxrwx" }, { S_IFDIR | 01777, "dtrwxrwxrwx" },
        { S_IFREG | 04755, "urwxr-xr-x" }, { S_IFREG | 02755, "grwxr-xr-x" },
        { S_IFCHR | 0666, "Dcrw-rw-rw-" }, { S_IFBLK | 0660, "Drw-rw----" },
        { S_IFIFO | 0600, "prw-------" }, { S_IFSOCK, "S---------" } };
    char text[ENTRY_MODE_SIZE];

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        entry_mode_text(cases[i].mode, text);
        ASSERT_STR(text, cases[i].want);
    }
}

TEST(times_as_text)
{
    static const struct {
        struct timespec t;
        const char *want;
    } cases[] = { { { -1, 0 }, "1969-12-31T23:59:59Z" }, { { 0, 0 }, "1970-01-01T00:00:00Z" },
        { { -62135596800, 0 }, "0001-01-01T00:00:00Z" },
        { { -62135596801, 0 }, "0001-01-01T00:00:00Z" },
        { { 253402300799, 1 }, "9999-12-31T23:59:59.000000001Z" },
        { { 253402300800, 0 }, "9999-12-31T23:59:59Z" },
        { { INT64_MAX, 0 }, "9999-12-31T23:59:59Z" }, { { INT64_MIN, 0 }, "0001-01-01T00:00:00Z" },
        { { -30000000000, 0 }, "1019-05-04T18:40:00Z" },
        { { 1747699200, 0 }, "2025-05-20T00:00:00Z" },
        { { 1747699199, 124100770 }, "2025-05-19T23:59:59.124100770Z" },
        { { 1747699199, 124000000 }, "2025-05-19T23:59:59.124Z" },
        { { 1747699199, 124100000 }, "2025-05-19T23:59:59.124100Z" },
        { { -1, 0 }, "1969-12-31T23:59:59Z" }, { { -86401, 5 }, "1969-12-30T23:59:59.000000005Z" },
        { { 951782400, 0 }, "2000-02-29T00:00:00Z" } };
    char text[ENTRY_TIME_SIZE];

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        entry_time_text(cases[i].t, text);
        ASSERT_STR(text, cases[i].want);
    }
}

/* --- types --- */

TEST(types_by_name_and_content)
{
    ASSERT_STR(mime_type("a.HTML", "", 0), "text/html; charset=utf-8");
    ASSERT_STR(mime_type("a.json", "\0", 1), "application/json");
    ASSERT_STR(mime_type("hostname", "vm\n", 3), "text/plain; charset=utf-8");
    ASSERT_STR(mime_type("empty", "", 0), "text/plain; charset=utf-8");
    ASSERT_STR(mime_type("core",
                   "\x7f"
                   "ELF\0",
                   5),
        "application/octet-stream");
}

TEST(dispositions)
{
    static const char *const cases[][2] = { { "a.txt", "inline; filename=a.txt" },
        { "a b#c%20d", "inline; filename=\"a b#c%20d\"" },
        { "quo\"te\\", "inline; filename=\"quo\\\"te\\\\\"" },
        { "\xf0\x9f\xa4\xa3.txt", "inline; filename*=utf-8''%F0%9F%A4%A3.txt" },
        { "new\nline", "inline; filename*=utf-8''new%0Aline" } };
    struct smx_buf out;

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        smx_buf_init(&out, 256);
        mime_disposition(&out, cases[i][0]);
        ASSERT_STR(out.data, cases[i][1]);
        smx_buf_done(&out);
    }
}

/* --- gzip --- */

struct bytes {
    const char *p;
    size_t n, step;
};

static ssize_t take(void *ctx, void *data, size_t n, struct smx_err *err)
{
    struct bytes *b = ctx;

    n = SMX_MIN(SMX_MIN(n, b->step), b->n);
    memcpy(data, b->p, n);
    b->p += n;
    b->n -= n;
    return (ssize_t)n;
}

static size_t gzip(const char *text, size_t n, char *out, size_t room)
{
    z_stream z = { 0 };

    if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    z.next_in = (unsigned char *)(uintptr_t)text;
    z.avail_in = (unsigned)n;
    z.next_out = (unsigned char *)out;
    z.avail_out = (unsigned)room;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    deflateEnd(&z);
    return room - z.avail_out;
}

/* What comes out, or a negative code. */
static ssize_t gunzip(const char *p, size_t n, size_t step, char *out, size_t room)
{
    SMX_CLEANUP(gunzip_freep) struct gunzip *g = NULL;
    struct bytes b = { p, n, step };
    struct smx_err err;
    size_t got = 0;
    ssize_t r;

    if (gunzip_new(take, &b, &g, &err) < 0)
        return -1;
    while ((r = gunzip_read(g, out + got, SMX_MIN(room - got, step), &err)) > 0)
        got += (size_t)r;
    return r < 0 ? r : (ssize_t)got;
}

TEST(gzip_at_every_step)
{
    char text[3000], packed[4096], back[4096];
    size_t n;

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * i >> 3);
    n = gzip(text, sizeof text, packed, sizeof packed);
    for (size_t step = 1; step < 600; step += step < 20 ? 1 : 97) {
        ASSERT_EQ(gunzip(packed, n, step, back, sizeof back), (ssize_t)sizeof text);
        ASSERT_EQ(memcmp(back, text, sizeof text), 0);
    }
}

TEST(gzip_cut_anywhere_is_an_error)
{
    char packed[256], back[256];
    size_t n = gzip("hello hello hello", 17, packed, sizeof packed);

    for (size_t cut = 0; cut < n; cut++)
        ASSERT_EQ(gunzip(packed, cut, 7, back, sizeof back), -SMX_E_PROTOCOL);
    ASSERT_EQ(gunzip(packed, n, 7, back, sizeof back), 17);
}

TEST(gzip_members_and_rubbish)
{
    char packed[256], back[256];
    size_t n = gzip("one", 3, packed, sizeof packed);

    n += gzip("two", 3, packed + n, sizeof packed - n);
    ASSERT_EQ(gunzip(packed, n, 5, back, sizeof back), 6);
    ASSERT_EQ(memcmp(back, "onetwo", 6), 0);
    packed[n] = 'x';
    ASSERT_EQ(gunzip(packed, n + 1, 5, back, sizeof back), -SMX_E_PROTOCOL);
    ASSERT_EQ(gunzip("plain text", 10, 5, back, sizeof back), -SMX_E_PROTOCOL);
}

/* --- trees --- */

TEST(trees_are_made_and_removed)
{
    char top[64], path[128];
    struct tree_names names;
    struct stat st;

    snprintf(top, sizeof top, "/tmp/test_tree.%d", (int)getpid());
    snprintf(path, sizeof path, "%s/a/b/c", top);
    ASSERT_EQ(tree_make(path), 0);
    ASSERT_EQ(tree_make(path), 0);
    ASSERT_EQ(stat(path, &st), 0);
    ASSERT_EQ(st.st_mode & 0777, 0755);
    snprintf(path, sizeof path, "%s/link", top);
    ASSERT_EQ(symlink("/tmp", path), 0);
    snprintf(path, sizeof path, "%s/file", top);
    ASSERT_EQ(close(creat(path, 0600)), 0);
    ASSERT_EQ(tree_make_parent("/tmp/test_tree/../x"), 0);
    snprintf(path, sizeof path, "%s/file/x/y", top);
    ASSERT_EQ(tree_make_parent(path), ENOTDIR);
    ASSERT_EQ(tree_names_read(top, &names), 0);
    ASSERT_EQ(names.n, 3);
    ASSERT_STR(names.v[0], "a");
    ASSERT_STR(names.v[1], "file");
    ASSERT_STR(names.v[2], "link");
    tree_names_done(&names);
    ASSERT_EQ(tree_remove(top), 0);
    ASSERT_INT(stat(top, &st), <, 0);
    ASSERT_EQ(stat("/tmp", &st), 0);
    ASSERT_EQ(tree_remove(top), 0);
}

/* Deeper than a path can say, and more levels than descriptors. */
TEST(deep_trees_are_removed)
{
    char top[64];
    struct stat st;

    snprintf(top, sizeof top, "/tmp/test_deep.%d", (int)getpid());
    ASSERT_EQ(mkdir(top, 0755), 0);
    ASSERT_EQ(chdir(top), 0);
    for (int i = 0; i < 1100; i++) {
        ASSERT_EQ(mkdir("ddd", 0755), 0);
        ASSERT_EQ(chdir("ddd"), 0);
    }
    ASSERT_EQ(chdir("/"), 0);
    ASSERT_EQ(tree_remove(top), 0);
    ASSERT_INT(stat(top, &st), <, 0);
}
