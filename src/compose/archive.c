/* archive.c - tar streams out of and into sandboxes, by processes that speak nothing else on their
 * pipes: what tar has to say is collected and printed at its end. Where the provider has a socket
 * for the stream it comes by that; whether it was whole is for tar's exit code to say in any case.
 */
#include "compose/archive.h"

#include <signal.h>
#include <stdio.h>

#include "compose/internal.h"

enum {
    SAID_MAX = 2000,
    PIECE = 256 * 1024,
    EXIT_CHANGED = 1,  /* of tar: a file changed while it was read */
    EXIT_MISSING = 66, /* of ours, from here on */
    EXIT_NO_TAR = 69,
    EXIT_FSIZE = 128 + SIGXFSZ,
    IDLE_MS = 600000,
    END_ZEROS = 2 * 512,
};

#define NEED_GNU                                           \
    "cd / || exit 66\n"                                    \
    "tar --version 2>/dev/null | grep -q GNU || exit 69\n" \
    "find --version 2>/dev/null | grep -q GNU || exit 69\n"
/* Records of 64 KiB (-b 128): a quarter of the time that those of 10 KiB take goes into calls.
 * "$@": those paths that are there, relative to the root. */
#define FIND_PATHS                                                                   \
    "n=$#\n"                                                                         \
    "for f; do\n"                                                                    \
    "if [ -e \"$f\" ] || [ -L \"$f\" ]; then f=${f#/}; set -- \"$@\" \"./$f\"; fi\n" \
    "done\n"                                                                         \
    "shift $n\n"                                                                     \
    "[ $# -gt 0 ] || exit 66\n"

const char *const archive_paths[] = { "/workspace", "/home", "/root", NULL };

static const char script_save[] = NEED_GNU FIND_PATHS
    "exec 3>&1\n"
    "said=$(tar -b 128 --format=posix --pax-option=delete=atime,delete=ctime --numeric-owner "
    "--one-file-system --warning=no-file-ignored -cf - -- \"$@\" 2>&1 >&3)\n"
    "rc=$?\n"
    "printf '%.2000s' \"$said\" >&2\n"
    "exit $rc\n";

static const char script_load[] =
    NEED_GNU "said=$(tar -b 128 --numeric-owner --same-permissions --delay-directory-restore "
             "--no-overwrite-dir -xf - 2>&1 >/dev/null)\n"
             "rc=$?\n"
             "printf '%.2000s' \"$said\" >&2\n"
             "exit $rc\n";

static const char script_digest[] = NEED_GNU FIND_PATHS
    "list() {\n"
    "find \"$@\" -xdev \\( -type d -printf '%p %y %m %U %G %T@\\0' -o "
    "-type l -printf '%p %y %U %G %l\\0' -o -type s -o "
    "-type f -printf '%p %y %m %U %G %T@ %s\\0' -o "
    "-printf '%p %y %m %U %G\\0' \\) | LC_ALL=C sort -z | sha256sum\n"
    "}\n"
    "list \"$@\" &&\n"
    "find \"$@\" -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 cat -- | sha256sum\n";

struct run {
    struct provider_stream *stream;
    struct io_fd direct; /* the stream of tar; fd -1: it comes by events, goes by calls */
    uint32_t pid;
    struct smx_buf said;
    int exit_code;
    bool ended;
};

static int run_start(struct run *r, struct provider_box *box, const char *script,
    const char *const *paths, bool in, struct smx_err *err)
{
    const char *argv[4 + ARCHIVE_PATHS_MAX + 1] = { "sh", "-c", script, "sh" };
    int fd = -1, e;
    struct provider_process_spec spec = {
        .argv = argv, .cwd = "/", .stdin_open = in, .ret_socket = &fd
    };

    for (size_t i = 0; paths && paths[i] && i < ARCHIVE_PATHS_MAX; i++)
        argv[4 + i] = paths[i];
    smx_buf_init(&r->said, SAID_MAX + 1);
    r->direct.fd = -1;
    e = provider_process_start(
        box, &spec, &r->stream, smx_deadline_in_ms(COMPOSE_START_TIMEOUT_MS), err);
    return e < 0 || fd < 0 ? e : io_fd_init(&r->direct, fd, err);
}

static void run_done(struct run *r)
{
    io_fd_done(&r->direct);
    provider_stream_close(r->stream);
    smx_buf_done(&r->said);
}

static int receiver_left(int r, struct smx_err *err)
{
    return smx_err_set(err, (enum smx_code) - r, "the receiver of the archive left");
}

/* The next event; output goes to give (NULL: dropped). */
static int run_next(struct run *r, archive_give_fn *give, void *arg, struct smx_err *err)
{
    struct provider_event ev;
    int e = provider_stream_next(r->stream, &ev, smx_deadline_in_ms(IDLE_MS), err);

    if (e < 0)
        return e;
    if (ev.kind == PROVIDER_EVENT_START)
        r->pid = ev.pid;
    else if (ev.kind == PROVIDER_EVENT_STDOUT && give)
        e = give(arg, ev.data, ev.n);
    else if (ev.kind == PROVIDER_EVENT_STDERR)
        smx_buf_append(&r->said, ev.data, SMX_MIN(ev.n, (size_t)SAID_MAX - r->said.len));
    else if (ev.kind == PROVIDER_EVENT_END)
        r->ended = true;
    if (r->ended)
        r->exit_code = ev.exit_code;
    return e < 0 ? receiver_left(e, err) : 0;
}

/* What comes by the socket, until its end. */
static int run_direct(struct run *r, archive_give_fn *give, void *arg, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *data = smx_alloc(PIECE);
    ssize_t n;
    int e;

    if (!data)
        return smx_err_oom(err);
    while ((n = io_read(&r->direct, data, PIECE, smx_deadline_in_ms(IDLE_MS), err)) > 0) {
        e = give(arg, data, (size_t)n);
        if (e < 0)
            return receiver_left(e, err);
    }
    return (int)n;
}

static int run_rest(struct run *r, archive_give_fn *give, void *arg, struct smx_err *err)
{
    int e = give && r->direct.fd >= 0 ? run_direct(r, give, arg, err) : 0;

    while (e == 0 && !r->ended)
        e = run_next(r, give, arg, err);
    return e;
}

/* What tar's exit code and words mean. */
static int verdict(
    const struct run *r, const char *const *paths, enum smx_code otherwise, struct smx_err *err)
{
    const char *said = r->said.data ? r->said.data : "";

    if (r->exit_code == 0 || r->exit_code == EXIT_CHANGED)
        return 0;
    if (r->exit_code == EXIT_MISSING)
        return smx_err_set(err, SMX_E_FILE_NOT_FOUND, "%.200s not found in the sandbox",
            paths && paths[0] ? paths[0] : "/");
    if (r->exit_code == EXIT_NO_TAR)
        return smx_err_set(err, SMX_E_UNSUPPORTED,
            "archives need GNU tar and findutils in the sandbox's template");
    if (r->exit_code == EXIT_FSIZE || strstr(said, "No space left") ||
        strstr(said, "quota exceeded"))
        return smx_err_set(err, SMX_E_DISK_FULL, "the sandbox's disk is full: %.150s", said);
    return smx_err_set(
        err, otherwise, "tar in the sandbox ended with %d: %.300s", r->exit_code, said);
}

int archive_save(struct provider_box *box, const char *const *paths, archive_give_fn *give,
    void *arg, bool *ret_changed, struct smx_err *err)
{
    struct run run = { 0 };
    int r = run_start(&run, box, script_save, paths, /* in= */ false, err);

    if (r == 0)
        r = run_rest(&run, give, arg, err);
    if (r == 0)
        r = verdict(&run, paths, SMX_E_IO, err);
    if (r == 0 && ret_changed)
        *ret_changed = run.exit_code == EXIT_CHANGED;
    run_done(&run);
    return r;
}

/* Zero bytes at the end so far: a tar stream ends with two blocks of them, and tar itself does not
 * miss them. */
static uint64_t trailing_zeros(uint64_t before, const char *data, size_t n)
{
    size_t zeros = 0;

    while (zeros < n && data[n - 1 - zeros] == 0)
        zeros++;
    return zeros == n ? before + n : zeros;
}

struct fed {
    uint64_t bytes, zeros;
    bool whole; /* the source came to its end */
};

static int feed_piece(struct run *run, struct provider_box *box, const char *data, size_t n)
{
    if (run->direct.fd >= 0)
        return io_write(&run->direct, data, n, IDLE_MS, /* err= */ NULL);
    return provider_write_stdin(
        box, run->pid, /* tty= */ false, data, n, smx_deadline_in_ms(IDLE_MS), /* err= */ NULL);
}

static void feed_end(struct run *run, struct provider_box *box)
{
    if (run->direct.fd >= 0)
        io_fd_done(&run->direct);
    else
        provider_close_stdin(
            box, run->pid, smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS), /* err= */ NULL);
}

/* tar that has ended takes no more: its words count, not the failed write. */
static int feed(struct run *run, struct provider_box *box, archive_take_fn *take, void *arg,
    struct fed *fed, struct smx_err *err)
{
    SMX_CLEANUP(smx_freep) char *piece = smx_alloc(PIECE);
    ssize_t n;

    if (!piece)
        return smx_err_oom(err);
    while ((n = take(arg, piece, PIECE, err)) > 0) {
        if (feed_piece(run, box, piece, (size_t)n) < 0)
            return 0;
        fed->bytes += (uint64_t)n;
        fed->zeros = trailing_zeros(fed->zeros, piece, (size_t)n);
    }
    if (n < 0)
        return (int)n;
    fed->whole = true;
    feed_end(run, box);
    return 0;
}

int archive_load(struct provider_box *box, archive_take_fn *take, void *arg, uint64_t *ret_bytes,
    struct smx_err *err)
{
    struct run run = { 0 };
    struct fed fed = { 0 };
    int r = run_start(&run, box, script_load, /* paths= */ NULL, /* in= */ true, err);

    while (r == 0 && run.pid == 0 && !run.ended)
        r = run_next(&run, /* give= */ NULL, /* arg= */ NULL, err);
    if (r == 0 && !run.ended)
        r = feed(&run, box, take, arg, &fed, err);
    if (r == 0)
        r = run_rest(&run, /* give= */ NULL, /* arg= */ NULL, err);
    else if (run.pid && !run.ended)
        provider_signal(box, run.pid, SIGKILL, smx_deadline_in_ms(COMPOSE_CALL_TIMEOUT_MS), NULL);
    if (r == 0)
        r = verdict(&run, /* paths= */ NULL, SMX_E_INVALID, err);
    if (r == 0 && (!fed.whole || fed.zeros < END_ZEROS))
        r = smx_err_set(err, SMX_E_INVALID,
            "the archive is cut off: its end is missing after %llu bytes, which were unpacked",
            (unsigned long long)fed.bytes);
    if (r == 0 && ret_bytes)
        *ret_bytes = fed.bytes;
    run_done(&run);
    return r;
}

/* --- digests ---------------------------------------------------------------------------------- */

static int to_buf(void *arg, const void *data, size_t n)
{
    return smx_buf_append(arg, data, n);
}

/* Two lines "<64 hexadecimal digits>  -". */
int archive_digest(struct provider_box *box, const char *const *paths,
    char out[ARCHIVE_DIGEST_SIZE], struct smx_err *err)
{
    struct run run = { 0 };
    struct smx_buf lines;
    int r = run_start(&run, box, script_digest, paths, /* in= */ false, err);

    smx_buf_init(&lines, 4096);
    if (r == 0)
        r = run_rest(&run, to_buf, &lines, err);
    if (r == 0)
        r = verdict(&run, paths, SMX_E_IO, err);
    if (r == 0 && (lines.len != 2 * 68 || run.said.len > 0))
        r = smx_err_set(err, SMX_E_IO, "the files cannot be read to compare them: %.200s",
            run.said.data ? run.said.data : "no digest");
    if (r == 0)
        snprintf(out, ARCHIVE_DIGEST_SIZE, "%.64s:%.64s", lines.data, lines.data + 68);
    smx_buf_done(&lines);
    run_done(&run);
    return r;
}
