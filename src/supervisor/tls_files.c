/* tls_files.c - certificate and key of the HTTPS listener. Only root may read the key: we do, and
 * hand the gateway both as files in memory. Their directories are watched; when their content has
 * changed (a file at a time: we wait a moment), and with SIGHUP, the gateway gets the new pair. It
 * says whether the pair makes sense; until it did, the next gateway would get the old one, so that
 * no half-written renewal takes the service down. */
#include "supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "gateway/control.h"

enum { SETTLE_MS = 300, BLOCK = 4096 };

static void drop(struct tls_pair_fds *p)
{
    smx_close(smx_take_fd(&p->cert));
    smx_close(smx_take_fd(&p->key));
}

/* --- reading --------------------------------------------------------------------------------- */

static int copy(int from, int to)
{
    char block[BLOCK];
    ssize_t n;

    while ((n = smx_read_full(from, block, sizeof block)) > 0) {
        if (smx_write_full(to, block, (size_t)n) < 0)
            n = -1;
        if (n < (ssize_t)sizeof block)
            break;
    }
    explicit_bzero(block, sizeof block);
    return n < 0 ? -1 : 0;
}

/* A sealed copy in memory: what the gateway reads is what we read. */
static int read_file(const char *path, const char *what, bool secret, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    SMX_CLEANUP(smx_closep) int memory = memfd_create(what, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct stat st;

    if (fd < 0 || memory < 0 || fstat(fd, &st) < 0)
        return smx_err_errno(err, errno, "reading the %s %s", what, path);
    if (!S_ISREG(st.st_mode))
        return smx_err_set(err, SMX_E_INVALID, "the %s %s is not a file", what, path);
    if (st.st_size > SMX_TLS_FILE_MAX)
        return smx_err_set(
            err, SMX_E_TOO_LARGE, "the %s %s has more than %d bytes", what, path, SMX_TLS_FILE_MAX);
    if (secret && st.st_mode & 07)
        smx_warn("the %s %s is open to every user of this machine: chmod 600 it", what, path);
    if (copy(fd, memory) < 0 ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return smx_err_errno(err, errno, "reading the %s %s", what, path);
    return smx_take_fd(&memory);
}

static int read_pair(const struct supervisor *s, struct tls_pair_fds *ret, struct smx_err *err)
{
    struct tls_pair_fds p = { -1, -1 };

    p.cert = read_file(
        config_get(s->config, CONFIG_TLS_CERT), "TLS certificate", /* secret= */ false, err);
    if (p.cert < 0)
        return p.cert;
    p.key = read_file(config_get(s->config, CONFIG_TLS_KEY), "TLS key", /* secret= */ true, err);
    if (p.key < 0) {
        int r = p.key;

        smx_close(p.cert);
        return r;
    }
    *ret = p;
    return 0;
}

static bool same_content(int a, int b)
{
    char x[BLOCK], y[BLOCK];
    off_t at = 0;
    ssize_t n, m;
    bool same;

    do {
        n = pread(a, x, sizeof x, at);
        m = pread(b, y, sizeof y, at);
        same = n == m && n >= 0 && memcmp(x, y, (size_t)n) == 0;
        at += n;
    } while (same && n > 0);
    explicit_bzero(x, sizeof x);
    explicit_bzero(y, sizeof y);
    return same;
}

/* --- watching -------------------------------------------------------------------------------- */

static void watch_dir_of(int fd, const char *path)
{
    char dir[PATH_MAX];
    char *slash;

    if (!smx_strcpy(dir, sizeof dir, path))
        return;
    slash = strrchr(dir, '/');
    if (!slash)
        return;
    slash[slash == dir] = 0;
    inotify_add_watch(fd, dir, IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ATTRIB);
}

/* Where the name is, and where what it names is: renewals replace the one or the other. */
static void watch(struct supervisor *s, enum config_key key)
{
    const char *path = config_get(s->config, key);
    char real[PATH_MAX];

    watch_dir_of(s->tls.watch_fd, path);
    if (realpath(path, real))
        watch_dir_of(s->tls.watch_fd, real);
}

static void watch_both(struct supervisor *s)
{
    if (s->tls.watch_fd < 0)
        return;
    watch(s, CONFIG_TLS_CERT);
    watch(s, CONFIG_TLS_KEY);
}

void tls_files_react(struct supervisor *s)
{
    char buf[BLOCK];

    while (read(s->tls.watch_fd, buf, sizeof buf) > 0)
        ;
    s->tls.check_at_ns = smx_deadline_in_ms(SETTLE_MS);
}

/* --- life ------------------------------------------------------------------------------------ */

static int check_settings(const struct supervisor *s, struct smx_err *err)
{
    bool cert = config_get(s->config, CONFIG_TLS_CERT), key = config_get(s->config, CONFIG_TLS_KEY);

    if (cert && !key)
        return smx_err_set(err, SMX_E_INVALID, "--tls-cert needs --tls-key (SANDMUX_TLS_KEY)");
    if (key && !cert)
        return smx_err_set(err, SMX_E_INVALID, "--tls-key needs --tls-cert (SANDMUX_TLS_CERT)");
    if (!cert && config_get(s->config, CONFIG_TLS_LISTEN))
        return smx_err_set(err, SMX_E_INVALID,
            "--tls-listen needs --tls-cert and --tls-key; 'sandmux tls init' makes both");
    return 0;
}

int tls_files_open(struct supervisor *s, struct smx_err *err)
{
    int r = check_settings(s, err);

    if (r < 0 || s->automatic || !config_get(s->config, CONFIG_TLS_CERT))
        return r;
    r = read_pair(s, &s->tls.now, err);
    if (r < 0)
        return r;
    s->tls.watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (s->tls.watch_fd < 0)
        smx_warn("changes of the TLS files are seen with SIGHUP only: %s", strerror(errno));
    watch_both(s);
    return 0;
}

void tls_files_close(struct supervisor *s)
{
    drop(&s->tls.now);
    drop(&s->tls.next);
    smx_close(smx_take_fd(&s->tls.watch_fd));
}

static void send_next(struct supervisor *s)
{
    int fds[] = { s->tls.next.cert, s->tls.next.key };

    if (!s->gateway.pid || s->control_fd < 0 ||
        smx_send_fds(s->control_fd, CONTROL_TLS, strlen(CONTROL_TLS), fds, 2) < 0)
        drop(&s->tls.next);
}

void tls_files_check(struct supervisor *s)
{
    struct tls_pair_fds p;
    struct smx_err err = { 0 };

    s->tls.check_at_ns = SMX_FOREVER;
    if (s->tls.now.cert < 0 || s->stopping)
        return;
    if (s->tls.next.cert >= 0) { /* one at a time */
        s->tls.check_at_ns = smx_deadline_in_ms(SETTLE_MS);
        return;
    }
    watch_both(s);
    if (read_pair(s, &p, &err) < 0) {
        smx_warn("%s; the certificate from before is served on", err.msg);
        return;
    }
    if (same_content(p.cert, s->tls.now.cert) && same_content(p.key, s->tls.now.key)) {
        drop(&p);
        return;
    }
    s->tls.next = p;
    send_next(s);
}

void tls_files_answer(struct supervisor *s, bool taken)
{
    if (taken && s->tls.next.cert >= 0) {
        drop(&s->tls.now);
        s->tls.now = s->tls.next;
        s->tls.next = (struct tls_pair_fds){ -1, -1 };
    }
    drop(&s->tls.next);
}
