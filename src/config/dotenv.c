/* dotenv.c - reads .env text: KEY=value a line, as shells and python-dotenv users write it.
 *
 * Accepted: a byte order mark, LF, CRLF or CR line ends, blank lines, '#' comments, "export ",
 * blanks around '=', 'literal' and "escaped" quotes (both may span lines), a comment after a blank
 * behind an unquoted value. Nothing is expanded: '$' is a character. A line that is none of these
 * is reported with its number and skipped; its text is never shown, since it may hold a secret.
 * Pure: no I/O, no globals. */
#include "config/dotenv.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"

struct scan {
    const char *p, *end;
    unsigned line;
    struct smx_buf key, value;
};

static bool is_eol(char c)
{
    return c == '\n' || c == '\r';
}

static void skip_blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t'))
        s->p++;
}

static void skip_line_end(struct scan *s)
{
    if (s->p < s->end) {
        s->p += (*s->p == '\r' && s->p + 1 < s->end && s->p[1] == '\n') ? 2 : 1;
        s->line++;
    }
}

static void skip_line(struct scan *s)
{
    while (s->p < s->end && !is_eol(*s->p))
        s->p++;
    skip_line_end(s);
}

static bool key_char(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

static const char *scan_key(struct scan *s)
{
    const char *start = s->p;

    smx_buf_reset(&s->key);
    while (s->p < s->end && key_char(*s->p, s->p == start))
        s->p++;
    if (s->p == start)
        return "no variable name";
    smx_buf_append(&s->key, start, (size_t)(s->p - start));
    return NULL;
}

/* "export NAME": the word is skipped only when another name follows. */
static const char *scan_name(struct scan *s)
{
    const char *why = scan_key(s), *after = s->p;

    if (why || strcmp(s->key.data ? s->key.data : "", "export") != 0)
        return why;
    skip_blanks(s);
    if (s->p == after || s->p == s->end || !key_char(*s->p, true))
        return NULL;
    return scan_key(s);
}

static char unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

/* The rest behind a closing quote: blanks and a comment. */
static const char *scan_tail(struct scan *s)
{
    skip_blanks(s);
    if (s->p < s->end && !is_eol(*s->p) && *s->p != '#')
        return "text behind the closing quote";
    return NULL;
}

/* A backslash in single quotes escapes only itself and the quote. */
static void scan_escape(struct scan *s, char quote)
{
    char next = s->p[1];

    if (quote == '"' || next == '\'' || next == '\\')
        smx_buf_append_char(&s->value, quote == '"' ? unescape(next) : next);
    else
        smx_buf_append(&s->value, s->p, 2);
    s->line += next == '\n';
    s->p += 2;
}

static const char *scan_quoted(struct scan *s)
{
    char quote = *s->p++;

    for (; s->p < s->end; s->p++) {
        if (*s->p == quote) {
            s->p++;
            return scan_tail(s);
        }
        if (*s->p == '\\' && s->p + 1 < s->end) {
            scan_escape(s, quote);
            s->p--;
        } else if (*s->p == '\r' && s->p + 1 < s->end && s->p[1] == '\n') {
            continue; /* the value gets LF alone */
        } else {
            smx_buf_append_char(&s->value, *s->p);
            s->line += *s->p == '\n';
        }
    }
    return "quote is not closed";
}

static const char *scan_plain(struct scan *s)
{
    const char *start = s->p, *end;

    while (s->p < s->end && !is_eol(*s->p)) {
        if (*s->p == '#' && (s->p[-1] == ' ' || s->p[-1] == '\t'))
            break;
        s->p++;
    }
    end = s->p;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    smx_buf_append(&s->value, start, (size_t)(end - start));
    return NULL;
}

static const char *scan_value(struct scan *s)
{
    const char *why;

    smx_buf_reset(&s->value);
    skip_blanks(s);
    if (s->p == s->end || *s->p != '=')
        return "no '=' behind the name";
    s->p++;
    skip_blanks(s);
    if (s->p < s->end && (*s->p == '"' || *s->p == '\''))
        why = scan_quoted(s);
    else
        why = scan_plain(s);
    if (!why && s->value.len && memchr(s->value.data, 0, s->value.len))
        why = "NUL byte in the value";
    return why;
}

/* One line, or one assignment whose quotes span several. */
static int scan_statement(struct scan *s, const struct dotenv_sink *sink)
{
    const char *start = s->p, *why;
    unsigned line = s->line;
    int r;

    skip_blanks(s);
    if (s->p == s->end || is_eol(*s->p) || *s->p == '#') {
        skip_line(s);
        return 0;
    }
    why = scan_name(s);
    if (!why)
        why = scan_value(s);
    if (s->key.failed || s->value.failed)
        return -SMX_E_NO_MEMORY;
    if (why) { /* only this one line is lost, even if its quote swallowed others */
        s->p = start;
        s->line = line;
        skip_line(s);
        return sink->malformed(line, why, sink->arg);
    }
    r = sink->pair(s->key.data, s->value.data ? s->value.data : "", line, sink->arg);
    skip_line(s);
    return r;
}

int dotenv_parse(const char *data, size_t n, const struct dotenv_sink *sink)
{
    struct scan s = { .p = data, .end = data + n, .line = 1 };
    int r = 0;

    smx_buf_init(&s.key, DOTENV_FILE_MAX);
    smx_buf_init(&s.value, DOTENV_FILE_MAX);
    if (n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
        s.p += 3;
    while (s.p < s.end && r == 0)
        r = scan_statement(&s, sink);
    smx_buf_done(&s.key);
    smx_buf_done(&s.value);
    return r;
}
