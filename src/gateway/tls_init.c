/* tls_init.c - `sandmux tls init`: a private certificate authority and a server certificate in one
 * directory. Here because the gateway is the program that has OpenSSL: the command line starts it
 * with "tls-init" and reads what it says: a line of JSON; or, status 1, a code's number and a
 * sentence, a line each.
 *
 *   ca.pem, ca-key.pem   the authority; made once, kept until --force
 *   cert.pem, key.pem    what the daemon serves; made anew by each call
 *   bundle.pem           the system's authorities (or SSL_CERT_FILE's) and ours, for programs that
 * take one file only
 *
 * Keys are 0600. Nothing is replaced that the authority of this directory did not make, but for
 * --force. */
#include "gateway/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "json/json.h"

enum { BUNDLE_MAX = 4 * 1024 * 1024, SHOWN_MAX = 64 * 1024, DOMAIN_MAX = 200 };

static const char system_bundle[] = "/etc/ssl/certs/ca-certificates.crt";

struct init {
    const char *dir;
    char *domains;     /* owned; what names points into lies here and in wildcards */
    const char *first; /* domain */
    char wildcards[FRONTEND_DOMAINS_MAX][DOMAIN_MAX + 8];
    const char *names[2 * FRONTEND_DOMAINS_MAX + 3];
    size_t n_names;
    bool force, new_ca, bundled;
    struct tls_issued ca, leaf;
};

static char *path_of(const struct init *in, const char *name, char out[SMX_PATH_MAX])
{
    snprintf(out, SMX_PATH_MAX, "%s/%s", in->dir, name);
    return out;
}

static bool there(const struct init *in, const char *name)
{
    char path[SMX_PATH_MAX];

    return access(path_of(in, name, path), F_OK) == 0;
}

static int read_pem(
    const struct init *in, const char *name, struct smx_buf *out, struct smx_err *err)
{
    char path[SMX_PATH_MAX];

    return smx_read_file_at(AT_FDCWD, path_of(in, name, path), out, err);
}

/* What an interrupted call left would keep its mode. */
static int write_pem(const struct init *in, const char *name, const struct smx_buf *text,
    mode_t mode, struct smx_err *err)
{
    char path[SMX_PATH_MAX], left[SMX_PATH_MAX + 8];

    snprintf(left, sizeof left, "%s.tmp", path_of(in, name, path));
    unlink(left);
    return smx_write_file_atomic_at(AT_FDCWD, path, text->data, text->len, mode, err);
}

/* --- arguments ------------------------------------------------------------------------------- */

static void add_name(struct init *in, const char *name)
{
    for (size_t i = 0; i < in->n_names; i++) {
        if (smx_streq(in->names[i], name))
            return;
    }
    in->names[in->n_names++] = name;
}

static int add_domain(struct init *in, char *domain, size_t i, struct smx_err *err)
{
    if (i == FRONTEND_DOMAINS_MAX)
        return smx_err_set(err, SMX_E_INVALID, "more than %d domains", FRONTEND_DOMAINS_MAX);
    if (strlen(domain) > DOMAIN_MAX)
        return smx_err_set(err, SMX_E_INVALID, "a domain has more than %d characters", DOMAIN_MAX);
    for (char *p = domain; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + ('a' - 'A') : *p);
    if (!in->first)
        in->first = domain;
    add_name(in, domain);
    snprintf(in->wildcards[i], sizeof in->wildcards[i], "*.%s", domain);
    add_name(in, in->wildcards[i]);
    return 0;
}

static int read_domains(struct init *in, const char *text, struct smx_err *err)
{
    size_t n = 0, len;
    int r = 0;

    in->domains = smx_strdup(text);
    if (!in->domains)
        return smx_err_oom(err);
    for (char *d = in->domains + strspn(in->domains, ", "); *d && r == 0; d += strspn(d, ", ")) {
        char *name = d;

        len = strcspn(d, ", ");
        d += len + (d[len] != 0);
        name[len] = 0;
        r = add_domain(in, name, n++, err);
    }
    if (r == 0 && n == 0)
        r = smx_err_set(err, SMX_E_INVALID, "--domain names no domain");
    add_name(in, "localhost");
    add_name(in, "127.0.0.1");
    add_name(in, "::1");
    return r;
}

static int parse(struct init *in, int argc, char **argv, struct smx_err *err)
{
    static const struct option options[] = { { "dir", required_argument, NULL, 'd' },
        { "domain", required_argument, NULL, 'n' }, { "force", no_argument, NULL, 'f' },
        { "json", no_argument, NULL, 'j' }, { NULL, 0, NULL, 0 } };
    const char *domain = NULL;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'd')
            in->dir = optarg;
        else if (c == 'n')
            domain = optarg;
        else if (c == 'f')
            in->force = true;
        else
            return smx_err_set(err, SMX_E_INVALID, "'sandmux tls init' starts this");
    }
    if (!in->dir || !domain)
        return smx_err_set(err, SMX_E_INVALID, "'sandmux tls init' starts this");
    if (strlen(in->dir) > SMX_PATH_MAX - 32)
        return smx_err_set(err, SMX_E_INVALID, "the path of the directory is too long");
    return read_domains(in, domain, err);
}

/* --- making ---------------------------------------------------------------------------------- */

/* mkdir -p: certificates are for everybody to read, keys have modes of their own. */
static int make_dir(const char *dir, struct smx_err *err)
{
    char part[SMX_PATH_MAX];

    smx_strcpy(part, sizeof part, dir);
    for (char *p = part + 1;; p++) {
        char c = *p;

        if (c != '/' && c != 0)
            continue;
        *p = 0;
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return smx_err_errno(err, errno, "making directory %s", part);
        if (c == 0)
            return 0;
        *p = c;
    }
}

static int find_authority(struct init *in, struct smx_err *err)
{
    bool cert = there(in, "ca.pem"), key = there(in, "ca-key.pem");
    int r;

    if (in->force || (!cert && !key)) {
        in->new_ca = true;
        return tls_issue_ca(&in->ca, err);
    }
    if (!cert || !key)
        return smx_err_set(err, SMX_E_INVALID,
            "%s/%s is missing, %s is there: put it back, or make another authority with --force",
            in->dir, cert ? "ca-key.pem" : "ca.pem", cert ? "ca.pem" : "ca-key.pem");
    r = read_pem(in, "ca.pem", &in->ca.cert, err);
    return r < 0 ? r : read_pem(in, "ca-key.pem", &in->ca.key, err);
}

/* What somebody else made stays. */
static int check_present(const struct init *in, struct smx_err *err)
{
    struct smx_buf old;
    bool ours;
    int r;

    if (in->force || !there(in, "cert.pem"))
        return in->force || !there(in, "key.pem")
                   ? 0
                   : smx_err_set(err, SMX_E_EXISTS,
                         "%s/key.pem is there without cert.pem; --force replaces it", in->dir);
    smx_buf_init(&old, SMX_TLS_FILE_MAX);
    r = read_pem(in, "cert.pem", &old, err);
    ours = r == 0 && tls_issued_by((struct smx_view){ old.data, old.len },
                         (struct smx_view){ in->ca.cert.data, in->ca.cert.len });
    smx_buf_done(&old);
    if (r < 0 || ours)
        return r;
    return smx_err_set(err, SMX_E_EXISTS,
        "%s/cert.pem was not made by the authority in %s/ca.pem; --force replaces both", in->dir,
        in->dir);
}

/* What programs here trust now; but not what an earlier call made of it. */
static const char *trusted_now(const struct init *in)
{
    const char *file = getenv("SSL_CERT_FILE");

    return file && *file && !smx_starts(file, in->dir) ? file : system_bundle;
}

static int write_bundle(struct init *in, struct smx_err *err)
{
    struct smx_buf all;
    int r = 0;

    smx_buf_init(&all, BUNDLE_MAX);
    if (smx_read_file_at(AT_FDCWD, trusted_now(in), &all, /* err= */ NULL) == 0) {
        if (all.len > 0 && all.data[all.len - 1] != '\n')
            smx_buf_append_char(&all, '\n');
        smx_buf_append(&all, in->ca.cert.data, in->ca.cert.len);
        r = all.failed ? 0 : write_pem(in, "bundle.pem", &all, 0644, err);
        in->bundled = r == 0 && !all.failed;
    }
    smx_buf_done(&all);
    return r;
}

static int make(struct init *in, struct smx_err *err)
{
    int r = make_dir(in->dir, err);

    if (r == 0)
        r = find_authority(in, err);
    if (r == 0)
        r = check_present(in, err);
    if (r == 0)
        r = tls_issue_leaf(&in->ca, in->names, in->n_names, &in->leaf, err);
    if (r == 0 && in->new_ca)
        r = write_pem(in, "ca-key.pem", &in->ca.key, 0600, err);
    if (r == 0 && in->new_ca)
        r = write_pem(in, "ca.pem", &in->ca.cert, 0644, err);
    if (r == 0)
        r = write_bundle(in, err);
    if (r == 0)
        r = write_pem(in, "key.pem", &in->leaf.key, 0600, err);
    return r < 0 ? r : write_pem(in, "cert.pem", &in->leaf.cert, 0644, err);
}

/* --- telling --------------------------------------------------------------------------------- */

static void tell(const struct init *in)
{
    static const char *const files[] = { "ca.pem", "cert.pem", "key.pem" };
    static const char *const keys[] = { "ca", "cert", "key" };
    char path[SMX_PATH_MAX];
    struct json_writer w;
    struct smx_buf out;

    smx_buf_init(&out, SHOWN_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    for (size_t i = 0; i < SMX_ARRAY_LEN(files); i++)
        json_kv_string(&w, keys[i], path_of(in, files[i], path));
    if (in->bundled)
        json_kv_string(&w, "bundle", path_of(in, "bundle.pem", path));
    json_kv_string(&w, "dir", in->dir);
    json_kv_string(&w, "domain", in->first);
    json_kv_bool(&w, "new_authority", in->new_ca);
    json_key(&w, "names");
    json_array_begin(&w);
    for (size_t i = 0; i < in->n_names; i++)
        json_string(&w, in->names[i]);
    json_array_end(&w);
    json_object_end(&w);
    if (json_writer_end(&w, /* err= */ NULL) == 0)
        printf("%s\n", out.data);
    smx_buf_done(&out);
}

int tls_init_main(int argc, char **argv)
{
    struct init in = { .dir = NULL };
    struct smx_err err = { 0 };
    int r;

    umask(022);
    tls_issued_init(&in.ca);
    tls_issued_init(&in.leaf);
    r = parse(&in, argc, argv, &err);
    if (r == 0)
        r = make(&in, &err);
    if (r < 0)
        printf("%d\n%s\n", (int)err.code, err.msg);
    else
        tell(&in);
    tls_issued_done(&in.ca);
    tls_issued_done(&in.leaf);
    smx_free(in.domains);
    return r < 0 || fflush(stdout) != 0;
}
