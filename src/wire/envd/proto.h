/* proto.h - the messages of the envd protocol in protobuf's binary form, for clients that speak
 * Connect with the binary codec. Translation only: requests become the JSON that the tables read,
 * replies are made from the JSON that the agent writes, so a message means the same in both forms.
 * Pure, no state, any thread. Source: docs/protocols/e2b.md, binary codec; why no library: decision
 * 009. */
#ifndef SMX_WIRE_ENVD_PROTO_H
#define SMX_WIRE_ENVD_PROTO_H

#include "wire/envd/envd.h"

#define ENVD_UNARY_PROTO_TYPE "application/proto"
#define ENVD_STREAM_PROTO_TYPE "application/connect+proto"
#define ENVD_WEB_TYPE "application/grpc-web" /* or with "+proto", "+json" behind it */

/* Appends the JSON of the message that table describes. Fields that are unknown or of another wire
 * type are skipped; of a field that may stand only once the last one counts. -SMX_E_INVALID: the
 * bytes are no message, and what was appended is none; a full buffer is the caller's to check. */
int envd_proto_read(const struct json_table *table, const void *data, size_t n, struct smx_buf *out,
    struct smx_err *err);
/* Appends the binary form of a JSON message. Errors are those of json_decode(). */
int envd_proto_append(struct smx_buf *out, const struct json_table *table, const char *json,
    size_t n, struct smx_err *err);
/* The same in steps, for a list of any length as the JSON writer writes it: 1 while there is more.
 * *at is where it stands, 0 at first. */
int envd_proto_step(struct smx_buf *out, const struct json_table *table, const char *json, size_t n,
    size_t *at, struct smx_err *err);

#endif
