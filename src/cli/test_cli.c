/* test_cli.c - the command table, the parser, and tar streams with strangers in mind. */
#include "base/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/copy.h"

/* --- the table ----------------------------------------------------------------------------------
 */

TEST(every_command_is_whole)
{
    for (size_t i = 0; i < cli_commands_n; i++) {
        const struct cli_command *c = &cli_commands[i];

        ASSERT_TRUE(c->name && c->summary && c->args && c->run && c->examples);
        ASSERT_TRUE(c->max >= c->min);
        ASSERT_TRUE(cli_find(c->name) == c);
        ASSERT_TRUE(c->summary[0] >= 'a' && c->summary[0] <= 'z');
        ASSERT_TRUE(strstr(c->examples, "sandmux"));
    }
}

/* A settings row lives in one static place, so two of them cannot be held at once. */
TEST(no_option_stands_twice)
{
    for (size_t i = 0; i < cli_commands_n; i++) {
        const struct cli_option *o;

        for (size_t k = 0; (o = cli_option_at(&cli_commands[i], k)); k++) {
            struct cli_option one = *o;

            ASSERT_TRUE(one.help && one.help[0]);
            for (size_t m = 0; m < k; m++) {
                const struct cli_option *other = cli_option_at(&cli_commands[i], m);

                ASSERT_TRUE(strcmp(other->name, one.name) != 0);
                ASSERT_TRUE(!one.letter || other->letter != one.letter);
            }
        }
    }
}

/* --- the parser ---------------------------------------------------------------------------------
 */

static int parse(struct cli *cli, const char *command, const char *line)
{
    static char text[512];
    static char *argv[32];
    int argc = 0;

    smx_strcpy(text, sizeof text, line);
    for (char *p = text; *p;) {
        size_t n = strcspn(p, " ");
        char after = p[n];

        p[n] = '\0';
        argv[argc++] = p;
        p += n + (after != '\0');
    }
    *cli = (struct cli){ 0 };
    return cli_parse(cli, cli_find(command), argc, argv);
}

TEST(options_and_arguments)
{
    struct cli cli;
    size_t i = 0;

    ASSERT_EQ(parse(&cli, "exec", "-it box --json ls -l --json"), 0);
    ASSERT_TRUE(cli_flag(&cli, "interactive") && cli_flag(&cli, "tty") && cli.json);
    ASSERT_EQ(cli.n_pos, 4);
    ASSERT_STR(cli.pos[3], "--json");
    cli_done(&cli);

    ASSERT_EQ(parse(&cli, "exec", "-e A=1 box -eB=2 --env=C=3 -- -x --"), 0);
    ASSERT_STR(cli_next(&cli, "env", &i), "A=1");
    ASSERT_STR(cli_next(&cli, "env", &i), "B=2");
    ASSERT_STR(cli_next(&cli, "env", &i), "C=3");
    ASSERT_FALSE(cli_next(&cli, "env", &i));
    ASSERT_EQ(cli.n_pos, 3);
    ASSERT_STR(cli.pos[1], "-x");
    ASSERT_STR(cli.pos[2], "--");
    cli_done(&cli);

    ASSERT_EQ(parse(&cli, "run", "--ke python3 -c x"), 0); /* short for --keep */
    ASSERT_TRUE(cli_flag(&cli, "keep"));
    ASSERT_EQ(cli.n_pos, 3);
    cli_done(&cli);

    ASSERT_EQ(parse(&cli, "serve", "--listen 127.0.0.1:0 --require-keys"), 0);
    ASSERT_STR(cli_value(&cli, "listen"), "127.0.0.1:0");
    ASSERT_TRUE(cli_flag(&cli, "require-keys"));
    cli_done(&cli);

    ASSERT_EQ(parse(&cli, "cp", "- box:x"), 0); /* a lone dash is an argument */
    ASSERT_STR(cli.pos[0], "-");
    cli_done(&cli);
}

TEST(usage_mistakes)
{
    static const struct {
        const char *command, *line;
        int status;
    } cases[] = {
        { "ps", "--nope", CLI_USAGE },
        { "ps", "--quite", CLI_USAGE },
        { "ps", "-z", CLI_USAGE },
        { "ps", "extra", CLI_USAGE },
        { "ps", "--quiet=1", CLI_USAGE },
        { "ps", "--state", CLI_USAGE },
        { "create", "-n", CLI_USAGE },
        { "create", "--e x", CLI_USAGE }, /* env, env-file, ensure */
        { "cp", "one", CLI_USAGE },
        { "exec", "", CLI_OURS },
        { "exec", "--bad box", CLI_OURS },
    };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct cli cli;

        ASSERT_EQ(parse(&cli, cases[i].command, cases[i].line), cases[i].status);
        cli_done(&cli);
    }
}

TEST(durations)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = { { "30", 30000 }, { "0", 0 }, { "1.5", 1500 }, { "500ms", 500 }, { "10m", 600000 },
        { "2h", 7200000 }, { "1d", 86400000 }, { "0.001", 1 }, { "1.25m", 75000 } };
    static const char *const bad[] = { "", "x", "-1", "1.", ".5", "1.0000", "1x", "1 s", "1e3",
        "99999999999", " 1" };
    uint64_t ms;

    for (size_t i = 0; i < SMX_ARRAY_LEN(good); i++) {
        ASSERT_TRUE(cli_duration_ms(good[i].text, &ms));
        ASSERT_EQ(ms, good[i].ms);
    }
    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++)
        ASSERT_FALSE(cli_duration_ms(bad[i], &ms));
}

TEST(every_error_has_an_exit_status)
{
    for (int code = 1; code < SMX_E_COUNT_; code++)
        ASSERT_TRUE(cli_exit_status((enum smx_code)code) >= CLI_FAILED &&
                    cli_exit_status((enum smx_code)code) <= CLI_UNREACHABLE);
}

static const char *verb(size_t i)
{
    return cli_commands[i].name;
}

TEST(did_you_mean)
{
    ASSERT_STR(cli_nearest("creat", verb, cli_commands_n), "create");
    ASSERT_STR(cli_nearest("inspekt", verb, cli_commands_n), "inspect");
    ASSERT_FALSE(cli_nearest("frobnicate", verb, cli_commands_n));
    ASSERT_FALSE(cli_nearest("x", verb, cli_commands_n));
}

/* --- tar ----------------------------------------------------------------------------------------
 */

struct seen {
    struct tar_entry last;
    unsigned entries, ends;
    struct smx_buf data;
};

static int on_entry(const struct tar_entry *e, void *arg, struct smx_err *err)
{
    struct seen *s = arg;

    s->last = *e;
    s->entries++;
    return 0;
}

static int on_data(const void *data, size_t n, void *arg, struct smx_err *err)
{
    return smx_buf_append(&((struct seen *)arg)->data, data, n);
}

static int on_end(void *arg, struct smx_err *err)
{
    ((struct seen *)arg)->ends++;
    return 0;
}

static int read_all(struct seen *s, const char *data, size_t n, size_t piece, struct smx_err *err)
{
    struct tar_sink sink = { on_entry, on_data, on_end, s };
    struct tar_reader r;
    int e = 0;

    memset(s, 0, sizeof *s);
    smx_buf_init(&s->data, 1 << 20);
    tar_reader_init(&r, &sink);
    for (size_t at = 0; e == 0 && at < n; at += piece)
        e = tar_read(&r, data + at, SMX_MIN(piece, n - at), err);
    if (e == 0)
        e = tar_read_end(&r, err);
    tar_reader_done(&r);
    return e;
}

static void append_entry(struct smx_buf *out, const struct tar_entry *e, const char *data)
{
    static const char zeros[TAR_BLOCK];

    tar_write_header(out, e, /* err= */ NULL);
    smx_buf_append(out, data, (size_t)e->size);
    smx_buf_append(out, zeros, tar_padding(e->size));
}

TEST(tar_carries_names_times_and_data_at_every_split)
{
    static const int64_t times[] = { 0, 1, 1764090000, -1, -315619200, 8589934592 };
    static const size_t pieces[] = { 1, 7, 511, 512, 513, 100000 };

    for (size_t t = 0; t < SMX_ARRAY_LEN(times); t++) {
        struct tar_entry e = { .type = TAR_FILE,
            .size = 5,
            .mode = 04751,
            .mtime_s = times[t],
            .mtime_ns = t % 2 ? 123456789 : 0 };
        struct smx_err err = { 0 };
        struct smx_buf b;

        memset(e.path, 'p', t * 60 + 1);
        smx_buf_init(&b, 1 << 20);
        append_entry(&b, &e, "hello");
        tar_write_end(&b, &err);
        for (size_t k = 0; k < SMX_ARRAY_LEN(pieces); k++) {
            struct seen s = { 0 };

            ASSERT_OK(read_all(&s, b.data, b.len, pieces[k], &err), &err);
            ASSERT_EQ(s.entries, 1);
            ASSERT_EQ(s.ends, 1);
            ASSERT_STR(s.last.path, e.path);
            ASSERT_EQ(s.last.mtime_s, e.mtime_s);
            ASSERT_EQ(s.last.mtime_ns, e.mtime_ns);
            ASSERT_EQ(s.last.mode, 04751);
            ASSERT_MEM(s.data.data, s.data.len, "hello", 5);
            smx_buf_done(&s.data);
        }
        smx_buf_done(&b);
    }
}

/* Changes a byte and mends the checksum, so that only the change is wrong. */
static void patch(struct smx_buf *b, size_t at, const char *bytes, size_t n)
{
    unsigned sum = 0;
    char text[8];

    memcpy(b->data + at, bytes, n);
    memset(b->data + 148, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)b->data[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(b->data + 148, text, 7);
}

TEST(bad_tar_streams_are_refused)
{
    static const struct {
        size_t at;
        const char *bytes;
        size_t n;
    } cases[] = {
        { 124, "9", 1 },                             /* size that is not octal */
        { 124, "77777777777x", 12 },                 /* and one with junk behind */
        { 124, "\x80\xff\0\0\0\0\0\0\0\0\0\1", 12 }, /* beyond 63 bits */
        { 100, "abc", 3 },                           /* mode */
        { 0, "\0", 1 },                              /* no name */
        { 156, "5", 1 },                             /* a folder with data */
        { 156, "x", 1 },                             /* pax header that is none */
    };
    struct tar_entry e = { .type = TAR_FILE, .size = 5, .mode = 0644, .path = "f" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct smx_err err = { 0 };
        struct smx_buf b;
        struct seen s = { 0 };

        smx_buf_init(&b, 1 << 20);
        append_entry(&b, &e, "hello");
        tar_write_end(&b, &err);
        patch(&b, cases[i].at, cases[i].bytes, cases[i].n);
        ASSERT_EQ(read_all(&s, b.data, b.len, 512, &err), -SMX_E_PROTOCOL);
        smx_buf_done(&s.data);
        smx_buf_done(&b);
    }
}

TEST(cut_and_damaged_tar_streams_are_noticed)
{
    struct tar_entry e = { .type = TAR_FILE, .size = 600, .mode = 0644, .path = "f" };
    static const char data[600] = "x";
    struct smx_err err = { 0 };
    struct smx_buf b;
    struct seen s = { 0 };

    smx_buf_init(&b, 1 << 20);
    append_entry(&b, &e, data);
    tar_write_end(&b, &err);
    for (size_t n = 0; n < b.len; n += 100) {
        ASSERT_EQ(read_all(&s, b.data, n, 512, &err), -SMX_E_PROTOCOL);
        smx_buf_done(&s.data);
    }
    b.data[3] ^= 1;
    ASSERT_EQ(read_all(&s, b.data, b.len, 512, &err), -SMX_E_PROTOCOL);
    smx_buf_done(&s.data);
    smx_buf_done(&b);
}

/* --- unpacking what a stranger sent -------------------------------------------------------------
 */

struct nest {
    char dir[64];
    int fd;
    struct unpack *u;
    struct cli_progress progress;
};

static void nest_open(struct nest *n)
{
    memset(n, 0, sizeof *n);
    smx_strcpy(n->dir, sizeof n->dir, "/tmp/smx-unpack-XXXXXX");
    if (!mkdtemp(n->dir))
        abort();
    n->fd = open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mkdirat(n->fd, "in", 0755);
    smx_close(n->fd);
    n->fd = open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int unpack_entry(struct nest *n, const struct tar_entry *e, const char *data)
{
    SMX_CLEANUP(smx_closep) int in = openat(n->fd, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct smx_err err = { 0 };
    struct smx_buf b;
    int r = unpack_new(in, &n->progress, &n->u, &err);

    smx_buf_init(&b, 1 << 20);
    append_entry(&b, e, data);
    tar_write_end(&b, &err);
    if (r == 0)
        r = unpack_data(b.data, b.len, n->u, &err);
    if (r == 0)
        r = unpack_finish(n->u, &err);
    unpack_free(n->u);
    smx_buf_done(&b);
    return r;
}

static void nest_close(struct nest *n)
{
    static const char *const names[] = { "in/a/b/f", "in/a/b", "in/a", "in/link", "in/f", "in/up",
        "in/hard", "secret", "f", "in" };

    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++)
        if (unlinkat(n->fd, names[i], 0) < 0)
            unlinkat(n->fd, names[i], AT_REMOVEDIR);
    smx_close(n->fd);
    rmdir(n->dir);
}

TEST(nothing_is_written_outside)
{
    static const char *const paths[] = { "../f", "a/../../f", "/../f", "..", "a/..", "./../f" };
    struct nest n;

    nest_open(&n);
    for (size_t i = 0; i < SMX_ARRAY_LEN(paths); i++) {
        struct tar_entry e = { .type = TAR_FILE, .mode = 0644 };

        smx_strcpy(e.path, sizeof e.path, paths[i]);
        ASSERT_INT(unpack_entry(&n, &e, ""), <, 0);
    }
    ASSERT_INT(faccessat(n.fd, "f", F_OK, 0), <, 0);
    nest_close(&n);
}

TEST(an_absolute_path_stays_inside)
{
    struct tar_entry e = { .type = TAR_FILE, .size = 2, .mode = 0644, .path = "//a/./b//f" };
    struct stat st;
    struct nest n;

    nest_open(&n);
    ASSERT_EQ(unpack_entry(&n, &e, "hi"), 0);
    ASSERT_EQ(fstatat(n.fd, "in/a/b/f", &st, 0), 0);
    ASSERT_EQ(st.st_size, 2);
    nest_close(&n);
}

TEST(links_are_made_but_never_followed)
{
    struct tar_entry link = { .type = TAR_SYMLINK, .path = "up", .link = ".." };
    struct tar_entry through = { .type = TAR_FILE, .size = 2, .mode = 0644, .path = "up/f" };
    struct tar_entry over = { .type = TAR_FILE, .size = 2, .mode = 0644, .path = "up" };
    struct tar_entry dir = { .type = TAR_DIR, .mode = 0755, .path = "up" };
    struct tar_entry hard = { .type = TAR_HARDLINK, .path = "hard", .link = "up/secret" };
    struct stat st;
    struct nest n;
    int fd;

    nest_open(&n);
    fd = openat(n.fd, "secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    smx_close(fd);
    ASSERT_EQ(unpack_entry(&n, &link, ""), 0);
    ASSERT_INT(unpack_entry(&n, &through, "no"), <, 0);
    ASSERT_INT(unpack_entry(&n, &dir, ""), <, 0);
    ASSERT_INT(unpack_entry(&n, &hard, ""), <, 0);
    ASSERT_INT(faccessat(n.fd, "f", F_OK, 0), <, 0);
    ASSERT_EQ(unpack_entry(&n, &over, "ok"), 0); /* replaces the link itself */
    ASSERT_EQ(fstatat(n.fd, "in/up", &st, AT_SYMLINK_NOFOLLOW), 0);
    ASSERT_TRUE(S_ISREG(st.st_mode));
    nest_close(&n);
}

TEST(set_id_bits_are_dropped_and_times_kept)
{
    struct tar_entry e = { .type = TAR_FILE,
        .size = 2,
        .mode = 06751,
        .path = "f",
        .mtime_s = 1000000000,
        .mtime_ns = 5000 };
    struct stat st;
    struct nest n;

    nest_open(&n);
    ASSERT_EQ(unpack_entry(&n, &e, "hi"), 0);
    ASSERT_EQ(fstatat(n.fd, "in/f", &st, 0), 0);
    ASSERT_EQ(st.st_mode & 07777, 0751);
    ASSERT_EQ(st.st_mtim.tv_sec, 1000000000);
    ASSERT_EQ(st.st_mtim.tv_nsec, 5000);
    nest_close(&n);
}

TEST(a_folder_is_not_replaced_by_a_file)
{
    struct tar_entry dir = { .type = TAR_DIR, .mode = 0700, .path = "a" };
    struct tar_entry file = { .type = TAR_FILE, .mode = 0644, .path = "a" };
    struct stat st;
    struct nest n;

    nest_open(&n);
    ASSERT_EQ(unpack_entry(&n, &dir, ""), 0);
    ASSERT_INT(unpack_entry(&n, &file, ""), <, 0);
    ASSERT_EQ(fstatat(n.fd, "in/a", &st, 0), 0);
    ASSERT_EQ(st.st_mode & 07777, 0700);
    nest_close(&n);
}
