/** sandmux/process.h - run programs in a sandbox. */
#ifndef SANDMUX_PROCESS_H
#define SANDMUX_PROCESS_H

#include <sys/types.h>

#include "sandmux/sandmux.h"

#ifdef __cplusplus
extern "C" {
#endif

/** struct smx_exec_spec - what to run. Exactly one of @shell (text for the user's shell) and @argv
 * (NULL-terminated, no shell).
 * @cwd: NULL: /workspace  @user: NULL: root
 * @stdin_data: smx_exec() only: all of stdin, NULL: empty
 * @timeout_ms: the program is killed after this; 0: no limit
 * @max_output_bytes: smx_exec() only: keep so much of each stream; 0: 16 MiB
 * @tty: smx_process_start() only: a terminal of @cols x @rows; its output is SMX_PROCESS_STDOUT */
struct smx_exec_spec {
    const char *shell;
    const char *const *argv;
    const char *cwd, *user;
    const struct smx_pair *env;
    size_t n_env;
    const void *stdin_data;
    size_t stdin_bytes;
    uint64_t timeout_ms, max_output_bytes;
    int tty;
    unsigned cols, rows;
};

/** struct smx_exec_result - what came of it; free with smx_exec_result_free().
 * @exit_code: 128 + n after signal n, 126 not executable, 127 not found  @signal: 0: it exited
 * @stdout_data, @stderr_data: exact bytes, and a NUL behind them  @truncated: more came than was
 * kept */
struct smx_exec_result {
    int exit_code, signal;
    int timed_out, truncated;
    uint64_t duration_ms;
    const char *stdout_data, *stderr_data;
    size_t stdout_bytes, stderr_bytes;
};

/** smx_exec() - run to the end and collect the output.
 * Return: 0 whatever the exit code is; -SMX_E_CANCELLED: the handle's interrupt function ended it,
 * and the command is killed: one that is not known to run yet is waited for, 3 s at most;
 * -SMX_E_SANDBOX_NOT_FOUND; -SMX_E_STATE; -SMX_E_INVALID. */
SMX_API int smx_exec(struct smx_client *client, const char *id, const struct smx_exec_spec *spec,
    struct smx_exec_result **ret_result, struct smx_err *err);
SMX_API void smx_exec_result_free(struct smx_exec_result *result);

/** struct smx_process - a running program with open streams. One thread may read events while
 * another writes. It does not need the client any more. */
struct smx_process;

enum smx_process_event_kind {
    SMX_PROCESS_STARTED, /* pid */
    SMX_PROCESS_STDOUT,  /* data */
    SMX_PROCESS_STDERR,  /* data */
    SMX_PROCESS_EXITED,  /* exit_code, signal, timed_out, duration_ms; the last */
};
/** struct smx_process_event - @data: borrowed until the next call of smx_process_next() */
struct smx_process_event {
    enum smx_process_event_kind kind;
    uint64_t pid;
    const void *data;
    size_t bytes;
    int exit_code, signal, timed_out;
    uint64_t duration_ms;
};

/** smx_process_start() - start a program; free with smx_process_free(). */
SMX_API int smx_process_start(struct smx_client *client, const char *id,
    const struct smx_exec_spec *spec, struct smx_process **ret_process, struct smx_err *err);
/** smx_process_next() - wait for the next event. @timeout_ms: 0 looks only, UINT64_MAX waits for
 * ever Return: 1: *ret_event is filled; 0: no more after SMX_PROCESS_EXITED; -SMX_E_TIMEOUT;
 * -SMX_E_CLOSED: the connection broke, the program may still run. */
SMX_API int smx_process_next(struct smx_process *process, uint64_t timeout_ms,
    struct smx_process_event *ret_event, struct smx_err *err);
/** smx_process_write() - send to stdin, at most as much as fits without blocking for longer than
 * @timeout_ms. Whoever writes much and reads much waits on smx_process_fd() with poll() and uses
 * @timeout_ms 0.
 * Return: bytes taken, 0: none within the time; -SMX_E_CLOSED: the program ended or closed its
 * stdin. */
SMX_API ssize_t smx_process_write(struct smx_process *process, const void *data, size_t bytes,
    uint64_t timeout_ms, struct smx_err *err);
/** smx_process_fd() - for poll() only: wait for POLLIN, and for POLLOUT as well while
 * smx_process_wants_write(). */
SMX_API int smx_process_fd(const struct smx_process *process);
SMX_API int smx_process_wants_write(struct smx_process *process);
/** smx_process_close_stdin() - end of input; on a terminal: its end-of-file character. */
SMX_API int smx_process_close_stdin(struct smx_process *process, struct smx_err *err);
SMX_API int smx_process_resize(
    struct smx_process *process, unsigned cols, unsigned rows, struct smx_err *err);
/** smx_process_signal() - to the program; on a terminal: to its foreground group. */
SMX_API int smx_process_signal(struct smx_process *process, int signo, struct smx_err *err);
/** smx_process_free() - leave; the program goes on, one on a terminal is hung up. In a child after
 * fork() only the copy is given up. NULL is allowed. */
SMX_API void smx_process_free(struct smx_process *process);

/** struct smx_process_info - a process that was started through the API. @command: argv joined by
 * blanks */
struct smx_process_info {
    uint64_t pid;
    const char *tag, *command, *cwd;
};
struct smx_process_list {
    const struct smx_process_info *items;
    size_t n;
    const char *json;
};
SMX_API int smx_process_list(struct smx_client *client, const char *id,
    struct smx_process_list **ret_list, struct smx_err *err);
SMX_API void smx_process_list_free(struct smx_process_list *list);
/** smx_process_kill() - signal by pid. Return: 0; -SMX_E_PROCESS_NOT_FOUND. */
SMX_API int smx_process_kill(
    struct smx_client *client, const char *id, uint64_t pid, int signo, struct smx_err *err);

#ifdef __cplusplus
}
#endif
#endif
