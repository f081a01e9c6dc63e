/* dotenv_watch.c - "edit .env and restart the application" works. The directory of the .env that
 * was read is watched; when the file has changed, an automatic daemon takes the new settings over
 * by starting its programs anew with them, and one that was started by hand keeps its own and says
 * in one warning which names differ. A file that makes no sense changes nothing. */
#include "supervisor/internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

/* What is settled once for a daemon's life: it says where it lives. */
static bool is_fixed(enum config_key key)
{
    return key == CONFIG_PROFILE || key == CONFIG_LISTEN || key == CONFIG_SOCKET ||
           key == CONFIG_STATE_DIR || key == CONFIG_TLS_LISTEN || key == CONFIG_TLS_CERT ||
           key == CONFIG_TLS_KEY;
}

static bool is_engines(enum config_key key)
{
    return key == CONFIG_CPU || key == CONFIG_MEMORY_MIB || key == CONFIG_DISK_MIB ||
           key == CONFIG_PIDS || key == CONFIG_RESERVE_MIB || key == CONFIG_LOG_LEVEL;
}

int dotenv_watch_open(struct supervisor *s, struct smx_err *err)
{
    const char *path = config_dotenv_path(s->config), *slash = path ? strrchr(path, '/') : NULL;
    SMX_CLEANUP(smx_freep) char *dir = NULL;
    int fd;

    if (!slash)
        return 0;
    dir = smx_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!dir)
        return smx_err_oom(err);
    fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return smx_err_errno(err, errno, "watching %s", path);
    if (inotify_add_watch(fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM) < 0) {
        smx_close(fd);
        return smx_err_errno(err, errno, "watching %s", path);
    }
    s->dotenv_fd = fd;
    return 0;
}

/* Names of the settings that differ, with a blank before each. */
static void list_changes(const struct config *a, const struct config *b, struct smx_buf *out,
    bool *ret_engines, bool *ret_fixed)
{
    for (int i = 0; i < CONFIG_COUNT_; i++) {
        enum config_key key = (enum config_key)i;

        if (config_same(a, b, key))
            continue;
        *ret_engines |= is_engines(key);
        *ret_fixed |= is_fixed(key);
        smx_buf_appendf(out, " %s", config_setting(key)->env);
    }
}

static void take_over(struct supervisor *s, struct config *next, bool engines)
{
    config_free(s->reloaded);
    s->reloaded = next;
    s->config = next;
    if (engines && s->engine.pid) {
        s->engine.renewing = true;
        kill(s->engine.pid, SIGTERM);
    }
    if (s->gateway.pid) {
        s->gateway.renewing = true;
        kill(s->gateway.pid, SIGTERM);
    }
}

static void compare(struct supervisor *s, struct config *next)
{
    bool engines = false, fixed = false;
    struct smx_buf names;

    smx_buf_init(&names, 2048);
    list_changes(s->config, next, &names, &engines, &fixed);
    if (names.len == 0) {
        config_free(next);
    } else if (s->automatic) {
        smx_info("%s changed:%s; the daemon takes it over%s", config_dotenv_path(s->config),
            names.data, fixed ? " (but for address and places)" : "");
        take_over(s, next, engines);
    } else {
        smx_warn("%s changed:%s; this daemon keeps what it was started with until it is started "
                 "anew",
            config_dotenv_path(s->config), names.data);
        config_free(next);
    }
    smx_buf_done(&names);
}

/* Several events of one save are one change. True when the file itself was among them. */
static bool read_events(int fd)
{
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool ours = false;
    ssize_t n;

    while ((n = read(fd, buf, sizeof buf)) > 0) {
        for (char *p = buf; p < buf + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)p;

            ours |= e->len > 0 && strcmp(e->name, ".env") == 0;
            p += sizeof *e + e->len;
        }
    }
    return ours;
}

void dotenv_watch_react(struct supervisor *s)
{
    struct smx_err err = { 0 };
    struct config *next;

    if (!read_events(s->dotenv_fd) || s->stopping)
        return;
    if (config_reload(s->config, &next, &err) < 0)
        smx_warn("the changed .env is not used: %s", err.msg);
    else
        compare(s, next);
}
