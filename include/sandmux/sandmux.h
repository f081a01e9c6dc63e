/** sandmux/sandmux.h - libsandmux, a blocking client of a sandmux daemon.
 *
 * One handle may be used by many threads at once and goes on working in a child after fork(). The
 * library starts no threads, installs no signal handlers and keeps no global state; it never raises
 * SIGPIPE. Every call returns 0 (or what its comment says) or -SMX_E_<code>, with details in the
 * caller's struct smx_err, which may be NULL. Outputs are untouched on failure. Strings are UTF-8
 * and borrowed for the call when they go in; what a call gives back belongs to the object that it
 * is part of. Times are RFC 3339 in UTC; units stand in the names.
 *
 * Link with -lsandmux. */
#ifndef SANDMUX_SANDMUX_H
#define SANDMUX_SANDMUX_H

#include <stddef.h>
#include <stdint.h>

#include "sandmux/error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct smx_client;

/** struct smx_pair - a name and its value. */
struct smx_pair {
    const char *key, *value;
};

enum smx_client_flag {
    SMX_CLIENT_NO_START = 1, /* do not start a daemon when none is running */
};

/** smx_interrupt_fn - asked in the calling thread by a call that waits, after a signal and at least
 * five times a second: nonzero ends the call with -SMX_E_CANCELLED. */
typedef int smx_interrupt_fn(void *arg);

/** struct smx_client_config - how to reach the daemon; zero-filled is a good default.
 * @url: "http://host:port", "https://host:port" (OpenSSL 3 is loaded for it; trusted are the
 * system's authorities, or SSL_CERT_FILE's, and that of SANDMUX_CA) or "unix:/path"; NULL:
 * SANDMUX_URL from the environment or .env, else the project's socket, the user's, the system's,
 * else a daemon is started for the project
 * @api_key: NULL: SANDMUX_API_KEY from the environment or .env
 * @program: the sandmux program to start a daemon with; NULL: found beside the library or in PATH
 * @timeout_ms: longest duration of a call that names none; 0: two minutes
 * @flags: enum smx_client_flag
 * @interrupt: NULL: a call that waits goes on whatever happens  @interrupt_arg: its argument */
struct smx_client_config {
    const char *url, *api_key, *program;
    uint64_t timeout_ms;
    unsigned flags;
    smx_interrupt_fn *interrupt;
    void *interrupt_arg;
};

/** smx_client_open() - find (or start) the daemon and connect to it.
 * @config: borrowed for the call; NULL: defaults  @ret_client: free with smx_client_close()
 * Return: 0; -SMX_E_UNAVAILABLE: no daemon answers, the message says where it was looked for;
 * -SMX_E_INVALID: bad URL or setting; -SMX_E_TIMEOUT. */
SMX_API int smx_client_open(
    const struct smx_client_config *config, struct smx_client **ret_client, struct smx_err *err);
/** smx_client_close() - free the handle; no other thread may use it. NULL is allowed. */
SMX_API void smx_client_close(struct smx_client *client);
/** smx_client_url() - what the handle is connected to; lives as long as the handle. */
SMX_API const char *smx_client_url(const struct smx_client *client);
/** smx_library_version() - version of this library, such as "0.1.0"; static string. */
SMX_API const char *smx_library_version(void);

/** struct smx_reply - a raw reply. @content_type: never NULL  @body: NUL-terminated, @bytes long.
 */
struct smx_reply {
    int status;
    const char *content_type;
    const char *body;
    size_t bytes;
};

/** smx_request() - any request of the API, answered whatever its status is.
 * @method: "GET", ...  @path: with query, escaped  @body: JSON text or NULL
 * @ret_reply: free with smx_reply_free(); at most 64 MiB
 * GET, PUT and DELETE are repeated when the connection dies before the reply began.
 * Return: 0 whenever there was a reply; -SMX_E_UNAVAILABLE; -SMX_E_TIMEOUT; -SMX_E_CLOSED;
 * -SMX_E_TOO_LARGE. */
SMX_API int smx_request(struct smx_client *client, const char *method, const char *path,
    const char *body, struct smx_reply **ret_reply, struct smx_err *err);
SMX_API void smx_reply_free(struct smx_reply *reply);
/** smx_reply_check() - what a raw reply means. Return: 0 for a status below 400, else the error
 * that its body names, as the typed calls return it. */
SMX_API int smx_reply_check(const struct smx_reply *reply, struct smx_err *err);

#ifdef __cplusplus
}
#endif
#endif
