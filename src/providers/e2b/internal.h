/* internal.h - shared by the files of the e2b provider. */
#ifndef SMX_PROVIDERS_E2B_INTERNAL_H
#define SMX_PROVIDERS_E2B_INTERNAL_H

#include "base/map.h"
#include "base/mem.h"
#include "fetch/fetch.h"
#include "providers/e2b/e2b.h"
#include "providers/envd/client.h"
#include "wire/e2b/e2b.h"

enum { E2B_ENVD_PORT = 49983, E2B_CHUNK_S = 3600, E2B_TOKEN_MAX = 1024, E2B_DOMAIN_MAX = 253 };

/* What a sandbox of ours carries at E2B. The owner is the instance of this sandmux. */
#define E2B_META_OWNER "sandmux_owner"
#define E2B_META_ID "sandmux_id"
#define E2B_META_TOKEN "sandmux_token"
#define E2B_META_PROJECT "project_id"

struct e2b {
    struct io_loop *loop;
    struct provider_host host;
    const struct e2b_config *cfg;
    struct fetch *fetch;
    char *api_url, *key_field; /* key_field: "X-API-KEY: ...", a secret */
    struct envd_idle idle;
    struct smx_list boxes;
    uint64_t chunk_s;
    bool old_create, old_connect, old_list; /* the server has no version 2 of these routes */
    bool keeping, closing;
    struct io_timer keep;
    struct io_tasks tasks; /* fibers of ours */
};

struct port_fields {
    uint16_t port;
    struct smx_buf lines;
    struct smx_list link;
};

struct provider_box {
    struct envd_box envd; /* first */
    struct e2b *e;
    struct smx_list all;
    char id[PROVIDER_ID_MAX + 1];
    char *access_token, *traffic_token, *domain; /* NULL: none; the tokens are secrets */
    bool known;                                  /* these three are */
    struct smx_list fields;                      /* of struct port_fields */
    bool never;                                  /* lives until it is deleted */
    int64_t wanted_unix_ms, armed_unix_ms;       /* its end as we want it, as E2B knows it */
    bool running, checking;
};

/* --- api.c: calls to the control plane ------------------------------------------------------ */

struct e2b_call {
    const char *method, *path;           /* path with the query */
    const struct json_table *body_table; /* NULL: no body */
    const void *body;
    const struct json_table *reply_table; /* NULL: nothing of interest */
    void *reply;                          /* with list: a struct json_array */
    bool list;
    bool not_repeatable, once;
    const char *idempotency_key;
    enum smx_code not_found; /* what a 404 means; SMX_OK: a sandbox is missing */
    int status;              /* out: 0 when there was no reply */
    char next[512];          /* out: X-Next-Token */
};
/* [parks] 0, or the error that the reply means. */
int e2b_call(struct e2b *e, struct e2b_call *c, uint64_t deadline, struct smx_err *err);
/* The route is not there, as far as can be told: not a sandbox, template or key that is missing. */
bool e2b_no_route(const struct e2b_call *c, const struct smx_err *err);
bool e2b_id_valid(const char *id);

/* --- box.c: sandboxes ----------------------------------------------------------------------- */

int e2b_box_new(struct e2b *e, const char *id, struct provider_box **ret, struct smx_err *err);
void e2b_box_free(struct provider_box *box);
static inline void e2b_box_freep(struct provider_box **box)
{
    if (*box)
        e2b_box_free(*box);
}
/* Takes tokens and domain out of a reply to create, connect or a look. */
int e2b_box_learn(struct provider_box *box, char **access_token, char **traffic_token,
    char **domain, struct smx_err *err);
/* [parks] what is there of it; ret is freed with e2b_sandbox_detail_table. */
int e2b_look(struct e2b *e, const char *id, struct e2b_sandbox_detail *ret, uint64_t deadline,
    struct smx_err *err);
void e2b_info(const struct e2b_sandbox_detail *d, struct provider_info *ret);

/* --- keep.c: lifetimes ---------------------------------------------------------------------- */

/* Seconds to ask for, so that it ends at that time; the keeper goes on from there. */
int64_t e2b_timeout_s(struct e2b *e, int64_t expires_unix_ms);
void e2b_armed(struct provider_box *box, int64_t expires_unix_ms);
/* It was there already; it is to end then, and E2B is told so soon. */
void e2b_attached(struct provider_box *box, int64_t expires_unix_ms);
int e2b_set_deadline(
    struct provider_box *box, int64_t expires_unix_ms, uint64_t deadline, struct smx_err *err);
void e2b_keeper_init(struct e2b *e);
/* A fiber that closing cancels and waits for. arg is handed to fn. */
int e2b_task(struct e2b *e, const char *name, io_fiber_fn *fn, void *arg);
void e2b_tasks_end(struct e2b *e); /* [parks] */

#endif
