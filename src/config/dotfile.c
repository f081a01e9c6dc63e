/* dotfile.c - finds .env by walking up from a directory, and reads it. The first one found counts,
 * if the caller or root owns it: another user's file in /tmp must not steer a daemon. Nothing about
 * the file is fatal; each fault is one warning. */
#include "config/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/dotenv.h"

static SMX_PRINTF(2, 3) int warn(struct config *c, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (c->n_warnings == CONFIG_WARNINGS_MAX)
        return 0;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->warnings[c->n_warnings] = smx_strdup(text);
    if (!c->warnings[c->n_warnings])
        return -SMX_E_NO_MEMORY;
    c->n_warnings++;
    return 0;
}

/* Opens dir/.env; 1 there, 0 absent, negative code. O_NONBLOCK: a FIFO must not hold us. */
static int open_in(const char *dir, char **ret_path, int *ret_fd)
{
    SMX_CLEANUP(smx_freep) char *path = smx_asprintf("%s/.env", smx_streq(dir, "/") ? "" : dir);
    int fd;

    if (!path)
        return -SMX_E_NO_MEMORY;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    *ret_fd = fd < 0 ? -errno : fd;
    *ret_path = smx_take(&path);
    return 1;
}

static int find(const char *cwd, char **ret_path, int *ret_fd)
{
    SMX_CLEANUP(smx_freep) char *dir = smx_strdup(cwd);

    if (!dir)
        return -SMX_E_NO_MEMORY;
    for (;;) {
        int r = open_in(*dir ? dir : "/", ret_path, ret_fd);
        char *slash = strrchr(dir, '/');

        if (r != 0 || !slash || !*dir)
            return r;
        *slash = 0;
    }
}

struct reading {
    struct config *c;
    bool alias_pass;
};

static int take_pair(const char *key, const char *value, unsigned line, void *arg)
{
    struct reading *r = arg;
    bool alias = false;
    int i = config_env_find(key, &alias);
    struct config_value *v;

    if (i < 0 || alias != r->alias_pass)
        return 0;
    v = &r->c->v[i];
    if (v->text && (v->origin != CONFIG_DOTENV || v->by_alias != alias))
        return 0;
    smx_free(v->text); /* the last assignment in the file wins */
    v->text = smx_strdup(value);
    v->origin = CONFIG_DOTENV;
    v->line = line;
    v->by_alias = alias;
    return v->text ? 0 : -SMX_E_NO_MEMORY;
}

static int take_malformed(unsigned line, const char *why, void *arg)
{
    struct reading *r = arg;

    if (r->alias_pass)
        return 0;
    return warn(r->c, "%s:%u: %s; the line is ignored", r->c->dotenv_path, line, why);
}

static int parse(struct config *c, const struct smx_buf *text)
{
    struct reading reading = { .c = c };
    struct dotenv_sink sink = { take_pair, take_malformed, &reading };
    int r = dotenv_parse(text->data ? text->data : "", text->len, &sink);

    reading.alias_pass = true;
    return r < 0 ? r : dotenv_parse(text->data ? text->data : "", text->len, &sink);
}

/* Reads at most the limit from an open regular file of the right owner; a string says why not. */
static const char *read_checked(int fd, struct smx_buf *text)
{
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return strerror(-fd);
    if (fstat(fd, &st) < 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "not a regular file";
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return "owned by neither the caller nor root";
    if (st.st_size > DOTENV_FILE_MAX)
        return "larger than 1 MiB";
    if (smx_buf_reserve(text, (size_t)st.st_size) < 0)
        return "out of memory";
    n = smx_read_full(fd, text->data, (size_t)st.st_size);
    if (n < 0)
        return strerror((int)-n);
    text->len = (size_t)n;
    return NULL;
}

int config_read_dotenv(struct config *c, const char *cwd, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *path = NULL;
    SMX_CLEANUP(smx_closep) int fd = -1;
    struct smx_buf text;
    const char *why;
    int r = find(cwd, &path, &fd);

    if (r == 0)
        return 0;
    if (r < 0)
        return smx_err_oom(err);
    smx_buf_init(&text, DOTENV_FILE_MAX + 1);
    why = read_checked(fd, &text);
    if (why) {
        r = warn(c, "%s is ignored: %s", path, why);
    } else {
        c->dotenv_path = smx_take(&path);
        r = parse(c, &text);
    }
    if (text.data)
        explicit_bzero(text.data, text.len);
    smx_buf_done(&text);
    return r < 0 ? smx_err_oom(err) : 0;
}
