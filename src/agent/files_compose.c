/* files_compose.c - POST /files/compose: files become one, in order, and vanish. The work is done
 * by a child beside the destination, which is replaced only when all of it is there: a failure
 * leaves destination and sources as they were. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files.h"
#include "agent/filework.h"
#include "agent/identity.h"
#include "agent/pathname.h"
#include "agent/tree.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"

enum { PIECE = 1024 * 1024 };

struct composing {
    char **sources; /* resolved; NULL ends them */
    char *destination, *copy;
    const struct agent_user *user;
};

static int append(int to, const char *path)
{
    SMX_CLEANUP(smx_closep) int from = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n;

    if (from < 0)
        return errno;
    while ((n = sendfile(to, from, /* offset= */ NULL, PIECE)) > 0)
        ;
    return n < 0 ? errno : 0;
}

/* A file that exists keeps its mode. */
static int fill(const struct composing *c, int to)
{
    struct stat st;
    int e = 0;

    for (size_t i = 0; e == 0 && c->sources[i]; i++)
        e = append(to, c->sources[i]);
    if (e == 0)
        identity_give(to, c->user);
    if (e == 0 && stat(c->destination, &st) == 0 && fchmod(to, st.st_mode & 07777) < 0)
        e = errno;
    return e;
}

static int compose_work(void *arg)
{
    const struct composing *c = arg;
    int to = open(c->copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int e = to < 0 ? errno : fill(c, to);

    if (to >= 0)
        smx_close(to);
    if (e == 0 && rename(c->copy, c->destination) < 0)
        e = errno;
    if (e != 0 && to >= 0)
        unlink(c->copy);
    for (size_t i = 0; e == 0 && c->sources[i]; i++)
        if (!smx_streq(c->sources[i], c->destination))
            (void)unlink(c->sources[i]); /* one that is named twice is gone already */
    return e;
}

/* --- checks ------------------------------------------------------------------------------------
 */

/* Replies itself and returns false when there is something wrong. */
static bool check(struct http_exchange *x, const struct composing *c)
{
    struct stat st;

    for (size_t i = 0; c->sources[i]; i++) {
        if (stat(c->sources[i], &st) < 0) {
            int e = errno;

            files_error(x, e == ENOENT ? 404 : 500,
                e == ENOENT ? "source file not found: %s" : "error looking at source file: %s",
                c->sources[i]);
            return false;
        }
        if (!S_ISREG(st.st_mode)) {
            files_error(x, 400, "source path is not a file: %s", c->sources[i]);
            return false;
        }
    }
    if (stat(c->destination, &st) == 0 && !S_ISREG(st.st_mode)) {
        files_error(x, 400, "destination path is not a file: %s", c->destination);
        return false;
    }
    return true;
}

static bool make_parent(struct http_exchange *x, const char *path)
{
    int e = tree_make_parent(path);

    if (e == ENOTDIR)
        files_error(x, 400, "error ensuring directories: path is a file: %s", path);
    else if (e != 0)
        files_error(
            x, e == ENOENT ? 500 : files_status(e), "error ensuring directories: %s", strerror(e));
    return e == 0;
}

static void reply(struct http_exchange *x, const char *path)
{
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, SMX_HTTP_JSON_BODY_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_kv_string(&w, "name", path_base(path));
    json_kv_string(&w, "path", path);
    json_kv_string(&w, "type", "file");
    json_object_end(&w);
    if (json_writer_end(&w, /* err= */ NULL) < 0)
        files_error(x, 429, "out of memory");
    else
        http_reply(x, 200, "application/json", out.data, out.len);
    smx_buf_done(&out);
}

static void run(struct agent *a, struct http_exchange *x, struct composing *c)
{
    struct smx_err err = { 0 };
    int e = 0, r;

    if (!check(x, c) || !make_parent(x, c->destination))
        return;
    r = filework_run(a, x, SMX_FOREVER, compose_work, c, &e, &err);
    if (r == -SMX_E_CANCELLED) { /* the child is dead or dying */
        (void)unlink(c->copy);
        http_abort(x);
    } else if (r < 0)
        files_error(x, 429, "%s", err.msg);
    else if (e != 0)
        files_error(x, e == ENOSPC || e == EDQUOT ? 507 : 500, "error composing '%s': %s",
            c->destination, strerror(e));
    else
        reply(x, c->destination);
}

/* --- the request --------------------------------------------------------------------------------
 */

static bool resolve(struct agent *a, struct http_exchange *x, const char *given,
    const struct agent_user *user, char **ret)
{
    struct smx_err err = { 0 };

    if (path_resolve(given, user->home, a->settings.default_workdir, user->name, ret, &err) == 0)
        return true;
    files_error(x, 400, "error expanding and resolving path '%s': %s", given, err.msg);
    return false;
}

static bool resolve_all(struct agent *a, struct http_exchange *x,
    const struct envd_compose_request *q, const struct agent_user *user, struct composing *c)
{
    for (size_t i = 0; i < q->source_paths.n; i++)
        if (!resolve(a, x, q->source_paths.v[i], user, &c->sources[i]))
            return false;
    if (!resolve(a, x, q->destination, user, &c->destination))
        return false;
    c->copy = smx_asprintf("%s.%016llx", c->destination, (unsigned long long)smx_random_u64());
    if (c->copy)
        return true;
    files_error(x, 429, "out of memory");
    return false;
}

static void compose(struct agent *a, struct http_exchange *x, const struct envd_compose_request *q)
{
    struct composing c = { .sources = smx_alloc_array(q->source_paths.n + 1, sizeof(char *)) };
    struct agent_user user = { 0 };
    struct smx_err err = { 0 };

    c.user = &user;
    if (!c.sources)
        files_error(x, 429, "out of memory");
    else if (q->source_paths.n == 0)
        files_error(x, 400, "source_paths must not be empty");
    else if (!q->destination || !*q->destination)
        files_error(x, 400, "destination is required");
    else if (agent_user_find(a, q->username, &user, &err) < 0)
        files_error(
            x, 401, "error looking up user '%s': unknown user", q->username ? q->username : "");
    else if (resolve_all(a, x, q, &user, &c)) {
        if (identity_fs(&user, &err) < 0)
            files_error(x, 403, "%s", err.msg);
        else
            run(a, x, &c);
    }
    for (size_t i = 0; c.sources && c.sources[i]; i++)
        smx_free(c.sources[i]);
    smx_free(c.sources);
    smx_free(c.destination);
    smx_free(c.copy);
    agent_user_done(&user);
}

void files_compose(struct agent *a, struct http_exchange *x)
{
    struct envd_compose_request request;
    struct smx_err err = { 0 };
    struct smx_buf body;
    int r;

    smx_buf_init(&body, SMX_RPC_ENVELOPE_MAX);
    r = http_body_all(x, &body, &err);
    if (r == 0)
        r = json_decode(
            &envd_compose_request_table, body.data ? body.data : "", body.len, &request, &err);
    smx_buf_done(&body);
    if (r < 0) {
        files_error(x, 400, "error reading the request: %s", err.msg);
        return;
    }
    compose(a, x, &request);
    json_free(&envd_compose_request_table, &request);
}
