/* output.c - what people and programs read: data on stdout through one buffer, everything else on
 * stderr. A broken stdout is remembered and reported once, by cli_flush(). */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "json/json.h"

enum { OUT_SIZE = 64 * 1024, TEXT_MAX = 64 * 1024 };

static struct {
    char data[OUT_SIZE];
    size_t n;
    bool broken;
    int os_errno; /* why, until it was told */
} out;

/* --- stdout -------------------------------------------------------------------------------------
 */

static void drain(void)
{
    size_t done = 0;

    while (done < out.n && !out.broken) {
        ssize_t w = write(STDOUT_FILENO, out.data + done, out.n - done);

        if (w > 0)
            done += (size_t)w;
        else if (w < 0 && errno == EAGAIN) /* somebody made the terminal non-blocking */
            poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1, -1);
        else if (w == 0 || errno != EINTR) {
            out.broken = true;
            out.os_errno = w == 0 ? EIO : errno;
        }
    }
    out.n = 0;
}

bool cli_out(const void *data, size_t n)
{
    const char *p = data;

    while (n > 0 && !out.broken) {
        size_t part = SMX_MIN(n, OUT_SIZE - out.n);

        memcpy(out.data + out.n, p, part);
        out.n += part;
        p += part;
        n -= part;
        if (out.n == OUT_SIZE)
            drain();
    }
    return !out.broken;
}

bool cli_outf(const char *fmt, ...)
{
    char text[4096];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return cli_out(text, SMX_MIN((size_t)SMX_MAX(n, 0), sizeof text - 1));
}

bool cli_out_line(const char *text)
{
    return cli_out(text, strlen(text)) && cli_out("\n", 1);
}

void cli_json_pair(const char *key, const char *value)
{
    struct smx_buf b;
    struct json_writer w;

    smx_buf_init(&b, TEXT_MAX);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    json_kv_string(&w, key, value);
    json_object_end(&w);
    if (json_writer_end(&w, /* err= */ NULL) == 0)
        cli_out_line(b.data);
    smx_buf_done(&b);
}

/* A reader that has gone had enough; anything else is told. */
int cli_flush(void)
{
    drain();
    if (out.os_errno != 0 && out.os_errno != EPIPE)
        cli_note("sandmux: writing the output: %s", strerror(out.os_errno));
    out.os_errno = 0;
    return out.broken ? CLI_FAILED : CLI_OK;
}

/* --- stderr -------------------------------------------------------------------------------------
 */

bool cli_color(int fd)
{
    const char *none = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE"),
               *term = getenv("TERM");

    if (none && *none)
        return false;
    if (force && *force && !smx_streq(force, "0"))
        return true;
    return isatty(fd) && term && !smx_streq(term, "dumb");
}

void cli_note(const char *fmt, ...)
{
    char text[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    drain();
    dprintf(STDERR_FILENO, "%s\n", text);
}

int cli_exit_status(enum smx_code code)
{
    switch (code) {
    case SMX_OK:
        return CLI_OK;
    case SMX_E_SANDBOX_NOT_FOUND:
    case SMX_E_FILE_NOT_FOUND:
    case SMX_E_PROCESS_NOT_FOUND:
    case SMX_E_TEMPLATE_NOT_FOUND:
    case SMX_E_NOT_FOUND:
        return CLI_NOT_FOUND;
    case SMX_E_UNAUTHORIZED:
    case SMX_E_FORBIDDEN:
    case SMX_E_E2B_KEY:
    case SMX_E_DAYTONA_KEY:
        return CLI_DENIED;
    case SMX_E_EXISTS:
    case SMX_E_STATE:
    case SMX_E_UNPROCESSABLE_KEY:
    case SMX_E_IN_PROGRESS:
    case SMX_E_BUSY:
        return CLI_CONFLICT;
    case SMX_E_QUOTA:
    case SMX_E_RATE_LIMITED:
    case SMX_E_DISK_FULL:
        return CLI_QUOTA;
    case SMX_E_UNAVAILABLE:
    case SMX_E_AMBIGUOUS:
    case SMX_E_TIMEOUT:
    case SMX_E_CLOSED:
    case SMX_E_PORT_CLOSED:
        return CLI_UNREACHABLE;
    case SMX_E_INVALID:
    case SMX_E_METHOD_NOT_ALLOWED:
    case SMX_E_TOO_LARGE:
    case SMX_E_NOT_CONFIGURED:
    case SMX_E_UNSUPPORTED:
    case SMX_E_LOOP:
    case SMX_E_CANCELLED:
    case SMX_E_PROTOCOL:
    case SMX_E_NO_MEMORY:
    case SMX_E_IO:
    case SMX_E_INTERNAL:
    case SMX_E_COUNT_:
        return CLI_FAILED;
    }
    return CLI_FAILED;
}

static void error_json(const char *code, const char *detail, const char *hint, int status)
{
    struct smx_buf b;
    struct json_writer w;

    smx_buf_init(&b, TEXT_MAX);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    json_kv_string(&w, "code", code);
    json_kv_string(&w, "detail", detail);
    json_kv_string(&w, "hint", hint);
    json_kv_i64(&w, "exit_status", status);
    json_object_end(&w);
    if (json_writer_end(&w, /* err= */ NULL) == 0)
        cli_note("%s", b.data);
    smx_buf_done(&b);
}

int cli_fail(struct cli *cli)
{
    enum smx_code code = cli->err.code ? cli->err.code : SMX_E_INTERNAL;
    bool exec = cli->command && (cli->command->flags & CLI_EXEC);
    int status = exec ? CLI_OURS : cli_exit_status(code);

    if (cli->json) {
        error_json(smx_code_name(code), cli->err.msg, smx_code_hint(code), status);
    } else {
        cli_note("sandmux: %s", cli->err.msg);
        cli_note("%s", smx_code_hint(code));
    }
    return status;
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
    const char *name = cli->command ? cli->command->name : "";
    bool exec = cli->command && (cli->command->flags & CLI_EXEC);
    char text[512], hint[96];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    snprintf(hint, sizeof hint, "Try 'sandmux %s%s--help'.", name, *name ? " " : "");
    if (cli->json || cli->json_asked) {
        error_json("usage", text, hint, exec ? CLI_OURS : CLI_USAGE);
    } else {
        cli_note("sandmux: %s", text);
        cli_note("%s", hint);
    }
    return exec ? CLI_OURS : CLI_USAGE;
}

/* --- JSON for people ----------------------------------------------------------------------------
 */

static void new_line(unsigned depth)
{
    cli_out("\n", 1);
    for (unsigned i = 0; i < depth; i++)
        cli_out("  ", 2);
}

/* The end of the string that starts at p. */
static const char *string_end(const char *p)
{
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1])
            p++;
    return *p ? p + 1 : p;
}

static bool empty_list(const char *p)
{
    p++;
    p += strspn(p, " \t\r\n");
    return *p == '}' || *p == ']';
}

void cli_json_pretty(const char *p)
{
    unsigned depth = 0;

    while (*p) {
        const char *end = p + 1;

        if (*p == '"') {
            end = string_end(p);
            cli_out(p, (size_t)(end - p));
        } else if (*p == '{' || *p == '[') {
            bool empty = empty_list(p);

            cli_out(p, 1);
            if (empty) {
                end = strpbrk(p, "}]");
                cli_out(end++, 1);
            } else {
                new_line(++depth);
            }
        } else if (*p == '}' || *p == ']') {
            depth -= depth > 0;
            new_line(depth);
            cli_out(p, 1);
        } else if (*p == ',') {
            cli_out(p, 1);
            new_line(depth);
        } else if (*p == ':') {
            cli_out(": ", 2);
        } else if (!strchr(" \t\r\n", *p)) {
            cli_out(p, 1);
        }
        p = end;
    }
    cli_out("\n", 1);
}

/* --- tables -------------------------------------------------------------------------------------
 */

/* Cells come from others: control characters do not reach the terminal. */
static void cell(const char *text, size_t width)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++) {
        char c = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];

        cli_out(&c, 1);
    }
    for (; n < width; n++)
        cli_out(" ", 1);
}

void cli_table(const char *const *cells, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            size_t width = 0;

            for (size_t i = 0; i < rows && c + 1 < columns; i++)
                width = SMX_MAX(width, strlen(cells[i * columns + c]) + 2);
            cell(cells[r * columns + c], width);
        }
        cli_out("\n", 1);
    }
}

static void span(int64_t seconds, char *buf, size_t size)
{
    static const struct {
        int64_t seconds;
        const char *unit;
    } units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } };

    for (size_t i = 0; i < SMX_ARRAY_LEN(units); i++) {
        if (seconds >= units[i].seconds || units[i].seconds == 1) {
            snprintf(buf, size, "%lld%s", (long long)(seconds / units[i].seconds), units[i].unit);
            return;
        }
    }
}

void cli_age(const char *rfc3339, char *buf, size_t size)
{
    int64_t at, now = smx_now_unix_ms();

    if (!rfc3339 || !smx_rfc3339_parse(rfc3339, &at)) {
        snprintf(buf, size, "-");
        return;
    }
    span((now > at ? now - at : at - now) / 1000, buf, size);
}

void cli_bytes(uint64_t n, char *buf, size_t size)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double v = (double)n;
    size_t i = 0;

    for (; v >= 1024 && i + 1 < SMX_ARRAY_LEN(units); i++)
        v /= 1024;
    snprintf(buf, size, i ? "%.1f %s" : "%.0f %s", v, units[i]);
}
