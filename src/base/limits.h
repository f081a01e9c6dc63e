/* limits.h - every limit of sandmux has its name here. Beyond one the answer is a clear error that
 * names it; nothing is lost. Sizes in bytes unless the name says otherwise. */
#ifndef SMX_BASE_LIMITS_H
#define SMX_BASE_LIMITS_H

/* HTTP: heads and bodies (Daytona's clients send heads of up to 64 KiB) */
#define SMX_HTTP_HEAD_MAX (96 * 1024)
#define SMX_HTTP_HEADERS_MAX 100
#define SMX_HTTP_TARGET_MAX (32 * 1024)
#define SMX_HTTP_TRAILER_MAX (8 * 1024)
#define SMX_HTTP_DRAIN_MAX \
    (64 * 1024) /* of a request body that nobody read, to keep the connection */
#define SMX_HTTP_JSON_BODY_MAX (1024 * 1024)
#define SMX_HTTP_CHUNK_LINE_MAX 256
#define SMX_HTTP_HEAD_TIMEOUT_MS 10000
#define SMX_HTTP_IDLE_TIMEOUT_MS 620000
#define SMX_HTTP_SHED_IDLE_MS \
    10000 /* idle longer than this: may be ended when descriptors run short */
#define SMX_HTTP_BODY_TIMEOUT_MS 120000 /* a whole small body */
#define SMX_HTTP_LINGER_TIMEOUT_MS 5000 /* after a reply to a request that is still arriving */
#define SMX_HTTP_WRITE_TIMEOUT_MS 30000
#define SMX_HTTP_STREAM_TIMEOUT_MS 600000
#define SMX_HTTP_CONNECTIONS_PER_PEER 8192
#define SMX_TLS_HANDSHAKE_TIMEOUT_MS 5000
#define SMX_TLS_FILE_MAX (256 * 1024) /* of a certificate or a key */

/* Event loop */
#define SMX_FIBER_STACK (256 * 1024)
#define SMX_FIBER_YIELD_BYTES (256 * 1024)
#define SMX_WORKERS 4

/* JSON and RPC */
#define SMX_JSON_DEPTH_MAX 32
#define SMX_JSON_MAX (4 * 1024 * 1024)
#define SMX_RPC_ENVELOPE_MAX (4 * 1024 * 1024)
#define SMX_WS_MESSAGE_MAX (1024 * 1024)

/* Sandboxes */
#define SMX_PATH_MAX 4096
#define SMX_NAME_LEN_MAX 63
#define SMX_TEMPLATE_LEN_MAX 127
#define SMX_METADATA_ENTRIES_MAX 64
#define SMX_METADATA_VALUE_MAX 4096
#define SMX_ENV_ENTRIES_MAX 256
#define SMX_ENV_BYTES_MAX (128 * 1024)
#define SMX_ARGS_MAX 1024
#define SMX_ARGS_BYTES_MAX (128 * 1024)
#define SMX_EXEC_OUTPUT_DEFAULT (16 * 1024 * 1024)
#define SMX_EXEC_OUTPUT_MAX (64 * 1024 * 1024)
#define SMX_LIST_DEFAULT 100
#define SMX_LIST_MAX 1000

/* Engine and agent */
#define SMX_ENGINE_MESSAGE_MAX (192 * 1024)
#define SMX_AGENT_PROCESSES_MAX 4096 /* that run */
#define SMX_AGENT_ENDED_MAX 1024     /* exits kept for SMX_EXIT_KEPT_MS; then the oldest goes */
#define SMX_AGENT_CONNECTIONS_MAX 1024
#define SMX_AGENT_FILE_CHILDREN_MAX 16
#define SMX_AGENT_FILE_CHILD_WAIT_MS 30000 /* for a free one */
#define SMX_AGENT_PASSWD_MAX (1024 * 1024)
#define SMX_AGENT_GROUPS_MAX 64
#define SMX_AGENT_INLINE_WRITE_MAX (64 * 1024)
#define SMX_AGENT_LIST_REPLY_MAX (64 * 1024 * 1024)
#define SMX_AGENT_WATCHERS_MAX 64
#define SMX_AGENT_WATCHES_MAX 8192        /* directories of all watchers */
#define SMX_AGENT_WATCHER_EVENTS_MAX 8192 /* kept for one watcher between two polls */
#define SMX_STDOUT_CHUNK (32 * 1024)
#define SMX_PTY_CHUNK (16 * 1024)
#define SMX_EXIT_KEPT_MS 30000

#endif
