/* show.c - sandboxes of the core as E2B's clients see them. They know two states: what keeps its
 * files or processes but does not run is "paused". */
#include "frontends/e2b/internal.h"

#include "wire/envd/envd.h"

/* What has no end shows this one: clients want a time. */
static const char no_end[] = "9999-12-31T23:59:59.999999999Z";

static const struct json_field e2b_kept_table_fields[] = {
    { .name = "allowInternetAccess",
        .kind = JSON_BOOL,
        .offset = offsetof(struct e2b_kept, allow_internet_access),
        .has = JSON_HAS(struct e2b_kept, has_allow_internet_access) },
    { .name = "network",
        .kind = JSON_RAW,
        .flags = JSON_OMIT_ZERO,
        .offset = offsetof(struct e2b_kept, network) },
};
JSON_TABLE(e2b_kept_table, e2b_kept, .lax = true);

/* Its time is over; the registry hears of it a moment after the data plane is gone. */
static bool has_expired(const struct sandbox *sb)
{
    return sb->on_timeout == SANDBOX_KILL && sb->expires_unix_ms != 0 &&
           sb->expires_unix_ms <= smx_now_unix_ms();
}

bool e2b_state_of(const struct sandbox *sb, enum e2b_state *ret)
{
    if (has_expired(sb))
        return false;
    switch (sb->state) {
    case SANDBOX_RUNNING:
    case SANDBOX_PAUSING:
    case SANDBOX_STOPPING:
        *ret = E2B_RUNNING;
        return true;
    case SANDBOX_STARTING:
    case SANDBOX_PAUSED:
    case SANDBOX_STOPPED:
    case SANDBOX_ARCHIVING:
    case SANDBOX_ARCHIVED:
    case SANDBOX_ERROR:
        *ret = E2B_PAUSED;
        return true;
    case SANDBOX_CREATING:
    case SANDBOX_DELETING:
    case SANDBOX_DELETED:
    case SANDBOX_STATE_COUNT_:
        break;
    }
    return false;
}

/* The tables take char *; nothing is written through it. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void show_times(struct e2b_shown *s, const struct sandbox *sb)
{
    enum e2b_state state = E2B_PAUSED;

    e2b_state_of(sb, &state);
    smx_rfc3339_format_ns(s->started, sb->created_unix_ns);
    if (sb->expires_unix_ms)
        smx_rfc3339_format(s->end, sb->expires_unix_ms);
    else if (state == E2B_PAUSED) /* it ended when it was paused */
        smx_rfc3339_format(s->end, sb->updated_unix_ms);
    else
        smx_strcpy(s->end, sizeof s->end, no_end);
}

static uint64_t at_least_one(double v)
{
    uint64_t whole = (uint64_t)v;

    return whole < 1 ? 1 : whole + (v > (double)whole);
}

void e2b_show_listed(struct e2b_shown *s, const struct sandbox *sb)
{
    enum e2b_state state = E2B_PAUSED;

    memset(s, 0, sizeof *s);
    show_times(s, sb);
    e2b_state_of(sb, &state);
    s->listed = (struct e2b_listed_sandbox){ .template_id = sb->template,
        .alias = sb->template,
        .sandbox_id = text(sb->id),
        .client_id = text(E2B_CLIENT_ID),
        .started_at = s->started,
        .end_at = s->end,
        .cpu_count = at_least_one(sb->resources.cpu),
        .memory_mb = sb->resources.memory_mib,
        .disk_size_mb = sb->resources.disk_mib,
        .metadata = { sb->metadata, sb->n_metadata, .set = true },
        .state = (int)state,
        .envd_version = text(ENVD_VERSION) };
}

static void show_kept(struct e2b_shown *s, const struct sandbox *sb)
{
    struct e2b_kept kept;

    if (!sb->dialect ||
        json_decode(&e2b_kept_table, sb->dialect, strlen(sb->dialect), &kept, NULL) < 0)
        return;
    s->detail.allow_internet_access = kept.allow_internet_access;
    s->detail.has_allow_internet_access = kept.has_allow_internet_access;
    s->detail.network = s->network = smx_take(&kept.network);
    json_free(&e2b_kept_table, &kept);
}

void e2b_show_detail(struct e2b_shown *s, const struct sandbox *sb)
{
    struct e2b_listed_sandbox l;

    e2b_show_listed(s, sb);
    l = s->listed;
    s->detail = (struct e2b_sandbox_detail){ .template_id = l.template_id,
        .alias = l.alias,
        .sandbox_id = l.sandbox_id,
        .client_id = l.client_id,
        .started_at = l.started_at,
        .end_at = l.end_at,
        .cpu_count = l.cpu_count,
        .memory_mb = l.memory_mb,
        .disk_size_mb = l.disk_size_mb,
        .metadata = l.metadata,
        .state = l.state,
        .envd_version = l.envd_version,
        .lifecycle = &s->lifecycle };
    if (!sb->open_envd) {
        sandbox_token(sb, s->envd_token);
        s->detail.envd_access_token = s->envd_token;
    }
    s->lifecycle.auto_resume = sb->auto_resume;
    s->lifecycle.on_timeout = sb->on_timeout == SANDBOX_KILL ? E2B_KILL : E2B_PAUSE;
    if (l.state == E2B_PAUSED)
        s->detail.pause_mode = text(sb->state == SANDBOX_PAUSED ? "full" : "filesystem");
    show_kept(s, sb);
}

void e2b_show(struct e2b_shown *s, const struct sandbox *sb)
{
    memset(s, 0, sizeof *s);
    s->sandbox = (struct e2b_sandbox){ .template_id = sb->template,
        .alias = sb->template,
        .sandbox_id = text(sb->id),
        .client_id = text(E2B_CLIENT_ID),
        .envd_version = text(ENVD_VERSION) };
    if (!sb->open_envd) {
        sandbox_token(sb, s->envd_token);
        s->sandbox.envd_access_token = s->envd_token;
    }
    if (sb->private_traffic) {
        sandbox_traffic_token(sb, s->traffic_token);
        s->sandbox.traffic_access_token = s->traffic_token;
    }
}

void e2b_shown_done(struct e2b_shown *s)
{
    smx_free(s->network);
}

void e2b_reply_sandbox(struct http_exchange *x, int status, const struct sandbox *sb)
{
    struct e2b_shown s;

    e2b_show(&s, sb);
    e2b_reply(x, status, &e2b_sandbox_table, &s.sandbox);
    e2b_shown_done(&s);
}
