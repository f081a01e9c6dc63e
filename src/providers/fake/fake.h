/* fake.h - a complete runtime in memory, for tests: its sandboxes live in a struct fake_cloud that
 * outlives the provider that was opened on it, as a real cloud outlives the gateway. Calls can be
 * made slow, failing or ambiguous one by one.
 *
 * Its sandboxes keep files in memory and know a few commands: true, false, echo ARGS, cat, sleep
 * SECONDS, exit N, kill SIGNAL, yes N (N lines of "y"), env NAME. */
#ifndef SMX_PROVIDERS_FAKE_FAKE_H
#define SMX_PROVIDERS_FAKE_FAKE_H

#include "providers/provider.h"

enum fake_call {
    FAKE_PROBE,
    FAKE_VALIDATE,
    FAKE_CREATE,
    FAKE_ATTACH,
    FAKE_START,
    FAKE_STOP,
    FAKE_PAUSE,
    FAKE_RESUME,
    FAKE_KILL,
    FAKE_SET_DEADLINE,
    FAKE_LIST,
    FAKE_DATA, /* every call of the data plane */
    FAKE_CALL_COUNT_
};

struct fake_fault {
    unsigned after;     /* lets that many calls pass first */
    unsigned times;     /* then so many fail; 0: none */
    enum smx_code code; /* with this */
    bool done_anyway;   /* what was asked for is done nevertheless: an ambiguous answer */
    uint64_t delay_ms;  /* of every call, failing or not */
    bool hang;          /* waits until its deadline or cancellation */
};

struct fake_cloud {
    struct fake_fault fault[FAKE_CALL_COUNT_];
    unsigned calls[FAKE_CALL_COUNT_];
    uint64_t capabilities;
    struct smx_list boxes; /* of the provider's own struct */
    unsigned made;         /* ever */
    struct provider_host host;
    bool open;
    /* Called when a call was carried out, before its reply: the place to crash at. */
    void (*after)(void *ctx, enum fake_call call);
    void *ctx;
    int64_t last_deadline_unix_ms;
};

extern const struct provider_ops fake_provider; /* config: struct fake_cloud */

void fake_cloud_init(struct fake_cloud *c);
void fake_cloud_done(struct fake_cloud *c);
size_t fake_cloud_count(const struct fake_cloud *c);
/* A sandbox that nobody asked us for. */
int fake_cloud_plant(struct fake_cloud *c, const char *id, const char *token);
/* Changes or removes one behind the gateway's back; tell: the host is told. False: there is none.
 */
bool fake_cloud_set(struct fake_cloud *c, const char *id, enum provider_box_state state,
    const char *reason, bool tell);
/* Whether list() shows it: a sandbox that is still being made is not there yet. */
void fake_cloud_hide(struct fake_cloud *c, const char *id, bool hidden);
enum provider_box_state fake_cloud_state(const struct fake_cloud *c, const char *id);

#endif
