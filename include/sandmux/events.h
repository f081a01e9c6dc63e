/** sandmux/events.h - every change of a sandbox or runtime, numbered without gaps. */
#ifndef SANDMUX_EVENTS_H
#define SANDMUX_EVENTS_H

#include "sandmux/sandmux.h"

#ifdef __cplusplus
extern "C" {
#endif

/** struct smx_event - @type: such as "sandbox.state"  @json: as it was sent; absent values are NULL
 */
struct smx_event {
    uint64_t seq;
    const char *time, *type, *sandbox_id, *runtime, *state, *previous_state, *reason, *detail;
    const char *json;
};
/** smx_event_fn - called for each event; borrowed for the call; nonzero ends the stream. */
typedef int smx_event_fn(const struct smx_event *event, void *arg);

/** smx_events_follow() - events after number @since (0: all that are kept), then new ones. A broken
 * connection is taken up where it broke off.
 * @quiet_ms: return 0 when nothing came for so long; UINT64_MAX: never
 * Return: 0; what @fn returned; a negative code. */
SMX_API int smx_events_follow(struct smx_client *client, uint64_t since, uint64_t quiet_ms,
    smx_event_fn *fn, void *arg, struct smx_err *err);

#ifdef __cplusplus
}
#endif
#endif
