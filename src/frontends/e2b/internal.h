/* internal.h - what the files of the E2B front end share. Handlers have the router's shape: ctx is
 * the struct frontend; params->v[0] is what the path names. */
#ifndef SMX_FRONTENDS_E2B_INTERNAL_H
#define SMX_FRONTENDS_E2B_INTERNAL_H

#include "base/mem.h"
#include "frontends/dialect.h"
#include "frontends/e2b/e2b.h"
#include "wire/e2b/e2b.h"

typedef void(e2b_handler_fn)(struct http_exchange *x, const struct http_params *params, void *ctx);

enum { E2B_LIFETIME_MAX_S = 24 * 3600 }; /* where --max-lifetime says nothing else */

extern const struct dialect e2b_dialect; /* e2b.c */

/* --- reply.c ---------------------------------------------------------------------------------- */

void e2b_reply(
    struct http_exchange *x, int status, const struct json_table *table, const void *value);
/* A JSON text that was written with a json_writer; an incomplete one becomes a 500. */
void e2b_reply_json(struct http_exchange *x, int status, struct json_writer *w);
/* The status that belongs to an error's code, and whether the client should try again. */
void e2b_fail_err(struct http_exchange *x, const struct smx_err *err);

/* --- request.c -------------------------------------------------------------------------------- */

/* [parks] the body by a lax table; an empty one is {}. *raw (may be NULL) gets the text. */
int e2b_body(struct http_exchange *x, const struct json_table *table, void *ret,
    struct smx_buf *raw, struct smx_err *err);
/* By id, "<id>-<clientID>", name or alias; noted for the log. What is being made or deleted is not
 * there. -SMX_E_INVALID: no id at all. */
int e2b_find(struct frontend *fe, struct http_exchange *x, const char *key, struct sandbox **ret,
    struct smx_err *err);
int e2b_not_found(const char *key, struct smx_err *err);
/* 1..the most a sandbox may live here, else E2B's own sentence. */
int e2b_check_timeout(const struct frontend *fe, int64_t timeout_s, struct smx_err *err);
/* "Base", " base:default ", "base" -> "base"; -SMX_E_INVALID: no reference to a template. */
int e2b_template_name(const char *given, char out[SMX_TEMPLATE_LEN_MAX + 1], struct smx_err *err);

/* --- show.c: sandboxes as the wire has them; pointers into the sandbox and the struct ----------
 */

struct e2b_shown {
    union {
        struct e2b_sandbox sandbox;
        struct e2b_listed_sandbox listed;
        struct e2b_sandbox_detail detail;
    };
    struct e2b_lifecycle lifecycle;
    char started[SMX_RFC3339_SIZE], end[SMX_RFC3339_SIZE];
    char envd_token[SANDBOX_TOKEN_SIZE], traffic_token[SANDBOX_TOKEN_SIZE];
    char *network; /* owned */
};
void e2b_shown_done(struct e2b_shown *s);
void e2b_show(struct e2b_shown *s, const struct sandbox *sb);
void e2b_show_listed(struct e2b_shown *s, const struct sandbox *sb);
void e2b_show_detail(struct e2b_shown *s, const struct sandbox *sb);
/* False: not to be seen (being made, deleted). */
bool e2b_state_of(const struct sandbox *sb, enum e2b_state *ret);
void e2b_reply_sandbox(struct http_exchange *x, int status, const struct sandbox *sb);

/* What this front end keeps with a sandbox, in its dialect field. */
struct e2b_kept {
    bool allow_internet_access, has_allow_internet_access;
    char *network; /* JSON text or NULL */
};
extern const struct json_table e2b_kept_table;

/* --- list.c ----------------------------------------------------------------------------------- */

/* "k=v&k2=v2", as clients of several generations encode it. */
struct e2b_metadata_filter {
    struct e2b_filter_pair *v;
    size_t n;
};
int e2b_filter_parse(const char *text, struct e2b_metadata_filter *ret, struct smx_err *err);
void e2b_filter_done(struct e2b_metadata_filter *f);
bool e2b_filter_matches(const struct e2b_metadata_filter *f, const struct sandbox *sb);
/* Pages: after which sandbox, in which order. */
enum { E2B_TOKEN_SIZE = 160 };
void e2b_token_write(char out[E2B_TOKEN_SIZE], int64_t created_ns, const char *id, bool asc);
bool e2b_token_read(const char *token, int64_t *ret_ns, char ret_id[SMX_ID_LEN + 1], bool *ret_asc);

/* --- one file a resource ---------------------------------------------------------------------- */

e2b_handler_fn e2b_create_v1, e2b_create_v2;
e2b_handler_fn e2b_list_v1, e2b_list_v2;
e2b_handler_fn e2b_get, e2b_kill, e2b_set_timeout, e2b_refreshes, e2b_pause_sandbox, e2b_connect_v1,
    e2b_connect_v2, e2b_resume_sandbox;
e2b_handler_fn e2b_metrics, e2b_metrics_of_many, e2b_logs_v1, e2b_logs_v2_of;
e2b_handler_fn e2b_templates, e2b_templates_v2, e2b_template_get, e2b_template_by_alias, e2b_teams;

#endif
