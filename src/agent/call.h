/* call.h - one RPC of the Connect protocol or gRPC-Web over HTTP/1.1, both codecs: checks of type,
 * version and encoding, the request's message, the user, and how replies and errors are written.
 * Unary errors are an HTTP status and a JSON body; errors of streams stand in the end envelope of a
 * 200. */
#ifndef SMX_AGENT_CALL_H
#define SMX_AGENT_CALL_H

#include "agent/agent.h"
#include "rpc/rpc.h"

struct call {
    struct agent *agent;
    struct http_exchange *x;
    struct smx_buf in;              /* the request's body */
    struct smx_buf plain;           /* a message of it that was compressed */
    struct smx_view msg;            /* its only message, inside in or plain */
    bool gzip;                      /* the request's messages may be compressed */
    bool web;                       /* gRPC-Web: unary calls are enveloped, too */
    bool binary;                    /* protobuf on the wire; handlers see JSON */
    const struct json_table *reply; /* of the route */
    struct smx_buf text;            /* binary: the request's message as JSON */
    uint64_t deadline_ns;           /* Connect-Timeout-Ms of a unary call; SMX_FOREVER: none */
    struct smx_buf out;             /* unary: the reply's message */
    const char *out_type;           /* of it; NULL: JSON */
    struct smx_err err;             /* err.msg goes to the client */
};

/* A unary call appends its reply to c->out; a stream replies by itself through call_stream_*. Both
 * return RPC_OK or a code with its sentence in c->err.msg (a stream that failed before it began).
 */
typedef enum rpc_code(call_fn)(struct call *c);

struct call_route {
    const char *path;
    call_fn *fn;
    bool stream;                    /* server stream: enveloped, one message in */
    bool client_stream;             /* the handler reads the envelopes itself */
    const struct json_table *reply; /* its messages; NULL: without fields */
};
void call_run(struct agent *a, struct http_exchange *x, const struct call_route *route);

/* Sets the sentence and returns the code. */
enum rpc_code call_fail(struct call *c, enum rpc_code code, const char *fmt, ...) SMX_PRINTF(3, 4);
/* Keeps c->err and returns the code that it means. */
enum rpc_code call_error(const struct call *c);
/* Decodes c->msg, which is JSON from then on. */
enum rpc_code call_decode(struct call *c, const struct json_table *table, void *ret);
/* Opens an envelope: c->msg is its message, inflated if it is compressed. */
enum rpc_code call_open(struct call *c, const struct rpc_envelope *e);
/* The user named by the Authorization field, else the default one. */
enum rpc_code call_user(struct call *c, struct agent_user *ret);

#define CALL_TIMEOUT_MAX_MS UINT64_C(9999999999) /* the protocol allows ten digits */
/* Connect-Timeout-Ms or Grpc-Timeout; 0: none. */
enum rpc_code call_timeout(struct call *c, uint64_t *ret_ms);
/* A field with a whole number; 0: absent, 1: *ret is set, negative: neither. */
int call_field_u64(const struct http_exchange *x, const char *name, uint64_t max, uint64_t *ret);

/* [parks] begins the stream's reply (200, the request's own content type) with its first envelopes,
 * in one write. */
int call_stream_begin(struct call *c, const struct smx_buf *first);
/* [parks] envelopes of the stream, in the codec of the client. */
int call_stream_write(struct call *c, const char *data, size_t n);
/* [parks] what out holds (envelopes, or nothing), the end envelope and the end of the reply, in one
 * write. */
void call_stream_finish(
    struct call *c, struct smx_buf *out, enum rpc_code code, const char *message);
/* The same without envelopes before. */
void call_stream_end(struct call *c, enum rpc_code code, const char *message);

#endif
