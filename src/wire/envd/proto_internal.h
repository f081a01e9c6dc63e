/* proto_internal.h - what reading and writing the binary form share: the numbers of the fields. */
#ifndef SMX_WIRE_ENVD_PROTO_INTERNAL_H
#define SMX_WIRE_ENVD_PROTO_INTERNAL_H

#include "wire/envd/proto.h"

enum proto_type { PROTO_VARINT = 0, PROTO_FIXED64 = 1, PROTO_BYTES = 2, PROTO_FIXED32 = 5 };
/* A map is a list of messages of these two fields. */
enum { PROTO_KEY = 1, PROTO_VALUE = 2 };
enum { PROTO_VARINT_MAX = 10 };

/* How a number or a text travels that is not what its kind says. */
enum proto_form { PROTO_PLAIN, PROTO_ZIGZAG, PROTO_TIMESTAMP };

struct proto_number {
    const char *name; /* of the row of the JSON table; NULL ends them */
    unsigned char number;
    unsigned char form;
};
struct proto_shape;

/* NULL: a message without fields. */
const struct proto_shape *proto_shape_of(const struct json_table *t);
/* NULL: not in the binary form, as of no shape. */
const struct proto_number *proto_number_of(const struct proto_shape *s, const char *name);

#endif
