/* test_users.c - look-ups in passwd and group files that may hold anything. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/users.h"
#include "base/limits.h"
#include "base/test.h"

static char passwd[64], group[64];

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    if (!f)
        abort();
    fputs(text, f);
    fclose(f);
}

static void set_up(struct users *u, const char *passwd_text, const char *group_text)
{
    snprintf(passwd, sizeof passwd, "/tmp/test_users.%d.passwd", (int)getpid());
    snprintf(group, sizeof group, "/tmp/test_users.%d.group", (int)getpid());
    write_file(passwd, passwd_text);
    write_file(group, group_text);
    users_init(u, passwd, group);
}

static void tear_down(struct users *u)
{
    users_done(u);
    unlink(passwd);
    unlink(group);
}

TEST(finds_user_and_groups)
{
    struct users u;
    struct agent_user user;
    struct smx_err err;
    char number[USERS_NUMBER_SIZE];

    set_up(&u, "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:,,,:/home/user:/bin/bash\n",
        "root:x:0:\nuser:x:1001:\nwheel:x:10:other,user\nusers:x:100:userx,xuser\nsudo:x:27:user");
    ASSERT_OK(users_find(&u, "user", &user, &err), &err);
    ASSERT_EQ(user.uid, 1000);
    ASSERT_EQ(user.gid, 1001);
    ASSERT_STR(user.home, "/home/user");
    ASSERT_EQ(user.ngroups, 3);
    ASSERT_EQ(user.groups[0], 1001);
    ASSERT_EQ(user.groups[1], 10);
    ASSERT_EQ(user.groups[2], 27);
    agent_user_done(&user);
    ASSERT_STR(users_name(&u, 1000, number), "user");
    ASSERT_STR(users_name(&u, 0, number), "root");
    ASSERT_STR(users_name(&u, 77, number), "77");
    ASSERT_STR(users_group(&u, 27, number), "sudo");
    ASSERT_STR(users_group(&u, 4294967294u, number), "4294967294");
    tear_down(&u);
}

TEST(unknown_user_is_named)
{
    struct users u;
    struct agent_user user;
    struct smx_err err;

    set_up(&u, "root:x:0:0:root:/root:/bin/sh\n", "");
    ASSERT_EQ(users_find(&u, "nosuch", &user, &err), -SMX_E_UNAUTHORIZED);
    ASSERT_STR(err.msg, "invalid username: 'nosuch'");
    tear_down(&u);
}

TEST(lines_that_do_not_parse_are_skipped)
{
    struct users u;
    struct agent_user user;
    struct smx_err err;

    set_up(&u,
        "\n:x:0:0::/:\nshort:x:5\nneg:x:-1:0::/:\nbig:x:99999999999:0::/:\n"
        "last:x:4294967295:0::/:\n"
        "word:x:abc:0::/:\n::::::\nok:x:7:8::relative:\ngood:x:9:9::/good",
        "bad\nx:y\n:z:1:\n");
    ASSERT_INT(users_find(&u, "short", &user, &err), <, 0);
    ASSERT_INT(users_find(&u, "neg", &user, &err), <, 0);
    ASSERT_INT(users_find(&u, "big", &user, &err), <, 0);
    ASSERT_INT(users_find(&u, "last", &user, &err), <, 0);
    ASSERT_INT(users_find(&u, "word", &user, &err), <, 0);
    ASSERT_INT(users_find(&u, "", &user, &err), <, 0);
    ASSERT_OK(users_find(&u, "ok", &user, &err), &err);
    ASSERT_STR(user.home, "/");
    agent_user_done(&user);
    ASSERT_OK(users_find(&u, "good", &user, &err), &err);
    ASSERT_STR(user.home, "/good");
    agent_user_done(&user);
    tear_down(&u);
}

TEST(a_change_is_seen)
{
    struct users u;
    struct agent_user user;
    struct smx_err err;

    set_up(&u, "a:x:1:1::/a:\n", "");
    ASSERT_OK(users_find(&u, "a", &user, &err), &err);
    agent_user_done(&user);
    write_file(passwd, "a:x:1:1::/a:\nbee:x:2:2::/b:\n");
    ASSERT_OK(users_find(&u, "bee", &user, &err), &err);
    agent_user_done(&user);
    unlink(passwd);
    ASSERT_INT(users_find(&u, "a", &user, &err), <, 0);
    tear_down(&u);
}

TEST(a_fifo_or_a_giant_is_not_read)
{
    struct users u;
    struct agent_user user;
    struct smx_err err;

    set_up(&u, "a:x:1:1::/a:\n", "");
    unlink(passwd);
    ASSERT_EQ(mkfifo(passwd, 0600), 0);
    ASSERT_INT(users_find(&u, "a", &user, &err), <, 0);
    unlink(passwd);
    write_file(passwd, "a:x:1:1::/a:\n");
    ASSERT_EQ(truncate(passwd, SMX_AGENT_PASSWD_MAX + 1), 0);
    ASSERT_INT(users_find(&u, "a", &user, &err), <, 0);
    tear_down(&u);
}

TEST(many_groups_are_bounded)
{
    static char text[64 * 1024];
    struct users u;
    struct agent_user user;
    struct smx_err err;
    size_t n = 0;

    for (int i = 0; i < 1000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "g%d:x:%d:a\n", i, i + 10);
    set_up(&u, "a:x:1:1::/a:\n", text);
    ASSERT_OK(users_find(&u, "a", &user, &err), &err);
    ASSERT_EQ(user.ngroups, SMX_AGENT_GROUPS_MAX);
    agent_user_done(&user);
    tear_down(&u);
}
