/* e2b.h - the runtime of sandboxes at E2B, or at anything that speaks its protocols. */
#ifndef SMX_PROVIDERS_E2B_E2B_H
#define SMX_PROVIDERS_E2B_E2B_H

#include "providers/provider.h"

/* Borrowed until close. */
struct e2b_config {
    const char *api_key;     /* a secret */
    const char *template;    /* what validate() looks up */
    const char *domain;      /* "e2b.app" */
    const char *api_url;     /* NULL: https://api.<domain> */
    const char *sandbox_url; /* one origin for all sandboxes; NULL: by domain */
    const char *ca_file;     /* NULL: the system's */
    uint64_t chunk_s;        /* the longest time out that is asked for at once; 0: an hour */
};

/* What it can do, with any settings. */
#define E2B_CAPABILITIES                                                      \
    (PROVIDER_BIT(PROVIDER_PAUSE_RESUME) | PROVIDER_BIT(PROVIDER_TEMPLATES) | \
        PROVIDER_BIT(PROVIDER_AUTO_CLEANUP) | PROVIDER_BIT(PROVIDER_PTY) |    \
        PROVIDER_BIT(PROVIDER_PORTS) | PROVIDER_BIT(PROVIDER_STATS) |         \
        PROVIDER_BIT(PROVIDER_SESSIONS) | PROVIDER_BIT(PROVIDER_INTERNET))

extern const struct provider_ops e2b_provider;

#endif
