/* internal.h - what the files of the native front end share. Handlers have the router's shape: ctx
 * is the struct frontend; params->v[0] is the sandbox's id, name or alias. */
#ifndef SMX_FRONTENDS_NATIVE_INTERNAL_H
#define SMX_FRONTENDS_NATIVE_INTERNAL_H

#include "base/mem.h"
#include "frontends/dialect.h"
#include "frontends/native/native.h"
#include "wire/native/native.h"

typedef void(native_handler_fn)(
    struct http_exchange *x, const struct http_params *params, void *ctx);

enum { NATIVE_CALL_TIMEOUT_MS = 60000, NATIVE_CHUNK = 64 * 1024, NATIVE_TICK_MS = 15000 };

extern const struct dialect native_dialect; /* native.c */

/* --- reply.c --------------------------------------------------------------------------------- */

/* [parks] value encoded by its table. */
void native_reply(
    struct http_exchange *x, int status, const struct json_table *table, const void *value);
/* [parks] a JSON text that was written with a json_writer; an incomplete one becomes a 500. */
void native_reply_json(struct http_exchange *x, int status, struct json_writer *w);
/* native_fail() with a status of its own, such as 416. */
void native_fail_status(struct http_exchange *x, int status, const struct smx_err *err);
void native_fail_memory(struct http_exchange *x);
/* "key": text where the bytes are UTF-8 without NUL, else "key_b64": base64. */
void native_kv_bytes(
    struct json_writer *w, const char *key, const char *key_b64, const struct smx_buf *bytes);
/* The problem as it stands in a body; borrowed strings, url has room for the type. */
void native_problem_fill(
    struct http_exchange *x, const struct smx_err *err, struct native_problem *ret, char type[96]);

/* --- request.c --------------------------------------------------------------------------------
 */

/* The sandbox of the path, noted for the log. */
int native_find(struct frontend *fe, struct http_exchange *x, const struct http_params *params,
    struct sandbox **ret, struct smx_err *err);
/* find and use_begin; ended by native_use_end(). */
struct native_use {
    struct sandbox *sb;
    struct provider_box *box;
};
int native_use_begin(struct frontend *fe, struct http_exchange *x, const struct http_params *params,
    struct native_use *ret, struct smx_err *err);
void native_use_end(struct native_use *use);
#define NATIVE_USE(name) SMX_CLEANUP(native_use_end) struct native_use name = { NULL, NULL }

/* A path that no file system could take names its field. */
int native_check_path(const char *name, const char *path, struct smx_err *err);
/* The required path of the query. The caller frees it. */
int native_query_path(struct http_exchange *x, char **ret, struct smx_err *err);
/* The query's signal; SIGKILL when it names none. */
int native_query_signal(struct http_exchange *x, int *ret, struct smx_err *err);
/* From now on the fiber is cancelled when the client goes away (for streams that fall silent). */
void native_watch_client(struct http_exchange *x);
void native_unwatch_client(struct http_exchange *x);
/* The same, and when the daemon ends: for streams without an end of their own. */
void native_endless_begin(struct frontend *fe, struct http_exchange *x, struct frontend_endless *e);
void native_endless_end(struct http_exchange *x, struct frontend_endless *e);
uint64_t native_deadline(void); /* of one call to a provider */

/* --- one file a resource ----------------------------------------------------------------------
 */

native_handler_fn native_sandbox_create, native_sandbox_ensure, native_sandbox_list,
    native_sandbox_get, native_sandbox_patch, native_sandbox_delete, native_sandbox_start,
    native_sandbox_stop, native_sandbox_pause, native_sandbox_resume;
native_handler_fn native_exec_post, native_exec_socket;
native_handler_fn native_process_list, native_process_signal;
native_handler_fn native_session_post, native_session_list_get, native_session_get,
    native_session_remove, native_session_exec_post, native_session_logs, native_session_input_post,
    native_session_signal;
native_handler_fn native_file_list, native_file_get, native_file_put, native_file_upload,
    native_file_delete, native_file_make_dir, native_file_move;
native_handler_fn native_archive_get, native_archive_put, native_migrate_post;
native_handler_fn native_preview, native_logs, native_stats;
native_handler_fn native_events;
native_handler_fn native_templates;
native_handler_fn native_key_create, native_key_list, native_key_revoke;
native_handler_fn native_runtime_status, native_runtime_switch, native_runtime_validate,
    native_runtime_health;
native_handler_fn native_healthz, native_readyz, native_metrics, native_version, native_shutdown,
    native_listen;

/* sessions.c, session_logs.c */
/* [parks] NDJSON lines from the command's first byte to its end. */
void native_session_follow(
    struct frontend *fe, struct http_exchange *x, struct session_command *cmd);
void native_session_result_send(struct http_exchange *x, const struct session_command *cmd);
int native_session_command(struct frontend *fe, struct http_exchange *x,
    const struct http_params *params, struct sandbox **ret_sb, struct session_command **ret,
    struct smx_err *err);

/* exec.c: what both forms of exec share */
struct native_spec { /* borrowed views of a decoded request, plus what had to be made */
    struct native_command command;
    const char *shell_argv[4];
    struct provider_process_spec process;
};
int native_spec_make(struct native_spec *s, const char *raw_command, const struct json_map *env,
    double timeout_s, struct smx_err *err);
void native_spec_done(struct native_spec *s);
const char *native_spec_program(const struct native_spec *s); /* argv[0], for logs */
void native_log_start(struct sandbox *sb, const struct native_spec *s, uint32_t pid);
void native_log_end(struct sandbox *sb, uint32_t pid, const struct provider_event *end);

#endif
