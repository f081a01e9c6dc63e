/** sandmux/session.h - shell sessions: directory, variables, functions and options that outlive the
 * command that set them.
 *
 * 'exit' and 'exec' end the command, not the session; a child in the background delays nothing. Not
 * kept: traps, redirections made with exec, jobs. Sessions live in the sandbox: any client finds
 * them by their id, also after the daemon was restarted. */
#ifndef SANDMUX_SESSION_H
#define SANDMUX_SESSION_H

#include "sandmux/sandmux.h"

#ifdef __cplusplus
extern "C" {
#endif

/** struct smx_session_spec - zero-filled but for @id.
 * @id: letters, digits, '_', '-' and '.'; at most 128  @user: NULL: root  @cwd: NULL: /workspace
 * @shell: "bash" or "sh"; NULL: bash where there is one */
struct smx_session_spec {
    const char *id, *user, *cwd, *shell;
};

/** smx_session_create() - make a session. @ret_created: 0 when it was there already; may be NULL
 * Return: 0; -SMX_E_SANDBOX_NOT_FOUND; -SMX_E_INVALID; -SMX_E_QUOTA. */
SMX_API int smx_session_create(struct smx_client *client, const char *sandbox,
    const struct smx_session_spec *spec, int *ret_created, struct smx_err *err);
/** smx_session_delete() - end its commands and all that they started, and forget it.
 * Return: 0; -SMX_E_NOT_FOUND. */
SMX_API int smx_session_delete(
    struct smx_client *client, const char *sandbox, const char *session, struct smx_err *err);
/** smx_session_list() - ids of a sandbox's sessions as JSON, {"sessions":[...]}; one session with
 * its commands when @session is not NULL: {"id":...,"commands":[{"id","command","status",
 * "exit_code","async","timed_out"}]}. @ret_json: free with smx_session_json_free() */
SMX_API int smx_session_list(struct smx_client *client, const char *sandbox, const char *session,
    char **ret_json, struct smx_err *err);
SMX_API void smx_session_json_free(char *json);

/** struct smx_session_exec - @cwd: of this command alone, or NULL  @async: return while it runs
 * @timeout_ms: kill it after that; 0: never  @end_on_cancel: for smx_session_exec(): when the
 * handle's interrupt function ends the wait, the command ends with it; costs one more call */
struct smx_session_exec {
    const char *command, *cwd;
    int async;
    uint64_t timeout_ms;
    int end_on_cancel;
};

/** struct smx_session_result - a command and its output so far.
 * @status: "running", "ended" or "lost" (its end was not seen)  @exit_code: -1 unless it has ended
 * @output: both streams in the order they came  @json: as it came; bytes that are not UTF-8 are
 * base64 in it */
struct smx_session_result {
    const char *cmd_id, *status;
    int exit_code, timed_out, truncated;
    const char *stdout_data, *stderr_data, *output;
    size_t stdout_bytes, stderr_bytes, output_bytes;
    const char *json;
};

/** smx_session_exec() - run a command in the session. Commands that are not asynchronous run one
 * after another. @ret_result: free with smx_session_result_free()
 * Return: 0; -SMX_E_NOT_FOUND; -SMX_E_INVALID; -SMX_E_TIMEOUT: @timeout_ms and the time of
 * the handle are over and the daemon does not answer. */
SMX_API int smx_session_exec(struct smx_client *client, const char *sandbox, const char *session,
    const struct smx_session_exec *spec, struct smx_session_result **ret_result,
    struct smx_err *err);
/** smx_session_logs() - output of a command so far. Return: 0; -SMX_E_NOT_FOUND;
 * -SMX_E_PROCESS_NOT_FOUND. */
SMX_API int smx_session_logs(struct smx_client *client, const char *sandbox, const char *session,
    const char *command, struct smx_session_result **ret_result, struct smx_err *err);
SMX_API void smx_session_result_free(struct smx_session_result *result);

/** smx_session_fn - @stream: 1 stdout, 2 stderr. Return: 0 to go on, anything else ends it. */
typedef int smx_session_fn(int stream, const void *data, size_t bytes, void *arg);
/** smx_session_follow() - output from the command's first byte until it ends.
 * @ret_exit_code: -1 when its end was not seen; may be NULL */
SMX_API int smx_session_follow(struct smx_client *client, const char *sandbox, const char *session,
    const char *command, smx_session_fn *fn, void *arg, int *ret_exit_code, struct smx_err *err);
/** smx_session_run() - smx_session_exec() of a command that is not asynchronous, its output given
 * as it comes. An @fn that ends it leaves the command running; -SMX_E_CANCELLED: the handle's
 * interrupt function ended the wait, and the command with it. */
SMX_API int smx_session_run(struct smx_client *client, const char *sandbox, const char *session,
    const struct smx_session_exec *spec, smx_session_fn *fn, void *arg, int *ret_exit_code,
    struct smx_err *err);
/** smx_session_input() - bytes for the standard input of an asynchronous command. @eof: close it
 * behind them. Return: 0; -SMX_E_STATE: it has ended. */
SMX_API int smx_session_input(struct smx_client *client, const char *sandbox, const char *session,
    const char *command, const void *data, size_t bytes, int eof, struct smx_err *err);

#ifdef __cplusplus
}
#endif
#endif
