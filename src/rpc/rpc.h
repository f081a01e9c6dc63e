/* rpc.h - the Connect protocol's framing: envelopes (1 flag byte, 4 bytes big-endian length,
 * payload), end-stream payloads and the error codes with their HTTP statuses. No I/O. Source:
 * connectrpc.com protocol; what envd answers is in docs/protocols/e2b.md. */
#ifndef SMX_RPC_RPC_H
#define SMX_RPC_RPC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"

enum rpc_code {
    RPC_OK,
    RPC_CANCELED,
    RPC_UNKNOWN,
    RPC_INVALID_ARGUMENT,
    RPC_DEADLINE_EXCEEDED,
    RPC_NOT_FOUND,
    RPC_ALREADY_EXISTS,
    RPC_PERMISSION_DENIED,
    RPC_RESOURCE_EXHAUSTED,
    RPC_FAILED_PRECONDITION,
    RPC_ABORTED,
    RPC_OUT_OF_RANGE,
    RPC_UNIMPLEMENTED,
    RPC_INTERNAL,
    RPC_UNAVAILABLE,
    RPC_DATA_LOSS,
    RPC_UNAUTHENTICATED,
    RPC_CODE_COUNT_
};
const char *rpc_code_name(enum rpc_code c);
int rpc_code_http(enum rpc_code c);
enum rpc_code rpc_code_from_name(const char *name); /* RPC_UNKNOWN for others */
enum smx_code rpc_code_to_smx(enum rpc_code c);

enum { RPC_HEAD = 5, RPC_FLAG_COMPRESSED = 1, RPC_FLAG_END = 2 };

struct rpc_envelope {
    uint8_t flags;
    const char *data; /* into the parsed buffer; not NUL-terminated */
    size_t n;
};
/* One envelope at the front of data: bytes used, 0 when it is incomplete, -SMX_E_TOO_LARGE past
 * SMX_RPC_ENVELOPE_MAX. */
ptrdiff_t rpc_parse(const char *data, size_t n, struct rpc_envelope *ret, struct smx_err *err);
/* Opens an envelope at the end of out and returns its start, to be closed when the payload stands
 * behind it. */
size_t rpc_begin(struct smx_buf *out, uint8_t flags);
void rpc_end(struct smx_buf *out, size_t start);
/* End-stream envelope: {} or {"error":{"code","message"}}. */
void rpc_append_end(struct smx_buf *out, enum rpc_code code, const char *message);
/* Body of a unary error: {"code","message"}. */
void rpc_append_error(struct smx_buf *out, enum rpc_code code, const char *message);
/* Reads an end-stream or unary error payload: RPC_OK for {}; message goes to err->msg. */
enum rpc_code rpc_read_error(const char *data, size_t n, struct smx_err *err);

#endif
