/* account.c - what a relayed stream of process.Process tells of its process, for the sandbox's log:
 * the program, the pid, the end. The envelopes are followed while they pass; no byte is changed or
 * held back, and of each message only the first bytes are looked at. What cannot be read (another
 * codec, compression) is not logged, nor is an end that nobody is connected to see. Who lies here
 * lies to the log of its own sandbox. Loop thread only. */
#include <stdio.h>

#include "base/mem.h"
#include "frontends/e2b_data/internal.h"
#include "wire/envd/envd.h"

/* --- envelopes ----------------------------------------------------------------------------------
 */

/* Takes what belongs to one envelope; true when that is whole. */
static bool feed(struct account *a, struct smx_view *v)
{
    size_t n, keep;

    for (; v->n > 0 && a->head_n < RPC_HEAD; v->p++, v->n--) {
        a->head[a->head_n++] = (unsigned char)*v->p;
        a->text_n = 0;
        a->left = (uint32_t)a->head[1] << 24 | (uint32_t)a->head[2] << 16 |
                  (uint32_t)a->head[3] << 8 | a->head[4];
    }
    if (a->head_n < RPC_HEAD)
        return false;
    n = SMX_MIN(v->n, (size_t)a->left);
    keep = SMX_MIN(n, (size_t)ACCOUNT_TEXT_MAX - a->text_n);
    memcpy(a->text + a->text_n, v->p, keep);
    a->text_n = (uint16_t)(a->text_n + keep);
    a->left -= (uint32_t)n;
    v->p += n;
    v->n -= n;
    if (a->left > 0)
        return false;
    a->text[a->text_n] = '\0';
    a->head_n = 0;
    return true;
}

/* --- messages -----------------------------------------------------------------------------------
 */

/* Goes behind want and the white space in front of it. */
static bool past(const char **p, const char *want)
{
    *p += strspn(*p, " \t\r\n");
    if (!smx_starts(*p, want))
        return false;
    *p += strlen(want);
    return true;
}

/* One line of plain text, whatever was given. */
static void copy_plain(char *out, size_t size, const char *s, size_t n)
{
    n = SMX_MIN(n, size - 1);
    for (size_t i = 0; i < n; i++)
        out[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
    out[n] = '\0';
}

/* However much of it there is; what comes now is the reply. */
static void read_request(struct account *a)
{
    const char *p;

    a->text[a->text_n] = '\0';
    p = strstr(a->text, "\"cmd\"");
    if (p && past(&p, "\"cmd\"") && past(&p, ":") && past(&p, "\""))
        copy_plain(a->program, sizeof a->program, p, strcspn(p, "\"\\"));
    a->head_n = 0;
    a->replied = true;
}

static void take_start(struct account *a, const struct envd_start_event *start)
{
    if (start->pid == 0 || start->pid > UINT32_MAX)
        return;
    a->pid = (uint32_t)start->pid;
    a->tell(a, ACCOUNT_STARTED);
}

static void take_end(struct account *a, const struct envd_end_event *end)
{
    const char *status = end->status ? end->status : "";

    a->over = true;
    a->exited = end->exited;
    a->exit_code = (int)end->exit_code;
    copy_plain(a->status, sizeof a->status, status, strlen(status));
    if (a->pid != 0)
        a->tell(a, ACCOUNT_ENDED);
}

static bool is_of_interest(const struct account *a)
{
    const char *p = a->text;

    if (a->head[0] != 0 || a->text_n == ACCOUNT_TEXT_MAX)
        return false;
    return a->pid == 0 || (past(&p, "{") && past(&p, "\"event\"") && past(&p, ":") &&
                              past(&p, "{") && past(&p, "\"end\""));
}

static void read_reply(struct account *a)
{
    struct envd_event_message m = { 0 };

    if (!is_of_interest(a) ||
        json_decode(&envd_event_message_table, a->text, a->text_n, &m, /* err= */ NULL) < 0)
        return;
    if (m.event.start && a->pid == 0)
        take_start(a, m.event.start);
    else if (m.event.end)
        take_end(a, m.event.end);
    json_free(&envd_event_message_table, &m);
}

/* --- the tap ------------------------------------------------------------------------------------
 */

static void see_request(struct http_tap *tap, const void *data, size_t n)
{
    struct account *a = (struct account *)tap;
    struct smx_view v = { data, n };

    while (v.n > 0 && !a->asked && !a->replied)
        a->asked = feed(a, &v);
}

static void see_reply(struct http_tap *tap, const void *data, size_t n)
{
    struct account *a = (struct account *)tap;
    struct smx_view v = { data, n };

    if (!a->replied)
        read_request(a);
    while (v.n > 0 && !a->over)
        if (feed(a, &v))
            read_reply(a);
}

void account_init(struct account *a, account_tell_fn *tell)
{
    *a = (struct account){ .tap = { .request = see_request, .reply = see_reply }, .tell = tell };
    smx_strcpy(a->program, sizeof a->program, "?");
}

/* --- the log ------------------------------------------------------------------------------------
 */

/* Somebody else who was connected to it saw its end, too. */
static bool is_told(const struct account *a)
{
    struct sandbox_log_line *line = smx_alloc(sizeof *line);
    struct smx_err end = { 0 };
    bool told = false;
    char who[32];
    uint64_t seq = 0;

    snprintf(who, sizeof who, "process %u ", a->pid);
    while (line && sandbox_log_next(a->sb, &seq, line, /* deadline_ns= */ 0, &end) == 0)
        if (smx_starts(line->text, who))
            told = smx_starts(line->text + strlen(who), "ended");
    smx_free(line);
    return told;
}

static void tell(struct account *a, enum account_what what)
{
    if (what == ACCOUNT_STARTED && a->starts)
        sandbox_logf(a->sb, "process %u started: %s", a->pid, a->program);
    else if (what == ACCOUNT_STARTED || (!a->starts && is_told(a)))
        return;
    else if (a->exited)
        sandbox_logf(a->sb, "process %u ended with code %d", a->pid, a->exit_code);
    else
        sandbox_logf(a->sb, "process %u ended: %s", a->pid, *a->status ? a->status : "killed");
}

struct http_tap *account_open(struct http_exchange *x, struct sandbox *sb)
{
    bool starts = smx_view_eq(http_path(x), ENVD_PROCESS_START);
    struct account *a;

    if (!(starts || smx_view_eq(http_path(x), ENVD_PROCESS_CONNECT)) ||
        !smx_view_starts(http_field(x, "Content-Type"), ENVD_STREAM_TYPE))
        return NULL;
    a = http_alloc(x, sizeof *a);
    if (!a)
        return NULL;
    account_init(a, tell);
    a->sb = sb;
    a->starts = starts;
    return &a->tap;
}
