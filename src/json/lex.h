/* lex.h - internal to src/json: a cursor over one document and the tokens of RFC 8259. Everything
 * is checked here: UTF-8, escapes, surrogate pairs, number grammar, NUL, depth. Views point into
 * the document and live as long as it does. */
#ifndef SMX_JSON_LEX_H
#define SMX_JSON_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct json_in {
    const char *start, *p, *end;
    unsigned depth;
    struct smx_err *err;
    uint64_t *seen; /* hashes of the keys of the objects that are open, innermost last */
    size_t seen_n, seen_cap;
};

/* Where we are, for messages: a chain on the C stack from the innermost value to the root. */
struct json_at {
    const struct json_at *up; /* NULL: the root */
    struct smx_view key;      /* p == NULL: an element of an array */
    size_t index;
};

struct lex_string {
    struct smx_view raw; /* between the quotes, valid UTF-8, escapes still in */
    bool escaped;
};

/* "key.path[3]: <message>"; returns -SMX_E_INVALID. */
int lex_refuse(const struct json_in *in, const struct json_at *at, const char *fmt, ...)
    SMX_PRINTF(3, 4);
/* "invalid JSON at byte N: <why>"; returns -SMX_E_INVALID. */
int lex_broken(const struct json_in *in, const char *why);

/* First byte of the next token, '\0' at the end of the document. */
char lex_peek(struct json_in *in);
int lex_expect(struct json_in *in, char c);
int lex_word(struct json_in *in, const char *word);
int lex_string(struct json_in *in, struct lex_string *ret);
int lex_number(struct json_in *in, struct smx_view *ret, bool *ret_integer);
/* Opens an object or array ('{' or '['), counting the depth. */
int lex_open(struct json_in *in, char bracket);
/* Between the elements of an object or array: 1 when one more follows, 0 after the closing bracket,
 * negative when it is broken. first: nothing was read yet. */
int lex_next(struct json_in *in, char closing, bool first);
/* "key": of an object, up to and with the colon. */
int lex_key(struct json_in *in, struct lex_string *ret);
/* Any value; duplicate keys are refused at every level. */
int lex_skip(struct json_in *in, const struct json_at *at);

/* Resolves the escapes into dst, which has room for raw.n bytes; returns the length. */
size_t lex_unescape(char *dst, const struct lex_string *s);
/* A copy of the text; *ret_n may be NULL. NULL when out of memory. */
char *lex_dup(const struct lex_string *s, size_t *ret_n);

/* Keys of the open object: note one, then refuse doubles at the end; base is seen_n at its start.
 */
int lex_note_key(struct json_in *in, const struct lex_string *key);
int lex_check_keys(struct json_in *in, const struct json_at *at, size_t base);

/* Bytes at p that need no attention in a string: printable ASCII but quote and backslash. */
size_t lex_plain_run(const char *p, size_t n);

#endif
