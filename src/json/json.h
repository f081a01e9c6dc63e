/* json.h - JSON by tables. Decoding fills a struct from a table and refuses what the table does not
 * say: duplicate keys, wrong types, NUL in strings, numbers out of range, more than
 * SMX_JSON_DEPTH_MAX levels; the error carries the key path ("resources.cpu: must be an integer
 * from 1 to 64"). Encoding goes through a capped writer. The parser is ours and knows no locale:
 * docs/decisions/001-json-parser.md says why.
 *
 * A decoded struct is zeroed first; what it owns is freed by json_free(). A string that is absent
 * or null stays NULL, a number 0; JSON_HAS tells "absent or null" apart. Bounds of a row: for
 * numbers min and max of the value, for strings and bytes of the length in bytes, for lists of the
 * count. Bounds are off while both are 0; max 0 means no upper one. A table has at most 64 rows.
 *
 * Encoding writes the rows in order. A NULL pointer (string, bytes, raw, object) and a field whose
 * has is false are left out, or null with JSON_NULLABLE_OUT; lists without entries are [] and {}.
 */
#ifndef SMX_JSON_JSON_H
#define SMX_JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum json_kind {
    JSON_STRING, /* char * (owned) */
    JSON_BOOL,   /* bool */
    JSON_U64, /* uint64_t, min..max of the row (max 0: no bound); also accepts a decimal string with
                 JSON_LAX_INT */
    JSON_I64, /* int64_t */
    JSON_DOUBLE,     /* double, finite */
    JSON_BYTES,      /* struct json_bytes (owned), base64 on the wire */
    JSON_OBJECT,     /* struct embedded at offset, described by .table */
    JSON_OBJECT_PTR, /* pointer to a struct (owned), NULL when absent */
    JSON_STRINGS,    /* struct json_strings (owned): array of strings */
    JSON_MAP,        /* struct json_map (owned): object of strings */
    JSON_ARRAY,      /* struct json_array (owned): array of objects described by .table */
    JSON_RAW,        /* char * (owned): any value, re-serialised compactly */
    JSON_ENUM,       /* int: index into .names (NULL-terminated array) */
};

enum {
    JSON_OPTIONAL = 0,
    JSON_REQUIRED = 1,
    JSON_LAX_INT = 2,        /* 64-bit numbers as decimal strings too (proto3 JSON) */
    JSON_OMIT_ZERO = 4,      /* encoder leaves out zero, false and empty */
    JSON_SECRET = 8,         /* never printed: encoders write "***", errors leave the value out */
    JSON_INT_AS_STRING = 16, /* encoder writes 64-bit numbers as strings (proto3 JSON) */
    JSON_NULLABLE_OUT = 32,  /* encoder writes null for NULL or !has */
};

struct json_bytes {
    unsigned char *data; /* NULL when absent; n 0 with data != NULL is empty */
    size_t n;
};
struct json_strings {
    char **v; /* NULL-terminated, NULL when absent */
    size_t n;
};
struct json_pair {
    char *key, *value;
};
struct json_map {
    struct json_pair *v;
    size_t n;
    bool set;
};
struct json_array {
    void *v; /* n structs of .table->size */
    size_t n;
};

struct json_table;
struct json_field {
    const char *name;
    enum json_kind kind;
    size_t offset;
    unsigned flags;
    const struct json_table *table; /* OBJECT, OBJECT_PTR, ARRAY */
    const char *const *names;       /* ENUM */
    int64_t min, max;               /* numbers; for strings and arrays max is the length, 0 none */
    size_t has; /* JSON_HAS of a bool that is set when the key was there and not null; 0: none */
    const char *alias; /* second accepted name (snake_case), or NULL */
};
struct json_table {
    const char *name; /* for errors and fuzzing */
    size_t size;      /* of the struct */
    const struct json_field *fields;
    size_t n;
    bool lax; /* unknown keys are skipped instead of refused */
};

#define JSON_HAS(type, member) (1 + offsetof(type, member))
#define JSON_TABLE(id, type, ...)                        \
    const struct json_table id = { .name = #type,        \
        .size = sizeof(struct type),                     \
        .fields = id##_fields,                           \
        .n = sizeof id##_fields / sizeof id##_fields[0], \
        __VA_ARGS__ }

/* -SMX_E_INVALID with the path in the message; -SMX_E_TOO_LARGE; -SMX_E_NO_MEMORY. *ret is zeroed
 * on failure. */
int json_decode(
    const struct json_table *t, const char *data, size_t n, void *ret, struct smx_err *err);
/* A document that is one value, as row f describes it (a list, say), into base + f->offset; the
 * rest of base stays as it is. Errors name it as if it stood in its object. What it owns is freed
 * by json_free() of a table that has the row. */
int json_decode_field(
    const struct json_field *f, const char *data, size_t n, void *base, struct smx_err *err);
void json_free(const struct json_table *t, void *value);

/* --- writer
 * ---------------------------------------------------------------------------------------------- */

/* Writes into a capped buffer; commas and escapes are the writer's. Misuse (a value without a key
 * in an object) is an assertion. Errors stick in the buffer: check once with json_writer_end(). */
struct json_writer {
    struct smx_buf *out;
    uint64_t comma;  /* bit a level: something stands there already */
    uint64_t object; /* bit a level: it is an object */
    unsigned depth;
    bool has_key;
};
void json_writer_init(struct json_writer *w, struct smx_buf *out);
int json_writer_end(struct json_writer *w, struct smx_err *err); /* all closed? buffer whole? */
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);
void json_string(struct json_writer *w,
    const char *s); /* NULL writes null; bytes that are not UTF-8 become U+FFFD */
void json_string_n(struct json_writer *w, const char *s, size_t n);
void json_base64(struct json_writer *w, const void *data, size_t n);
void json_u64(struct json_writer *w, uint64_t v);
void json_i64(struct json_writer *w, int64_t v);
void json_double(struct json_writer *w, double v); /* shortest form; not finite: null */
void json_bool(struct json_writer *w, bool v);
void json_null(struct json_writer *w);
void json_raw(struct json_writer *w, const char *text); /* trusted, valid JSON */
/* Before a value that the caller appends to w->out by itself. */
void json_value_begin(struct json_writer *w);
/* A string of it is the text between two quotes: ASCII, and nothing to escape. */
bool json_plain(struct smx_view v);
void json_encode(struct json_writer *w, const struct json_table *t, const void *value);

/* "key": value */
void json_kv_string(struct json_writer *w, const char *key, const char *v);
void json_kv_u64(struct json_writer *w, const char *key, uint64_t v);
void json_kv_i64(struct json_writer *w, const char *key, int64_t v);
void json_kv_bool(struct json_writer *w, const char *key, bool v);
void json_kv_null(struct json_writer *w, const char *key);

/* Whole document of a struct; the caller checks smx_buf_check(). */
int json_encode_to(
    struct smx_buf *out, const struct json_table *t, const void *value, struct smx_err *err);

#endif
