/* native_tables.h - private macros of the native_*.c tables: a row is kind, key, member, flags. */
#ifndef SMX_WIRE_NATIVE_NATIVE_TABLES_H
#define SMX_WIRE_NATIVE_NATIVE_TABLES_H

#include "base/limits.h"
#include "wire/native/native.h"

#define AT(type, member) .offset = offsetof(struct type, member)
#define STR(type, key, member, fl, ...)                                                \
    {                                                                                  \
        .name = key, .kind = JSON_STRING, AT(type, member), .flags = (fl), __VA_ARGS__ \
    }
#define RAW(type, key, member, fl)                                     \
    {                                                                  \
        .name = key, .kind = JSON_RAW, AT(type, member), .flags = (fl) \
    }
#define BOOL(type, key, member, fl)                                     \
    {                                                                   \
        .name = key, .kind = JSON_BOOL, AT(type, member), .flags = (fl) \
    }
#define U64(type, key, member, fl, ...)                                             \
    {                                                                               \
        .name = key, .kind = JSON_U64, AT(type, member), .flags = (fl), __VA_ARGS__ \
    }
#define I64(type, key, member, fl, ...)                                             \
    {                                                                               \
        .name = key, .kind = JSON_I64, AT(type, member), .flags = (fl), __VA_ARGS__ \
    }
#define DBL(type, key, member, fl, ...)                                                \
    {                                                                                  \
        .name = key, .kind = JSON_DOUBLE, AT(type, member), .flags = (fl), __VA_ARGS__ \
    }
#define BYTES(type, key, member, fl, ...)                                             \
    {                                                                                 \
        .name = key, .kind = JSON_BYTES, AT(type, member), .flags = (fl), __VA_ARGS__ \
    }
#define STRS(type, key, member, fl, ...)                                                \
    {                                                                                   \
        .name = key, .kind = JSON_STRINGS, AT(type, member), .flags = (fl), __VA_ARGS__ \
    }
#define MAP(type, key, member, fl, ...)                                             \
    {                                                                               \
        .name = key, .kind = JSON_MAP, AT(type, member), .flags = (fl), __VA_ARGS__ \
    }
#define OBJ(type, key, member, tab, fl)                                                    \
    {                                                                                      \
        .name = key, .kind = JSON_OBJECT, AT(type, member), .table = &(tab), .flags = (fl) \
    }
#define PTR(type, key, member, tab, fl)                                                        \
    {                                                                                          \
        .name = key, .kind = JSON_OBJECT_PTR, AT(type, member), .table = &(tab), .flags = (fl) \
    }
#define ARR(type, key, member, tab)                                        \
    {                                                                      \
        .name = key, .kind = JSON_ARRAY, AT(type, member), .table = &(tab) \
    }

#define OPT JSON_OPTIONAL
#define REQ JSON_REQUIRED
#define OMIT JSON_OMIT_ZERO
#define NUL JSON_NULLABLE_OUT
#define FIELDS(id) static const struct json_field id##_fields[]

#endif
